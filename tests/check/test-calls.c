/* SPDX-License-Identifier: MIT */
/*
 * What each call of a driver is reported for, and what not.
 */
#include "fake-machine.h"

#include <dmakit/dma-mapping.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct fake_machine fake;
static struct device *const dev = &fake.devices[0];
static struct dk_report last;
static char reported[512]; /* the classes, in order, each with a blank after it */
static char last_what[512], last_advice[512];

static void note(const struct dk_report *report, void *data)
{
    size_t used = strlen(reported);

    (void)data;
    last = *report;
    snprintf(reported + used, sizeof(reported) - used, "%s ", report->class_name);
    snprintf(last_what, sizeof(last_what), "%s", report->what);
    snprintf(last_advice, sizeof(last_advice), "%s", report->advice);
}

static int start(void **state)
{
    (void)state;
    reported[0] = '\0';
    last_what[0] = '\0';
    memset(&last, 0, sizeof(last));
    if (fake_start_checked(&fake))
        return -1;
    dk_check_set_sink(&fake.machine, note, NULL);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    fake_finish(&fake);
    return 0;
}

static const struct dk_mapping plain = {
    .kind = DK_MAPPING_SINGLE, .dma = 0x1000, .phys = 0x5000, .size = 128, .direction = DMA_TO_DEVICE
};

static void make(const struct dk_mapping *wanted)
{
    struct dk_mapping mapping = *wanted;

    dk_check_mapped(dev, "dma_map_single", &mapping);
    assert_true(mapping.number);
}

/* ---- Unmap and free ---- */

struct free_case {
    const char *name;
    struct dk_mapping made, asked;
    bool unchecked;
    const char *classes;
    bool undone;
    const char *what; /* part of the sentence, or NULL */
};

#define MADE(k, ...)                                                         \
    {                                                                        \
        .kind = (k), .dma = 0x1000, .phys = 0x5000, .size = 128, __VA_ARGS__ \
    }
#define ASKED(k, d, s, ...)                               \
    {                                                     \
        .kind = (k), .dma = (d), .size = (s), __VA_ARGS__ \
    }
#define TO .direction = DMA_TO_DEVICE
#define POINTER(n) .cpu = (const void *)(n)

