/* SPDX-License-Identifier: MIT */
/*
 * What happens when a bounce pool has no more slots, and what its threads keep of them.
 */
#include "bounce-scene.h"

/* ---- When there are no more ---- */

static void test_exhaustion(void **state)
{
    static const char *const names[] = { "least", "much", "more", "most" };
    static phys_addr_t copies[4][16];
    struct scene scene = set(true, SMALL);
    struct device *devices[4];
    u64 slots, used, most;
    unsigned lines, i, j;

    (void)state;
    for (i = 0; i < 4; i++) {
        devices[i] = add_device(names[i]);
        /* 8 KiB for each device's place in the order, 80 in all; as many buffers of 8 KiB. */
        for (j = 0; j <= i; j++) {
            copies[i][j] = dk_bounce_map(scene.pool, devices[i], ORIGINALS, 8192, 0);
            assert_true(copies[i][j] != NOWHERE);
        }
    }
    /* 256 KiB are one segment; of the other 176 KiB are left. */
    scene.dev = devices[3];
    copies[3][4] = map(&scene, ORIGINALS, 256 * KIB, 0);
    copies[3][5] = map(&scene, ORIGINALS, 128 * KIB, 0);
    copies[3][6] = map(&scene, ORIGINALS, 48 * KIB, 0);
    assert_true(copies[3][4] != NOWHERE && copies[3][5] != NOWHERE && copies[3][6] != NOWHERE);
    assert_int_equal(slots_used(&scene), 256);
    assert_int_equal(log_lines(), 0);

    assert_true(map(&scene, ORIGINALS, 100, DMA_ATTR_NO_WARN) == NOWHERE);
    assert_int_equal(log_lines(), 0);
    /* A driver that tries again and again does not flood the log. */
    for (i = 0; i < 1000; i++)
        assert_true(map(&scene, ORIGINALS, 100, 0) == NOWHERE);
    lines = log_lines();
    assert_in_range(lines, 1, 100);
    scene.pool->quiet_until = 0;
    assert_true(map(&scene, ORIGINALS, 100, 0) == NOWHERE);
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(log_last(),
                           "bounce pool test: no room for 100 bytes of /soc/most: 256 of 256 slots are "
                           "used by /soc/most (475136 bytes in 7 buffers), /soc/more (24576 bytes in "
                           "3 buffers), /soc/much (16384 bytes in 2 buffers)"));
    assert_non_null(strstr(log_last(), "lines like this were left out"));
    assert_null(strstr(log_last(), "least"));

    /* One buffer back, and there is room again. */
    unmap(&scene, copies[1][1], 8192, DMA_TO_DEVICE, 0);
    copies[1][1] = map(&scene, ORIGINALS, 8192, 0);
    assert_true(copies[1][1] != NOWHERE);

    for (i = 0; i < 4; i++) {
        for (j = 0; copies[i][j]; j++)
            dk_bounce_unmap(scene.pool, devices[i], copies[i][j], 1, DMA_TO_DEVICE, 0);
    }
    dk_bounce_usage(scene.pool, &slots, &used, &most);
    assert_int_equal(slots, 256);
    assert_int_equal(used, 0);
    assert_int_equal(most, 256);
    strike(&scene);
}

/* Names that do not fit are cut off, and so is the list of who holds the pool. */
static void test_long_names(void **state)
{
    struct scene scene = set(true, SMALL);
    struct device *devices[3];
    char name[400];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        memset(name, 'a' + (int)i, sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        devices[i] = add_device(name);
        assert_true(dk_bounce_map(scene.pool, devices[i], ORIGINALS, (3 - i) * 8192, 0) != NOWHERE);
    }
    dk_bounce_destroy(scene.pool);
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(log_last(), "24 of its 256 slots are used by /soc/aaa"));
    assert_non_null(strstr(log_last(), "a (24576 bytes in 1 buffer), /soc/bbb"));
    assert_null(strstr(log_last(), "ccc"));
    dk_pages_give(scene.machine->memory, scene.pages, scene.count + 1);
    dispose(scene.composed);
}

