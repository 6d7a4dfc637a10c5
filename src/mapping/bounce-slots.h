/* SPDX-License-Identifier: MIT */
/*
 * Which slots of a bounce pool are free. Slots are numbers from 0 on, in segments of DK_BOUNCE_SEGMENT; a run
 * is consecutive slots of one segment. Segments are shared out to areas, each with a lock of its own, so that
 * threads, which begin at different ones, seldom meet. A free block (a power of two of slots, aligned to
 * itself) is found by size; only what fits no block is searched for.
 */
#ifndef DK_MAPPING_BOUNCE_SLOTS_H
#define DK_MAPPING_BOUNCE_SLOTS_H

#include <dmakit/types.h>

#define DK_BOUNCE_SEGMENT 128u /* slots */
#define DK_BOUNCE_ORDERS 8u    /* of blocks: 1 to 128 slots */

struct dk_bounce_slots;

/* @count free slots, at least one. NULL: out of memory. */
struct dk_bounce_slots *dk_bounce_slots_create(u64 count);
/* NULL is fine. No other thread may be inside. */
void dk_bounce_slots_destroy(struct dk_bounce_slots *slots);

/*
 * A run of @count slots in [lowest, end) that begins at a multiple of @align: *first and true. @count is 1 to
 * DK_BOUNCE_SEGMENT, @align a power of two no larger. False: there is none. Any thread; takes area locks, one
 * by one.
 */
bool dk_bounce_slots_take(struct dk_bounce_slots *slots, unsigned count, unsigned align, u64 lowest, u64 end,
                          u64 *first);
/* Up to @count blocks of @order, each as a run; returns how many. */
size_t dk_bounce_slots_take_blocks(struct dk_bounce_slots *slots, unsigned order, u64 *firsts, size_t count);
/* Gives a whole run back. False: part of it is free already, or no slot; nothing happens. */
bool dk_bounce_slots_give(struct dk_bounce_slots *slots, u64 first, unsigned count);

/*
 * The first slot of the run that has @slot; where none has it, some slot of its segment, at most @slot. Any
 * context; lock-free.
 */
u64 dk_bounce_slots_first(const struct dk_bounce_slots *slots, u64 slot);

/* Slots in runs now, and the most there ever were. */
void dk_bounce_slots_usage(const struct dk_bounce_slots *slots, u64 *taken, u64 *most);

#endif
