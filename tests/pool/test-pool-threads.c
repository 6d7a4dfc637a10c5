/* SPDX-License-Identifier: MIT */
/*
 * One pool in many threads: no block is two threads' at once, whoever frees it; more threads than there are
 * caches; and a listing meanwhile.
 */
#include "pool.h"

#include <pthread.h>
#include <sched.h>

#define THREADS 4u
#define RING 256u
#define SIZE 64u

static unsigned long operations(void)
{
    return SLOW_HERE || getenv("DMAKIT_TEST_FAST") ? 20000 : 300000;
}

struct shared {
    struct device *dev;
    struct dma_pool *pool;
    pthread_mutex_t lock;
    struct held {
        u64 *cpu;
        dma_addr_t dma;
    } ring[RING]; /* blocks that wait for another thread; guarded by lock */
    unsigned waiting;
    unsigned next;     /* thread; atomic */
    unsigned failures; /* atomic */
    bool ends;         /* atomic */
};

/* The block is this thread's: nobody else writes it. */
static void mark(struct shared *shared, struct held held, u64 value)
{
    unsigned i;

    for (i = 0; i < SIZE / sizeof(u64); i++)
        held.cpu[i] = value;
    for (i = 0; i < SIZE / sizeof(u64); i++) {
        if (held.cpu[i] != value)
            __atomic_add_fetch(&shared->failures, 1, __ATOMIC_RELAXED);
    }
}

/* Leaves @held for another thread, and takes one that waits; .cpu NULL: none does. */
static struct held exchange(struct shared *shared, struct held held, u64 random)
{
    struct held other = { NULL, 0 };

    pthread_mutex_lock(&shared->lock);
    if (shared->waiting && (random & 1 || shared->waiting == RING))
        other = shared->ring[--shared->waiting];
    if (held.cpu && shared->waiting < RING) {
        shared->ring[shared->waiting++] = held;
        held.cpu = NULL;
    }
    pthread_mutex_unlock(&shared->lock);
    if (held.cpu)
        dma_pool_free(shared->pool, held.cpu, held.dma);
    return other;
}

static void *storm(void *data)
{
    struct shared *shared = data;
    u64 number = __atomic_add_fetch(&shared->next, 1, __ATOMIC_RELAXED);
    u64 random = number * 0x9e3779b97f4a7c15ull;
    struct held held[600];
    unsigned count = 0;
    unsigned long i, limit = operations();

    for (i = 0; i < limit; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if (count < 600 && (i / 2000 % 2 ? random % 8 < 5 : random % 8 < 3)) {
            struct held *got = &held[count];

            got->cpu = dma_pool_alloc(shared->pool, GFP_KERNEL, &got->dma);
            if (!got->cpu) {
                __atomic_add_fetch(&shared->failures, 1, __ATOMIC_RELAXED);
                break;
            }
            mark(shared, *got, number << 32 | i);
            count++;
        } else if (count) {
            unsigned index = (unsigned)(random >> 8) % count;
            struct held one = held[index];

            held[index] = held[--count];
            mark(shared, one, number << 32);
            if (random >> 40 & 3) {
                dma_pool_free(shared->pool, one.cpu, one.dma);
            } else {
                one = exchange(shared, one, random >> 50);
                if (one.cpu)
                    dma_pool_free(shared->pool, one.cpu, one.dma);
            }
        }
    }
    while (count--)
        dma_pool_free(shared->pool, held[count].cpu, held[count].dma);
    return NULL;
}

static void *watch(void *data)
{
    struct shared *shared = data;
    char text[256];

    while (!__atomic_load_n(&shared->ends, __ATOMIC_ACQUIRE)) {
        if (dk_device_pools(shared->dev, text, sizeof(text)) < 0)
            __atomic_add_fetch(&shared->failures, 1, __ATOMIC_RELAXED);
        sched_yield();
    }
    return NULL;
}

