/* SPDX-License-Identifier: MIT */
/*
 * Completions, delays and the clock they count by.
 */
#include <dmakit/completion.h>

#include "base/context.h"
#include "machine/futex.h"
#include <dmakit/spinlock.h>

#define FOR_ALL (~0u)

static u64 nanoseconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * 1000000000u + (u64)now.tv_nsec;
}

unsigned long dk_jiffies(void)
{
    return (unsigned long)(nanoseconds_now() / (1000000000u / HZ));
}

static void sleep_for(u64 nanoseconds)
{
    struct timespec left = { .tv_sec = (time_t)(nanoseconds / 1000000000u),
                             .tv_nsec = (long)(nanoseconds % 1000000000u) };

    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &left, &left))
        ;
}

void msleep(unsigned milliseconds)
{
    dk_might_sleep("msleep");
    sleep_for((u64)milliseconds * 1000000u);
}

void usleep_range(unsigned long least, unsigned long most)
{
    (void)most;
    dk_might_sleep("usleep_range");
    sleep_for((u64)least * 1000u);
}

void ndelay(unsigned long nanoseconds)
{
    u64 end = nanoseconds_now() + nanoseconds;

    while (nanoseconds_now() < end)
        ;
}

void complete(struct completion *completion)
{
    u32 done = __atomic_load_n(&completion->done, __ATOMIC_RELAXED);

    dk_context_barrier();
    do {
        if (done >= FOR_ALL - 1)
            return;
    } while (!__atomic_compare_exchange_n(&completion->done, &done, done + 1, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    dk_futex_wake(&completion->done, 1);
}

void complete_all(struct completion *completion)
{
    dk_context_barrier();
    __atomic_store_n(&completion->done, FOR_ALL, __ATOMIC_RELEASE);
    dk_futex_wake(&completion->done, INT_MAX);
}

bool try_wait_for_completion(struct completion *completion)
{
    u32 done = __atomic_load_n(&completion->done, __ATOMIC_ACQUIRE);

    dk_context_barrier();
    while (done && done != FOR_ALL) {
        if (__atomic_compare_exchange_n(&completion->done, &done, done - 1, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_ACQUIRE))
            return true;
    }
    return done;
}

bool completion_done(const struct completion *completion)
{
    dk_context_barrier();
    return __atomic_load_n(&completion->done, __ATOMIC_ACQUIRE);
}

void wait_for_completion(struct completion *completion)
{
    dk_might_sleep("wait_for_completion");
    while (!try_wait_for_completion(completion))
        dk_futex_wait(&completion->done, 0, NULL);
}

unsigned long wait_for_completion_timeout(struct completion *completion, unsigned long timeout)
{
    const u64 jiffy = 1000000000u / HZ;
    u64 now = nanoseconds_now();
    u64 end = now + (u64)(timeout < MAX_JIFFY_OFFSET / jiffy ? timeout : MAX_JIFFY_OFFSET / jiffy) * jiffy;

    dk_might_sleep("wait_for_completion_timeout");
    while (!try_wait_for_completion(completion)) {
        struct timespec left;

        now = nanoseconds_now();
        if (now >= end)
            return 0;
        left.tv_sec = (time_t)((end - now) / 1000000000u);
        left.tv_nsec = (long)((end - now) % 1000000000u);
        dk_futex_wait(&completion->done, 0, &left);
    }
    now = nanoseconds_now();
    return now + jiffy < end ? (unsigned long)((end - now) / jiffy) : 1;
}
