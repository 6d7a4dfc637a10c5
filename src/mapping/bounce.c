/* SPDX-License-Identifier: MIT */
/*
 * A bounce pool's buffers: where each stands, and copying.
 *
 * A buffer's run of slots comes from this thread's magazine of its size, so that mapping and unmapping take
 * no lock and write to no line that other threads write; what the magazines do not have comes from the slots'
 * areas. A record is written by who holds its run. Reports read records while that happens, hence relaxed
 * atomics.
 */
#include "mapping/bounce-private.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/magazine.h"
#include "mapping/mapping.h"
#include <string.h>

#define LINE ((size_t)64)
#define PAGE_SLOTS ((unsigned)(PAGE_SIZE / DK_BOUNCE_SLOT))
/* A magazine has at most this part of the pool's slots, and no thread more than two of each of the eight
 * sizes. */
#define MAGAZINE_PART 512
#define MAGAZINE_ITEMS 32
/* Of all threads, ended ones too, at most this part. */
#define KEPT_PART 4
/* In quarantine is at most this part, and so many runs: those whose buffers were unmapped last, so that a
 * device that still uses one does not meet the next buffer. Who finds no slots ends it. */
#define QUARANTINE_PART 8
#define QUARANTINE_RUNS 64u
/* The order of a run that is no block: it goes back to the slots. */
#define NO_ORDER 0xffffu

struct run {
    u64 first;
    unsigned slots; /* 0: none was found */
    unsigned order;
};

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

/* ---- Runs of slots ---- */

static size_t refill(void *owner, unsigned order, u64 *firsts, size_t wanted)
{
    struct dk_bounce_pool *pool = owner;
    size_t found = dk_bounce_slots_take_blocks(pool->slots, order, firsts, wanted);

    for (size_t i = 0; i < found; i++)
        dk_bounce_former_taken(pool, firsts[i], 1u << order);
    return found;
}

static void give_to_slots(struct dk_bounce_pool *pool, u64 first, unsigned slots)
{
    dk_bounce_former_given(pool, first, slots);
    dk_bounce_slots_give(pool->slots, first, slots);
}

static void spill(void *owner, unsigned order, const u64 *firsts, size_t given)
{
    struct dk_bounce_pool *pool = owner;

    for (size_t i = 0; i < given; i++)
        give_to_slots(pool, firsts[i], 1u << order);
}

static inline unsigned order_above(unsigned slots)
{
    return slots > 1 ? 32 - (unsigned)__builtin_clz(slots - 1) : 0;
}

/* Whether @dev reaches all of [phys, phys + size), its DMA addresses being at most @limit. */
static bool reaches(const struct device *dev, u64 limit, phys_addr_t phys, u64 size)
{
    dma_addr_t dma;

    return dk_phys_to_dma(dev, phys, size, &dma) && dma + (size - 1) <= limit;
}

/* A run in those slots of the pool that a window shows below @limit. */
static struct run take_in_window(struct dk_bounce_pool *pool, const struct dk_window *window, u64 limit,
                                 unsigned slots, unsigned align)
{
    u64 length = limit - window->dma < window->size - 1 ? limit - window->dma : window->size - 1;
    phys_addr_t last = window->cpu + length;
    u64 lowest = 0, end = pool->size / DK_BOUNCE_SLOT;
    struct run run = { 0, slots, NO_ORDER };

    if (window->cpu > pool->base)
        lowest = (window->cpu - pool->base + DK_BOUNCE_SLOT - 1) / DK_BOUNCE_SLOT;
    if (last - pool->base < pool->size - 1)
        end = (last - pool->base + 1) / DK_BOUNCE_SLOT;
    if (window->dma > limit || last < pool->base || lowest >= end ||
        !dk_bounce_slots_take(pool->slots, slots, align, lowest, end, &run.first))
        run.slots = 0;
    else
        dk_bounce_former_taken(pool, run.first, slots);
    return run;
}

static struct run take_from_slots(struct dk_bounce_pool *pool, const struct device *dev, u64 limit,
                                  unsigned slots, unsigned align)
{
    static const struct dk_window everything = { 0, 0, ~0ull };
    struct run run = { 0 };

    if (!dev->dk->window_count)
        return take_in_window(pool, &everything, limit, slots, align);
    for (unsigned i = 0; i < dev->dk->window_count && !run.slots; i++)
        run = take_in_window(pool, &dev->dk->windows[i], limit, slots, align);
    return run;
}

