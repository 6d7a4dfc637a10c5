/* SPDX-License-Identifier: MIT */
/*
 * A bounce pool's buffers: where each stands, and copying.
 *
 * The short ways take a buffer's run out of this thread's magazines and put it back there themselves; for all
 * others bounce-pool.c has the runs. A record is written by who holds its run. Reports read records while
 * that happens, hence relaxed atomics.
 */
#include "mapping/bounce-private.h"

#include "base/log.h"
#include "base/magazine.h"
#include "mapping/mapping.h"
#include <string.h>

#define PAGE_SLOTS ((unsigned)(PAGE_SIZE / DK_BOUNCE_SLOT))

static phys_addr_t start_of(const struct dk_bounce_pool *pool, const struct dk_bounce_record *record,
                            u64 shape)
{
    if (block_of(shape))
        return pool->base + (u64)(record - pool->records) * DK_BOUNCE_SLOT;
    return LOAD(record->start);
}

/* NOWHERE: there is none. */
static phys_addr_t original_of(const struct dk_bounce_record *record, u64 shape)
{
    struct dk_memory *memory;
    phys_addr_t phys;

    if (!block_of(shape))
        return LOAD(record->original);
    dk_address_find(LOAD(record->cpu), &memory, &phys);
    return phys;
}

/* ---- Copying ---- */

/* Piece by piece, where the addresses lie in several sections. False: one of them cannot be mapped. */
static bool copy_pieces(struct dk_memory *memory, phys_addr_t into, phys_addr_t from, size_t size)
{
    while (size) {
        size_t here = DK_SLOT_SIZE - (size_t)(into & (DK_SLOT_SIZE - 1));
        size_t there = DK_SLOT_SIZE - (size_t)(from & (DK_SLOT_SIZE - 1));
        size_t piece = here < there ? here : there;
        char *target = dk_memory_cached(memory, into);
        const char *source = dk_memory_cached(memory, from);

        if (!target || !source)
            return false;
        if (piece > size)
            piece = size;
        memcpy(target, source, piece);
        into += piece;
        from += piece;
        size -= piece;
    }
    return true;
}

/* The CPU's view of [phys, phys + size); NULL: it lies in several sections, or cannot be mapped. */
static char *view_of(struct dk_bounce_pool *pool, phys_addr_t phys, size_t size)
{
    size_t offset = (size_t)(phys & (DK_SLOT_SIZE - 1));
    char *view;

    if (size > DK_SLOT_SIZE - offset)
        return NULL;
    view = dk_memory_cached(pool->memory, phys - offset);
    return view ? view + offset : NULL;
}

/* Opens the short ways for this thread, where there are such. */
static void remember(struct dk_bounce_pool *pool, phys_addr_t phys, char *cpu)
{
    unsigned number = dk_thread_number();
    struct dk_bounce_thread *thread = &pool->threads[number];
    size_t offset = (size_t)(phys & (DK_SLOT_SIZE - 1));

    if (number >= DK_THREAD_NUMBERS || !pool->magazines || !pool->view || pool->cache || pool->quarantine)
        return;
    thread->pairs = dk_magazines_here(pool->magazines);
    thread->section = phys - offset;
    thread->end = phys - offset + DK_SLOT_SIZE;
    thread->view = cpu - offset;
}

/* Between @size bytes at @offset of a buffer and their original. False: the original cannot be mapped. */
static bool copy(struct dk_bounce_pool *pool, const struct dk_bounce_record *record, u64 offset, size_t size,
                 bool to_original)
{
    u64 shape = LOAD(record->shape);
    phys_addr_t start = start_of(pool, record, shape) + offset, original;
    char *cpu = LOAD(record->cpu);

    if (cpu && pool->view) {
        char *bounced = pool->view + (start - pool->base);

        memcpy(to_original ? cpu + offset : bounced, to_original ? bounced : cpu + offset, size);
        return true;
    }
    original = original_of(record, shape) + offset;
    return to_original ? copy_pieces(pool->memory, original, start, size)
                       : copy_pieces(pool->memory, start, original, size);
}

/*
 * memcpy() of more than a slot. glibc's uses `rep movsb` there, which begins only when all before it is done:
 * up to two slots, a call for each half is quicker.
 */
