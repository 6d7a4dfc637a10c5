/* SPDX-License-Identifier: MIT */
#include "mapping/iova.h"

#include "base/alloc.h"
#include "base/log.h"
#include <dmakit/dma-mapping.h>

/* What a magazine holds at most: this many items, and this part of the space, as a shift. */
#define MAGAZINE_ITEMS 64
#define MAGAZINE_SHARE 10

/* How many pages the tree gives for @pages. */
static u64 pages_held(const struct dk_iova *space, u64 pages)
{
    unsigned order;

    if (pages - 1 >= DK_IOVA_CACHED_PAGES)
        return pages;
    order = dk_iova_order(pages);
    return space->capacities[order] ? 1ull << order : pages;
}

/* The end, as a page, of the pages that lie at or below the byte @last. */
static u64 end_page(dma_addr_t last)
{
    return (last >> PAGE_SHIFT) + ((last & ~PAGE_MASK) == ~PAGE_MASK);
}

/* Under the lock. False: that was not taken; log_refusal() is to follow, without the lock. */
static bool tree_give(struct dk_iova *space, dma_addr_t iova, u64 pages)
{
    return !(iova & ~PAGE_MASK) && dk_iova_tree_give(&space->tree, iova >> PAGE_SHIFT, pages);
}

static void log_refusal(dma_addr_t iova, u64 pages)
{
    dk_log(DK_LOG_ERROR, "iova: %llu pages at 0x%llx are given back, but were not taken so: ignored", pages,
           iova);
}

/* The magazines' source: blocks of the class's order, wherever they lie; the highest is to be taken first. */
static size_t refill(void *owner, unsigned class_index, u64 *items, size_t count)
{
    struct dk_iova *space = owner;
    u64 pages = 1ull << class_index, place;
    size_t left = count;

    pthread_mutex_lock(&space->lock);
    while (left && dk_iova_tree_take(&space->tree, pages, pages, space->tree.last + 1, &place))
        items[--left] = place << PAGE_SHIFT;
    pthread_mutex_unlock(&space->lock);
    for (size_t i = 0; left && i < count - left; i++)
        items[i] = items[i + left];
    return count - left;
}

static void spill(void *owner, unsigned class_index, const u64 *items, size_t count)
{
    struct dk_iova *space = owner;
    u64 pages = 1ull << class_index;

    pthread_mutex_lock(&space->lock);
    for (size_t i = 0; i < count; i++) {
        if (tree_give(space, items[i], pages))
            continue;
        pthread_mutex_unlock(&space->lock);
        log_refusal(items[i], pages);
        pthread_mutex_lock(&space->lock);
    }
    pthread_mutex_unlock(&space->lock);
}

static bool tree_take(struct dk_iova *space, u64 pages, dma_addr_t limit, u64 *place)
{
    bool found;

    pthread_mutex_lock(&space->lock);
    found = dk_iova_tree_take(&space->tree, pages_held(space, pages), pages, end_page(limit), place);
    pthread_mutex_unlock(&space->lock);
    return found;
}

dma_addr_t dk_iova_take_slow(struct dk_iova *space, u64 pages, dma_addr_t limit)
{
    u64 place;

    if (tree_take(space, pages, limit, &place))
        return place << PAGE_SHIFT;
    dk_magazines_drain(space->magazines);
    return tree_take(space, pages, limit, &place) ? place << PAGE_SHIFT : DMA_MAPPING_ERROR;
}

void dk_iova_give_slow(struct dk_iova *space, dma_addr_t iova, u64 pages)
{
    bool given;

    pthread_mutex_lock(&space->lock);
    given = tree_give(space, iova, pages_held(space, pages));
    pthread_mutex_unlock(&space->lock);
    if (!given)
        log_refusal(iova, pages);
}

dma_addr_t dk_iova_take_lower(struct dk_iova *space, dma_addr_t iova, u64 pages, dma_addr_t limit)
{
    dk_iova_give(space, iova, pages);
    return dk_iova_take_slow(space, pages, limit);
}

int dk_iova_reserve(struct dk_iova *space, dma_addr_t base, dma_addr_t last)
{
    int error = -EBUSY;

    /* A second time without what the magazines hold. */
    for (int i = 0; i < 2 && error == -EBUSY; i++) {
        if (i)
            dk_magazines_drain(space->magazines);
        pthread_mutex_lock(&space->lock);
        error = dk_iova_tree_reserve(&space->tree, base >> PAGE_SHIFT, last >> PAGE_SHIFT);
        pthread_mutex_unlock(&space->lock);
    }
    return error;
}

u64 dk_iova_free_pages(const struct dk_iova *space)
{
    u64 pages = __atomic_load_n(&space->tree.free, __ATOMIC_RELAXED);

    for (unsigned i = 0; i < DK_IOVA_CLASSES; i++)
        pages += dk_magazines_held(space->magazines, i) << i;
    return pages;
}

struct dk_iova *dk_iova_create(dma_addr_t base, dma_addr_t last)
{
    static const struct dk_magazine_source source = { refill, spill };
    u64 first = (base >> PAGE_SHIFT) + ((base & ~PAGE_MASK) != 0), end = end_page(last);
    struct dk_iova *space;
    int error = -ENOMEM;

    /* 0 is what drivers take for "no address". */
    if (!first)
        first = 1;
    if (first >= end)
        return ERR_PTR(-EINVAL);
    space = dk_allocate(1, sizeof(*space));
    if (!space)
        return ERR_PTR(-ENOMEM);
    for (unsigned i = 0; i < DK_IOVA_CLASSES; i++) {
        u64 share = (end - first) >> (i + MAGAZINE_SHARE);

        space->capacities[i] = share < MAGAZINE_ITEMS ? (unsigned)share : MAGAZINE_ITEMS;
    }
    space->magazines = dk_magazines_create(&source, space, space->capacities, DK_IOVA_CLASSES);
    if (!space->magazines)
        goto free_space;
    error = dk_iova_tree_init(&space->tree, first, end - 1);
    if (error)
        goto destroy_magazines;
    pthread_mutex_init(&space->lock, NULL);
    return space;

destroy_magazines:
    dk_magazines_destroy(space->magazines);
free_space:
    dk_release(space);
    return ERR_PTR(error);
}

void dk_iova_destroy(struct dk_iova *space)
{
    if (!space)
        return;
    dk_magazines_destroy(space->magazines);
    dk_iova_tree_finish(&space->tree);
    pthread_mutex_destroy(&space->lock);
    dk_release(space);
}
