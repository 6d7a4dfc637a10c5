/* SPDX-License-Identifier: MIT */
/*
 * Allocations behind an IOMMU: memory in chunks wherever there is some, at consecutive DMA addresses and,
 * where the CPU is to see it in one piece, at consecutive kernel addresses.
 *
 * A chunk is one allocation of the page allocator or of a contiguous area. The struct page at its head says
 * how long it is (run), and is linked through its lru with the other chunks while they are put together or
 * taken apart. Its private data says that it is one, so that a free of other memory is refused.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "mapping/atomic-pool.h"
#include "mapping/iommu-dma.h"
#include "mapping/mapping.h"

#include <dmakit/vmalloc.h>
#include <string.h>

static bool is_uncached(const struct device *dev, unsigned long attrs)
{
    return !dev->dma_coherent && dk_device_machine(dev)->cache && !(attrs & DMA_ATTR_NON_CONSISTENT);
}

/* ---- Chunks ---- */

static unsigned long mark_of(const struct device *dev)
{
    return (unsigned long)(uintptr_t)dk_device_machine(dev)->mapping;
}

static void give_chunks(struct device *dev, struct list_head *chunks)
{
    struct page *page, *following;

    list_for_each_entry_safe (page, following, chunks, lru) {
        list_del(&page->lru);
        set_page_private(page, 0);
        dk_give_pages(dev, page, page->run);
    }
}

/*
 * @count pages in as few chunks as there are to be had, not cleared. False, with nothing taken: there is no
 * memory.
 */
static bool take_chunks(struct device *dev, size_t count, gfp_t gfp, unsigned long attrs,
                        struct list_head *chunks)
{
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    unsigned order = attrs & DMA_ATTR_ALLOC_SINGLE_PAGES ? 0 : MAX_PAGE_ORDER;

    INIT_LIST_HEAD(chunks);
    /* What cannot be had whole is not begun. */
    if (!dk_memory_has_free(memory, count))
        return false;
    gfp &= ~__GFP_ZERO;
    while (count) {
        size_t run = (size_t)1 << order;
        struct page *page = NULL;

        if (run <= count)
            page =
                dk_pages_take(memory, order ? gfp | __GFP_NORETRY | __GFP_NOWARN : gfp, run, run, 0, ~0ull);
        if (page) {
            set_page_private(page, mark_of(dev));
            list_add_tail(&page->lru, chunks);
            count -= run;
        } else if (order) {
            order--;
        } else {
            give_chunks(dev, chunks);
            return false;
        }
    }
    return true;
}

/* @count pages in one chunk, aligned to its size, from a contiguous area if there is one. */
static struct page *take_contiguous(struct device *dev, size_t count, gfp_t gfp)
{
    struct page *page = dk_contiguous_take(dev, count, gfp);

    /* The page allocator's blocks end at this order. */
    if (!page && count <= (size_t)1 << MAX_PAGE_ORDER)
        page = dk_pages_take(dk_device_machine(dev)->memory, gfp, count,
                             (size_t)1 << get_order(count << PAGE_SHIFT), 0, ~0ull);
    return page;
}

/* Back to cached use: what the device wrote is DRAM's, and no line may hide it from the pages' next user. */
static void recache_chunks(struct device *dev, struct list_head *chunks)
{
    struct dk_machine *machine = dk_device_machine(dev);
    struct page *page;

    list_for_each_entry (page, chunks, lru) {
        u64 bytes = (u64)page->run << PAGE_SHIFT;

        if (!dk_lines_recache(machine, page_to_phys(page), bytes) && !dev->dma_coherent)
            dk_lines_flush(machine, page_to_phys(page), bytes);
    }
}

