/* SPDX-License-Identifier: MIT */
/*
 * dma-ranges: what a device sees, for each rule of docs/boards.md.
 */
#include "trees.h"

#define CELLS(a, s) "#address-cells = <" #a ">; #size-cells = <" #s ">; "

struct window_case {
    const char *name, *source, *path;
    unsigned count;
    struct dk_window windows[3];
};

static const struct window_case cases[] = {
    { "a child of the root", TREE("d { };"), "/d", 0, { { 0 } } },
    { "missing at the parent", TREE("soc { d { }; };"), "/soc/d", 0, { { 0 } } },
    { "empty all the way", TREE("dma-ranges; soc { dma-ranges; d { }; };"), "/soc/d", 0, { { 0 } } },
    { "one row",
      TREE("soc { dma-ranges = <0x10 0x20 0x30>; d { }; };"),
      "/soc/d",
      1,
      { { 0x10, 0x20, 0x30 } } },
    { "not for the bus itself",
      TREE("soc { dma-ranges = <0x10 0x20 0x30>; d { }; };"),
      "/soc",
      0,
      { { 0 } } },
    { "for a grandchild, missing at its parent",
      TREE("soc { dma-ranges = <1 2 3>; b { d { }; }; };"),
      "/soc/b/d",
      1,
      { { 1, 2, 3 } } },
    { "two missing in a row",
      TREE("soc { dma-ranges = <1 2 3>; b { c { d { }; }; }; };"),
      "/soc/b/c/d",
      0,
      { { 0 } } },
    { "missing above an empty one",
      TREE("soc { dma-ranges = <1 2 3>; b { c { dma-ranges; d { }; }; }; };"),
      "/soc/b/c/d",
      0,
      { { 0 } } },
    { "empty ones skipped",
      TREE("soc { dma-ranges = <1 2 3>; b { dma-ranges; c { dma-ranges; d { }; }; }; };"),
      "/soc/b/c/d",
      1,
      { { 1, 2, 3 } } },
    { "missing at the parent, then empty",
      TREE("soc { dma-ranges = <1 2 3>; b { dma-ranges; c { d { }; }; }; };"),
      "/soc/b/c/d",
      1,
      { { 1, 2, 3 } } },
    { "on the root", TREE("dma-ranges = <1 2 3>; soc { d { }; };"), "/soc/d", 1, { { 1, 2, 3 } } },
    { "on the root, for its child", TREE("dma-ranges = <1 2 3>; d { };"), "/d", 1, { { 1, 2, 3 } } },
    { "through the root's",
      TREE("dma-ranges = <0x100 0x9000 0x10>; soc { dma-ranges = <1 0x102 3>; d { }; };"),
      "/soc/d",
      1,
      { { 1, 0x9002, 3 } } },
    { "several rows are not merged",
      TREE("soc { dma-ranges = <0 0 0x1000>, <0x1000 0x1000 0x1000>; d { }; };"),
      "/soc/d",
      2,
      { { 0, 0, 0x1000 }, { 0x1000, 0x1000, 0x1000 } } },
    { "two levels",
      TREE("soc { dma-ranges = <0x1000 0x80000000 0x1000>; b { dma-ranges = <0 0x1100 0x100>; d { }; }; };"),
      "/soc/b/d",
      1,
      { { 0, 0x80000100, 0x100 } } },
    { "two levels, the size is not clipped",
      TREE(
          "soc { dma-ranges = <0x1000 0x80000000 0x1000>; b { dma-ranges = <0 0x1fff 0x100000>; d { }; }; };"),
      "/soc/b/d",
      1,
      { { 0, 0x80000fff, 0x100000 } } },
    { "dropped above the row",
      TREE("soc { dma-ranges = <0x1000 0x80000000 0x1000>; b { dma-ranges = <0 0x2000 1>, "
           "<4 0x1000 5>, <8 0xfff 1>; d { }; }; };"),
      "/soc/b/d",
      1,
      { { 4, 0x80000000, 5 } } },
    { "the first row that holds it",
      TREE(
          "soc { dma-ranges = <0 0x100 0x10>, <0x10 0x900 0x10>, <0 0x500 0x100>; b { dma-ranges = <1 0x18 2>; d { }; "
          "}; };"),
      "/soc/b/d",
      1,
      { { 1, 0x908, 2 } } },
    { "one to one where missing further up",
      TREE("soc { b { dma-ranges = <1 2 3>; d { }; }; };"),
      "/soc/b/d",
      1,
      { { 1, 2, 3 } } },
    { "one to one where empty further up",
      TREE(
          "a { dma-ranges = <0 0x40000000 0x1000>; soc { dma-ranges; b { dma-ranges = <1 2 3>; d { }; }; }; };"),
      "/a/soc/b/d",
      1,
      { { 1, 0x40000002, 3 } } },
    { "empty rows are dropped",
      TREE("soc { dma-ranges = <1 2 0>, <4 5 6>; d { }; };"),
      "/soc/d",
      1,
      { { 4, 5, 6 } } },
    { "mixed cells",
      TREE("soc { " CELLS(2, 2) "dma-ranges = <0x8 0x1 0x40000000 0x1 0x0>; b { " CELLS(
          1, 1) "dma-ranges = <0x5 0x8 0x11 0x7>; d { }; }; };"),
      "/soc/b/d",
      1,
      { { 5, 0x40000010, 7 } } },
    { "cells inherited",
      TREE("soc { " CELLS(2, 1) "b { dma-ranges = <1 2 3 4 5>; d { }; }; };"),
      "/soc/b/d",
      1,
      { { 0x100000002, 0x300000004, 5 } } },
    { "three cells, the first is flags",
      TREE("soc { " CELLS(3, 2) "dma-ranges = <0xffffffff 1 2 3 4 5>; d { }; };"),
      "/soc/d",
      1,
      { { 0x100000002, 3, 0x400000005 } } },
    { "up to the last byte",
      TREE("soc { " CELLS(2, 2) "dma-ranges = <0 0 0 0xffffffff 0xffffffff>; d { }; };"),
      "/soc/d",
      1,
      { { 0, 0, ~0ull } } },
    { "wraps at the CPU's side",
      "/dts-v1/; / { " CELLS(
          2, 2) "soc { dma-ranges = <0 0 0xffffffff 0xfffff000 0 0x1001>, <1 0 0 0 0 1>; d { }; }; };",
      "/soc/d",
      1,
      { { 0x100000000, 0, 1 } } },
    { "PCI function",
      TREE("p { device_type = \"pci\"; " CELLS(3,
                                               2) "dma-ranges = <0x02000000 1 2 0x80000000 3 4>; d { }; };"),
      "/p/d",
      1,
      { { 0x100000002, 0x80000000, 0x300000004 } } },
    { "PCI function behind a bridge",
      TREE("p { device_type = \"pci\"; " CELLS(
          3,
          2) "dma-ranges = <0x43000000 0 0x10 0x20 0 0x30>; pci@0,0 { device_type = \"pci\"; d { }; }; };"),
      "/p/pci@0,0/d",
      1,
      { { 0x10, 0x20, 0x30 } } },
    { "a bus below PCI, memory spaces are alike",
      TREE(
          "p { device_type = \"pciex\"; " CELLS(3, 2) "dma-ranges = <0x01000000 0 0 0x1000 0 0x100>, <0x03000000 0 0 0x80000000 0 0x100>; isa { " CELLS(
              1, 1) "dma-ranges = <0x1 0x02000000 0 0x40 0x4>; d { }; }; };"),
      "/p/isa/d",
      1,
      { { 1, 0x80000040, 4 } } },
    { "the PCI host itself",
      TREE("p { device_type = \"pci\"; " CELLS(3, 2) "dma-ranges = <0 0 0 0 0 1>; };"),
      "/p",
      0,
      { { 0 } } },
};

