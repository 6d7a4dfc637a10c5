/* SPDX-License-Identifier: MIT */
#include "mm/free-runs.h"

#include "base/alloc.h"

/* What a test counts: a node with its siblings looked at, or a node written. */
#ifndef DK_FREE_RUNS_STEP
#define DK_FREE_RUNS_STEP() ((void)0)
#endif

#define FAN_SHIFT 4
#define FAN ((u64)1 << FAN_SHIFT)
/* Levels of a tournament over DK_FREE_RUNS_MOST positions, and orders until one position is left. */
#define LEVELS 9
#define ORDERS 33

struct tournament {
    u64 first;    /* position of the first leaf, in units of 1 << order */
    u64 leaves;   /* 0: no position of the order lies in the index */
    unsigned top; /* the level of the root */
    u32 *levels[LEVELS];
};

struct dk_free_runs {
    u64 start, count;
    u64 units, runs; /* free */
    unsigned last;   /* order of the last tournament, the first that has at most one leaf */
    u32 *ends;       /* by unit: of the last unit of a free run its count, 0 of any other */
    u32 *memory;
    struct tournament by_order[ORDERS];
};

static u64 align_up(u64 value, unsigned order)
{
    u64 mask = ((u64)1 << order) - 1;

    return (value + mask) & ~mask;
}

/* ---- One tournament ---- */

/* Entries of each level: whole families, so that looking at siblings needs no bound. */
static u64 level_size(u64 nodes)
{
    return (nodes + FAN - 1) & ~(FAN - 1);
}

/* Sets the tournament's shape; returns how many entries it needs. */
static u64 shape(struct tournament *tournament, u64 start, u64 count, unsigned order)
{
    u64 past = (start + count - 1) >> order, entries = 0, nodes;

    tournament->first = align_up(start, order) >> order;
    tournament->leaves = past >= tournament->first ? past - tournament->first + 1 : 0;
    tournament->top = 0;
    for (nodes = tournament->leaves; nodes > 1; nodes = (nodes + FAN - 1) >> FAN_SHIFT) {
        entries += level_size(nodes);
        tournament->top++;
    }
    return entries + FAN;
}

/* Gives the tournament its entries from @memory on; returns what follows them. */
static u32 *place(struct tournament *tournament, u32 *memory)
{
    u64 nodes = tournament->leaves;

    for (unsigned level = 0; level < tournament->top; level++) {
        tournament->levels[level] = memory;
        memory += level_size(nodes);
        nodes = (nodes + FAN - 1) >> FAN_SHIFT;
    }
    tournament->levels[tournament->top] = memory;
    return memory + FAN;
}

static u32 most_of_family(const u32 *children)
{
    u32 most = 0;

    for (unsigned i = 0; i < FAN; i++)
        most = children[i] > most ? children[i] : most;
    return most;
}

/*
 * Enters @value at leaf @index. Each level is written once and the root last, so that whoever reads the root
 * without the lock sees the maximum before the change or the one after it.
 */
static void enter(struct tournament *tournament, u64 index, u32 value)
{
    for (unsigned level = 0;; level++) {
        u32 *node = &tournament->levels[level][index], before = *node, above;

        DK_FREE_RUNS_STEP();
        if (before == value)
            return;
        __atomic_store_n(node, value, __ATOMIC_RELAXED);
        if (level == tournament->top)
            return;
        above = tournament->levels[level + 1][index >> FAN_SHIFT];
        if (value < above) {
            if (before < above)
                return;
            value = most_of_family(&tournament->levels[level][index & ~(FAN - 1)]);
        }
        index >>= FAN_SHIFT;
    }
}

static u32 root_of(const struct tournament *tournament)
{
    return __atomic_load_n(tournament->levels[tournament->top], __ATOMIC_ACQUIRE);
}

/* The first of the family of node @index at @level, from it on, that has @count; false: none. */
static bool first_sibling(const struct tournament *tournament, unsigned level, u64 *index, u64 count)
{
    const u32 *nodes = tournament->levels[level];
    u64 end = (*index | (FAN - 1)) + 1;

    DK_FREE_RUNS_STEP();
    for (u64 i = *index; i < end; i++) {
        if (nodes[i] >= count) {
            *index = i;
            return true;
        }
    }
    return false;
}