/* Clears the chunks; those for uncached use leave the cache. False: out of memory. */
static bool clear_chunks(struct device *dev, struct list_head *chunks, bool uncached)
{
    struct dk_machine *machine = dk_device_machine(dev);
    struct page *page;

    list_for_each_entry (page, chunks, lru) {
        phys_addr_t phys = page_to_phys(page);
        u64 bytes = (u64)page->run << PAGE_SHIFT;
        char *cpu = dk_memory_cached(machine->memory, phys);

        if (!cpu)
            return false;
        if (uncached) {
            if (dk_lines_uncache(machine, phys, bytes))
                return false;
            cpu = dk_memory_dram(machine->memory, phys);
        }
        memset(cpu, 0, bytes);
    }
    return true;
}

/* Maps the chunks one behind the other; DMA_MAPPING_ERROR, with nothing mapped, when that cannot be done. */
static dma_addr_t map_chunks(struct device *dev, struct list_head *chunks, size_t count, u64 mask,
                             unsigned rights, unsigned long attrs)
{
    struct dk_iommu_space *space = dk_iommu_space_of(dev, attrs);
    dma_addr_t limit = dk_dma_limit(dev, mask);
    dma_addr_t base, at;
    struct page *page;

    if (!space)
        return DMA_MAPPING_ERROR;
    base = dk_iommu_space_take(space, count, limit);
    if (base == DMA_MAPPING_ERROR)
        goto full;
    at = base;
    list_for_each_entry (page, chunks, lru) {
        u64 bytes = (u64)page->run << PAGE_SHIFT;

        if (dk_iommu_map_fresh(space->domain, at, page_to_phys(page), bytes, rights))
            goto release;
        at += bytes;
    }
    return base;

release:
    dk_iommu_space_release(space, base, count);
full:
    dk_iommu_out_of_space(dev, (u64)count << PAGE_SHIFT, limit, attrs);
    return DMA_MAPPING_ERROR;
}

/* All pages of the chunks, in order; NULL: out of memory. Freed with dk_release(). */
static struct page **list_pages(const struct list_head *chunks, size_t count)
{
    struct page **pages = dk_allocate(count, sizeof(struct page *));
    struct page *page;
    size_t i = 0, j;

    if (!pages)
        return NULL;
    list_for_each_entry (page, chunks, lru) {
        for (j = 0; j < page->run; j++)
            pages[i++] = page + j;
    }
    return pages;
}

/* One address for all of them: their own when there is one chunk, else a new one. NULL: out of memory or
 * addresses. */
static void *show_chunks(struct device *dev, struct list_head *chunks, size_t count, bool uncached)
{
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    struct page *head = list_first_entry(chunks, struct page, lru);
    struct page **pages;
    void *cpu;

    if (head->run == count)
        return uncached ? dk_memory_dram(memory, page_to_phys(head))
                        : dk_memory_cached(memory, page_to_phys(head));
    pages = list_pages(chunks, count);
    if (!pages)
        return NULL;
    cpu = dk_vmap(memory, pages, count, uncached);
    dk_release(pages);
    return cpu;
}

/* Whether @dma leads @dev to the memory at @cpu: an allocation is freed with the device and the address that
 * it was made with. */
static bool leads_to(const struct device *dev, dma_addr_t dma, struct page *page)
{
    struct dk_iommu_space *space = dev->dk->space;
    phys_addr_t phys;

    return page && space && dk_iommu_is_mapped(space, dma, 1) &&
           dk_iommu_find(space->domain, dma, 1, &phys, NULL, NULL) && phys == page_to_phys(page);
}

/* ---- Coherent memory ---- */

/* The page behind byte @at of the allocation at @cpu, or NULL. */
static struct page *page_behind(struct device *dev, const void *cpu, size_t at)
{
    struct dk_machine *machine = dk_device_machine(dev);
    struct dk_memory *memory = NULL;
    phys_addr_t phys;

    switch (dk_address_find((const char *)cpu + at, &memory, &phys)) {
    case DK_ADDRESS_LINEAR:
    case DK_ADDRESS_UNCACHED:
    case DK_ADDRESS_VMALLOC:
        return memory == machine->memory ? dk_page_at(memory, phys) : NULL;
    default:
        return NULL;
    }
}

