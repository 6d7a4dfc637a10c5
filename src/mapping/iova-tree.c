/* SPDX-License-Identifier: MIT */
#include "mapping/iova-tree.h"

#include "base/alloc.h"
#include <dmakit/error.h>

enum node_state {
    FREE,
    TAKEN,   /* one of the blocks that a range consists of */
    OUTSIDE, /* reserved, or never in the space */
};

/* Only a leaf's state and ends mean something. */
struct dk_iova_node {
    struct dk_iova_node *halves; /* the low and the high one; NULL: a leaf, whose pages are all alike */
    u64 prefix;                  /* how many pages from its start on are free */
    u64 fits;   /* bit k: below lies an aligned block of 1 << k pages, free for more than half */
    u8 largest; /* 1 + the order of the largest aligned free block below; 0: there is none */
    u8 state;
    bool is_first, is_last; /* of its range */
};

#define SLAB_PAIRS 63

struct dk_iova_slab {
    struct dk_iova_slab *next;
    struct dk_iova_node pairs[SLAB_PAIRS][2];
};

/* A part of the tree, as functions here go down it. */
struct block {
    struct dk_iova_node *node;
    u64 start;
    unsigned order;
};

struct range {
    u64 start, end; /* exclusive */
};

static u64 pages_of(unsigned order)
{
    return 1ull << order;
}

static u64 end_of(struct block block)
{
    return block.start + pages_of(block.order);
}

static struct block low_half(struct block block)
{
    return (struct block){ &block.node->halves[0], block.start, block.order - 1 };
}

static struct block high_half(struct block block)
{
    return (struct block){ &block.node->halves[1], block.start + pages_of(block.order - 1), block.order - 1 };
}

static struct block root_of(const struct dk_iova_tree *tree)
{
    return (struct block){ tree->root, tree->start, tree->order };
}

/* One page has no halves in any case. */
static bool is_leaf(struct block block)
{
    return !block.order || !block.node->halves;
}

static bool meets(struct block block, struct range range)
{
    return block.start < range.end && range.start < end_of(block);
}

static bool lies_in(struct block block, struct range range)
{
    return range.start <= block.start && end_of(block) <= range.end;
}

/* ---- Nodes ---- */

static void give_pair(struct dk_iova_tree *tree, struct dk_iova_node *pair)
{
    pair->halves = tree->spare;
    tree->spare = pair;
    tree->spare_count++;
}

/* Of the spare ones, which reserve_pairs() saw to. */
static struct dk_iova_node *take_pair(struct dk_iova_tree *tree)
{
    struct dk_iova_node *pair = tree->spare;

    tree->spare = pair->halves;
    tree->spare_count--;
    return pair;
}

/* Makes sure of @count spare pairs, so that what follows cannot stop half-way. False: out of memory. */
static bool reserve_pairs(struct dk_iova_tree *tree, size_t count)
{
    while (tree->spare_count < count) {
        struct dk_iova_slab *slab = dk_allocate(1, sizeof(*slab));

        if (!slab)
            return false;
        slab->next = tree->slabs;
        tree->slabs = slab;
        for (size_t i = 0; i < SLAB_PAIRS; i++)
            give_pair(tree, slab->pairs[i]);
    }
    return true;
}

static void make_leaf(struct block block, enum node_state state)
{
    struct dk_iova_node *node = block.node;

    node->halves = NULL;
    node->state = (u8)state;
    node->is_first = false;
    node->is_last = false;
    node->prefix = state == FREE ? pages_of(block.order) : 0;
    node->fits = state == FREE ? 2 * pages_of(block.order) - 1 : 0;
    node->largest = state == FREE ? (u8)(block.order + 1) : 0;
}

/* Gives a leaf halves of its own state, which is not TAKEN. */
static void split(struct dk_iova_tree *tree, struct block block)
{
    block.node->halves = take_pair(tree);
    make_leaf(low_half(block), block.node->state);
    make_leaf(high_half(block), block.node->state);
}

/* Ranges stay apart, since each is to be given back as it was taken. */
static bool are_alike(const struct dk_iova_node *low, const struct dk_iova_node *high)
{
    return !low->halves && !high->halves && low->state == high->state && low->state != TAKEN;
}

/* Brings the node of @block in line with its halves. */
static void summarize(struct dk_iova_tree *tree, struct block block)
{
    struct dk_iova_node *node = block.node, *low = &node->halves[0], *high = &node->halves[1];
    u64 half = pages_of(block.order - 1);

    if (are_alike(low, high)) {
        give_pair(tree, low);
        make_leaf(block, low->state);
        return;
    }
    node->prefix = low->prefix == half ? half + high->prefix : low->prefix;
    node->largest = low->largest > high->largest ? low->largest : high->largest;
    node->fits = low->fits | high->fits;
    if (node->prefix > half)
        node->fits |= pages_of(block.order);
}

static void add_free(struct dk_iova_tree *tree, u64 pages)
{
    __atomic_store_n(&tree->free, tree->free + pages, __ATOMIC_RELAXED);
}

