/* SPDX-License-Identifier: MIT */
#include "machine/grace.h"

#include "base/membarrier.h"

#include <errno.h>
#include <sched.h>

/* Short uses end while the waiting one spins; a copy of megabytes, or a user that was preempted, is worth
 * giving way to. */
#define SPINS 100

static u64 one(unsigned phase)
{
    return 1ull << (32 * phase);
}

static u64 in_phase(u64 users, unsigned phase)
{
    return users >> (32 * phase) & 0x7fffffff;
}

void dk_grace_start(struct dk_grace *grace, bool fenced)
{
#ifdef DK_THREAD_CHECKED
    fenced = true;
#endif
    grace->users = fenced || !dk_membarrier_register() ? DK_GRACE_FENCED : 0;
    grace->phase = 0;
    pthread_mutex_init(&grace->lock, NULL);
}

void dk_grace_finish(struct dk_grace *grace)
{
    pthread_mutex_destroy(&grace->lock);
}

int dk_grace_enter(struct dk_grace *grace, unsigned *phase)
{
    u64 before;

    /* It does not matter when the phase ends meanwhile: whoever waits does so for both. */
    *phase = __atomic_load_n(&grace->phase, __ATOMIC_RELAXED);
    before = __atomic_fetch_add(&grace->users, one(*phase), __ATOMIC_SEQ_CST);
    if (before & DK_GRACE_FENCED) {
        dk_fence(__ATOMIC_SEQ_CST);
        return 0;
    }
    if (dk_membarrier())
        return 0;
    /* Forbidden since (seccomp), or no memory for it. */
    dk_grace_leave(grace, *phase);
    return -EIO;
}

void dk_grace_leave(struct dk_grace *grace, unsigned phase)
{
    __atomic_fetch_sub(&grace->users, one(phase), __ATOMIC_RELEASE);
}

static void wait_for_phase(const struct dk_grace *grace, unsigned phase)
{
    unsigned spins = 0;

    while (in_phase(__atomic_load_n(&grace->users, __ATOMIC_SEQ_CST), phase)) {
        if (++spins > SPINS)
            sched_yield();
    }
}

/*
 * Each that had entered is counted in one of the phases, and each phase is seen at zero here once. That
 * happens soon: of the phase that is not current only those are left who read the phase's number before it
 * changed; the current one gets no more of its own from when the number changes.
 */
void dk_grace_wait(struct dk_grace *grace)
{
    unsigned phase;
    u64 users;

    if (__atomic_load_n(&grace->users, __ATOMIC_RELAXED) & DK_GRACE_FENCED)
        dk_fence(__ATOMIC_SEQ_CST);
    users = __atomic_load_n(&grace->users, __ATOMIC_SEQ_CST);
    if (!(users & ~DK_GRACE_FENCED))
        return;
    pthread_mutex_lock(&grace->lock);
    phase = grace->phase;
    wait_for_phase(grace, !phase);
    __atomic_store_n(&grace->phase, !phase, __ATOMIC_RELAXED);
    wait_for_phase(grace, phase);
    pthread_mutex_unlock(&grace->lock);
}
