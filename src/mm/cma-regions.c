/* SPDX-License-Identifier: MIT */
/*
 * Named regions of contiguous memory, and the allocators that choose places in them. A region is an area;
 * whatever place an allocator chooses is looked up in the area's index.
 */
#include "base/log.h"
#include "mm/cma.h"
#include "mm/private.h"
#include <dmakit/cma-regions.h>

#include <string.h>

static dma_addr_t error_address(int error)
{
    return (dma_addr_t)(long)error;
}

/* ---- Allocators ---- */

/* Under regions_lock, as all that follows with a memory. */
static struct cma_allocator *find_allocator(struct dk_memory *memory, const char *name)
{
    struct cma_allocator *allocator;

    list_for_each_entry (allocator, &memory->allocators, link) {
        if (!strcmp(allocator->name, name))
            return allocator;
    }
    return NULL;
}

int cma_allocator_register(struct cma_allocator *allocator)
{
    struct dk_memory *memory = dk_current_for("cma_allocator_register");
    int error = -EBUSY;

    if (!memory || !allocator || !allocator->name || !allocator->alloc || !allocator->free)
        return -EINVAL;
    pthread_mutex_lock(&memory->regions_lock);
    if (!find_allocator(memory, allocator->name)) {
        list_add_tail(&allocator->link, &memory->allocators);
        error = 0;
    }
    pthread_mutex_unlock(&memory->regions_lock);
    return error;
}

int cma_allocator_unregister(struct cma_allocator *allocator)
{
    struct dk_memory *memory = dk_current_for("cma_allocator_unregister");
    struct cma_region *region;
    int error = 0;

    if (!memory || !allocator || !allocator->name)
        return -EINVAL;
    pthread_mutex_lock(&memory->regions_lock);
    list_for_each_entry (region, &memory->regions, link) {
        if (region->allocator == allocator)
            error = -EBUSY;
    }
    if (find_allocator(memory, allocator->name) != allocator)
        error = -ENOENT;
    if (!error)
        list_del(&allocator->link);
    pthread_mutex_unlock(&memory->regions_lock);
    return error;
}

/* Sets @region up by its allocator at the first need. 0 or -errno. */
static int attach(struct dk_memory *memory, struct cma_region *region)
{
    const struct cma_allocator *allocator;
    int error;

    if (!region->allocator_name || region->allocator)
        return 0;
    allocator = find_allocator(memory, region->allocator_name);
    if (!allocator)
        return -ENODEV;
    error = allocator->init ? allocator->init(region) : 0;
    if (!error)
        region->allocator = allocator;
    return error;
}

/* ---- Regions ---- */

static struct cma_region *find_region(struct dk_memory *memory, const char *name, size_t length)
{
    struct cma_region *region;

    list_for_each_entry (region, &memory->regions, link) {
        if (region->name && strlen(region->name) == length && !memcmp(region->name, name, length))
            return region;
    }
    return NULL;
}

static bool is_registered(struct dk_memory *memory, const struct cma_region *region)
{
    const struct cma_region *other;

    list_for_each_entry (other, &memory->regions, link) {
        if (other == region)
            return true;
    }
    return false;
}

/* The current memory, its regions_lock taken, if @region is registered there; else NULL. */
static struct dk_memory *lock_memory_of(const struct cma_region *region, const char *call)
{
    struct dk_memory *memory = dk_current_for(call);

    if (!memory || !region)
        return NULL;
    pthread_mutex_lock(&memory->regions_lock);
    if (is_registered(memory, region))
        return memory;
    pthread_mutex_unlock(&memory->regions_lock);
    return NULL;
}

int cma_region_register(struct cma_region *region)
{
    struct dk_memory *memory = dk_current_for("cma_region_register");
    struct cma *area;
    int error = -EBUSY;

    if (!region || !memory)
        return -EINVAL;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "cma_region_register");
    pthread_mutex_lock(&memory->regions_lock);
    if (is_registered(memory, region) ||
        (region->name && (find_region(memory, region->name, strlen(region->name)) ||
                          dk_cma_find(memory, region->name, strlen(region->name)))))
        goto unlock;
    area = dk_cma_declare_in(memory, region->start, region->size, 0, region->alignment, 0, region->start != 0,
                             region->name ? region->name : "private");
    error = PTR_ERR_OR_ZERO(area);
    if (error)
        goto unlock;
    region->start = cma_get_base(area);
    region->area = area;
    region->allocator = NULL;
    list_add_tail(&region->link, &memory->regions);

unlock:
    pthread_mutex_unlock(&memory->regions_lock);
    return error;
}

