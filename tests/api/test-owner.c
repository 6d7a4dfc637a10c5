/* SPDX-License-Identifier: MIT */
/*
 * Depth 3 in a program that is not instrumented: what it says, and the ownership shadow itself, asked in the
 * run time's place.
 */
#include "handover.h"

#include <pthread.h>

#define SIZE 256u

static char logged[256];

static void take_line(int level, const char *line, void *data)
{
    (void)level;
    (void)data;
    if (strstr(line, "depth 3"))
        snprintf(logged, sizeof(logged), "%s", line);
}

static void silence(const struct dk_report *report, void *data)
{
    (void)report;
    (void)data;
}

static void test_says_so(void **state)
{
    struct dk_machine *machine;

    (void)state;
    logged[0] = '\0';
    dk_log_set_sink(take_line, NULL);
    machine = machine_with("hostile.dts", NULL, 0, 2);
    assert_string_equal(logged, "");
    dk_machine_destroy(machine);
    machine = machine_with("hostile.dts", NULL, 0, 3);
    assert_non_null(strstr(logged, "loads and stores are not seen"));
    dk_log_set_sink(NULL, NULL);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* Random mappings, syncs and accesses beside an obvious model: a byte for each byte, 1 the CPU may store, 2
 * load. */
static void test_model(void **state)
{
    const unsigned rounds = getenv("DMAKIT_TEST_FAST") ? 20000 : 300000;
    struct dk_machine *machine = machine_with("hostile.dts", NULL, 0, 3);
    struct device *dev = dk_device_add(NULL, "model");
    unsigned char model[SIZE];
    enum dma_data_direction direction = DMA_TO_DEVICE;
    unsigned seed = 1, i;
    dma_addr_t dma = DMA_MAPPING_ERROR;
    unsigned first = 0, length = 0;
    char *p = kzalloc(SIZE, GFP_KERNEL);

    (void)state;
    dk_check_set_sink(machine, silence, NULL);
    memset(model, 3, SIZE);
    for (i = 0; i < rounds; i++) {
        unsigned at, size, byte, forbidden = 0, store;
        unsigned long before = dk_check_count(machine, NULL);

        seed = seed * 1103515245u + 12345u;
        switch (seed >> 28 & 7) {
        case 0:
            if (dma == DMA_MAPPING_ERROR) {
                first = (seed >> 8) % SIZE;
                length = 1 + (seed >> 16) % (SIZE - first);
                direction = (enum dma_data_direction)((seed >> 4) % 3);
                dma = dma_map_single(dev, p + first, length, direction);
                assert_int_equal(dma_mapping_error(dev, dma), 0);
                memset(model + first, direction == DMA_TO_DEVICE ? 2 : 0, length);
            } else {
                dma_unmap_single(dev, dma, length, direction);
                dma = DMA_MAPPING_ERROR;
                memset(model, 3, SIZE);
            }
            continue;
        case 1:
        case 2:
            if (dma == DMA_MAPPING_ERROR)
                continue;
            at = (seed >> 8) % length;
            size = 1 + (seed >> 16) % (length - at);
            if (seed >> 28 & 1) {
                dma_sync_single_range_for_cpu(dev, dma, at, size, direction);
                memset(model + first + at, 3, size);
            } else {
                dma_sync_single_range_for_device(dev, dma, at, size, direction);
                memset(model + first + at, direction == DMA_TO_DEVICE ? 2 : 0, size);
            }
            continue;
        default:
            store = seed >> 27 & 1;
            at = (seed >> 8) % SIZE;
            size = 1 + (seed >> 16) % (SIZE - at);
            for (byte = at; byte < at + size; byte++)
                /* A report for each run of bytes that may not be touched. */
                forbidden +=
                    !(model[byte] & (store ? 1 : 2)) && (byte == at || model[byte - 1] & (store ? 1 : 2));
            dk_instrument_access(p + at, size, store ? DK_ACCESS_STORE : DK_ACCESS_LOAD, NULL);
            if (dk_check_count(machine, NULL) - before != forbidden)
                fail_msg("round %u: %lu reports instead of %u", i, dk_check_count(machine, NULL) - before,
                         forbidden);
        }
    }
    if (dma != DMA_MAPPING_ERROR)
        dma_unmap_single(dev, dma, length, direction);
    kfree(p);
    dk_machine_destroy(machine);
}

/* Two mappings of which one has a single byte of the other's: wherever that lies in a word of the shadow, and
 * whichever was made first, the byte stays the device's when the other one goes. */
static void test_a_byte_of_two_mappings(void **state)
{
    struct dk_machine *machine = machine_with("hostile.dts", NULL, 0, 3);
    struct device *dev = dk_device_add(NULL, "many"), *other = dk_device_add(NULL, "byte");
    char *p = kzalloc(SIZE, GFP_KERNEL);
    unsigned long wrong = 0;
    unsigned at;

    (void)state;
    dk_check_set_sink(machine, silence, NULL);
    for (at = 0; at < 32; at++) {
        bool first = at % 2;
        dma_addr_t byte = DMA_MAPPING_ERROR, all;

        if (first)
            byte = dma_map_single(other, p + at / 2, 1, DMA_TO_DEVICE);
        all = dma_map_single(dev, p, 24, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, all), 0);
        if (!first)
            byte = dma_map_single(other, p + at / 2, 1, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(other, byte), 0);
        dma_unmap_single(dev, all, 24, DMA_TO_DEVICE);
        dk_instrument_access(p, at / 2, DK_ACCESS_STORE, NULL);
        dk_instrument_access(p + at / 2 + 1, 24, DK_ACCESS_STORE, NULL);
        assert_int_equal(dk_check_count(machine, NULL), wrong);
        dk_instrument_access(p + at / 2, 1, DK_ACCESS_STORE, NULL);
        if (dk_check_count(machine, "cpu-write-while-device-owns") != ++wrong)
            fail_msg("byte %u, mapped %s", at / 2, first ? "first" : "last");
        dma_unmap_single(other, byte, 1, DMA_TO_DEVICE);
        dk_instrument_access(p, SIZE, DK_ACCESS_STORE, NULL);
        assert_int_equal(dk_check_count(machine, NULL), wrong);
    }
    kfree(p);
    dk_machine_destroy(machine);
}