static const struct free_case free_cases[] = {
    { "right", MADE(DK_MAPPING_SINGLE, TO), MADE(DK_MAPPING_SINGLE, TO), false, "", true, NULL },
    { "single as page", MADE(DK_MAPPING_SINGLE, TO), MADE(DK_MAPPING_PAGE, TO), false, "", true, NULL },
    { "page as single", MADE(DK_MAPPING_PAGE, TO), MADE(DK_MAPPING_SINGLE, TO), false, "", true, NULL },
    { "unchecked", MADE(DK_MAPPING_SINGLE, TO), MADE(DK_MAPPING_SINGLE, TO), true, "error-unchecked ", true,
      "without asking dma_mapping_error()" },
    { "unchecked page", MADE(DK_MAPPING_PAGE, TO), MADE(DK_MAPPING_PAGE, TO), true, "error-unchecked ", true,
      NULL },
    { "unchecked resource", MADE(DK_MAPPING_RESOURCE, TO), MADE(DK_MAPPING_RESOURCE, TO), true,
      "error-unchecked ", true, NULL },
    { "sg needs no check", MADE(DK_MAPPING_SG, TO, .sg_nents = 2), MADE(DK_MAPPING_SG, TO, .sg_nents = 2),
      true, "", true, NULL },
    { "coherent needs no check", MADE(DK_MAPPING_COHERENT, POINTER(16)),
      MADE(DK_MAPPING_COHERENT, POINTER(16)), true, "", true, NULL },
    { "longer", MADE(DK_MAPPING_SINGLE, TO), ASKED(DK_MAPPING_SINGLE, 0x1000, 129, TO), false,
      "free-wrong-size ", true, "unmapped with 129 bytes what was mapped with 128" },
    { "shorter", MADE(DK_MAPPING_SINGLE, TO), ASKED(DK_MAPPING_SINGLE, 0x1000, 127, TO), false,
      "free-wrong-size ", true, "unmapped with 127 bytes what was mapped with 128" },
    { "direction", MADE(DK_MAPPING_SINGLE, TO), MADE(DK_MAPPING_SINGLE, .direction = DMA_FROM_DEVICE), false,
      "free-wrong-direction ", true, "unmapped from-device what was mapped to-device" },
    { "single as sg", MADE(DK_MAPPING_SINGLE, TO), MADE(DK_MAPPING_SG, TO, .sg_nents = 1), false,
      "free-wrong-function ", false, "mapped as single and are unmapped with dma_unmap_single()" },
    { "sg as single", MADE(DK_MAPPING_SG, TO, .sg_nents = 1), MADE(DK_MAPPING_SINGLE, TO), false,
      "free-wrong-function ", true, "dma_unmap_sg()" },
    { "resource as single", MADE(DK_MAPPING_RESOURCE, TO), MADE(DK_MAPPING_SINGLE, TO), false,
      "free-wrong-function ", false, "dma_unmap_resource()" },
    { "coherent as noncoherent", MADE(DK_MAPPING_COHERENT, POINTER(16)),
      MADE(DK_MAPPING_NONCOHERENT, POINTER(16)), false, "free-wrong-function ", false,
      "allocated as coherent and are freed with dma_free_coherent()" },
    { "noncoherent as pages", MADE(DK_MAPPING_NONCOHERENT, TO, POINTER(16)),
      MADE(DK_MAPPING_PAGES, TO, POINTER(32)), false, "free-wrong-function ", false,
      "dma_free_noncoherent()" },
    { "pages as coherent", MADE(DK_MAPPING_PAGES, POINTER(16)), MADE(DK_MAPPING_COHERENT, POINTER(32)), false,
      "free-wrong-function ", false, "dma_free_pages()" },
    { "single as coherent", MADE(DK_MAPPING_SINGLE, TO), MADE(DK_MAPPING_COHERENT, POINTER(16)), false,
      "free-wrong-function free-wrong-direction ", false, NULL },
    { "cpu address", MADE(DK_MAPPING_COHERENT, POINTER(0x7000)), MADE(DK_MAPPING_COHERENT, POINTER(0x7040)),
      false, "free-wrong-cpu-address ", true, "CPU address 0x7040 what was allocated at 0x7000" },
    { "page", MADE(DK_MAPPING_PAGES, POINTER(0x7000)), MADE(DK_MAPPING_PAGES, POINTER(0x7040)), false,
      "free-wrong-cpu-address ", true, "page 0x7040" },
    { "nents", MADE(DK_MAPPING_SG, TO, .sg_nents = 4, .sg_mapped = 3), MADE(DK_MAPPING_SG, TO, .sg_nents = 5),
      false, "free-wrong-sg-count ", true, "unmapped 5 entries of a scatterlist that was mapped with 4" },
    { "mapped", MADE(DK_MAPPING_SG, TO, .sg_nents = 4, .sg_mapped = 3),
      MADE(DK_MAPPING_SG, TO, .sg_nents = 3), false, "free-wrong-sg-count ", true,
      "the number that dma_map_sg() returned" },
    { "invalid", MADE(DK_MAPPING_SINGLE, TO), ASKED(DK_MAPPING_SINGLE, ~0ull, 128, TO), false,
      "free-invalid-address ", false, "DMA_MAPPING_ERROR" },
    { "inside", MADE(DK_MAPPING_SINGLE, TO), ASKED(DK_MAPPING_SINGLE, 0x1040, 64, TO), false,
      "free-not-allocated ", false, "64 bytes inside a live one of 128 bytes at 0x1000" },
    { "nowhere", MADE(DK_MAPPING_SINGLE, TO), ASKED(DK_MAPPING_SINGLE, 0x1080, 64, TO), false,
      "free-not-allocated ", false, "nothing is mapped" },
    { "nowhere allocated", MADE(DK_MAPPING_SINGLE, TO), ASKED(DK_MAPPING_COHERENT, 0x1080, 64, POINTER(16)),
      false, "free-not-allocated ", false, "nothing is allocated" },
    { "everything", MADE(DK_MAPPING_SINGLE, TO),
      ASKED(DK_MAPPING_PAGE, 0x1000, 64, .direction = DMA_FROM_DEVICE), true,
      "free-wrong-size free-wrong-direction error-unchecked ", true, NULL },
};

static void test_frees(void **state)
{
    size_t i;

    for (i = 0; i < sizeof(free_cases) / sizeof(free_cases[0]); i++) {
        const struct free_case *one = &free_cases[i];
        struct dk_mapping found;
        bool undone;

        start(state);
        make(&one->made);
        if (!one->unchecked)
            dk_check_mapping_error(dev, one->made.dma);
        undone = dk_check_unmap(dev, "the_call", &one->asked, &found);
        if (strcmp(reported, one->classes) || undone != one->undone ||
            (one->what && !strstr(last_what, one->what)))
            print_error("case %s: %s: %s\n", one->name, reported, last_what);
        assert_string_equal(reported, one->classes);
        assert_int_equal(undone, one->undone);
        assert_true(!one->what || strstr(last_what, one->what));
        if (undone) {
            assert_int_equal(found.kind, one->made.kind);
            assert_true(found.size == one->made.size && found.phys == 0x5000);
        }
        if (reported[0]) {
            assert_string_equal(last.access.kind, "call");
            assert_string_equal(last.access.name, "the_call");
            assert_string_equal(last.device, "/fake/0");
            assert_string_equal(last.access.stack.frames[0].function, "test_frees");
        }
        if (one->asked.dma == 0x1000 && reported[0]) {
            assert_string_equal(last.mapping.kind, dk_mapping_kind_name(one->made.kind));
            assert_true(last.mapping.dma == 0x1000 && last.mapping.size == 128);
            assert_string_equal(last.mapping.stack.frames[0].function, "make");
        }
        finish(state);
    }
}

