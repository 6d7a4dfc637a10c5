/* SPDX-License-Identifier: MIT */
/* Movable memory and handles while others pin, free, create and move them. */
#include "fixture.h"

#include "mm/cma.h"
#include "mm/private.h"
#include <dmakit/migrate.h>
#include <dmakit/movable.h>
#include <dmakit/shrinker.h>
#include <dmakit/vmalloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define AREA_PAGES 512u
#define MEMORY_PAGES (64 * MIB / PAGE_SIZE)

static const struct dk_memory_range range = { GIB, 64 * MIB };

static long rounds(long full)
{
    return getenv("DMAKIT_TEST_FAST") ? full / 20 : full;
}

static struct dk_memory *make_area(u64 seed, struct cma **cma)
{
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;

    config.seed = seed;
    memory = make(&config);
    assert_int_equal(dk_memory_reserve(memory, GIB, AREA_PAGES << PAGE_SHIFT, true), 0);
    *cma = dk_cma_create(memory, GIB, AREA_PAGES << PAGE_SHIFT, 0, "frames");
    assert_false(IS_ERR_OR_NULL(*cma));
    return memory;
}

static void unmake_area(struct dk_memory *memory, struct cma *cma)
{
    struct page *whole = cma_alloc(cma, AREA_PAGES, 0, false);

    assert_non_null(whole);
    assert_true(cma_release(cma, whole, AREA_PAGES));
    dk_cma_destroy(cma);
    unmake(memory, MEMORY_PAGES - AREA_PAGES);
}

/* ---- Pins against moves ---- */

struct mover {
    pthread_t thread;
    struct dk_movable *movable;
    bool stop;
};

static void *migrate_on(void *data)
{
    struct mover *mover = data;

    while (!__atomic_load_n(&mover->stop, __ATOMIC_RELAXED))
        (void)dk_movable_migrate(mover->movable, 0, PAGE_SIZE);
    return NULL;
}

static void test_pin_against_migrate(void **state)
{
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct mover mover = { .movable = dk_movable_create(PAGE_SIZE, GFP_KERNEL) };
    const void *address = dk_movable_address(mover.movable);
    long wrong = 0;

    (void)state;
    assert_int_equal(pthread_create(&mover.thread, NULL, migrate_on, &mover), 0);
    for (long i = 0; i < rounds(20000); i++) {
        struct page *page;

        assert_int_equal(dk_movable_pin(mover.movable, 0, 1, &page), 0);
        for (unsigned j = 0; j < 5; j++) {
            sched_yield();
            wrong += vmalloc_to_page(address) != page;
        }
        dk_movable_unpin(mover.movable, 0, 1);
    }
    __atomic_store_n(&mover.stop, true, __ATOMIC_RELAXED);
    pthread_join(mover.thread, NULL);
    dk_movable_destroy(mover.movable);
    assert_int_equal(wrong, 0);
    assert_true(silent());
    unmake(memory, MEMORY_PAGES);
}

/* ---- References to a handle's pages ---- */

static void test_handle_reference(void **state)
{
    struct cma *cma;
    struct dk_memory *memory = make_area(0, &cma);
    struct page *hole = cma_alloc(cma, 4, 0, false), *page, *again;
    struct dk_cma_handle *handle = dk_cma_handle_alloc(cma, 4, 0);
    u64 pfn;

    (void)state;
    page = cma_pin(handle);
    pfn = page_to_pfn(page);
    get_page(page);
    cma_unpin(handle);
    cma_release(cma, hole, 4);
    /* Somebody else uses it still. */
    assert_int_equal(dk_cma_defragment(cma), 0);
    again = cma_pin(handle);
    cma_unpin(handle);
    assert_ptr_equal(again, page);
    assert_int_equal(page_to_pfn(page), pfn);
    dk_log_set_level(2);
    assert_null(cma_alloc(cma, AREA_PAGES - 4, 0, true));
    dk_log_set_level(1);
    assert_true(logged("it has 2 references"));
    put_page(page);
    assert_int_equal(dk_cma_defragment(cma), 4);
    assert_true(silent());
    dk_cma_handle_free(handle);
    unmake_area(memory, cma);
}

