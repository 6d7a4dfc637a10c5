/* SPDX-License-Identifier: MIT */
/*
 * /memreserve/ entries and the children of /reserved-memory: what they ask for. place.c says what they get.
 * Semantics: the devicetree binding reserved-memory.yaml and the Devicetree Specification 3.5.
 */
#include "base/log.h"
#include "board/read.h"

#include <errno.h>
#include <string.h>

/* Linux's smallest alignment of a contiguous area: a page block. */
#define CMA_ALIGNMENT (2ull << 20)
#define PAGE_BYTES 4096ull

static const char out_of_memory[] = "";

/* Reads @node's @property of @cells cells into *value. NULL, or why it can't be. */
static const char *read_number(struct dk_tree *tree, unsigned node, const char *property, unsigned cells,
                               u64 *value)
{
    u32 size;
    const fdt32_t *number = dk_tree_property(tree, node, property, &size);
    const char *reason;

    if (!number)
        return NULL;
    if (cells && size == 4 * cells && dk_tree_number(number, cells, value))
        return NULL;
    reason = dk_arena_format(tree->arena, "%s has %u bytes, not the %u of a size, or is wider than 64 bits",
                             property, size, 4 * cells);
    return reason ? reason : out_of_memory;
}

static const char *read_row(const fdt32_t *cells, unsigned address, unsigned length, struct dk_range *range)
{
    if (!dk_tree_number(cells, address, &range->base) ||
        !dk_tree_number(cells + address, length, &range->size))
        return "its address or size is wider than 64 bits";
    if (!range->size)
        return "its size is 0";
    return dk_range_valid(*range) ? NULL : "its end wraps";
}

/* alloc-ranges of the dynamic region @node. NULL, or why it can't be read. */
static const char *read_alloc_ranges(struct dk_tree *tree, unsigned node, struct dk_placement *placement)
{
    const unsigned parent = (unsigned)tree->board->nodes[node].parent;
    const unsigned address = tree->nodes[parent].address_cells, length = tree->nodes[parent].size_cells;
    const unsigned row = 4 * (address + length);
    u32 size, i, rows;
    const fdt32_t *cells = dk_tree_property(tree, node, "alloc-ranges", &size);

    if (!cells)
        return NULL;
    rows = row ? size / row : 0;
    if (!rows || size % row)
        return "alloc-ranges is not a list of addresses and sizes";
    if (rows > DK_TREE_ALLOC_RANGES)
        return "alloc-ranges has too many rows";
    placement->ranges = dk_arena_take(tree->scratch, rows, sizeof(*placement->ranges));
    if (!placement->ranges)
        return out_of_memory;
    for (i = 0; i < rows; i++, cells += address + length) {
        struct dk_range *range = &placement->ranges[placement->range_count];

        if (!dk_tree_number(cells, address, &range->base) ||
            !dk_tree_number(cells + address, length, &range->size))
            return "alloc-ranges is wider than 64 bits";
        /* A range may end beyond 2^64: it means "from here on". */
        if (range->size && !dk_range_valid(*range))
            range->size = ~0ull - range->base + 1;
        placement->range_count += range->size != 0;
    }
    return placement->range_count ? NULL : "alloc-ranges are all empty";
}

static const char *read_dynamic(struct dk_tree *tree, unsigned node, struct dk_reserved *region,
                                struct dk_placement *placement)
{
    const unsigned length = tree->nodes[tree->board->nodes[node].parent].size_cells;
    const char *reason;

    region->dynamic = true;
    reason = read_number(tree, node, "size", length, &placement->size);
    if (!reason)
        reason = read_number(tree, node, "alignment", length, &placement->alignment);
    if (reason)
        return reason;
    region->range.size = placement->size;
    if (!placement->size)
        return "its size is 0";
    if (placement->alignment & (placement->alignment - 1))
        return "its alignment is not a power of two";
    if (placement->alignment < PAGE_BYTES)
        placement->alignment = PAGE_BYTES;
    if (region->kind == DK_RESERVED_CMA && placement->alignment < CMA_ALIGNMENT)
        placement->alignment = CMA_ALIGNMENT;
    return read_alloc_ranges(tree, node, placement);
}

