/* SPDX-License-Identifier: MIT */
/*
 * A machine: what stands behind a board's devices.
 */
#ifndef DK_MACHINE_MACHINE_H
#define DK_MACHINE_MACHINE_H

#include "base/hooks.h"
#include "board/board.h"
#include "machine/grace.h"
#include "mm/memory.h"
#include <dmakit/device.h>
#include <dmakit/list.h>
#include <dmakit/machine.h>
#include <dmakit/master.h>

/*
 * Zero bytes behind every struct device, so that container_of() to a bus's own structure, which has the
 * device first, has memory to stand on.
 */
#define DK_DEVICE_SPARE 256

struct dk_checker;
struct dk_interrupts;
struct dk_register_space;
struct dk_cache;
struct dk_iommu_domain;
struct dk_mapping_state;
struct dk_iommu_space;
struct dk_bounce_pool;
struct dk_dma_blocks;
struct dk_pools;
struct cma;
struct dk_contiguous_rule;

struct dk_machine {
    const struct dk_board *board; /* the machine's own copy */
    struct dk_memory *memory;
    struct dk_cache *cache; /* NULL on a machine with one view */
    struct dk_hooks hooks;
    struct dk_checker *checker;       /* src/check's; NULL with the checker off */
    struct dk_mapping_state *mapping; /* src/mapping's */
    struct dk_pools *pools;           /* src/pool's */
    struct dk_interrupts *interrupts;
    struct dk_register_space *registers;
    struct device *root;
    pthread_mutex_t devices_lock; /* guards the device tree's lists; whoever makes the machine makes it */
    struct list_head all_devices; /* removed ones too, oldest first */
    unsigned device_count;        /* ever made */
    u64 seed;
    int depth; /* the checker's; see machine.h */
    char *arguments;
    struct list_head link; /* in the process's list of live machines */
};

/* What the library keeps of a device, behind struct device. */
struct dk_device {
    struct device *dev;
    struct dk_machine *machine;
    char *name;      /* last component */
    char *path;      /* full path */
    int node;        /* index into the board's nodes; for an added one its nearest ancestor's */
    bool added;      /* by dk_device_add(), not from the board */
    bool removed;    /* out of the tree: nobody finds it */
    bool translated; /* behind an IOMMU, not straight on its bus: src/mapping decides before its first access
                      */
    bool gone;       /* torn down: its driver's calls are refused */
    unsigned place;  /* of an added device: how many were added to its parent before it */
    unsigned added_below;            /* devices ever added to it; guarded by devices_lock */
    unsigned number;                 /* unique in the machine; interrupt numbers are made from it */
    const struct dk_window *windows; /* what the bus lets it reach; none: everything, identity */
    unsigned window_count;
    struct dk_iommu_domain *iommu; /* atomic; NULL while @translated: no access gets through */
    struct dk_grace attachment;    /* accesses that use @iommu */
    struct list_head sibling, children;
    struct list_head all;       /* in dk_machine.all_devices */
    struct list_head resources; /* managed resources, newest first */
    pthread_mutex_t resources_lock;
    struct dk_coherent_pool *coherent_pool; /* src/mapping's */
    bool coherent_pool_own;                 /* declared by the driver, and freed with the device */
    struct cma *cma; /* the device's own area, or NULL: the rule's or the default one */
    const struct dk_contiguous_rule
        *cma_rule;                     /* src/mapping's: the cma_map= rule that is the device's, or NULL */
    struct dk_iommu_space *space;      /* src/mapping's: where its IOMMU addresses come from; NULL: none */
    struct dk_iommu_space *fast_space; /* @space while nothing but it has work to do: no cache, no checker */
    struct dk_memory *watched_memory; /* src/mapping's: as device.h's fast_memory, while the checker alone has
                                         work to do */
    struct dk_bounce_pool *bounce;    /* src/mapping's: what it bounces through; NULL: the machine's pool */
    bool bounce_always;               /* it may touch @bounce only */
    bool has_bounced; /* relaxed atomic: something was bounced for it, and may have to be undone */
    int (*needs_bounce)(struct device *dev, dma_addr_t dma,
                        size_t size); /* NULL: what it reaches is mapped */
    struct page *bounce_pages;        /* the memory of @bounce, when its driver registered it */
    struct list_head mapping_objects; /* src/mapping's, per device */
    unsigned long fault_count;        /* guarded by resources_lock, as the next */
    struct dk_master_fault last_fault;
    struct dk_dma_blocks *blocks; /* atomic; src/pool's: dma_alloc()'s; NULL: it made none so far */
    void *check;                  /* src/check's */
    bool mask_set;                /* src/mapping's: its driver set a mask */
    struct device_dma_parameters parameters;
    u64 mask;
};

static inline struct dk_machine *dk_device_machine(const struct device *dev)
{
    return dev->dk->machine;
}

/* Whether an IOMMU translates @dev's accesses (iommu.h), even one in which nothing is mapped. */
static inline bool dk_device_translated(const struct device *dev)
{
    return __atomic_load_n(&dev->dk->translated, __ATOMIC_ACQUIRE);
}