struct told {
    unsigned count;
    char class_name[64], what[512], kind[16], name[32], mapped[16], device[64];
    u64 offset, length, dma;
    uintptr_t cpu;
};

static void take_report(const struct dk_report *report, void *data)
{
    struct told *told = data;

    told->count++;
    snprintf(told->class_name, sizeof(told->class_name), "%s", report->class_name);
    snprintf(told->what, sizeof(told->what), "%s", report->what);
    snprintf(told->kind, sizeof(told->kind), "%s", report->access.kind);
    snprintf(told->name, sizeof(told->name), "%s", report->access.name);
    snprintf(told->mapped, sizeof(told->mapped), "%s", report->mapping.kind ? report->mapping.kind : "");
    snprintf(told->device, sizeof(told->device), "%s", report->device);
    told->offset = report->bytes.offset;
    told->length = report->bytes.length;
    told->dma = report->bytes.dma;
    told->cpu = report->bytes.cpu;
}

/* What an access that strikes a mapping in part is told of: its bytes in there, and nothing beside them. */
static void test_a_report_is_of_the_bytes_struck(void **state)
{
    static const struct {
        unsigned at, size, access;
        const char *call;
        enum dma_data_direction direction;
        u64 offset, length;
        const char *class_name, *what;
    } cases[] = {
        { 8, 4, DK_ACCESS_STORE, NULL, DMA_TO_DEVICE, 0, 0, NULL, NULL },
        { 60, 8, DK_ACCESS_STORE, NULL, DMA_TO_DEVICE, 0, 4, "cpu-write-while-device-owns",
          "the CPU stored 4 bytes at offset 0 of a single mapping of 100 bytes (to-device), which the device owns" },
        { 100, 1, DK_ACCESS_STORE, NULL, DMA_TO_DEVICE, 36, 1, "cpu-write-while-device-owns",
          "the CPU stored 1 byte at offset 36 of a single mapping of 100 bytes (to-device), which the device owns" },
        { 160, 64, DK_ACCESS_STORE, "memset", DMA_FROM_DEVICE, 96, 4, "cpu-write-while-device-owns",
          "memset stored 4 bytes at offset 96 of a single mapping of 100 bytes (from-device), which the device owns" },
        { 0, 64, DK_ACCESS_LOAD, NULL, DMA_FROM_DEVICE, 0, 0, NULL, NULL },
        { 0, 65, DK_ACCESS_LOAD, NULL, DMA_FROM_DEVICE, 0, 1, "cpu-read-while-device-owns",
          "the CPU loaded 1 byte at offset 0 of a single mapping of 100 bytes (from-device), which the device owns" },
        { 163, 8, DK_ACCESS_LOAD, "memcpy", DMA_BIDIRECTIONAL, 99, 1, "cpu-read-while-device-owns",
          "memcpy loaded 1 byte at offset 99 of a single mapping of 100 bytes (bidirectional), which the device owns" },
        { 164, 8, DK_ACCESS_LOAD, NULL, DMA_BIDIRECTIONAL, 0, 0, NULL, NULL },
        { 64, 100, DK_ACCESS_LOAD, NULL, DMA_TO_DEVICE, 0, 0, NULL, NULL },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_with("hostile.dts", NULL, 0, 3);
        struct device *dev = dk_device_add(NULL, "struck");
        char *p = kzalloc(SIZE, GFP_KERNEL);
        dma_addr_t dma = dma_map_single(dev, p + 64, 100, cases[i].direction);
        struct told told = { 0 };

        assert_int_equal(dma_mapping_error(dev, dma), 0);
        dk_check_set_sink(machine, take_report, &told);
        dk_instrument_access(p + cases[i].at, cases[i].size, cases[i].access, cases[i].call);
        assert_int_equal(told.count, cases[i].what != NULL);
        if (told.count) {
            assert_string_equal(told.class_name, cases[i].class_name);
            assert_string_equal(told.what, cases[i].what);
            assert_string_equal(told.kind, cases[i].access & DK_ACCESS_STORE ? "store" : "load");
            assert_string_equal(told.name, cases[i].call ? cases[i].call : "");
            assert_string_equal(told.mapped, "single");
            assert_string_equal(told.device, dk_device_path(dev));
            assert_int_equal(told.offset, cases[i].offset);
            assert_int_equal(told.length, cases[i].length);
            assert_int_equal(told.dma, dma + cases[i].offset);
            assert_int_equal(told.cpu, (uintptr_t)p + 64 + cases[i].offset);
        }
        dma_unmap_single(dev, dma, 100, cases[i].direction);
        kfree(p);
        dk_machine_destroy(machine);
    }
}

