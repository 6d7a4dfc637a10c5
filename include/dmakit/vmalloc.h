/* SPDX-License-Identifier: MIT */
/*
 * Memory at consecutive addresses that is not consecutive in the machine: no device may be given such an
 * address.
 */
#ifndef DMAKIT_VMALLOC_H
#define DMAKIT_VMALLOC_H

#include <dmakit/gfp.h>
#include <dmakit/page.h>
#include <dmakit/types.h>
#include <dmakit/vma.h>

DK_BEGIN_DECLS

#define VM_ALLOC 0x2ul
#define VM_MAP 0x4ul

#ifndef PAGE_KERNEL
#define PAGE_KERNEL ((pgprot_t){ 0 })
#endif

/*
 * @size bytes, rounded up to pages, of the current machine. NULL: size 0, no memory or address space, or no
 * current machine. May sleep (GFP_KERNEL). Freed with vfree().
 */
DK_PUBLIC void *vmalloc(unsigned long size);
/* As vmalloc(), cleared. */
DK_PUBLIC void *vzalloc(unsigned long size);
/* @address: what vmalloc() returned; anything else is refused with a log line. NULL is fine. May sleep. */
DK_PUBLIC void vfree(const void *address);

/*
 * Shows @count pages at consecutive addresses, in the CPU's cached view unless @protection says otherwise;
 * @flags (VM_MAP) is not used. The pages stay the caller's. NULL: count 0, something that is no page or pages
 * of two machines, no address space, out of memory. May sleep. Undone with vunmap().
 */
DK_PUBLIC void *vmap(struct page **pages, unsigned int count, unsigned long flags, pgprot_t protection);
/* @address: what vmap() returned; anything else is refused with a log line. NULL is fine. May sleep. */
DK_PUBLIC void vunmap(const void *address);

/* Whether @address lies in any machine's vmalloc space, mapped or not. Any context; lock-free. */
DK_PUBLIC bool is_vmalloc_addr(const void *address);
/* The page behind a vmalloc() or vmap() address; NULL when there is none. */
DK_PUBLIC struct page *vmalloc_to_page(const void *address);
/* Its page frame number; 0 when there is none. */
DK_PUBLIC unsigned long vmalloc_to_pfn(const void *address);

DK_END_DECLS

#endif
