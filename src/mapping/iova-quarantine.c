/* SPDX-License-Identifier: MIT */
#include "mapping/iova-quarantine.h"

#include "base/alloc.h"

struct range {
    dma_addr_t start;
    u64 pages;
};

struct dk_iova_quarantine {
    struct dk_iova *iova;
    pthread_mutex_t lock; /* held while ranges go back, so that who ends it finds them free afterwards */
    u64 pages;
    unsigned first, count;
    struct range ranges[DK_IOVA_QUARANTINE_RANGES]; /* a ring, the oldest at @first */
};

struct dk_iova_quarantine *dk_iova_quarantine_create(struct dk_iova *iova)
{
    struct dk_iova_quarantine *quarantine = dk_allocate(1, sizeof(*quarantine));

    if (!quarantine)
        return NULL;
    quarantine->iova = iova;
    pthread_mutex_init(&quarantine->lock, NULL);
    return quarantine;
}

/* Under the lock. */
static void give_oldest(struct dk_iova_quarantine *quarantine)
{
    const struct range *oldest = &quarantine->ranges[quarantine->first];

    dk_iova_give(quarantine->iova, oldest->start, oldest->pages);
    quarantine->pages -= oldest->pages;
    quarantine->first = (quarantine->first + 1) % DK_IOVA_QUARANTINE_RANGES;
    quarantine->count--;
}

void dk_iova_quarantine_add(struct dk_iova_quarantine *quarantine, dma_addr_t start, u64 pages)
{
    unsigned place;

    if (pages > DK_IOVA_QUARANTINE_PAGES) {
        dk_iova_give(quarantine->iova, start, pages);
        return;
    }
    pthread_mutex_lock(&quarantine->lock);
    while (quarantine->count == DK_IOVA_QUARANTINE_RANGES ||
           quarantine->pages + pages > DK_IOVA_QUARANTINE_PAGES)
        give_oldest(quarantine);
    place = (quarantine->first + quarantine->count++) % DK_IOVA_QUARANTINE_RANGES;
    quarantine->ranges[place] = (struct range){ start, pages };
    quarantine->pages += pages;
    pthread_mutex_unlock(&quarantine->lock);
}

bool dk_iova_quarantine_end(struct dk_iova_quarantine *quarantine)
{
    bool any;

    pthread_mutex_lock(&quarantine->lock);
    any = quarantine->count;
    while (quarantine->count)
        give_oldest(quarantine);
    pthread_mutex_unlock(&quarantine->lock);
    return any;
}

void dk_iova_quarantine_destroy(struct dk_iova_quarantine *quarantine)
{
    if (!quarantine)
        return;
    dk_iova_quarantine_end(quarantine);
    pthread_mutex_destroy(&quarantine->lock);
    dk_release(quarantine);
}
