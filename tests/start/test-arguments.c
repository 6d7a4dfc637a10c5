/* SPDX-License-Identifier: MIT */
/*
 * A machine's arguments, and what bringing one up makes of them.
 */
#include "api.h"
#include "start/arguments.h"

static void the_last_word_of_a_name_counts(void **state)
{
    static const struct {
        const char *arguments;
        const char *value; /* of cma=; NULL: it is not there */
    } cases[] = {
        { "", NULL },
        { " ", NULL },
        { "cma", NULL },
        { "cma=", "" },
        { "cma=1", "1" },
        { "  cma=1  ", "1" },
        { "\tcma=1\n", "1" },
        { "cma=1 cma=2", "2" },
        { "cma=1 cma=", "" },
        { "cma=1 cma", "1" },
        { "quiet cma=64M@0x0 ro", "64M@0x0" },
        { "xcma=1", NULL },
        { "cma=1 xcma=2", "1" },
        { "cmax=1", NULL },
        { "cm=1", NULL },
        { "Cma=1", NULL },
        { "x.cma=1", NULL },
        { "a=cma=1", NULL },
        { "cma=cma=1", "cma=1" },
        { "cma =1", NULL },
        { "cma= 1", "" },
        { "root=/dev/x,cma=1", NULL },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t length = 99;
        const char *value = dk_argument(cases[i].arguments, "cma", &length);

        if (!!value != !!cases[i].value)
            fail_msg("\"%s\"", cases[i].arguments);
        if (!value)
            continue;
        assert_int_equal(length, strlen(cases[i].value));
        assert_memory_equal(value, cases[i].value, length);
    }
}

#define KEPT 77

static void sizes_are_read_whole_or_refused(void **state)
{
    static const struct {
        const char *arguments;
        bool with_base;
        int result;
        u64 size, base;
    } cases[] = {
        { "", true, 0, KEPT, KEPT },
        { "other=1", true, 0, KEPT, KEPT },
        { "size=0", true, 0, 0, 0 },
        { "size=1", true, 0, 1, 0 },
        { "size=64M", true, 0, 64 << 20, 0 },
        { "size=64m", true, 0, 64 << 20, 0 },
        { "size=4K", false, 0, 4096, KEPT },
        { "size=2G", false, 0, 2ull << 30, KEPT },
        { "size=16T", false, 0, 16ull << 40, KEPT },
        { "size=0x1000", false, 0, 0x1000, KEPT },
        { "size=0x10K x", false, 0, 0x4000, KEPT },
        { "size=1M@0x40000000", true, 0, 1 << 20, 0x40000000 },
        { "size=1M@1G", true, 0, 1 << 20, 1 << 30 },
        { "size=1M@0", true, 0, 1 << 20, 0 },
        { "size=1M size=2M@4M", true, 0, 2 << 20, 4 << 20 },
        { "size=1M@4M size=2M", true, 0, 2 << 20, 0 },
        { "size=1M@4M", false, -EINVAL, KEPT, KEPT },
        { "size=", true, -EINVAL, KEPT, KEPT },
        { "size= 1M", true, -EINVAL, KEPT, KEPT },
        { "size=M", true, -EINVAL, KEPT, KEPT },
        { "size=-1", true, -EINVAL, KEPT, KEPT },
        { "size=1Q", true, -EINVAL, KEPT, KEPT },
        { "size=1MB", true, -EINVAL, KEPT, KEPT },
        { "size=1M,2M", true, -EINVAL, KEPT, KEPT },
        { "size=1M@", true, -EINVAL, KEPT, KEPT },
        { "size=1M@ 4M", true, -EINVAL, KEPT, KEPT },
        { "size=1M@4M@8M", true, -EINVAL, KEPT, KEPT },
        { "size=@4M", true, -EINVAL, KEPT, KEPT },
        { "size=0x", true, -EINVAL, KEPT, KEPT },
        { "size=99999999999999999999", true, -EINVAL, KEPT, KEPT },
        { "size=16384P", true, -EINVAL, KEPT, KEPT },
        { "size=1M size=x", true, -EINVAL, KEPT, KEPT },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct log_lines lines;
        u64 size = KEPT, base = KEPT;
        int result;

        keep_log(&lines);
        result = dk_argument_size(cases[i].arguments, "size", &size, cases[i].with_base ? &base : NULL);
        drop_log();
        if (result != cases[i].result || size != cases[i].size || base != cases[i].base)
            fail_msg("\"%s\": %d, 0x%llx @ 0x%llx", cases[i].arguments, result, size, base);
        assert_int_equal(lines.count, result != 0);
        assert_true(!result || strstr(lines.text, "argument size="));
    }
}

