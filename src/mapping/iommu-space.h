/* SPDX-License-Identifier: MIT */
/*
 * An IOMMU address space as mapping uses it: page tables, which addresses are taken, and who shares it.
 *
 * Each context of an IOMMU (an id that masters put out) is one space, shared by the devices that put it out;
 * a driver may make more (dmakit/iommu.h) and put devices there instead.
 */
#ifndef DK_MAPPING_IOMMU_SPACE_H
#define DK_MAPPING_IOMMU_SPACE_H

#include "machine/iommu.h"
#include "mapping/delay-queue.h"
#include "mapping/iova-ranges.h"
#include "mapping/iova.h"

/*
 * What a lazy IOMMU (iommu.strict=0) has been told to unmap and not done yet is the window in which a device
 * still reaches memory that its driver has back. The window of an unmap ends with the DK_LAZY_UNMAPS-th one
 * after it, when addresses run out, or when the space goes.
 */
#define DK_LAZY_UNMAPS 256u
/* Addresses in quarantine were unmapped of late and are not given out again for a while: a device that still
 * uses one meets a fault, and not the next mapping. Who finds no addresses ends it. */
#define DK_IOVA_QUARANTINE_RANGES 256u
#define DK_IOVA_QUARANTINE_PAGES 65536u

struct dk_iommu_space {
    struct list_head link; /* in dk_mapping_state.spaces, guarded by its spaces_lock as all that follows */
    struct dk_machine *machine;
    int iommu;        /* the IOMMU, as an index into the board's nodes; -1: a driver made the space */
    u32 context;      /* the id there */
    unsigned holders; /* devices in it, and the driver that made it */
    /* Fixed: */
    struct dk_memory *memory; /* the machine's */
    dma_addr_t base, last;    /* addresses that are given out lie in here */
    struct dk_iommu_domain *domain;
    struct dk_iova *iova;
    struct dk_iova_ranges ranges;
    struct dk_delay_queue *quarantine; /* of pages whose addresses go back to @iova; NULL: there is none */
    struct dk_delay_queue *lazy;       /* of pages that are yet to be unmapped; NULL: strict */
};

/* A space of its own over [base, last], held once. Error pointers: -EINVAL an empty range, -ENOMEM. */
struct dk_iommu_space *dk_iommu_space_create(struct dk_machine *machine, dma_addr_t base, dma_addr_t last);
/* One holder more. */
void dk_iommu_space_hold(struct dk_iommu_space *space);
/* One holder less; the last one frees it. NULL is fine. May sleep. */
void dk_iommu_space_put(struct dk_iommu_space *space);

/* Puts @dev into the space of its context, made now if need be. 0 or -ENOMEM. */
int dk_iommu_space_join(struct device *dev, int iommu, u32 context);
/*
 * Puts @dev into @space; NULL: into none, and its accesses fault. What the device's windows leave out of the
 * space's addresses is taken out of use there. 0; -EBUSY such an address is in use, or another thread's
 * magazines hold it; -ENOMEM; with a log line. The device keeps its space then. What maps as @dev goes with
 * it.
 */
int dk_iommu_space_enter(struct device *dev, struct dk_iommu_space *space);

/* @pages whose last byte is at most @limit, or DMA_MAPPING_ERROR. Any context. */
dma_addr_t dk_iommu_space_take(struct dk_iommu_space *space, u64 pages, dma_addr_t limit);
/* Unmaps what is mapped in the @pages at @start, which dk_iommu_space_take() gave, and gives them back; later
 * where the space is lazy. Any context. */
void dk_iommu_space_release(struct dk_iommu_space *space, dma_addr_t start, u64 pages);

#endif
