/* SPDX-License-Identifier: MIT */
/*
 * Atomic pools: their sizes, blocks, limits, growth in the background, and what happens when there is no more
 * memory.
 */
#include "machine/compose.h"
#include "mapping/atomic-pool.h"
#include "mapping/mapping.h"

#include <dmakit/fail.h>
#include <dmakit/page.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define KIB ((u64)1 << 10)
#define MIB ((u64)1 << 20)
#define GIB ((u64)1 << 30)
#define ANYWHERE (~0ull)
#define PAGES 4096u /* of the small RAM */

/* No board and no devices: memory, its cache, and what hangs on the mapping state. */
struct scene {
    struct dk_machine machine;
    struct dk_mapping_state mapping;
    u64 free_pages; /* before there were pools */
};

static struct scene *set(const struct dk_memory_config *config)
{
    struct scene *scene = calloc(1, sizeof(*scene));
    struct dk_machine *machine = &scene->machine;

    assert_non_null(scene);
    machine->memory = dk_memory_create(config);
    assert_false(IS_ERR(machine->memory));
    if (config->two_views) {
        machine->cache = dk_cache_create(machine->memory, 0);
        assert_non_null(machine->cache);
    }
    machine->mapping = &scene->mapping;
    scene->free_pages = dk_memory_free_pages(machine->memory);
    log_lines();
    return scene;
}

static void strike(struct scene *scene)
{
    dk_atomic_pools_finish(&scene->machine);
    dk_atomic_pools_finish(&scene->machine);
    assert_int_equal(dk_memory_free_pages(scene->machine.memory), scene->free_pages);
    dk_cache_destroy(scene->machine.cache);
    dk_memory_destroy(scene->machine.memory);
    free(scene);
}

static const struct dk_memory_range small_ram = { MIB, 16 * MIB };
static const struct dk_memory_config small = {
    .ranges = &small_ram, .range_count = 1, .two_views = true, .line = 64
};

/* 4 MiB in each zone. */
static const struct dk_memory_range zoned_ram[] = { { 12 * MIB, 8 * MIB }, { 4 * GIB - 2 * MIB, 6 * MIB } };
static const struct dk_memory_config zoned = { .ranges = zoned_ram,
                                               .range_count = 2,
                                               .two_views = true,
                                               .line = 64,
                                               .zone_dma_end = 16 * MIB,
                                               .zone_dma32_end = 4 * GIB };

static struct scene *set_started(const struct dk_memory_config *config, u64 size)
{
    struct scene *scene = set(config);

    assert_int_equal(dk_atomic_pools_start(&scene->machine, size), 0);
    return scene;
}

static u64 pages_of(struct scene *scene, u64 *unused)
{
    u64 pages;

    dk_atomic_pools_usage(&scene->machine, &pages, unused);
    assert_true(*unused <= pages);
    return pages;
}

static bool is_unused(struct scene *scene)
{
    u64 unused, pages = pages_of(scene, &unused);

    return unused == pages;
}

static void test_sizes(void **state)
{
    static const struct {
        u64 ram, dma_end, dma32_end, highmem, size, expected; /* bytes, of all pools together */
    } cases[] = {
        { 64 * MIB, 0, 0, 0, 0, 128 * KIB },
        { GIB, 0, 0, 0, 0, 128 * KIB },
        { 3 * GIB, 0, 0, 0, 0, 384 * KIB },
        { 3 * GIB, 0, 0, GIB, 0, 384 * KIB },
        { 64 * GIB, 0, 0, 0, 0, 4 * MIB },
        { 2 * GIB, 16 * MIB, 0, 0, 0, 512 * KIB },
        { 2 * GIB, 16 * MIB, 4 * GIB, 0, 0, 512 * KIB },
        { 8 * GIB, 16 * MIB, 4 * GIB, 0, 0, 3 * MIB },
        { 8 * GIB, 4 * GIB, 4 * GIB, 0, 0, 2 * MIB },
        { 64 * MIB, 0, 0, 0, 1, 4 * KIB },
        { 64 * MIB, 0, 0, 0, 300 * KIB, 300 * KIB },
        { 64 * MIB, 16 * MIB, 0, 0, 10 * MIB, 20 * MIB },
        /* What a zone has not, it cannot give. */
        { 64 * MIB, 56 * MIB, 0, 0, 20 * MIB, 28 * MIB },
        { 64 * MIB, 0, 0, 0, ~0ull, 64 * MIB },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct dk_memory_range range = { 0, cases[i].ram };
        struct scene *scene = set_started(&(struct dk_memory_config){ .ranges = &range,
                                                                      .range_count = 1,
                                                                      .two_views = true,
                                                                      .line = 64,
                                                                      .zone_dma_end = cases[i].dma_end,
                                                                      .zone_dma32_end = cases[i].dma32_end,
                                                                      .highmem = cases[i].highmem },
                                          cases[i].size);
        u64 unused, pages = pages_of(scene, &unused);
        void *cpu;

        if (pages * 4 * KIB != cases[i].expected)
            fail_msg("case %zu: %llu pages", i, pages);
        assert_int_equal(unused, pages);
        assert_int_equal(dk_memory_free_pages(scene->machine.memory), scene->free_pages - pages);
        /* One page is never a reason to grow, also where the zone gave less than was asked for. */
        assert_non_null(dk_atomic_pool_take(&scene->machine, 1, ANYWHERE, &cpu));
        dk_atomic_pools_settle(&scene->machine);
        assert_int_equal(pages_of(scene, &unused), pages);
        assert_int_equal(log_lines(), 0);
        strike(scene);
    }
}

