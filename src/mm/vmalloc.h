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
    DK_AREA_MOVABLE, /* movable.c's */
};

/* Shows @count pages (at least one) in a new area. NULL: out of memory, address space or mappings. Takes the
 * area lock. */
void *dk_vmalloc_map(struct dk_memory *memory, struct page **pages, size_t count, enum dk_area_kind kind,
                     bool uncached);
/* Takes away the area of @kind that starts at @address, and frees its pages if they are its own. False: there
 * is none. */
bool dk_vmalloc_unmap(const void *address, enum dk_area_kind kind);
/* Shows @page at @address, a page of an area, in place of the one before, which holds the same. 0, or -ENOMEM
 * with nothing changed. Takes the area lock. */
int dk_vmalloc_replace(struct dk_memory *memory, char *address, struct page *page);
/* The address of the newest kmap() of @page, or NULL. */
const void *dk_vmalloc_find_kmap(struct dk_memory *memory, const struct page *page);

#endif