/* Uncached memory for who must not sleep. */
static void *alloc_atomic(struct device *dev, size_t size, dma_addr_t *dma, unsigned long attrs)
{
    struct dk_machine *machine = dk_device_machine(dev);
    void *cpu;
    struct page *page = dk_atomic_pool_take(machine, size, ~0ull, &cpu);
    struct dk_iommu_space *space = dk_iommu_space_of(dev, attrs);
    size_t count = PFN_UP(size);
    dma_addr_t limit = dk_dma_limit(dev, dev->coherent_dma_mask);

    if (!page || !space)
        goto give;
    *dma = dk_iommu_space_take(space, count, limit);
    if (*dma == DMA_MAPPING_ERROR)
        goto full;
    if (!dk_iommu_map_fresh(space->domain, *dma, page_to_phys(page), (u64)count << PAGE_SHIFT,
                            DK_IOMMU_READ | DK_IOMMU_WRITE))
        return cpu;
    dk_iommu_space_release(space, *dma, count);
full:
    dk_iommu_out_of_space(dev, size, limit, attrs);
give:
    if (page)
        dk_atomic_pool_give(machine, cpu, size);
    return NULL;
}

void *dk_iommu_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp, unsigned long attrs)
{
    bool uncached = is_uncached(dev, attrs);
    size_t count = PFN_UP(size);
    struct list_head chunks;
    void *cpu;

    if (uncached && !gfpflags_allow_blocking(gfp))
        return alloc_atomic(dev, size, dma, attrs);
    if (attrs & DMA_ATTR_FORCE_CONTIGUOUS) {
        struct page *page = take_contiguous(dev, count, gfp);

        if (!page)
            return NULL;
        set_page_private(page, mark_of(dev));
        INIT_LIST_HEAD(&chunks);
        list_add(&page->lru, &chunks);
    } else if (!take_chunks(dev, count, gfp, attrs, &chunks)) {
        return NULL;
    }
    if (!clear_chunks(dev, &chunks, uncached))
        goto give;
    cpu = show_chunks(dev, &chunks, count, uncached);
    if (!cpu)
        goto give;
    *dma = map_chunks(dev, &chunks, count, dev->coherent_dma_mask, DK_IOMMU_READ | DK_IOMMU_WRITE, attrs);
    if (*dma == DMA_MAPPING_ERROR)
        goto hide;
    return cpu;

hide:
    if (is_vmalloc_addr(cpu))
        dk_vunmap(cpu);
give:
    if (uncached)
        recache_chunks(dev, &chunks);
    give_chunks(dev, &chunks);
    return NULL;
}

/* Finds the chunks of the allocation of @count pages at @cpu; false when it is none. */
static bool find_chunks(struct device *dev, const void *cpu, size_t count, struct list_head *chunks)
{
    size_t at = 0, shown = is_vmalloc_addr(cpu) ? dk_vmap_pages(cpu) : count;

    INIT_LIST_HEAD(chunks);
    while (shown == count && at < count) {
        struct page *page = page_behind(dev, cpu, at << PAGE_SHIFT);

        if (!page || page_private(page) != mark_of(dev) || page->run > count - at ||
            (page->run < count && !is_vmalloc_addr(cpu)))
            break;
        list_add_tail(&page->lru, chunks);
        at += page->run;
    }
    if (at == count)
        return true;
    dk_device_log(dev, 0, "freeing %zu pages of coherent memory at %p, which are none", count, cpu);
    return false;
}

