/* SPDX-License-Identifier: MIT */
/*
 * A device tree while it is being read: the blob, and what the parts of this room share about its nodes.
 * A malformed tree is refused by dk_tree_refuse(), which logs the node and the reason.
 */
#ifndef DK_BOARD_TREE_H
#define DK_BOARD_TREE_H

#include "board/arena.h"
#include "board/board.h"

#include <libfdt.h>

/*
 * Limits, far above real boards' needs, that bound time and memory on hostile trees. Exceeding one is
 * malformed. Real boards in 2024 stay below 1 MiB, 6000 nodes, depth 10, 8 rows.
 */
#define DK_TREE_BYTES (64u << 20)
#define DK_TREE_NODES (1u << 18)
#define DK_TREE_DEPTH 64u
#define DK_TREE_NAME 255u
#define DK_TREE_PATH 511u
#define DK_TREE_CELLS 4u        /* in an address or a size */
#define DK_TREE_ROWS 128u       /* in one dma-ranges */
#define DK_TREE_ALL_ROWS 32768u /* in all dma-ranges */
#define DK_TREE_MEMORY 1024u    /* memory ranges */
#define DK_TREE_RESERVED 1024u  /* reserved regions */
#define DK_TREE_ALLOC_RANGES 64u
#define DK_TREE_DIES 256u

/* What reading needs of a node and the board does not keep. */
struct dk_tree_node {
    int properties;            /* offset of its first property in the structure block */
    u8 address_cells;          /* for addresses of its children */
    u8 size_cells;             /* for their sizes */
    bool pci;                  /* its children are PCI functions: the first address cell is flags */
    bool has_dma_ranges;       /* also when empty */
    u32 iommu_cells;           /* #iommu-cells; all ones when missing or malformed */
    const fdt32_t *dma_ranges; /* NULL when empty or missing */
    unsigned dma_range_count;  /* rows */
    int reserved;              /* index into the board's reserved, or -1 */
};

struct dk_tree_phandle {
    u32 phandle;
    unsigned node;
};

struct dk_tree {
    const void *blob;
    struct dk_board *board;           /* being filled */
    struct dk_arena *arena;           /* the board's */
    struct dk_arena *scratch;         /* goes when reading is done */
    struct dk_tree_node *nodes;       /* same indices as board->nodes */
    struct dk_tree_phandle *phandles; /* sorted */
    unsigned phandle_count;
};

/*
 * Reads the structure block into board->nodes (path, name, parent) and tree->nodes. -EINVAL, -ENOMEM.
 * tree->blob was checked by fdt_check_header() and lies wholly in memory.
 */
int dk_tree_read_nodes(struct dk_tree *tree);

/* Fills board->by_path. -EINVAL when two nodes have one path, -ENOMEM. */
int dk_tree_read_paths(struct dk_tree *tree);

/* Fills tree->phandles and the nodes' phandle. -EINVAL for a phandle that is 0 or not unique, -ENOMEM. */
int dk_tree_read_phandles(struct dk_tree *tree);

/* The node with @phandle, or -1. */
int dk_tree_by_phandle(const struct dk_tree *tree, u32 phandle);

/* The node at the full path @path, or -1. */
int dk_tree_by_path(const struct dk_board *board, const char *path);

/* The child of @parent named @name (with unit address, if it has one), or -1. */
int dk_tree_child(const struct dk_tree *tree, unsigned parent, const char *name);

/* Logs "@node: …" as an error. Returns -EINVAL. */
int dk_tree_refuse(const struct dk_tree *tree, unsigned node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The value of @node's property @name and its @size in bytes; NULL when it has none. */
const void *dk_tree_property(const struct dk_tree *tree, unsigned node, const char *name, u32 *size);

/*
 * The name of @node's next property, with its value and @size; NULL after the last. *cursor starts as
 * tree->nodes[node].properties.
 */
const char *dk_tree_next_property(const struct dk_tree *tree, int *cursor, const void **value, u32 *size);

/* Whether @node has the property @name. */
bool dk_tree_flag(const struct dk_tree *tree, unsigned node, const char *name);

/* Sets *value to the property's one cell, or leaves it when there is none. -EINVAL when it is not one cell.
 */
int dk_tree_cell(const struct dk_tree *tree, unsigned node, const char *name, u32 *value);

/* Sets *value to the property's first string, or leaves it when there is none. -EINVAL: not NUL-terminated.
 */
int dk_tree_string(const struct dk_tree *tree, unsigned node, const char *name, const char **value);

/*
 * Sets *list to the property's strings, NULL-terminated, in the board's arena, or to NULL when there is no
 * such property. -EINVAL when the last one is not NUL-terminated, -ENOMEM.
 */
int dk_tree_strings(struct dk_tree *tree, unsigned node, const char *name, const char ***list,
                    unsigned *count);

/* Whether NULL-terminated @list (or NULL) has @string. */
bool dk_tree_list_has(const char *const *list, const char *string);

/* The number in @count cells; false when it does not fit 64 bits. */
bool dk_tree_number(const fdt32_t *cells, unsigned count, u64 *value);

/*
 * A node on a cycle of @next (the node that each node leads to, or -1), or -1 when there is none.
 * @seen is scratch: @count zeroes.
 */
int dk_tree_find_loop(const int *next, unsigned *seen, unsigned count);

#endif
