/* SPDX-License-Identifier: MIT */
/*
 * The back end of devices behind an IOMMU: single buffers, pages and registers, and the syncs.
 */
#include "mapping/iommu-dma.h"

#include "mapping/mapping.h"

struct dk_iommu_space *dk_iommu_space_of(const struct device *dev, unsigned long attrs)
{
    struct dk_iommu_space *space = dev->dk->space;

    if (!space && !(attrs & DMA_ATTR_NO_WARN))
        dk_device_log(dev, 1, "the device is detached from every space of its IOMMU");
    return space;
}

void dk_iommu_out_of_space(const struct device *dev, u64 size, dma_addr_t limit, unsigned long attrs)
{
    if (!(attrs & DMA_ATTR_NO_WARN))
        dk_device_log(dev, 1, "no %llu bytes of IOMMU addresses up to 0x%llx, or no memory for page tables",
                      size, limit);
}

static bool is_live(const struct dk_iommu_space *space, dma_addr_t dma)
{
    unsigned rights;

    return dk_iommu_find(space->domain, dma, 1, NULL, NULL, &rights) && !(rights & DK_IOMMU_STALE);
}

bool dk_iommu_is_mapped(const struct dk_iommu_space *space, dma_addr_t dma, u64 size)
{
    return is_live(space, dma) && is_live(space, dma + (size - 1));
}

/* Maps the pages that hold [phys, phys + size), and returns the address of its first byte. */
static dma_addr_t map_range(struct device *dev, phys_addr_t phys, size_t size,
                            enum dma_data_direction direction, unsigned long attrs)
{
    struct dk_iommu_space *space = dk_iommu_space_of(dev, attrs);
    dma_addr_t limit = dk_dma_limit(dev, *dev->dma_mask);
    u64 offset = phys & (PAGE_SIZE - 1);
    u64 pages = PFN_UP(offset + size);
    dma_addr_t iova;

    if (!space)
        return DMA_MAPPING_ERROR;
    iova = dk_iommu_space_take(space, pages, limit);
    if (iova == DMA_MAPPING_ERROR)
        goto full;
    if (dk_iommu_map_fresh(space->domain, iova, phys - offset, pages << PAGE_SHIFT,
                           dk_iommu_rights(direction)))
        goto give;
    return iova + offset;

give:
    dk_iommu_space_release(space, iova, pages);
full:
    dk_iommu_out_of_space(dev, size, limit, attrs);
    return DMA_MAPPING_ERROR;
}

/* What is not mapped is left alone: the driver's arguments were wrong. */
static void unmap_range(struct device *dev, dma_addr_t dma, size_t size)
{
    struct dk_iommu_space *space = dev->dk->space;
    u64 offset = dma & (PAGE_SIZE - 1);

    if (!space)
        return;
    if (dk_iommu_is_mapped(space, dma, size))
        dk_iommu_space_release(space, dma - offset, PFN_UP(offset + size));
    else
        dk_device_log(dev, 0, "unmapping %zu bytes at 0x%llx, where nothing is mapped", size, dma);
}

static dma_addr_t iommu_map_page(struct device *dev, struct page *page, unsigned long offset, size_t size,
                                 enum dma_data_direction direction, unsigned long attrs)
{
    phys_addr_t phys = page_to_phys(page) + offset;
    dma_addr_t dma = map_range(dev, phys, size, direction, attrs);

    if (dma != DMA_MAPPING_ERROR && !dev->dma_coherent && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_lines_to_device(dk_device_machine(dev), phys, size);
    return dma;
}

/* Parts of [dma, dma + size) that lead nowhere are left alone: the driver's arguments were wrong. */
void dk_iommu_sync(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                   bool for_cpu)
{
    struct dk_machine *machine = dk_device_machine(dev);
    phys_addr_t phys;
    unsigned rights;
    u64 run;

    if (dev->dma_coherent || !machine->cache || !dev->dk->space)
        return;
    while (size && dk_iommu_find(dev->dk->space->domain, dma, size, &phys, &run, &rights)) {
        if (!dk_memory_is_ram(machine->memory, phys, run))
            return;
        if (for_cpu)
            dk_lines_to_cpu(machine, phys, run, direction);
        else
            dk_lines_to_device(machine, phys, run);
        dma += run;
        size -= run;
    }
}

static void iommu_unmap_page(struct device *dev, dma_addr_t dma, size_t size,
                             enum dma_data_direction direction, unsigned long attrs)
{
    if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_iommu_sync(dev, dma, size, direction, true);
    unmap_range(dev, dma, size);
}

static void iommu_unmap_resource(struct device *dev, dma_addr_t dma, size_t size,
                                 enum dma_data_direction direction, unsigned long attrs)
{
    (void)direction;
    (void)attrs;
    unmap_range(dev, dma, size);
}

static void iommu_sync_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
                               enum dma_data_direction direction)
{
    dk_iommu_sync(dev, dma, size, direction, true);
}

static void iommu_sync_for_device(struct device *dev, dma_addr_t dma, size_t size,
                                  enum dma_data_direction direction)
{
    dk_iommu_sync(dev, dma, size, direction, false);
}

/* The IOMMU reaches all memory from any address: a mask needs one page below its limit. */
static int iommu_supported(struct device *dev, u64 mask)
{
    u64 lowest = ~0ull, base = dev->dk->space ? dev->dk->space->base : 0;
    unsigned i;

    for (i = 0; i < dev->dk->window_count; i++) {
        if (dev->dk->windows[i].dma < lowest)
            lowest = dev->dk->windows[i].dma;
    }
    if (!dev->dk->window_count || lowest < base)
        lowest = base;
    if (lowest < PAGE_SIZE)
        lowest = PAGE_SIZE;
    return mask >= lowest + (PAGE_SIZE - 1);
}

static u64 iommu_required_mask(struct device *dev)
{
    (void)dev;
    return DMA_BIT_MASK(32);
}

static unsigned long iommu_merge_boundary(struct device *dev)
{
    (void)dev;
    return PAGE_SIZE - 1;
}

/* What addresses are cached for, and so mapped fastest. */
static size_t iommu_opt_mapping_size(void)
{
    return DK_IOVA_CACHED_PAGES << PAGE_SHIFT;
}

const struct dma_map_ops dk_iommu_ops = {
    .alloc = dk_iommu_alloc,
    .free = dk_iommu_free,
    .alloc_pages_op = dk_iommu_alloc_pages,
    .free_pages = dk_iommu_free_pages,
    .alloc_noncontiguous = dk_iommu_alloc_noncontiguous,
    .free_noncontiguous = dk_iommu_free_noncontiguous,
    .mmap = dk_iommu_mmap,
    .get_sgtable = dk_iommu_get_sgtable,
    .map_page = iommu_map_page,
    .unmap_page = iommu_unmap_page,
    .map_sg = dk_iommu_map_sg,
    .unmap_sg = dk_iommu_unmap_sg,
    .map_resource = map_range,
    .unmap_resource = iommu_unmap_resource,
    .sync_single_for_cpu = iommu_sync_for_cpu,
    .sync_single_for_device = iommu_sync_for_device,
    .sync_sg_for_cpu = dk_iommu_sync_sg_for_cpu,
    .sync_sg_for_device = dk_iommu_sync_sg_for_device,
    .cache_sync = dk_lines_sync,
    .dma_supported = iommu_supported,
    .get_required_mask = iommu_required_mask,
    .opt_mapping_size = iommu_opt_mapping_size,
    .get_merge_boundary = iommu_merge_boundary,
};