/* How many runs a magazine of @order holds. */
static unsigned capacity_of(const struct dk_bounce_pool *pool, unsigned order)
{
    u64 part = pool->size / DK_BOUNCE_SLOT / MAGAZINE_PART >> order;

    return part < MAGAZINE_ITEMS ? (unsigned)part : MAGAZINE_ITEMS;
}

/*
 * Whether this thread may keep runs of @order in its magazines. Nobody else takes them from there, so who
 * comes when enough is promised goes without; what a thread was promised goes to the next with its number.
 */
static bool may_keep(struct dk_bounce_pool *pool, unsigned order)
{
    unsigned number = dk_thread_number();
    struct dk_bounce_thread *thread = &pool->threads[number];
    u64 wanted = 2 * (u64)capacity_of(pool, order) << order, promised = LOAD(pool->promised);

    if (!pool->magazines || number >= DK_THREAD_NUMBERS || !wanted)
        return false;
    if (thread->orders >> order & 1)
        return true;
    do {
        if (promised + wanted > pool->size / DK_BOUNCE_SLOT / KEPT_PART)
            return false;
    } while (!__atomic_compare_exchange_n(&pool->promised, &promised, promised + wanted, true,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    thread->orders |= 1u << order;
    return true;
}

static inline void give_run(struct dk_bounce_pool *pool, u64 first, unsigned slots, unsigned order)
{
    if (order == NO_ORDER || !may_keep(pool, order) || !dk_magazine_give(pool->magazines, order, first))
        give_to_slots(pool, first, slots);
}

/* The same as what the quarantine calls. */
static void give_at_last(void *owner, u64 first, u64 slots, unsigned order)
{
    give_run(owner, first, (unsigned)slots, order);
}

/*
 * Where the magazines have nothing, or only @first, a block that may not be all in the device's reach;
 * NO_BLOCK: they have nothing.
 */
#define NO_BLOCK (~0ull)
static NOINLINE struct run take_slowly(struct dk_bounce_pool *pool, const struct device *dev, u64 limit,
                                       unsigned slots, unsigned align, u64 first)
{
    unsigned order = order_above(slots);
    struct run run;

    if (first != NO_BLOCK) {
        if (reaches(dev, limit, pool->base + first * DK_BOUNCE_SLOT, (u64)DK_BOUNCE_SLOT << order))
            return (struct run){ first, 1u << order, order };
        give_run(pool, first, 1u << order, order);
    }
    run = take_from_slots(pool, dev, limit, slots, align);
    if (!run.slots && pool->quarantine)
        dk_delay_queue_flush(pool->quarantine);
    if (!run.slots && pool->magazines)
        dk_magazines_drain(pool->magazines);
    if (!run.slots && (pool->quarantine || pool->magazines))
        run = take_from_slots(pool, dev, limit, slots, align);
    return run;
}

/* @slots slots, or the block above, that begin at a multiple of @align and end where @dev reaches. */
static struct run take_run(struct dk_bounce_pool *pool, const struct device *dev, u64 limit, unsigned slots,
                           unsigned align)
{
    unsigned order = order_above(slots);
    u64 first = NO_BLOCK;

    if (__builtin_expect(may_keep(pool, order) && dk_magazine_take(pool->magazines, order, &first), 1) &&
        __builtin_expect(!dev->dk->window_count && limit >= pool->last, 1))
        return (struct run){ first, 1u << order, order };
    return take_slowly(pool, dev, limit, slots, align, first);
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

static struct dk_bounce_record *enter(struct dk_bounce_pool *pool, const struct run *run, phys_addr_t start,
                                      phys_addr_t original, char *cpu, struct device *dev, size_t size)
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
    if (pool->quarantine)
        dk_delay_queue_add(pool->quarantine, (u64)(record - pool->records), slots, order);
    else
        give_run(pool, (u64)(record - pool->records), slots, order);
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
    struct run run;
    char *cpu;

    if (!size || size > DK_BOUNCE_BYTES || before > DK_BOUNCE_BYTES - size)
        return dk_bounce_refuse(pool, dev, size, true, attrs);
    slots = (unsigned)((size + before + DK_BOUNCE_SLOT - 1) / DK_BOUNCE_SLOT);
    if (slots < align)
        slots = align;
    run = take_run(pool, dev, dk_dma_limit(dev, *dev->dma_mask), slots, align);
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
    struct run run;

    if (!size || size > DK_BOUNCE_BYTES)
        return dk_bounce_refuse(pool, dev, size, true, attrs);
    run = take_run(pool, dev, dk_dma_limit(dev, dev->coherent_dma_mask), slots, PAGE_SLOTS);
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

/* ---- The pool ---- */

/* As dk_allocate(), at the start of a line; *memory is for dk_release(). */
static void *allocate_lines(size_t number, size_t size, void **memory)
{
    *memory = dk_allocate(number + 1, size);
    return *memory ? (void *)(((uintptr_t)*memory + LINE - 1) & ~(uintptr_t)(LINE - 1)) : NULL;
}

/* Magazines of a small pool would keep too much of it from other threads. */
static bool make_magazines(struct dk_bounce_pool *pool)
{
    static const struct dk_magazine_source source = { refill, spill };
    unsigned capacities[DK_BOUNCE_ORDERS];

    if (!capacity_of(pool, 0))
        return true;
    for (unsigned i = 0; i < DK_BOUNCE_ORDERS; i++)
        capacities[i] = capacity_of(pool, i);
    pool->magazines = dk_magazines_create(&source, pool, capacities, DK_BOUNCE_ORDERS);
    return pool->magazines;
}

static bool make_quarantine(struct dk_bounce_pool *pool, const struct dk_machine *machine)
{
    if (!machine->mapping || !machine->mapping->config.quarantine)
        return true;
    pool->quarantine = dk_delay_queue_create(QUARANTINE_RUNS, pool->size / DK_BOUNCE_SLOT / QUARANTINE_PART,
                                             give_at_last, pool);
    return pool->quarantine;
}

static void free_pool(struct dk_bounce_pool *pool)
{
    dk_delay_queue_destroy(pool->quarantine);
    dk_magazines_destroy(pool->magazines);
    dk_release(pool->threads_memory);
    dk_release(pool->soiled);
    dk_release(pool->records_memory);
    dk_bounce_slots_destroy(pool->slots);
    dk_release(pool);
}

struct dk_bounce_pool *dk_bounce_create(struct dk_machine *machine, phys_addr_t phys, u64 size,
                                        const char *name)
{
    struct dk_bounce_pool *pool;
    char *view;

    if (size < DK_BOUNCE_BYTES || (phys | size) & (PAGE_SIZE - 1) || size > SIZE_MAX ||
        !dk_memory_is_ram(machine->memory, phys, size))
        return ERR_PTR(-EINVAL);
    view = dk_memory_cached(machine->memory, phys);
    pool = view ? dk_allocate(1, sizeof(*pool)) : NULL;
    if (!pool)
        return ERR_PTR(-ENOMEM);
    pool->base = phys;
    pool->size = size;
    pool->view = phys >> DK_SLOT_SHIFT == (phys + size - 1) >> DK_SLOT_SHIFT ? view : NULL;
    pool->last = phys + (size - 1);
    pool->memory = machine->memory;
    pool->cache = machine->cache;
    pool->name = name;
    pool->slots = dk_bounce_slots_create(size / DK_BOUNCE_SLOT);
    pool->records =
        allocate_lines((size_t)(size / DK_BOUNCE_SLOT), sizeof(*pool->records), &pool->records_memory);
    pool->soiled = dk_allocate((size_t)(size / DK_BOUNCE_SLOT), 1);
    pool->threads = allocate_lines(DK_THREAD_UNNUMBERED + 1, sizeof(*pool->threads), &pool->threads_memory);
    if (!pool->slots || !pool->records || !pool->soiled || !pool->threads || !make_magazines(pool) ||
        !make_quarantine(pool, machine))
        goto destroy;
    dk_bounce_former_start(pool);
    return pool;

destroy:
    free_pool(pool);
    return ERR_PTR(-ENOMEM);
}

void dk_bounce_destroy(struct dk_bounce_pool *pool)
{
    if (!pool)
        return;
    dk_bounce_log_left(pool);
    free_pool(pool);
}
