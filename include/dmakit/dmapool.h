/* SPDX-License-Identifier: MIT */
/*
 * Pools of small blocks of coherent memory (Documentation/core-api/dma-api.rst, "Part Ib - Small DMA-coherent
 * buffers"; dma-api-howto.rst).
 *
 * Nothing is ever written into a block but by the driver, its device, and the checker; all bookkeeping lies
 * outside of DMA memory. docs/pools.md says what is reported, and what the calls cost.
 */
#ifndef DMAKIT_DMAPOOL_H
#define DMAKIT_DMAPOOL_H

#include <dmakit/device.h>
#include <dmakit/thread-number.h>
#include <string.h>

DK_BEGIN_DECLS

/* A free block in a magazine. */
struct dk_pool_block {
    void *cpu;
    dma_addr_t dma;
};

/* A thread's loaded magazine: [bottom, top) are free blocks, [top, end) is room. Written by its thread alone.
 */
struct dk_pool_cache {
    struct dk_pool_block *top;
    struct dk_pool_block *bottom;
    struct dk_pool_block *end;
};

/* What the inline free reads of a page in which blocks of a pool start. */
struct dk_pool_page {
    u64 start; /* CPU address of the first block of the page's chunk; 1 << 63: no page here */
    u64 delta; /* DMA addresses in the chunk less CPU addresses */
};

/* The pages of a pool: each at (its number modulo the number of entries), or behind that. */
struct dk_pool_pages {
    u64 last; /* bytes from the first entry to the last; never changes */
    u64 unused;
    struct dk_pool_page pages[1]; /* of more */
};

struct dk_pool_state;

/* Inlined whatever the compiler thinks of their length: a call of them could be a tail call. */
#define DK_POOL_INLINE static inline __attribute__((always_inline))

/*
 * A pool. Every field is the library's: they stand here for the inline calls below. What these read is
 * written seldom, and never by them, but for the thread's own cache.
 */
struct dma_pool {
    /*
     * By thread number. Never NULL: who has no cache has one with neither blocks nor room, as have all when
     * the checker is on or the pool is destroyed, and so takes the way of the calls behind.
     */
    struct dk_pool_cache *caches[DK_THREAD_UNNUMBERED + 1];
    size_t size; /* of a block, as the driver asked for it */
    /*
     * The bits that are set in no block's distance from the start of its chunk: with them, a wrong address is
     * told from a block's without a division. Where such bits do not say it all, all are set, and the call
     * behind decides.
     */
    u64 not_block;
    struct dk_pool_pages *pages; /* a larger one takes its place; this one stays readable */
    struct dk_pool_state *state;
};

/* A word that another thread may write. The compiler may make one instruction of the load and what is done
 * with it, which it does not where it is told of the other thread. */
#if defined(__SANITIZE_THREAD__)
#define DK_POOL_READ(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define DK_POOL_READ(word) __atomic_load_n(&(word), __ATOMIC_RELAXED)
#endif
#endif
#ifndef DK_POOL_READ
#define DK_POOL_READ(word) (word)
#endif

/*
 * ---- The calls' own ways ----
 *
 * Drivers call the inline forms below, whose contracts are these functions' too. The inline forms take the
 * short way where there is one, and keep the driver's frame on the stack.
 */
DK_PUBLIC struct dma_pool *dk_pool_create(const char *name, struct device *dev, size_t size, size_t align,
                                          size_t boundary);
DK_PUBLIC void dk_pool_destroy(struct dma_pool *pool);
DK_PUBLIC struct dma_pool *dk_managed_pool_create(const char *name, struct device *dev, size_t size,
                                                  size_t align, size_t boundary);
DK_PUBLIC void dk_managed_pool_destroy(struct dma_pool *pool);
DK_PUBLIC void *dk_pool_alloc(struct dma_pool *pool, gfp_t gfp, dma_addr_t *dma);
DK_PUBLIC void *dk_pool_zalloc(struct dma_pool *pool, gfp_t gfp, dma_addr_t *dma);
DK_PUBLIC void dk_pool_free(struct dma_pool *pool, void *cpu, dma_addr_t dma);
/* As dk_pool_alloc(), and returns both addresses, so that the caller's DMA address can stay in a register. */
DK_PUBLIC struct dk_pool_block dk_pool_alloc_block(struct dma_pool *pool, gfp_t gfp);