static void test_bytes_of_wrong_size(void **state)
{
    struct dk_mapping asked = plain, found;

    (void)state;
    asked.size = 100;
    make(&plain);
    dk_check_mapping_error(dev, plain.dma);
    dk_check_unmap(dev, "dma_unmap_single", &asked, &found);
    assert_true(last.bytes.offset == 100 && last.bytes.length == 28 && last.bytes.dma == 0x1000 + 100);
    asked.size = 130;
    make(&plain);
    dk_check_mapping_error(dev, plain.dma);
    dk_check_unmap(dev, "dma_unmap_single", &asked, &found);
    assert_true(last.bytes.offset == 128 && last.bytes.length == 2);
}

static void test_second_unmap(void **state)
{
    struct dk_mapping found;

    (void)state;
    make(&plain);
    dk_check_mapping_error(dev, plain.dma);
    assert_true(dk_check_unmap(dev, "dma_unmap_single", &plain, &found));
    assert_false(dk_check_unmap(dev, "dma_unmap_single", &plain, &found));
    assert_string_equal(reported, "free-not-allocated ");
    assert_non_null(strstr(last_what, "which were unmapped before already"));
    assert_string_equal(last.mapping.stack.frames[0].function, "make");
}

static void test_unmap_for_another_device(void **state)
{
    struct dk_mapping found;

    (void)state;
    make(&plain);
    assert_false(dk_check_unmap(&fake.devices[1], "dma_unmap_single", &plain, &found));
    assert_string_equal(reported, "free-not-allocated ");
    assert_non_null(strstr(last_what, "they were mapped for /fake/0"));
    assert_string_equal(last.device, "/fake/1");
}

/* ---- Sync ---- */

struct sync_case {
    const char *name;
    enum dma_data_direction mapped;
    dma_addr_t dma;
    u64 size;
    enum dma_data_direction direction;
    bool for_cpu;
    const char *classes;
    bool done;
    const char *what;
};

#define CPU true
#define DEVICE false

static const struct sync_case sync_cases[] = {
    { "whole", DMA_TO_DEVICE, 0x1000, 128, DMA_TO_DEVICE, DEVICE, "", true, NULL },
    { "part", DMA_FROM_DEVICE, 0x1040, 64, DMA_FROM_DEVICE, CPU, "", true, NULL },
    { "own direction other way", DMA_TO_DEVICE, 0x1000, 128, DMA_TO_DEVICE, CPU, "", true, NULL },
    { "own direction other way", DMA_FROM_DEVICE, 0x1000, 128, DMA_FROM_DEVICE, DEVICE, "", true, NULL },
    { "one of both", DMA_BIDIRECTIONAL, 0x1000, 128, DMA_TO_DEVICE, DEVICE, "", true, NULL },
    { "one of both", DMA_BIDIRECTIONAL, 0x1000, 128, DMA_FROM_DEVICE, CPU, "", true, NULL },
    { "one of both", DMA_BIDIRECTIONAL, 0x1000, 128, DMA_FROM_DEVICE, DEVICE, "", true, NULL },
    { "past the end", DMA_TO_DEVICE, 0x1000, 129, DMA_TO_DEVICE, DEVICE, "sync-out-of-range ", false,
      "of 129 bytes from offset 0 of a mapping of 128 bytes" },
    { "part past the end", DMA_TO_DEVICE, 0x1040, 65, DMA_TO_DEVICE, DEVICE, "sync-out-of-range ", false,
      "from offset 64" },
    { "wraps", DMA_TO_DEVICE, 0x1040, ~0ull, DMA_TO_DEVICE, DEVICE, "sync-out-of-range ", false, NULL },
    { "begins before", DMA_TO_DEVICE, 0xff0, 32, DMA_TO_DEVICE, DEVICE, "sync-out-of-range ", false,
      "from 16 bytes before a mapping" },
    { "ends before", DMA_TO_DEVICE, 0xff0, 16, DMA_TO_DEVICE, DEVICE, "sync-not-mapped ", false,
      "no mapping" },
    { "behind", DMA_TO_DEVICE, 0x1080, 16, DMA_TO_DEVICE, DEVICE, "sync-not-mapped ", false, "no mapping" },
    { "read only", DMA_TO_DEVICE, 0x1000, 128, DMA_FROM_DEVICE, CPU, "sync-readonly-for-cpu ", true,
      "synced from-device what is mapped to-device" },
    { "read only both", DMA_TO_DEVICE, 0x1000, 128, DMA_BIDIRECTIONAL, CPU, "sync-readonly-for-cpu ", true,
      NULL },
    { "write only", DMA_FROM_DEVICE, 0x1000, 128, DMA_TO_DEVICE, DEVICE, "sync-writeonly-for-device ", true,
      NULL },
    { "wrong", DMA_TO_DEVICE, 0x1000, 128, DMA_FROM_DEVICE, DEVICE, "sync-wrong-direction ", true, NULL },
    { "wrong", DMA_FROM_DEVICE, 0x1000, 128, DMA_TO_DEVICE, CPU, "sync-wrong-direction ", true, NULL },
    { "wrong both", DMA_FROM_DEVICE, 0x1000, 128, DMA_BIDIRECTIONAL, CPU, "sync-wrong-direction ", true,
      NULL },
};

