/* SPDX-License-Identifier: MIT */
/*
 * Memory pools with a reserve: who is asked first, who waits and in which order, what changes while the pool
 * is in use, and what is reported.
 */
#include "mempool.h"

#include <dmakit/fail.h>

static void test_function_first(void **state)
{
    struct dk_machine *machine = make_machine();
    struct stock stock;
    mempool_t *pool;
    void *elements[5];
    unsigned i;

    (void)state;
    stock_init(&stock, 5);
    pool = mempool_create(2, stock_alloc, stock_free, &stock);
    assert_non_null(pool);
    assert_true(mempool_initialized(pool));
    assert_true(mempool_is_saturated(pool));
    assert_int_equal(stock.out, 2);
    /* Three come from the function, two from the reserve, and then there is nothing. */
    for (i = 0; i < 5; i++) {
        elements[i] = mempool_alloc(pool, i & 1 ? GFP_ATOMIC : GFP_KERNEL);
        assert_non_null(elements[i]);
        assert_int_equal(pool->curr_nr, i < 3 ? 2 : 4 - i);
    }
    assert_int_equal(stock.out, 5);
    assert_false(mempool_is_saturated(pool));
    stock.asked = 0;
    assert_null(mempool_alloc(pool, GFP_ATOMIC));
    assert_null(mempool_alloc(pool, GFP_NOWAIT));
    assert_int_equal(stock.asked, 2);
    assert_true(stock.gfp & __GFP_NOWARN && !(stock.gfp & __GFP_DIRECT_RECLAIM));
    assert_null(mempool_alloc_preallocated(pool));
    /* The reserve is filled before anything goes back. */
    mempool_free(elements[0], pool);
    mempool_free(elements[1], pool);
    assert_true(mempool_is_saturated(pool));
    assert_int_equal(stock.out, 5);
    mempool_free(elements[2], pool);
    assert_int_equal(stock.out, 4);
    mempool_free(NULL, pool);
    /* The reserve alone, though the function has one. */
    stock.asked = 0;
    elements[0] = mempool_alloc_preallocated(pool);
    elements[1] = mempool_alloc_preallocated(pool);
    assert_true(elements[0] && elements[1] && !mempool_alloc_preallocated(pool));
    assert_int_equal(stock.asked, 0);
    for (i = 0; i < 5; i++) {
        if (i != 2)
            mempool_free(elements[i], pool);
    }
    assert_int_equal(stock.out, 2);
    mempool_destroy(pool);
    assert_int_equal(stock.out, 0);
    mempool_destroy(NULL);
    assert_int_equal(lines, 0);
    unmake_machine(machine);
}

static void test_bad_pools(void **state)
{
    struct dk_machine *machine = make_machine();
    mempool_t pool = { 0 };
    struct stock stock;
    void *element;

    (void)state;
    stock_init(&stock, 3);
    mempool_exit(&pool);
    assert_false(mempool_initialized(&pool));
    assert_int_equal(mempool_init(&pool, -1, stock_alloc, stock_free, &stock), -EINVAL);
    assert_int_equal(mempool_init(&pool, 1, NULL, stock_free, &stock), -EINVAL);
    assert_int_equal(mempool_init(&pool, 1, stock_alloc, NULL, &stock), -EINVAL);
    assert_int_equal(dk_mempool_init_dma(&pool, 1, stock_alloc_dma, NULL, &stock), -EINVAL);
    assert_null(mempool_create(1, NULL, NULL, NULL));
    assert_int_equal(mempool_init(&pool, 4, stock_alloc, stock_free, &stock), -ENOMEM);
    assert_int_equal(stock.out, 0);
    assert_false(mempool_initialized(&pool));
    assert_null(mempool_create(4, stock_alloc, stock_free, &stock));
    /* Without a reserve it is what the function is. */
    assert_int_equal(mempool_init(&pool, 0, stock_alloc, stock_free, &stock), 0);
    assert_true(mempool_initialized(&pool));
    element = mempool_alloc(&pool, GFP_KERNEL);
    mempool_free(element, &pool);
    assert_int_equal(stock.out, 0);
    lines = 0;
    assert_int_equal(mempool_resize(&pool, 0, GFP_KERNEL), -EINVAL);
    assert_true(logged("mempool_resize"));
    assert_int_equal(mempool_resize(NULL, 5, GFP_KERNEL), -EINVAL);
    assert_true(logged("mempool_resize"));
    assert_null(mempool_alloc(NULL, GFP_KERNEL));
    assert_true(logged("no pool"));
    assert_null(mempool_alloc_preallocated(NULL));
    assert_true(logged("no pool"));
    mempool_free(&stock.elements[0], NULL);
    assert_true(logged("no pool"));
    mempool_exit(NULL);
    element = mempool_alloc(&pool, GFP_KERNEL | __GFP_ZERO);
    assert_true(logged("__GFP_ZERO"));
    assert_false(stock.gfp & __GFP_ZERO);
    mempool_free(element, &pool);
    mempool_exit(&pool);
    assert_false(mempool_initialized(&pool));
    mempool_exit(&pool);
    assert_null(mempool_alloc(&pool, GFP_KERNEL));
    assert_true(logged("not initialised"));
    unmake_machine(machine);
}

