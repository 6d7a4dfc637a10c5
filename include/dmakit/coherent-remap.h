/* SPDX-License-Identifier: MIT */
/*
 * Coherent remap: a device's coherent memory for another device to reach, with no struct page in between.
 *
 * Coherent memory may have no pages at all (a pool on the device itself), lie where the importing device's
 * bus has another address for it, or be one piece behind the owner's IOMMU alone. So it is found by
 * translating the owner's DMA address, and given to the importer through the importer's own IOMMU or windows.
 *
 * Who is given such memory, by a table without pages, may use the table's DMA addresses and lengths
 * (for_each_sgtable_dma_sg()) and nothing else: sg_page() is NULL, and mapping the table (dma_map_sg(), …) is
 * reported (maps-invalid-address). It needs no syncs. The CPU's side stays the owner's: its kernel address
 * is what the allocation returned, and a program sees it through dma_mmap_attrs() with the owner and the
 * allocation's own arguments.
 */
#ifndef DMAKIT_COHERENT_REMAP_H
#define DMAKIT_COHERENT_REMAP_H

#include <dmakit/device.h>
#include <dmakit/scatterlist.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

/*
 * Lets @dev read and write the @size bytes of @owner's coherent memory that @cpu and @dma are the addresses
 * of, all or part of what dma_alloc_attrs() or one of its other forms gave (for DMA_ATTR_NO_KERNEL_MAPPING
 * @cpu is the cookie, whatever part). Behind an IOMMU @dev gets one range of addresses, else a range for each
 * run of memory that one window of its bus carries, all below its streaming mask; ranges are split into
 * segments that keep dma_get_max_seg_size() and dma_get_seg_boundary(). An IOMMU maps whole pages: @dev
 * reaches what else lies in the first and the last one. @attrs: DMA_ATTR_NO_WARN keeps the log quiet, other
 * bits mean nothing.
 *
 * 0, with @table filled (its former content is overwritten), until dk_coherent_unmap(). Errors leave it
 * alone:
 * -EINVAL     a NULL or removed device, devices of two machines, a @size of 0 or a wrapping one, @dev without
 *             a mask, or, with the checker on, no live coherent allocation of @owner has these bytes; with it
 *             off, @dma leads to no memory
 * -EIO        @dev does not reach the memory under its mask, through its windows or by the rule of its
 *             bounce buffers; one that is confined to a restricted pool reaches only that. Coherent memory
 *             cannot be bounced
 * -EOPNOTSUPP the CPU uses the memory through its cache, since @owner snoops, and @dev does not snoop
 * -ENOMEM     no memory, or no addresses of the IOMMU
 *
 * When @owner frees the memory before it is unmapped, that is reported (freed-while-remapped), and it stays
 * allocated until the last remap of it has gone; for good if @owner itself has gone by then. A remap that is
 * left when @dev is removed, or its driver unbound, is reported (leak-at-remove) and undone.
 *
 * May sleep.
 */
DK_PUBLIC int dk_coherent_remap(struct device *dev, struct sg_table *table, struct device *owner, void *cpu,
                                dma_addr_t dma, size_t size, unsigned long attrs);

/*
 * Takes the memory away from @dev again, and frees and zeroes the table's entries. A table that is not
 * @dev's is reported (free-not-allocated) and left alone; when @dev was removed before, only the entries are
 * freed. May sleep.
 */
DK_PUBLIC void dk_coherent_unmap(struct device *dev, struct sg_table *table);

DK_END_DECLS

#endif
