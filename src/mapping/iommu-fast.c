/* SPDX-License-Identifier: MIT */
/*
 * The short way through a strict IOMMU, for single buffers where no cache and no checker has to be told: an
 * address out of this thread's magazine, and entries in a page table used of late. Functions that map one
 * page call nothing but at their end, so that they need no stack frame.
 */
#include "mapping/dispatch.h"
#include "mapping/iommu-dma.h"

/*
 * The short way of a mapping whose device's fast_space is set: @pages, at most DK_IOVA_CACHED_PAGES, from
 * page-aligned @phys on. DMA_MAPPING_ERROR, with nothing done: no address in this thread's magazine, or no
 * page table used of late. One of a page calls nothing, so that its caller needs no stack frame.
 */
static inline __attribute__((always_inline)) dma_addr_t
map_at_once(const struct device *dev, phys_addr_t phys, u64 pages, unsigned rights)
{
    struct dk_iommu_space *space = dev->dk->fast_space;
    dma_addr_t iova = dk_iova_take_here(space->iova, pages, dev->fast_limit);
    struct dk_iommu_leaves *leaves;

    if (__builtin_expect(iova == DMA_MAPPING_ERROR, 0))
        return DMA_MAPPING_ERROR;
    leaves = dk_iommu_recent(&space->domain->tables, iova, pages << PAGE_SHIFT);
    if (__builtin_expect(!leaves, 0)) {
        dk_iova_give_here(space->iova, iova, pages);
        return DMA_MAPPING_ERROR;
    }
    if (pages == 1)
        __atomic_store_n(dk_iommu_leaf(leaves, iova), phys | rights | DK_IOMMU_PRESENT, DK_IOMMU_STORE_ORDER);
    else
        dk_iommu_fill(dk_iommu_leaf(leaves, iova), phys | rights | DK_IOMMU_PRESENT, (unsigned)pages);
    return iova;
}

/* The entries of @pages from @iova on are empty after it, but accesses may be under way. False: the first or
 * the last is empty already, or they are in no table used of late, and nothing was done. */
static inline __attribute__((always_inline)) bool clear_at_once(const struct dk_iommu_space *space,
                                                                dma_addr_t iova, u64 pages)
{
    struct dk_iommu_leaves *leaves = dk_iommu_recent(&space->domain->tables, iova, pages << PAGE_SHIFT);
    u64 *first, *last;

    if (__builtin_expect(!leaves, 0))
        return false;
    first = dk_iommu_leaf(leaves, iova);
    last = first + (pages - 1);
    if (__builtin_expect(
            !__atomic_load_n(first, __ATOMIC_RELAXED) || !__atomic_load_n(last, __ATOMIC_RELAXED), 0))
        return false;
    if (pages == 1)
        __atomic_store_n(first, 0, DK_IOMMU_STORE_ORDER);
    else
        dk_iommu_clear(first, (unsigned)pages);
    return true;
}

static __attribute__((noinline)) dma_addr_t map_pages(struct device *dev, void *cpu, size_t size,
                                                      enum dma_data_direction direction, unsigned long attrs,
                                                      phys_addr_t phys)
{
    u64 offset = phys & (PAGE_SIZE - 1);
    u64 pages = (offset + size + (PAGE_SIZE - 1)) >> PAGE_SHIFT;
    dma_addr_t iova = DMA_MAPPING_ERROR;

    if (pages <= DK_IOVA_CACHED_PAGES)
        iova = map_at_once(dev, phys - offset, pages, dk_iommu_rights(direction));
    return iova == DMA_MAPPING_ERROR ? dk_map_single_long(dev, cpu, size, direction, attrs) : iova + offset;
}

dma_addr_t dk_iommu_map_single(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction,
                               unsigned long attrs)
{
    const struct dk_slot *slot = dk_slot_find(cpu);
    dma_addr_t iova;
    phys_addr_t phys;
    u64 at;

    if (!slot || slot->memory != dev->dk->fast_space->memory || !valid_dma_direction(direction))
        return dk_map_single_long(dev, cpu, size, direction, attrs);
    at = (u64)((const char *)cpu - slot->start) - slot->linear_start;
    if (size - 1 >= slot->linear || at > slot->linear - size)
        return dk_map_single_long(dev, cpu, size, direction, attrs);
    phys = slot->phys + slot->linear_start + at;
    if ((phys & (PAGE_SIZE - 1)) + size > PAGE_SIZE)
        return map_pages(dev, cpu, size, direction, attrs, phys);
    iova = map_at_once(dev, phys & ~((phys_addr_t)PAGE_SIZE - 1), 1, dk_iommu_rights(direction));
    if (__builtin_expect(iova == DMA_MAPPING_ERROR, 0))
        return dk_map_single_long(dev, cpu, size, direction, attrs);
    return iova + (phys & (PAGE_SIZE - 1));
}

/* Waits for the accesses that may still reach what was cleared, and gives the addresses back. */
static __attribute__((noinline)) void finish_unmapping(struct dk_iommu_space *space, dma_addr_t iova,
                                                       u64 pages)
{
    dk_grace_check(&space->domain->accesses);
    dk_iova_give(space->iova, iova, pages);
}

static __attribute__((noinline)) void unmap_pages(struct device *dev, dma_addr_t dma, size_t size,
                                                  enum dma_data_direction direction, unsigned long attrs)
{
    struct dk_iommu_space *space = dev->dk->fast_space;
    u64 offset = dma & (PAGE_SIZE - 1);
    u64 pages = (offset + size + (PAGE_SIZE - 1)) >> PAGE_SHIFT;

    if (size && pages <= DK_IOVA_CACHED_PAGES && clear_at_once(space, dma - offset, pages))
        finish_unmapping(space, dma - offset, pages);
    else
        dk_unmap_single_long(dev, dma, size, direction, attrs);
}

void dk_iommu_unmap_single(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                           unsigned long attrs)
{
    struct dk_iommu_space *space = dev->dk->fast_space;
    dma_addr_t iova = dma & ~((dma_addr_t)PAGE_SIZE - 1);

    if (size - 1 >= PAGE_SIZE - (dma & (PAGE_SIZE - 1)) || !clear_at_once(space, iova, 1))
        unmap_pages(dev, dma, size, direction, attrs);
    else if (__builtin_expect(dk_grace_busy(&space->domain->accesses), 0) ||
             __builtin_expect(!dk_iova_give_here(space->iova, iova, 1), 0))
        finish_unmapping(space, iova, 1);
}
