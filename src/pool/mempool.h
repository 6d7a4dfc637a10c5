/* SPDX-License-Identifier: MIT */
/*
 * What the files of a memory pool share: its elements and its waiters.
 */
#ifndef DK_POOL_MEMPOOL_H
#define DK_POOL_MEMPOOL_H

#include <dmakit/mempool.h>

struct dk_mempool_element {
    void *element;  /* NULL: none */
    dma_addr_t dma; /* 0 where the pool's elements have none */
};

/* Asks the pool's function for an element. False: it has none. Without the lock. */
bool dk_mempool_ask(mempool_t *pool, gfp_t gfp, struct dk_mempool_element *got);
/* Puts @given where it is most wanted: to who waits longest, into the reserve, else to the pool's free
 * function. Takes the lock. */
void dk_mempool_put(mempool_t *pool, const struct dk_mempool_element *given);

/* ---- mempool-wait.c ---- */

/* Gives @given to who waits longest. False: nobody does. Under the lock. */
bool dk_mempool_serve(mempool_t *pool, const struct dk_mempool_element *given);
/*
 * Waits in turn for an element. Under the lock, with the reserve empty; returns without it. Asks the pool's
 * function again from time to time while it is first in turn, since memory may come from elsewhere.
 */
struct dk_mempool_element dk_mempool_wait(mempool_t *pool, gfp_t gfp, unsigned long flags);

#endif
