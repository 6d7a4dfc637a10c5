/* SPDX-License-Identifier: MIT */
/*
 * The rows about pools: blocks taken and given back, one by one, with other work between, in batches, by two
 * threads, and from one to the other; beside other allocators doing the same.
 */
#include "base/alloc.h"
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1000u
#define RING 1024u
#define SMALL 64u
#define OTHER_WORK ((size_t)16 << 10)

/* Makes the compiler believe that the block is used. */
#define BENCH_USED(block) __asm__ volatile("" : : "r"(block) : "memory")

struct slot {
    void *cpu;
    dma_addr_t dma;
};

struct bench_pool {
    struct dma_pool *pool;
    size_t size;
    unsigned order[BATCH]; /* in which a batch is given back */
    struct slot batch[BATCH];
    unsigned char other_work[OTHER_WORK];
    /* The ring: each index is written by one thread, on a line of its own. */
    struct slot ring[RING];
    char before_head[128];
    size_t head;
    char before_tail[128];
    size_t tail;
    char after[128];
};

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

static void run_inline(struct bench_state *state, unsigned long count)
{
    struct dma_pool *pool = state->pool->pool;

    while (count--) {
        dma_addr_t dma;
        void *cpu = dma_pool_alloc(pool, GFP_ATOMIC, &dma);

        BENCH_USED(cpu);
        dma_pool_free(pool, cpu, dma);
    }
}

static void run_malloc(struct bench_state *state, unsigned long count)
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

static void run_mimalloc(struct bench_state *state, unsigned long count)
{
    run_allocator(state, count, dk_bench_mimalloc);
}

static void run_jemalloc(struct bench_state *state, unsigned long count)
{
    run_allocator(state, count, dk_bench_jemalloc);
}

static void run_dpdk(struct bench_state *state, unsigned long count)
{
    (void)state;
    dk_bench_dpdk_pairs(count);
}

static bool is_there(const struct bench_subject *other)
{
    if (!strcmp(other->name, "rte_mempool"))
        return dk_bench_dpdk_start();
    return dk_bench_allocator(other->name);
}

