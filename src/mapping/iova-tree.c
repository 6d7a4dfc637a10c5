/* SPDX-License-Identifier: MIT */
#include "mapping/iova-tree.h"

#include "base/alloc.h"
#include <dmakit/error.h>

/* The lowest nodes stand for 1 << MAP_ORDER pages, which are the bits of a word. */
#define MAP_ORDER 6
#define MAP_PAGES 64u
/* The nodes from one up to the root, by order. */
#define ORDERS 53

enum node_state {
    FREE,
    TAKEN,   /* one of the parts that a range consists of */
    OUTSIDE, /* reserved, or never in the space */
};

/* Pages that are not all alike: a bit each. */
struct page_map {
    u64 free, taken;
    u64 first, last; /* of a range; taken too */
};

struct dk_iova_node {
    /* NULL: a leaf, whose pages are all alike. */
    union {
        struct dk_iova_node *halves; /* the low and the high one */
        struct page_map *map;        /* of a node of MAP_ORDER */
    };
    u64 prefix; /* how many pages from its start on are free */
    u64 fits;   /* bit k: below lies an aligned block of 1 << k pages whose first half and one page more are
                   free */
    u8 largest; /* 1 + the order of the largest aligned free block below; 0: there is none */
    u8 state;   /* a leaf's, as are the ends */
    bool is_first, is_last; /* of its range */
};

/* What hangs below a node. */
struct dk_iova_cell {
    union {
        struct dk_iova_node halves[2];
        struct page_map map;
        struct dk_iova_cell *next; /* spare */
    };
};

#define SLAB_CELLS 63

struct dk_iova_slab {
    struct dk_iova_slab *next;
    struct dk_iova_cell cells[SLAB_CELLS];
};

struct way {
    struct dk_iova_node *nodes[ORDERS];
};

/* The bits of a map where blocks of an order start. */
static const u64 starts_of[MAP_ORDER + 1] = {
    0xffffffffffffffff, 0x5555555555555555, 0x1111111111111111, 0x0101010101010101,
    0x0001000100010001, 0x0000000100000001, 0x0000000000000001,
};

static u64 pages_of(unsigned order)
{
    return 1ull << order;
}

/* The bits of pages [@start, @end), which lie in one map; there is at least one. */
static u64 bits_of(u64 start, u64 end)
{
    return ~0ull >> (MAP_PAGES - (end - start)) << start % MAP_PAGES;
}

/* ---- Nodes ---- */

static void give_cell(struct dk_iova_tree *tree, void *memory)
{
    struct dk_iova_cell *cell = memory;

    cell->next = tree->spare;
    tree->spare = cell;
    tree->spare_count++;
}

/* Of the spare ones, which reserve_cells() saw to. */
static struct dk_iova_cell *take_cell(struct dk_iova_tree *tree)
{
    struct dk_iova_cell *cell = tree->spare;

    tree->spare = cell->next;
    tree->spare_count--;
    return cell;
}

/* What one end of a range can ask for, where it lies inside blocks: a cell for each level above it. */
static size_t levels(const struct dk_iova_tree *tree)
{
    return tree->order - MAP_ORDER + 1;
}

/* Makes sure of @count spare cells, so that what follows cannot stop half-way. False: out of memory. */
static bool reserve_cells(struct dk_iova_tree *tree, size_t count)
{
    while (tree->spare_count < count) {
        struct dk_iova_slab *slab = dk_allocate(1, sizeof(*slab));

        if (!slab)
            return false;
        slab->next = tree->slabs;
        tree->slabs = slab;
        for (size_t i = 0; i < SLAB_CELLS; i++)
            give_cell(tree, &slab->cells[i]);
    }
    return true;
}

static void make_leaf(struct dk_iova_node *node, unsigned order, enum node_state state)
{
    node->halves = NULL;
    node->state = (u8)state;
    node->is_first = false;
    node->is_last = false;
    node->prefix = state == FREE ? pages_of(order) : 0;
    node->fits = state == FREE ? 2 * pages_of(order) - 1 : 0;
    node->largest = state == FREE ? (u8)(order + 1) : 0;
}

