/* SPDX-License-Identifier: MIT */
/*
 * The DMA mapping API, with Linux's names, argument orders and return conventions
 * (Documentation/core-api/dma-api.rst, dma-api-howto.rst, dma-attributes.rst).
 *
 * Context, unless a call says otherwise: mapping, unmapping and syncing never sleep and may be called in any
 * context; allocating sleeps only with __GFP_DIRECT_RECLAIM; freeing and setting masks may sleep. A NULL
 * device is refused with a log line and the call's error.
 */
#ifndef DMAKIT_DMA_MAPPING_H
#define DMAKIT_DMA_MAPPING_H

#include <dmakit/device.h>
#include <dmakit/dma-direction.h>
#include <dmakit/scatterlist.h>
#include <dmakit/slot.h>
#include <dmakit/types.h>
#include <dmakit/vma.h>

DK_BEGIN_DECLS

/* What a failed mapping returns. Ask with dma_mapping_error(). */
#define DMA_MAPPING_ERROR (~(dma_addr_t)0)

/* Attributes of a mapping or allocation: bits for @attrs. */
#define DMA_ATTR_WEAK_ORDERING (1UL << 1)
#define DMA_ATTR_WRITE_COMBINE (1UL << 2)
#define DMA_ATTR_NON_CONSISTENT (1UL << 3) /* older kernels: the memory need not be coherent */
#define DMA_ATTR_NO_KERNEL_MAPPING (1UL << 4)
#define DMA_ATTR_SKIP_CPU_SYNC (1UL << 5)
#define DMA_ATTR_FORCE_CONTIGUOUS (1UL << 6)
#define DMA_ATTR_ALLOC_SINGLE_PAGES (1UL << 7)
#define DMA_ATTR_NO_WARN (1UL << 8)
#define DMA_ATTR_PRIVILEGED (1UL << 9)

#define DMA_BIT_MASK(n) (((n) == 64) ? ~0ULL : ((1ULL << (n)) - 1))

/*
 * ---- The calls' own ways ----
 *
 * Drivers call the inline forms below, whose contracts are these functions' too. The inline forms take the
 * short way where there is one, and keep the driver's frame on the stack.
 */
DK_PUBLIC dma_addr_t dk_map_single(struct device *dev, void *cpu, size_t size,
                                   enum dma_data_direction direction, unsigned long attrs);
DK_PUBLIC void dk_unmap_single(struct device *dev, dma_addr_t dma, size_t size,
                               enum dma_data_direction direction, unsigned long attrs);
DK_PUBLIC int dk_mapping_error(struct device *dev, dma_addr_t dma);
DK_PUBLIC dma_addr_t dk_map_page(struct device *dev, struct page *page, size_t offset, size_t size,
                                 enum dma_data_direction direction, unsigned long attrs);
DK_PUBLIC void dk_unmap_page(struct device *dev, dma_addr_t dma, size_t size,
                             enum dma_data_direction direction, unsigned long attrs);
DK_PUBLIC unsigned int dk_map_sg(struct device *dev, struct scatterlist *sg, int nents,
                                 enum dma_data_direction direction, unsigned long attrs);
DK_PUBLIC void dk_unmap_sg(struct device *dev, struct scatterlist *sg, int nents,
                           enum dma_data_direction direction, unsigned long attrs);
DK_PUBLIC int dk_map_sgtable(struct device *dev, struct sg_table *table, enum dma_data_direction direction,
                             unsigned long attrs);
DK_PUBLIC void dk_unmap_sgtable(struct device *dev, struct sg_table *table, enum dma_data_direction direction,
                                unsigned long attrs);
DK_PUBLIC dma_addr_t dk_map_resource(struct device *dev, phys_addr_t phys, size_t size,
                                     enum dma_data_direction direction, unsigned long attrs);
DK_PUBLIC void dk_unmap_resource(struct device *dev, dma_addr_t dma, size_t size,
                                 enum dma_data_direction direction, unsigned long attrs);
DK_PUBLIC void dk_sync_single_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
                                      enum dma_data_direction direction);
DK_PUBLIC void dk_sync_single_for_device(struct device *dev, dma_addr_t dma, size_t size,
                                         enum dma_data_direction direction);
DK_PUBLIC void dk_sync_single_range_for_cpu(struct device *dev, dma_addr_t dma, unsigned long offset,
                                            size_t size, enum dma_data_direction direction);
