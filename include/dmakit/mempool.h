/* SPDX-License-Identifier: MIT */
/*
 * Memory pools with a reserve: an allocation that may wait never fails.
 *
 * A pool stands on any pair of functions that allocate and free elements, and holds @min_nr elements of its
 * own. An allocation asks the function first and the reserve second, and then waits for an element to come
 * back; a free fills the reserve first. Waiters are served in the order in which they came: an element that
 * is freed, or that the function gives somebody who came later, goes to who has waited longest.
 *
 * The functions are called with no lock held. They are given the pool's @pool_data, and the caller's gfp
 * flags: without the permission to sleep or to log on the first try, with all of them on the last one before
 * waiting. A function must not return an element that is out already.
 *
 * Reported: mempool-leak (the pool goes while elements of it are out, or threads wait in it),
 * mempool-double-free (an element that lies in the reserve is freed again), sleeps-in-atomic.
 *
 * Source of the semantics: mm/mempool.c's kernel-doc, as Documentation/core-api/mm-api.rst has it.
 */
#ifndef DMAKIT_MEMPOOL_H
#define DMAKIT_MEMPOOL_H

#include <dmakit/gfp.h>
#include <dmakit/list.h>
#include <dmakit/slab.h>
#include <dmakit/spinlock.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

/* An element, or NULL. */
typedef void *(mempool_alloc_t)(gfp_t gfp, void *pool_data);
typedef void(mempool_free_t)(void *element, void *pool_data);

/* The same for elements that have a DMA address, which goes into *@dma. */
typedef void *(dk_mempool_alloc_dma_t)(gfp_t gfp, void *pool_data, dma_addr_t *dma);
typedef void(dk_mempool_free_dma_t)(void *element, void *pool_data, dma_addr_t dma);

struct dk_mempool_element;

/* All zeros: not initialised, and fine for mempool_exit(). Fields are the library's; min_nr and curr_nr may
 * be read as mempool_is_saturated() does. */
typedef struct mempool {
    spinlock_t lock; /* guards the reserve and the waiters */
    int min_nr;      /* elements that the reserve is to have */
    int curr_nr;     /* elements that it has */
    int capacity;    /* of @elements */
    struct dk_mempool_element *elements;
    void *pool_data;
    mempool_alloc_t *alloc; /* NULL: the elements have DMA addresses */
    mempool_free_t *free;
    dk_mempool_alloc_dma_t *alloc_dma;
    dk_mempool_free_dma_t *free_dma;
    struct list_head waiters; /* the longest first; while there are any, the reserve is empty */
    int waiting;              /* how many */
    bool checked;             /* every free looks through the reserve, not only one that fills it */
    long out;                 /* elements that are out; atomic */
} mempool_t;

#define mempool_s mempool

/*
 * Makes @pool, its reserve filled. 0; -EINVAL @min_nr below 0 or a function missing; -ENOMEM no memory for
 * the reserve, or the function failed: nothing is left behind then. May sleep.
 */
DK_PUBLIC int mempool_init(mempool_t *pool, int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
                           void *pool_data);
/* The same, elements allocated with @gfp; @node is not looked at. Sleeps only if @gfp allows it. */
DK_PUBLIC int mempool_init_node(mempool_t *pool, int min_nr, mempool_alloc_t *alloc_fn,
                                mempool_free_t *free_fn, void *pool_data, gfp_t gfp, int node);
/*
 * Frees the reserve, and zeroes @pool. Elements that are out are reported (mempool-leak), and are still the
 * free function's to free. While threads wait in it the pool stays as it is, which is reported as well. NULL
 * and a pool of all zeros are fine. Sleeps if the free function does.
 */
DK_PUBLIC void mempool_exit(mempool_t *pool);

/* A pool on its own; NULL where mempool_init() fails. Freed with mempool_destroy(). */
DK_PUBLIC mempool_t *mempool_create(int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
                                    void *pool_data) __attribute__((warn_unused_result));
DK_PUBLIC mempool_t *mempool_create_node(int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
                                         void *pool_data, gfp_t gfp, int node)
    __attribute__((warn_unused_result));
/* mempool_exit(), and frees @pool. NULL is fine. */
DK_PUBLIC void mempool_destroy(mempool_t *pool);

/*
 * The reserve is to have @new_min_nr elements: fewer are freed, more are allocated with @gfp as far as that
 * goes; frees bring the rest. 0; -EINVAL @new_min_nr below 1, @pool NULL or not initialised; -ENOMEM no
 * memory for a larger reserve, which stays as it was. The pool may be in use, and resized by others,
 * meanwhile. Sleeps if @gfp allows it or the free function does.
 */
DK_PUBLIC int mempool_resize(mempool_t *pool, int new_min_nr, gfp_t gfp);

/*
 * An element. With __GFP_DIRECT_RECLAIM never NULL: waits until one comes. In atomic context that is reported
 * (sleeps-in-atomic), and nothing waits. Without the flag any context, and NULL when function and reserve
 * have none. __GFP_ZERO is left out, with a log line: an element of the reserve is as its user left it.
 */
