/* SPDX-License-Identifier: MIT */
/*
 * Where a memory map puts addresses and labels.
 */
#include "../../tools/machine-axis.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define GIB (1ull << 30)
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct stretch_case {
    u64 base;
    u64 last;
    enum dk_stretch_kind kind;
    bool compressed;
};

static void check_stretches(const struct dk_axis *axis, const struct stretch_case *cases, unsigned count)
{
    double top = 0;

    assert_int_equal(axis->count, count);
    for (unsigned i = 0; i < count; i++) {
        const struct dk_stretch *stretch = &axis->stretches[i];

        assert_true(stretch->base == cases[i].base);
        assert_true(stretch->last == cases[i].last);
        assert_int_equal(stretch->kind, cases[i].kind);
        assert_int_equal(stretch->compressed, cases[i].compressed);
        assert_true(fabs(stretch->top - top) < 1e-6);
        assert_true(stretch->height > 0);
        top += stretch->height;
    }
    assert_true(fabs(axis->height - top) < 1e-6);
}

static void cuts_at_every_edge(void **state)
{
    struct dk_range memory[] = { { 0, GIB }, { 4 * GIB, 512 * GIB } };
    struct dk_reserved reserved[] = {
        { .node = "/a", .range = { 0x1000, 0x1000 } },
        { .node = "/off", .range = { 0x8000, 0x1000 }, .disabled = true },
        { .node = "/bad", .range = { GIB - 0x1000, 0x2000 }, .reason = "leaves memory" },
    };
    struct dk_window window = { 0, 0, 0x20000000 };
    struct dk_window iova = { 0, 0x30000000, 0x1000 };
    struct dk_machine_group groups[] = {
        { .iommu = -1, .windows = &window, .window_count = 1 },
        { .iommu = 0, .windows = &iova, .window_count = 1 },
    };
    struct dk_board board = {
        .memory = memory, .memory_count = 2, .reserved = reserved, .reserved_count = 3
    };
    struct dk_machine_view view = { .board = &board, .groups = groups, .group_count = 2 };
    static const struct stretch_case cases[] = {
        { 0, 0xfff, DK_STRETCH_FREE, false },
        { 0x1000, 0x1fff, DK_STRETCH_RESERVED, false },
        { 0x2000, 0x1fffffff, DK_STRETCH_FREE, false },
        { 0x20000000, GIB - 0x1001, DK_STRETCH_FREE, false },
        { GIB - 0x1000, GIB - 1, DK_STRETCH_FREE, false },
        { GIB, 4 * GIB - 1, DK_STRETCH_GAP, true },
        { 4 * GIB, 516 * GIB - 1, DK_STRETCH_FREE, true },
    };
    struct dk_axis axis;

    (void)state;
    assert_int_equal(dk_axis_init(&axis, &view, 0), 0);
    check_stretches(&axis, cases, COUNT(cases));
    /* A page shows, and 512 GiB do not drown it. */
    assert_true(axis.stretches[1].height >= 12);
    assert_true(axis.stretches[6].height < 10 * axis.stretches[1].height);
    assert_true(dk_axis_touches(&axis, 516 * GIB - 1, 600 * GIB));
    assert_false(dk_axis_touches(&axis, 516 * GIB, 600 * GIB));
    dk_axis_finish(&axis);
}

static void heights_follow_addresses(void **state)
{
    struct dk_range memory[] = { { GIB, GIB }, { 3 * GIB, GIB } };
    struct dk_board board = { .memory = memory, .memory_count = 2 };
    struct dk_machine_view view = { .board = &board };
    struct dk_axis axis;
    double before = 0;

    (void)state;
    assert_int_equal(dk_axis_init(&axis, &view, 1000), 0);
    assert_true(fabs(axis.height - 1000) < 1e-6);
    assert_true(dk_axis_top(&axis, 0) == 0);
    assert_true(dk_axis_top(&axis, GIB) == 0);
    assert_true(dk_axis_bottom(&axis, 4 * GIB - 1) > 1000 - 1e-6);
    assert_true(dk_axis_top(&axis, UINT64_MAX) > 1000 - 1e-6);
    for (u64 at = GIB + GIB / 8; at < 4 * GIB; at += GIB / 8) {
        double top = dk_axis_top(&axis, at);

        assert_true(top > before);
        assert_true(fabs(dk_axis_bottom(&axis, at - 1) - top) < 1e-3);
        before = top;
    }
    dk_axis_finish(&axis);
}

