/* SPDX-License-Identifier: MIT */
/*
 * DRAM dies: what their nodes say, and what is refused.
 */
#include "trees.h"

#define PART "density = <2048>; io-width = <32>; "
#define BANK PART "dmakit,pasr = \"bank\"; "
#define AT "dmakit,base = <0x40000000>; "
#define DIE(body) TREE("m { " body " };")
#define FIRST "a: a { " BANK AT " }; "
#define DISABLED "status = \"disabled\"; "

struct good_case {
    const char *name, *source, *node;
    enum pasr_mode mode;
    unsigned sections;
    u64 base, section_size, stride;
    const char *partner;
};

static const struct good_case good[] = {
    { "alone", DIE(BANK AT), "/m", PASR_BANK_SELECTIVE, 8, 0x40000000, 0x2000000, 0x2000000, NULL },
    { "segments", DIE(PART "dmakit,pasr = \"segment\"; " AT), "/m", PASR_SEGMENT_SELECTIVE, 8, 0x40000000,
      0x2000000, 0x2000000, NULL },
    { "single-ended", DIE(PART "dmakit,pasr = \"single-ended\"; dmakit,sections = <32>; " AT), "/m",
      PASR_SINGLE_ENDED, 32, 0x40000000, 0x800000, 0x800000, NULL },
    { "double-ended", DIE(PART "dmakit,pasr = \"double-ended\"; " AT), "/m", PASR_DOUBLE_ENDED, 8, 0x40000000,
      0x2000000, 0x2000000, NULL },
    { "four banks",
      DIE("density = <64>; io-width = <16>; dmakit,sections = <4>; dmakit,pasr = \"bank\"; " AT), "/m",
      PASR_BANK_SELECTIVE, 4, 0x40000000, 0x200000, 0x200000, NULL },
    { "two chips on a channel", TREE("c { io-width = <64>; r { " BANK AT "}; };"), "/c/r",
      PASR_BANK_SELECTIVE, 8, 0x40000000, 0x4000000, 0x4000000, NULL },
    { "one section", DIE(BANK AT "dmakit,sections = <1>;"), "/m", PASR_BANK_SELECTIVE, 1, 0x40000000,
      0x10000000, 0x10000000, NULL },
    { "interleaved, first", TREE(FIRST "b { " BANK "dmakit,interleaved-with = <&a>; };"), "/a",
      PASR_BANK_SELECTIVE, 8, 0x40000000, 0x2000000, 0x4000000, "/b" },
    { "interleaved, second", TREE(FIRST "b { " BANK "dmakit,interleaved-with = <&a>; };"), "/b",
      PASR_BANK_SELECTIVE, 8, 0x42000000, 0x2000000, 0x4000000, "/a" },
    { "interleaved with a later one", TREE("b { " BANK "dmakit,interleaved-with = <&a>; }; " FIRST), "/b",
      PASR_BANK_SELECTIVE, 8, 0x42000000, 0x2000000, 0x4000000, "/a" },
    { "side by side", TREE(FIRST "b { " BANK "dmakit,base = <0x50000000>; };"), "/b", PASR_BANK_SELECTIVE, 8,
      0x50000000, 0x2000000, 0x2000000, NULL },
    { "a bad one, disabled", TREE(FIRST "b { " DISABLED "dmakit,pasr = \"x\"; };"), "/a", PASR_BANK_SELECTIVE,
      8, 0x40000000, 0x2000000, 0x2000000, NULL },
    { "to the top",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <1>; m { " BANK
      "dmakit,base = <0xfffff 0xf0000000>; }; };",
      "/m", PASR_BANK_SELECTIVE, 8, 0xffffff0000000, 0x2000000, 0x2000000, NULL },
};

static const struct dk_die *die_of(const struct dk_board *board, const char *node)
{
    unsigned i;

    for (i = 0; i < board->die_count && strcmp(board->dies[i].node, node); i++)
        ;
    assert_in_range(i, 0, board->die_count - 1);
    return &board->dies[i];
}

static void test_good(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        struct dk_board *board = tree_board(good[i].source);
        const struct dk_die *die;

        if (IS_ERR(board))
            fail_msg("%s: %s", good[i].name, tree_log());
        die = die_of(board, good[i].node);
        if (die->mode != good[i].mode || die->sections != good[i].sections || die->base != good[i].base ||
            die->section_size != good[i].section_size || die->stride != good[i].stride)
            fail_msg("%s: another die", good[i].name);
        if (good[i].partner)
            assert_string_equal(board->dies[die->partner].node, good[i].partner);
        else
            assert_int_equal(die->partner, -1);
        dk_board_free(board);
    }
}

