/* SPDX-License-Identifier: MIT */
/*
 * The program of the iova rows: one thread that takes and gives ranges of a 48-bit address space.
 */
#include "bench.h"

#include "base/alloc.h"
#include "mapping/iova.h"

#define RANGES 4096 /* a power of two */
#define MOST_PAGES 64

struct range {
    dma_addr_t iova;
    u64 pages; /* 0: none */
};

struct bench_iova {
    struct dk_iova *space;
    dma_addr_t limit;
    u64 random;
    struct range ranges[RANGES];
    struct range others[RANGES]; /* that nothing is taken for */
};

static u64 draw(u64 *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random;
}

static u64 choose_pages(u64 random)
{
    return 1 + (random >> 32) % MOST_PAGES;
}

static void take(struct bench_iova *bench, struct range *range, u64 pages)
{
    range->iova = dk_iova_take(bench->space, pages, bench->limit);
    range->pages = range->iova == DMA_MAPPING_ERROR ? 0 : pages;
}

struct bench_iova *dk_bench_iova_create(void)
{
    struct bench_iova *bench = dk_allocate(1, sizeof(*bench));

    if (!bench)
        return (struct bench_iova *)ERR_PTR(-ENOMEM);
    bench->limit = DMA_BIT_MASK(48);
    bench->random = 0x9e3779b97f4a7c15;
    bench->space = dk_iova_create(0, bench->limit);
    if (IS_ERR(bench->space)) {
        int error = PTR_ERR_OR_ZERO(bench->space);

        dk_release(bench);
        return (struct bench_iova *)ERR_PTR(error);
    }
    for (int i = 0; i < RANGES; i++)
        take(bench, &bench->ranges[i], choose_pages(draw(&bench->random)));
    return bench;
}

void dk_bench_iova_destroy(struct bench_iova *bench)
{
    if (!bench)
        return;
    dk_iova_destroy(bench->space);
    dk_release(bench);
}

void dk_bench_iova_run(struct bench_iova *bench, unsigned long count)
{
    u64 pages = 1;

    for (unsigned long i = 0; i < count; i++) {
        dma_addr_t iova;

        /* As where the size is a buffer's. */
        __asm__ volatile("" : "+r"(pages));
        iova = dk_iova_take(bench->space, pages, bench->limit);
        if (iova != DMA_MAPPING_ERROR)
            dk_iova_give(bench->space, iova, pages);
    }
}

void dk_bench_iova_run_fragmented(struct bench_iova *bench, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        u64 random = draw(&bench->random);
        struct range *range = &bench->ranges[random % RANGES];

        if (range->pages)
            dk_iova_give(bench->space, range->iova, range->pages);
        take(bench, range, choose_pages(random));
    }
}

void dk_bench_iova_run_choices(struct bench_iova *bench, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        u64 random = draw(&bench->random);
        struct range *range = &bench->others[random % RANGES];

        __asm__ volatile("" : : "r"(range->iova), "r"(range->pages));
        range->pages = choose_pages(random);
    }
}
