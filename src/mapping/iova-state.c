/* SPDX-License-Identifier: MIT */
/*
 * Addresses first, memory later: a driver takes a range of its IOMMU's addresses and links pieces of memory
 * into it.
 */
#include "mapping/dispatch.h"
#include "mapping/iommu-dma.h"

#define IN_PAGE ((u64)PAGE_SIZE - 1)

bool dk_iova_try_alloc(struct device *dev, struct dma_iova_state *state, phys_addr_t phys, size_t size)
{
    const char *call = "dma_iova_try_alloc";
    struct dk_iommu_space *space;
    u64 offset = phys & IN_PAGE;
    dma_addr_t iova;

    if (!state)
        return false;
    *state = (struct dma_iova_state){ 0 };
    if (!dk_mapping_usable(dev, call, size, DMA_BIDIRECTIONAL) || !dk_size_usable(dev, call, size))
        return false;
    space = dev->dma_ops == &dk_iommu_ops ? dev->dk->space : NULL;
    if (!space)
        return false;
    iova = dk_iommu_space_take(space, PFN_UP(offset + size), dk_dma_limit(dev, *dev->dma_mask));
    if (iova == DMA_MAPPING_ERROR)
        return false;
    state->addr = iova + offset;
    state->__size = size;
    if (dk_checked(dev)) {
        struct dk_mapping mapping = {
            .kind = DK_MAPPING_IOVA,
            .dma = state->addr,
            .size = size,
            .direction = DMA_BIDIRECTIONAL,
        };

        dk_check_mapped(dev, call, &mapping);
    }
    return true;
}

/* Whether [offset, offset + size) lies in the range that @dev took. */
static bool range_usable(struct device *dev, const char *call, const struct dma_iova_state *state,
                         size_t offset, size_t size)
{
    if (!state || !dk_device_usable(dev, call) || dev->dma_ops != &dk_iommu_ops || !dev->dk->space)
        return false;
    if (size && offset < state->__size && size <= state->__size - offset)
        return true;
    dk_device_log(dev, 0, "%s: %zu bytes from %zu of a range of %llu", call, size, offset, state->__size);
    return false;
}

int dma_iova_link(struct device *dev, struct dma_iova_state *state, phys_addr_t phys, size_t offset,
                  size_t size, enum dma_data_direction direction, unsigned long attrs)
{
    const char *call = "dma_iova_link";
    struct dk_machine *machine;
    u64 before;
    int error;

    if (!range_usable(dev, call, state, offset, size) || !dk_mapping_usable(dev, call, size, direction))
        return -EINVAL;
    machine = dk_device_machine(dev);
    before = phys & IN_PAGE;
    if (((state->addr + offset) & IN_PAGE) != before || !dk_memory_is_ram(machine->memory, phys, size)) {
        dk_device_log(dev, 0, "%s: %zu bytes at physical 0x%llx are no memory, or do not fit at 0x%llx", call,
                      size, phys, state->addr + offset);
        return -EINVAL;
    }
    error = dk_iommu_map(dev->dk->space->domain, state->addr + offset - before, phys - before,
                         (u64)PFN_UP(before + size) << PAGE_SHIFT, dk_iommu_rights(direction));
    if (!error && !dev->dma_coherent && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_lines_to_device(machine, phys, size);
    return error;
}

int dma_iova_sync(struct device *dev, struct dma_iova_state *state, size_t offset, size_t size)
{
    return range_usable(dev, "dma_iova_sync", state, offset, size) ? 0 : -EINVAL;
}

void dma_iova_unlink(struct device *dev, struct dma_iova_state *state, size_t offset, size_t size,
                     enum dma_data_direction direction, unsigned long attrs)
{
    u64 before;

    if (!range_usable(dev, "dma_iova_unlink", state, offset, size))
        return;
    if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_iommu_sync(dev, state->addr + offset, size, direction, true);
    before = (state->addr + offset) & IN_PAGE;
    dk_iommu_unmap(dev->dk->space->domain, state->addr + offset - before,
                   (u64)PFN_UP(before + size) << PAGE_SHIFT);
}

/* Gives the range back, with what may still be linked in it. */
static void give_range(struct device *dev, const char *call, struct dma_iova_state *state)
{
    const struct dk_mapping asked = {
        .kind = DK_MAPPING_IOVA,
        .dma = state->addr,
        .size = state->__size,
        .direction = DMA_BIDIRECTIONAL,
    };
    u64 before = state->addr & IN_PAGE;
    struct dk_mapping found;

    if (dk_check_unmap(dev, call, &asked, &found))
        dk_iommu_space_release(dev->dk->space, found.dma - before, PFN_UP(before + found.size));
    *state = (struct dma_iova_state){ 0 };
}

void dma_iova_destroy(struct device *dev, struct dma_iova_state *state, size_t mapped_len,
                      enum dma_data_direction direction, unsigned long attrs)
{
    const char *call = "dma_iova_destroy";

    if (!range_usable(dev, call, state, 0, mapped_len ? mapped_len : 1))
        return;
    if (mapped_len && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_iommu_sync(dev, state->addr, mapped_len, direction, true);
    give_range(dev, call, state);
}

void dma_iova_free(struct device *dev, struct dma_iova_state *state)
{
    if (range_usable(dev, "dma_iova_free", state, 0, 1))
        give_range(dev, "dma_iova_free", state);
}
