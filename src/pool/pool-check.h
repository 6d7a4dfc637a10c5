/* SPDX-License-Identifier: MIT */
/*
 * Pools of a machine with a checker: no magazines; every block is recorded, surrounded by red zones, filled
 * with a pattern while it is free, and used again as late as possible.
 */
#ifndef DK_POOL_POOL_CHECK_H
#define DK_POOL_POOL_CHECK_H

#include "pool/pool.h"

/* Bytes in front of a block and behind it: of any pool at least, and at most where its blocks' alignment
 * leaves more between them. */
#define DK_POOL_ZONE ((size_t)16)

/* Before a new chunk's blocks are anybody's: their records, their pattern, and where bus masters find them.
 * False: out of memory. Nothing to do for a pool that is not checked, as in all that follow. */
bool dk_pool_check_enter(struct dk_pool_state *state, struct dk_pool_chunk *chunk);
/* Undoes it, done or not. */
void dk_pool_check_leave(struct dk_pool_state *state, struct dk_pool_chunk *chunk);
/* The blocks of @chunk are free. Under the pool's lock. */
void dk_pool_check_add(struct dk_pool_state *state, struct dk_pool_chunk *chunk);

void *dk_pool_check_alloc(struct dk_pool_state *state, const char *call, gfp_t gfp, dma_addr_t *dma);
/* Any addresses: reports what is wrong with them. */
void dk_pool_check_free(struct dk_pool_state *state, void *cpu, dma_addr_t dma);

/* Reports what was written into free blocks of a pool that is about to be destroyed. */
void dk_pool_check_unused(struct dk_pool_state *state);
/* Reports each block in use of a pool that is destroyed, and forgets it. */
void dk_pool_check_busy(struct dk_pool_state *state);
/* @state is not destroyed, but its device, or its driver, goes: reported, once. */
void dk_pool_check_left(struct dk_pool_state *state, const char *call);
/* A pool was used that is destroyed: reported. @class_name: free-not-allocated or pool-use-after-free. */
void dk_pool_check_destroyed(struct dk_pool_state *state, const char *call, const char *class_name,
                             const void *cpu, dma_addr_t dma);
/* The stack of the present call, for later reports. */
u32 dk_pool_check_stack(struct dk_pool_state *state);

#endif
