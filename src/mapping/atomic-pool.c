/* SPDX-License-Identifier: MIT */
#include "mapping/atomic-pool.h"

#include "base/alloc.h"
#include "base/log.h"
#include "mapping/mapping.h"
#include <string.h>

#define POOLS 3
/* A pool grows when less than this part of its first size is free. */
#define LOW_PART 2
/* And to no more than this part of its zone, unless it began with more. */
#define MOST_PART 8

/* What a page of a chunk is. */
enum { FREE, FIRST, FOLLOWING };

/* Pages that came from the page allocator together; a power of two, aligned to themselves. */
struct chunk {
    struct chunk *next;
    struct page *page;
    phys_addr_t phys;
    size_t pages;
    unsigned char state[]; /* one a page */
};

struct atomic_pool {
    const char *name;
    gfp_t gfp;
    phys_addr_t first, last; /* of the zone */
    struct chunk *chunks;
    size_t start_pages; /* what it began with; never changes after that, as the next */
    size_t most_pages;
    size_t pages, unused;
    size_t wanted_block; /* the largest block that there was none for since it grew last; pages, or 0 */
    bool wanted;         /* it is to grow */
    bool failed;         /* to grow, and that was logged */
};

struct dk_atomic_pools {
    struct dk_machine *machine;
    struct atomic_pool pools[POOLS]; /* those that are, the highest first */
    unsigned count;
    pthread_mutex_t lock;      /* guards all that changes; never held while the page allocator is asked */
    pthread_cond_t work, idle; /* a pool is wanted to grow, or stopping; none is any more */
    pthread_t worker;
    bool worker_started, stopping;
};

static size_t power_below(size_t number)
{
    return (size_t)1 << (8 * sizeof(unsigned long) - 1 - (size_t)__builtin_clzl(number));
}

/* ---- Growing ---- */

/* @pages pages of the pool's zone; NULL: there are none. May sleep. */
static struct chunk *make_chunk(struct dk_machine *machine, const struct atomic_pool *pool, size_t pages)
{
    struct chunk *chunk = dk_allocate(1, sizeof(*chunk) + pages);

    if (!chunk)
        return NULL;
    chunk->page =
        dk_pages_take(machine->memory, pool->gfp | __GFP_NOWARN, pages, pages, pool->first, pool->last);
    if (!chunk->page) {
        dk_release(chunk);
        return NULL;
    }
    chunk->phys = page_to_phys(chunk->page);
    chunk->pages = pages;
    if (dk_lines_uncache(machine, chunk->phys, (u64)pages << PAGE_SHIFT)) {
        dk_pages_give(machine->memory, chunk->page, pages);
        dk_release(chunk);
        return NULL;
    }
    return chunk;
}

static void free_chunk(struct dk_machine *machine, struct chunk *chunk)
{
    dk_lines_recache(machine, chunk->phys, (u64)chunk->pages << PAGE_SHIFT);
    dk_pages_give(machine->memory, chunk->page, chunk->pages);
    dk_release(chunk);
}

/* Adds a piece of @pages pages; false: there is none. May sleep. */
static bool grow_by_piece(struct dk_atomic_pools *pools, struct atomic_pool *pool, size_t pages)
{
    struct chunk *chunk = make_chunk(pools->machine, pool, pages);

    if (!chunk)
        return false;
    pthread_mutex_lock(&pools->lock);
    chunk->next = pool->chunks;
    pool->chunks = chunk;
    pool->pages += pages;
    pool->unused += pages;
    pthread_mutex_unlock(&pools->lock);
    return true;
}

/* Adds @pages pages, in the largest pieces that there are; returns how many there were. May sleep. */
static size_t grow(struct dk_atomic_pools *pools, struct atomic_pool *pool, size_t pages)
{
    size_t piece = power_below(pages), added = 0;

    if (piece > (size_t)1 << MAX_PAGE_ORDER)
        piece = (size_t)1 << MAX_PAGE_ORDER;
    while (piece && added < pages) {
        if (piece > pages - added)
            piece = power_below(pages - added);
        if (grow_by_piece(pools, pool, piece))
            added += piece;
        else
            piece /= 2;
    }
    return added;
}

