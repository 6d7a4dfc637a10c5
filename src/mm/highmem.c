/* SPDX-License-Identifier: MIT */
/*
 * Passing kernel addresses for pages that have none.
 */
#include "mm/vmalloc.h"

#include "base/log.h"

void *kmap_local_page(struct page *page)
{
    struct dk_memory *memory;
    void *address;
    u64 pfn;

    if (!dk_page_find(page, &memory, &pfn)) {
        dk_log(DK_LOG_WARNING, "kmap: %p is not a page", (void *)page);
        return NULL;
    }
    address = page_address(page);
    return address ? address : dk_vmalloc_map(memory, &page, 1, DK_AREA_KMAP, false);
}

void kunmap_local(const void *address)
{
    /* Other pages keep the address they always have. */
    if (!address || virt_addr_valid(address))
        return;
    if (!dk_vmalloc_unmap((const char *)address - offset_in_page(address), DK_AREA_KMAP))
        dk_log(DK_LOG_WARNING, "kunmap_local: %p is not what kmap_local_page() returned", address);
}

void kunmap(struct page *page)
{
    struct dk_memory *memory;
    const void *address;
    u64 pfn;

    if (!dk_page_find(page, &memory, &pfn)) {
        dk_log(DK_LOG_WARNING, "kunmap: %p is not a page", (void *)page);
        return;
    }
    if (page_address(page))
        return;
    address = dk_vmalloc_find_kmap(memory, page);
    if (!address || !dk_vmalloc_unmap(address, DK_AREA_KMAP))
        dk_log(DK_LOG_WARNING, "kunmap: the page at 0x%llx is not mapped", (phys_addr_t)pfn << PAGE_SHIFT);
}
