/* SPDX-License-Identifier: MIT */
/*
 * The back end of devices whose own one this version does not have: behind an IOMMU, or confined to a
 * restricted pool. Each call gives its error, so that a driver's error paths run, instead of a mapping that
 * the real board would not make.
 */
#include "mapping/mapping.h"

static dma_addr_t missing_map_page(struct device *dev, struct page *page, unsigned long offset, size_t size,
                                   enum dma_data_direction direction, unsigned long attrs)
{
    (void)page;
    (void)offset;
    (void)size;
    (void)direction;
    if (!(attrs & DMA_ATTR_NO_WARN))
        dk_device_log(dev, 1, "mapping through its IOMMU or restricted pool is not available");
    return DMA_MAPPING_ERROR;
}

const struct dma_map_ops dk_missing_ops = {
    .map_page = missing_map_page,
};
