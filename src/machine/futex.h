/* SPDX-License-Identifier: MIT */
/*
 * Waiting for a word to change: what spinlocks and completions wait with, so that they can be all zeros when
 * fresh.
 */
#ifndef DK_MACHINE_FUTEX_H
#define DK_MACHINE_FUTEX_H

#include <dmakit/types.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Sleeps while *@word is @value, at most for @timeout (NULL: for ever). May return early. Keeps no order of
 * its own. */
static inline void dk_futex_wait(u32 *word, u32 value, const struct timespec *timeout)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, timeout, NULL, 0);
}

/* Wakes at most @count waiters. */
static inline void dk_futex_wake(u32 *word, int count)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

#endif