/* What the CPU reads unsynced is old only where it does not see what the device writes. */
static void test_a_read_before_the_sync(void **state)
{
    char bytes[SIZE];
    size_t i;

    (void)state;
    fill(bytes, SIZE, 1);
    for (i = 0; i < HANDOVER_PLACES; i++) {
        const struct handover_place *place = &handover_places[i];
        struct dk_machine *machine = machine_with(place->board, place->arguments, 0, 3);
        struct device *dev = device_below(machine, place->bus, "early");
        const bool sees = !strcmp(place->name, "coherent") || !strcmp(place->name, "PC");
        char *p = kzalloc(SIZE, GFP_KERNEL);
        struct told told = { 0 };
        dma_addr_t dma;

        dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
        dma = dma_map_single(dev, p, SIZE, DMA_FROM_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        dk_check_set_sink(machine, take_report, &told);
        assert_int_equal(dk_master_write(dev, dma + 64, bytes, 64), 0);
        dk_instrument_access(p + 64, 4, DK_ACCESS_LOAD, NULL);
        if (strcmp(told.class_name, sees ? "cpu-read-while-device-owns" : "stale-read"))
            fail_msg("%s: %s", place->name, told.class_name);
        assert_int_equal(told.count, 1);
        dma_unmap_single(dev, dma, SIZE, DMA_FROM_DEVICE);
        kfree(p);
        dk_machine_destroy(machine);
    }
}

/* The pages of address space that this process has mapped. */
static long mapped_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    long size = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld", &size), 1);
    fclose(file);
    return size;
}

