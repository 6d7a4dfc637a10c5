/* SPDX-License-Identifier: MIT */
/*
 * A device's reserved memory (Documentation/devicetree/bindings/reserved-memory).
 */
#ifndef DMAKIT_RESERVED_MEMORY_H
#define DMAKIT_RESERVED_MEMORY_H

#include <dmakit/device.h>
#include <dmakit/of.h>

DK_BEGIN_DECLS

/*
 * Gives @dev the region that entry @index of @node's memory-region names: a coherent pool becomes the
 * device's own, a contiguous area its own area for dma_alloc_attrs(). 0, also when the region's node is
 * disabled; -ENODEV no such entry; -EINVAL a NULL argument, a region that failed, or one that no handler
 * serves; -EBUSY the device has a pool already; -ENOMEM. May sleep.
 */
DK_PUBLIC int of_reserved_mem_device_init_by_idx(struct device *dev, struct device_node *node, int index);
/* By memory-region-names. -ENODEV when there is no such name; else as by index. */
DK_PUBLIC int of_reserved_mem_device_init_by_name(struct device *dev, struct device_node *node,
                                                  const char *name);
static inline int of_reserved_mem_device_init(struct device *dev)
{
    return of_reserved_mem_device_init_by_idx(dev, dev->of_node, 0);
}
/* Takes back all that was given. Nothing happens when there is nothing. May sleep. */
DK_PUBLIC void of_reserved_mem_device_release(struct device *dev);

DK_END_DECLS

#endif
