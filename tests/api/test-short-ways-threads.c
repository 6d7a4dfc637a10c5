/* SPDX-License-Identifier: MIT */
/*
 * The checker's short ways with threads: a device that two threads use, devices that share memory, threads
 * that end, and each lock at the moment when its first owner loses it.
 */
#include "api.h"

#include <pthread.h>

#define SIZE 256
#define BUFFERS 4

struct worker {
    struct dk_machine *machine;
    struct device *dev;
    char *buffers[BUFFERS];
    unsigned rounds;
    bool access; /* the device moves bytes */
    dma_addr_t (*map)(struct device *dev, char *buffer);
    pthread_barrier_t *start; /* NULL: at once */
};

static __attribute__((noinline)) dma_addr_t map_first(struct device *dev, char *buffer)
{
    dma_addr_t dma = dma_map_single(dev, buffer, SIZE, DMA_FROM_DEVICE);

    __asm__ volatile("" ::: "memory");
    return dma;
}

static __attribute__((noinline)) dma_addr_t map_second(struct device *dev, char *buffer)
{
    dma_addr_t dma = dma_map_single(dev, buffer, SIZE, DMA_FROM_DEVICE);

    __asm__ volatile("" ::: "memory");
    return dma;
}

static void *work(void *data)
{
    struct worker *worker = data;
    char bytes[SIZE] = { 0 };

    if (worker->start)
        pthread_barrier_wait(worker->start);
    for (unsigned i = 0; i < worker->rounds; i++) {
        char *buffer = worker->buffers[i % BUFFERS];
        dma_addr_t dma = worker->map(worker->dev, buffer);

        if (dma_mapping_error(worker->dev, dma))
            break;
        if (worker->access) {
            memset(bytes, (int)i, sizeof(bytes));
            dk_master_write(worker->dev, dma, bytes, i % 3 ? SIZE : 1 + i % SIZE);
            dma_sync_single_for_cpu(worker->dev, dma, SIZE, DMA_FROM_DEVICE);
        }
        dma_unmap_single(worker->dev, dma, SIZE, DMA_FROM_DEVICE);
    }
    return NULL;
}

static void get_buffers(struct worker *worker)
{
    for (unsigned i = 0; i < BUFFERS; i++) {
        worker->buffers[i] = kzalloc(SIZE, GFP_KERNEL);
        assert_non_null(worker->buffers[i]);
    }
}

static void put_buffers(struct worker *worker)
{
    for (unsigned i = 0; i < BUFFERS; i++)
        kfree(worker->buffers[i]);
}

static void run_both(struct worker *one, struct worker *two)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, work, two), 0);
    work(one);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- Two devices have the same buffers mapped ---- */

static bool has_function(const struct dk_frames *stack, const char *name)
{
    for (unsigned i = 0; i < stack->count; i++) {
        if (stack->frames[i].function && !strcmp(stack->frames[i].function, name))
            return true;
    }
    return false;
}

struct blame {
    unsigned count, wrong;
};

/* The other device's mapping was made in the other thread's function. */
static void look_at_blame(const struct dk_report *report, void *data)
{
    struct blame *blame = data;
    bool first = strstr(report->device, "first");

    if (strcmp(report->class_name, "overlapping-lines"))
        return;
    blame->count++;
    if (!has_function(&report->mapping.stack, first ? "map_second" : "map_first"))
        blame->wrong++;
}

static void test_devices_share_memory(void **state)
{
    int depth;

    (void)state;
    for (depth = 1; depth <= 2; depth++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, depth);
        struct device *third = device_below(machine, "bus", "third");
        struct worker one = {
            .machine = machine,
            .dev = device_below(machine, "bus", "first"),
            .rounds = seeds(2) > 1 ? 100000 : 3000,
            .map = map_first,
        };
        struct worker two = one;
        struct blame blame = { 0 };
        unsigned long reports;

        two.dev = device_below(machine, "bus", "second");
        two.map = map_second;
        dk_check_set_sink(machine, ignore_report, NULL);
        get_buffers(&one);
        memcpy(two.buffers, one.buffers, sizeof(two.buffers));
        run_both(&one, &two);
        dk_check_each(machine, look_at_blame, &blame);
        assert_int_equal(blame.wrong, 0);
        reports = dk_check_count(machine, NULL);
        assert_int_equal(reports, dk_check_count(machine, "overlapping-lines"));
        /* Nobody is counted in the lines any more. */
        one.dev = third;
        one.rounds = BUFFERS;
        work(&one);
        put_buffers(&one);
        assert_int_equal(dk_machine_destroy(machine), reports);
    }
}

