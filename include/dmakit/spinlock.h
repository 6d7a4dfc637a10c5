/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks, and what else makes a thread atomic (Documentation/locking/spinlocks.rst).
 *
 * Holding one is atomic context: what may sleep is reported there (sleeps-in-atomic). The host may preempt
 * the holder, so waiters sleep after a while. Misuse (unlocking what this thread does not hold, locking
 * twice) is logged and survived.
 */
#ifndef DMAKIT_SPINLOCK_H
#define DMAKIT_SPINLOCK_H

#include <dmakit/barrier.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

/* All zeros: unlocked. */
typedef struct spinlock {
    u32 state;         /* private */
    u32 nested;        /* private */
    const void *owner; /* private */
} spinlock_t;

typedef spinlock_t raw_spinlock_t;

#define DK_SPIN_LOCK_UNLOCKED \
    {                         \
        0, 0, NULL            \
    }
#define DEFINE_SPINLOCK(name) spinlock_t name = DK_SPIN_LOCK_UNLOCKED
#define DEFINE_RAW_SPINLOCK(name) raw_spinlock_t name = DK_SPIN_LOCK_UNLOCKED

static inline void spin_lock_init(spinlock_t *lock)
{
    lock->state = 0;
    lock->nested = 0;
    lock->owner = NULL;
}

DK_PUBLIC void spin_lock(spinlock_t *lock);
DK_PUBLIC void spin_unlock(spinlock_t *lock);
/* 1 when the lock was taken, 0 when somebody holds it. */
DK_PUBLIC int spin_trylock(spinlock_t *lock);
DK_PUBLIC int spin_is_locked(const spinlock_t *lock);

/*
 * Interrupts off for this thread, which is atomic meanwhile. Handlers run in a thread of their own: exclusion
 * against them is the spinlock's work, as it is between processors. dk_irq_save() returns what
 * dk_irq_restore() takes.
 */
DK_PUBLIC unsigned long dk_irq_save(void);
DK_PUBLIC void dk_irq_restore(unsigned long flags);
DK_PUBLIC void local_irq_disable(void);
DK_PUBLIC void local_irq_enable(void);
DK_PUBLIC bool irqs_disabled(void);
#define local_irq_save(flags) ((flags) = dk_irq_save())
#define local_irq_restore(flags) dk_irq_restore(flags)

/* No preemption, no bottom halves: atomic until as many enables. */
DK_PUBLIC void preempt_disable(void);
DK_PUBLIC void preempt_enable(void);
#define local_bh_disable() preempt_disable()
#define local_bh_enable() preempt_enable()

/* Whether this thread may not sleep. */
DK_PUBLIC bool in_atomic(void);

/* Reports sleeps-in-atomic, naming @call, when this thread may not sleep. */
DK_PUBLIC void dk_might_sleep(const char *call);
#define might_sleep() dk_might_sleep(__func__)

static inline void spin_lock_irq(spinlock_t *lock)
{
    local_irq_disable();
    spin_lock(lock);
}
static inline void spin_unlock_irq(spinlock_t *lock)
{
    spin_unlock(lock);
    local_irq_enable();
}
static inline void spin_lock_bh(spinlock_t *lock)
{
    local_bh_disable();
    spin_lock(lock);
}
static inline void spin_unlock_bh(spinlock_t *lock)
{
    spin_unlock(lock);
    local_bh_enable();
}
static inline unsigned long dk_spin_lock_irqsave(spinlock_t *lock)
{
    unsigned long flags = dk_irq_save();

    spin_lock(lock);
    return flags;
}
static inline void spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
    spin_unlock(lock);
    dk_irq_restore(flags);
}
#define spin_lock_irqsave(lock, flags) ((flags) = dk_spin_lock_irqsave(lock))
static inline int dk_spin_trylock_irqsave(spinlock_t *lock, unsigned long *flags)
{
    *flags = dk_irq_save();
    if (spin_trylock(lock))
        return 1;
    dk_irq_restore(*flags);
    return 0;
}
#define spin_trylock_irqsave(lock, flags) dk_spin_trylock_irqsave(lock, &(flags))

#define raw_spin_lock_init(lock) spin_lock_init(lock)
#define raw_spin_lock(lock) spin_lock(lock)
#define raw_spin_unlock(lock) spin_unlock(lock)
#define raw_spin_trylock(lock) spin_trylock(lock)
#define raw_spin_lock_irq(lock) spin_lock_irq(lock)
#define raw_spin_unlock_irq(lock) spin_unlock_irq(lock)
#define raw_spin_lock_irqsave(lock, flags) spin_lock_irqsave(lock, flags)
#define raw_spin_unlock_irqrestore(lock, flags) spin_unlock_irqrestore(lock, flags)
#define raw_spin_lock_bh(lock) spin_lock_bh(lock)
#define raw_spin_unlock_bh(lock) spin_unlock_bh(lock)
#define assert_spin_locked(lock) ((void)spin_is_locked(lock))

/* Many readers or one writer; holding it is atomic context too. All zeros: unlocked. */
typedef struct {
    u32 state; /* private */
} rwlock_t;

#define DEFINE_RWLOCK(name) rwlock_t name = { 0 }

static inline void rwlock_init(rwlock_t *lock)
{
    lock->state = 0;
}

DK_PUBLIC void read_lock(rwlock_t *lock);
DK_PUBLIC void read_unlock(rwlock_t *lock);
DK_PUBLIC void write_lock(rwlock_t *lock);
DK_PUBLIC void write_unlock(rwlock_t *lock);

#define read_lock_irq(lock) (local_irq_disable(), read_lock(lock))
#define read_unlock_irq(lock) (read_unlock(lock), local_irq_enable())
#define write_lock_irq(lock) (local_irq_disable(), write_lock(lock))
#define write_unlock_irq(lock) (write_unlock(lock), local_irq_enable())
#define read_lock_irqsave(lock, flags) (local_irq_save(flags), read_lock(lock))
#define read_unlock_irqrestore(lock, flags) (read_unlock(lock), local_irq_restore(flags))
#define write_lock_irqsave(lock, flags) (local_irq_save(flags), write_lock(lock))
#define write_unlock_irqrestore(lock, flags) (write_unlock(lock), local_irq_restore(flags))

DK_END_DECLS

#endif
