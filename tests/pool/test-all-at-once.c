/* SPDX-License-Identifier: MIT */
/*
 * All allocators at once, from four threads, on a small machine that keeps running out: what each hands out
 * holds what was written into it until it is given back, and at the end all memory is back.
 *
 * DMAKIT_TEST_SECONDS=N goes on for N seconds instead of a number of rounds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dmakit/dmakit.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "machine/machine.h"
#include "mapping/atomic-pool.h"
#include "mm/cma.h"

#define THREADS 4
#define HELD 48

/* 12 MiB with an area of 8, so that requests fail and what the area lent is asked back. */
static const char board_source[] =
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"small\"; compatible = \"dmakit,small\"; dma-noncoherent;"
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0xc00000>; };"
    " bus: bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"
    " nic: nic@0 { compatible = \"dmakit,nic\"; }; }; aliases { nic = \"/bus@0/nic@0\"; }; };";

enum kind {
    NOTHING,
    KMALLOC,
    OBJECT,
    PAGES,
    VMALLOC,
    POOL,
    RESERVED,
    BLOCK,
    COHERENT,
    AREA,
    MOVABLE,
    HANDLE,
    KINDS
};

static const char *const names[KINDS] = { "nothing", "kmalloc",   "cache",    "pages", "vmalloc", "dma_pool",
                                          "mempool", "dma_alloc", "coherent", "cma",   "movable", "handle" };

struct held {
    enum kind kind;
    void *cpu; /* where the bytes are; of a handle the handle, of movable memory that */
    struct page *page;
    dma_addr_t dma;
    size_t size;
    unsigned char value;
};

struct scene {
    struct dk_machine *machine;
    struct device *dev;
    struct kmem_cache *cache;
    struct dma_pool *pool;
    mempool_t *reserve;
    struct cma *area;
};

struct worker {
    pthread_t thread;
    const struct scene *scene;
    u64 random;
    unsigned long rounds;
    time_t until; /* 0: by rounds */
    unsigned long done[KINDS], refused[KINDS], wrong;
    struct held held[HELD];
};

static unsigned pick(struct worker *worker, unsigned below)
{
    worker->random = worker->random * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((worker->random >> 33) % below);
}

/* The bytes of what is held, pinned if it has to be. */
static unsigned char *bytes_of(const struct held *held)
{
    if (held->kind == MOVABLE)
        return dk_movable_address(held->cpu);
    return held->kind == HANDLE ? page_address(cma_pin(held->cpu)) : held->cpu;
}

static void done_with(const struct held *held)
{
    if (held->kind == HANDLE)
        cma_unpin(held->cpu);
}

static void allocate(struct worker *worker, struct held *held)
{
    const struct scene *scene = worker->scene;
    gfp_t gfp = (pick(worker, 2) ? GFP_KERNEL : GFP_ATOMIC) | __GFP_NOWARN;
    size_t pages = (size_t)1 << pick(worker, 5);

    held->kind = (enum kind)(1 + pick(worker, KINDS - 1));
    held->size = 1 + pick(worker, 9000);
    held->page = NULL;
    held->cpu = NULL;
    switch (held->kind) {
    case KMALLOC:
        held->cpu = kmalloc(held->size, gfp);
        break;
    case OBJECT:
        held->size = 200;
        held->cpu = kmem_cache_alloc(scene->cache, gfp);
        break;
    case PAGES:
        held->size = pages * PAGE_SIZE;
        held->page = alloc_pages(gfp, get_order(held->size));
        held->cpu = held->page ? page_address(held->page) : NULL;
        break;
    case VMALLOC:
        held->cpu = vmalloc(held->size);
        break;
    case POOL:
        held->size = 96;
        held->cpu = dma_pool_alloc(scene->pool, gfp, &held->dma);
        break;
    case RESERVED:
        /* Whoever waits here waits for others: without sleeping it may fail. */
        held->size = 300;
        held->cpu = mempool_alloc(scene->reserve, GFP_ATOMIC | __GFP_NOWARN);
        break;
    case BLOCK:
        held->cpu = dma_alloc(scene->dev, held->size, &held->dma, gfp);
        break;
    case COHERENT:
        held->cpu = dma_alloc_coherent(scene->dev, held->size, &held->dma, gfp);
        break;
    case AREA:
        held->size = (1 + pick(worker, 300)) * PAGE_SIZE;
        held->page = cma_alloc(scene->area, held->size / PAGE_SIZE, pick(worker, 6), true);
        held->cpu = held->page ? page_address(held->page) : NULL;
        break;
    case MOVABLE:
        held->size = (1 + pick(worker, 40)) * PAGE_SIZE;
        held->cpu = dk_movable_create(held->size, GFP_KERNEL | __GFP_NOWARN);
        break;
    case HANDLE:
        held->size = (1 + pick(worker, 30)) * PAGE_SIZE;
        held->cpu = dk_cma_handle_alloc(scene->area, held->size / PAGE_SIZE, pick(worker, 4));
        break;
    default:
        break;
    }
    if (IS_ERR_OR_NULL(held->cpu)) {
        worker->refused[held->kind]++;
        held->kind = NOTHING;
        return;
    }
    worker->done[held->kind]++;
    held->value = (unsigned char)worker->random;
    memset(bytes_of(held), held->value, held->size);
    done_with(held);
}

