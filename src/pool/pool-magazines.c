/* SPDX-License-Identifier: MIT */
/*
 * A pool's magazines: two a thread, so that taking and giving in turns at the edge of one goes nowhere else,
 * and a depot of full and empty ones. Taking a full one and giving an empty one is one turn of the lock.
 */
#include "base/alloc.h"
#include "base/context.h"
#include "base/thread-number.h"
#include "pool/pool.h"

#include <string.h>

/* Lines that neighbouring threads' magazines must not share; two of them, since they are fetched in pairs. */
#define LINES ((size_t)128)
/* What the depot keeps full, at most in number and in bytes of blocks; what is more goes to the chunks. */
#define DEPOT_MAGAZINES ((size_t)8)
#define DEPOT_BYTES ((size_t)4 << 20)

struct dk_pool_magazine {
    struct dk_pool_magazine *next; /* in the depot */
    size_t count;                  /* in the depot */
    struct dk_pool_block blocks[];
};

struct thread_cache {
    struct dk_pool_cache open; /* first: what the inline calls see, of @loaded */
    struct dk_pool_magazine *loaded, *spare;
    size_t spare_count; /* read by others: accessed atomically, as @open's top */
};

/*
 * Who has no cache: no block, and no room. Static, since it is the same for all and nobody writes it: the
 * inline calls leave an empty and full magazine alone.
 */
static struct dk_pool_cache nobody;

/* As dk_allocate(), on lines of its own. */
static void *allocate_lines(size_t bytes)
{
    size_t room = LINES + sizeof(void *);
    void *memory = dk_allocate(1, (bytes + LINES - 1) / LINES * LINES + room);
    void **lines;

    if (!memory)
        return NULL;
    lines = (void **)(((uintptr_t)memory + room) & ~(uintptr_t)(LINES - 1));
    lines[-1] = memory;
    return lines;
}

static void release_lines(void *lines)
{
    if (lines)
        dk_release(((void **)lines)[-1]);
}

static struct dk_pool_magazine *make_magazine(const struct dk_pool_state *state)
{
    return allocate_lines(sizeof(struct dk_pool_magazine) + state->capacity * sizeof(struct dk_pool_block));
}

/* ---- This thread's ---- */

static void set_top(struct thread_cache *cache, size_t count)
{
    __atomic_store_n(&cache->open.top, cache->loaded->blocks + count, __ATOMIC_RELAXED);
}

static void set_spare_count(struct thread_cache *cache, size_t count)
{
    __atomic_store_n(&cache->spare_count, count, __ATOMIC_RELAXED);
}

static void load(const struct dk_pool_state *state, struct thread_cache *cache,
                 struct dk_pool_magazine *magazine, size_t count)
{
    cache->loaded = magazine;
    __atomic_store_n(&cache->open.bottom, magazine->blocks, __ATOMIC_RELAXED);
    cache->open.end = magazine->blocks + state->capacity;
    set_top(cache, count);
}

static size_t loaded_count(const struct thread_cache *cache)
{
    return (size_t)(cache->open.top - cache->open.bottom);
}

/* The spare one becomes the loaded one. */
static void exchange(const struct dk_pool_state *state, struct thread_cache *cache)
{
    struct dk_pool_magazine *spare = cache->spare;
    size_t count = cache->spare_count;

    set_spare_count(cache, loaded_count(cache));
    cache->spare = cache->loaded;
    load(state, cache, spare, count);
}

static void free_cache(struct thread_cache *cache)
{
    release_lines(cache->loaded);
    release_lines(cache->spare);
    release_lines(cache);
}

/* This thread's cache, made at its first call. NULL: it has no number, or out of memory. */
static struct thread_cache *cache_here(struct dma_pool *pool)
{
    unsigned number = dk_thread_number();
    struct thread_cache *cache;

