/* SPDX-License-Identifier: MIT */
/*
 * A small number for each live thread, so that an allocator can keep a cache a thread without a lock.
 */
#ifndef DK_BASE_THREAD_NUMBER_H
#define DK_BASE_THREAD_NUMBER_H

#include <dmakit/types.h>

/* Threads with a higher number go without a cache. */
#define DK_THREAD_NUMBERS 256u

/* Not a number: this thread has not asked for one. */
#define DK_THREAD_UNNUMBERED (DK_THREAD_NUMBERS + 1)

/*
 * What this thread has: a number, DK_THREAD_NUMBERS or DK_THREAD_UNNUMBERED. Below the thread pointer also in
 * the shared library, where the compiler would otherwise call a function for it.
 */
extern _Thread_local unsigned dk_thread_number_here __attribute__((tls_model("initial-exec")));

/* Finds a number for this thread and enters it above. Takes the registry's lock. */
unsigned dk_thread_number_find(void);

/*
 * This thread's number: the lowest that no other live thread has; DK_THREAD_NUMBERS for good when all are
 * taken, when the C library cannot tell us of the thread's end, and late in that end, once the number has
 * been given back. Everything that a dead thread did happens before anything that the next bearer of its
 * number does. One load after the first call.
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
