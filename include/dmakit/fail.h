/* SPDX-License-Identifier: MIT */
/*
 * Scarcity on demand: make one chosen allocation fail.
 */
#ifndef DMAKIT_FAIL_H
#define DMAKIT_FAIL_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

/*
 * Makes the @n-th allocation from now fail, once, in whichever thread makes it: the library's own host
 * memory, a mapping of the machine's memory, or pages, slabs and contiguous memory of a machine.
 * 0 takes the order back. The environment's DMAKIT_OPTIONS=fail_nth=N says the same at start.
 *
 * Context: any thread; takes no lock. Process-wide, since boards are read before a machine exists.
 */
DK_PUBLIC void dk_fail_nth(unsigned long n);

/* How many allocations dk_fail_nth() has made to fail since it was last called: 0 or 1. */
DK_PUBLIC unsigned long dk_fail_hits(void);

DK_END_DECLS

#endif