/* Memory that lies far apart has shadows of its own; all of them go with the machine. */
static void test_shadows_of_far_memory(void **state)
{
    static const char board[] =
        "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; memory { device_type = \"memory\"; reg = <0 0x40000000 0 "
        "0x4000000>, <2 0 0 0x4000000>; }; };";
    static const gfp_t zones[] = { GFP_DMA32, GFP_KERNEL, GFP_DMA32 };
    const long before = mapped_pages();
    struct dk_machine *machine = machine_with(board, NULL, 0, 3);
    struct device *dev = dk_device_add(NULL, "far");
    struct page *pages[3];
    char *cpu[3];
    unsigned i;

    (void)state;
    dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
    dk_check_set_sink(machine, silence, NULL);
    for (i = 0; i < 3; i++) {
        dma_addr_t dma;

        pages[i] = alloc_pages(zones[i], 0);
        assert_non_null(pages[i]);
        assert_int_equal(page_to_phys(pages[i]) >> 32 != 0, zones[i] == GFP_KERNEL);
        cpu[i] = page_address(pages[i]);
        dma = dma_map_page(dev, pages[i], 0, PAGE_SIZE, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        dk_instrument_access(cpu[i] + 9, 1, DK_ACCESS_STORE, NULL);
        assert_int_equal(dk_check_count(machine, "cpu-write-while-device-owns"), i + 1);
        dma_unmap_page(dev, dma, PAGE_SIZE, DMA_TO_DEVICE);
        dk_instrument_access(cpu[i] + 9, 1, DK_ACCESS_STORE, NULL);
        assert_int_equal(dk_check_count(machine, NULL), i + 1);
        assert_non_null(dk_slot_owner(cpu[i]));
    }
    for (i = 0; i < 3; i++)
        __free_page(pages[i]);
    dk_machine_destroy(machine);
    for (i = 0; i < 3; i++)
        assert_null(dk_slot_owner(cpu[i]));
    assert_true(mapped_pages() - before < (long)(DK_SLOT_SIZE / PAGE_SIZE));
}

/* The order of stores is watched in coherent memory of up to 64 KiB, where rings are. */
static void test_order_in_the_largest_ring(void **state)
{
    static const size_t sizes[] = { 0x10000, 0x11000 };
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct dk_machine *machine = machine_with("hostile.dts", NULL, 0, 3);
        struct device *dev = device_below(machine, "coherent", "ring");
        struct told told = { 0 };
        dma_addr_t dma;
        char *ring = dma_alloc_coherent(dev, sizes[i], &dma, GFP_KERNEL);
        const size_t at = 0x10000 - 64;
        u64 word;

        assert_non_null(ring);
        dk_check_set_sink(machine, take_report, &told);
        /* The device polls the flag, and finds it before what the flag stands for. */
        assert_int_equal(dk_master_read(dev, dma + at + 8, &word, 8), 0);
        dk_instrument_access(ring + at, 8, DK_ACCESS_STORE, NULL);
        dk_instrument_access(ring + at + 8, 8, DK_ACCESS_STORE, NULL);
        assert_int_equal(dk_master_read(dev, dma + at + 8, &word, 8), 0);
        assert_int_equal(dk_master_read(dev, dma + at, &word, 8), 0);
        assert_int_equal(told.count, sizes[i] == 0x10000);
        assert_string_equal(told.class_name, told.count ? "descriptor-published-before-wmb" : "");
        dma_free_coherent(dev, sizes[i], ring, dma);
        dk_machine_destroy(machine);
    }
}

/* A store beside a frame, in its line, is named when its bytes turn out to be lost; no other is blamed. */
static void test_who_stored_beside(void **state)
{
    static const struct {
        unsigned at;
        bool early; /* of an earlier mapping */
        const char *kind;
    } cases[] = { { 4, false, "store" }, { 0, false, "call" }, { 8, false, "call" }, { 4, true, "call" } };
    char bytes[112];
    size_t i;

    (void)state;
    fill(bytes, sizeof(bytes), 1);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_with("hostile.dts", NULL, 0, 3);
        struct device *dev = device_below(machine, "noncoherent", "frame");
        char *p = kzalloc(SIZE, GFP_KERNEL);
        struct told told = { 0 };
        dma_addr_t dma;

        dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
        dk_check_set_sink(machine, take_report, &told);
        dma = dma_map_single(dev, p + 16, 112, DMA_FROM_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        dk_instrument_access(p + cases[i].at, 4, DK_ACCESS_STORE, NULL);
        if (cases[i].early) {
            dma_unmap_single(dev, dma, 112, DMA_FROM_DEVICE);
            dma = dma_map_single(dev, p + 16, 112, DMA_FROM_DEVICE);
            assert_int_equal(dma_mapping_error(dev, dma), 0);
        }
        memset(p + 4, 'x', 4);
        assert_int_equal(dk_master_write(dev, dma, bytes, sizeof(bytes)), 0);
        dma_unmap_single(dev, dma, 112, DMA_FROM_DEVICE);
        assert_int_equal(told.count, 1);
        assert_string_equal(told.class_name, "shared-cache-line");
        if (strcmp(told.kind, cases[i].kind))
            fail_msg("case %zu: a %s", i, told.kind);
        kfree(p);
        dk_machine_destroy(machine);
    }
}

