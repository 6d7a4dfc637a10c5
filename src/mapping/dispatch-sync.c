/* SPDX-License-Identifier: MIT */
/*
 * Handing mapped bytes to the CPU and back.
 */
#include "mapping/dispatch.h"

/* As dk_mapping_usable(), and a device that is gone is reported. */
static bool sync_usable(struct device *dev, const char *call, u64 size, enum dma_data_direction direction)
{
    if (dev && __atomic_load_n(&dev->dk->gone, __ATOMIC_RELAXED))
        dk_check_after_remove(dev, call);
    return dk_mapping_usable(dev, call, size, direction);
}

static void sync_single(struct device *dev, const char *call, dma_addr_t dma, size_t size,
                        enum dma_data_direction direction, bool for_cpu)
{
    struct dk_mapping found;

    if (!sync_usable(dev, call, size, direction) ||
        !dk_check_sync(dev, call, dma, size, direction, for_cpu, 0, &found))
        return;
    /* Its bytes are in no cache line: what the cached view holds of them is old. */
    if (found.kind == DK_MAPPING_COHERENT || found.kind == DK_MAPPING_BLOCK)
        return;
    if (dev->dma_ops == &dk_direct_ops)
        dk_direct_sync(dev, dma, size, direction, for_cpu);
    else if (for_cpu && dev->dma_ops->sync_single_for_cpu)
        dev->dma_ops->sync_single_for_cpu(dev, dma, size, direction);
    else if (!for_cpu && dev->dma_ops->sync_single_for_device)
        dev->dma_ops->sync_single_for_device(dev, dma, size, direction);
    dk_check_synced(dev, dma, size, direction, for_cpu, 0);
}

void dk_sync_single_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
                            enum dma_data_direction direction)
{
    sync_single(dev, "dma_sync_single_for_cpu", dma, size, direction, true);
}

void dk_sync_single_for_device(struct device *dev, dma_addr_t dma, size_t size,
                               enum dma_data_direction direction)
{
    sync_single(dev, "dma_sync_single_for_device", dma, size, direction, false);
}

void dk_sync_single_range_for_cpu(struct device *dev, dma_addr_t dma, unsigned long offset, size_t size,
                                  enum dma_data_direction direction)
{
    sync_single(dev, "dma_sync_single_range_for_cpu", dma + offset, size, direction, true);
}

void dk_sync_single_range_for_device(struct device *dev, dma_addr_t dma, unsigned long offset, size_t size,
                                     enum dma_data_direction direction)
{
    sync_single(dev, "dma_sync_single_range_for_device", dma + offset, size, direction, false);
}

/* Looks whether the segment in @sg still says what was mapped; its memory begins with *@entry, which moves on
 * to the next segment's. NULL: not known. */
static void compare(struct device *dev, const char *call, const struct dk_mapping *found,
                    const struct scatterlist *sg, struct scatterlist **entry)
{
    u64 done = 0;

    if (!*entry)
        return;
    if (dk_check_sg_entry(dev, call, found, sg, sg_page(*entry) ? sg_phys(*entry) : 0, (*entry)->length))
        *entry = NULL;
    for (; *entry && done < found->size; *entry = sg_next(*entry))
        done += (*entry)->length;
}

static void sync_sg(struct device *dev, const char *call, struct scatterlist *sgl, int nents,
                    enum dma_data_direction direction, bool for_cpu)
{
    struct dk_mapping found = { .sg_nents = nents };
    struct scatterlist *sg, *entry = sgl;
    int i;

    if (!sync_usable(dev, call, (u64)(nents > 0), direction) || !sgl)
        return;
    if (dk_checked(dev)) {
        if (!dk_check_sync(dev, call, sgl->dma_address, sgl->dma_length, direction, for_cpu, nents, &found))
            return;
        compare(dev, call, &found, sgl, &entry);
        /* The first segment speaks for the count; the others are asked with the right one. */
        nents = found.sg_nents ? found.sg_nents : nents;
        for (i = 1, sg = sg_next(sgl); i < found.sg_mapped && sg; i++, sg = sg_next(sg)) {
            struct dk_mapping other;

            if (!dk_check_sync(dev, call, sg->dma_address, sg->dma_length, direction, for_cpu, nents, &other))
                return;
            compare(dev, call, &other, sg, &entry);
        }
    }
    if (for_cpu && dev->dma_ops->sync_sg_for_cpu)
        dev->dma_ops->sync_sg_for_cpu(dev, sgl, nents, direction);
    else if (!for_cpu && dev->dma_ops->sync_sg_for_device)
        dev->dma_ops->sync_sg_for_device(dev, sgl, nents, direction);
    for (i = 0, sg = sgl; i < found.sg_mapped && sg; i++, sg = sg_next(sg))
        dk_check_synced(dev, sg->dma_address, sg->dma_length, direction, for_cpu, nents);
}

void dk_sync_sg_for_cpu(struct device *dev, struct scatterlist *sg, int nents,
                        enum dma_data_direction direction)
{
    sync_sg(dev, "dma_sync_sg_for_cpu", sg, nents, direction, true);
}

void dk_sync_sg_for_device(struct device *dev, struct scatterlist *sg, int nents,
                           enum dma_data_direction direction)
{
    sync_sg(dev, "dma_sync_sg_for_device", sg, nents, direction, false);
}

int dma_is_consistent(struct device *dev, dma_addr_t dma)
{
    (void)dma;
    return dev && dev->dma_coherent;
}

void dma_cache_sync(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction)
{
    if (dk_mapping_usable(dev, "dma_cache_sync", size, direction) && dev->dma_ops->cache_sync)
        dev->dma_ops->cache_sync(dev, cpu, size, direction);
}
