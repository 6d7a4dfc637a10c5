/* SPDX-License-Identifier: MIT */
/*
 * Every kind of mapping, on every kind of bus, under every mask, moves bytes both ways through a bus master.
 */
#include "transfer.h"

/* RAM from 0 to 64 MiB and from 4 GiB to 4 GiB + 64 MiB. */
#define HIGH_AND_LOW(coherence, bus)                                                                                             \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"high and low\"; compatible = \"dmakit,test\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x4000000 1 0 0 0x4000000>; };"                                          \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; " bus                                        \
    " nic@0 { compatible = \"dmakit,nic\"; }; };"                                                                                \
    " aliases { nic = \"/bus@0/nic@0\"; }; };"

/* The same RAM, and one region of it that @region describes; a window at an offset. */
#define WITH_REGION(coherence, region)                                                                                     \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"region\"; compatible = \"dmakit,test\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x4000000>; };"                                                    \
    " reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;"                                                  \
    "  region: region@2000000 { compatible = \"shared-dma-pool\"; reg = <0 0x2000000 0 0x100000>; " region                 \
    " }; };"                                                                                                               \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; " OFFSET                               \
    "  nic@0 { compatible = \"dmakit,nic\"; memory-region = <&region>; }; };"                                              \
    " aliases { nic = \"/bus@0/nic@0\"; }; };"

/* No MMU: coherent memory is the default pool, which the CPU reaches uncached at another address. */
#define ALIAS                                                                                                                   \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"alias\"; compatible = \"dmakit,test\"; dma-noncoherent;" \
    " chosen { dmakit,no-mmu; dmakit,uncached-alias = <0xa0000000 0x60000000 0x4000000>; };"                                    \
    " memory@60000000 { device_type = \"memory\"; reg = <0x60000000 0x4000000>; };"                                             \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                                       \
    "  pool@a3000000 { compatible = \"shared-dma-pool\"; no-map; linux,dma-default; reg = <0xa3000000 0x100000>; }; };"         \
    " nic@0 { compatible = \"dmakit,nic\"; }; aliases { nic = \"/nic@0\"; }; };"

#define IDENTITY "ranges;"
#define ISA "ranges; dma-ranges = <0 0 0 0 0 0x1000000>;"
#define OFFSET "ranges; dma-ranges = <0 0xc0000000 0 0 0 0x4000000>;"
#define TWO_WINDOWS "ranges; dma-ranges = <0 0x20000000 0 0 0 0x4000000>, <0 0x80000000 1 0 0 0x4000000>;"

static const struct transfer_row buses[] = {
    { "identity, coherent", HIGH_AND_LOW("dma-coherent;", IDENTITY), 30, true },
    { "identity, non-coherent", HIGH_AND_LOW("dma-noncoherent;", IDENTITY), 30, false },
    { "16 MiB, coherent", HIGH_AND_LOW("dma-coherent;", ISA), 24, true, false, TRANSFER_LOW },
    { "16 MiB, non-coherent", HIGH_AND_LOW("dma-noncoherent;", ISA), 24, false, false, TRANSFER_LOW },
    { "offset, coherent", HIGH_AND_LOW("dma-coherent;", OFFSET), 32, true, false, TRANSFER_LOW },
    { "offset, non-coherent", HIGH_AND_LOW("dma-noncoherent;", OFFSET), 32, false, false, TRANSFER_LOW },
    { "two windows, coherent", HIGH_AND_LOW("dma-coherent;", TWO_WINDOWS), 30, true },
    { "two windows, non-coherent", HIGH_AND_LOW("dma-noncoherent;", TWO_WINDOWS), 30, false },
    { "device pool, coherent", WITH_REGION("dma-coherent;", "no-map;"), 32, true, true },
    { "device pool, non-coherent", WITH_REGION("dma-noncoherent;", "no-map;"), 32, false, true },
    { "own area, coherent", WITH_REGION("dma-coherent;", "reusable;"), 32, true, true },
    { "own area, non-coherent", WITH_REGION("dma-noncoherent;", "reusable;"), 32, false, true },
    { "default area, coherent", WITH_REGION("dma-coherent;", "reusable; linux,cma-default;"), 32, true },
    { "default area, non-coherent", WITH_REGION("dma-noncoherent;", "reusable; linux,cma-default;"), 32,
      false },
    { "default pool, coherent", WITH_REGION("dma-coherent;", "no-map; linux,dma-default;"), 32, true },
    { "default pool, non-coherent", WITH_REGION("dma-noncoherent;", "no-map; linux,dma-default;"), 32,
      false },
    { "uncached alias", ALIAS, 32, false },
};

static void every_cell_moves_bytes_both_ways(void **state)
{
    (void)state;
    transfer_table(buses, sizeof(buses) / sizeof(buses[0]));
}

/* Just inside and just outside of each window's ends; a transfer that runs out moves nothing past the end. */
static void outside_the_windows_is_a_bus_error(void **state)
{
    static const struct {
        dma_addr_t dma;
        size_t length;
        int result;
    } cases[] = {
        { 0x20000000, 16, 0 },      { 0x1ffffff0, 16, -EFAULT }, { 0x1ffffff8, 16, -EFAULT },
        { 0x23fffff0, 16, 0 },      { 0x23fffff1, 16, -EFAULT }, { 0x24000000, 1, -EFAULT },
        { 0x80000000, 4096, 0 },    { 0x7fffffff, 1, -EFAULT },  { 0x83ffffff, 1, 0 },
        { 0x84000000, 1, -EFAULT }, { 0, 1, -EFAULT },           { 0x100000000, 1, -EFAULT },
        { ~0ull, 1, -EFAULT },      { ~0ull - 7, 16, -EFAULT },  { 0x24000000, 0, 0 },
    };
    struct dk_machine *machine = machine_on(HIGH_AND_LOW("dma-coherent;", TWO_WINDOWS));
    struct device *dev = dk_device_find(machine, "nic");
    unsigned char bytes[4096] = { 0 };
    unsigned long faults = 0;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(dk_master_read(dev, cases[i].dma, bytes, cases[i].length), cases[i].result);
        assert_int_equal(dk_master_write(dev, cases[i].dma, bytes, cases[i].length), cases[i].result);
        faults += cases[i].result ? 2 : 0;
        assert_int_equal(dk_master_fault_count(dev), faults);
    }
    dk_machine_destroy(machine);
}