static void test_syncs(void **state)
{
    size_t i;

    for (i = 0; i < sizeof(sync_cases) / sizeof(sync_cases[0]); i++) {
        const struct sync_case *one = &sync_cases[i];
        struct dk_mapping mapping = plain, found;
        bool done;

        start(state);
        mapping.direction = one->mapped;
        make(&mapping);
        done = dk_check_sync(dev, "the_sync", one->dma, one->size, one->direction, one->for_cpu, 0, &found);
        if (strcmp(reported, one->classes) || done != one->done ||
            (one->what && !strstr(last_what, one->what)))
            print_error("case %zu %s: %s: %s\n", i, one->name, reported, last_what);
        assert_string_equal(reported, one->classes);
        assert_int_equal(done, one->done);
        assert_true(!one->what || strstr(last_what, one->what));
        if (done)
            assert_true(found.dma == 0x1000 && found.size == 128 && found.direction == one->mapped);
        if (reported[0]) {
            assert_string_equal(last.access.stack.frames[0].function, "test_syncs");
            assert_int_equal(last.mapping.kind != NULL, strcmp(reported, "sync-not-mapped ") != 0);
        }
        finish(state);
    }
}

static void test_sync_after_unmap(void **state)
{
    struct dk_mapping found;

    (void)state;
    make(&plain);
    dk_check_mapping_error(dev, plain.dma);
    dk_check_unmap(dev, "dma_unmap_single", &plain, &found);
    assert_false(dk_check_sync(dev, "the_sync", 0x1000, 128, DMA_TO_DEVICE, DEVICE, 0, &found));
    assert_string_equal(reported, "sync-not-mapped ");
    assert_non_null(strstr(last_what, "a mapping was that is unmapped"));
    assert_string_equal(last.mapping.kind, "single");
}

static void test_sync_sg(void **state)
{
    struct dk_mapping mapping = plain, found;

    (void)state;
    mapping.kind = DK_MAPPING_SG;
    mapping.sg_nents = 4;
    mapping.sg_mapped = 3;
    make(&mapping);
    assert_true(dk_check_sync(dev, "the_sync", 0x1000, 128, DMA_TO_DEVICE, DEVICE, 4, &found));
    assert_int_equal(found.sg_mapped, 3);
    assert_true(dk_check_sync(dev, "the_sync", 0x1000, 128, DMA_TO_DEVICE, DEVICE, 0, &found));
    assert_string_equal(reported, "");
    assert_true(dk_check_sync(dev, "the_sync", 0x1000, 128, DMA_TO_DEVICE, DEVICE, 3, &found));
    assert_string_equal(reported, "sync-wrong-sg-count ");
    assert_non_null(
        strstr(last_what, "synced 3 entries of a scatterlist that was mapped with 4, the number that"));
}

/* ---- Limits that are set late ---- */

/* Two buffers, an allocation, a list and a range of addresses, and how much of them each limit lets pass. */
static void test_limits(void **state)
{
    static const struct {
        enum dk_limit limit;
        u64 value;
        const char *what; /* NULL: all fit */
    } cases[] = {
        { DK_LIMIT_MASK, 0x2fff, NULL },
        { DK_LIMIT_MASK, 0x2ffe,
          "the_call() set 0x2ffe while 1 live mappings or allocations do not fit it, the oldest of 4096 bytes "
          "at 0x2000" },
        { DK_LIMIT_MASK, 0x107e,
          "the_call() set 0x107e while 2 live mappings or allocations do not fit it, the oldest of 128 bytes "
          "at 0x1000" },
        { DK_LIMIT_COHERENT_MASK, 0x9fff, NULL },
        { DK_LIMIT_COHERENT_MASK, 0x9ffe,
          "the_call() set 0x9ffe while 1 live mappings or allocations do not fit it, the oldest of 4096 bytes "
          "at 0x9000" },
        { DK_LIMIT_SEGMENT_SIZE, 4096, NULL },
        { DK_LIMIT_SEGMENT_SIZE, 4095,
          "the_call() set 0xfff while 1 live mappings or allocations do not fit it, the oldest of 4096 bytes "
          "at 0x2000" },
        { DK_LIMIT_SEGMENT_BOUNDARY, 0xfff, NULL },
        { DK_LIMIT_SEGMENT_BOUNDARY, 0x7ff,
          "the_call() set 0x7ff while 1 live mappings or allocations do not fit it, the oldest of 4096 bytes "
          "at 0x2000" },
    };
    struct dk_mapping mapping = plain;
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start(state);
        make(&plain);
        mapping = plain;
        mapping.kind = DK_MAPPING_SG;
        mapping.dma = 0x2000;
        mapping.size = 4096;
        make(&mapping);
        mapping.kind = DK_MAPPING_COHERENT;
        mapping.dma = 0x9000;
        make(&mapping);
        /* Addresses alone: neither mask is held against them. */
        mapping.kind = DK_MAPPING_IOVA;
        mapping.dma = 0xffff0000;
        make(&mapping);
        /* Another device's coherent memory is no buffer of this driver's, nor its allocation. */
        mapping.kind = DK_MAPPING_REMAP;
        mapping.dma = 0xfffe0000;
        make(&mapping);
        dk_check_limit_set(dev, "the_call", cases[i].limit, cases[i].value);
        if (strcmp(last_what, cases[i].what ? cases[i].what : "") != 0)
            print_error("case %zu\n", i);
        assert_string_equal(last_what, cases[i].what ? cases[i].what : "");
        assert_string_equal(reported, cases[i].what ? "mask-set-too-late " : "");
        if (cases[i].what) {
            assert_true(last.bytes.offset == 0 && last.bytes.length == last.mapping.size);
            assert_true(last.bytes.dma == last.mapping.dma);
            assert_string_equal(last.mapping.stack.frames[0].function, "make");
        }
        finish(state);
    }
}