/* Returns @pool, and keeps the frame of whom it was created for: the call before is not the last one. */
DK_POOL_INLINE struct dma_pool *dk_pool_keep_frame(struct dma_pool *pool)
{
    DK_KEEP_FRAME();
    return pool;
}

/*
 * A pool of blocks of @size bytes for @dev, each at a DMA address that is a multiple of @align (a power of
 * two; 0 means 1) and none across a multiple of @boundary (a power of two, at least @size rounded up to
 * @align; 0: a page for blocks that fit into one, else none). @name (NULL: none) is for logs, reports and
 * dk_device_pools(); it is copied. The CPU addresses are aligned alike, up to a page. A block takes at least
 * 8 bytes, so that no two share a word that a device accesses at once; else no more than @size rounded up to
 * @align. NULL: @dev is NULL or removed, @size is 0, @align or @boundary are not as said, the sum of them is
 * more than there can be, or out of memory; but for the last the log says which. No DMA memory is taken yet.
 *
 * Context: may sleep. The caller owns the pool; dma_pool_destroy().
 */
static inline struct dma_pool *dma_pool_create(const char *name, struct device *dev, size_t size,
                                               size_t align, size_t boundary)
{
    return dk_pool_keep_frame(dk_pool_create(name, dev, size, align, boundary));
}
/*
 * Frees @pool and its memory. Blocks still in use are reported, each with the stack of its allocation
 * (pool-destroyed-busy; a log line with the checker off), and the memory that they lie in stays what it is
 * until the device is removed. NULL is fine. A pool that is destroyed already is reported
 * (free-not-allocated) and left alone, as long as it is among the last 64 of its machine, or has memory left.
 *
 * Context: may sleep; no other thread may be inside a call for @pool.
 */
static inline void dma_pool_destroy(struct dma_pool *pool)
{
    dk_pool_destroy(pool);
    DK_KEEP_FRAME();
}

/* The same for as long as @dev lives, or its driver is bound; then destroyed, newest first. */
static inline struct dma_pool *dmam_pool_create(const char *name, struct device *dev, size_t size,
                                                size_t align, size_t boundary)
{
    return dk_pool_keep_frame(dk_managed_pool_create(name, dev, size, align, boundary));
}
/* Destroys it early. A pool that dmam_pool_create() did not make is refused with a log line. NULL is fine. */
static inline void dmam_pool_destroy(struct dma_pool *pool)
{
    dk_managed_pool_destroy(pool);
    DK_KEEP_FRAME();
}

/* Whether this thread's loaded magazine had a block, and which. Part of the inline forms. */
DK_POOL_INLINE bool dk_pool_take_at_once(struct dma_pool *pool, struct dk_pool_block *block)
{
    struct dk_pool_cache *cache = __atomic_load_n(&pool->caches[dk_thread_number_here], __ATOMIC_RELAXED);
    struct dk_pool_block *top = __atomic_load_n(&cache->top, __ATOMIC_RELAXED);

    if (__builtin_expect(top == cache->bottom, 0))
        return false;
    top--;
    __atomic_store_n(&cache->top, top, __ATOMIC_RELAXED);
    *block = *top;
    return true;
}

/* Whether @cpu and @dma are a block's addresses, and it went into this thread's loaded magazine. Part of the
 * inline forms. */
DK_POOL_INLINE bool dk_pool_give_at_once(struct dma_pool *pool, void *cpu, dma_addr_t dma)
{
    const struct dk_pool_pages *pages = __atomic_load_n(&pool->pages, __ATOMIC_ACQUIRE);
    /* An entry has 16 bytes. */
    const struct dk_pool_page *page =
        (const struct dk_pool_page *)((const char *)pages->pages +
                                      ((uintptr_t)cpu >> (PAGE_SHIFT - 4) & pages->last));
    struct dk_pool_cache *cache;
    struct dk_pool_block *top;

    if (__builtin_expect(((uintptr_t)cpu - DK_POOL_READ(page->start)) & pool->not_block, 0) ||
        __builtin_expect(dma - (uintptr_t)cpu != DK_POOL_READ(page->delta), 0))
        return false;
    cache = __atomic_load_n(&pool->caches[dk_thread_number_here], __ATOMIC_RELAXED);
    top = __atomic_load_n(&cache->top, __ATOMIC_RELAXED);
    if (__builtin_expect(top == cache->end, 0))
        return false;
    top->cpu = cpu;
    top->dma = dma;
    __atomic_store_n(&cache->top, top + 1, __ATOMIC_RELAXED);
    return true;
}

