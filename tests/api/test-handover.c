/* SPDX-License-Identifier: MIT */
/*
 * Each class of depth 2: a driver that makes the mistake is reported once, with class, bytes, file and lines,
 * on every kind of bus, with and without eviction; its correct twin is not.
 */
#include "handover.h"

#define SIZE 256

struct driver {
    const struct handover_place *place;
    struct dk_machine *machine;
    struct device *dev, *other;
    char *buffer; /* SIZE bytes */
    dma_addr_t dma;
    bool wrong;
    int map_line, line; /* of the mapping, and of the call at which the mistake is seen */
    char bytes[2 * SIZE];
};

/* A call at which a mistake is seen. */
#define SEEN(driver, call) ((driver)->line = __LINE__, call)
#define MAP(driver, cpu, size, direction) MAP_ATTRS(driver, cpu, size, direction, 0)
#define MAP_ATTRS(driver, cpu, size, direction, attrs)                                    \
    do {                                                                                  \
        (driver)->map_line = __LINE__;                                                    \
        (driver)->dma = dma_map_single_attrs((driver)->dev, cpu, size, direction, attrs); \
        assert_int_equal(dma_mapping_error((driver)->dev, (driver)->dma), 0);             \
    } while (0)

static void store(void *at, size_t size)
{
    char *bytes = at;
    size_t i;

    for (i = 0; i < size; i++)
        bytes[i] = (char)~bytes[i];
}

static void reads(struct driver *driver, size_t offset, size_t size)
{
    assert_int_equal(dk_master_read(driver->dev, driver->dma + offset, driver->bytes, size), 0);
}

static void writes(struct driver *driver, size_t offset, size_t size, unsigned tag)
{
    fill(driver->bytes, size, tag);
    assert_int_equal(dk_master_write(driver->dev, driver->dma + offset, driver->bytes, size), 0);
}

/* ---- cpu-write-while-device-owns ---- */

static void store_before_unmap(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_TO_DEVICE);
    if (driver->wrong)
        store(driver->buffer + 60, 4);
    SEEN(driver, dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE));
    store(driver->buffer + 60, 4);
}

static void store_beside_what_was_received(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    writes(driver, 0, 100, 2);
    if (driver->wrong)
        store(driver->buffer + SIZE - 1, 1);
    SEEN(driver, dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE));
    assert_true(filled(driver->buffer, 100, 2));
}

static void store_before_sync_for_cpu(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_BIDIRECTIONAL);
    if (driver->wrong)
        store(driver->buffer + 3, 70);
    SEEN(driver, dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL));
    if (!driver->wrong)
        store(driver->buffer + 3, 70);
    dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL);
    reads(driver, 0, SIZE);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL);
}

static void store_before_sync_for_device(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_TO_DEVICE);
    if (!driver->wrong)
        dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
    store(driver->buffer + 3, 70);
    SEEN(driver, dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE));
    reads(driver, 0, SIZE);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
}

static void store_before_the_device_reads(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_TO_DEVICE);
    if (driver->wrong)
        store(driver->buffer + 8, 8);
    driver->line = __LINE__ + 1;
    assert_int_equal(dk_master_read(driver->dev, driver->dma, driver->bytes, SIZE), 0);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
}

static void store_before_the_device_writes(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    if (driver->wrong)
        store(driver->buffer + 8, 8);
    driver->line = __LINE__ + 1;
    assert_int_equal(dk_master_write(driver->dev, driver->dma + 4, driver->bytes, 100), 0);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
}

static void store_into_what_was_given_back(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    writes(driver, 0, SIZE, 4);
    dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    assert_true(filled(driver->buffer, SIZE, 4));
    if (!driver->wrong)
        store(driver->buffer + 9, 2);
    dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    if (driver->wrong)
        store(driver->buffer + 9, 2);
    SEEN(driver, dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE));
}

/* Stale bytes, changed and stored again over what the device wrote. */
static void store_of_stale_bytes(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_BIDIRECTIONAL);
    writes(driver, 0, SIZE, 5);
    if (!driver->wrong)
        dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL);
    store(driver->buffer + 32, 16);
    SEEN(driver, dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL));
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL);
}

/* ---- missing-sync-for-device ---- */

static void header_not_synced(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_TO_DEVICE);
    dma_sync_single_for_cpu(driver->dev, driver->dma, 64, DMA_TO_DEVICE);
    store(driver->buffer + 4, 4);
    if (!driver->wrong)
        dma_sync_single_for_device(driver->dev, driver->dma, 64, DMA_TO_DEVICE);
    driver->line = __LINE__ + 1;
    assert_int_equal(dk_master_read(driver->dev, driver->dma, driver->bytes, SIZE), 0);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
}

