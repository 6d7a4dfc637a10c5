/* SPDX-License-Identifier: MIT */
/*
 * The table of mappings against an array that is searched from end to end.
 */
#include "fake-machine.h"

#include "base/alloc.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL_SIZE 512
#define OLDER 8u

static struct fake_machine fake;
static struct dk_mappings *mappings;

static int start(void **state)
{
    (void)state;
    fake_start(&fake);
    mappings = dk_mappings_create(&fake.devices[0], OLDER);
    return !mappings;
}

static int finish(void **state)
{
    (void)state;
    dk_mappings_destroy(mappings);
    fake_finish(&fake);
    return 0;
}

static u64 random_state;

static u64 random_below(u64 bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state * 0x2545f4914f6cdd1dull >> 11) % bound;
}

static struct dk_record *enter(u64 number, dma_addr_t dma, u64 size, enum dk_mapping_kind kind,
                               enum dma_data_direction direction)
{
    struct dk_record *record = dk_mappings_take(mappings);

    assert_non_null(record);
    memset(record, 0, sizeof(*record));
    record->mapping = (struct dk_mapping){
        .kind = kind, .dma = dma, .size = size, .direction = direction, .number = number
    };
    dk_mappings_enter(mappings, record);
    return record;
}

static void leave(struct dk_record *record)
{
    dk_mappings_leave(mappings, record, 0, false);
}

/* ---- Against the model ---- */

static struct dk_record *model[MODEL_SIZE];
static unsigned model_count;

static bool model_holds(const struct dk_record *record, dma_addr_t dma)
{
    return record->mapping.dma <= dma && dma - record->mapping.dma < record->mapping.size;
}

static bool model_has(const struct dk_record *record)
{
    unsigned i;

    for (i = 0; i < model_count; i++) {
        if (model[i] == record)
            return true;
    }
    return false;
}

/* How many bytes from @dma on the best record holds, at most @size; 0: none holds the first. */
static u64 model_longest(dma_addr_t dma, u64 size)
{
    u64 longest = 0;
    unsigned i;

    for (i = 0; i < model_count; i++) {
        if (model_holds(model[i], dma)) {
            u64 held = model[i]->mapping.size - (dma - model[i]->mapping.dma);

            held = held < size ? held : size;
            longest = held > longest ? held : longest;
        }
    }
    return longest;
}

static void check_holding(dma_addr_t dma, u64 size)
{
    const struct dk_record *record = dk_mappings_holding(mappings, dma, size, DMA_TO_DEVICE, 0);
    u64 longest = model_longest(dma, size);
    u64 held;

    if (!longest) {
        assert_null(record);
        return;
    }
    assert_non_null(record);
    assert_true(model_has(record) && model_holds(record, dma));
    held = record->mapping.size - (dma - record->mapping.dma);
    assert_true((held < size ? held : size) == longest);
}

static void check_exact(dma_addr_t dma, u64 size)
{
    const struct dk_mapping asked = {
        .kind = DK_MAPPING_SINGLE, .dma = dma, .size = size, .direction = DMA_TO_DEVICE
    };
    const struct dk_record *record = dk_mappings_find(mappings, &asked);
    bool there = false, same_size = false;
    unsigned i;

    for (i = 0; i < model_count; i++) {
        there |= model[i]->mapping.dma == dma;
        same_size |= model[i]->mapping.dma == dma && model[i]->mapping.size == size;
    }
    assert_int_equal(record != NULL, there);
    if (record) {
        assert_true(record->mapping.dma == dma && model_has(record));
        assert_int_equal(record->mapping.size == size, same_size);
    }
}

static u64 random_size(void)
{
    u64 bound = 1ull << random_below(random_below(8) ? 14 : 34);

    return 1 + random_below(bound);
}

