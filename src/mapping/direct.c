/* SPDX-License-Identifier: MIT */
/*
 * The direct back end: the DMA address is the physical address, moved by one of the bus's windows.
 */
#include "mapping/mapping.h"

#include "mapping/bounce.h"

bool dk_phys_to_dma(const struct device *dev, phys_addr_t phys, u64 size, dma_addr_t *dma)
{
    if (!dev->dk->window_count) {
        *dma = phys;
        return true;
    }
    return dk_bus_address(dev, phys, size, dma);
}

static dma_addr_t refuse(const struct device *dev, phys_addr_t phys, size_t size, unsigned long attrs)
{
    dma_addr_t dma;

    if (attrs & DMA_ATTR_NO_WARN)
        return DMA_MAPPING_ERROR;
    if (dk_phys_to_dma(dev, phys, size, &dma))
        dk_device_log(
            dev, 1,
            "DMA address 0x%llx + %zu is beyond the device's limit 0x%llx, and there is no bounce pool", dma,
            size, dk_dma_limit(dev, *dev->dma_mask));
    else
        dk_device_log(
            dev, 1,
            "%zu bytes at physical 0x%llx are in none of the bus's windows, and there is no bounce pool",
            size, phys);
    return DMA_MAPPING_ERROR;
}

/* Whether @dev reaches all of [phys, phys + size) under its mask, and at which address. */
static bool reaches(const struct device *dev, phys_addr_t phys, size_t size, dma_addr_t *dma)
{
    return dk_phys_to_dma(dev, phys, size, dma) && *dma + (size - 1) <= dk_dma_limit(dev, *dev->dma_mask);
}

