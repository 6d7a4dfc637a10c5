/* SPDX-License-Identifier: MIT */
/*
 * A piece of a program's address space, as a driver's mmap operation receives it.
 */
#ifndef DMAKIT_VMA_H
#define DMAKIT_VMA_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

typedef struct {
    unsigned long pgprot;
} pgprot_t;

#define VM_READ 0x1ul
#define VM_WRITE 0x2ul
#define VM_SHARED 0x8ul
#define VM_IO 0x4000ul
#define VM_DONTEXPAND 0x40000ul
#define VM_PFNMAP 0x400ul
#define VM_DONTDUMP 0x4000000ul

struct file;
struct mm_struct;

/*
 * [vm_start, vm_end) are addresses of this process that the caller holds (mmap with PROT_NONE will do);
 * mapping puts the machine's pages there. They stay until the caller unmaps them with munmap(); the pages
 * they show must outlive that.
 */
struct vm_area_struct {
    unsigned long vm_start; /* page-aligned */
    unsigned long vm_end;
    unsigned long vm_pgoff; /* pages into the object */
    unsigned long vm_flags;
    pgprot_t vm_page_prot;
    struct mm_struct *vm_mm;
    struct file *vm_file;
    void *vm_private_data;
};

/* Bits of pgprot_t: the CPU's cached view unless one of these is set. */
#define DK_PGPROT_UNCACHED 0x1ul
#define DK_PGPROT_WRITECOMBINE 0x2ul

static inline pgprot_t pgprot_noncached(pgprot_t protection)
{
    protection.pgprot |= DK_PGPROT_UNCACHED;
    return protection;
}

static inline pgprot_t pgprot_writecombine(pgprot_t protection)
{
    protection.pgprot |= DK_PGPROT_WRITECOMBINE;
    return protection;
}

#define pgprot_dmacoherent(protection) pgprot_writecombine(protection)

static inline unsigned long vma_pages(const struct vm_area_struct *vma)
{
    return (vma->vm_end - vma->vm_start) >> PAGE_SHIFT;
}

/*
 * Shows the @size bytes of memory from page frame @pfn of the current machine at @address inside @vma, cached
 * or not as @protection says. Cached coherent memory of a device that does not snoop is reported. 0; -EINVAL
 * unaligned or outside @vma, or no RAM there; -ENODEV no current machine; -ENOMEM. May sleep.
 */
DK_PUBLIC int remap_pfn_range(struct vm_area_struct *vma, unsigned long address, unsigned long pfn,
                              unsigned long size, pgprot_t protection);

DK_END_DECLS

#endif
