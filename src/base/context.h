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
};

/* This thread's context. A thread of its own has one, so it hangs on the thread, not on a machine. */
struct dk_context *dk_context(void);

#endif
