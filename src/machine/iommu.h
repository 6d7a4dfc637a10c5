/* SPDX-License-Identifier: MIT */
/*
 * An IOMMU's address spaces: page tables with leaves of 4 KiB, 2 MiB and 1 GiB, and the devices that
 * translate through them.
 *
 * Mapping and unmapping different ranges at once needs no lock. Strict: when dk_iommu_unmap() has returned,
 * no access of a device to memory reaches the range any more, not even one that another thread had begun.
 * (What a device sends to another's registers through the range may still be under way: the model there is
 * called outside of all this.) All of it in any context.
 */
#ifndef DK_MACHINE_IOMMU_H
#define DK_MACHINE_IOMMU_H

#include "machine/grace.h"
#include "machine/iommu-table.h"
#include "machine/machine.h"

#define DK_IOMMU_BITS 48

#define DK_IOMMU_READ 0x1u
#define DK_IOMMU_WRITE 0x2u
/* The range was unmapped, but a lazy IOMMU has not forgotten it yet: an access still passes, and is told to
 * the hooks. */
#define DK_IOMMU_STALE 0x4u

struct dk_iommu_domain {
    struct dk_iommu_tables tables;
    struct dk_grace accesses; /* those under way, from the walk to the last byte moved */
};

/* An empty space, in which every access faults. NULL: out of memory. */
struct dk_iommu_domain *dk_iommu_domain_create(struct dk_machine *machine);
/* No device is attached, no other thread inside. NULL is fine. */
void dk_iommu_domain_destroy(struct dk_iommu_domain *domain);

/*
 * Maps [iova, iova + size) to [phys, ...), all page-aligned, with the largest leaves that alignment allows.
 * @prot: the rights; with none every access there faults. 0; -EINVAL unaligned, empty, or above
 * DK_IOMMU_BITS; -EEXIST part of it is mapped; -ENOMEM; nothing changed then.
 */
int dk_iommu_map(struct dk_iommu_domain *domain, dma_addr_t iova, phys_addr_t phys, u64 size, unsigned prot);

/* The same where the caller knows that nothing is mapped there and that the arguments are right: -ENOMEM
 * alone is left. */
static inline int dk_iommu_map_fresh(struct dk_iommu_domain *domain, dma_addr_t iova, phys_addr_t phys,
                                     u64 size, unsigned prot);

/* Unmaps what is mapped of [iova, iova + size), splitting leaves that reach beyond it; returns the bytes
 * unmapped, fewer than were mapped only when a split found no memory. Waits for accesses under way. 0 too for
 * a range that dk_iommu_map() would refuse. */
u64 dk_iommu_unmap(struct dk_iommu_domain *domain, dma_addr_t iova, u64 size);
/* The same for a range that one or several dk_iommu_map_fresh() mapped whole, and that ends where they do:
 * cannot fail. */
static inline void dk_iommu_unmap_whole(struct dk_iommu_domain *domain, dma_addr_t iova, u64 size);
/* Marks a range that was mapped whole as DK_IOMMU_STALE. Waits for nobody. */
void dk_iommu_mark_stale(struct dk_iommu_domain *domain, dma_addr_t iova, u64 size);

/* Where @iova leads: false when nowhere. *run: bytes (at most @length) that follow contiguously with the same
 * rights. *prot: the rights, and DK_IOMMU_STALE. Each of the three may be NULL. */
bool dk_iommu_find(struct dk_iommu_domain *domain, dma_addr_t iova, u64 length, phys_addr_t *phys, u64 *run,
                   unsigned *prot);

/* @dev translates through @domain from now on; NULL: through no space, and every access faults. Waits for
 * accesses under way. A device that is not dk_device_translated() and was never attached goes straight to its
 * bus. */
void dk_iommu_attach(struct device *dev, struct dk_iommu_domain *domain);

static inline int dk_iommu_map_fresh(struct dk_iommu_domain *domain, dma_addr_t iova, phys_addr_t phys,
                                     u64 size, unsigned prot)
{
    struct dk_iommu_leaves *leaves = dk_iommu_recent(&domain->tables, iova, size);
    u64 first = phys | prot | DK_IOMMU_PRESENT;

    if (__builtin_expect(!leaves, 0))
        return dk_iommu_tables_map(&domain->tables, iova, phys, size, prot | DK_IOMMU_PRESENT);
    if (size == PAGE_SIZE)
        __atomic_store_n(dk_iommu_leaf(leaves, iova), first, DK_IOMMU_STORE_ORDER);
    else
        dk_iommu_fill(dk_iommu_leaf(leaves, iova), first, (unsigned)(size / PAGE_SIZE));
    return 0;
}

static inline void dk_iommu_unmap_whole(struct dk_iommu_domain *domain, dma_addr_t iova, u64 size)
{
    struct dk_iommu_leaves *leaves = dk_iommu_recent(&domain->tables, iova, size);

    if (__builtin_expect(!leaves, 0))
        dk_iommu_tables_unmap(&domain->tables, iova, size);
    else if (size == PAGE_SIZE)
        __atomic_store_n(dk_iommu_leaf(leaves, iova), 0, DK_IOMMU_STORE_ORDER);
    else
        dk_iommu_clear(dk_iommu_leaf(leaves, iova), (unsigned)(size / PAGE_SIZE));
    dk_grace_check(&domain->accesses);
}

#endif
