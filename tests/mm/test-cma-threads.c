/* SPDX-License-Identifier: MIT */
/*
 * Areas in which threads keep runs that they gave back: kept runs count as free, whoever needs them gets
 * them, and no page is given out twice.
 */
#include "fixture.h"

#include "mm/cma.h"
#include "mm/private.h"
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define MEMORY_PAGES (64 * MIB / PAGE_SIZE)
#define AREA_PAGES 8192u
#define THREADS 4

static const struct dk_memory_range range = { GIB, 64 * MIB };

static u64 chosen_seed(void)
{
    const char *text = getenv("DMAKIT_TEST_SEED");

    return text ? strtoull(text, NULL, 0) : (u64)time(NULL) * 2 + 1;
}

static u64 draw(u64 *word, u64 below)
{
    *word ^= *word << 13;
    *word ^= *word >> 7;
    *word ^= *word << 17;
    return (*word >> 11) % below;
}

static struct dk_memory *make_area(unsigned order_per_bit, struct cma **cma)
{
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);

    assert_int_equal(dk_memory_reserve(memory, GIB + 16 * MIB, AREA_PAGES * PAGE_SIZE, true), 0);
    *cma = dk_cma_create(memory, GIB + 16 * MIB, AREA_PAGES * PAGE_SIZE, order_per_bit, "frames");
    assert_false(IS_ERR(*cma));
    return memory;
}

/* All of it is free, and can be had in one piece. */
static void unmake_area(struct dk_memory *memory, struct cma *cma)
{
    struct page *whole;

    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    whole = cma_alloc(cma, AREA_PAGES, 0, false);
    assert_non_null(whole);
    assert_int_equal(dk_cma_free_pages(cma), 0);
    assert_true(cma_release(cma, whole, AREA_PAGES));
    assert_true(silent());
    dk_cma_destroy(cma);
    unmake(memory, MEMORY_PAGES - AREA_PAGES);
}

/* The run that was given back last is the next one of its size; others come from the lowest place. */
static void test_kept_runs_come_first(void **state)
{
    struct dk_memory *memory;
    struct page *low, *high, *page;
    struct cma *cma;

    (void)state;
    memory = make_area(0, &cma);
    /* This thread's first release makes its stack. */
    cma_release(cma, cma_alloc(cma, 4, 2, false), 4);
    low = cma_alloc(cma, 4, 2, false);
    high = cma_alloc(cma, 4, 2, false);
    assert_ptr_equal(low + 4, high);
    assert_true(cma_release(cma, low, 4));
    assert_true(cma_release(cma, high, 4));
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    assert_ptr_equal(cma_alloc(cma, 2, 1, false), high + 4);
    page = cma_alloc(cma, 4, 0, false);
    assert_ptr_equal(page, high);
    assert_true(cma_release(cma, high, 4));
    /* It is aligned to its size. */
    assert_ptr_equal(cma_alloc(cma, 4, 2, false), high);
    assert_true(cma_release(cma, high, 4));
    /* More than the natural alignment cannot come from there. */
    page = cma_alloc(cma, 4, 9, false);
    assert_int_equal(page_to_pfn(page) % 512, 0);
    assert_ptr_not_equal(page, high);
    assert_true(cma_release(cma, page, 4));
    assert_true(cma_release(cma, high + 4, 2));
    unmake_area(memory, cma);
}

/* A kept run is free: it is not released again, nor put, and nobody else may free it. */
static void test_kept_runs_are_free(void **state)
{
    struct dk_memory *memory;
    struct page *page;
    struct cma *cma;

    (void)state;
    memory = make_area(0, &cma);
    page = cma_alloc(cma, 16, 4, false);
    cma_release(cma, page, 16);
    page = cma_alloc(cma, 16, 4, false);
    assert_true(cma_release(cma, page, 16));
    assert_true(silent());
    assert_true(cma_release(cma, page, 16));
    assert_true(logged("frames"));
    put_page(page);
    assert_true(logged("put_page"));
    get_page(page);
    assert_true(logged("get_page"));
    __free_pages(page, 4);
    assert_true(logged("__free_pages"));
    /* References keep a run out of everybody's stack. */
    page = cma_alloc(cma, 16, 4, false);
    get_page(page);
    assert_true(cma_release(cma, page, 16));
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 16);
    assert_ptr_not_equal(cma_alloc(cma, 16, 4, false), page);
    put_page(page);
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 16);
    assert_true(silent());
    cma_release(cma, page + 16, 16);
    unmake_area(memory, cma);
}

static u64 kept_pages(struct cma *cma)
{
    struct dk_cma_survey survey;

    dk_cma_survey(cma, &survey);
    return survey.kept;
}

