/* SPDX-License-Identifier: MIT */
/*
 * The calls for coherent memory, pages and noncoherent memory.
 */
#include "mapping/dispatch.h"

#include "base/context.h"
#include "base/log.h"
#include "mapping/remap.h"
#include <dmakit/vmalloc.h>

/* The name under which the driver most likely called. */
static const char *alloc_name(unsigned long attrs)
{
    if (attrs & DMA_ATTR_WRITE_COMBINE)
        return "dma_alloc_wc";
    return attrs & ~DMA_ATTR_NO_WARN ? "dma_alloc_attrs" : "dma_alloc_coherent";
}

static const char *free_name(unsigned long attrs)
{
    if (attrs & DMA_ATTR_WRITE_COMBINE)
        return "dma_free_wc";
    return attrs & ~DMA_ATTR_NO_WARN ? "dma_free_attrs" : "dma_free_coherent";
}

void dk_might_sleep_for(struct device *dev, gfp_t gfp, const char *call)
{
    const struct dk_finding finding = {
        .class_name = "sleeps-in-atomic",
        .dev = dev,
        .call = call,
        .dma = DMA_MAPPING_ERROR,
        .what =
            "a call that may sleep was made in atomic context: a spinlock is held, or this is an interrupt handler",
        .advice = "allocate with GFP_ATOMIC here, or move the call to where sleeping is allowed",
    };

    if (gfpflags_allow_blocking(gfp) && dk_context()->atomic_depth)
        dk_hooks_finding(&dk_device_machine(dev)->hooks, &finding);
}

bool dk_size_usable(const struct device *dev, const char *call, size_t size)
{
    if (size && size <= SIZE_MAX - PAGE_SIZE)
        return true;
    dk_device_log(dev, 0, "%s: %zu bytes cannot be allocated", call, size);
    return false;
}

/* Memory whose DMA address nobody is told is of no use, and could not be freed. */
static bool handle_usable(const struct device *dev, const char *call, const dma_addr_t *dma)
{
    if (!dma)
        dk_device_log(dev, 0, "%s: no place for the DMA address", call);
    return dma;
}

static void remember(struct device *dev, const char *call, enum dk_mapping_kind kind, const void *cpu,
                     phys_addr_t phys, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                     unsigned long attrs)
{
    struct dk_mapping mapping = {
        .kind = kind,
        .dma = dma,
        .phys = phys,
        .cpu = cpu,
        .size = size,
        .contiguous = is_vmalloc_addr(cpu) ? PAGE_SIZE : 0,
        .direction = direction,
        .attrs = attrs,
    };

    if (dk_checked(dev))
        dk_check_mapped(dev, call, &mapping);
}

/* Whether the allocation at @cpu is live; *size is then what was allocated. */
static bool forget(struct device *dev, const char *call, enum dk_mapping_kind kind, const void *cpu,
                   dma_addr_t dma, size_t *size, enum dma_data_direction direction, unsigned long attrs)
{
    const struct dk_mapping asked = {
        .kind = kind,
        .dma = dma,
        .cpu = cpu,
        .size = *size,
        .direction = direction,
        .attrs = attrs,
    };
    struct dk_mapping found;

    if (!dk_checked(dev))
        return true;
    if (!dk_check_unmap(dev, call, &asked, &found))
        return false;
    *size = (size_t)found.size;
    return true;
}

/* The address that was handed out for an allocation of a record; for a free with another CPU address. */
static phys_addr_t phys_of(const void *cpu)
{
    struct dk_memory *memory;
    phys_addr_t phys = 0;

    return dk_address_find(cpu, &memory, &phys) == DK_ADDRESS_HOST ? 0 : phys;
}

/* Requests for memory that need not be coherent are not what a coherent pool is for. */
static bool wants_pool(unsigned long attrs)
{
    return !(attrs & (DMA_ATTR_NON_CONSISTENT | DMA_ATTR_NO_KERNEL_MAPPING));
}

/* Remapped memory is made of any pages. */
static bool in_one_piece(const void *cpu)
{
    return !is_vmalloc_addr(cpu) && phys_of(cpu);
}

/* @call found no memory for @dev, and is not to fail quietly: was there none to find? */
static void check_mask(struct device *dev, const char *call, size_t size)
{
    /* What is set aside for the device, or led to by an IOMMU, does not lie where its mask says. */
    if (!dk_checked(dev) || dev->dma_ops != &dk_direct_ops || dev->dk->bounce_always ||
        dev->dk->coherent_pool)
        return;
    if (!dk_direct_reaches_memory(dev, dev->coherent_dma_mask) && dk_direct_reaches_memory(dev, ~0ull))
        dk_check_mask_needed_to_allocate(dev, call, size);
}