/* What a thread keeps for itself is there for it when it is needed, in any size. */
static void test_all_of_it(void **state)
{
    static phys_addr_t copies[LARGE / 2048];
    struct scene scene = set(true, LARGE);

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (size_t size = 2048; size <= 256 * KIB; size *= 2) {
            unsigned count = LARGE / (unsigned)size;

            for (unsigned i = 0; i < count; i++) {
                copies[i] = map(&scene, ORIGINALS, size, 0);
                assert_true(copies[i] != NOWHERE);
            }
            assert_int_equal(slots_used(&scene), LARGE / 2048);
            assert_true(map(&scene, ORIGINALS, 1, DMA_ATTR_NO_WARN) == NOWHERE);
            while (count--)
                unmap(&scene, copies[count], size, DMA_TO_DEVICE, 0);
            assert_int_equal(slots_used(&scene), 0);
        }
    }
    assert_int_equal(log_lines(), 0);
    strike(&scene);
}

#define IDLERS 64

struct idler {
    pthread_t thread;
    struct scene *scene;
    pthread_barrier_t *barrier;
};

/* A burst of each size, all given back; then nothing, and then the end. */
static void *map_and_idle(void *data)
{
    struct idler *idler = data;
    phys_addr_t copies[8];

    for (size_t size = 2048; size <= 128 * KIB; size *= 2) {
        for (unsigned i = 0; i < 8; i++)
            copies[i] =
                dk_bounce_map(idler->scene->pool, idler->scene->dev, ORIGINALS, size, DMA_ATTR_NO_WARN);
        for (unsigned i = 0; i < 8; i++) {
            if (copies[i] != NOWHERE)
                dk_bounce_unmap(idler->scene->pool, idler->scene->dev, copies[i], size, DMA_TO_DEVICE, 0);
        }
    }
    pthread_barrier_wait(idler->barrier);
    pthread_barrier_wait(idler->barrier);
    return NULL;
}

/* What other threads keep for themselves, ended ones too, leaves most of the pool for who needs it, and the
 * log tells of it. */
static void test_what_others_keep(void **state)
{
    static struct idler idlers[IDLERS];
    static phys_addr_t copies[LARGE / (128 * KIB)];
    struct scene scene = set(true, LARGE);
    pthread_barrier_t barrier;

    (void)state;
    pthread_barrier_init(&barrier, NULL, IDLERS + 1);
    for (unsigned i = 0; i < IDLERS; i++) {
        idlers[i] = (struct idler){ .scene = &scene, .barrier = &barrier };
        assert_int_equal(pthread_create(&idlers[i].thread, NULL, map_and_idle, &idlers[i]), 0);
    }
    pthread_barrier_wait(&barrier);
    /* They would keep more: a fourth of the pool is promised, to the last slot. */
    assert_int_equal(scene.pool->promised, LARGE / DK_BOUNCE_SLOT / 4);
    for (unsigned ended = 0; ended < 2; ended++) {
        unsigned count = 0;

        assert_int_equal(slots_used(&scene), 0);
        scene.pool->quiet_until = 0;
        log_lines();
        while ((copies[count] = map(&scene, ORIGINALS, 128 * KIB, 0)) != NOWHERE)
            count++;
        assert_int_equal(log_lines(), 1);
        assert_non_null(strstr(log_last(), "are kept by threads for their next buffers"));
        assert_in_range(count, LARGE / (128 * KIB) / 2, LARGE / (128 * KIB) - 1);
        while (count--)
            unmap(&scene, copies[count], 128 * KIB, DMA_TO_DEVICE, 0);
        if (ended)
            break;
        pthread_barrier_wait(&barrier);
        for (unsigned i = 0; i < IDLERS; i++)
            pthread_join(idlers[i].thread, NULL);
    }
    pthread_barrier_destroy(&barrier);
    strike(&scene);
}

static void map_and_unmap_many(struct scene *scene, unsigned count, size_t size)
{
    static phys_addr_t copies[LARGE / DK_BOUNCE_SLOT / 4];

    for (unsigned i = 0; i < count; i++)
        copies[i] = map(scene, ORIGINALS, size, 0);
    for (unsigned i = 0; i < count; i++)
        unmap(scene, copies[i], size, DMA_TO_DEVICE, 0);
}