DK_PUBLIC void dk_sync_single_range_for_device(struct device *dev, dma_addr_t dma, unsigned long offset,
                                               size_t size, enum dma_data_direction direction);
DK_PUBLIC void dk_sync_sg_for_cpu(struct device *dev, struct scatterlist *sg, int nents,
                                  enum dma_data_direction direction);
DK_PUBLIC void dk_sync_sg_for_device(struct device *dev, struct scatterlist *sg, int nents,
                                     enum dma_data_direction direction);
DK_PUBLIC void *dk_alloc_attrs(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp,
                               unsigned long attrs);
DK_PUBLIC void dk_free_attrs(struct device *dev, size_t size, void *cpu, dma_addr_t dma, unsigned long attrs);
DK_PUBLIC struct page *dk_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
                                      enum dma_data_direction direction, gfp_t gfp);
DK_PUBLIC void dk_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                             enum dma_data_direction direction);
DK_PUBLIC void *dk_alloc_noncoherent(struct device *dev, size_t size, dma_addr_t *dma,
                                     enum dma_data_direction direction, gfp_t gfp);
DK_PUBLIC void dk_free_noncoherent(struct device *dev, size_t size, void *cpu, dma_addr_t dma,
                                   enum dma_data_direction direction);
DK_PUBLIC struct sg_table *dk_alloc_noncontiguous(struct device *dev, size_t size,
                                                  enum dma_data_direction direction, gfp_t gfp,
                                                  unsigned long attrs);
DK_PUBLIC void dk_free_noncontiguous(struct device *dev, size_t size, struct sg_table *table,
                                     enum dma_data_direction direction);
DK_PUBLIC void *dk_managed_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp,
                                 unsigned long attrs);
DK_PUBLIC void dk_managed_free(struct device *dev, size_t size, void *cpu, dma_addr_t dma);

/* ---- Masks and limits ---- */

/*
 * The DMA addresses @dev can put out, and those its coherent allocations may have: a mask of low bits. 0, or
 * -EIO when no usable memory lies under @mask on this machine (nothing changes then). Direct mapping takes
 * every mask of 32 bits and more.
 */
DK_PUBLIC int dma_set_mask(struct device *dev, u64 mask);
DK_PUBLIC int dma_set_coherent_mask(struct device *dev, u64 mask);
/* Both; the coherent mask only when the first succeeded. */
DK_PUBLIC int dma_set_mask_and_coherent(struct device *dev, u64 mask);
/* As dma_set_mask_and_coherent(), for a device whose mask pointer was not set. */
DK_PUBLIC int dma_coerce_mask_and_coherent(struct device *dev, u64 mask);
/* The streaming mask: 32 bits where none was set. 0 for a NULL device. */
DK_PUBLIC u64 dma_get_mask(struct device *dev);
/* 1 when dma_set_mask(@dev, @mask) would succeed, else 0. */
DK_PUBLIC int dma_supported(struct device *dev, u64 mask);
/* The smallest mask that reaches all of the machine's memory. */
DK_PUBLIC u64 dma_get_required_mask(struct device *dev);
/* Whether the mask or the bus keeps @dev from reaching all memory. */
DK_PUBLIC bool dma_addressing_limited(struct device *dev);
/* The longest mapping, and the longest that is still fast, in bytes. SIZE_MAX: no limit. */
DK_PUBLIC size_t dma_max_mapping_size(struct device *dev);
DK_PUBLIC size_t dma_opt_mapping_size(struct device *dev);
/* Whether syncs do anything for the mapping at @dma. */
DK_PUBLIC bool dma_need_sync(struct device *dev, dma_addr_t dma);
/* The boundary (a mask) at which the back end may merge segments; 0: it merges none. */
DK_PUBLIC unsigned long dma_get_merge_boundary(struct device *dev);
/* The alignment, in bytes, that keeps two buffers out of one cache line on the current machine; 1 when it is
 * coherent. */
DK_PUBLIC int dma_get_cache_alignment(void);

/* Limits that the driver sets. 0, or -EIO when @dev has no parameters (the first three); the setters never
 * sleep. */