/* What makes the region unusable whatever the memory; NULL when nothing does. */
static const char *check_region(struct dk_tree *tree, unsigned node, const struct dk_reserved *region)
{
    bool reusable = dk_tree_flag(tree, node, "reusable");

    if (reusable && region->no_map)
        return "it is both reusable and no-map";
    if (region->kind == DK_RESERVED_RESTRICTED && (reusable || region->no_map))
        return "a restricted-dma-pool is neither reusable nor no-map";
    if (region->kind <= DK_RESERVED_RESTRICTED && (region->range.base | region->range.size) % PAGE_BYTES)
        return "a pool starts and ends at pages";
    return NULL;
}

static enum dk_reserved_kind kind_of(struct dk_tree *tree, unsigned node, bool no_map)
{
    const char *const *compatible = tree->board->nodes[node].compatible;

    if (dk_tree_list_has(compatible, "shared-dma-pool"))
        return dk_tree_flag(tree, node, "reusable") ? DK_RESERVED_CMA : DK_RESERVED_COHERENT;
    if (dk_tree_list_has(compatible, "restricted-dma-pool"))
        return DK_RESERVED_RESTRICTED;
    return no_map ? DK_RESERVED_NO_MAP : DK_RESERVED_PLAIN;
}

/* The next free region and its placement, or NULL when there are too many. */
static struct dk_reserved *new_region(struct dk_tree *tree, const char *node)
{
    struct dk_reserved *region = &tree->board->reserved[tree->board->reserved_count];

    if (tree->board->reserved_count == DK_TREE_RESERVED) {
        dk_log(DK_LOG_ERROR, "%s: there are more than %u reserved regions", node, DK_TREE_RESERVED);
        return NULL;
    }
    tree->board->reserved_count++;
    region->node = node;
    return region;
}

/* Linux reads /reserved-memory only when it has the root's cells and a ranges property. */
static const char *check_parent(struct dk_tree *tree, unsigned parent)
{
    if (tree->nodes[parent].address_cells != tree->nodes[0].address_cells ||
        tree->nodes[parent].size_cells != tree->nodes[0].size_cells)
        return "/reserved-memory has other #address-cells or #size-cells than the root";
    if (!tree->nodes[parent].address_cells || !tree->nodes[parent].size_cells)
        return "/reserved-memory has no address or no size cells";
    return dk_tree_flag(tree, parent, "ranges") ? NULL : "/reserved-memory has no ranges property";
}

/* One region for each row of reg. The first is the one that phandles mean. */
static int read_node(struct dk_tree *tree, unsigned index, struct dk_placement *placements)
{
    const struct dk_node *node = &tree->board->nodes[index];
    const unsigned address = tree->nodes[node->parent].address_cells;
    const unsigned length = tree->nodes[node->parent].size_cells;
    const unsigned row = 4 * (address + length);
    const char *bad = check_parent(tree, (unsigned)node->parent);
    u32 size = 0, rows, i;
    const fdt32_t *cells = dk_tree_property(tree, index, "reg", &size);

    rows = row && size && !(size % row) ? size / row : 1;
    for (i = 0; i < rows; i++) {
        unsigned number = tree->board->reserved_count;
        struct dk_reserved *region = new_region(tree, node->path);
        const char *reason;

        if (!region)
            return -EINVAL;
        if (!i)
            tree->nodes[index].reserved = (int)number;
        region->phandle = node->phandle;
        region->disabled = !node->enabled;
        region->no_map = dk_tree_flag(tree, index, "no-map");
        region->kind = kind_of(tree, index, region->no_map);
        if (bad)
            reason = bad;
        else if (cells && (!row || !size || size % row))
            reason = "reg is not a list of addresses and sizes";
        else if (cells)
            reason = read_row(cells + (size_t)i * (address + length), address, length, &region->range);
        else if (dk_tree_flag(tree, index, "size"))
            reason = read_dynamic(tree, index, region, &placements[number]);
        else
            reason = "it has neither reg nor size";
        if (reason == out_of_memory)
            return -ENOMEM;
        region->reason = reason ? reason : check_region(tree, index, region);
    }
    return 0;
}

