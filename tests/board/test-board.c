/* SPDX-License-Identifier: MIT */
/*
 * Reading trees: what is refused, with which node and reason, and what the nodes say.
 */
#include "trees.h"

struct bad_tree {
    const char *name, *source, *node, *reason;
};

static const struct bad_tree bad_trees[] = {
    { "address cells", TREE("soc { #address-cells = <5>; };"), "/soc", "#address-cells is 5" },
    { "huge address cells", TREE("soc { #address-cells = <0xffffffff>; };"), "/soc",
      "#address-cells is 4294967295" },
    { "size cells", TREE("soc { #size-cells = <5>; };"), "/soc", "#size-cells is 5" },
    { "cells of 8 bytes", TREE("soc { #size-cells = <1 1>; };"), "/soc", "#size-cells has 8 bytes" },
    { "open status", TREE("a { status = [6f 6b]; };"), "/a", "status is not terminated" },
    { "open compatible", TREE("a { compatible = [61 00 62]; };"), "/a", "compatible is not terminated" },
    { "open model", TREE("model = [61];"), "/", "model is not terminated" },
    { "open device type", TREE("a { device_type = [70 63 69]; };"), "/a", "device_type is not terminated" },
    { "open bootargs", TREE("chosen { bootargs = [61]; };"), "/chosen", "bootargs is not terminated" },
    { "open alias", TREE("aliases { a = [2f]; };"), "/aliases", "a is not terminated" },
    { "empty alias", TREE("aliases { a; };"), "/aliases", "a is not terminated" },
    { "phandle 0", TREE("a { phandle = <0>; };"), "/a", "phandle is 0x0" },
    { "phandle of ones", TREE("a { phandle = <0xffffffff>; };"), "/a", "phandle is 0xffffffff" },
    { "phandle of 2 bytes", TREE("a { phandle = [00 01]; };"), "/a", "phandle has 2 bytes" },
    { "two with a phandle", TREE("a { phandle = <7>; }; b { phandle = <7>; };"), "/b",
      "the phandle 0x7 of /a" },
    { "old phandle twice", TREE("a { linux,phandle = <7>; }; b { phandle = <7>; };"), "/b",
      "the phandle 0x7 of /a" },
    { "memory cells", TREE("memory@0 { device_type = \"memory\"; reg = <0 1 2>; };"), "/memory@0",
      "reg has 12 bytes" },
    { "memory without size cells",
      "/dts-v1/; / { #size-cells = <0>; memory { device_type = \"memory\"; reg = <0>; }; };", "/memory",
      "reg has 4 bytes" },
    { "memory that wraps",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; memory { device_type = \"memory\"; reg = <0xffffffff "
      "0xfffff000 0 0x1001>; }; };",
      "/memory", "row 0 of reg wraps: 0x1001 bytes at 0xfffffffffffff000" },
    { "wide memory",
      "/dts-v1/; / { #address-cells = <3>; #size-cells = <1>; memory { device_type = \"memory\"; reg = <1 0 0 1>; }; };",
      "/memory", "row 0 of reg is wider" },
    { "memory twice", TREE("memory@7ffff000 { device_type = \"memory\"; reg = <0x7ffff000 0x2000>; };"),
      "/memory@7ffff000", "0x40000000 and 0x7ffff000 overlap" },
    { "region to nowhere", TREE("a { memory-region = <9>; };"), "/a", "memory-region has the phandle 0x9" },
    { "region of 3 bytes", TREE("a { memory-region = [01 02 03]; };"), "/a", "memory-region has 3 bytes" },
    { "open region name", TREE("a { memory-region = <0>; memory-region-names = [61]; };"), "/a",
      "memory-region-names is not terminated" },
    { "iommu to nowhere", TREE("a { iommus = <9 0>; };"), "/a", "iommus has the phandle 0x9" },
    { "iommu of 3 bytes", TREE("a { iommus = [01 02 03]; };"), "/a", "iommus has 3 bytes" },
    { "iommu without cells", TREE("m: m { }; a { iommus = <&m 0>; };"), "/m", "#iommu-cells is missing" },
    { "iommu with 17 cells", TREE("m: m { #iommu-cells = <17>; }; a { iommus = <&m 0>; };"), "/m", "absurd" },
    { "short specifier", TREE("m: m { #iommu-cells = <2>; }; a { iommus = <&m 0>; };"), "/a", "ends within" },
    { "second iommu to nowhere", TREE("m: m { #iommu-cells = <1>; }; a { iommus = <&m 0 77>; };"), "/a",
      "0x4d" },
    { "own iommu", TREE("a: a { #iommu-cells = <0>; iommus = <&a>; };"), "/a", "iommus lead in a circle" },
    { "iommu circle",
      TREE("a: a { #iommu-cells = <0>; iommus = <&b>; }; b: b { #iommu-cells = <0>; iommus = <&c>; }; "
           "c: c { #iommu-cells = <0>; iommus = <&b>; };"),
      "/b", "iommus lead in a circle" },
    { "interrupt circle",
      TREE(
          "a: a { interrupt-controller; interrupt-parent = <&b>; }; b: b { interrupt-controller; interrupt-parent = <&a>; };"),
      "/a", "interrupt-parents lead in a circle" },
    { "interrupt parent of 8 bytes", TREE("a { interrupt-controller; interrupt-parent = <1 2>; };"), "/a",
      "8 bytes" },
    { "iommu-map of 12 bytes", TREE("p { device_type = \"pci\"; iommu-map = <1 2 3>; };"), "/p",
      "iommu-map has 12 bytes" },
    { "iommu-map to nowhere", TREE("p { device_type = \"pci\"; iommu-map = <0 9 0 1>; };"), "/p",
      "the phandle 0x9" },
    { "iommu-map wraps",
      TREE("m: m { #iommu-cells = <1>; }; p { device_type = \"pci\"; iommu-map = <0 &m 0xffffffff 2>; };"),
      "/p", "row 0 of iommu-map wraps" },
    { "iommu-map hidden",
      TREE(
          "m: m { #iommu-cells = <1>; }; p { device_type = \"pci\"; iommu-map-mask = <0xff00>; iommu-map = <1 &m 0 1>; };"),
      "/p", "iommu-map-mask 0xff00 hides" },
    { "iommu-map-mask of 8 bytes", TREE("p { device_type = \"pci\"; iommu-map-mask = <1 2>; };"), "/p",
      "8 bytes" },
    { "dma-ranges cells", TREE("soc { #address-cells = <1>; #size-cells = <1>; dma-ranges = <0 0>; };"),
      "/soc", "dma-ranges has 8 bytes, not a multiple of a row's 12" },
    { "dma-ranges without cells",
      TREE("soc { #address-cells = <0>; #size-cells = <1>; dma-ranges = <0 0>; };"), "/soc",
      "dma-ranges needs address and size cells" },
    { "dma-ranges wraps",
      TREE("soc { #address-cells = <2>; #size-cells = <2>; dma-ranges = <0xffffffff 0xffffffff 0 0 2>; };"),
      "/soc", "row 0 of dma-ranges wraps" },
    { "wide dma-ranges", TREE("soc { #address-cells = <1>; #size-cells = <3>; dma-ranges = <0 0 1 0 0>; };"),
      "/soc", "row 0 of dma-ranges is wider" },
    { "PCI with two cells",
      TREE(
          "p { device_type = \"pci\"; #address-cells = <2>; #size-cells = <2>; dma-ranges = <0 0 0 0 1>; };"),
      "/p", "a PCI bus has 3 address and 2 size cells, not 2 and 2" },
    { "default bus to nowhere", TREE("chosen { dmakit,default-bus = \"/x\"; };"), "/chosen",
      "names no node: /x" },
    { "disabled default bus", TREE("a { status = \"disabled\"; }; chosen { dmakit,default-bus = \"/a\"; };"),
      "/chosen", "default-bus is disabled" },
    { "line of 48", TREE("chosen { dmakit,cache-line = <48>; };"), "/chosen", "dmakit,cache-line is 48" },
    { "line of 8", TREE("chosen { dmakit,cache-line = <8>; };"), "/chosen", "dmakit,cache-line is 8" },
    { "line of 8192", TREE("chosen { dmakit,cache-line = <8192>; };"), "/chosen",
      "dmakit,cache-line is 8192" },
    { "short uncached alias", TREE("chosen { dmakit,uncached-alias = <1 2>; };"), "/chosen",
      "not the 12 of base" },
    { "empty uncached alias", TREE("chosen { dmakit,uncached-alias = <1 2 0>; };"), "/chosen",
      "empty or wraps" },
};

static void test_bad_trees(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad_trees) / sizeof(bad_trees[0]); i++) {
        struct dk_board *board = tree_board(bad_trees[i].source);

        if (!IS_ERR(board))
            fail_msg("%s: not refused", bad_trees[i].name);
        assert_int_equal(PTR_ERR(board), -EINVAL);
        tree_logged(bad_trees[i].name, bad_trees[i].node, bad_trees[i].reason);
    }
}