DK_PUBLIC int dma_set_max_seg_size(struct device *dev, unsigned int size);
DK_PUBLIC int dma_set_seg_boundary(struct device *dev, unsigned long mask);
DK_PUBLIC int dma_set_min_align_mask(struct device *dev, unsigned int mask);
/* 64 KiB, 4 GiB - 1, and 0 where none was set. */
DK_PUBLIC unsigned int dma_get_max_seg_size(struct device *dev);
DK_PUBLIC unsigned long dma_get_seg_boundary(struct device *dev);
DK_PUBLIC unsigned int dma_get_min_align_mask(struct device *dev);

/* ---- Streaming mappings ---- */

/*
 * Whether a mapping needs no work: its address is then in *@dma. False: it needs some, or cannot be made.
 * Part of the inline forms.
 */
static inline bool dk_map_at_once(const struct device *dev, const void *cpu, size_t size,
                                  enum dma_data_direction direction, dma_addr_t *dma)
{
    const struct dk_slot *slot;
    size_t at;

    if (__builtin_expect(!dev || !dev->fast_memory, 0))
        return false;
    slot = dk_slot_find(cpu);
    if (__builtin_expect(!slot || slot->memory != dev->fast_memory, 0))
        return false;
    at = (size_t)((const char *)cpu - slot->start) - slot->linear_start;
    *dma = slot->phys + slot->linear_start + at;
    /* linear is 0 in a slot that is not the linear map; size - 1 wraps for a size of 0. Either fails the
     * first test. */
    return __builtin_expect(size - 1 < slot->linear && at <= slot->linear - size &&
                                *dma + (size - 1) <= dev->fast_limit && valid_dma_direction(direction),
                            1);
}

/*
 * Hands @size bytes at @cpu, a linear map address (kmalloc, alloc_pages), to @dev. Until unmapped or synced
 * for the CPU they are the device's. Returns the DMA address, or DMA_MAPPING_ERROR: the device cannot reach
 * the memory, the address is no machine memory (reported), @size is 0, or @direction is DMA_NONE.
 */
static inline dma_addr_t dma_map_single_attrs(struct device *dev, void *cpu, size_t size,
                                              enum dma_data_direction direction, unsigned long attrs)
{
    dma_addr_t dma;

    if (__builtin_expect(!dk_map_at_once(dev, cpu, size, direction, &dma), 0)) {
        dma = dk_map_single(dev, cpu, size, direction, attrs);
        DK_KEEP_FRAME();
    }
    return dma;
}

/* Takes back what dma_map_single_attrs() gave, with the same @size, @direction and @attrs. */
static inline void dma_unmap_single_attrs(struct device *dev, dma_addr_t dma, size_t size,
                                          enum dma_data_direction direction, unsigned long attrs)
{
    if (__builtin_expect(!dev || !dev->fast_memory, 0)) {
        dk_unmap_single(dev, dma, size, direction, attrs);
        DK_KEEP_FRAME();
    }
}

#define dma_map_single(d, a, s, r) dma_map_single_attrs(d, a, s, r, 0)
#define dma_unmap_single(d, a, s, r) dma_unmap_single_attrs(d, a, s, r, 0)

/* The same for @size bytes from byte @offset of @page, which may lack a kernel address and may be the first
 * of several. */
static inline dma_addr_t dma_map_page_attrs(struct device *dev, struct page *page, size_t offset, size_t size,
                                            enum dma_data_direction direction, unsigned long attrs)
{
    dma_addr_t result = dk_map_page(dev, page, offset, size, direction, attrs);

    DK_KEEP_FRAME();
    return result;
}
static inline void dma_unmap_page_attrs(struct device *dev, dma_addr_t dma, size_t size,
                                        enum dma_data_direction direction, unsigned long attrs)
{
    dk_unmap_page(dev, dma, size, direction, attrs);
    DK_KEEP_FRAME();
}
#define dma_map_page(d, p, o, s, r) dma_map_page_attrs(d, p, o, s, r, 0)
#define dma_unmap_page(d, a, s, r) dma_unmap_page_attrs(d, a, s, r, 0)

/* Whether @dma is DMA_MAPPING_ERROR: -ENOMEM, else 0. Every mapping is to be asked about before it is used.
 */
static inline int dma_mapping_error(struct device *dev, dma_addr_t dma)
{
    if (__builtin_expect(!dev || !dev->fast_memory, 0))
        return dk_mapping_error(dev, dma);
    return __builtin_expect(dma == DMA_MAPPING_ERROR, 0) ? -ENOMEM : 0;
}

