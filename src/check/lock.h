/* SPDX-License-Identifier: MIT */
/*
 * A lock for critical sections of some ten instructions: a mapping table, the line counters. Half the price
 * of a mutex when nobody contends, which is what depth 1 pays on every call; a waiter soon yields its
 * processor.
 */
#ifndef DK_CHECK_LOCK_H
#define DK_CHECK_LOCK_H

#include <dmakit/types.h>
#include <sched.h>

#define DK_LOCK_SPINS 64

struct dk_lock {
    u32 taken;
};

static inline void dk_lock_take(struct dk_lock *lock)
{
    unsigned spins = 0;

    while (__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE)) {
        while (__atomic_load_n(&lock->taken, __ATOMIC_RELAXED)) {
            if (++spins > DK_LOCK_SPINS)
                sched_yield();
        }
    }
}

static inline void dk_lock_give(struct dk_lock *lock)
{
    __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE);
}

#endif
