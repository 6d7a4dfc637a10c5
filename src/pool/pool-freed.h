/* SPDX-License-Identifier: MIT */
/*
 * What a checked pool is given to free: whether it is a block of the pool's in use, and if not, what it is.
 */
#ifndef DK_POOL_POOL_FREED_H
#define DK_POOL_POOL_FREED_H

#include "pool/pool-record.h"

/* What addresses that were freed have to do with @state. Copies: no lock is held afterwards. */
struct dk_pool_freed {
    enum {
        DK_FREED_RIGHT,
        DK_FREED_NOTHING,    /* known of them */
        DK_FREED_FREE,       /* a block's, that is not in use */
        DK_FREED_INSIDE,     /* of a block that is in use */
        DK_FREED_OTHER_DMA,  /* a block in use, with another DMA address */
        DK_FREED_OTHER_CPU,  /* the DMA address of a block in use, with another CPU address */
        DK_FREED_OTHER_POOL, /* of another pool */
    } what;
    struct dk_pool_record *record; /* DK_FREED_RIGHT alone */
    struct dk_pool_record block;   /* the one that they have to do with */
    ssize_t within;
    const void *cpu; /* DK_FREED_OTHER_POOL: which is given to it */
    char other[64];  /* DK_FREED_OTHER_POOL: its name */
};

/* What @cpu and @dma are. Under the lock of @state. */
struct dk_pool_freed dk_pool_freed_look(struct dk_pool_state *state, const void *cpu, dma_addr_t dma);
/* Reports the free of @cpu and @dma, which were found not to be right. Looks for them in the machine's other
 * pools, too, and notes that in @found. Without a lock. */
void dk_pool_freed_report(struct dk_pool_state *state, struct dk_pool_freed *found, const void *cpu,
                          dma_addr_t dma);

#endif
