/* SPDX-License-Identifier: MIT */
/*
 * How many live mappings a device may write through, for each cache line of the machine's memory.
 *
 * A filter: a line that only one mapping touches is the common case and costs a byte's increment. A count is
 * never trusted alone (it saturates, and lines whose counters found no memory have none): who shares the line
 * is then looked up among the mappings themselves, which the shadow also keeps by physical address.
 */
#ifndef DK_CHECK_SHADOW_H
#define DK_CHECK_SHADOW_H

#include "check/intervals.h"
#include "check/lock.h"

struct dk_shadow {
    struct dk_lock lock; /* guards all that follows; taken by the caller */
    unsigned line_shift;
    u8 ***sections; /* two levels, by section of memory; a counter a line */
    struct dk_intervals mappings;
    struct dk_intervals others; /* depth 2: mappings that are not counted, since devices only read them */
};

/* @line: the cache line in bytes, a power of two. 0 or -ENOMEM. */
int dk_shadow_init(struct dk_shadow *shadow, unsigned line);
void dk_shadow_finish(struct dk_shadow *shadow);

/* Counts @interval (physical addresses) and enters it. Returns the highest count that one of its lines had
 * before. */
unsigned dk_shadow_enter(struct dk_shadow *shadow, struct dk_interval *interval);
/* Takes back what dk_shadow_enter() did. */
void dk_shadow_leave(struct dk_shadow *shadow, struct dk_interval *interval);

/* The same without counting. */
void dk_shadow_enter_other(struct dk_shadow *shadow, struct dk_interval *interval);
void dk_shadow_leave_other(struct dk_shadow *shadow, struct dk_interval *interval);

/* The count of the line that holds @phys. */
unsigned dk_shadow_count(const struct dk_shadow *shadow, phys_addr_t phys);

#endif
