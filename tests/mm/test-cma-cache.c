/* SPDX-License-Identifier: MIT */
/*
 * The stacks of runs that threads keep: each run is in one hand, while another thread empties the stacks,
 * with the kernel's barrier and with fences; and what happens where the kernel refuses the barrier.
 */
#include "fixture.h"

#include "../refuse-membarrier.h"
#include "mm/cma-cache.h"
#include "mm/cma.h"
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS 3
#define RUNS 64u

struct shared {
    struct dk_cma_cache cache;
    pthread_mutex_t lock; /* stands for an area's: guards the next two and the phase */
    u64 runs[RUNS];       /* in the index */
    unsigned count;
    u32 hands[RUNS];          /* atomic: 1 while somebody has the run */
    unsigned stop;            /* atomic */
    unsigned wrong;           /* atomic */
    unsigned long from_stack; /* atomic */
};

static void grip(struct shared *shared, u64 run)
{
    if (__atomic_exchange_n(&shared->hands[run], 1, __ATOMIC_RELAXED))
        __atomic_fetch_add(&shared->wrong, 1, __ATOMIC_RELAXED);
}

static void let_go(struct shared *shared, u64 run)
{
    if (!__atomic_exchange_n(&shared->hands[run], 0, __ATOMIC_RELAXED))
        __atomic_fetch_add(&shared->wrong, 1, __ATOMIC_RELAXED);
}

static void give_back(struct shared *shared, u64 run)
{
    pthread_mutex_lock(&shared->lock);
    shared->runs[shared->count++] = run;
    pthread_mutex_unlock(&shared->lock);
}

static bool take(struct shared *shared, u64 *run)
{
    struct dk_cma_stack *stack = dk_cma_cache_enter(&shared->cache);
    bool taken = false;

    if (stack) {
        taken = dk_cma_stack_take(stack, 3, run);
        dk_cma_cache_leave(stack);
    }
    if (taken) {
        __atomic_fetch_add(&shared->from_stack, 1, __ATOMIC_RELAXED);
        return true;
    }
    pthread_mutex_lock(&shared->lock);
    taken = shared->count;
    if (taken)
        *run = shared->runs[--shared->count];
    pthread_mutex_unlock(&shared->lock);
    return taken;
}

static void *take_and_keep(void *data)
{
    struct shared *shared = data;
    u64 run;

    for (unsigned long i = 0; !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); i++) {
        struct dk_cma_stack *stack;
        bool kept = false;

        /* While the stacks are being emptied none is made. */
        dk_cma_cache_make(&shared->cache);
        if (!take(shared, &run))
            continue;
        grip(shared, run);
        let_go(shared, run);
        stack = dk_cma_cache_enter(&shared->cache);
        if (stack) {
            /* Preempted where it hurts. */
            if (!(i % 32))
                sched_yield();
            kept = dk_cma_stack_give(&shared->cache, stack, 3, run);
            dk_cma_cache_leave(stack);
        }
        if (!kept)
            give_back(shared, run);
    }
    return NULL;
}

static void empty_all(struct shared *shared)
{
    pthread_mutex_lock(&shared->lock);
    dk_cma_cache_enter_phase(&shared->cache, DK_CMA_DRAINING);
    pthread_mutex_unlock(&shared->lock);
    assert_true(dk_cma_cache_wait(&shared->cache));
    for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++) {
        struct dk_cma_stack *stack = __atomic_load_n(&shared->cache.by_thread[i], __ATOMIC_ACQUIRE);
        unsigned order;
        u64 run;

        while (stack && dk_cma_stack_pop(stack, &order, &run)) {
            assert_int_equal(order, 3);
            grip(shared, run);
            let_go(shared, run);
            give_back(shared, run);
        }
    }
    pthread_mutex_lock(&shared->lock);
    dk_cma_cache_enter_phase(&shared->cache, DK_CMA_CACHING);
    pthread_mutex_unlock(&shared->lock);
}

static void run_threads(bool fenced)
{
    struct shared *shared = calloc(1, sizeof(*shared));
    pthread_t threads[THREADS];
    unsigned long drains = 0, most = getenv("DMAKIT_TEST_FAST") ? 50 : 200;

    pthread_mutex_init(&shared->lock, NULL);
    dk_cma_cache_start(&shared->cache, 65536);
    shared->cache.fenced = shared->cache.fenced || fenced;
    for (; shared->count < RUNS; shared->count++)
        shared->runs[shared->count] = shared->count;
    for (unsigned i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_keep, shared), 0);
    for (; drains < most; drains++) {
        /* The threads get to use their stacks in between. */
        unsigned long until = __atomic_load_n(&shared->from_stack, __ATOMIC_RELAXED) + 20;

        while (__atomic_load_n(&shared->from_stack, __ATOMIC_RELAXED) < until)
            sched_yield();
        empty_all(shared);
    }
    __atomic_store_n(&shared->stop, 1, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    empty_all(shared);
    print_message("emptied %lu times, %lu taken from stacks\n", drains, shared->from_stack);
    assert_int_equal(shared->wrong, 0);
    assert_int_equal(shared->count, RUNS);
    assert_int_equal(dk_cma_cache_pages(&shared->cache), 0);
    dk_cma_cache_finish(&shared->cache);
    pthread_mutex_destroy(&shared->lock);
    free(shared);
}

