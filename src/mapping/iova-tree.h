/* SPDX-License-Identifier: MIT */
/*
 * Which pages of an address space are taken: a buddy tree that is made as it is split.
 *
 * A node stands for an aligned power of two of pages, and has two halves once parts of it differ. It keeps
 * what fits below it, so that a search goes down one path, and one more where the limit runs through; halves
 * that become alike are put together again. The lowest nodes have a bit for each page. Numbers are pages
 * here. The caller locks.
 */
#ifndef DK_MAPPING_IOVA_TREE_H
#define DK_MAPPING_IOVA_TREE_H

#include <dmakit/types.h>

struct dk_iova_cell;
struct dk_iova_node;
struct dk_iova_slab;

struct dk_iova_tree {
    struct dk_iova_node *root;
    unsigned order;             /* of the root */
    u64 start;                  /* of the root */
    u64 first, last;            /* of the space, which the root may overlap */
    u64 free;                   /* pages; atomic access, since it is read without the lock */
    struct dk_iova_cell *spare; /* memory for nodes */
    size_t spare_count;
    struct dk_iova_slab *slabs;
};

/* The smallest order whose blocks hold @pages, which is above 0: 0 for 1, 2 for 3. */
static inline unsigned dk_iova_order(u64 pages)
{
    return 63 - (unsigned)__builtin_clzll(2 * pages - 1);
}

/* Sets @tree up with [@first, @last] free. 0 or -ENOMEM, and nothing is left to finish. */
int dk_iova_tree_init(struct dk_iova_tree *tree, u64 first, u64 last);
/* Frees all that hangs on @tree, whatever is taken. */
void dk_iova_tree_finish(struct dk_iova_tree *tree);

/*
 * Takes @pages free ones, aligned to their number rounded up to a power of two: the highest place of which
 * the first @below pages end at @end or before. False: there is none, or out of memory.
 *
 * The way down is as long as the tree is deep. For what is not a power of two it may turn back at blocks that
 * are free for more than half of their length, but not for all of @pages.
 */
bool dk_iova_tree_take(struct dk_iova_tree *tree, u64 pages, u64 below, u64 end, u64 *place);
/* Gives back exactly what was taken. False: that is not taken, or not as one; nothing changed. Needs no
 * memory. */
bool dk_iova_tree_give(struct dk_iova_tree *tree, u64 place, u64 pages);

/*
 * Takes what lies of [@first, @last] in the space out of it for good. 0, -EBUSY: a part of it is taken, or
 * -ENOMEM; nothing changed then.
 */
int dk_iova_tree_reserve(struct dk_iova_tree *tree, u64 first, u64 last);

#endif