static void test_resize(void **state)
{
    struct dk_machine *machine = make_machine();
    mempool_t pool;
    struct stock stock;
    void *elements[4];
    unsigned i;

    (void)state;
    stock_init(&stock, 20);
    assert_int_equal(mempool_init_node(&pool, 4, stock_alloc, stock_free, &stock, GFP_KERNEL, 0), 0);
    assert_int_equal(mempool_resize(&pool, 10, GFP_KERNEL), 0);
    assert_int_equal(stock.out, 10);
    assert_int_equal(mempool_resize(&pool, 3, GFP_KERNEL), 0);
    assert_int_equal(stock.out, 3);
    assert_true(mempool_is_saturated(&pool));
    /* As far as it goes; frees bring the rest. */
    for (i = 0; i < 4; i++)
        elements[i] = mempool_alloc(&pool, GFP_KERNEL);
    stock_limit(&stock, 8);
    assert_int_equal(mempool_resize(&pool, 7, GFP_KERNEL), 0);
    assert_int_equal(pool.curr_nr, 4);
    for (i = 0; i < 4; i++) {
        mempool_free(elements[i], &pool);
        assert_int_equal(pool.curr_nr, i < 3 ? 5 + i : 7);
    }
    assert_int_equal(stock.out, 7);
    dk_fail_nth(1);
    assert_int_equal(mempool_resize(&pool, 11, GFP_KERNEL), -ENOMEM);
    assert_int_equal(pool.min_nr, 7);
    dk_fail_nth(1);
    assert_int_equal(mempool_resize(&pool, 2, GFP_KERNEL), 0);
    assert_int_equal(stock.out, 2);
    dk_fail_nth(0);
    mempool_exit(&pool);
    assert_int_equal(stock.out, 0);
    unmake_machine(machine);
}

/* ---- Waiting ---- */

#define WAITERS 8

struct waiting {
    mempool_t pool;
    struct stock stock;
    unsigned served; /* how many have an element; atomic */
};

struct waiter {
    struct waiting *waiting;
    void *element;
    unsigned place; /* counts those who were served */
    int behind;     /* how many waited still when it was */
    pthread_t thread;
};

static void *wait_for_one(void *data)
{
    struct waiter *waiter = data;

    waiter->element = mempool_alloc(&waiter->waiting->pool, GFP_KERNEL);
    waiter->behind = __atomic_load_n(&waiter->waiting->pool.waiting, __ATOMIC_ACQUIRE);
    waiter->place = __atomic_fetch_add(&waiter->waiting->served, 1, __ATOMIC_ACQ_REL);
    return NULL;
}

static void pause_until(const int *word, int value)
{
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value)
        usleep_range(200, 200);
}

static void pause_until_served(struct waiting *waiting, unsigned served)
{
    while (__atomic_load_n(&waiting->served, __ATOMIC_ACQUIRE) != served)
        usleep_range(200, 200);
}

/* Lets @count threads wait, one behind the other. */
static void queue_up(struct waiting *waiting, struct waiter *waiters, int count)
{
    int i;

    waiting->served = 0;
    for (i = 0; i < count; i++) {
        waiters[i].waiting = waiting;
        assert_int_equal(pthread_create(&waiters[i].thread, NULL, wait_for_one, &waiters[i]), 0);
        pause_until(&waiting->pool.waiting, i + 1);
    }
}