/* Of the line that made most the oldest mapping is shown, and how many there are of all. */
static void test_growth(void **state)
{
    struct dk_mapping mapping = plain, found;
    volatile unsigned i; /* not unrolled: all come from one place */

    (void)state;
    mapping.kind = DK_MAPPING_COHERENT;
    mapping.dma = 0x100;
    make(&mapping);
    mapping.dma = 0x9000;
    make(&mapping);
    for (i = 0; i < 3; i++) {
        mapping.dma = 0x7000 - (dma_addr_t)i % 2 * 0x2000 - i;
        make(&mapping);
    }
    dk_check_growth(dev, "the_call", 4);
    assert_string_equal(reported, "");
    dk_check_growth(dev, "the_call", 3);
    assert_string_equal(reported, "leak-while-bound ");
    assert_string_equal(
        last_what, "of 5 live mappings of the device one line made 3, and none of them was ever unmapped");
    assert_true(last.mapping.dma == 0x7000 && last.bytes.length == 128);
    assert_string_equal(last.access.name, "the_call");
    /* One that went clears its line. */
    assert_true(dk_check_unmap(dev, "dma_free_coherent", &mapping, &found));
    make(&mapping);
    dk_check_growth(dev, "the_call", 2);
    assert_string_equal(reported, "leak-while-bound ");
}

/* ---- What reports name, to the byte ---- */

static void bytes_are(u64 offset, u64 length, const char *what)
{
    assert_string_equal(last_what, what);
    assert_int_equal(last.bytes.offset, offset);
    assert_int_equal(last.bytes.length, length);
}

static void test_bytes_of_a_free_inside(void **state)
{
    struct dk_mapping asked = plain, found;

    (void)state;
    make(&plain);
    asked.dma += 0x40;
    asked.size = 24;
    assert_false(dk_check_unmap(dev, "the_call", &asked, &found));
    bytes_are(
        64, 64,
        "the_call() of 24 bytes at 0x1040, where none starts: the address lies 64 bytes inside a live one of "
        "128 bytes at 0x1000");
    assert_true(last.bytes.dma == 0x1040);
}

static void test_bytes_of_a_sync_out_of_range(void **state)
{
    struct dk_mapping found;

    (void)state;
    make(&plain);
    dk_check_sync(dev, "the_sync", 0x1060, 48, DMA_TO_DEVICE, DEVICE, 0, &found);
    bytes_are(128, 16, "the_sync() of 48 bytes from offset 96 of a mapping of 128 bytes at 0x1000");
    assert_true(last.bytes.dma == 0x1080);
    dk_check_sync(dev, "the_sync", 0xff8, 24, DMA_TO_DEVICE, DEVICE, 0, &found);
    bytes_are(0, 8, "the_sync() of 24 bytes from 8 bytes before a mapping of 128 bytes at 0x1000");
    assert_true(last.bytes.dma == 0xff8);
    dk_check_sync(dev, "the_sync", 0x1010, 32, DMA_FROM_DEVICE, CPU, 0, &found);
    bytes_are(16, 32, "the_sync() of 32 bytes at 0x1010 synced from-device what is mapped to-device");
    assert_true(last.bytes.dma == 0x1010);
}

static void test_bytes_of_a_late_question(void **state)
{
    struct dk_mapping found;

    (void)state;
    make(&plain);
    dk_check_sync(dev, "the_sync", plain.dma, plain.size, DMA_TO_DEVICE, DEVICE, 0, &found);
    dk_check_mapping_error(dev, plain.dma);
    assert_string_equal(reported, "error-checked-too-late ");
    bytes_are(
        0, 128,
        "dma_mapping_error() was asked about the mapping of 128 bytes at 0x1000 when it had been synced, or "
        "accessed by the device, already");
    /* Now it was asked for. */
    dk_check_mapping_error(dev, plain.dma);
    assert_true(dk_check_unmap(dev, "the_call", &plain, &found));
    assert_string_equal(reported, "error-checked-too-late ");
}

