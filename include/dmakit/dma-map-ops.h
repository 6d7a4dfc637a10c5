/* SPDX-License-Identifier: MIT */
/*
 * What a back end of the mapping API provides, and the machine-wide coherent pool.
 */
#ifndef DMAKIT_DMA_MAP_OPS_H
#define DMAKIT_DMA_MAP_OPS_H

#include <dmakit/cma.h>
#include <dmakit/dma-mapping.h>

DK_BEGIN_DECLS

/*
 * A back end. NULL entries answer with the call's error, or do nothing where nothing is an answer (syncs).
 * Arguments have been checked: sizes are not 0, directions valid, physical ranges RAM (map_resource: not
 * RAM). None may sleep but alloc, free, alloc_pages_op, free_pages, mmap and get_sgtable.
 */
struct dma_map_ops {
    void *(*alloc)(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp, unsigned long attrs);
    void (*free)(struct device *dev, size_t size, void *cpu, dma_addr_t dma, unsigned long attrs);
    struct page *(*alloc_pages_op)(struct device *dev, size_t size, dma_addr_t *dma,
                                   enum dma_data_direction direction, gfp_t gfp);
    void (*free_pages)(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                       enum dma_data_direction direction);
    /* A table of the pages with one mapped segment, or NULL. Without it dma_alloc_noncontiguous() is
     * contiguous. */
    struct sg_table *(*alloc_noncontiguous)(struct device *dev, size_t size,
                                            enum dma_data_direction direction, gfp_t gfp,
                                            unsigned long attrs);
    void (*free_noncontiguous)(struct device *dev, size_t size, struct sg_table *table,
                               enum dma_data_direction direction);
    int (*mmap)(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma, size_t size,
                unsigned long attrs);
    int (*get_sgtable)(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t dma, size_t size,
                       unsigned long attrs);
    dma_addr_t (*map_page)(struct device *dev, struct page *page, unsigned long offset, size_t size,
                           enum dma_data_direction direction, unsigned long attrs);
    void (*unmap_page)(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                       unsigned long attrs);
    /* The number of mapped segments, or -EINVAL, -ENOMEM, -EIO with nothing mapped. */
    int (*map_sg)(struct device *dev, struct scatterlist *sg, int nents, enum dma_data_direction direction,
                  unsigned long attrs);
    void (*unmap_sg)(struct device *dev, struct scatterlist *sg, int nents, enum dma_data_direction direction,
                     unsigned long attrs);
    dma_addr_t (*map_resource)(struct device *dev, phys_addr_t phys, size_t size,
                               enum dma_data_direction direction, unsigned long attrs);
    void (*unmap_resource)(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                           unsigned long attrs);
    void (*sync_single_for_cpu)(struct device *dev, dma_addr_t dma, size_t size,
                                enum dma_data_direction direction);
    void (*sync_single_for_device)(struct device *dev, dma_addr_t dma, size_t size,
                                   enum dma_data_direction direction);
    void (*sync_sg_for_cpu)(struct device *dev, struct scatterlist *sg, int nents,
                            enum dma_data_direction direction);
    void (*sync_sg_for_device)(struct device *dev, struct scatterlist *sg, int nents,
                               enum dma_data_direction direction);
    void (*cache_sync)(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction);
    int (*dma_supported)(struct device *dev, u64 mask);
    u64 (*get_required_mask)(struct device *dev);
    size_t (*max_mapping_size)(struct device *dev);
    size_t (*opt_mapping_size)(void);
    unsigned long (*get_merge_boundary)(struct device *dev);
};

/* The back end of @dev. */
static inline const struct dma_map_ops *get_dma_ops(struct device *dev)
{
    return dev->dma_ops;
}

/* Gives @dev another back end. Nothing of it may be mapped. Never sleeps. */
DK_PUBLIC void set_dma_ops(struct device *dev, const struct dma_map_ops *ops);