/* A pool all of whose @count elements are out, in @held. */
static void hold_all(struct waiting *waiting, int count, void **held)
{
    int i;

    stock_init(&waiting->stock, (unsigned)count);
    assert_int_equal(mempool_init(&waiting->pool, count, stock_alloc, stock_free, &waiting->stock), 0);
    for (i = 0; i < count; i++) {
        held[i] = mempool_alloc(&waiting->pool, GFP_KERNEL);
        assert_non_null(held[i]);
    }
}

static void test_first_come_first_served(void **state)
{
    struct dk_machine *machine = make_machine();
    struct waiter waiters[WAITERS];
    struct waiting waiting;
    void *held[2];
    unsigned i;

    (void)state;
    hold_all(&waiting, 2, held);
    queue_up(&waiting, waiters, WAITERS);
    for (i = 0; i < WAITERS; i++) {
        mempool_free(i < 2 ? held[i] : waiters[i - 2].element, &waiting.pool);
        pause_until_served(&waiting, i + 1);
        pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].place, i);
        assert_ptr_equal(waiters[i].element, i < 2 ? held[i] : waiters[i - 2].element);
        /* Nothing was left for somebody who does not wait. */
        assert_null(mempool_alloc(&waiting.pool, GFP_ATOMIC));
    }
    mempool_free(waiters[WAITERS - 2].element, &waiting.pool);
    mempool_free(waiters[WAITERS - 1].element, &waiting.pool);
    assert_true(mempool_is_saturated(&waiting.pool));
    mempool_exit(&waiting.pool);
    unmake_machine(machine);
}

/* Who comes when the function has elements again feeds those who wait before it gets one. */
static void test_newcomers_do_not_overtake(void **state)
{
    struct dk_machine *machine = make_machine();
    struct waiter waiters[4], late;
    struct waiting waiting;
    void *held;
    unsigned i;

    (void)state;
    hold_all(&waiting, 1, &held);
    queue_up(&waiting, waiters, 4);
    stock_limit(&waiting.stock, 6);
    late.waiting = &waiting;
    assert_int_equal(pthread_create(&late.thread, NULL, wait_for_one, &late), 0);
    pthread_join(late.thread, NULL);
    for (i = 0; i < 4; i++) {
        pthread_join(waiters[i].thread, NULL);
        assert_non_null(waiters[i].element);
        mempool_free(waiters[i].element, &waiting.pool);
    }
    assert_non_null(late.element);
    assert_int_equal(late.behind, 0);
    mempool_free(late.element, &waiting.pool);
    mempool_free(held, &waiting.pool);
    assert_int_equal(waiting.stock.out, 1);
    mempool_exit(&waiting.pool);
    unmake_machine(machine);
}

/* Memory that comes from elsewhere ends the waiting too, and so does a larger reserve; in order. */
static void test_memory_from_elsewhere(void **state)
{
    struct dk_machine *machine = make_machine();
    struct waiter waiters[3];
    struct waiting waiting;
    void *held;
    unsigned i;

    (void)state;
    hold_all(&waiting, 1, &held);
    queue_up(&waiting, waiters, 3);
    for (i = 0; i < 3; i++) {
        stock_limit(&waiting.stock, 2 + i);
        if (i == 1)
            assert_int_equal(mempool_resize(&waiting.pool, 2, GFP_KERNEL), 0);
        pthread_join(waiters[i].thread, NULL);
        assert_int_equal(waiters[i].place, i);
        assert_non_null(waiters[i].element);
    }
    for (i = 0; i < 3; i++)
        mempool_free(waiters[i].element, &waiting.pool);
    mempool_free(held, &waiting.pool);
    assert_int_equal(waiting.stock.out, 2);
    mempool_exit(&waiting.pool);
    unmake_machine(machine);
}

/* Frees an element while the waiter that it goes to asks for one itself. */
struct crossing {
    struct waiting waiting;
    void *held;
    bool armed; /* atomic */
};

static void *alloc_crossing(gfp_t gfp, void *data)
{
    struct crossing *crossing = data;

    if (__atomic_exchange_n(&crossing->armed, false, __ATOMIC_ACQ_REL)) {
        mempool_free(crossing->held, &crossing->waiting.pool);
        stock_limit(&crossing->waiting.stock, 2);
    }
    return stock_alloc(gfp, &crossing->waiting.stock);
}