static void test_model(void **state)
{
    const char *seed_text = getenv("DMAKIT_TEST_SEED");
    unsigned long rounds = getenv("DMAKIT_TEST_FAST") ? 50000 : 1000000;
    u64 number = 0;

    (void)state;
    random_state = seed_text ? strtoull(seed_text, NULL, 0) : 0x5eed;
    printf("seed %llu\n", random_state);
    model_count = 0;
    while (rounds--) {
        dma_addr_t dma = random_below(4) ? random_below(1 << 20) : random_below(1ull << 40);
        u64 size = random_size();
        unsigned i;

        if (model_count && !random_below(3))
            dma = model[random_below(model_count)]->mapping.dma + random_below(3) * random_below(80);
        switch (random_below(4)) {
        case 0:
            if (model_count < MODEL_SIZE)
                model[model_count++] = enter(++number, dma, size, DK_MAPPING_SINGLE, DMA_TO_DEVICE);
            break;
        case 1:
            if (model_count) {
                i = (unsigned)random_below(model_count);
                leave(model[i]);
                model[i] = model[--model_count];
            }
            break;
        case 2:
            check_holding(dma, size);
            break;
        default:
            check_exact(dma, random_below(2) ? size : 64);
            break;
        }
        assert_int_equal(mappings->live.count, model_count);
    }
    while (model_count)
        leave(model[--model_count]);
    assert_int_equal(mappings->live.classes, 0);
}

/* ---- Edges ---- */

static void test_edges(void **state)
{
    static const struct {
        u64 dma, size, at;
        bool held;
    } cases[] = {
        { 0x1000, 64, 0xfff, false },
        { 0x1000, 64, 0x1000, true },
        { 0x1000, 64, 0x103f, true },
        { 0x1000, 64, 0x1040, false },
        { 0x1020, 65, 0x1060, true },
        { 0x1020, 65, 0x1061, false },
        { 0, 1, 0, true },
        { 0, 1, 1, false },
        { 0xffffffffffffff00ull, 0xff, 0xfffffffffffffffeull, true },
        { 0xffffffffffffff00ull, 0xff, 0xffffffffffffffffull, false },
        { 0xfff, 1ull << 40, 0xffe, false },
        { 0xfff, 1ull << 40, (1ull << 40) + 0xffe, true },
        { 0xfff, 1ull << 40, (1ull << 40) + 0xfff, false },
        { 1, ~0ull - 1, ~0ull - 1, true },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_record *record = enter(1, cases[i].dma, cases[i].size, DK_MAPPING_SINGLE, DMA_TO_DEVICE);

        assert_ptr_equal(dk_mappings_holding(mappings, cases[i].at, 1, DMA_TO_DEVICE, 0),
                         cases[i].held ? record : NULL);
        leave(record);
    }
}

/* Of several mappings at one address, the one that is meant. */
static void test_best_fit(void **state)
{
    struct dk_record *records[5];
    struct dk_mapping asked = {
        .kind = DK_MAPPING_SINGLE, .dma = 0x1000, .size = 100, .direction = DMA_TO_DEVICE
    };

    (void)state;
    records[0] = enter(1, 0x1000, 100, DK_MAPPING_PAGE, DMA_TO_DEVICE);
    records[1] = enter(2, 0x1000, 100, DK_MAPPING_SINGLE, DMA_FROM_DEVICE);
    records[2] = enter(3, 0x1000, 200, DK_MAPPING_SINGLE, DMA_TO_DEVICE);
    records[3] = enter(4, 0x1000, 100, DK_MAPPING_COHERENT, DMA_TO_DEVICE);
    records[4] = enter(5, 0x1000, 100, DK_MAPPING_SINGLE, DMA_TO_DEVICE);
    assert_ptr_equal(dk_mappings_find(mappings, &asked), records[4]);
    leave(records[4]);
    assert_ptr_equal(dk_mappings_find(mappings, &asked), records[0]);
    asked.size = 200;
    assert_ptr_equal(dk_mappings_find(mappings, &asked), records[2]);
    asked.size = 100;
    asked.direction = DMA_FROM_DEVICE;
    assert_ptr_equal(dk_mappings_find(mappings, &asked), records[1]);
    leave(records[0]);
    leave(records[1]);
    asked.direction = DMA_TO_DEVICE;
    /* The function is what a driver rarely gets wrong. */
    assert_ptr_equal(dk_mappings_find(mappings, &asked), records[2]);
    leave(records[2]);
    assert_ptr_equal(dk_mappings_find(mappings, &asked), records[3]);
    leave(records[3]);
    assert_null(dk_mappings_find(mappings, &asked));
}

