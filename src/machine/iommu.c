/* SPDX-License-Identifier: MIT */
#include "machine/iommu.h"

#include "base/alloc.h"

#define RIGHTS (DK_IOMMU_READ | DK_IOMMU_WRITE | DK_IOMMU_STALE)

struct dk_iommu_domain *dk_iommu_domain_create(struct dk_machine *machine)
{
    struct dk_iommu_domain *domain = dk_allocate(1, sizeof(*domain));

    (void)machine;
    if (!domain)
        return NULL;
    dk_iommu_tables_start(&domain->tables);
    dk_grace_start(&domain->accesses, false);
    return domain;
}

void dk_iommu_domain_destroy(struct dk_iommu_domain *domain)
{
    if (!domain)
        return;
    dk_grace_finish(&domain->accesses);
    dk_iommu_tables_finish(&domain->tables);
    dk_release(domain);
}

static bool is_range(dma_addr_t iova, u64 size)
{
    const u64 end = 1ull << DK_IOMMU_BITS;

    return size && !((iova | size) & ~PAGE_MASK) && size <= end && iova <= end - size;
}

int dk_iommu_map(struct dk_iommu_domain *domain, dma_addr_t iova, phys_addr_t phys, u64 size, unsigned prot)
{
    if (!is_range(iova, size) || (phys & ~PAGE_MASK) || phys + (size - 1) < phys || (prot & ~RIGHTS))
        return -EINVAL;
    if (dk_iommu_tables_any(&domain->tables, iova, size))
        return -EEXIST;
    return dk_iommu_tables_map(&domain->tables, iova, phys, size, prot | DK_IOMMU_PRESENT);
}

u64 dk_iommu_unmap(struct dk_iommu_domain *domain, dma_addr_t iova, u64 size)
{
    u64 unmapped;

    if (!is_range(iova, size))
        return 0;
    unmapped = dk_iommu_tables_unmap(&domain->tables, iova, size);
    dk_grace_check(&domain->accesses);
    return unmapped;
}

void dk_iommu_mark_stale(struct dk_iommu_domain *domain, dma_addr_t iova, u64 size)
{
    dk_iommu_tables_mark(&domain->tables, iova, size, DK_IOMMU_STALE);
}

bool dk_iommu_find(struct dk_iommu_domain *domain, dma_addr_t iova, u64 length, phys_addr_t *phys, u64 *run,
                   unsigned *prot)
{
    phys_addr_t leads;
    u64 follow, entry;

    if (iova >> DK_IOMMU_BITS)
        return false;
    if (length > (1ull << DK_IOMMU_BITS) - iova)
        length = (1ull << DK_IOMMU_BITS) - iova;
    entry = dk_iommu_tables_find(&domain->tables, iova, length, &leads, &follow);
    if (!entry)
        return false;
    if (phys)
        *phys = leads;
    if (run)
        *run = follow;
    if (prot)
        *prot = entry & RIGHTS;
    return true;
}

void dk_iommu_attach(struct device *dev, struct dk_iommu_domain *domain)
{
    struct dk_device *dk = dev->dk;

    __atomic_store_n(&dk->iommu, domain, __ATOMIC_SEQ_CST);
    __atomic_store_n(&dk->translated, true, __ATOMIC_RELEASE);
    dk_grace_check(&dk->attachment);
}
