/* SPDX-License-Identifier: MIT */
/*
 * Sleeping locks (Documentation/locking/mutex-design.rst).
 */
#ifndef DMAKIT_MUTEX_H
#define DMAKIT_MUTEX_H

#include <dmakit/spinlock.h>

DK_BEGIN_DECLS

/* All zeros: unlocked. */
struct mutex {
    spinlock_t lock; /* private */
};

#define DEFINE_MUTEX(name) struct mutex name = { DK_SPIN_LOCK_UNLOCKED }

static inline void mutex_init(struct mutex *mutex)
{
    spin_lock_init(&mutex->lock);
}

static inline void mutex_destroy(struct mutex *mutex)
{
    (void)mutex;
}

/* May sleep, and is reported in atomic context. Locking twice and unlocking what this thread does not hold
 * are logged and survived. */
DK_PUBLIC void mutex_lock(struct mutex *mutex);
DK_PUBLIC void mutex_unlock(struct mutex *mutex);
/* Always 0: nothing interrupts. */
DK_PUBLIC int mutex_lock_interruptible(struct mutex *mutex);
/* 1 when the lock was taken, 0 when somebody holds it. Never sleeps. */
DK_PUBLIC int mutex_trylock(struct mutex *mutex);
DK_PUBLIC bool mutex_is_locked(const struct mutex *mutex);

DK_END_DECLS

#endif