/* ---- cma_release() of a handle's pages ---- */

static void test_handle_released(void **state)
{
    struct cma *cma;
    struct dk_memory *memory = make_area(0, &cma);
    struct dk_cma_handle *handle = dk_cma_handle_alloc(cma, 4, 0);
    struct page *page = cma_pin(handle);

    (void)state;
    cma_unpin(handle);
    assert_true(cma_release(cma, page, 4));
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 4);
    assert_true(logged("are a handle's"));
    dk_cma_handle_free(handle);
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    unmake_area(memory, cma);
}

/* ---- Handles ---- */

struct worker {
    pthread_t thread;
    struct cma *cma;
    unsigned number;
    long wrong, failed;
};

static unsigned draw(u64 *word, unsigned below)
{
    *word = *word * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((*word >> 33) % below);
}

static void *use_handles(void *data)
{
    struct worker *worker = data;
    struct dk_cma_handle *handles[8] = { NULL };
    u64 word = worker->number, stamps[8] = { 0 };
    unsigned long counts[8] = { 0 };

    for (long i = 0; i < rounds(4000); i++) {
        unsigned at = draw(&word, 8);
        struct page *page;

        if (!handles[at]) {
            counts[at] = 1 + draw(&word, 20);
            handles[at] = dk_cma_handle_alloc(worker->cma, counts[at], draw(&word, 3));
            if (IS_ERR(handles[at])) {
                handles[at] = NULL;
                worker->failed++;
                continue;
            }
            page = cma_pin(handles[at]);
            stamps[at] = word;
            for (unsigned long j = 0; j < counts[at]; j++)
                *(u64 *)page_address(page + j) = stamps[at] + j;
            cma_unpin(handles[at]);
        } else if (draw(&word, 3)) {
            page = cma_pin(handles[at]);
            for (unsigned long j = 0; j < counts[at]; j++)
                worker->wrong += *(u64 *)page_address(page + j) != stamps[at] + j;
            cma_unpin(handles[at]);
        } else {
            dk_cma_handle_free(handles[at]);
            handles[at] = NULL;
        }
    }
    for (unsigned at = 0; at < 8; at++)
        dk_cma_handle_free(handles[at]);
    return NULL;
}

static void *use_runs(void *data)
{
    struct worker *worker = data;
    u64 word = worker->number;

    for (long i = 0; i < rounds(2000); i++) {
        unsigned long count = 1 + draw(&word, AREA_PAGES / 2);
        struct page *page = cma_alloc(worker->cma, count, draw(&word, 4), true);

        if (draw(&word, 4) == 0 && dk_cma_defragment(worker->cma) < 0)
            worker->wrong++;
        if (!page) {
            worker->failed++;
            continue;
        }
        for (unsigned long j = 0; j < count; j++)
            *(u64 *)page_address(page + j) = word + j;
        sched_yield();
        for (unsigned long j = 0; j < count; j++)
            worker->wrong += *(u64 *)page_address(page + j) != word + j;
        if (draw(&word, 2)) {
            get_page(page);
            cma_release(worker->cma, page, count);
            sched_yield();
            put_page(page);
        } else {
            cma_release(worker->cma, page, count);
        }
    }
    return NULL;
}