/* The first leaf from *@index on with @count or more. */
static bool find_leaf(const struct tournament *tournament, u64 *index, u64 count)
{
    unsigned level = *index ? 0 : tournament->top;
    u64 at = *index;

    if (at >= tournament->leaves || root_of(tournament) < count)
        return false;
    /* Up, until a later sibling has it; past the end there are families of nothing. */
    while (!first_sibling(tournament, level, &at, count)) {
        if (level == tournament->top)
            return false;
        level++;
        at = (at >> FAN_SHIFT) + 1;
        if (!(at & (FAN - 1))) {
            /* The next family has another parent; the last family has no next one. */
            if (level == tournament->top ||
                at >= level_size((tournament->leaves + ((u64)1 << (FAN_SHIFT * level)) - 1) >>
                                 (FAN_SHIFT * level)))
                return false;
        }
    }
    while (level) {
        level--;
        at <<= FAN_SHIFT;
        if (!first_sibling(tournament, level, &at, count))
            return false;
    }
    *index = at;
    return true;
}

/* The last leaf up to *@index that has anything. */
static bool find_leaf_before(const struct tournament *tournament, u64 *index)
{
    unsigned level = 0;
    u64 at = *index;

    for (;;) {
        u64 family = at & ~(FAN - 1);

        DK_FREE_RUNS_STEP();
        while (at > family && !tournament->levels[level][at])
            at--;
        if (tournament->levels[level][at])
            break;
        if (level == tournament->top || !(at >> FAN_SHIFT))
            return false;
        at = (at >> FAN_SHIFT) - 1;
        level++;
    }
    while (level) {
        level--;
        at = (at << FAN_SHIFT) | (FAN - 1);
        DK_FREE_RUNS_STEP();
        while (!tournament->levels[level][at])
            at--;
    }
    *index = at;
    return true;
}

/* ---- All of them ---- */

struct dk_free_runs *dk_free_runs_create(u64 start, u64 count)
{
    struct dk_free_runs *runs = dk_allocate(1, sizeof(*runs));
    u64 entries = count;
    u32 *memory;

    if (!runs)
        return NULL;
    runs->start = start;
    runs->count = count;
    entries += shape(&runs->by_order[0], start, count, 0);
    while (runs->by_order[runs->last].leaves > 1) {
        runs->last++;
        entries += shape(&runs->by_order[runs->last], start, count, runs->last);
    }
    /* The host keeps of it what is touched. */
    runs->memory = dk_allocate((size_t)entries, sizeof(*runs->memory));
    if (!runs->memory) {
        dk_release(runs);
        return NULL;
    }
    runs->ends = runs->memory;
    memory = runs->memory + count;
    for (unsigned order = 0; order <= runs->last; order++)
        memory = place(&runs->by_order[order], memory);
    return runs;
}

void dk_free_runs_destroy(struct dk_free_runs *runs)
{
    if (!runs)
        return;
    dk_release(runs->memory);
    dk_release(runs);
}

/* Enters at unit @at, a multiple of 1 << @order, that @value units from there on are free. */
static void enter_at(struct dk_free_runs *runs, unsigned order, u64 at, u64 value)
{
    struct tournament *tournament = &runs->by_order[order];

    enter(tournament, (at >> order) - tournament->first, (u32)value);
}

/*
 * Of three runs that become one, the left one's entries grow, and the right one's go where the left part
 * reaches a position of the order: what is larger is entered first.
 */
