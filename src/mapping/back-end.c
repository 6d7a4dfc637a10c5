/* SPDX-License-Identifier: MIT */
/*
 * Which back end serves a device: found when the device is made, from its node, its bus and its parent.
 */
#include "base/log.h"
#include "mapping/bounce.h"
#include "mapping/iommu-space.h"
#include "mapping/mapping.h"
#include "mapping/remap.h"

/* The restricted pool that the board confines what stands at @node to, or NULL. */
static struct dk_bounce_pool *restricted_pool(const struct dk_machine *machine, const struct dk_node *node)
{
    unsigned i;

    for (i = 0; i < node->region_count; i++) {
        int region = node->regions[i];

        if (region >= 0 && machine->mapping->regions[region].bounce)
            return machine->mapping->regions[region].bounce;
    }
    return NULL;
}

/* Whether what hangs on a node's device maps as that device: a USB interface as its host controller. Not so
 * functions below a PCI host. */
static bool maps_as_parent(const struct device *dev, const struct dk_node *node)
{
    return dev->dk->added && (dev->parent->dk->added || !node->pci_host);
}

/* The row of @host's iommu-map for @requester, or NULL. */
static const struct dk_iommu_row *row_of(const struct dk_node *host, u32 requester)
{
    unsigned i;

    requester &= host->below_iommu_mask;
    for (i = 0; i < host->below_iommu_count; i++) {
        const struct dk_iommu_row *row = &host->below_iommu[i];

        if (requester >= row->rid && requester - row->rid < row->count)
            return row;
    }
    return NULL;
}

/*
 * The requester id of a function that was added below @host: no two have the same, as far as the host's rows
 * and mask have room. Functions are numbered from device 0 on, one a device.
 */
static u32 requester_of_added(const struct device *dev, const struct dk_node *host)
{
    u64 room = 0, number = (u64)dev->dk->number << 3;
    unsigned i;

    for (i = 0; i < host->below_iommu_count; i++)
        room += host->below_iommu[i].count;
    number = room ? number % room : 0;
    for (i = 0; i < host->below_iommu_count; i++) {
        const struct dk_iommu_row *row = &host->below_iommu[i];

        if (number < row->count)
            return row->rid + (u32)number;
        number -= row->count;
    }
    return 0;
}

/* The IOMMU that @dev is behind and the id that it puts out there; -1: none, or it is bypassed. */
static int iommu_of(const struct device *dev, u32 *context)
{
    const struct dk_machine *machine = dk_device_machine(dev);
    const struct dk_node *nodes = machine->board->nodes;
    const struct dk_node *node = &nodes[dev->dk->node];
    const struct dk_node *host = node;
    const struct dk_iommu_row *row;
    u32 requester;

    if (machine->mapping->config.iommu_passthrough)
        return -1;
    if (!dev->dk->added && node->iommu >= 0) {
        *context = node->iommu_id;
        return node->iommu;
    }
    if (dev->dk->added) {
        if (!host->pci_host || !host->below_iommu_count)
            return -1;
        requester = requester_of_added(dev, host);
    } else {
        if (node->requester < 0)
            return -1;
        while (!host->pci_host && host->parent >= 0)
            host = &nodes[host->parent];
        requester = (u32)node->requester;
    }
    row = row_of(host, requester);
    if (!row)
        return -1;
    *context = row->id + ((requester & host->below_iommu_mask) - row->rid);
    return (int)row->iommu;
}

int dk_iommu_join_context(struct device *dev)
{
    const struct dk_machine *machine = dk_device_machine(dev);
    const struct dk_node *node = &machine->board->nodes[dev->dk->node];
    u32 context = 0;
    int iommu;

    if (maps_as_parent(dev, node))
        return dk_iommu_space_enter(dev, dev->parent->dk->space);
    iommu = iommu_of(dev, &context);
    return iommu < 0 ? dk_iommu_space_enter(dev, NULL) : dk_iommu_space_join(dev, iommu, context);
}

