/* SPDX-License-Identifier: MIT */
#include "board/read.h"

#include <errno.h>
#include <string.h>

/* Devicetree Specification 2.3.4: okay means operational. "ok" is its historical spelling. */
static int read_status(struct dk_tree *tree, unsigned index)
{
    struct dk_node *node = &tree->board->nodes[index];
    const char *status = "okay";
    int error = dk_tree_string(tree, index, "status", &status);

    node->enabled = (!strcmp(status, "okay") || !strcmp(status, "ok")) &&
                    (node->parent < 0 || tree->board->nodes[node->parent].enabled);
    return error;
}

/*
 * A bus without #address-cells uses those of the nearest node above that has them, and 1 where none has:
 * Linux's rule. The specification has 2 and 1, and no inheritance, but says that nobody may rely on that.
 */
static int read_cells(struct dk_tree *tree, unsigned index)
{
    int parent = tree->board->nodes[index].parent;
    u32 address = parent < 0 ? 1 : tree->nodes[parent].address_cells;
    u32 size = parent < 0 ? 1 : tree->nodes[parent].size_cells;
    int error = dk_tree_cell(tree, index, "#address-cells", &address);

    if (!error)
        error = dk_tree_cell(tree, index, "#size-cells", &size);
    if (error)
        return error;
    if (address > DK_TREE_CELLS)
        return dk_tree_refuse(tree, index, "#address-cells is %u; at most %u make sense", address,
                              DK_TREE_CELLS);
    if (size > DK_TREE_CELLS)
        return dk_tree_refuse(tree, index, "#size-cells is %u; at most %u make sense", size, DK_TREE_CELLS);
    tree->nodes[index].address_cells = (u8)address;
    tree->nodes[index].size_cells = (u8)size;
    return 0;
}

static u32 read_iommu_cells(const struct dk_tree *tree, unsigned index)
{
    u32 size;
    const fdt32_t *cell = dk_tree_property(tree, index, "#iommu-cells", &size);

    return cell && size == sizeof(*cell) ? fdt32_ld(cell) : ~0u;
}

static int read_bus(struct dk_tree *tree, unsigned index)
{
    struct dk_node *node = &tree->board->nodes[index];
    struct dk_tree_node *raw = &tree->nodes[index];
    const char *type = "";
    int error = dk_tree_string(tree, index, "device_type", &type);

    if (error)
        return error;
    raw->iommu_cells = read_iommu_cells(tree, index);
    raw->pci = !strcmp(type, "pci") || !strcmp(type, "pciex");
    /* A PCI bus below a PCI bus is a bridge, one of the functions. */
    node->pci_host = raw->pci && (node->parent < 0 || !tree->nodes[node->parent].pci);
    return 0;
}

static int read_dma_ranges(struct dk_tree *tree, unsigned index, unsigned *rows)
{
    const struct dk_board *board = tree->board;
    struct dk_tree_node *raw = &tree->nodes[index];
    int parent = board->nodes[index].parent;
    unsigned above = tree->nodes[parent < 0 ? 0 : parent].address_cells;
    unsigned row = 4 * (raw->address_cells + above + raw->size_cells);
    u32 size;
    const fdt32_t *cells;

    /* Nothing below a disabled bus does DMA: it cannot do harm. */
    if (!board->nodes[index].enabled)
        return 0;
    cells = dk_tree_property(tree, index, "dma-ranges", &size);
    raw->has_dma_ranges = cells != NULL;
    if (!cells || !size)
        return 0;
    if (raw->pci && (raw->address_cells != 3 || raw->size_cells != 2))
        return dk_tree_refuse(tree, index, "a PCI bus has 3 address and 2 size cells, not %u and %u",
                              raw->address_cells, raw->size_cells);
    if (!raw->address_cells || !raw->size_cells || !above)
        return dk_tree_refuse(tree, index,
                              "dma-ranges needs address and size cells; it has %u, %u and %u above",
                              raw->address_cells, raw->size_cells, above);
    if (size % row)
        return dk_tree_refuse(tree, index, "dma-ranges has %u bytes, not a multiple of a row's %u", size,
                              row);
    if (size / row > DK_TREE_ROWS)
        return dk_tree_refuse(tree, index, "dma-ranges has %u rows; %u are the limit", size / row,
                              DK_TREE_ROWS);
    *rows += size / row;
    if (*rows > DK_TREE_ALL_ROWS)
        return dk_tree_refuse(tree, index, "all dma-ranges up to here have more than %u rows",
                              DK_TREE_ALL_ROWS);
    raw->dma_ranges = cells;
    raw->dma_range_count = size / row;
    return 0;
}

/* Whether @index, a child of /cpus, is a processor of an architecture whose DMA is coherent by default. */
static bool coherent_processor(const struct dk_tree *tree, unsigned index)
{
    static const char *const prefixes[] = { "riscv", "PowerPC,", "intel,ce4100", "intel,x86", "x86" };
    const char *const *list = tree->board->nodes[index].compatible;
    const char *name = tree->board->nodes[index].name;
    size_t i;

    /* PowerPC's processors often have a name only: /cpus/PowerPC,8572@0. */
    if (!strncmp(name, "PowerPC,", 8))
        return true;
    for (; list && *list; list++)
        for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
            if (!strncmp(*list, prefixes[i], strlen(prefixes[i])))
                return true;
    return false;
}

static bool default_coherency(const struct dk_tree *tree)
{
    int cpus = dk_tree_child(tree, 0, "cpus");
    unsigned i;

    for (i = 0; cpus >= 0 && i < tree->board->node_count; i++)
        if (tree->board->nodes[i].parent == cpus && coherent_processor(tree, i))
            return true;
    return false;
}

static void read_coherency(struct dk_tree *tree)
{
    struct dk_node *nodes = tree->board->nodes;
    bool by_default = default_coherency(tree);
    unsigned i;

    for (i = 0; i < tree->board->node_count; i++) {
        nodes[i].coherent = nodes[i].parent < 0 ? by_default : nodes[nodes[i].parent].coherent;
        if (dk_tree_flag(tree, i, "dma-coherent"))
            nodes[i].coherent = true;
        else if (dk_tree_flag(tree, i, "dma-noncoherent"))
            nodes[i].coherent = false;
    }
}

int dk_read_nodes(struct dk_tree *tree)
{
    struct dk_board *board = tree->board;
    unsigned i, count, rows = 0;
    int error = 0;

    for (i = 0; !error && i < board->node_count; i++) {
        error = read_status(tree, i);
        if (!error)
            error = read_cells(tree, i);
        if (!error)
            error = read_bus(tree, i);
        if (!error)
            error = read_dma_ranges(tree, i, &rows);
        if (!error)
            error = dk_tree_strings(tree, i, "compatible", &board->nodes[i].compatible, &count);
    }
    if (error)
        return error;
    read_coherency(tree);
    board->model = "";
    board->compatible = board->nodes[0].compatible;
    if (!board->compatible) {
        board->compatible = dk_arena_take(tree->arena, 1, sizeof(*board->compatible));
        if (!board->compatible)
            return -ENOMEM;
    }
    return dk_tree_string(tree, 0, "model", &board->model);
}
