/* SPDX-License-Identifier: MIT */
/*
 * dma_pool: the public calls.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "pool/pool-check.h"

#include <stdio.h>
#include <string.h>

/* A magazine's blocks, and its bytes where blocks are large. */
#define MAGAZINE_BLOCKS ((size_t)256)
#define MAGAZINE_BYTES ((size_t)1 << 20)
#define MAGAZINE_FEWEST ((size_t)4)
/* What a log line has of another pool's name. */
#define OTHER_NAME 64

/* Blanks part the columns of a listing. */
static char *copy_name(const char *name)
{
    char *copy = dk_copy_string(name ? name : "");

    for (char *at = copy; at && *at; at++) {
        if (*at <= ' ' || *at == 0x7f)
            *at = '_';
    }
    return copy;
}

static unsigned capacity_for(size_t stride)
{
    size_t blocks = MAGAZINE_BYTES / stride;

    if (blocks > MAGAZINE_BLOCKS)
        return (unsigned)MAGAZINE_BLOCKS;
    return (unsigned)(blocks < MAGAZINE_FEWEST ? MAGAZINE_FEWEST : blocks);
}

/*
 * Where blocks are a power of two apart without gaps, the bits between that and a chunk's length tell a
 * block's distance from the chunk's start from all others. Elsewhere only the first block's is told.
 */
static u64 not_block_of(const struct dk_pool_layout *layout)
{
    if ((layout->stride & (layout->stride - 1)) || layout->lead || layout->segment ||
        layout->stride > DK_POOL_CHUNK || layout->base > DK_POOL_CHUNK)
        return ~0ull;
    return ~(u64)(DK_POOL_CHUNK - layout->stride);
}

static void free_pool(struct dma_pool *pool)
{
    struct dk_pool_state *state = pool->state;

    if (state) {
        dk_pool_tables_free(state);
        pthread_mutex_destroy(&state->lock);
        dk_release(state->name);
        dk_release(state);
    }
    dk_release(pool);
}

void dk_pool_release(struct dk_pool_state *state)
{
    free_pool(state->pool);
}

static struct dk_pool_state *make_state(struct dma_pool *pool, struct device *dev, const char *name,
                                        const struct dk_pool_layout *layout)
{
    struct dk_pool_state *state = dk_allocate(1, sizeof(*state));

    if (!state)
        return NULL;
    pool->state = state;
    state->pool = pool;
    state->dev = dev;
    pthread_mutex_init(&state->lock, NULL);
    INIT_LIST_HEAD(&state->chunks);
    INIT_LIST_HEAD(&state->partial);
    state->last = &state->first;
    state->checked = dk_checked(dev);
    state->name = copy_name(name);
    state->layout = *layout;
    state->capacity = capacity_for(layout->stride);
    pool->size = layout->size;
    pool->not_block = not_block_of(layout);
    return state->name && dk_pool_tables_make(state) ? state : NULL;
}

static struct dma_pool *create(const char *call, const char *name, struct device *dev, size_t size,
                               size_t align, size_t boundary)
{
    struct dk_pool_layout layout;
    struct dk_pool_state *state;
    struct dma_pool *pool;

    if (!dk_device_usable(dev, call))
        return NULL;
    dk_might_sleep_for(dev, GFP_KERNEL, call);
    if (!dk_pool_layout_make(&layout, dev, size, align, boundary, dk_checked(dev) ? DK_POOL_ZONE : 0))
        return NULL;
    pool = dk_allocate(1, sizeof(*pool));
    if (!pool)
        return NULL;
    dk_pool_shut(pool);
    state = make_state(pool, dev, name, &layout);
    if (!state) {
        free_pool(pool);
        return NULL;
    }
    state->stack = dk_pool_check_stack(state);
    dk_pools_add(state);
    return pool;
}

struct dma_pool *dk_pool_create(const char *name, struct device *dev, size_t size, size_t align,
                                size_t boundary)
{
    return create("dma_pool_create", name, dev, size, align, boundary);
}

/* ---- Ending ---- */

/* What is left of a pool when nobody uses it any more: chunks whose blocks are in use. */
static void empty(struct dk_pool_state *state)
{
    LIST_HEAD(chunks);

    dk_pool_magazines_free(state->pool);
    pthread_mutex_lock(&state->lock);
    dk_pool_remove(state, false, &chunks);
    pthread_mutex_unlock(&state->lock);
    dk_pool_chunks_free(state, &chunks);
}

