/* SPDX-License-Identifier: MIT */
/*
 * Addresses first, memory later: a driver takes a range of its IOMMU's addresses and links pieces of memory
 * into it.
 */
#include "mapping/dispatch.h"
#include "mapping/iommu-dma.h"

#define IN_PAGE ((u64)PAGE_SIZE - 1)

static dma_addr_t page_above(dma_addr_t address)
{
    return (address + IN_PAGE) & ~IN_PAGE;
}

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
    if (dk_iova_ranges_enter(&space->ranges, iova + offset, size, dev)) {
        dk_iova_give(space->iova, iova, PFN_UP(offset + size));
        return false;
    }
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

/*
 * The same, and, where the checker is on, that @dev has the range still: a copy of a state says nothing about
 * that, nor does another device's. @class_name: what it is reported as; NULL: the call can fail, and is only
 * logged.
 */
static bool range_held(struct device *dev, const char *call, const struct dma_iova_state *state,
                       size_t offset, size_t size, const char *class_name)
{
    struct dk_finding finding = {
        .class_name = class_name,
        .dev = dev,
        .call = call,
        .length = size,
        .what = "the range was never this device's, or was given back",
        .advice = "use a range only between dma_iova_try_alloc() and dma_iova_free(), with the same device",
    };

    if (!range_usable(dev, call, state, offset, size))
        return false;
    if (!dk_checked(dev) || dk_iova_ranges_hold(&dev->dk->space->ranges, state->addr, state->__size, dev))
        return true;
    finding.dma = state->addr + offset;
    if (class_name)
        dk_hooks_finding(&dk_device_machine(dev)->hooks, &finding);
    else
        dk_device_log(dev, 0, "%s: %zu bytes at 0x%llx: %s", call, size, finding.dma, finding.what);
    return false;
}

/*
 * dk_iommu_map() in leaves of one page alone: any part of a range may be unlinked, and that must not need
 * memory, as splitting a large leaf does.
 */
static int map_small(struct dk_iommu_domain *domain, dma_addr_t iova, phys_addr_t phys, u64 size,
                     unsigned rights)
{
    const u64 most = DK_IOMMU_LEAVES_SIZE - PAGE_SIZE;
    u64 done, step;
    int error = 0;

    for (done = 0; done < size && !error; done += step) {
        step = size - done < most ? size - done : most;
        error = dk_iommu_map(domain, iova + done, phys + done, step, rights);
        if (error && done)
            dk_iommu_unmap(domain, iova, done);
    }
    return error;
}

int dma_iova_link(struct device *dev, struct dma_iova_state *state, phys_addr_t phys, size_t offset,
                  size_t size, enum dma_data_direction direction, unsigned long attrs)
{
    const char *call = "dma_iova_link";
    struct dk_machine *machine;
    u64 before;
    int error;

    if (!range_held(dev, call, state, offset, size, NULL) || !dk_mapping_usable(dev, call, size, direction))
        return -EINVAL;
    machine = dk_device_machine(dev);
    before = phys & IN_PAGE;
    if (((state->addr + offset) & IN_PAGE) != before || !dk_memory_is_ram(machine->memory, phys, size)) {
        dk_device_log(dev, 0, "%s: %zu bytes at physical 0x%llx are no memory, or do not fit at 0x%llx", call,
                      size, phys, state->addr + offset);
        return -EINVAL;
    }
    error = map_small(dev->dk->space->domain, state->addr + offset - before, phys - before,
                      (u64)PFN_UP(before + size) << PAGE_SHIFT, dk_iommu_rights(direction));
    if (!error && !dev->dma_coherent && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_lines_to_device(machine, phys, size);
    return error;
}

int dma_iova_sync(struct device *dev, struct dma_iova_state *state, size_t offset, size_t size)
{
    return range_held(dev, "dma_iova_sync", state, offset, size, NULL) ? 0 : -EINVAL;
}

void dma_iova_unlink(struct device *dev, struct dma_iova_state *state, size_t offset, size_t size,
                     enum dma_data_direction direction, unsigned long attrs)
{
    u64 before;

    if (!range_held(dev, "dma_iova_unlink", state, offset, size, "free-not-allocated"))
        return;
    if (!(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_iommu_sync(dev, state->addr + offset, size, direction, true);
    before = (state->addr + offset) & IN_PAGE;
    dk_iommu_unmap(dev->dk->space->domain, state->addr + offset - before,
                   (u64)PFN_UP(before + size) << PAGE_SHIFT);
}

/*
 * The range is the device's no more: *found is what it was. False: it is none, and nothing is to be done.
 */
static bool end_range(struct device *dev, const char *call, struct dma_iova_state *state,
                      struct dk_mapping *found)
{
    const struct dk_mapping asked = {
        .kind = DK_MAPPING_IOVA,
        .dma = state->addr,
        .size = state->__size,
        .direction = DMA_BIDIRECTIONAL,
    };

    *state = (struct dma_iova_state){ 0 };
    if (!dk_check_unmap(dev, call, &asked, found))
        return false;
    if (dk_iova_ranges_leave(&dev->dk->space->ranges, found->dma, found->size, dev))
        return true;
    dk_device_log(dev, 0, "%s: the range of %llu bytes at 0x%llx was never this device's, or was given back",
                  call, found->size, found->dma);
    return false;
}

/* Reports what is linked in the range at @state from byte @from on. */
static void expect_unlinked(struct device *dev, const char *call, const struct dma_iova_state *state,
                            u64 from)
{
    const struct dk_mapping freed = {
        .kind = DK_MAPPING_IOVA,
        .dma = state->addr,
        .size = state->__size,
        .direction = DMA_BIDIRECTIONAL,
    };
    dma_addr_t start = from ? page_above(state->addr + from) : state->addr & ~IN_PAGE;
    dma_addr_t end = page_above(state->addr + state->__size);

    if (dk_checked(dev) && start < end &&
        dk_iova_ranges_hold(&dev->dk->space->ranges, state->addr, state->__size, dev) &&
        dk_iommu_tables_any(&dev->dk->space->domain->tables, start, end - start))
        dk_check_freed_mapped(dev, call, &freed, "in which memory is still linked",
                              "unlink all of it first, or give dma_iova_destroy() the length of all of it");
}

/* Gives the addresses back, with what may still be linked there. */
static void give_range(struct device *dev, const struct dk_mapping *found)
{
    u64 before = found->dma & IN_PAGE;

    dk_iommu_space_release(dev->dk->space, found->dma - before, PFN_UP(before + found->size));
}

void dma_iova_destroy(struct device *dev, struct dma_iova_state *state, size_t mapped_len,
                      enum dma_data_direction direction, unsigned long attrs)
{
    const char *call = "dma_iova_destroy";
    struct dk_mapping found;

    if (!range_usable(dev, call, state, 0, mapped_len ? mapped_len : 1))
        return;
    expect_unlinked(dev, call, state, mapped_len);
    if (!end_range(dev, call, state, &found))
        return;
    if (mapped_len && !(attrs & DMA_ATTR_SKIP_CPU_SYNC))
        dk_iommu_sync(dev, found.dma, mapped_len, direction, true);
    give_range(dev, &found);
}

void dma_iova_free(struct device *dev, struct dma_iova_state *state)
{
    const char *call = "dma_iova_free";
    struct dk_mapping found;

    if (!range_usable(dev, call, state, 0, 1))
        return;
    expect_unlinked(dev, call, state, 0);
    if (end_range(dev, call, state, &found))
        give_range(dev, &found);
}
