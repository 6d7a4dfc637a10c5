/* SPDX-License-Identifier: MIT */
/*
 * A device's reserved memory: from its node's memory-region to a pool or an area of its own.
 */
#include "mapping/mapping.h"

#include <dmakit/reserved-memory.h>
#include <string.h>

static int init_region(struct device *dev, const struct dk_reserved *reserved, const struct dk_region *region)
{
    if (reserved->disabled)
        return 0;
    if (reserved->reason) {
        dk_device_log(dev, 0, "reserved memory %s failed: %s", reserved->node, reserved->reason);
        return -EINVAL;
    }
    if (region->pool) {
        if (dev->dk->coherent_pool)
            return -EBUSY;
        dev->dk->coherent_pool = region->pool;
    } else if (region->cma) {
        dev->dk->cma = region->cma;
    } else {
        dk_device_log(dev, 0, "reserved memory %s: nothing here serves its kind to a device", reserved->node);
        return -EINVAL;
    }
    return 0;
}

int of_reserved_mem_device_init_by_idx(struct device *dev, struct device_node *node, int index)
{
    struct dk_mapping_state *state;
    const struct dk_board *board;
    const struct dk_node *from;
    int reserved;

    if (!dev || !node)
        return -EINVAL;
    state = dk_device_machine(dev)->mapping;
    board = dk_device_machine(dev)->board;
    if (node->machine != dk_device_machine(dev))
        return -EINVAL;
    from = &board->nodes[node->index];
    if (index < 0 || (unsigned)index >= from->region_count || from->regions[index] < 0)
        return -ENODEV;
    reserved = from->regions[index];
    return init_region(dev, &board->reserved[reserved], &state->regions[reserved]);
}

int of_reserved_mem_device_init_by_name(struct device *dev, struct device_node *node, const char *name)
{
    const struct dk_node *from;
    unsigned i;

    if (!dev || !node || !name || node->machine != dk_device_machine(dev))
        return -EINVAL;
    from = &dk_device_machine(dev)->board->nodes[node->index];
    for (i = 0; i < from->region_count; i++) {
        if (from->region_names[i] && !strcmp(from->region_names[i], name))
            return of_reserved_mem_device_init_by_idx(dev, node, (int)i);
    }
    return -ENODEV;
}

void of_reserved_mem_device_release(struct device *dev)
{
    if (!dev)
        return;
    if (!dev->dk->coherent_pool_own)
        dev->dk->coherent_pool = NULL;
    dev->dk->cma = NULL;
}