static void check_windows(const char *name, const struct dk_window *got, unsigned count,
                          const struct window_case *wanted)
{
    unsigned i;

    if (count != wanted->count)
        fail_msg("%s: %u windows, not %u", name, count, wanted->count);
    for (i = 0; i < count; i++)
        if (got[i].dma != wanted->windows[i].dma || got[i].cpu != wanted->windows[i].cpu ||
            got[i].size != wanted->windows[i].size)
            fail_msg("%s: window %u is 0x%llx 0x%llx 0x%llx", name, i, got[i].dma, got[i].cpu, got[i].size);
}

static void test_windows(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_board *board = tree_board(cases[i].source);
        const struct dk_node *node;

        if (IS_ERR(board))
            fail_msg("%s: refused", cases[i].name);
        node = tree_node(board, cases[i].path);
        check_windows(cases[i].name, node->windows, node->window_count, &cases[i]);
        dk_board_free(board);
    }
}

/* What functions below a PCI host see, and that bridges and other buses have no such view. */
static void test_below(void **state)
{
    static const struct window_case below[] = {
        { "its own rows",
          TREE("s { dma-ranges = <0 0x80000000 0x1000>; p { device_type = \"pci\"; " CELLS(
              3, 2) "dma-ranges = <0x02000000 0 0 0x10 0 0x20>; }; };"),
          "/s/p",
          1,
          { { 0, 0x80000010, 0x20 } } },
        { "the bus's where it has none",
          TREE("s { dma-ranges = <0 0x80000000 0x1000>; p { device_type = \"pci\"; " CELLS(3, 2) "}; };"),
          "/s/p",
          1,
          { { 0, 0x80000000, 0x1000 } } },
        { "the bus's where it has empty ones",
          TREE("s { dma-ranges = <0 0x80000000 0x1000>; p { device_type = \"pci\"; " CELLS(
              3, 2) "dma-ranges; }; };"),
          "/s/p",
          1,
          { { 0, 0x80000000, 0x1000 } } },
    };
    struct dk_board *board;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(below) / sizeof(below[0]); i++) {
        const struct dk_node *node;

        board = tree_board(below[i].source);
        assert_false(IS_ERR(board));
        node = tree_node(board, below[i].path);
        assert_true(node->pci_host);
        check_windows(below[i].name, node->below_windows, node->below_window_count, &below[i]);
        dk_board_free(board);
    }
    board = tree_board(TREE("p { device_type = \"pci\"; b { device_type = \"pci\"; }; }; soc { };"));
    assert_false(IS_ERR(board));
    assert_true(tree_node(board, "/p")->pci_host);
    assert_false(tree_node(board, "/p/b")->pci_host);
    assert_false(tree_node(board, "/soc")->pci_host);
    dk_board_free(board);
}

