/* SPDX-License-Identifier: MIT */
/*
 * An index of the free runs of an area, for requests of any count and alignment.
 *
 * Units are numbered from 0 as physical memory is, so that an alignment counts from there. Nothing is written
 * into what is free. All calls need the caller's lock, but those that say otherwise.
 *
 * For each order k of alignment there is a tournament over the positions that are multiples of 1 << k: a free
 * run enters it at the first such position in it with the units from there to its end, which is what a
 * request of that alignment can have of it. A node of the tournament holds the most of its 16 children. So
 *
 *  - a search is exact: where any run has an aligned place for a request it finds the lowest one, in a step
 *    for each of log16 levels, however the area is broken up and however many runs are a little too short;
 *  - a search that fails, also one that fails for its alignment alone, is one comparison with a root;
 *  - the longest run that any alignment can have is known at each moment.
 *
 * Size classes, which answer with one bit scan, cannot promise the first: the class of a request holds runs
 * that are too short, and longer classes hold runs that have no aligned place, and looking for the one that
 * fits is a walk through all of them. What the tournaments cost is the change: a run enters one for each
 * alignment it has a place for, in a step for each level, and a level only where the maximum changes.
 *
 * Memory: 12.6 bytes a unit of address space, of which the host keeps only what was touched: a run touches a
 * line or two in each tournament, so that an area that was never broken up costs some KiB whatever its size.
 */
#ifndef DK_MM_FREE_RUNS_H
#define DK_MM_FREE_RUNS_H

#include <dmakit/types.h>

struct dk_free_runs;

/* The most units an index can have. */
#define DK_FREE_RUNS_MOST UINT32_MAX

/* An index over the @count units from @start on, none of them free. NULL: out of memory. @count is not 0 and
 * at most DK_FREE_RUNS_MOST. */
struct dk_free_runs *dk_free_runs_create(u64 start, u64 count);
/* NULL is fine. */
void dk_free_runs_destroy(struct dk_free_runs *runs);

/* Makes the @count units from @at on free, which lie in the index, and none of which is free. Cannot fail. */
void dk_free_runs_give(struct dk_free_runs *runs, u64 at, u64 count);

/*
 * The lowest place for @count units from @low on, its first a multiple of 1 << @order, which ends at or below
 * @high: *at. False: there is none. @count is not 0, @order below 64. Takes nothing.
 */
bool dk_free_runs_find(const struct dk_free_runs *runs, u64 count, unsigned order, u64 low, u64 high,
                       u64 *at);
/* Takes the @count units from @at on, all of them free, out. */
void dk_free_runs_take(struct dk_free_runs *runs, u64 at, u64 count);

/* The first free run that ends above @at: from *start on *count units. False: there is none. */
bool dk_free_runs_next(const struct dk_free_runs *runs, u64 at, u64 *start, u64 *count);

/*
 * The most units that a request aligned to 1 << @order can have. Without the lock it was so at some moment
 * during the call: a change under way is never seen as less than there was before and is after it.
 */
u64 dk_free_runs_largest(const struct dk_free_runs *runs, unsigned order);

/* How many units are free, and in how many runs. */
u64 dk_free_runs_units(const struct dk_free_runs *runs);
u64 dk_free_runs_count(const struct dk_free_runs *runs);

#endif
