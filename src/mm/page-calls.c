/* SPDX-License-Identifier: MIT */
/*
 * Linux's calls for pages, of the current machine.
 */
#include "base/log.h"
#include "mm/private.h"

struct page *alloc_pages(gfp_t gfp, unsigned order)
{
    struct dk_memory *memory = dk_current_for("alloc_pages");

    dk_might_sleep_gfp(memory, gfp, "alloc_pages");
    return memory ? dk_pages_allocate(memory, gfp, order) : NULL;
}

unsigned long alloc_pages_bulk(gfp_t gfp, unsigned long count, struct page **pages)
{
    struct dk_memory *memory = dk_current_for("alloc_pages_bulk");
    unsigned long i;

    dk_might_sleep_gfp(memory, gfp, "alloc_pages_bulk");
    for (i = 0; memory && i < count; i++) {
        if (!pages[i])
            pages[i] = dk_pages_allocate(memory, gfp, 0);
        if (!pages[i])
            break;
    }
    return i;
}

/* Frees @count pages, and tells first that they go, if they do. */
static void give(struct dk_memory *memory, struct page *page, u64 pfn, size_t count, const char *call)
{
    if (__atomic_load_n(&page->count, __ATOMIC_RELAXED) == 1 && dk_page_run(page) == count)
        dk_memory_freed(memory, (phys_addr_t)pfn << PAGE_SHIFT, (u64)count << PAGE_SHIFT, call, NULL);
    dk_pages_give_found(memory, page, pfn, count, 0, call);
}

void __free_pages(struct page *page, unsigned order)
{
    struct dk_memory *memory;
    u64 pfn;

    if (!page)
        return;
    if (!dk_page_find(page, &memory, &pfn))
        dk_log(DK_LOG_WARNING, "__free_pages: %p is not a page", (void *)page);
    else if (order > MAX_PAGE_ORDER)
        dk_log(DK_LOG_WARNING, "__free_pages: order %u of the page at 0x%llx is too high", order,
               (phys_addr_t)pfn << PAGE_SHIFT);
    else
        give(memory, page, pfn, (size_t)1 << order, "__free_pages");
}

unsigned long __get_free_pages(gfp_t gfp, unsigned order)
{
    struct dk_memory *memory = dk_current_for("__get_free_pages");
    struct page *page;

    dk_might_sleep_gfp(memory, gfp, "__get_free_pages");
    page = memory ? dk_pages_allocate(memory, gfp & ~__GFP_HIGHMEM, order) : NULL;
    return page ? (unsigned long)(uintptr_t)page_address(page) : 0;
}

void free_pages(unsigned long address, unsigned order)
{
    struct page *page;

    if (!address)
        return;
    page = virt_to_page((const void *)(uintptr_t)address);
    if (!page || offset_in_page(address))
        dk_log(DK_LOG_WARNING, "free_pages: 0x%lx is not the address of a page", address);
    else
        __free_pages(page, order);
}

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
    struct dk_memory *memory = dk_current_for("alloc_pages_exact");
    unsigned order = get_order(size);
    struct page *page;

    dk_might_sleep_gfp(memory, gfp, "alloc_pages_exact");
    if (!memory || !size || order > MAX_PAGE_ORDER)
        return NULL;
    page = dk_pages_take_marked(memory, gfp & ~__GFP_HIGHMEM, PFN_UP(size), (size_t)1 << order, 0,
                                (phys_addr_t)-1, 0);
    return page ? page_address(page) : NULL;
}

void free_pages_exact(void *address, size_t size)
{
    struct dk_memory *memory;
    struct page *page;
    u64 pfn;

    if (!address)
        return;
    page = virt_to_page(address);
    if (!page || offset_in_page(address) || !dk_page_find(page, &memory, &pfn))
        dk_log(DK_LOG_WARNING, "free_pages_exact: %p is not the address of a page", address);
    else
        give(memory, page, pfn, PFN_UP(size), "free_pages_exact");
}