static void free_crossing(void *element, void *data)
{
    stock_free(element, &((struct crossing *)data)->waiting.stock);
}

/* Who is served and finds an element too keeps one; the other is the reserve's. */
static void test_served_while_asking(void **state)
{
    struct dk_machine *machine = make_machine();
    struct crossing crossing = { .armed = false };
    mempool_t *pool = &crossing.waiting.pool;
    struct waiter waiter;

    (void)state;
    stock_init(&crossing.waiting.stock, 1);
    assert_int_equal(mempool_init(pool, 1, alloc_crossing, free_crossing, &crossing), 0);
    crossing.held = mempool_alloc(pool, GFP_KERNEL);
    queue_up(&crossing.waiting, &waiter, 1);
    __atomic_store_n(&crossing.armed, true, __ATOMIC_RELEASE);
    pthread_join(waiter.thread, NULL);
    assert_ptr_equal(waiter.element, crossing.held);
    assert_true(mempool_is_saturated(pool));
    assert_int_equal(crossing.waiting.stock.out, 2);
    mempool_free(waiter.element, pool);
    assert_int_equal(crossing.waiting.stock.out, 1);
    mempool_exit(pool);
    assert_int_equal(crossing.waiting.stock.out, 0);
    unmake_machine(machine);
}

static void test_exit_while_waited_for(void **state)
{
    struct dk_machine *machine = make_machine();
    struct waiter waiter;
    struct waiting waiting;
    void *held;

    (void)state;
    hold_all(&waiting, 1, &held);
    queue_up(&waiting, &waiter, 1);
    mempool_exit(&waiting.pool);
    assert_true(logged("mempool_exit: 1 threads wait for an element of the pool, which stays"));
    assert_true(reported("mempool-leak"));
    assert_true(mempool_initialized(&waiting.pool));
    mempool_free(held, &waiting.pool);
    pthread_join(waiter.thread, NULL);
    assert_ptr_equal(waiter.element, held);
    mempool_free(held, &waiting.pool);
    mempool_exit(&waiting.pool);
    unmake_machine(machine);
}

/* ---- Many threads ---- */

struct crowd {
    mempool_t pool;
    struct stock stock;
    bool done;
};

static void *use(void *data)
{
    struct crowd *crowd = data;
    unsigned turns = getenv("DMAKIT_TEST_FAST") ? 2000 : 20000, i, word = (unsigned)(uintptr_t)&turns;
    int *element;

    for (i = 0; i < turns; i++) {
        word = word * 1103515245 + 12345;
        element = mempool_alloc(&crowd->pool, word & 0x10000 ? GFP_KERNEL : GFP_ATOMIC);
        if (!element) {
            if (word & 0x10000)
                return crowd;
            continue;
        }
        /* Nobody else has it: TSan and the value say so. */
        *element = (int)i;
        if (word & 0x20000)
            usleep_range(1, 1);
        if (*element != (int)i)
            return crowd;
        mempool_free(element, &crowd->pool);
    }
    return NULL;
}

static void *resize(void *data)
{
    struct crowd *crowd = data;
    int wanted = 1;

    while (!__atomic_load_n(&crowd->done, __ATOMIC_ACQUIRE)) {
        wanted = wanted % 5 + 1;
        if (mempool_resize(&crowd->pool, wanted, GFP_KERNEL))
            return crowd;
        stock_limit(&crowd->stock, 5 + (unsigned)wanted % 3);
        usleep_range(300, 300);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct dk_machine *machine = make_machine();
    pthread_t users[6], resizers[2];
    struct crowd crowd = { .done = false };
    void *wrong;
    unsigned i;

    (void)state;
    stock_init(&crowd.stock, 5);
    assert_int_equal(mempool_init(&crowd.pool, 3, stock_alloc, stock_free, &crowd.stock), 0);
    for (i = 0; i < 6; i++)
        assert_int_equal(pthread_create(&users[i], NULL, use, &crowd), 0);
    for (i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&resizers[i], NULL, resize, &crowd), 0);
    for (i = 0; i < 6; i++) {
        pthread_join(users[i], &wrong);
        assert_null(wrong);
    }
    __atomic_store_n(&crowd.done, true, __ATOMIC_RELEASE);
    for (i = 0; i < 2; i++) {
        pthread_join(resizers[i], &wrong);
        assert_null(wrong);
    }
    stock_limit(&crowd.stock, STOCK);
    assert_int_equal(mempool_resize(&crowd.pool, 6, GFP_KERNEL), 0);
    assert_int_equal(crowd.stock.out, 6);
    mempool_exit(&crowd.pool);
    assert_int_equal(crowd.stock.out, 0);
    unmake_machine(machine);
}

