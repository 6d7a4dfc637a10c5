/* SPDX-License-Identifier: MIT */
/*
 * Which ranges of an address space's addresses drivers hold (dma_iova_try_alloc()), and for which device: a
 * driver's state is a copy of what it was given, and may be used once too often.
 */
#ifndef DK_MAPPING_IOVA_RANGES_H
#define DK_MAPPING_IOVA_RANGES_H

#include <dmakit/types.h>
#include <pthread.h>

#define DK_IOVA_RANGE_BUCKETS 256u

struct device;
struct dk_iova_range;

struct dk_iova_ranges {
    pthread_mutex_t lock;
    struct dk_iova_range *buckets[DK_IOVA_RANGE_BUCKETS]; /* by address; guarded by lock */
};

/* On zeroed memory. */
void dk_iova_ranges_start(struct dk_iova_ranges *ranges);
/* Forgets all that are held. No other thread may be inside. */
void dk_iova_ranges_finish(struct dk_iova_ranges *ranges);

/* @dev holds @size bytes from @addr on, which were nobody's. 0 or -ENOMEM. Any context and thread, as the
 * others. */
int dk_iova_ranges_enter(struct dk_iova_ranges *ranges, dma_addr_t addr, u64 size, const struct device *dev);
/* Whether @dev holds exactly this range. */
bool dk_iova_ranges_hold(struct dk_iova_ranges *ranges, dma_addr_t addr, u64 size, const struct device *dev);
/* It does not from now on. False: it did not. */
bool dk_iova_ranges_leave(struct dk_iova_ranges *ranges, dma_addr_t addr, u64 size, const struct device *dev);

#endif
