/* SPDX-License-Identifier: MIT */
/*
 * Back ends: each call reaches its operation with the driver's arguments, and a missing one gives the call's
 * error.
 */
#include "api.h"

/* What the back end under test was called with last. */
static struct {
    char calls[512]; /* names, each with a blank behind */
    dma_addr_t dma;
    phys_addr_t phys;
    size_t size;
    int nents;
    enum dma_data_direction direction;
    unsigned long attrs;
} seen;

static void note(const char *name, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                 unsigned long attrs)
{
    strncat(seen.calls, name, sizeof(seen.calls) - strlen(seen.calls) - 2);
    strcat(seen.calls, " ");
    seen.dma = dma;
    seen.size = size;
    seen.direction = direction;
    seen.attrs = attrs;
}

/* The back end's addresses count from here. */
#define BASE 0x900000000ull

static void *ops_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp, unsigned long attrs)
{
    (void)dev;
    *dma = BASE;
    note(gfp & (__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM) ? "alloc-with-zone" : "alloc", *dma, size, DMA_NONE,
         attrs);
    return (void *)__get_free_pages(gfp, get_order(size));
}

static void ops_free(struct device *dev, size_t size, void *cpu, dma_addr_t dma, unsigned long attrs)
{
    (void)dev;
    note("free", dma, size, DMA_NONE, attrs);
    free_pages((unsigned long)(uintptr_t)cpu, get_order(size));
}

static struct page *ops_alloc_pages(struct device *dev, size_t size, dma_addr_t *dma,
                                    enum dma_data_direction direction, gfp_t gfp)
{
    (void)dev;
    *dma = BASE;
    note("alloc_pages", *dma, size, direction, 0);
    return alloc_pages(gfp, get_order(size));
}

static void ops_free_pages(struct device *dev, size_t size, struct page *page, dma_addr_t dma,
                           enum dma_data_direction direction)
{
    (void)dev;
    note("free_pages", dma, size, direction, 0);
    __free_pages(page, get_order(size));
}

static int ops_mmap(struct device *dev, struct vm_area_struct *vma, void *cpu, dma_addr_t dma, size_t size,
                    unsigned long attrs)
{
    (void)dev;
    (void)vma;
    (void)cpu;
    note("mmap", dma, size, DMA_NONE, attrs);
    return -EPERM;
}

static int ops_get_sgtable(struct device *dev, struct sg_table *table, void *cpu, dma_addr_t dma, size_t size,
                           unsigned long attrs)
{
    (void)dev;
    (void)table;
    (void)cpu;
    note("get_sgtable", dma, size, DMA_NONE, attrs);
    return -EPERM;
}

static dma_addr_t ops_map_page(struct device *dev, struct page *page, unsigned long offset, size_t size,
                               enum dma_data_direction direction, unsigned long attrs)
{
    (void)dev;
    seen.phys = page_to_phys(page) + offset;
    note("map_page", BASE + seen.phys, size, direction, attrs);
    return BASE + seen.phys;
}

static void ops_unmap_page(struct device *dev, dma_addr_t dma, size_t size, enum dma_data_direction direction,
                           unsigned long attrs)
{
    (void)dev;
    note("unmap_page", dma, size, direction, attrs);
}

/* All in one segment, as an IOMMU may. */
static int ops_map_sg(struct device *dev, struct scatterlist *sgl, int nents,
                      enum dma_data_direction direction, unsigned long attrs)
{
    struct scatterlist *sg;
    int i;

    (void)dev;
    sgl->dma_address = BASE;
    sgl->dma_length = 0;
    for_each_sg (sgl, sg, nents, i)
        sgl->dma_length += sg->length;
    seen.nents = nents;
    note("map_sg", BASE, sgl->dma_length, direction, attrs);
    return 1;
}

static void ops_unmap_sg(struct device *dev, struct scatterlist *sg, int nents,
                         enum dma_data_direction direction, unsigned long attrs)
{
    (void)dev;
    seen.nents = nents;
    note("unmap_sg", sg->dma_address, sg->dma_length, direction, attrs);
}

static dma_addr_t ops_map_resource(struct device *dev, phys_addr_t phys, size_t size,
                                   enum dma_data_direction direction, unsigned long attrs)
{
    (void)dev;
    note("map_resource", BASE + phys, size, direction, attrs);
    return BASE + phys;
}

static void ops_unmap_resource(struct device *dev, dma_addr_t dma, size_t size,
                               enum dma_data_direction direction, unsigned long attrs)
{
    (void)dev;
    note("unmap_resource", dma, size, direction, attrs);
}

static void ops_sync_for_cpu(struct device *dev, dma_addr_t dma, size_t size,
                             enum dma_data_direction direction)
{
    (void)dev;
    note("sync_for_cpu", dma, size, direction, 0);
}