/* What would be refused on a node that is in use does no harm on one that is disabled. */
static void test_disabled_nodes_do_no_harm(void **state)
{
    struct dk_board *board = tree_board(TREE(
        "soc { status = \"disabled\"; #address-cells = <1>; #size-cells = <1>; dma-ranges = <0 0>; iommus = <9>; "
        "memory-region = <9>; p { device_type = \"pci\"; iommu-map = <1>; interrupt-controller; interrupt-parent = <1 2>; }; };"
        "memory@0 { status = \"disabled\"; device_type = \"memory\"; reg = <0 1 2>; };"));

    (void)state;
    assert_false(IS_ERR(board));
    assert_int_equal(board->memory_count, 1);
    assert_false(tree_node(board, "/soc/p")->enabled);
    dk_board_free(board);
}

/* A chain of @depth nodes below the root, each named @name; for free(). */
static char *nested(unsigned depth, const char *name)
{
    char *source = NULL;
    size_t size;
    FILE *out = open_memstream(&source, &size);
    unsigned i;

    fputs("/dts-v1/; / {", out);
    for (i = 0; i < depth; i++)
        fprintf(out, "%s { ", name);
    for (i = 0; i <= depth; i++)
        fputs("};", out);
    fclose(out);
    return source;
}

static void test_limits(void **state)
{
    char *source = nested(63, "n"), name[300];
    struct dk_board *board = tree_board(source);

    (void)state;
    assert_false(IS_ERR(board));
    assert_int_equal(board->node_count, 64);
    dk_board_free(board);
    free(source);

    source = nested(64, "n");
    board = tree_board(source);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    assert_non_null(strstr(tree_log(), "/n/n: nodes are nested more than 64 deep"));
    free(source);

    /* 511 bytes of path: eight names of 63 after eight slashes make 512. */
    memset(name, 'a', 63);
    name[63] = '\0';
    source = nested(7, name);
    board = tree_board(source);
    assert_false(IS_ERR(board));
    dk_board_free(board);
    free(source);
    source = nested(8, name);
    board = tree_board(source);
    assert_int_equal(PTR_ERR(board), -EINVAL);
    free(source);
}

