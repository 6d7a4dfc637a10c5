/* SPDX-License-Identifier: MIT */
/*
 * What is undone wrongly behind an IOMMU, with no checker to stop it, changes nothing: no address is given
 * out twice, and no memory that a device still reaches gets a new owner. And what maps as a device goes where
 * it goes.
 */
#include "api.h"

#include <dmakit/iommu.h>

static struct dk_machine *unwatched(const char *arguments)
{
    return machine_with("hostile.dts", arguments, 0, 0);
}

/* Two mappings made now have addresses of their own. */
static void expect_two_addresses(struct device *dev, size_t size)
{
    char *one = kmalloc(size, GFP_KERNEL), *two = kmalloc(size, GFP_KERNEL);
    dma_addr_t first = dma_map_single(dev, one, size, DMA_TO_DEVICE);
    dma_addr_t second = dma_map_single(dev, two, size, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(dev, first), 0);
    assert_int_equal(dma_mapping_error(dev, second), 0);
    assert_true(first != second);
    dma_unmap_single(dev, first, size, DMA_TO_DEVICE);
    dma_unmap_single(dev, second, size, DMA_TO_DEVICE);
    kfree(one);
    kfree(two);
}

static void a_second_unmap_gives_nothing_back(void **state)
{
    static const char *const arguments[] = { NULL, "iommu.strict=0" };
    static const size_t sizes[] = { 64, 4096, 3 * 4096, 64 * 1024 };
    size_t i, j;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct dk_machine *machine = unwatched(arguments[i]);
        struct device *dev = device_below(machine, "iommu", "card");

        for (j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            char *buffer = kmalloc(sizes[j], GFP_KERNEL);
            dma_addr_t dma = dma_map_single(dev, buffer, sizes[j], DMA_TO_DEVICE);
            struct scatterlist sg;

            assert_int_equal(dma_mapping_error(dev, dma), 0);
            dma_unmap_single(dev, dma, sizes[j], DMA_TO_DEVICE);
            dma_unmap_single(dev, dma, sizes[j], DMA_TO_DEVICE);
            expect_two_addresses(dev, sizes[j]);
            sg_init_one(&sg, buffer, (unsigned)sizes[j]);
            assert_int_equal(dma_map_sg(dev, &sg, 1, DMA_TO_DEVICE), 1);
            dma_unmap_sg(dev, &sg, 1, DMA_TO_DEVICE);
            dma_unmap_sg(dev, &sg, 1, DMA_TO_DEVICE);
            expect_two_addresses(dev, sizes[j]);
            kfree(buffer);
        }
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* With a wrong address, size or device the pages stay where they are, and are freed rightly afterwards. */
static void a_wrong_free_frees_nothing(void **state)
{
    struct dk_machine *machine = unwatched(NULL);
    struct device *dev = device_below(machine, "iommu", "card"),
                  *other = device_below(machine, "iommu", "other");
    size_t size = 3 * 4096;
    dma_addr_t pages_dma, cpu_dma, more;
    struct page *page = dma_alloc_pages(dev, size, &pages_dma, DMA_BIDIRECTIONAL, GFP_KERNEL);
    char *cpu = dma_alloc_coherent(dev, size, &cpu_dma, GFP_KERNEL);
    struct sg_table *table = dma_alloc_noncontiguous(dev, size, DMA_BIDIRECTIONAL, GFP_KERNEL, 0);
    char byte = 1;
    unsigned i;

    (void)state;
    assert_non_null(page);
    assert_non_null(cpu);
    assert_non_null(table);
    for (i = 0; i < 2; i++) {
        dma_free_pages(dev, size, page, pages_dma + 4096, DMA_BIDIRECTIONAL);
        dma_free_pages(dev, 4096, page, pages_dma, DMA_BIDIRECTIONAL);
        dma_free_pages(other, size, page, pages_dma, DMA_BIDIRECTIONAL);
        dma_free_coherent(dev, size, cpu, cpu_dma + 4096);
        dma_free_coherent(dev, 4096, cpu, cpu_dma);
        dma_free_coherent(other, size, cpu, cpu_dma);
        dma_free_noncoherent(dev, size, page_address(page), cpu_dma, DMA_BIDIRECTIONAL);
        dma_free_noncontiguous(dev, 4096, table, DMA_BIDIRECTIONAL);
        dma_free_noncontiguous(other, size, table, DMA_BIDIRECTIONAL);
        assert_int_equal(dk_master_write(dev, pages_dma + size - 1, &byte, 1), 0);
        assert_int_equal(dk_master_write(dev, cpu_dma + size - 1, &byte, 1), 0);
        assert_int_equal(cpu[size - 1], 1);
        assert_int_equal(dk_master_write(dev, sg_dma_address(table->sgl) + size - 1, &byte, 1), 0);
    }
    dma_free_pages(dev, size, page, pages_dma, DMA_BIDIRECTIONAL);
    dma_free_coherent(dev, size, cpu, cpu_dma);
    more = sg_dma_address(table->sgl);
    dma_free_noncontiguous(dev, size, table, DMA_BIDIRECTIONAL);
    assert_int_equal(dk_master_write(dev, pages_dma, &byte, 1), -EFAULT);
    assert_int_equal(dk_master_write(dev, cpu_dma, &byte, 1), -EFAULT);
    assert_int_equal(dk_master_write(dev, more, &byte, 1), -EFAULT);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* What an allocation that fails, or is freed, took on the way is nobody's any more. */
static void what_is_freed_leaves_nothing(void **state)
{
    struct dk_machine *machine = machine_with(
        SMALL_BOARD("dma-noncoherent;", "ranges;"
                                        " mmu: iommu@1 { #iommu-cells = <1>; };"
                                        " behind@2 { compatible = \"dmakit,nic\"; iommus = <&mmu 1>; };"),
        NULL, 0, 1);
    struct device *dev = dk_device_find(machine, "/bus@0/behind@2");
    struct dma_iommu_mapping *space = arm_iommu_create_mapping(dev, 0x10000, 4 * 4096);
    char *buffer = kmalloc(4 * 4096, GFP_KERNEL), *cpu;
    dma_addr_t dma, more;
    unsigned i;

    (void)state;
    cpu = dma_alloc_coherent(dev, 3 * 4096, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_true(is_vmalloc_addr(cpu));
    assert_non_null(vmalloc_to_page(cpu));
    dma_free_coherent(dev, 3 * 4096, cpu, dma);
    assert_null(vmalloc_to_page(cpu));

    assert_int_equal(arm_iommu_attach_device(dev, space), 0);
    dma = dma_map_single(dev, buffer, 4 * 4096, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    /* More often than an atomic pool has pages, however far it grows. */
    for (i = 0; i < 5000; i++) {
        assert_null(dma_alloc_attrs(dev, 4096, &more, GFP_ATOMIC, DMA_ATTR_NO_WARN));
        assert_null(dma_alloc_attrs(dev, 3 * 4096, &more, GFP_KERNEL, DMA_ATTR_NO_WARN));
    }
    dma_unmap_single(dev, dma, 4 * 4096, DMA_TO_DEVICE);
    cpu = dma_alloc_coherent(dev, 4096, &more, GFP_ATOMIC);
    assert_non_null(cpu);
    dma_free_coherent(dev, 4096, cpu, more);
    arm_iommu_detach_device(dev);
    arm_iommu_release_mapping(space);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A USB interface maps as its controller, also after the controller moved. */
static void what_hangs_on_a_device_moves_with_it(void **state)
{
    struct dk_machine *machine = machine_with("hostile.dts", NULL, 0, 1);
    struct device *controller = device_below(machine, "iommu", "usb");
    struct device *interface = dk_device_add(controller, "interface"),
                  *below = dk_device_add(interface, "below");
    struct dma_iommu_mapping *space = arm_iommu_create_mapping(controller, 0x20000000, 1 << 20);
    char *buffer = kmalloc(64, GFP_KERNEL), seen[64];
    dma_addr_t dma;
    unsigned i;

    (void)state;
    fill(buffer, 64, 1);
    for (i = 0; i < 3; i++) {
        if (i == 1)
            assert_int_equal(arm_iommu_attach_device(controller, space), 0);
        else if (i == 2)
            arm_iommu_detach_device(controller);
        dma = dma_map_single(below, buffer, 64, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(below, dma), 0);
        assert_int_equal(dma >= 0x20000000 && dma < 0x20100000, i == 1);
        assert_int_equal(dk_master_read(controller, dma, seen, 64), 0);
        assert_true(filled(seen, 64, 1));
        assert_int_equal(dk_master_read(interface, dma, seen, 64), 0);
        dma_unmap_single(below, dma, 64, DMA_TO_DEVICE);
    }
    arm_iommu_release_mapping(space);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* 16 ids, of which the tree's own function has the second; the others are added functions', as far as they
 * go. */
#define FEW_IDS                                                                                                                \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"few ids\"; compatible = \"dmakit,test\"; dma-coherent;" \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                            \
    " mmu: iommu@10000000 { compatible = \"arm,mmu-401\"; reg = <0x10000000 0x10000>; #iommu-cells = <1>; };"                  \
    " pcie@20000000 { compatible = \"pci-host-ecam-generic\"; device_type = \"pci\"; reg = <0x20000000 0x1000000>;"            \
    "  #address-cells = <3>; #size-cells = <2>; ranges = <0x02000000 0 0x50000000 0x50000000 0 0x1000000>; "                   \
    "  iommu-map-mask = <0xf8>; iommu-map = <0x0 &mmu 0x100 0x80>;"                                                            \
    "  own@1,0 { compatible = \"dmakit,nic\"; reg = <0x0800 0 0 0 0>; }; };"                                                   \
    " aliases { pcie = \"/pcie@20000000\"; own = \"/pcie@20000000/own@1,0\"; }; };"

static void each_added_function_has_a_context_of_its_own(void **state)
{
    struct dk_machine *machine = machine_on(FEW_IDS);
    struct device *functions[16] = { dk_device_find(machine, "own") };
    char name[16];
    unsigned i, j;

    (void)state;
    for (i = 1; i < 16; i++) {
        snprintf(name, sizeof(name), "added-%u", i);
        functions[i] = device_below(machine, "pcie", name);
        for (j = 0; j < i; j++)
            assert_ptr_not_equal(iommu_get_domain_for_dev(functions[i]),
                                 iommu_get_domain_for_dev(functions[j]));
    }
    /* There is no id left: the first one serves again. */
    assert_ptr_equal(iommu_get_domain_for_dev(device_below(machine, "pcie", "more")),
                     iommu_get_domain_for_dev(functions[1]));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_second_unmap_gives_nothing_back),
        cmocka_unit_test(a_wrong_free_frees_nothing),
        cmocka_unit_test(what_is_freed_leaves_nothing),
        cmocka_unit_test(what_hangs_on_a_device_moves_with_it),
        cmocka_unit_test(each_added_function_has_a_context_of_its_own),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("iommu-undo", tests, NULL, NULL);
}