static int read_block(struct dk_tree *tree)
{
    int i, count = fdt_num_mem_rsv(tree->blob);

    if (count < 0) {
        dk_log(DK_LOG_ERROR, "/memreserve/: the reservation block does not end");
        return -EINVAL;
    }
    for (i = 0; i < count; i++) {
        struct dk_reserved *region;
        uint64_t base, size;
        const char *name;

        if (fdt_get_mem_rsv(tree->blob, i, &base, &size))
            return -EINVAL;
        name = dk_arena_format(tree->arena, "/memreserve/@%llx", (u64)base);
        if (!name)
            return -ENOMEM;
        region = new_region(tree, name);
        if (!region)
            return -EINVAL;
        region->kind = DK_RESERVED_PLAIN;
        region->range = (struct dk_range){ base, size };
        if (!dk_range_valid(region->range))
            region->reason = "its end wraps";
    }
    return 0;
}

int dk_read_reserved(struct dk_tree *tree, struct dk_placement **placements)
{
    struct dk_board *board = tree->board;
    int parent = dk_tree_child(tree, 0, "reserved-memory"), error;
    unsigned i;

    board->reserved = dk_arena_take(tree->arena, DK_TREE_RESERVED, sizeof(*board->reserved));
    *placements = dk_arena_take(tree->scratch, DK_TREE_RESERVED, sizeof(**placements));
    if (!board->reserved || !*placements)
        return -ENOMEM;
    error = read_block(tree);
    for (i = 0; !error && parent >= 0 && i < board->node_count; i++)
        if (board->nodes[i].parent == parent)
            error = read_node(tree, i, *placements);
    return error;
}

static int read_node_regions(struct dk_tree *tree, unsigned index)
{
    struct dk_node *node = &tree->board->nodes[index];
    u32 size;
    const fdt32_t *cells = dk_tree_property(tree, index, "memory-region", &size);
    const char **names;
    unsigned name_count, i;
    int error;

    if (!cells)
        return 0;
    if (size % sizeof(*cells))
        return dk_tree_refuse(tree, index, "memory-region has %u bytes, not a multiple of 4", size);
    error = dk_tree_strings(tree, index, "memory-region-names", &names, &name_count);
    if (error)
        return error;
    node->region_count = size / (unsigned)sizeof(*cells);
    node->regions = dk_arena_take(tree->arena, node->region_count, sizeof(*node->regions));
    node->region_paths = dk_arena_take(tree->arena, node->region_count, sizeof(*node->region_paths));
    node->region_names = dk_arena_take(tree->arena, node->region_count, sizeof(*node->region_names));
    if (!node->regions || !node->region_paths || !node->region_names)
        return -ENOMEM;
    for (i = 0; i < node->region_count; i++) {
        u32 phandle = fdt32_ld(&cells[i]);
        int target = phandle ? dk_tree_by_phandle(tree, phandle) : -1;

        node->regions[i] = -1;
        if (i < name_count)
            node->region_names[i] = names[i];
        if (!phandle)
            continue; /* an empty entry keeps the later ones' places */
        if (target < 0)
            return dk_tree_refuse(tree, index, "memory-region has the phandle 0x%x, which no node has",
                                  phandle);
        node->regions[i] = tree->nodes[target].reserved;
        node->region_paths[i] = tree->board->nodes[target].path;
    }
    return 0;
}

int dk_read_regions(struct dk_tree *tree)
{
    unsigned i;
    int error = 0;

    for (i = 0; !error && i < tree->board->node_count; i++)
        if (tree->board->nodes[i].enabled)
            error = read_node_regions(tree, i);
    return error;
}
