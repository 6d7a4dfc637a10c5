/* SPDX-License-Identifier: MIT */
/*
 * Which memory is coherent: what dma_alloc_attrs() and what stands on it took, by physical address.
 */
#ifndef DK_CHECK_COHERENTS_H
#define DK_CHECK_COHERENTS_H

#include "check/intervals.h"
#include "check/lock.h"
#include <dmakit/page.h>

struct device;
struct dk_coherent;

/* Counters by a hash of the page: nearly every mapping sees two that are 0, and takes no lock. */
#define DK_COHERENT_COUNTERS 65536u

struct dk_coherents {
    struct dk_lock lock; /* guards what follows the counters */
    u8 *counters;        /* atomic; one that is full stays so */
    struct dk_intervals ranges;
    struct dk_coherent *free;
    struct dk_coherent_slab *slabs;
};

/* 0 or -ENOMEM. */
int dk_coherents_init(struct dk_coherents *coherents);
void dk_coherents_finish(struct dk_coherents *coherents);

static inline u8 *dk_coherents_counter(const struct dk_coherents *coherents, u64 phys)
{
    return &coherents->counters[(phys >> PAGE_SHIFT) * 0x9e3779b97f4a7c15ull >> 48];
}

/* Whether [phys, phys + size) is, or may be, coherent memory: two pages of it are looked at. Lock-free. */
static inline bool dk_coherents_may_hold(const struct dk_coherents *coherents, u64 phys, u64 size)
{
    u64 last = phys + (size - 1);

    return __atomic_load_n(dk_coherents_counter(coherents, phys), __ATOMIC_RELAXED) ||
           ((phys ^ last) >> PAGE_SHIFT &&
            __atomic_load_n(dk_coherents_counter(coherents, last), __ATOMIC_RELAXED));
}

#endif
