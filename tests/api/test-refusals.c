/* SPDX-License-Identifier: MIT */
/*
 * Bad arguments: each call gives its error, changes nothing, and says why in one line that names it.
 */
#include "api.h"

static struct log_lines lines;

/* One call of each kind with @size and @direction, on @dev. Returns how many did not give their error. */
struct call {
    const char *name;
    bool (*refused)(struct device *dev, size_t size, enum dma_data_direction direction);
    bool no_direction; /* takes none */
    bool undoes;       /* wrong sizes and directions are the checker's to report */
};

static char *buffer;
static dma_addr_t ignored;

static bool map_single(struct device *dev, size_t size, enum dma_data_direction direction)
{
    return dma_map_single(dev, buffer, size, direction) == DMA_MAPPING_ERROR;
}

static bool map_page(struct device *dev, size_t size, enum dma_data_direction direction)
{
    return dma_map_page(dev, virt_to_page(buffer), 0, size, direction) == DMA_MAPPING_ERROR;
}

static bool map_resource(struct device *dev, size_t size, enum dma_data_direction direction)
{
    return dma_map_resource(dev, 0xf0000000, size, direction, 0) == DMA_MAPPING_ERROR;
}

static bool map_list(struct device *dev, size_t size, enum dma_data_direction direction)
{
    struct scatterlist sg;

    sg_init_one(&sg, buffer, 64);
    return dma_map_sg(dev, &sg, size ? 1 : 0, direction) == 0;
}

static bool map_table(struct device *dev, size_t size, enum dma_data_direction direction)
{
    struct scatterlist sg;
    struct sg_table table = { .sgl = &sg, .orig_nents = size ? 1 : 0 };

    sg_init_one(&sg, buffer, 64);
    return dma_map_sgtable(dev, &table, direction, 0) == -EINVAL;
}

static bool unmap_single(struct device *dev, size_t size, enum dma_data_direction direction)
{
    dma_unmap_single(dev, 0x40000000, size, direction);
    return true;
}

static bool unmap_page(struct device *dev, size_t size, enum dma_data_direction direction)
{
    dma_unmap_page(dev, 0x40000000, size, direction);
    return true;
}

static bool unmap_resource(struct device *dev, size_t size, enum dma_data_direction direction)
{
    dma_unmap_resource(dev, 0x40000000, size, direction, 0);
    return true;
}

static bool sync_for_cpu(struct device *dev, size_t size, enum dma_data_direction direction)
{
    dma_sync_single_for_cpu(dev, 0x40000000, size, direction);
    return true;
}

static bool sync_for_device(struct device *dev, size_t size, enum dma_data_direction direction)
{
    dma_sync_single_for_device(dev, 0x40000000, size, direction);
    return true;
}

static bool alloc_coherent(struct device *dev, size_t size, enum dma_data_direction direction)
{
    (void)direction;
    return !dma_alloc_coherent(dev, size, &ignored, GFP_KERNEL);
}

static bool alloc_dma_pages(struct device *dev, size_t size, enum dma_data_direction direction)
{
    return !dma_alloc_pages(dev, size, &ignored, direction, GFP_KERNEL);
}

static bool alloc_noncoherent(struct device *dev, size_t size, enum dma_data_direction direction)
{
    return !dma_alloc_noncoherent(dev, size, &ignored, direction, GFP_KERNEL);
}

static bool free_coherent(struct device *dev, size_t size, enum dma_data_direction direction)
{
    (void)direction;
    dma_free_coherent(dev, size, buffer, 0x40000000);
    return true;
}

static bool free_dma_pages(struct device *dev, size_t size, enum dma_data_direction direction)
{
    dma_free_pages(dev, size, virt_to_page(buffer), 0x40000000, direction);
    return true;
}

static bool mmap_coherent(struct device *dev, size_t size, enum dma_data_direction direction)
{
    struct vm_area_struct vma = { 0 };

    (void)direction;
    return dma_mmap_coherent(dev, &vma, buffer, 0x40000000, size) == -EINVAL;
}

static bool get_sgtable(struct device *dev, size_t size, enum dma_data_direction direction)
{
    struct sg_table table;

    (void)direction;
    return dma_get_sgtable(dev, &table, buffer, 0x40000000, size) == -EINVAL;
}