/* Gives a leaf halves of its own state, which is not TAKEN; or a map. */
static void split(struct dk_iova_tree *tree, struct dk_iova_node *node, unsigned order)
{
    struct dk_iova_cell *cell = take_cell(tree);

    if (order == MAP_ORDER) {
        cell->map = (struct page_map){ .free = node->state == FREE ? ~0ull : 0 };
        node->map = &cell->map;
    } else {
        node->halves = cell->halves;
        make_leaf(&node->halves[0], order - 1, node->state);
        make_leaf(&node->halves[1], order - 1, node->state);
    }
}

static void unsplit(struct dk_iova_tree *tree, struct dk_iova_node *node, unsigned order,
                    enum node_state state)
{
    give_cell(tree, node->halves);
    make_leaf(node, order, state);
}

/* False: they were so. */
static bool set_summary(struct dk_iova_node *node, u64 prefix, u8 largest, u64 fits)
{
    if (prefix == node->prefix && largest == node->largest && fits == node->fits)
        return false;
    node->prefix = prefix;
    node->largest = largest;
    node->fits = fits;
    return true;
}

static bool summarize_map(struct dk_iova_tree *tree, struct dk_iova_node *node)
{
    u64 free = node->map->free, blocks = free, fits = free ? 1 : 0;
    u8 largest = free ? 1 : 0;

    if (!~free || !(free | node->map->taken)) {
        unsplit(tree, node, MAP_ORDER, free ? FREE : OUTSIDE);
        return true;
    }
    for (unsigned order = 1; order <= MAP_ORDER; order++) {
        unsigned half = 1u << (order - 1);
        u64 halves = blocks & starts_of[order];

        if (halves & free >> half)
            fits |= pages_of(order);
        blocks = halves & blocks >> half;
        if (blocks)
            largest = (u8)(order + 1);
    }
    return set_summary(node, (u64)__builtin_ctzll(~free), largest, fits);
}

/* Ranges stay apart, since each is to be given back as it was taken. */
static bool are_alike(const struct dk_iova_node *low, const struct dk_iova_node *high)
{
    return !low->halves && !high->halves && low->state == high->state && low->state != TAKEN;
}

static bool summarize_halves(struct dk_iova_tree *tree, struct dk_iova_node *node, unsigned order)
{
    struct dk_iova_node *low = &node->halves[0], *high = &node->halves[1];
    u64 half = pages_of(order - 1), prefix;

    if (are_alike(low, high)) {
        unsplit(tree, node, order, low->state);
        return true;
    }
    prefix = low->prefix == half ? half + high->prefix : low->prefix;
    return set_summary(node, prefix, low->largest > high->largest ? low->largest : high->largest,
                       low->fits | high->fits | (prefix > half ? pages_of(order) : 0));
}

/* Brings @node in line with what is below it. False: it was, and so is all above. */
static bool summarize(struct dk_iova_tree *tree, struct dk_iova_node *node, unsigned order)
{
    return order == MAP_ORDER ? summarize_map(tree, node) : summarize_halves(tree, node, order);
}

/* Takes away what hangs below @node. Returns how many pages there were free. */
static u64 join(struct dk_iova_tree *tree, struct dk_iova_node *node, unsigned order)
{
    u64 free;

    if (!node->halves)
        return node->state == FREE ? pages_of(order) : 0;
    if (order == MAP_ORDER)
        free = (u64)__builtin_popcountll(node->map->free);
    else
        free = join(tree, &node->halves[0], order - 1) + join(tree, &node->halves[1], order - 1);
    give_cell(tree, node->halves);
    node->halves = NULL;
    return free;
}

static bool any_taken_below(const struct dk_iova_node *node, unsigned order)
{
    if (!node->halves)
        return node->state == TAKEN;
    if (order == MAP_ORDER)
        return node->map->taken;
    return any_taken_below(&node->halves[0], order - 1) || any_taken_below(&node->halves[1], order - 1);
}

/* ---- Ranges ---- */

struct range {
    u64 start, end; /* exclusive */
};

/* What of a range concerns one node: its block, or some pages of its map. */
struct part {
    u64 start, end;
    unsigned order; /* of the node */
};

/* The first and largest part of @rest. */
static struct part first_part(struct range rest)
{
    u64 map_end = (rest.start | (MAP_PAGES - 1)) + 1;
    struct part part = { rest.start, map_end < rest.end ? map_end : rest.end, MAP_ORDER };

