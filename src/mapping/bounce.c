/* SPDX-License-Identifier: MIT */
/*
 * A bounce pool's buffers: where each stands, and copying.
 *
 * A buffer's run of slots comes from this thread's magazine of its size, so that mapping and unmapping take
 * no lock and write to no line that other threads write; what the magazines do not have comes from the slots'
 * areas. A record is written by who holds its run. Reports read records while that happens, hence relaxed
 * atomics.
 */
#include "mapping/bounce.h"

#include "base/alloc.h"
#include "base/log.h"
#include "base/magazine.h"
#include "mapping/mapping.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LINE ((size_t)64)
#define NOWHERE (~(phys_addr_t)0)
#define PAGE_SLOTS ((unsigned)(PAGE_SIZE / DK_BOUNCE_SLOT))
/* A magazine has at most this part of the pool's slots, and no thread more than two of each of the eight
 * sizes. */
#define MAGAZINE_PART 512
#define MAGAZINE_ITEMS 32
/* The order of a run that is no block: it goes back to the slots. */
#define NO_ORDER (~0u)
#define QUIET_MS 1000

/* On a line of its own: neighbours may be other threads'. Relaxed atomic. */
struct dk_bounce_record {
    phys_addr_t start;    /* of the buffer; it may begin behind the run's */
    phys_addr_t original; /* NOWHERE: pages of dk_bounce_alloc() */
    char *cpu;            /* the CPU's view of @original; NULL: it lies in several sections */
    struct device *dev;
    size_t size;    /* 0: no buffer */
    unsigned slots; /* of the run */
    unsigned order; /* of the magazine it came from, or NO_ORDER */
} __attribute__((aligned(64)));

/* A thread's own; the counts are relaxed atomic, because others add them up. */
struct dk_bounce_thread {
    long long used,
        most;            /* slots mapped less slots unmapped: below zero where others' buffers are unmapped */
    phys_addr_t section; /* the base of the section that was used last */
    char *view;          /* the CPU's of it; NULL: none so far */
} __attribute__((aligned(64)));

struct run {
    u64 first;
    unsigned slots;
    unsigned order;
};

#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define STORE(place, value) __atomic_store_n(&(place), value, __ATOMIC_RELAXED)

/* ---- Counting ---- */

