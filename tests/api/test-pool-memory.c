/* SPDX-License-Identifier: MIT */
/*
 * Memory of a pool stays the pool's, however wrongly it is freed and with nobody checking: the page allocator
 * never gets it, and what the device reaches stays as it was.
 */
#include "api.h"

#define BOARD                                                                                                  \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"pools\"; compatible = \"dmakit,test\";" \
    " dma-noncoherent; memory@0 { device_type = \"memory\"; reg = <0 0x2000000>; };"                           \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                      \
    "  pool: pool@1000000 { compatible = \"restricted-dma-pool\"; reg = <0x1000000 0x100000>; }; };"           \
    " mmu: iommu@f0000000 { compatible = \"arm,mmu-401\"; reg = <0xf0000000 0x10000>; #iommu-cells = <1>; };"  \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"                   \
    "  nic: nic@0 { compatible = \"dmakit,nic\"; };"                                                           \
    "  confined: confined@0 { compatible = \"dmakit,nic\"; memory-region = <&pool>; };"                        \
    "  behind: behind@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 1>; }; };"                               \
    " aliases { nic = &nic; behind = &behind; confined = &confined; }; };"
#define DEFAULT_POOL                                                                                          \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"pool\"; compatible = \"dmakit,test\";" \
    " dma-noncoherent; memory@0 { device_type = \"memory\"; reg = <0 0x2000000>; };"                          \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; pool@1000000 {"                      \
    "  compatible = \"shared-dma-pool\"; no-map; linux,dma-default; reg = <0x1000000 0x10000>; }; };"         \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"                  \
    "  nic: nic@0 { compatible = \"dmakit,nic\"; }; }; aliases { nic = &nic; }; };"

/* Whether the page allocator has a page in [phys, phys + size); all of its pages are used up. */
static bool page_allocator_has(phys_addr_t phys, size_t size)
{
    struct page *page;

    while ((page = alloc_page(GFP_KERNEL | __GFP_NOWARN))) {
        if (page_to_phys(page) - phys < size)
            return true;
    }
    return false;
}

static void wrong_frees_leave_an_atomic_pool_its_memory(void **state)
{
    static const struct {
        size_t size, freed; /* @size is taken; @freed are given back after that was freed, or instead */
        bool twice, cached;
    } cases[] = {
        { 128 << 10, 128 << 10, true, false }, { 4096, 4096, true, false },
        { 8192, 4096, false, false },          { 4096, 8192, false, false },
        { 16384, 16384, false, true },         { 65536, 128 << 10, false, false },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_with(BOARD, NULL, 0, 0);
        struct device *dev = dk_device_find(machine, "nic");
        struct log_lines lines;
        dma_addr_t dma;
        void *cpu = dma_alloc_coherent(dev, cases[i].size, &dma, GFP_ATOMIC);

        assert_non_null(cpu);
        if (cases[i].twice)
            dma_free_coherent(dev, cases[i].size, cpu, dma);
        keep_log(&lines);
        dma_free_coherent(dev, cases[i].freed,
                          cases[i].cached ? page_address(pfn_to_page(dma >> PAGE_SHIFT)) : cpu, dma);
        drop_log();
        if (lines.count != 1 || page_allocator_has(dma, cases[i].freed))
            fail_msg("case %zu: %s", i, lines.text);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void a_wrong_size_leaves_the_device_its_block(void **state)
{
    static const size_t wrong[] = { 1, 4096, 8193, 16384, 1 << 20 };
    struct dk_machine *machine = machine_with(BOARD, NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "behind");
    struct log_lines lines;
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(dev, 8192, &dma, GFP_ATOMIC), byte = 0;

    (void)state;
    assert_non_null(cpu);
    cpu[8191] = 'b';
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        keep_log(&lines);
        dma_free_coherent(dev, wrong[i], cpu, dma);
        drop_log();
        assert_int_equal(lines.count, 1);
        assert_int_equal(dk_master_read(dev, dma + 8191, &byte, 1), 0);
        assert_int_equal(byte, 'b');
    }
    keep_log(&lines);
    dma_free_coherent(dev, 8192, cpu, dma);
    assert_int_equal(lines.count, 0);
    assert_int_not_equal(dk_master_read(dev, dma, &byte, 1), 0);
    drop_log();
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void a_wrong_size_leaves_the_default_pool_its_memory(void **state)
{
    struct dk_machine *machine = machine_with(DEFAULT_POOL, NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "nic");
    struct log_lines lines;
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(dev, 0x10000, &dma, GFP_KERNEL);

    (void)state;
    assert_non_null(cpu);
    assert_int_equal(dma, 0x1000000);
    keep_log(&lines);
    dma_free_coherent(dev, 0x20000, cpu, dma);
    drop_log();
    assert_int_equal(lines.count, 1);
    assert_null(dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL | __GFP_NOWARN));
    dma_free_coherent(dev, 0x10000, cpu, 0x1000000);
    /* The last page, as two. */
    keep_log(&lines);
    dma_free_coherent(dev, 0x2000, cpu + 0xf000, 0x100f000);
    drop_log();
    assert_int_equal(lines.count, 1);
    assert_false(page_allocator_has(0x1000000, 0x10000));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void wrong_frees_leave_a_restricted_pool_its_memory(void **state)
{
    static const size_t sizes[] = { 4096, 8192, 65536, 1 << 20 };
    struct dk_machine *machine = machine_with(BOARD, NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "confined");
    struct log_lines lines;
    dma_addr_t dma;

    (void)state;
    for (unsigned pages = 0; pages < 2; pages++) {
        struct page *page = pages ? dma_alloc_pages(dev, 8192, &dma, DMA_TO_DEVICE, GFP_KERNEL) : NULL;
        void *cpu = pages ? NULL : dma_alloc_coherent(dev, 8192, &dma, GFP_KERNEL);

        assert_true(page || cpu);
        assert_in_range(dma, 0x1000000, 0x10fffff);
        /* Each wrong size, and all of them once more when it is free. */
        for (unsigned i = 0; i < 8; i++) {
            if (i == 4 && pages)
                dma_free_pages(dev, 8192, page, dma, DMA_TO_DEVICE);
            else if (i == 4)
                dma_free_coherent(dev, 8192, cpu, dma);
            if (i < 4 && sizes[i] == 8192)
                continue;
            keep_log(&lines);
            if (pages)
                dma_free_pages(dev, sizes[i % 4], page, dma, DMA_TO_DEVICE);
            else
                dma_free_coherent(dev, sizes[i % 4], cpu, dma);
            drop_log();
            if (lines.count != 1)
                fail_msg("%u, %u: %s", pages, i, lines.text);
        }
    }
    assert_false(page_allocator_has(0x1000000, 0x100000));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_frees_leave_an_atomic_pool_its_memory),
        cmocka_unit_test(a_wrong_size_leaves_the_device_its_block),
        cmocka_unit_test(a_wrong_size_leaves_the_default_pool_its_memory),
        cmocka_unit_test(wrong_frees_leave_a_restricted_pool_its_memory),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("pool memory", tests, NULL, NULL);
}
