/* SPDX-License-Identifier: MIT */
/*
 * Runs of a bounce pool's slots whose buffers were unmapped of late, and that are not given out again for a
 * while: a device that still uses one does not meet the next buffer.
 *
 * First in, first out, and bounded in runs and slots. Who finds no slots ends it.
 */
#ifndef DK_MAPPING_BOUNCE_QUARANTINE_H
#define DK_MAPPING_BOUNCE_QUARANTINE_H

#include <dmakit/types.h>

#define DK_BOUNCE_QUARANTINE_RUNS 64u

struct dk_bounce_quarantine;

/* Where a run goes in the end: @slots from @first on, and what else was said of it. Called under the
 * quarantine's lock. */
typedef void dk_bounce_give(void *owner, u64 first, unsigned slots, unsigned order);

/* Of at most @slots slots. NULL: out of memory. */
struct dk_bounce_quarantine *dk_bounce_quarantine_create(u64 slots, dk_bounce_give *give, void *owner);
/* What is in it is dropped. NULL is fine. No other thread may be inside. */
void dk_bounce_quarantine_destroy(struct dk_bounce_quarantine *quarantine);
/* Takes over a run. Any context and thread, as the others. */
void dk_bounce_quarantine_add(struct dk_bounce_quarantine *quarantine, u64 first, unsigned slots,
                              unsigned order);
/* Gives all of it. False: there was nothing. */
bool dk_bounce_quarantine_end(struct dk_bounce_quarantine *quarantine);
/* How many slots are in it. NULL: none. Lock-free. */
u64 dk_bounce_quarantine_held(const struct dk_bounce_quarantine *quarantine);

#endif