/* Zeros, for the CPU and the device, whatever was there; what one writes the other sees at once. */
static void test_bytes(void **state)
{
    (void)state;
    for (unsigned views = 1; views <= 2; views++) {
        struct dk_memory_config config = small;
        char seen[8192], zeros[8192] = { 0 };
        struct dk_machine *machine;
        struct scene *scene;
        phys_addr_t phys;
        struct page *page;
        char *bytes;
        void *cpu;

        config.two_views = views == 2;
        scene = set(&config);
        machine = &scene->machine;
        /* All of memory has dirty lines. */
        memset(dk_memory_cached(machine->memory, MIB), 'd', 16 * MIB);
        assert_int_equal(dk_atomic_pools_start(machine, 64 * KIB), 0);
        for (unsigned round = 0; round < 20; round++) {
            page = dk_atomic_pool_take(machine, 5000, ANYWHERE, &cpu);
            assert_non_null(page);
            phys = page_to_phys(page);
            bytes = cpu;
            assert_ptr_equal(bytes, dk_memory_dram(machine->memory, phys));
            assert_memory_equal(bytes, zeros, sizeof(zeros));
            assert_int_equal(dk_cache_device_read(machine, phys, seen, sizeof(seen)), 0);
            assert_memory_equal(seen, zeros, sizeof(seen));
            memset(seen, 'w', sizeof(seen));
            assert_int_equal(dk_cache_device_write(machine, phys + 100, seen, 3000), 0);
            assert_true(bytes[99] == 0 && bytes[100] == 'w' && bytes[3099] == 'w' && bytes[3100] == 0);
            memset(bytes, 'c', sizeof(seen));
            assert_int_equal(dk_cache_device_read(machine, phys, seen, sizeof(seen)), 0);
            assert_memory_equal(seen, bytes, sizeof(seen));
            assert_true(dk_atomic_pool_give(machine, cpu, 5000));
        }
        strike(scene);
    }
    assert_int_equal(log_lines(), 0);
}

