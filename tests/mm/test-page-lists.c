/* SPDX-License-Identifier: MIT */
/* Threads and their page lists: no lock in turns, nothing lost, nothing given twice, exact exhaustion. */
#include "fixture.h"

#include "mm/page-lists.h"

#include <dmakit/fail.h>
#include <stdlib.h>

#define PAGES ((u64)4096)
#define THREADS 4
#define SLOTS 512

static const struct dk_memory_range range = { 0, PAGES *PAGE_SIZE };

struct shared {
    struct dk_memory *memory;
    sem_t ready, go;
    struct page *slots[SLOTS]; /* blocks that anybody may free; atomic access */
    unsigned char used[PAGES]; /* somebody has the page; atomic access */
    struct page *page;
    unsigned refused; /* atomic access */
    u64 seed;
};

static struct shared shared;

static void prepare(void)
{
    const struct dk_memory_config config = small_config(&range);

    memset(&shared, 0, sizeof(shared));
    shared.memory = make(&config);
    sem_init(&shared.ready, 0, 0);
    sem_init(&shared.go, 0, 0);
}

static void start(pthread_t *thread, void *(*run)(void *), void *argument)
{
    assert_int_equal(pthread_create(thread, NULL, run, argument), 0);
}

static void *take_in_turns(void *argument)
{
    unsigned i;

    (void)argument;
    for (i = 0; i < DK_LIST_ORDERS; i++)
        __free_pages(dk_pages_allocate(shared.memory, GFP_KERNEL, i), i);
    sem_post(&shared.ready);
    if (!wait_for(&shared.go))
        return NULL;
    for (i = 0; i < 4000; i++)
        __free_pages(dk_pages_allocate(shared.memory, GFP_ATOMIC, i % DK_LIST_ORDERS), i % DK_LIST_ORDERS);
    sem_post(&shared.ready);
    return NULL;
}

/* Another thread holds the lock all the time. */
static void test_turns_take_no_lock(void **state)
{
    pthread_t thread;
    bool done;

    (void)state;
    prepare();
    start(&thread, take_in_turns, NULL);
    assert_true(wait_for(&shared.ready));
    pthread_mutex_lock(&shared.memory->pages_lock);
    sem_post(&shared.go);
    done = wait_for(&shared.ready);
    pthread_mutex_unlock(&shared.memory->pages_lock);
    pthread_join(thread, NULL);
    assert_true(done);
    unmake(shared.memory, PAGES);
}

static void *take_and_wait(void *argument)
{
    struct page *pages[40];
    unsigned i, order;

    (void)argument;
    for (order = 0; order < DK_LIST_ORDERS; order++) {
        gfp_t gfp = order % 2 ? GFP_KERNEL : GFP_KERNEL | __GFP_MOVABLE;

        for (i = 0; i < 40; i++)
            pages[i] = dk_pages_allocate(shared.memory, gfp, order);
        for (i = 0; i < 40; i++)
            __free_pages(pages[i], order);
    }
    sem_post(&shared.ready);
    wait_for(&shared.go);
    return NULL;
}

