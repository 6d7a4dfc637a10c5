/* SPDX-License-Identifier: MIT */
/*
 * Masks, and the other limits that drivers ask for and set.
 */
#include "api.h"

static void defaults_are_linux_s(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    struct device *added = device_below(machine, "bus", "added");

    (void)state;
    assert_int_equal(dma_get_mask(dev), DMA_BIT_MASK(32));
    assert_int_equal(dev->coherent_dma_mask, DMA_BIT_MASK(32));
    assert_int_equal(dma_get_mask(added), DMA_BIT_MASK(32));
    assert_int_equal(added->coherent_dma_mask, DMA_BIT_MASK(32));
    assert_int_equal(dma_get_max_seg_size(added), 65536);
    assert_int_equal(dma_get_seg_boundary(added), 0xffffffff);
    assert_int_equal(dma_get_min_align_mask(added), 0);
    assert_int_equal(dma_get_merge_boundary(added), 0);
    assert_true(dma_max_mapping_size(added) == SIZE_MAX);
    assert_true(dma_opt_mapping_size(added) == SIZE_MAX);
    assert_int_equal(dma_get_mask(NULL), 0);
    assert_int_equal(dma_get_required_mask(NULL), 0);
    assert_false(dma_addressing_limited(NULL));
    dk_machine_destroy(machine);
}

static void what_is_set_is_what_is_got(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");

    (void)state;
    assert_int_equal(dma_set_max_seg_size(dev, 4096), 0);
    assert_int_equal(dma_get_max_seg_size(dev), 4096);
    assert_int_equal(dma_set_seg_boundary(dev, 0xffff), 0);
    assert_int_equal(dma_get_seg_boundary(dev), 0xffff);
    assert_int_equal(dma_set_min_align_mask(dev, 0xfff), 0);
    assert_int_equal(dma_get_min_align_mask(dev), 0xfff);
    assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(40)), 0);
    assert_int_equal(dma_get_mask(dev), DMA_BIT_MASK(40));
    assert_int_equal(dev->coherent_dma_mask, DMA_BIT_MASK(32));
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
    assert_int_equal(dev->coherent_dma_mask, DMA_BIT_MASK(64));
    assert_int_equal(dma_set_max_seg_size(dev, 0), 0);
    assert_int_equal(dma_get_max_seg_size(dev), 65536);
    assert_int_equal(dma_set_seg_boundary(dev, 0), 0);
    assert_int_equal(dma_get_seg_boundary(dev), 0xffffffff);
    *dev->dma_mask = 0;
    assert_int_equal(dma_get_mask(dev), DMA_BIT_MASK(32));
    assert_int_equal(dma_get_max_seg_size(NULL), 65536);
    assert_int_equal(dma_get_seg_boundary(NULL), 0xffffffff);
    assert_int_equal(dma_get_min_align_mask(NULL), 0);
    assert_int_equal(dma_set_max_seg_size(NULL, 1), -EIO);
    assert_int_equal(dma_set_seg_boundary(NULL, 1), -EIO);
    assert_int_equal(dma_set_min_align_mask(NULL, 1), -EIO);
    dk_machine_destroy(machine);
}

/* RAM is 0x40000000 to 0x43ffffff: 31 bits reach it, 30 do not. */
static void a_mask_is_refused_where_it_reaches_nothing(void **state)
{
    static const struct {
        unsigned bits;
        int result;
    } cases[] = { { 24, -EIO }, { 30, -EIO }, { 31, 0 }, { 32, 0 }, { 33, 0 }, { 64, 0 } };
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(cases[i].bits)), cases[i].result);
        assert_int_equal(dma_set_coherent_mask(dev, DMA_BIT_MASK(cases[i].bits)), cases[i].result);
        assert_int_equal(dma_supported(dev, DMA_BIT_MASK(cases[i].bits)), cases[i].result == 0);
    }
    assert_int_equal(dma_set_mask(dev, 0x43ffffff), 0);
    assert_int_equal(dma_set_mask(dev, 0x43fffffe), -EIO);
    assert_int_equal(dma_set_mask(NULL, ~0ull), -EIO);
    assert_int_equal(dma_get_required_mask(dev), 0x7fffffff);
    /* A mask that is no row of ones reaches all there is, and still falls short of the required one, as in
     * Linux. */
    assert_true(dma_addressing_limited(dev));
    assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(31)), 0);
    assert_false(dma_addressing_limited(dev));
    dk_machine_destroy(machine);
}