static NOINLINE void *copy_slots(char *into, const char *from, size_t size)
{
    size_t half = (size / 2 + LINE - 1) & ~(LINE - 1), rest = size - half;

    if (size > 2 * (size_t)DK_BOUNCE_SLOT)
        return memcpy(into, from, size);
    /* Else the compiler, which sees how large they can be, copies by `rep movsq` itself. */
    __asm__("" : "+r"(half), "+r"(rest));
    memcpy(into, from, half);
    memcpy(into + half, from + half, rest);
    return into;
}

/* memcpy() */
static inline void *copy_bytes(char *into, const char *from, size_t size)
{
    return LIKELY(size <= DK_BOUNCE_SLOT) ? memcpy(into, from, size) : copy_slots(into, from, size);
}

/* ---- Buffers ---- */

/* The record of the buffer that has @phys, with what it says; NULL: there is none. */
static struct dk_bounce_record *record_of(const struct dk_bounce_pool *pool, phys_addr_t phys, u64 *shape,
                                          u64 *offset)
{
    struct dk_bounce_record *record;

    if (!dk_bounce_holds(pool, phys))
        return NULL;
    record = &pool->records[dk_bounce_slots_first(pool->slots, (phys - pool->base) / DK_BOUNCE_SLOT)];
    *shape = LOAD(record->shape);
    *offset = phys - start_of(pool, record, *shape);
    return *offset < size_of(*shape) ? record : NULL;
}

static struct dk_bounce_record *enter(struct dk_bounce_pool *pool, const struct dk_bounce_run *run,
                                      phys_addr_t start, phys_addr_t original, char *cpu, struct device *dev,
                                      size_t size)
{
    struct dk_bounce_record *record = &pool->records[run->first];

    STORE(record->start, start);
    STORE(record->original, original);
    STORE(record->cpu, cpu);
    STORE(record->dev, dev);
    STORE(record->slots, run->slots);
    STORE(record->order, run->order);
    STORE(record->shape, shape_of(size, 0));
    return record;
}

/* The buffer is no more. */
static void release(struct dk_bounce_pool *pool, struct dk_bounce_record *record)
{
    u64 shape = LOAD(record->shape);
    unsigned slots = slots_of(record, shape);
    unsigned order = block_of(shape) ? block_of(shape) - 1 : LOAD(record->order);

    STORE(record->shape, 0);
    dk_bounce_run_give(pool, (u64)(record - pool->records), slots, order);
}

/* The bits of an address that bouncing keeps: all up to the highest that the device asks for. */
static inline u64 kept_bits(const struct device *dev)
{
    unsigned mask = dev->dma_parms ? dev->dma_parms->min_align_mask : 0;

    return mask ? ~0ull >> __builtin_clzll(mask) : 0;
}

size_t dk_bounce_max_mapping(const struct device *dev)
{
    u64 cost = (kept_bits(dev) + DK_BOUNCE_SLOT - 1) & ~(u64)(DK_BOUNCE_SLOT - 1);

    return cost < DK_BOUNCE_BYTES ? DK_BOUNCE_BYTES - (size_t)cost : 0;
}

static bool wants_copy(enum dma_data_direction direction, unsigned long attrs)
{
    return (direction == DMA_FROM_DEVICE || direction == DMA_BIDIRECTIONAL) &&
           !(attrs & DMA_ATTR_SKIP_CPU_SYNC);
}

