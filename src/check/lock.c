/* SPDX-License-Identifier: MIT */
#include "check/lock.h"

#include "base/membarrier.h"
#include "base/thread-number.h"
#include <sched.h>
#include <time.h>

#define SPINS 64

static void take(struct dk_lock *lock)
{
    unsigned spins = 0;

    while (__atomic_exchange_n(&lock->taken, 1, __ATOMIC_ACQUIRE)) {
        while (__atomic_load_n(&lock->taken, __ATOMIC_RELAXED)) {
            if (++spins > SPINS)
                sched_yield();
        }
    }
}

/* After this the owner has seen what was stored before, or what it had stored before is seen here. */
static void barrier_in_all(void)
{
    const struct timespec a_while = { 0, 10000000 };

    if (dk_membarrier() || (dk_membarrier_register() && dk_membarrier()))
        return;
    /* It was promised, and is refused now (a seccomp filter came later). No store waits that long to be seen.
     */
    mb();
    nanosleep(&a_while, NULL);
}

/* Nobody owned it: the present thread, which holds it, does from now on, if it can be told from others. */
static void own(struct dk_lock *lock)
{
    const unsigned number = dk_thread_number();

    if (number >= DK_THREAD_NUMBERS || !dk_membarrier_register()) {
        __atomic_store_n(&lock->owner, DK_LOCK_SHARED, __ATOMIC_RELAXED);
        return;
    }
    lock->alone = true;
    __atomic_store_n(&lock->inside, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&lock->owner, number + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&lock->taken, 0, __ATOMIC_RELEASE);
}

void dk_lock_take_shared(struct dk_lock *lock)
{
    u32 owner;

    take(lock);
    owner = __atomic_load_n(&lock->owner, __ATOMIC_RELAXED);
    if (!owner)
        own(lock);
    if (!owner || owner == DK_LOCK_SHARED)
        return;
    __atomic_store_n(&lock->owner, DK_LOCK_SHARED, __ATOMIC_RELAXED);
    barrier_in_all();
    while (__atomic_load_n(&lock->inside, __ATOMIC_ACQUIRE))
        sched_yield();
    lock->alone = false;
}
