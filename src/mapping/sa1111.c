/* SPDX-License-Identifier: MIT */
/*
 * The SA-1111's rule. Its memory controller drives DMA addresses right only in the first MiB of a bank (Intel
 * SA-1111 Specification Update, the erratum on DMA above 1 MiB): with more RAM than that its masters bounce,
 * with less they need not.
 */
#include "mapping/bounce.h"
#include "mapping/mapping.h"

#include <string.h>

#define REACH ((u64)1 << 20)
#define POOL_SIZE ((size_t)DK_BOUNCE_SLOT * DK_BOUNCE_SEGMENT)

static bool is_companion(const struct dk_node *node)
{
    const char *const *name;

    for (name = node->compatible; name && *name; name++) {
        if (!strcmp(*name, "intel,sa1111"))
            return true;
    }
    return false;
}

/* Whether @dev is one of the companion's masters. */
static bool is_behind_companion(const struct device *dev)
{
    const struct dk_node *nodes = dk_device_machine(dev)->board->nodes;
    int at = dev->dk->added ? dev->dk->node : nodes[dev->dk->node].parent;

    for (; at >= 0; at = nodes[at].parent) {
        if (is_companion(&nodes[at]))
            return true;
    }
    return false;
}

static int sa1111_needs_bounce(struct device *dev, dma_addr_t dma, size_t size)
{
    u64 first = dk_device_machine(dev)->board->memory[0].base;

    return dma < first || dma + (size - 1) >= first + REACH;
}

/* The pool that all masters of the companion share, in the memory that they reach. */
static int make_pool(struct dk_machine *machine, u64 first)
{
    struct dk_mapping_state *state = machine->mapping;
    struct dk_bounce_pool *pool;

    state->sa1111_pages =
        dk_pages_take(machine->memory, GFP_KERNEL, POOL_SIZE >> PAGE_SHIFT, 1, first, first + (REACH - 1));
    if (!state->sa1111_pages)
        return -ENOMEM;
    pool = dk_bounce_create(machine, page_to_phys(state->sa1111_pages), POOL_SIZE, "sa1111");
    if (IS_ERR(pool))
        return (int)PTR_ERR(pool);
    state->sa1111 = pool;
    return 0;
}

int dk_sa1111_device_added(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);
    struct dk_mapping_state *state = machine->mapping;
    u64 first = machine->board->memory[0].base;
    int error;

    if (dev->dk->bounce || !is_behind_companion(dev) || dk_memory_last(machine->memory) < first + REACH)
        return 0;
    if (!state->sa1111) {
        error = make_pool(machine, first);
        if (error)
            return error;
    }
    dev->dk->bounce = state->sa1111;
    dev->dk->needs_bounce = sa1111_needs_bounce;
    return 0;
}
