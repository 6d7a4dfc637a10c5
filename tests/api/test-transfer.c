/* SPDX-License-Identifier: MIT */
/*
 * Every kind of mapping, on every kind of bus, under every mask, moves bytes both ways through a bus master.
 */
#include "api.h"

/* A bus, and what its windows leave each mask: the smallest mask that dma_set_mask() takes. */
struct bus {
    const char *name;
    const char *board;
    unsigned smallest_mask; /* bits */
    bool coherent;
    bool pool; /* the device takes its reserved memory first */
};

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

static const struct bus buses[] = {
    { "identity, coherent", HIGH_AND_LOW("dma-coherent;", IDENTITY), 30, true },
    { "identity, non-coherent", HIGH_AND_LOW("dma-noncoherent;", IDENTITY), 30, false },
    { "16 MiB, coherent", HIGH_AND_LOW("dma-coherent;", ISA), 24, true },
    { "16 MiB, non-coherent", HIGH_AND_LOW("dma-noncoherent;", ISA), 24, false },
    { "offset, coherent", HIGH_AND_LOW("dma-coherent;", OFFSET), 32, true },
    { "offset, non-coherent", HIGH_AND_LOW("dma-noncoherent;", OFFSET), 32, false },
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

static const unsigned masks[] = { 24, 30, 32, 64 };

/* Memory that @dev reaches by streaming: the zone of its mask. */
static gfp_t zone_of(unsigned mask)
{
    return mask < 64 ? GFP_KERNEL | GFP_DMA : GFP_KERNEL;
}

/* The device reads what the CPU wrote, and the CPU what the device wrote. Each returns whether the bytes were
 * right. */
static bool to_device(struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    unsigned char seen[8192];

    return dk_master_read(dev, dma, seen, size) == 0 && filled(seen, size, tag);
}

static void from_device(struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    unsigned char bytes[8192];

    fill(bytes, size, tag);
    assert_int_equal(dk_master_write(dev, dma, bytes, size), 0);
}

static void move_single(struct device *dev, gfp_t gfp)
{
    size_t size = 3000;
    char *buffer = kmalloc(size, gfp);
    dma_addr_t dma;

    assert_non_null(buffer);
    fill(buffer, size, 1);
    dma = dma_map_single(dev, buffer, size, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_true(to_device(dev, dma, size, 1));
    dma_unmap_single(dev, dma, size, DMA_TO_DEVICE);

    dma = dma_map_single(dev, buffer, size, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    from_device(dev, dma, size, 2);
    dma_unmap_single(dev, dma, size, DMA_FROM_DEVICE);
    assert_true(filled(buffer, size, 2));
    kfree(buffer);
}

static void move_page(struct device *dev, gfp_t gfp)
{
    struct page *page = alloc_pages(gfp, 1);
    size_t offset = 3072, size = 2048;
    char *buffer;
    dma_addr_t dma;

    assert_non_null(page);
    buffer = (char *)page_address(page) + offset;
    fill(buffer, size, 3);
    dma = dma_map_page(dev, page, offset, size, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_true(to_device(dev, dma, size, 3));
    from_device(dev, dma, size, 4);
    dma_unmap_page(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_true(filled(buffer, size, 4));
    __free_pages(page, 1);
}

static void move_sg(struct device *dev, gfp_t gfp)
{
    static const unsigned sizes[] = { 4096, 512, 1536 };
    struct scatterlist list[3], *sg;
    char *buffers[3];
    unsigned int mapped;
    int i;

    sg_init_table(list, 3);
    for (i = 0; i < 3; i++) {
        buffers[i] = kmalloc(sizes[i], gfp);
        assert_non_null(buffers[i]);
        fill(buffers[i], sizes[i], 5 + (unsigned)i);
        sg_set_buf(&list[i], buffers[i], sizes[i]);
    }
    mapped = dma_map_sg(dev, list, 3, DMA_BIDIRECTIONAL);
    assert_int_equal(mapped, 3);
    for_each_sg (list, sg, (int)mapped, i) {
        assert_int_equal(sg_dma_len(sg), sizes[i]);
        assert_true(to_device(dev, sg_dma_address(sg), sg_dma_len(sg), 5 + (unsigned)i));
        from_device(dev, sg_dma_address(sg), sg_dma_len(sg), 8 + (unsigned)i);
    }
    dma_unmap_sg(dev, list, 3, DMA_BIDIRECTIONAL);
    for (i = 0; i < 3; i++) {
        assert_true(filled(buffers[i], sizes[i], 8 + (unsigned)i));
        kfree(buffers[i]);
    }
}

static void move_coherent(struct device *dev, gfp_t gfp)
{
    size_t size = 6000;
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(dev, size, &dma, GFP_KERNEL);
    size_t i;

    (void)gfp;
    assert_non_null(cpu);
    assert_true(dma + size - 1 <= dev->coherent_dma_mask);
    for (i = 0; i < size; i++)
        assert_int_equal(cpu[i], 0);
    fill(cpu, size, 11);
    assert_true(to_device(dev, dma, size, 11));
    from_device(dev, dma, size, 12);
    assert_true(filled(cpu, size, 12));
    dma_free_coherent(dev, size, cpu, dma);
}

static void move_pages(struct device *dev, gfp_t gfp)
{
    size_t size = 8192;
    dma_addr_t dma;
    struct page *page = dma_alloc_pages(dev, size, &dma, DMA_BIDIRECTIONAL, GFP_KERNEL);
    char *cpu;

    (void)gfp;
    assert_non_null(page);
    cpu = page_address(page);
    fill(cpu, size, 13);
    dma_sync_single_for_device(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_true(to_device(dev, dma, size, 13));
    from_device(dev, dma, size, 14);
    dma_sync_single_for_cpu(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_true(filled(cpu, size, 14));
    dma_free_pages(dev, size, page, dma, DMA_BIDIRECTIONAL);
}

/* One mapping, many handovers: whole, in part, and as a list. */
static void move_sync(struct device *dev, gfp_t gfp)
{
    size_t size = 4096, offset = 1024, part = 512;
    char *buffer = kmalloc(size, gfp);
    struct scatterlist sg;
    dma_addr_t dma;

    assert_non_null(buffer);
    fill(buffer, size, 15);
    dma = dma_map_single(dev, buffer, size, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_true(to_device(dev, dma, size, 15));
    from_device(dev, dma, size, 16);
    dma_sync_single_for_cpu(dev, dma, size, DMA_FROM_DEVICE);
    assert_true(filled(buffer, size, 16));
    fill(buffer + offset, part, 17);
    dma_sync_single_range_for_device(dev, dma, offset, part, DMA_TO_DEVICE);
    assert_true(to_device(dev, dma + offset, part, 17));
    from_device(dev, dma + offset, part, 18);
    dma_sync_single_range_for_cpu(dev, dma, offset, part, DMA_FROM_DEVICE);
    assert_true(filled(buffer + offset, part, 18));
    dma_unmap_single(dev, dma, size, DMA_BIDIRECTIONAL);

    sg_init_one(&sg, buffer, (unsigned)size);
    assert_int_equal(dma_map_sg(dev, &sg, 1, DMA_BIDIRECTIONAL), 1);
    fill(buffer, size, 19);
    dma_sync_sg_for_device(dev, &sg, 1, DMA_TO_DEVICE);
    assert_true(to_device(dev, sg_dma_address(&sg), size, 19));
    from_device(dev, sg_dma_address(&sg), size, 20);
    dma_sync_sg_for_cpu(dev, &sg, 1, DMA_FROM_DEVICE);
    assert_true(filled(buffer, size, 20));
    dma_unmap_sg(dev, &sg, 1, DMA_BIDIRECTIONAL);
    kfree(buffer);
}

static void (*const ways[])(struct device *dev, gfp_t gfp) = {
    move_single, move_page, move_sg, move_coherent, move_pages, move_sync,
};

/* One cell of the table: a bus, a mask, a seed. All six ways, and not one report. */
static void cell(const struct bus *bus, unsigned mask, uint64_t seed)
{
    struct dk_machine *machine = machine_with(bus->board, NULL, seed, 1);
    struct device *dev = dk_device_find(machine, "nic");
    size_t i;

    assert_non_null(dev);
    assert_int_equal(dev->dma_coherent, bus->coherent);
    if (bus->pool)
        assert_int_equal(of_reserved_mem_device_init(dev), 0);
    if (mask < bus->smallest_mask) {
        u64 before = dma_get_mask(dev);

        assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(mask)), -EIO);
        assert_int_equal(dma_set_coherent_mask(dev, DMA_BIT_MASK(mask)), -EIO);
        assert_int_equal(dma_get_mask(dev), before);
    } else {
        assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(mask)), 0);
        for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
            ways[i](dev, strstr(bus->name, "16 MiB") || strstr(bus->name, "offset") ? GFP_KERNEL | GFP_DMA
                                                                                    : zone_of(mask));
        assert_true(dma_get_mask(dev) == DMA_BIT_MASK(mask));
    }
    if (dk_check_count(machine, NULL))
        print_error("%s, mask %u, seed %llu\n", bus->name, mask, (unsigned long long)seed);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void every_cell_moves_bytes_both_ways(void **state)
{
    size_t bus, mask;
    uint64_t seed;

    (void)state;
    for (bus = 0; bus < sizeof(buses) / sizeof(buses[0]); bus++) {
        for (mask = 0; mask < sizeof(masks) / sizeof(masks[0]); mask++) {
            for (seed = 0; seed < 4; seed++)
                cell(&buses[bus], masks[mask], seed);
        }
    }
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
