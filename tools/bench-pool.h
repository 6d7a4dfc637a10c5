/* SPDX-License-Identifier: MIT */
/*
 * What the files with rows about pools share.
 */
#ifndef DK_TOOLS_BENCH_POOL_H
#define DK_TOOLS_BENCH_POOL_H

#include "bench.h"

#define BENCH_BATCH 1000u
#define BENCH_RING 1024u
#define BENCH_OTHER_WORK ((size_t)16 << 10)

/* Makes the compiler believe that the block is used. */
#define BENCH_USED(block) __asm__ volatile("" : : "r"(block) : "memory")

struct bench_slot {
    void *cpu;
    dma_addr_t dma;
};

struct bench_pool {
    struct dma_pool *pool;
    size_t size;
    unsigned order[BENCH_BATCH]; /* in which a batch is given back */
    struct bench_slot batch[BENCH_BATCH];
    unsigned char other_work[BENCH_OTHER_WORK];
    /* The ring between two threads: each index is written by one of them, on a line of its own. */
    struct bench_slot ring[BENCH_RING];
    char before_head[128];
    size_t head;
    char before_tail[128];
    size_t tail;
    char after[128];
};

/* A pool of blocks of @size bytes in @state->pool. 0 or -ENOMEM; dk_bench_pool_tear_down() in both cases. */
int dk_bench_pool_set_up(struct bench_state *state, size_t size);
int dk_bench_pool_set_up_64(struct bench_state *state);
void dk_bench_pool_tear_down(struct bench_state *state);

/* The name of the peer that every computer has. */
extern const char dk_bench_malloc[];
/* Whether this computer has the peer @other. */
bool dk_bench_pool_has(const struct bench_subject *other);

/* A block taken and given back @count times: of the pool, inlined; by other allocators. */
void dk_bench_pool_inline(struct bench_state *state, unsigned long count);
void dk_bench_pool_malloc(struct bench_state *state, unsigned long count);
void dk_bench_pool_mimalloc(struct bench_state *state, unsigned long count);
void dk_bench_pool_jemalloc(struct bench_state *state, unsigned long count);

#endif