static void the_last_byte_does_not_wrap(void **state)
{
    struct dk_range memory[] = { { UINT64_MAX - 0xffff, 0x10000 } };
    struct dk_board board = { .memory = memory, .memory_count = 1 };
    struct dk_machine_view view = { .board = &board };
    static const struct stretch_case cases[] = { { UINT64_MAX - 0xffff, UINT64_MAX, DK_STRETCH_FREE,
                                                   false } };
    struct dk_axis axis;

    (void)state;
    assert_int_equal(dk_axis_init(&axis, &view, 0), 0);
    check_stretches(&axis, cases, COUNT(cases));
    dk_axis_finish(&axis);
}

static void nothing_makes_an_empty_axis(void **state)
{
    struct dk_board board = { 0 };
    struct dk_machine_view view = { .board = &board };
    struct dk_axis axis;

    (void)state;
    assert_int_equal(dk_axis_init(&axis, &view, 500), 0);
    assert_int_equal(axis.count, 0);
    assert_true(axis.height == 0);
    assert_false(dk_axis_touches(&axis, 0, UINT64_MAX));
    assert_true(dk_axis_top(&axis, 5) == 0);
    dk_axis_finish(&axis);
}

static void labels_move_apart_and_stay_near(void **state)
{
    static const struct {
        double want[4];
        double top[4];
    } cases[] = {
        { { 0, 20, 40, 60 }, { 0, 20, 40, 60 } },   /* room for all */
        { { 60, 40, 20, 0 }, { 0, 20, 40, 60 } },   /* given in another order */
        { { 50, 50, 50, 50 }, { 35, 45, 55, 65 } }, /* spread around what all want */
        { { -9, 0, 0, 90 }, { 0, 10, 20, 90 } },    /* against the upper end */
        { { 0, 95, 95, 95 }, { 0, 70, 80, 90 } },   /* against the lower end */
        { { 30, 35, 70, 75 }, { 27.5, 37.5, 67.5, 77.5 } },
    };

    (void)state;
    for (unsigned c = 0; c < COUNT(cases); c++) {
        struct dk_label labels[4];

        for (unsigned i = 0; i < 4; i++)
            labels[i] = (struct dk_label){ .want = cases[c].want[i], .height = 10, .index = i };
        dk_labels_spread(labels, 4, 0, 100);
        for (unsigned i = 0; i < 4; i++)
            assert_true(fabs(labels[i].top - cases[c].top[i]) < 1e-9);
    }
}

static void labels_never_overlap(void **state)
{
    unsigned seed = 20;

    (void)state;
    for (int round = 0; round < 300; round++) {
        struct dk_label labels[25];

        for (unsigned i = 0; i < 25; i++)
            labels[i] = (struct dk_label){ .want = rand_r(&seed) % 900,
                                           .height = 5 + rand_r(&seed) % 30,
                                           .index = i };
        dk_labels_spread(labels, 25, 0, 1000);
        assert_true(labels[0].top >= 0);
        assert_true(labels[24].top + labels[24].height <= 1000 + 1e-6);
        for (unsigned i = 1; i < 25; i++)
            assert_true(labels[i].top >= labels[i - 1].top + labels[i - 1].height - 1e-6);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_at_every_edge),
        cmocka_unit_test(heights_follow_addresses),
        cmocka_unit_test(the_last_byte_does_not_wrap),
        cmocka_unit_test(nothing_makes_an_empty_axis),
        cmocka_unit_test(labels_move_apart_and_stay_near),
        cmocka_unit_test(labels_never_overlap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