/* Other work between: it drives what an allocator keeps out of the first cache. */
static void work(struct bench_pool *bench)
{
    for (size_t i = 0; i < OTHER_WORK; i += 64)
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

/* A batch of at most BATCH, given back in another order. */
static unsigned long batch_of(unsigned long left)
{
    return left < BATCH ? left : BATCH;
}

static void run_batch(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct slot *batch = bench->batch;
    struct dma_pool *pool = bench->pool;

    while (count) {
        unsigned long size = batch_of(count);

        for (unsigned long i = 0; i < size; i++)
            batch[i].cpu = dma_pool_alloc(pool, GFP_ATOMIC, &batch[i].dma);
        BENCH_USED(batch);
        for (unsigned long i = 0; i < BATCH; i++) {
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
    struct slot *batch = bench->batch;

    while (count) {
        unsigned long size = batch_of(count);

        for (unsigned long i = 0; i < size; i++)
            batch[i].cpu = malloc(bench->size);
        BENCH_USED(batch);
        for (unsigned long i = 0; i < BATCH; i++) {
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
    struct slot *batch = bench->batch;

    while (allocator && count) {
        unsigned long size = batch_of(count);

        for (unsigned long i = 0; i < size; i++)
            batch[i].cpu = allocator->alloc(bench->size);
        BENCH_USED(batch);
        for (unsigned long i = 0; i < BATCH; i++) {
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

/* ---- Two threads ---- */

struct second {
    struct bench_state *state;
    unsigned long count;
    void (*run)(struct bench_state *state, unsigned long count);
    unsigned ready; /* atomic: how many threads are at the start */
};

/* Both begin when both are there. */
static void start(struct second *second)
{
    unsigned spins = 0;

    __atomic_add_fetch(&second->ready, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(&second->ready, __ATOMIC_ACQUIRE) < 2) {
        if (++spins % 1024 == 0)
            sched_yield();
    }
}

static void *run_second(void *data)
{
    struct second *second = data;

    start(second);
    second->run(second->state, second->count);
    return NULL;
}

/* @first here, and @other in another thread, each @count times. */
static void run_both(struct bench_state *state, unsigned long count,
                     void (*first)(struct bench_state *state, unsigned long count),
                     void (*other)(struct bench_state *state, unsigned long count))
{
    struct second second = { .state = state, .count = count, .run = other };
    pthread_t thread;

    if (pthread_create(&thread, NULL, run_second, &second))
        return;
    start(&second);
    first(state, count);
    pthread_join(thread, NULL);
}

static void run_2t(struct bench_state *state, unsigned long count)
{
    run_both(state, count, run_inline, run_inline);
}

static void run_2t_malloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, run_malloc, run_malloc);
}

static void run_2t_mimalloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, run_mimalloc, run_mimalloc);
}

static void run_2t_jemalloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, run_jemalloc, run_jemalloc);
}

/* Waits for a place, or for something, in the ring; the other thread may need this processor. */
static size_t wait_until_not(const size_t *index, size_t value)
{
    unsigned spins = 0;
    size_t now;

    while ((now = __atomic_load_n(index, __ATOMIC_ACQUIRE)) == value) {
        if (++spins % 1024 == 0)
            sched_yield();
    }
    return now;
}

static void put(struct bench_pool *bench, size_t *seen, void *cpu, dma_addr_t dma)
{
    size_t head = bench->head;

    if (head - *seen == RING)
        *seen = wait_until_not(&bench->tail, head - RING);
    bench->ring[head % RING] = (struct slot){ cpu, dma };
    __atomic_store_n(&bench->head, head + 1, __ATOMIC_RELEASE);
}

static struct slot get(struct bench_pool *bench, size_t *seen)
{
    size_t tail = bench->tail;
    struct slot slot;

    if (tail == *seen)
        *seen = wait_until_not(&bench->head, tail);
    slot = bench->ring[tail % RING];
    __atomic_store_n(&bench->tail, tail + 1, __ATOMIC_RELEASE);
    return slot;
}

static void produce(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    size_t seen = __atomic_load_n(&bench->tail, __ATOMIC_ACQUIRE);

    for (unsigned long i = 0; i < count; i++) {
        dma_addr_t dma;
        void *cpu = dma_pool_alloc(bench->pool, GFP_ATOMIC, &dma);

        put(bench, &seen, cpu, dma);
    }
}

static void consume(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    size_t seen = __atomic_load_n(&bench->head, __ATOMIC_ACQUIRE);

    for (unsigned long i = 0; i < count; i++) {
        struct slot slot = get(bench, &seen);

        dma_pool_free(bench->pool, slot.cpu, slot.dma);
    }
}

static void produce_malloc(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    size_t seen = __atomic_load_n(&bench->tail, __ATOMIC_ACQUIRE);

    for (unsigned long i = 0; i < count; i++)
        put(bench, &seen, malloc(bench->size), 0);
}

static void consume_malloc(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    size_t seen = __atomic_load_n(&bench->head, __ATOMIC_ACQUIRE);

    for (unsigned long i = 0; i < count; i++)
        free(get(bench, &seen).cpu);
}

static void produce_mimalloc(struct bench_state *state, unsigned long count)
{
    const struct bench_allocator *allocator = dk_bench_allocator(dk_bench_mimalloc);
    struct bench_pool *bench = state->pool;
    size_t seen = __atomic_load_n(&bench->tail, __ATOMIC_ACQUIRE);

    for (unsigned long i = 0; i < count; i++)
        put(bench, &seen, allocator->alloc(bench->size), 0);
}

static void consume_mimalloc(struct bench_state *state, unsigned long count)
{
    const struct bench_allocator *allocator = dk_bench_allocator(dk_bench_mimalloc);
    struct bench_pool *bench = state->pool;
    size_t seen = __atomic_load_n(&bench->head, __ATOMIC_ACQUIRE);

    for (unsigned long i = 0; i < count; i++)
        allocator->free(get(bench, &seen).cpu);
}

static void run_handoff(struct bench_state *state, unsigned long count)
{
    run_both(state, count, consume, produce);
}

static void run_handoff_malloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, consume_malloc, produce_malloc);
}

static void run_handoff_mimalloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, consume_mimalloc, produce_mimalloc);
}

/* ---- Setting up ---- */

