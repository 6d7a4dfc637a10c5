/* SPDX-License-Identifier: MIT */
/*
 * Addresses of an IOMMU's address space that were unmapped of late, and are not given out again for a while:
 * a device that still uses one meets a fault, and not the next mapping.
 *
 * First in, first out, and bounded in ranges and pages, as a count of calls and not of milliseconds, so that
 * a run can be repeated. Who finds no addresses ends it.
 */
#ifndef DK_MAPPING_IOVA_QUARANTINE_H
#define DK_MAPPING_IOVA_QUARANTINE_H

#include "mapping/iova.h"

#define DK_IOVA_QUARANTINE_RANGES 256u
#define DK_IOVA_QUARANTINE_PAGES 65536u /* a longer range is given back at once */

struct dk_iova_quarantine;

/* Of @iova's addresses. NULL: out of memory. */
struct dk_iova_quarantine *dk_iova_quarantine_create(struct dk_iova *iova);
/* Ends it first. NULL is fine. No other thread may be inside. */
void dk_iova_quarantine_destroy(struct dk_iova_quarantine *quarantine);
/* Takes over @pages pages at @start, as dk_iova_take() gave them. Any context and thread. */
void dk_iova_quarantine_add(struct dk_iova_quarantine *quarantine, dma_addr_t start, u64 pages);
/* Gives all of it back. False: there was nothing. Any context and thread. */
bool dk_iova_quarantine_end(struct dk_iova_quarantine *quarantine);

#endif
