/* SPDX-License-Identifier: MIT */
/*
 * Coherent memory of any size: to dma_alloc_coherent() what kmalloc() is to alloc_pages().
 *
 * Linux has no such calls; they were proposed for it in 2002 and are the missing third beside whole pages and
 * pools of equal blocks. Small blocks are cut from chunks of coherent memory that the device keeps, so all
 * back ends serve them: memory below the device's mask, an IOMMU, uncached memory, a device's own pool.
 *
 * Not in <linux/dma-mapping.h>: drivers have static functions of these names.
 */
#ifndef DMAKIT_DMA_ALLOC_H
#define DMAKIT_DMA_ALLOC_H

#include <dmakit/gfp.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

struct device;

/*
 * @size bytes that CPU and @dev see alike; *@dma is their DMA address, under the coherent mask. Both
 * addresses are at a multiple of the machine's cache line, and of @size where that is a power of two; no two
 * blocks share a line. Not cleared without __GFP_ZERO. Zone flags are dropped: the mask chooses.
 *
 * NULL: @size 0, no such memory, no @dma to write to, a @dev that was removed or has no coherent mask; a log
 * line says which, without __GFP_NOWARN. Sleeps only with __GFP_DIRECT_RECLAIM; without it any context. Freed
 * with dma_free(); what the driver leaves is reported when the device goes (leak-at-remove), and freed.
 */
DK_PUBLIC void *dma_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp)
    __attribute__((warn_unused_result));

/*
 * Frees what dma_alloc() gave @dev. NULL is fine. What is not a live block, or has another DMA address, is
 * refused, changes nothing, and is reported (free-not-allocated, free-wrong-function); another CPU address is
 * reported (free-wrong-cpu-address), and the block at @dma freed. Without the checker all of these are
 * refused with a log line. Blocks of up to half a page: any context; larger ones as dma_free_coherent().
 */
DK_PUBLIC void dma_free(struct device *dev, void *cpu, dma_addr_t dma);

DK_END_DECLS

#endif
