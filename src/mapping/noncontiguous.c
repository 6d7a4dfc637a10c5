/* SPDX-License-Identifier: MIT */
/*
 * Memory in pieces: dma_alloc_noncontiguous() and its kernel and user addresses.
 */
#include "base/alloc.h"
#include "mapping/dispatch.h"

#include <dmakit/vmalloc.h>

/* What an allocation of @size bytes is: its table says so too, and that is what a driver syncs. */
static u64 whole_pages(size_t size)
{
    return (u64)PFN_UP(size) << PAGE_SHIFT;
}

struct kept_table {
    struct sg_table table; /* first: what the driver has is this */
    struct list_head link;
};

struct sg_table *dk_table_create(struct device *dev)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;
    struct kept_table *kept = dk_allocate(1, sizeof(*kept));

    if (!kept)
        return NULL;
    pthread_mutex_lock(&state->tables_lock);
    list_add(&kept->link, &state->tables);
    pthread_mutex_unlock(&state->tables_lock);
    return &kept->table;
}

void dk_table_destroy(struct device *dev, struct sg_table *table)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;
    struct kept_table *kept = container_of(table, struct kept_table, table);

    pthread_mutex_lock(&state->tables_lock);
    list_del(&kept->link);
    pthread_mutex_unlock(&state->tables_lock);
    sg_free_table(table);
    dk_release(kept);
}

void dk_tables_finish(struct dk_mapping_state *state)
{
    struct kept_table *kept, *following;

    list_for_each_entry_safe (kept, following, &state->tables, link) {
        list_del(&kept->link);
        sg_free_table(&kept->table);
        dk_release(kept);
    }
}

/* One piece, where no IOMMU makes several one. */
static struct sg_table *alloc_contiguous(struct device *dev, size_t size, enum dma_data_direction direction,
                                         gfp_t gfp)
{
    struct sg_table *table = dk_table_create(dev);
    struct page *page;
    dma_addr_t dma;

    if (!table)
        return NULL;
    if (!dev->dma_ops->alloc_pages_op || sg_alloc_table(table, 1, gfp))
        goto destroy;
    page = dev->dma_ops->alloc_pages_op(dev, size, &dma, direction, gfp);
    if (!page)
        goto destroy;
    sg_set_page(table->sgl, page, (unsigned)whole_pages(size), 0);
    sg_dma_address(table->sgl) = dma;
    sg_dma_len(table->sgl) = table->sgl->length;
    return table;

destroy:
    dk_table_destroy(dev, table);
    return NULL;
}

static void free_contiguous(struct device *dev, size_t size, struct sg_table *table,
                            enum dma_data_direction direction)
{
    dev->dma_ops->free_pages(dev, size, sg_page(table->sgl), sg_dma_address(table->sgl), direction);
    dk_table_destroy(dev, table);
}

struct sg_table *dk_alloc_noncontiguous(struct device *dev, size_t size, enum dma_data_direction direction,
                                        gfp_t gfp, unsigned long attrs)
{
    const char *call = "dma_alloc_noncontiguous";
    struct sg_table *table;

    if (!dk_mapping_usable(dev, call, size, direction) || !dk_size_usable(dev, call, size))
        return NULL;
    if (attrs & ~(DMA_ATTR_ALLOC_SINGLE_PAGES | DMA_ATTR_NO_WARN) || gfp & (DK_ZONE_FLAGS | __GFP_COMP) ||
        size > UINT_MAX - PAGE_SIZE) {
        dk_device_log(dev, 0, "%s: attributes 0x%lx, gfp 0x%x or %zu bytes are not for this call", call,
                      attrs, (unsigned)gfp, size);
        return NULL;
    }
    if (attrs & DMA_ATTR_NO_WARN)
        gfp |= __GFP_NOWARN;
    dk_might_sleep_for(dev, gfp, call);
    table = dev->dma_ops->alloc_noncontiguous
                ? dev->dma_ops->alloc_noncontiguous(dev, size, direction, gfp, attrs)
                : alloc_contiguous(dev, size, direction, gfp);
    if (!table) {
        if (!(gfp & __GFP_NOWARN))
            dk_device_log(dev, 1, "%s: no memory for %zu bytes", call, size);
        return NULL;
    }
    if (dk_checked(dev)) {
        u64 whole = whole_pages(size);
        struct dk_mapping mapping = {
            .kind = DK_MAPPING_NONCONTIGUOUS,
            .dma = sg_dma_address(table->sgl),
            .phys = sg_phys(table->sgl),
            .cpu = table,
            .size = whole,
            .contiguous = table->sgl->length < whole ? table->sgl->length : 0,
            .direction = direction,
            .attrs = attrs,
        };

        dk_check_mapped(dev, call, &mapping);
    }
    return table;
}

