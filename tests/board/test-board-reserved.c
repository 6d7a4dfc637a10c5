/* SPDX-License-Identifier: MIT */
/*
 * Memory, reserved regions and where they come to lie. The trees have one GiB at 0x40000000.
 */
#include "trees.h"

#define POOL "compatible = \"shared-dma-pool\"; "
#define CMA POOL "reusable; "
#define RESTRICTED "compatible = \"restricted-dma-pool\"; "

/* A root with two cells each, and one MiB of memory up to the last address. */
#define TOP_ROOT                                                                                                      \
    "/ { #address-cells = <2>; #size-cells = <2>; memory { device_type = \"memory\"; reg = <0xffffffff 0xfff00000 0 " \
    "0x100000>; }; "
#define TOP "/dts-v1/; " TOP_ROOT

struct region_case {
    const char *name, *source, *node;
    enum dk_reserved_kind kind;
    u64 base, size;
    bool dynamic, is_default;
    const char *reason; /* a part of it; NULL: the region is fine */
};

#define R "/reserved-memory/r"

static const struct region_case regions[] = {
    { "plain", RESERVED("r { reg = <0x50000000 0x1234>; };"), R, DK_RESERVED_PLAIN, 0x50000000, 0x1234, 0, 0,
      NULL },
    { "no-map", RESERVED("r { reg = <0x50000000 0x1000>; no-map; };"), R, DK_RESERVED_NO_MAP, 0x50000000,
      0x1000, 0, 0, NULL },
    { "coherent", RESERVED("r { " POOL "reg = <0x50000000 0x1000>; no-map; };"), R, DK_RESERVED_COHERENT,
      0x50000000, 0x1000, 0, 0, NULL },
    { "coherent default", RESERVED("r { " POOL "reg = <0x50000000 0x1000>; linux,dma-default; };"), R,
      DK_RESERVED_COHERENT, 0x50000000, 0x1000, 0, 1, NULL },
    { "cma", RESERVED("r { " CMA "reg = <0x50000000 0x400000>; linux,dma-default; };"), R, DK_RESERVED_CMA,
      0x50000000, 0x400000, 0, 0, NULL },
    { "cma default", RESERVED("r { " CMA "reg = <0x50000000 0x400000>; linux,cma-default; };"), R,
      DK_RESERVED_CMA, 0x50000000, 0x400000, 0, 1, NULL },
    { "coherent with the wrong default",
      RESERVED("r { " POOL "reg = <0x50000000 0x1000>; linux,cma-default; };"), R, DK_RESERVED_COHERENT,
      0x50000000, 0x1000, 0, 0, NULL },
    { "restricted", RESERVED("r { " RESTRICTED "reg = <0x50000000 0x1000>; };"), R, DK_RESERVED_RESTRICTED,
      0x50000000, 0x1000, 0, 0, NULL },
    { "second compatible",
      RESERVED("r { compatible = \"x\", \"restricted-dma-pool\"; reg = <0x50000000 0x1000>; };"), R,
      DK_RESERVED_RESTRICTED, 0x50000000, 0x1000, 0, 0, NULL },
    /* reg goes before size */
    { "both reg and size", RESERVED("r { reg = <0x50000000 0x1000>; size = <0x2000>; };"), R,
      DK_RESERVED_PLAIN, 0x50000000, 0x1000, 0, 0, NULL },

    { "plain outside memory", RESERVED("r { reg = <0x1000 0x1000>; };"), R, DK_RESERVED_PLAIN, 0x1000, 0x1000,
      0, 0, NULL },
    { "no-map half outside", RESERVED("r { reg = <0x3ffff000 0x2000>; no-map; };"), R, DK_RESERVED_NO_MAP,
      0x3ffff000, 0x2000, 0, 0, NULL },
    { "coherent outside memory", RESERVED("r { " POOL "reg = <0x1000 0x1000>; };"), R, DK_RESERVED_COHERENT,
      0x1000, 0x1000, 0, 0, "outside memory" },
    { "cma below memory by a page",
      RESERVED("r { " CMA "reg = <0x3ffff000 0x1000000>; linux,cma-default; };"), R, DK_RESERVED_CMA,
      0x3ffff000, 0x1000000, 0, 0, "outside memory" },
    { "cma at the start", RESERVED("r { " CMA "reg = <0x40000000 0x1000000>; };"), R, DK_RESERVED_CMA,
      0x40000000, 0x1000000, 0, 0, NULL },
    { "cma to the end", RESERVED("r { " CMA "reg = <0x7f000000 0x1000000>; };"), R, DK_RESERVED_CMA,
      0x7f000000, 0x1000000, 0, 0, NULL },
    { "cma past the end by a page", RESERVED("r { " CMA "reg = <0x7f001000 0x1000000>; };"), R,
      DK_RESERVED_CMA, 0x7f001000, 0x1000000, 0, 0, "outside memory" },
    { "restricted outside memory", RESERVED("r { " RESTRICTED "reg = <0x1000 0x1000>; };"), R,
      DK_RESERVED_RESTRICTED, 0x1000, 0x1000, 0, 0, "outside memory" },
    { "across two memory nodes that touch",
      TREE(
          "memory@80000000 { device_type = \"memory\"; reg = <0x80000000 0x1000>; }; reserved-memory { #address-cells = <1>; "
          "#size-cells = <1>; ranges; r { " CMA "reg = <0x7fff0000 0x11000>; }; };"),
      R, DK_RESERVED_CMA, 0x7fff0000, 0x11000, 0, 0, NULL },
    { "across two memory nodes a byte apart",
      "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; memory { device_type = \"memory\"; reg = <0x40000000 "
      "0x3fffffff>, <0x80000000 0x1000>; }; reserved-memory { ranges; r { " CMA
      "reg = <0x7fff0000 0x11000>; }; }; };",
      R, DK_RESERVED_CMA, 0x7fff0000, 0x11000, 0, 0, "outside memory" },

    { "dynamic larger than all addresses below memory's end", RESERVED("r { size = <0xb0000000>; };"), R,
      DK_RESERVED_PLAIN, 0, 0xb0000000, 1, 0, "no room of its size and alignment in memory" },
    { "reusable and no-map",
      RESERVED("r { " CMA "reg = <0x50000000 0x400000>; no-map; linux,cma-default; };"), R, DK_RESERVED_CMA,
      0x50000000, 0x400000, 0, 0, "both reusable and no-map" },
    { "reusable and no-map, no pool", RESERVED("r { reusable; reg = <0x50000000 0x400000>; no-map; };"), R,
      DK_RESERVED_NO_MAP, 0x50000000, 0x400000, 0, 0, "both reusable and no-map" },
    { "restricted no-map", RESERVED("r { " RESTRICTED "reg = <0x50000000 0x1000>; no-map; };"), R,
      DK_RESERVED_RESTRICTED, 0x50000000, 0x1000, 0, 0, "neither reusable nor no-map" },
    { "restricted reusable", RESERVED("r { " RESTRICTED "reg = <0x50000000 0x1000>; reusable; };"), R,
      DK_RESERVED_RESTRICTED, 0x50000000, 0x1000, 0, 0, "neither reusable nor no-map" },
    { "pool off a page", RESERVED("r { " POOL "reg = <0x50000800 0x1000>; };"), R, DK_RESERVED_COHERENT,
      0x50000800, 0x1000, 0, 0, "starts and ends at pages" },
    { "restricted pool off a page", RESERVED("r { " RESTRICTED "reg = <0x50000800 0x1000>; };"), R,
      DK_RESERVED_RESTRICTED, 0x50000800, 0x1000, 0, 0, "starts and ends at pages" },
    { "no-map off a page", RESERVED("r { no-map; reg = <0x50000800 0x1000>; };"), R, DK_RESERVED_NO_MAP,
      0x50000800, 0x1000, 0, 0, NULL },
    { "below a static one off a page", RESERVED("r { size = <0x1000>; }; s { reg = <0x7fff8801 0x77ff>; };"),
      R, DK_RESERVED_PLAIN, 0x7fff7000, 0x1000, 1, 0, NULL },
    { "pool of half a page", RESERVED("r { " POOL "reg = <0x50000000 0x800>; };"), R, DK_RESERVED_COHERENT,
      0x50000000, 0x800, 0, 0, "starts and ends at pages" },
    { "empty", RESERVED("r { reg = <0x50000000 0>; };"), R, DK_RESERVED_PLAIN, 0x50000000, 0, 0, 0,
      "size is 0" },
    { "empty reg", RESERVED("r { reg; };"), R, DK_RESERVED_PLAIN, 0, 0, 0, 0, "reg is not a list" },
    { "three cells", RESERVED("r { reg = <1 2 3>; };"), R, DK_RESERVED_PLAIN, 0, 0, 0, 0,
      "reg is not a list" },
    { "neither", RESERVED("r { };"), R, DK_RESERVED_PLAIN, 0, 0, 0, 0, "neither reg nor size" },
    { "wraps",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; reserved-memory { ranges; r { reg = <0xffffffff 0xfffff000 0 "
      "0x1001>; }; }; };",
      R, DK_RESERVED_PLAIN, 0xfffffffffffff000, 0x1001, 0, 0, "wraps" },
    { "no ranges",
      TREE("reserved-memory { #address-cells = <1>; #size-cells = <1>; r { reg = <0x50000000 0x1000>; }; };"),
      R, DK_RESERVED_PLAIN, 0, 0, 0, 0, "no ranges property" },
    { "other address cells",
      TREE(
          "reserved-memory { #address-cells = <2>; #size-cells = <1>; ranges; r { reg = <0 0x50000000 0x1000>; }; };"),
      R, DK_RESERVED_PLAIN, 0, 0, 0, 0, "other #address-cells" },
    { "other size cells",
      TREE(
          "reserved-memory { #address-cells = <1>; #size-cells = <2>; ranges; r { reg = <0x50000000 0 0x1000>; }; };"),
      R, DK_RESERVED_PLAIN, 0, 0, 0, 0, "other #address-cells or #size-cells" },

    { "no size cells",
      "/dts-v1/; / { #address-cells = <1>; #size-cells = <0>; reserved-memory { #address-cells = <1>; #size-cells = <0>; "
      "ranges; r { reg = <0x50000000>; }; }; };",
      R, DK_RESERVED_PLAIN, 0, 0, 0, 0, "no address or no size cells" },
    { "no address cells",
      "/dts-v1/; / { #address-cells = <0>; #size-cells = <1>; reserved-memory { #address-cells = <0>; #size-cells = <1>; "
      "ranges; r { reg = <0x1000>; }; }; };",
      R, DK_RESERVED_PLAIN, 0, 0, 0, 0, "no address or no size cells" },

    { "overlap", RESERVED("a { reg = <0x50000000 0x2000>; }; r { reg = <0x50001fff 0x1000>; };"), R,
      DK_RESERVED_PLAIN, 0x50001fff, 0x1000, 0, 0, "overlaps /reserved-memory/a" },
    { "side by side", RESERVED("a { reg = <0x50000000 0x2000>; }; r { reg = <0x50002000 0x1000>; };"), R,
      DK_RESERVED_PLAIN, 0x50002000, 0x1000, 0, 0, NULL },
    { "the earlier one stays",
      RESERVED("r { reg = <0x50000000 0x2000>; }; b { reg = <0x50000000 0x2000>; };"), R, DK_RESERVED_PLAIN,
      0x50000000, 0x2000, 0, 0, NULL },
    { "overlap with a failed one",
      RESERVED("a { reusable; no-map; reg = <0x50000000 0x2000>; }; r { reg = <0x50000000 0x2000>; };"), R,
      DK_RESERVED_PLAIN, 0x50000000, 0x2000, 0, 0, NULL },
    { "overlap with a disabled one",
      RESERVED("a { status = \"disabled\"; reg = <0x50000000 0x2000>; }; r { reg = <0x50000000 0x2000>; };"),
      R, DK_RESERVED_PLAIN, 0x50000000, 0x2000, 0, 0, NULL },
    { "a row each", RESERVED("r { reg = <0x50000000 0x1000>, <0x50000800 0x1000>; };"), R, DK_RESERVED_PLAIN,
      0x50000000, 0x1000, 0, 0, NULL },

    { "dynamic at the top", RESERVED("r { size = <0x1000>; };"), R, DK_RESERVED_PLAIN, 0x7ffff000, 0x1000, 1,
      0, NULL },
    { "dynamic of some bytes is aligned to a page", RESERVED("r { size = <0x1234>; };"), R, DK_RESERVED_PLAIN,
      0x7fffe000, 0x1234, 1, 0, NULL },
    { "dynamic cma is aligned to 2 MiB", RESERVED("r { " CMA "size = <0x1000>; linux,cma-default; };"), R,
      DK_RESERVED_CMA, 0x7fe00000, 0x1000, 1, 1, NULL },
    { "alignment", RESERVED("r { size = <0x1000>; alignment = <0x10000000>; };"), R, DK_RESERVED_PLAIN,
      0x70000000, 0x1000, 1, 0, NULL },
    { "small alignment", RESERVED("r { size = <0x800>; alignment = <0x10>; };"), R, DK_RESERVED_PLAIN,
      0x7ffff000, 0x800, 1, 0, NULL },
    { "alloc-ranges", RESERVED("r { size = <0x1000>; alloc-ranges = <0x50000000 0x3000>; };"), R,
      DK_RESERVED_PLAIN, 0x50002000, 0x1000, 1, 0, NULL },
    { "exactly the alloc-range", RESERVED("r { size = <0x3000>; alloc-ranges = <0x50000000 0x3000>; };"), R,
      DK_RESERVED_PLAIN, 0x50000000, 0x3000, 1, 0, NULL },
    { "a byte more than the alloc-range",
      RESERVED("r { size = <0x3001>; alloc-ranges = <0x50000000 0x3000>; };"), R, DK_RESERVED_PLAIN, 0,
      0x3001, 1, 0, "alloc-ranges" },
    { "alloc-range around memory's end",
      RESERVED("r { size = <0x1000>; alloc-ranges = <0x7fff0000 0x80000000>; };"), R, DK_RESERVED_PLAIN,
      0x7ffff000, 0x1000, 1, 0, NULL },
    { "alloc-range around memory's start", RESERVED("r { size = <0x1000>; alloc-ranges = <0 0x40001000>; };"),
      R, DK_RESERVED_PLAIN, 0x40000000, 0x1000, 1, 0, NULL },
    { "alloc-range outside memory", RESERVED("r { size = <0x1000>; alloc-ranges = <0 0x40000000>; };"), R,
      DK_RESERVED_PLAIN, 0, 0x1000, 1, 0, "no room of its size and alignment in its alloc-ranges" },
    { "the first range with room",
      RESERVED(
          "r { size = <0x2000>; alloc-ranges = <0x60000000 0x1000>, <0x50000000 0x4000>, <0x70000000 0x4000>; };"),
      R, DK_RESERVED_PLAIN, 0x50002000, 0x2000, 1, 0, NULL },
    { "an empty alloc-range is passed over",
      RESERVED("r { size = <0x1000>; alloc-ranges = <0x60000000 0>, <0x50000000 0x1000>; };"), R,
      DK_RESERVED_PLAIN, 0x50000000, 0x1000, 1, 0, NULL },
    { "only empty alloc-ranges", RESERVED("r { size = <0x1000>; alloc-ranges = <0x60000000 0>; };"), R,
      DK_RESERVED_PLAIN, 0, 0x1000, 1, 0, "all empty" },
    { "alloc-ranges of a row and a half",
      RESERVED("r { size = <0x1000>; alloc-ranges = <0x60000000 0x1000 0x50000000>; };"), R,
      DK_RESERVED_PLAIN, 0, 0x1000, 1, 0, "alloc-ranges is not a list" },
    { "alloc-range that wraps means from there on",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; memory { device_type = \"memory\"; reg = <0 0x40000000 0 "
      "0x40000000>; }; reserved-memory { ranges; r { size = <0 0x1000>; alloc-ranges = <0 0x7fffe000 0xffffffff 0xffffffff>; "
      "}; }; };",
      R, DK_RESERVED_PLAIN, 0x7ffff000, 0x1000, 1, 0, NULL },
    { "alloc-range that wraps, too high",
      "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; memory { device_type = \"memory\"; reg = <0 0x40000000 0 "
      "0x40000000>; }; reserved-memory { ranges; r { size = <0 0x1000>; alloc-ranges = <0 0x7ffff001 0xffffffff 0xffffffff>; "
      "}; }; };",
      R, DK_RESERVED_PLAIN, 0, 0x1000, 1, 0, "alloc-ranges" },
    { "alloc-range that wraps reaches the last address",
      TOP
      "reserved-memory { ranges; r { size = <0 0x1000>; alloc-ranges = <0xffffffff 0xffff0000 0xffffffff 0xffffffff>; "
      "}; }; };",
      R, DK_RESERVED_PLAIN, 0xfffffffffffff000, 0x1000, 1, 0, NULL },
    { "odd alloc-ranges", RESERVED("r { size = <0x1000>; alloc-ranges = <0x60000000>; };"), R,
      DK_RESERVED_PLAIN, 0, 0x1000, 1, 0, "alloc-ranges is not a list" },
    { "below a static one", RESERVED("r { size = <0x1000>; }; s { reg = <0x7fff8000 0x8000>; };"), R,
      DK_RESERVED_PLAIN, 0x7fff7000, 0x1000, 1, 0, NULL },
    { "into a gap of its size",
      RESERVED(
          "r { size = <0x1000>; }; s { reg = <0x7fff0000 0xf000>; }; t { reg = <0x7ffe0000 0x10000>; };"),
      R, DK_RESERVED_PLAIN, 0x7ffff000, 0x1000, 1, 0, NULL },
    { "past a gap that is too small",
      RESERVED(
          "r { size = <0x2000>; }; s { reg = <0x7fff0000 0xf000>; }; t { reg = <0x7ffe0000 0x10000>; };"),
      R, DK_RESERVED_PLAIN, 0x7ffde000, 0x2000, 1, 0, NULL },
    { "after an earlier dynamic one", RESERVED("a { size = <0x1000>; }; r { size = <0x1000>; };"), R,
      DK_RESERVED_PLAIN, 0x7fffe000, 0x1000, 1, 0, NULL },
    { "after two earlier dynamic ones",
      RESERVED("a { size = <0x1000>; }; b { size = <0x1000>; }; r { size = <0x1000>; };"), R,
      DK_RESERVED_PLAIN, 0x7fffd000, 0x1000, 1, 0, NULL },
    { "below an entry to the last address, which a node reserves again",
      "/dts-v1/; /memreserve/ 0xffffffffffff0000 0x10000; " TOP_ROOT
      "reserved-memory { ranges; r { size = <0 0x1000>; }; s { no-map; reg = <0xffffffff 0xffff8000 0 0x1000>; }; }; };",
      R, DK_RESERVED_PLAIN, 0xfffffffffffef000, 0x1000, 1, 0, NULL },
    { "below a reservation entry",
      "/dts-v1/; /memreserve/ 0x7ffff000 0x1000; / { #address-cells = <1>; #size-cells = <1>; " MEMORY
      "reserved-memory { ranges; r { size = <0x1000>; }; }; };",
      R, DK_RESERVED_PLAIN, 0x7fffe000, 0x1000, 1, 0, NULL },
    { "all of memory", RESERVED("r { size = <0x40000000>; };"), R, DK_RESERVED_PLAIN, 0x40000000, 0x40000000,
      1, 0, NULL },
    { "a page more than memory", RESERVED("r { size = <0x40001000>; };"), R, DK_RESERVED_PLAIN, 0, 0x40001000,
      1, 0, "no room of its size and alignment in memory" },
    { "size 0", RESERVED("r { size = <0>; };"), R, DK_RESERVED_PLAIN, 0, 0, 1, 0, "size is 0" },
    { "size of two cells", RESERVED("r { size = <0 1>; };"), R, DK_RESERVED_PLAIN, 0, 0, 1, 0,
      "size has 8 bytes" },
    { "alignment of two cells", RESERVED("r { size = <1>; alignment = <0 1>; };"), R, DK_RESERVED_PLAIN, 0, 0,
      1, 0, "alignment has 8 bytes" },
    { "odd alignment", RESERVED("r { size = <0x1000>; alignment = <0x3000>; };"), R, DK_RESERVED_PLAIN, 0,
      0x1000, 1, 0, "not a power of two" },
    { "alignment of all", RESERVED("r { size = <0x1000>; alignment = <0x80000000>; };"), R, DK_RESERVED_PLAIN,
      0, 0x1000, 1, 0, "no room" },

    { "in the uncached alias",
      TREE(
          "chosen { dmakit,uncached-alias = <0xa0000000 0x40000000 0x1000000>; }; reserved-memory { ranges; r { " POOL
          "reg = <0xa0fff000 0x1000>; linux,dma-default; }; };"),
      R, DK_RESERVED_COHERENT, 0xa0fff000, 0x1000, 0, 1, NULL },
    { "past the uncached alias",
      TREE(
          "chosen { dmakit,uncached-alias = <0xa0000000 0x40000000 0x1000000>; }; reserved-memory { ranges; r { " POOL
          "reg = <0xa0fff000 0x2000>; }; };"),
      R, DK_RESERVED_COHERENT, 0xa0fff000, 0x2000, 0, 0, "outside memory" },
    { "cma in the uncached alias",
      TREE(
          "chosen { dmakit,uncached-alias = <0xa0000000 0x40000000 0x1000000>; }; reserved-memory { ranges; r { " CMA
          "reg = <0xa0000000 0x1000>; }; };"),
      R, DK_RESERVED_CMA, 0xa0000000, 0x1000, 0, 0, "outside memory" },
    { "an alias of something taken",
      TREE(
          "chosen { dmakit,uncached-alias = <0xa0000000 0x40000000 0x1000000>; }; reserved-memory { ranges; a { reg = "
          "<0x40001000 0x1000>; }; r { " POOL "reg = <0xa0001000 0x1000>; }; };"),
      R, DK_RESERVED_COHERENT, 0xa0001000, 0x1000, 0, 0, "overlaps /reserved-memory/a" },
    { "dynamic keeps clear of what the alias shows",
      TREE(
          "chosen { dmakit,uncached-alias = <0xa0000000 0x40000000 0x40000000>; }; reserved-memory { ranges; a { " POOL
          "reg = <0xdffff000 0x1000>; }; r { size = <0x1000>; }; };"),
      R, DK_RESERVED_PLAIN, 0x7fffe000, 0x1000, 1, 0, NULL },

    { "reservation entry", "/dts-v1/; /memreserve/ 0x12345000 0x2000; / { };", "/memreserve/@12345000",
      DK_RESERVED_PLAIN, 0x12345000, 0x2000, 0, 0, NULL },
    { "reservation entry that wraps", "/dts-v1/; /memreserve/ 0xfffffffffffff000 0x1001; / { };",
      "/memreserve/@fffffffffffff000", DK_RESERVED_PLAIN, 0xfffffffffffff000, 0x1001, 0, 0, "wraps" },
    { "entry and region that mean the same",
      "/dts-v1/; /memreserve/ 0x50000000 0x1000; / { #address-cells = <1>; #size-cells = <1>; " MEMORY
      "reserved-memory { ranges; r { no-map; reg = <0x50000000 0x1000>; }; }; };",
      R, DK_RESERVED_NO_MAP, 0x50000000, 0x1000, 0, 0, NULL },
    { "pool in an entry",
      "/dts-v1/; /memreserve/ 0x50000000 0x1000; / { #address-cells = <1>; #size-cells = <1>; " MEMORY
      "reserved-memory { ranges; r { " RESTRICTED "reg = <0x50000000 0x1000>; }; }; };",
      R, DK_RESERVED_RESTRICTED, 0x50000000, 0x1000, 0, 0, "overlaps /memreserve/@50000000" },
};

static void test_regions(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(regions) / sizeof(regions[0]); i++) {
        const struct region_case *wanted = &regions[i];
        struct dk_board *board = tree_board(wanted->source);
        const struct dk_reserved *region;

        if (IS_ERR(board))
            fail_msg("%s: refused: %s", wanted->name, tree_log());
        region = tree_region(board, wanted->node);
        if (region->kind != wanted->kind || region->range.base != wanted->base ||
            region->range.size != wanted->size || region->dynamic != wanted->dynamic ||
            region->is_default != wanted->is_default || region->disabled)
            fail_msg("%s: kind %d, 0x%llx at 0x%llx, dynamic %d, default %d", wanted->name, region->kind,
                     region->range.size, region->range.base, region->dynamic, region->is_default);
        if (!wanted->reason && region->reason)
            fail_msg("%s: failed: %s", wanted->name, region->reason);
        if (wanted->reason) {
            if (!region->reason || !strstr(region->reason, wanted->reason))
                fail_msg("%s: reason: %s", wanted->name, region->reason ? region->reason : "none");
            tree_logged(wanted->name, wanted->node, wanted->reason);
        }
        dk_board_free(board);
    }
}

static void test_defaults(void **state)
{
    struct dk_board *board = tree_board(RESERVED(
        "a { " CMA "size = <0x400000>; linux,cma-default; }; b { " CMA
        "size = <0x400000>; linux,cma-default; };"
        "c { " CMA "size = <0x400000>; }; d { " CMA "no-map; size = <0x400000>; linux,cma-default; };"
        "e { " CMA "status = \"disabled\"; size = <0x400000>; linux,cma-default; };"
        "f { " POOL "size = <0x1000>; linux,dma-default; };"));

    (void)state;
    assert_false(IS_ERR(board));
    assert_false(tree_region(board, "/reserved-memory/a")->is_default);
    assert_true(tree_region(board, "/reserved-memory/b")->is_default);
    assert_false(tree_region(board, "/reserved-memory/c")->is_default);
    assert_false(tree_region(board, "/reserved-memory/d")->is_default);
    assert_false(tree_region(board, "/reserved-memory/e")->is_default);
    assert_true(tree_region(board, "/reserved-memory/e")->disabled);
    assert_true(tree_region(board, "/reserved-memory/f")->is_default);
    tree_logged("second", "/reserved-memory/b",
                "a second linux,cma-default, after /reserved-memory/a; the last one wins");
    assert_null(strstr(tree_log(), "linux,dma-default"));
    dk_board_free(board);
}

static void test_device_regions(void **state)
{
    struct dk_board *board = tree_board(TREE(
        "reserved-memory { ranges; one: one { phandle = <0x51>; reg = <0x50000000 0x1000>, <0x51000000 0x1000>; }; "
        "off: off { status = \"disabled\"; reg = <0x52000000 0x1000>; }; two: two { size = <0x1000>; }; }; other: other { };"
        "d { memory-region = <&two>, <0>, <&other>, <&one>, <&off>; memory-region-names = \"x\", \"\", \"y\"; }; n { };"));
    const struct dk_node *node;

    (void)state;
    assert_false(IS_ERR(board));
    node = tree_node(board, "/d");
    assert_int_equal(node->region_count, 5);
    assert_string_equal(board->reserved[node->regions[0]].node, "/reserved-memory/two");
    assert_int_equal(node->regions[1], -1);
    assert_null(node->region_paths[1]);
    assert_int_equal(node->regions[2], -1);
    assert_string_equal(node->region_paths[2], "/other");
    assert_int_equal(board->reserved[node->regions[3]].range.base, 0x50000000);
    assert_int_equal(board->reserved[node->regions[3]].phandle, 0x51);
    assert_true(board->reserved[node->regions[4]].disabled);
    assert_string_equal(node->region_names[0], "x");
    assert_string_equal(node->region_names[1], "");
    assert_string_equal(node->region_names[2], "y");
    assert_null(node->region_names[3]);
    assert_int_equal(tree_node(board, "/n")->region_count, 0);
    assert_int_equal(board->reserved_count, 4);
    dk_board_free(board);
}

static void test_memory(void **state)
{
    struct dk_board *board = tree_board(
        "/dts-v1/; / { #address-cells = <2>; #size-cells = <1>; b { device_type = \"memory\"; reg = <1 0 0x1000>, <0 0 0>, "
        "<0 0x2000 0x1000>; }; a { device_type = \"memory\"; reg = <0 0x3000 0x1000>; }; soc { memory { device_type = "
        "\"memory\"; reg = <0 0x9000 0x1000>; }; }; memory@5 { reg = <0 0x5000 0x1000>; }; c { device_type = \"memory\"; }; };");
    static const struct dk_range wanted[] = { { 0x2000, 0x1000 },
                                              { 0x3000, 0x1000 },
                                              { 0x100000000, 0x1000 } };
    size_t i;

    (void)state;
    assert_false(IS_ERR(board));
    assert_int_equal(board->memory_count, 3);
    assert_false(board->memory_assumed);
    for (i = 0; i < 3; i++) {
        assert_int_equal(board->memory[i].base, wanted[i].base);
        assert_int_equal(board->memory[i].size, wanted[i].size);
    }
    dk_board_free(board);
}

#define BARE(body) "/dts-v1/; / { #address-cells = <2>; #size-cells = <2>; " body " };"
#define BARE_RESERVED(body) BARE("reserved-memory { ranges; " body " };")

static void test_assumed_memory(void **state)
{
    static const struct {
        const char *source;
        u64 base, size;
    } assumed[] = {
        { BARE(""), 0, 0x40000000 },
        { BARE("memory { device_type = \"memory\"; reg = <0 0x80000000 0 0>; };"), 0x80000000, 0x40000000 },
        { BARE("memory { device_type = \"memory\"; };"), 0, 0x40000000 },
        { BARE("m { status = \"disabled\"; device_type = \"memory\"; reg = <0 0x80000000 0 1>; };"), 0,
          0x40000000 },
        { BARE_RESERVED("r { reg = <0 0x5fff0000 0 0x1000>; };"), 0x40000000, 0x40000000 },
        { BARE_RESERVED("r { reg = <0 0x7ffff000 0 0x1000>; };"), 0x40000000, 0x40000000 },
        { BARE_RESERVED("r { reg = <0 0x7ffff000 0 0x1001>; };"), 0x40000000, 0x80000000 },
        { BARE_RESERVED("r { reg = <0 0x50000000 0 0x1000>; }; s { reg = <1 0 0 0x1000>; };"), 0x40000000,
          0x100000000 },
        { BARE_RESERVED("r { status = \"disabled\"; reg = <1 0 0 0x1000>; };"), 0, 0x40000000 },
        { BARE_RESERVED("r { reg = <0 0x50000000 0 0x1000>; }; s { reg = <0x200 0 0 0x1000>; };"), 0x40000000,
          0x40000000 },
        { BARE_RESERVED("r { reg = <0 0x1000 0 0x1000>; }; s { reg = <0xff 0xfffff000 0 0x1000>; };"), 0,
          1ull << 40 },
        { BARE_RESERVED("r { reg = <0 0x1000 0 0x1000>; }; s { reg = <0xff 0xfffff000 0 0x1001>; };"), 0,
          0x40000000 },
        { BARE_RESERVED("r { size = <0 0x1000>; no-map; reusable; alloc-ranges = <9 0 1 0>; };"), 0,
          0x40000000 },
        { BARE_RESERVED("r { size = <0 0x20000000>; };"), 0, 0x40000000 },
        { BARE_RESERVED("r { size = <0 0x40000000>; }; top { reg = <0xffffffff 0xc0000000 0 0x1000>; };"),
          0ull - 0x80000000, 0x80000000 },
        { BARE_RESERVED("r { size = <0 0x20001000>; };"), 0, 0x80000000 },
        { BARE_RESERVED("r { size = <0 0x1000>; alloc-ranges = <0 0x90000000 0 0x10000000>; };"), 0x80000000,
          0x40000000 },
        { BARE(
              "memory { device_type = \"memory\"; reg = <0 0x80000000 0 0>; }; reserved-memory { ranges; r { reg = <0 0x1000 "
              "0 0x1000>; }; };"),
          0x80000000, 0x40000000 },
        { BARE(
              "memory { device_type = \"memory\"; reg = <0 0x80000000 0 0>; }; reserved-memory { ranges; r { " RESTRICTED
              "reg = <0 0x1000 0 0x1000>; }; };"),
          0, 0x40000000 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(assumed) / sizeof(assumed[0]); i++) {
        struct dk_board *board = tree_board(assumed[i].source);

        assert_false(IS_ERR(board));
        assert_true(board->memory_assumed);
        assert_int_equal(board->memory_count, 1);
        if (board->memory[0].base != assumed[i].base || board->memory[0].size != assumed[i].size)
            fail_msg("%s: 0x%llx at 0x%llx", assumed[i].source, board->memory[0].size, board->memory[0].base);
        dk_board_free(board);
    }
}

static void test_with_memory(void **state)
{
    static const char *const bad[] = { "",
                                       "1G",
                                       "1G@",
                                       "@0",
                                       "0@0",
                                       "1G@0,",
                                       ",1G@0",
                                       "1G@0;",
                                       "1G@0 ",
                                       "1Q@0",
                                       "2G@0,1G@0x7fffffff",
                                       "0x2000@0xfffffffffffff000",
                                       "16E@0",
                                       "99999999999999999999@0",
                                       "x@0",
                                       "1G@0x" };
    struct dk_board *board =
        tree_board(RESERVED("r { " CMA "size = <0x400000>; }; s { " CMA "reg = <0x50000000 0x400000>; };"));
    struct dk_board *other;
    size_t i;

    (void)state;
    assert_false(IS_ERR(board));
    other = dk_board_with_memory(board, "3G@0x100000000,0x40000000@0");
    assert_false(IS_ERR(other));
    assert_int_equal(other->memory_count, 2);
    assert_int_equal(other->memory[0].base, 0);
    assert_int_equal(other->memory[0].size, 0x40000000);
    assert_int_equal(other->memory[1].base, 0x100000000);
    assert_int_equal(other->memory[1].size, 0xc0000000);
    assert_int_equal(tree_region(other, "/reserved-memory/r")->range.base, 0x1bfc00000);
    assert_non_null(tree_region(other, "/reserved-memory/s")->reason);
    assert_int_equal(tree_region(board, "/reserved-memory/r")->range.base, 0x7fc00000);
    assert_null(tree_region(board, "/reserved-memory/s")->reason);
    assert_int_equal(board->memory_count, 1);
    dk_board_free(other);
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        tree_log_start();
        other = dk_board_with_memory(board, bad[i]);
        if (PTR_ERR(other) != -EINVAL)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(strstr(tree_log(), "memory specification"));
    }
    dk_board_free(board);
}

/* As many ranges as there may be, and one more. */
static void test_long_specification(void **state)
{
    struct dk_board *board = tree_board(TREE(""));
    unsigned count, i;

    (void)state;
    assert_false(IS_ERR(board));
    for (count = 1024; count <= 1025; count++) {
        struct dk_board *other;
        char *spec = NULL;
        size_t size;
        FILE *out = open_memstream(&spec, &size);

        for (i = 0; i < count; i++)
            fprintf(out, "%s0x1000@0x%x", i ? "," : "", i * 0x2000);
        fclose(out);
        tree_log_start();
        other = dk_board_with_memory(board, spec);
        free(spec);
        if (count == 1025) {
            assert_int_equal(PTR_ERR(other), -EINVAL);
            assert_non_null(strstr(tree_log(), "too many ranges"));
            continue;
        }
        assert_false(IS_ERR(other));
        assert_int_equal(other->memory_count, count);
        dk_board_free(other);
    }
    dk_board_free(board);
}

static void test_read_size(void **state)
{
    static const struct {
        const char *text;
        u64 value;
        int rest; /* -1: refused */
    } sizes[] = {
        { "0", 0, 1 },
        { "64M", 64 << 20, 3 },
        { "0x1000", 0x1000, 6 },
        { "0X1F", 0x1f, 4 },
        { "2g", 2ull << 30, 2 },
        { "1K@", 1024, 2 },
        { "3T", 3ull << 40, 2 },
        { "1P", 1ull << 50, 2 },
        { "1e", 1ull << 60, 2 },
        { "15E", 15ull << 60, 3 },
        { "16E", 0, -1 },
        { "010", 8, 3 },
        { "09", 0, 1 },
        { "1q", 1, 1 },
        { "18446744073709551615", ~0ull, 20 },
        { "18446744073709551616", 0, -1 },
        { "0xffffffffffffffff", ~0ull, 18 },
        { "0x10000000000000000", 0, -1 },
        { "", 0, -1 },
        { "x", 0, -1 },
        { "0x", 0, -1 },
        { "-1", 0, -1 },
        { "0xg", 0, -1 },
        { "0xaF", 0xaf, 4 },
        { "1M1", 1 << 20, 2 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        u64 value = 0;
        const char *end = dk_board_read_size(sizes[i].text, &value);

        if ((end ? end - sizes[i].text : -1) != sizes[i].rest || value != sizes[i].value)
            fail_msg("%s: 0x%llx, %ld", sizes[i].text, value, end ? (long)(end - sizes[i].text) : -1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_regions),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_device_regions),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_assumed_memory),
        cmocka_unit_test(test_with_memory),
        cmocka_unit_test(test_long_specification),
        cmocka_unit_test(test_read_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