static void live(void)
{
    const struct dk_machine_options options = { .size = sizeof(options), .depth = 3 };
    struct dk_machine *machine = dk_machine_create(NULL, &options);
    struct device *dev;
    dma_addr_t dma;
    u32 word = 1;
    char *p;

    if (IS_ERR(machine))
        return;
    dk_check_set_sink(machine, silence, NULL);
    dk_machine_enter(machine);
    dev = dk_device_add(NULL, "life");
    p = IS_ERR(dev) ? NULL : kmalloc(SIZE, GFP_KERNEL);
    if (p) {
        dma = dma_map_single(dev, p, SIZE, DMA_BIDIRECTIONAL);
        if (!dma_mapping_error(dev, dma)) {
            dk_master_write(dev, dma, &word, sizeof(word));
            dk_instrument_access(p, SIZE, DK_ACCESS_LOAD, NULL);
            dk_instrument_access(p, SIZE, DK_ACCESS_STORE, NULL);
            dma_sync_single_range_for_cpu(dev, dma, 8, 8, DMA_BIDIRECTIONAL);
            dma_unmap_single(dev, dma, SIZE, DMA_BIDIRECTIONAL);
        }
        kfree(p);
        p = dma_alloc_coherent(dev, 2 * PAGE_SIZE, &dma, GFP_KERNEL);
        if (p) {
            dk_instrument_access(p, SIZE, DK_ACCESS_STORE, NULL);
            dk_master_read(dev, dma, &word, sizeof(word));
            dk_master_write(dev, dma, &word, sizeof(word));
            dk_instrument_access(p, SIZE, DK_ACCESS_LOAD, NULL);
            dma_free_coherent(dev, 2 * PAGE_SIZE, p, dma);
        }
    }
    dk_machine_destroy(machine);
}

static void test_every_allocation_fails_in_turn(void **state)
{
    unsigned long n = 0;

    (void)state;
    do {
        dk_fail_nth(++n);
        live();
    } while (dk_fail_hits());
    dk_fail_nth(0);
    assert_true(n > 20);
}

struct worker {
    struct dk_machine *machine;
    struct device *dev;
    unsigned long wrong;
};

static void *work(void *data)
{
    struct worker *worker = data;
    char *p;
    int i;

    dk_machine_enter(worker->machine);
    p = kmalloc(SIZE, GFP_KERNEL);
    for (i = 0; i < 500; i++) {
        dma_addr_t dma = dma_map_single(worker->dev, p, SIZE, DMA_FROM_DEVICE);

        if (dma_mapping_error(worker->dev, dma))
            break;
        dk_instrument_access(p + i % SIZE, 1, DK_ACCESS_STORE, NULL);
        worker->wrong++;
        dma_unmap_single(worker->dev, dma, SIZE, DMA_FROM_DEVICE);
        dk_instrument_access(p, SIZE, DK_ACCESS_STORE, NULL);
    }
    kfree(p);
    return NULL;
}

static void test_threads(void **state)
{
    struct dk_machine *machine = machine_with("hostile.dts", NULL, 0, 3);
    struct worker workers[3];
    pthread_t threads[3];
    unsigned long wrong = 0;
    unsigned i;

    (void)state;
    dk_check_set_sink(machine, silence, NULL);
    for (i = 0; i < 3; i++) {
        char name[16];

        snprintf(name, sizeof(name), "thread%u", i);
        workers[i] = (struct worker){ machine, dk_device_add(NULL, name), 0 };
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
        wrong += workers[i].wrong;
    }
    assert_int_equal(dk_check_count(machine, "cpu-write-while-device-owns"), wrong);
    assert_int_equal(dk_check_count(machine, NULL), wrong);
    dk_machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_says_so),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_a_byte_of_two_mappings),
        cmocka_unit_test(test_a_report_is_of_the_bytes_struck),
        cmocka_unit_test(test_a_read_before_the_sync),
        cmocka_unit_test(test_shadows_of_far_memory),
        cmocka_unit_test(test_order_in_the_largest_ring),
        cmocka_unit_test(test_who_stored_beside),
        cmocka_unit_test(test_every_allocation_fails_in_turn),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
