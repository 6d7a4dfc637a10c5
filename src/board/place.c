/* SPDX-License-Identifier: MIT */
/*
 * Where reserved regions come to lie, and which fail. Static ones first, in tree order, then dynamic ones, as
 * in Linux: each as high as possible in the first of its alloc-ranges with room, or in all of memory.
 */
#include "base/log.h"
#include "board/read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Disjoint ranges, sorted by base. */
struct range_list {
    struct dk_range *ranges;
    unsigned count;
};

static const char out_of_memory[] = "";

static u64 last_of(struct dk_range range)
{
    return range.base + (range.size - 1);
}

static int compare_ranges(const void *left, const void *right)
{
    const struct dk_range *a = left, *b = right;

    return a->base < b->base ? -1 : a->base > b->base;
}

/* Sorts @list and joins what touches or overlaps. */
static void join(struct range_list *list)
{
    unsigned i, kept = 0;

    qsort(list->ranges, list->count, sizeof(*list->ranges), compare_ranges);
    for (i = 1; i < list->count; i++) {
        struct dk_range *last = &list->ranges[kept], next = list->ranges[i];

        if (last_of(*last) != ~0ull && next.base > last_of(*last) + 1)
            list->ranges[++kept] = next;
        else if (last_of(next) > last_of(*last))
            last->size = last_of(next) - last->base + 1;
        if (!last->size)
            last->size = ~0ull; /* all 2^64 bytes can't be said; the last one is given up */
    }
    if (list->count)
        list->count = kept + 1;
}

/* Adds @range, which overlaps nothing in @list. There is room. */
static void insert(struct range_list *list, struct dk_range range)
{
    unsigned at = list->count;

    while (at && list->ranges[at - 1].base > range.base)
        at--;
    memmove(&list->ranges[at + 1], &list->ranges[at], (list->count - at) * sizeof(range));
    list->ranges[at] = range;
    list->count++;
}

static bool holds(const struct range_list *list, struct dk_range range)
{
    unsigned i;

    for (i = 0; i < list->count; i++)
        if (range.base >= list->ranges[i].base && last_of(range) <= last_of(list->ranges[i]))
            return true;
    return false;
}

/*
 * The RAM behind @range: a coherent pool that lies in the uncached alias means the bytes at the alias's
 * target.
 */
static struct dk_range behind(const struct dk_board *board, const struct dk_reserved *region)
{
    const struct dk_uncached_alias *alias = &board->alias;
    struct dk_range range = region->range;

    if (region->kind == DK_RESERVED_COHERENT && alias->size && range.base >= alias->base &&
        last_of(range) <= alias->base + (alias->size - 1))
        range.base = range.base - alias->base + alias->target;
    return range;
}

/* The highest place for @size bytes in @free_in, clear of @taken (both disjoint and sorted). */
static bool place_in(struct dk_range free_in, const struct range_list *taken, u64 size, u64 alignment,
                     u64 *base)
{
    u64 last = last_of(free_in); /* the last byte that is still free */
    unsigned i = taken->count;

    for (;;) {
        u64 at;

        if (last < free_in.base || last - free_in.base < size - 1)
            return false;
        at = (last - (size - 1)) & ~(alignment - 1);
        if (at < free_in.base)
            return false;
        while (i && taken->ranges[i - 1].base > at + (size - 1))
            i--;
        if (!i || last_of(taken->ranges[i - 1]) < at) {
            *base = at;
            return true;
        }
        if (!taken->ranges[i - 1].base)
            return false;
        last = taken->ranges[i - 1].base - 1;
    }
}

static bool place(const struct range_list *memory, const struct range_list *taken, struct dk_range within,
                  const struct dk_placement *placement, u64 *base)
{
    unsigned i = memory->count;

    while (i--) {
        struct dk_range part = memory->ranges[i];
        u64 last;

        if (!dk_ranges_overlap(part, within))
            continue;
        last = last_of(part) < last_of(within) ? last_of(part) : last_of(within);
        part.base = part.base > within.base ? part.base : within.base;
        part.size = last - part.base + 1;
        /* A size of 2^64 reads as 0; there is no such memory. */
        if (part.size && place_in(part, taken, placement->size, placement->alignment, base))
            return true;
    }
    return false;
}

static const char *place_dynamic(const struct range_list *memory, struct range_list *taken,
                                 const struct dk_placement *placement, struct dk_range *range)
{
    const struct dk_range anywhere = { 0, ~0ull };
    unsigned i;
    bool placed = false;

    if (!placement->range_count)
        placed = place(memory, taken, anywhere, placement, &range->base);
    for (i = 0; !placed && i < placement->range_count; i++)
        placed = place(memory, taken, placement->ranges[i], placement, &range->base);
    if (!placed)
        return placement->range_count ? "no room of its size and alignment in its alloc-ranges"
                                      : "no room of its size and alignment in memory";
    insert(taken, *range);
    return NULL;
}