static void release(const struct scene *scene, struct held *held)
{
    switch (held->kind) {
    case KMALLOC:
        kfree(held->cpu);
        break;
    case OBJECT:
        kmem_cache_free(scene->cache, held->cpu);
        break;
    case PAGES:
        __free_pages(held->page, get_order(held->size));
        break;
    case VMALLOC:
        vfree(held->cpu);
        break;
    case POOL:
        dma_pool_free(scene->pool, held->cpu, held->dma);
        break;
    case RESERVED:
        mempool_free(held->cpu, scene->reserve);
        break;
    case BLOCK:
        dma_free(scene->dev, held->cpu, held->dma);
        break;
    case COHERENT:
        dma_free_coherent(scene->dev, held->size, held->cpu, held->dma);
        break;
    case AREA:
        cma_release(scene->area, held->page, held->size / PAGE_SIZE);
        break;
    case MOVABLE:
        dk_movable_destroy(held->cpu);
        break;
    case HANDLE:
        dk_cma_handle_free(held->cpu);
        break;
    default:
        break;
    }
    held->kind = NOTHING;
}

/* Whether what was written is still there: at some places of it. */
static void look(struct worker *worker, const struct held *held)
{
    const unsigned char *bytes = bytes_of(held);

    for (size_t at = pick(worker, 64); at < held->size; at += 257) {
        if (bytes[at] != held->value)
            worker->wrong++;
    }
    if (bytes[held->size - 1] != held->value)
        worker->wrong++;
    done_with(held);
}

static void move(struct worker *worker, const struct held *held)
{
    if (held->kind == MOVABLE)
        dk_movable_migrate(held->cpu, 0, held->size);
    else if (held->kind == HANDLE)
        dk_cma_defragment(worker->scene->area);
}

static void *work(void *data)
{
    struct worker *worker = data;

    dk_machine_enter(worker->scene->machine);
    for (unsigned long round = 0; worker->until ? time(NULL) < worker->until : round < worker->rounds;
         round++) {
        struct held *held = &worker->held[pick(worker, HELD)];

        if (held->kind == NOTHING) {
            allocate(worker, held);
            continue;
        }
        look(worker, held);
        if (pick(worker, 3))
            release(worker->scene, held);
        else
            move(worker, held);
    }
    for (unsigned i = 0; i < HELD; i++) {
        if (worker->held[i].kind != NOTHING)
            look(worker, &worker->held[i]);
        release(worker->scene, &worker->held[i]);
    }
    dk_machine_enter(NULL);
    return NULL;
}

static struct dk_machine *make_machine(int depth)
{
    const struct dk_machine_options options = { .size = sizeof(options),
                                                .arguments = "cma=8M",
                                                .depth = depth };
    char path[] = "/tmp/dmakit-test-XXXXXX";
    int file = mkstemp(path);
    struct dk_machine *machine;
    struct dk_board *board;
    FILE *stream;

    assert_true(file >= 0);
    stream = fdopen(file, "w");
    assert_true(fputs(board_source, stream) >= 0);
    fclose(stream);
    board = dk_board_load(path);
    remove(path);
    assert_false(IS_ERR(board));
    machine = dk_machine_create(board, &options);
    dk_board_free(board);
    assert_false(IS_ERR(machine));
    dk_machine_enter(machine);
    return machine;
}

/* Pages that are free, or that the atomic pools have: those grow, and keep what they have. */
static u64 pages_left(struct dk_machine *machine)
{
    u64 pages, unused;

    dk_atomic_pools_usage(machine, &pages, &unused);
    assert_int_equal(pages, unused);
    return dk_memory_free_pages(machine->memory) + pages;
}

static void storm(int depth)
{
    static struct worker workers[THREADS];
    const char *seconds = getenv("DMAKIT_TEST_SECONDS");
    struct scene scene = { .machine = make_machine(depth) };
    u64 seed = (u64)time(NULL), before, area_before;

    scene.dev = dk_device_find(scene.machine, "nic");
    scene.area = dev_get_cma_area(scene.dev);
    before = pages_left(scene.machine);
    area_before = dk_cma_free_pages(scene.area);
    scene.cache = kmem_cache_create("storm", 200, 0, SLAB_HWCACHE_ALIGN, NULL);
    scene.pool = dma_pool_create("storm", scene.dev, 96, 32, 4096);
    scene.reserve = mempool_create_kmalloc_pool(8, 300);
    assert_true(scene.cache && scene.pool && scene.reserve);
    print_message("seed %llu, depth %d\n", (unsigned long long)seed, depth);
    dk_log_set_level(-1);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .scene = &scene,
                                      .random = seed + i,
                                      .rounds = getenv("DMAKIT_TEST_FAST") ? 1000 : 8000,
                                      .until = seconds ? time(NULL) + atoi(seconds) : 0 };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(workers[i].thread, NULL);
    dk_log_set_level(1);
    for (unsigned kind = 1; kind < KINDS; kind++) {
        unsigned long done = 0, refused = 0;

        for (unsigned i = 0; i < THREADS; i++) {
            done += workers[i].done[kind];
            refused += workers[i].refused[kind];
        }
        print_message("%-10s %8lu had, %7lu refused\n", names[kind], done, refused);
        assert_true(done > 0);
    }
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(workers[i].wrong, 0);
    mempool_destroy(scene.reserve);
    dma_pool_destroy(scene.pool);
    kmem_cache_destroy(scene.cache);
    /* dma_alloc() keeps a device's chunks until the device goes. */
    dk_device_remove(scene.dev);
    assert_int_equal(dk_cma_free_pages(scene.area), area_before);
    dk_atomic_pools_settle(scene.machine);
    assert_int_equal(pages_left(scene.machine), before);
    assert_int_equal(dk_machine_destroy(scene.machine), 0);
}

static void test_unchecked(void **state)
{
    (void)state;
    storm(0);
}

static void test_checked(void **state)
{
    (void)state;
    storm(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unchecked),
        cmocka_unit_test(test_checked),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