void dk_free_runs_give(struct dk_free_runs *runs, u64 at, u64 count)
{
    u64 start = at, end = at + count, right = end, left_count, right_count;

    left_count = at > runs->start ? runs->ends[at - 1 - runs->start] : 0;
    right_count = end < runs->start + runs->count ? runs->by_order[0].levels[0][end - runs->start] : 0;
    if (left_count)
        runs->ends[at - 1 - runs->start] = 0;
    start -= left_count;
    end += right_count;
    for (unsigned order = 0; order <= runs->last; order++) {
        u64 first = align_up(start, order), old = align_up(right, order);

        if (first >= end)
            break;
        enter_at(runs, order, first, end - first);
        if (old < end && old != first)
            enter_at(runs, order, old, 0);
    }
    runs->ends[end - 1 - runs->start] = (u32)(end - start);
    runs->units += count;
    runs->runs += 1 - !!left_count - !!right_count;
}

/* The run that holds @at; false: it is not free. */
static bool holding(const struct dk_free_runs *runs, u64 at, u64 *start, u64 *end)
{
    u64 index = at - runs->start;

    if (at < runs->start || index >= runs->count || !find_leaf_before(&runs->by_order[0], &index))
        return false;
    *start = runs->start + index;
    *end = *start + runs->by_order[0].levels[0][index];
    return *end > at;
}

/* What is right of the taken part is entered before what was there is made smaller. */
void dk_free_runs_take(struct dk_free_runs *runs, u64 at, u64 count)
{
    u64 start, end, past = at + count;

    if (!holding(runs, at, &start, &end) || past > end)
        return;
    for (unsigned order = 0; order <= runs->last; order++) {
        u64 first = align_up(start, order), right = align_up(past, order);

        if (first >= end)
            break;
        if (right < end && right != first)
            enter_at(runs, order, right, end - right);
        if (first < past)
            enter_at(runs, order, first, first < at ? at - first : 0);
    }
    if (at > start)
        runs->ends[at - 1 - runs->start] = (u32)(at - start);
    runs->ends[end - 1 - runs->start] = (u32)(end - past);
    runs->units -= count;
    runs->runs += (at > start) + (past < end) - 1;
}

/* The one position of an order above all tournaments' is the last one's, if it is aligned so far. */
static bool has_order(const struct dk_free_runs *runs, unsigned order)
{
    const struct tournament *last = &runs->by_order[runs->last];

    return order <= runs->last || (last->leaves && !(last->first & (((u64)1 << (order - runs->last)) - 1)));
}

bool dk_free_runs_find(const struct dk_free_runs *runs, u64 count, unsigned order, u64 low, u64 high, u64 *at)
{
    unsigned index = order < runs->last ? order : runs->last;
    const struct tournament *tournament = &runs->by_order[index];
    u64 start, end, first, leaf = 0;

    if (!has_order(runs, order) || root_of(tournament) < count)
        return false;
    if (low > runs->start) {
        /* The run that reaches over @low is entered below it. */
        if (low - runs->start >= runs->count)
            return false;
        first = align_up(low, index);
        if (holding(runs, low, &start, &end) && first < end && end - first >= count)
            goto found;
        leaf = (first >> index) - tournament->first;
    }
    if (!find_leaf(tournament, &leaf, count))
        return false;
    first = (tournament->first + leaf) << index;

found:
    if (first >= high || high - first < count)
        return false;
    *at = first;
    return true;
}

bool dk_free_runs_next(const struct dk_free_runs *runs, u64 at, u64 *start, u64 *count)
{
    u64 leaf = 0, end;

    if (at > runs->start) {
        if (at - runs->start >= runs->count)
            return false;
        if (holding(runs, at, start, &end)) {
            *count = end - *start;
            return true;
        }
        leaf = at - runs->start;
    }
    if (!find_leaf(&runs->by_order[0], &leaf, 1))
        return false;
    *start = runs->start + leaf;
    *count = runs->by_order[0].levels[0][leaf];
    return true;
}

u64 dk_free_runs_largest(const struct dk_free_runs *runs, unsigned order)
{
    if (!has_order(runs, order))
        return 0;
    return root_of(&runs->by_order[order < runs->last ? order : runs->last]);
}

u64 dk_free_runs_units(const struct dk_free_runs *runs)
{
    return runs->units;
}

u64 dk_free_runs_count(const struct dk_free_runs *runs)
{
    return runs->runs;
}