/* Whether less is free than the pool is to have at hand. Under the lock. */
static bool is_low(const struct atomic_pool *pool)
{
    return pool->unused < pool->start_pages / LOW_PART;
}

/* Where the first free block of @pages pages up to @limit is, aligned to @align pages. Under the lock. */
static bool find_in_chunk(const struct chunk *chunk, size_t pages, size_t align, u64 limit, size_t *at)
{
    size_t end = chunk->pages, i;

    if (chunk->phys > limit)
        return false;
    if (limit - chunk->phys < ((u64)end << PAGE_SHIFT) - 1)
        end = (size_t)((limit - chunk->phys + 1) >> PAGE_SHIFT);
    for (*at = 0; *at + pages <= end; *at += align) {
        for (i = 0; i < pages && chunk->state[*at + i] == FREE; i++)
            ;
        if (i == pages)
            return true;
    }
    return false;
}

/* Whether there is a block of @pages pages, a power of two. Under the lock. */
static bool has_block(const struct atomic_pool *pool, size_t pages)
{
    const struct chunk *chunk;
    size_t at;

    for (chunk = pool->chunks; chunk && !find_in_chunk(chunk, pages, pages, ~0ull, &at); chunk = chunk->next)
        ;
    return chunk;
}

/*
 * Doubles a pool that is low, as far as it may; then sees to a block that somebody went without, with a piece
 * that has it or not at all. Under the lock, which it lets go of meanwhile. False: nothing was added.
 */
static bool serve(struct dk_atomic_pools *pools, struct atomic_pool *pool)
{
    size_t room = pool->most_pages - pool->pages, before = pool->pages, block = pool->wanted_block;

    pool->wanted_block = 0;
    if (is_low(pool) && room) {
        pthread_mutex_unlock(&pools->lock);
        grow(pools, pool, before < room ? before : room);
        pthread_mutex_lock(&pools->lock);
    }
    if (block && block <= pool->most_pages - pool->pages && !has_block(pool, block)) {
        pthread_mutex_unlock(&pools->lock);
        grow_by_piece(pools, pool, block);
        pthread_mutex_lock(&pools->lock);
    }
    return pool->pages != before || (!is_low(pool) && (!block || has_block(pool, block)));
}

/* Once, that @pool cannot grow. Under the lock. */
static void log_failure(struct atomic_pool *pool, const char *reason)
{
    if (!pool->failed)
        dk_log(DK_LOG_WARNING, "the atomic pool of %s, %zu KiB, cannot grow: %s", pool->name,
               pool->pages << (PAGE_SHIFT - 10), reason);
    pool->failed = true;
}

/* The lowest-numbered pool that is to grow, or NULL. Under the lock. */
static struct atomic_pool *find_wanted(struct dk_atomic_pools *pools)
{
    for (unsigned i = 0; i < pools->count; i++) {
        if (pools->pools[i].wanted)
            return &pools->pools[i];
    }
    return NULL;
}

static void *work(void *data)
{
    struct dk_atomic_pools *pools = data;
    struct atomic_pool *pool;

    pthread_mutex_lock(&pools->lock);
    while (!pools->stopping) {
        pool = find_wanted(pools);
        if (!pool) {
            pthread_cond_broadcast(&pools->idle);
            pthread_cond_wait(&pools->work, &pools->lock);
            continue;
        }
        if (!serve(pools, pool))
            log_failure(pool, "no memory");
        pool->wanted = pool->wanted_block != 0;
    }
    for (unsigned i = 0; i < pools->count; i++)
        pools->pools[i].wanted = false;
    pthread_cond_broadcast(&pools->idle);
    pthread_mutex_unlock(&pools->lock);
    return NULL;
}

/* For a block of @block pages, or 0: for what is at hand. Under the lock. The first need starts the worker:
 * most machines never have one. */
