/* SPDX-License-Identifier: MIT */
/*
 * The rows about pools in two threads: both take and give back, or one takes and the other gives back.
 */
#include "bench-pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

/* ---- Two threads at once ---- */

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
    run_both(state, count, dk_bench_pool_inline, dk_bench_pool_inline);
}

static void run_2t_malloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, dk_bench_pool_malloc, dk_bench_pool_malloc);
}

static void run_2t_mimalloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, dk_bench_pool_mimalloc, dk_bench_pool_mimalloc);
}

static void run_2t_jemalloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, dk_bench_pool_jemalloc, dk_bench_pool_jemalloc);
}

/* ---- From one to the other, through a ring ---- */

/*
 * How many blocks one thread lets gather before it shows the other its index: where the two poll the same
 * line for each block, it travels between their caches for each, and nothing else is measured. Divides
 * BENCH_RING: who finds the ring full has shown all there is in it.
 */
#define GATHERED 64u

/* One thread's end of the ring. */
struct end {
    size_t at;    /* of the next block */
    size_t shown; /* what the other thread was shown of it */
    size_t seen;  /* of the other thread's index */
};

/* Waits until *index is not @value; the other thread may need this processor. */
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

static void show(size_t *index, struct end *end)
{
    __atomic_store_n(index, end->at, __ATOMIC_RELEASE);
    end->shown = end->at;
}

static void step(size_t *index, struct end *end)
{
    if (++end->at - end->shown == GATHERED)
        show(index, end);
}

/* The end whose index is @mine; the other thread may be at work already. */
static struct end end_at(const size_t *mine, const size_t *its)
{
    size_t at = __atomic_load_n(mine, __ATOMIC_ACQUIRE);

    return (struct end){ at, at, __atomic_load_n(its, __ATOMIC_ACQUIRE) };
}

static inline void put(struct bench_pool *bench, struct end *end, void *cpu, dma_addr_t dma)
{
    if (end->at - end->seen == BENCH_RING)
        end->seen = wait_until_not(&bench->tail, end->seen);
    bench->ring[end->at % BENCH_RING] = (struct bench_slot){ cpu, dma };
    step(&bench->head, end);
}

static inline struct bench_slot get(struct bench_pool *bench, struct end *end)
{
    struct bench_slot slot;

    if (end->at == end->seen)
        end->seen = wait_until_not(&bench->head, end->seen);
    slot = bench->ring[end->at % BENCH_RING];
    step(&bench->tail, end);
    return slot;
}

static void produce(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct end end = end_at(&bench->head, &bench->tail);

    for (unsigned long i = 0; i < count; i++) {
        dma_addr_t dma;
        void *cpu = dma_pool_alloc(bench->pool, GFP_ATOMIC, &dma);

        put(bench, &end, cpu, dma);
    }
    show(&bench->head, &end);
}

static void consume(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct end end = end_at(&bench->tail, &bench->head);

    for (unsigned long i = 0; i < count; i++) {
        struct bench_slot slot = get(bench, &end);

        dma_pool_free(bench->pool, slot.cpu, slot.dma);
    }
    show(&bench->tail, &end);
}

/* The floor: the ring with the same slot again and again. */
static void produce_nothing(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct end end = end_at(&bench->head, &bench->tail);

    for (unsigned long i = 0; i < count; i++)
        put(bench, &end, bench, i);
    show(&bench->head, &end);
}

static void consume_nothing(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct end end = end_at(&bench->tail, &bench->head);

    for (unsigned long i = 0; i < count; i++) {
        struct bench_slot slot = get(bench, &end);

        BENCH_USED(slot.cpu);
        BENCH_USED(slot.dma);
    }
    show(&bench->tail, &end);
}

static void produce_malloc(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct end end = end_at(&bench->head, &bench->tail);

    for (unsigned long i = 0; i < count; i++)
        put(bench, &end, malloc(bench->size), 0);
    show(&bench->head, &end);
}

static void consume_malloc(struct bench_state *state, unsigned long count)
{
    struct bench_pool *bench = state->pool;
    struct end end = end_at(&bench->tail, &bench->head);

    for (unsigned long i = 0; i < count; i++)
        free(get(bench, &end).cpu);
    show(&bench->tail, &end);
}

static void produce_mimalloc(struct bench_state *state, unsigned long count)
{
    const struct bench_allocator *allocator = dk_bench_allocator(dk_bench_mimalloc);
    struct bench_pool *bench = state->pool;
    struct end end = end_at(&bench->head, &bench->tail);

    for (unsigned long i = 0; i < count; i++)
        put(bench, &end, allocator->alloc(bench->size), 0);
    show(&bench->head, &end);
}

static void consume_mimalloc(struct bench_state *state, unsigned long count)
{
    const struct bench_allocator *allocator = dk_bench_allocator(dk_bench_mimalloc);
    struct bench_pool *bench = state->pool;
    struct end end = end_at(&bench->tail, &bench->head);

    for (unsigned long i = 0; i < count; i++)
        allocator->free(get(bench, &end).cpu);
    show(&bench->tail, &end);
}

static void run_handoff(struct bench_state *state, unsigned long count)
{
    run_both(state, count, consume, produce);
}

static void run_handoff_nothing(struct bench_state *state, unsigned long count)
{
    run_both(state, count, consume_nothing, produce_nothing);
}

static void run_handoff_malloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, consume_malloc, produce_malloc);
}

static void run_handoff_mimalloc(struct bench_state *state, unsigned long count)
{
    run_both(state, count, consume_mimalloc, produce_mimalloc);
}

const struct bench_row dk_bench_pool_thread_rows[] = {
    {
        .subject = { "pool-2t", run_2t },
        .peer = { dk_bench_malloc, run_2t_malloc },
        .others = { { dk_bench_mimalloc, run_2t_mimalloc }, { dk_bench_jemalloc, run_2t_jemalloc } },
        .is_there = dk_bench_pool_has,
        .summary = "64-byte blocks of one pool taken and given back by two threads at once; a pair of each",
        .goal = 3.5,
        .threads = true,
        .setup = dk_bench_pool_set_up_64,
        .teardown = dk_bench_pool_tear_down,
    },
    {
        .subject = { "pool-handoff", run_handoff },
        .peer = { "the ring alone", run_handoff_nothing },
        .others = { { dk_bench_malloc, run_handoff_malloc }, { dk_bench_mimalloc, run_handoff_mimalloc } },
        .is_there = dk_bench_pool_has,
        .summary = "64-byte blocks taken by one thread and given back by another, through a ring",
        .goal = 10,
        .threads = true,
        .setup = dk_bench_pool_set_up_64,
        .teardown = dk_bench_pool_tear_down,
    },
};

const size_t dk_bench_pool_thread_row_count =
    sizeof(dk_bench_pool_thread_rows) / sizeof(dk_bench_pool_thread_rows[0]);