/* ---- Two threads use one device ---- */

static void test_one_device(void **state)
{
    int depth;

    (void)state;
    for (depth = 1; depth <= 2; depth++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, depth);
        struct worker one = {
            .machine = machine,
            .dev = device_below(machine, "bus", "one"),
            .rounds = seeds(2) > 1 ? 100000 : 3000,
            .access = true,
            .map = map_first,
        };
        struct worker two = one;

        two.map = map_second;
        get_buffers(&one);
        get_buffers(&two);
        run_both(&one, &two);
        put_buffers(&one);
        put_buffers(&two);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* ---- Short and general ways at once ---- */

#define LIVE 8

struct mixer {
    struct worker worker;
    u64 random;
};

static unsigned draw(struct mixer *mixer, unsigned below)
{
    mixer->random = mixer->random * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)(mixer->random >> 33) % below;
}

struct mixed {
    bool used, by_page;
    enum dma_data_direction direction;
    dma_addr_t dma;
    size_t size;
};

static void unmap_mixed(struct device *dev, struct mixed *mixed)
{
    if (mixed->used && mixed->by_page)
        dma_unmap_page(dev, mixed->dma, mixed->size, mixed->direction);
    else if (mixed->used)
        dma_unmap_single(dev, mixed->dma, mixed->size, mixed->direction);
    mixed->used = false;
}

/* Parts of buffers that others map too, all of it right; but two at once may share lines. */
static void *mix(void *data)
{
    struct mixer *mixer = data;
    struct device *dev = mixer->worker.dev;
    struct mixed live[LIVE] = { 0 };
    unsigned i;

    for (i = 0; i < mixer->worker.rounds; i++) {
        struct mixed *mixed = &live[draw(mixer, LIVE)];
        char *cpu = mixer->worker.buffers[draw(mixer, BUFFERS)] + 32 * draw(mixer, 4);

        if (mixed->used && draw(mixer, 3) == 0) {
            dma_sync_single_for_cpu(dev, mixed->dma, mixed->size, mixed->direction);
            dma_sync_single_for_device(dev, mixed->dma, mixed->size, mixed->direction);
        }
        unmap_mixed(dev, mixed);
        mixed->direction = (enum dma_data_direction)draw(mixer, 3);
        mixed->by_page = draw(mixer, 4) == 0;
        mixed->size = 1 + draw(mixer, 128);
        mixed->dma = mixed->by_page ? dma_map_page(dev, virt_to_page(cpu), offset_in_page(cpu), mixed->size,
                                                   mixed->direction)
                                    : dma_map_single(dev, cpu, mixed->size, mixed->direction);
        mixed->used = !dma_mapping_error(dev, mixed->dma);
    }
    for (i = 0; i < LIVE; i++)
        unmap_mixed(dev, &live[i]);
    return NULL;
}

static void test_ways_mixed(void **state)
{
    int depth;

    (void)state;
    for (depth = 1; depth <= 2; depth++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, depth);
        struct mixer one = {
            .worker = {
                .machine = machine,
                .dev = device_below(machine, "bus", "first"),
                .rounds = seeds(2) > 1 ? 100000 : 4000,
                .map = map_first,
            },
            .random = 1,
        };
        struct mixer two = one;
        unsigned long reports, sharing;
        pthread_t thread;

        two.worker.dev = device_below(machine, "bus", "second");
        two.random = 2;
        dk_check_set_sink(machine, ignore_report, NULL);
        get_buffers(&one.worker);
        memcpy(two.worker.buffers, one.worker.buffers, sizeof(two.worker.buffers));
        assert_int_equal(pthread_create(&thread, NULL, mix, &two), 0);
        mix(&one);
        assert_int_equal(pthread_join(thread, NULL), 0);
        reports = dk_check_count(machine, NULL);
        sharing = dk_check_count(machine, "overlapping-lines") + dk_check_count(machine, "overlap-overflow");
        /* What is legal in one direction is not in another: syncs that the direction does not need. */
        sharing += dk_check_count(machine, "sync-readonly-for-cpu") +
                   dk_check_count(machine, "sync-writeonly-for-device");
        assert_int_equal(reports, sharing);
        /* Nobody is counted in the lines any more. */
        one.worker.dev = device_below(machine, "bus", "third");
        one.worker.rounds = BUFFERS;
        work(&one.worker);
        put_buffers(&one.worker);
        assert_int_equal(dk_machine_destroy(machine), reports);
    }
}

