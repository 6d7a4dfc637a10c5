/* SPDX-License-Identifier: MIT */
/*
 * Waiting for an element of a memory pool: first come, first served.
 *
 * An element is handed to its waiter, and never put down in between: a thread that comes later cannot take
 * it.
 */
#include "machine/futex.h"
#include "pool/mempool.h"

/* How often the first in turn asks the pool's function again. */
#define RETRY_NANOSECONDS 10000000

enum turn {
    BEHIND, /* others came earlier */
    FIRST,
    SERVED, /* out of the list; the waiter may be gone as soon as it sees this */
};

struct waiter {
    struct list_head link; /* in the pool's waiters, under its lock */
    u32 turn;              /* enum turn; written under the lock, waited for without */
    struct dk_mempool_element element;
};

static void set_turn(struct waiter *waiter, enum turn turn)
{
    u32 *word = &waiter->turn;

    __atomic_store_n(word, turn, __ATOMIC_RELEASE);
    dk_futex_wake(word, 1);
}

/* Takes @waiter, which is first, out of the list; the one behind it is first then. Under the lock. */
static void leave(mempool_t *pool, struct waiter *waiter)
{
    list_del(&waiter->link);
    __atomic_store_n(&pool->waiting, pool->waiting - 1, __ATOMIC_RELAXED);
    if (!list_empty(&pool->waiters))
        set_turn(list_first_entry(&pool->waiters, struct waiter, link), FIRST);
}

bool dk_mempool_serve(mempool_t *pool, const struct dk_mempool_element *given)
{
    struct waiter *waiter;

    if (list_empty(&pool->waiters))
        return false;
    waiter = list_first_entry(&pool->waiters, struct waiter, link);
    leave(pool, waiter);
    waiter->element = *given;
    set_turn(waiter, SERVED);
    return true;
}

/* The first in turn asks the pool's function. True: it has an element now. */
static bool ask_in_turn(mempool_t *pool, struct waiter *waiter, gfp_t gfp)
{
    struct dk_mempool_element got;
    unsigned long flags;
    bool served;

    if (!dk_mempool_ask(pool, gfp | __GFP_NOWARN, &got))
        return false;
    spin_lock_irqsave(&pool->lock, flags);
    served = waiter->turn == SERVED;
    if (!served) {
        leave(pool, waiter);
        waiter->element = got;
    }
    spin_unlock_irqrestore(&pool->lock, flags);
    /* Somebody was quicker: there is one for the next, too. */
    if (served)
        dk_mempool_put(pool, &got);
    return true;
}

struct dk_mempool_element dk_mempool_wait(mempool_t *pool, gfp_t gfp, unsigned long flags)
{
    const struct timespec retry = { .tv_nsec = RETRY_NANOSECONDS };
    struct waiter waiter = { .turn = list_empty(&pool->waiters) ? FIRST : BEHIND };
    u32 turn;

    list_add_tail(&waiter.link, &pool->waiters);
    __atomic_store_n(&pool->waiting, pool->waiting + 1, __ATOMIC_RELAXED);
    spin_unlock_irqrestore(&pool->lock, flags);
    while ((turn = __atomic_load_n(&waiter.turn, __ATOMIC_ACQUIRE)) != SERVED) {
        dk_futex_wait(&waiter.turn, turn, turn == FIRST ? &retry : NULL);
        if (turn == FIRST && __atomic_load_n(&waiter.turn, __ATOMIC_ACQUIRE) == FIRST &&
            ask_in_turn(pool, &waiter, gfp))
            break;
    }
    return waiter.element;
}