/*
 * Puts all blocks of @range in @state; none of them is in two minds about it: what becomes TAKEN is free,
 * what becomes FREE is exactly one range, what becomes OUTSIDE is not taken. Takes at most as many pairs as
 * both ends of the range have levels above them.
 */
static void set_state(struct dk_iova_tree *tree, struct block block, struct range range,
                      enum node_state state)
{
    struct dk_iova_node *node = block.node;

    if (!meets(block, range))
        return;
    if (is_leaf(block)) {
        if (node->state == state)
            return;
        if (!block.order || lies_in(block, range)) {
            if (node->state == FREE)
                add_free(tree, 0 - pages_of(block.order));
            if (state == FREE)
                add_free(tree, pages_of(block.order));
            make_leaf(block, state);
            node->is_first = block.start == range.start;
            node->is_last = end_of(block) == range.end;
            return;
        }
        split(tree, block);
    }
    set_state(tree, low_half(block), range, state);
    set_state(tree, high_half(block), range, state);
    summarize(tree, block);
}

static bool any_taken(struct block block, struct range range)
{
    if (!meets(block, range))
        return false;
    if (is_leaf(block))
        return block.node->state == TAKEN;
    return any_taken(low_half(block), range) || any_taken(high_half(block), range);
}

/* Whether @range is one that was taken: its blocks are, and only its own ends are ends. */
static bool is_one_range(struct block block, struct range range)
{
    const struct dk_iova_node *node = block.node;

    if (!meets(block, range))
        return true;
    if (is_leaf(block))
        return node->state == TAKEN && lies_in(block, range) &&
               node->is_first == (block.start == range.start) &&
               node->is_last == (end_of(block) == range.end);
    return is_one_range(low_half(block), range) && is_one_range(high_half(block), range);
}

/* ---- The search ---- */

struct want {
    u64 pages;
    unsigned order; /* @pages rounded up */
    u64 highest;    /* place that is low enough */
};

static bool may_fit(const struct dk_iova_node *node, const struct want *want)
{
    if (want->pages == pages_of(want->order))
        return node->largest > want->order;
    return node->fits & pages_of(want->order);
}

/* The highest place in @block, whose order is at least what is wanted. */
static bool find(struct block block, const struct want *want, u64 *place)
{
    u64 top;

    if (block.start > want->highest || !may_fit(block.node, want))
        return false;
    if (block.order == want->order) {
        *place = block.start;
        return block.node->prefix >= want->pages;
    }
    if (is_leaf(block)) {
        top = end_of(block) - pages_of(want->order);
        *place = top <= want->highest ? top : want->highest & ~(pages_of(want->order) - 1);
        return true;
    }
    return find(high_half(block), want, place) || find(low_half(block), want, place);
}

/* ---- The tree ---- */

bool dk_iova_tree_take(struct dk_iova_tree *tree, u64 pages, u64 below, u64 end, u64 *place)
{
    struct want want = { .pages = pages };

    if (!pages || pages > pages_of(tree->order) || below > end)
        return false;
    want.order = dk_iova_order(pages);
    want.highest = end - below;
    if (!find(root_of(tree), &want, place) || !reserve_pairs(tree, tree->order))
        return false;
    set_state(tree, root_of(tree), (struct range){ *place, *place + pages }, TAKEN);
    return true;
}

bool dk_iova_tree_give(struct dk_iova_tree *tree, u64 place, u64 pages)
{
    struct range range = { place, place + pages };

    if (place < tree->first || place > tree->last || !pages || pages - 1 > tree->last - place ||
        !is_one_range(root_of(tree), range))
        return false;
    set_state(tree, root_of(tree), range, FREE);
    return true;
}

int dk_iova_tree_reserve(struct dk_iova_tree *tree, u64 first, u64 last)
{
    struct range range = { first > tree->first ? first : tree->first,
                           (last < tree->last ? last : tree->last) + 1 };

    if (range.start >= range.end)
        return 0;
    if (any_taken(root_of(tree), range))
        return -EBUSY;
    if (!reserve_pairs(tree, 2 * (size_t)tree->order))
        return -ENOMEM;
    set_state(tree, root_of(tree), range, OUTSIDE);
    return 0;
}

int dk_iova_tree_init(struct dk_iova_tree *tree, u64 first, u64 last)
{
    struct block root;

    *tree = (struct dk_iova_tree){ .first = first, .last = last };
    /* The smallest block that holds both ends; for one page the root itself. */
    tree->order = first == last ? 0 : 64 - (unsigned)__builtin_clzll(first ^ last);
    tree->start = first & ~(pages_of(tree->order) - 1);
    if (!reserve_pairs(tree, 1 + 2 * (size_t)tree->order)) {
        dk_iova_tree_finish(tree);
        return -ENOMEM;
    }
    /* Its other half is not used. */
    tree->root = take_pair(tree);
    root = root_of(tree);
    make_leaf(root, OUTSIDE);
    set_state(tree, root, (struct range){ first, last + 1 }, FREE);
    return 0;
}

void dk_iova_tree_finish(struct dk_iova_tree *tree)
{
    while (tree->slabs) {
        struct dk_iova_slab *slab = tree->slabs;

        tree->slabs = slab->next;
        dk_release(slab);
    }
}