static void test_attributes(void **state)
{
    static const struct {
        unsigned long made, asked;
        const char *what; /* NULL: they agree */
    } cases[] = {
        { 0, DMA_ATTR_NO_WARN, NULL },
        { DMA_ATTR_WRITE_COMBINE, DMA_ATTR_WRITE_COMBINE, NULL },
        { DMA_ATTR_WRITE_COMBINE, 0,
          "the_call() at 0x1000 freed with attributes 0x0 what was allocated with 0x4" },
        { DMA_ATTR_NO_WARN, DMA_ATTR_NO_KERNEL_MAPPING,
          "the_call() at 0x1000 freed with attributes 0x10 what was allocated with 0x0" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_mapping mapping = MADE(DK_MAPPING_COHERENT, POINTER(16)), found;

        start(state);
        mapping.attrs = cases[i].made;
        make(&mapping);
        mapping.attrs = cases[i].asked;
        assert_true(dk_check_unmap(dev, "the_call", &mapping, &found));
        assert_string_equal(last_what, cases[i].what ? cases[i].what : "");
        assert_string_equal(reported, cases[i].what ? "alias-different-attributes " : "");
        finish(state);
    }
}

/* ---- Segments ---- */

static void test_segments(void **state)
{
    static const struct {
        unsigned longest;
        unsigned long boundary;
        dma_addr_t dma;
        u64 length;
        const char *classes;
    } cases[] = {
        { 0, 0, 0x1000, 0x10000, "" },
        { 0, 0, 0x1000, 0x10001, "sg-segment-too-long " },
        { 512, 0, 0x1000, 512, "" },
        { 512, 0, 0x1000, 513, "sg-segment-too-long " },
        { 0, 0, 0xfffff000, 0x1000, "" },
        { 0, 0, 0xfffff000, 0x1001, "sg-crosses-boundary " },
        { 0, 0xfff, 0x1000, 0x1000, "" },
        { 0, 0xfff, 0x1001, 0x1000, "sg-crosses-boundary " },
        { 0x100, 0xfff, 0x1fff, 0x200, "sg-segment-too-long sg-crosses-boundary " },
        { 0, ~0ul, 0xfffff000, 0x2000, "" },
        { 0, 0xfff, 0x1fff, 0, "" },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        start(state);
        fake.limits[0].max_segment_size = cases[i].longest;
        fake.limits[0].segment_boundary_mask = cases[i].boundary;
        if (!cases[i].longest && !cases[i].boundary)
            fake.devices[0].dma_parms = NULL;
        dk_check_sg_segment(dev, "dma_map_sg", cases[i].dma, cases[i].length);
        assert_string_equal(reported, cases[i].classes);
        if (reported[0])
            assert_true(last.bytes.dma == cases[i].dma && last.bytes.length == cases[i].length);
        finish(state);
    }
}

/* ---- Addresses ---- */

static const char constant[64] = "read-only";
static char global[64] = "writable";
/* Read-only once the program is linked: a pointer in it was relocated. */
static const char *const relocated[2] = { constant, global };

static void expect_refused(const void *cpu, u64 length, const char *classes, const char *what)
{
    reported[0] = '\0';
    last_what[0] = '\0';
    assert_false(dk_check_map_address(dev, "dma_map_single", cpu, length));
    if (strcmp(reported, classes) || !strstr(last_what, what))
        print_error("%p: %s: %s\n", cpu, reported, last_what);
    assert_string_equal(reported, classes);
    assert_non_null(strstr(last_what, what));
    assert_true(last.bytes.cpu == (uintptr_t)cpu && last.bytes.length == length);
    assert_null(last.mapping.kind);
    assert_true(strlen(last_advice) > 10);
    assert_string_equal(last.access.stack.frames[0].function, "expect_refused");
    assert_string_equal(last.access.name, "dma_map_single");
}

static void *on_thread(void *data)
{
    char buffer[32] = "";

    (void)data;
    expect_refused(buffer, 32, "maps-stack ", "on a stack");
    return NULL;
}

static void *of_main_thread(void *data)
{
    expect_refused(data, 8, "maps-stack ", "on a stack");
    return NULL;
}

static void test_addresses(void **state)
{
    static char slots[8][64];
    struct fake_machine other;
    char on_stack[32] = "";
    void *heap = malloc(64);
    pthread_t thread;

    (void)state;
    fake_start(&other);
    fake_range(&fake.memory, slots[0], 64, DK_ADDRESS_LINEAR, FAKE_RAM - 64);
    fake_range(&fake.memory, slots[1], 64, DK_ADDRESS_HOLE, 0);
    fake_range(&fake.memory, slots[2], 64, DK_ADDRESS_UNCACHED, 0);
    fake_range(&fake.memory, slots[3], 64, DK_ADDRESS_VMALLOC, 0);
    fake_range(&fake.memory, slots[4], 64, DK_ADDRESS_REGISTERS, 0);
    fake_range(&fake.memory, slots[5], 64, DK_ADDRESS_PAGES, 0);
    fake_range(&other.memory, slots[6], 64, DK_ADDRESS_LINEAR, 0);

    assert_true(dk_check_map_address(dev, "dma_map_single", slots[0], 64));
    assert_string_equal(reported, "");
    expect_refused(slots[0], 65, "maps-invalid-address ", "leaves the machine's RAM");
    expect_refused(slots[1], 8, "maps-invalid-address ", "a hole");
    expect_refused(slots[2], 8, "maps-coherent-memory ", "coherent buffer");
    expect_refused(slots[3], 8, "maps-vmalloc ", "vmalloc");
    expect_refused(slots[4], 8, "maps-invalid-address ", "registers");
    expect_refused(slots[5], 8, "maps-invalid-address ", "struct page");
    expect_refused(slots[6], 8, "maps-invalid-address ", "another machine");
    expect_refused(NULL, 8, "maps-invalid-address ", "NULL");
    expect_refused(on_stack, 32, "maps-stack ", "on a stack");
    expect_refused(constant, 64, "maps-rodata ", "read-only data");
    expect_refused(relocated, 8, "maps-rodata ", "read-only data");
    expect_refused((const void *)(uintptr_t)test_addresses, 8, "maps-rodata ", "code");
    expect_refused(global, 64, "maps-invalid-address ", "global or static variable");
    expect_refused(heap, 64, "maps-invalid-address ", "host's own allocator");
    /* The kernel lets nothing be mapped this low. */
    expect_refused((const void *)0x1008, 64, "maps-invalid-address ", "wild pointer");
    assert_int_equal(pthread_create(&thread, NULL, on_thread, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(pthread_create(&thread, NULL, of_main_thread, on_stack), 0);
    pthread_join(thread, NULL);
    free(heap);
    fake_finish(&other);
}

static void test_pages(void **state)
{
    static struct page pages[3];
    struct fake_machine other;
    static const struct {
        const struct page *page;
        u64 offset, length;
        const char *what;
    } cases[] = {
        { &pages[0], 0, 4096, NULL },
        { &pages[0], 0, 4097, "leave the machine's RAM" },
        { &pages[0], 4096, 1, "leave the machine's RAM" },
        { &pages[1], 0, 1, "another machine" },
        { &pages[2], 0, 1, "no struct page" },
        { NULL, 0, 1, "NULL" },
    };
    size_t i;

    fake_start(&other);
    fake_range(&other.memory, &pages[1], sizeof(pages[1]), DK_ADDRESS_PAGES, 0);
    pages[0].private_data = FAKE_RAM - 4096;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool refused = cases[i].what;

        start(state);
        fake_range(&fake.memory, &pages[0], sizeof(pages[0]), DK_ADDRESS_PAGES, 0);
        assert_int_equal(
            dk_check_map_page(dev, "dma_map_page", cases[i].page, cases[i].offset, cases[i].length),
            !refused);
        assert_string_equal(reported, refused ? "maps-invalid-address " : "");
        assert_true(!refused || strstr(last_what, cases[i].what));
        finish(state);
    }
    fake_finish(&other);
}

/* ---- Leaks ---- */

static void test_leaks(void **state)
{
    struct dk_mapping mapping = plain;
    int i;

    (void)state;
    mapping.kind = DK_MAPPING_COHERENT;
    mapping.dma = 0x9000;
    make(&mapping);
    /* Two segments of one list are one leak. */
    mapping =
        (struct dk_mapping){ .kind = DK_MAPPING_SG, .size = 64, .direction = DMA_FROM_DEVICE, .sg_nents = 2 };
    for (i = 0; i < 2; i++) {
        mapping.dma = 0x5000 - (dma_addr_t)i * 0x1000;
        mapping.phys = mapping.dma;
        dk_check_mapped(dev, "dma_map_sg", &mapping);
    }
    make(&plain);
    dk_check_device_removed(dev);
    assert_string_equal(reported, "leak-at-remove leak-at-remove leak-at-remove error-unchecked ");
    assert_int_equal(dk_check_count(&fake.machine, "leak-at-remove"), 3);
    assert_string_equal(last.mapping.stack.frames[0].function, "make");
    assert_string_equal(last.access.name, "dk_device_remove");
    assert_non_null(strstr(last_what, "never asked about with dma_mapping_error()"));
    dk_check_device_removed(dev);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 4);
    /* Their lines are free again. */
    make(&(struct dk_mapping){
        .kind = DK_MAPPING_SINGLE, .dma = 0x5000, .phys = 0x5000, .size = 64, .direction = DMA_FROM_DEVICE });
    assert_int_equal(dk_check_count(&fake.machine, NULL), 4);
}

static void test_no_leak(void **state)
{
    struct dk_mapping found;

    (void)state;
    dk_check_device_removed(&fake.devices[3]);
    make(&plain);
    dk_check_mapping_error(dev, plain.dma);
    dk_check_unmap(dev, "dma_unmap_single", &plain, &found);
    dk_check_device_removed(dev);
    assert_string_equal(reported, "");
}

/* ---- The rest ---- */

static void count_mapping(const struct dk_mapping *mapping, void *data)
{
    u64 *sum = data;

    *sum += mapping->dma;
}

static void test_each_mapping(void **state)
{
    struct dk_mapping mapping = plain;
    u64 sum = 0;

    (void)state;
    dk_check_each_mapping(dev, count_mapping, &sum);
    assert_true(sum == 0);
    make(&mapping);
    mapping.dma = 0x20000;
    make(&mapping);
    dk_check_each_mapping(dev, count_mapping, &sum);
    assert_true(sum == 0x21000);
}

static void test_findings(void **state)
{
    struct dk_finding finding = { .class_name = "sleeps-in-atomic",
                                  .dev = dev,
                                  .call = "kmalloc",
                                  .cpu = &finding,
                                  .dma = 0x77,
                                  .length = 5,
                                  .what = "it slept",
                                  .advice = "do not" };

    (void)state;
    dk_check_finding(&fake.machine, &finding);
    assert_string_equal(reported, "sleeps-in-atomic ");
    assert_string_equal(last_what, "it slept");
    assert_string_equal(last_advice, "do not");
    assert_string_equal(last.device, "/fake/0");
    assert_string_equal(last.access.name, "kmalloc");
    assert_true(last.bytes.cpu == (uintptr_t)&finding && last.bytes.dma == 0x77 && last.bytes.length == 5);
    finding.dev = NULL;
    finding.call = NULL;
    finding.advice = NULL;
    dk_check_finding(&fake.machine, &finding);
    assert_string_equal(last.device, "");
    assert_string_equal(last.access.name, "");
    assert_non_null(strstr(last_advice, "GFP_ATOMIC"));
    finding.class_name = "of-a-later-room";
    dk_check_finding(&fake.machine, &finding);
    assert_string_equal(last.class_name, "of-a-later-room");
    assert_string_equal(last.severity, "error");
    assert_int_equal(dk_check_count(&fake.machine, "of-a-later-room"), 1);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 3);
}