static void flags_are_0_or_1(void **state)
{
    static const struct {
        const char *arguments;
        int result;
        bool before, after;
    } cases[] = {
        { "", 0, false, false },
        { "", 0, true, true },
        { "flag=1", 0, false, true },
        { "flag=0", 0, true, false },
        { "flag=1 flag=0", 0, true, false },
        { "flag=2", -EINVAL, true, true },
        { "flag=", -EINVAL, true, true },
        { "flag=01", -EINVAL, false, false },
        { "flag=yes", -EINVAL, false, false },
        { "flag", 0, false, false },
        { "xflag=1", 0, false, false },
        { "flag=10", -EINVAL, true, true },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool flag = cases[i].before;

        if (dk_argument_flag(cases[i].arguments, "flag", &flag) != cases[i].result || flag != cases[i].after)
            fail_msg("\"%s\"", cases[i].arguments);
    }
}

/* The error of a machine on @dts with @arguments, which fails; the log is in @lines. */
static long failure_of(const char *dts, const char *memory, const char *arguments, struct log_lines *lines)
{
    const struct dk_machine_options options = {
        .size = sizeof(options),
        .memory = memory,
        .arguments = arguments,
        .depth = 1,
    };
    struct dk_board *board = board_from(dts);
    struct dk_machine *machine;

    assert_false(IS_ERR(board));
    keep_log(lines);
    machine = dk_machine_create(board, &options);
    drop_log();
    dk_board_free(board);
    if (IS_ERR(machine))
        return PTR_ERR(machine);
    dk_machine_destroy(machine);
    return 0;
}

/* RAM is 64 MiB at 1 GiB. */
static void what_cannot_be_is_refused_by_name(void **state)
{
    static const struct {
        const char *memory, *arguments;
        long error;
        const char *named;
    } cases[] = {
        { NULL, "", 0, "" },
        { NULL, "quiet ro root=/dev/null", 0, "" },
        { NULL, "cma=4M highmem=16M iommu.passthrough=1", 0, "" },
        { NULL, "cma=4M@0x41000000", 0, "" },
        { NULL, "cma=0", 0, "" },
        { NULL, "cma=lots", -EINVAL, "argument cma= cannot be \"lots\"" },
        { NULL, "cma=1M@x quiet", -EINVAL, "argument cma= cannot be \"1M@x\"" },
        { NULL, "highmem=16M@0", -EINVAL, "argument highmem= cannot be \"16M@0\"" },
        { NULL, "highmem= 16M", -EINVAL, "argument highmem= cannot be \"\"" },
        { NULL, "iommu.passthrough=on", -EINVAL, "argument iommu.passthrough= cannot be \"on\"" },
        { NULL, "cma=4M@0x10000000", -EINVAL, "cma=" },
        { NULL, "cma=8M@0x43c00000", -EINVAL, "cma=" },
        { NULL, "cma=1G", -ENOMEM, "cma=" },
        { "64M", "", -EINVAL, "64M" },
        { "64M@", "", -EINVAL, "64M@" },
        { "64M@0x40000000,64M@0x42000000", "", -EINVAL, "overlap" },
        { "64M@0x40000000", "", 0, "" },
    };
    struct log_lines lines;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        long error = failure_of(COHERENT_BOARD, cases[i].memory, cases[i].arguments, &lines);

        if (error != cases[i].error || !strstr(lines.text, cases[i].named) || (!error && lines.count))
            fail_msg("\"%s\": %ld, logged \"%s\"", cases[i].arguments, error, lines.text);
    }
}

/* The board's own arguments hold unless the caller gives some. */
static void bootargs_are_the_arguments(void **state)
{
    static const char dts[] =
        "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"b\"; compatible = \"dmakit,b\"; dma-coherent;"
        " chosen { bootargs = \"quiet cma=nonsense\"; };"
        " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; }; };";
    struct log_lines lines;

    (void)state;
    assert_int_equal(failure_of(dts, NULL, NULL, &lines), -EINVAL);
    assert_non_null(strstr(lines.text, "\"nonsense\""));
    assert_int_equal(failure_of(dts, NULL, "", &lines), 0);
    assert_int_equal(failure_of(dts, NULL, "cma=1M", &lines), 0);
}

/* 8 GiB from 0 on, and a bus: the zone for small masks ends where the narrowest enabled window does. */
#define ZONES(buses)                                                                                                          \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"zones\"; compatible = \"dmakit,zones\"; dma-coherent;" \
    " memory@0 { device_type = \"memory\"; reg = <0 0 2 0>; }; " buses " };"
