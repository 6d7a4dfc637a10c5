/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: asking others for memory, in the thread that needs it. There is no background thread.
 */
#ifndef DK_MM_RECLAIM_H
#define DK_MM_RECLAIM_H

#include "mm/private.h"

/* What an allocation has tried so far. */
struct dk_reclaim_tries {
    unsigned passes;     /* over all shrinkers */
    unsigned long freed; /* objects */
    bool exhausted;      /* a pass freed nothing */
    bool notified;       /* the out-of-memory notifiers were called */
    unsigned waits;
};

/* NULL: out of memory. */
struct dk_reclaim *dk_reclaim_create(struct dk_memory *memory);
/* Forgets shrinkers that are still registered, with a log line each. NULL is fine. */
void dk_reclaim_destroy(struct dk_reclaim *reclaim);

/* Whether there is a shrinker to call. Any context; lock-free. */
bool dk_reclaim_wanted(const struct dk_memory *memory);

/*
 * One step of trying to make memory free for @count pages with @gfp, which may sleep: a pass over the
 * shrinkers, or when those have nothing more the out-of-memory notifiers. True: something was freed, so
 * another look is worth it. False: nothing was, or so many steps as are fair have been made.
 */
bool dk_reclaim(struct dk_memory *memory, gfp_t gfp, u64 count, struct dk_reclaim_tries *tries);
/* Forgets that enough was tried: for who must not fail. */
void dk_reclaim_anew(struct dk_reclaim_tries *tries);

#endif
