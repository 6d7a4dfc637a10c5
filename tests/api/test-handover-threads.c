/* SPDX-License-Identifier: MIT */
/*
 * Depth 2 with threads: no report of what is right, whatever a device writes meanwhile, and none lost or
 * doubled of what is wrong. And without memory: nothing wrong is said.
 */
#include "handover.h"

#include <pthread.h>

#define SIZE 512
#define THREADS 3

struct worker {
    struct dk_machine *machine;
    struct device *dev;
    unsigned rounds;
    unsigned mistakes; /* made */
    pthread_t thread;
};

/* A network driver's life, with a store too late in one round of seven. */
static void *work(void *data)
{
    struct worker *worker = data;
    char *buffer, bytes[SIZE];
    dma_addr_t dma;

    dk_machine_enter(worker->machine);
    buffer = kmalloc(SIZE, GFP_KERNEL);
    for (unsigned i = 0; i < worker->rounds; i++) {
        enum dma_data_direction direction = i % 3 ? DMA_FROM_DEVICE : DMA_BIDIRECTIONAL;

        memset(buffer, (int)i, SIZE);
        dma = dma_map_single(worker->dev, buffer, SIZE, direction);
        if (dma_mapping_error(worker->dev, dma))
            break;
        memset(bytes, (int)i + 1, SIZE);
        dk_master_write(worker->dev, dma + i % 100, bytes, 300);
        dma_sync_single_for_cpu(worker->dev, dma, SIZE, direction);
        buffer[i % SIZE]++;
        dma_sync_single_for_device(worker->dev, dma, SIZE, direction);
        if (i % 7 == 0) {
            buffer[i % SIZE]++;
            worker->mistakes++;
        }
        dk_master_write(worker->dev, dma + 20, bytes, 1 + i % 400);
        dma_unmap_single(worker->dev, dma, SIZE, direction);
    }
    kfree(buffer);
    dk_machine_enter(NULL);
    return NULL;
}

static void workers(const struct handover_place *place, uint64_t seed)
{
    struct dk_machine *machine = machine_with(place->board, place->arguments, seed, 2);
    struct worker all[THREADS];
    unsigned i, mistakes = 0;

    dk_check_set_sink(machine, ignore_report, NULL);
    for (i = 0; i < THREADS; i++) {
        char name[16];

        snprintf(name, sizeof(name), "worker%u", i);
        all[i] = (struct worker){
            .machine = machine,
            .dev = device_below(machine, place->bus, name),
            .rounds = seeds(2) > 1 ? 3000 : 300,
        };
    }
    for (i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&all[i].thread, NULL, work, &all[i]), 0);
    for (i = 0; i < THREADS; i++) {
        pthread_join(all[i].thread, NULL);
        mistakes += all[i].mistakes;
    }
    assert_int_equal(dk_check_count(machine, "cpu-write-while-device-owns"), mistakes);
    assert_int_equal(dk_machine_destroy(machine), mistakes);
    dk_machine_enter(NULL);
}

static void none_lost_none_doubled(void **state)
{
    (void)state;
    for (size_t place = 0; place < HANDOVER_PLACES; place++)
        workers(&handover_places[place], place % 2);
}

/* A device that writes while the driver looks on. */
struct stream {
    struct device *dev;
    dma_addr_t dma;
    bool stop;
};

static void *write_on(void *data)
{
    struct stream *stream = data;
    char bytes[64];
    unsigned i;

    for (i = 0; !__atomic_load_n(&stream->stop, __ATOMIC_RELAXED); i++) {
        memset(bytes, (int)i, sizeof(bytes));
        dk_master_write(stream->dev, stream->dma + i * 40 % (SIZE - 64), bytes, 1 + i % 64);
    }
    return NULL;
}

/* Polls for what the device writes, with the syncs that it takes, and has another buffer changed meanwhile.
 */