static int choose_back_end(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);
    const struct dk_node *node = &machine->board->nodes[dev->dk->node];
    u32 context;

    if (maps_as_parent(dev, node)) {
        dev->dma_ops = dev->parent->dma_ops;
        /* A pool that the parent's driver registered goes with the driver; a shared one and its rule stay. */
        if (!dev->parent->dk->bounce_pages) {
            dev->dk->bounce = dev->parent->dk->bounce;
            dev->dk->needs_bounce = dev->parent->dk->needs_bounce;
        }
        dev->dk->bounce_always = dev->parent->dk->bounce_always;
    } else if (iommu_of(dev, &context) >= 0) {
        dev->dma_ops = &dk_iommu_ops;
    } else {
        dev->dma_ops = &dk_direct_ops;
        dev->dk->bounce = restricted_pool(machine, node);
        dev->dk->bounce_always = dev->dk->bounce != NULL;
    }
    if (dev->dma_ops == &dk_iommu_ops)
        return dk_iommu_join_context(dev);
    dk_sa1111_device_added(dev);
    return 0;
}

int dk_mapping_device_added(struct device *dev)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;
    int error = choose_back_end(dev);

    if (error)
        return error;
    if (!dev->dk->added)
        dev->of_node = &state->nodes[dev->dk->node];
    dk_mapping_refresh(dev);
    return 0;
}

void dk_mapping_device_removed(struct device *dev)
{
    dk_remap_device_removed(dev);
    dma_release_coherent_memory(dev);
    dk_bounce_leave(dev);
    dev->dk->cma = NULL;
    dev->fast_memory = NULL;
    if (dev->dk->space)
        dk_iommu_space_enter(dev, NULL);
    dev->dk->fast_space = NULL;
    __atomic_store_n(&dev->dk->gone, true, __ATOMIC_RELAXED);
}

/* The bus is the identity for all of RAM that the limit reaches. */
static bool is_identity(const struct device *dev)
{
    unsigned i;

    for (i = 0; i < dev->dk->window_count; i++) {
        const struct dk_window *window = &dev->dk->windows[i];

        if (window->dma == 0 && window->cpu == 0)
            return true;
    }
    return dev->dk->window_count == 0;
}

/* Below the window of an identity bus there is no hole: it starts at 0. */
static u64 identity_limit(const struct device *dev)
{
    u64 limit = ~0ull;
    unsigned i;

    for (i = 0; i < dev->dk->window_count; i++) {
        const struct dk_window *window = &dev->dk->windows[i];

        if (window->dma == 0 && window->cpu == 0)
            limit = window->size - 1;
    }
    return limit;
}

/* Whether each mapping of @dev has to be seen or to move cache lines. */
static bool has_slow_ways(const struct device *dev)
{
    const struct dk_machine *machine = dk_device_machine(dev);

    return machine->checker || machine->cache || !dev->dma_coherent;
}

void dk_mapping_refresh(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);
    u64 mask = dev->dma_mask ? *dev->dma_mask : 0;
    u64 identity;

    dev->fast_memory = NULL;
    dev->dk->fast_space = NULL;
    if (has_slow_ways(dev) || !mask)
        return;
    dev->fast_limit = dk_dma_limit(dev, mask);
    if (dev->dma_ops == &dk_iommu_ops && dev->dk->space && !dev->dk->space->lazy)
        dev->dk->fast_space = dev->dk->space;
    if (dev->dma_ops != &dk_direct_ops || !is_identity(dev) || dk_bounce_forced(dev))
        return;
    identity = identity_limit(dev);
    if (identity < dev->fast_limit)
        dev->fast_limit = identity;
    /* Who may have to bounce has something to undo. */
    if (dk_bounce_pool_of(dev) && dev->fast_limit < dk_memory_last(machine->memory))
        return;
    dev->fast_memory = machine->memory;
}
