/* SPDX-License-Identifier: MIT */
/*
 * The calls for single buffers, pages and registers: argument checks, the device's back end, the checker.
 */
#include "mapping/dispatch.h"

#include "base/log.h"
#include "mapping/iommu-dma.h"

bool dk_device_usable(const struct device *dev, const char *call)
{
    if (!dev) {
        dk_log(DK_LOG_ERROR, "%s: no device", call);
        return false;
    }
    if (__atomic_load_n(&dev->dk->gone, __ATOMIC_RELAXED)) {
        dk_device_log(dev, 0, "%s: the device has been removed", call);
        return false;
    }
    if (dk_memory_forked(dk_device_machine(dev)->memory)) {
        dk_device_log(dev, 0, "%s: the machine stayed with the parent of this process", call);
        return false;
    }
    return true;
}

bool dk_mapping_usable(const struct device *dev, const char *call, u64 size,
                       enum dma_data_direction direction)
{
    if (!dk_device_usable(dev, call))
        return false;
    if (!dev->dma_mask) {
        dk_device_log(dev, 0, "%s: the device has no DMA mask", call);
        return false;
    }
    if (!valid_dma_direction(direction)) {
        dk_device_log(dev, 0, "%s: %d is no direction", call, (int)direction);
        return false;
    }
    if (!size) {
        dk_device_log(dev, 0, "%s: a size of 0", call);
        return false;
    }
    return true;
}

bool dk_undo_usable(struct device *dev, const char *call, u64 size, enum dma_data_direction direction)
{
    if (dev && __atomic_load_n(&dev->dk->gone, __ATOMIC_RELAXED))
        dk_check_after_remove(dev, call);
    return dev && dk_checked(dev) ? dk_device_usable(dev, call)
                                  : dk_mapping_usable(dev, call, size, direction);
}

bool dk_linear_phys(const struct device *dev, const void *cpu, u64 size, phys_addr_t *phys)
{
    const struct dk_slot *slot = dk_slot_find(cpu);
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    u64 at;

    if (!slot || slot->memory != memory || slot->kind != DK_SLOT_CACHED)
        return false;
    at = (u64)((const char *)cpu - slot->start);
    *phys = slot->phys + at;
    /* Nearly every slot is RAM in one piece; the rest takes the long way. */
    if (at >= slot->linear_start && size <= slot->linear && at - slot->linear_start <= slot->linear - size)
        return true;
    return size <= DK_SLOT_SIZE - at && dk_memory_is_linear(memory, *phys, size);
}

void dk_map_checked_long(struct device *dev, const char *call, u64 size)
{
    u64 most = dma_max_mapping_size(dev);

    if (size > most)
        dk_check_exceeds(dev, call, size, most);
}

void dk_map_failed(struct device *dev, const char *call, phys_addr_t phys, u64 size, unsigned long attrs)
{
    dma_addr_t dma = phys;

    /* Who was to fail quietly knows that it may. */
    if (attrs & DMA_ATTR_NO_WARN)
        return;
    dk_check_growth(dev, call, DK_GROWTH_AT_FAILURE);
    if (dev->dma_ops == &dk_direct_ops && dk_phys_to_dma(dev, phys, size, &dma) &&
        dma + (size - 1) > DMA_BIT_MASK(32))
        dk_check_mask_needed(dev, call, phys, size);
}

/* Maps through the back end and tells the checker. @cpu: what the driver gave, or NULL. */
static dma_addr_t map(struct device *dev, const char *call, enum dk_mapping_kind kind, const void *cpu,
                      phys_addr_t phys, size_t size, enum dma_data_direction direction, unsigned long attrs)
{
    const struct dma_map_ops *ops = dev->dma_ops;
    dma_addr_t dma = DMA_MAPPING_ERROR;

    if (dk_checked(dev))
        dk_map_checked(dev, call, size);
    if (ops == &dk_direct_ops)
        dma = dk_direct_map(dev, phys, size, direction, attrs);
    else if (ops->map_page)
        dma = ops->map_page(dev, dk_page_at(dk_device_machine(dev)->memory, phys), phys & (PAGE_SIZE - 1),
                            size, direction, attrs);
    if (dk_checked(dev) && dma != DMA_MAPPING_ERROR) {
        struct dk_mapping mapping = {
            .kind = kind,
            .dma = dma,
            .phys = phys,
            .cpu = cpu,
            .size = size,
            .direction = direction,
            .attrs = attrs,
        };

        dk_check_mapped(dev, call, &mapping);
    } else if (dk_checked(dev)) {
        dk_map_failed(dev, call, phys, size, attrs);
    }
    return dma;
}