static void test_without_checker(void **state)
{
    struct dk_mapping mapping = plain, found;
    const struct dk_finding finding = { .class_name = "sleeps-in-atomic", .what = "" };

    (void)state;
    fake_start(&fake);
    dk_check_mapped(dev, "a", &mapping);
    dk_check_mapping_error(dev, 0x1000);
    dk_check_sg_segment(dev, "a", 0, 1ull << 40);
    assert_true(dk_check_map_address(dev, "a", NULL, 1));
    assert_true(dk_check_map_page(dev, "a", NULL, 0, 1));
    assert_true(dk_check_unmap(dev, "a", &plain, &found));
    assert_memory_equal(&found, &plain, sizeof(plain));
    assert_true(dk_check_sync(dev, "a", 0x1000, 5, DMA_TO_DEVICE, true, 2, &found));
    assert_true(found.dma == 0x1000 && found.size == 5 && found.sg_nents == 2);
    dk_check_device_removed(dev);
    dk_check_each_mapping(dev, count_mapping, NULL);
    dk_check_finding(&fake.machine, &finding);
    dk_check_set_sink(&fake.machine, note, NULL);
    dk_check_set_sink(NULL, note, NULL);
    dk_check_each(NULL, note, NULL);
    dk_check_each(&fake.machine, note, NULL);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 0);
    assert_int_equal(dk_check_count(NULL, NULL), 0);
    dk_checker_destroy(NULL);
    fake_finish(&fake);
}