/*
 * Maps a scatterlist of @nents entries. Returns the number of mapped segments (at most @nents; their
 * addresses and lengths stand in the first that many entries), or 0 on failure, with nothing mapped. Unmap
 * and sync take the original @nents.
 */
static inline unsigned int dma_map_sg_attrs(struct device *dev, struct scatterlist *sg, int nents,
                                            enum dma_data_direction direction, unsigned long attrs)
{
    unsigned int result = dk_map_sg(dev, sg, nents, direction, attrs);

    DK_KEEP_FRAME();
    return result;
}
static inline void dma_unmap_sg_attrs(struct device *dev, struct scatterlist *sg, int nents,
                                      enum dma_data_direction direction, unsigned long attrs)
{
    dk_unmap_sg(dev, sg, nents, direction, attrs);
    DK_KEEP_FRAME();
}
#define dma_map_sg(d, s, n, r) dma_map_sg_attrs(d, s, n, r, 0)
#define dma_unmap_sg(d, s, n, r) dma_unmap_sg_attrs(d, s, n, r, 0)

/*
 * Maps @table and sets its nents. 0; -EINVAL bad arguments, never retry; -ENOMEM no resources, a retry may
 * help; -EIO no reason known, or the device cannot reach the memory.
 */
static inline int dma_map_sgtable(struct device *dev, struct sg_table *table,
                                  enum dma_data_direction direction, unsigned long attrs)
{
    int result = dk_map_sgtable(dev, table, direction, attrs);

    DK_KEEP_FRAME();
    return result;
}
static inline void dma_unmap_sgtable(struct device *dev, struct sg_table *table,
                                     enum dma_data_direction direction, unsigned long attrs)
{
    dk_unmap_sgtable(dev, table, direction, attrs);
    DK_KEEP_FRAME();
}

/* Maps registers of another device at @phys for @dev to reach. DMA_MAPPING_ERROR for RAM (reported), or out
 * of reach. */
static inline dma_addr_t dma_map_resource(struct device *dev, phys_addr_t phys, size_t size,
                                          enum dma_data_direction direction, unsigned long attrs)
{
    dma_addr_t result = dk_map_resource(dev, phys, size, direction, attrs);

    DK_KEEP_FRAME();
    return result;
}
static inline void dma_unmap_resource(struct device *dev, dma_addr_t dma, size_t size,
                                      enum dma_data_direction direction, unsigned long attrs)
{
    dk_unmap_resource(dev, dma, size, direction, attrs);
    DK_KEEP_FRAME();
}

/*
 * Hands [@dma, @dma + @size), all or part of a live single or page mapping, to the CPU, or back to the
 * device. @direction is the mapping's, or one of the two halves of a bidirectional one.
 */
static inline void dma_sync_single_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
                                           enum dma_data_direction direction)
{
    dk_sync_single_for_cpu(dev, dma, size, direction);
    DK_KEEP_FRAME();
}
static inline void dma_sync_single_for_device(struct device *dev, dma_addr_t dma, size_t size,
                                              enum dma_data_direction direction)
{
    dk_sync_single_for_device(dev, dma, size, direction);
    DK_KEEP_FRAME();
}
/* The same for @size bytes from byte @offset of the mapping at @dma. */
static inline void dma_sync_single_range_for_cpu(struct device *dev, dma_addr_t dma, unsigned long offset,
                                                 size_t size, enum dma_data_direction direction)
{
    dk_sync_single_range_for_cpu(dev, dma, offset, size, direction);
    DK_KEEP_FRAME();
}
static inline void dma_sync_single_range_for_device(struct device *dev, dma_addr_t dma, unsigned long offset,
                                                    size_t size, enum dma_data_direction direction)
{
    dk_sync_single_range_for_device(dev, dma, offset, size, direction);
    DK_KEEP_FRAME();
}
/* The same for a mapped scatterlist, with the original @nents. */
static inline void dma_sync_sg_for_cpu(struct device *dev, struct scatterlist *sg, int nents,
                                       enum dma_data_direction direction)
{
    dk_sync_sg_for_cpu(dev, sg, nents, direction);
    DK_KEEP_FRAME();
}
static inline void dma_sync_sg_for_device(struct device *dev, struct scatterlist *sg, int nents,
                                          enum dma_data_direction direction)
{
    dk_sync_sg_for_device(dev, sg, nents, direction);
    DK_KEEP_FRAME();
}
static inline void dma_sync_sgtable_for_cpu(struct device *dev, struct sg_table *table,
                                            enum dma_data_direction direction)
{
    dma_sync_sg_for_cpu(dev, table->sgl, (int)table->orig_nents, direction);
}
static inline void dma_sync_sgtable_for_device(struct device *dev, struct sg_table *table,
                                               enum dma_data_direction direction)
{
    dma_sync_sg_for_device(dev, table->sgl, (int)table->orig_nents, direction);
}

