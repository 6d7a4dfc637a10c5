/* SPDX-License-Identifier: MIT */
/*
 * The line counters against a plain array, and who is said to share a line.
 */
#include "fake-machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINE 64
#define LINES 256 /* that the model covers, around the border of two sections */
#define BASE (DK_SLOT_SIZE - (LINES / 2) * LINE)
#define LIVE 40

static u64 random_state;

static u64 random_below(u64 bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state * 0x2545f4914f6cdd1dull >> 11) % bound;
}

static void test_counters(void **state)
{
    static unsigned model[LINES];
    static struct dk_interval live[LIVE];
    static struct dk_shadow_few few[LIVE];
    struct dk_shadow shadow;
    unsigned count = 0, round, i;

    (void)state;
    random_state = 0x5eed;
    printf("seed %llu\n", random_state);
    assert_int_equal(dk_shadow_init(&shadow, LINE), 0);
    for (round = 0; round < 40000; round++) {
        struct dk_interval *interval;
        unsigned first, last, most = 0;

        if (count < LIVE && (!count || random_below(2))) {
            u64 offset = random_below(LINES * LINE);

            interval = &live[count++];
            interval->start = BASE + offset;
            interval->size = 1 + random_below(random_below(4) ? 200 : LINES * LINE - offset);
            if (interval->size > LINES * LINE - offset)
                interval->size = LINES * LINE - offset;
            first = (unsigned)(offset / LINE);
            last = (unsigned)((offset + interval->size - 1) / LINE);
            for (i = first; i <= last; i++) {
                most = model[i] > most ? model[i] : most;
                model[i]++;
            }
            assert_int_equal(dk_shadow_enter(&shadow, interval, &few[count - 1]), most);
        } else {
            unsigned which = (unsigned)random_below(count);

            interval = &live[which];
            first = (unsigned)((interval->start - BASE) / LINE);
            last = (unsigned)((interval->start - BASE + interval->size - 1) / LINE);
            for (i = first; i <= last; i++)
                model[i]--;
            dk_shadow_leave(&shadow, interval, &few[which]);
            /* The set holds pointers: the last one moves into the gap. */
            if (which != --count) {
                dk_shadow_leave(&shadow, &live[count], &few[count]);
                *interval = live[count];
                dk_shadow_enter(&shadow, interval, &few[which]);
            }
        }
        if (round % 16)
            continue;
        for (i = 0; i < LINES; i++)
            assert_int_equal(dk_shadow_count(&shadow, BASE + (u64)i * LINE + random_below(LINE)), model[i]);
    }
    dk_shadow_finish(&shadow);
}

/* A counter at its end stays there, and nothing wraps. */
static void test_saturation(void **state)
{
    static struct dk_interval many[300];
    static struct dk_shadow_few few[300];
    struct dk_shadow shadow;
    unsigned i;

    (void)state;
    assert_int_equal(dk_shadow_init(&shadow, LINE), 0);
    for (i = 0; i < 300; i++) {
        many[i] = (struct dk_interval){ .start = 0x1000, .size = 1 };
        assert_int_equal(dk_shadow_enter(&shadow, &many[i], &few[i]), i < 255 ? i : 255);
    }
    assert_int_equal(dk_shadow_count(&shadow, 0x1000), 255);
    assert_int_equal(dk_shadow_count(&shadow, 0x1040), 0);
    for (i = 0; i < 300; i++)
        dk_shadow_leave(&shadow, &many[i], &few[i]);
    assert_int_equal(dk_shadow_count(&shadow, 0x1000), 255);
    /* Addresses that no machine has are no lines. */
    assert_int_equal(dk_shadow_count(&shadow, ~0ull), 0);
    many[0] = (struct dk_interval){ .start = 1ull << 60, .size = 1 };
    assert_int_equal(dk_shadow_enter(&shadow, &many[0], &few[0]), 0);
    dk_shadow_leave(&shadow, &many[0], &few[0]);
    dk_shadow_finish(&shadow);
}

/* ---- Reports ---- */

static struct fake_machine fake;
static struct dk_report last;
static char last_what[512];

static void remember(const struct dk_report *report, void *data)
{
    (void)data;
    last = *report;
    snprintf(last_what, sizeof(last_what), "%s", report->what);
}

static int start(void **state)
{
    (void)state;
    if (fake_start_checked(&fake))
        return -1;
    dk_check_set_sink(&fake.machine, remember, NULL);
    memset(&last, 0, sizeof(last));
    return 0;
}

static int finish(void **state)
{
    (void)state;
    fake_finish(&fake);
    return 0;
}

static struct dk_mapping map(unsigned device, phys_addr_t phys, u64 size, enum dk_mapping_kind kind,
                             enum dma_data_direction direction, unsigned long attrs)
{
    struct dk_mapping mapping = { .kind = kind,
                                  .dma = phys + 0x80000000,
                                  .phys = phys,
                                  .size = size,
                                  .direction = direction,
                                  .attrs = attrs };