static void unmap(struct device *dev, const char *call, enum dk_mapping_kind kind, dma_addr_t dma,
                  size_t size, enum dma_data_direction direction, unsigned long attrs)
{
    const struct dma_map_ops *ops = dev->dma_ops;
    struct dk_mapping found;

    found.shared = false;
    if (dk_checked(dev)) {
        const struct dk_mapping asked = {
            .kind = kind,
            .dma = dma,
            .size = size,
            .direction = direction,
            .attrs = attrs,
        };

        if (!dk_check_unmap(dev, call, &asked, &found))
            return;
        /* What was really mapped is undone, so that one wrong argument is one report. */
        size = (size_t)found.size;
        direction = found.direction;
    }
    if (ops == &dk_direct_ops)
        dk_direct_unmap(dev, dma, size, direction, attrs);
    else if (ops->unmap_page)
        ops->unmap_page(dev, dma, size, direction, attrs);
    if (found.shared)
        dk_check_unmapped(dev, found.phys, found.size);
}

dma_addr_t dk_map_single_long(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction,
                              unsigned long attrs)
{
    phys_addr_t phys;

    if (!dk_mapping_usable(dev, "dma_map_single", size, direction))
        return DMA_MAPPING_ERROR;
    if (!dk_linear_phys(dev, cpu, size, &phys)) {
        if (dk_check_map_address(dev, "dma_map_single", cpu, size) && !(attrs & DMA_ATTR_NO_WARN))
            dk_device_log(dev, 0, "dma_map_single: %zu bytes at %p are not the machine's memory", size, cpu);
        return DMA_MAPPING_ERROR;
    }
    return map(dev, "dma_map_single", DK_MAPPING_SINGLE, cpu, phys, size, direction, attrs);
}

void dk_unmap_single_long(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                          unsigned long attrs)
{
    if (dk_undo_usable(dev, "dma_unmap_single", size, direction))
        unmap(dev, "dma_unmap_single", DK_MAPPING_SINGLE, dma, size, direction, attrs);
}

/* The checker alone has work to do. What is not as it should be goes the long way. */
static __attribute__((noinline)) dma_addr_t map_watched(struct device *dev, void *cpu, size_t size,
                                                        enum dma_data_direction direction,
                                                        unsigned long attrs)
{
    const struct dk_slot *slot = dk_slot_find(cpu);
    phys_addr_t phys;
    size_t at;

    /* A process that was forked from the machine's has no slots. */
    if (!slot || slot->memory != dev->dk->watched_memory)
        return dk_map_single_long(dev, cpu, size, direction, attrs);
    at = (size_t)((const char *)cpu - slot->start);
    phys = slot->phys + at;
    at -= slot->linear_start;
    if (size - 1 >= slot->linear || at > slot->linear - size || size > DK_NEVER_TOO_LONG ||
        phys + (size - 1) > dev->fast_limit || !valid_dma_direction(direction) ||
        !dk_check_mapped_single(dev, cpu, phys, size, direction, attrs))
        return dk_map_single_long(dev, cpu, size, direction, attrs);
    return phys;
}

static __attribute__((noinline)) void unmap_watched(struct device *dev, dma_addr_t dma, size_t size,
                                                    enum dma_data_direction direction, unsigned long attrs)
{
    /* In a process that was forked the checker is the parent's too. */
    if (dk_memory_forked(dev->dk->watched_memory) || !dk_check_unmap_right(dev, dma, size, direction, attrs))
        dk_unmap_single_long(dev, dma, size, direction, attrs);
}

dma_addr_t dk_map_single(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction,
                         unsigned long attrs)
{
    dma_addr_t dma;

    if (dk_map_at_once(dev, cpu, size, direction, &dma))
        return dma;
    if (dev && dev->dk->watched_memory)
        return map_watched(dev, cpu, size, direction, attrs);
    if (dev && dev->dk->fast_space)
        return dk_iommu_map_single(dev, cpu, size, direction, attrs);
    return dk_map_single_long(dev, cpu, size, direction, attrs);
}

void dk_unmap_single(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                     unsigned long attrs)
{
    if (dev && dev->fast_memory)
        return;
    if (dev && dev->dk->watched_memory)
        unmap_watched(dev, dma, size, direction, attrs);
    else if (dev && dev->dk->fast_space)
        dk_iommu_unmap_single(dev, dma, size, direction, attrs);
    else
        dk_unmap_single_long(dev, dma, size, direction, attrs);
}

