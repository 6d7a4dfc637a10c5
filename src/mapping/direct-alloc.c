/* SPDX-License-Identifier: MIT */
/*
 * Coherent memory and pages of the direct back end.
 */
#include "mapping/atomic-pool.h"
#include "mapping/bounce.h"
#include "mapping/mapping.h"

#include <string.h>

static size_t pages_for(size_t size)
{
    return (size >> PAGE_SHIFT) + ((size & (PAGE_SIZE - 1)) != 0);
}

struct page *dk_page_at(struct dk_memory *memory, phys_addr_t phys)
{
    struct dk_section *section;

    if (!dk_memory_has_page(memory, phys))
        return NULL;
    section = dk_memory_section(memory, phys);
    return section ? section->pages + ((phys - section->base) >> PAGE_SHIFT) : NULL;
}

/* Whether @dev reaches all of [phys, phys + size) under its coherent mask, and at which address. */
static bool reachable(const struct device *dev, phys_addr_t phys, u64 size, dma_addr_t *dma)
{
    return dk_phys_to_dma(dev, phys, size, dma) &&
           *dma + (size - 1) <= dk_dma_limit(dev, dev->coherent_dma_mask);
}

/* Pages below one window, as high as the device reaches. */
static struct page *take_in_window(struct device *dev, const struct dk_window *window, size_t count,
                                   size_t align, gfp_t gfp)
{
    u64 limit = dk_dma_limit(dev, dev->coherent_dma_mask);
    u64 length;

    if (window->dma > limit)
        return NULL;
    length = window->size - 1 < limit - window->dma ? window->size - 1 : limit - window->dma;
    return dk_pages_take(dk_device_machine(dev)->memory, gfp, count, align, window->cpu,
                         window->cpu + length);
}

struct page *dk_direct_take(struct device *dev, size_t count, gfp_t gfp)
{
    static const struct dk_window everything = { 0, 0, ~0ull };
    size_t align = (size_t)1 << get_order(count << PAGE_SHIFT);
    struct page *page;
    dma_addr_t dma;
    unsigned i;

    page = dk_contiguous_take(dev, count, gfp);
    if (page) {
        if (reachable(dev, page_to_phys(page), (u64)count << PAGE_SHIFT, &dma))
            return page;
        dk_contiguous_give(dev, page, count);
    }
    /* The page allocator's blocks end at this order; what is larger needs a contiguous area. */
    if (count > (size_t)1 << MAX_PAGE_ORDER)
        return NULL;
    if (!dev->dk->window_count)
        return take_in_window(dev, &everything, count, align, gfp);
    for (i = 0; i < dev->dk->window_count; i++) {
        page = take_in_window(dev, &dev->dk->windows[i], count, align, gfp);
        if (page)
            return page;
    }
    return NULL;
}

bool dk_direct_reaches_memory(const struct device *dev, u64 mask)
{
    static const struct dk_window everything = { 0, 0, ~0ull };
    const struct dk_window *windows = dev->dk->window_count ? dev->dk->windows : &everything;
    unsigned i, count = dev->dk->window_count ? dev->dk->window_count : 1;
    u64 limit = dk_dma_limit(dev, mask);

    for (i = 0; i < count; i++) {
        u64 length = windows[i].size - 1;

        if (windows[i].dma > limit)
            continue;
        if (length > limit - windows[i].dma)
            length = limit - windows[i].dma;
        /* Less the last byte, which is no page by itself: so nothing wraps. */
        if (length && dk_memory_has_ram(dk_device_machine(dev)->memory, windows[i].cpu, length))
            return true;
    }
    return false;
}

#define NO_MEMORY (~(phys_addr_t)0)

/* @count pages that @dev reaches, from the pool that it is confined to if there is one; NO_MEMORY: none. */
static phys_addr_t take_memory(struct device *dev, size_t count, gfp_t gfp)
{
    struct page *page;

    if (dev->dk->bounce_always)
        return dk_bounce_alloc(dev->dk->bounce, dev, count << PAGE_SHIFT,
                               gfp & __GFP_NOWARN ? DMA_ATTR_NO_WARN : 0);
    page = dk_direct_take(dev, count, gfp);
    return page ? page_to_phys(page) : NO_MEMORY;
}

static void give_memory(struct device *dev, phys_addr_t phys, size_t count)
{
    if (!dev->dk->bounce_always || !dk_bounce_free(dev->dk->bounce, phys, count << PAGE_SHIFT))
        dk_give_pages(dev, dk_page_at(dk_device_machine(dev)->memory, phys), count);
}