/* ---- What is reported ---- */

static void test_reports(void **state)
{
    struct dk_machine *machine = make_machine();
    struct stock stock;
    mempool_t pool;
    void *element, *other;
    spinlock_t lock;

    (void)state;
    stock_init(&stock, 3);
    spin_lock_init(&lock);
    assert_int_equal(mempool_init(&pool, 1, stock_alloc, stock_free, &stock), 0);
    element = mempool_alloc(&pool, GFP_KERNEL);
    other = mempool_alloc_preallocated(&pool);
    mempool_free(other, &pool);
    mempool_free(other, &pool);
    assert_true(reported("mempool-double-free"));
    assert_int_equal(pool.curr_nr, 1);
    mempool_free(element, &pool);
    assert_int_equal(stock.out, 1);
    /* Nothing waits in atomic context. */
    stock_limit(&stock, 1);
    element = mempool_alloc(&pool, GFP_KERNEL);
    spin_lock(&lock);
    assert_null(mempool_alloc(&pool, GFP_KERNEL));
    assert_true(reported("sleeps-in-atomic"));
    assert_null(mempool_alloc(&pool, GFP_ATOMIC));
    mempool_free(element, &pool);
    element = mempool_alloc(&pool, GFP_ATOMIC);
    assert_non_null(element);
    spin_unlock(&lock);
    mempool_exit(&pool);
    assert_true(reported("mempool-leak"));
    stock_free(element, &stock);
    assert_int_equal(stock.out, 0);
    unmake_machine(machine);
}

/* Who ends a pool is told how many elements are out, wherever they came from. */
static void test_elements_left_out(void **state)
{
    struct dk_machine *machine = make_machine();
    void *elements[4];
    struct stock stock;
    mempool_t pool;

    (void)state;
    stock_init(&stock, 10);
    assert_int_equal(mempool_init(&pool, 2, stock_alloc, stock_free, &stock), 0);
    elements[0] = mempool_alloc(&pool, GFP_KERNEL);
    elements[1] = mempool_alloc_preallocated(&pool);
    elements[2] = mempool_alloc(&pool, GFP_KERNEL);
    elements[3] = mempool_alloc_preallocated(&pool);
    mempool_free(elements[0], &pool);
    mempool_exit(&pool);
    assert_true(logged("mempool_exit: 3 elements of the pool are still out"));
    assert_true(reported("mempool-leak"));
    for (unsigned i = 1; i < 4; i++)
        stock_free(elements[i], &stock);
    assert_int_equal(stock.out, 0);
    unmake_machine(machine);
}

/* ---- Pairs of functions ---- */

static void test_pairs(void **state)
{
    struct dk_machine *machine = make_machine();
    struct kmem_cache *cache = kmem_cache_create("elements", 120, 0, SLAB_RED_ZONE, NULL);
    mempool_t *pools[3], embedded[3] = { 0 };
    unsigned i, j;

    (void)state;
    pools[0] = mempool_create_slab_pool(3, cache);
    pools[1] = mempool_create_kmalloc_pool(3, 500);
    pools[2] = mempool_create_page_pool(3, 1);
    assert_int_equal(mempool_init_slab_pool(&embedded[0], 2, cache), 0);
    assert_int_equal(mempool_init_kmalloc_pool(&embedded[1], 2, 100), 0);
    assert_int_equal(mempool_init_page_pool(&embedded[2], 2, 0), 0);
    for (i = 0; i < 3; i++) {
        void *elements[10];

        assert_non_null(pools[i]);
        for (j = 0; j < 10; j++) {
            elements[j] = mempool_alloc(pools[i], GFP_KERNEL);
            assert_non_null(elements[j]);
            if (i == 2)
                memset(page_address(elements[j]), 1, 2 * PAGE_SIZE);
            else
                memset(elements[j], 1, i ? 500 : 120);
        }
        for (j = 0; j < 10; j++)
            mempool_free(elements[j], pools[i]);
        mempool_destroy(pools[i]);
        elements[0] = mempool_alloc(&embedded[i], GFP_ATOMIC);
        mempool_free(elements[0], &embedded[i]);
        mempool_exit(&embedded[i]);
    }
    kmem_cache_destroy(cache);
    assert_int_equal(lines, 0);
    unmake_machine(machine);
}