static void ask(struct dk_atomic_pools *pools, struct atomic_pool *pool, size_t block)
{
    size_t room = pool->most_pages - pool->pages;

    if (block > room || !room) {
        log_failure(pool, "it has as much of its zone as it may");
        block = 0;
        if (!room || !is_low(pool))
            return;
    }
    if (!pools->worker_started)
        pools->worker_started = !dk_fault_point() && !pthread_create(&pools->worker, NULL, work, pools);
    if (!pools->worker_started) {
        if (!pool->failed)
            dk_log(DK_LOG_WARNING, "coherent_pool: no thread that would make the pool in %s grow",
                   pool->name);
        pool->failed = true;
        return;
    }
    if (block > pool->wanted_block)
        pool->wanted_block = block;
    pool->wanted = true;
    pthread_cond_signal(&pools->work);
}

/* ---- Blocks ---- */

/* A free block of @pages pages up to @limit, aligned to @align pages, marked as used. Under the lock. */
static bool claim_in_chunk(struct chunk *chunk, size_t pages, size_t align, u64 limit, size_t *at)
{
    if (!find_in_chunk(chunk, pages, align, limit, at))
        return false;
    memset(chunk->state + *at, FOLLOWING, pages);
    chunk->state[*at] = FIRST;
    return true;
}

/* A block of @pool's: *phys; false: there is none. Where the pool is low it is asked to grow. */
static bool claim(struct dk_atomic_pools *pools, struct atomic_pool *pool, size_t pages, u64 limit,
                  phys_addr_t *phys)
{
    size_t align = (size_t)1 << get_order((unsigned long)pages << PAGE_SHIFT), at;
    struct chunk *chunk;

    pthread_mutex_lock(&pools->lock);
    for (chunk = pool->chunks; chunk && !claim_in_chunk(chunk, pages, align, limit, &at); chunk = chunk->next)
        ;
    if (chunk) {
        *phys = chunk->phys + ((phys_addr_t)at << PAGE_SHIFT);
        pool->unused -= pages;
    }
    /* More memory is of no use where only the limit is in the way. */
    if (!chunk && (pool->unused < pages || limit >= pool->last))
        ask(pools, pool, align);
    else if (is_low(pool))
        ask(pools, pool, 0);
    pthread_mutex_unlock(&pools->lock);
    return chunk;
}

/* The chunk of @pool that has @phys, or NULL. Under the lock. */
static struct chunk *chunk_of(const struct atomic_pool *pool, phys_addr_t phys)
{
    struct chunk *chunk;

    for (chunk = pool->chunks; chunk; chunk = chunk->next) {
        if (phys - chunk->phys < (u64)chunk->pages << PAGE_SHIFT)
            return chunk;
    }
    return NULL;
}

/* Whether a block of just @pages pages begins at page @at. Under the lock. */
static bool is_block(const struct chunk *chunk, size_t at, size_t pages)
{
    size_t i;

    if (pages > chunk->pages - at || chunk->state[at] != FIRST)
        return false;
    for (i = 1; i < pages && chunk->state[at + i] == FOLLOWING; i++)
        ;
    return i == pages && (at + pages == chunk->pages || chunk->state[at + pages] != FOLLOWING);
}

/* The pool that a block of just @pages pages at @phys is of, and where it is; NULL: none. Under the lock. */
static struct atomic_pool *pool_of_block(struct dk_atomic_pools *pools, phys_addr_t phys, size_t pages,
                                         struct chunk **chunk, size_t *at)
{
    if (phys & (PAGE_SIZE - 1))
        return NULL;
    for (unsigned i = 0; i < pools->count; i++) {
        *chunk = chunk_of(&pools->pools[i], phys);
        if (!*chunk)
            continue;
        *at = (size_t)((phys - (*chunk)->phys) >> PAGE_SHIFT);
        return is_block(*chunk, *at, pages) ? &pools->pools[i] : NULL;
    }
    return NULL;
}

static bool is_claimed(struct dk_atomic_pools *pools, phys_addr_t phys, size_t pages)
{
    struct chunk *chunk;
    bool found;
    size_t at;

    pthread_mutex_lock(&pools->lock);
    found = pool_of_block(pools, phys, pages, &chunk, &at);
    pthread_mutex_unlock(&pools->lock);
    return found;
}