/* A driver that gives the physical address instead of the DMA address reads other memory, or none; the log
 * says which mapping it was. */
static void the_physical_address_is_not_the_dma_address(void **state)
{
    struct dk_machine *machine = machine_on(HIGH_AND_LOW("dma-coherent;", OFFSET));
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = kmalloc(64, GFP_KERNEL | GFP_DMA);
    struct log_lines lines;
    char seen[64], place[128];
    dma_addr_t dma;
    int i;

    (void)state;
    fill(buffer, 64, 1);
    snprintf(place, sizeof(place), "test-transfer.c:%d, in %s()", __LINE__ + 1, __func__);
    dma = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dma, virt_to_phys(buffer) + 0xc0000000);
    keep_log(&lines);
    assert_int_equal(dk_master_read(dev, virt_to_phys(buffer) + 63, seen, 1), -EFAULT);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, "physical address"));
    assert_non_null(strstr(lines.text, place));
    keep_log(&lines);
    assert_int_equal(dk_master_read(dev, virt_to_phys(buffer) + 64, seen, 1), -EFAULT);
    assert_int_equal(lines.count, 1);
    assert_null(strstr(lines.text, "physical address"));
    dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE);
    kfree(buffer);
    /* A device that lost its way does not fill the log. */
    keep_log(&lines);
    for (i = 0; i < 100; i++)
        assert_int_equal(dk_master_write(dev, 0x1000, seen, 1), -EFAULT);
    assert_in_range(lines.count, 1, 4);
    drop_log();
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* Memory that no window reaches is refused, not mapped somewhere else. */
static void memory_out_of_reach_is_refused(void **state)
{
    struct dk_machine *machine = machine_on(HIGH_AND_LOW("dma-coherent;", ISA));
    struct device *dev = dk_device_find(machine, "nic");
    struct page *page = alloc_page(GFP_KERNEL);

    (void)state;
    assert_non_null(page);
    assert_true(page_to_phys(page) >= 0x1000000);
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
    assert_int_equal(dma_map_page(dev, page, 0, 4096, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    assert_int_equal(dma_map_single(dev, page_address(page), 64, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    __free_page(page);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_moves_bytes_both_ways),
        cmocka_unit_test(outside_the_windows_is_a_bus_error),
        cmocka_unit_test(the_physical_address_is_not_the_dma_address),
        cmocka_unit_test(memory_out_of_reach_is_refused),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("transfer", tests, NULL, NULL);
}
