/* SPDX-License-Identifier: MIT */
/*
 * The rows about bouncing: a buffer is copied into the pool and out again, beside the two copies alone.
 */
#include "base/alloc.h"
#include "bench.h"
#include "mapping/bounce.h"

#include <string.h>

#define POOL_SIZE ((size_t)64 << 20)

struct bench_bounce {
    struct dk_memory *memory;
    struct dk_bounce_pool *pool;
    struct page *pool_pages, *pages;
    size_t size; /* of a mapping */
    phys_addr_t original;
    char *cpu;     /* the original */
    char *bounced; /* where it is copied to */
};

static void run_bounce(struct bench_state *state, unsigned long count)
{
    const struct bench_bounce *bounce = state->bounce;

    for (unsigned long i = 0; i < count; i++) {
        phys_addr_t phys = dk_bounce_map(bounce->pool, state->dev, bounce->original, bounce->size, 0);

        if (phys == ~(phys_addr_t)0)
            return;
        __asm__ volatile("" : : : "memory");
        dk_bounce_unmap(bounce->pool, state->dev, phys, bounce->size, DMA_BIDIRECTIONAL, 0);
    }
}

static void run_copies(struct bench_state *state, unsigned long count)
{
    const struct bench_bounce *bounce = state->bounce;

    for (unsigned long i = 0; i < count; i++) {
        size_t size = bounce->size;

        /* The compiler knows neither the size nor what the bytes are for. */
        __asm__ volatile("" : "+r"(size) : : "memory");
        memcpy(bounce->bounced, bounce->cpu, size);
        __asm__ volatile("" : "+r"(size) : : "memory");
        memcpy(bounce->cpu, bounce->bounced, size);
    }
}

static void tear_down(struct bench_state *state)
{
    struct bench_bounce *bounce = state->bounce;

    if (!bounce)
        return;
    dk_bounce_destroy(bounce->pool);
    if (bounce->pool_pages)
        dk_pages_give(bounce->memory, bounce->pool_pages, POOL_SIZE >> PAGE_SHIFT);
    if (bounce->pages)
        dk_pages_give(bounce->memory, bounce->pages,
                      bounce->size >> PAGE_SHIFT ? bounce->size >> PAGE_SHIFT : 1);
    dk_release(bounce);
}

static int make_pool(struct bench_bounce *bounce, struct dk_machine *machine)
{
    struct dk_bounce_pool *pool;

    bounce->pool_pages = dk_pages_take(bounce->memory, GFP_KERNEL, POOL_SIZE >> PAGE_SHIFT, 1, 0, ~0ull);
    if (!bounce->pool_pages)
        return -ENOMEM;
    pool = dk_bounce_create(machine, page_to_phys(bounce->pool_pages), POOL_SIZE, "bench");
    if (IS_ERR(pool))
        return PTR_ERR_OR_ZERO(pool);
    bounce->pool = pool;
    return 0;
}

static int set_up(struct bench_state *state, size_t size)
{
    size_t pages = size >> PAGE_SHIFT ? size >> PAGE_SHIFT : 1;
    struct bench_bounce *bounce = dk_allocate(1, sizeof(*bounce));
    phys_addr_t phys;
    int error;

    if (!bounce)
        return -ENOMEM;
    state->bounce = bounce;
    bounce->memory = state->machine->memory;
    bounce->size = size;
    error = make_pool(bounce, state->machine);
    if (error)
        return error;
    bounce->pages = dk_pages_take(bounce->memory, GFP_KERNEL, pages, 1, 0, ~0ull);
    if (!bounce->pages)
        return -ENOMEM;
    bounce->original = page_to_phys(bounce->pages);
    bounce->cpu = dk_memory_cached(bounce->memory, bounce->original);
    phys = dk_bounce_map(bounce->pool, state->dev, bounce->original, size, 0);
    if (phys == ~(phys_addr_t)0)
        return -ENOMEM;
    bounce->bounced = dk_memory_cached(bounce->memory, phys);
    dk_bounce_unmap(bounce->pool, state->dev, phys, size, DMA_BIDIRECTIONAL, 0);
    return 0;
}

static int set_up_64(struct bench_state *state)
{
    return set_up(state, 64);
}

static int set_up_4096(struct bench_state *state)
{
    return set_up(state, 4096);
}

static int set_up_256k(struct bench_state *state)
{
    return set_up(state, (size_t)256 << 10);
}

const struct bench_row dk_bench_bounce_rows[] = {
    {
        .subject = { "bounce-64", run_bounce },
        .peer = { "two memcpys", run_copies },
        .summary = "64 bytes bounced: copied into the pool and out again, checker off",
        .goal_over_ns = 5,
        .goal_over_percent = 5,
        .setup = set_up_64,
        .teardown = tear_down,
    },
    {
        .subject = { "bounce-4096", run_bounce },
        .peer = { "two memcpys", run_copies },
        .summary = "the same of a page",
        .goal_over_ns = 5,
        .goal_over_percent = 5,
        .setup = set_up_4096,
        .teardown = tear_down,
    },
    {
        .subject = { "bounce-256k", run_bounce },
        .peer = { "two memcpys", run_copies },
        .summary = "the same of 256 KiB",
        .goal_over_ns = 5,
        .goal_over_percent = 5,
        .setup = set_up_256k,
        .teardown = tear_down,
    },
};

const size_t dk_bench_bounce_row_count = sizeof(dk_bench_bounce_rows) / sizeof(dk_bench_bounce_rows[0]);