/* ---- Kernel addresses ---- */

/* What dma_vmap_noncontiguous() gave for @table; one piece has the same address each time. */
struct vmap {
    struct list_head link; /* in dk_mapping_state.vmaps */
    const struct sg_table *table;
    void *cpu;
};

static void enter(struct dk_mapping_state *state, struct vmap *vmap)
{
    pthread_mutex_lock(&state->vmaps_lock);
    list_add(&vmap->link, &state->vmaps);
    pthread_mutex_unlock(&state->vmaps_lock);
}

/* Takes one of @table (NULL: of any) at @cpu (NULL: anywhere) out of the list. NULL: there is none. */
static struct vmap *leave(struct dk_mapping_state *state, const struct sg_table *table, const void *cpu)
{
    struct vmap *vmap, *found = NULL;

    pthread_mutex_lock(&state->vmaps_lock);
    list_for_each_entry (vmap, &state->vmaps, link) {
        if ((!table || vmap->table == table) && (!cpu || vmap->cpu == cpu)) {
            found = vmap;
            list_del(&vmap->link);
            break;
        }
    }
    pthread_mutex_unlock(&state->vmaps_lock);
    return found;
}

static void hide(struct vmap *vmap)
{
    if (is_vmalloc_addr(vmap->cpu))
        dk_vunmap(vmap->cpu);
    dk_release(vmap);
}

void dk_noncontiguous_finish(struct dk_mapping_state *state)
{
    struct vmap *vmap;

    while ((vmap = leave(state, NULL, NULL)))
        dk_release(vmap);
}

/* Takes away the addresses that @table still has before it is freed: its pages will be somebody else's. */
static void hide_all(struct device *dev, const char *call, const struct sg_table *table,
                     const struct dk_mapping *freed)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;
    struct vmap *vmap = leave(state, table, NULL);

    if (!vmap)
        return;
    if (dk_checked(dev))
        dk_check_freed_mapped(
            dev, call, freed, "which dma_vmap_noncontiguous() still shows to the CPU",
            "call dma_vunmap_noncontiguous() first: the pages are somebody else's afterwards");
    else
        dk_device_log(dev, 1, "%s: %llu bytes at 0x%llx still have a kernel address: it goes with them", call,
                      freed->size, freed->dma);
    for (; vmap; vmap = leave(state, table, NULL))
        hide(vmap);
}

void dk_free_noncontiguous(struct device *dev, size_t size, struct sg_table *table,
                           enum dma_data_direction direction)
{
    const char *call = "dma_free_noncontiguous";
    struct dk_mapping asked, found;

    if (!table || !dk_undo_usable(dev, call, size, direction))
        return;
    dk_might_sleep_for(dev, GFP_KERNEL, call);
    asked = (struct dk_mapping){
        .kind = DK_MAPPING_NONCONTIGUOUS,
        .dma = sg_dma_address(table->sgl),
        .cpu = table,
        .size = whole_pages(size),
        .direction = direction,
    };
    hide_all(dev, call, table, &asked);
    if (dk_checked(dev)) {
        if (!dk_check_unmap(dev, call, &asked, &found))
            return;
        size = (size_t)found.size;
        direction = found.direction;
    }
    if (dev->dma_ops->free_noncontiguous)
        dev->dma_ops->free_noncontiguous(dev, size, table, direction);
    else
        free_contiguous(dev, size, table, direction);
}

static u64 bytes_of(struct sg_table *table)
{
    struct scatterlist *sg;
    u64 bytes = 0;
    unsigned i;

    for_each_sgtable_sg (table, sg, i)
        bytes += sg->length;
    return bytes;
}

