/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks, and mutexes, which differ in who may hold them.
 *
 * The word is FREE, HELD, or WAITED for: held, and somebody may sleep on it. A waiter spins a little first.
 * The owner is known so that misuse is a log line and not a hang.
 */
#include <dmakit/spinlock.h>

#include "base/context.h"
#include "base/log.h"
#include "machine/futex.h"
#include <dmakit/mutex.h>

#define FREE 0u
#define HELD 1u
#define WAITED 2u
#define SPINS 200

#define WRITER (~0u)

static bool try_take(spinlock_t *lock)
{
    u32 expected = FREE;

    if (!__atomic_compare_exchange_n(&lock->state, &expected, HELD, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
        return false;
    __atomic_store_n(&lock->owner, dk_context(), __ATOMIC_RELAXED);
    dk_context_barrier();
    return true;
}

static bool held_here(const spinlock_t *lock)
{
    return __atomic_load_n(&lock->owner, __ATOMIC_RELAXED) == dk_context();
}

static void take(spinlock_t *lock, const char *call)
{
    unsigned spins;

    if (held_here(lock)) {
        dk_log(DK_LOG_ERROR, "%s: this thread holds the lock at %p already; a real machine would hang here",
               call, (void *)lock);
        lock->nested++;
        return;
    }
    for (spins = 0; spins < SPINS; spins++) {
        if (try_take(lock))
            return;
    }
    while (__atomic_exchange_n(&lock->state, WAITED, __ATOMIC_ACQUIRE) != FREE)
        dk_futex_wait(&lock->state, WAITED, NULL);
    __atomic_store_n(&lock->owner, dk_context(), __ATOMIC_RELAXED);
    dk_context_barrier();
}

/* False, with a log line, when this thread does not hold it. */
static bool give(spinlock_t *lock, const char *call)
{
    if (!held_here(lock)) {
        dk_log(DK_LOG_ERROR, "%s: this thread does not hold the lock at %p", call, (void *)lock);
        return false;
    }
    if (lock->nested) {
        lock->nested--;
        return true;
    }
    __atomic_store_n(&lock->owner, NULL, __ATOMIC_RELAXED);
    dk_context_barrier();
    if (__atomic_exchange_n(&lock->state, FREE, __ATOMIC_RELEASE) == WAITED)
        dk_futex_wake(&lock->state, 1);
    return true;
}

void spin_lock(spinlock_t *lock)
{
    preempt_disable();
    take(lock, "spin_lock");
}

void spin_unlock(spinlock_t *lock)
{
    if (give(lock, "spin_unlock"))
        preempt_enable();
}

int spin_trylock(spinlock_t *lock)
{
    if (!try_take(lock))
        return 0;
    preempt_disable();
    return 1;
}

int spin_is_locked(const spinlock_t *lock)
{
    return __atomic_load_n(&lock->state, __ATOMIC_RELAXED) != FREE;
}

void mutex_lock(struct mutex *mutex)
{
    dk_might_sleep("mutex_lock");
    take(&mutex->lock, "mutex_lock");
}

int mutex_lock_interruptible(struct mutex *mutex)
{
    dk_might_sleep("mutex_lock_interruptible");
    take(&mutex->lock, "mutex_lock_interruptible");
    return 0;
}

int mutex_trylock(struct mutex *mutex)
{
    return try_take(&mutex->lock);
}

void mutex_unlock(struct mutex *mutex)
{
    give(&mutex->lock, "mutex_unlock");
}

bool mutex_is_locked(const struct mutex *mutex)
{
    return spin_is_locked(&mutex->lock);
}

/* A reader-writer lock's word: how many read, or WRITER. */

void read_lock(rwlock_t *lock)
{
    u32 seen = __atomic_load_n(&lock->state, __ATOMIC_RELAXED);

    preempt_disable();
    for (;;) {
        if (seen >= WRITER - 1) {
            dk_futex_wait(&lock->state, seen, NULL);
            seen = __atomic_load_n(&lock->state, __ATOMIC_RELAXED);
        } else if (__atomic_compare_exchange_n(&lock->state, &seen, seen + 1, false, __ATOMIC_ACQUIRE,
                                               __ATOMIC_RELAXED)) {
            return;
        }
    }
}

void write_lock(rwlock_t *lock)
{
    u32 seen = FREE;

    preempt_disable();
    while (!__atomic_compare_exchange_n(&lock->state, &seen, WRITER, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED)) {
        dk_futex_wait(&lock->state, seen, NULL);
        seen = FREE;
    }
}

void read_unlock(rwlock_t *lock)
{
    u32 seen = __atomic_load_n(&lock->state, __ATOMIC_RELAXED);

    do {
        if (seen == FREE || seen == WRITER) {
            dk_log(DK_LOG_ERROR, "read_unlock: nobody reads under the lock at %p", (void *)lock);
            return;
        }
    } while (!__atomic_compare_exchange_n(&lock->state, &seen, seen - 1, false, __ATOMIC_RELEASE,
                                          __ATOMIC_RELAXED));
    dk_futex_wake(&lock->state, INT_MAX);
    preempt_enable();
}

void write_unlock(rwlock_t *lock)
{
    u32 seen = WRITER;

    if (!__atomic_compare_exchange_n(&lock->state, &seen, FREE, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED)) {
        dk_log(DK_LOG_ERROR, "write_unlock: nobody writes under the lock at %p", (void *)lock);
        return;
    }
    dk_futex_wake(&lock->state, INT_MAX);
    preempt_enable();
}
