/* SPDX-License-Identifier: MIT */
#include "machine-axis.h"

#include "base/alloc.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

/* Heights in points. A stretch that would be higher than the cap is drawn at the cap, with a break mark. */
static const double least_height = 12;
static const double free_cap = 104;
static const double reserved_cap = 72;
static const double gap_height = 46;
/* Above this the whole axis is scaled down: cairo's pictures end at 32767. */
static const double most_height = 6000;

struct edges {
    u64 *at;
    unsigned count;
    u64 lowest; /* of memory and standing regions */
    u64 highest;
    bool any;
};

static int compare_edges(const void *a, const void *b)
{
    const u64 *left = a;
    const u64 *right = b;

    return (*left > *right) - (*left < *right);
}

static bool stands(const struct dk_reserved *region)
{
    return !region->disabled && !region->reason && region->range.size;
}

static bool in_memory(const struct dk_board *board, u64 address)
{
    for (unsigned i = 0; i < board->memory_count; i++) {
        const struct dk_range *range = &board->memory[i];

        if (address >= range->base && address - range->base < range->size)
            return true;
    }
    return false;
}

static const struct dk_reserved *region_at(const struct dk_board *board, u64 address)
{
    for (unsigned i = 0; i < board->reserved_count; i++) {
        const struct dk_reserved *region = &board->reserved[i];

        if (stands(region) && address >= region->range.base &&
            address - region->range.base < region->range.size)
            return region;
    }
    return NULL;
}

/* Both edges of a range that belongs on the axis whole. */
static void add_range(struct edges *edges, const struct dk_range *range)
{
    u64 last = dk_machine_last(range->base, range->size);

    if (!range->size)
        return;
    if (!edges->any || range->base < edges->lowest)
        edges->lowest = range->base;
    if (!edges->any || last > edges->highest)
        edges->highest = last;
    edges->any = true;
    edges->at[edges->count++] = range->base;
    if (last != UINT64_MAX)
        edges->at[edges->count++] = last + 1;
}

/* The edges of @base, @size that lie inside memory: elsewhere they are not worth a stretch of their own. */
static void add_inner(struct edges *edges, const struct dk_board *board, u64 base, u64 size)
{
    u64 last = dk_machine_last(base, size);

    if (!size)
        return;
    if (in_memory(board, base))
        edges->at[edges->count++] = base;
    if (last != UINT64_MAX && in_memory(board, last))
        edges->at[edges->count++] = last + 1;
}

static void collect_edges(struct edges *edges, const struct dk_machine_view *view)
{
    const struct dk_board *board = view->board;

    for (unsigned i = 0; i < board->memory_count; i++)
        add_range(edges, &board->memory[i]);
    for (unsigned i = 0; i < board->reserved_count; i++) {
        const struct dk_reserved *region = &board->reserved[i];

        if (stands(region))
            add_range(edges, &region->range);
        else if (!region->disabled)
            add_inner(edges, board, region->range.base, region->range.size);
    }
    for (unsigned g = 0; g < view->group_count; g++) {
        const struct dk_machine_group *group = &view->groups[g];

        /* Behind an IOMMU a window bounds bus addresses, not memory. */
        for (unsigned w = 0; group->iommu < 0 && w < group->window_count; w++)
            add_inner(edges, board, group->windows[w].cpu, group->windows[w].size);
    }
    qsort(edges->at, edges->count, sizeof(*edges->at), compare_edges);
}

static void measure(struct dk_stretch *stretch)
{
    double size = (double)(stretch->last - stretch->base) + 1;
    double pages = log2(fmax(size / 4096, 1));
    double height = 0;
    double cap = 0;

    switch (stretch->kind) {
    case DK_STRETCH_GAP:
        height = fmin(gap_height, least_height + 3 * pages);
        stretch->compressed = height >= gap_height;
        break;
    case DK_STRETCH_FREE:
        height = fmax(least_height, 5.5 * pages);
        cap = free_cap;
        stretch->compressed = height > cap;
        break;
    case DK_STRETCH_RESERVED:
        height = least_height + 3.5 * pages;
        cap = reserved_cap;
        break;
    }
    stretch->height = cap > 0 ? fmin(height, cap) : height;
}

static void cut(struct dk_axis *axis, const struct edges *edges, const struct dk_board *board)
{
    for (unsigned i = 0; i < edges->count; i++) {
        u64 base = edges->at[i];
        struct dk_stretch *stretch;

        if (base < edges->lowest || base > edges->highest || (i > 0 && base == edges->at[i - 1]))
            continue;
        stretch = &axis->stretches[axis->count];
        if (axis->count > 0)
            stretch[-1].last = base - 1;
        stretch->base = base;
        stretch->last = edges->highest;
        if (region_at(board, base))
            stretch->kind = DK_STRETCH_RESERVED;
        else
            stretch->kind = in_memory(board, base) ? DK_STRETCH_FREE : DK_STRETCH_GAP;
        axis->count++;
    }
}