/* Out of the fast path's way. */
static __attribute__((noinline)) dma_addr_t map_bounced(struct device *dev, phys_addr_t phys, size_t size,
                                                        unsigned long attrs)
{
    struct dk_bounce_pool *pool = dk_bounce_pool_of(dev);
    phys_addr_t copy;
    dma_addr_t dma;

    if (!pool)
        return refuse(dev, phys, size, attrs);
    copy = dk_bounce_map(pool, dev, phys, size, attrs);
    if (copy == ~(phys_addr_t)0)
        return DMA_MAPPING_ERROR;
    if (!reaches(dev, copy, size, &dma)) {
        dk_bounce_unmap(pool, dev, copy, size, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
        return refuse(dev, phys, size, attrs);
    }
    if (!__atomic_load_n(&dev->dk->has_bounced, __ATOMIC_RELAXED))
        __atomic_store_n(&dev->dk->has_bounced, true, __ATOMIC_RELAXED);
    if (!dev->dma_coherent)
        dk_lines_to_device(dk_device_machine(dev), copy, size);
    return dma;
}

dma_addr_t dk_direct_map(struct device *dev, phys_addr_t phys, size_t size, enum dma_data_direction direction,
                         unsigned long attrs)
{
    dma_addr_t dma;

    (void)direction;
    if (!reaches(dev, phys, size, &dma))
        return map_bounced(dev, phys, size, attrs);
    if (dk_bounce_forced(dev) && (!dev->dk->needs_bounce || dev->dk->needs_bounce(dev, dma, size)))
        return map_bounced(dev, phys, size, attrs);
    if (!dev->dma_coherent && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_lines_to_device(dk_device_machine(dev), phys, size);
    return dma;
}

/* The pool that the copy at @phys lies in; NULL: it is no copy. */
static struct dk_bounce_pool *pool_at(const struct device *dev, phys_addr_t phys)
{
    struct dk_bounce_pool *pool = dk_bounce_pool_of(dev);

    return pool && dk_bounce_holds(pool, phys) ? pool : NULL;
}

static void sync_run(struct device *dev, phys_addr_t phys, u64 size, enum dma_data_direction direction,
                     bool for_cpu)
{
    struct dk_machine *machine = dk_device_machine(dev);
    struct dk_bounce_pool *pool = pool_at(dev, phys);

    if (for_cpu) {
        if (!dev->dma_coherent)
            dk_lines_to_cpu(machine, phys, size, direction);
        if (pool)
            dk_bounce_sync(pool, dev, phys, (size_t)size, direction, true);
        return;
    }
    if (pool)
        dk_bounce_sync(pool, dev, phys, (size_t)size, direction, false);
    if (!dev->dma_coherent)
        dk_lines_to_device(machine, phys, size);
}

/* Runs of [dma, dma + size) that leave the bus's windows are left alone: the driver's arguments were wrong.
 */
void dk_direct_sync(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                    bool for_cpu)
{
    phys_addr_t phys;
    u64 run;

    if ((dev->dma_coherent || !dk_device_machine(dev)->cache) && !dk_bounce_pool_of(dev))
        return;
    while (size && dk_bus_translate(dev, dma, size, &phys, &run) == 0) {
        sync_run(dev, phys, run, direction, for_cpu);
        dma += run;
        size -= run;
    }
}

void dk_direct_unmap(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                     unsigned long attrs)
{
    struct dk_bounce_pool *pool = dk_bounce_pool_of(dev);
    phys_addr_t phys;
    u64 run;

    if (pool && dk_bus_translate(dev, dma, size, &phys, &run) == 0 && dk_bounce_holds(pool, phys)) {
        if (!dev->dma_coherent && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
            dk_lines_to_cpu(dk_device_machine(dev), phys, size, direction);
        dk_bounce_unmap(pool, dev, phys, size, direction, attrs);
    } else if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC)) {
        dk_direct_sync(dev, dma, size, direction, true);
    }
}

static dma_addr_t direct_map_page(struct device *dev, struct page *page, unsigned long offset, size_t size,
                                  enum dma_data_direction direction, unsigned long attrs)
{
    return dk_direct_map(dev, page_to_phys(page) + offset, size, direction, attrs);
}

/* Here and in the syncs the list may be shorter than the driver says: nobody has looked with the checker off.
 */
static void direct_unmap_sg(struct device *dev, struct scatterlist *sgl, int nents,
                            enum dma_data_direction direction, unsigned long attrs)
{
    struct scatterlist *sg;
    int i;

    for (i = 0, sg = sgl; sg && i < nents; i++, sg = sg_next(sg))
        dk_direct_unmap(dev, sg->dma_address, sg->dma_length, direction, attrs);
}

static int direct_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
                         enum dma_data_direction direction, unsigned long attrs)
{
    struct scatterlist *sg;
    int i;

    for_each_sg (sgl, sg, nents, i) {
        sg->dma_address = dk_direct_map(dev, sg_phys(sg), sg->length, direction, attrs);
        if (sg->dma_address == DMA_MAPPING_ERROR)
            goto unmap;
        sg->dma_length = sg->length;
    }
    return nents;

unmap:
    /* Nothing was transferred: there is nothing to bring to the CPU. */
    direct_unmap_sg(dev, sgl, i, direction, attrs | DMA_ATTR_SKIP_CPU_SYNC);
    /* A bounce pool is full for a while, a bus narrow for good. */
    return dk_bounce_pool_of(dev) ? -ENOMEM : -EIO;
}

/* Another device's registers are reached at their physical address: no window of RAM's leads there. */
static dma_addr_t direct_map_resource(struct device *dev, phys_addr_t phys, size_t size,
                                      enum dma_data_direction direction, unsigned long attrs)
{
    (void)direction;
    if (phys + (size - 1) > dk_dma_limit(dev, *dev->dma_mask)) {
        if (!(attrs & DMA_ATTR_NO_WARN))
            dk_device_log(dev, 1, "registers at 0x%llx + %zu are beyond the device's mask", phys, size);
        return DMA_MAPPING_ERROR;
    }
    return phys;
}

static void direct_sync_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
                                enum dma_data_direction direction)
{
    dk_direct_sync(dev, dma, size, direction, true);
}