static void test_wrong_gives(void **state)
{
    struct scene *scene = set_started(&small, 64 * KIB);
    struct dk_machine *machine = &scene->machine;
    u64 unused, after;
    void *block, *next;
    struct page *page, *other;
    char on_stack;

    (void)state;
    page = dk_atomic_pool_take(machine, 8192, ANYWHERE, &block);
    assert_non_null(page);
    assert_non_null(dk_atomic_pool_take(machine, 8192, ANYWHERE, &next));
    other = dk_pages_allocate(machine->memory, GFP_KERNEL, 0);
    assert_non_null(other);
    pages_of(scene, &unused);
    assert_true(dk_atomic_pool_is_block(machine, block, 8192) &&
                dk_atomic_pool_is_block(machine, block, 4097));
    assert_false(dk_atomic_pool_is_block(machine, block, 0) ||
                 dk_atomic_pool_is_block(machine, block, 4096) ||
                 dk_atomic_pool_is_block(machine, &on_stack, 4096));
    assert_true(dk_atomic_pool_holds(machine, block) &&
                dk_atomic_pool_holds(machine, dk_memory_cached(machine->memory, page_to_phys(page) + 4096)));
    assert_false(dk_atomic_pool_holds(machine, dk_memory_dram(machine->memory, page_to_phys(other))) ||
                 dk_atomic_pool_holds(machine, &on_stack));
    assert_false(dk_atomic_pool_give(machine, block, 0));
    assert_false(dk_atomic_pool_give(machine, block, 4096));
    assert_false(dk_atomic_pool_give(machine, block, 8193));
    assert_false(dk_atomic_pool_give(machine, block, 16384));
    assert_false(dk_atomic_pool_give(machine, block, ~(size_t)0));
    assert_false(dk_atomic_pool_give(machine, (char *)block + 1, 8192));
    assert_false(dk_atomic_pool_give(machine, (char *)block + 4096, 4096));
    assert_false(dk_atomic_pool_give(machine, page, 8192));
    assert_false(dk_atomic_pool_give(machine, &on_stack, 4096));
    assert_false(dk_atomic_pool_give(machine, NULL, 4096));
    /* The pool's bytes, but not as the pool gave them. */
    assert_false(dk_atomic_pool_give(machine, dk_memory_cached(machine->memory, page_to_phys(page)), 8192));
    assert_false(dk_atomic_pool_give(machine, dk_memory_dram(machine->memory, page_to_phys(other)), 4096));
    pages_of(scene, &after);
    assert_int_equal(after, unused);
    assert_true(dk_atomic_pool_give(machine, block, 8192));
    assert_false(dk_atomic_pool_give(machine, block, 8192));
    assert_true(dk_atomic_pool_give(machine, next, 8191));
    __free_pages(other, 0);

    assert_null(dk_atomic_pool_take(machine, 0, ANYWHERE, &block));
    assert_null(dk_atomic_pool_take(machine, ~(size_t)0, ANYWHERE, &block));
    assert_null(dk_atomic_pool_take(machine, 5 * MIB, ANYWHERE, &block));
    assert_int_equal(log_lines(), 0);
    strike(scene);

    /* A machine without pools has no blocks. */
    scene = set(&small);
    assert_null(dk_atomic_pool_take(&scene->machine, 4096, ANYWHERE, &block));
    assert_false(dk_atomic_pool_give(&scene->machine, &on_stack, 4096));
    dk_atomic_pools_settle(&scene->machine);
    assert_int_equal(pages_of(scene, &unused), 0);
    strike(scene);
}

/* The highest zone first, and no address beyond the limit. */
static void test_limits(void **state)
{
    static const struct {
        u64 limit, lowest, end; /* where the block may lie; 0: there is none */
    } cases[] = {
        { ANYWHERE, 4 * GIB, ANYWHERE },
        { 4 * GIB - 1, 16 * MIB, 4 * GIB },
        { 4 * GIB - 2, 16 * MIB, 4 * GIB - 4096 },
        { 16 * MIB - 1, 12 * MIB, 16 * MIB },
        { 12 * MIB + 4094, 0, 0 },
        { 12 * MIB - 1, 0, 0 },
        { 0, 0, 0 },
    };
    struct scene *scene = set_started(&zoned, 256 * KIB);
    struct dk_machine *machine = &scene->machine;
    u64 unused, pages = pages_of(scene, &unused);

    (void)state;
    assert_int_equal(pages, 3 * 64);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        void *cpu = NULL;
        struct page *page = dk_atomic_pool_take(machine, 4096, cases[i].limit, &cpu);

        if (!cases[i].end) {
            assert_null(page);
            continue;
        }
        assert_non_null(page);
        if (page_to_phys(page) < cases[i].lowest || page_to_phys(page) + 4096 > cases[i].end)
            fail_msg("case %zu: 0x%llx", i, page_to_phys(page));
        assert_true(dk_atomic_pool_give(machine, cpu, 4096));
    }
    /* Where a limit is all that is in the way, no memory helps. */
    dk_atomic_pools_settle(machine);
    assert_int_equal(pages_of(scene, &unused), pages);
    assert_int_equal(log_lines(), 0);
    strike(scene);
}

/* Inside one pool, too. */
static void test_limit_inside(void **state)
{
    struct scene *scene = set_started(&small, 512 * KIB);
    struct dk_machine *machine = &scene->machine;
    u64 lowest = ~0ull;
    struct page *page;
    unsigned i, count;
    void *cpu[64];

    (void)state;
    /* As many as are taken without making it grow; the pool's lowest page is among them. */
    for (i = 0; i < 64; i++) {
        page = dk_atomic_pool_take(machine, 4096, ANYWHERE, &cpu[i]);
        assert_non_null(page);
        lowest = page_to_phys(page) < lowest ? page_to_phys(page) : lowest;
    }
    while (i--)
        assert_true(dk_atomic_pool_give(machine, cpu[i], 4096));
    for (count = 0; (page = dk_atomic_pool_take(machine, 4096, lowest + 10 * 4096 - 2, &cpu[count])); count++)
        assert_true(page_to_phys(page) + 4096 <= lowest + 9 * 4096);
    assert_int_equal(count, 9);
    while (count--)
        assert_true(dk_atomic_pool_give(machine, cpu[count], 4096));
    dk_atomic_pools_settle(machine);
    assert_true(is_unused(scene));
    strike(scene);
}