/* After a request that failed threads keep nothing, and begin again when so much went well. */
static void test_keeping_begins_again(void **state)
{
    struct dk_memory *memory;
    struct cma *cma;
    unsigned pairs;

    (void)state;
    memory = make_area(0, &cma);
    for (unsigned i = 0; i < 2; i++)
        cma_release(cma, cma_alloc(cma, 1, 0, false), 1);
    assert_int_equal(kept_pages(cma), 1);
    assert_null(cma_alloc(cma, AREA_PAGES, 13, true));
    for (pairs = 0; pairs < 10000 && !kept_pages(cma); pairs++) {
        /* Looking empties the stacks too, and starts the count again. */
        for (unsigned i = 0; i < 400 + pairs * 50; i++)
            cma_release(cma, cma_alloc(cma, 1, 0, false), 1);
    }
    /* A thousand changes are 500 pairs. */
    assert_in_range(pairs, 1, 10);
    unmake_area(memory, cma);
}

static void *release_again(void *data)
{
    struct worker {
        struct cma *cma;
        struct page *page, *own;
    } *worker = data;

    for (unsigned i = 0; i < 2; i++)
        cma_release(worker->cma, cma_alloc(worker->cma, 4, 2, false), 4);
    /* As if it had looked at the same moment as the one who released it before. */
    worker->page->flags = DK_PAGE_USED | DK_PAGE_CMA;
    cma_release(worker->cma, worker->page, 4);
    worker->own = cma_alloc(worker->cma, 4, 2, false);
    return NULL;
}

/* Two threads that release one run at the same moment both keep it: only one of them gets it back. */
static void test_released_by_two_at_once(void **state)
{
    struct {
        struct cma *cma;
        struct page *page, *own;
    } worker = { NULL };
    struct dk_memory *memory;
    pthread_t thread;
    struct page *page;

    (void)state;
    memory = make_area(0, &worker.cma);
    cma_release(worker.cma, cma_alloc(worker.cma, 4, 2, false), 4);
    worker.page = cma_alloc(worker.cma, 4, 2, false);
    assert_true(cma_release(worker.cma, worker.page, 4));
    pthread_create(&thread, NULL, release_again, &worker);
    pthread_join(thread, NULL);
    assert_ptr_equal(worker.own, worker.page);
    page = cma_alloc(worker.cma, 4, 2, false);
    assert_non_null(page);
    assert_ptr_not_equal(page, worker.page);
    cma_release(worker.cma, page, 4);
    cma_release(worker.cma, worker.own, 4);
    unmake_area(memory, worker.cma);
}

/* Units of 8 pages: a run of fewer is not kept, for more was taken than its pages say. */
static void test_units(void **state)
{
    struct dk_memory *memory;
    struct page *small, *large;
    struct cma *cma;

    (void)state;
    memory = make_area(3, &cma);
    for (unsigned i = 0; i < 3; i++) {
        small = cma_alloc(cma, 4, 2, false);
        assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 8);
        large = cma_alloc(cma, 8, 0, false);
        assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 16);
        assert_true(cma_release(cma, small, 4));
        assert_true(cma_release(cma, large, 8));
        assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    }
    unmake_area(memory, cma);
}

/* An area in two sections, whose struct pages are in two places. */
static void test_two_sections(void **state)
{
    const struct dk_memory_range wide = { GIB, 2 * GIB };
    const struct dk_memory_config config = small_config(&wide);
    struct dk_memory *memory = make(&config);
    struct page *low, *high, *across;
    struct cma *cma;

    (void)state;
    assert_int_equal(dk_memory_reserve(memory, 2 * GIB - 16 * MIB, 32 * MIB, true), 0);
    cma = dk_cma_create(memory, 2 * GIB - 16 * MIB, 32 * MIB, 0, "frames");
    for (unsigned i = 0; i < 3; i++) {
        low = cma_alloc(cma, 4096 - 64, 0, false);
        across = cma_alloc(cma, 128, 6, false);
        high = cma_alloc(cma, 16, 4, false);
        assert_int_equal(page_to_phys(low), 2 * GIB - 16 * MIB);
        assert_int_equal(page_to_phys(across), 2 * GIB - 64 * PAGE_SIZE);
        assert_int_equal(page_to_phys(high), 2 * GIB + 64 * PAGE_SIZE);
        assert_false(cma_release(cma, low - 1, 1));
        assert_false(cma_release(cma, (struct page *)((char *)high + 1), 16));
        assert_true(cma_release(cma, high, 16));
        assert_true(silent());
        assert_true(cma_release(cma, high, 16));
        assert_true(logged("frames"));
        assert_true(cma_release(cma, across, 128));
        assert_true(cma_release(cma, low, 4096 - 64));
        assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    }
    across = cma_alloc(cma, AREA_PAGES, 12, false);
    assert_non_null(across);
    dk_cma_destroy(cma);
    /* Nobody's now. */
    put_page(across);
    assert_true(logged("put_page"));
    unmake(memory, 2 * GIB / PAGE_SIZE - AREA_PAGES);
}