static void count_without_number(struct dk_bounce_thread *thread, long long slots)
{
    long long used = __atomic_add_fetch(&thread->used, slots, __ATOMIC_RELAXED);
    long long most = LOAD(thread->most);

    while (used > most &&
           !__atomic_compare_exchange_n(&thread->most, &most, used, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

static inline void count(struct dk_bounce_pool *pool, long long slots)
{
    unsigned number = dk_thread_number();
    struct dk_bounce_thread *thread = &pool->threads[number];
    long long used;

    if (__builtin_expect(number == DK_THREAD_NUMBERS, 0)) {
        count_without_number(thread, slots);
        return;
    }
    used = LOAD(thread->used) + slots;
    STORE(thread->used, used);
    if (used > LOAD(thread->most))
        STORE(thread->most, used);
}

void dk_bounce_usage(const struct dk_bounce_pool *pool, u64 *slots, u64 *used, u64 *most)
{
    long long now = 0, highest = 0;
    u64 taken;

    for (unsigned i = 0; i <= DK_THREAD_NUMBERS; i++) {
        now += LOAD(pool->threads[i].used);
        highest += LOAD(pool->threads[i].most);
    }
    *slots = pool->size / DK_BOUNCE_SLOT;
    *used = now > 0 ? (u64)now : 0;
    /* Both the sum of the threads' own and what was ever taken from the slots are at least as high as it was.
     */
    dk_bounce_slots_usage(pool->slots, &taken, most);
    if ((u64)highest < *most)
        *most = (u64)highest;
}

/* ---- Who holds the pool ---- */

#define HOLDERS 64 /* devices that are told apart */
#define NAMED 3

struct holder {
    const struct device *dev;
    u64 bytes;
    unsigned buffers;
};

static unsigned find_holders(const struct dk_bounce_pool *pool, struct holder *holders)
{
    u64 slots = pool->size / DK_BOUNCE_SLOT, slot = 0;
    unsigned found = 0, i;

    while (slot < slots) {
        const struct dk_bounce_record *record = &pool->records[slot];
        u64 size = LOAD(record->size), run = LOAD(record->slots);
        const struct device *dev = LOAD(record->dev);

        slot += size && run ? run : 1;
        if (!size)
            continue;
        for (i = 0; i < found && holders[i].dev != dev; i++)
            ;
        if (i == HOLDERS)
            continue;
        if (i == found)
            holders[found++] = (struct holder){ .dev = dev };
        holders[i].bytes += size;
        holders[i].buffers++;
    }
    return found;
}

/* Writes the largest holders into @text, as " by PATH (N bytes in M buffers), ...". */
static void describe_holders(const struct dk_bounce_pool *pool, char *text, size_t size)
{
    struct holder holders[HOLDERS];
    unsigned found = find_holders(pool, holders);
    size_t used = 0;

    text[0] = 0;
    for (unsigned n = 0; n < NAMED && n < found; n++) {
        struct holder *largest = &holders[n], other;

        for (unsigned i = n + 1; i < found; i++) {
            if (holders[i].bytes > largest->bytes)
                largest = &holders[i];
        }
        other = *largest;
        *largest = holders[n];
        holders[n] = other;
        used += (size_t)snprintf(text + used, size - used, "%s %s (%llu bytes in %u buffer%s)",
                                 n ? "," : " by", dk_device_path(other.dev), other.bytes, other.buffers,
                                 other.buffers == 1 ? "" : "s");
        if (used >= size)
            return;
    }
}

/* Whether a line may be logged now: *left_out lines were not since the last one. */
static bool may_log(struct dk_bounce_pool *pool, u64 *left_out)
{
    u64 until = LOAD(pool->quiet_until);
    struct timespec time;
    u64 now;

    clock_gettime(CLOCK_MONOTONIC, &time);
    now = (u64)time.tv_sec * 1000 + (u64)time.tv_nsec / 1000000;
    if (now < until || !__atomic_compare_exchange_n(&pool->quiet_until, &until, now + QUIET_MS, false,
                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_add_fetch(&pool->left_out, 1, __ATOMIC_RELAXED);
        return false;
    }
    *left_out = __atomic_exchange_n(&pool->left_out, 0, __ATOMIC_RELAXED);
    return true;
}

/* Logs that @size bytes of @dev have no place: there is none now, or never. Returns NOWHERE. */
static __attribute__((noinline)) phys_addr_t refuse(struct dk_bounce_pool *pool, const struct device *dev,
                                                    size_t size, bool never, unsigned long attrs)
{
    char holders[640], before[64] = "";
    u64 slots, used, most, left_out;

    if (attrs & DMA_ATTR_NO_WARN || !may_log(pool, &left_out))
        return NOWHERE;
    if (left_out)
        snprintf(before, sizeof(before), "; %llu lines like this were left out", left_out);
    if (never) {
        dk_log(DK_LOG_WARNING,
               "bounce pool %s: %s wants %zu bytes in one buffer, and 1 to %zu are possible%s", pool->name,
               dk_device_path(dev), size, dk_bounce_max_mapping(dev), before);
        return NOWHERE;
    }
    describe_holders(pool, holders, sizeof(holders));
    dk_bounce_usage(pool, &slots, &used, &most);
    dk_log(DK_LOG_WARNING, "bounce pool %s: no room for %zu bytes of %s: %llu of %llu slots are used%s%s",
           pool->name, size, dk_device_path(dev), used, slots, holders, before);
    return NOWHERE;
}

/* ---- Runs of slots ---- */

static size_t refill(void *owner, unsigned order, u64 *firsts, size_t wanted)
{
    return dk_bounce_slots_take_blocks(((struct dk_bounce_pool *)owner)->slots, order, firsts, wanted);
}

static void spill(void *owner, unsigned order, const u64 *firsts, size_t given)
{
    struct dk_bounce_pool *pool = owner;

    for (size_t i = 0; i < given; i++)
        dk_bounce_slots_give(pool->slots, firsts[i], 1u << order);
}

/* Whether @dev reaches all of [phys, phys + size), its DMA addresses being at most @limit. */
static bool reaches(const struct device *dev, u64 limit, phys_addr_t phys, u64 size)
{
    dma_addr_t dma;

    return dk_phys_to_dma(dev, phys, size, &dma) && dma + (size - 1) <= limit;
}

/* A run in those slots of the pool that a window shows below @limit. */
static bool take_in_window(struct dk_bounce_pool *pool, const struct dk_window *window, u64 limit,
                           unsigned slots, unsigned align, struct run *run)
{
    u64 length = limit - window->dma < window->size - 1 ? limit - window->dma : window->size - 1;
    phys_addr_t last = window->cpu + length;
    u64 lowest = 0, end = pool->size / DK_BOUNCE_SLOT;

    if (window->dma > limit || last < pool->base)
        return false;
    if (window->cpu > pool->base)
        lowest = (window->cpu - pool->base + DK_BOUNCE_SLOT - 1) / DK_BOUNCE_SLOT;
    if (last - pool->base < pool->size - 1)
        end = (last - pool->base + 1) / DK_BOUNCE_SLOT;
    run->slots = slots;
    run->order = NO_ORDER;
    return lowest < end && dk_bounce_slots_take(pool->slots, slots, align, lowest, end, &run->first);
}

static bool take_from_slots(struct dk_bounce_pool *pool, const struct device *dev, u64 limit, unsigned slots,
                            unsigned align, struct run *run)
{
    static const struct dk_window everything = { 0, 0, ~0ull };

    if (!dev->dk->window_count)
        return take_in_window(pool, &everything, limit, slots, align, run);
    for (unsigned i = 0; i < dev->dk->window_count; i++) {
        if (take_in_window(pool, &dev->dk->windows[i], limit, slots, align, run))
            return true;
    }
    return false;
}

/* Where the magazines have nothing, or nothing that the device reaches. */
static __attribute__((noinline)) bool take_slowly(struct dk_bounce_pool *pool, const struct device *dev,
                                                  u64 limit, unsigned slots, unsigned align, struct run *run)
{
    if (take_from_slots(pool, dev, limit, slots, align, run))
        return true;
    if (!pool->magazines)
        return false;
    dk_magazines_drain(pool->magazines);
    return take_from_slots(pool, dev, limit, slots, align, run);
}

static inline unsigned order_above(unsigned slots)
{
    return slots > 1 ? 32 - (unsigned)__builtin_clz(slots - 1) : 0;
}

static inline void give_run(struct dk_bounce_pool *pool, const struct run *run)
{
    if (run->order == NO_ORDER || !dk_magazine_give(pool->magazines, run->order, run->first))
        dk_bounce_slots_give(pool->slots, run->first, run->slots);
}

/* @slots slots, or the block above, that begin at a multiple of @align and end where @dev reaches. */
static inline bool take_run(struct dk_bounce_pool *pool, const struct device *dev, u64 limit, unsigned slots,
                            unsigned align, struct run *run)
{
    run->order = order_above(slots);
    if (pool->magazines && dk_magazine_take(pool->magazines, run->order, &run->first)) {
        run->slots = 1u << run->order;
        if (__builtin_expect(!dev->dk->window_count && limit >= pool->base + (pool->size - 1), 1))
            return true;
        if (reaches(dev, limit, pool->base + run->first * DK_BOUNCE_SLOT, (u64)run->slots * DK_BOUNCE_SLOT))
            return true;
        give_run(pool, run);
    }
    return take_slowly(pool, dev, limit, slots, align, run);
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
static inline char *view_of(struct dk_bounce_pool *pool, phys_addr_t phys, size_t size)
{
    struct dk_bounce_thread *thread = &pool->threads[dk_thread_number()];
    size_t offset = (size_t)(phys & (DK_SLOT_SIZE - 1));
    char *view;

    if (size > DK_SLOT_SIZE - offset)
        return NULL;
    if (thread->view && thread->section == phys - offset)
        return thread->view + offset;
    view = dk_memory_cached(pool->machine->memory, phys - offset);
    if (view && thread != &pool->threads[DK_THREAD_NUMBERS]) {
        thread->section = phys - offset;
        thread->view = view;
    }
    return view ? view + offset : NULL;
}

/* Between @size bytes at @phys of a buffer and their original. */
static inline bool copy(struct dk_bounce_pool *pool, const struct dk_bounce_record *record, phys_addr_t phys,
                        size_t size, bool to_original)
{
    u64 offset = phys - LOAD(record->start);
    phys_addr_t original = LOAD(record->original) + offset;
    char *cpu = LOAD(record->cpu);
    char *bounced;

    if (__builtin_expect(!cpu || !pool->view, 0))
        return copy_pieces(pool->machine->memory, to_original ? original : phys,
                           to_original ? phys : original, size);
    cpu += offset;
    bounced = pool->view + (phys - pool->base);
    memcpy(to_original ? cpu : bounced, to_original ? bounced : cpu, size);
    return true;
}

/* ---- Buffers ---- */

/* The record of the buffer that has @phys; NULL: there is none. */
static inline struct dk_bounce_record *record_of(const struct dk_bounce_pool *pool, phys_addr_t phys)
{
    struct dk_bounce_record *record;

    if (!dk_bounce_holds(pool, phys))
        return NULL;
    record = &pool->records[dk_bounce_slots_first(pool->slots, (phys - pool->base) / DK_BOUNCE_SLOT)];
    return phys - LOAD(record->start) < LOAD(record->size) ? record : NULL;
}

static inline void write_record(struct dk_bounce_pool *pool, const struct run *run, phys_addr_t start,
                                phys_addr_t original, char *cpu, struct device *dev, size_t size)
{
    struct dk_bounce_record *record = &pool->records[run->first];

    STORE(record->start, start);
    STORE(record->original, original);
    STORE(record->cpu, cpu);
    STORE(record->dev, dev);
    STORE(record->size, size);
    STORE(record->slots, run->slots);
    STORE(record->order, run->order);
    count(pool, run->slots);
}

/* The buffer is no more. */
static inline void release(struct dk_bounce_pool *pool, struct dk_bounce_record *record)
{
    struct run run = { (u64)(record - pool->records), LOAD(record->slots), LOAD(record->order) };

    STORE(record->size, 0);
    count(pool, -(long long)run.slots);
    give_run(pool, &run);
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

phys_addr_t dk_bounce_map(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t original, size_t size,
                          unsigned long attrs)
{
    u64 kept = kept_bits(dev);
    /* What stands before the buffer in its run. Runs begin at pages where that matters; for more than a
     * page's bits it depends on the run. */
    u64 before = kept < PAGE_SIZE ? original & kept : kept;
    unsigned align = kept < DK_BOUNCE_SLOT ? 1 : PAGE_SLOTS;
    unsigned slots;
    phys_addr_t start;
    struct run run;

    if (!size || size > DK_BOUNCE_BYTES || before > DK_BOUNCE_BYTES - size)
        return refuse(pool, dev, size, true, attrs);
    slots = (unsigned)((size + before + DK_BOUNCE_SLOT - 1) / DK_BOUNCE_SLOT);
    if (slots < align)
        slots = align;
    if (!take_run(pool, dev, dk_dma_limit(dev, *dev->dma_mask), slots, align, &run))
        return refuse(pool, dev, size, false, attrs);
    start = pool->base + run.first * DK_BOUNCE_SLOT;
    /* Whole lines: what devices wrote there and nobody read was the last buffer's. */
    if (pool->machine->cache)
        dk_cache_renew(pool->machine->cache, start, (u64)run.slots * DK_BOUNCE_SLOT);
    start += (original - start) & kept;
    write_record(pool, &run, start, original, view_of(pool, original, size), dev, size);
    if (__builtin_expect(!copy(pool, &pool->records[run.first], start, size, false), 0)) {
        release(pool, &pool->records[run.first]);
        return NOWHERE;
    }
    return start;
}

void dk_bounce_unmap(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t phys, size_t size,
                     enum dma_data_direction direction, unsigned long attrs)
{
    struct dk_bounce_record *record = record_of(pool, phys);

    if (__builtin_expect(!record || LOAD(record->start) != phys || LOAD(record->original) == NOWHERE, 0)) {
        dk_log(DK_LOG_WARNING, "bounce pool %s: %s unmaps 0x%llx, where no buffer begins", pool->name,
               dk_device_path(dev), phys);
        return;
    }
    if (direction != DMA_TO_DEVICE && direction != DMA_NONE && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        copy(pool, record, phys, size < LOAD(record->size) ? size : LOAD(record->size), true);
    release(pool, record);
}

void dk_bounce_sync(struct dk_bounce_pool *pool, struct device *dev, phys_addr_t phys, size_t size,
                    enum dma_data_direction direction, bool for_cpu)
{
    const struct dk_bounce_record *record = record_of(pool, phys);

    if (!record || LOAD(record->original) == NOWHERE ||
        size > LOAD(record->size) - (phys - LOAD(record->start))) {
        dk_log(DK_LOG_WARNING, "bounce pool %s: %s syncs %zu bytes at 0x%llx, which leave their buffer",
               pool->name, dk_device_path(dev), size, phys);
        return;
    }
    if (direction != (for_cpu ? DMA_TO_DEVICE : DMA_FROM_DEVICE) && direction != DMA_NONE)
        copy(pool, record, phys, size, for_cpu);
}

phys_addr_t dk_bounce_alloc(struct dk_bounce_pool *pool, struct device *dev, size_t size)
{
    unsigned slots = (unsigned)(PFN_UP(size < DK_BOUNCE_BYTES ? size : DK_BOUNCE_BYTES) * PAGE_SLOTS);
    phys_addr_t start;
    struct run run;

    if (!size || size > DK_BOUNCE_BYTES ||
        !take_run(pool, dev, dk_dma_limit(dev, dev->coherent_dma_mask), slots, PAGE_SLOTS, &run))
        return refuse(pool, dev, size, !size || size > DK_BOUNCE_BYTES, 0);
    start = pool->base + run.first * DK_BOUNCE_SLOT;
    write_record(pool, &run, start, NOWHERE, NULL, dev, (size_t)slots * DK_BOUNCE_SLOT);
    return start;
}

bool dk_bounce_free(struct dk_bounce_pool *pool, phys_addr_t phys, size_t size)
{
    struct dk_bounce_record *record = record_of(pool, phys);

    if (!record || LOAD(record->start) != phys || LOAD(record->original) != NOWHERE || !size ||
        PFN_UP(size) != PFN_UP(LOAD(record->size)))
        return false;
    release(pool, record);
    return true;
}

bool dk_bounce_original(const struct dk_bounce_pool *pool, phys_addr_t phys, phys_addr_t *original)
{
    const struct dk_bounce_record *record = record_of(pool, phys);
    phys_addr_t base = record ? LOAD(record->original) : NOWHERE;

    if (base == NOWHERE)
        return false;
    *original = base + (phys - LOAD(record->start));
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
    u64 part = pool->size / DK_BOUNCE_SLOT / MAGAZINE_PART;
    unsigned capacities[DK_BOUNCE_ORDERS];

    if (!part)
        return true;
    for (unsigned i = 0; i < DK_BOUNCE_ORDERS; i++)
        capacities[i] = part >> i < MAGAZINE_ITEMS ? (unsigned)(part >> i) : MAGAZINE_ITEMS;
    pool->magazines = dk_magazines_create(&source, pool, capacities, DK_BOUNCE_ORDERS);
    return pool->magazines;
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
    pool->machine = machine;
    pool->name = name;
    pool->slots = dk_bounce_slots_create(size / DK_BOUNCE_SLOT);
    pool->records =
        allocate_lines((size_t)(size / DK_BOUNCE_SLOT), sizeof(*pool->records), &pool->records_memory);
    pool->threads = allocate_lines(DK_THREAD_NUMBERS + 1, sizeof(*pool->threads), &pool->threads_memory);
    if (!pool->slots || !pool->records || !pool->threads || !make_magazines(pool))
        goto destroy;
    return pool;

destroy:
    dk_magazines_destroy(pool->magazines);
    dk_release(pool->threads_memory);
    dk_release(pool->records_memory);
    dk_bounce_slots_destroy(pool->slots);
    dk_release(pool);
    return ERR_PTR(-ENOMEM);
}

void dk_bounce_destroy(struct dk_bounce_pool *pool)
{
    u64 slots, used, most;
    char holders[640];

    if (!pool)
        return;
    dk_bounce_usage(pool, &slots, &used, &most);
    if (used) {
        describe_holders(pool, holders, sizeof(holders));
        dk_log(DK_LOG_WARNING, "bounce pool %s goes while %llu of its %llu slots are used%s", pool->name,
               used, slots, holders);
    }
    dk_magazines_destroy(pool->magazines);
    dk_release(pool->threads_memory);
    dk_release(pool->records_memory);
    dk_bounce_slots_destroy(pool->slots);
    dk_release(pool);
}
