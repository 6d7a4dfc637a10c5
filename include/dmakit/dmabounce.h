/* SPDX-License-Identifier: MIT */
/*
 * Bouncing by a rule of the device's own, for buses that reach memory only in part or wrongly.
 */
#ifndef DMAKIT_DMABOUNCE_H
#define DMAKIT_DMABOUNCE_H

#include <dmakit/device.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

/*
 * From now on a streaming mapping of @dev is bounced when @needs_bounce_to_dma(@dev, address, size) says so
 * (not 0), asked with the DMA address that a direct mapping would have; @needs_bounce_to_dma NULL: when the
 * device does not reach the memory. The buffers are a pool of @dev's own, in memory that it reaches under its
 * coherent mask, in one block of pages: room for 64 of @large_buffer_size bytes, but at least 256 KiB and at
 * most 4 MiB, so that of more than 64 KiB there are fewer, of 256 KiB 16. No mapping that is bounced may be
 * longer than dma_max_mapping_size(). @small_buffer_size is taken for the sake of older callers.
 *
 * 0; -EBUSY the device has a rule or a pool, also one that it shares, or (known while the checker is on)
 * something is mapped for it, which may not be; -EINVAL @large_buffer_size is 0 or above the 256 KiB
 * that one mapping may have (less with dma_set_min_align_mask()), or the device maps through an IOMMU;
 * -ENOMEM. May sleep. Undone by dmabounce_unregister_dev(), or when the device goes.
 */
DK_PUBLIC int
dmabounce_register_dev(struct device *dev, unsigned long small_buffer_size, unsigned long large_buffer_size,
                       int (*needs_bounce_to_dma)(struct device *dev, dma_addr_t address, size_t size));
/* Nothing of @dev may be mapped: what still is stays bounced, and the pool stays with the device. May sleep.
 */
DK_PUBLIC void dmabounce_unregister_dev(struct device *dev);

DK_END_DECLS

#endif