/* Two lists at one place, of which the younger is asked for: each thing that tells them apart does. */
static void test_each_detail_counts(void **state)
{
    static char bytes[2];
    const struct dk_mapping first = { .kind = DK_MAPPING_SG,
                                      .dma = 0x1000,
                                      .cpu = &bytes[0],
                                      .size = 100,
                                      .direction = DMA_TO_DEVICE,
                                      .sg_nents = 3 };
    struct dk_mapping others[] = { first, first, first, first };
    size_t i;

    (void)state;
    others[0].cpu = &bytes[1];
    others[1].sg_nents = 2;
    others[2].size = 99;
    others[3].direction = DMA_FROM_DEVICE;
    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct dk_record *older = enter(1, 0x1000, first.size, first.kind, first.direction);
        struct dk_record *younger = enter(2, 0x1000, others[i].size, others[i].kind, others[i].direction);

        older->mapping.cpu = first.cpu;
        older->mapping.sg_nents = first.sg_nents;
        younger->mapping.cpu = others[i].cpu;
        younger->mapping.sg_nents = others[i].sg_nents;
        if (dk_mappings_find(mappings, &first) != older || dk_mappings_find(mappings, &others[i]) != younger)
            fail_msg("detail %zu does not count", i);
        leave(older);
        leave(younger);
    }
}

static void test_equal_ones_checked_first(void **state)
{
    struct dk_record *one = enter(1, 0x1000, 64, DK_MAPPING_SINGLE, DMA_TO_DEVICE);
    struct dk_record *two = enter(2, 0x1000, 64, DK_MAPPING_SINGLE, DMA_TO_DEVICE);
    const struct dk_mapping asked = one->mapping;

    (void)state;
    assert_ptr_equal(dk_mappings_unchecked(mappings, 0x1000), two);
    assert_ptr_equal(dk_mappings_find(mappings, &asked), one);
    two->checked = true;
    assert_ptr_equal(dk_mappings_unchecked(mappings, 0x1000), one);
    assert_ptr_equal(dk_mappings_find(mappings, &asked), two);
    one->checked = true;
    assert_null(dk_mappings_unchecked(mappings, 0x1000));
    assert_ptr_equal(dk_mappings_find(mappings, &asked), one);
    leave(one);
    leave(two);
    assert_null(dk_mappings_unchecked(mappings, 0x1000));
}

static void test_holding_prefers(void **state)
{
    struct dk_record *from = enter(1, 0x1000, 64, DK_MAPPING_SINGLE, DMA_FROM_DEVICE);
    struct dk_record *to = enter(2, 0x1000, 64, DK_MAPPING_SINGLE, DMA_TO_DEVICE);
    struct dk_record *longer = enter(3, 0x1000, 128, DK_MAPPING_SINGLE, DMA_FROM_DEVICE);
    struct dk_record *list;

    (void)state;
    assert_ptr_equal(dk_mappings_holding(mappings, 0x1000, 64, DMA_TO_DEVICE, 0), to);
    assert_ptr_not_equal(dk_mappings_holding(mappings, 0x1000, 64, DMA_FROM_DEVICE, 0), to);
    assert_ptr_equal(dk_mappings_holding(mappings, 0x1000, 65, DMA_TO_DEVICE, 0), longer);
    list = enter(4, 0x1000, 128, DK_MAPPING_SG, DMA_FROM_DEVICE);
    list->mapping.sg_nents = 3;
    assert_ptr_equal(dk_mappings_holding(mappings, 0x1000, 128, DMA_FROM_DEVICE, 3), list);
    assert_ptr_equal(dk_mappings_holding(mappings, 0x1000, 128, DMA_FROM_DEVICE, 0), longer);
    leave(from);
    leave(to);
    leave(longer);
    leave(list);
}

