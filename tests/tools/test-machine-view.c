/* SPDX-License-Identifier: MIT */
/*
 * How devices are grouped by what they reach, and how sizes read.
 */
#include "../../tools/machine-view.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void sizes_read_well(void **state)
{
    static const struct {
        u64 bytes;
        const char *text;
    } cases[] = {
        { 0, "0 bytes" },         { 1, "1 byte" },           { 1023, "1023 bytes" },
        { 1024, "1 KiB" },        { 1536, "1.5 KiB" },       { 0x100000, "1 MiB" },
        { 0xfffff, "1024 KiB" },  { 0x3b400000, "948 MiB" }, { 0xfc000000, "3.9 GiB" },
        { 1ull << 44, "16 TiB" }, { 1ull << 50, "1 PiB" },   { UINT64_MAX, "16 EiB" },
    };
    char text[DK_SIZE_TEXT];

    (void)state;
    for (unsigned i = 0; i < COUNT(cases); i++)
        assert_string_equal(dk_machine_size(text, cases[i].bytes), cases[i].text);
}

static void last_bytes_do_not_wrap(void **state)
{
    (void)state;
    assert_true(dk_machine_last(0x1000, 0x1000) == 0x1fff);
    assert_true(dk_machine_last(0x1000, 0) == 0x1000);
    assert_true(dk_machine_last(UINT64_MAX, 1) == UINT64_MAX);
    assert_true(dk_machine_last(UINT64_MAX, 2) == UINT64_MAX);
    assert_true(dk_machine_last(0, UINT64_MAX) == UINT64_MAX - 1);
}

static void control_characters_stay_out(void **state)
{
    char into[8];

    (void)state;
    assert_string_equal(dk_machine_plain(into, sizeof(into), "a\x1b[\xc3~ "), "a?[?~ ");
    assert_string_equal(dk_machine_plain(into, sizeof(into), "12345678"), "1234567");
    assert_string_equal(dk_machine_plain(into, sizeof(into), ""), "");
}

static void devices_are_grouped(void **state)
{
    const char *compatible[] = { "x,y", NULL };
    const char *nothing[] = { NULL };
    struct dk_window offset = { 0xc0000000, 0, 0x40000000 };
    struct dk_window same = offset;
    struct dk_window other = { 0xc0000000, 0, 0x20000000 };
    struct dk_iommu_row row = { 0, 0, 16, 1 };
    struct dk_node nodes[] = {
        { .path = "/", .name = "", .parent = -1, .enabled = true, .iommu = -1 },
        { .path = "/iommu", .enabled = true, .compatible = compatible, .iommu = -1 },
        { .path = "/a",
          .enabled = true,
          .compatible = compatible,
          .iommu = -1,
          .windows = &offset,
          .window_count = 1 },
        { .path = "/off", .compatible = compatible, .iommu = -1 },
        { .path = "/b",
          .enabled = true,
          .compatible = compatible,
          .iommu = -1,
          .windows = &same,
          .window_count = 1 },
        { .path = "/c",
          .enabled = true,
          .compatible = compatible,
          .iommu = -1,
          .windows = &other,
          .window_count = 1 },
        { .path = "/pci",
          .enabled = true,
          .compatible = compatible,
          .iommu = -1,
          .pci_host = true,
          .below_windows = &offset,
          .below_window_count = 1,
          .below_iommu = &row,
          .below_iommu_count = 1 },
        { .path = "/plain", .enabled = true, .compatible = nothing, .iommu = -1 },
        { .path = "/d", .enabled = true, .compatible = compatible, .iommu = -1, .coherent = true },
        { .path = "/e",
          .enabled = true,
          .compatible = compatible,
          .iommu = 1,
          .windows = &same,
          .window_count = 1 },
    };
    static const struct {
        bool coherent;
        int iommu;
        unsigned windows;
        unsigned members;
        unsigned first;
    } cases[] = {
        { false, -1, 0, 2, 1 }, /* /iommu, /pci */
        { false, -1, 1, 2, 2 }, /* /a, /b */
        { false, -1, 1, 1, 5 }, /* /c */
        { false, 1, 1, 2, 6 },  /* below /pci, /e */
        { true, -1, 0, 1, 8 },  /* /d */
    };
    struct dk_range memory[] = { { 0, 0x1000 }, { 0x2000, 0x3000 } };
    struct dk_reserved reserved[] = {
        { .node = "/r/ok" },
        { .node = "/r/bad", .reason = "too large" },
        { .node = "/r/off", .disabled = true, .reason = "disabled" },
    };
    struct dk_board board = {
        .model = "",
        .nodes = nodes,
        .node_count = COUNT(nodes),
        .memory = memory,
        .memory_count = 2,
        .reserved = reserved,
        .reserved_count = 3,
    };
    struct dk_machine_view view;

    (void)state;
    assert_int_equal(dk_machine_view_init(&view, &board), 0);
    assert_int_equal(view.device_count, 7);
    assert_int_equal(view.region_count, 2);
    assert_int_equal(view.failed_count, 1);
    assert_true(view.memory_size == 0x4000);
    assert_int_equal(view.group_count, COUNT(cases));
    for (unsigned i = 0; i < COUNT(cases); i++) {
        const struct dk_machine_group *group = &view.groups[i];

        assert_int_equal(group->coherent, cases[i].coherent);
        assert_int_equal(group->iommu, cases[i].iommu);
        assert_int_equal(group->window_count, cases[i].windows);
        assert_int_equal(group->member_count, cases[i].members);
        assert_int_equal(group->members[0].node, cases[i].first);
    }
    assert_true(view.groups[3].members[0].functions);
    assert_false(view.groups[3].members[1].functions);
    assert_false(view.groups[0].members[1].functions);
    assert_int_equal(view.groups[3].members[1].node, 9);
    dk_machine_view_finish(&view);
}

static void formats_are_known_by_their_ending(void **state)
{
    (void)state;
    assert_true(dk_machine_can_draw("a.svg"));
    assert_true(dk_machine_can_draw("b/a.PNG"));
    assert_false(dk_machine_can_draw(".svg"));
    assert_false(dk_machine_can_draw("a.svg.gz"));
    assert_false(dk_machine_can_draw(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sizes_read_well),
        cmocka_unit_test(last_bytes_do_not_wrap),
        cmocka_unit_test(control_characters_stay_out),
        cmocka_unit_test(devices_are_grouped),
        cmocka_unit_test(formats_are_known_by_their_ending),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
