/* SPDX-License-Identifier: MIT */
/*
 * Areas of consecutive addresses that show scattered pages.
 */
#ifndef DK_MM_VMALLOC_H
#define DK_MM_VMALLOC_H

#include "mm/private.h"

enum dk_area_kind {
    DK_AREA_VMALLOC, /* its pages are its own */
    DK_AREA_VMAP,
    DK_AREA_KMAP,
};

/* Shows @count pages (at least one) in a new area. NULL: out of memory, address space or mappings. Takes the
 * area lock. */
void *dk_vmalloc_map(struct dk_memory *memory, struct page **pages, size_t count, enum dk_area_kind kind,
                     bool uncached);
/* Takes away the area of @kind that starts at @address, and frees its pages if they are its own. False: there
 * is none. */
bool dk_vmalloc_unmap(const void *address, enum dk_area_kind kind);
/* The address of the newest kmap() of @page, or NULL. */
const void *dk_vmalloc_find_kmap(struct dk_memory *memory, const struct page *page);

#endif