/* ---- Allocations ---- */

/*
 * @size bytes that CPU and device see alike, zeroed, in whole pages. *@dma is their DMA address, under the
 * coherent mask. Zone flags in @gfp are dropped. From the device's own coherent pool if it has one, else from
 * a contiguous memory area or pages. NULL when there is no such memory. DMA_ATTR_NO_KERNEL_MAPPING: what is
 * returned is a cookie for free, mmap and get_sgtable, not an address.
 */
static inline void *dma_alloc_attrs(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp,
                                    unsigned long attrs)
{
    void *result = dk_alloc_attrs(dev, size, dma, gfp, attrs);

    DK_KEEP_FRAME();
    return result;
}
/* Frees it, with the same @size, @dma and @attrs. A NULL @cpu does nothing. May sleep. */
static inline void dma_free_attrs(struct device *dev, size_t size, void *cpu, dma_addr_t dma,
                                  unsigned long attrs)
{
    dk_free_attrs(dev, size, cpu, dma, attrs);
    DK_KEEP_FRAME();
}

static inline void *dma_alloc_coherent(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp)
{
    return dma_alloc_attrs(dev, size, dma, gfp, gfp & __GFP_NOWARN ? DMA_ATTR_NO_WARN : 0);
}
static inline void dma_free_coherent(struct device *dev, size_t size, void *cpu, dma_addr_t dma)
{
    dma_free_attrs(dev, size, cpu, dma, 0);
}
#define dma_zalloc_coherent(d, s, h, g) dma_alloc_coherent(d, s, h, g)
static inline void *dma_alloc_wc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp)
{
    return dma_alloc_attrs(dev, size, dma, gfp,
                           DMA_ATTR_WRITE_COMBINE | (gfp & __GFP_NOWARN ? DMA_ATTR_NO_WARN : 0));
}
static inline void dma_free_wc(struct device *dev, size_t size, void *cpu, dma_addr_t dma)
{
    dma_free_attrs(dev, size, cpu, dma, DMA_ATTR_WRITE_COMBINE);
}
#define dma_alloc_writecombine dma_alloc_wc
#define dma_free_writecombine dma_free_wc

/*
 * Pages that @dev can reach, for use in @direction with syncs, zeroed. Refuses (NULL) zone flags and
 * __GFP_COMP.
 */
static inline struct page *dma_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
                                           enum dma_data_direction direction, gfp_t gfp)
{
    struct page *result = dk_alloc_pages(dev, size, dma, direction, gfp);

    DK_KEEP_FRAME();
    return result;
}
static inline void dma_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                                  enum dma_data_direction direction)
{
    dk_free_pages(dev, size, page, dma, direction);
    DK_KEEP_FRAME();
}
/* The same by kernel address. */
static inline void *dma_alloc_noncoherent(struct device *dev, size_t size, dma_addr_t *dma,
                                          enum dma_data_direction direction, gfp_t gfp)
{
    void *result = dk_alloc_noncoherent(dev, size, dma, direction, gfp);

    DK_KEEP_FRAME();
    return result;
}
static inline void dma_free_noncoherent(struct device *dev, size_t size, void *cpu, dma_addr_t dma,
                                        enum dma_data_direction direction)
{
    dk_free_noncoherent(dev, size, cpu, dma, direction);
    DK_KEEP_FRAME();
}

/* Freed when @dev is removed; newest first. */
static inline void *dmam_alloc_attrs(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp,
                                     unsigned long attrs)
{
    void *result = dk_managed_alloc(dev, size, dma, gfp, attrs);

    DK_KEEP_FRAME();
    return result;
}
static inline void dmam_free_coherent(struct device *dev, size_t size, void *cpu, dma_addr_t dma)
{
    dk_managed_free(dev, size, cpu, dma);
    DK_KEEP_FRAME();
}
static inline void *dmam_alloc_coherent(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp)
{
    return dmam_alloc_attrs(dev, size, dma, gfp, gfp & __GFP_NOWARN ? DMA_ATTR_NO_WARN : 0);
}

