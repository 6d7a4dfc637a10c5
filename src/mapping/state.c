/* SPDX-License-Identifier: MIT */
/*
 * What mapping keeps of a machine and of each device: reserved regions brought to life, areas, pools, back
 * ends.
 */
#include "mapping/mapping.h"

#include "base/alloc.h"
#include "base/log.h"
#include "mm/cma.h"
#include <string.h>

static int make_region(struct dk_machine *machine, unsigned index)
{
    const struct dk_reserved *reserved = &machine->board->reserved[index];
    struct dk_mapping_state *state = machine->mapping;
    struct dk_region *region = &state->regions[index];

    if (reserved->kind == DK_RESERVED_CMA) {
        struct cma *area =
            dk_cma_create(machine->memory, reserved->range.base, reserved->range.size, 0, reserved->node);

        if (IS_ERR(area))
            return (int)PTR_ERR(area);
        region->cma = area;
        if (reserved->is_default)
            state->default_cma = area;
    } else if (reserved->kind == DK_RESERVED_COHERENT) {
        struct dk_coherent_pool *pool =
            dk_coherent_pool_create(machine, reserved->range.base, reserved->range.size, 0, true);

        if (IS_ERR(pool))
            return (int)PTR_ERR(pool);
        region->pool = pool;
        if (reserved->is_default)
            state->default_pool = pool;
    }
    return 0;
}

/* Whether a region of the board has part of [base, base + size). */
static bool is_reserved(const struct dk_board *board, u64 base, u64 size)
{
    unsigned i;

    for (i = 0; i < board->reserved_count; i++) {
        const struct dk_reserved *reserved = &board->reserved[i];

        if (!reserved->reason && !reserved->disabled && reserved->range.base < base + size &&
            base < reserved->range.base + reserved->range.size)
            return true;
    }
    return false;
}

/* cma=: an area of its own, at the top of what a 32-bit device reaches or where the argument says. */
static int make_own_area(struct dk_machine *machine)
{
    struct dk_mapping_state *state = machine->mapping;
    u64 size = (state->config.cma_size + PAGE_SIZE - 1) & PAGE_MASK;
    u64 base = state->config.cma_base & PAGE_MASK;
    struct page *page;
    int error;

    if (!size)
        return 0;
    if (base) {
        error = -EINVAL;
        if (dk_memory_is_ram(machine->memory, base, size))
            error = is_reserved(machine->board, base, size)
                        ? -EBUSY
                        : dk_memory_reserve(machine->memory, base, size, true);
        if (error) {
            dk_log(DK_LOG_ERROR, "cma=: 0x%llx + 0x%llx is not free memory", base, size);
            return error;
        }
    } else {
        u64 last = state->zone_dma_last < DMA_BIT_MASK(32) ? state->zone_dma_last : DMA_BIT_MASK(32);

        page = dk_pages_take(machine->memory, GFP_KERNEL, size >> PAGE_SHIFT, 1024, 0, last);
        if (!page)
            page = dk_pages_take(machine->memory, GFP_KERNEL, size >> PAGE_SHIFT, 1024, 0, ~0ull);
        if (!page) {
            dk_log(DK_LOG_ERROR, "cma=: no 0x%llx contiguous bytes for the area", size);
            return -ENOMEM;
        }
        base = page_to_phys(page);
    }
    state->own_cma = dk_cma_create(machine->memory, base, size, 0, "cma=");
    if (IS_ERR(state->own_cma)) {
        error = (int)PTR_ERR(state->own_cma);
        state->own_cma = NULL;
        return error;
    }
    state->default_cma = state->own_cma;
    return 0;
}

/* The last byte of RAM at or below @limit; @limit itself when all RAM lies above. */
static u64 last_ram_below(const struct dk_board *board, u64 limit)
{
    u64 last = 0;
    unsigned i;

    for (i = 0; i < board->memory_count; i++) {
        u64 end = board->memory[i].base + (board->memory[i].size - 1);

        if (board->memory[i].base > limit)
            continue;
        if (end > limit)
            end = limit;
        if (end > last)
            last = end;
    }
    return last ? last : limit;
}