static void test_reasons(void **state)
{
    struct dk_board *board = tree_board("/dts-v1/; / { " CELLS(
        2, 2) "soc { dma-ranges = <0 0x1000 0 0x8000 0 0x1000>; b { dma-ranges = <0 0 0 0 0 1>, "
              "<0 0 0 0x1000 0 0>, <0 0 0 0x1fff 0xffffffff 0xffffffff>; d { }; }; }; };");

    (void)state;
    assert_false(IS_ERR(board));
    tree_logged("untranslated", "/soc/b", "row 0 of dma-ranges dropped: no bus above translates 0x0");
    tree_logged("empty", "/soc/b", "row 1 of dma-ranges dropped: its size is 0");
    tree_logged("wraps", "/soc/b", "row 2 of dma-ranges dropped: 0xffffffffffffffff bytes at 0x8fff wrap");
    assert_int_equal(tree_node(board, "/soc/b/d")->window_count, 0);
    dk_board_free(board);
}

/* A bus with @rows rows. */
static struct dk_board *many_rows(unsigned rows)
{
    struct dk_board *board;
    char *source = NULL;
    size_t size;
    FILE *out = open_memstream(&source, &size);

    fputs("/dts-v1/; / { " CELLS(1, 1) "soc { dma-ranges = <", out);
    while (rows--)
        fputs("1 2 3 ", out);
    fputs(">; d { }; }; };", out);
    fclose(out);
    board = tree_board(source);
    free(source);
    return board;
}

static void test_row_limit(void **state)
{
    struct dk_board *board = many_rows(128);

    (void)state;
    assert_false(IS_ERR(board));
    assert_int_equal(tree_node(board, "/soc/d")->window_count, 128);
    dk_board_free(board);
    board = many_rows(129);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    tree_logged("rows", "/soc", "dma-ranges has 129 rows");
}

/* 256 buses of 128 rows each are as many as there may be. */
static void test_all_rows_limit(void **state)
{
    unsigned more, bus, row;

    (void)state;
    for (more = 0; more <= 1; more++) {
        struct dk_board *board;
        char *source = NULL;
        size_t size;
        FILE *out = open_memstream(&source, &size);

        fputs("/dts-v1/; / { " CELLS(1, 1), out);
        for (bus = 0; bus < 256; bus++) {
            fprintf(out, "b%u { dma-ranges = <", bus);
            for (row = 0; row < 128; row++)
                fputs("1 2 3 ", out);
            fputs(">; };", out);
        }
        fputs(more ? "last { dma-ranges = <1 2 3>; }; };" : "};", out);
        fclose(out);
        board = tree_board(source);
        free(source);
        assert_int_equal(IS_ERR(board), more);
        if (more)
            tree_logged("all rows", "/last", "more than 32768 rows");
        else
            dk_board_free(board);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_windows),        cmocka_unit_test(test_below),
        cmocka_unit_test(test_reasons),        cmocka_unit_test(test_row_limit),
        cmocka_unit_test(test_all_rows_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