    if (number >= DK_THREAD_NUMBERS)
        return NULL;
    if (pool->caches[number] != &nobody)
        return (struct thread_cache *)pool->caches[number];
    cache = allocate_lines(sizeof(*cache));
    if (!cache)
        return NULL;
    cache->loaded = make_magazine(pool->state);
    cache->spare = make_magazine(pool->state);
    if (!cache->loaded || !cache->spare) {
        free_cache(cache);
        return NULL;
    }
    load(pool->state, cache, cache->loaded, 0);
    __atomic_store_n(&pool->caches[number], &cache->open, __ATOMIC_RELEASE);
    return cache;
}

/* ---- The depot, under the lock ---- */

static struct dk_pool_magazine *pop(struct dk_pool_magazine **list, unsigned *count)
{
    struct dk_pool_magazine *magazine = *list;

    if (magazine) {
        *list = magazine->next;
        (*count)--;
    }
    return magazine;
}

static void push(struct dk_pool_magazine **list, unsigned *count, struct dk_pool_magazine *magazine)
{
    magazine->next = *list;
    *list = magazine;
    (*count)++;
}

/* ---- Taking ---- */

/* Fills the loaded magazine, which is empty, as the spare one is. False: the depot and the chunks are empty.
 */
static bool refill(struct dk_pool_state *state, struct thread_cache *cache)
{
    struct dk_pool_magazine *full;
    size_t count;

    pthread_mutex_lock(&state->lock);
    full = pop(&state->full, &state->full_count);
    if (full)
        push(&state->empty, &state->empty_count, cache->loaded);
    count = full ? full->count : dk_pool_take(state, cache->loaded->blocks, (state->capacity + 1) / 2);
    pthread_mutex_unlock(&state->lock);
    if (full)
        load(state, cache, full, count);
    else
        set_top(cache, count);
    return count;
}

static bool take_one(struct dk_pool_state *state, struct dk_pool_block *block)
{
    struct dk_pool_magazine *full;
    bool taken;

    pthread_mutex_lock(&state->lock);
    taken = dk_pool_take(state, block, 1);
    full = taken ? NULL : state->full;
    if (full) {
        *block = full->blocks[--full->count];
        taken = true;
        if (!full->count)
            push(&state->empty, &state->empty_count, pop(&state->full, &state->full_count));
    }
    pthread_mutex_unlock(&state->lock);
    return taken;
}

void *dk_pool_magazine_alloc(struct dma_pool *pool, const char *call, gfp_t gfp, dma_addr_t *dma)
{
    struct dk_pool_state *state = pool->state;
    struct thread_cache *cache = cache_here(pool);
    struct dk_pool_block block;

    if (!cache) {
        while (!take_one(state, &block)) {
            if (!dk_pool_grow(state, call, gfp))
                return NULL;
        }
        *dma = block.dma;
        return block.cpu;
    }
    if (!loaded_count(cache) && cache->spare_count)
        exchange(state, cache);
    while (!loaded_count(cache) && !refill(state, cache)) {
        if (!dk_pool_grow(state, call, gfp))
            return NULL;
    }
    if (!dk_pool_take_at_once(pool, &block))
        return NULL;
    *dma = block.dma;
    return block.cpu;
}

/* ---- Giving ---- */

static void trim(struct dk_pool_state *state)
{
    LIST_HEAD(chunks);

    /* Freeing may sleep; where that is no time for it, the next free does it. */
    if (dk_context()->atomic_depth)
        return;
    pthread_mutex_lock(&state->lock);
    dk_pool_trim(state, &chunks);
    pthread_mutex_unlock(&state->lock);
    dk_pool_chunks_free(state, &chunks);
}

static bool has_room(const struct dk_pool_state *state)
{
    size_t bytes = (state->full_count + 1) * state->capacity * state->layout.stride;

    return state->full_count < DEPOT_MAGAZINES && bytes <= DEPOT_BYTES;
}

