/* SPDX-License-Identifier: MIT */
/*
 * A lock for critical sections of some ten instructions: a mapping table, the line counters.
 *
 * Depth 1 takes one on every call, and mostly one thread alone ever takes it. So the first thread owns the
 * lock: it goes in and out by plain stores, with no locked instruction. When another thread comes, it ends
 * that for good: it makes the lock a shared one, asks the kernel for a barrier in all threads (membarrier),
 * after which the owner has either been seen inside or sees that it is no owner any more, and waits until it
 * is out. From then on every thread takes the lock by an exchange, and a waiter soon yields its processor.
 *
 * All zeros is a lock that nobody holds.
 */
#ifndef DK_CHECK_LOCK_H
#define DK_CHECK_LOCK_H

#include <dmakit/barrier.h>
#include <dmakit/thread-number.h>

#define DK_LOCK_SHARED (~(u32)0)

struct dk_lock {
    u32 taken;  /* by a thread that came the shared way */
    u32 owner;  /* its number and one; 0: nobody came yet; DK_LOCK_SHARED: there is none any more */
    u32 inside; /* the owner is, or is looking whether it is the owner. The owner's to write */
    bool alone; /* the lock is held by the owner's way. Written under it */
};

/* The shared way in, also of who will be the owner. */
void dk_lock_take_shared(struct dk_lock *lock);

static inline void dk_lock_take(struct dk_lock *lock)
{
    const u32 me = dk_thread_number_here + 1;

    if (__builtin_expect(__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == me, 1)) {
        __atomic_store_n(&lock->inside, 1, __ATOMIC_RELAXED);
        /* The other half of this barrier is the kernel's. */
        barrier();
        if (__builtin_expect(__atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == me, 1))
            return;
        __atomic_store_n(&lock->inside, 0, __ATOMIC_RELEASE);
    }
    dk_lock_take_shared(lock);
}

static inline void dk_lock_give(struct dk_lock *lock)
{
    __atomic_store_n(__builtin_expect(lock->alone, 1) ? &lock->inside : &lock->taken, 0, __ATOMIC_RELEASE);
}

#endif