static bool unclaim(struct dk_atomic_pools *pools, phys_addr_t phys, size_t pages)
{
    struct atomic_pool *pool;
    struct chunk *chunk;
    size_t at;

    pthread_mutex_lock(&pools->lock);
    pool = pool_of_block(pools, phys, pages, &chunk, &at);
    if (pool) {
        memset(chunk->state + at, FREE, pages);
        pool->unused += pages;
    }
    pthread_mutex_unlock(&pools->lock);
    return pool;
}

bool dk_atomic_pool_holds(struct dk_machine *machine, const void *cpu)
{
    struct dk_atomic_pools *pools = machine->mapping->atomic_pools;
    struct dk_memory *memory;
    phys_addr_t phys;
    bool found = false;

    if (!pools)
        return false;
    switch (dk_address_find(cpu, &memory, &phys)) {
    case DK_ADDRESS_UNCACHED:
    case DK_ADDRESS_LINEAR:
        break;
    default:
        return false;
    }
    if (memory != machine->memory)
        return false;
    pthread_mutex_lock(&pools->lock);
    for (unsigned i = 0; i < pools->count && !found; i++)
        found = chunk_of(&pools->pools[i], phys);
    pthread_mutex_unlock(&pools->lock);
    return found;
}

struct page *dk_atomic_pool_take(struct dk_machine *machine, size_t size, u64 limit, void **cpu)
{
    struct dk_atomic_pools *pools = machine->mapping->atomic_pools;
    size_t pages = (size_t)PFN_UP(size);
    phys_addr_t phys = 0;
    unsigned i;

    if (!pools || !pages || pages > (size_t)1 << MAX_PAGE_ORDER || dk_fault_point())
        return NULL;
    for (i = 0; i < pools->count; i++) {
        /* What lies beyond the limit as a whole need not grow for this. */
        if (pools->pools[i].first <= limit && claim(pools, &pools->pools[i], pages, limit, &phys))
            break;
    }
    if (i == pools->count)
        return NULL;
    *cpu = dk_memory_dram(machine->memory, phys);
    memset(*cpu, 0, pages << PAGE_SHIFT);
    return dk_page_at(machine->memory, phys);
}

/* The physical address of @cpu where it is the DRAM view of @machine's memory; ~0: it is not. */
static phys_addr_t dram_phys(struct dk_machine *machine, const void *cpu)
{
    struct dk_memory *memory;
    phys_addr_t phys;

    switch (dk_address_find(cpu, &memory, &phys)) {
    case DK_ADDRESS_UNCACHED:
    case DK_ADDRESS_LINEAR: /* a machine with one view */
        return memory == machine->memory && cpu == dk_memory_dram(memory, phys) ? phys : ~(phys_addr_t)0;
    default:
        return ~(phys_addr_t)0;
    }
}

bool dk_atomic_pool_is_block(struct dk_machine *machine, const void *cpu, size_t size)
{
    struct dk_atomic_pools *pools = machine->mapping->atomic_pools;

    return pools && size && is_claimed(pools, dram_phys(machine, cpu), (size_t)PFN_UP(size));
}

bool dk_atomic_pool_give(struct dk_machine *machine, const void *cpu, size_t size)
{
    struct dk_atomic_pools *pools = machine->mapping->atomic_pools;

    return pools && size && unclaim(pools, dram_phys(machine, cpu), (size_t)PFN_UP(size));
}

/* ---- Start and end ---- */