DK_PUBLIC void *mempool_alloc(mempool_t *pool, gfp_t gfp) __attribute__((warn_unused_result));
/* An element of the reserve, or NULL. Any context. */
DK_PUBLIC void *mempool_alloc_preallocated(mempool_t *pool) __attribute__((warn_unused_result));
/*
 * Gives @element back: to who waits longest, to the reserve if that lacks one, else to the free function. An
 * element that lies in the reserve already is refused and reported; with the checker off only while the
 * reserve is not full or somebody waits, and else the free function gets it. NULL is fine. Any context in
 * which the free function may be called.
 */
DK_PUBLIC void mempool_free(void *element, mempool_t *pool);

static inline bool mempool_initialized(const mempool_t *pool)
{
    return __atomic_load_n(&pool->elements, __ATOMIC_RELAXED) != NULL;
}

/* Whether the reserve has all its elements. */
static inline bool mempool_is_saturated(const mempool_t *pool)
{
    return __atomic_load_n(&pool->curr_nr, __ATOMIC_RELAXED) >=
           __atomic_load_n(&pool->min_nr, __ATOMIC_RELAXED);
}

/* ---- Elements with a DMA address ---- */

/* As mempool_init() and mempool_create(); the pool is used with dk_mempool_alloc_dma() and
 * dk_mempool_free_dma() alone: mempool_alloc() gives NULL, mempool_free() does nothing, with a log line. */
DK_PUBLIC int dk_mempool_init_dma(mempool_t *pool, int min_nr, dk_mempool_alloc_dma_t *alloc_fn,
                                  dk_mempool_free_dma_t *free_fn, void *pool_data);
DK_PUBLIC mempool_t *dk_mempool_create_dma(int min_nr, dk_mempool_alloc_dma_t *alloc_fn,
                                           dk_mempool_free_dma_t *free_fn, void *pool_data)
    __attribute__((warn_unused_result));
/* As mempool_alloc(), the element's DMA address in *@dma, which without an element is left alone. NULL as
 * well, with a log line, when @dma is NULL. */
DK_PUBLIC void *dk_mempool_alloc_dma(mempool_t *pool, gfp_t gfp, dma_addr_t *dma)
    __attribute__((warn_unused_result));
/* As mempool_free(), with the DMA address that the element came with. */
DK_PUBLIC void dk_mempool_free_dma(void *element, dma_addr_t dma, mempool_t *pool);

/* ---- Pairs of functions that are there already ---- */

/* Objects of the kmem_cache that @pool_data is. */
DK_PUBLIC void *mempool_alloc_slab(gfp_t gfp, void *pool_data);
DK_PUBLIC void mempool_free_slab(void *element, void *pool_data);
/* kmalloc() of as many bytes as @pool_data says, as a number. */
DK_PUBLIC void *mempool_kmalloc(gfp_t gfp, void *pool_data);
DK_PUBLIC void mempool_kfree(void *element, void *pool_data);
/* alloc_pages() of the order that @pool_data says, as a number: elements are struct pages. */
DK_PUBLIC void *mempool_alloc_pages(gfp_t gfp, void *pool_data);
DK_PUBLIC void mempool_free_pages(void *element, void *pool_data);

struct dma_pool;
/* Blocks of the dma_pool that @pool_data is, for pools whose elements have DMA addresses. */
DK_PUBLIC void *dk_mempool_alloc_dma_pool(gfp_t gfp, void *pool_data, dma_addr_t *dma);
DK_PUBLIC void dk_mempool_free_dma_pool(void *element, void *pool_data, dma_addr_t dma);

#define mempool_init_slab_pool(pool, min_nr, cache) \
    mempool_init(pool, min_nr, mempool_alloc_slab, mempool_free_slab, (void *)(cache))
#define mempool_create_slab_pool(min_nr, cache) \
    mempool_create(min_nr, mempool_alloc_slab, mempool_free_slab, (void *)(cache))
#define mempool_init_kmalloc_pool(pool, min_nr, size) \
    mempool_init(pool, min_nr, mempool_kmalloc, mempool_kfree, (void *)(uintptr_t)(size))
#define mempool_create_kmalloc_pool(min_nr, size) \
    mempool_create(min_nr, mempool_kmalloc, mempool_kfree, (void *)(uintptr_t)(size))
#define mempool_init_page_pool(pool, min_nr, order) \
    mempool_init(pool, min_nr, mempool_alloc_pages, mempool_free_pages, (void *)(uintptr_t)(order))
#define mempool_create_page_pool(min_nr, order) \
    mempool_create(min_nr, mempool_alloc_pages, mempool_free_pages, (void *)(uintptr_t)(order))
#define dk_mempool_init_dma_pool(pool, min_nr, blocks) \
    dk_mempool_init_dma(pool, min_nr, dk_mempool_alloc_dma_pool, dk_mempool_free_dma_pool, (void *)(blocks))
#define dk_mempool_create_dma_pool(min_nr, blocks) \
    dk_mempool_create_dma(min_nr, dk_mempool_alloc_dma_pool, dk_mempool_free_dma_pool, (void *)(blocks))

DK_END_DECLS

#endif