static void frame_changed_and_posted(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    writes(driver, 0, 100, 6);
    dma_sync_single_for_cpu(driver->dev, driver->dma, 100, DMA_FROM_DEVICE);
    store(driver->buffer + 14, 20);
    if (!driver->wrong)
        dma_sync_single_for_device(driver->dev, driver->dma, 100, DMA_FROM_DEVICE);
    driver->line = __LINE__ + 1;
    assert_int_equal(dk_master_write(driver->dev, driver->dma, driver->bytes, 50), 0);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
}

static void change_lost_at_unmap(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_BIDIRECTIONAL);
    writes(driver, 0, SIZE, 7);
    dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL);
    store(driver->buffer + 64, 64);
    if (!driver->wrong)
        dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL);
    SEEN(driver, dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL));
}

static void change_lost_at_next_sync(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    store(driver->buffer, 64);
    if (!driver->wrong)
        dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    SEEN(driver, dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE));
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
}

/* ---- sync-wrong-subrange ---- */

static void another_part_for_device(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_TO_DEVICE);
    dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
    store(driver->buffer + 100, 10);
    dma_sync_single_for_device(driver->dev, driver->dma, driver->wrong ? 64 : 128, DMA_TO_DEVICE);
    driver->line = __LINE__ + 1;
    assert_int_equal(dk_master_read(driver->dev, driver->dma + 96, driver->bytes, 64), 0);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
}

static void another_part_for_cpu(struct driver *driver)
{
    const size_t from = driver->wrong ? 0 : 64;

    MAP(driver, driver->buffer, SIZE, DMA_TO_DEVICE);
    dma_sync_single_range_for_cpu(driver->dev, driver->dma, from, 64, DMA_TO_DEVICE);
    store(driver->buffer + 64, 12);
    SEEN(driver, dma_sync_single_range_for_device(driver->dev, driver->dma, from, 64, DMA_TO_DEVICE));
    reads(driver, 0, SIZE);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
}

/* ---- skip-sync-without-sync ---- */

