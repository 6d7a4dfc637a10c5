/* SPDX-License-Identifier: MIT */
/*
 * A thread's context: whether it may sleep.
 */
#ifndef DK_BASE_CONTEXT_H
#define DK_BASE_CONTEXT_H

#include <dmakit/types.h>

struct dk_context {
    unsigned atomic_depth;    /* held spinlocks, disabled interrupts, and being in a handler */
    unsigned interrupt_depth; /* being in a handler */
    bool reclaiming;          /* in a shrinker or an out-of-memory notifier */
    bool interrupts_off;      /* local_irq_disable() and its kin; counted once in @atomic_depth */
    u64 ordered_at; /* when a call last ordered this thread's accesses, as it does on a real machine */
};

/* This thread's context. A thread of its own has one, so it hangs on the thread, not on a machine. */
struct dk_context *dk_context(void);

/*
 * Counts the accesses whose order the checker follows (check/order.h), and is 0 where it follows none.
 * Static, as threads are in all machines. Atomic.
 */
extern u64 dk_access_clock;

/* This thread's accesses before are ordered before those after: what the call does on the host, said for the
 * checker. */
static inline void dk_context_barrier(void)
{
    dk_context()->ordered_at = __atomic_load_n(&dk_access_clock, __ATOMIC_RELAXED);
}

#endif
