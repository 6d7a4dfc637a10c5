/* SPDX-License-Identifier: MIT */
/*
 * Bounce buffers of random sizes, and of several threads at once.
 */
#include "bounce-scene.h"

/* ---- Random ---- */

#define BUFFERS 64
#define STRIDE (256u * KIB) /* between originals */

struct buffer {
    phys_addr_t original, copy;
    size_t size;
    char byte; /* what the device last wrote all over it */
};

/* One of several that work on a pool at once, each on a device and originals of its own. */
struct worker {
    pthread_t thread;
    struct dk_machine *machine;
    struct dk_bounce_pool *pool;
    struct device *dev;
    phys_addr_t originals;
    u64 seed;
    unsigned long rounds, wrong, mapped, full;
    struct buffer buffers[BUFFERS];
};

static bool all_are(const char *bytes, size_t size, char byte)
{
    return size == 0 || (bytes[0] == byte && !memcmp(bytes, bytes + 1, size - 1));
}

static void map_one(struct worker *worker, struct buffer *buffer, u64 number)
{
    static const size_t limits[] = { 64, 2048, 4096, 20000, STRIDE };
    char byte = (char)number;

    buffer->size = 1 + (size_t)(number >> 8) % limits[number >> 32 & 3 ? number >> 34 & 3 : 4];
    memset(dk_memory_cached(worker->machine->memory, buffer->original), byte, buffer->size);
    buffer->copy = dk_bounce_map(worker->pool, worker->dev, buffer->original, buffer->size, 0);
    if (buffer->copy == NOWHERE) {
        worker->full++;
        return;
    }
    worker->mapped++;
    worker->wrong += !all_are(dk_memory_cached(worker->machine->memory, buffer->copy), buffer->size, byte);
    buffer->byte = (char)(number >> 48);
    memset(dk_memory_cached(worker->machine->memory, buffer->copy), buffer->byte, buffer->size);
}

static void unmap_one(struct worker *worker, struct buffer *buffer)
{
    phys_addr_t found;

    worker->wrong += !dk_bounce_original(worker->pool, buffer->copy + buffer->size - 1, &found) ||
                     found != buffer->original + buffer->size - 1;
    dk_bounce_unmap(worker->pool, worker->dev, buffer->copy, buffer->size, DMA_BIDIRECTIONAL, 0);
    worker->wrong +=
        !all_are(dk_memory_cached(worker->machine->memory, buffer->original), buffer->size, buffer->byte);
    buffer->copy = NOWHERE;
}

static void *work(void *data)
{
    struct worker *worker = data;

    for (unsigned i = 0; i < BUFFERS; i++) {
        worker->buffers[i].original = worker->originals + i * STRIDE;
        worker->buffers[i].copy = NOWHERE;
    }
    for (unsigned long i = 0; i < worker->rounds; i++) {
        u64 number = test_random(&worker->seed);
        struct buffer *buffer = &worker->buffers[number >> 56 & (BUFFERS - 1)];

        if (buffer->copy == NOWHERE)
            map_one(worker, buffer, number);
        else
            unmap_one(worker, buffer);
    }
    for (unsigned i = 0; i < BUFFERS; i++) {
        if (worker->buffers[i].copy != NOWHERE)
            unmap_one(worker, &worker->buffers[i]);
    }
    return NULL;
}