/* Without a checker nobody knows who took them. */
static void log_busy(struct dk_pool_state *state)
{
    struct dk_pool_chunk *chunk;

    list_for_each_entry (chunk, &state->chunks, link) {
        for (size_t i = 0; i < chunk->blocks; i++) {
            size_t offset = dk_pool_layout_offset(&state->layout, i);

            if (!(chunk->is_free[i / 64] >> i % 64 & 1))
                dk_device_log(
                    state->dev, DK_LOG_ERROR,
                    "dma_pool_destroy: pool %s: the block at %p, DMA address 0x%llx, is in use: its "
                    "memory stays",
                    state->name, (void *)(chunk->start + offset), chunk->dma + offset);
        }
    }
}

static void destroy(struct dma_pool *pool)
{
    struct dk_pool_state *state = pool->state;

    dk_might_sleep_for(state->dev, GFP_KERNEL, "dma_pool_destroy");
    /* From here on every call for it is refused. */
    __atomic_store_n(&state->destroyed, true, __ATOMIC_RELEASE);
    dk_pool_check_unused(state);
    empty(state);
    if (!list_empty(&state->chunks)) {
        if (state->checked)
            dk_pool_check_busy(state);
        else
            log_busy(state);
    }
    dk_pools_bury(state);
}

static void destroy_managed(void *data)
{
    struct dma_pool *pool = data;

    pool->state->managed = false;
    destroy(pool);
}

/* Logs or reports why not. */
static bool is_usable(struct dma_pool *pool, const char *call, const char *class_name, const void *cpu,
                      dma_addr_t dma)
{
    if (!pool) {
        dk_log(DK_LOG_ERROR, "%s: no pool", call);
        return false;
    }
    if (__builtin_expect(dk_pool_is_destroyed(pool->state), 0)) {
        dk_pool_check_destroyed(pool->state, call, class_name, cpu, dma);
        return false;
    }
    return dk_device_usable(pool->state->dev, call);
}

void dk_pool_destroy(struct dma_pool *pool)
{
    if (!pool || !is_usable(pool, "dma_pool_destroy", "free-not-allocated", NULL, DMA_MAPPING_ERROR))
        return;
    if (pool->state->managed)
        devm_remove_action(pool->state->dev, destroy_managed, pool);
    destroy(pool);
}

struct dma_pool *dk_managed_pool_create(const char *name, struct device *dev, size_t size, size_t align,
                                        size_t boundary)
{
    struct dma_pool *pool = create("dmam_pool_create", name, dev, size, align, boundary);

    if (!pool)
        return NULL;
    pool->state->managed = true;
    if (!devm_add_action(dev, destroy_managed, pool))
        return pool;
    destroy_managed(pool);
    return NULL;
}

void dk_managed_pool_destroy(struct dma_pool *pool)
{
    if (!pool || !is_usable(pool, "dmam_pool_destroy", "free-not-allocated", NULL, DMA_MAPPING_ERROR))
        return;
    if (pool->state->managed)
        devm_release_action(pool->state->dev, destroy_managed, pool);
    else
        dk_device_log(pool->state->dev, DK_LOG_ERROR, "dmam_pool_destroy: pool %s is not a managed one",
                      pool->state->name);
}

/* ---- Blocks ---- */

static void *alloc(struct dma_pool *pool, const char *call, gfp_t gfp, dma_addr_t *dma)
{
    void *cpu;

    if (dma)
        *dma = DMA_MAPPING_ERROR;
    if (!is_usable(pool, call, "pool-use-after-free", NULL, DMA_MAPPING_ERROR))
        return NULL;
    if (!dma) {
        dk_device_log(pool->state->dev, DK_LOG_ERROR, "%s: no place for the DMA address", call);
        return NULL;
    }
    if (pool->state->checked)
        cpu = dk_pool_check_alloc(pool->state, call, gfp, dma);
    else
        cpu = dk_pool_magazine_alloc(pool, call, gfp, dma);
    if (cpu && gfp & __GFP_ZERO)
        memset(cpu, 0, pool->size);
    return cpu;
}