/* Whether the CPU has a way to see ordinary memory as the device does. Without an MMU only the default pool's
 * alias is one. */
static bool can_uncache(const struct dk_machine *machine)
{
    return !machine->board->no_mmu;
}

/* The last physical address below one of the bus's windows that @dev puts out. */
static u64 highest_reachable(const struct device *dev)
{
    u64 limit = dk_dma_limit(dev, dev->coherent_dma_mask), highest = 0;
    unsigned i;

    if (!dev->dk->window_count)
        return limit;
    for (i = 0; i < dev->dk->window_count; i++) {
        const struct dk_window *window = &dev->dk->windows[i];
        u64 length = window->size - 1;

        if (window->dma > limit)
            continue;
        if (length > limit - window->dma)
            length = limit - window->dma;
        if (window->cpu + length > highest)
            highest = window->cpu + length;
    }
    return highest;
}

/* Uncached memory for who must not sleep. */
static void *take_atomic(struct device *dev, size_t size, dma_addr_t *dma)
{
    struct dk_machine *machine = dk_device_machine(dev);
    void *cpu;
    struct page *page = dk_atomic_pool_take(machine, size, highest_reachable(dev), &cpu);

    if (!page)
        return NULL;
    if (reachable(dev, page_to_phys(page), (u64)pages_for(size) << PAGE_SHIFT, dma))
        return cpu;
    dk_atomic_pool_give(machine, cpu, size);
    return NULL;
}

void *dk_direct_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp, unsigned long attrs)
{
    struct dk_machine *machine = dk_device_machine(dev);
    bool uncached = !dev->dma_coherent && machine->cache;
    bool relaxed = attrs & (DMA_ATTR_NON_CONSISTENT | DMA_ATTR_NO_KERNEL_MAPPING);
    size_t count = pages_for(size);
    phys_addr_t phys;
    char *cpu;

    if (uncached && !relaxed) {
        if (machine->mapping->default_pool)
            return dk_coherent_pool_take(machine->mapping->default_pool, dev, size, dma);
        if (!can_uncache(machine)) {
            dk_device_log(dev, 1, "coherent memory needs a default pool (linux,dma-default) on this machine");
            return NULL;
        }
        if (!gfpflags_allow_blocking(gfp) && !dev->dk->bounce_always)
            return take_atomic(dev, size, dma);
    }
    phys = take_memory(dev, count, attrs & DMA_ATTR_NO_KERNEL_MAPPING ? gfp | __GFP_HIGHMEM : gfp);
    if (phys == NO_MEMORY)
        return NULL;
    if (!reachable(dev, phys, (u64)count << PAGE_SHIFT, dma))
        goto give;
    cpu = dk_memory_cached(machine->memory, phys);
    if (!cpu)
        goto give;
    if (uncached && !(attrs & DMA_ATTR_NON_CONSISTENT)) {
        if (dk_lines_uncache(machine, phys, (u64)count << PAGE_SHIFT))
            goto give;
        cpu = dk_memory_dram(machine->memory, phys);
        memset(cpu, 0, count << PAGE_SHIFT);
    } else if (uncached) {
        /* Before the zeros too: over a line that a device wrote and nobody synced, they would look like what
         * it held before, and stay out of DRAM. */
        dk_lines_flush(machine, phys, (u64)count << PAGE_SHIFT);
        memset(cpu, 0, count << PAGE_SHIFT);
        dk_lines_flush(machine, phys, (u64)count << PAGE_SHIFT);
    } else {
        memset(cpu, 0, count << PAGE_SHIFT);
    }
    return attrs & DMA_ATTR_NO_KERNEL_MAPPING ? (void *)dk_page_at(machine->memory, phys) : cpu;

give:
    give_memory(dev, phys, count);
    return NULL;
}

/* Whether @cpu lies in a pool that serves devices which do not snoop. */
static bool is_in_pool(struct dk_machine *machine, const void *cpu)
{
    phys_addr_t phys;

    return dk_atomic_pool_holds(machine, cpu) ||
           (machine->mapping->default_pool &&
            dk_coherent_pool_holds(machine->mapping->default_pool, cpu, 1, &phys));
}