static void ops_sync_for_device(struct device *dev, dma_addr_t dma, size_t size,
                                enum dma_data_direction direction)
{
    (void)dev;
    note("sync_for_device", dma, size, direction, 0);
}

static void ops_sync_sg_for_cpu(struct device *dev, struct scatterlist *sg, int nents,
                                enum dma_data_direction direction)
{
    (void)dev;
    seen.nents = nents;
    note("sync_sg_for_cpu", sg->dma_address, sg->dma_length, direction, 0);
}

static void ops_sync_sg_for_device(struct device *dev, struct scatterlist *sg, int nents,
                                   enum dma_data_direction direction)
{
    (void)dev;
    seen.nents = nents;
    note("sync_sg_for_device", sg->dma_address, sg->dma_length, direction, 0);
}

static void ops_cache_sync(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction)
{
    (void)dev;
    (void)cpu;
    note("cache_sync", 0, size, direction, 0);
}

static int ops_supported(struct device *dev, u64 mask)
{
    (void)dev;
    return mask == 0x1234;
}

static u64 ops_required_mask(struct device *dev)
{
    (void)dev;
    return 0xabcd;
}

static size_t ops_max_mapping_size(struct device *dev)
{
    (void)dev;
    return 5000;
}

static size_t ops_opt_mapping_size(void)
{
    return 6000;
}

static unsigned long ops_merge_boundary(struct device *dev)
{
    (void)dev;
    return 4095;
}

static const struct dma_map_ops all_ops = {
    .alloc = ops_alloc,
    .free = ops_free,
    .alloc_pages_op = ops_alloc_pages,
    .free_pages = ops_free_pages,
    .mmap = ops_mmap,
    .get_sgtable = ops_get_sgtable,
    .map_page = ops_map_page,
    .unmap_page = ops_unmap_page,
    .map_sg = ops_map_sg,
    .unmap_sg = ops_unmap_sg,
    .map_resource = ops_map_resource,
    .unmap_resource = ops_unmap_resource,
    .sync_single_for_cpu = ops_sync_for_cpu,
    .sync_single_for_device = ops_sync_for_device,
    .sync_sg_for_cpu = ops_sync_sg_for_cpu,
    .sync_sg_for_device = ops_sync_sg_for_device,
    .cache_sync = ops_cache_sync,
    .dma_supported = ops_supported,
    .get_required_mask = ops_required_mask,
    .max_mapping_size = ops_max_mapping_size,
    .opt_mapping_size = ops_opt_mapping_size,
    .get_merge_boundary = ops_merge_boundary,
};

/* A back end of nothing. */
static const struct dma_map_ops no_ops = { NULL };

/* The last call was @name, for these bytes. */
static void expect(const char *name, dma_addr_t dma, size_t size, enum dma_data_direction direction)
{
    char wanted[64];

    snprintf(wanted, sizeof(wanted), "%s ", name);
    assert_string_equal(seen.calls, wanted);
    assert_true(seen.dma == dma);
    assert_int_equal(seen.size, size);
    if (direction != DMA_NONE)
        assert_int_equal(seen.direction, direction);
    memset(&seen, 0, sizeof(seen));
}

static void streaming(struct device *dev)
{
    char *buffer = kmalloc(4096, GFP_KERNEL);
    struct page *page = virt_to_page(buffer);
    phys_addr_t phys = virt_to_phys(buffer);
    dma_addr_t dma = dma_map_single(dev, buffer + 101, 200, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(dev, dma), 0);
    expect("map_page", BASE + phys + 101, 200, DMA_TO_DEVICE);
    dma_unmap_single(dev, dma, 200, DMA_TO_DEVICE);
    expect("unmap_page", dma, 200, DMA_TO_DEVICE);
    dma = dma_map_page_attrs(dev, page, 64, 300, DMA_BIDIRECTIONAL, DMA_ATTR_WEAK_ORDERING);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(seen.attrs, DMA_ATTR_WEAK_ORDERING);
    expect("map_page", BASE + page_to_phys(page) + 64, 300, DMA_BIDIRECTIONAL);
    dma_sync_single_for_cpu(dev, dma, 100, DMA_FROM_DEVICE);
    expect("sync_for_cpu", dma, 100, DMA_FROM_DEVICE);
    dma_sync_single_for_device(dev, dma + 8, 20, DMA_TO_DEVICE);
    expect("sync_for_device", dma + 8, 20, DMA_TO_DEVICE);
    dma_sync_single_range_for_cpu(dev, dma, 16, 50, DMA_BIDIRECTIONAL);
    expect("sync_for_cpu", dma + 16, 50, DMA_BIDIRECTIONAL);
    dma_sync_single_range_for_device(dev, dma, 32, 60, DMA_BIDIRECTIONAL);
    expect("sync_for_device", dma + 32, 60, DMA_BIDIRECTIONAL);
    dma_unmap_page_attrs(dev, dma, 300, DMA_BIDIRECTIONAL, DMA_ATTR_WEAK_ORDERING);
    assert_int_equal(seen.attrs, DMA_ATTR_WEAK_ORDERING);
    expect("unmap_page", dma, 300, DMA_BIDIRECTIONAL);
    dma = dma_map_resource(dev, 0xf0000000, 64, DMA_FROM_DEVICE, 0);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    expect("map_resource", BASE + 0xf0000000, 64, DMA_FROM_DEVICE);
    dma_unmap_resource(dev, dma, 64, DMA_FROM_DEVICE, 0);
    expect("unmap_resource", dma, 64, DMA_FROM_DEVICE);
    dma_cache_sync(dev, buffer, 77, DMA_TO_DEVICE);
    expect("cache_sync", 0, 77, DMA_TO_DEVICE);
    kfree(buffer);
}

