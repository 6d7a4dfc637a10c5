/* SPDX-License-Identifier: MIT */
/*
 * Scatterlists behind an IOMMU: all entries in one range of addresses, each from a page boundary on, and
 * neighbours that meet there merged into one segment as far as the device's limits allow.
 */
#include "mapping/iommu-dma.h"

#include "mapping/mapping.h"

/* A list laid out in a range that begins at 0. */
struct layout {
    u64 boundary; /* a power of two that no entry crosses unless it is longer; 0: none */
    u64 end;      /* bytes so far, whole pages */
};

static u64 boundary_of(struct device *dev)
{
    u64 mask = dma_get_seg_boundary(dev);

    /* A boundary within a page cannot be kept by moving pages: the driver's entries must. */
    return mask < PAGE_SIZE - 1 || mask == ~0ull ? 0 : mask + 1;
}

/* The place of the pages that @sg lies in; ~0: the list is too long. */
static u64 lay_out(struct layout *layout, struct scatterlist *sg)
{
    u64 offset = sg_phys(sg) & (PAGE_SIZE - 1);
    u64 bytes = (u64)PFN_UP(offset + sg->length) << PAGE_SHIFT;
    u64 place = layout->end;
    u64 boundary = layout->boundary;

    if (boundary && (place & (boundary - 1)) + offset + sg->length > boundary)
        place = (place + (boundary - 1)) & ~(boundary - 1);
    if (place + bytes > (u64)1 << DK_IOMMU_BITS)
        return ~0ull;
    layout->end = place + bytes;
    return place;
}

static u64 whole_length(struct device *dev, struct scatterlist *sgl, int nents)
{
    struct layout layout = { boundary_of(dev), 0 };
    struct scatterlist *sg;
    int i;

    for_each_sg (sgl, sg, nents, i) {
        if (lay_out(&layout, sg) == ~0ull)
            return 0;
    }
    return layout.end;
}

static int map_entries(struct device *dev, struct scatterlist *sgl, int nents, dma_addr_t base,
                       unsigned rights)
{
    struct layout layout = { boundary_of(dev), 0 };
    struct scatterlist *sg;
    int i;

    for_each_sg (sgl, sg, nents, i) {
        phys_addr_t phys = sg_phys(sg) & ~((phys_addr_t)PAGE_SIZE - 1);
        dma_addr_t iova = base + lay_out(&layout, sg);

        if (dk_iommu_map_fresh(dev->dk->space->domain, iova, phys, base + layout.end - iova, rights))
            return -ENOMEM;
    }
    return 0;
}

/* Writes the mapped segments into the first entries; returns how many there are. */
static int write_segments(struct device *dev, struct scatterlist *sgl, int nents, dma_addr_t base)
{
    struct layout layout = { boundary_of(dev), 0 };
    unsigned longest = dma_get_max_seg_size(dev);
    u64 within = dma_get_seg_boundary(dev);
    struct scatterlist *sg, *segment = NULL;
    int i, count = 0;

    for_each_sg (sgl, sg, nents, i) {
        unsigned length = sg->length;
        dma_addr_t address = base + lay_out(&layout, sg) + (sg_phys(sg) & (PAGE_SIZE - 1));
        bool meets = segment && segment->dma_address + segment->dma_length == address;

        if (meets && (u64)segment->dma_length + length <= longest &&
            !((segment->dma_address ^ (address + (length - 1))) & ~within)) {
            segment->dma_length += length;
            continue;
        }
        segment = segment ? sg_next(segment) : sgl;
        segment->dma_address = address;
        segment->dma_length = length;
        count++;
    }
    /* The end of the segments, for who walks them without a count. */
    for (sg = sg_next(segment), i = count; sg && i < nents; sg = sg_next(sg), i++) {
        sg->dma_address = DMA_MAPPING_ERROR;
        sg->dma_length = 0;
    }
    return count;
}

static void sync_entries(struct device *dev, struct scatterlist *sgl, int nents,
                         enum dma_data_direction direction, bool for_cpu)
{
    struct dk_machine *machine = dk_device_machine(dev);
    struct scatterlist *sg;
    int i;

    if (dev->dma_coherent || !machine->cache)
        return;
    for (i = 0, sg = sgl; sg && i < nents; i++, sg = sg_next(sg)) {
        if (!sg_page(sg))
            continue;
        if (for_cpu)
            dk_lines_to_cpu(machine, sg_phys(sg), sg->length, direction);
        else
            dk_lines_to_device(machine, sg_phys(sg), sg->length);
    }
}

int dk_iommu_map_sg(struct device *dev, struct scatterlist *sgl, int nents, enum dma_data_direction direction,
                    unsigned long attrs)
{
    struct dk_iommu_space *space = dk_iommu_space_of(dev, attrs);
    dma_addr_t limit = dk_dma_limit(dev, *dev->dma_mask);
    u64 length;
    dma_addr_t base;

    if (!space)
        return -EIO;
    length = whole_length(dev, sgl, nents);
    if (!length)
        return -EINVAL;
    base = dk_iommu_space_take(space, length >> PAGE_SHIFT, limit);
    if (base == DMA_MAPPING_ERROR)
        goto full;
    if (map_entries(dev, sgl, nents, base, dk_iommu_rights(direction)))
        goto release;
    if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        sync_entries(dev, sgl, nents, direction, false);
    return write_segments(dev, sgl, nents, base);

release:
    dk_iommu_space_release(space, base, length >> PAGE_SHIFT);
full:
    dk_iommu_out_of_space(dev, length, limit, attrs);
    return -ENOMEM;
}

void dk_iommu_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents,
                       enum dma_data_direction direction, unsigned long attrs)
{
    dma_addr_t start = sgl->dma_address & ~((dma_addr_t)PAGE_SIZE - 1);
    dma_addr_t end = start;
    struct scatterlist *sg;
    int i;

    if (!dev->dk->space)
        return;
    if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        sync_entries(dev, sgl, nents, direction, true);
    for (i = 0, sg = sgl; sg && i < nents && sg->dma_length; i++, sg = sg_next(sg))
        end = (sg->dma_address + sg->dma_length + (PAGE_SIZE - 1)) & ~((dma_addr_t)PAGE_SIZE - 1);
    if (end <= start)
        return;
    if (dk_iommu_is_mapped(dev->dk->space, start, end - start))
        dk_iommu_space_release(dev->dk->space, start, (end - start) >> PAGE_SHIFT);
    else
        dk_device_log(dev, 0, "unmapping a list at 0x%llx, where nothing is mapped", start);
}

void dk_iommu_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl, int nents,
                              enum dma_data_direction direction)
{
    sync_entries(dev, sgl, nents, direction, true);
}

void dk_iommu_sync_sg_for_device(struct device *dev, struct scatterlist *sgl, int nents,
                                 enum dma_data_direction direction)
{
    sync_entries(dev, sgl, nents, direction, false);
}