static void test_classes(void **state)
{
    const char *const *names = dk_check_classes();
    size_t count = 0;

    (void)state;
    for (; names[count]; count++) {
        assert_non_null(dk_check_class_summary(names[count]));
        assert_int_equal(dk_class_find(names[count]), count);
        assert_true(strlen(dk_class_facts((enum dk_class)count)->advice) > 10);
    }
    assert_int_equal(count, DK_CLASS_COUNT);
    assert_null(dk_check_class_summary("no-such-class"));
    assert_null(dk_check_class_summary(NULL));
    assert_string_equal(dk_mapping_kind_name((enum dk_mapping_kind)99), "unknown");
    assert_string_equal(dk_direction_name((enum dma_data_direction)99), "unknown");
    assert_string_equal(dk_direction_name(DMA_NONE), "none");
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, start, finish)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frees),
        CASE(test_bytes_of_wrong_size),
        CASE(test_second_unmap),
        CASE(test_unmap_for_another_device),
        cmocka_unit_test(test_syncs),
        CASE(test_sync_after_unmap),
        CASE(test_sync_sg),
        cmocka_unit_test(test_limits),
        CASE(test_growth),
        CASE(test_bytes_of_a_free_inside),
        CASE(test_bytes_of_a_sync_out_of_range),
        CASE(test_bytes_of_a_late_question),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_segments),
        CASE(test_addresses),
        cmocka_unit_test(test_pages),
        CASE(test_leaks),
        CASE(test_no_leak),
        CASE(test_each_mapping),
        CASE(test_findings),
        cmocka_unit_test(test_without_checker),
        cmocka_unit_test(test_classes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