/*
 * A block of @pool: its CPU address, with the DMA address in *@dma. Its bytes are undefined; cleared with
 * __GFP_ZERO. NULL, and DMA_MAPPING_ERROR in *@dma: no coherent memory (dma_alloc_coherent() with @gfp had
 * none), a NULL argument, or @pool is destroyed. CPU and device see its bytes alike, in the order that
 * barriers give them.
 *
 * Context: any with GFP_ATOMIC or GFP_NOWAIT; sleeps only with __GFP_DIRECT_RECLAIM. Any thread, without a
 * lock but where a magazine runs out. The caller owns the block; dma_pool_free().
 */
DK_POOL_INLINE void *dma_pool_alloc(struct dma_pool *pool, gfp_t gfp, dma_addr_t *dma)
{
    struct dk_pool_block block;

    if (__builtin_expect(!dma, 0)) {
        dk_pool_alloc(pool, gfp, dma);
        DK_KEEP_FRAME();
        return NULL;
    }
    if (__builtin_expect(!pool || gfp & __GFP_ZERO || !dk_pool_take_at_once(pool, &block), 0)) {
        block = dk_pool_alloc_block(pool, gfp);
        DK_KEEP_FRAME();
    }
    *dma = block.dma;
    return block.cpu;
}

/* The same, with the block's bytes cleared. */
DK_POOL_INLINE void *dma_pool_zalloc(struct dma_pool *pool, gfp_t gfp, dma_addr_t *dma)
{
    struct dk_pool_block block;

    if (__builtin_expect(!pool || !dma || !dk_pool_take_at_once(pool, &block), 0)) {
        block.cpu = dk_pool_zalloc(pool, gfp, dma);
        DK_KEEP_FRAME();
        return block.cpu;
    }
    *dma = block.dma;
    return memset(block.cpu, 0, pool->size);
}

/*
 * Gives the block at @cpu and @dma back, by any thread.
 *
 * A wrong free changes nothing: an address that is no block of @pool's, or is inside of one, a DMA address
 * that is not that block's, a NULL argument, or a pool that is destroyed. With the checker on it is reported
 * (free-not-allocated, free-wrong-cpu-address, pool-wrong-pool), else a log line says it. With the checker on
 * so is a block that is free already (free-not-allocated), and bytes that were changed around the block
 * (pool-overrun) or in it after its free (pool-use-after-free, when it is handed out again). With the checker
 * off a block that is free already cannot be told from one in use until its magazine goes back to the pool,
 * and by then may have been handed out twice.
 *
 * Context: any. No lock but where a magazine runs over.
 */
DK_POOL_INLINE void dma_pool_free(struct dma_pool *pool, void *cpu, dma_addr_t dma)
{
    if (__builtin_expect(!pool || !dk_pool_give_at_once(pool, cpu, dma), 0)) {
        dk_pool_free(pool, cpu, dma);
        DK_KEEP_FRAME();
    }
}

/*
 * Writes what the pools of @dev are like to @buffer, as the kernel's sysfs attribute "pools" does: the line
 * "poolinfo - 0.1", then a line for each pool, newest first: its name (filled up to 16 columns, blanks made
 * '_'), the blocks in use, the blocks in all, the bytes of a block, and the pages of memory, in decimal, with
 * blanks between. At most @size bytes, the last one a 0. Returns the bytes that the whole text has, without
 * the 0, as snprintf() does; a destroyed pool has no line. -EINVAL: @dev is NULL, or @buffer is and @size is
 * not 0. -ENODEV: this process is a child that fork() made. What other threads take or free meanwhile may or
 * may not be counted.
 *
 * Context: any but with a lock held that a report's sink takes; takes the pools' locks.
 */
DK_PUBLIC ssize_t dk_device_pools(struct device *dev, char *buffer, size_t size);

DK_END_DECLS

#endif
