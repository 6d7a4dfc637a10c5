/* SPDX-License-Identifier: MIT */
/*
 * Showing the machine's memory at addresses that a program holds.
 */
#include "mapping/mapping.h"

static bool uncached_protection(pgprot_t protection)
{
    return protection.pgprot & (DK_PGPROT_UNCACHED | DK_PGPROT_WRITECOMBINE);
}

int dk_vma_show(struct dk_memory *memory, struct vm_area_struct *vma, phys_addr_t phys, u64 size,
                bool uncached)
{
    u64 pages = PFN_UP(size);

    if ((vma->vm_start | vma->vm_end) & (PAGE_SIZE - 1) || vma->vm_end <= vma->vm_start)
        return -EINVAL;
    if (vma->vm_pgoff >= pages || vma_pages(vma) > pages - vma->vm_pgoff)
        return -ENXIO;
    return dk_memory_show(memory, (void *)(uintptr_t)vma->vm_start, phys + PFN_PHYS(vma->vm_pgoff),
                          vma->vm_end - vma->vm_start, uncached);
}

int remap_pfn_range(struct vm_area_struct *vma, unsigned long address, unsigned long pfn, unsigned long size,
                    pgprot_t protection)
{
    struct dk_memory *memory = dk_memory_current();
    int error;

    if (!memory)
        return -ENODEV;
    if (!size || (address | size) & (PAGE_SIZE - 1) || address < vma->vm_start || address + size < address ||
        address + size > vma->vm_end)
        return -EINVAL;
    error = dk_memory_show(memory, (void *)(uintptr_t)address, PFN_PHYS(pfn), size,
                           uncached_protection(protection));
    if (!error && !uncached_protection(protection))
        dk_check_shown_cached(dk_memory_machine(memory), "remap_pfn_range", PFN_PHYS(pfn), size);
    return error;
}