static void filled_and_mapped_unsynced(struct driver *driver)
{
    store(driver->buffer, SIZE);
    MAP_ATTRS(driver, driver->buffer, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    if (!driver->wrong)
        dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
    driver->line = __LINE__ + 1;
    assert_int_equal(dk_master_read(driver->dev, driver->dma + 16, driver->bytes, 32), 0);
    dma_unmap_single_attrs(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
}

static void mapped_unsynced_and_stored(struct driver *driver)
{
    MAP_ATTRS(driver, driver->buffer, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    store(driver->buffer + 20, 5);
    if (!driver->wrong)
        dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    driver->line = __LINE__ + 1;
    assert_int_equal(dk_master_write(driver->dev, driver->dma, driver->bytes, SIZE), 0);
    dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    dma_unmap_single_attrs(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
}

#define DEVICES " while the device owned them"
#define NOT_SYNCED " which it owned, and they were not synced for the device: "
#define NEVER_SYNCED ", made with DMA_ATTR_SKIP_CPU_SYNC, were never synced for the device: "

/* Left with the device, and changed before it is the device's again. */
static void changed_and_recycled_unsynced(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_BIDIRECTIONAL);
    writes(driver, 0, SIZE, 2);
    dma_unmap_single_attrs(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
    if (driver->wrong)
        store(driver->buffer + 20, 4);
    MAP_ATTRS(driver, driver->buffer, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    driver->line = __LINE__ + 1;
    assert_int_equal(dk_master_read(driver->dev, driver->dma + 16, driver->bytes, 32), 0);
    dma_unmap_single_attrs(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
}

static const struct {
    const char *name;
    void (*run)(struct driver *driver);
    const char *class_name;
    u64 offset, length;
    const char *kind, *call; /* of the access */
    const char *says;        /* of the bytes, after the mapping */
} mistakes[] = {
    { "store before unmap", store_before_unmap, "cpu-write-while-device-owns", 60, 4, "call",
      "dma_unmap_single", DEVICES },
    { "store beside what was received", store_beside_what_was_received, "cpu-write-while-device-owns",
      SIZE - 1, 1, "call", "dma_unmap_single", DEVICES },
    { "store before a sync for the CPU", store_before_sync_for_cpu, "cpu-write-while-device-owns", 3, 70,
      "call", "dma_sync_single_for_cpu", DEVICES },
    { "store before a sync for the device", store_before_sync_for_device, "cpu-write-while-device-owns", 3,
      70, "call", "dma_sync_single_for_device", DEVICES },
    { "store before the device reads", store_before_the_device_reads, "cpu-write-while-device-owns", 8, 8,
      "device-read", "dk_master_read", DEVICES },
    { "store before the device writes", store_before_the_device_writes, "cpu-write-while-device-owns", 8, 8,
      "device-write", "dk_master_write", DEVICES },
    { "store into what was given back", store_into_what_was_given_back, "cpu-write-while-device-owns", 9, 2,
      "call", "dma_unmap_single", DEVICES },
    { "store of stale bytes", store_of_stale_bytes, "cpu-write-while-device-owns", 32, 16, "call",
      "dma_sync_single_for_device", DEVICES },
    { "header not synced", header_not_synced, "missing-sync-for-device", 4, 4, "device-read",
      "dk_master_read", NOT_SYNCED "the device reads them now" },
    { "frame changed and posted", frame_changed_and_posted, "missing-sync-for-device", 14, 20, "device-write",
      "dk_master_write", NOT_SYNCED "the device writes over them now" },
    { "change lost at unmap", change_lost_at_unmap, "missing-sync-for-device", 64, 64, "call",
      "dma_unmap_single", NOT_SYNCED "the unmapping gives the CPU what the device has in their place" },
    { "change lost at the next sync", change_lost_at_next_sync, "missing-sync-for-device", 0, 64, "call",
      "dma_sync_single_for_cpu", NOT_SYNCED "the sync gives the CPU what the device has in their place" },
    { "another part for the device", another_part_for_device, "sync-wrong-subrange", 100, 10, "device-read",
      "dk_master_read", ", but bytes 0 to 63 of it were synced for the device: the device reads them now" },
    { "another part for the CPU", another_part_for_cpu, "sync-wrong-subrange", 64, 12, "call",
      "dma_sync_single_range_for_device", DEVICES ": bytes 0 to 63 of it were synced for the CPU" },
    { "filled and mapped unsynced", filled_and_mapped_unsynced, "skip-sync-without-sync", 16, 32,
      "device-read", "dk_master_read", NEVER_SYNCED "the device reads them now" },
    { "mapped unsynced and stored", mapped_unsynced_and_stored, "skip-sync-without-sync", 20, 5,
      "device-write", "dk_master_write", NEVER_SYNCED "the device writes over them now" },
    { "changed and recycled unsynced", changed_and_recycled_unsynced, "skip-sync-without-sync", 16, 32,
      "device-read", "dk_master_read", NEVER_SYNCED "the device reads them now" },
};
#define MISTAKES (sizeof(mistakes) / sizeof(mistakes[0]))

static void start(struct driver *driver, const struct handover_place *place, uint64_t seed,
                  struct handover_seen *seen)
{
    *driver = (struct driver){ .place = place };
    driver->machine = machine_with(place->board, place->arguments, seed, 2);
    driver->dev = device_below(driver->machine, place->bus, "one");
    driver->other = device_below(driver->machine, place->bus, "other");
    /* What reaches all memory need not bounce; some cannot. */
    dma_set_mask_and_coherent(driver->dev, DMA_BIT_MASK(64));
    dma_set_mask_and_coherent(driver->other, DMA_BIT_MASK(64));
    driver->buffer = kmalloc(SIZE, GFP_KERNEL);
    assert_non_null(driver->buffer);
    fill(driver->buffer, SIZE, 1);
    seen->count = 0;
    dk_check_set_sink(driver->machine, handover_see, seen);
}

static void finish(struct driver *driver, unsigned long reports)
{
    kfree(driver->buffer);
    assert_int_equal(dk_machine_destroy(driver->machine), reports);
}

static void is_at(const struct dk_frames *frames, int line)
{
    assert_true(frames->count > 0);
    assert_non_null(frames->frames[0].file);
    assert_non_null(strstr(frames->frames[0].file, "test-handover.c"));
    assert_int_equal(frames->frames[0].line, line);
}

/* The whole sentence of the report is @start, a mapping of @size bytes at @dma, and @end. */
static __attribute__((format(printf, 5, 6))) void
says(const struct dk_report *report, u64 size, dma_addr_t dma, const char *end, const char *start, ...)
{
    char first[200], whole[400];
    va_list arguments;

    va_start(arguments, start);
    vsnprintf(first, sizeof(first), start, arguments);
    va_end(arguments);
    snprintf(whole, sizeof(whole), "%s a mapping of %llu bytes at 0x%llx (%s)%s; seen at %s()", first,
             (unsigned long long)size, (unsigned long long)dma, report->mapping.direction, end,
             report->access.name);
    assert_string_equal(report->what, whole);
}

static void mistake_and_twin(size_t mistake, const struct handover_place *place, uint64_t seed)
{
    const char *class_name = mistakes[mistake].class_name;
    struct handover_seen seen;
    struct driver driver;
    unsigned long count;

    start(&driver, place, seed, &seen);
    mistakes[mistake].run(&driver);
    if (seen.count)
        fail_msg("twin of %s, %s, seed %d: %s: %s", mistakes[mistake].name, place->name, (int)seed,
                 seen.report.class_name, seen.report.what);
    /* Other bytes than the twin left, so that none is stored again. */
    fill(driver.buffer, SIZE, 2);
    driver.wrong = true;
    mistakes[mistake].run(&driver);
    count = dk_check_count(driver.machine, class_name);
    if (seen.count != 1 || count != 1)
        fail_msg("%s, %s, seed %d: %u reports, %lu of %s", mistakes[mistake].name, place->name, (int)seed,
                 seen.count, count, class_name);
    assert_string_equal(seen.report.class_name, class_name);
    assert_string_equal(seen.report.severity, "error");
    assert_string_equal(seen.report.device, dk_device_path(driver.dev));
    if (seen.report.bytes.offset != mistakes[mistake].offset ||
        seen.report.bytes.length != mistakes[mistake].length)
        fail_msg("%s, %s, seed %d: offset %llu, length %llu", mistakes[mistake].name, place->name, (int)seed,
                 (unsigned long long)seen.report.bytes.offset, (unsigned long long)seen.report.bytes.length);
    assert_int_equal(seen.report.bytes.cpu, (uintptr_t)driver.buffer + mistakes[mistake].offset);
    assert_int_equal(seen.report.bytes.dma, driver.dma + mistakes[mistake].offset);
    assert_string_equal(seen.report.mapping.kind, "single");
    assert_int_equal(seen.report.mapping.size, SIZE);
    assert_string_equal(seen.report.access.kind, mistakes[mistake].kind);
    assert_string_equal(seen.report.access.name, mistakes[mistake].call);
    is_at(&seen.report.mapping.stack, driver.map_line);
    if (strcmp(mistakes[mistake].kind, "call") == 0)
        is_at(&seen.report.access.stack, driver.line);
    says(&seen.report, SIZE, driver.dma, mistakes[mistake].says, "%s%llu byte%s at offset %llu of",
         strcmp(class_name, "skip-sync-without-sync") ? "the CPU changed " : "",
         (unsigned long long)mistakes[mistake].length, mistakes[mistake].length == 1 ? "" : "s",
         (unsigned long long)mistakes[mistake].offset);
    finish(&driver, 1);
}

static void each_mistake_is_one_report(void **state)
{
    size_t place, mistake;
    uint64_t seed;

    (void)state;
    for (place = 0; place < HANDOVER_PLACES; place++) {
        for (mistake = 0; mistake < MISTAKES; mistake++) {
            for (seed = 0; seed < 1 + seeds(6); seed++)
                mistake_and_twin(mistake, &handover_places[place], seed);
        }
    }
}

/* One report has the first bytes, and how many more there are; also of a mapping within its first line. */
static void several_stores_are_one_report(void **state)
{
    size_t place, skip;

    (void)state;
    for (place = 0; place < HANDOVER_PLACES; place++) {
        for (skip = 0; skip <= 8; skip += 8) {
            struct handover_seen seen;
            struct driver driver;
            char *cpu;

            start(&driver, &handover_places[place], 0, &seen);
            cpu = driver.buffer + skip;
            MAP(&driver, cpu, 240, DMA_BIDIRECTIONAL);
            store(cpu + 5, 3);
            store(cpu + 100, 1);
            store(cpu + 200, 16);
            SEEN(&driver, dma_unmap_single(driver.dev, driver.dma, 240, DMA_BIDIRECTIONAL));
            assert_int_equal(seen.count, 1);
            assert_int_equal(seen.report.bytes.offset, 5);
            assert_int_equal(seen.report.bytes.length, 3);
            says(&seen.report, 240, driver.dma, " and 17 more up to offset 216" DEVICES,
                 "the CPU changed 3 bytes at offset 5 of");
            finish(&driver, 1);
        }
    }
}

/* Depth 1 knows calls only. */
static void depth_one_says_nothing(void **state)
{
    size_t mistake;

    (void)state;
    for (mistake = 0; mistake < MISTAKES; mistake++) {
        struct driver driver = { .place = &handover_places[0], .wrong = true };

        driver.machine = machine_with("hostile.dts", NULL, 0, 1);
        driver.dev = device_below(driver.machine, "noncoherent", "one");
        driver.buffer = kmalloc(SIZE, GFP_KERNEL);
        mistakes[mistake].run(&driver);
        finish(&driver, 0);
    }
}

/* ---- shared-cache-line ---- */

#define IN_THE_LINE " in the same cache line, while the device owned that and wrote to it"

/* A note of the driver's in front of a frame or behind it, in one allocation. */
static void note_beside_a_frame(struct driver *driver, char *note, char *frame, size_t size)
{
    MAP(driver, frame, size, DMA_FROM_DEVICE);
    store(note, 1);
    writes(driver, 0, size, 3);
    SEEN(driver, dma_sync_single_for_cpu(driver->dev, driver->dma, size, DMA_FROM_DEVICE));
    /* The CPU has the line now. */
    store(note, 1);
    dma_sync_single_for_device(driver->dev, driver->dma, size, DMA_FROM_DEVICE);
    dma_unmap_single(driver->dev, driver->dma, size, DMA_FROM_DEVICE);
}

static void lines_are_shared(const struct handover_place *place, uint64_t seed)
{
    struct handover_seen seen;
    struct driver driver;

    start(&driver, place, seed, &seen);
    note_beside_a_frame(&driver, driver.buffer, driver.buffer + 8, 120);
    if (seen.count != place->lines)
        fail_msg("%s, seed %d: %u reports", place->name, (int)seed, seen.count);
    if (place->lines) {
        assert_string_equal(seen.report.class_name, "shared-cache-line");
        assert_int_equal(seen.report.bytes.cpu, (uintptr_t)driver.buffer);
        assert_int_equal(seen.report.bytes.dma, driver.dma - 8);
        assert_int_equal(seen.report.bytes.length, 1);
        is_at(&seen.report.mapping.stack, driver.map_line);
        is_at(&seen.report.access.stack, driver.line);
        says(&seen.report, 120, driver.dma, IN_THE_LINE, "the CPU changed 1 byte, 8 in front of");
    }
    note_beside_a_frame(&driver, driver.buffer + 104, driver.buffer, 100);
    assert_int_equal(seen.count, 2 * place->lines);
    if (place->lines) {
        assert_int_equal(seen.report.bytes.cpu, (uintptr_t)driver.buffer + 104);
        assert_int_equal(seen.report.bytes.offset, 104);
        assert_int_equal(seen.report.bytes.length, 1);
        says(&seen.report, 100, driver.dma, IN_THE_LINE, "the CPU changed 1 byte, 4 behind");
    }
    /* With lines of its own, and where the device only reads, nothing is wrong. */
    note_beside_a_frame(&driver, driver.buffer, driver.buffer + 128, 128);
    MAP(&driver, driver.buffer + 8, 120, DMA_TO_DEVICE);
    store(driver.buffer, 1);
    reads(&driver, 0, 120);
    dma_unmap_single(driver.dev, driver.dma, 120, DMA_TO_DEVICE);
    /* Nor where the device did not write. */
    MAP(&driver, driver.buffer + 8, 120, DMA_FROM_DEVICE);
    store(driver.buffer, 1);
    dma_unmap_single(driver.dev, driver.dma, 120, DMA_FROM_DEVICE);
    assert_int_equal(seen.count, 2 * place->lines);
    finish(&driver, dk_check_count(driver.machine, "shared-cache-line"));
}

static void a_note_in_the_frames_line(void **state)
{
    size_t place;
    uint64_t seed;

    (void)state;
    for (place = 0; place < HANDOVER_PLACES; place++) {
        for (seed = 0; seed < 1 + seeds(6); seed++)
            lines_are_shared(&handover_places[place], seed);
    }
}

/* Two mappings in one line are overlapping-lines, and not this too. */
static void two_mappings_in_a_line(void **state)
{
    struct handover_seen seen;
    struct driver driver;
    dma_addr_t first;

    (void)state;
    start(&driver, &handover_places[1], 0, &seen);
    MAP(&driver, driver.buffer, 40, DMA_FROM_DEVICE);
    first = driver.dma;
    MAP(&driver, driver.buffer + 40, 88, DMA_FROM_DEVICE);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.report.class_name, "overlapping-lines");
    writes(&driver, 0, 88, 4);
    dma_sync_single_for_cpu(driver.dev, driver.dma, 88, DMA_FROM_DEVICE);
    store(driver.buffer + 44, 8);
    dma_sync_single_for_device(driver.dev, driver.dma, 88, DMA_FROM_DEVICE);
    driver.dma = first;
    writes(&driver, 0, 40, 5);
    dma_unmap_single(driver.dev, first, 40, DMA_FROM_DEVICE);
    assert_int_equal(seen.count, 1);
    dk_device_remove(driver.dev);
    finish(&driver, dk_check_count(driver.machine, NULL));
}

/* ---- Pages and lists ---- */

static void pages_are_watched(const struct handover_place *place, uint64_t seed)
{
    struct handover_seen seen;
    struct driver driver;
    struct page *page;
    char *cpu;

    start(&driver, place, seed, &seen);
    page = alloc_pages(GFP_KERNEL, 1);
    assert_non_null(page);
    cpu = page_address(page);
    fill(cpu, 2 * PAGE_SIZE, 3);
    driver.dma = dma_map_page(driver.dev, page, 4000, 1000, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(driver.dev, driver.dma), 0);
    store(cpu + 4090, 20);
    dma_unmap_page(driver.dev, driver.dma, 1000, DMA_BIDIRECTIONAL);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.report.class_name, "cpu-write-while-device-owns");
    assert_string_equal(seen.report.mapping.kind, "page");
    assert_int_equal(seen.report.bytes.offset, 90);
    assert_int_equal(seen.report.bytes.length, 20);
    assert_int_equal(seen.report.bytes.cpu, (uintptr_t)cpu + 4090);
    __free_pages(page, 1);
    finish(&driver, 1);
}

static void list_two_pages(struct scatterlist *list, struct page **pages)
{
    sg_init_table(list, 2);
    for (int i = 0; i < 2; i++) {
        pages[i] = alloc_page(GFP_KERNEL);
        assert_non_null(pages[i]);
        fill(page_address(pages[i]), PAGE_SIZE, (unsigned)i);
        sg_set_page(&list[i], pages[i], PAGE_SIZE, 0);
    }
}

/* Pages that an IOMMU makes one segment of, and others that stay two. */
static void lists_are_watched(const struct handover_place *place, uint64_t seed)
{
    struct scatterlist list[2];
    struct handover_seen seen;
    struct driver driver;
    struct page *pages[2];
    u64 offset;
    int mapped;

    start(&driver, place, seed, &seen);
    list_two_pages(list, pages);
    /* All is right. */
    mapped = (int)dma_map_sg(driver.dev, list, 2, DMA_BIDIRECTIONAL);
    assert_in_range(mapped, 1, 2);
    driver.dma = sg_dma_address(list);
    writes(&driver, 100, 2 * SIZE, 9);
    dma_sync_sg_for_cpu(driver.dev, list, 2, DMA_BIDIRECTIONAL);
    store((char *)page_address(pages[1]) + 10, 5);
    dma_sync_sg_for_device(driver.dev, list, 2, DMA_BIDIRECTIONAL);
    assert_int_equal(seen.count, 0);
    /* A store into the second page. */
    store((char *)page_address(pages[1]) + 17, 7);
    dma_unmap_sg(driver.dev, list, 2, DMA_BIDIRECTIONAL);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.report.class_name, "cpu-write-while-device-owns");
    assert_string_equal(seen.report.mapping.kind, "sg");
    offset = mapped == 1 ? PAGE_SIZE + 17 : 17;
    assert_int_equal(seen.report.bytes.offset, offset);
    assert_int_equal(seen.report.bytes.length, 7);
    assert_int_equal(seen.report.bytes.cpu, (uintptr_t)page_address(pages[1]) + 17);
    __free_page(pages[0]);
    __free_page(pages[1]);
    finish(&driver, 1);
}

/* Bytes that are with the device already, and changed meanwhile, enter a list: as an entry of their own, or
 * as part of a segment that an IOMMU makes of several. */
static void entries_meet_other_mappings(const struct handover_place *place, uint64_t seed)
{
    struct scatterlist list[2];
    struct handover_seen seen;
    struct driver driver;
    struct page *pages[2];

    start(&driver, place, seed, &seen);
    list_two_pages(list, pages);
    MAP(&driver, page_address(pages[1]), SIZE, DMA_TO_DEVICE);
    store((char *)page_address(pages[1]) + 30, 6);
    assert_in_range(dma_map_sg(driver.other, list, 2, DMA_TO_DEVICE), 1, 2);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.report.class_name, "cpu-write-while-device-owns");
    assert_string_equal(seen.report.mapping.kind, "single");
    assert_string_equal(seen.report.access.name, "dma_map_sg");
    assert_int_equal(seen.report.bytes.offset, 30);
    assert_int_equal(seen.report.bytes.length, 6);
    dma_unmap_sg(driver.other, list, 2, DMA_TO_DEVICE);
    dma_unmap_single(driver.dev, driver.dma, SIZE, DMA_TO_DEVICE);
    __free_page(pages[0]);
    __free_page(pages[1]);
    finish(&driver, 1);
}

/* Memory from dma_alloc_noncoherent() is the CPU's first. */
static void allocations_are_watched(const struct handover_place *place, uint64_t seed)
{
    struct handover_seen seen;
    struct driver driver;
    char *cpu;

    start(&driver, place, seed, &seen);
    cpu = dma_alloc_noncoherent(driver.dev, SIZE, &driver.dma, DMA_TO_DEVICE, GFP_KERNEL);
    assert_non_null(cpu);
    store(cpu, SIZE);
    dma_sync_single_for_device(driver.dev, driver.dma, SIZE, DMA_TO_DEVICE);
    reads(&driver, 0, SIZE);
    dma_sync_single_for_cpu(driver.dev, driver.dma, SIZE, DMA_TO_DEVICE);
    store(cpu + 5, 3);
    assert_int_equal(seen.count, 0);
    reads(&driver, 0, SIZE);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.report.class_name, "missing-sync-for-device");
    assert_string_equal(seen.report.mapping.kind, "noncoherent");
    assert_int_equal(seen.report.bytes.offset, 5);
    assert_int_equal(seen.report.bytes.length, 3);
    store(cpu + 5, 3);
    dma_free_noncoherent(driver.dev, SIZE, cpu, driver.dma, DMA_TO_DEVICE);
    finish(&driver, 1);
}

static void every_kind_of_mapping(void **state)
{
    size_t place;
    uint64_t seed;

    (void)state;
    for (place = 0; place < HANDOVER_PLACES; place++) {
        for (seed = 0; seed < 1 + seeds(4); seed++) {
            pages_are_watched(&handover_places[place], seed);
            lists_are_watched(&handover_places[place], seed);
            entries_meet_other_mappings(&handover_places[place], seed);
            allocations_are_watched(&handover_places[place], seed);
        }
    }
}

/* ---- Never reported ---- */

/* Documentation/core-api/dma-api-howto.rst: the CPU looks, and the card may write again at once. */
static void buffer_read_and_left(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    for (unsigned i = 0; i < 8; i++) {
        writes(driver, 0, SIZE, i);
        dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
        assert_true(filled(driver->buffer, SIZE, i));
    }
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
}

static void given_back_unread(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    for (unsigned i = 0; i < 8; i++) {
        writes(driver, 0, SIZE, i);
        dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    }
    dma_unmap_single_attrs(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
}

static void loads_of_what_is_sent(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_TO_DEVICE);
    assert_true(filled(driver->buffer, SIZE, 1));
    reads(driver, 0, SIZE);
    assert_true(filled(driver->buffer, SIZE, 1));
    dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
}

static void one_direction_of_two(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_BIDIRECTIONAL);
    for (unsigned i = 0; i < 8; i++) {
        writes(driver, 0, SIZE, i);
        dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
        assert_true(filled(driver->buffer, SIZE, i));
        store(driver->buffer + 1, 100);
        dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
        reads(driver, 0, SIZE);
    }
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL);
}