static void direct_sync_for_device(struct device *dev, dma_addr_t dma, size_t size,
                                   enum dma_data_direction direction)
{
    dk_direct_sync(dev, dma, size, direction, false);
}

static void direct_sync_sg_for_cpu(struct device *dev, struct scatterlist *sgl, int nents,
                                   enum dma_data_direction direction)
{
    struct scatterlist *sg;
    int i;

    for (i = 0, sg = sgl; sg && i < nents; i++, sg = sg_next(sg))
        dk_direct_sync(dev, sg->dma_address, sg->dma_length, direction, true);
}

static void direct_sync_sg_for_device(struct device *dev, struct scatterlist *sgl, int nents,
                                      enum dma_data_direction direction)
{
    struct scatterlist *sg;
    int i;

    for (i = 0, sg = sgl; sg && i < nents; i++, sg = sg_next(sg))
        dk_direct_sync(dev, sg->dma_address, sg->dma_length, direction, false);
}

/* The DMA address of the last byte of RAM that @dev's bus reaches, and of the last byte of the zone for small
 * masks. */
static u64 highest_dma(const struct device *dev, u64 last_phys)
{
    u64 highest = 0;
    unsigned i;

    if (!dev->dk->window_count)
        return last_phys;
    for (i = 0; i < dev->dk->window_count; i++) {
        const struct dk_window *window = &dev->dk->windows[i];
        u64 last = window->cpu + (window->size - 1);
        u64 dma;

        if (window->cpu > last_phys)
            continue;
        dma = window->dma + ((last < last_phys ? last : last_phys) - window->cpu);
        if (dma > highest)
            highest = dma;
    }
    return highest;
}

/* From 32 bits on every mask is taken; a smaller one must reach all of the zone that GFP_DMA memory comes
 * from. */
static int direct_supported(struct device *dev, u64 mask)
{
    struct dk_machine *machine = dk_device_machine(dev);
    u64 last = dk_memory_last(machine->memory);

    if (mask >= DMA_BIT_MASK(32))
        return 1;
    if (machine->mapping->zone_dma_last < last)
        last = machine->mapping->zone_dma_last;
    return mask >= highest_dma(dev, last);
}

/* What no window leads to has no address at all: no mask is enough then. */
static u64 direct_required_mask(struct device *dev)
{
    u64 last = dk_memory_last(dk_device_machine(dev)->memory);
    dma_addr_t highest;

    if (!dk_phys_to_dma(dev, last, 1, &highest))
        return ~0ull;
    highest = highest_dma(dev, last);
    return highest ? ~0ull >> __builtin_clzll(highest) : 1;
}

/* What has to be bounced is no longer than a bounce buffer. */
static size_t direct_max_mapping_size(struct device *dev)
{
    if (dk_bounce_pool_of(dev) && (dk_bounce_forced(dev) || dma_addressing_limited(dev)))
        return dk_bounce_max_mapping(dev);
    return SIZE_MAX;
}

const struct dma_map_ops dk_direct_ops = {
    .alloc = dk_direct_alloc,
    .free = dk_direct_free,
    .alloc_pages_op = dk_direct_alloc_pages,
    .free_pages = dk_direct_free_pages,
    .mmap = dk_direct_mmap,
    .get_sgtable = dk_direct_get_sgtable,
    .map_page = direct_map_page,
    .unmap_page = dk_direct_unmap,
    .map_sg = direct_map_sg,
    .unmap_sg = direct_unmap_sg,
    .map_resource = direct_map_resource,
    .sync_single_for_cpu = direct_sync_for_cpu,
    .sync_single_for_device = direct_sync_for_device,
    .sync_sg_for_cpu = direct_sync_sg_for_cpu,
    .sync_sg_for_device = direct_sync_sg_for_device,
    .cache_sync = dk_lines_sync,
    .dma_supported = direct_supported,
    .get_required_mask = direct_required_mask,
    .max_mapping_size = direct_max_mapping_size,
};
