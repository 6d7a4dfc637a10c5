/* SPDX-License-Identifier: MIT */
#include "base/log.h"
#include "board/read.h"

#include <errno.h>

#define SPECIFIER_CELLS 16u /* more than this in one specifier is malformed; Linux has the same limit */
#define MAP_CELLS 4u        /* iommu-map: requester id, phandle, IOMMU id, length */

/* The node that @phandle in @property names; -EINVAL, logged, when there is none. */
static int target(const struct dk_tree *tree, unsigned node, const char *property, u32 phandle)
{
    int found = dk_tree_by_phandle(tree, phandle);

    return found >= 0
               ? found
               : dk_tree_refuse(tree, node, "%s has the phandle 0x%x, which no node has", property, phandle);
}

/* iommus: the first entry says which IOMMU; the rest are further ids there, checked and passed over. */
static int read_iommus(struct dk_tree *tree, unsigned index)
{
    struct dk_node *node = &tree->board->nodes[index];
    u32 size, left;
    const fdt32_t *cells = dk_tree_property(tree, index, "iommus", &size);
    bool first = true;

    if (!cells)
        return 0;
    if (size % sizeof(*cells))
        return dk_tree_refuse(tree, index, "iommus has %u bytes, not a multiple of 4", size);
    for (left = size / sizeof(*cells); left;) {
        u32 phandle = fdt32_ld(cells++), count;
        int iommu;

        left--;
        if (!phandle)
            continue; /* an empty entry: Linux's of_parse_phandle_with_args */
        iommu = target(tree, index, "iommus", phandle);
        if (iommu < 0)
            return iommu;
        count = tree->nodes[iommu].iommu_cells;
        if (count > SPECIFIER_CELLS)
            return dk_tree_refuse(tree, (unsigned)iommu, "#iommu-cells is missing or absurd, but %s uses it",
                                  node->path);
        if (count > left)
            return dk_tree_refuse(tree, index, "iommus ends within a specifier: %s has %u cells",
                                  tree->board->nodes[iommu].path, count);
        if (first && tree->board->nodes[iommu].enabled) {
            node->iommu = iommu;
            node->iommu_id = count ? fdt32_ld(cells) : 0;
        }
        first = false;
        cells += count;
        left -= count;
    }
    return 0;
}

static int read_iommu_map(struct dk_tree *tree, unsigned index)
{
    struct dk_node *node = &tree->board->nodes[index];
    u32 size;
    const fdt32_t *cells = dk_tree_property(tree, index, "iommu-map", &size);
    int error = dk_tree_cell(tree, index, "iommu-map-mask", &node->below_iommu_mask);
    unsigned rows, i;

    if (error || !cells)
        return error;
    if (size % (MAP_CELLS * sizeof(*cells)))
        return dk_tree_refuse(tree, index, "iommu-map has %u bytes, not a multiple of a row's 16", size);
    rows = size / (MAP_CELLS * (unsigned)sizeof(*cells));
    node->below_iommu = dk_arena_take(tree->arena, rows, sizeof(*node->below_iommu));
    if (!node->below_iommu)
        return -ENOMEM;
    for (i = 0; i < rows; i++, cells += MAP_CELLS) {
        struct dk_iommu_row row = { fdt32_ld(&cells[0]), fdt32_ld(&cells[2]), fdt32_ld(&cells[3]), 0 };
        int iommu = target(tree, index, "iommu-map", fdt32_ld(&cells[1]));

        if (iommu < 0)
            return iommu;
        if (row.rid & ~node->below_iommu_mask)
            return dk_tree_refuse(tree, index,
                                  "row %u of iommu-map starts at 0x%x, which iommu-map-mask 0x%x hides", i,
                                  row.rid, node->below_iommu_mask);
        if (row.count && (row.rid > ~0u - (row.count - 1) || row.id > ~0u - (row.count - 1)))
            return dk_tree_refuse(tree, index, "row %u of iommu-map wraps", i);
        row.iommu = (unsigned)iommu;
        /* Behind a disabled IOMMU a function does DMA without one. */
        if (row.count && tree->board->nodes[iommu].enabled)
            node->below_iommu[node->below_iommu_count++] = row;
    }
    return 0;
}

/* PCI Bus Binding to IEEE 1275, 2.2.1.1: a function's reg begins with its bus, device and function numbers.
 */
static void read_requester(struct dk_tree *tree, unsigned index)
{
    struct dk_node *node = &tree->board->nodes[index];
    u32 size;
    const fdt32_t *cells;

    node->requester = -1;
    if (node->parent < 0 || !tree->nodes[node->parent].pci)
        return;
    cells = dk_tree_property(tree, index, "reg", &size);
    if (cells && size >= sizeof(*cells))
        node->requester = (int)(fdt32_ld(cells) >> 8 & 0xffff);
}

int dk_read_iommus(struct dk_tree *tree)
{
    struct dk_board *board = tree->board;
    int *next = dk_arena_take(tree->scratch, board->node_count, sizeof(*next));
    unsigned *seen = dk_arena_take(tree->scratch, board->node_count, sizeof(*seen));
    unsigned i;
    int error = 0, loop;

    if (!next || !seen)
        return -ENOMEM;
    for (i = 0; !error && i < board->node_count; i++) {
        if (board->nodes[i].enabled)
            error = read_iommus(tree, i);
        if (!error && board->nodes[i].enabled && board->nodes[i].pci_host)
            error = read_iommu_map(tree, i);
        read_requester(tree, i);
        next[i] = board->nodes[i].iommu;
    }
    if (error)
        return error;
    loop = dk_tree_find_loop(next, seen, board->node_count);
    return loop < 0 ? 0 : dk_tree_refuse(tree, (unsigned)loop, "its iommus lead in a circle back to it");
}

/*
 * A controller whose interrupt-parent is itself is a root, as in Linux: it often inherits that from the
 * tree's root. A longer circle has no root, and no interrupt in it could arrive.
 */
int dk_check_interrupts(const struct dk_tree *tree)
{
    const struct dk_board *board = tree->board;
    int *next = dk_arena_take(tree->scratch, board->node_count, sizeof(*next));
    unsigned *seen = dk_arena_take(tree->scratch, board->node_count, sizeof(*seen));
    unsigned i;
    int loop;

    if (!next || !seen)
        return -ENOMEM;
    for (i = 0; i < board->node_count; i++) {
        u32 size;
        const fdt32_t *parent = dk_tree_property(tree, i, "interrupt-parent", &size);

        next[i] = -1;
        if (!parent || !board->nodes[i].enabled || !dk_tree_flag(tree, i, "interrupt-controller"))
            continue;
        if (size != sizeof(*parent))
            return dk_tree_refuse(tree, i, "interrupt-parent has %u bytes, not the 4 of a phandle", size);
        next[i] = dk_tree_by_phandle(tree, fdt32_ld(parent));
        if (next[i] == (int)i)
            next[i] = -1;
    }
    loop = dk_tree_find_loop(next, seen, board->node_count);
    return loop < 0
               ? 0
               : dk_tree_refuse(tree, (unsigned)loop, "its interrupt-parents lead in a circle back to it");
}