/* Out of line, so that the short way needs no stack frame. */
static __attribute__((noinline)) void *alloc_long(struct dma_pool *pool, gfp_t gfp, dma_addr_t *dma)
{
    return alloc(pool, "dma_pool_alloc", gfp, dma);
}

void *dk_pool_alloc(struct dma_pool *pool, gfp_t gfp, dma_addr_t *dma)
{
    struct dk_pool_block block;

    if (__builtin_expect(!pool || !dma || gfp & __GFP_ZERO || !dk_pool_take_at_once(pool, &block), 0))
        return alloc_long(pool, gfp, dma);
    *dma = block.dma;
    return block.cpu;
}

struct dk_pool_block dk_pool_alloc_block(struct dma_pool *pool, gfp_t gfp)
{
    struct dk_pool_block block = { NULL, DMA_MAPPING_ERROR };

    block.cpu = alloc_long(pool, gfp, &block.dma);
    return block;
}

void *dk_pool_zalloc(struct dma_pool *pool, gfp_t gfp, dma_addr_t *dma)
{
    return alloc(pool, "dma_pool_zalloc", gfp | __GFP_ZERO, dma);
}

/* Whether [@cpu, @dma) are a block's addresses. Under the lock. */
static bool is_block(const struct dk_pool_state *state, const void *cpu, dma_addr_t dma)
{
    const struct dk_pool_chunk *chunk = dk_pool_chunk_find(state, cpu);
    size_t offset, index, within;

    if (!chunk)
        return false;
    offset = (size_t)((const char *)cpu - chunk->start);
    return dk_pool_layout_find(&state->layout, offset, &index, &within) && !within && index < chunk->blocks &&
           dma == chunk->dma + offset;
}

static void copy_its_name(struct dk_pool_state *other, void *data)
{
    snprintf(data, OTHER_NAME, "%s", other->name);
}

static void log_wrong(struct dk_pool_state *state, const void *cpu, dma_addr_t dma)
{
    char other[OTHER_NAME];

    if (dk_pools_find(state, cpu, copy_its_name, other))
        dk_device_log(state->dev, DK_LOG_ERROR, "dma_pool_free: pool %s was given %p, which is pool %s's",
                      state->name, cpu, other);
    else
        dk_device_log(state->dev, DK_LOG_ERROR,
                      "dma_pool_free: pool %s has no block at %p with DMA address 0x%llx", state->name, cpu,
                      dma);
}

/* The short way of a pool whose blocks the inline call cannot tell. */
static bool give_packed(struct dma_pool *pool, void *cpu, dma_addr_t dma)
{
    struct dk_pool_cache *cache = __atomic_load_n(&pool->caches[dk_thread_number_here], __ATOMIC_RELAXED);
    struct dk_pool_block *top = cache->top;

    if (top == cache->end || !dk_pool_has_block(pool, cpu, dma))
        return false;
    top->cpu = cpu;
    top->dma = dma;
    __atomic_store_n(&cache->top, top + 1, __ATOMIC_RELAXED);
    return true;
}

static __attribute__((noinline)) void free_long(struct dma_pool *pool, void *cpu, dma_addr_t dma)
{
    struct dk_pool_state *state;
    bool right;

    if (!is_usable(pool, "dma_pool_free", "free-not-allocated", cpu, dma))
        return;
    state = pool->state;
    if (state->checked) {
        dk_pool_check_free(state, cpu, dma);
        return;
    }
    right = dk_pool_is_packed(pool) && dk_pool_has_block(pool, cpu, dma);
    if (!right) {
        pthread_mutex_lock(&state->lock);
        right = is_block(state, cpu, dma);
        pthread_mutex_unlock(&state->lock);
    }
    if (right)
        dk_pool_magazine_free(pool, cpu, dma);
    else
        log_wrong(state, cpu, dma);
}

void dk_pool_free(struct dma_pool *pool, void *cpu, dma_addr_t dma)
{
    bool done = false;

    if (__builtin_expect(pool != NULL, 1))
        done = __builtin_expect(!dk_pool_is_packed(pool), 1) ? dk_pool_give_at_once(pool, cpu, dma)
                                                             : give_packed(pool, cpu, dma);
    if (__builtin_expect(!done, 0))
        free_long(pool, cpu, dma);
}
