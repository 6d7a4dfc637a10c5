/* SPDX-License-Identifier: MIT */
/*
 * What an address is, and the ways between pages, physical and kernel addresses.
 */
#include "mm/private.h"

#define NO_PHYS ((phys_addr_t)-1)

/* Whether @offset lies in the section's longest piece of the linear map: the answer, nearly always, without
 * the map. */
static bool in_longest_piece(const struct dk_slot *cached, size_t offset)
{
    return offset - cached->linear_start < __atomic_load_n(&cached->linear, __ATOMIC_ACQUIRE);
}

/* Whether the page at @phys has a kernel address. */
static bool in_linear_map(const struct dk_memory *memory, phys_addr_t phys)
{
    const struct dk_ram *ram = dk_ram_find(memory, phys);

    return ram && !(ram->flags & (DK_RAM_NO_MAP | DK_RAM_HIGHMEM));
}

/* The physical address of the page that the struct page at @offset describes; NO_PHYS: there is none. */
static phys_addr_t described(const struct dk_slot *slot, size_t offset)
{
    size_t index = offset / sizeof(struct page);
    phys_addr_t phys = slot->phys + ((phys_addr_t)index << PAGE_SHIFT);

    if (index >= DK_SECTION_PAGES || offset % sizeof(struct page))
        return NO_PHYS;
    if (in_longest_piece(&slot->section->cached_slot, index << PAGE_SHIFT))
        return phys;
    return dk_ram_find(slot->memory, phys) ? phys : NO_PHYS;
}

enum dk_address_kind dk_address_find(const void *address, struct dk_memory **memory, phys_addr_t *phys)
{
    const struct dk_slot *slot = dk_slot_find(address);
    struct page *page;
    size_t offset;

    *memory = NULL;
    *phys = NO_PHYS;
    if (!slot)
        return DK_ADDRESS_HOST;
    *memory = slot->memory;
    offset = (size_t)((const char *)address - slot->start);
    switch (slot->kind) {
    case DK_SLOT_CACHED:
        *phys = slot->phys + offset;
        if (in_longest_piece(slot, offset))
            return DK_ADDRESS_LINEAR;
        return in_linear_map(slot->memory, *phys) ? DK_ADDRESS_LINEAR : DK_ADDRESS_HOLE;
    case DK_SLOT_UNCACHED:
        *phys = slot->phys + offset;
        return DK_ADDRESS_UNCACHED;
    case DK_SLOT_PAGES:
        *phys = described(slot, offset);
        return *phys == NO_PHYS ? DK_ADDRESS_HOLE : DK_ADDRESS_PAGES;
    case DK_SLOT_VMALLOC:
        page = dk_vmalloc_page(slot->memory, address);
        if (!page)
            return DK_ADDRESS_HOLE;
        *phys = page_to_phys(page) + offset_in_page(address);
        return DK_ADDRESS_VMALLOC;
    case DK_SLOT_REGISTERS:
        break;
    }
    return DK_ADDRESS_REGISTERS;
}

bool dk_page_find(const struct page *page, struct dk_memory **memory, u64 *pfn)
{
    const struct dk_slot *slot = dk_slot_find(page);
    phys_addr_t phys = slot && slot->kind == DK_SLOT_PAGES
                           ? described(slot, (size_t)((const char *)page - slot->start))
                           : NO_PHYS;

    if (phys == NO_PHYS)
        return false;
    *memory = slot->memory;
    *pfn = phys >> PAGE_SHIFT;
    return true;
}

phys_addr_t page_to_phys(const struct page *page)
{
    const struct dk_slot *slot = dk_slot_find(page);

    if (!slot || slot->kind != DK_SLOT_PAGES)
        return NO_PHYS;
    return described(slot, (size_t)((const char *)page - slot->start));
}

/* The struct page of RAM at @phys. */
static struct page *page_at(struct dk_memory *memory, phys_addr_t phys)
{
    return memory && dk_ram_find(memory, phys) ? dk_page_get(memory, phys >> PAGE_SHIFT) : NULL;
}

struct page *phys_to_page(phys_addr_t phys)
{
    return page_at(dk_memory_current(), phys);
}

bool pfn_valid(unsigned long pfn)
{
    struct dk_memory *memory = dk_memory_current();

    return memory && PFN_PHYS(pfn) >> PAGE_SHIFT == pfn && dk_ram_find(memory, PFN_PHYS(pfn));
}

void *page_address(const struct page *page)
{
    struct dk_memory *memory;
    phys_addr_t phys;
    u64 pfn;

    if (!dk_page_find(page, &memory, &pfn))
        return NULL;
    phys = (phys_addr_t)pfn << PAGE_SHIFT;
    return in_linear_map(memory, phys) ? dk_memory_cached(memory, phys) : NULL;
}

bool virt_addr_valid(const void *address)
{
    return virt_to_phys(address) != NO_PHYS;
}

phys_addr_t virt_to_phys(const volatile void *address)
{
    const char *at = (const char *)(uintptr_t)address;
    const struct dk_slot *slot = dk_slot_find(at);
    struct dk_memory *memory;
    phys_addr_t phys;

    if (!slot || slot->kind != DK_SLOT_CACHED)
        return NO_PHYS;
    return dk_address_find(at, &memory, &phys) == DK_ADDRESS_LINEAR ? phys : NO_PHYS;
}

struct page *virt_to_page(const void *address)
{
    phys_addr_t phys = virt_to_phys(address);

    return phys == NO_PHYS ? NULL : page_at(dk_slot_find(address)->memory, phys);
}

void *phys_to_virt(phys_addr_t phys)
{
    struct dk_memory *memory = dk_memory_current();

    return memory && in_linear_map(memory, phys) ? dk_memory_cached(memory, phys) : NULL;
}

bool PageHighMem(const struct page *page)
{
    struct dk_memory *memory;
    u64 pfn;

    return dk_page_find(page, &memory, &pfn) && !in_linear_map(memory, (phys_addr_t)pfn << PAGE_SHIFT);
}