    if (part.end - part.start == MAP_PAGES) {
        unsigned fitting = 63 - (unsigned)__builtin_clzll(rest.end - rest.start);
        unsigned aligned = rest.start ? (unsigned)__builtin_ctzll(rest.start) : fitting;

        part.order = aligned < fitting ? aligned : fitting;
        part.end = part.start + pages_of(part.order);
    }
    return part;
}

static bool is_block(struct part part)
{
    return part.end - part.start == pages_of(part.order);
}

/* Goes down to the node of @part, or the leaf that it is in; returns the order where it stopped. */
static unsigned descend(const struct dk_iova_tree *tree, struct part part, struct way *way)
{
    struct dk_iova_node *node = tree->root;
    unsigned order = tree->order;

    while (order > part.order && node->halves) {
        way->nodes[order--] = node;
        node = &node->halves[part.start >> order & 1];
    }
    way->nodes[order] = node;
    return order;
}

/* Returns how many of the pages were free. */
static u64 set_bits(struct page_map *map, struct part part, enum node_state state, struct range range)
{
    u64 bits = bits_of(part.start, part.end);
    u64 free = (u64)__builtin_popcountll(map->free & bits);

    map->free &= ~bits;
    map->taken &= ~bits;
    map->first &= ~bits;
    map->last &= ~bits;
    if (state == FREE)
        map->free |= bits;
    if (state != TAKEN)
        return free;
    map->taken |= bits;
    if (part.start == range.start)
        map->first |= 1ull << part.start % MAP_PAGES;
    if (part.end == range.end)
        map->last |= 1ull << (part.end - 1) % MAP_PAGES;
    return free;
}

static void set_part(struct dk_iova_tree *tree, struct part part, enum node_state state, struct range range)
{
    struct way way;
    unsigned top = tree->order, order = descend(tree, part, &way);
    struct dk_iova_node *node = way.nodes[order];
    u64 free = tree->free;

    if (!node->halves && node->state == state)
        return;
    while (order > part.order) {
        split(tree, node, order--);
        node = &node->halves[part.start >> order & 1];
        way.nodes[order] = node;
    }
    if (is_block(part)) {
        free -= join(tree, node, order);
        make_leaf(node, order, state);
        node->is_first = part.start == range.start;
        node->is_last = part.end == range.end;
        order++;
    } else {
        if (!node->map)
            split(tree, node, order);
        free -= set_bits(node->map, part, state, range);
    }
    if (state == FREE)
        free += part.end - part.start;
    __atomic_store_n(&tree->free, free, __ATOMIC_RELAXED);
    while (order <= top && summarize(tree, way.nodes[order], order))
        order++;
}

/* Makes @range TAKEN, which was free; FREE, which was exactly one that was taken; or OUTSIDE, of which
 * nothing was taken. */
static void set_range(struct dk_iova_tree *tree, struct range range, enum node_state state)
{
    struct range rest = range;

    while (rest.start < rest.end) {
        struct part part = first_part(rest);

        set_part(tree, part, state, range);
        rest.start = part.end;
    }
}

/* Whether @part of @range is taken, and begins and ends with it alone. */
static bool is_part_of(const struct dk_iova_tree *tree, struct part part, struct range range)
{
    struct way way;
    unsigned order = descend(tree, part, &way);
    const struct dk_iova_node *node = way.nodes[order];
    bool is_first = part.start == range.start, is_last = part.end == range.end;
    u64 bits;

    if (order != part.order)
        return false;
    if (is_block(part))
        return !node->halves && node->state == TAKEN && node->is_first == is_first &&
               node->is_last == is_last;
    if (!node->map)
        return false;
    bits = bits_of(part.start, part.end);
    /* Between its ends, pages are taken. */
    return (node->map->first & bits) == (is_first ? 1ull << part.start % MAP_PAGES : 0) &&
           (node->map->last & bits) == (is_last ? 1ull << (part.end - 1) % MAP_PAGES : 0);
}

/* Whether @range was taken as one. */
static bool is_one_range(const struct dk_iova_tree *tree, struct range range)
{
    struct range rest = range;

    while (rest.start < rest.end) {
        struct part part = first_part(rest);

        if (!is_part_of(tree, part, range))
            return false;
        rest.start = part.end;
    }
    return true;
}

