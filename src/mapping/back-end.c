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

bool dk_maps_as_parent(const struct device *dev)
{
    const struct dk_node *node = &dk_device_machine(dev)->board->nodes[dev->dk->node];

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

/* Whether one of the tree's own functions below node @host has @requester, as far as the host's mask tells.
 */
static bool is_function(const struct dk_board *board, int host, u32 requester)
{
    u32 mask = board->nodes[host].below_iommu_mask;
    unsigned i;

    for (i = 0; i < board->node_count; i++) {
        const struct dk_node *node = &board->nodes[i];

        if (node->parent == host && node->enabled && node->requester >= 0 &&
            ((u32)node->requester & mask) == (requester & mask))
            return true;
    }
    return false;
}

/*
 * The requester id of a function that was added below a host: the first that no function of the tree and none
 * added before has. When the host's rows and mask have no more room, ids are used again.
 */
static u32 requester_of_added(const struct device *dev, const struct dk_node *host)
{
    const struct dk_board *board = dk_device_machine(dev)->board;
    u32 step = host->below_iommu_mask ? host->below_iommu_mask & -host->below_iommu_mask : 1;
    u64 wanted = dev->dk->place, found = 0;
    unsigned i, round;
    u64 at;

    for (round = 0; round < 2; round++) {
        for (i = 0; i < host->below_iommu_count; i++) {
            const struct dk_iommu_row *row = &host->below_iommu[i];

            for (at = 0; at < row->count; at += step) {
                if (!is_function(board, dev->dk->node, row->rid + (u32)at) && found++ == wanted)
                    return row->rid + (u32)at;
            }
        }
        if (!found)
            break;
        wanted %= found;
        found = 0;
    }
    return host->below_iommu[0].rid;
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
    u32 context = 0;
    int iommu;

    if (dk_maps_as_parent(dev))
        return dk_iommu_space_enter(dev, dev->parent->dk->space);
    iommu = iommu_of(dev, &context);
    return iommu < 0 ? dk_iommu_space_enter(dev, NULL) : dk_iommu_space_join(dev, iommu, context);
}

static int choose_back_end(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);
    const struct dk_node *node = &machine->board->nodes[dev->dk->node];
    u32 context;

    if (dk_maps_as_parent(dev)) {
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
    dev->dk->cma_rule = dk_contiguous_map_find(state->cma_map, dev);
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
    dev->dk->watched_memory = NULL;
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

/* Whether mapping for @dev has to move cache lines. */
static bool moves_lines(const struct device *dev)
{
    return dk_device_machine(dev)->cache || !dev->dma_coherent;
}

void dk_mapping_refresh(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);
    u64 mask = dev->dma_mask ? *dev->dma_mask : 0;
    u64 identity;

    dev->fast_memory = NULL;
    dev->dk->fast_space = NULL;
    dev->dk->watched_memory = NULL;
    if (moves_lines(dev) || !mask)
        return;
    dev->fast_limit = dk_dma_limit(dev, mask);
    if (!machine->checker && dev->dma_ops == &dk_iommu_ops && dev->dk->space && !dev->dk->space->lazy)
        dev->dk->fast_space = dev->dk->space;
    if (dev->dma_ops != &dk_direct_ops || !is_identity(dev) || dk_bounce_forced(dev))
        return;
    identity = identity_limit(dev);
    if (identity < dev->fast_limit)
        dev->fast_limit = identity;
    /* Who may have to bounce has something to undo, and so may who had to: its buffers outlive a wider mask.
     */
    if (__atomic_load_n(&dev->dk->has_bounced, __ATOMIC_RELAXED) ||
        (dk_bounce_pool_of(dev) && dev->fast_limit < dk_memory_last(machine->memory)))
        return;
    *(machine->checker ? &dev->dk->watched_memory : &dev->fast_memory) = machine->memory;
}