static void stack(struct dk_axis *axis, double least)
{
    double scale = 1;

    for (unsigned i = 0; i < axis->count; i++) {
        measure(&axis->stretches[i]);
        axis->height += axis->stretches[i].height;
    }
    if (axis->height < least)
        scale = least / axis->height;
    else if (axis->height > most_height)
        scale = fmax(least, most_height) / axis->height;
    axis->height = 0;
    for (unsigned i = 0; i < axis->count; i++) {
        axis->stretches[i].height *= scale;
        axis->stretches[i].top = axis->height;
        axis->height += axis->stretches[i].height;
    }
}

int dk_axis_init(struct dk_axis *axis, const struct dk_machine_view *view, double least)
{
    struct edges edges = { 0 };
    size_t most = 2 * ((size_t)view->board->memory_count + view->board->reserved_count);

    *axis = (struct dk_axis){ 0 };
    for (unsigned g = 0; g < view->group_count; g++)
        most += 2 * (size_t)view->groups[g].window_count;
    edges.at = dk_allocate(most, sizeof(*edges.at));
    axis->stretches = dk_allocate(most, sizeof(*axis->stretches));
    if (!edges.at || !axis->stretches) {
        dk_release(edges.at);
        dk_axis_finish(axis);
        return -ENOMEM;
    }
    collect_edges(&edges, view);
    if (edges.any) {
        cut(axis, &edges, view->board);
        stack(axis, least);
    }
    dk_release(edges.at);
    return 0;
}

void dk_axis_finish(struct dk_axis *axis)
{
    dk_release(axis->stretches);
    *axis = (struct dk_axis){ 0 };
}

/* The height of the point @offset bytes (up to the whole stretch) into the stretch that holds @address. */
static double height_at(const struct dk_axis *axis, u64 address, double extra)
{
    const struct dk_stretch *stretch = NULL;
    double size;

    if (axis->count == 0 || address < axis->stretches[0].base)
        return 0;
    for (unsigned i = 0; i < axis->count; i++) {
        stretch = &axis->stretches[i];
        if (address <= stretch->last)
            break;
    }
    if (address > stretch->last)
        return axis->height;
    size = (double)(stretch->last - stretch->base) + 1;
    return stretch->top + stretch->height * (((double)(address - stretch->base) + extra) / size);
}

double dk_axis_top(const struct dk_axis *axis, u64 address)
{
    return height_at(axis, address, 0);
}

double dk_axis_bottom(const struct dk_axis *axis, u64 last)
{
    return height_at(axis, last, 1);
}

bool dk_axis_touches(const struct dk_axis *axis, u64 base, u64 last)
{
    return axis->count > 0 && last >= axis->stretches[0].base &&
           base <= axis->stretches[axis->count - 1].last;
}

static int compare_labels(const void *a, const void *b)
{
    const struct dk_label *left = a;
    const struct dk_label *right = b;

    if (left->want != right->want)
        return left->want < right->want ? -1 : 1;
    return left->index < right->index ? -1 : 1;
}

/* Where a run of touching labels begins: the mean of its members' wishes, kept on the page. */
static double run_top(const struct dk_label *run, double upper, double lower)
{
    return fmax(upper, fmin(run->run_want / run->run_count, lower - run->run_height));
}

void dk_labels_spread(struct dk_label *labels, unsigned count, double upper, double lower)
{
    unsigned runs = 0;
    unsigned next = 0;

    qsort(labels, count, sizeof(*labels), compare_labels);
    /* Runs are stacked in the first entries' run_ fields; a run that reaches the one before it joins it. */
    for (unsigned i = 0; i < count; i++) {
        labels[runs].run_want = labels[i].want;
        labels[runs].run_height = labels[i].height;
        labels[runs].run_count = 1;
        runs++;
        while (runs > 1) {
            struct dk_label *before = &labels[runs - 2];
            const struct dk_label *run = &labels[runs - 1];

            if (run_top(before, upper, lower) + before->run_height <= run_top(run, upper, lower))
                break;
            before->run_want += run->run_want - before->run_height * run->run_count;
            before->run_height += run->run_height;
            before->run_count += run->run_count;
            runs--;
        }
    }
    for (unsigned r = 0; r < runs; r++) {
        double top = run_top(&labels[r], upper, lower);

        for (unsigned i = 0; i < labels[r].run_count; i++) {
            labels[next].top = top;
            top += labels[next].height;
            next++;
        }
    }
}