/* The pools of the zones that have memory, still empty, and how much RAM there is. */
static u64 find_zones(struct dk_atomic_pools *pools)
{
    static const struct {
        const char *name;
        gfp_t gfp;
    } zones[POOLS] = { { "ZONE_NORMAL", GFP_KERNEL },
                       { "ZONE_DMA32", GFP_KERNEL | GFP_DMA32 },
                       { "ZONE_DMA", GFP_KERNEL | GFP_DMA } };
    const struct dk_memory *memory = pools->machine->memory;
    phys_addr_t first, last;
    u64 pages = dk_memory_zone(memory, __GFP_HIGHMEM, &first, &last);

    for (unsigned i = 0; i < POOLS; i++) {
        struct atomic_pool *pool = &pools->pools[pools->count];
        u64 present = dk_memory_zone(memory, zones[i].gfp, &pool->first, &pool->last);

        if (!present)
            continue;
        pool->name = zones[i].name;
        pool->gfp = zones[i].gfp;
        pool->most_pages = (size_t)(present / MOST_PART);
        pools->count++;
        pages += present;
    }
    return pages << PAGE_SHIFT;
}

static u64 default_size(u64 ram)
{
    u64 size = ram / (1 << 30) * (128 << 10);

    if (size < 128 << 10)
        return 128 << 10;
    return size < 4 << 20 ? size : 4 << 20;
}

static int fill_pools(struct dk_atomic_pools *pools, u64 size)
{
    for (unsigned i = 0; i < pools->count; i++) {
        struct atomic_pool *pool = &pools->pools[i];

        pool->start_pages = grow(pools, pool, (size_t)PFN_UP(size));
        if (!pool->start_pages)
            return -ENOMEM;
        if (pool->most_pages < pool->start_pages)
            pool->most_pages = pool->start_pages;
    }
    return 0;
}

int dk_atomic_pools_start(struct dk_machine *machine, u64 size)
{
    struct dk_atomic_pools *pools = dk_allocate(1, sizeof(*pools));
    int error;
    u64 ram;

    if (!pools)
        return -ENOMEM;
    pools->machine = machine;
    pthread_mutex_init(&pools->lock, NULL);
    pthread_cond_init(&pools->work, NULL);
    pthread_cond_init(&pools->idle, NULL);
    machine->mapping->atomic_pools = pools;
    ram = find_zones(pools);
    if (size > ram)
        size = ram;
    error = fill_pools(pools, size ? size : default_size(ram));
    if (error)
        dk_atomic_pools_finish(machine);
    return error;
}

static void stop_worker(struct dk_atomic_pools *pools)
{
    pthread_mutex_lock(&pools->lock);
    pools->stopping = true;
    pthread_cond_signal(&pools->work);
    pthread_mutex_unlock(&pools->lock);
    if (pools->worker_started)
        pthread_join(pools->worker, NULL);
}

void dk_atomic_pools_finish(struct dk_machine *machine)
{
    struct dk_atomic_pools *pools = machine->mapping->atomic_pools;

    if (!pools)
        return;
    machine->mapping->atomic_pools = NULL;
    /* A child made by fork() has no such thread to wait for, and its pages are the parent's. */
    if (dk_memory_forked(machine->memory))
        return;
    stop_worker(pools);
    for (unsigned i = 0; i < pools->count; i++) {
        struct chunk *chunk, *next;

        for (chunk = pools->pools[i].chunks; chunk; chunk = next) {
            next = chunk->next;
            free_chunk(machine, chunk);
        }
    }
    pthread_cond_destroy(&pools->idle);
    pthread_cond_destroy(&pools->work);
    pthread_mutex_destroy(&pools->lock);
    dk_release(pools);
}

void dk_atomic_pools_settle(struct dk_machine *machine)
{
    struct dk_atomic_pools *pools = machine->mapping->atomic_pools;

    if (!pools)
        return;
    pthread_mutex_lock(&pools->lock);
    while (find_wanted(pools))
        pthread_cond_wait(&pools->idle, &pools->lock);
    pthread_mutex_unlock(&pools->lock);
}

void dk_atomic_pools_usage(struct dk_machine *machine, u64 *pages, u64 *unused)
{
    struct dk_atomic_pools *pools = machine->mapping->atomic_pools;

    *pages = 0;
    *unused = 0;
    if (!pools)
        return;
    pthread_mutex_lock(&pools->lock);
    for (unsigned i = 0; i < pools->count; i++) {
        *pages += pools->pools[i].pages;
        *unused += pools->pools[i].unused;
    }
    pthread_mutex_unlock(&pools->lock);
}