void dk_direct_free(struct device *dev, size_t size, void *cpu, dma_addr_t dma, unsigned long attrs)
{
    struct dk_machine *machine = dk_device_machine(dev);
    struct dk_memory *memory = NULL;
    size_t count = pages_for(size);
    struct page *page = NULL;
    phys_addr_t phys;

    (void)dma;
    if (machine->mapping->default_pool && !(attrs & DMA_ATTR_NO_KERNEL_MAPPING) &&
        dk_coherent_pool_give(machine->mapping->default_pool, cpu, get_order(size)))
        return;
    if (machine->mapping->atomic_pools && !(attrs & DMA_ATTR_NO_KERNEL_MAPPING) &&
        dk_atomic_pool_give(machine, cpu, size))
        return;
    if (attrs & DMA_ATTR_NO_KERNEL_MAPPING) {
        phys = page_to_phys(cpu);
        page = phys == ~(phys_addr_t)0 ? NULL : cpu;
    } else if (dk_address_find(cpu, &memory, &phys) != DK_ADDRESS_HOST && memory == machine->memory) {
        page = dk_page_at(memory, phys);
    }
    /* What a pool has refused is no block of it, and not the page allocator's either. */
    if (!page || !dk_memory_is_ram(machine->memory, phys, (u64)count << PAGE_SHIFT) ||
        is_in_pool(machine, attrs & DMA_ATTR_NO_KERNEL_MAPPING ? page_address(page) : cpu)) {
        dk_device_log(dev, 0, "freeing coherent memory at %p, which is none", cpu);
        return;
    }
    /* The pages' next user sees them cached: what the device wrote is DRAM's, and no line may hide it. */
    if (!dk_lines_recache(machine, phys, (u64)count << PAGE_SHIFT) && !dev->dma_coherent)
        dk_lines_flush(machine, phys, (u64)count << PAGE_SHIFT);
    give_memory(dev, page_to_phys(page), count);
}

struct page *dk_direct_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
                                   enum dma_data_direction direction, gfp_t gfp)
{
    struct dk_machine *machine = dk_device_machine(dev);
    size_t count = pages_for(size);
    phys_addr_t phys = take_memory(dev, count, gfp);
    char *cpu;

    (void)direction;
    if (phys == NO_MEMORY)
        return NULL;
    if (!reachable(dev, phys, (u64)count << PAGE_SHIFT, dma))
        goto give;
    cpu = dk_memory_cached(machine->memory, phys);
    if (!cpu)
        goto give;
    memset(cpu, 0, count << PAGE_SHIFT);
    return dk_page_at(machine->memory, phys);

give:
    give_memory(dev, phys, count);
    return NULL;
}

void dk_direct_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                          enum dma_data_direction direction)
{
    (void)dma;
    (void)direction;
    give_memory(dev, page_to_phys(page), pages_for(size));
}

/* The physical address behind what dk_direct_alloc() returned; false when it is nothing of the machine's. */
static bool allocation_phys(struct device *dev, void *cpu, unsigned long attrs, phys_addr_t *phys)
{
    struct dk_memory *memory = NULL;

    if (attrs & DMA_ATTR_NO_KERNEL_MAPPING) {
        *phys = page_to_phys(cpu);
        return *phys != ~(phys_addr_t)0;
    }
    switch (dk_address_find(cpu, &memory, phys)) {
    case DK_ADDRESS_LINEAR:
    case DK_ADDRESS_HOLE:
    case DK_ADDRESS_UNCACHED:
        return memory == dk_device_machine(dev)->memory;
    default:
        return false;
    }
}

int dk_direct_mmap(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma, size_t size,
                   unsigned long attrs)
{
    phys_addr_t phys;

    (void)dma;
    if (!allocation_phys(dev, cpu, attrs, &phys))
        return -ENXIO;
    return dk_vma_show(dk_device_machine(dev)->memory, vma, phys, size,
                       !dev->dma_coherent && !(attrs & DMA_ATTR_NON_CONSISTENT));
}

int dk_direct_get_sgtable(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t dma, size_t size,
                          unsigned long attrs)
{
    struct page *page;
    phys_addr_t phys;
    int error;

    (void)dma;
    if (!allocation_phys(dev, cpu, attrs, &phys))
        return -ENXIO;
    page = dk_page_at(dk_device_machine(dev)->memory, phys);
    if (!page)
        return -ENXIO;
    error = sg_alloc_table(table, 1, GFP_KERNEL);
    if (error)
        return error;
    sg_set_page(table->sgl, page, (unsigned int)(pages_for(size) << PAGE_SHIFT), 0);
    return 0;
}