/* Makes the machine's bare body: memory, cache, root device tree, interrupts, registers. Hooks are set by the
 * caller before devices appear. src/start calls these in order and dk_machine_finish() in reverse. Finishing
 * what was not started, or is finished, does nothing. */
int dk_devices_start(
    struct dk_machine *machine); /* a struct device for every enabled node; calls device_added */
void dk_devices_finish(struct dk_machine *machine); /* removes all, deepest first; calls device_removed */
int dk_interrupts_start(struct dk_machine *machine);
void dk_interrupts_finish(struct dk_machine *machine);
int dk_registers_start(struct dk_machine *machine);
void dk_registers_finish(struct dk_machine *machine);

/* How many of the @length bytes at physical address @phys are registers of one device, which is there. Any
 * context. */
u64 dk_registers_run(struct dk_machine *machine, phys_addr_t phys, u64 length);
/*
 * A device reads or writes them, @into or @from set: calls of their model for aligned units of 8, 4, 2 and 1
 * bytes, as large as fit, ascending, the lowest byte first. 0, or -ENODEV: there are none (any more). No lock
 * is held in the calls.
 */
int dk_registers_move(struct dk_machine *machine, phys_addr_t phys, u64 length, void *into, const void *from);

/*
 * Where the bus leads from @dma for @dev: *phys and *run, the number of bytes (at most @length) that follow
 * contiguously within one window and RAM. -EFAULT outside.
 */
int dk_bus_translate(struct device *dev, dma_addr_t dma, u64 length, phys_addr_t *phys, u64 *run);
/* The bus address of [phys, phys + size) for @dev through one of its windows; false when no window holds it.
 */
bool dk_bus_address(const struct device *dev, phys_addr_t phys, u64 size, dma_addr_t *dma);

/* Where physical address @phys leads: the board's uncached alias shows other memory, anything else is itself.
 */
phys_addr_t dk_alias_to_memory(const struct dk_machine *machine, phys_addr_t phys);

/*
 * cache.c's job: the two views. All are no-ops (NULL cache) on a coherent machine. Pages that the CPU uses
 * past its cache (dk_memory_set_uncached()) have no lines: what follows passes them over.
 */
/* NULL when out of memory. @seed 0: no eviction. */
struct dk_cache *dk_cache_create(struct dk_memory *memory, u64 seed);
void dk_cache_destroy(struct dk_cache *cache);
/* Dirty lines that touch [phys, phys + size) go down to DRAM, whole lines. */
void dk_cache_clean(struct dk_cache *cache, phys_addr_t phys, u64 size);
/* Lines that touch [phys, phys + size) are refilled from DRAM; the partial ones at the edges are cleaned
 * first. What the CPU wrote into whole lines is lost, unless it is a store that races with this call. */
void dk_cache_invalidate(struct dk_cache *cache, phys_addr_t phys, u64 size);
/*
 * The memory has a new user: lines wholly in [phys, phys + size) that a device has overwritten since they
 * were filled are written back if they are dirty, else dropped. Otherwise what the new user stores could
 * equal what such a line held before, and would not show as dirty.
 */
void dk_cache_renew(struct dk_cache *cache, phys_addr_t phys, u64 size);
/*
 * What refills of the lines would bring into the CPU's view of [phys, phys + size): DRAM's bytes where a
 * device has overwritten a line since it was filled, else what the CPU sees already. One section's at most.
 */
void dk_cache_refills(struct dk_cache *cache, phys_addr_t phys, char *into, u64 size);
/* Whether any of the @size bytes at @phys is one that the CPU stored and no clean or eviction wrote back. One
 * section's at most. */
bool dk_cache_is_dirty(struct dk_cache *cache, phys_addr_t phys, u64 size);
/*
 * Random eviction in the range and one line either side: dirty lines written back, clean ones dropped, chosen
 * by hash(seed, @number, line), one line in four. The lines either side only within the pages of the range.
 * Nothing with seed 0.
 */
void dk_cache_evict(struct dk_cache *cache, u64 number, phys_addr_t phys, u64 size);
/* A device's accesses to DRAM. Aligned ones of 1, 2, 4, 8 bytes are single-copy atomic; writes are ordered
 * (release), reads acquire; longer ones go word by word in ascending order. The range is RAM
 * (dk_bus_translate() said so). 0, or -ENOMEM. */
int dk_cache_device_write(struct dk_machine *machine, phys_addr_t phys, const void *from, u64 size);
int dk_cache_device_read(struct dk_machine *machine, phys_addr_t phys, void *into, u64 size);
/*
 * The same for a device that snoops on a machine with two views: it sees what is dirty in the CPU's lines,
 * and what it writes is in both views afterwards; but in pages that are marked (dk_memory_set_uncached()) it
 * meets DRAM alone.
 */
int dk_cache_snoop_write(struct dk_machine *machine, phys_addr_t phys, const void *from, u64 size);
int dk_cache_snoop_read(struct dk_machine *machine, phys_addr_t phys, void *into, u64 size);

#endif