static bool any_taken(const struct dk_iova_tree *tree, struct range rest)
{
    struct way way;

    while (rest.start < rest.end) {
        struct part part = first_part(rest);
        unsigned order = descend(tree, part, &way);
        const struct dk_iova_node *node = way.nodes[order];

        if (is_block(part) || !node->halves) {
            if (any_taken_below(node, order))
                return true;
        } else if (node->map->taken & bits_of(part.start, part.end)) {
            return true;
        }
        rest.start = part.end;
    }
    return false;
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

/* In the map of the pages from @start on. */
static bool find_in_map(const struct page_map *map, u64 start, const struct want *want, u64 *place)
{
    u64 runs = map->free; /* where so many free pages start: */
    u64 length = 1;

    while (length < want->pages) {
        u64 more = length < want->pages - length ? length : want->pages - length;

        runs &= runs >> more;
        length += more;
    }
    runs &= starts_of[want->order];
    if (want->highest - start < MAP_PAGES - 1)
        runs &= bits_of(start, want->highest + 1);
    if (!runs)
        return false;
    *place = start + 63 - (u64)__builtin_clzll(runs);
    return true;
}

/* Goes down the high halves, and back to the lowest block whose low half is still to be looked at. */
static bool find(const struct dk_iova_tree *tree, const struct want *want, u64 *place)
{
    const struct dk_iova_node *above[ORDERS], *node = tree->root;
    u64 start = tree->start, untried = 0; /* a bit for the order of each such block */
    unsigned order = tree->order;

    for (;;) {
        if (start <= want->highest && may_fit(node, want)) {
            if (order == want->order) {
                *place = start;
                if (node->prefix >= want->pages)
                    return true;
            } else if (!node->halves) {
                u64 top = start + pages_of(order) - pages_of(want->order);

                *place = top <= want->highest ? top : want->highest & ~(pages_of(want->order) - 1);
                return true;
            } else if (order == MAP_ORDER) {
                if (find_in_map(node->map, start, want, place))
                    return true;
            } else {
                untried |= pages_of(order);
                above[order--] = node;
                start += pages_of(order);
                node = &node->halves[1];
                continue;
            }
        }
        if (!untried)
            return false;
        order = (unsigned)__builtin_ctzll(untried);
        untried &= untried - 1;
        start &= ~(pages_of(order) - 1);
        node = above[order--]->halves;
    }
}

/* ---- The tree ---- */

bool dk_iova_tree_take(struct dk_iova_tree *tree, u64 pages, u64 below, u64 end, u64 *place)
{
    struct want want = { .pages = pages };

    if (!pages || pages > pages_of(tree->order) || below > end)
        return false;
    want.order = dk_iova_order(pages);
    want.highest = end - below;
    if (!find(tree, &want, place) || !reserve_cells(tree, levels(tree)))
        return false;
    set_range(tree, (struct range){ *place, *place + pages }, TAKEN);
    return true;
}

bool dk_iova_tree_give(struct dk_iova_tree *tree, u64 place, u64 pages)
{
    struct range range = { place, place + pages };

    if (place < tree->first || place > tree->last || !pages || pages - 1 > tree->last - place ||
        !is_one_range(tree, range))
        return false;
    set_range(tree, range, FREE);
    return true;
}

int dk_iova_tree_reserve(struct dk_iova_tree *tree, u64 first, u64 last)
{
    struct range range = { first > tree->first ? first : tree->first,
                           (last < tree->last ? last : tree->last) + 1 };

    if (any_taken(tree, range))
        return -EBUSY;
    if (!reserve_cells(tree, 2 * levels(tree)))
        return -ENOMEM;
    set_range(tree, range, OUTSIDE);
    return 0;
}

int dk_iova_tree_init(struct dk_iova_tree *tree, u64 first, u64 last)
{
    *tree = (struct dk_iova_tree){ .first = first, .last = last };
    /* The smallest block that holds both ends. */
    tree->order = 63 - (unsigned)__builtin_clzll((first ^ last) << 1 | 1);
    if (tree->order < MAP_ORDER)
        tree->order = MAP_ORDER;
    tree->start = first & ~(pages_of(tree->order) - 1);
    if (!reserve_cells(tree, 1 + 2 * levels(tree))) {
        dk_iova_tree_finish(tree);
        return -ENOMEM;
    }
    tree->root = take_cell(tree)->halves;
    make_leaf(tree->root, tree->order, OUTSIDE);
    set_range(tree, (struct range){ first, last + 1 }, FREE);
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