void *dk_take_coherent(struct device *dev, const char *call, size_t size, dma_addr_t *dma, gfp_t gfp,
                       unsigned long attrs)
{
    void *cpu = NULL;

    if (!dk_device_usable(dev, call) || !dk_size_usable(dev, call, size) || !handle_usable(dev, call, dma))
        return NULL;
    if (!dev->coherent_dma_mask) {
        dk_device_log(dev, 0, "%s: the device has no coherent DMA mask", call);
        return NULL;
    }
    gfp &= ~DK_ZONE_FLAGS;
    if (attrs & DMA_ATTR_NO_WARN)
        gfp |= __GFP_NOWARN;
    dk_might_sleep_for(dev, gfp, call);
    if (dev->dk->coherent_pool && wants_pool(attrs))
        cpu = dk_coherent_pool_take(dev->dk->coherent_pool, dev, size, dma);
    else if (dev->dma_ops->alloc)
        cpu = dev->dma_ops->alloc(dev, size, dma, gfp, attrs);
    if (!cpu && !(gfp & __GFP_NOWARN)) {
        dk_device_log(dev, 1, "%s: no coherent memory for %zu bytes under mask 0x%llx", call, size,
                      dev->coherent_dma_mask);
        check_mask(dev, call, size);
    }
    if (cpu && dk_checked(dev) && in_one_piece(cpu))
        dk_check_coherent_taken(dev, phys_of(cpu), size, *dma);
    return cpu;
}

void *dk_alloc_attrs(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp, unsigned long attrs)
{
    const char *call = alloc_name(attrs);
    void *cpu = dk_take_coherent(dev, call, size, dma, gfp, attrs);

    if (cpu)
        remember(dev, call, DK_MAPPING_COHERENT, cpu, phys_of(cpu), *dma, size, DMA_BIDIRECTIONAL, attrs);
    return cpu;
}

void dk_release_coherent(struct device *dev, const struct dk_waiting_free *free)
{
    if (dk_checked(dev) && in_one_piece(free->cpu))
        dk_check_coherent_given(dev, phys_of(free->cpu));
    if (dev->dk->coherent_pool && wants_pool(free->attrs) &&
        dk_coherent_pool_give(dev->dk->coherent_pool, free->cpu, get_order(free->size)))
        return;
    if (dev->dma_ops->free)
        dev->dma_ops->free(dev, free->size, free->cpu, free->dma, free->attrs);
}

void dk_free_attrs(struct device *dev, size_t size, void *cpu, dma_addr_t dma, unsigned long attrs)
{
    const char *call = free_name(attrs);
    struct dk_waiting_free waiting;
    const struct dk_mapping asked = {
        .kind = DK_MAPPING_COHERENT,
        .dma = dma,
        .cpu = cpu,
        .size = size,
        .direction = DMA_BIDIRECTIONAL,
        .attrs = attrs,
    };
    struct dk_mapping found;

    if (!cpu || !dk_undo_usable(dev, call, size, DMA_BIDIRECTIONAL))
        return;
    if (dk_context()->interrupt_depth)
        dk_might_sleep_for(dev, GFP_KERNEL, call);
    if (dk_checked(dev)) {
        if (!dk_check_unmap(dev, call, &asked, &found))
            return;
        size = (size_t)found.size;
        /* What was allocated is freed, so that one wrong argument is one report. */
        cpu = (void *)(uintptr_t)found.cpu;
    }
    waiting = (struct dk_waiting_free){ size, cpu, dma, attrs };
    if (!dk_remap_keeps(dev, call, &waiting))
        dk_release_coherent(dev, &waiting);
}

/* What dma_alloc_pages() and dma_alloc_noncoherent() share. */
static struct page *alloc_pages_for(struct device *dev, const char *call, size_t size, dma_addr_t *dma,
                                    enum dma_data_direction direction, gfp_t gfp)
{
    struct page *page;

