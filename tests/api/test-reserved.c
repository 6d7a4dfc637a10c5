/* SPDX-License-Identifier: MIT */
/*
 * Reserved memory stays out of the page allocator, and everything else is in it.
 */
#include "api.h"

/* 64 MiB at 0: a pool, an area, plain and no-map memory, and a region that is switched off. */
#define BOARD                                                                                                        \
    "/dts-v1/;\n/memreserve/ 0x100000 0x10000;\n"                                                                    \
    "/ { #address-cells = <1>; #size-cells = <1>; model = \"reserved\"; compatible = \"dmakit,test\"; dma-coherent;" \
    " memory@0 { device_type = \"memory\"; reg = <0 0x4000000>; };"                                                  \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                            \
    "  pool@1000000 { compatible = \"shared-dma-pool\"; no-map; reg = <0x1000000 0x11000>; };"                       \
    "  area@2000000 { compatible = \"shared-dma-pool\"; reusable; reg = <0x2000000 0x400000>; };"                    \
    "  off@1800000 { compatible = \"shared-dma-pool\"; no-map; status = \"disabled\"; reg = <0x1800000 0x10000>; };" \
    "  no-map@1900000 { no-map; reg = <0x1900000 0x1000>; };"                                                        \
    "  plain@1901000 { reg = <0x1901000 0x3000>; }; };"                                                              \
    " nic@0 { compatible = \"dmakit,nic\"; }; aliases { nic = \"/nic@0\"; }; };"

static const struct {
    phys_addr_t base, size;
} reserved[] = {
    { 0x100000, 0x10000 }, { 0x1000000, 0x11000 }, { 0x2000000, 0x400000 },
    { 0x1900000, 0x1000 }, { 0x1901000, 0x3000 },
};

#define RESERVED_COUNT (sizeof(reserved) / sizeof(reserved[0]))
#define PAGES (0x4000000 / 4096)

static bool is_reserved(phys_addr_t phys)
{
    size_t i;

    for (i = 0; i < RESERVED_COUNT; i++) {
        if (phys - reserved[i].base < reserved[i].size)
            return true;
    }
    return false;
}

static void every_page_but_the_reserved_ones_is_given_out(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);
    static struct page *pages[PAGES];
    size_t count = 0, expected = PAGES, i;

    (void)state;
    for (i = 0; i < RESERVED_COUNT; i++)
        expected -= reserved[i].size / 4096;
    while (count < PAGES && (pages[count] = alloc_page(GFP_ATOMIC | __GFP_NOWARN)))
        assert_false(is_reserved(page_to_phys(pages[count++])));
    assert_int_equal(count, expected);
    while (count)
        __free_page(pages[--count]);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* no-map memory has no kernel address; what is only reserved keeps it. */
static void only_no_map_memory_loses_its_address(void **state)
{
    struct dk_machine *machine = machine_on(BOARD);

    (void)state;
    assert_null(phys_to_virt(0x1000000));
    assert_null(phys_to_virt(0x1010fff));
    assert_non_null(phys_to_virt(0x1011000));
    assert_non_null(phys_to_virt(0xffffff));
    assert_null(phys_to_virt(0x1900000));
    assert_non_null(phys_to_virt(0x1901000));
    assert_non_null(phys_to_virt(0x100000));
    assert_non_null(phys_to_virt(0x1800000));
    assert_non_null(phys_to_virt(0x2000000));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static long create_with(const char *arguments)
{
    const struct dk_machine_options options = { .size = sizeof(options), .arguments = arguments, .depth = 1 };
    struct dk_board *board = board_from(BOARD);
    struct dk_machine *machine = dk_machine_create(board, &options);
    long error = PTR_ERR_OR_ZERO(machine);

    dk_board_free(board);
    if (!error)
        assert_int_equal(dk_machine_destroy(machine), 0);
    return error;
}

static void an_area_of_the_command_line_takes_nobody_s_memory(void **state)
{
    (void)state;
    assert_int_equal(create_with("cma=1M@0x1200000"), 0);
    assert_int_equal(create_with("cma=4K@0x1011000"), 0);
    assert_int_equal(create_with("cma=4K@0x1010000"), -EBUSY);
    assert_int_equal(create_with("cma=1M@0xf10000"), -EBUSY);
    assert_int_equal(create_with("cma=1M@0xf00000"), 0);
    assert_int_equal(create_with("cma=1M@0x1800000"), 0);
    assert_int_equal(create_with("cma=1M@0x4000000"), -EINVAL);
    assert_int_equal(create_with("cma=1M@0x3f01000"), -EINVAL);
    assert_int_equal(create_with("cma=1M@0x3f00000"), 0);
    assert_int_equal(create_with("cma=1G"), -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_page_but_the_reserved_ones_is_given_out),
        cmocka_unit_test(only_no_map_memory_loses_its_address),
        cmocka_unit_test(an_area_of_the_command_line_takes_nobody_s_memory),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("reserved", tests, NULL, NULL);
}