static const struct {
    const char *name, *source, *node, *reason;
} bad[] = {
    { "mode", DIE(PART "dmakit,pasr = \"row\"; " AT), "/m", "dmakit,pasr is \"row\"" },
    { "no mode", DIE(PART "dmakit,pasr; " AT), "/m", "dmakit,pasr is \"\"" },
    { "no NUL", DIE(PART "dmakit,pasr = [62]; " AT), "/m", "not terminated" },
    { "no density", DIE("io-width = <32>; dmakit,pasr = \"bank\"; " AT), "/m", "no density or no io-width" },
    { "density 0", DIE("density = <0>; io-width = <32>; dmakit,pasr = \"bank\"; " AT), "/m", "no density" },
    { "no io-width", DIE("density = <2048>; dmakit,pasr = \"bank\"; " AT), "/m",
      "no density or no io-width" },
    { "io-width 0", DIE("density = <2048>; io-width = <0>; dmakit,pasr = \"bank\"; " AT), "/m",
      "no io-width" },
    { "two cells of density", DIE("density = <0 2048>; io-width = <32>; dmakit,pasr = \"bank\"; " AT), "/m",
      "density has 8 bytes" },
    { "two cells of io-width", DIE("density = <2048>; io-width = <32 32>; dmakit,pasr = \"bank\"; " AT), "/m",
      "io-width has 8 bytes" },
    { "absurd density", DIE("density = <0xffffffff>; io-width = <1>; dmakit,pasr = \"bank\"; " AT), "/m",
      "none of DRAM's" },
    { "absurd channel", TREE("c { io-width = <0xffffffe0>; r { " BANK AT "}; };"), "/c/r", "none of DRAM's" },
    { "channel's cells", TREE("c { io-width = <1 2>; r { " BANK AT "}; };"), "/c", "io-width has 8 bytes" },
    { "narrow channel", TREE("c { io-width = <16>; r { " BANK AT "}; };"), "/c/r",
      "does not divide its channel's of 16" },
    { "no base", DIE(BANK), "/m", "no dmakit,base of 1 cells" },
    { "two cells of base", DIE(BANK "dmakit,base = <0 0x40000000>;"), "/m", "no dmakit,base of 1 cells" },
    { "base off 2 MiB", DIE(BANK "dmakit,base = <0x40100000>;"), "/m", "not multiples of 2 MiB" },
    { "sections off 2 MiB", DIE("density = <64>; io-width = <16>; dmakit,pasr = \"bank\"; " AT), "/m",
      "8 of 0x800000 bytes" },
    { "no sections", DIE(BANK AT "dmakit,sections = <0>;"), "/m", "dmakit,sections is 0, not 1 to 32" },
    { "33 sections", DIE(BANK AT "dmakit,sections = <33>;"), "/m", "dmakit,sections is 33" },
    { "cells of sections", DIE(BANK AT "dmakit,sections = <8 8>;"), "/m", "dmakit,sections has 8 bytes" },
    { "an eighth of 4", DIE(PART "dmakit,pasr = \"single-ended\"; dmakit,sections = <4>; " AT), "/m",
      "takes 8, 16 or 32" },
    { "an eighth of 24", DIE(PART "dmakit,pasr = \"double-ended\"; dmakit,sections = <24>; " AT), "/m",
      "takes 8, 16 or 32" },
    { "base and interleaved", TREE(FIRST "b { " BANK AT "dmakit,interleaved-with = <&a>; };"), "/b",
      "dmakit,base and dmakit,interleaved-with" },
    { "interleaved with nothing", DIE(BANK "dmakit,interleaved-with = <77>;"), "/m", "the phandle 0x4d" },
    { "interleaved with no phandle", DIE(BANK "dmakit,interleaved-with = <0>;"), "/m", "the phandle 0x0" },
    { "interleaved of 8 bytes", TREE(FIRST "b { " BANK "dmakit,interleaved-with = <&a 0>; };"), "/b",
      "has 8 bytes" },
    { "interleaved with no die", TREE("x: x { }; b { " BANK "dmakit,interleaved-with = <&x>; };"), "/b",
      "leads to /x, which has no dmakit,pasr" },
    { "interleaved with a disabled one",
      TREE("a: a { " DISABLED BANK AT "}; b { " BANK "dmakit,interleaved-with = <&a>; };"), "/b",
      "leads to /a, which" },
    { "interleaved with itself", TREE("b: b { " BANK "dmakit,interleaved-with = <&b>; };"), "/b",
      "leads to /b, which is interleaved already" },
    { "three",
      TREE(FIRST "b { " BANK "dmakit,interleaved-with = <&a>; }; c { " BANK
                 "dmakit,interleaved-with = <&a>; };"),
      "/c", "leads to /a, which is interleaved already" },
    { "three, the first of them the earliest",
      TREE("b { " BANK "dmakit,interleaved-with = <&a>; }; " FIRST "c { " BANK
           "dmakit,interleaved-with = <&a>; };"),
      "/c", "leads to /a, which is interleaved already" },
    { "a chain",
      TREE(FIRST "b: b { " BANK "dmakit,interleaved-with = <&a>; }; c { " BANK
                 "dmakit,interleaved-with = <&b>; };"),
      "/c", "leads to /b, which is interleaved already" },
    { "a circle",
      TREE("a: a { " BANK "dmakit,interleaved-with = <&b>; }; b: b { " BANK
           "dmakit,interleaved-with = <&a>; };"),
      "/a", "leads to /b, which is interleaved already" },
    { "other sections", TREE(FIRST "b { " BANK "dmakit,sections = <4>; dmakit,interleaved-with = <&a>; };"),
      "/b", "others than those of /a" },
    { "other sizes",
      TREE(
          FIRST
          "b { density = <1024>; io-width = <32>; dmakit,pasr = \"bank\"; dmakit,interleaved-with = <&a>; };"),
      "/b", "others than those of /a" },
    { "overlap", TREE(FIRST "b { " BANK "dmakit,base = <0x4fe00000>; };"), "/b", "overlaps that of /a" },
    { "overlap of the second half",
      TREE(FIRST "b { " BANK "dmakit,interleaved-with = <&a>; }; c { " BANK "dmakit,base = <0x50000000>; };"),
      "/c", "overlaps that of /" },
    { "base above all",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <1>; m { " BANK "dmakit,base = <0x100000 0>; }; };",
      "/m", "above 2^52" },
    { "end above all",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <1>; m { " BANK
      "dmakit,base = <0xfffff 0xf0200000>; }; };",
      "/m", "ends above 2^52" },
    { "interleaved end above all",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <1>; a: a { " BANK
      "dmakit,base = <0xfffff 0xe0200000>; }; b { " BANK "dmakit,interleaved-with = <&a>; }; };",
      "/a", "ends above 2^52" },
    { "wide base",
      "/dts-v1/; / { #address-cells = <3>; #size-cells = <1>; m { " BANK "dmakit,base = <1 0 0>; }; };", "/m",
      "wider than 64 bits" },
};

static void test_bad(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct dk_board *board = tree_board(bad[i].source);

        if (!IS_ERR(board))
            fail_msg("%s: not refused", bad[i].name);
        assert_int_equal(PTR_ERR(board), -EINVAL);
        tree_logged(bad[i].name, bad[i].node, bad[i].reason);
    }
}