static void run_storm(const struct pool_place *place, int depth, size_t size)
{
    struct shared shared = { .waiting = 0 };
    pthread_t threads[THREADS], watcher;
    struct dk_machine *machine;
    unsigned i;

    pthread_mutex_init(&shared.lock, NULL);
    shared.dev = pool_device(place, depth, &machine);
    shared.pool = dma_pool_create("storm", shared.dev, size, 0, 0);
    assert_non_null(shared.pool);
    for (i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, storm, &shared), 0);
    assert_int_equal(pthread_create(&watcher, NULL, watch, &shared), 0);
    for (i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    __atomic_store_n(&shared.ends, true, __ATOMIC_RELEASE);
    pthread_join(watcher, NULL);
    assert_int_equal(pool_numbers(shared.dev).used, shared.waiting);
    while (shared.waiting--)
        dma_pool_free(shared.pool, shared.ring[shared.waiting].cpu, shared.ring[shared.waiting].dma);
    assert_int_equal(shared.failures, 0);
    assert_int_equal(pool_numbers(shared.dev).used, 0);
    dma_pool_destroy(shared.pool);
    pthread_mutex_destroy(&shared.lock);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void no_block_is_two_threads(void **state)
{
    (void)state;
    run_storm(&pool_places[0], 0, SIZE);
    run_storm(&pool_places[0], 0, SIZE + 8);
    run_storm(&pool_places[1], 0, SIZE);
}

static void with_the_checker_on(void **state)
{
    (void)state;
    run_storm(&pool_places[0], 1, SIZE);
    run_storm(&pool_places[5], 2, SIZE);
}

/* ---- More threads than numbers ---- */

struct crowd {
    struct dma_pool *pool;
    pthread_barrier_t all;
};

static void *be_one_of_many(void *data)
{
    struct crowd *crowd = data;
    struct held held[20];
    unsigned i;

    /* All live at once, so that some have no cache. */
    pthread_barrier_wait(&crowd->all);
    for (i = 0; i < 20; i++) {
        held[i].cpu = dma_pool_alloc(crowd->pool, GFP_KERNEL, &held[i].dma);
        if (!held[i].cpu)
            return data;
        *held[i].cpu = (uintptr_t)held + i;
    }
    pthread_barrier_wait(&crowd->all);
    for (i = 0; i < 20; i++) {
        if (*held[i].cpu != (uintptr_t)held + i)
            return data;
        dma_pool_free(crowd->pool, held[i].cpu, held[i].dma);
    }
    pthread_barrier_wait(&crowd->all);
    return NULL;
}

static void more_threads_than_caches(void **state)
{
    enum { CROWD = 300 };
    static pthread_t threads[CROWD];
    struct crowd crowd;
    struct dk_machine *machine;
    struct device *dev = pool_device(&pool_places[0], 0, &machine);
    pthread_attr_t small;
    void *result;
    size_t i;

    (void)state;
    crowd.pool = dma_pool_create("crowd", dev, 40, 0, 0);
    pthread_barrier_init(&crowd.all, NULL, CROWD);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, (size_t)256 << 10);
    for (i = 0; i < CROWD; i++)
        assert_int_equal(pthread_create(&threads[i], &small, be_one_of_many, &crowd), 0);
    for (i = 0; i < CROWD; i++) {
        assert_int_equal(pthread_join(threads[i], &result), 0);
        assert_null(result);
    }
    assert_int_equal(pool_numbers(dev).used, 0);
    pthread_attr_destroy(&small);
    pthread_barrier_destroy(&crowd.all);
    dma_pool_destroy(crowd.pool);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Pools that come and go ---- */

static void *make_pools(void *data)
{
    struct device *dev = data;
    unsigned i;

    for (i = 0; i < 200; i++) {
        struct dma_pool *pool = dma_pool_create("short", dev, 64 + i, 0, 0);
        dma_addr_t dma;
        void *cpu = dma_pool_alloc(pool, GFP_KERNEL, &dma);

        if (!cpu)
            return data;
        dma_pool_free(pool, cpu, dma);
        dma_pool_destroy(pool);
    }
    return NULL;
}

static void pools_come_and_go(void **state)
{
    int depth;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        struct dk_machine *machine;
        struct device *dev = pool_device(&pool_places[1], depth, &machine);
        pthread_t threads[THREADS];
        void *result;
        unsigned i;

        for (i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, make_pools, dev), 0);
        for (i = 0; i < THREADS; i++) {
            pthread_join(threads[i], &result);
            assert_null(result);
        }
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_block_is_two_threads),
        cmocka_unit_test(with_the_checker_on),
        cmocka_unit_test(more_threads_than_caches),
        cmocka_unit_test(pools_come_and_go),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("pool-threads", tests, NULL, NULL);
}