    dk_check_mapped(&fake.devices[device], "dma_map_single", &mapping);
    return mapping;
}

static void unmap(unsigned device, const struct dk_mapping *mapping)
{
    struct dk_mapping found;

    dk_check_mapping_error(&fake.devices[device], mapping->dma);
    assert_true(dk_check_unmap(&fake.devices[device], "dma_unmap_single", mapping, &found));
}

#define SKIP (1ul << 5)

static void test_pairs(void **state)
{
    static const struct {
        bool coherent;
        phys_addr_t first, second;
        u64 first_size, second_size;
        enum dk_mapping_kind kind;
        enum dma_data_direction first_direction, second_direction;
        unsigned long attrs; /* of the second */
        unsigned reports;
    } cases[] = {
        /* Neighbours in one line, and in two. */
        { false, 0x1000, 0x1020, 32, 32, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 1 },
        { false, 0x1000, 0x1040, 64, 32, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 0 },
        { false, 0x1000, 0x1040, 65, 32, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 1 },
        { false, 0x1040, 0x1000, 64, 64, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 0 },
        { false, 0x103f, 0x1040, 1, 64, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 0 },
        { false, 0x1040, 0x1000, 64, 0x41, DK_MAPPING_PAGE, DMA_BIDIRECTIONAL, DMA_FROM_DEVICE, 0, 1 },
        /* Only what the device may write. */
        { false, 0x1000, 0x1020, 32, 32, DK_MAPPING_SINGLE, DMA_TO_DEVICE, DMA_TO_DEVICE, 0, 0 },
        { false, 0x1000, 0x1000, 32, 32, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_TO_DEVICE, 0, 0 },
        { false, 0x1000, 0x1000, 32, 32, DK_MAPPING_SINGLE, DMA_TO_DEVICE, DMA_FROM_DEVICE, 0, 0 },
        { false, 0x1000, 0x1020, 32, 32, DK_MAPPING_SINGLE, DMA_BIDIRECTIONAL, DMA_BIDIRECTIONAL, 0, 1 },
        /* The driver says that it takes care itself. */
        { false, 0x1000, 0x1020, 32, 32, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, SKIP, 0 },
        /* Only streaming mappings. */
        { false, 0x1000, 0x1000, 32, 32, DK_MAPPING_RESOURCE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 0 },
        { false, 0x1000, 0x1000, 32, 32, DK_MAPPING_COHERENT, DMA_BIDIRECTIONAL, DMA_BIDIRECTIONAL, 0, 0 },
        { false, 0x1000, 0x1000, 32, 32, DK_MAPPING_SG, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 1 },
        /* Without caches in between only bytes count. */
        { true, 0x1000, 0x1020, 32, 32, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 0 },
        { true, 0x1020, 0x1000, 32, 32, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 0 },
        { true, 0x1000, 0x101f, 32, 32, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 1 },
        { true, 0x1020, 0x1000, 32, 33, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 1 },
        { true, 0x1080, 0x1000, 8, 4096, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, DMA_FROM_DEVICE, 0, 1 },
    };
    size_t i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_mapping first, second;

        start(state);
        fake.devices[1].dma_coherent = cases[i].coherent;
        first = map(0, cases[i].first, cases[i].first_size, cases[i].kind, cases[i].first_direction, 0);
        second = map(1, cases[i].second, cases[i].second_size, cases[i].kind, cases[i].second_direction,
                     cases[i].attrs);
        if (dk_check_count(&fake.machine, NULL) != cases[i].reports)
            print_error("case %zu\n", i);
        assert_int_equal(dk_check_count(&fake.machine, NULL), cases[i].reports);
        if (cases[i].reports) {
            assert_string_equal(last.class_name, "overlapping-lines");
            assert_string_equal(last.device, "/fake/1");
            /* The older mapping is the one that is shown. */
            assert_true(last.mapping.dma == first.dma && last.mapping.size == cases[i].first_size);
        }
        unmap(0, &first);
        unmap(1, &second);
        /* Nothing is left behind: the same again alone is quiet. */
        first = map(0, cases[i].first, cases[i].first_size, cases[i].kind, cases[i].first_direction, 0);
        unmap(0, &first);
        assert_int_equal(dk_check_count(&fake.machine, NULL), cases[i].reports);
        finish(state);
    }
}