static void lists(struct device *dev)
{
    char *buffer = kmalloc(4096, GFP_KERNEL);
    struct scatterlist sg[3];
    struct sg_table table = { .sgl = sg, .orig_nents = 3, .nents = 3 };
    int i;

    sg_init_table(sg, 3);
    for (i = 0; i < 3; i++)
        sg_set_buf(&sg[i], buffer + i * 1024, 512);
    /* Merged into one segment: unmap and sync take the three entries all the same. */
    assert_int_equal(dma_map_sg(dev, sg, 3, DMA_TO_DEVICE), 1);
    assert_int_equal(seen.nents, 3);
    expect("map_sg", BASE, 1536, DMA_TO_DEVICE);
    dma_sync_sg_for_cpu(dev, sg, 3, DMA_TO_DEVICE);
    assert_int_equal(seen.nents, 3);
    expect("sync_sg_for_cpu", BASE, 1536, DMA_TO_DEVICE);
    dma_sync_sg_for_device(dev, sg, 3, DMA_TO_DEVICE);
    expect("sync_sg_for_device", BASE, 1536, DMA_TO_DEVICE);
    dma_unmap_sg(dev, sg, 3, DMA_TO_DEVICE);
    assert_int_equal(seen.nents, 3);
    expect("unmap_sg", BASE, 1536, DMA_TO_DEVICE);
    assert_int_equal(dma_map_sgtable(dev, &table, DMA_FROM_DEVICE, 0), 0);
    assert_int_equal(table.nents, 1);
    assert_int_equal(table.orig_nents, 3);
    expect("map_sg", BASE, 1536, DMA_FROM_DEVICE);
    dma_unmap_sgtable(dev, &table, DMA_FROM_DEVICE, 0);
    expect("unmap_sg", BASE, 1536, DMA_FROM_DEVICE);
    kfree(buffer);
}

static void allocations(struct device *dev)
{
    struct vm_area_struct vma = { 0 };
    struct sg_table table;
    struct page *page;
    dma_addr_t dma;
    void *cpu = dma_alloc_attrs(dev, 5000, &dma, GFP_KERNEL | GFP_DMA, DMA_ATTR_WRITE_COMBINE);

    assert_non_null(cpu);
    assert_int_equal(seen.attrs, DMA_ATTR_WRITE_COMBINE);
    expect("alloc", BASE, 5000, DMA_NONE);
    assert_int_equal(dma_mmap_attrs(dev, &vma, cpu, dma, 5000, DMA_ATTR_WRITE_COMBINE), -EPERM);
    expect("mmap", BASE, 5000, DMA_NONE);
    assert_int_equal(dma_get_sgtable(dev, &table, cpu, dma, 5000), -EPERM);
    expect("get_sgtable", BASE, 5000, DMA_NONE);
    dma_free_attrs(dev, 5000, cpu, dma, DMA_ATTR_WRITE_COMBINE);
    expect("free", BASE, 5000, DMA_NONE);
    page = dma_alloc_pages(dev, 8192, &dma, DMA_TO_DEVICE, GFP_KERNEL);
    assert_non_null(page);
    expect("alloc_pages", BASE, 8192, DMA_TO_DEVICE);
    dma_free_pages(dev, 8192, page, dma, DMA_TO_DEVICE);
    expect("free_pages", BASE, 8192, DMA_TO_DEVICE);
    cpu = dma_alloc_noncoherent(dev, 100, &dma, DMA_FROM_DEVICE, GFP_KERNEL);
    assert_non_null(cpu);
    expect("alloc_pages", BASE, 100, DMA_FROM_DEVICE);
    dma_free_noncoherent(dev, 100, cpu, dma, DMA_FROM_DEVICE);
    expect("free_pages", BASE, 100, DMA_FROM_DEVICE);
}

