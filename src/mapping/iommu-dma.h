/* SPDX-License-Identifier: MIT */
/*
 * What the files of the IOMMU's back end share.
 */
#ifndef DK_MAPPING_IOMMU_DMA_H
#define DK_MAPPING_IOMMU_DMA_H

#include "mapping/iommu-space.h"
#include <dmakit/dma-map-ops.h>

/* What a device may do with a mapping in @direction, which is not DMA_NONE. */
static inline unsigned dk_iommu_rights(enum dma_data_direction direction)
{
    static const u8 rights[] = {
        [DMA_BIDIRECTIONAL] = DK_IOMMU_READ | DK_IOMMU_WRITE,
        [DMA_TO_DEVICE] = DK_IOMMU_READ,
        [DMA_FROM_DEVICE] = DK_IOMMU_WRITE,
    };

    return rights[direction];
}
/* The space that @dev is in; NULL, with a log line, when it is in none. */
struct dk_iommu_space *dk_iommu_space_of(const struct device *dev, unsigned long attrs);
/* The log line of a mapping that found no addresses or no page tables. */
void dk_iommu_out_of_space(const struct device *dev, u64 size, dma_addr_t limit, unsigned long attrs);

/* Whether the first and the last byte of [dma, dma + size), size > 0, are mapped, and not only remembered by
 * a lazy IOMMU. */
bool dk_iommu_is_mapped(const struct dk_iommu_space *space, dma_addr_t dma, u64 size);

/* Moves the cache lines behind the mapped [dma, dma + size), for a device that does not snoop. */
void dk_iommu_sync(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                   bool for_cpu);

/*
 * iommu-fast.c: dma_map_single() and dma_unmap_single() of a device whose fast_space is set. Arguments have
 * not been checked: what is not plain goes the long way.
 */
dma_addr_t dk_iommu_map_single(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction,
                               unsigned long attrs);
void dk_iommu_unmap_single(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                           unsigned long attrs);

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
