/* SPDX-License-Identifier: MIT */
/*
 * The names that drivers used before today's: PCI's own, and the first generic ones.
 */
#include "api.h"

/* 32 MiB at 0, seen where they are: a 24-bit mask reaches the half of it that is ZONE_DMA when there is an
 * ISA bus. */
#define LOW_BOARD(coherence, isa)                                                                                      \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"low\"; compatible = \"dmakit,low\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0x2000000>; }; chosen { dmakit,default-bus = \"/pci@0\"; };"       \
    " pci@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"                           \
    "  nic@0 { compatible = \"dmakit,nic\"; }; };"                                                                     \
    " isa@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges; " isa                      \
    "  dma@0 { compatible = \"dmakit,isa-dma\"; }; }; aliases { nic = \"/pci@0/nic@0\"; }; };"
#define ISA "dma-ranges = <0 0 0x1000000>;"

static void without_a_device_24_bits_count(void **state)
{
    static const struct {
        const char *board;
        bool works;
    } cases[] = {
        { LOW_BOARD("dma-coherent;", ISA), true },
        { LOW_BOARD("dma-noncoherent;", ISA), true },
        { LOW_BOARD("dma-coherent;", ""), true },
        { "coherent-pc.dts", true },
        /* RAM from 1 GiB on; a bus that sees RAM from 3 GiB on. */
        { COHERENT_BOARD, false },
        { NONCOHERENT_BOARD, false },
        { "raspberry-pi-4.dts", false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_on(cases[i].board);
        dma_addr_t first = 0, second = 0;
        char *cpu = pci_alloc_consistent(NULL, 8192, &first), *other;
        int at;

        if (!!cpu != cases[i].works)
            fail_msg("case %zu", i);
        other = pci_zalloc_consistent(NULL, 100, &second);
        assert_int_equal(!!other, cases[i].works);
        if (cpu && other) {
            assert_true(first + 8191 < 1 << 24 && second + 99 < 1 << 24);
            for (at = 0; at < 100; at++)
                assert_int_equal(other[at], 0);
            pci_free_consistent(NULL, 100, other, second);
            pci_free_consistent(NULL, 8192, cpu, first);
        }
        pci_free_consistent(NULL, 8192, NULL, 0);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void without_a_device_or_a_machine_there_is_nothing(void **state)
{
    struct log_lines lines;
    dma_addr_t dma;

    (void)state;
    keep_log(&lines);
    assert_null(pci_alloc_consistent(NULL, 64, &dma));
    drop_log();
    assert_non_null(strstr(lines.text, "pci_alloc_consistent"));
}

/* PCI's interface has no flags: it must do where sleeping is forbidden. */
static void pci_allocations_do_not_sleep(void **state)
{
    struct dk_machine *machine = machine_on(LOW_BOARD("dma-noncoherent;", ISA));
    struct pci_dev *pdev = to_pci_dev(dk_device_find(machine, "nic"));
    DEFINE_SPINLOCK(lock);
    dma_addr_t dma, isa;
    void *cpu, *other;

    (void)state;
    spin_lock(&lock);
    cpu = pci_alloc_consistent(pdev, 4096, &dma);
    other = pci_alloc_consistent(NULL, 4096, &isa);
    spin_unlock(&lock);
    assert_non_null(cpu);
    assert_non_null(other);
    pci_free_consistent(NULL, 4096, other, isa);
    pci_free_consistent(pdev, 4096, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* The device behind NULL is a device like any other: what is left of it is reported. */
static void a_leak_without_a_device_is_reported(void **state)
{
    struct dk_machine *machine = machine_on("coherent-pc.dts");
    dma_addr_t dma;

    (void)state;
    assert_non_null(pci_alloc_consistent(NULL, 4096, &dma));
    dk_check_set_sink(machine, ignore_report, NULL);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

static void pci_names_move_bytes(void **state)
{
    static const char *const boards[] = { LOW_BOARD("dma-coherent;", ""), LOW_BOARD("dma-noncoherent;", "") };
    size_t board;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_on(boards[board]);
        struct device *dev = dk_device_find(machine, "nic");
        struct pci_dev *pdev = to_pci_dev(dev);
        unsigned char bytes[1024];
        struct scatterlist list[2];
        struct page *page = alloc_page(GFP_KERNEL);
        char *buffer = kmalloc(1024, GFP_KERNEL), *cpu;
        dma_addr_t dma;

        assert_ptr_equal(&pdev->dev, dev);
        assert_int_equal(pci_dma_supported(pdev, DMA_BIT_MASK(32)), 1);
        assert_int_equal(pci_dma_supported(pdev, DMA_BIT_MASK(24)), 0);
        assert_int_equal(pci_set_dma_mask(pdev, DMA_BIT_MASK(24)), -EIO);
        assert_int_equal(pci_set_dma_mask(pdev, DMA_BIT_MASK(40)), 0);
        assert_int_equal(pci_set_consistent_dma_mask(pdev, DMA_BIT_MASK(24)), -EIO);
        assert_int_equal(pci_set_consistent_dma_mask(pdev, DMA_BIT_MASK(36)), 0);
        assert_true(dma_get_mask(dev) == DMA_BIT_MASK(40) && dev->coherent_dma_mask == DMA_BIT_MASK(36));
        pci_set_drvdata(pdev, buffer);
        assert_ptr_equal(pci_get_drvdata(pdev), buffer);

        cpu = pci_alloc_consistent(pdev, 1024, &dma);
        assert_non_null(cpu);
        fill(cpu, 1024, 1);
        assert_int_equal(dk_master_read(dev, dma, bytes, 1024), 0);
        assert_true(filled(bytes, 1024, 1));
        pci_free_consistent(pdev, 1024, cpu, dma);

        dma = pci_map_single(pdev, buffer, 1024, PCI_DMA_BIDIRECTIONAL);
        assert_int_equal(pci_dma_mapping_error(pdev, dma), 0);
        fill(bytes, 1024, 2);
        assert_int_equal(dk_master_write(dev, dma, bytes, 1024), 0);
        pci_dma_sync_single_for_cpu(pdev, dma, 1024, PCI_DMA_FROMDEVICE);
        assert_true(filled(buffer, 1024, 2));
        fill(buffer, 1024, 3);
        pci_dma_sync_single_for_device(pdev, dma, 1024, PCI_DMA_TODEVICE);
        assert_int_equal(dk_master_read(dev, dma, bytes, 1024), 0);
        assert_true(filled(bytes, 1024, 3));
        pci_unmap_single(pdev, dma, 1024, PCI_DMA_BIDIRECTIONAL);
        assert_true(pci_map_single(pdev, buffer, 1024, PCI_DMA_NONE) == DMA_MAPPING_ERROR);
        assert_int_equal(pci_dma_mapping_error(pdev, DMA_MAPPING_ERROR), -ENOMEM);

        dma = pci_map_page(pdev, page, 100, 1024, PCI_DMA_FROMDEVICE);
        assert_int_equal(pci_dma_mapping_error(pdev, dma), 0);
        assert_int_equal(dma, page_to_phys(page) + 100);
        fill(bytes, 1024, 4);
        assert_int_equal(dk_master_write(dev, dma, bytes, 1024), 0);
        pci_unmap_page(pdev, dma, 1024, PCI_DMA_FROMDEVICE);
        assert_true(filled((char *)page_address(page) + 100, 1024, 4));

        sg_init_table(list, 2);
        sg_set_buf(&list[0], buffer, 512);
        sg_set_page(&list[1], page, 512, 0);
        assert_int_equal(pci_map_sg(pdev, list, 2, PCI_DMA_BIDIRECTIONAL), 2);
        fill(bytes, 512, 5);
        assert_int_equal(dk_master_write(dev, sg_dma_address(&list[1]), bytes, 512), 0);
        pci_dma_sync_sg_for_cpu(pdev, list, 2, PCI_DMA_FROMDEVICE);
        assert_true(filled(page_address(page), 512, 5));
        fill(buffer, 512, 6);
        pci_dma_sync_sg_for_device(pdev, list, 2, PCI_DMA_TODEVICE);
        assert_int_equal(dk_master_read(dev, sg_dma_address(&list[0]), bytes, 512), 0);
        assert_true(filled(bytes, 512, 6));
        pci_unmap_sg(pdev, list, 2, PCI_DMA_BIDIRECTIONAL);
        __free_page(page);
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void the_first_generic_names_work(void **state)
{
    static const char *const boards[] = { LOW_BOARD("dma-coherent;", ""), LOW_BOARD("dma-noncoherent;", "") };
    struct {
        DEFINE_DMA_UNMAP_ADDR(address);
        DEFINE_DMA_UNMAP_LEN(length);
    } kept;
    int board, at;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_on(boards[board]);
        struct device *dev = dk_device_find(machine, "nic");
        unsigned char bytes[256];
        dma_addr_t dma;
        char *cpu;

        assert_int_equal(dma_is_consistent(NULL, 0), 0);
        assert_int_equal(dma_is_consistent(dev, 0), board == 0);
        cpu = dma_zalloc_coherent(dev, 256, &dma, GFP_KERNEL);
        assert_non_null(cpu);
        for (at = 0; at < 256; at++)
            assert_int_equal(cpu[at], 0);
        dma_unmap_addr_set(&kept, address, dma);
        dma_unmap_len_set(&kept, length, 256);
        dma_free_coherent(dev, dma_unmap_len(&kept, length), cpu, dma_unmap_addr(&kept, address));
        cpu = dma_alloc_writecombine(dev, 256, &dma, GFP_KERNEL);
        assert_non_null(cpu);
        fill(cpu, 256, 1);
        assert_int_equal(dk_master_read(dev, dma, bytes, 256), 0);
        assert_true(filled(bytes, 256, 1));
        dma_free_writecombine(dev, 256, cpu, dma);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* A device whose mask pointer was never set takes the coherent mask for both. */
static void masks_are_coerced_into_one(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = kmalloc(64, GFP_KERNEL);
    dma_addr_t dma;

    (void)state;
    dev->dma_mask = NULL;
    assert_true(dma_map_single(dev, buffer, 64, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(32)), -EIO);
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(40)), -EIO);
    assert_true(dev->coherent_dma_mask == DMA_BIT_MASK(32));
    assert_true(dma_get_mask(dev) == DMA_BIT_MASK(32));
    assert_int_equal(dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(40)), 0);
    assert_ptr_equal(dev->dma_mask, &dev->coherent_dma_mask);
    assert_true(dma_get_mask(dev) == DMA_BIT_MASK(40));
    dma = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE);
    assert_int_equal(dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(24)), -EIO);
    assert_true(dma_get_mask(dev) == DMA_BIT_MASK(40));
    assert_int_equal(dma_coerce_mask_and_coherent(NULL, DMA_BIT_MASK(40)), -EIO);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_device_24_bits_count),
        cmocka_unit_test(without_a_device_or_a_machine_there_is_nothing),
        cmocka_unit_test(pci_allocations_do_not_sleep),
        cmocka_unit_test(a_leak_without_a_device_is_reported),
        cmocka_unit_test(pci_names_move_bytes),
        cmocka_unit_test(the_first_generic_names_work),
        cmocka_unit_test(masks_are_coerced_into_one),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("older", tests, NULL, NULL);
}