static void limits(struct device *dev)
{
    assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(64)), -EIO);
    assert_int_equal(dma_set_mask(dev, 0x1234), 0);
    assert_int_equal(dma_get_mask(dev), 0x1234);
    assert_int_equal(dma_get_required_mask(dev), 0xabcd);
    assert_true(dma_addressing_limited(dev));
    assert_int_equal(dma_max_mapping_size(dev), 5000);
    assert_int_equal(dma_opt_mapping_size(dev), 5000);
    assert_int_equal(dma_get_merge_boundary(dev), 4095);
    assert_true(dma_can_mmap(dev));
}

static void each_call_reaches_its_operation(void **state)
{
    int depth;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, depth);
        struct device *dev = dk_device_find(machine, "nic");

        memset(&seen, 0, sizeof(seen));
        set_dma_ops(dev, &all_ops);
        assert_ptr_equal(get_dma_ops(dev), &all_ops);
        assert_null(dev->fast_memory);
        streaming(dev);
        lists(dev);
        allocations(dev);
        limits(dev);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* What every call answers on a device whose back end has nothing. */
static void expect_errors(struct device *dev)
{
    char *buffer = kmalloc(256, GFP_KERNEL);
    struct vm_area_struct vma = { 0 };
    struct scatterlist sg;
    struct sg_table table = { .sgl = &sg, .orig_nents = 1 };
    dma_addr_t dma = 1;

    assert_true(dma_map_single(dev, buffer, 64, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    assert_true(dma_map_page(dev, virt_to_page(buffer), 0, 64, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    assert_true(dma_map_resource(dev, 0xf0000000, 64, DMA_TO_DEVICE, 0) == DMA_MAPPING_ERROR);
    sg_init_one(&sg, buffer, 64);
    assert_int_equal(dma_map_sg(dev, &sg, 1, DMA_TO_DEVICE), 0);
    assert_int_equal(dma_map_sgtable(dev, &table, DMA_TO_DEVICE, 0), -EIO);
    assert_null(dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL));
    assert_null(dma_alloc_pages(dev, 4096, &dma, DMA_TO_DEVICE, GFP_KERNEL));
    assert_null(dma_alloc_noncoherent(dev, 4096, &dma, DMA_TO_DEVICE, GFP_KERNEL));
    assert_int_equal(dma_mmap_coherent(dev, &vma, buffer, 0, 4096), -ENXIO);
    assert_int_equal(dma_get_sgtable(dev, &table, buffer, 0, 4096), -ENXIO);
    assert_false(dma_can_mmap(dev));
    assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(31)), -EIO);
    assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(32)), 0);
    assert_int_equal(dma_get_required_mask(dev), DMA_BIT_MASK(32));
    assert_true(dma_max_mapping_size(dev) == SIZE_MAX);
    assert_int_equal(dma_get_merge_boundary(dev), 0);
    kfree(buffer);
}

static void a_missing_operation_is_the_call_s_error(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");

    (void)state;
    set_dma_ops(dev, &no_ops);
    expect_errors(dev);
    set_dma_ops(dev, NULL);
    assert_ptr_equal(get_dma_ops(dev), &no_ops);
    set_dma_ops(NULL, &no_ops);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* With iommu.passthrough=1 a device behind an IOMMU goes straight to its bus, and maps as one that has none.
 */
static void passthrough_maps_past_the_iommu(void **state)
{
    struct dk_machine *machine = machine_with("hostile.dts", "iommu.passthrough=1", 0, 1);
    struct device *dev = device_below(machine, "iommu", "card");
    char *buffer = kmalloc(64, GFP_KERNEL | GFP_DMA), bytes[64];
    dma_addr_t dma = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);

    (void)state;
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_true(dma == virt_to_phys(buffer));
    assert_int_equal(dk_master_read(dev, dma, bytes, 64), 0);
    dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE);
    kfree(buffer);
    assert_ptr_equal(device_below(machine, "noncoherent", "card")->dma_ops, dev->dma_ops);
    assert_int_equal(dk_machine_destroy(machine), 0);
    machine = machine_with("hostile.dts", "iommu.passthrough=0", 0, 1);
    dev = device_below(machine, "iommu", "card");
    assert_ptr_not_equal(device_below(machine, "noncoherent", "card")->dma_ops, dev->dma_ops);
    dk_check_set_sink(machine, ignore_report, NULL);
    assert_int_equal(dk_master_read(dev, 0x80200000, bytes, 64), -EFAULT);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_reaches_its_operation),
        cmocka_unit_test(a_missing_operation_is_the_call_s_error),
        cmocka_unit_test(passthrough_maps_past_the_iommu),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("ops", tests, NULL, NULL);
}