/* To two devices, and changed through the first mapping. */
static void two_readers(struct driver *driver)
{
    dma_addr_t other;

    MAP(driver, driver->buffer, SIZE, DMA_TO_DEVICE);
    other = dma_map_single(driver->other, driver->buffer + 16, SIZE - 16, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(driver->other, other), 0);
    for (unsigned i = 0; i < 4; i++) {
        dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
        store(driver->buffer, SIZE);
        dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
        reads(driver, 0, SIZE);
        assert_int_equal(dk_master_read(driver->other, other, driver->bytes, SIZE - 16), 0);
    }
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE);
    dma_unmap_single(driver->other, other, SIZE - 16, DMA_TO_DEVICE);
}

/* A buffer that one device fills and the next reads, mapped for the second without another sync. */
static void from_device_to_device(struct driver *driver)
{
    dma_addr_t out;

    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    writes(driver, 0, SIZE, 2);
    out = dma_map_single_attrs(driver->other, driver->buffer, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    assert_int_equal(dma_mapping_error(driver->other, out), 0);
    assert_int_equal(dk_master_read(driver->other, out, driver->bytes, SIZE), 0);
    dma_unmap_single_attrs(driver->other, out, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    assert_true(filled(driver->buffer, SIZE, 2));
}

static void recycle_unsynced(struct driver *driver, char *buffer)
{
    MAP_ATTRS(driver, buffer, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    reads(driver, 0, SIZE);
    dma_unmap_single_attrs(driver->dev, driver->dma, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
}

/* Left with the device and mapped for it again: nobody but it has touched the buffer. */
static void recycled_unsynced(struct driver *driver)
{
    MAP(driver, driver->buffer, SIZE, DMA_BIDIRECTIONAL);
    writes(driver, 0, SIZE, 2);
    dma_unmap_single_attrs(driver->dev, driver->dma, SIZE, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
    recycle_unsynced(driver, driver->buffer);
}

/* A page pool's: synced by hand both ways, changed by the CPU, and unmapped without a sync. */
static void changed_and_unmapped_unsynced(struct driver *driver)
{
    MAP_ATTRS(driver, driver->buffer, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    writes(driver, 0, 100, 3);
    dma_sync_single_for_cpu(driver->dev, driver->dma, 100, DMA_FROM_DEVICE);
    assert_true(filled(driver->buffer, 100, 3));
    store(driver->buffer, 40);
    dma_unmap_single_attrs(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
}

/* Eviction brings what the device wrote, in part and in any order. */
static void refills_between_writes(struct driver *driver)
{
    dma_addr_t more;
    char *beside = kmalloc(SIZE, GFP_KERNEL);

    assert_non_null(beside);
    MAP(driver, driver->buffer, SIZE, DMA_FROM_DEVICE);
    for (unsigned i = 0; i < 20; i++) {
        writes(driver, 10 * i, 60, i);
        dma_sync_single_for_device(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
        writes(driver, 5 * i, 60, i + 1);
        more = dma_map_single(driver->dev, beside, SIZE, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(driver->dev, more), 0);
        dma_unmap_single(driver->dev, more, SIZE, DMA_TO_DEVICE);
    }
    dma_sync_single_for_cpu(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    dma_unmap_single(driver->dev, driver->dma, SIZE, DMA_FROM_DEVICE);
    kfree(beside);
}

static const struct {
    const char *name;
    void (*run)(struct driver *driver);
} legal[] = {
    { "buffer read and left", buffer_read_and_left },
    { "given back unread", given_back_unread },
    { "loads of what is sent", loads_of_what_is_sent },
    { "one direction of two", one_direction_of_two },
    { "two readers", two_readers },
    { "from device to device", from_device_to_device },
    { "recycled unsynced", recycled_unsynced },
    { "changed and unmapped unsynced", changed_and_unmapped_unsynced },
    { "refills between writes", refills_between_writes },
};

static void what_is_legal_is_silent(void **state)
{
    size_t place, i;
    uint64_t seed;

    (void)state;
    for (place = 0; place < HANDOVER_PLACES; place++) {
        for (i = 0; i < sizeof(legal) / sizeof(legal[0]); i++) {
            for (seed = 0; seed < 1 + seeds(8); seed++) {
                struct handover_seen seen;
                struct driver driver;

                start(&driver, &handover_places[place], seed, &seen);
                /* One that bounces has copies of its own. */
                if (legal[i].run == two_readers && dma_max_mapping_size(driver.dev) != SIZE_MAX) {
                    finish(&driver, 0);
                    continue;
                }
                legal[i].run(&driver);
                if (seen.count)
                    fail_msg("%s, %s, seed %d: %s: %s", legal[i].name, handover_places[place].name, (int)seed,
                             seen.report.class_name, seen.report.what);
                finish(&driver, 0);
            }
        }
    }
}

/* What is too large is not watched, and not reported either. */
static void the_largest_mappings(void **state)
{
    const size_t large = (size_t)65 << 20;
    struct handover_seen seen;
    struct driver driver;
    struct scatterlist sg;
    struct page *page;
    struct cma *cma;

    (void)state;
    start(&driver, &handover_places[0], 0, &seen);
    cma = dev_get_cma_area(driver.dev);
    page = cma ? cma_alloc(cma, large >> PAGE_SHIFT, 0, true) : NULL;
    if (page) {
        sg_init_table(&sg, 1);
        sg_set_page(&sg, page, (unsigned)large, 0);
        dma_set_max_seg_size(driver.dev, ~0u);
        assert_int_equal(dma_map_sg(driver.dev, &sg, 1, DMA_TO_DEVICE), 1);
        store(page_address(page), 10);
        dma_unmap_sg(driver.dev, &sg, 1, DMA_TO_DEVICE);
        cma_release(cma, page, large >> PAGE_SHIFT);
    }
    assert_int_equal(seen.count, 0);
    finish(&driver, 0);
}

/* What is left with devices is remembered up to a number. Beyond that anything may have been. */
static void what_is_left_is_remembered_up_to_a_number(void **state)
{
    enum { REMEMBERED = 256 };
    struct handover_seen seen;
    struct driver driver;
    char *buffers[REMEMBERED + 1];
    size_t i;

    (void)state;
    start(&driver, &handover_places[0], 0, &seen);
    driver.wrong = true;
    for (i = 0; i <= REMEMBERED; i++) {
        buffers[i] = kzalloc(SIZE, GFP_KERNEL);
        assert_non_null(buffers[i]);
        if (i == REMEMBERED) {
            recycle_unsynced(&driver, buffers[0]);
            recycle_unsynced(&driver, buffers[100]);
            recycle_unsynced(&driver, buffers[REMEMBERED - 1]);
            assert_int_equal(seen.count, 0);
            filled_and_mapped_unsynced(&driver);
        }
        MAP(&driver, buffers[i], SIZE, DMA_TO_DEVICE);
        dma_unmap_single_attrs(driver.dev, driver.dma, SIZE, DMA_TO_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    }
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.report.class_name, "skip-sync-without-sync");
    filled_and_mapped_unsynced(&driver);
    assert_int_equal(dk_check_count(driver.machine, NULL), 1);
    for (i = 0; i <= REMEMBERED; i++)
        kfree(buffers[i]);
    finish(&driver, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_one_report),
        cmocka_unit_test(several_stores_are_one_report),
        cmocka_unit_test(depth_one_says_nothing),
        cmocka_unit_test(a_note_in_the_frames_line),
        cmocka_unit_test(two_mappings_in_a_line),
        cmocka_unit_test(every_kind_of_mapping),
        cmocka_unit_test(what_is_legal_is_silent),
        cmocka_unit_test(the_largest_mappings),
        cmocka_unit_test(what_is_left_is_remembered_up_to_a_number),
    };

    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