static void *use_movable(void *data)
{
    struct worker *worker = data;
    u64 word = worker->number;

    for (long i = 0; i < rounds(1500); i++) {
        size_t count = 1 + draw(&word, 40), at = draw(&word, (unsigned)count);
        struct dk_movable *movable = dk_movable_create(count * PAGE_SIZE, GFP_KERNEL | __GFP_NOWARN);
        struct page *page;
        char *start;

        if (IS_ERR(movable)) {
            worker->failed++;
            continue;
        }
        start = dk_movable_address(movable);
        for (size_t j = 0; j < count; j++)
            *(volatile u64 *)(void *)(start + j * PAGE_SIZE) = word + j;
        assert_int_equal(dk_movable_pin(movable, at * PAGE_SIZE, 1, &page), 0);
        sched_yield();
        worker->wrong += vmalloc_to_page(start + at * PAGE_SIZE) != page;
        dk_movable_unpin(movable, at * PAGE_SIZE, 1);
        (void)dk_movable_migrate(movable, 0, count * PAGE_SIZE);
        for (size_t j = 0; j < count; j++)
            worker->wrong += *(volatile u64 *)(void *)(start + j * PAGE_SIZE) != word + j;
        dk_movable_destroy(movable);
    }
    return NULL;
}

static void *use_ranges(void *data)
{
    struct worker *worker = data;
    u64 word = worker->number, first = (GIB >> PAGE_SHIFT) + AREA_PAGES;

    for (long i = 0; i < rounds(1500); i++) {
        u64 start = first + draw(&word, MEMORY_PAGES - AREA_PAGES - 256);
        unsigned long count = 1 + draw(&word, 255);

        if (alloc_contig_range(start, start + count, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN))
            worker->failed++;
        else
            free_contig_range(start, count);
    }
    return NULL;
}

static void storm(u64 seed)
{
    struct cma *cma;
    struct dk_memory *memory = make_area(seed, &cma);
    struct worker workers[6] = { 0 };
    void *(*const ways[6])(void *) = { use_handles, use_runs,    use_movable,
                                       use_ranges,  use_handles, use_movable };

    for (unsigned i = 0; i < 6; i++) {
        workers[i].cma = cma;
        workers[i].number = i + 1;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, ways[i], &workers[i]), 0);
    }
    for (unsigned i = 0; i < 6; i++)
        pthread_join(workers[i].thread, NULL);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(workers[i].wrong, 0);
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    unmake_area(memory, cma);
}

static void test_storm(void **state)
{
    (void)state;
    storm(0);
    storm(7);
}

/* ---- Fork ---- */

/* A child changes nothing of what its parent uses. */