/* ---- One thread, beside a model ---- */

struct live_run {
    struct page *page;
    unsigned long first, count;
};

/* Whether the model has @count free pages in a row whose first is a multiple of 1 << @align. The area is
 * aligned to all that is asked for. */
static bool model_has(const unsigned char *model, unsigned long count, unsigned align)
{
    unsigned long at = 0;

    while (at + count <= AREA_PAGES) {
        const unsigned char *used = memchr(model + at, 1, count);

        if (!used)
            return true;
        at = (((unsigned long)(used - model) + 1) + (1ul << align) - 1) & ~((1ul << align) - 1);
    }
    return false;
}

static void test_model(void **state)
{
    static unsigned char model[AREA_PAGES];
    static struct live_run live[AREA_PAGES];
    unsigned long operations = getenv("DMAKIT_TEST_FAST") ? 20000 : 1000000, used = 0, taken = 0, failed = 0;
    struct dk_memory *memory;
    u64 word = chosen_seed();
    struct cma *cma;

    (void)state;
    print_message("DMAKIT_TEST_SEED=%llu\n", (unsigned long long)word);
    memory = make_area(0, &cma);
    for (unsigned long i = 0; i < operations; i++) {
        /* Now mostly filling, now mostly emptying. */
        bool release = used && draw(&word, 100) < (i / 4096 % 2 ? 40 : 60);
        unsigned long count = (unsigned long)1 << draw(&word, 10);
        unsigned align = (unsigned)draw(&word, 11);
        struct page *page;

        if (release) {
            struct live_run *run = &live[draw(&word, used)];

            assert_true(cma_release(cma, run->page, run->count));
            memset(model + run->first, 0, run->count);
            taken -= run->count;
            *run = live[--used];
            continue;
        }
        if (!draw(&word, 3))
            count += draw(&word, count);
        if (draw(&word, 3))
            align = 0;
        page = cma_alloc(cma, count, align, true);
        if (!page) {
            assert_false(model_has(model, count, align));
            failed++;
            continue;
        }
        live[used].page = page;
        live[used].first = page_to_pfn(page) - PFN_DOWN(cma_get_base(cma));
        live[used].count = count;
        assert_true(live[used].first + count <= AREA_PAGES);
        assert_int_equal(page_to_pfn(page) & ((1ul << align) - 1), 0);
        assert_null(memchr(model + live[used].first, 1, count));
        memset(model + live[used++].first, 1, count);
        taken += count;
        if (!(i % 256))
            assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - taken);
    }
    print_message("%lu of %lu requests failed\n", failed, operations);
    assert_true(failed > operations / 100);
    while (used--)
        assert_true(cma_release(cma, live[used].page, live[used].count));
    unmake_area(memory, cma);
}

/* ---- Threads ---- */

struct worker {
    pthread_t thread;
    struct cma *cma;
    u64 word;
    unsigned long rounds, failed;
    pthread_barrier_t *barrier;
};

/* Who has each page: 0 nobody. */
static u32 owners[AREA_PAGES];

static unsigned long index_in(const struct cma *cma, const struct page *page)
{
    return page_to_pfn(page) - PFN_DOWN(cma_get_base(cma));
}

static void own(const struct cma *cma, const struct page *page, unsigned long count, u32 from, u32 to)
{
    for (unsigned long i = index_in(cma, page), end = i + count; i < end; i++) {
        if (__atomic_exchange_n(&owners[i], to, __ATOMIC_RELAXED) != from)
            abort();
    }
}

#define HELD 24

