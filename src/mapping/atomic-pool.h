/* SPDX-License-Identifier: MIT */
/*
 * Atomic pools: coherent memory for devices that do not snoop, ready for requests that must not sleep. A
 * kernel would have to remap other memory first, which may sleep.
 *
 * There is one for each of ZONE_DMA, ZONE_DMA32 and ZONE_NORMAL that has memory. Their pages were cleaned and
 * invalidated when they came, and are used through the DRAM view alone. A pool that runs low,
 * or has no block for a request, is made larger by the machine's worker thread, up to an eighth of its zone.
 */
#ifndef DK_MAPPING_ATOMIC_POOL_H
#define DK_MAPPING_ATOMIC_POOL_H

#include "machine/machine.h"

struct dk_atomic_pools;

/*
 * Makes the pools of @machine, each of @size bytes (coherent_pool=), rounded up to pages; 0: 128 KiB for each
 * GiB of RAM, at least 128 KiB and at most 4 MiB. A zone that has less gives what it has. After
 * machine->mapping is there. 0 or -ENOMEM.
 */
int dk_atomic_pools_start(struct dk_machine *machine, u64 size);
/* Ends the worker and gives the pages back, used ones too. Nothing when there are no pools. May sleep. */
void dk_atomic_pools_finish(struct dk_machine *machine);

/*
 * @size bytes in whole pages, aligned to the power of two above, zeroed, none beyond physical address @limit:
 * the first page, and in *cpu where the CPU uses them, which is the DRAM view. NULL: the pools have no such
 * block now, or there are none. Any context; never sleeps, and takes nothing from the page allocator.
 */
struct page *dk_atomic_pool_take(struct dk_machine *machine, size_t size, u64 limit, void **cpu);
/* Whether @cpu, in either view, lies in a pool, used or free. Any context. */
bool dk_atomic_pool_holds(struct dk_machine *machine, const void *cpu);
/* Whether dk_atomic_pool_give() would take @cpu and @size. Any context. */
bool dk_atomic_pool_is_block(struct dk_machine *machine, const void *cpu, size_t size);
/* Gives a block back. False: @cpu and @size are no block's, and nothing happens. Any context. */
bool dk_atomic_pool_give(struct dk_machine *machine, const void *cpu, size_t size);

/* Waits until no pool is to grow. For tests. */
void dk_atomic_pools_settle(struct dk_machine *machine);
/* Pages of all pools, and how many of them are free. */
void dk_atomic_pools_usage(struct dk_machine *machine, u64 *pages, u64 *unused);

#endif