static void run_workers(size_t pool_size, unsigned count, unsigned long rounds, bool until_full)
{
    static struct worker workers[4];
    struct scene scene = set(true, pool_size);
    u64 seed = test_seed(0xb0c4ce + count);
    unsigned long full = 0;

    for (unsigned i = 0; i < count; i++) {
        char name[16];

        snprintf(name, sizeof(name), "card%u", i);
        workers[i] = (struct worker){
            .machine = scene.machine,
            .pool = scene.pool,
            .dev = add_device(name),
            .originals = ORIGINALS + (u64)i * BUFFERS * STRIDE,
            .seed = seed * 2654435761u + i + 1,
            .rounds = rounds,
        };
    }
    if (count == 1) {
        work(&workers[0]);
    } else {
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        /* Meanwhile somebody asks. */
        for (unsigned i = 0; i < 2000; i++) {
            phys_addr_t found;

            slots_used(&scene);
            dk_bounce_original(scene.pool, scene.pool->base + i * 1000 % pool_size, &found);
        }
        for (unsigned i = 0; i < count; i++)
            pthread_join(workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(workers[i].wrong, 0);
        assert_true(workers[i].mapped > rounds / 10);
        full += workers[i].full;
    }
    assert_true(until_full ? full > 0 : full == 0);
    assert_int_equal(slots_used(&scene), 0);
    strike(&scene);
}

static void test_random_buffers(void **state)
{
    (void)state;
    run_workers(LARGE + 12 * KIB, 1, test_rounds(100000), false);
    run_workers(SMALL + 4 * KIB, 1, test_rounds(100000), true);
}

static void test_threads(void **state)
{
    (void)state;
    run_workers(3 * MIB, 4, test_rounds(20000), true);
    run_workers(LARGE, 4, test_rounds(20000), false);
}

/* Buffers that one thread maps and another unmaps move slots from magazine to magazine. */
struct belt {
    struct worker *worker;
    phys_addr_t copies[64]; /* atomic; 0: empty */
    unsigned long wrong;
};

static void *unmap_from_belt(void *data)
{
    struct belt *belt = data;
    unsigned long i;

    for (i = 0; i < belt->worker->rounds; i++) {
        phys_addr_t *place = &belt->copies[i % 64], copy;

        while (!(copy = __atomic_load_n(place, __ATOMIC_ACQUIRE)))
            sched_yield();
        dk_bounce_unmap(belt->worker->pool, belt->worker->dev, copy, 3000, DMA_TO_DEVICE, 0);
        __atomic_store_n(place, 0, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void test_other_threads_buffers(void **state)
{
    struct scene scene = set(true, LARGE);
    struct worker worker = { .pool = scene.pool, .dev = scene.dev, .rounds = test_rounds(50000) };
    static struct belt belt;
    u64 slots, used, most;
    unsigned long i;

    (void)state;
    belt = (struct belt){ .worker = &worker };
    assert_int_equal(pthread_create(&worker.thread, NULL, unmap_from_belt, &belt), 0);
    for (i = 0; i < worker.rounds; i++) {
        phys_addr_t *place = &belt.copies[i % 64], copy;

        while (__atomic_load_n(place, __ATOMIC_ACQUIRE))
            sched_yield();
        copy = dk_bounce_map(scene.pool, scene.dev, ORIGINALS, 3000, 0);
        assert_true(copy != NOWHERE);
        __atomic_store_n(place, copy, __ATOMIC_RELEASE);
    }
    pthread_join(worker.thread, NULL);
    dk_bounce_usage(scene.pool, &slots, &used, &most);
    assert_int_equal(used, 0);
    assert_in_range(most, 2, 2048);
    strike(&scene);
}

/* More threads than have a number: some go without magazines. */
#define CROWD (DK_THREAD_NUMBERS + 10)

struct member {
    pthread_t thread;
    struct scene *scene;
    pthread_barrier_t *barrier;
    unsigned index;
    bool numbered, wrong;
};

static void *map_in_a_crowd(void *data)
{
    struct member *member = data;
    phys_addr_t original = ORIGINALS + member->index * 4096, copies[3];

    member->numbered = dk_thread_number() < DK_THREAD_NUMBERS;
    memset(cached(member->scene, original), (int)member->index, 4096);
    for (unsigned i = 0; i < 3; i++)
        copies[i] = dk_bounce_map(member->scene->pool, member->scene->dev, original, 1000, 0);
    pthread_barrier_wait(member->barrier);
    for (unsigned i = 0; i < 3; i++) {
        member->wrong = member->wrong || copies[i] == NOWHERE ||
                        !all_are(cached(member->scene, copies[i]), 1000, (char)member->index);
        dk_bounce_unmap(member->scene->pool, member->scene->dev, copies[i], 1000, DMA_BIDIRECTIONAL, 0);
    }
    return NULL;
}

static void test_a_crowd(void **state)
{
    static struct member members[CROWD];
    struct scene scene = set(true, LARGE);
    pthread_barrier_t barrier;
    unsigned without = 0;

    (void)state;
    pthread_barrier_init(&barrier, NULL, CROWD);
    for (unsigned i = 0; i < CROWD; i++) {
        members[i] = (struct member){ .scene = &scene, .barrier = &barrier, .index = i };
        assert_int_equal(pthread_create(&members[i].thread, NULL, map_in_a_crowd, &members[i]), 0);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        pthread_join(members[i].thread, NULL);
        assert_false(members[i].wrong);
        without += !members[i].numbered;
    }
    assert_in_range(without, 10, CROWD - 1);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(slots_used(&scene), 0);
    strike(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_buffers),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_other_threads_buffers),
        cmocka_unit_test(test_a_crowd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
