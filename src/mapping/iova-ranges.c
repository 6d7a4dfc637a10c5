/* SPDX-License-Identifier: MIT */
#include "mapping/iova-ranges.h"

#include "base/alloc.h"
#include <dmakit/types.h>
#include <errno.h>

struct dk_iova_range {
    struct dk_iova_range *next; /* of the same bucket */
    dma_addr_t addr;
    u64 size;
    const struct device *dev; /* compared alone: it may be gone */
};

void dk_iova_ranges_start(struct dk_iova_ranges *ranges)
{
    pthread_mutex_init(&ranges->lock, NULL);
}

void dk_iova_ranges_finish(struct dk_iova_ranges *ranges)
{
    unsigned i;

    for (i = 0; i < DK_IOVA_RANGE_BUCKETS; i++) {
        while (ranges->buckets[i]) {
            struct dk_iova_range *range = ranges->buckets[i];

            ranges->buckets[i] = range->next;
            dk_release(range);
        }
    }
    pthread_mutex_destroy(&ranges->lock);
}

/* The link to the range that starts in the page of @addr, or to NULL: no two do. Under the lock. */
static struct dk_iova_range **find(struct dk_iova_ranges *ranges, dma_addr_t addr)
{
    u64 page = addr >> PAGE_SHIFT;
    /* Ranges are aligned to their size: the lowest bits alone tell large ones apart badly. */
    struct dk_iova_range **link = &ranges->buckets[(page * 0x9e3779b97f4a7c15ull) >> 56];

    while (*link && (*link)->addr >> PAGE_SHIFT != page)
        link = &(*link)->next;
    return link;
}

int dk_iova_ranges_enter(struct dk_iova_ranges *ranges, dma_addr_t addr, u64 size, const struct device *dev)
{
    struct dk_iova_range *fresh = dk_allocate(1, sizeof(*fresh));
    struct dk_iova_range *stale, **link;

    if (!fresh)
        return -ENOMEM;
    pthread_mutex_lock(&ranges->lock);
    link = find(ranges, addr);
    /* One whose addresses came back by other means. */
    stale = *link;
    *fresh = (struct dk_iova_range){ stale ? stale->next : NULL, addr, size, dev };
    *link = fresh;
    pthread_mutex_unlock(&ranges->lock);
    dk_release(stale);
    return 0;
}

/* Whether @range is the one, and @dev's. */
static bool matches(const struct dk_iova_range *range, dma_addr_t addr, u64 size, const struct device *dev)
{
    return range && range->addr == addr && range->size == size && range->dev == dev;
}

bool dk_iova_ranges_hold(struct dk_iova_ranges *ranges, dma_addr_t addr, u64 size, const struct device *dev)
{
    bool holds;

    pthread_mutex_lock(&ranges->lock);
    holds = matches(*find(ranges, addr), addr, size, dev);
    pthread_mutex_unlock(&ranges->lock);
    return holds;
}

bool dk_iova_ranges_leave(struct dk_iova_ranges *ranges, dma_addr_t addr, u64 size, const struct device *dev)
{
    struct dk_iova_range *range, **link;

    pthread_mutex_lock(&ranges->lock);
    link = find(ranges, addr);
    range = matches(*link, addr, size, dev) ? *link : NULL;
    if (range)
        *link = range->next;
    pthread_mutex_unlock(&ranges->lock);
    dk_release(range);
    return range;
}
