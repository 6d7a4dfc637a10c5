/* SPDX-License-Identifier: MIT */
/*
 * The rows of dmakit bench --growth: what an operation costs in a pool of more and more blocks, and in an
 * area of more and more pages.
 */
#include "base/alloc.h"
#include "bench-contig.h"
#include "bench-pool.h"

#include <dmakit/cma.h>
#include <stdlib.h>
#include <string.h>

/* More than a thread and the depot keep of a pool: what is given back goes to the chunks, and comes from
 * there. Divides the larger scales. */
#define MOST_AT_ONCE 5000u

static u64 next_random(u64 *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

/* ---- Blocks ---- */

struct bench_blocks {
    struct bench_slot *slots; /* all blocks in use, in random order */
    void **others;            /* the peer's */
    size_t count;
    size_t at;      /* the next slot to be given back */
    size_t at_once; /* how many are given back before as many are taken; divides @count */
};

/* What stands between @count operations and the end of the slots. */
static size_t some_of(struct bench_blocks *blocks, unsigned long count, size_t *first)
{
    *first = blocks->at;
    blocks->at += blocks->at_once;
    if (blocks->at == blocks->count)
        blocks->at = 0;
    return count < blocks->at_once ? count : blocks->at_once;
}

static void run_blocks(struct bench_state *state, unsigned long count)
{
    struct bench_blocks *blocks = state->blocks;
    struct dma_pool *pool = state->pool->pool;

    while (count) {
        size_t first, some = some_of(blocks, count, &first);
        struct bench_slot *slots = blocks->slots + first;

        for (size_t i = 0; i < some; i++)
            dma_pool_free(pool, slots[i].cpu, slots[i].dma);
        for (size_t i = 0; i < some; i++)
            slots[i].cpu = dma_pool_alloc(pool, GFP_ATOMIC, &slots[i].dma);
        count -= some;
    }
}

/* Out of the analyser's sight, which does not know that each slot's block is given back once. */
static inline void give_back(void *block)
{
    __asm__ volatile("" : "+r"(block));
    free(block);
}

static void run_malloc(struct bench_state *state, unsigned long count)
{
    struct bench_blocks *blocks = state->blocks;

    while (count) {
        size_t first, some = some_of(blocks, count, &first);
        void **others = blocks->others + first;

        for (size_t i = 0; i < some; i++)
            give_back(others[i]);
        for (size_t i = 0; i < some; i++)
            others[i] = malloc(state->pool->size);
        count -= some;
    }
}

/* Blocks were taken one after the other: they are mixed, so that what is given back lies anywhere. */
static void shuffle(struct bench_blocks *blocks)
{
    u64 random = 88172645463325252ull;

    for (size_t i = blocks->count - 1; i; i--) {
        size_t other = next_random(&random) % (i + 1);
        struct bench_slot slot = blocks->slots[i];
        void *block = blocks->others[i];

        blocks->slots[i] = blocks->slots[other];
        blocks->slots[other] = slot;
        blocks->others[i] = blocks->others[other];
        blocks->others[other] = block;
    }
}

static int set_up_blocks(struct bench_state *state)
{
    struct bench_blocks *blocks = dk_allocate(1, sizeof(*blocks));
    int error = dk_bench_pool_set_up_64(state);

    state->blocks = blocks;
    if (error || !blocks)
        return -ENOMEM;
    blocks->slots = dk_allocate(state->scale, sizeof(*blocks->slots));
    blocks->others = dk_allocate(state->scale, sizeof(*blocks->others));
    if (!blocks->slots || !blocks->others)
        return -ENOMEM;
    blocks->at_once = state->scale / 2 < MOST_AT_ONCE ? state->scale / 2 : MOST_AT_ONCE;
    for (; blocks->count < state->scale; blocks->count++) {
        struct bench_slot *slot = &blocks->slots[blocks->count];

        slot->cpu = dma_pool_alloc(state->pool->pool, GFP_KERNEL, &slot->dma);
        blocks->others[blocks->count] = malloc(state->pool->size);
        if (!slot->cpu || !blocks->others[blocks->count]) {
            blocks->count++;
            return -ENOMEM;
        }
    }
    shuffle(blocks);
    return 0;
}

static void tear_down_blocks(struct bench_state *state)
{
    struct bench_blocks *blocks = state->blocks;

    for (size_t i = 0; blocks && i < blocks->count; i++) {
        dma_pool_free(state->pool->pool, blocks->slots[i].cpu, blocks->slots[i].dma);
        give_back(blocks->others[i]);
    }
    if (blocks) {
        dk_release(blocks->slots);
        dk_release(blocks->others);
        dk_release(blocks);
    }
    dk_bench_pool_tear_down(state);
}

/* ---- Pages ---- */

#define LONGEST 16u

/* The runs that are taken, half of the area. Which one an operation gives back, and how many pages it takes
 * then, is drawn. */
struct bench_runs {
    struct bench_run {
        struct page *page; /* the area's */
        u64 index;         /* of the bitmap's */
        u64 count;         /* 0: there was no room */
    } * ours, *others;
    size_t count;
    u64 random, other_random; /* the same draws for both */
};

static u64 draw_count(u64 *random)
{
    return next_random(random) % LONGEST + 1;
}

static void run_runs(struct bench_state *state, unsigned long count)
{
    struct bench_contig *contig = state->contig;
    struct bench_runs *runs = contig->runs;

    while (count--) {
        struct bench_run *run = &runs->ours[next_random(&runs->random) % runs->count];

        if (run->count)
            cma_release(contig->area, run->page, run->count);
        run->count = draw_count(&runs->random);
        run->page = cma_alloc(contig->area, run->count, 0, true);
        if (!run->page)
            run->count = 0;
    }
}

static void run_bitmap(struct bench_state *state, unsigned long count)
{
    struct bench_contig *contig = state->contig;
    struct bench_runs *runs = contig->runs;

    while (count--) {
        struct bench_run *run = &runs->others[next_random(&runs->other_random) % runs->count];

        pthread_mutex_lock(&contig->lock);
        dk_bench_set_busy(contig->bitmap, run->index, run->count, false);
        pthread_mutex_unlock(&contig->lock);
        run->count = draw_count(&runs->other_random);
        pthread_mutex_lock(&contig->lock);
        run->index = dk_bench_first_fit(contig, run->count, 1);
        if (run->index < contig->area_pages)
            dk_bench_set_busy(contig->bitmap, run->index, run->count, true);
        else
            run->count = 0;
        pthread_mutex_unlock(&contig->lock);
    }
}

/* All of the area is taken in runs, and random ones are given back until half of it is free. */
static bool fill(struct bench_contig *contig, struct bench_runs *runs)
{
    u64 taken = contig->area_pages, left;

    for (left = taken; left; runs->count++) {
        struct bench_run *run = &runs->ours[runs->count];

        run->count = draw_count(&runs->random);
        run->count = run->count < left ? run->count : left;
        if (!dk_bench_occupy(contig, run->count, 0, &run->page))
            return false;
        run->index = dk_bench_index(contig, run->page);
        left -= run->count;
    }
    while (taken > contig->area_pages / 2) {
        struct bench_run *run = &runs->ours[next_random(&runs->random) % runs->count];

        dk_bench_vacate(contig, run->page, run->count);
        taken -= run->count;
        *run = runs->ours[--runs->count];
    }
    memcpy(runs->others, runs->ours, runs->count * sizeof(*runs->ours));
    runs->other_random = runs->random;
    return true;
}

static int set_up_runs(struct bench_state *state)
{
    int error = dk_bench_contig_set_up(state, state->scale, 0);
    struct bench_runs *runs;

    if (error)
        return error;
    runs = dk_allocate(1, sizeof(*runs));
    state->contig->runs = runs;
    if (!runs)
        return -ENOMEM;
    runs->random = 88172645463325252ull;
    runs->ours = dk_allocate(state->scale, sizeof(*runs->ours));
    runs->others = dk_allocate(state->scale, sizeof(*runs->others));
    return runs->ours && runs->others && fill(state->contig, runs) ? 0 : -ENOMEM;
}

static void tear_down_runs(struct bench_state *state)
{
    struct bench_runs *runs = state->contig ? state->contig->runs : NULL;

    if (runs) {
        dk_release(runs->ours);
        dk_release(runs->others);
        dk_release(runs);
    }
    dk_bench_contig_tear_down(state);
}

static int set_up_full(struct bench_state *state)
{
    int error = dk_bench_contig_set_up(state, state->scale, 9);

    if (error)
        return error;
    return dk_bench_space(state->contig) ? 0 : -ENOMEM;
}

/* ---- The rows ---- */

/* Room for the largest, above what the board has there besides memory. */
#define MEMORY "1G@0x0,192G@0x100000000"

#define BLOCKS(scale_, number)                                                                     \
    {                                                                                              \
        .subject = { "pool-growth-" scale_, run_blocks }, .peer = { dk_bench_malloc, run_malloc }, \
        .summary = "random ones of " #number " blocks of 64 bytes given back, and as many taken",  \
        .scale = (number), .memory = MEMORY, .setup = set_up_blocks, .teardown = tear_down_blocks, \
    }

#define PAGES(log)                                                                                 \
    {                                                                                              \
        .subject = { "contig-growth-" #log, run_runs }, .peer = { dk_bench_bitmap, run_bitmap },   \
        .summary = "a run of 1 to 16 pages given back, one of another length taken, in 2^" #log    \
                   " pages of which half are free",                                                \
        .scale = 1ul << (log), .memory = MEMORY, .setup = set_up_runs, .teardown = tear_down_runs, \
    }

#define FULL(log)                                                                                       \
    {                                                                                                   \
        .subject = { "contig-fail-growth-" #log, dk_bench_contig_fail },                                \
        .peer = { dk_bench_bitmap, dk_bench_bitmap_pair },                                              \
        .summary = "512 pages asked of 2^" #log " of which each 512th is taken", .scale = 1ul << (log), \
        .memory = MEMORY, .setup = set_up_full, .teardown = dk_bench_contig_tear_down,                  \
    }

const struct bench_row dk_bench_growth_rows[] = {
    BLOCKS("1e3", 1000),
    BLOCKS("1e4", 10000),
    BLOCKS("1e5", 100000),
    BLOCKS("1e6", 1000000),
    BLOCKS("1e7", 10000000),
    PAGES(10),
    PAGES(12),
    PAGES(14),
    PAGES(16),
    PAGES(18),
    PAGES(20),
    PAGES(22),
    PAGES(24),
    FULL(10),
    FULL(12),
    FULL(14),
    FULL(16),
    FULL(18),
    FULL(20),
    FULL(22),
    FULL(24),
};

const size_t dk_bench_growth_row_count = sizeof(dk_bench_growth_rows) / sizeof(dk_bench_growth_rows[0]);