/* Empties the spare magazine, which is full, as the loaded one is. */
static void spill(struct dk_pool_state *state, struct thread_cache *cache)
{
    struct dk_pool_magazine *empty = NULL, *spare = cache->spare;
    bool room;

    pthread_mutex_lock(&state->lock);
    room = has_room(state);
    if (room)
        empty = pop(&state->empty, &state->empty_count);
    if (empty) {
        spare->count = state->capacity;
        push(&state->full, &state->full_count, spare);
    }
    pthread_mutex_unlock(&state->lock);
    if (!empty) {
        empty = room ? make_magazine(state) : NULL;
        pthread_mutex_lock(&state->lock);
        if (empty) {
            spare->count = state->capacity;
            push(&state->full, &state->full_count, spare);
        } else {
            dk_pool_give(state, spare->blocks, state->capacity);
        }
        pthread_mutex_unlock(&state->lock);
        if (!empty)
            trim(state);
    }
    if (empty)
        cache->spare = empty;
    set_spare_count(cache, 0);
}

void dk_pool_magazine_free(struct dma_pool *pool, void *cpu, dma_addr_t dma)
{
    struct dk_pool_state *state = pool->state;
    struct thread_cache *cache = cache_here(pool);
    const struct dk_pool_block block = { cpu, dma };

    if (!cache) {
        pthread_mutex_lock(&state->lock);
        dk_pool_give(state, &block, 1);
        pthread_mutex_unlock(&state->lock);
        trim(state);
        return;
    }
    if (cache->open.top == cache->open.end) {
        if (cache->spare_count == state->capacity)
            spill(state, cache);
        exchange(state, cache);
    }
    *cache->open.top = block;
    set_top(cache, loaded_count(cache) + 1);
}

/* ---- All of them ---- */

void dk_pool_shut(struct dma_pool *pool)
{
    for (unsigned i = 0; i <= DK_THREAD_UNNUMBERED; i++)
        pool->caches[i] = &nobody;
}

static void free_list(struct dk_pool_state *state, struct dk_pool_magazine **list, unsigned *count)
{
    struct dk_pool_magazine *magazine;

    while ((magazine = pop(list, count))) {
        if (list == &state->full)
            dk_pool_give(state, magazine->blocks, magazine->count);
        release_lines(magazine);
    }
}

void dk_pool_magazines_free(struct dma_pool *pool)
{
    struct dk_pool_state *state = pool->state;

    pthread_mutex_lock(&state->lock);
    for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++) {
        struct thread_cache *cache = (struct thread_cache *)pool->caches[i];

        if (pool->caches[i] == &nobody)
            continue;
        dk_pool_give(state, cache->loaded->blocks, loaded_count(cache));
        dk_pool_give(state, cache->spare->blocks, cache->spare_count);
        free_cache(cache);
    }
    free_list(state, &state->full, &state->full_count);
    free_list(state, &state->empty, &state->empty_count);
    pthread_mutex_unlock(&state->lock);
    dk_pool_shut(pool);
}

size_t dk_pool_magazines_held(const struct dma_pool *pool)
{
    const struct dk_pool_state *state = pool->state;
    size_t held = 0;

    for (const struct dk_pool_magazine *full = state->full; full; full = full->next)
        held += full->count;
    for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++) {
        const struct dk_pool_cache *open = __atomic_load_n(&pool->caches[i], __ATOMIC_ACQUIRE);
        const struct thread_cache *cache = (const struct thread_cache *)open;
        size_t count;

        if (open == &nobody)
            continue;
        /* While its thread exchanges them the two are of two magazines. */
        count = (size_t)(__atomic_load_n(&open->top, __ATOMIC_RELAXED) -
                         __atomic_load_n(&open->bottom, __ATOMIC_RELAXED));
        if (count <= state->capacity)
            held += count;
        held += __atomic_load_n(&cache->spare_count, __ATOMIC_RELAXED);
    }
    return held;
}
