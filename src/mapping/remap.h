/* SPDX-License-Identifier: MIT */
/*
 * Coherent remaps as the rest of the room sees them: what keeps an owner's memory allocated.
 *
 * A remap is in its machine's list from before it reaches any memory until after it reaches none any more,
 * so that a free that comes in between finds it there.
 */
#ifndef DK_MAPPING_REMAP_H
#define DK_MAPPING_REMAP_H

#include "mapping/iommu-space.h"
#include "mapping/mapping.h"

/* The arguments of a free that waits; @cpu NULL: none does. */
struct dk_waiting_free {
    size_t size;
    void *cpu;
    dma_addr_t dma;
    unsigned long attrs;
};

/* Consecutive DMA addresses of the importer's. */
struct dk_remap_range {
    dma_addr_t dma;
    phys_addr_t phys; /* of the first byte */
    u64 contiguous;   /* bytes from there on that follow each other in memory */
    u64 size;
};

struct dk_remap {
    struct list_head link; /* in dk_mapping_state.remaps, guarded by its remaps_lock as the next five */
    struct device *dev;
    struct device *owner;
    dma_addr_t dma; /* the owner's */
    u64 size;
    struct dk_waiting_free waiting;  /* the owner's, for the last remap of the allocation to do */
    const struct scatterlist *table; /* the entries that the importer has; NULL: not yet */
    /* The importer's side: */
    struct dk_iommu_space *space; /* held; NULL: direct */
    dma_addr_t iova;              /* in @space: @pages from here on; 0 pages: none yet */
    u64 pages;
    struct dk_remap_range *ranges;
    unsigned count;
};

/* remap-holds.c */

/* A remap of [dma, dma + size) of @owner, in the list, that reaches nothing yet. NULL: out of memory. */
struct dk_remap *dk_remap_begin(struct device *dev, struct device *owner, dma_addr_t dma, u64 size);
/* Undoes it, out of the list, freed. Does the free that waits for it, if it is the last. May sleep. */
void dk_remap_end(struct dk_remap *remap);
/* The importer has it from now on: @table are its entries. */
void dk_remap_publish(struct dk_remap *remap, const struct scatterlist *table);
/* The remap whose entries @table are, of whatever device; NULL: none's. @dev's own is not found again: it is
 * to be ended. */
struct dk_remap *dk_remap_claim(const struct device *dev, const struct scatterlist *table);

/*
 * Before @owner's memory is freed by @call: true when some of it is remapped, which is reported; it is then
 * freed when the last remap goes, and the caller is not to.
 */
bool dk_remap_keeps(struct device *owner, const char *call, const struct dk_waiting_free *waiting);
/* Undoes what a driver of @dev's, or @dev itself, has left. While it still is in its space. */
void dk_remap_device_removed(struct device *dev);

/* dispatch-alloc.c: frees what dk_alloc_attrs() gave, with nothing left to check. */
void dk_release_coherent(struct device *dev, const struct dk_waiting_free *free);

#endif
