/* SPDX-License-Identifier: MIT */
/*
 * Waiting for those who may still use what was just taken away. A user enters, looks up, uses, leaves;
 * whoever changes what is looked up makes the change, then calls dk_grace_check(), after which every user
 * that saw the old state has left. When nobody is inside, that is one load.
 *
 * Nobody may call dk_grace_check() while inside: it would wait for itself.
 */
#ifndef DK_MACHINE_GRACE_H
#define DK_MACHINE_GRACE_H

#include <dmakit/barrier.h>
#include <pthread.h>

/* In the word of users: both sides use full fences. Set for good, it makes dk_grace_check() take its slow
 * way, so that the fast one has no question to ask. */
#define DK_GRACE_FENCED (1ull << 63)

struct dk_grace {
    char before[64]; /* users write the next word all the time: it shares no cache line with its neighbours */
    u64 users;       /* bits 0 to 30 those that entered in phase 0, 32 to 62 in phase 1; DK_GRACE_FENCED */
    char after[64];
    unsigned phase;       /* that of whoever enters next */
    pthread_mutex_t lock; /* of the waiting ones: one phase ends at a time */
};

/* @fenced: users pay with a full fence, and so does each check. Else a user asks the kernel for a barrier in
 * all threads (membarrier), which costs him some hundred nanoseconds, and a check has no fence; where the
 * kernel has no such call it falls back to fences. Does not fail. */
void dk_grace_start(struct dk_grace *grace, bool fenced);
/* Nobody is inside. */
void dk_grace_finish(struct dk_grace *grace);

/* Enters: *phase is for dk_grace_leave(). 0, or -EIO, not inside: the kernel refuses the barrier that it
 * promised. Any context. */
int dk_grace_enter(struct dk_grace *grace, unsigned *phase);
void dk_grace_leave(struct dk_grace *grace, unsigned phase);

/* The slow way of the next: spins until all that had entered have left. */
void dk_grace_wait(struct dk_grace *grace);

/*
 * Whether somebody may be inside who could have seen what the caller changed before. Any context.
 *
 * Why that holds: the change is a store S, this check a load L after it; a user counts himself with C before
 * he looks up with U. If L does not see C, then U must see S. With fences between S and L and between C and U
 * that is the classic pair. With membarrier, the call between C and U makes each other thread pass a full
 * barrier at some moment between the call's beginning and end. Where that moment falls before S, L comes
 * after it too, and sees C, which came before the call. Where it falls after S, S is visible to all before
 * the call ends, and U sees it. S and L must only stay in this order in the program, so the compiler is kept
 * from swapping them. Leaving is a release and L an acquire: what a user did inside comes before what the
 * caller does next.
 */
static inline bool dk_grace_busy(struct dk_grace *grace)
{
#ifdef DK_THREAD_CHECKED
    /* The checker knows no fences: S, L, C and U are all sequentially consistent there. */
    return __atomic_load_n(&grace->users, __ATOMIC_SEQ_CST);
#else
    barrier();
    return __atomic_load_n(&grace->users, __ATOMIC_ACQUIRE);
#endif
}

/* Returns when nobody is inside who could have seen what the caller changed before. Any context; waits no
 * longer than those who are inside take. */
static inline void dk_grace_check(struct dk_grace *grace)
{
    if (__builtin_expect(dk_grace_busy(grace), 0))
        dk_grace_wait(grace);
}

#endif