static void test_barrier(void **state)
{
    (void)state;
    run_threads(false);
}

static void test_fences(void **state)
{
    (void)state;
    run_threads(true);
}

/* All stacks together hold an eighth of the area at most; small areas have none. */
static void test_bounds(void **state)
{
    static const u64 pages[] = { 1, 4095, 4096, 65536, 1000000, 1ull << 24, 1ull << 30 };
    struct dk_cma_cache cache;

    (void)state;
    for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
        memset(&cache, 0, sizeof(cache));
        dk_cma_cache_start(&cache, pages[i]);
        assert_true((u64)cache.budget * cache.most_stacks <= pages[i] / 8);
        assert_int_equal(cache.budget == 0, pages[i] < 4096);
        assert_int_equal((cache.phase & DK_CMA_PHASE) == DK_CMA_DRAINED, pages[i] < 4096);
        if (cache.budget)
            assert_in_range(cache.most_stacks, 16, DK_THREAD_NUMBERS);
    }
}

/* A stack takes so many runs of an order, and so many pages. */
static void test_full(void **state)
{
    struct dk_cma_cache cache = { 0 };
    struct dk_cma_stack *stack;
    unsigned order, kept = 0;
    u64 run = 0;

    (void)state;
    dk_cma_cache_start(&cache, 65536);
    dk_cma_cache_make(&cache);
    dk_cma_cache_make(&cache);
    assert_int_equal(cache.stacks, 1);
    stack = dk_cma_cache_enter(&cache);
    while (dk_cma_stack_give(&cache, stack, 0, kept))
        kept++;
    assert_int_equal(kept, DK_CMA_CACHE_ITEMS);
    assert_true(dk_cma_stack_give(&cache, stack, 8, 1000));
    assert_false(dk_cma_stack_give(&cache, stack, 8, 2000));
    assert_int_equal(dk_cma_cache_pages(&cache), DK_CMA_CACHE_ITEMS + 256);
    assert_true(dk_cma_stack_take(stack, 8, &run));
    assert_int_equal(run, 1000);
    assert_false(dk_cma_stack_take(stack, 8, &run));
    while (dk_cma_stack_pop(stack, &order, &run))
        kept--;
    assert_int_equal(kept, 0);
    dk_cma_cache_leave(stack);
    dk_cma_cache_finish(&cache);
}

/* ---- A kernel that refuses the barrier after it promised it ---- */

static void *keep_one(void *data)
{
    struct cma *cma = data;

    for (unsigned i = 0; i < 3; i++)
        cma_release(cma, cma_alloc(cma, 1, 0, false), 1);
    return NULL;
}

/* 0 when everything is as it should be; 77 where it cannot be tried. */
static int with_refused_barrier(bool from_the_start)
{
    const struct dk_memory_range range = { GIB, 64 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    struct page *whole;
    pthread_t thread;
    struct cma *cma;

    if (from_the_start && !refuse_membarrier())
        return 77;
    memory = make(&config);
    if (dk_memory_reserve(memory, GIB, 32 * MIB, true))
        return 1;
    cma = dk_cma_create(memory, GIB, 32 * MIB, 0, "frames");
    if (IS_ERR(cma))
        return 2;
    pthread_create(&thread, NULL, keep_one, cma);
    pthread_join(thread, NULL);
    if (!from_the_start && !refuse_membarrier())
        return 77;
    /* What another thread kept cannot be had without the barrier, and a log line says why; nothing else is
     * lost. With fences from the start it can. */
    whole = cma_alloc(cma, 8192, 0, true);
#ifdef DK_THREAD_CHECKED
    from_the_start = true; /* fences there too */
#endif
    if (!whole != !from_the_start || !silent() != !from_the_start ||
        dk_cma_free_pages(cma) != (whole ? 0 : 8192))
        return 3;
    if (!whole && !cma_alloc(cma, 8000, 0, true))
        return 4;
    dk_cma_destroy(cma);
    dk_memory_destroy(memory);
    return 0;
}

static void refused(bool from_the_start)
{
    pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (!child)
        _exit(with_refused_barrier(from_the_start));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_refused_at_once(void **state)
{
    (void)state;
    refused(true);
}

static void test_refused_later(void **state)
{
    (void)state;
    refused(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_at_once), cmocka_unit_test(test_refused_later),
        cmocka_unit_test(test_bounds),          cmocka_unit_test(test_full),
        cmocka_unit_test(test_barrier),         cmocka_unit_test(test_fences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