static void test_name_limit(void **state)
{
    char name[300];
    struct dk_board *board;
    char *source;
    unsigned length;

    (void)state;
    for (length = 255; length <= 256; length++) {
        memset(name, 'a', length);
        name[length] = '\0';
        source = nested(1, name);
        board = tree_board(source);
        free(source);
        assert_int_equal(IS_ERR(board), length == 256);
        if (length == 256)
            tree_logged("name", "/", "a child's name is empty, too long");
        else
            dk_board_free(board);
    }
}

static void test_nodes(void **state)
{
    static const struct {
        const char *path;
        bool enabled, coherent;
        int compatible; /* -1: none */
    } cases[] = {
        { "/", true, false, 2 },           { "/a", true, true, 1 },
        { "/a/b", true, true, -1 },        { "/a/c", true, false, -1 },
        { "/a/c/d", true, false, 0 },      { "/a/c/e", true, true, -1 },
        { "/off", false, false, -1 },      { "/off/child", false, false, -1 },
        { "/reserved", false, false, -1 }, { "/empty", false, false, -1 },
        { "/ok", true, false, -1 },
    };
    struct dk_board *board = tree_board(TREE(
        "model = \"m\"; compatible = \"x,y\", \"x\"; a { dma-coherent; compatible = \"a\"; b {}; c { dma-noncoherent; "
        "d { compatible; }; e { dma-coherent; dma-noncoherent; }; }; }; off { status = \"disabled\"; child { status = "
        "\"okay\"; }; }; reserved { status = \"reserved\"; }; empty { status; }; ok { status = \"ok\"; };"));
    size_t i;

    (void)state;
    assert_false(IS_ERR(board));
    assert_string_equal(board->model, "m");
    assert_string_equal(board->compatible[0], "x,y");
    assert_string_equal(board->compatible[1], "x");
    assert_null(board->compatible[2]);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct dk_node *node = tree_node(board, cases[i].path);
        int count = -1;

        if (node->compatible)
            for (count = 0; node->compatible[count];)
                count++;
        if (node->enabled != cases[i].enabled || node->coherent != cases[i].coherent ||
            count != cases[i].compatible)
            fail_msg("%s: enabled %d, coherent %d, %d compatible", node->path, node->enabled, node->coherent,
                     count);
    }
    assert_string_equal(tree_node(board, "/a/c/d")->name, "d");
    assert_string_equal(board->nodes[tree_node(board, "/a/c/d")->parent].path, "/a/c");
    dk_board_free(board);
}