/* The first @count pages of @table; NULL: it has fewer, or out of memory. */
static struct page **pages_of(struct dk_memory *memory, struct sg_table *table, size_t count)
{
    struct page **pages;
    struct scatterlist *sg;
    size_t done = 0;
    unsigned i;

    if (count > bytes_of(table) >> PAGE_SHIFT)
        return NULL;
    pages = dk_allocate(count, sizeof(struct page *));
    if (!pages)
        return NULL;
    for_each_sgtable_sg (table, sg, i) {
        phys_addr_t phys = sg_phys(sg), end = phys + sg->length;

        for (; phys < end && done < count; phys += PAGE_SIZE)
            pages[done++] = dk_page_at(memory, phys);
    }
    return pages;
}

/* One address for the first @size bytes of @table. NULL, with a log line: out of memory or addresses, or it
 * has fewer. */
static void *show(struct device *dev, const char *call, size_t size, struct sg_table *table)
{
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    struct page **pages;
    void *cpu;

    /* One piece has an address already. */
    if (table->orig_nents == 1 && size <= table->sgl->length)
        return page_address(sg_page(table->sgl));
    pages = pages_of(memory, table, PFN_UP(size));
    if (!pages) {
        dk_device_log(dev, 1, "%s: the table has no %zu bytes, or no memory is left", call, size);
        return NULL;
    }
    cpu = dk_vmap(memory, pages, PFN_UP(size), false);
    dk_release(pages);
    return cpu;
}

void *dma_vmap_noncontiguous(struct device *dev, size_t size, struct sg_table *table)
{
    const char *call = "dma_vmap_noncontiguous";
    struct vmap *vmap;
    void *cpu;

    if (!table || !dk_device_usable(dev, call) || !dk_size_usable(dev, call, size))
        return NULL;
    dk_might_sleep_for(dev, GFP_KERNEL, call);
    vmap = dk_allocate(1, sizeof(*vmap));
    if (!vmap)
        return NULL;
    vmap->table = table;
    cpu = show(dev, call, size, table);
    if (!cpu) {
        dk_release(vmap);
        return NULL;
    }
    vmap->table = table;
    vmap->cpu = cpu;
    enter(dk_device_machine(dev)->mapping, vmap);
    return cpu;
}

void dma_vunmap_noncontiguous(struct device *dev, void *cpu)
{
    const char *call = "dma_vunmap_noncontiguous";
    struct vmap *vmap;

    if (!cpu || !dk_device_usable(dev, call))
        return;
    vmap = leave(dk_device_machine(dev)->mapping, NULL, cpu);
    if (vmap)
        hide(vmap);
    else
        dk_device_log(dev, 0, "%s: %p shows no allocation, or none any more", call, cpu);
}

int dma_mmap_noncontiguous(struct device *dev, struct vm_area_struct *vma, size_t size,
                           struct sg_table *table)
{
    const char *call = "dma_mmap_noncontiguous";
    struct scatterlist *sg;
    unsigned long address, skip;
    unsigned i;

    if (!vma || !table || !dk_device_usable(dev, call) || !dk_size_usable(dev, call, size))
        return -EINVAL;
    if ((vma->vm_start | vma->vm_end) & (PAGE_SIZE - 1) || vma->vm_end <= vma->vm_start)
        return -EINVAL;
    if (vma->vm_pgoff >= PFN_UP(size) || vma_pages(vma) > PFN_UP(size) - vma->vm_pgoff)
        return -ENXIO;
    address = vma->vm_start;
    skip = vma->vm_pgoff;
    for_each_sgtable_sg (table, sg, i) {
        unsigned long pages = PFN_UP(sg->length);
        struct vm_area_struct piece = { .vm_start = address, .vm_pgoff = skip };
        int error;

        if (skip >= pages) {
            skip -= pages;
            continue;
        }
        if (address == vma->vm_end)
            return 0;
        piece.vm_end = vma->vm_end - address < (pages - skip) << PAGE_SHIFT
                           ? vma->vm_end
                           : address + ((pages - skip) << PAGE_SHIFT);
        error = dk_vma_show(dk_device_machine(dev)->memory, &piece, sg_phys(sg), sg->length, false);
        if (error)
            return error;
        address = piece.vm_end;
        skip = 0;
    }
    return address == vma->vm_end ? 0 : -ENXIO;
}
