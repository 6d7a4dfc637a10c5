/* SPDX-License-Identifier: MIT */
/*
 * A small number for each live thread, so that an allocator can keep a cache a thread without a lock.
 */
#ifndef DK_BASE_THREAD_NUMBER_H
#define DK_BASE_THREAD_NUMBER_H

#include <dmakit/thread-number.h>

/* Finds a number for this thread and enters it above. Takes the registry's lock. */
unsigned dk_thread_number_find(void);

/*
 * This thread's number: the lowest that no other live thread has; DK_THREAD_NUMBERS for good when all are
 * taken, when the C library cannot tell us of the thread's end, and late in that end, once the number has
 * been given back. Everything that a dead thread did happens before anything that the next bearer of its
 * number does. One load after the first call.
 *
 * In a child made by fork() no thread has a number that one of the parent's ever had: the caches that the
 * child finds are the parent's, and stay shut to it.
 *
 * Context: any thread. The first call takes a lock; none asks the fault point.
 */
static inline unsigned dk_thread_number(void)
{
    unsigned number = dk_thread_number_here;

    if (__builtin_expect(number == DK_THREAD_UNNUMBERED, 0))
        number = dk_thread_number_find();
    return number;
}

#endif