/* The slots that no buffer uses and that are not there for everybody either. */
static u64 slots_kept(const struct scene *scene)
{
    u64 taken, most;

    assert_int_equal(slots_used(scene), 0);
    dk_bounce_slots_usage(scene->pool->slots, &taken, &most);
    return taken;
}

/* A thread is promised two magazines of each size, and nothing more however long it goes on: 16 slots of each
 * are a 512th of the pool, and of 64 KiB there would be none. */
static void test_what_a_thread_keeps(void **state)
{
    struct scene scene = set(true, LARGE);
    u64 kept, before = 0;

    (void)state;
    for (unsigned order = 0; order < 6; order++) {
        for (unsigned round = 0; round < 200; round++)
            map_and_unmap_many(&scene, 50, (size_t)DK_BOUNCE_SLOT << order);
        kept = slots_kept(&scene);
        assert_true(order < 5 ? kept > before : kept == before);
        assert_int_equal(scene.pool->promised, (order < 5 ? order + 1 : 5) * 2 * 16);
        before = kept;
    }
    strike(&scene);
}

static void *map_once(void *data)
{
    map_and_unmap_many(data, 1, DK_BOUNCE_SLOT);
    return NULL;
}

/* Who comes after a thread that has mapped a lot keeps some for itself as well. */
static void test_a_thread_that_comes_late(void **state)
{
    struct scene scene = set(true, LARGE);
    pthread_t thread;
    u64 before;

    (void)state;
    for (unsigned round = 0; round < 1000; round++)
        map_and_unmap_many(&scene, 1, DK_BOUNCE_SLOT);
    before = slots_kept(&scene);
    assert_int_equal(pthread_create(&thread, NULL, map_once, &scene), 0);
    pthread_join(thread, NULL);
    assert_true(slots_kept(&scene) > before);
    strike(&scene);
}

static void test_the_most_there_were(void **state)
{
    struct scene scene = set(true, LARGE);
    phys_addr_t copies[10];
    u64 slots, used, most;

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 10; i++)
            copies[i] = map(&scene, ORIGINALS, 2048, 0);
        for (unsigned i = 0; i < 10; i++)
            unmap(&scene, copies[i], 2048, DMA_TO_DEVICE, 0);
        dk_bounce_usage(scene.pool, &slots, &used, &most);
        assert_int_equal(slots, LARGE / 2048);
        assert_int_equal(used, 0);
        /* The thread keeps some for itself, which nobody else could have had. */
        assert_in_range(most, 10, 10 + 32);
    }
    strike(&scene);
}

static void test_left_behind(void **state)
{
    struct scene scene = set(true, LARGE);

    (void)state;
    assert_true(map(&scene, ORIGINALS, 5000, 0) != NOWHERE);
    dk_bounce_destroy(scene.pool);
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(log_last(),
                           "goes while 4 of its 8192 slots are used by /soc/card (5000 bytes in 1 "
                           "buffer)"));
    dk_bounce_destroy(NULL);
    dispose(scene.composed);
}

static void test_create_refuses(void **state)
{
    static const struct {
        phys_addr_t phys;
        u64 size;
    } cases[] = {
        { 0, 0 },          { 0, 256 * KIB - 4096 },     { 0, 256 * KIB + 2048 }, { 2048, 256 * KIB },
        { RAM_SIZE, MIB }, { RAM_SIZE - MIB, 2 * MIB }, { -4096ull, MIB },       { 0, ~0ull & ~4095ull },
    };
    struct composed *composed = compose(&(struct shape){ .coherent = true });

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct dk_bounce_pool *pool =
            dk_bounce_create(&composed->machine, cases[i].phys, cases[i].size, "wrong");

        assert_true(IS_ERR(pool));
        assert_int_equal(PTR_ERR(pool), -EINVAL);
    }
    dispose(composed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exhaustion),          cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_all_of_it),           cmocka_unit_test(test_what_others_keep),
        cmocka_unit_test(test_what_a_thread_keeps), cmocka_unit_test(test_a_thread_that_comes_late),
        cmocka_unit_test(test_the_most_there_were), cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_create_refuses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
