/* SPDX-License-Identifier: MIT */
/*
 * Runs of slots or addresses that somebody has done with and that wait before they go on: those of a lazy
 * IOMMU to be unmapped, those in quarantine to be given out again.
 *
 * First in, first out, and bounded in runs and in their sizes, as a count of calls and not of milliseconds,
 * so that a run of the program can be repeated.
 */
#ifndef DK_MAPPING_DELAY_QUEUE_H
#define DK_MAPPING_DELAY_QUEUE_H

#include <dmakit/types.h>

struct dk_delay_queue;

/* Where a run goes in the end: @size units from @start on, and what else was said of it. Mostly called under
 * the queue's lock: it must not come back to the queue. */
typedef void dk_delay_give(void *owner, u64 start, u64 size, unsigned tag);

/* Of at most @runs runs (one or more) of @size units in all. NULL: out of memory. */
struct dk_delay_queue *dk_delay_queue_create(unsigned runs, u64 size, dk_delay_give *give, void *owner);
/* Flushes first. NULL is fine. No other thread may be inside. */
void dk_delay_queue_destroy(struct dk_delay_queue *queue);
/* Takes over a run; for it the oldest may have to go. One that is larger than the queue goes on at once. Any
 * context and thread, as the others. */
void dk_delay_queue_add(struct dk_delay_queue *queue, u64 start, u64 size, unsigned tag);
/* Gives all of it: nobody's run is on its way when this returns. False: there was nothing. */
bool dk_delay_queue_flush(struct dk_delay_queue *queue);
/* How many units are in it. NULL: none. Lock-free. */
u64 dk_delay_queue_held(const struct dk_delay_queue *queue);

#endif
