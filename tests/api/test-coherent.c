/* SPDX-License-Identifier: MIT */
/*
 * Coherent memory and pages: sizes, masks, attributes, pools, contiguous areas, what mmap and get_sgtable
 * show.
 */
#include "api.h"

#include <sys/mman.h>

/* 64 MiB at 0, with a pool, an area of its own and a default area, and a region that failed. */
#define BOARD(coherence)                                                                                                  \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"pools\"; compatible = \"dmakit,test\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0x4000000>; };"                                                       \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                                 \
    "  pool: pool@1000000 { compatible = \"shared-dma-pool\"; no-map; reg = <0x1000000 0x10000>; };"                      \
    "  area: area@2000000 { compatible = \"shared-dma-pool\"; reusable; reg = <0x2000000 0x400000>; };"                   \
    "  cma: cma@3000000 { compatible = \"shared-dma-pool\"; reusable; linux,cma-default; reg = <0x3000000 0x400000>; };"  \
    "  off: off@1800000 { compatible = \"shared-dma-pool\"; no-map; status = \"disabled\"; reg = <0x1800000 0x10000>; };" \
    "  plain: plain@1900000 { no-map; reg = <0x1900000 0x10000>; };"                                                      \
    "  bad: bad@8000000 { compatible = \"shared-dma-pool\"; no-map; reg = <0x8000000 0x10000>; }; };"                     \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"                              \
    "  dma-ranges = <0x80000000 0 0x4000000>;"                                                                            \
    "  nic: nic@0 { compatible = \"dmakit,nic\"; memory-region = <&pool>, <&area>, <&off>, <&plain>, <&bad>;"             \
    "   memory-region-names = \"pool\", \"area\", \"off\", \"plain\", \"bad\"; };"                                        \
    "  other: other@0 { compatible = \"dmakit,nic\"; memory-region = <&pool>; }; };"                                      \
    " aliases { nic = &nic; other = &other; }; };"

static void a_device_gets_its_regions_by_index_and_name(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("dma-coherent;"));
    struct device *dev = dk_device_find(machine, "nic");

    (void)state;
    assert_int_equal(of_reserved_mem_device_init_by_idx(dev, dev->of_node, 5), -ENODEV);
    assert_int_equal(of_reserved_mem_device_init_by_idx(dev, dev->of_node, -1), -ENODEV);
    assert_int_equal(of_reserved_mem_device_init_by_name(dev, dev->of_node, "nothing"), -ENODEV);
    assert_int_equal(of_reserved_mem_device_init_by_name(dev, dev->of_node, "off"), 0);
    assert_int_equal(of_reserved_mem_device_init_by_name(dev, dev->of_node, "plain"), -EINVAL);
    assert_int_equal(of_reserved_mem_device_init_by_name(dev, dev->of_node, "bad"), -EINVAL);
    assert_int_equal(of_reserved_mem_device_init_by_idx(NULL, dev->of_node, 0), -EINVAL);
    assert_int_equal(of_reserved_mem_device_init_by_idx(dev, NULL, 0), -EINVAL);
    assert_int_equal(of_reserved_mem_device_init(dev), 0);
    assert_int_equal(of_reserved_mem_device_init(dev), -EBUSY);
    assert_int_equal(of_reserved_mem_device_init_by_name(dev, dev->of_node, "area"), 0);
    of_reserved_mem_device_release(dev);
    assert_int_equal(of_reserved_mem_device_init_by_name(dev, dev->of_node, "pool"), 0);
    of_reserved_mem_device_release(dev);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A pool gives powers of two of pages, zeroed, in its range, until it is full; two devices share the region.
 */
static void a_pool_serves_its_devices_alone(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("dma-noncoherent;"));
    struct device *dev = dk_device_find(machine, "nic"), *other = dk_device_find(machine, "other");
    dma_addr_t dma[16], more;
    char *cpu[16];
    unsigned char seen[4096];
    int i;

    (void)state;
    assert_int_equal(of_reserved_mem_device_init(dev), 0);
    assert_int_equal(of_reserved_mem_device_init(other), 0);
    for (i = 0; i < 8; i++) {
        cpu[i] = dma_alloc_coherent(i & 1 ? dev : other, 4097, &dma[i], GFP_KERNEL);
        assert_non_null(cpu[i]);
        assert_true(dma[i] >= 0x81000000 && dma[i] + 8192 <= 0x81010000);
        assert_int_equal(dma[i] % 8192, 0);
        fill(cpu[i], 4096, (unsigned)i);
    }
    assert_null(dma_alloc_coherent(dev, 1, &more, GFP_KERNEL));
    for (i = 0; i < 8; i++) {
        assert_int_equal(dk_master_read(dev, dma[i], seen, 4096), 0);
        assert_true(filled(seen, 4096, (unsigned)i));
        dma_free_coherent(i & 1 ? dev : other, 4097, cpu[i], dma[i]);
    }
    assert_null(dma_alloc_coherent(dev, 0x10001, &more, GFP_KERNEL));
    cpu[0] = dma_alloc_coherent(dev, 0x10000, &dma[0], GFP_KERNEL);
    assert_non_null(cpu[0]);
    for (i = 0; i < 0x10000; i++)
        assert_int_equal(cpu[0][i], 0);
    /* What need not be coherent is not taken from it. */
    cpu[1] = dma_alloc_attrs(dev, 4096, &dma[1], GFP_KERNEL, DMA_ATTR_NON_CONSISTENT);
    assert_non_null(cpu[1]);
    assert_false(dma[1] >= 0x81000000 && dma[1] < 0x81010000);
    dma_free_attrs(dev, 4096, cpu[1], dma[1], DMA_ATTR_NON_CONSISTENT);
    dma_free_coherent(dev, 0x10000, cpu[0], dma[0]);
    of_reserved_mem_device_release(dev);
    of_reserved_mem_device_release(other);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void a_declared_pool_is_the_device_s_own(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("dma-noncoherent;"));
    struct device *dev = dk_device_find(machine, "nic");
    dma_addr_t dma;
    char *cpu, *marked;

    (void)state;
    assert_int_equal(dma_declare_coherent_memory(dev, 0x10000001, 0x1000, 0x4000), -EINVAL);
    assert_int_equal(dma_declare_coherent_memory(dev, 0x10000000, 0x1000, 0), -EINVAL);
    assert_int_equal(dma_declare_coherent_memory(dev, 0x10000000, ~0ull - 10, 0x4000), -EINVAL);
    assert_int_equal(dma_declare_coherent_memory(NULL, 0x10000000, 0x1000, 0x4000), -EINVAL);
    assert_true(IS_ERR(dma_mark_declared_memory_occupied(dev, 0x1000, 0x1000)));
    /* Memory on the device: no RAM of the board's. */
    assert_int_equal(dma_declare_coherent_memory(dev, 0x10000000, 0x1000, 0x4000), 0);
    assert_int_equal(dma_declare_coherent_memory(dev, 0x20000000, 0x1000, 0x4000), -EBUSY);
    cpu = dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dma, 0x1000);
    assert_int_equal(PTR_ERR(dma_mark_declared_memory_occupied(dev, 0x1000, 1)), -EBUSY);
    assert_int_equal(PTR_ERR(dma_mark_declared_memory_occupied(dev, 0x0fff, 1)), -EINVAL);
    assert_int_equal(PTR_ERR(dma_mark_declared_memory_occupied(dev, 0x4fff, 2)), -EINVAL);
    assert_int_equal(PTR_ERR(dma_mark_declared_memory_occupied(dev, 0x5000, 1)), -EINVAL);
    marked = dma_mark_declared_memory_occupied(dev, 0x2fff, 2);
    assert_false(IS_ERR(marked));
    assert_ptr_equal(marked, cpu + 0x1fff);
    /* Pages 1 and 2 are taken now: one is left. */
    assert_null(dma_alloc_coherent(dev, 8192, &dma, GFP_KERNEL));
    marked = dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
    assert_non_null(marked);
    assert_int_equal(dma, 0x4000);
    dma_free_coherent(dev, 4096, marked, dma);
    /* The last byte of the last page. */
    assert_ptr_equal(dma_mark_declared_memory_occupied(dev, 0x4fff, 1), cpu + 0x3fff);
    assert_null(dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL));
    dma_free_coherent(dev, 4096, cpu, 0x1000);
    dma_release_coherent_memory(dev);
    dma_release_coherent_memory(dev);
    assert_int_equal(dma_declare_coherent_memory(dev, 0x1900000, 0x0, 0x1000), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void contiguous_memory_comes_from_the_areas(void **state)
{
    struct dk_machine *machine = machine_on(BOARD("dma-coherent;"));
    struct device *dev = dk_device_find(machine, "nic"), *other = dk_device_find(machine, "other");
    dma_addr_t dma, second, page;
    void *cpu, *two, *single;

    (void)state;
    cpu = dma_alloc_coherent(other, 0x200000, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_true(dma >= 0x83000000 && dma < 0x83400000);
    /* Single pages do not break the default area up, and callers that cannot wait get pages. */
    single = dma_alloc_coherent(other, 4096, &page, GFP_KERNEL);
    assert_false(page >= 0x83000000 && page < 0x83400000);
    two = dma_alloc_coherent(other, 8192, &second, GFP_ATOMIC);
    assert_false(second >= 0x83000000 && second < 0x83400000);
    dma_free_coherent(other, 8192, two, second);
    dma_free_coherent(other, 4096, single, page);
    dma_free_coherent(other, 0x200000, cpu, dma);
    /* A device's own area comes before the default one. */
    assert_int_equal(of_reserved_mem_device_init_by_name(dev, dev->of_node, "area"), 0);
    cpu = dma_alloc_coherent(dev, 0x400000, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dma, 0x82000000);
    dma_free_coherent(dev, 0x400000, cpu, dma);
    cpu = dma_alloc_coherent(dev, 0x400000, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    dma_free_coherent(dev, 0x400000, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void an_area_can_be_asked_for_on_the_command_line(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, "quiet cma=8M", 0, 1);
    struct device *dev = dk_device_find(machine, "nic");
    dma_addr_t dma;
    void *cpu = dma_alloc_coherent(dev, 8 << 20, &dma, GFP_KERNEL);

    (void)state;
    assert_non_null(cpu);
    assert_null(dma_alloc_coherent(dev, 8 << 20, &dma, GFP_KERNEL | __GFP_NOWARN));
    dma_free_coherent(dev, 8 << 20, cpu, virt_to_phys(cpu));
    assert_int_equal(dk_machine_destroy(machine), 0);
    machine = machine_with(COHERENT_BOARD, "cma=4M@0x41000000", 0, 1);
    cpu = dma_alloc_coherent(dk_device_find(machine, "nic"), 4 << 20, &dma, GFP_KERNEL);
    assert_int_equal(dma, 0x41000000);
    dma_free_coherent(dk_device_find(machine, "nic"), 4 << 20, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void bad_requests_are_refused(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    dma_addr_t dma;

    (void)state;
    assert_null(dma_alloc_coherent(dev, 0, &dma, GFP_KERNEL));
    assert_null(dma_alloc_coherent(dev, ~(size_t)0, &dma, GFP_KERNEL));
    assert_null(dma_alloc_coherent(dev, (size_t)1 << 40, &dma, GFP_KERNEL));
    assert_null(dma_alloc_coherent(NULL, 4096, &dma, GFP_KERNEL));
    assert_null(dma_alloc_pages(dev, 4096, &dma, DMA_TO_DEVICE, GFP_KERNEL | GFP_DMA));
    assert_null(dma_alloc_pages(dev, 4096, &dma, DMA_TO_DEVICE, GFP_KERNEL | __GFP_HIGHMEM));
    assert_null(dma_alloc_pages(dev, 4096, &dma, DMA_TO_DEVICE, GFP_KERNEL | __GFP_COMP));
    assert_null(dma_alloc_pages(dev, 4096, &dma, DMA_NONE, GFP_KERNEL));
    assert_null(dma_alloc_noncoherent(dev, 0, &dma, DMA_TO_DEVICE, GFP_KERNEL));
    dma_free_coherent(dev, 4096, NULL, 0);
    dma_free_pages(dev, 4096, NULL, 0, DMA_TO_DEVICE);
    dma_free_noncoherent(dev, 4096, NULL, 0, DMA_TO_DEVICE);
    dev->coherent_dma_mask = 0;
    assert_null(dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* Zone flags are dropped from coherent requests: the mask alone decides. */
static void zone_flags_mean_nothing_here(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    dma_addr_t dma;
    void *cpu = dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL | GFP_DMA | __GFP_HIGHMEM);

    (void)state;
    assert_non_null(cpu);
    dma_free_coherent(dev, 4096, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void noncoherent_memory_wants_syncs(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    unsigned char bytes[128];
    dma_addr_t dma;
    char *cpu = dma_alloc_noncoherent(dev, 128, &dma, DMA_BIDIRECTIONAL, GFP_KERNEL);

    (void)state;
    assert_non_null(cpu);
    fill(cpu, 128, 1);
    dma_cache_sync(dev, cpu, 128, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(dev, dma, bytes, 128), 0);
    assert_true(filled(bytes, 128, 1));
    fill(bytes, 128, 2);
    assert_int_equal(dk_master_write(dev, dma, bytes, 128), 0);
    assert_true(filled(cpu, 128, 1));
    dma_sync_single_for_cpu(dev, dma, 128, DMA_FROM_DEVICE);
    assert_true(filled(cpu, 128, 2));
    dma_free_noncoherent(dev, 128, cpu, dma, DMA_BIDIRECTIONAL);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* mmap and get_sgtable show the allocation itself, from vm_pgoff on. */
static void mmap_and_sgtable_show_the_memory(void **state)
{
    static const char *const boards[] = { COHERENT_BOARD, NONCOHERENT_BOARD };
    int board;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_on(boards[board]);
        struct device *dev = dk_device_find(machine, "nic");
        struct vm_area_struct vma = { 0 };
        struct sg_table table;
        dma_addr_t dma;
        char *cpu = dma_alloc_coherent(dev, 12288, &dma, GFP_KERNEL);
        char *seen = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        assert_non_null(cpu);
        assert_true(dma_can_mmap(dev));
        fill(cpu, 12288, 1);
        vma.vm_start = (unsigned long)(uintptr_t)seen;
        vma.vm_end = vma.vm_start + 8192;
        vma.vm_pgoff = 1;
        assert_int_equal(dma_mmap_coherent(dev, &vma, cpu, dma, 12288), 0);
        assert_memory_equal(seen, cpu + 4096, 8192);
        seen[17] = 'x';
        assert_int_equal(cpu[4096 + 17], 'x');
        vma.vm_pgoff = 2;
        assert_int_equal(dma_mmap_coherent(dev, &vma, cpu, dma, 12288), -ENXIO);
        vma.vm_pgoff = 3;
        assert_int_equal(dma_mmap_coherent(dev, &vma, cpu, dma, 12288), -ENXIO);
        vma.vm_pgoff = 0;
        vma.vm_end--;
        assert_int_equal(dma_mmap_coherent(dev, &vma, cpu, dma, 12288), -EINVAL);
        munmap(seen, 8192);

        assert_int_equal(dma_get_sgtable(dev, &table, cpu, dma, 12288), 0);
        assert_int_equal(table.orig_nents, 1);
        assert_int_equal(table.sgl->length, 12288);
        assert_int_equal(sg_phys(table.sgl), dma);
        sg_free_table(&table);
        assert_int_equal(dma_get_sgtable(dev, &table, &table, dma, 12288), -ENXIO);
        dma_free_coherent(dev, 12288, cpu, dma);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* Memory that a driver declared is no RAM of the board's: there are no pages to make a table of. */
static void memory_without_pages_makes_no_table(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    struct vm_area_struct vma = { 0 };
    struct sg_table table;
    dma_addr_t dma;
    char *cpu, *seen = mmap(NULL, 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    (void)state;
    assert_int_equal(dma_declare_coherent_memory(dev, 0x10000000, 0x10000000, 0x4000), 0);
    cpu = dma_alloc_coherent(dev, 8192, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dma_get_sgtable(dev, &table, cpu, dma, 8192), -ENXIO);
    vma.vm_start = (unsigned long)(uintptr_t)seen;
    vma.vm_end = vma.vm_start + 8192;
    assert_int_equal(dma_mmap_coherent(dev, &vma, cpu, dma, 8192), 0);
    fill(cpu, 8192, 1);
    assert_true(filled(seen, 8192, 1));
    munmap(seen, 8192);
    dma_free_coherent(dev, 8192, cpu, dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* 64 MiB, an area of a device's own, and one device that snoops where the others do not. */
#define MIXED_BOARD                                                                                                             \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"mixed\"; compatible = \"dmakit,test\"; dma-noncoherent;" \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                             \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                                       \
    "  pool: pool@41000000 { compatible = \"shared-dma-pool\"; no-map; reg = <0x41000000 0x10000>; }; };"                       \
    " plain: plain@0 { compatible = \"dmakit,nic\"; memory-region = <&pool>; };"                                                \
    " other: other@1 { compatible = \"dmakit,nic\"; }; "                                                                        \
    " snooping: snooping@2 { compatible = \"dmakit,nic\"; dma-coherent; memory-region = <&pool>; };"                            \
    " aliases { plain = &plain; other = &other; snooping = &snooping; }; };"

/* The bytes pass between the CPU, which works past its cache, and @dev, which maps the memory's pages. */
static void lend(struct device *owner, struct device *dev, char *cpu, dma_addr_t dma, size_t size)
{
    unsigned char bytes[8192];
    struct sg_table table;

    fill(cpu, size, 1);
    assert_int_equal(dma_get_sgtable(owner, &table, cpu, dma, size), 0);
    assert_int_equal(dma_map_sgtable(dev, &table, DMA_BIDIRECTIONAL, 0), 0);
    assert_int_equal(dk_master_read(dev, sg_dma_address(table.sgl), bytes, size), 0);
    assert_true(filled(bytes, size, 1));
    fill(bytes, size, 2);
    assert_int_equal(dk_master_write(dev, sg_dma_address(table.sgl), bytes, size), 0);
    dma_sync_sgtable_for_cpu(dev, &table, DMA_BIDIRECTIONAL);
    assert_true(filled(cpu, size, 2));
    /* Less than a line: the rest of it is the CPU's still. */
    fill(cpu, size, 3);
    assert_int_equal(dk_master_write(dev, sg_dma_address(table.sgl) + 100, bytes, 8), 0);
    assert_memory_equal(cpu + 100, bytes, 8);
    assert_true(filled(cpu, 100, 3));
    fill(cpu, size, 3);
    dma_sync_sgtable_for_device(dev, &table, DMA_BIDIRECTIONAL);
    assert_int_equal(dk_master_read(dev, sg_dma_address(table.sgl), bytes, size), 0);
    assert_true(filled(bytes, size, 3));
    dma_unmap_sgtable(dev, &table, DMA_BIDIRECTIONAL, 0);
    assert_true(filled(cpu, size, 3));
    sg_free_table(&table);
}

/*
 * What lines hold of memory that the CPU uses past its cache counts for nothing: not for a device that
 * snoops, not for the syncs of one that does not. Nor does it after the memory is back in ordinary use.
 */
static void lines_of_uncached_memory_count_for_nothing(void **state)
{
    static const char *const users[] = { "other", "snooping", "plain" };
    static const unsigned long attrs[] = { 0, DMA_ATTR_WRITE_COMBINE, DMA_ATTR_FORCE_CONTIGUOUS };
    unsigned i, seed, pool;

    (void)state;
    for (seed = 0; seed < 16; seed++) {
        struct dk_machine *machine = machine_with(MIXED_BOARD, NULL, seed % 8, 1);
        struct device *owner = dk_device_find(machine, "plain");
        dma_addr_t dma;
        char *cpu, *again;

        pool = seed / 8;
        if (pool)
            assert_int_equal(of_reserved_mem_device_init(owner), 0);
        for (i = 0; i < 9; i++) {
            cpu = dma_alloc_attrs(owner, 8192, &dma, GFP_KERNEL, attrs[i / 3]);
            assert_non_null(cpu);
            lend(owner, dk_device_find(machine, users[i % 3]), cpu, dma, 8192);
            dma_free_attrs(owner, 8192, cpu, dma, attrs[i / 3]);
            if (pool)
                continue;
            /* The same pages, cached again. */
            again = (char *)__get_free_pages(GFP_KERNEL, 1);
            assert_non_null(again);
            fill(again, 8192, 4);
            dma = dma_map_single(owner, again, 8192, DMA_BIDIRECTIONAL);
            assert_int_equal(dma_mapping_error(owner, dma), 0);
            dma_unmap_single(owner, dma, 8192, DMA_BIDIRECTIONAL);
            assert_true(filled(again, 8192, 4));
            free_pages((unsigned long)(uintptr_t)again, 1);
        }
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* A pool's block is the CPU's in the way of the device that has it, by every address. */
static void a_pool_serves_who_snoops_and_who_does_not(void **state)
{
    static const char *const users[] = { "plain", "snooping", "plain", "snooping" };
    struct dk_machine *machine = machine_on(MIXED_BOARD);
    char *seen = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char bytes[4096];
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++) {
        struct device *dev = dk_device_find(machine, users[i]);
        struct vm_area_struct vma = { .vm_start = (unsigned long)(uintptr_t)seen };
        dma_addr_t dma;
        char *cpu;

        vma.vm_end = vma.vm_start + 4096;
        assert_int_equal(of_reserved_mem_device_init(dev), 0);
        cpu = dma_alloc_coherent(dev, 4096, &dma, GFP_KERNEL);
        assert_non_null(cpu);
        assert_int_equal(cpu[0], 0);
        assert_int_equal(dma_mmap_coherent(dev, &vma, cpu, dma, 4096), 0);
        fill(cpu, 4096, i);
        assert_true(filled(seen, 4096, i));
        assert_int_equal(dk_master_read(dev, dma, bytes, 4096), 0);
        assert_true(filled(bytes, 4096, i));
        fill(bytes, 4096, i + 100);
        assert_int_equal(dk_master_write(dev, dma, bytes, 4096), 0);
        assert_true(filled(cpu, 4096, i + 100));
        assert_true(filled(seen, 4096, i + 100));
        dma_free_coherent(dev, 4096, cpu, dma);
        of_reserved_mem_device_release(dev);
    }
    munmap(seen, 4096);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void memory_without_a_kernel_mapping_is_a_cookie(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    struct sg_table table;
    dma_addr_t dma;
    void *cookie = dma_alloc_attrs(dev, 8192, &dma, GFP_KERNEL, DMA_ATTR_NO_KERNEL_MAPPING);

    (void)state;
    assert_non_null(cookie);
    assert_int_equal(dma_get_sgtable_attrs(dev, &table, cookie, dma, 8192, DMA_ATTR_NO_KERNEL_MAPPING), 0);
    assert_int_equal(sg_phys(table.sgl), dma);
    sg_free_table(&table);
    dma_free_attrs(dev, 8192, cookie, dma, DMA_ATTR_NO_KERNEL_MAPPING);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void managed_memory_goes_with_its_device(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = device_below(machine, "bus", "managed");
    dma_addr_t first, second;
    void *cpu = dmam_alloc_coherent(dev, 4096, &first, GFP_KERNEL);

    (void)state;
    assert_non_null(cpu);
    assert_non_null(dmam_alloc_coherent(dev, 8192, &second, GFP_KERNEL));
    dmam_free_coherent(dev, 4096, cpu, first);
    dk_device_remove(dev);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_device_gets_its_regions_by_index_and_name),
        cmocka_unit_test(a_pool_serves_its_devices_alone),
        cmocka_unit_test(a_declared_pool_is_the_device_s_own),
        cmocka_unit_test(contiguous_memory_comes_from_the_areas),
        cmocka_unit_test(an_area_can_be_asked_for_on_the_command_line),
        cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(zone_flags_mean_nothing_here),
        cmocka_unit_test(noncoherent_memory_wants_syncs),
        cmocka_unit_test(mmap_and_sgtable_show_the_memory),
        cmocka_unit_test(memory_without_pages_makes_no_table),
        cmocka_unit_test(lines_of_uncached_memory_count_for_nothing),
        cmocka_unit_test(a_pool_serves_who_snoops_and_who_does_not),
        cmocka_unit_test(memory_without_a_kernel_mapping_is_a_cookie),
        cmocka_unit_test(managed_memory_goes_with_its_device),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("coherent", tests, NULL, NULL);
}
