/* SPDX-License-Identifier: MIT */
/*
 * What the files of the IOMMU's back end share.
 */
#ifndef DK_MAPPING_IOMMU_DMA_H
#define DK_MAPPING_IOMMU_DMA_H

#include "mapping/iommu-space.h"
#include <dmakit/dma-map-ops.h>

/* What a device may do with a mapping in @direction. */
unsigned dk_iommu_rights(enum dma_data_direction direction);
/* The space that @dev is in; NULL, with a log line, when it is in none. */
struct dk_iommu_space *dk_iommu_space_of(const struct device *dev, unsigned long attrs);
/* The log line of a mapping that found no addresses or no page tables. */
void dk_iommu_out_of_space(const struct device *dev, u64 size, dma_addr_t limit, unsigned long attrs);

/* Moves the cache lines behind the mapped [dma, dma + size), for a device that does not snoop. */
void dk_iommu_sync(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                   bool for_cpu);

/*
 * The short way of a mapping whose device's fast_space is set: @pages, at most DK_IOVA_CACHED_PAGES, from
 * page-aligned @phys on. DMA_MAPPING_ERROR, with nothing done: no address in this thread's magazine, or no
 * page table used of late. One of a page calls nothing, so that its caller needs no stack frame.
 */
static inline __attribute__((always_inline)) dma_addr_t
dk_iommu_map_at_once(const struct device *dev, phys_addr_t phys, u64 pages, unsigned rights)
{
    struct dk_iommu_space *space = dev->dk->fast_space;
    dma_addr_t iova = dk_iova_take_here(space->iova, pages, dev->fast_limit);
    struct dk_iommu_leaves *leaves;

    if (__builtin_expect(iova == DMA_MAPPING_ERROR, 0))
        return DMA_MAPPING_ERROR;
    leaves = dk_iommu_recent(&space->domain->tables, iova, pages << PAGE_SHIFT);
    if (__builtin_expect(!leaves, 0)) {
        dk_iova_give_here(space->iova, iova, pages);
        return DMA_MAPPING_ERROR;
    }
    if (pages == 1)
        __atomic_store_n(dk_iommu_leaf(leaves, iova), phys | rights | DK_IOMMU_PRESENT, DK_IOMMU_STORE_ORDER);
    else
        dk_iommu_fill(dk_iommu_leaf(leaves, iova), phys | rights | DK_IOMMU_PRESENT, (unsigned)pages);
    return iova;
}

/* The entries of @pages from @iova on are empty after it, but accesses may be under way. False: they are not
 * all full, or in no table used of late, and nothing was done. */
static inline __attribute__((always_inline)) bool dk_iommu_clear_at_once(const struct dk_iommu_space *space,
                                                                         dma_addr_t iova, u64 pages)
{
    struct dk_iommu_leaves *leaves = dk_iommu_recent(&space->domain->tables, iova, pages << PAGE_SHIFT);
    u64 *first, *last;

    if (__builtin_expect(!leaves, 0))
        return false;
    first = dk_iommu_leaf(leaves, iova);
    last = first + (pages - 1);
    if (__builtin_expect(
            !__atomic_load_n(first, __ATOMIC_RELAXED) || !__atomic_load_n(last, __ATOMIC_RELAXED), 0))
        return false;
    if (pages == 1)
        __atomic_store_n(first, 0, DK_IOMMU_STORE_ORDER);
    else
        dk_iommu_clear(first, (unsigned)pages);
    return true;
}

/* iommu-sg.c */
int dk_iommu_map_sg(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction direction,
                    unsigned long attrs);
void dk_iommu_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents,
                       enum dma_data_direction direction, unsigned long attrs);
void dk_iommu_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl, int nents,
                              enum dma_data_direction direction);
void dk_iommu_sync_sg_for_device(struct device *dev, struct scatterlist *sgl, int nents,
                                 enum dma_data_direction direction);

/* iommu-alloc.c */
void *dk_iommu_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp, unsigned long attrs);
void dk_iommu_free(struct device *dev, size_t size, void *cpu, dma_addr_t dma, unsigned long attrs);
struct page *dk_iommu_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
                                  enum dma_data_direction direction, gfp_t gfp);
void dk_iommu_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                         enum dma_data_direction direction);
struct sg_table *dk_iommu_alloc_noncontiguous(struct device *dev, size_t size,
                                              enum dma_data_direction direction, gfp_t gfp,
                                              unsigned long attrs);
void dk_iommu_free_noncontiguous(struct device *dev, size_t size, struct sg_table *table,
                                 enum dma_data_direction direction);
int dk_iommu_mmap(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma, size_t size,
                  unsigned long attrs);
int dk_iommu_get_sgtable(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t dma, size_t size,
                         unsigned long attrs);

#endif