static NOINLINE phys_addr_t map_slowly(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t original,
                                       size_t size, unsigned long attrs)
{
    u64 kept = kept_bits(dev);
    /* What stands before the buffer in its run. Runs begin at pages where that matters; for more than a
     * page's bits it depends on the run. */
    u64 before = kept < PAGE_SIZE ? original & kept : kept;
    unsigned align = kept < DK_BOUNCE_SLOT ? 1 : PAGE_SLOTS;
    struct dk_bounce_record *record;
    phys_addr_t start;
    unsigned slots;
    struct dk_bounce_run run;
    char *cpu;

    if (!size || size > DK_BOUNCE_BYTES || before > DK_BOUNCE_BYTES - size)
        return dk_bounce_refuse(pool, dev, size, true, attrs);
    slots = (unsigned)((size + before + DK_BOUNCE_SLOT - 1) / DK_BOUNCE_SLOT);
    if (slots < align)
        slots = align;
    run = dk_bounce_run_take(pool, dev, dk_dma_limit(dev, *dev->dma_mask), slots, align);
    if (!run.slots)
        return dk_bounce_refuse(pool, dev, size, false, attrs);
    start = pool->base + run.first * DK_BOUNCE_SLOT;
    /* Whole lines: what devices wrote there and nobody read was the last buffer's. */
    if (pool->cache)
        dk_cache_renew(pool->cache, start, (u64)run.slots * DK_BOUNCE_SLOT);
    start += (original - start) & kept;
    cpu = view_of(pool, original, size);
    if (cpu)
        remember(pool, original, cpu);
    record = enter(pool, &run, start, original, cpu, dev, size);
    if (!dk_bounce_clear_rest(pool, record, start - (pool->base + run.first * DK_BOUNCE_SLOT), size) ||
        !copy(pool, record, 0, size, false)) {
        release(pool, record);
        return NOWHERE;
    }
    return start;
}

/* Whether @dev reaches all of the pool and may have a buffer anywhere. */
static inline bool reaches_all(const struct dk_bounce_pool *pool, const struct device *dev)
{
    if (UNLIKELY(dev->dma_parms && dev->dma_parms->min_align_mask))
        return false;
    if (LIKELY(dev->fast_memory == pool->memory && dev->fast_limit >= pool->last))
        return true;
    return !dev->dk->window_count && dk_dma_limit(dev, *dev->dma_mask) >= pool->last;
}

/* The end of the short way, where the run's last buffer had another size. */
static NOINLINE phys_addr_t fill_over_former(struct dk_bounce_pool *pool, struct dk_bounce_record *record,
                                             const char *cpu, size_t size)
{
    u64 offset = (u64)(record - pool->records) * DK_BOUNCE_SLOT;

    /* The pool has a view: it cannot fail. */
    dk_bounce_clear_rest(pool, record, 0, size);
    memcpy(pool->view + offset, cpu, size);
    return pool->base + offset;
}

/* The short way: a block of this thread's magazines, wherever it is, for an original in the section of the
 * last. */
phys_addr_t dk_bounce_map(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t original, size_t size,
                          unsigned long attrs)
{
    struct dk_bounce_thread *thread = &pool->threads[dk_thread_number_here];
    struct dk_bounce_record *record;
    unsigned order;
    u64 first;
    char *cpu;

    if (UNLIKELY(!thread->pairs || size - 1 >= DK_BOUNCE_BYTES || original < thread->section ||
                 original + size > thread->end || !reaches_all(pool, dev)))
        goto slowly;
    /* As order_above() the slots that @size takes. */
    order = 31 - (unsigned)__builtin_clz((unsigned)((size - 1) / (DK_BOUNCE_SLOT / 2)) | 1);
    if (UNLIKELY(!dk_magazine_pair_take(&thread->pairs[order], &first)))
        goto slowly;
    cpu = thread->view + (original - thread->section);
    record = &pool->records[first];
    STORE(record->cpu, cpu);
    STORE(record->dev, dev);
    STORE(record->shape, shape_of(size, order + 1));
    if (UNLIKELY(record->soiled != size))
        return fill_over_former(pool, record, cpu, size);
    /* What it returns serves to find the address again without keeping it over the call. */
    return pool->base +
           (u64)((char *)copy_bytes(pool->view + first * DK_BOUNCE_SLOT, cpu, size) - pool->view);

slowly:
    return map_slowly(pool, dev, original, size, attrs);
}

static NOINLINE void unmap_slowly(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t phys,
                                  size_t size, enum dma_data_direction direction, unsigned long attrs)
{
    struct dk_bounce_record *record;
    u64 shape, offset;

    record = record_of(pool, phys, &shape, &offset);
    if (!record || offset || original_of(record, shape) == NOWHERE) {
        dk_log(DK_LOG_WARNING, "bounce pool %s: %s unmaps 0x%llx, where no buffer begins", pool->name,
               dk_device_path(dev), phys);
        return;
    }
    if (wants_copy(direction, attrs))
        copy(pool, record, 0, size < size_of(shape) ? size : size_of(shape), true);
    release(pool, record);
}