/* Bytes 0x20 to 0x3f of the older mapping share the line. */
static void test_content(void **state)
{
    struct dk_mapping older = map(0, 0x1020, 0x20, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, 0);

    (void)state;
    map(0, 0x1000, 0x10, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, 0);
    assert_string_equal(last.severity, "error");
    assert_true(last.bytes.offset == 0 && last.bytes.length == 0x20 && last.bytes.dma == older.dma);
    assert_non_null(strstr(last_what, "0x1000 share a cache line with a live mapping of 32 bytes"));
    assert_string_equal(last.access.name, "dma_map_single");
    assert_string_equal(last.mapping.kind, "single");
    assert_string_equal(last.mapping.direction, "from-device");
    assert_true(last.mapping.stack.count > 1 && last.access.stack.count > 1);
    assert_string_equal(last.mapping.stack.frames[1].function, "test_content");
    assert_string_equal(last.access.stack.frames[0].function, "map");
}

/* Of a mapping that goes on beyond the line, or began before it, only the bytes in there. */
static void test_content_ends_with_the_line(void **state)
{
    (void)state;
    map(0, 0x1020, 0x100, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, 0);
    map(0, 0x1000, 0x10, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, 0);
    assert_true(last.bytes.offset == 0 && last.bytes.length == 0x20);
    assert_true(last.bytes.dma == 0x80001020);
    map(0, 0x1130, 0x10, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, 0);
    assert_int_equal(dk_check_count(&fake.machine, "overlapping-lines"), 2);
    assert_true(last.bytes.offset == 0xe0 && last.bytes.length == 0x20);
    assert_true(last.bytes.dma == 0x80001100);
}

static void test_segments_of_one_call(void **state)
{
    struct dk_mapping segment = {
        .kind = DK_MAPPING_SG, .direction = DMA_FROM_DEVICE, .size = 32, .sg_nents = 2, .sg_mapped = 2
    };

    (void)state;
    segment.dma = segment.phys = 0x1000;
    dk_check_mapped(&fake.devices[0], "dma_map_sg", &segment);
    segment.dma = segment.phys = 0x1020;
    dk_check_mapped(&fake.devices[0], "dma_map_sg", &segment);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 0);
    segment.number = 0;
    dk_check_mapped(&fake.devices[0], "dma_map_sg", &segment);
    assert_int_equal(dk_check_count(&fake.machine, "overlapping-lines"), 1);
}

/* Seven others may share a line; eight are too many, also where sharing was announced. */
static void test_overflow(void **state)
{
    struct dk_mapping mappings[9];
    int i;

    (void)state;
    for (i = 0; i < 8; i++)
        mappings[i] = map(0, 0x1000 + (phys_addr_t)i, 1, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, SKIP);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 0);
    mappings[8] = map(0, 0x1008, 1, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, SKIP);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 1);
    assert_int_equal(dk_check_count(&fake.machine, "overlap-overflow"), 1);
    assert_string_equal(last.class_name, "overlap-overflow");
    assert_true(last.mapping.dma == mappings[0].dma);
    assert_string_equal(
        last_what,
        "dma_map_single() mapped 1 bytes at 0x80001008 whose cache line at physical address 0x1008 more "
        "than 7 other live mappings use, the oldest of 1 bytes at 0x80001000");
    /* Two fewer, one more: at the limit again. */
    unmap(0, &mappings[8]);
    unmap(0, &mappings[3]);
    mappings[3] = map(0, 0x1003, 1, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, SKIP);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 1);
    /* Without the attribute both are wrong. */
    map(0, 0x1008, 1, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, 0);
    assert_int_equal(dk_check_count(&fake.machine, "overlapping-lines"), 1);
    assert_int_equal(dk_check_count(&fake.machine, "overlap-overflow"), 2);
}

static void test_no_overflow_between_bytes(void **state)
{
    int i;

    (void)state;
    fake.devices[0].dma_coherent = true;
    for (i = 0; i < 20; i++)
        map(0, 0x1000 + (phys_addr_t)i, 1, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, 0);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 0);
}

/* Of those in the line only the ones count that have bytes of the mapping. */
static void test_overflow_between_bytes(void **state)
{
    int i;

    (void)state;
    fake.devices[0].dma_coherent = true;
    map(0, 0x1020, 1, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, 0);
    for (i = 0; i < 8; i++)
        map(0, 0x1000, 1, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, SKIP);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 0);
    map(0, 0x1000, 1, DK_MAPPING_SINGLE, DMA_FROM_DEVICE, SKIP);
    assert_int_equal(dk_check_count(&fake.machine, "overlap-overflow"), 1);
    assert_int_equal(dk_check_count(&fake.machine, NULL), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counters),
        cmocka_unit_test(test_saturation),
        cmocka_unit_test(test_pairs),
        cmocka_unit_test_setup_teardown(test_content, start, finish),
        cmocka_unit_test_setup_teardown(test_content_ends_with_the_line, start, finish),
        cmocka_unit_test_setup_teardown(test_segments_of_one_call, start, finish),
        cmocka_unit_test_setup_teardown(test_overflow, start, finish),
        cmocka_unit_test_setup_teardown(test_no_overflow_between_bytes, start, finish),
        cmocka_unit_test_setup_teardown(test_overflow_between_bytes, start, finish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