/* 256 dies are read, 257 are not. */
static void test_many(void **state)
{
    unsigned count, i;

    (void)state;
    for (count = 256; count <= 257; count++) {
        char *source = tree_room(64u << 10), *at = source;
        struct dk_board *board;

        at += sprintf(at, "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; ");
        for (i = 0; i < count; i++)
            at += sprintf(
                at,
                "m%u { density = <128>; io-width = <8>; dmakit,pasr = \"bank\"; dmakit,base = <0x%x>; }; ", i,
                i * 0x1000000u);
        sprintf(at, "};");
        board = tree_board(source);
        if (count == 256) {
            assert_false(IS_ERR(board));
            assert_int_equal(board->die_count, 256);
            dk_board_free(board);
        } else {
            assert_int_equal(PTR_ERR_OR_ZERO(board), -EINVAL);
            tree_logged("257", "/m256", "more than 256 dies");
        }
        free(source);
    }
}

static void test_json(void **state)
{
    struct dk_board *board = tree_board(TREE(FIRST "b { " BANK "dmakit,interleaved-with = <&a>; };"));
    char *json;

    (void)state;
    assert_false(IS_ERR(board));
    json = dk_board_json(board);
    assert_non_null(json);
    assert_non_null(strstr(
        json, "\"dies\": [\n    {\"node\": \"/a\", \"mode\": \"bank-selective\", \"sections\": 8, \"base\": "
              "\"0x40000000\", \"section_size\": \"0x2000000\", \"stride\": \"0x4000000\", \"partner\": "
              "\"/b\"},\n    {\"node\": \"/b\""));
    free(json);
    dk_board_free(board);
    board = tree_board(TREE(""));
    assert_false(IS_ERR(board));
    json = dk_board_json(board);
    assert_null(strstr(json, "dies"));
    free(json);
    dk_board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