/* The short way: what came the short way. */
void dk_bounce_unmap(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t phys, size_t size,
                     enum dma_data_direction direction, unsigned long attrs)
{
    const struct dk_bounce_thread *thread = &pool->threads[dk_thread_number_here];
    u64 offset = phys - pool->base, shape;
    struct dk_bounce_record *record;
    char *cpu;

    if (UNLIKELY(offset >= pool->size || offset % DK_BOUNCE_SLOT || !thread->pairs))
        goto slowly;
    record = &pool->records[offset / DK_BOUNCE_SLOT];
    shape = LOAD(record->shape);
    if (UNLIKELY(!block_of(shape) || size > size_of(shape)))
        goto slowly;
    /* Nobody else takes it from there, so that it may still be copied from. */
    if (UNLIKELY(!dk_magazine_pair_give(&thread->pairs[block_of(shape) - 1], offset / DK_BOUNCE_SLOT)))
        goto slowly;
    cpu = LOAD(record->cpu);
    STORE(record->shape, 0);
    if (wants_copy(direction, attrs))
        copy_bytes(cpu, pool->view + offset, size);
    return;

slowly:
    unmap_slowly(pool, dev, phys, size, direction, attrs);
}

void dk_bounce_sync(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t phys, size_t size,
                    enum dma_data_direction direction, bool for_cpu)
{
    const struct dk_bounce_record *record;
    u64 shape, offset;

    record = record_of(pool, phys, &shape, &offset);
    if (!record || size > size_of(shape) - offset) {
        dk_log(DK_LOG_WARNING, "bounce pool %s: %s syncs %zu bytes at 0x%llx, which leave their buffer",
               pool->name, dk_device_path(dev), size, phys);
        return;
    }
    /* Pages of dk_bounce_alloc() stand in for nothing. */
    if (original_of(record, shape) == NOWHERE)
        return;
    if (direction == DMA_BIDIRECTIONAL || direction == (for_cpu ? DMA_FROM_DEVICE : DMA_TO_DEVICE))
        copy(pool, record, offset, size, for_cpu);
}

phys_addr_t dk_bounce_alloc(struct dk_bounce_pool *pool, struct device *dev, size_t size, unsigned long attrs)
{
    unsigned slots = (unsigned)(PFN_UP(size < DK_BOUNCE_BYTES ? size : DK_BOUNCE_BYTES) * PAGE_SLOTS);
    struct dk_bounce_record *record;
    phys_addr_t start;
    struct dk_bounce_run run;

    if (!size || size > DK_BOUNCE_BYTES)
        return dk_bounce_refuse(pool, dev, size, true, attrs);
    run = dk_bounce_run_take(pool, dev, dk_dma_limit(dev, dev->coherent_dma_mask), slots, PAGE_SLOTS);
    if (!run.slots)
        return dk_bounce_refuse(pool, dev, size, false, attrs);
    start = pool->base + run.first * DK_BOUNCE_SLOT;
    if (pool->cache)
        dk_cache_renew(pool->cache, start, (u64)run.slots * DK_BOUNCE_SLOT);
    record = enter(pool, &run, start, NOWHERE, NULL, dev, (size_t)slots * DK_BOUNCE_SLOT);
    if (dk_bounce_clear_rest(pool, record, 0, (size_t)slots * DK_BOUNCE_SLOT))
        return start;
    release(pool, record);
    return NOWHERE;
}

bool dk_bounce_free(struct dk_bounce_pool *pool, phys_addr_t phys, size_t size)
{
    struct dk_bounce_record *record;
    u64 shape, offset;

    record = record_of(pool, phys, &shape, &offset);
    if (!record || offset || original_of(record, shape) != NOWHERE || !size ||
        PFN_UP(size) != PFN_UP(size_of(shape)))
        return false;
    release(pool, record);
    return true;
}

bool dk_bounce_original(const struct dk_bounce_pool *pool, phys_addr_t phys, phys_addr_t *original)
{
    const struct dk_bounce_record *record;
    u64 shape, offset;
    phys_addr_t base;

    record = record_of(pool, phys, &shape, &offset);
    base = record ? original_of(record, shape) : NOWHERE;
    if (base == NOWHERE)
        return false;
    *original = base + offset;
    return true;
}
