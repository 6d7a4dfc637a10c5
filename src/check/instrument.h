/* SPDX-License-Identifier: MIT */
/*
 * Whether the program is an instrumented one.
 */
#ifndef DK_CHECK_INSTRUMENT_H
#define DK_CHECK_INSTRUMENT_H

enum dk_instrumented {
    DK_INSTRUMENTED_NOT,            /* no run time */
    DK_INSTRUMENTED_DROPPED,        /* its calls were lost on the way to the program */
    DK_INSTRUMENTED_WITHOUT_COPIES, /* what memcpy() does is not seen */
    DK_INSTRUMENTED_FULLY,
};

enum dk_instrumented dk_instrumented(void);

/* The depth that this program can be checked at when @depth is asked for; says in a log line what it lacks.
 */
int dk_instrument_depth(int depth);

#endif