int dk_mapping_start(struct dk_machine *machine, const struct dk_mapping_config *config, u64 zone_dma_last)
{
    const struct dk_board *board = machine->board;
    struct dk_mapping_state *state = dk_allocate(1, sizeof(*state));
    unsigned i;
    int error = -ENOMEM;

    if (!state)
        return -ENOMEM;
    machine->mapping = state;
    state->machine = machine;
    state->config = *config;
    state->zone_dma_last = last_ram_below(board, zone_dma_last);
    state->nodes = dk_allocate(board->node_count, sizeof(*state->nodes));
    state->regions = dk_allocate(board->reserved_count, sizeof(*state->regions));
    if (!state->nodes || !state->regions)
        goto finish;
    for (i = 0; i < board->node_count; i++) {
        const struct dk_node *node = &board->nodes[i];

        state->nodes[i] = (struct device_node){ node->name, node->path, node->phandle, machine, (int)i };
    }
    for (i = 0; i < board->reserved_count; i++) {
        if (board->reserved[i].reason || board->reserved[i].disabled)
            continue;
        error = make_region(machine, i);
        if (error) {
            dk_log(DK_LOG_ERROR, "%s: %s", board->reserved[i].node, strerror(-error));
            goto finish;
        }
    }
    error = make_own_area(machine);
    if (error)
        goto finish;
    return 0;

finish:
    dk_mapping_finish(machine);
    return error;
}

void dk_mapping_finish(struct dk_machine *machine)
{
    struct dk_mapping_state *state = machine->mapping;
    unsigned i;

    if (!state)
        return;
    for (i = 0; state->regions && i < machine->board->reserved_count; i++) {
        dk_cma_destroy(state->regions[i].cma);
        dk_coherent_pool_destroy(state->regions[i].pool);
    }
    dk_cma_destroy(state->own_cma);
    dk_coherent_pool_destroy(state->own_pool);
    dk_release(state->regions);
    dk_release(state->nodes);
    dk_release(state);
    machine->mapping = NULL;
}

/* Whether the board confines what stands at @node to a restricted pool. */
static bool is_restricted(const struct dk_board *board, const struct dk_node *node)
{
    unsigned i;

    for (i = 0; i < node->region_count; i++) {
        const struct dk_reserved *reserved = node->regions[i] < 0 ? NULL : &board->reserved[node->regions[i]];

        if (reserved && reserved->kind == DK_RESERVED_RESTRICTED && !reserved->disabled && !reserved->reason)
            return true;
    }
    return false;
}

/* Whether what hangs on a node's device maps as that device: a USB interface as its host controller. Not so
 * functions below a PCI host. */
static bool maps_as_parent(const struct device *dev, const struct dk_node *node)
{
    return dev->dk->added && (dev->parent->dk->added || !node->pci_host);
}

/* Whether an IOMMU that nobody bypassed stands between the device and memory. */
static bool is_translated(const struct device *dev, const struct dk_node *node)
{
    if (dk_device_machine(dev)->mapping->config.iommu_passthrough)
        return false;
    return dev->dk->added ? node->below_iommu_count > 0 : node->iommu >= 0;
}

static void choose_back_end(struct device *dev)
{
    const struct dk_machine *machine = dk_device_machine(dev);
    const struct dk_node *node = &machine->board->nodes[dev->dk->node];

    if (maps_as_parent(dev, node)) {
        dev->dma_ops = dev->parent->dma_ops;
        dev->dk->translated = dev->parent->dk->translated;
        return;
    }
    dev->dk->translated = is_translated(dev, node);
    if (dev->dk->translated || is_restricted(machine->board, node))
        dev->dma_ops = &dk_missing_ops;
    else
        dev->dma_ops = &dk_direct_ops;
}

int dk_mapping_device_added(struct device *dev)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;

    choose_back_end(dev);
    if (!dev->dk->added)
        dev->of_node = &state->nodes[dev->dk->node];
    dk_mapping_refresh(dev);
    return 0;
}

void dk_mapping_device_removed(struct device *dev)
{
    dma_release_coherent_memory(dev);
    dev->dk->cma = NULL;
    dev->fast_memory = NULL;
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

void dk_mapping_refresh(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);
    u64 mask = dev->dma_mask ? *dev->dma_mask : 0;
    u64 identity;

    dev->fast_memory = NULL;
    if (machine->checker || machine->cache || !dev->dma_coherent || dev->dma_ops != &dk_direct_ops || !mask ||
        !is_identity(dev))
        return;
    identity = identity_limit(dev);
    dev->fast_limit = dk_dma_limit(dev, mask);
    if (identity < dev->fast_limit)
        dev->fast_limit = identity;
    dev->fast_memory = machine->memory;
}