void dk_iommu_free(struct device *dev, size_t size, void *cpu, dma_addr_t dma, unsigned long attrs)
{
    size_t count = PFN_UP(size);
    struct list_head chunks;

    (void)attrs;
    if (!leads_to(dev, dma, page_behind(dev, cpu, 0))) {
        dk_device_log(dev, 0, "freeing coherent memory at %p, where 0x%llx does not lead", cpu, dma);
        return;
    }
    if (dk_atomic_pool_holds(dk_device_machine(dev), cpu)) {
        /* Who gets the block next must not find the device in it, and a free that the pool refuses does
         * nothing. */
        if (!dk_atomic_pool_is_block(dk_device_machine(dev), cpu, size)) {
            dk_device_log(dev, 0, "freeing %zu bytes of coherent memory at %p, which are none", size, cpu);
            return;
        }
        dk_iommu_space_release(dev->dk->space, dma, count);
        dk_atomic_pool_give(dk_device_machine(dev), cpu, size);
        return;
    }
    if (!find_chunks(dev, cpu, count, &chunks))
        return;
    dk_iommu_space_release(dev->dk->space, dma, count);
    if (is_vmalloc_addr(cpu))
        dk_vunmap(cpu);
    recache_chunks(dev, &chunks);
    give_chunks(dev, &chunks);
}

/*
 * Whether the allocation at @cpu has @count pages: what lies behind it is others'. Blocks of pools have no
 * length of their own, and are as long as the checker remembers.
 */
static bool has_pages(struct device *dev, const void *cpu, dma_addr_t dma, size_t count)
{
    struct dk_machine *machine = dk_device_machine(dev);
    const size_t before_last = (count - 1) << PAGE_SHIFT;
    /* Not a pointer's arithmetic: the size is the driver's, and may be anything. */
    const void *last = (const void *)((uintptr_t)cpu + before_last);
    const struct dk_coherent_pool *pool = dev->dk->coherent_pool;
    struct page *page;
    phys_addr_t phys;

    if (is_vmalloc_addr(cpu))
        return count <= dk_vmap_pages(cpu);
    if ((pool && dk_coherent_pool_holds(pool, cpu, before_last + 1, &phys)) ||
        (dk_atomic_pool_holds(machine, cpu) && dk_atomic_pool_holds(machine, last)))
        return dk_check_is_allocated(dev, cpu, dma, before_last + 1);
    page = page_behind(dev, cpu, 0);
    return page && page_private(page) == mark_of(dev) && count <= page->run;
}

int dk_iommu_mmap(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma, size_t size,
                  unsigned long attrs)
{
    unsigned long i, pages = PFN_UP(size), shown = vma_pages(vma);

    if ((vma->vm_start | vma->vm_end) & (PAGE_SIZE - 1) || vma->vm_end <= vma->vm_start)
        return -EINVAL;
    if (vma->vm_pgoff >= pages || shown > pages - vma->vm_pgoff ||
        !has_pages(dev, cpu, dma, vma->vm_pgoff + shown))
        return -ENXIO;
    for (i = 0; i < shown; i++) {
        struct page *page = page_behind(dev, cpu, (size_t)(vma->vm_pgoff + i) << PAGE_SHIFT);
        struct vm_area_struct piece = { .vm_start = vma->vm_start + (i << PAGE_SHIFT) };
        int error;

        if (!page)
            return -ENXIO;
        piece.vm_end = piece.vm_start + PAGE_SIZE;
        error = dk_vma_show(dk_device_machine(dev)->memory, &piece, page_to_phys(page), PAGE_SIZE,
                            is_uncached(dev, attrs));
        if (error)
            return error;
    }
    return 0;
}

int dk_iommu_get_sgtable(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t dma, size_t size,
                         unsigned long attrs)
{
    size_t i, count = PFN_UP(size);
    struct page **pages;
    int error;

    (void)attrs;
    if (!has_pages(dev, cpu, dma, count))
        return -ENXIO;
    pages = dk_allocate(count, sizeof(struct page *));
    if (!pages)
        return -ENOMEM;
    for (i = 0; i < count; i++)
        pages[i] = page_behind(dev, cpu, i << PAGE_SHIFT);
    error = sg_alloc_table_from_pages(table, pages, (unsigned)count, 0, (unsigned long)count << PAGE_SHIFT,
                                      GFP_KERNEL);
    dk_release(pages);
    return error;
}

/* ---- Pages: one piece of memory ---- */

struct page *dk_iommu_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
                                  enum dma_data_direction direction, gfp_t gfp)
{
    struct dk_machine *machine = dk_device_machine(dev);
    size_t count = PFN_UP(size);
    struct page *page = take_contiguous(dev, count, gfp);
    char *cpu;

