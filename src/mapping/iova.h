/* SPDX-License-Identifier: MIT */
/*
 * The addresses of one IOMMU address space: which are taken. Sizes are pages (PAGE_SIZE), addresses bytes.
 *
 * A range is aligned to its size rounded up to a power of two, and comes from the highest free place below
 * the limit. Small sizes come from per-thread magazines over a buddy tree that is made as it is split, so its
 * cost does not grow with the address space.
 */
#ifndef DK_MAPPING_IOVA_H
#define DK_MAPPING_IOVA_H

#include "base/magazine.h"
#include "mapping/iova-tree.h"
#include <dmakit/dma-mapping.h>
#include <pthread.h>

/* The largest size that magazines hold, in pages, and how many classes, of powers of two, that makes. */
#define DK_IOVA_CACHED_PAGES 1024u
#define DK_IOVA_CLASSES 11

struct dk_iova {
    /*
     * A class by order, of addresses in bytes. A cached size is rounded up to its power of two, here and in
     * the tree. A class of which one magazine would be a large part of the space is not cached.
     */
    struct dk_magazines *magazines;
    unsigned capacities[DK_IOVA_CLASSES]; /* 0: not cached */
    pthread_mutex_t lock;                 /* guards the tree */
    struct dk_iova_tree tree;
};

/* The space [base, last], bytes, page-aligned inwards; page 0 is never given out. Error pointers: -EINVAL
 * empty, -ENOMEM. */
struct dk_iova *dk_iova_create(dma_addr_t base, dma_addr_t last);
/* NULL is fine, and so is what was not given back. No other thread may be inside. */
void dk_iova_destroy(struct dk_iova *space);

/*
 * Takes [base, last] out of the space for good, page-aligned outwards; parts outside it, which those reserved
 * before are too, are passed over. -EBUSY part of it is taken (nothing changed), or another thread's
 * magazines hold it; -ENOMEM. Any context and thread.
 */
int dk_iova_reserve(struct dk_iova *space, dma_addr_t base, dma_addr_t last);

/* What the inline calls below do when the magazines do not serve. */
dma_addr_t dk_iova_take_slow(struct dk_iova *space, u64 pages, dma_addr_t limit);
void dk_iova_give_slow(struct dk_iova *space, dma_addr_t iova, u64 pages);
/* The same for a cached range at @iova that ends above the limit. */
dma_addr_t dk_iova_take_lower(struct dk_iova *space, dma_addr_t iova, u64 pages, dma_addr_t limit);

/*
 * @pages (> 0) whose last byte is at most @limit. DMA_MAPPING_ERROR: none, or out of memory. Any context and
 * thread.
 *
 * What another thread's magazines hold is not found: two magazines of a size, which are at most 1/512 of the
 * space.
 */
static inline dma_addr_t dk_iova_take(struct dk_iova *space, u64 pages, dma_addr_t limit)
{
    u64 iova;

    if (__builtin_expect(pages - 1 >= DK_IOVA_CACHED_PAGES, 0) ||
        __builtin_expect(!dk_magazine_take(space->magazines, dk_iova_order(pages), &iova), 0))
        return dk_iova_take_slow(space, pages, limit);
    if (__builtin_expect(iova + (pages << PAGE_SHIFT) - 1 > limit, 0))
        return dk_iova_take_lower(space, iova, pages, limit);
    return iova;
}

/*
 * Gives back exactly what dk_iova_take() gave. Cannot fail, and needs no memory. Any context and thread.
 * Anything else is refused with a log line where it comes to the tree, which a cached size does later, or
 * never.
 */
static inline void dk_iova_give(struct dk_iova *space, dma_addr_t iova, u64 pages)
{
    if (__builtin_expect(pages - 1 >= DK_IOVA_CACHED_PAGES, 0) ||
        __builtin_expect(!dk_magazine_give(space->magazines, dk_iova_order(pages), iova), 0))
        dk_iova_give_slow(space, iova, pages);
}

/* The same out of this thread's loaded magazine and into it, without a call to anything: DMA_MAPPING_ERROR,
 * or false, when that does not serve. @pages: a cached size. What was just taken can be given back. */
static inline dma_addr_t dk_iova_take_here(struct dk_iova *space, u64 pages, dma_addr_t limit)
{
    struct dk_magazine_pair *pairs = dk_magazines_here(space->magazines);
    struct dk_magazine_pair *pair;
    u64 iova;

    if (__builtin_expect(!pairs, 0))
        return DMA_MAPPING_ERROR;
    pair = &pairs[dk_iova_order(pages)];
    if (__builtin_expect(!dk_magazine_pair_take(pair, &iova), 0))
        return DMA_MAPPING_ERROR;
    if (__builtin_expect(iova + (pages << PAGE_SHIFT) - 1 > limit, 0)) {
        dk_magazine_pair_give(pair, iova);
        return DMA_MAPPING_ERROR;
    }
    return iova;
}
static inline bool dk_iova_give_here(struct dk_iova *space, dma_addr_t iova, u64 pages)
{
    struct dk_magazine_pair *pairs = dk_magazines_here(space->magazines);

    return pairs && dk_magazine_pair_give(&pairs[dk_iova_order(pages)], iova);
}

/* Pages neither reserved nor given out (cached ones count as free). Exact when no other thread is inside. */
u64 dk_iova_free_pages(const struct dk_iova *space);

#endif