/* Whether @dev snoops the CPU's caches. */
static inline bool dev_is_dma_coherent(struct device *dev)
{
    return dev->dma_coherent;
}

/*
 * The machine-wide coherent pool (linux,dma-default in the board). Its own interface: devices without a pool
 * of their own are served from it by the direct back end where the CPU cannot make ordinary memory coherent.
 * A NULL @dev is served too, from the current machine's.
 *
 * dma_alloc_from_global_coherent() returns zeroed memory in a power of two of pages and its DMA address (as
 * @dev sees it; the physical address for NULL), or NULL: no pool, or full.
 */
DK_PUBLIC void *dma_alloc_from_global_coherent(struct device *dev, ssize_t size, dma_addr_t *dma);
/* 1 when @cpu was the pool's and is free now, else 0. */
DK_PUBLIC int dma_release_from_global_coherent(int order, void *cpu);
/* 1 when @cpu is the pool's, with *@result as dma_mmap_attrs() returns it; else 0. */
DK_PUBLIC int dma_mmap_from_global_coherent(struct vm_area_struct *vma, void *cpu, size_t size, int *result);
/* Makes [@phys, + @size) of the current machine its default pool. A second one is reported in the log and
 * takes over. 0, -EINVAL, -ENOMEM, -ENODEV. */
DK_PUBLIC int dma_init_global_coherent(phys_addr_t phys, size_t size);

/* ---- Contiguous memory areas (cma.h) of devices ---------------------------------------------------------
 */

/*
 * The area that serves @dev first: its own, else the first one of its cma_map= rule (docs/contiguous.md),
 * else the machine's default one. NULL @dev: the current machine's default one. NULL: there is none.
 */
DK_PUBLIC struct cma *dev_get_cma_area(struct device *dev);
/* Makes @cma @dev's own area; NULL: it has none any more. An area of another machine is refused with a log
 * line. What was allocated before goes back where it came from. */
DK_PUBLIC void dev_set_cma_area(struct device *dev, struct cma *cma);

/*
 * @count pages for @dev aligned to 1 << @order, but to no more than 256 pages (CONFIG_CMA_ALIGNMENT), from
 * its own area, else from those of its rule in turn, else from the default one. NULL: there are none. NULL
 * @dev: from the current machine's default one. May sleep.
 */
DK_PUBLIC struct page *dma_alloc_from_contiguous(struct device *dev, size_t count, unsigned int order,
                                                 bool no_warn);
/* Gives back what dma_alloc_from_contiguous() gave. False, and nothing happens: @pages NULL, @count not
 * positive, or none of @dev's areas has them; otherwise as cma_release(). */
DK_PUBLIC bool dma_release_from_contiguous(struct device *dev, struct page *pages, int count);

/*
 * Pages for @size bytes from @dev's areas, aligned to their size up to 1 MiB. NULL: there are none, @size is
 * 0,
 * @gfp must not sleep, or a single page would come from the default area: the caller takes pages from the
 * page allocator then. Freed with dma_free_contiguous().
 */
DK_PUBLIC struct page *dma_alloc_contiguous(struct device *dev, size_t size, gfp_t gfp);
/* Gives pages back to the area or the page allocator that they came from. NULL @page is fine. */
DK_PUBLIC void dma_free_contiguous(struct device *dev, struct page *page, size_t size);

/* cma_declare_contiguous() with units of a page, an area called "reserved". */
DK_PUBLIC int dma_contiguous_reserve_area(phys_addr_t size, phys_addr_t base, phys_addr_t limit,
                                          struct cma **res_cma, bool fixed);
/* Declares an area, exactly at @base unless that is 0, and makes it @dev's own. 0, or as
 * cma_declare_contiguous(). */
DK_PUBLIC int dma_declare_contiguous(struct device *dev, phys_addr_t size, phys_addr_t base,
                                     phys_addr_t limit);

DK_END_DECLS

#endif