    if (!page)
        return NULL;
    cpu = dk_memory_cached(machine->memory, page_to_phys(page));
    if (!cpu)
        goto give;
    memset(cpu, 0, count << PAGE_SHIFT);
    *dma = dev->dma_ops->map_page(dev, page, 0, count << PAGE_SHIFT, direction, DMA_ATTR_SKIP_CPU_SYNC);
    if (*dma == DMA_MAPPING_ERROR)
        goto give;
    return page;

give:
    dk_give_pages(dev, page, count);
    return NULL;
}

void dk_iommu_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                         enum dma_data_direction direction)
{
    size_t count = PFN_UP(size);

    if (!leads_to(dev, dma, page) || page->run != count) {
        dk_device_log(dev, 0, "freeing %zu pages at 0x%llx, where they are not allocated", count, dma);
        return;
    }
    dev->dma_ops->unmap_page(dev, dma, count << PAGE_SHIFT, direction, DMA_ATTR_SKIP_CPU_SYNC);
    dk_give_pages(dev, page, count);
}

/* ---- Memory in pieces ---- */

struct sg_table *dk_iommu_alloc_noncontiguous(struct device *dev, size_t size,
                                              enum dma_data_direction direction, gfp_t gfp,
                                              unsigned long attrs)
{
    struct sg_table *table = dk_table_create(dev);
    size_t count = PFN_UP(size);
    struct page **pages;
    struct list_head chunks;
    dma_addr_t dma;

    if (!table)
        return NULL;
    if (!take_chunks(dev, count, gfp, attrs, &chunks))
        goto destroy;
    if (!clear_chunks(dev, &chunks, false))
        goto give;
    pages = list_pages(&chunks, count);
    if (!pages)
        goto give;
    if (sg_alloc_table_from_pages(table, pages, (unsigned)count, 0, (unsigned long)count << PAGE_SHIFT, gfp))
        goto release_pages;
    dma = map_chunks(dev, &chunks, count, *dev->dma_mask, dk_iommu_rights(direction), attrs);
    if (dma == DMA_MAPPING_ERROR)
        goto release_pages;
    dk_release(pages);
    table->nents = 1;
    sg_dma_address(table->sgl) = dma;
    sg_dma_len(table->sgl) = (unsigned)(count << PAGE_SHIFT);
    return table;

release_pages:
    dk_release(pages);
give:
    give_chunks(dev, &chunks);
destroy:
    dk_table_destroy(dev, table);
    return NULL;
}

void dk_iommu_free_noncontiguous(struct device *dev, size_t size, struct sg_table *table,
                                 enum dma_data_direction direction)
{
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    struct list_head chunks;
    struct scatterlist *sg;
    unsigned i;

    (void)direction;
    if (PFN_UP(size) != PFN_UP(sg_dma_len(table->sgl)) ||
        !leads_to(dev, sg_dma_address(table->sgl), sg_page(table->sgl))) {
        dk_device_log(dev, 0, "freeing %zu noncontiguous bytes at 0x%llx, which are not allocated so", size,
                      sg_dma_address(table->sgl));
        return;
    }
    INIT_LIST_HEAD(&chunks);
    for_each_sgtable_sg (table, sg, i) {
        phys_addr_t phys = sg_phys(sg), end = phys + sg->length;

        /* Neighbouring chunks may share an entry. */
        while (phys < end) {
            struct page *page = dk_page_at(memory, phys);

            if (!page || !page->run || page->run > (end - phys) >> PAGE_SHIFT) {
                dk_device_log(dev, 0, "the pages of a noncontiguous allocation were freed by other means");
                break;
            }
            list_add_tail(&page->lru, &chunks);
            phys += (u64)page->run << PAGE_SHIFT;
        }
    }
    dk_iommu_space_release(dev->dk->space, sg_dma_address(table->sgl), PFN_UP(size));
    give_chunks(dev, &chunks);
    dk_table_destroy(dev, table);
}