static void test_fork(void **state)
{
    struct cma *cma;
    struct dk_memory *memory = make_area(0, &cma);
    struct page *hole = cma_alloc(cma, 4, 0, false), *page, *pages[1];
    struct dk_cma_handle *handle = dk_cma_handle_alloc(cma, 4, 0);
    struct dk_movable *movable = dk_movable_create(PAGE_SIZE, GFP_KERNEL);
    int status;
    pid_t child;

    (void)state;
    cma_release(cma, hole, 4);
    hole = cma_alloc(cma, 4, 0, false);
    memset(page_address(hole), 1, 4 * PAGE_SIZE);
    cma_release(cma, hole, 4);
    page = cma_pin(handle);
    memset(page_address(page), 2, 4 * PAGE_SIZE);
    cma_unpin(handle);
    child = fork();
    if (!child) {
        unsigned wrong = 0;

        wrong |= dk_cma_defragment(cma) > 0 ? 1 : 0;
        wrong |= dk_movable_migrate(movable, 0, PAGE_SIZE) > 0 ? 2 : 0;
        wrong |= dk_movable_pin(movable, 0, PAGE_SIZE, pages) == 0 ? 4 : 0;
        wrong |= cma_pin(handle) ? 8 : 0;
        wrong |= !IS_ERR(dk_cma_handle_alloc(cma, 1, 0)) ? 16 : 0;
        _exit((int)wrong);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(*(char *)page_address(hole), 1);
    dk_movable_destroy(movable);
    dk_cma_handle_free(handle);
    unmake_area(memory, cma);
}

/* ---- A shrinker that frees a handle ---- */

static struct dk_cma_handle *shrunk;

static unsigned long count_handle(struct shrinker *shrinker, struct shrink_control *control)
{
    (void)shrinker;
    (void)control;
    return shrunk ? 1 : 0;
}

static unsigned long free_handle(struct shrinker *shrinker, struct shrink_control *control)
{
    (void)shrinker;
    (void)control;
    dk_cma_handle_free(shrunk);
    shrunk = NULL;
    return 1;
}

/* The request that finds no place for the handle makes the shrinker free it, without waiting for itself. */
static void test_shrinker_frees_handle(void **state)
{
    struct cma *cma;
    struct dk_memory *memory = make_area(0, &cma);
    struct shrinker *shrinker = shrinker_alloc(0, "handles");
    struct dk_movable *movable;
    struct page *page, *all = NULL;

    (void)state;
    shrunk = dk_cma_handle_alloc(cma, 4, 0);
    movable = dk_movable_create(PAGE_SIZE, GFP_KERNEL);
    shrinker->count_objects = count_handle;
    shrinker->scan_objects = free_handle;
    /* All but the area is in use. */
    while ((page = alloc_page(GFP_ATOMIC | __GFP_NOWARN))) {
        *(struct page **)page_address(page) = all;
        all = page;
    }
    shrinker_register(shrinker);
    alarm(60);
    assert_null(cma_alloc(cma, AREA_PAGES, 0, true));
    assert_null(shrunk);
    page = cma_alloc(cma, AREA_PAGES - 1, 0, true);
    alarm(0);
    assert_non_null(page);
    assert_true(cma_release(cma, page, AREA_PAGES - 1));
    shrinker_free(shrinker);
    dk_movable_destroy(movable);
    for (; all; all = page) {
        page = *(struct page **)page_address(all);
        __free_page(all);
    }
    assert_true(silent());
    unmake_area(memory, cma);
}

/* ---- Zones ---- */

/* What an area below 4 GiB lends goes above when it has to move: its owner did not ask for that area. */
static void test_lent_goes_up(void **state)
{
    static const struct dk_memory_range two[2] = { { GIB, 16 * MIB }, { 5 * GIB, 16 * MIB } };
    struct dk_memory_config config = small_config(two);
    struct dk_movable *movable, *low;
    struct page *page, *all = NULL;
    struct dk_memory *memory;
    struct cma *cma;

    (void)state;
    config.range_count = 2;
    config.zone_dma32_end = 4 * GIB;
    memory = make(&config);
    assert_int_equal(dk_memory_reserve(memory, GIB, AREA_PAGES << PAGE_SHIFT, true), 0);
    cma = dk_cma_create(memory, GIB, AREA_PAGES << PAGE_SHIFT, 0, "frames");
    movable = dk_movable_create(64 * PAGE_SIZE, GFP_KERNEL);
    while ((page = alloc_page(GFP_DMA32 | GFP_ATOMIC | __GFP_NOWARN))) {
        *(struct page **)page_address(page) = all;
        all = page;
    }
    page = cma_alloc(cma, AREA_PAGES, 0, false);
    assert_non_null(page);
    assert_true(page_to_phys(vmalloc_to_page(dk_movable_address(movable))) >= 5 * GIB);
    cma_release(cma, page, AREA_PAGES);
    /* Who asked for this zone stays in it. */
    low = dk_movable_create(PAGE_SIZE, GFP_KERNEL | GFP_DMA32);
    assert_null(cma_alloc(cma, AREA_PAGES, 0, true));
    assert_true(page_to_phys(vmalloc_to_page(dk_movable_address(low))) < 4 * GIB);
    dk_movable_destroy(low);
    dk_movable_destroy(movable);
    for (; all; all = page) {
        page = *(struct page **)page_address(all);
        __free_page(all);
    }
    assert_true(silent());
    dk_cma_destroy(cma);
    unmake(memory, 2 * 16 * MIB / PAGE_SIZE - AREA_PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pin_against_migrate),
        cmocka_unit_test(test_handle_reference),
        cmocka_unit_test(test_handle_released),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_shrinker_frees_handle),
        cmocka_unit_test(test_lent_goes_up),
        cmocka_unit_test(test_storm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