/*
 * @size bytes, zeroed, in pieces anywhere in memory where an IOMMU makes them one to the device, else in one
 * piece; for use in
 * @direction with dma_sync_sgtable_*(). The table's one mapped segment has the DMA address and the length;
 * its entries are the pages. Of @attrs DMA_ATTR_ALLOC_SINGLE_PAGES (no large pages) and DMA_ATTR_NO_WARN
 * are taken. Behind an IOMMU the streaming mask bounds the address, elsewhere the coherent one. NULL: no
 * memory, no addresses, or bad arguments (zone flags, __GFP_COMP, other attributes). Freed with
 * dma_free_noncontiguous() alone. (Documentation/core-api/dma-api.rst, Part II.)
 */
static inline struct sg_table *dma_alloc_noncontiguous(struct device *dev, size_t size,
                                                       enum dma_data_direction direction, gfp_t gfp,
                                                       unsigned long attrs)
{
    struct sg_table *result = dk_alloc_noncontiguous(dev, size, direction, gfp, attrs);

    DK_KEEP_FRAME();
    return result;
}
/* Frees it, with the same @size and @direction. NULL is fine. May sleep. */
static inline void dma_free_noncontiguous(struct device *dev, size_t size, struct sg_table *table,
                                          enum dma_data_direction direction)
{
    dk_free_noncontiguous(dev, size, table, direction);
    DK_KEEP_FRAME();
}
/* One kernel address for all of its pages; NULL when address space or memory ran out. May sleep. */
DK_PUBLIC void *dma_vmap_noncontiguous(struct device *dev, size_t size, struct sg_table *table);
/* Takes the address away; before the table is freed. One that is left then is reported (freed-while-mapped),
 * and goes. */
DK_PUBLIC void dma_vunmap_noncontiguous(struct device *dev, void *cpu);
/* Shows the pages at @vma, from its vm_pgoff on. 0; -ENXIO past the end; -EINVAL an unaligned vma; -ENOMEM.
 * May sleep. */
DK_PUBLIC int dma_mmap_noncontiguous(struct device *dev, struct vm_area_struct *vma, size_t size,
                                     struct sg_table *table);

/*
 * Shows an allocation of dma_alloc_attrs() at @vma: its pages from vm_pgoff on. 0; -ENXIO when the vma
 * reaches past the allocation or the back end cannot do it; -EINVAL an unaligned vma; -ENOMEM. May sleep.
 */
DK_PUBLIC int dma_mmap_attrs(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma,
                             size_t size, unsigned long attrs);
static inline int dma_mmap_coherent(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma,
                                    size_t size)
{
    return dma_mmap_attrs(dev, vma, cpu, dma, size, 0);
}
static inline int dma_mmap_wc(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma,
                              size_t size)
{
    return dma_mmap_attrs(dev, vma, cpu, dma, size, DMA_ATTR_WRITE_COMBINE);
}
/* For dma_alloc_pages(). */
DK_PUBLIC int dma_mmap_pages(struct device *dev, struct vm_area_struct *vma, size_t size, struct page *page);
/* Whether dma_mmap_attrs() can work for @dev. */
DK_PUBLIC bool dma_can_mmap(struct device *dev);
/* A table of the pages behind an allocation. 0; -ENXIO when it has none (a pool outside RAM); -ENOMEM. Freed
 * with sg_free_table(). */
DK_PUBLIC int dma_get_sgtable_attrs(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t dma,
                                    size_t size, unsigned long attrs);
#define dma_get_sgtable(d, t, v, h, s) dma_get_sgtable_attrs(d, t, v, h, s, 0)

/* ---- Addresses first, memory later ---- */

/* A range of an IOMMU's addresses, which a driver fills piece by piece. The fields are the library's; zeroed
 * means none. */
struct dma_iova_state {
    dma_addr_t addr; /* of the first byte */
    u64 __size;      /* bytes; 0: dma_iova_try_alloc() was not called, or said no */
};

/* Whether @state has a range, so that the calls below are to be used and not dma_map_page(). */
static inline bool dma_use_iova(const struct dma_iova_state *state)
{
    return state->__size != 0;
}

