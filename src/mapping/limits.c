/* SPDX-License-Identifier: MIT */
/*
 * Masks and the other limits of a device.
 */
#include "mapping/dispatch.h"

#include "mapping/bounce.h"

static bool mask_supported(struct device *dev, u64 mask)
{
    if (dev->dma_ops->dma_supported)
        return dev->dma_ops->dma_supported(dev, mask);
    /* A back end that does not say takes what every bus of 32 bits has. */
    return mask >= DMA_BIT_MASK(32);
}

int dma_supported(struct device *dev, u64 mask)
{
    return dk_device_usable(dev, "dma_supported") && mask_supported(dev, mask);
}

int dma_set_mask(struct device *dev, u64 mask)
{
    if (!dk_device_usable(dev, "dma_set_mask") || !dev->dma_mask || !mask_supported(dev, mask))
        return -EIO;
    *dev->dma_mask = mask;
    dev->dk->mask_set = true;
    dk_check_limit_set(dev, "dma_set_mask", DK_LIMIT_MASK, mask);
    dk_mapping_refresh(dev);
    return 0;
}

int dma_set_coherent_mask(struct device *dev, u64 mask)
{
    if (!dk_device_usable(dev, "dma_set_coherent_mask") || !mask_supported(dev, mask))
        return -EIO;
    dev->coherent_dma_mask = mask;
    dev->dk->mask_set = true;
    dk_check_limit_set(dev, "dma_set_coherent_mask", DK_LIMIT_COHERENT_MASK, mask);
    /* The two masks may be one: dma_coerce_mask_and_coherent(). */
    dk_mapping_refresh(dev);
    return 0;
}

int dma_set_mask_and_coherent(struct device *dev, u64 mask)
{
    int error = dma_set_mask(dev, mask);

    return error ? error : dma_set_coherent_mask(dev, mask);
}

int dma_coerce_mask_and_coherent(struct device *dev, u64 mask)
{
    if (!dk_device_usable(dev, "dma_coerce_mask_and_coherent"))
        return -EIO;
    dev->dma_mask = &dev->coherent_dma_mask;
    return dma_set_mask_and_coherent(dev, mask);
}

u64 dma_get_mask(struct device *dev)
{
    if (!dk_device_usable(dev, "dma_get_mask"))
        return 0;
    return dev->dma_mask && *dev->dma_mask ? *dev->dma_mask : DMA_BIT_MASK(32);
}

u64 dma_get_required_mask(struct device *dev)
{
    if (!dk_device_usable(dev, "dma_get_required_mask"))
        return 0;
    return dev->dma_ops->get_required_mask ? dev->dma_ops->get_required_mask(dev) : DMA_BIT_MASK(32);
}

bool dma_addressing_limited(struct device *dev)
{
    if (!dk_device_usable(dev, "dma_addressing_limited"))
        return false;
    return dk_dma_limit(dev, dma_get_mask(dev)) < dma_get_required_mask(dev);
}

size_t dma_max_mapping_size(struct device *dev)
{
    return dev && dev->dma_ops->max_mapping_size ? dev->dma_ops->max_mapping_size(dev) : SIZE_MAX;
}

size_t dma_opt_mapping_size(struct device *dev)
{
    size_t most = dma_max_mapping_size(dev);
    size_t best = dev && dev->dma_ops->opt_mapping_size ? dev->dma_ops->opt_mapping_size() : SIZE_MAX;

    return best < most ? best : most;
}

bool dma_need_sync(struct device *dev, dma_addr_t dma)
{
    phys_addr_t phys;
    u64 run;

    if (!dev || !dev->dma_coherent)
        return dev;
    return dev->dma_ops == &dk_direct_ops && dk_bounce_pool_of(dev) &&
           dk_bus_translate(dev, dma, 1, &phys, &run) == 0 && dk_bounce_holds(dk_bounce_pool_of(dev), phys);
}

unsigned long dma_get_merge_boundary(struct device *dev)
{
    return dev && dev->dma_ops->get_merge_boundary ? dev->dma_ops->get_merge_boundary(dev) : 0;
}

int dma_get_cache_alignment(void)
{
    struct dk_memory *memory = dk_memory_current();

    return memory && dk_memory_two_views(memory) ? (int)dk_memory_line(memory) : 1;
}

int dma_set_max_seg_size(struct device *dev, unsigned int size)
{
    if (!dev || !dev->dma_parms)
        return -EIO;
    dev->dma_parms->max_segment_size = size;
    if (size)
        dk_check_limit_set(dev, "dma_set_max_seg_size", DK_LIMIT_SEGMENT_SIZE, size);
    return 0;
}

int dma_set_seg_boundary(struct device *dev, unsigned long mask)
{
    if (!dev || !dev->dma_parms)
        return -EIO;
    dev->dma_parms->segment_boundary_mask = mask;
    if (mask)
        dk_check_limit_set(dev, "dma_set_seg_boundary", DK_LIMIT_SEGMENT_BOUNDARY, mask);
    return 0;
}

int dma_set_min_align_mask(struct device *dev, unsigned int mask)
{
    if (!dev || !dev->dma_parms)
        return -EIO;
    dev->dma_parms->min_align_mask = mask;
    return 0;
}

unsigned int dma_get_max_seg_size(struct device *dev)
{
    return dev && dev->dma_parms && dev->dma_parms->max_segment_size ? dev->dma_parms->max_segment_size
                                                                     : 65536;
}

unsigned long dma_get_seg_boundary(struct device *dev)
{
    return dev && dev->dma_parms && dev->dma_parms->segment_boundary_mask
               ? dev->dma_parms->segment_boundary_mask
               : (unsigned long)DMA_BIT_MASK(32);
}

unsigned int dma_get_min_align_mask(struct device *dev)
{
    return dev && dev->dma_parms ? dev->dma_parms->min_align_mask : 0;
}

void set_dma_ops(struct device *dev, const struct dma_map_ops *ops)
{
    if (!dev || !ops)
        return;
    dev->dma_ops = ops;
    dk_mapping_refresh(dev);
}
