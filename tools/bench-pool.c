/* SPDX-License-Identifier: MIT */
/*
 * The rows about pools in one thread: blocks taken and given back, one by one, with other work between, and
 * in batches; beside other allocators doing the same.
 */
#include "bench-pool.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#define SMALL 64u

const char dk_bench_malloc[] = "malloc and free";
static const char rte_mempool_name[] = "rte_mempool";

/* ---- One by one ---- */

static void run_called(struct bench_state *state, unsigned long count)
{
    struct dma_pool *pool = state->pool->pool;

    while (count--) {
        dma_addr_t dma;
        void *cpu = dk_pool_alloc(pool, GFP_ATOMIC, &dma);

        BENCH_USED(cpu);
        dk_pool_free(pool, cpu, dma);
    }
}

void dk_bench_pool_inline(struct bench_state *state, unsigned long count)
{
    struct dma_pool *pool = state->pool->pool;

    while (count--) {
        dma_addr_t dma;
        void *cpu = dma_pool_alloc(pool, GFP_ATOMIC, &dma);

        BENCH_USED(cpu);
        dma_pool_free(pool, cpu, dma);
    }
}

void dk_bench_pool_malloc(struct bench_state *state, unsigned long count)
{
    size_t size = state->pool->size;

    for (unsigned long i = 0; i < count; i++) {
        void *block = malloc(size);

        BENCH_USED(block);
        free(block);
    }
}

static void run_allocator(struct bench_state *state, unsigned long count, const char *name)
{
    const struct bench_allocator *allocator = dk_bench_allocator(name);
    size_t size = state->pool->size;

    for (unsigned long i = 0; allocator && i < count; i++) {
        void *block = allocator->alloc(size);

        BENCH_USED(block);
        allocator->free(block);
    }
}

void dk_bench_pool_mimalloc(struct bench_state *state, unsigned long count)
{
    run_allocator(state, count, dk_bench_mimalloc);
}

void dk_bench_pool_jemalloc(struct bench_state *state, unsigned long count)
{
    run_allocator(state, count, dk_bench_jemalloc);
}

static void run_dpdk(struct bench_state *state, unsigned long count)
{
    (void)state;
    dk_bench_dpdk_pairs(count);
}

bool dk_bench_pool_has(const struct bench_subject *other)
{
    if (!strcmp(other->name, rte_mempool_name))
        return dk_bench_dpdk_start();
    if (!strcmp(other->name, dk_bench_mimalloc) || !strcmp(other->name, dk_bench_jemalloc))
        return dk_bench_allocator(other->name);
    return true;
}

/* Other work between: it drives what an allocator keeps out of the first cache. */
static void work(struct bench_pool *bench)
{
    for (size_t i = 0; i < BENCH_OTHER_WORK; i += 64)
        bench->other_work[i]++;
    BENCH_USED(bench->other_work);
}

static void run_spaced(struct bench_state *state, unsigned long count)
{
    struct dma_pool *pool = state->pool->pool;

    for (unsigned long i = 0; i < count; i++) {
        dma_addr_t dma;
        void *cpu = dma_pool_alloc(pool, GFP_ATOMIC, &dma);

        work(state->pool);
        BENCH_USED(cpu);
        dma_pool_free(pool, cpu, dma);
        work(state->pool);
    }
}

static void run_work(struct bench_state *state, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        work(state->pool);
        work(state->pool);
    }
}

static void run_spaced_malloc(struct bench_state *state, unsigned long count)
{
    size_t size = state->pool->size;

    for (unsigned long i = 0; i < count; i++) {
        void *block = malloc(size);

        work(state->pool);
        BENCH_USED(block);
        free(block);
        work(state->pool);
    }
}

/* ---- Batches ---- */

/* A batch of at most BENCH_BATCH, given back in another order. */
static unsigned long batch_of(unsigned long left)
{
    return left < BENCH_BATCH ? left : BENCH_BATCH;
}

static void run_batch(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct bench_slot *batch = bench->batch;
    struct dma_pool *pool = bench->pool;

    while (count) {
        unsigned long size = batch_of(count);

        for (unsigned long i = 0; i < size; i++)
            batch[i].cpu = dma_pool_alloc(pool, GFP_ATOMIC, &batch[i].dma);
        BENCH_USED(batch);
        for (unsigned long i = 0; i < BENCH_BATCH; i++) {
            unsigned index = bench->order[i];

            if (index < size)
                dma_pool_free(pool, batch[index].cpu, batch[index].dma);
        }
        count -= size;
    }
}

/* Out of the analyser's sight, which does not know that an order names each block once. */
static inline void give_back(void *block)
{
    __asm__ volatile("" : "+r"(block));
    free(block);
}

static void run_batch_malloc(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct bench_slot *batch = bench->batch;

    while (count) {
        unsigned long size = batch_of(count);

        for (unsigned long i = 0; i < size; i++)
            batch[i].cpu = malloc(bench->size);
        BENCH_USED(batch);
        for (unsigned long i = 0; i < BENCH_BATCH; i++) {
            unsigned index = bench->order[i];

            if (index < size)
                give_back(batch[index].cpu);
        }
        count -= size;
    }
}