static bool is_entry(const struct dk_reserved *region)
{
    return !strncmp(region->node, "/memreserve/", strlen("/memreserve/"));
}

/*
 * A firmware often reserves in the block what the tree reserves again, without any harm: the two then mean
 * one thing, unless the tree's is a pool, whose pages somebody is to use.
 */
static bool may_overlap(const struct dk_reserved *a, const struct dk_reserved *b)
{
    return (is_entry(a) && b->kind >= DK_RESERVED_NO_MAP) || (is_entry(b) && a->kind >= DK_RESERVED_NO_MAP);
}

/* Why the static region @index fails, given memory and the regions before it; NULL when it does not. */
static const char *check_static(struct dk_tree *tree, const struct range_list *memory, unsigned index)
{
    const struct dk_board *board = tree->board;
    const struct dk_reserved *region = &board->reserved[index];
    struct dk_range range = behind(board, region);
    unsigned i;

    /* Others may lie where there is no RAM, and on real boards do: nobody is to touch them anyway. */
    if (region->kind <= DK_RESERVED_RESTRICTED && !holds(memory, range))
        return "it lies outside memory";
    for (i = 0; i < index; i++) {
        const struct dk_reserved *other = &board->reserved[i];

        if (!other->disabled && !other->dynamic && !other->reason && !may_overlap(region, other) &&
            dk_ranges_overlap(range, behind(board, other))) {
            const char *reason = dk_arena_format(tree->arena, "it overlaps %s", other->node);

            return reason ? reason : out_of_memory;
        }
    }
    return NULL;
}

/* The last sound region with the property is the machine-wide one, as in Linux; an earlier one is reported.
 */
static void choose_default(struct dk_tree *tree, enum dk_reserved_kind kind, const char *property)
{
    struct dk_board *board = tree->board;
    struct dk_reserved *chosen = NULL;
    unsigned i;

    for (i = 0; i < board->reserved_count; i++) {
        struct dk_reserved *region = &board->reserved[i];
        int node = dk_tree_by_path(board, region->node);

        if (region->kind != kind || region->disabled || region->reason || node < 0 ||
            tree->nodes[node].reserved != (int)i || !dk_tree_flag(tree, (unsigned)node, property))
            continue;
        if (chosen) {
            dk_log(DK_LOG_WARNING, "%s: a second %s, after %s; the last one wins", region->node, property,
                   chosen->node);
            chosen->is_default = false;
        }
        chosen = region;
        chosen->is_default = true;
    }
}

static int place_statics(struct dk_tree *tree, const struct range_list *memory, struct range_list *taken)
{
    struct dk_board *board = tree->board;
    unsigned i;

    for (i = 0; i < board->reserved_count; i++) {
        struct dk_reserved *region = &board->reserved[i];

        if (region->disabled || region->dynamic || region->reason)
            continue;
        region->reason = check_static(tree, memory, i);
        if (region->reason == out_of_memory)
            return -ENOMEM;
        if (!region->reason)
            taken->ranges[taken->count++] = behind(board, region);
    }
    join(taken);
    return 0;
}

int dk_place_reserved(struct dk_tree *tree, const struct dk_placement *placements)
{
    struct dk_board *board = tree->board;
    struct range_list memory = { NULL, board->memory_count }, taken = { NULL, 0 };
    unsigned i;
    int error;

    memory.ranges = dk_arena_take(tree->scratch, board->memory_count, sizeof(*memory.ranges));
    taken.ranges = dk_arena_take(tree->scratch, board->reserved_count, sizeof(*taken.ranges));
    if (!memory.ranges || !taken.ranges)
        return -ENOMEM;
    memcpy(memory.ranges, board->memory, board->memory_count * sizeof(*memory.ranges));
    join(&memory);
    error = place_statics(tree, &memory, &taken);
    if (error)
        return error;
    for (i = 0; i < board->reserved_count; i++) {
        struct dk_reserved *region = &board->reserved[i];

        if (!region->disabled && region->dynamic && !region->reason)
            region->reason = place_dynamic(&memory, &taken, &placements[i], &region->range);
    }
    for (i = 0; i < board->reserved_count; i++)
        if (!board->reserved[i].disabled && board->reserved[i].reason)
            dk_log(DK_LOG_WARNING, "%s: reserved region failed: %s", board->reserved[i].node,
                   board->reserved[i].reason);
    choose_default(tree, DK_RESERVED_CMA, "linux,cma-default");
    choose_default(tree, DK_RESERVED_COHERENT, "linux,dma-default");
    return 0;
}
