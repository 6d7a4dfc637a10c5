/* SPDX-License-Identifier: MIT */
/*
 * dma-ranges: how a device's bus sees memory.
 *
 * Linux's rule. A node's dma-ranges hold for its children. From a device's parent up, empty ones are skipped;
 * a missing one is tolerated at the parent only, and means no restriction above it; the first that is not
 * empty gives the rows. Their bases are translated further up, one to one where dma-ranges is missing or
 * empty there.
 */
#include "base/log.h"
#include "board/read.h"

#include <errno.h>

struct window_list {
    struct dk_window *windows;
    unsigned count;
};

/* An address on a bus. On a PCI bus its space (memory or I/O, from the first cell) is part of it. */
struct bus_address {
    u64 address;
    u32 space;
};

#define PCI_SPACE_SHIFT 24
#define PCI_SPACE_MASK 3u
#define PCI_SPACE_MEMORY64 3u
#define PCI_SPACE_MEMORY32 2u

/* PCI Bus Binding to IEEE 1275, 2.2.1.1: the two memory spaces differ in width only. */
static u32 pci_space(fdt32_t cell)
{
    u32 space = fdt32_ld(&cell) >> PCI_SPACE_SHIFT & PCI_SPACE_MASK;

    return space == PCI_SPACE_MEMORY64 ? PCI_SPACE_MEMORY32 : space;
}

/* Reads an address of the bus @bus (as its children write them) from @cells; false when it does not fit 64
 * bits. */
static bool read_address(const struct dk_tree *tree, unsigned bus, const fdt32_t *cells,
                         struct bus_address *address)
{
    unsigned count = tree->nodes[bus].address_cells;

    address->space = tree->nodes[bus].pci ? pci_space(cells[0]) : 0;
    /* With three cells the first is flags, on PCI and on other buses alike. */
    if (count == 3)
        return dk_tree_number(cells + 1, 2, &address->address);
    return dk_tree_number(cells, count, &address->address);
}

struct row {
    struct bus_address child, parent;
    u64 size;
};

static bool read_row(const struct dk_tree *tree, unsigned bus, unsigned index, struct row *row)
{
    const struct dk_tree_node *node = &tree->nodes[bus];
    int parent = tree->board->nodes[bus].parent;
    unsigned above = parent < 0 ? bus : (unsigned)parent;
    unsigned above_cells = tree->nodes[above].address_cells;
    const fdt32_t *cells =
        node->dma_ranges + (size_t)index * (node->address_cells + above_cells + node->size_cells);

    return read_address(tree, bus, cells, &row->child) &&
           read_address(tree, above, cells + node->address_cells, &row->parent) &&
           dk_tree_number(cells + node->address_cells + above_cells, node->size_cells, &row->size);
}

/* Takes @address, on the bus above @bus, to the root. False when a dma-ranges on the way does not hold it. */
static bool translate_up(const struct dk_tree *tree, unsigned bus, struct bus_address *address)
{
    int at;

    for (at = tree->board->nodes[bus].parent; at >= 0; at = tree->board->nodes[at].parent) {
        unsigned count = tree->nodes[at].dma_range_count, i;
        struct row row;

        if (!count)
            continue;
        for (i = 0; i < count; i++)
            if (read_row(tree, (unsigned)at, i, &row) && row.child.space == address->space &&
                address->address >= row.child.address && address->address - row.child.address < row.size)
                break;
        if (i == count || __builtin_add_overflow(row.parent.address, address->address - row.child.address,
                                                 &address->address))
            return false;
        address->space = row.parent.space;
    }
    return true;
}

static int read_rows(struct dk_tree *tree, unsigned bus, struct window_list *list)
{
    const char *path = tree->board->nodes[bus].path;
    unsigned i, count = tree->nodes[bus].dma_range_count;

    list->count = 0;
    list->windows = dk_arena_take(tree->arena, count, sizeof(*list->windows));
    if (!list->windows)
        return -ENOMEM;
    for (i = 0; i < count; i++) {
        struct row row;
        struct dk_window *window = &list->windows[list->count];

        if (!read_row(tree, bus, i, &row))
            return dk_tree_refuse(tree, bus, "row %u of dma-ranges is wider than 64 bits", i);
        if (!row.size) {
            dk_log(DK_LOG_WARNING, "%s: row %u of dma-ranges dropped: its size is 0", path, i);
            continue;
        }
        if (!dk_range_valid((struct dk_range){ row.child.address, row.size }))
            return dk_tree_refuse(tree, bus, "row %u of dma-ranges wraps: 0x%llx bytes at 0x%llx", i,
                                  row.size, row.child.address);
        if (!translate_up(tree, bus, &row.parent)) {
            dk_log(DK_LOG_WARNING, "%s: row %u of dma-ranges dropped: no bus above translates 0x%llx", path,
                   i, row.parent.address);
            continue;
        }
        if (!dk_range_valid((struct dk_range){ row.parent.address, row.size })) {
            dk_log(DK_LOG_WARNING, "%s: row %u of dma-ranges dropped: 0x%llx bytes at 0x%llx wrap", path, i,
                   row.size, row.parent.address);
            continue;
        }
        window->dma = row.child.address;
        window->cpu = row.parent.address;
        window->size = row.size;
        list->count++;
    }
    return 0;
}

int dk_read_windows(struct dk_tree *tree)
{
    struct dk_board *board = tree->board;
    /*
     * For each node: the rows that a walk arriving from below finds, and those its own children see. They
     * differ where dma-ranges is missing. Nodes share the lists.
     */
    struct window_list *passing = dk_arena_take(tree->scratch, board->node_count, sizeof(*passing));
    struct window_list *children = dk_arena_take(tree->scratch, board->node_count, sizeof(*children));
    const struct window_list none = { NULL, 0 };
    unsigned i;

    if (!passing || !children)
        return -ENOMEM;
    for (i = 0; i < board->node_count; i++) {
        struct dk_node *node = &board->nodes[i];
        struct window_list above = node->parent < 0 ? none : passing[node->parent];

        if (tree->nodes[i].dma_range_count) {
            int error = read_rows(tree, i, &passing[i]);

            if (error)
                return error;
            children[i] = passing[i];
        } else {
            passing[i] = tree->nodes[i].has_dma_ranges ? above : none;
            children[i] = above;
        }
        if (node->parent >= 0) {
            node->windows = children[node->parent].windows;
            node->window_count = children[node->parent].count;
        }
        /* What hangs on a device that is no bus, as a USB interface does on its controller, sees what the
         * device sees. */
        if (!node->pci_host && !tree->nodes[i].has_dma_ranges) {
            node->below_windows = node->windows;
            node->below_window_count = node->window_count;
        } else {
            node->below_windows = children[i].windows;
            node->below_window_count = children[i].count;
        }
    }
    return 0;
}