/* The same order each time: no row is luckier than another. */
static void shuffle(unsigned *order)
{
    u64 random = 88172645463325252ull;

    for (unsigned i = 0; i < BATCH; i++)
        order[i] = i;
    for (unsigned i = BATCH - 1; i; i--) {
        unsigned other, index = order[i];

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        other = (unsigned)(random % (i + 1));
        order[i] = order[other];
        order[other] = index;
    }
}

static int set_up(struct bench_state *state, size_t size)
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
    run_batch(state, BATCH);
    run_batch_malloc(state, BATCH);
    return 0;
}

static void tear_down(struct bench_state *state)
{
    if (!state->pool)
        return;
    dma_pool_destroy(state->pool->pool);
    dk_release(state->pool);
}

static int set_up_64(struct bench_state *state)
{
    return set_up(state, SMALL);
}

static int set_up_256(struct bench_state *state)
{
    return set_up(state, 256);
}

static int set_up_4k(struct bench_state *state)
{
    return set_up(state, 4096);
}

#define PAIR_PEERS                                                        \
    {                                                                     \
        { "rte_mempool", run_dpdk }, { dk_bench_mimalloc, run_mimalloc }, \
        {                                                                 \
            dk_bench_jemalloc, run_jemalloc                               \
        }                                                                 \
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
        .peer = { "malloc and free", run_malloc },
        .others = PAIR_PEERS,
        .is_there = is_there,
        .summary = "a 64-byte block of a pool taken and given back, called, checker off",
        .goal = 4.2,
        .setup = set_up_64,
        .teardown = tear_down,
    },
    {
        .subject = { "pool-pair-inline", run_inline },
        .peer = { "malloc and free", run_malloc },
        .others = PAIR_PEERS,
        .is_there = is_there,
        .summary = "the same, inlined",
        .goal = 2,
        .setup = set_up_64,
        .teardown = tear_down,
    },
    {
        .subject = { "pool-spaced", run_spaced },
        .peer = { "the other work", run_work },
        .others = { { "malloc and free", run_spaced_malloc } },
        .summary = "the same, with 32 KiB of other memory touched at each step",
        .setup = set_up_64,
        .teardown = tear_down,
    },
    {
        .subject = { "pool-batch-64", run_batch },
        .peer = { "malloc and free", run_batch_malloc },
        .others = BATCH_PEERS,
        .is_there = is_there,
        .summary = "1000 blocks of 64 bytes taken, and given back in another order",
        .goal = 2.5,
        .setup = set_up_64,
        .teardown = tear_down,
    },
    {
        .subject = { "pool-batch-256", run_batch },
        .peer = { "malloc and free", run_batch_malloc },
        .others = BATCH_PEERS,
        .is_there = is_there,
        .summary = "the same of 256 bytes",
        .goal = 2.5,
        .setup = set_up_256,
        .teardown = tear_down,
    },
    {
        .subject = { "pool-batch-4k", run_batch },
        .peer = { "malloc and free", run_batch_malloc },
        .others = BATCH_PEERS,
        .is_there = is_there,
        .summary = "the same of a page",
        .goal = 2.5,
        .setup = set_up_4k,
        .teardown = tear_down,
    },
    {
        .subject = { "pool-2t", run_2t },
        .peer = { "malloc and free", run_2t_malloc },
        .others = { { dk_bench_mimalloc, run_2t_mimalloc }, { dk_bench_jemalloc, run_2t_jemalloc } },
        .is_there = is_there,
        .summary = "64-byte blocks of one pool taken and given back by two threads at once; a pair of each",
        .goal = 3.5,
        .threads = true,
        .setup = set_up_64,
        .teardown = tear_down,
    },
    {
        .subject = { "pool-handoff", run_handoff },
        .peer = { "malloc and free", run_handoff_malloc },
        .others = { { dk_bench_mimalloc, run_handoff_mimalloc } },
        .is_there = is_there,
        .summary = "64-byte blocks taken by one thread and given back by another, through a ring",
        .goal = 10,
        .threads = true,
        .setup = set_up_64,
        .teardown = tear_down,
    },
};

const size_t dk_bench_pool_row_count = sizeof(dk_bench_pool_rows) / sizeof(dk_bench_pool_rows[0]);
