/* SPDX-License-Identifier: MIT */
/*
 * Bad arguments that are easy to make: with the checker on each is one report of its class, with it off
 * nothing happens that ends the program.
 */
#include "api.h"

static dma_addr_t map(struct device *dev, void *cpu, size_t size)
{
    dma_addr_t dma = dma_map_single(dev, cpu, size, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(dev, dma), 0);
    return dma;
}

/* The length was cleared, or the direction never set, before the buffer is given back. */
static void empty_arguments_of_frees_are_reported(void **state)
{
    struct dk_machine *machine = machine_with(NONCOHERENT_BOARD, NULL, 0, 1);
    struct device *dev = dk_device_find(machine, "nic");
    void *buffer = kmalloc(128, GFP_KERNEL), *cpu;
    struct page *page;
    dma_addr_t dma;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    dma_unmap_single(dev, map(dev, buffer, 128), 0, DMA_TO_DEVICE);
    dma_unmap_page(dev, map(dev, buffer, 128), 0, DMA_TO_DEVICE);
    assert_int_equal(dk_check_count(machine, "free-wrong-size"), 2);
    dma_unmap_single(dev, map(dev, buffer, 128), 128, DMA_NONE);
    dma_unmap_single(dev, map(dev, buffer, 128), 128, (enum dma_data_direction)9);
    assert_int_equal(dk_check_count(machine, "free-wrong-direction"), 2);
    cpu = dma_alloc_coherent(dev, 64, &dma, GFP_KERNEL);
    dma_free_coherent(dev, 0, cpu, dma);
    cpu = dma_alloc_coherent(dev, 64, &dma, GFP_KERNEL);
    dma_free_coherent(dev, SIZE_MAX, cpu, dma);
    cpu = dma_alloc_noncoherent(dev, 64, &dma, DMA_TO_DEVICE, GFP_KERNEL);
    dma_free_noncoherent(dev, 0, cpu, dma, DMA_TO_DEVICE);
    page = dma_alloc_pages(dev, 64, &dma, DMA_TO_DEVICE, GFP_KERNEL);
    dma_free_pages(dev, SIZE_MAX, page, dma, DMA_TO_DEVICE);
    assert_int_equal(dk_check_count(machine, "free-wrong-size"), 6);
    kfree(buffer);
    /* Nothing is left: all was undone. */
    assert_int_equal(dk_machine_destroy(machine), 8);
}

static void lists_end_where_they_end(void **state)
{
    struct dk_machine *machine = machine_with(NONCOHERENT_BOARD, NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = kmalloc(128, GFP_KERNEL);
    struct scatterlist list[2];

    (void)state;
    sg_init_table(list, 2);
    sg_set_buf(&list[0], buffer, 64);
    sg_set_buf(&list[1], buffer + 64, 64);
    assert_int_equal(dma_map_sg(dev, list, 2, DMA_BIDIRECTIONAL), 2);
    dma_sync_sg_for_cpu(dev, list, 3, DMA_BIDIRECTIONAL);
    dma_sync_sg_for_device(dev, list, 7, DMA_BIDIRECTIONAL);
    dma_unmap_sg(dev, list, 4, DMA_BIDIRECTIONAL);
    kfree(buffer);
    dk_machine_destroy(machine);
}

static void impossible_sizes_are_refused(void **state)
{
    struct dk_machine *machine = machine_with("mcu-no-mmu.dts", NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "nic");
    dma_addr_t dma;
    void *cpu;

    (void)state;
    assert_null(alloc_pages(GFP_KERNEL, 64));
    assert_null(alloc_pages(GFP_KERNEL, 68));
    assert_null(dma_alloc_coherent(dev, 64, NULL, GFP_KERNEL));
    assert_null(dma_alloc_pages(dev, 64, NULL, DMA_TO_DEVICE, GFP_KERNEL));
    /* Its memory is the default pool's, whose bitmap knows no such block. */
    cpu = dma_alloc_coherent(dev, 64, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    dma_free_coherent(dev, SIZE_MAX, cpu, dma);
    dma_free_coherent(dev, (size_t)1 << 40, cpu, dma);
    dma_free_coherent(dev, 64, cpu, dma);
    dk_machine_destroy(machine);
}

static unsigned long resident_pages(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    unsigned long size = 0, resident = 0;

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &size, &resident), 2);
    fclose(file);
    return resident;
}

/* A wild size makes the library look at what was ever touched, not at all of the machine's memory. */
static void wild_syncs_cost_no_memory(void **state)
{
    struct dk_machine *machine = machine_with("hostile.dts", NULL, 7, 0);
    struct device *dev = device_below(machine, "noncoherent", "wild");
    char *buffer = kmalloc(4096, GFP_KERNEL | GFP_DMA);
    dma_addr_t dma = map(dev, buffer, 4096);
    unsigned long before = resident_pages();
    char seen[4096];

    (void)state;
    fill(buffer, 4096, 1);
    dma_sync_single_for_device(dev, dma, (size_t)1 << 30, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(dev, dma, seen, 4096), 0);
    assert_true(filled(seen, 4096, 1));
    dma_unmap_single(dev, dma, (size_t)1 << 30, DMA_TO_DEVICE);
    assert_true(resident_pages() - before < 10000);
    kfree(buffer);
    dk_machine_destroy(machine);
}

/* One mask for both: the narrower one holds for mappings too, on the inline way as well. */
static void a_coerced_mask_is_one(void **state)
{
    struct dk_machine *machine = machine_with("coherent-pc.dts", NULL, 0, 0);
    struct device *dev = device_below(machine, "coherent", "coerced");
    char *buffer = kmalloc(64, GFP_KERNEL);

    (void)state;
    assert_int_equal(dma_coerce_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
    dma_unmap_single(dev, map(dev, buffer, 64), 64, DMA_TO_DEVICE);
    assert_ptr_equal(dev->dma_mask, &dev->coherent_dma_mask);
    assert_int_equal(dma_set_coherent_mask(dev, DMA_BIT_MASK(32)), 0);
    assert_int_equal(dev->fast_limit, DMA_BIT_MASK(32));
    kfree(buffer);
    dk_machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(empty_arguments_of_frees_are_reported),
        cmocka_unit_test(lists_end_where_they_end),
        cmocka_unit_test(impossible_sizes_are_refused),
        cmocka_unit_test(wild_syncs_cost_no_memory),
        cmocka_unit_test(a_coerced_mask_is_one),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