/* @remembered of those that went are known, the latest of one address first. */
static void check_past(unsigned remembered)
{
    unsigned i;

    assert_null(dk_mappings_past(mappings, 0));
    for (i = 0; i < 3 * remembered + 2; i++)
        leave(enter(i + 1, i * 0x1000, i + 1, DK_MAPPING_SINGLE, DMA_TO_DEVICE));
    for (i = 0; i < 3 * remembered + 2; i++) {
        const struct dk_past_mapping *past = dk_mappings_past(mappings, i * 0x1000);

        if (i < 2 * remembered + 2) {
            assert_null(past);
        } else {
            assert_non_null(past);
            assert_int_equal(past->mapping.size, i + 1);
            assert_false(past->left);
        }
    }
    i = 2 * remembered + 3;
    leave(enter(99, i * 0x1000, 77, DK_MAPPING_SINGLE, DMA_TO_DEVICE));
    assert_int_equal(dk_mappings_past(mappings, i * 0x1000)->mapping.size, 77);
    assert_ptr_equal(dk_mappings_past_holding(mappings, i * 0x1000 + 76),
                     dk_mappings_past(mappings, i * 0x1000));
    assert_null(dk_mappings_past_holding(mappings, i * 0x1000 + 77 + i));
    assert_null(dk_mappings_past(mappings, (i - 1) * 0x1000));
}

static void test_past(void **state)
{
    (void)state;
    check_past(DK_PAST_MAPPINGS + OLDER);
}

/* Of two that began at one address the later one is found, however many went since. */
static void test_later_past(void **state)
{
    const dma_addr_t dma = 0x777000;
    unsigned i;

    (void)state;
    for (i = 0; i < OLDER; i++)
        leave(enter(i + 1, 0x1000, 1, DK_MAPPING_SINGLE, DMA_TO_DEVICE));
    leave(enter(i + 1, dma, 5, DK_MAPPING_SINGLE, DMA_TO_DEVICE));
    leave(enter(i + 2, dma, 6, DK_MAPPING_SINGLE, DMA_TO_DEVICE));
    for (i = 0; i < DK_PAST_MAPPINGS + OLDER - 1; i++) {
        assert_int_equal(dk_mappings_past(mappings, dma)->mapping.size, 6);
        leave(enter(OLDER + 3 + i, 0x1000, 1, DK_MAPPING_SINGLE, DMA_TO_DEVICE));
    }
}

static void test_few_past(void **state)
{
    (void)state;
    dk_mappings_destroy(mappings);
    mappings = dk_mappings_create(&fake.devices[0], 0);
    assert_non_null(mappings);
    check_past(DK_PAST_MAPPINGS);
}

static void test_records_are_used_again(void **state)
{
    struct dk_record *used[DK_PAST_MAPPINGS + 1], *record;
    unsigned i;

    (void)state;
    /* Those remembered are left alone meanwhile. */
    for (i = 0; i < 1000; i++) {
        record = enter(1, 0x1000, 64, DK_MAPPING_SINGLE, DMA_TO_DEVICE);
        if (i <= DK_PAST_MAPPINGS)
            used[i] = record;
        else
            assert_ptr_equal(record, used[i % (DK_PAST_MAPPINGS + 1)]);
        leave(record);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_model, start, finish),
        cmocka_unit_test_setup_teardown(test_edges, start, finish),
        cmocka_unit_test_setup_teardown(test_best_fit, start, finish),
        cmocka_unit_test_setup_teardown(test_each_detail_counts, start, finish),
        cmocka_unit_test_setup_teardown(test_equal_ones_checked_first, start, finish),
        cmocka_unit_test_setup_teardown(test_holding_prefers, start, finish),
        cmocka_unit_test_setup_teardown(test_past, start, finish),
        cmocka_unit_test_setup_teardown(test_later_past, start, finish),
        cmocka_unit_test_setup_teardown(test_few_past, start, finish),
        cmocka_unit_test_setup_teardown(test_records_are_used_again, start, finish),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