static const struct call calls[] = {
    { "dma_map_single", map_single, false },
    { "dma_map_page", map_page, false },
    { "dma_map_resource", map_resource, false },
    { "dma_map_sg", map_list, false },
    { "dma_map_sgtable", map_table, false },
    { "dma_unmap_single", unmap_single, false, true },
    { "dma_unmap_page", unmap_page, false, true },
    { "dma_unmap_resource", unmap_resource, false, true },
    { "dma_sync_single_for_cpu", sync_for_cpu, false },
    { "dma_sync_single_for_device", sync_for_device, false },
    { "dma_alloc_coherent", alloc_coherent, true },
    { "dma_alloc_pages", alloc_dma_pages, false },
    { "dma_alloc_noncoherent", alloc_noncoherent, false },
    { "dma_free_coherent", free_coherent, true, true },
    { "dma_free_pages", free_dma_pages, false, true },
    { "dma_mmap_attrs", mmap_coherent, true },
    { "dma_get_sgtable", get_sgtable, true },
};

/* The call was refused with one line that has its name and @why. */
static void expect_refused(const struct call *call, struct device *dev, size_t size,
                           enum dma_data_direction direction, const char *why)
{
    keep_log(&lines);
    assert_true(call->refused(dev, size, direction));
    if (lines.count != 1 || !strstr(lines.text, call->name) || !strstr(lines.text, why))
        print_error("%s, %s: %u lines: %s\n", call->name, why, lines.count, lines.text);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, call->name));
    assert_non_null(strstr(lines.text, why));
    drop_log();
}

static void every_call_refuses_what_makes_no_sense(void **state)
{
    unsigned long late;
    size_t i;
    int depth;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        struct dk_machine *machine = machine_with(NONCOHERENT_BOARD, NULL, 0, depth);
        struct device *dev = dk_device_find(machine, "nic");
        struct device *removed = device_below(machine, "bus", "removed");
        struct device *maskless = device_below(machine, "bus", "maskless");

        dk_check_set_sink(machine, ignore_report, NULL);
        buffer = kmalloc(4096, GFP_KERNEL);
        dk_device_remove(removed);
        maskless->dma_mask = NULL;
        maskless->coherent_dma_mask = 0;
        for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
            expect_refused(&calls[i], NULL, 64, DMA_TO_DEVICE, "no device");
            expect_refused(&calls[i], removed, 64, DMA_TO_DEVICE, "removed");
            if (calls[i].undoes)
                continue;
            expect_refused(&calls[i], dev, 0, DMA_TO_DEVICE, " 0");
            if (calls[i].no_direction)
                continue;
            expect_refused(&calls[i], dev, 64, DMA_NONE, "no direction");
            expect_refused(&calls[i], dev, 64, (enum dma_data_direction)4, "no direction");
            expect_refused(&calls[i], maskless, 64, DMA_TO_DEVICE, "no DMA mask");
        }
        expect_refused(&calls[10], maskless, 64, DMA_TO_DEVICE, "no coherent DMA mask");
        expect_refused(&calls[10], dev, ~(size_t)0, DMA_TO_DEVICE, "bytes cannot be allocated");
        kfree(buffer);
        /* What undoes something, or syncs it, is reported besides when its device is gone. */
        late = dk_check_count(machine, "free-after-remove");
        assert_int_equal(late, depth ? 7 : 0);
        assert_int_equal(dk_machine_destroy(machine), late);
    }
}