static void test_dma_addresses(void **state)
{
    struct dk_machine *machine = make_machine();
    struct stock stock;
    mempool_t *pool, *plain;
    int *elements[4];
    dma_addr_t dma[4];
    unsigned i, round;

    (void)state;
    stock_init(&stock, 4);
    pool = dk_mempool_create_dma(2, stock_alloc_dma, stock_free_dma, &stock);
    assert_non_null(pool);
    assert_null(dk_mempool_create_dma(2, NULL, stock_free_dma, &stock));
    for (round = 0; round < 3; round++) {
        for (i = 0; i < 4; i++) {
            elements[i] = dk_mempool_alloc_dma(pool, GFP_KERNEL, &dma[i]);
            assert_non_null(elements[i]);
            assert_int_equal(dma[i], STOCK_DMA + (dma_addr_t)(elements[i] - stock.elements));
        }
        dma[0] = 5;
        assert_null(dk_mempool_alloc_dma(pool, GFP_ATOMIC, &dma[0]));
        assert_int_equal(dma[0], 5);
        for (i = 0; i < 4; i++)
            dk_mempool_free_dma(elements[(i + round) % 4],
                                STOCK_DMA + (dma_addr_t)(elements[(i + round) % 4] - stock.elements), pool);
        dk_mempool_free_dma(NULL, 0, pool);
    }
    lines = 0;
    assert_null(mempool_alloc(pool, GFP_KERNEL));
    assert_true(logged("mempool_alloc"));
    assert_null(mempool_alloc_preallocated(pool));
    assert_true(logged("mempool_alloc_preallocated"));
    mempool_free(&stock.elements[0], pool);
    assert_true(logged("mempool_free"));
    assert_null(dk_mempool_alloc_dma(pool, GFP_KERNEL, NULL));
    assert_true(logged("no place"));
    mempool_destroy(pool);
    assert_int_equal(stock.out, 0);
    plain = mempool_create(1, stock_alloc, stock_free, &stock);
    assert_null(dk_mempool_alloc_dma(plain, GFP_KERNEL, &dma[0]));
    assert_true(logged("dk_mempool_alloc_dma"));
    dk_mempool_free_dma(&stock.elements[0], STOCK_DMA, plain);
    assert_true(logged("dk_mempool_free_dma"));
    mempool_destroy(plain);
    unmake_machine(machine);
}

/* ---- Scarcity ---- */

static void test_each_failure(void **state)
{
    struct dk_machine *machine = make_machine();
    unsigned long n;

    (void)state;
    for (n = 1; n < 1000; n++) {
        struct kmem_cache *cache;
        mempool_t *pool = NULL;
        void *elements[6];
        unsigned i;

        dk_fail_nth(n);
        cache = kmem_cache_create("scarce", 2000, 0, 0, NULL);
        if (cache)
            pool = mempool_create_slab_pool(3, cache);
        if (pool) {
            for (i = 0; i < 6; i++) {
                /* One failure is no reason for a pool not to have one. */
                elements[i] = mempool_alloc(pool, i & 1 ? GFP_KERNEL : GFP_ATOMIC);
                assert_non_null(elements[i]);
            }
            assert_true(mempool_resize(pool, 5, GFP_KERNEL) <= 0);
            for (i = 0; i < 6; i++)
                mempool_free(elements[i], pool);
            assert_true(mempool_is_saturated(pool));
        }
        mempool_destroy(pool);
        kmem_cache_destroy(cache);
        if (!dk_fail_hits())
            break;
    }
    assert_true(n > 10 && n < 1000);
    dk_fail_nth(0);
    unmake_machine(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_function_first),
        cmocka_unit_test(test_bad_pools),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_first_come_first_served),
        cmocka_unit_test(test_newcomers_do_not_overtake),
        cmocka_unit_test(test_memory_from_elsewhere),
        cmocka_unit_test(test_served_while_asking),
        cmocka_unit_test(test_exit_while_waited_for),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_reports),
        cmocka_unit_test(test_elements_left_out),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_dma_addresses),
        cmocka_unit_test(test_each_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