static void poll_while_written(const struct handover_place *place, uint64_t seed)
{
    struct dk_machine *machine = machine_with(place->board, place->arguments, seed, 2);
    struct stream stream = { .dev = device_below(machine, place->bus, "one") };
    struct handover_seen seen = { .count = 0 };
    unsigned i, rounds = seeds(2) > 1 ? 4000 : 400;
    char *buffer, *beside;
    pthread_t thread;
    dma_addr_t other;

    dk_check_set_sink(machine, handover_see, &seen);
    dma_set_mask_and_coherent(stream.dev, DMA_BIT_MASK(64));
    buffer = kzalloc(SIZE, GFP_KERNEL);
    beside = kzalloc(64, GFP_KERNEL);
    assert_true(buffer && beside);
    stream.dma = dma_map_single(stream.dev, buffer, SIZE, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(stream.dev, stream.dma), 0);
    assert_int_equal(pthread_create(&thread, NULL, write_on, &stream), 0);
    for (i = 0; i < rounds; i++) {
        dma_sync_single_range_for_cpu(stream.dev, stream.dma, i % 300, 100, DMA_FROM_DEVICE);
        dma_sync_single_range_for_device(stream.dev, stream.dma, i % 300, 100, DMA_FROM_DEVICE);
        other = dma_map_single(stream.dev, beside, 64, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(stream.dev, other), 0);
        dma_unmap_single(stream.dev, other, 64, DMA_TO_DEVICE);
        beside[i % 64]++;
    }
    __atomic_store_n(&stream.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    dma_unmap_single(stream.dev, stream.dma, SIZE, DMA_FROM_DEVICE);
    if (seen.count)
        fail_msg("%s, seed %d: %s: %s", place->name, (int)seed, seen.report.class_name, seen.report.what);
    kfree(buffer);
    kfree(beside);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void a_device_that_writes_on(void **state)
{
    (void)state;
    for (size_t place = 0; place < HANDOVER_PLACES; place++) {
        /* Copying what a device writes is a race by itself. */
        if (SLOW_HERE && strstr(handover_places[place].name, "bounced"))
            continue;
        poll_while_written(&handover_places[place], 0);
        poll_while_written(&handover_places[place], 5);
    }
}

/* ---- Out of memory ---- */

/* Right from beginning to end, with what needs memory of the checker's: many mappings, pieces, many owners.
 */
static void do_right(struct device *dev)
{
    char *buffer = kzalloc(8192, GFP_KERNEL), bytes[256] = { 1 };
    struct page *pages = alloc_pages(GFP_KERNEL, 1);
    struct scatterlist list[2];
    dma_addr_t dma, twice;
    unsigned i, mapped;

    if (!buffer || !pages)
        goto free;
    dma = dma_map_single(dev, buffer, 4096, DMA_BIDIRECTIONAL);
    twice = dma_map_single(dev, buffer + 4096, 4096, DMA_TO_DEVICE);
    if (!dma_mapping_error(dev, dma)) {
        for (i = 0; i < 4096; i += 256) {
            dk_master_write(dev, dma + i, bytes, sizeof(bytes));
            dma_sync_single_range_for_cpu(dev, dma, i, 128, DMA_BIDIRECTIONAL);
            buffer[i + 5]++;
        }
        dma_sync_single_for_device(dev, dma, 4096, DMA_BIDIRECTIONAL);
        dma_unmap_single(dev, dma, 4096, DMA_BIDIRECTIONAL);
    }
    if (!dma_mapping_error(dev, twice))
        dma_unmap_single(dev, twice, 4096, DMA_TO_DEVICE);
    sg_init_table(list, 2);
    sg_set_page(&list[0], pages, PAGE_SIZE, 0);
    sg_set_page(&list[1], pages + 1, PAGE_SIZE, 0);
    mapped = dma_map_sg(dev, list, 2, DMA_FROM_DEVICE);
    if (mapped) {
        dk_master_write(dev, sg_dma_address(list), bytes, sizeof(bytes));
        dma_sync_sg_for_cpu(dev, list, 2, DMA_FROM_DEVICE);
        dma_sync_sg_for_device(dev, list, 2, DMA_FROM_DEVICE);
        dma_unmap_sg(dev, list, 2, DMA_FROM_DEVICE);
    }
free:
    if (pages)
        __free_pages(pages, 1);
    kfree(buffer);
}

static void live(const struct handover_place *place, unsigned long n, struct handover_seen *seen)
{
    const struct dk_machine_options options = {
        .size = sizeof(options), .arguments = place->arguments, .seed = 3, .depth = 2
    };
    struct dk_board *board = board_from(place->board);
    struct dk_machine *machine = dk_machine_create(board, &options);
    struct device *dev;

    dk_board_free(board);
    assert_false(IS_ERR(machine));
    dk_machine_enter(machine);
    dev = device_below(machine, place->bus, "one");
    dk_check_set_sink(machine, handover_see, seen);
    dk_fail_nth(n);
    do_right(dev);
    dk_machine_destroy(machine);
}

static void every_allocation_fails_in_turn(void **state)
{
    (void)state;
    dk_log_set_level(-1);
    for (size_t place = 0; place < HANDOVER_PLACES; place++) {
        struct handover_seen seen = { .count = 0 };
        unsigned long n = 0;

        do {
            live(&handover_places[place], ++n, &seen);
            if (seen.count)
                fail_msg("%s, allocation %lu: %s: %s", handover_places[place].name, n, seen.report.class_name,
                         seen.report.what);
        } while (dk_fail_hits());
        dk_fail_nth(0);
        assert_true(n > 8);
    }
    dk_log_set_level(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_lost_none_doubled),
        cmocka_unit_test(a_device_that_writes_on),
        cmocka_unit_test(every_allocation_fails_in_turn),
    };

    return cmocka_run_group_tests_name("handover-threads", tests, NULL, NULL);
}