/* ---- Growth ---- */

static void test_growth(void **state)
{
    struct scene *scene = set_started(&small, 64 * KIB);
    struct dk_machine *machine = &scene->machine;
    u64 free_pages = dk_memory_free_pages(machine->memory), unused;
    void *cpu[64];
    unsigned count;

    (void)state;
    /* As long as half is free, the pool is left alone, and the page allocator too. */
    for (count = 0; count < 8; count++)
        assert_non_null(dk_atomic_pool_take(machine, 4096, ANYWHERE, &cpu[count]));
    dk_atomic_pools_settle(machine);
    assert_int_equal(pages_of(scene, &unused), 16);
    assert_int_equal(dk_memory_free_pages(machine->memory), free_pages);
    assert_non_null(dk_atomic_pool_take(machine, 4096, ANYWHERE, &cpu[count++]));
    dk_atomic_pools_settle(machine);
    assert_int_equal(pages_of(scene, &unused), 32);
    assert_int_equal(unused, 32 - 9);
    assert_int_equal(dk_memory_free_pages(machine->memory), free_pages - 16);
    /* A block that is larger than all that is free together is there a little later. */
    assert_null(dk_atomic_pool_take(machine, 128 * KIB, ANYWHERE, &cpu[count]));
    dk_atomic_pools_settle(machine);
    assert_int_equal(pages_of(scene, &unused), 64);
    assert_non_null(dk_atomic_pool_take(machine, 128 * KIB, ANYWHERE, &cpu[count]));
    assert_true(dk_atomic_pool_give(machine, cpu[count], 128 * KIB));
    while (count--)
        assert_true(dk_atomic_pool_give(machine, cpu[count], 4096));
    dk_atomic_pools_settle(machine);
    assert_true(is_unused(scene));
    assert_int_equal(log_lines(), 0);
    strike(scene);
}

/* One that cannot grow says so once, and goes on with what it has; and grows when there is memory again. */
static void test_no_growth(void **state)
{
    struct scene *scene = set_started(&small, 64 * KIB);
    struct dk_machine *machine = &scene->machine;
    static struct page *taken[4097];
    unsigned count = 0, blocks = 0;
    void *cpu[64];
    u64 unused;

    (void)state;
    while ((taken[count] = dk_pages_allocate(machine->memory, GFP_KERNEL | __GFP_NOWARN, 0)))
        count++;
    for (unsigned i = 0; i < 30; i++) {
        if (dk_atomic_pool_take(machine, 4096, ANYWHERE, &cpu[blocks]))
            blocks++;
        dk_atomic_pools_settle(machine);
    }
    assert_int_equal(blocks, 16);
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(log_last(), "the atomic pool of ZONE_NORMAL, 64 KiB, cannot grow"));
    assert_true(dk_atomic_pool_give(machine, cpu[--blocks], 4096));
    assert_non_null(dk_atomic_pool_take(machine, 4096, ANYWHERE, &cpu[blocks++]));
    /* What little there is it takes. */
    __free_pages(taken[--count], 0);
    dk_atomic_pools_settle(machine);
    assert_null(dk_atomic_pool_take(machine, 8192, ANYWHERE, &cpu[blocks]));
    dk_atomic_pools_settle(machine);
    assert_int_equal(pages_of(scene, &unused), 17);
    assert_int_equal(unused, 1);
    while (count--)
        __free_pages(taken[count], 0);
    assert_null(dk_atomic_pool_take(machine, 8192, ANYWHERE, &cpu[blocks]));
    dk_atomic_pools_settle(machine);
    assert_int_equal(pages_of(scene, &unused), 34);
    assert_int_equal(log_lines(), 0);
    /* Used blocks go with the pools. */
    strike(scene);
}

/* A block that no free run is long enough for makes it grow by a piece that has one, once, or not at all: a
 * driver that tries again and again leaves other memory alone. */