/* Other threads' lists are full of blocks; still all memory can be had, in the largest blocks too. */
static void test_exhaustion_is_exact(void **state)
{
    pthread_t threads[THREADS];
    unsigned order, i;
    u64 held;

    (void)state;
    for (order = 0; order <= MAX_PAGE_ORDER; order++) {
        struct page *page, *next;
        LIST_HEAD(taken);
        u64 count = 0;

        prepare();
        for (i = 0; i < THREADS; i++)
            start(&threads[i], take_and_wait, NULL);
        for (i = 0; i < THREADS; i++)
            assert_true(wait_for(&shared.ready));
        pthread_mutex_lock(&shared.memory->pages_lock);
        held = dk_page_lists_held(shared.memory);
        pthread_mutex_unlock(&shared.memory->pages_lock);
        assert_in_range(held, THREADS * 40, THREADS * DK_LIST_CLASSES * DK_LIST_PAGES);
        assert_int_equal(dk_memory_free_pages(shared.memory), PAGES);
        while ((page = dk_pages_allocate(shared.memory, GFP_KERNEL | __GFP_NOWARN, order))) {
            list_add(&page->lru, &taken);
            count += 1u << order;
        }
        assert_int_equal(count, PAGES);
        assert_int_equal(dk_memory_free_pages(shared.memory), 0);
        list_for_each_entry_safe (page, next, &taken, lru)
            __free_pages(page, order);
        for (i = 0; i < THREADS; i++)
            sem_post(&shared.go);
        for (i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
        unmake(shared.memory, PAGES);
    }
}

/* Reserving finds what lies in lists free. */
static void test_reserving_takes_from_lists(void **state)
{
    pthread_t thread;

    (void)state;
    prepare();
    start(&thread, take_and_wait, NULL);
    assert_true(wait_for(&shared.ready));
    assert_int_equal(dk_memory_reserve(shared.memory, 0, PAGES * PAGE_SIZE, true), 0);
    assert_int_equal(dk_memory_free_pages(shared.memory), 0);
    sem_post(&shared.go);
    pthread_join(thread, NULL);
    unmake(shared.memory, 0);
}

static u64 next(u64 *word)
{
    *word ^= *word << 13;
    *word ^= *word >> 7;
    *word ^= *word << 17;
    return *word;
}

static void mark(struct page *page, unsigned char from, unsigned char to)
{
    u64 pfn = page_to_pfn(page), i;

    for (i = 0; i < page->run; i++) {
        if (__atomic_exchange_n(&shared.used[pfn + i], to, __ATOMIC_RELAXED) != from)
            abort();
    }
}

static void *storm(void *argument)
{
    u64 word = shared.seed + (uintptr_t)argument * 0x9e3779b97f4a7c15ull, i;
    u64 rounds = getenv("DMAKIT_TEST_FAST") ? 20000 : 150000;

    for (i = 0; i < rounds; i++) {
        u64 draw = next(&word);
        struct page **slot = &shared.slots[draw % SLOTS], *page = NULL;
        gfp_t gfp = (draw >> 20) % 2 ? GFP_ATOMIC : GFP_KERNEL | __GFP_MOVABLE;

        if ((draw >> 32) % 5)
            page = dk_pages_allocate(shared.memory, gfp | __GFP_NOWARN, (draw >> 40) % 6);
        if (page)
            mark(page, 0, 1);
        page = __atomic_exchange_n(slot, page, __ATOMIC_ACQ_REL);
        if (page) {
            get_page(page);
            put_page(page);
            mark(page, 1, 0);
            __free_pages(page, page->order);
        }
        if ((draw >> 48) % 2000 == 1) {
            pthread_mutex_lock(&shared.memory->pages_lock);
            if (!dk_blocks_isolate(shared.memory, draw % PAGES, draw % PAGES + 1))
                dk_blocks_rejoin(shared.memory, draw % PAGES, draw % PAGES + 1);
            pthread_mutex_unlock(&shared.memory->pages_lock);
        }
    }
    return NULL;
}

static void test_storm(void **state)
{
    const char *text = getenv("DMAKIT_TEST_SEED");
    pthread_t threads[THREADS];
    unsigned i;

    (void)state;
    prepare();
    shared.seed = text ? strtoull(text, NULL, 0) : 77;
    print_message("seed 0x%llx\n", shared.seed);
    for (i = 0; i < THREADS; i++)
        start(&threads[i], storm, (void *)(uintptr_t)(i + 1));
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (i = 0; i < SLOTS; i++) {
        if (shared.slots[i])
            __free_pages(shared.slots[i], shared.slots[i]->order);
    }
    assert_int_equal(log_lines, 0);
    unmake(shared.memory, PAGES);
}

static void *free_it(void *argument)
{
    (void)argument;
    sem_post(&shared.ready);
    wait_for(&shared.go);
    if (!dk_pages_give_marked(shared.memory, shared.page, 1, 0, "test"))
        __atomic_fetch_add(&shared.refused, 1, __ATOMIC_RELAXED);
    return NULL;
}

/* Of two threads that free one page, one is told; the page is not given to two. */
static void test_freeing_twice_at_once(void **state)
{
    pthread_t threads[2];
    unsigned round, i;

    (void)state;
    prepare();
    for (round = 0; round < 50; round++) {
        shared.page = dk_pages_allocate(shared.memory, GFP_KERNEL, 0);
        for (i = 0; i < 2; i++)
            start(&threads[i], free_it, NULL);
        for (i = 0; i < 2; i++)
            assert_true(wait_for(&shared.ready));
        for (i = 0; i < 2; i++)
            sem_post(&shared.go);
        for (i = 0; i < 2; i++)
            pthread_join(threads[i], NULL);
        assert_int_equal(shared.refused, round + 1);
        assert_int_equal(dk_memory_free_pages(shared.memory), PAGES);
    }
    unmake(shared.memory, PAGES);
}

/* Without memory for lists there are none, and a seed chooses places itself. */
static void test_without_lists(void **state)
{
    struct dk_memory_config config = small_config(&range);
    struct page *page;

    (void)state;
    prepare();
    /* The first point is the page's, the second the lists'. */
    dk_fail_nth(2);
    page = dk_pages_allocate(shared.memory, GFP_KERNEL, 0);
    assert_non_null(page);
    __free_page(page);
    dk_fail_nth(0);
    assert_int_equal(dk_page_lists_held(shared.memory), 0);
    unmake(shared.memory, PAGES);

    config.seed = 5;
    shared.memory = make(&config);
    __free_page(dk_pages_allocate(shared.memory, GFP_KERNEL, 0));
    assert_int_equal(dk_page_lists_held(shared.memory), 0);
    unmake(shared.memory, PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns_take_no_lock),         cmocka_unit_test(test_exhaustion_is_exact),
        cmocka_unit_test(test_reserving_takes_from_lists), cmocka_unit_test(test_storm),
        cmocka_unit_test(test_freeing_twice_at_once),      cmocka_unit_test(test_without_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
