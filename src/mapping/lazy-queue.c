/* SPDX-License-Identifier: MIT */
#include "mapping/lazy-queue.h"

#include "base/alloc.h"

struct entry {
    dma_addr_t iova;
    u64 pages;
};

struct dk_lazy_queue {
    struct dk_iommu_domain *domain;
    struct dk_iova *iova;
    struct dk_iova_quarantine *quarantine;
    pthread_mutex_t lock;
    unsigned first, count;
    struct entry entries[DK_LAZY_ENTRIES]; /* a ring, oldest at @first */
};

struct dk_lazy_queue *dk_lazy_queue_create(struct dk_iommu_domain *domain, struct dk_iova *iova,
                                           struct dk_iova_quarantine *quarantine)
{
    struct dk_lazy_queue *queue = dk_allocate(1, sizeof(*queue));

    if (!queue)
        return NULL;
    queue->domain = domain;
    queue->iova = iova;
    queue->quarantine = quarantine;
    pthread_mutex_init(&queue->lock, NULL);
    return queue;
}

void dk_lazy_queue_destroy(struct dk_lazy_queue *queue)
{
    if (!queue)
        return;
    dk_lazy_queue_flush(queue);
    pthread_mutex_destroy(&queue->lock);
    dk_release(queue);
}

static void forget(struct dk_lazy_queue *queue, const struct entry *entry)
{
    dk_iommu_unmap(queue->domain, entry->iova, entry->pages << PAGE_SHIFT);
    if (queue->quarantine)
        dk_iova_quarantine_add(queue->quarantine, entry->iova, entry->pages);
    else
        dk_iova_give(queue->iova, entry->iova, entry->pages);
}

void dk_lazy_queue_add(struct dk_lazy_queue *queue, dma_addr_t iova, u64 pages)
{
    struct entry oldest = { .pages = 0 };

    dk_iommu_mark_stale(queue->domain, iova, pages << PAGE_SHIFT);
    pthread_mutex_lock(&queue->lock);
    if (queue->count == DK_LAZY_ENTRIES) {
        oldest = queue->entries[queue->first];
        queue->first = (queue->first + 1) % DK_LAZY_ENTRIES;
        queue->count--;
    }
    queue->entries[(queue->first + queue->count) % DK_LAZY_ENTRIES] = (struct entry){ iova, pages };
    queue->count++;
    pthread_mutex_unlock(&queue->lock);
    if (oldest.pages)
        forget(queue, &oldest);
}

bool dk_lazy_queue_flush(struct dk_lazy_queue *queue)
{
    struct entry oldest;
    bool any = false;

    for (;;) {
        pthread_mutex_lock(&queue->lock);
        if (!queue->count) {
            pthread_mutex_unlock(&queue->lock);
            return any;
        }
        oldest = queue->entries[queue->first];
        queue->first = (queue->first + 1) % DK_LAZY_ENTRIES;
        queue->count--;
        pthread_mutex_unlock(&queue->lock);
        forget(queue, &oldest);
        any = true;
    }
}