/* ---- Threads that come and end, while the first goes on ---- */

static void *come_and_go(void *data)
{
    struct worker *worker = data;
    unsigned i;

    for (i = 0; i < 50; i++) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, work, worker), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
    return NULL;
}

static void test_threads_end(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 2);
    struct worker one = {
        .machine = machine,
        .dev = device_below(machine, "bus", "one"),
        .rounds = 20000,
        .access = true,
        .map = map_first,
    };
    struct worker two = one;
    pthread_t thread;

    (void)state;
    two.rounds = 20;
    get_buffers(&one);
    get_buffers(&two);
    /* Their locks are the first's who ended, at first. */
    come_and_go(&two);
    assert_int_equal(pthread_create(&thread, NULL, come_and_go, &two), 0);
    work(&one);
    assert_int_equal(pthread_join(thread, NULL), 0);
    put_buffers(&one);
    put_buffers(&two);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* What a thread still does when it has given its number back. */
static void work_at_the_end(void *data)
{
    work(data);
}

struct ending {
    pthread_key_t key;
    struct worker *worker;
};

static void *set_and_end(void *data)
{
    struct ending *ending = data;

    return pthread_setspecific(ending->key, ending->worker) ? NULL : work(ending->worker);
}

static void test_works_at_its_end(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 2);
    struct worker worker = {
        .machine = machine,
        .dev = device_below(machine, "bus", "one"),
        .rounds = 20,
        .access = true,
        .map = map_first,
    };
    struct ending ending = { .worker = &worker };
    unsigned i;

    (void)state;
    assert_int_equal(pthread_key_create(&ending.key, work_at_the_end), 0);
    get_buffers(&worker);
    for (i = 0; i < 20; i++) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, set_and_end, &ending), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        if (i % 2)
            work(&worker);
    }
    put_buffers(&worker);
    pthread_key_delete(ending.key);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- Locks that their owner loses ---- */

/* The first thread owns the device's lock, and is in and out of it when the second comes. */
static void lose_locks(struct dk_machine *machine, unsigned round)
{
    pthread_barrier_t start;
    struct worker one = {
        .machine = machine,
        .rounds = 300,
        .access = round % 2,
        .map = map_first,
    };
    struct worker two;
    char name[16];

    snprintf(name, sizeof(name), "dev%u", round);
    one.dev = device_below(machine, "bus", name);
    get_buffers(&one);
    work(&one);
    two = one;
    two.map = map_second;
    get_buffers(&two);
    pthread_barrier_init(&start, NULL, 2);
    one.start = two.start = &start;
    run_both(&one, &two);
    pthread_barrier_destroy(&start);
    put_buffers(&one);
    put_buffers(&two);
    dk_device_remove(one.dev);
}

static void test_owners_lose_locks(void **state)
{
    const unsigned machines = seeds(2) > 1 ? 40 : 6;

    (void)state;
    for (unsigned i = 0; i < machines; i++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 1 + (int)(i % 2));

        /* The machine's own locks are lost in the first round, the devices' in each. */
        for (unsigned round = 0; round < 10; round++)
            lose_locks(machine, round);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_share_memory), cmocka_unit_test(test_one_device),
        cmocka_unit_test(test_ways_mixed),           cmocka_unit_test(test_threads_end),
        cmocka_unit_test(test_works_at_its_end),     cmocka_unit_test(test_owners_lose_locks),
    };

    return cmocka_run_group_tests_name("short-ways-threads", tests, NULL, NULL);
}
