/* SPDX-License-Identifier: MIT */
/*
 * The steps that read a tree into a board, in the order in which dk_board_parse() takes them. Each returns 0,
 * -EINVAL after logging the node and the reason, or -ENOMEM.
 */
#ifndef DK_BOARD_READ_H
#define DK_BOARD_READ_H

#include "board/tree.h"

/* nodes.c: cells, status, compatible, coherency, bus kind and dma-ranges of every node; model. */
int dk_read_nodes(struct dk_tree *tree);

/* chosen.c: aliases, /chosen with our own bindings, and the cache line. */
int dk_read_aliases(struct dk_tree *tree);
int dk_read_chosen(struct dk_tree *tree);

/* windows.c: windows and below_windows of every enabled node. */
int dk_read_windows(struct dk_tree *tree);

/* iommu.c: iommu, iommu_id and below_iommu of every enabled node; interrupt loops too. */
int dk_read_iommus(struct dk_tree *tree);
int dk_check_interrupts(const struct dk_tree *tree);

/* memory.c: board->memory from @spec, or from the memory nodes when @spec is NULL. May leave it empty. */
int dk_read_memory(struct dk_tree *tree, const char *spec);

/* dies.c: board->dies. */
int dk_read_dies(struct dk_tree *tree);

/* What a dynamic region asks for. */
struct dk_placement {
    u64 size, alignment;     /* bytes; the alignment is a power of two */
    struct dk_range *ranges; /* alloc-ranges; none: anywhere */
    unsigned range_count;
};

/*
 * reserved.c: board->reserved but for what depends on memory; *placements has an entry for each region. Then,
 * once board->memory is known, statuses, bases of dynamic regions and the defaults.
 */
int dk_read_reserved(struct dk_tree *tree, struct dk_placement **placements);
int dk_place_reserved(struct dk_tree *tree, const struct dk_placement *placements);

/* memory.c: sets board->memory to the stated default (docs/boards.md) when it is empty. */
int dk_assume_memory(struct dk_tree *tree, const struct dk_placement *placements);

/* reserved.c: memory-region and memory-region-names of every enabled node. */
int dk_read_regions(struct dk_tree *tree);

/* Whether @range's last byte is below 2^64, and it has one. */
static inline bool dk_range_valid(struct dk_range range)
{
    return range.size && range.base <= ~0ull - (range.size - 1);
}

static inline bool dk_ranges_overlap(struct dk_range a, struct dk_range b)
{
    return a.base <= b.base + (b.size - 1) && b.base <= a.base + (a.size - 1);
}

#endif
