/* SPDX-License-Identifier: MIT */
/*
 * The SA-1111's rule. Its memory controller drives DMA addresses right only in the first MiB of a bank (Intel
 * SA-1111 Specification Update, the erratum on DMA above 1 MiB): with more RAM than that its masters bounce,
 * with less they need not.
 */
#include "base/log.h"
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

/*
 * The pool that all masters of the companion share, in the memory that they reach; none where that is all
 * taken, or all there is.
 */
int dk_sa1111_start(struct dk_machine *machine)
{
    struct dk_mapping_state *state = machine->mapping;
    const struct dk_board *board = machine->board;
    u64 first = board->memory_count ? board->memory[0].base : 0;
    struct dk_bounce_pool *pool;
    unsigned i = 0;

    while (i < board->node_count && !(board->nodes[i].enabled && is_companion(&board->nodes[i])))
        i++;
    if (i == board->node_count || dk_memory_last(machine->memory) < first + REACH)
        return 0;
    state->sa1111_pages = dk_pages_take(machine->memory, GFP_KERNEL | __GFP_NOWARN, POOL_SIZE >> PAGE_SHIFT,
                                        1, first, first + (REACH - 1));
    if (!state->sa1111_pages) {
        dk_log(DK_LOG_WARNING, "%s: no 0x%zx contiguous bytes in the first MiB: nothing can be bounced",
               board->nodes[i].path, POOL_SIZE);
        return 0;
    }
    pool = dk_bounce_create(machine, page_to_phys(state->sa1111_pages), POOL_SIZE, "sa1111");
    if (IS_ERR(pool))
        return (int)PTR_ERR(pool);
    state->sa1111 = pool;
    return 0;
}

void dk_sa1111_device_added(struct device *dev)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;

    if (dev->dk->bounce || !state->sa1111 || !is_behind_companion(dev))
        return;
    dev->dk->bounce = state->sa1111;
    dev->dk->needs_bounce = sa1111_needs_bounce;
}