/* What is out of memory or out of reach says so, unless it was asked not to. */
static void failure_is_said_unless_the_caller_minds(void **state)
{
    struct dk_machine *machine =
        machine_on(SMALL_BOARD("dma-coherent;", "ranges; dma-ranges = <0 0x40000000 0x100000>;"));
    struct device *dev = dk_device_find(machine, "nic");
    char *far = phys_to_virt(0x43000000);
    dma_addr_t dma;

    (void)state;
    keep_log(&lines);
    assert_null(dma_alloc_coherent(dev, 1 << 30, &dma, GFP_KERNEL));
    assert_int_equal(lines.count, 1);
    assert_null(dma_alloc_coherent(dev, 1 << 30, &dma, GFP_KERNEL | __GFP_NOWARN));
    assert_null(dma_alloc_attrs(dev, 1 << 30, &dma, GFP_KERNEL, DMA_ATTR_NO_WARN));
    assert_null(dma_alloc_pages(dev, 1 << 30, &dma, DMA_TO_DEVICE, GFP_KERNEL | __GFP_NOWARN));
    assert_int_equal(lines.count, 1);
    assert_null(dma_alloc_pages(dev, 1 << 30, &dma, DMA_TO_DEVICE, GFP_KERNEL));
    assert_int_equal(lines.count, 2);
    assert_true(dma_map_single(dev, far, 64, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    assert_int_equal(lines.count, 3);
    assert_true(dma_map_single_attrs(dev, far, 64, DMA_TO_DEVICE, DMA_ATTR_NO_WARN) == DMA_MAPPING_ERROR);
    *dev->dma_mask = 0xfff;
    assert_true(dma_map_single_attrs(dev, phys_to_virt(0x40002000), 64, DMA_TO_DEVICE, DMA_ATTR_NO_WARN) ==
                DMA_MAPPING_ERROR);
    assert_int_equal(lines.count, 3);
    assert_true(dma_map_single(dev, phys_to_virt(0x40002000), 64, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    assert_int_equal(lines.count, 4);
    drop_log();
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* Registers of another device keep their physical address; memory is none. */
static void registers_are_mapped_where_they_are(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    dma_addr_t dma = dma_map_resource(dev, 0xf0000040, 64, DMA_BIDIRECTIONAL, 0);

    (void)state;
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_true(dma == 0xf0000040);
    dma_unmap_resource(dev, dma, 64, DMA_BIDIRECTIONAL, 0);
    assert_true(dma_map_resource(dev, 0xffffffc0, 64, DMA_TO_DEVICE, DMA_ATTR_NO_WARN) == 0xffffffc0);
    dma_mapping_error(dev, 0xffffffc0);
    dma_unmap_resource(dev, 0xffffffc0, 64, DMA_TO_DEVICE, 0);
    assert_true(dma_map_resource(dev, 0xffffffc1, 64, DMA_TO_DEVICE, DMA_ATTR_NO_WARN) == DMA_MAPPING_ERROR);
    assert_true(dma_map_resource(dev, ~0ull - 10, 64, DMA_TO_DEVICE, DMA_ATTR_NO_WARN) == DMA_MAPPING_ERROR);
    dk_check_set_sink(machine, ignore_report, NULL);
    assert_int_equal(dk_check_count(machine, NULL), 0);
    assert_true(dma_map_resource(dev, 0x40000000, 64, DMA_TO_DEVICE, 0) == DMA_MAPPING_ERROR);
    assert_int_equal(dk_check_count(machine, "maps-invalid-address"), 1);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

/* Not one byte of them: 64 MiB of RAM from 1 GiB on. */
static void registers_hold_no_memory(void **state)
{
    static const struct {
        phys_addr_t phys;
        size_t size;
        bool mapped;
    } cases[] = {
        { 0x3ffff000, 4096, true }, { 0x3ffff000, 4097, false },    { 0x3ffff000, 1 << 27, false },
        { 0x43ffffff, 1, false },   { 0x43ffffff, 4096, false },    { 0x44000000, 4096, true },
        { 0x40000000, 1, false },   { 0x30000000, 1 << 29, false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_on(COHERENT_BOARD);
        struct device *dev = dk_device_find(machine, "nic");
        dma_addr_t dma;

        dk_check_set_sink(machine, ignore_report, NULL);
        dma = dma_map_resource(dev, cases[i].phys, cases[i].size, DMA_BIDIRECTIONAL, 0);
        if (dma_mapping_error(dev, dma) ? cases[i].mapped : !cases[i].mapped)
            fail_msg("case %zu", i);
        assert_int_equal(dk_check_count(machine, "maps-invalid-address"), !cases[i].mapped);
        if (cases[i].mapped)
            dma_unmap_resource(dev, dma, cases[i].size, DMA_BIDIRECTIONAL, 0);
        assert_int_equal(dk_machine_destroy(machine), !cases[i].mapped);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_call_refuses_what_makes_no_sense),
        cmocka_unit_test(failure_is_said_unless_the_caller_minds),
        cmocka_unit_test(registers_are_mapped_where_they_are),
        cmocka_unit_test(registers_hold_no_memory),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