    if (!dk_mapping_usable(dev, call, size, direction) || !dk_size_usable(dev, call, size) ||
        !handle_usable(dev, call, dma))
        return NULL;
    if (!dev->coherent_dma_mask) {
        dk_device_log(dev, 0, "%s: the device has no coherent DMA mask", call);
        return NULL;
    }
    if (gfp & (DK_ZONE_FLAGS | __GFP_COMP)) {
        dk_device_log(dev, 0, "%s: zone flags and __GFP_COMP are refused: the device's mask chooses the zone",
                      call);
        return NULL;
    }
    dk_might_sleep_for(dev, gfp, call);
    if (!dev->dma_ops->alloc_pages_op)
        return NULL;
    page = dev->dma_ops->alloc_pages_op(dev, size, dma, direction, gfp);
    if (!page && !(gfp & __GFP_NOWARN)) {
        dk_device_log(dev, 1, "%s: no pages for %zu bytes under mask 0x%llx", call, size,
                      dev->coherent_dma_mask);
        check_mask(dev, call, size);
    }
    return page;
}

struct page *dk_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
                            enum dma_data_direction direction, gfp_t gfp)
{
    struct page *page = alloc_pages_for(dev, "dma_alloc_pages", size, dma, direction, gfp);

    if (page)
        remember(dev, "dma_alloc_pages", DK_MAPPING_PAGES, page, page_to_phys(page), *dma, size, direction,
                 0);
    return page;
}

void dk_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                   enum dma_data_direction direction)
{
    if (!page || !dk_undo_usable(dev, "dma_free_pages", size, direction) ||
        !forget(dev, "dma_free_pages", DK_MAPPING_PAGES, page, dma, &size, direction, 0))
        return;
    if (dev->dma_ops->free_pages)
        dev->dma_ops->free_pages(dev, size, page, dma, direction);
}

void *dk_alloc_noncoherent(struct device *dev, size_t size, dma_addr_t *dma,
                           enum dma_data_direction direction, gfp_t gfp)
{
    struct page *page = alloc_pages_for(dev, "dma_alloc_noncoherent", size, dma, direction, gfp);
    void *cpu;

    if (!page)
        return NULL;
    cpu = page_address(page);
    if (!cpu) {
        if (dev->dma_ops->free_pages)
            dev->dma_ops->free_pages(dev, size, page, *dma, direction);
        return NULL;
    }
    remember(dev, "dma_alloc_noncoherent", DK_MAPPING_NONCOHERENT, cpu, page_to_phys(page), *dma, size,
             direction, 0);
    return cpu;
}

void dk_free_noncoherent(struct device *dev, size_t size, void *cpu, dma_addr_t dma,
                         enum dma_data_direction direction)
{
    if (!cpu || !dk_undo_usable(dev, "dma_free_noncoherent", size, direction) ||
        !forget(dev, "dma_free_noncoherent", DK_MAPPING_NONCOHERENT, cpu, dma, &size, direction, 0))
        return;
    if (dev->dma_ops->free_pages && virt_to_page(cpu))
        dev->dma_ops->free_pages(dev, size, virt_to_page(cpu), dma, direction);
}

int dma_mmap_attrs(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma, size_t size,
                   unsigned long attrs)
{
    phys_addr_t phys;

    if (!vma || !dk_device_usable(dev, "dma_mmap_attrs") || !dk_size_usable(dev, "dma_mmap_attrs", size))
        return -EINVAL;
    dk_check_shown(dev, "dma_mmap_attrs", cpu, dma, attrs);
    if (dev->dk->coherent_pool && dk_coherent_pool_holds(dev->dk->coherent_pool, cpu, size, &phys))
        return dk_coherent_pool_mmap(dev->dk->coherent_pool, vma, cpu, size);
    return dev->dma_ops->mmap ? dev->dma_ops->mmap(dev, vma, cpu, dma, size, attrs) : -ENXIO;
}

int dma_mmap_pages(struct device *dev, struct vm_area_struct *vma, size_t size, struct page *page)
{
    if (!vma || !page || !dk_device_usable(dev, "dma_mmap_pages") ||
        !dk_size_usable(dev, "dma_mmap_pages", size))
        return -EINVAL;
    return dk_vma_show(dk_device_machine(dev)->memory, vma, page_to_phys(page), size, false);
}

bool dma_can_mmap(struct device *dev)
{
    return dev && dev->dma_ops->mmap;
}

int dma_get_sgtable_attrs(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t dma, size_t size,
                          unsigned long attrs)
{
    if (!table || !dk_device_usable(dev, "dma_get_sgtable") || !dk_size_usable(dev, "dma_get_sgtable", size))
        return -EINVAL;
    return dev->dma_ops->get_sgtable ? dev->dma_ops->get_sgtable(dev, table, cpu, dma, size, attrs) : -ENXIO;
}