dma_addr_t dk_map_page(struct device *dev, struct page *page, size_t offset, size_t size,
                       enum dma_data_direction direction, unsigned long attrs)
{
    struct dk_memory *memory;
    phys_addr_t phys;

    if (!dk_mapping_usable(dev, "dma_map_page", size, direction))
        return DMA_MAPPING_ERROR;
    if (!dk_check_map_page(dev, "dma_map_page", page, offset, size))
        return DMA_MAPPING_ERROR;
    memory = dk_device_machine(dev)->memory;
    if (dk_address_find(page, &memory, &phys) != DK_ADDRESS_PAGES || memory != dk_device_machine(dev)->memory)
        goto refuse;
    phys = page_to_phys(page) + offset;
    if (!dk_memory_is_ram(memory, phys, size))
        goto refuse;
    return map(dev, "dma_map_page", DK_MAPPING_PAGE, NULL, phys, size, direction, attrs);

refuse:
    if (!(attrs & DMA_ATTR_NO_WARN))
        dk_device_log(dev, 0, "dma_map_page: %zu bytes from %zu of page %p are not the machine's memory",
                      size, offset, (void *)page);
    return DMA_MAPPING_ERROR;
}

void dk_unmap_page(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                   unsigned long attrs)
{
    if (dk_undo_usable(dev, "dma_unmap_page", size, direction))
        unmap(dev, "dma_unmap_page", DK_MAPPING_PAGE, dma, size, direction, attrs);
}

int dk_mapping_error(struct device *dev, dma_addr_t dma)
{
    if (dev && dma != DMA_MAPPING_ERROR)
        dk_check_mapping_error(dev, dma);
    return dma == DMA_MAPPING_ERROR ? -ENOMEM : 0;
}

dma_addr_t dk_map_resource(struct device *dev, phys_addr_t phys, size_t size,
                           enum dma_data_direction direction, unsigned long attrs)
{
    dma_addr_t dma = DMA_MAPPING_ERROR;

    if (!dk_mapping_usable(dev, "dma_map_resource", size, direction))
        return DMA_MAPPING_ERROR;
    if (phys + (size - 1) < phys) {
        dk_device_log(dev, 0, "dma_map_resource: %zu bytes at 0x%llx wrap around", size, phys);
        return DMA_MAPPING_ERROR;
    }
    if (dk_memory_has_ram(dk_device_machine(dev)->memory, phys, size)) {
        const struct dk_finding finding = {
            .class_name = "maps-invalid-address",
            .dev = dev,
            .call = "dma_map_resource",
            .dma = DMA_MAPPING_ERROR,
            .length = size,
            .what = "dma_map_resource() was given memory, not registers",
            .advice = "map memory with dma_map_single(), dma_map_page() or dma_map_sg()",
        };

        dk_hooks_finding(&dk_device_machine(dev)->hooks, &finding);
        return DMA_MAPPING_ERROR;
    }
    if (dev->dma_ops->map_resource)
        dma = dev->dma_ops->map_resource(dev, phys, size, direction, attrs);
    if (dk_checked(dev) && dma != DMA_MAPPING_ERROR) {
        struct dk_mapping mapping = {
            .kind = DK_MAPPING_RESOURCE,
            .dma = dma,
            .phys = phys,
            .size = size,
            .direction = direction,
            .attrs = attrs,
        };

        dk_check_mapped(dev, "dma_map_resource", &mapping);
    } else if (dk_checked(dev) && dev->dma_ops == &dk_direct_ops && !(attrs & DMA_ATTR_NO_WARN) &&
               phys + (size - 1) > DMA_BIT_MASK(32)) {
        dk_check_mask_needed(dev, "dma_map_resource", phys, size);
    }
    return dma;
}

void dk_unmap_resource(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                       unsigned long attrs)
{
    const struct dk_mapping asked = {
        .kind = DK_MAPPING_RESOURCE,
        .dma = dma,
        .size = size,
        .direction = direction,
        .attrs = attrs,
    };
    struct dk_mapping found;

    if (!dk_undo_usable(dev, "dma_unmap_resource", size, direction) ||
        !dk_check_unmap(dev, "dma_unmap_resource", &asked, &found))
        return;
    if (dev->dma_ops->unmap_resource)
        dev->dma_ops->unmap_resource(dev, dma, (size_t)found.size, found.direction, attrs);
}