#define BUS(name, status, ranges)                                                                          \
    name " { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; ranges; " ranges status \
         " nic@0 { compatible = \"dmakit,nic\"; }; };"
#define TO_16M "dma-ranges = <0 0 0 0 0 0x1000000>;"
#define TO_1G "dma-ranges = <0 0xc0000000 0 0 0 0x40000000>;"
#define IN_TWO "dma-ranges = <0 0 0 0 0 0x1000000>, <0 0x40000000 0 0x40000000 0 0x1000000>;"
#define ABOVE_4G "dma-ranges = <0 0x80000000 1 0 0 0x40000000>;"
#define DISABLED "status = \"disabled\";"

/* How many blocks of 4 MiB the zone gives: it does not fall back on another one. */
static u64 zone_dma_blocks(void)
{
    LIST_HEAD(blocks);
    struct page *block, *following;
    u64 count = 0;

    while ((block = alloc_pages(GFP_ATOMIC | GFP_DMA | __GFP_NOWARN, MAX_PAGE_ORDER))) {
        list_add(&block->lru, &blocks);
        count++;
    }
    list_for_each_entry_safe (block, following, &blocks, lru) {
        list_del(&block->lru);
        __free_pages(block, MAX_PAGE_ORDER);
    }
    return count;
}

static void zone_dma_is_what_the_narrowest_bus_reaches(void **state)
{
    static const struct {
        const char *board;
        u64 end;
    } cases[] = {
        { ZONES(""), 1ull << 32 },
        { ZONES(BUS("a@0", "", "dma-ranges;")), 1ull << 32 },
        { ZONES(BUS("a@0", "", TO_16M)), 16 << 20 },
        { ZONES(BUS("a@0", "", TO_1G)), 1 << 30 },
        { ZONES(BUS("a@0", "", TO_1G) BUS("b@0", "", TO_16M)), 16 << 20 },
        { ZONES(BUS("a@0", "", TO_16M) BUS("b@0", "", TO_1G)), 16 << 20 },
        { ZONES(BUS("a@0", DISABLED, TO_16M) BUS("b@0", "", TO_1G)), 1 << 30 },
        { ZONES(BUS("a@0", "", IN_TWO)), 0x41000000 },
        { ZONES(BUS("a@0", "", ABOVE_4G)), 1ull << 32 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* A bounce pool would take some of the zone. */
        struct dk_machine *machine = machine_with(cases[i].board, "swiotlb=noforce", 0, 1);
        u64 blocks = zone_dma_blocks();
        struct page *dma = alloc_pages(GFP_KERNEL | GFP_DMA, 0);
        struct page *dma32 = alloc_pages(GFP_KERNEL | GFP_DMA32, 0);
        struct page *any = alloc_pages(GFP_KERNEL, 0);

        if (blocks != cases[i].end >> 22)
            fail_msg("case %zu: the zone has %llu blocks", i, blocks);
        assert_non_null(dma);
        assert_non_null(dma32);
        assert_non_null(any);
        if (page_to_phys(dma) >= cases[i].end)
            fail_msg("case %zu: 0x%llx is not in ZONE_DMA", i, page_to_phys(dma));
        assert_true(page_to_phys(dma32) < 1ull << 32);
        /* Memory for smaller masks is spared. */
        assert_true(page_to_phys(dma32) >= cases[i].end || cases[i].end == 1ull << 32);
        assert_true(page_to_phys(any) >= 1ull << 32);
        __free_page(dma);
        __free_page(dma32);
        __free_page(any);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* One device that does not snoop is enough for two views; one that is disabled is not. */
static void two_views_are_for_non_coherent_devices(void **state)
{
    static const struct {
        const char *board;
        int alignment; /* dma_get_cache_alignment() */
    } cases[] = {
        { ZONES(BUS("a@0", "", "")), 1 },
        { ZONES(BUS("a@0", "", "dma-noncoherent;")), 64 },
        { ZONES(BUS("a@0", DISABLED, "dma-noncoherent;")), 1 },
        { ZONES(BUS("a@0", "", "") BUS("b@0", "", "dma-noncoherent;")), 64 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_on(cases[i].board);

        assert_int_equal(dma_get_cache_alignment(), cases[i].alignment);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_word_of_a_name_counts),
        cmocka_unit_test(sizes_are_read_whole_or_refused),
        cmocka_unit_test(flags_are_0_or_1),
        cmocka_unit_test(what_cannot_be_is_refused_by_name),
        cmocka_unit_test(bootargs_are_the_arguments),
        cmocka_unit_test(zone_dma_is_what_the_narrowest_bus_reaches),
        cmocka_unit_test(two_views_are_for_non_coherent_devices),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("arguments", tests, NULL, NULL);
}