int cma_region_unregister(struct cma_region *region)
{
    struct dk_memory *memory = lock_memory_of(region, "cma_region_unregister");
    int error = 0;

    if (!memory)
        return -EINVAL;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "cma_region_unregister");
    if (dk_cma_free_pages(region->area) << PAGE_SHIFT != region->size) {
        error = -EBUSY;
    } else {
        if (region->allocator && region->allocator->cleanup)
            region->allocator->cleanup(region);
        list_del(&region->link);
        dk_cma_undeclare(region->area);
        region->area = NULL;
    }
    pthread_mutex_unlock(&memory->regions_lock);
    return error;
}

/* ---- Allocation ---- */

/* What @region's allocator chooses; its choice is taken only where it is free. */
static dma_addr_t take_chosen(struct cma_region *region, u64 size, u64 alignment)
{
    const struct cma_allocator *allocator = region->allocator;
    phys_addr_t start = 0;
    int error = allocator->alloc(region, size, alignment, &start);

    if (error)
        return error_address(error);
    if (!(start & (alignment - 1)) && dk_cma_take_at(region->area, start >> PAGE_SHIFT, size >> PAGE_SHIFT))
        return start;
    dk_log(DK_LOG_WARNING,
           "cma_alloc_from: allocator %s chose 0x%llx for 0x%llx bytes of %s, which is not free",
           allocator->name, start, size, cma_get_name(region->area));
    return error_address(-EFAULT);
}

/* From an area, of whose regions @region, or NULL, is one. */
static dma_addr_t take_from(struct dk_memory *memory, struct cma *area, struct cma_region *region,
                            size_t size, u64 alignment)
{
    u64 bytes = ((u64)size + PAGE_SIZE - 1) & DK_PHYS_MASK;
    dma_addr_t start;
    struct page *page;
    int error;

    if (alignment < PAGE_SIZE && !(alignment & (alignment - 1)))
        alignment = PAGE_SIZE;
    if (!bytes || bytes < size || (alignment & (alignment - 1)))
        return error_address(-EINVAL);
    error = region ? attach(memory, region) : 0;
    if (error)
        return error_address(error);
    if (!region || !region->allocator) {
        page = cma_alloc(area, (unsigned long)(bytes >> PAGE_SHIFT),
                         (unsigned)__builtin_ctzll(alignment) - PAGE_SHIFT, true);
        return page ? page_to_phys(page) : error_address(-ENOMEM);
    }
    dk_might_sleep_gfp(memory, GFP_KERNEL, "cma_alloc_from");
    start = take_chosen(region, bytes, alignment);
    if (!IS_ERR_VALUE(start))
        dk_memory_taken(memory, start, bytes);
    return start;
}

dma_addr_t cma_alloc_from_region(struct cma_region *region, size_t size, dma_addr_t alignment)
{
    struct dk_memory *memory = lock_memory_of(region, "cma_alloc_from_region");
    dma_addr_t start;

    if (!memory)
        return error_address(-EINVAL);
    start = take_from(memory, region->area, region, size, alignment);
    pthread_mutex_unlock(&memory->regions_lock);
    return start;
}

dma_addr_t cma_alloc_from(const char *regions, size_t size, dma_addr_t alignment)
{
    struct dk_memory *memory = dk_current_for("cma_alloc_from");
    dma_addr_t start;

    if (!memory || !regions)
        return error_address(-EINVAL);
    pthread_mutex_lock(&memory->regions_lock);
    for (;;) {
        size_t length = strcspn(regions, ",");
        struct cma_region *region = find_region(memory, regions, length);
        struct cma *area = region ? region->area : dk_cma_find(memory, regions, length);

        start = area ? take_from(memory, area, region, size, alignment) : error_address(-ENOENT);
        if (!area || !IS_ERR_VALUE(start) || !regions[length])
            break;
        regions += length + 1;
    }
    pthread_mutex_unlock(&memory->regions_lock);
    return start;
}

int cma_free(dma_addr_t address)
{
    struct dk_memory *memory = dk_current_for("cma_free");
    struct cma_region *region;
    struct page *page;
    struct cma *area;
    u32 pages;

    if (!memory)
        return -EINVAL;
    page = address & (PAGE_SIZE - 1) ? NULL : dk_page_mapped(memory, address >> PAGE_SHIFT);
    area = page && dk_page_flags(page) == (DK_PAGE_USED | DK_PAGE_CMA) ? dk_cma_of(memory, page) : NULL;
    if (!area)
        return -ENOENT;
    pthread_mutex_lock(&memory->regions_lock);
    pages = dk_page_run(page);
    cma_release(area, page, pages);
    list_for_each_entry (region, &memory->regions, link) {
        if (region->area == area && region->allocator)
            region->allocator->free(region, address, (u64)pages << PAGE_SHIFT);
    }
    pthread_mutex_unlock(&memory->regions_lock);
    return 0;
}