static void *take_and_give(void *data)
{
    struct worker *worker = data;
    struct live_run held[HELD] = { { NULL } };
    u32 self = (u32)worker->word | 1;

    for (unsigned long i = 0; i < worker->rounds; i++) {
        struct live_run *run = &held[draw(&worker->word, HELD)];

        if (run->page) {
            own(worker->cma, run->page, run->count, self, 0);
            if (!draw(&worker->word, 8)) {
                get_page(run->page);
                put_page(run->page);
            }
            if (!cma_release(worker->cma, run->page, run->count))
                abort();
            run->page = NULL;
            continue;
        }
        run->count = (unsigned long)1 << draw(&worker->word, 10);
        if (!draw(&worker->word, 4))
            run->count += draw(&worker->word, run->count);
        run->page = cma_alloc(worker->cma, run->count, 0, true);
        if (run->page)
            own(worker->cma, run->page, run->count, 0, self);
        else
            worker->failed++;
    }
    for (unsigned i = 0; i < HELD; i++) {
        if (held[i].page) {
            own(worker->cma, held[i].page, held[i].count, self, 0);
            cma_release(worker->cma, held[i].page, held[i].count);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    unsigned long rounds = getenv("DMAKIT_TEST_FAST") ? 2000 : 40000, failed = 0;
    struct worker workers[THREADS];
    struct dk_memory *memory;
    u64 seed = chosen_seed();
    struct cma *cma;

    (void)state;
    memory = make_area(0, &cma);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .cma = cma, .word = seed + 2 * i, .rounds = rounds };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, take_and_give, &workers[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        failed += workers[i].failed;
    }
    print_message("%lu requests failed\n", failed);
    unmake_area(memory, cma);
}

static void *keep_and_wait(void *data)
{
    struct worker *worker = data;
    struct page *pages[4];

    for (unsigned i = 0; i < 2; i++) {
        for (unsigned j = 0; j < 4; j++)
            pages[j] = cma_alloc(worker->cma, 1ul << j, j, false);
        for (unsigned j = 0; j < 4; j++)
            cma_release(worker->cma, pages[j], 1ul << j);
    }
    /* It keeps some now, and lives on while another thread wants all. */
    pthread_barrier_wait(worker->barrier);
    pthread_barrier_wait(worker->barrier);
    /* Everything is taken: nothing of what it kept is left to it. */
    for (unsigned j = 0; j < 4; j++)
        worker->failed += !cma_alloc(worker->cma, 1ul << j, j, true);
    return NULL;
}

static void test_idle_threads_give_back(void **state)
{
    struct worker workers[THREADS];
    pthread_barrier_t barrier;
    struct dk_memory *memory;
    struct page *whole;
    struct cma *cma;

    (void)state;
    memory = make_area(0, &cma);
    pthread_barrier_init(&barrier, NULL, THREADS + 1);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .cma = cma, .barrier = &barrier };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, keep_and_wait, &workers[i]), 0);
    }
    pthread_barrier_wait(&barrier);
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    whole = cma_alloc(cma, AREA_PAGES, 12, false);
    assert_non_null(whole);
    pthread_barrier_wait(&barrier);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].failed, 4);
    }
    assert_true(cma_release(cma, whole, AREA_PAGES));
    pthread_barrier_destroy(&barrier);
    unmake_area(memory, cma);
}

/*
 * There is always room for a page: one thread fills and empties the area but for as many pages as there are
 * other threads, each of which has at most one. None of them may fail, however the runs move between stacks,
 * index and threads.
 */
struct room {
    struct cma *cma;
    unsigned long rounds;
    unsigned failed; /* atomic */
};

static void *take_one(void *data)
{
    struct room *room = data;

    for (unsigned long i = 0; i < room->rounds; i++) {
        struct page *page = cma_alloc(room->cma, 1, 0, true);

        if (page)
            cma_release(room->cma, page, 1);
        else
            __atomic_fetch_add(&room->failed, 1, __ATOMIC_RELAXED);
    }
    return NULL;
}

static void test_no_false_failure(void **state)
{
    struct room room = { .rounds = getenv("DMAKIT_TEST_FAST") ? 2000 : 30000 };
    static struct page *pages[AREA_PAGES];
    unsigned long most = AREA_PAGES - THREADS;
    pthread_t threads[THREADS];
    struct dk_memory *memory;

    (void)state;
    memory = make_area(0, &room.cma);
    for (unsigned long i = 0; i < most; i++)
        assert_non_null(pages[i] = cma_alloc(room.cma, 1, 0, false));
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_one, &room), 0);
    for (unsigned long i = 0; i < room.rounds; i++) {
        unsigned long which = i % most;

        /* Fails mostly, and makes all threads give back what they keep. */
        assert_null(cma_alloc(room.cma, THREADS + 2, 0, true));
        cma_release(room.cma, pages[which], 1);
        pages[which] = cma_alloc(room.cma, 1, 0, true);
        if (!pages[which])
            __atomic_fetch_add(&room.failed, 1, __ATOMIC_RELAXED);
    }
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(room.failed, 0);
    for (unsigned long i = 0; i < most; i++)
        cma_release(room.cma, pages[i], 1);
    unmake_area(memory, room.cma);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kept_runs_come_first),
        cmocka_unit_test(test_kept_runs_are_free),
        cmocka_unit_test(test_keeping_begins_again),
        cmocka_unit_test(test_released_by_two_at_once),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_two_sections),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_idle_threads_give_back),
        cmocka_unit_test(test_no_false_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