static void test_fragments(void **state)
{
    static struct page *taken[4097];

    (void)state;
    for (unsigned has_memory = 0; has_memory < 2; has_memory++) {
        struct scene *scene = set_started(&small, 512 * KIB);
        struct dk_machine *machine = &scene->machine;
        void *first, *page, *block = NULL;
        unsigned count = 0, kept = 0;
        u64 unused, free_pages;

        assert_non_null(dk_atomic_pool_take(machine, 128 * KIB, ANYWHERE, &first));
        assert_non_null(dk_atomic_pool_take(machine, 4096, ANYWHERE, &page));
        assert_true(dk_atomic_pool_give(machine, first, 128 * KIB));
        while (!has_memory &&
               (taken[count] = dk_pages_allocate(machine->memory, GFP_KERNEL | __GFP_NOWARN, 0)))
            count++;
        /* Half of all pages, and no two of them together. */
        for (unsigned i = 0; i < count; i++) {
            if (page_to_pfn(taken[i]) & 1)
                __free_page(taken[i]);
            else
                taken[kept++] = taken[i];
        }
        free_pages = dk_memory_free_pages(machine->memory);
        assert_true(free_pages > 1000);
        for (unsigned i = 0; i < 20; i++) {
            if (dk_atomic_pool_take(machine, 65 * 4096, ANYWHERE, &block))
                assert_true(dk_atomic_pool_give(machine, block, 65 * 4096));
            dk_atomic_pools_settle(machine);
        }
        assert_int_equal(block != NULL, has_memory);
        assert_int_equal(pages_of(scene, &unused), has_memory ? 256 : 128);
        assert_int_equal(dk_memory_free_pages(machine->memory), free_pages - (has_memory ? 128 : 0));
        assert_int_equal(log_lines(), has_memory ? 0 : 1);
        while (kept--)
            __free_page(taken[kept]);
        strike(scene);
    }
}

/* However much is asked for, seven eighths of the zone stay the page allocator's. */
static void test_most(void **state)
{
    static const size_t sizes[] = { 4096, 65 * 4096, 128 * 4096, 4 * MIB };

    (void)state;
    for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct scene *scene = set_started(&small, 128 * KIB);
        struct dk_machine *machine = &scene->machine;
        unsigned long count = 0;
        void *block;
        u64 unused;

        for (unsigned j = 0; j < 1000; j++) {
            count += dk_atomic_pool_take(machine, sizes[i], ANYWHERE, &block) != NULL;
            dk_atomic_pools_settle(machine);
        }
        assert_in_range(pages_of(scene, &unused), 32, PAGES / 8);
        assert_true(i == 3 ? !count : count * PFN_UP(sizes[i]) > PAGES / 8 / 3);
        assert_int_equal(log_lines(), 1);
        assert_non_null(strstr(log_last(), "cannot grow: it has as much of its zone as it may"));
        strike(scene);
    }
}

/* ---- Random ---- */

struct block {
    char *cpu;
    phys_addr_t phys;
    size_t size;
};

struct worker {
    pthread_t thread;
    struct scene *scene;
    unsigned char *owners; /* one a page of the small RAM; atomic */
    unsigned char name;
    u64 seed;
    unsigned long rounds, wrong, taken, refused;
    struct block blocks[32];
    unsigned count;
};

static void own(struct worker *worker, const struct block *block, unsigned char from, unsigned char to)
{
    for (u64 i = 0; i < PFN_UP(block->size); i++) {
        u64 page = (block->phys - MIB) / 4096 + i;

        worker->wrong +=
            page >= PAGES || __atomic_exchange_n(&worker->owners[page], to, __ATOMIC_RELAXED) != from;
    }
}

static void take_one(struct worker *worker, u64 number)
{
    struct block *block = &worker->blocks[worker->count];
    size_t align = 4096;
    struct page *page;
    void *cpu;

    block->size = 1 + (size_t)(number >> 8) % (number & 2 ? 4096 : 30000);
    page = dk_atomic_pool_take(&worker->scene->machine, block->size, ANYWHERE, &cpu);
    if (!page) {
        worker->refused++;
        return;
    }
    block->cpu = cpu;
    block->phys = page_to_phys(page);
    while (align < block->size)
        align *= 2;
    worker->wrong += block->phys % align != 0;
    own(worker, block, 0, worker->name);
    for (size_t i = 0; i < block->size; i += 512)
        worker->wrong += block->cpu[i] != 0;
    memset(block->cpu, worker->name, block->size);
    worker->taken++;
    worker->count++;
}