static void a_mapping_beyond_the_mask_fails(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    struct page *page = alloc_page(GFP_KERNEL);
    phys_addr_t phys = page_to_phys(page);
    struct log_lines lines;
    dma_addr_t dma;

    (void)state;
    /* The mask is the driver's own memory too: some drivers narrow it past what dma_set_mask() would take. */
    *dev->dma_mask = phys + 99;
    dma = dma_map_page(dev, page, 0, 100, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dma, phys);
    dma_unmap_page(dev, dma, 100, DMA_TO_DEVICE);
    keep_log(&lines);
    assert_int_equal(dma_map_page(dev, page, 0, 101, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    drop_log();
    /* A warning: a driver may go on with another buffer. */
    assert_int_equal(lines.count, 1);
    assert_int_equal(lines.text[0], '1');
    assert_non_null(strstr(lines.text, "beyond the device's limit"));
    assert_int_equal(dma_mapping_error(dev, DMA_MAPPING_ERROR), -ENOMEM);
    assert_true(dma_addressing_limited(dev));
    __free_page(page);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* RAM of 64 MiB at 0. The bus shows the first 16 MiB at their own addresses, and all of it elsewhere. */
#define TWO_VIEWS                                                                                            \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; dma-coherent; memory@0 { device_type = "        \
    "\"memory\"; reg = <0 0x4000000>; }; bus: bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; "   \
    "#size-cells = <1>; ranges; dma-ranges = <0 0 0x1000000>, <0x80000000 0 0x4000000>; nic: nic@0 { }; }; " \
    "aliases { nic = \"/bus@0/nic@0\"; }; };"

/* The inline path ends where the window ends in which both addresses are one. */
static void the_inline_path_ends_with_its_window(void **state)
{
    struct dk_machine *machine = machine_with(TWO_VIEWS, NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "nic");
    struct page *page = alloc_page(GFP_KERNEL);
    phys_addr_t phys = page_to_phys(page);

    (void)state;
    assert_non_null(dev->fast_memory);
    assert_in_range(phys, 0x1000000, 0x3ffffff);
    assert_int_equal(dma_map_single(dev, page_address(page), 100, DMA_TO_DEVICE), 0x80000000 + phys);
    __free_page(page);
    dk_machine_destroy(machine);
}

/* 16 MiB of RAM at 1 GiB, of which the second 4 MiB are no memory of the kernel's, and 16 MiB behind a hole.
 */
#define PIECES                                                                                               \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; dma-coherent; memory@40000000 { device_type = " \
    "\"memory\"; reg = <0x40000000 0x1000000>, <0x42000000 0x1000000>; }; reserved-memory { "                \
    "#address-cells = <1>; #size-cells = <1>; ranges; none { no-map; reg = <0x40400000 0x400000>; }; }; "    \
    "nic: nic@0 { }; };"

/* A buffer that begins and ends in memory, and is not memory all along, is refused. */
static void a_buffer_is_memory_all_along(void **state)
{
    static const struct {
        phys_addr_t phys;
        size_t size;
        bool good;
    } cases[] = {
        { 0x403ff000, 0x1000, true },  { 0x403ff000, 0x1001, false },   { 0x403ff000, 0x401001, false },
        { 0x40800000, 0x1000, true },  { 0x407fffff, 0x1000, false },   { 0x40400000, 0x1000, false },
        { 0x40fff000, 0x1000, true },  { 0x40fff000, 0x1001, false },   { 0x40fff000, 0x1001001, false },
        { 0x42000000, 64, true },      { 0x41ffffff, 2, false },        { 0x42fff001, 0xfff, true },
        { 0x42fff001, 0x1000, false }, { 0x42fff001, SIZE_MAX, false },
    };
    struct dk_machine *machine = machine_with(PIECES, NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "/nic@0");
    char *start = phys_to_virt(0x40000000);
    size_t i;

    (void)state;
    assert_non_null(start);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dma_addr_t dma =
            dma_map_single(dev, start + (cases[i].phys - 0x40000000), cases[i].size, DMA_TO_DEVICE);

        if (dma != (cases[i].good ? cases[i].phys : DMA_MAPPING_ERROR))
            fail_msg("case %zu: 0x%llx", i, (unsigned long long)dma);
    }
    dk_machine_destroy(machine);
}

/* With the checker off the same limits hold in the inline path. */
static void the_inline_path_keeps_every_limit(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "nic");
    struct page *page = alloc_page(GFP_KERNEL);
    char *cpu = page_address(page);
    phys_addr_t phys = page_to_phys(page);
    char on_stack[64];

    (void)state;
    assert_non_null(dev->fast_memory);
    assert_int_equal(dma_map_single(dev, cpu + 5, 100, DMA_TO_DEVICE), phys + 5);
    assert_int_equal(dma_map_single(dev, cpu, 0, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    assert_int_equal(dma_map_single(dev, cpu, 64, DMA_NONE), DMA_MAPPING_ERROR);
    assert_int_equal(dma_map_single(dev, on_stack, 64, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    assert_int_equal(dma_map_single(dev, NULL, 64, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    assert_int_equal(dma_map_single(NULL, cpu, 64, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    /* To the last byte of RAM, and one further. */
    cpu = phys_to_virt(0x43ffffff);
    assert_int_equal(dma_map_single(dev, cpu, 1, DMA_TO_DEVICE), 0x43ffffff);
    assert_int_equal(dma_map_single(dev, cpu, 2, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    assert_int_equal(dma_map_single(dev, phys_to_virt(0x40000000), 0x4000000, DMA_TO_DEVICE), 0x40000000);
    assert_int_equal(dma_map_single(dev, phys_to_virt(0x40000000), 0x4000001, DMA_TO_DEVICE),
                     DMA_MAPPING_ERROR);
    assert_int_equal(dma_map_single(dev, phys_to_virt(0x40000000), ~(size_t)0, DMA_TO_DEVICE),
                     DMA_MAPPING_ERROR);
    /* A mask that moves is followed. */
    assert_int_equal(dma_set_mask(dev, 0x43ffffff), 0);
    assert_int_equal(dma_map_single(dev, cpu, 1, DMA_TO_DEVICE), 0x43ffffff);
    __free_page(page);
    dk_machine_destroy(machine);
}

static void the_inline_path_is_closed_where_it_would_be_wrong(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 1);

    (void)state;
    assert_null(dk_device_find(machine, "nic")->fast_memory);
    dk_machine_destroy(machine);
    machine = machine_with(NONCOHERENT_BOARD, NULL, 0, 0);
    assert_null(dk_device_find(machine, "nic")->fast_memory);
    dk_machine_destroy(machine);
    machine = machine_with(
        SMALL_BOARD("dma-coherent;", "ranges; dma-ranges = <0x80000000 0x40000000 0x4000000>;"), NULL, 0, 0);
    assert_null(dk_device_find(machine, "nic")->fast_memory);
    dk_machine_destroy(machine);
}

static void coherency_is_what_the_device_is_asked_for(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");

    (void)state;
    assert_true(dma_need_sync(dev, 0));
    assert_false(dma_is_consistent(dev, 0));
    assert_int_equal(dma_get_cache_alignment(), 64);
    dk_machine_destroy(machine);
    machine = machine_on(COHERENT_BOARD);
    dev = dk_device_find(machine, "nic");
    assert_false(dma_need_sync(dev, 0));
    assert_true(dma_is_consistent(dev, 0));
    assert_int_equal(dma_get_cache_alignment(), 1);
    dk_machine_destroy(machine);
}

/* Where caches snoop, a copy is all that a sync is for. */
static void a_sync_is_needed_where_a_mapping_bounced(void **state)
{
    static const char *const arguments[] = { "swiotlb=16384", "swiotlb=16384,force" };
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, arguments[i], 0, 1);
        struct device *dev = dk_device_find(machine, "nic");
        char *buffer = kmalloc(64, GFP_KERNEL);
        dma_addr_t dma = dma_map_single(dev, buffer, 64, DMA_FROM_DEVICE);

        assert_int_equal(dma_mapping_error(dev, dma), 0);
        assert_int_equal(dma_need_sync(dev, dma), i);
        dma_unmap_single(dev, dma, 64, DMA_FROM_DEVICE);
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_linux_s),
        cmocka_unit_test(what_is_set_is_what_is_got),
        cmocka_unit_test(a_mask_is_refused_where_it_reaches_nothing),
        cmocka_unit_test(a_mapping_beyond_the_mask_fails),
        cmocka_unit_test(the_inline_path_keeps_every_limit),
        cmocka_unit_test(the_inline_path_ends_with_its_window),
        cmocka_unit_test(a_buffer_is_memory_all_along),
        cmocka_unit_test(the_inline_path_is_closed_where_it_would_be_wrong),
        cmocka_unit_test(coherency_is_what_the_device_is_asked_for),
        cmocka_unit_test(a_sync_is_needed_where_a_mapping_bounced),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