static void run_batch_allocator(struct bench_state *state, unsigned long count, const char *name)
{
    const struct bench_allocator *allocator = dk_bench_allocator(name);
    struct bench_pool *bench = state->pool;
    struct bench_slot *batch = bench->batch;

    while (allocator && count) {
        unsigned long size = batch_of(count);

        for (unsigned long i = 0; i < size; i++)
            batch[i].cpu = allocator->alloc(bench->size);
        BENCH_USED(batch);
        for (unsigned long i = 0; i < BENCH_BATCH; i++) {
            unsigned index = bench->order[i];

            if (index < size)
                allocator->free(batch[index].cpu);
        }
        count -= size;
    }
}

static void run_batch_mimalloc(struct bench_state *state, unsigned long count)
{
    run_batch_allocator(state, count, dk_bench_mimalloc);
}

static void run_batch_jemalloc(struct bench_state *state, unsigned long count)
{
    run_batch_allocator(state, count, dk_bench_jemalloc);
}

/* ---- Setting up ---- */

/* The same order each time: no row is luckier than another. */
static void shuffle(unsigned *order)
{
    u64 random = 88172645463325252ull;

    for (unsigned i = 0; i < BENCH_BATCH; i++)
        order[i] = i;
    for (unsigned i = BENCH_BATCH - 1; i; i--) {
        unsigned other, index = order[i];

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        other = (unsigned)(random % (i + 1));
        order[i] = order[other];
        order[other] = index;
    }
}

int dk_bench_pool_set_up(struct bench_state *state, size_t size)
{
    struct bench_pool *bench = dk_allocate(1, sizeof(*bench));

    if (!bench)
        return -ENOMEM;
    state->pool = bench;
    bench->size = size;
    shuffle(bench->order);
    bench->pool = dma_pool_create("bench", state->dev, size, 0, 0);
    if (!bench->pool)
        return -ENOMEM;
    /* The pool grows now, not while somebody finds out how many operations fill a round. */
    run_batch(state, BENCH_BATCH);
    run_batch_malloc(state, BENCH_BATCH);
    return 0;
}

void dk_bench_pool_tear_down(struct bench_state *state)
{
    if (!state->pool)
        return;
    dma_pool_destroy(state->pool->pool);
    dk_release(state->pool);
}

int dk_bench_pool_set_up_64(struct bench_state *state)
{
    return dk_bench_pool_set_up(state, SMALL);
}

static int set_up_256(struct bench_state *state)
{
    return dk_bench_pool_set_up(state, 256);
}

static int set_up_4k(struct bench_state *state)
{
    return dk_bench_pool_set_up(state, 4096);
}

#define PAIR_PEERS                                                                     \
    {                                                                                  \
        { rte_mempool_name, run_dpdk }, { dk_bench_mimalloc, dk_bench_pool_mimalloc }, \
        {                                                                              \
            dk_bench_jemalloc, dk_bench_pool_jemalloc                                  \
        }                                                                              \
    }
#define BATCH_PEERS                                \
    {                                              \
        { dk_bench_mimalloc, run_batch_mimalloc }, \
        {                                          \
            dk_bench_jemalloc, run_batch_jemalloc  \
        }                                          \
    }

const struct bench_row dk_bench_pool_rows[] = {
    {
        .subject = { "pool-pair", run_called },
        .peer = { dk_bench_malloc, dk_bench_pool_malloc },
        .others = PAIR_PEERS,
        .is_there = dk_bench_pool_has,
        .summary = "a 64-byte block of a pool taken and given back, called, checker off",
        .goal = 4.2,
        .setup = dk_bench_pool_set_up_64,
        .teardown = dk_bench_pool_tear_down,
    },
    {
        .subject = { "pool-pair-inline", dk_bench_pool_inline },
        .peer = { dk_bench_malloc, dk_bench_pool_malloc },
        .others = PAIR_PEERS,
        .is_there = dk_bench_pool_has,
        .summary = "the same, inlined",
        .goal = 2,
        .setup = dk_bench_pool_set_up_64,
        .teardown = dk_bench_pool_tear_down,
    },
    {
        .subject = { "pool-spaced", run_spaced },
        .peer = { "the other work", run_work },
        .others = { { dk_bench_malloc, run_spaced_malloc } },
        .summary = "the same, with 32 KiB of other memory touched at each step",
        .setup = dk_bench_pool_set_up_64,
        .teardown = dk_bench_pool_tear_down,
    },
    {
        .subject = { "pool-batch-64", run_batch },
        .peer = { dk_bench_malloc, run_batch_malloc },
        .others = BATCH_PEERS,
        .is_there = dk_bench_pool_has,
        .summary = "1000 blocks of 64 bytes taken, and given back in another order",
        .goal = 2.5,
        .setup = dk_bench_pool_set_up_64,
        .teardown = dk_bench_pool_tear_down,
    },
    {
        .subject = { "pool-batch-256", run_batch },
        .peer = { dk_bench_malloc, run_batch_malloc },
        .others = BATCH_PEERS,
        .is_there = dk_bench_pool_has,
        .summary = "the same of 256 bytes",
        .goal = 2.5,
        .setup = set_up_256,
        .teardown = dk_bench_pool_tear_down,
    },
    {
        .subject = { "pool-batch-4k", run_batch },
        .peer = { dk_bench_malloc, run_batch_malloc },
        .others = BATCH_PEERS,
        .is_there = dk_bench_pool_has,
        .summary = "the same of a page",
        .goal = 2.5,
        .setup = set_up_4k,
        .teardown = dk_bench_pool_tear_down,
    },
};

const size_t dk_bench_pool_row_count = sizeof(dk_bench_pool_rows) / sizeof(dk_bench_pool_rows[0]);
