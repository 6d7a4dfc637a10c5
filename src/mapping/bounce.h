/* SPDX-License-Identifier: MIT */
/*
 * Bounce buffers: memory that a device reaches, standing in for memory that it does not
 * (Documentation/core-api/swiotlb.rst).
 *
 * A pool is a run of slots of 2 KiB in segments of 128; a buffer takes consecutive slots of one segment, so
 * at most 256 KiB. This file copies, between the CPU's cached views; cache lines of the slots are the direct
 * back end's business, before and after.
 *
 * A thread keeps a few free runs of each size for itself, as long as all threads' are at most a quarter of
 * the pool; they count as free.
 */
#ifndef DK_MAPPING_BOUNCE_H
#define DK_MAPPING_BOUNCE_H

#include "machine/machine.h"
#include "mapping/bounce-slots.h"
#include <dmakit/dma-direction.h>

#define DK_BOUNCE_SLOT 2048u
/* The most bytes that one buffer and what its alignment costs take. */
#define DK_BOUNCE_BYTES ((size_t)DK_BOUNCE_SLOT * DK_BOUNCE_SEGMENT)

struct dk_delay_queue;
struct dk_bounce_record;
struct dk_bounce_thread;
struct dk_magazines;

/* Private but for the inline function below. */
struct dk_bounce_pool {
    phys_addr_t base;
    u64 size;
    char *view;       /* the CPU's of @base; NULL: the pool lies in several sections */
    phys_addr_t last; /* byte */
    struct dk_memory *memory;
    struct dk_cache *cache; /* NULL: one view */
    const char *name;
    struct dk_bounce_slots *slots;
    struct dk_magazines *magazines;   /* of slot numbers, by order; NULL: the pool is too small for them */
    u64 promised;                     /* slots that threads may keep in them; relaxed atomic */
    struct dk_bounce_record *records; /* by slot: of a buffer, at its run's first */
    struct dk_bounce_thread *threads; /* by thread number, and what stands for none */
    void *records_memory, *threads_memory;
    unsigned char *soiled;             /* by slot, while it is in no run: bounce-former.c */
    u64 quiet_until;                   /* ms; relaxed atomic: no line about failures before that */
    u64 left_out;                      /* lines; relaxed atomic */
    struct dk_delay_queue *quarantine; /* NULL: there is none */
};

/*
 * A pool over [phys, phys + size): RAM of @machine with a kernel address that is reserved or taken, and stays
 * the caller's. @name: for logs, kept. Error pointers: -EINVAL smaller than a segment, not page-aligned or
 * not RAM; -ENOMEM.
 */
struct dk_bounce_pool *dk_bounce_create(struct dk_machine *machine, phys_addr_t phys, u64 size,
                                        const char *name);
/* Logs who still holds what. NULL is fine. No other thread may be inside. */
void dk_bounce_destroy(struct dk_bounce_pool *pool);

/* Whether @phys lies in the pool. Any context. */
static inline bool dk_bounce_holds(const struct dk_bounce_pool *pool, phys_addr_t phys)
{
    return phys - pool->base < pool->size;
}

/*
 * Slots for the @size bytes at @original of @dev, filled with them whatever the direction, so that the device
 * never sees what the slots held before and a short write of it leaves the rest as it was. What lies around
 * them in the slots is zeros. The low bits of @original that the device's min_align_mask keeps are kept.
 * Returns the physical address of the copy, all of which the device reaches through its bus and under its
 * mask, or ~0: pool full, or too large (the log says which, and when full who holds how much, unless @attrs
 * has DMA_ATTR_NO_WARN; a line a second at most), or @original cannot be mapped into the process. Never
 * sleeps; any thread.
 */
phys_addr_t dk_bounce_map(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t original, size_t size,
                          unsigned long attrs);
/*
 * Gives the buffer that begins at @phys back, after copying the first @size bytes to the original when
 * @direction and @attrs (SKIP_CPU_SYNC) want it. Where no buffer begins, there is a log line and nothing
 * happens.
 */
void dk_bounce_unmap(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t phys, size_t size,
                     enum dma_data_direction direction, unsigned long attrs);
/*
 * Copies [phys, phys + size), which lies in a buffer, to its original (for the CPU, unless @direction is to
 * the device) or from it (for the device, unless @direction is from the device). A range that leaves the
 * buffer is refused with a log line, and nothing is copied.
 */
void dk_bounce_sync(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t phys, size_t size,
                    enum dma_data_direction direction, bool for_cpu);

/* The most bytes of one mapping of @dev: 256 KiB, less what min_align_mask costs. */
size_t dk_bounce_max_mapping(const struct device *dev);

/*
 * Pages for dma_alloc_*() of a device that may touch the pool only: @size bytes, at most 256 KiB,
 * page-aligned, reached by the device under its coherent mask, zeroed by the caller; what lies behind them in
 * their slots is zeros. Physical address or ~0, with a log line as from dk_bounce_map(), unless @attrs has
 * DMA_ATTR_NO_WARN.
 */
phys_addr_t dk_bounce_alloc(struct dk_bounce_pool *pool, struct device *dev, size_t size,
                            unsigned long attrs);
/* False: [phys, phys + size) was not given by dk_bounce_alloc(). */
bool dk_bounce_free(struct dk_bounce_pool *pool, phys_addr_t phys, size_t size);

/*
 * The original of a bounced byte: *original and true, or false when @phys is no live buffer's. For reports:
 * any context, also while the buffer goes.
 */
bool dk_bounce_original(const struct dk_bounce_pool *pool, phys_addr_t phys, phys_addr_t *original);

/*
 * Slots in all, slots in use now, the most there ever were. Exact while one thread maps; with several, the
 * most may be told too high by what they keep for themselves, and by what is in quarantine.
 */
void dk_bounce_usage(const struct dk_bounce_pool *pool, u64 *slots, u64 *used, u64 *most);

#endif