/*
 * Takes @size bytes of addresses for @dev, whose first byte will lie in its page as @phys does (0: at the
 * start of one). False: the device has no IOMMU, there are no addresses below its mask, no memory, or @size
 * is 0: map the pieces one by one. Never sleeps. (Documentation/core-api/dma-api.rst, "Part Ie - IOVA-based
 * DMA mappings".)
 */
DK_PUBLIC bool dk_iova_try_alloc(struct device *dev, struct dma_iova_state *state, phys_addr_t phys,
                                 size_t size);
static inline bool dma_iova_try_alloc(struct device *dev, struct dma_iova_state *state, phys_addr_t phys,
                                      size_t size)
{
    bool result = dk_iova_try_alloc(dev, state, phys, size);

    DK_KEEP_FRAME();
    return result;
}
/*
 * Puts the @size bytes of memory at @phys to byte @offset of the range. 0; -EINVAL outside the range, no RAM,
 * or a place in its page that differs from @phys's; -EEXIST something is linked there; -ENOMEM. What is
 * linked is for the device to reach after dma_iova_sync() of it. Never sleeps.
 */
DK_PUBLIC int dma_iova_link(struct device *dev, struct dma_iova_state *state, phys_addr_t phys, size_t offset,
                            size_t size, enum dma_data_direction direction, unsigned long attrs);
/* Makes what was linked of [@offset, + @size) known to the IOMMU. 0, or -EINVAL outside the range. */
DK_PUBLIC int dma_iova_sync(struct device *dev, struct dma_iova_state *state, size_t offset, size_t size);
/* Takes [@offset, + @size) out of the range; the addresses stay taken. Never sleeps. */
DK_PUBLIC void dma_iova_unlink(struct device *dev, struct dma_iova_state *state, size_t offset, size_t size,
                               enum dma_data_direction direction, unsigned long attrs);
/* Unlinks the first @mapped_len bytes and gives the range back; @state is zeroed. What is linked behind them
 * is reported (freed-while-mapped), and unlinked. A range that is none any more, as a copy of its state may
 * say, is not given back again. */
DK_PUBLIC void dma_iova_destroy(struct device *dev, struct dma_iova_state *state, size_t mapped_len,
                                enum dma_data_direction direction, unsigned long attrs);
/* The same for a range in which nothing is linked. */
DK_PUBLIC void dma_iova_free(struct device *dev, struct dma_iova_state *state);

/* ---- A device's own coherent memory ---- */

/*
 * Gives @dev a pool of its own: @size bytes at @phys, which it sees at @device_address; memory on the device
 * itself, not part of RAM, is fine. Its coherent allocations come from there first. 0; -EBUSY it has one;
 * -EINVAL a size of 0, unaligned or wrapping; -ENOMEM. May sleep.
 */
DK_PUBLIC int dma_declare_coherent_memory(struct device *dev, phys_addr_t phys, dma_addr_t device_address,
                                          size_t size);
/* Takes the pool back. What is allocated from it stays readable until the device goes. */
DK_PUBLIC void dma_release_coherent_memory(struct device *dev);
/*
 * Takes [@device_address, + @size) of the pool out of use; returns its kernel address. Error pointers:
 * -EINVAL no pool, or outside it; -EBUSY part of it is in use; -ENOMEM.
 */
DK_PUBLIC void *dma_mark_declared_memory_occupied(struct device *dev, dma_addr_t device_address, size_t size);

/* ---- Older names ---- */

/* Whether memory of dma_alloc_noncoherent() is coherent for @dev anyway. */
DK_PUBLIC int dma_is_consistent(struct device *dev, dma_addr_t dma);
/* Makes part of a dma_alloc_noncoherent() buffer consistent, in @direction. */
DK_PUBLIC void dma_cache_sync(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction);

/* State for unmapping, where the platform needs it: always here. */
#define DEFINE_DMA_UNMAP_ADDR(name) dma_addr_t name
#define DEFINE_DMA_UNMAP_LEN(name) u32 name
#define dma_unmap_addr(pointer, name) ((pointer)->name)
#define dma_unmap_addr_set(pointer, name, value) ((pointer)->name = (value))
#define dma_unmap_len(pointer, name) ((pointer)->name)
#define dma_unmap_len_set(pointer, name, value) ((pointer)->name = (value))

DK_END_DECLS

#endif