static void test_architectures(void **state)
{
    static const struct {
        const char *source;
        bool coherent;
    } cases[] = {
        { TREE(""), false },
        { TREE("cpus { };"), false },
        { TREE("cpus { cpu@0 { }; };"), false },
        { TREE("cpus { cpu@0 { compatible = \"arm,cortex-a53\"; }; };"), false },
        { TREE("cpus { cpu@0 { compatible = \"intel,sa1110\"; }; };"), false },
        { TREE("cpus { cpu@0 { compatible = \"mti,interaptiv\"; }; };"), false },
        { TREE("cpus { cpu@0 { compatible = \"sifive,u74\", \"riscv\"; }; };"), true },
        { TREE("cpus { cpu@0 { compatible = \"intel,ce4100\"; }; };"), true },
        { TREE("cpus { cpu-map { }; cpu@0 { compatible = \"intel,x86-64\"; }; };"), true },
        { TREE("cpus { PowerPC,8572@0 { }; };"), true },
        { TREE("soc { cpus { cpu@0 { compatible = \"riscv\"; }; }; };"), false },
        { TREE("dma-noncoherent; cpus { cpu@0 { compatible = \"riscv\"; }; };"), false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_board *board = tree_board(cases[i].source);

        assert_false(IS_ERR(board));
        if (board->nodes[0].coherent != cases[i].coherent)
            fail_msg("%s: coherent %d", cases[i].source, board->nodes[0].coherent);
        dk_board_free(board);
    }
}

/* What the root says holds for its children as for everything below. */
static void test_root_is_inherited(void **state)
{
    struct dk_board *board = tree_board(TREE("status = \"disabled\"; dma-coherent; a { b { }; };"));

    (void)state;
    assert_false(IS_ERR(board));
    assert_false(tree_node(board, "/a")->enabled);
    assert_false(tree_node(board, "/a/b")->enabled);
    assert_true(tree_node(board, "/a")->coherent);
    assert_true(tree_node(board, "/a/b")->coherent);
    dk_board_free(board);
}

static void test_chosen(void **state)
{
    struct dk_board *board = tree_board(TREE(
        "aliases { nic = \"/soc/eth@1\"; gone = \"/soc/gone\"; a-name-that-is-longer-than-31-chars = \"/soc\"; "
        "a-name-that-is-31-characters-xx = \"/soc\"; };"
        "chosen { bootargs = \"cma=8M\"; dmakit,default-bus = \"nic\"; dmakit,cache-line = <128>; dmakit,no-mmu; "
        "dmakit,uncached-alias = <0xa0000000 0x40000000 0x1000000>; }; soc { eth@1 { }; };"));

    (void)state;
    assert_false(IS_ERR(board));
    assert_string_equal(board->arguments, "cma=8M");
    assert_string_equal(board->nodes[board->default_bus].path, "/soc/eth@1");
    assert_int_equal(board->line, 128);
    assert_true(board->no_mmu);
    assert_int_equal(board->alias.base, 0xa0000000);
    assert_int_equal(board->alias.target, 0x40000000);
    assert_int_equal(board->alias.size, 0x1000000);
    assert_int_equal(board->alias_count, 2);
    tree_logged("alias to nowhere", "/aliases", "gone names no node: /soc/gone");
    tree_logged("long alias", "/aliases", "too long");
    dk_board_free(board);

    board = tree_board("/dts-v1/; / { };");
    assert_false(IS_ERR(board));
    assert_string_equal(board->model, "");
    assert_null(board->compatible[0]);
    assert_string_equal(board->arguments, "");
    assert_int_equal(board->default_bus, 0);
    assert_int_equal(board->line, 64);
    assert_false(board->no_mmu);
    assert_int_equal(board->alias.size, 0);
    dk_board_free(board);
}

static void test_cache_line(void **state)
{
    static const struct {
        const char *source;
        unsigned line;
    } cases[] = {
        { TREE("cpus { cpu@0 { d-cache-line-size = <32>; }; };"), 32 },
        { TREE("cpus { cpu@0 { d-cache-line-size = <32>; }; cpu@1 { d-cache-line-size = <128>; }; };"), 128 },
        { TREE("cpus { cpu@0 { d-cache-line-size = <33>; }; };"), 64 },
        { TREE("cpus { cpu@0 { d-cache-line-size = <16>; }; };"), 16 },
        { TREE("cpus { cpu@0 { d-cache-line-size = <4096>; }; };"), 4096 },
        { TREE("cpus { cpu@0 { d-cache-line-size = <0 32>; }; };"), 64 },
        { TREE("cpus { cpu@0 { d-cache-line-size = <32>; }; }; chosen { dmakit,cache-line = <16>; };"), 16 },
        { TREE("cpu@0 { d-cache-line-size = <32>; };"), 64 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_board *board = tree_board(cases[i].source);

        assert_false(IS_ERR(board));
        if (board->line != cases[i].line)
            fail_msg("%s: %u", cases[i].source, board->line);
        dk_board_free(board);
    }
}

static void test_find(void **state)
{
    static const struct {
        const char *path, *found; /* NULL: nothing */
    } cases[] = {
        { "/", "/" },
        { "/soc@0", "/soc@0" },
        { "/soc", "/soc@0" },
        { "/soc/uart@1", "/soc@0/uart@1" },
        { "/soc@0/uart", NULL }, /* two */
        { "/soc/eth", "/soc@0/eth@3" },
        { "/soc/eth@4", NULL },
        { "/soc/et", NULL },
        { "/soc/eth@", NULL },
        { "/soc/eth/", NULL },
        { "/so", NULL },
        { "/so/eth", NULL },
        { "nic", "/soc@0/eth@3" },
        { "ni", NULL },
        { "", NULL },
    };
    struct dk_board *board = tree_board(
        TREE("aliases { nic = \"/soc@0/eth@3\"; }; soc@0 { uart@1 { }; uart@2 { }; eth@3 { }; };"));
    size_t i;

    (void)state;
    assert_false(IS_ERR(board));
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int found = dk_board_find(board, cases[i].path);

        if (found < 0 ? cases[i].found != NULL
                      : !cases[i].found || strcmp(board->nodes[found].path, cases[i].found))
            fail_msg("%s: %s", cases[i].path, found < 0 ? "nothing" : board->nodes[found].path);
    }
    dk_board_free(board);
}

static void test_iommus(void **state)
{
    struct dk_board *board = tree_board(TREE(
        "m: m@1 { #iommu-cells = <2>; }; n: m@2 { #iommu-cells = <0>; }; off: m@3 { #iommu-cells = <1>; status = \"disabled\"; };"
        "two { iommus = <&m 5 6>, <&n>; }; zero { iommus = <&n>; }; hole { iommus = <0>, <&m 7 0>; }; none { };"
        "disabled { iommus = <&off 1>, <&n>; }; gpio: gpio { interrupt-controller; interrupt-parent = <&gpio>; };"
        "p { device_type = \"pci\"; iommu-map-mask = <0xfff0>; iommu-map = <0x10 &m 0x100 0x20>, <0x30 &off 0 1>, <0x40 &n 9 0>,"
        "<0xf0 &n 0xffffffff 1>; #address-cells = <3>; #size-cells = <2>; f@1,1 { reg = <0x80ff0900 0 0 0 0>; }; };"));
    const struct dk_node *host;

    (void)state;
    assert_false(IS_ERR(board));
    assert_string_equal(board->nodes[tree_node(board, "/two")->iommu].path, "/m@1");
    assert_int_equal(tree_node(board, "/two")->iommu_id, 5);
    assert_string_equal(board->nodes[tree_node(board, "/zero")->iommu].path, "/m@2");
    assert_int_equal(tree_node(board, "/zero")->iommu_id, 0);
    assert_string_equal(board->nodes[tree_node(board, "/hole")->iommu].path, "/m@1");
    assert_int_equal(tree_node(board, "/hole")->iommu_id, 7);
    assert_int_equal(tree_node(board, "/none")->iommu, -1);
    assert_int_equal(tree_node(board, "/disabled")->iommu, -1);
    /* Bus 0xff, device 1, function 1. */
    assert_int_equal(tree_node(board, "/p/f@1,1")->requester, 0xff09);
    assert_int_equal(tree_node(board, "/two")->requester, -1);
    host = tree_node(board, "/p");
    assert_int_equal(host->below_iommu_mask, 0xfff0);
    assert_int_equal(host->below_iommu_count, 2);
    assert_int_equal(host->below_iommu[0].rid, 0x10);
    assert_int_equal(host->below_iommu[0].id, 0x100);
    assert_int_equal(host->below_iommu[0].count, 0x20);
    assert_string_equal(board->nodes[host->below_iommu[0].iommu].path, "/m@1");
    assert_int_equal(host->below_iommu[1].rid, 0xf0);
    assert_string_equal(board->nodes[host->below_iommu[1].iommu].path, "/m@2");
    dk_board_free(board);
}

static void test_json_strings(void **state)
{
    struct dk_board *board =
        tree_board(TREE("model = [22 5c 0a 7f e9 61 00]; a { compatible = \"b\"; memory-region = <0>; };"));
    char *json;

    (void)state;
    assert_false(IS_ERR(board));
    json = dk_board_json(board);
    assert_non_null(json);
    assert_string_equal(
        json, "{\"model\": \"\\\"\\\\\\u000a\\u007f\\u00e9a\", \"compatible\": [],\n"
              " \"memory\": [\n    {\"base\": \"0x40000000\", \"size\": \"0x40000000\"}],\n"
              " \"reserved\": [],\n \"devices\": [\n"
              "    {\"node\": \"/a\", \"compatible\": [\"b\"], \"coherent\": false, \"iommu\": null,\n"
              "     \"windows\": [], \"regions\": []}]}\n");
    free(json);
    dk_board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_trees),     cmocka_unit_test(test_disabled_nodes_do_no_harm),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_nodes),
        cmocka_unit_test(test_architectures), cmocka_unit_test(test_root_is_inherited),
        cmocka_unit_test(test_name_limit),    cmocka_unit_test(test_chosen),
        cmocka_unit_test(test_cache_line),    cmocka_unit_test(test_find),
        cmocka_unit_test(test_iommus),        cmocka_unit_test(test_json_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
