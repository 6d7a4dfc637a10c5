/* SPDX-License-Identifier: MIT */
/*
 * What a lazy IOMMU (iommu.strict=0) has been told to unmap and not done yet: the window in which a device
 * still reaches memory that its driver has back.
 *
 * The window of an unmap ends with the DK_LAZY_ENTRIES-th one after it, when addresses run out, or when the
 * space goes. Counted in calls, not in milliseconds, so that a run can be repeated.
 */
#ifndef DK_MAPPING_LAZY_QUEUE_H
#define DK_MAPPING_LAZY_QUEUE_H

#include "machine/iommu.h"
#include "mapping/iova-quarantine.h"

#define DK_LAZY_ENTRIES 256u

struct dk_lazy_queue;

/* Addresses go to @quarantine in the end, or where that is NULL back to @iova. NULL: out of memory. */
struct dk_lazy_queue *dk_lazy_queue_create(struct dk_iommu_domain *domain, struct dk_iova *iova,
                                           struct dk_iova_quarantine *quarantine);
/* Flushes first. NULL is fine. */
void dk_lazy_queue_destroy(struct dk_lazy_queue *queue);
/* Takes over @pages pages at @iova, which were mapped as one range. Any context and thread. */
void dk_lazy_queue_add(struct dk_lazy_queue *queue, dma_addr_t iova, u64 pages);
/* Ends every window that is open. Returns whether there was one. Any context and thread. */
bool dk_lazy_queue_flush(struct dk_lazy_queue *queue);

#endif
