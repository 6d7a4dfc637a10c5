/* SPDX-License-Identifier: MIT */
/*
 * A bounce pool's life, and the runs of slots that buffers get from it.
 *
 * A run comes from this thread's magazine of its size, so that neither taking nor giving takes a lock or
 * writes to a line that other threads write; what the magazines do not have comes from the slots' areas.
 */
#include "mapping/bounce-private.h"

#include "base/alloc.h"
#include "base/magazine.h"
#include "mapping/mapping.h"

/* A magazine has at most this part of the pool's slots, and no thread more than two of each of the eight
 * sizes. */
#define MAGAZINE_PART 512
#define MAGAZINE_ITEMS 32
/* Of all threads, ended ones too, at most this part is in the magazines at hand; full ones wait in the depots
 * beside that, until somebody finds no slots. */
#define KEPT_PART 4
/* In quarantine is at most this part, and so many runs: those whose buffers were unmapped last, so that a
 * device that still uses one does not meet the next buffer. Who finds no slots ends it. */
#define QUARANTINE_PART 8
#define QUARANTINE_RUNS 64u

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
static struct dk_bounce_run take_in_window(struct dk_bounce_pool *pool, const struct dk_window *window,
                                           u64 limit, unsigned slots, unsigned align)
{
    u64 length = limit - window->dma < window->size - 1 ? limit - window->dma : window->size - 1;
    phys_addr_t last = window->cpu + length;
    u64 lowest = 0, end = pool->size / DK_BOUNCE_SLOT;
    struct dk_bounce_run run = { 0, slots, NO_ORDER };

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

static struct dk_bounce_run take_from_slots(struct dk_bounce_pool *pool, const struct device *dev, u64 limit,
                                            unsigned slots, unsigned align)
{
    static const struct dk_window everything = { 0, 0, ~0ull };
    struct dk_bounce_run run = { 0 };

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
static NOINLINE struct dk_bounce_run take_slowly(struct dk_bounce_pool *pool, const struct device *dev,
                                                 u64 limit, unsigned slots, unsigned align, u64 first)
{
    unsigned order = order_above(slots);
    struct dk_bounce_run run;

    if (first != NO_BLOCK) {
        if (reaches(dev, limit, pool->base + first * DK_BOUNCE_SLOT, (u64)DK_BOUNCE_SLOT << order))
            return (struct dk_bounce_run){ first, 1u << order, order };
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

struct dk_bounce_run dk_bounce_run_take(struct dk_bounce_pool *pool, const struct device *dev, u64 limit,
                                        unsigned slots, unsigned align)
{
    unsigned order = order_above(slots);
    u64 first = NO_BLOCK;

    if (__builtin_expect(may_keep(pool, order) && dk_magazine_take(pool->magazines, order, &first), 1) &&
        __builtin_expect(!dev->dk->window_count && limit >= pool->last, 1))
        return (struct dk_bounce_run){ first, 1u << order, order };
    return take_slowly(pool, dev, limit, slots, align, first);
}

void dk_bounce_run_give(struct dk_bounce_pool *pool, u64 first, unsigned slots, unsigned order)
{
    if (pool->quarantine)
        dk_delay_queue_add(pool->quarantine, first, slots, order);
    else
        give_run(pool, first, slots, order);
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
