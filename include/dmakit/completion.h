/* SPDX-License-Identifier: MIT */
/*
 * Completions (Documentation/scheduler/completion.rst).
 */
#ifndef DMAKIT_COMPLETION_H
#define DMAKIT_COMPLETION_H

#include <dmakit/delay.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

struct completion {
    u32 done; /* private */
};

#define COMPLETION_INITIALIZER(name) \
    {                                \
        0                            \
    }
#define DECLARE_COMPLETION(name) struct completion name = COMPLETION_INITIALIZER(name)
#define DECLARE_COMPLETION_ONSTACK(name) DECLARE_COMPLETION(name)

static inline void init_completion(struct completion *completion)
{
    __atomic_store_n(&completion->done, 0u, __ATOMIC_RELEASE);
}

static inline void reinit_completion(struct completion *completion)
{
    init_completion(completion);
}

/* Lets one waiter, or all now and later, go on. Any context. */
DK_PUBLIC void complete(struct completion *completion);
DK_PUBLIC void complete_all(struct completion *completion);

/* Waits for a complete(), and takes it. May sleep. */
DK_PUBLIC void wait_for_completion(struct completion *completion);
/* Waits at most @timeout jiffies: 0 when they passed, else how many were left, at least 1. May sleep. */
DK_PUBLIC unsigned long wait_for_completion_timeout(struct completion *completion, unsigned long timeout);
static inline long wait_for_completion_interruptible_timeout(struct completion *completion,
                                                             unsigned long timeout)
{
    return (long)wait_for_completion_timeout(completion, timeout);
}
static inline int wait_for_completion_interruptible(struct completion *completion)
{
    wait_for_completion(completion);
    return 0;
}
/* Takes a complete() if there is one. Any context. */
DK_PUBLIC bool try_wait_for_completion(struct completion *completion);
/* Whether a wait would not wait. Any context. */
DK_PUBLIC bool completion_done(const struct completion *completion);

DK_END_DECLS

#endif