static void give_one(struct worker *worker, u64 number)
{
    unsigned which = (unsigned)(number >> 8) % worker->count;
    struct block block = worker->blocks[which];

    worker->wrong += block.cpu[0] != worker->name || block.cpu[block.size - 1] != worker->name;
    own(worker, &block, worker->name, 0);
    worker->wrong += !dk_atomic_pool_give(&worker->scene->machine, block.cpu, block.size);
    worker->blocks[which] = worker->blocks[--worker->count];
}

static void *work(void *data)
{
    struct worker *worker = data;

    for (unsigned long i = 0; i < worker->rounds; i++) {
        u64 number = test_random(&worker->seed);

        if (worker->count == 32 || (worker->count && number & 1))
            give_one(worker, number);
        else
            take_one(worker, number);
    }
    while (worker->count)
        give_one(worker, 0);
    return NULL;
}

static void run_workers(unsigned count, unsigned long rounds)
{
    static unsigned char owners[PAGES];
    static struct worker workers[4];
    struct scene *scene = set_started(&small, 128 * KIB);
    u64 seed = test_seed(0xa70a1c + count), unused, pages;

    for (unsigned i = 0; i < count; i++) {
        workers[i] = (struct worker){ .scene = scene,
                                      .owners = owners,
                                      .name = (unsigned char)(i + 1),
                                      .seed = seed * 31 + i,
                                      .rounds = rounds };
        if (count > 1)
            assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        else
            work(&workers[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        if (count > 1)
            pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
        /* How often depends on when the pool's thread gets to run. */
        assert_true(workers[i].taken > 0);
    }
    dk_atomic_pools_settle(&scene->machine);
    pages = pages_of(scene, &unused);
    assert_true(is_unused(scene));
    /* It grows as a program needs it, and not without end; how far depends on when the pool's thread runs. */
    assert_in_range(pages, 128 * KIB / PAGE_SIZE, 2048);
    assert_int_equal(log_lines(), 0);
    strike(scene);
}

static void test_random_blocks(void **state)
{
    (void)state;
    run_workers(1, test_rounds(100000));
}

static void test_threads(void **state)
{
    (void)state;
    run_workers(4, test_rounds(40000));
}

/* ---- Trouble ---- */

static void test_each_allocation_fails(void **state)
{
    unsigned long n, hits = 1;

    (void)state;
    for (n = 1; hits; n++) {
        struct scene *scene = set(&zoned);
        struct dk_machine *machine = &scene->machine;
        void *cpu[40];
        unsigned count = 0;
        int error;

        dk_fail_nth(n);
        error = dk_atomic_pools_start(machine, 64 * KIB);
        if (error) {
            assert_true(error == -ENOMEM || error == -EAGAIN);
            assert_null(scene->mapping.atomic_pools);
        }
        for (unsigned i = 0; !error && i < 40; i++) {
            if (dk_atomic_pool_take(machine, 4096, ANYWHERE, &cpu[count]))
                count++;
            dk_atomic_pools_settle(machine);
        }
        hits = dk_fail_hits();
        dk_fail_nth(0);
        assert_true(hits || !error);
        assert_true(error || count >= 39);
        while (count--)
            assert_true(dk_atomic_pool_give(machine, cpu[count], 4096));
        strike(scene);
    }
    assert_in_range(n, 20, 200);
}

static void test_no_memory_at_all(void **state)
{
    struct scene *scene = set(&small);
    struct dk_machine *machine = &scene->machine;
    static struct page *taken[4097];
    unsigned count = 0;

    (void)state;
    while ((taken[count] = dk_pages_allocate(machine->memory, GFP_KERNEL | __GFP_NOWARN, 0)))
        count++;
    assert_int_equal(dk_atomic_pools_start(machine, 0), -ENOMEM);
    assert_null(scene->mapping.atomic_pools);
    while (count--)
        __free_pages(taken[count], 0);
    strike(scene);
}

/* A child has no worker to wait for. */
static void test_fork(void **state)
{
    struct scene *scene = set_started(&small, 0);
    int status;
    pid_t child;

    (void)state;
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        alarm(20);
        dk_atomic_pools_finish(&scene->machine);
        _exit(scene->mapping.atomic_pools ? 1 : 0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    strike(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_wrong_gives),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_limit_inside),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_no_growth),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_most),
        cmocka_unit_test(test_random_blocks),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_no_memory_at_all),
        cmocka_unit_test(test_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
