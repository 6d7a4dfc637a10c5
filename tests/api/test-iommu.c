/* SPDX-License-Identifier: MIT */
/*
 * What an IOMMU keeps devices from, when, and which devices see what of each other.
 */
#include "api.h"

#include <dmakit/dmabounce.h>
#include <dmakit/iommu.h>
#include <pthread.h>

/*
 * 64 MiB of RAM at 1 GiB. a and b have one id of one IOMMU, c another one there, d a's at a second IOMMU;
 * plain has none. The PCI host tells its functions apart by device alone: 1.0 is in the first row, 3.0, 3.1
 * and the next bus's 3.0 share an id of the second, and device 16 is in none.
 */
#define BOARD(coherence, bus)                                                                                                \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"iommu\"; compatible = \"dmakit,test\"; " coherence    \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                          \
    " mmu: iommu@10000000 { compatible = \"arm,mmu-401\"; reg = <0x10000000 0x10000>; #iommu-cells = <1>; };"                \
    " other: iommu@10100000 { compatible = \"arm,mmu-401\"; reg = <0x10100000 0x10000>; #iommu-cells = <1>; };"              \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges; " bus                            \
    "  a@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x10>; };"                                                          \
    "  b@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x10>; };"                                                          \
    "  c@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x11>; };"                                                          \
    "  d@0 { compatible = \"dmakit,nic\"; iommus = <&other 0x10>; };"                                                        \
    "  plain@0 { compatible = \"dmakit,nic\"; }; };"                                                                         \
    " pcie@20000000 { compatible = \"pci-host-ecam-generic\"; device_type = \"pci\"; reg = <0x20000000 0x1000000>;"          \
    "  #address-cells = <3>; #size-cells = <2>; ranges = <0x02000000 0 0x50000000 0x50000000 0 0x1000000>;"                  \
    "  iommu-map-mask = <0xf8>; iommu-map = <0x0 &mmu 0x100 0x10>, <0x10 &other 0x200 0x70>;"                                \
    "  f@1,0 { compatible = \"dmakit,nic\"; reg = <0x0800 0 0 0 0>; };"                                                      \
    "  f@3,0 { compatible = \"dmakit,nic\"; reg = <0x1800 0 0 0 0>; };"                                                      \
    "  f@3,1 { compatible = \"dmakit,nic\"; reg = <0x1900 0 0 0 0>; };"                                                      \
    "  f@103,0 { compatible = \"dmakit,nic\"; reg = <0x11800 0 0 0 0>; };"                                                   \
    "  f@10,0 { compatible = \"dmakit,nic\"; reg = <0x8000 0 0 0 0>; }; };"                                                  \
    " aliases { a = \"/bus@0/a@0\"; b = \"/bus@0/b@0\"; c = \"/bus@0/c@0\"; d = \"/bus@0/d@0\"; plain = \"/bus@0/plain@0\";" \
    "  pcie = \"/pcie@20000000\"; }; };"

static const char *const boards[] = { BOARD("dma-coherent;", ""), BOARD("dma-noncoherent;", "") };

/* Faults and what they lead to are expected. */
static struct dk_machine *machine_that_faults(const char *dts, const char *arguments)
{
    struct dk_machine *machine = machine_with(dts, arguments, 0, 1);

    dk_check_set_sink(machine, ignore_report, NULL);
    return machine;
}

/* An access of @length bytes moves @passes of them and then faults in the way @kind; or does not fault. */
#define NO_FAULT ((enum dk_master_fault_kind) - 1)
static void expect(struct device *dev, bool write, dma_addr_t dma, size_t length,
                   enum dk_master_fault_kind kind, size_t passes)
{
    unsigned long before = dk_master_fault_count(dev);
    unsigned char bytes[16384] = { 0 };
    struct dk_master_fault fault;
    int result = write ? dk_master_write(dev, dma, bytes, length) : dk_master_read(dev, dma, bytes, length);

    if (kind == NO_FAULT) {
        assert_int_equal(result, 0);
        assert_int_equal(dk_master_fault_count(dev), before);
        return;
    }
    assert_int_equal(result, -EFAULT);
    assert_int_equal(dk_master_fault_count(dev), before + 1);
    assert_true(dk_master_last_fault(dev, &fault));
    assert_int_equal(fault.kind, kind);
    assert_int_equal(fault.write, write);
    assert_int_equal(fault.dma, dma + passes);
    assert_int_equal(fault.length, length - passes);
}

static void a_direction_is_a_permission(void **state)
{
    static const struct {
        enum dma_data_direction direction;
        enum dk_master_fault_kind read, write;
    } cases[] = {
        { DMA_TO_DEVICE, NO_FAULT, DK_MASTER_FAULT_PERMISSION },
        { DMA_FROM_DEVICE, DK_MASTER_FAULT_PERMISSION, NO_FAULT },
        { DMA_BIDIRECTIONAL, NO_FAULT, NO_FAULT },
    };
    size_t board, i;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_that_faults(boards[board], NULL);
        struct device *dev = dk_device_find(machine, "a");
        char *buffer = kmalloc(4096, GFP_KERNEL);
        struct scatterlist sg;

        for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            enum dma_data_direction direction = cases[i].direction;
            dma_addr_t dma = dma_map_single(dev, buffer, 4096, direction);
            struct page *page;
            struct sg_table *table;

            assert_int_equal(dma_mapping_error(dev, dma), 0);
            expect(dev, false, dma, 4096, cases[i].read, 0);
            expect(dev, true, dma, 4096, cases[i].write, 0);
            dma_unmap_single(dev, dma, 4096, direction);
            sg_init_one(&sg, buffer, 4096);
            assert_int_equal(dma_map_sg(dev, &sg, 1, direction), 1);
            expect(dev, false, sg_dma_address(&sg) + 5, 1, cases[i].read, 0);
            expect(dev, true, sg_dma_address(&sg) + 5, 1, cases[i].write, 0);
            dma_unmap_sg(dev, &sg, 1, direction);
            page = dma_alloc_pages(dev, 100, &dma, direction, GFP_KERNEL);
            assert_non_null(page);
            expect(dev, false, dma, 100, cases[i].read, 0);
            expect(dev, true, dma, 100, cases[i].write, 0);
            dma_free_pages(dev, 100, page, dma, direction);
            table = dma_alloc_noncontiguous(dev, 12288, direction, GFP_KERNEL, 0);
            assert_non_null(table);
            dma = sg_dma_address(table->sgl);
            expect(dev, false, dma, 12288, cases[i].read, 0);
            expect(dev, true, dma, 12288, cases[i].write, 0);
            dma_free_noncontiguous(dev, 12288, table, direction);
        }
        kfree(buffer);
        dk_machine_destroy(machine);
    }
}

/* A page is the least that can be mapped: what shares one with a buffer is within reach, the next page is
 * not. */
static void neighbours_are_reached_to_the_end_of_the_page(void **state)
{
    struct dk_machine *machine = machine_that_faults(boards[0], NULL);
    struct device *dev = dk_device_find(machine, "a");
    struct page *page = alloc_pages(GFP_KERNEL, 1);
    char *cpu = page_address(page);
    unsigned char seen[64];
    dma_addr_t dma;

    (void)state;
    fill(cpu, 4096, 1);
    dma = dma_map_page(dev, page, 1000, 100, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dma & (PAGE_SIZE - 1), 1000);
    assert_int_equal(dk_master_read(dev, dma - 1000, seen, 64), 0);
    assert_true(filled(seen, 64, 1));
    expect(dev, false, dma - 1000, 4096, NO_FAULT, 0);
    expect(dev, false, dma - 1000 + 4096, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    expect(dev, false, dma - 1001, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    /* What comes before the end is moved. */
    expect(dev, false, dma - 1000 + 4000, 200, DK_MASTER_FAULT_UNMAPPED, 96);
    expect(dev, true, dma - 1000 + 4000, 200, DK_MASTER_FAULT_PERMISSION, 0);
    dma_unmap_page(dev, dma, 100, DMA_TO_DEVICE);
    /* Physical addresses, the last ones there are, and those beyond 48 bits lead nowhere. */
    expect(dev, false, page_to_phys(page), 1, DK_MASTER_FAULT_UNMAPPED, 0);
    expect(dev, false, 0, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    expect(dev, false, ~0ull, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    expect(dev, false, 1ull << 48, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    __free_pages(page, 1);
    dk_machine_destroy(machine);
}

/* Whatever the offset and the size, the pages that a buffer touches are mapped, and no page more: the first
 * time and with addresses that this thread has at hand. */
static void a_mapping_ends_with_its_last_page(void **state)
{
    static const size_t offsets[] = { 0, 1, 2, 2048, 4094, 4095 };
    static const size_t sizes[] = { 1, 2, 3, 4094, 4095, 4096, 4097, 8192, 8193 };
    const size_t rows = sizeof(offsets) / sizeof(offsets[0]) * (sizeof(sizes) / sizeof(sizes[0]));

    (void)state;
    for (int depth = 0; depth < 2; depth++) {
        struct dk_machine *machine = machine_with(boards[0], NULL, 0, depth);
        struct device *dev = dk_device_find(machine, "a");
        struct page *page = alloc_pages(GFP_KERNEL, 2);

        dk_check_set_sink(machine, ignore_report, NULL);
        for (size_t row = 0; row < 4 * rows; row++) {
            size_t offset = offsets[row / 4 % (sizeof(offsets) / sizeof(offsets[0]))];
            size_t size = sizes[row / 4 / (sizeof(offsets) / sizeof(offsets[0]))];
            size_t reach = ((offset + size + 4095) & ~(size_t)4095) - offset;
            char *cpu = (char *)page_address(page) + offset;
            unsigned char seen[16384];
            dma_addr_t dma;

            fill(page_address(page), 16384, (unsigned)row);
            dma = dma_map_single(dev, cpu, size, DMA_TO_DEVICE);
            assert_int_equal(dma_mapping_error(dev, dma), 0);
            assert_int_equal(dk_master_read(dev, dma, seen, size), 0);
            assert_memory_equal(seen, cpu, size);
            expect(dev, false, dma, reach, NO_FAULT, 0);
            expect(dev, false, dma, reach + 1, DK_MASTER_FAULT_UNMAPPED, reach);
            dma_unmap_single(dev, dma, size, DMA_TO_DEVICE);
            expect(dev, false, dma, 1, DK_MASTER_FAULT_UNMAPPED, 0);
            expect(dev, false, dma + reach - 1, 1, DK_MASTER_FAULT_UNMAPPED, 0);
        }
        __free_pages(page, 2);
        dk_machine_destroy(machine);
    }
}

/* The same of a list, whose last entry ends with one byte of a page, or one byte before its end. */
static void a_list_goes_to_its_last_page(void **state)
{
    struct dk_machine *machine = machine_that_faults(boards[0], NULL);
    struct device *dev = dk_device_find(machine, "a");
    struct page *page = alloc_pages(GFP_KERNEL, 3);

    (void)state;
    for (unsigned length = 4095; length <= 4098; length++) {
        struct scatterlist list[2];
        dma_addr_t last;

        sg_init_table(list, 2);
        sg_set_page(&list[0], page, 8192, 0);
        sg_set_page(&list[1], page + 4, length, 0);
        assert_true(dma_map_sg(dev, list, 2, DMA_TO_DEVICE) > 0);
        last = sg_dma_address(&list[0]) + 8192 + length - 1;
        assert_int_equal(sg_dma_len(&list[0]), 8192 + length);
        expect(dev, false, last, 1, NO_FAULT, 0);
        dma_unmap_sg(dev, list, 2, DMA_TO_DEVICE);
        expect(dev, false, last, 1, DK_MASTER_FAULT_UNMAPPED, 0);
        expect(dev, false, sg_dma_address(&list[0]), 1, DK_MASTER_FAULT_UNMAPPED, 0);
    }
    __free_pages(page, 3);
    dk_machine_destroy(machine);
}

/* Pages cannot keep a boundary that is narrower than they are; the entries of a list can, if they do. */
static void a_boundary_within_a_page_is_the_drivers(void **state)
{
    struct dk_machine *machine = machine_that_faults(boards[0], NULL);
    struct device *dev = dk_device_find(machine, "a");
    struct page *page = alloc_pages(GFP_KERNEL, 3);
    unsigned char seen[512];
    struct scatterlist list[8];

    (void)state;
    fill(page_address(page), 8 * 4096, 3);
    assert_int_equal(dma_set_seg_boundary(dev, 1023), 0);
    sg_init_table(list, 8);
    for (unsigned i = 0; i < 8; i++)
        sg_set_page(&list[i], page + i, 512, i % 2 * 512);
    assert_int_equal(dma_map_sg(dev, list, 8, DMA_TO_DEVICE), 8);
    for (unsigned i = 0; i < 8; i++) {
        assert_int_equal(sg_dma_address(&list[i]) & 1023, i % 2 * 512);
        assert_int_equal(dk_master_read(dev, sg_dma_address(&list[i]), seen, 512), 0);
        assert_memory_equal(seen, (char *)page_address(page) + (size_t)4096 * i + (size_t)(i % 2) * 512, 512);
    }
    dma_unmap_sg(dev, list, 8, DMA_TO_DEVICE);
    __free_pages(page, 3);
    dk_machine_destroy(machine);
}

/* ---- The end of a mapping ---- */

struct writer {
    struct device *dev;
    dma_addr_t dma;
    unsigned tries;
    unsigned faults;
    bool stop;
};

static void *write_on(void *data)
{
    struct writer *writer = data;
    unsigned char bytes[256];
    unsigned i;

    memset(bytes, 0xee, sizeof(bytes));
    while (!__atomic_load_n(&writer->stop, __ATOMIC_ACQUIRE)) {
        for (i = 0; i < 16; i++) {
            if (dk_master_write(writer->dev, writer->dma, bytes, sizeof(bytes)))
                __atomic_add_fetch(&writer->faults, 1, __ATOMIC_RELEASE);
        }
        __atomic_add_fetch(&writer->tries, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* A device that writes all the time, in another thread, writes nothing once the unmap has returned. */
static void unmapping_ends_accesses_under_way(void **state)
{
    size_t board, i;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_that_faults(boards[board], NULL);
        struct device *dev = dk_device_find(machine, "a");
        char *buffer = kmalloc(4096, GFP_KERNEL);
        pthread_t thread;

        for (i = 0; i < 20; i++) {
            dma_addr_t dma = dma_map_single(dev, buffer, 4096, DMA_FROM_DEVICE);
            struct writer writer = { .dev = dev, .dma = dma };
            unsigned tries;

            assert_int_equal(dma_mapping_error(dev, dma), 0);
            assert_int_equal(pthread_create(&thread, NULL, write_on, &writer), 0);
            while (!__atomic_load_n(&writer.tries, __ATOMIC_ACQUIRE))
                sched_yield();
            assert_int_equal(__atomic_load_n(&writer.faults, __ATOMIC_ACQUIRE), 0);
            dma_unmap_single(dev, dma, 4096, DMA_FROM_DEVICE);
            assert_int_equal((unsigned char)buffer[7], 0xee);
            fill(buffer, 4096, 3);
            /* At least one of these began after it. */
            tries = __atomic_load_n(&writer.tries, __ATOMIC_ACQUIRE);
            while (__atomic_load_n(&writer.tries, __ATOMIC_ACQUIRE) < tries + 2)
                sched_yield();
            assert_true(__atomic_load_n(&writer.faults, __ATOMIC_ACQUIRE) >= 16);
            assert_true(filled(buffer, 4096, 3));
            __atomic_store_n(&writer.stop, true, __ATOMIC_RELEASE);
            pthread_join(thread, NULL);
            expect(dev, true, dma, 1, DK_MASTER_FAULT_UNMAPPED, 0);
            expect(dev, false, dma, 1, DK_MASTER_FAULT_UNMAPPED, 0);
        }
        kfree(buffer);
        dk_machine_destroy(machine);
    }
}

#define LONG ((size_t)1 << 20)

struct long_write {
    struct device *dev;
    dma_addr_t dma;
    unsigned char *bytes;
    size_t size;
    int error;
};

static void *write_long(void *data)
{
    struct long_write *write = data;

    write->error = dk_master_write(write->dev, write->dma, write->bytes, write->size);
    return NULL;
}

/* The unmapping of what a device is just writing to waits for the last byte; with a checker and without one.
 */
static void unmapping_waits_for_what_has_begun(void **state)
{
    unsigned char *bytes = malloc(LONG);

    (void)state;
    assert_non_null(bytes);
    memset(bytes, 0xee, LONG);
    for (int depth = 0; depth <= 1; depth++) {
        struct dk_machine *machine = machine_with(boards[0], NULL, 0, depth);
        struct device *dev = dk_device_find(machine, "a");
        unsigned char *buffer = kmalloc(LONG, GFP_KERNEL);
        unsigned met = 0;

        assert_non_null(buffer);
        /* What a thread has unmapped before goes the shortest ways. */
        for (unsigned round = 0; round < 1000 && met < 20; round++) {
            struct long_write write = { .dev = dev, .bytes = bytes, .size = LONG };
            unsigned char *last = buffer + LONG - 256;
            pthread_t thread;

            memset(buffer, 0, LONG);
            write.dma = dma_map_single(dev, buffer, LONG, DMA_FROM_DEVICE);
            assert_int_equal(dma_mapping_error(dev, write.dma), 0);
            assert_int_equal(pthread_create(&thread, NULL, write_long, &write), 0);
            while (!__atomic_load_n(buffer, __ATOMIC_ACQUIRE))
                ;
            met += !__atomic_load_n(&last[255], __ATOMIC_RELAXED);
            dma_unmap_single(dev, write.dma, LONG, DMA_FROM_DEVICE);
            fill(last, 256, 3);
            pthread_join(thread, NULL);
            assert_true(filled(last, 256, 3));
            assert_int_equal(write.error, 0);
        }
        /* With one processor the writer is done before anybody else runs. */
        assert_true(met || sysconf(_SC_NPROCESSORS_ONLN) == 1);
        kfree(buffer);
        dk_machine_destroy(machine);
    }
    free(bytes);
}

/* Every kind of mapping and allocation is out of reach once it is undone. */
static void what_is_undone_faults(void **state)
{
    struct dk_machine *machine = machine_that_faults(boards[1], NULL);
    struct device *dev = dk_device_find(machine, "a");
    struct page *pages[3];
    struct sg_table table, *pieces;
    dma_addr_t dma;
    void *cpu;
    unsigned i;

    (void)state;
    /* Not one behind the other. */
    for (i = 0; i < 3; i++) {
        pages[i] = alloc_pages(GFP_KERNEL, 1);
        assert_non_null(pages[i]);
    }
    assert_int_equal(sg_alloc_table_from_pages(&table, pages, 3, 100, 12000, GFP_KERNEL), 0);
    assert_int_equal(dma_map_sgtable(dev, &table, DMA_BIDIRECTIONAL, 0), 0);
    assert_int_equal(table.nents, 1);
    dma = sg_dma_address(table.sgl);
    expect(dev, true, dma, 12000, NO_FAULT, 0);
    dma_unmap_sgtable(dev, &table, DMA_BIDIRECTIONAL, 0);
    for (i = 0; i < 3; i++)
        expect(dev, false, dma + i * 4096, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    sg_free_table(&table);
    for (i = 0; i < 3; i++)
        __free_pages(pages[i], 1);

    cpu = dma_alloc_coherent(dev, 12288, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    expect(dev, true, dma, 12288, NO_FAULT, 0);
    dma_free_coherent(dev, 12288, cpu, dma);
    for (i = 0; i < 3; i++)
        expect(dev, false, dma + i * 4096, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    cpu = dma_alloc_noncoherent(dev, 100, &dma, DMA_TO_DEVICE, GFP_KERNEL);
    assert_non_null(cpu);
    dma_free_noncoherent(dev, 100, cpu, dma, DMA_TO_DEVICE);
    expect(dev, false, dma, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    pieces = dma_alloc_noncontiguous(dev, 12288, DMA_TO_DEVICE, GFP_KERNEL, 0);
    assert_non_null(pieces);
    dma = sg_dma_address(pieces->sgl);
    dma_free_noncontiguous(dev, 12288, pieces, DMA_TO_DEVICE);
    for (i = 0; i < 3; i++)
        expect(dev, false, dma + i * 4096, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    dk_machine_destroy(machine);
}

/* Until the 256th unmap after it a lazy IOMMU lets accesses pass. */
static void a_lazy_iommu_forgets_late(void **state)
{
    static const size_t sizes[] = { 64, 4096, 3 << 20 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct dk_machine *machine = machine_that_faults(boards[0], "iommu.strict=0");
        struct device *dev = dk_device_find(machine, "a");
        char *buffer = kmalloc(64, GFP_KERNEL);
        struct page *page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
        dma_addr_t dma = dma_map_page(dev, page, 0, sizes[i], DMA_TO_DEVICE), other;
        unsigned unmaps;

        assert_int_equal(dma_mapping_error(dev, dma), 0);
        dma_unmap_page(dev, dma, sizes[i], DMA_TO_DEVICE);
        for (unmaps = 0; unmaps < 256; unmaps++) {
            expect(dev, false, dma + sizes[i] - 1, 1, NO_FAULT, 0);
            expect(dev, true, dma, 1, DK_MASTER_FAULT_PERMISSION, 0);
            other = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);
            assert_int_equal(dma_mapping_error(dev, other), 0);
            /* The addresses are not given out while they lead to what was there before. */
            assert_true(other + 63 < dma || other >= dma + sizes[i]);
            dma_unmap_single(dev, other, 64, DMA_TO_DEVICE);
        }
        expect(dev, false, dma, 1, DK_MASTER_FAULT_UNMAPPED, 0);
        expect(dev, false, dma + sizes[i] - 1, 1, DK_MASTER_FAULT_UNMAPPED, 0);
        __free_pages(page, MAX_PAGE_ORDER);
        kfree(buffer);
        dk_machine_destroy(machine);
    }
}

/* ---- Contexts ---- */

struct seen {
    char what[512];
    unsigned stack;
};

static void note(const struct dk_report *report, void *data)
{
    struct seen *seen = data;

    snprintf(seen->what, sizeof(seen->what), "%s", report->what);
    seen->stack = report->mapping.stack.count;
}

/* An access by @dev that faults at @dma is explained by a mapping: @what, and @whose. */
static void expect_lead(struct seen *seen, struct device *dev, bool write, dma_addr_t dma, const char *what,
                        const char *whose)
{
    unsigned char byte = 0;

    *seen = (struct seen){ .stack = 0 };
    assert_int_equal(write ? dk_master_write(dev, dma, &byte, 1) : dk_master_read(dev, dma, &byte, 1),
                     -EFAULT);
    if (!strstr(seen->what, what) || !strstr(seen->what, whose))
        fail_msg("%s: no \"%s\" and \"%s\"", seen->what, what, whose);
    assert_true(seen->stack > 0);
}

/* What a child maps its parent reaches, and what one device of a context does all do: a report names the
 * mapping, whoever made it. */
static void faults_lead_to_the_mapping_of_another_device(void **state)
{
    struct dk_machine *machine = machine_on(boards[0]);
    struct device *controller = dk_device_find(machine, "a"), *twin = dk_device_find(machine, "b");
    struct device *interface = device_below(machine, "a", "interface"), *apart = dk_device_find(machine, "c");
    struct device *const accessors[] = { controller, twin, interface };
    char *cpu = kmalloc(4096, GFP_KERNEL);
    struct seen seen;
    char byte;
    int i;

    (void)state;
    dk_check_set_sink(machine, note, &seen);
    for (i = 0; i < 3; i++) {
        const char *whose = accessors[i] == interface ? "" : "mapped for /bus@0/a@0/interface";
        dma_addr_t dma = dma_map_single(interface, cpu, 4096, DMA_TO_DEVICE);

        assert_int_equal(dma_mapping_error(interface, dma), 0);
        expect_lead(&seen, accessors[i], true, dma + 5, "of a mapping that is to-device", whose);
        expect_lead(&seen, accessors[i], false, dma + 4096, "0 bytes past the end of a mapping of 4096",
                    whose);
        expect_lead(&seen, accessors[i], false, virt_to_phys(cpu), "physical address of a mapping", whose);
        dma_unmap_single(interface, dma, 4096, DMA_TO_DEVICE);
        expect_lead(&seen, accessors[i], false, dma + 7, "7 bytes into a mapping of 4096", whose);
    }
    /* Another space is another matter. */
    assert_int_equal(dk_master_read(apart, ~0xfffull & 0xffffffff, &byte, 1), -EFAULT);
    assert_non_null(strstr(seen.what, "where nothing is mapped"));
    assert_int_equal(seen.stack, 0);
    /* One that is gone has nothing to say. */
    dk_device_remove(interface);
    assert_int_equal(dk_master_read(twin, 0x1000, &byte, 1), -EFAULT);
    assert_int_equal(seen.stack, 0);
    kfree(cpu);
    dk_machine_destroy(machine);
}

/* Both reach what either maps, or neither does. */
static void expect_contexts(struct device *one, struct device *two, bool shared)
{
    char *buffer = kmalloc(4096, GFP_KERNEL);
    dma_addr_t first = dma_map_single(one, buffer, 4096, DMA_TO_DEVICE), second;

    assert_int_equal(dma_mapping_error(one, first), 0);
    assert_non_null(iommu_get_domain_for_dev(one));
    assert_int_equal(iommu_get_domain_for_dev(one) == iommu_get_domain_for_dev(two), shared);
    expect(one, false, first, 4096, NO_FAULT, 0);
    expect(two, false, first, 4096, shared ? NO_FAULT : DK_MASTER_FAULT_UNMAPPED, 0);
    second = dma_map_single(two, buffer, 4096, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(two, second), 0);
    if (shared)
        assert_int_not_equal(first, second);
    dma_unmap_single(one, first, 4096, DMA_TO_DEVICE);
    expect(two, false, second, 4096, NO_FAULT, 0);
    expect(one, false, second, 4096, shared ? NO_FAULT : DK_MASTER_FAULT_UNMAPPED, 0);
    dma_unmap_single(two, second, 4096, DMA_TO_DEVICE);
    kfree(buffer);
}

static void an_id_is_a_context(void **state)
{
    static const char *const pci[] = { "/pcie@20000000/f@1,0", "/pcie@20000000/f@3,0",
                                       "/pcie@20000000/f@3,1" };
    struct dk_machine *machine = machine_that_faults(boards[0], NULL);
    struct device *a = dk_device_find(machine, "a"), *b = dk_device_find(machine, "b");
    struct device *c = dk_device_find(machine, "c"), *d = dk_device_find(machine, "d");
    struct device *f[3], *added[2], *below;
    char name[24];
    int i;

    (void)state;
    for (i = 0; i < 3; i++) {
        f[i] = dk_device_find(machine, pci[i]);
        assert_non_null(f[i]);
    }
    expect_contexts(a, b, true);
    expect_contexts(a, c, false);
    expect_contexts(a, d, false);
    expect_contexts(f[0], f[1], false);
    expect_contexts(f[1], f[2], true);
    expect_contexts(f[0], a, false);
    /* No row has this one: it maps directly. */
    assert_null(iommu_get_domain_for_dev(dk_device_find(machine, "/pcie@20000000/f@10,0")));
    expect_contexts(dk_device_find(machine, "/pcie@20000000/f@103,0"), f[1], true);
    assert_null(iommu_get_domain_for_dev(dk_device_find(machine, "plain")));
    assert_null(iommu_get_domain_for_dev(NULL));
    for (i = 0; i < 2; i++) {
        snprintf(name, sizeof(name), "added-%d", i);
        added[i] = device_below(machine, "pcie", name);
    }
    expect_contexts(added[0], added[1], false);
    /* What hangs on a device is one with it. */
    below = device_below(machine, "a", "below");
    expect_contexts(below, b, true);
    below = dk_device_add(added[0], "below");
    expect_contexts(below, added[0], true);
    expect_contexts(below, added[1], false);
    dk_machine_destroy(machine);
}

/* ---- Addresses ---- */

static void addresses_come_from_the_top_of_the_mask(void **state)
{
    static const unsigned masks[] = { 16, 20, 24, 30, 32, 36, 48, 64 };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        struct dk_machine *machine = machine_on(boards[0]);
        struct device *dev = dk_device_find(machine, "a");
        u64 top = DMA_BIT_MASK(masks[i] > 48 ? 48 : masks[i]);
        char *buffer = kmalloc(8192, GFP_KERNEL);
        dma_addr_t dma, handle;
        void *cpu;

        assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(masks[i])), 0);
        dma = dma_map_single(dev, buffer, 8192, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        assert_true(dma + 8191 <= top && dma >= top - top / 4);
        cpu = dma_alloc_coherent(dev, 8192, &handle, GFP_KERNEL);
        assert_non_null(cpu);
        assert_true(handle + 8191 <= top && handle >= top - top / 4);
        dma_free_coherent(dev, 8192, cpu, handle);
        dma_unmap_single(dev, dma, 8192, DMA_TO_DEVICE);
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* Coherent memory keeps to the coherent mask, all else to the streaming one. */
static void each_mask_bounds_its_own(void **state)
{
    static const unsigned masks[][2] = { { 32, 24 }, { 24, 32 } };
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct dk_machine *machine = machine_on(boards[0]);
        struct device *dev = dk_device_find(machine, "a");
        u64 streaming = DMA_BIT_MASK(masks[i][0]), coherent = DMA_BIT_MASK(masks[i][1]);
        char *buffer = kmalloc(4096, GFP_KERNEL), *cpu;
        struct sg_table *table;
        struct page *page;
        dma_addr_t dma;

        assert_int_equal(dma_set_mask(dev, streaming), 0);
        assert_int_equal(dma_set_coherent_mask(dev, coherent), 0);
        cpu = dma_alloc_coherent(dev, 20000, &dma, GFP_KERNEL);
        assert_non_null(cpu);
        assert_true(dma + 19999 <= coherent);
        dma_free_coherent(dev, 20000, cpu, dma);
        dma = dma_map_single(dev, buffer, 4096, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        assert_true(dma <= streaming);
        dma_unmap_single(dev, dma, 4096, DMA_TO_DEVICE);
        page = dma_alloc_pages(dev, 8192, &dma, DMA_TO_DEVICE, GFP_KERNEL);
        assert_non_null(page);
        assert_true(dma <= streaming);
        dma_free_pages(dev, 8192, page, dma, DMA_TO_DEVICE);
        table = dma_alloc_noncontiguous(dev, 20000, DMA_TO_DEVICE, GFP_KERNEL, 0);
        assert_non_null(table);
        dma = sg_dma_address(table->sgl);
        assert_true(dma <= streaming);
        dma_free_noncontiguous(dev, 20000, table, DMA_TO_DEVICE);
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void a_mask_without_an_address_is_refused(void **state)
{
    static const struct {
        const char *board;
        u64 mask;
        bool taken;
    } cases[] = {
        { BOARD("dma-coherent;", ""), 0x1fff, true },
        { BOARD("dma-coherent;", ""), 0xfff, false },
        { BOARD("dma-coherent;", "dma-ranges = <0x100000 0x40000000 0x100000>;"), 0xfffff, false },
        { BOARD("dma-coherent;", "dma-ranges = <0x100000 0x40000000 0x100000>;"), 0x100fff, true },
        { BOARD("dma-coherent;",
                "dma-ranges = <0x800000 0x40000000 0x100000>, <0x100000 0x40000000 0x100000>;"),
          0x1fffff, true },
        { BOARD("dma-coherent;", "dma-ranges = <0x0 0x40000000 0x100000>;"), 0xfff, false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_on(cases[i].board);
        struct device *dev = dk_device_find(machine, "a");

        if (dma_supported(dev, cases[i].mask) != cases[i].taken)
            fail_msg("case %zu", i);
        assert_int_equal(dma_set_mask(dev, cases[i].mask), cases[i].taken ? 0 : -EIO);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* Pages of @dev at addresses of its own until there are none; returns how many, with the mappings in @dma. */
static unsigned map_all(struct device *dev, struct page *page, dma_addr_t *dma, unsigned most)
{
    unsigned count = 0;

    while (count < most) {
        dma[count] = dma_map_page_attrs(dev, page, 0, PAGE_SIZE, DMA_TO_DEVICE, DMA_ATTR_NO_WARN);
        if (dma_mapping_error(dev, dma[count]))
            break;
        count++;
    }
    return count;
}

/* Windows with a hole between them, and below them: all their addresses are given out, and no other. */
static void windows_bound_the_addresses(void **state)
{
    static const struct {
        const char *windows;
        struct {
            u64 first, pages;
        } holds[3];
    } cases[] = {
        { "dma-ranges = <0x100000 0x40000000 0x10000>;", { { 0x100000, 16 } } },
        { "dma-ranges = <0x80000000 0x40000000 0x8000>, <0x100000 0x40000000 0x10000>;",
          { { 0x100000, 16 }, { 0x80000000, 8 } } },
        { "dma-ranges = <0x10000 0x40000000 0x3000>, <0x13000 0x40100000 0x2000>, <0xfffff000 0x40000000 0x1000>;",
          { { 0x10000, 5 }, { 0xfffff000, 1 } } },
        /* Page 0 is no address. */
        { "dma-ranges = <0x0 0x40000000 0x4000>;", { { 0x1000, 3 } } },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char dts[4096];
        struct dk_machine *machine;
        struct device *dev;
        struct page *page;
        dma_addr_t dma[64];
        unsigned count, expected = 0, at, window;

        snprintf(dts, sizeof(dts), BOARD("dma-coherent;", "%s"), cases[i].windows);
        machine = machine_that_faults(dts, NULL);
        dev = dk_device_find(machine, "c");
        page = alloc_page(GFP_KERNEL);
        count = map_all(dev, page, dma, 64);
        for (window = 0; window < 3; window++) {
            expected += (unsigned)cases[i].holds[window].pages;
            for (at = 0; at < cases[i].holds[window].pages; at++) {
                u64 address = cases[i].holds[window].first + at * PAGE_SIZE;
                unsigned found = 0, k;

                for (k = 0; k < count; k++)
                    found += dma[k] == address;
                if (found != 1)
                    fail_msg("case %zu: 0x%llx is given out %u times", i, (unsigned long long)address, found);
            }
        }
        assert_int_equal(count, expected);
        /* Beyond the windows the bus refuses, before the IOMMU sees anything. */
        expect(dev, false, 0x40000000, 1, DK_MASTER_FAULT_BUS, 0);
        while (count--)
            dma_unmap_page(dev, dma[count], PAGE_SIZE, DMA_TO_DEVICE);
        expect(dev, false, cases[i].holds[0].first, 1, DK_MASTER_FAULT_UNMAPPED, 0);
        __free_page(page);
        dk_machine_destroy(machine);
    }
}

/* Addresses that a device's windows leave out bar it from a space as long as a mapping has them, and not
 * while they only wait for their unmap or in quarantine. */
static void a_narrower_device_joins_a_space(void **state)
{
    static const char *const arguments[] = { NULL, "iommu.strict=0" };
    char dts[4096];
    int round;

    (void)state;
    snprintf(dts, sizeof(dts), BOARD("dma-coherent;", "%s"), "dma-ranges = <0x10000000 0x40000000 0x10000>;");
    for (round = 0; round < 4; round++) {
        struct dk_machine *machine = machine_with(dts, arguments[round % 2], 0, 1 + round / 2);
        struct device *wide = dk_device_find(machine, "/pcie@20000000/f@1,0");
        struct device *narrow = dk_device_find(machine, "c");
        struct dma_iommu_mapping *space = arm_iommu_create_mapping(wide, 0x10000000, 128 << 10);
        struct page *page = alloc_page(GFP_KERNEL);
        struct log_lines lines;
        dma_addr_t dma[33];
        unsigned count;

        assert_false(IS_ERR(space));
        assert_int_equal(arm_iommu_attach_device(wide, space), 0);
        count = map_all(wide, page, dma, 33);
        assert_int_equal(count, 32);
        keep_log(&lines);
        assert_int_equal(arm_iommu_attach_device(narrow, space), -EBUSY);
        assert_int_equal(lines.count, 1);
        assert_non_null(strstr(lines.text, "are in use in its IOMMU space"));
        drop_log();
        while (count--)
            dma_unmap_page(wide, dma[count], PAGE_SIZE, DMA_TO_DEVICE);
        assert_int_equal(arm_iommu_attach_device(narrow, space), 0);
        count = map_all(narrow, page, dma, 33);
        assert_int_equal(count, 16);
        while (count--)
            dma_unmap_page(narrow, dma[count], PAGE_SIZE, DMA_TO_DEVICE);
        arm_iommu_detach_device(narrow);
        arm_iommu_detach_device(wide);
        arm_iommu_release_mapping(space);
        __free_page(page);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* A full space says so, and serves again when something is given back. Lazily too: what waits is given back
 * first. */
static void addresses_run_out_and_come_back(void **state)
{
    static const char *const arguments[] = { NULL, "iommu.strict=0" };
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct dk_machine *machine = machine_with(boards[0], arguments[i], 0, 1);
        struct device *dev = dk_device_find(machine, "a");
        struct dma_iommu_mapping *space = arm_iommu_create_mapping(dev, 0x10000000, 64 << 10);
        struct page *page = alloc_pages(GFP_KERNEL, 4);
        struct scatterlist list[2];
        struct log_lines lines;
        dma_addr_t dma[17], whole;
        unsigned count, round;

        assert_false(IS_ERR(space));
        assert_int_equal(arm_iommu_attach_device(dev, space), 0);
        for (round = 0; round < 3; round++) {
            count = map_all(dev, page, dma, 17);
            assert_int_equal(count, 16);
            keep_log(&lines);
            assert_int_equal(dma_map_page(dev, page, 0, 100, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
            assert_int_equal(lines.count, 1);
            assert_non_null(strstr(lines.text, "no 100 bytes of IOMMU addresses"));
            sg_init_table(list, 2);
            sg_set_page(&list[0], page, 100, 0);
            sg_set_page(&list[1], page, 100, 200);
            assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 0);
            assert_null(dma_alloc_coherent(dev, 100, &whole, GFP_KERNEL));
            assert_true(lines.count >= 3);
            keep_log(&lines);
            assert_int_equal(dma_map_page_attrs(dev, page, 0, 100, DMA_TO_DEVICE, DMA_ATTR_NO_WARN),
                             DMA_MAPPING_ERROR);
            assert_int_equal(dma_map_sg_attrs(dev, list, 2, DMA_TO_DEVICE, DMA_ATTR_NO_WARN), 0);
            assert_null(dma_alloc_attrs(dev, 100, &whole, GFP_KERNEL, DMA_ATTR_NO_WARN));
            assert_int_equal(lines.count, 0);
            drop_log();
            dma_unmap_page(dev, dma[7], PAGE_SIZE, DMA_TO_DEVICE);
            dma[7] = dma_map_page(dev, page, 100, 200, DMA_TO_DEVICE);
            assert_int_equal(dma_mapping_error(dev, dma[7]), 0);
            dma_unmap_page(dev, dma[7], 200, DMA_TO_DEVICE);
            while (count--) {
                if (count != 7)
                    dma_unmap_page(dev, dma[count], PAGE_SIZE, DMA_TO_DEVICE);
            }
            whole = dma_map_page(dev, page, 0, 64 << 10, DMA_TO_DEVICE);
            assert_int_equal(dma_mapping_error(dev, whole), 0);
            assert_int_equal(whole, 0x10000000);
            dma_unmap_page(dev, whole, 64 << 10, DMA_TO_DEVICE);
        }
        arm_iommu_detach_device(dev);
        arm_iommu_release_mapping(space);
        __free_pages(page, 4);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* ---- Other devices' registers ---- */

struct model {
    uint64_t offset, value;
    unsigned width, writes, reads;
};

static uint64_t read_model(void *data, uint64_t offset, unsigned width)
{
    struct model *model = data;

    model->offset = offset;
    model->width = width;
    model->reads++;
    return 0x11223344;
}

static void write_model(void *data, uint64_t offset, unsigned width, uint64_t value)
{
    struct model *model = data;

    model->offset = offset;
    model->width = width;
    model->value = value;
    model->writes++;
}

static void registers_are_reached_through_a_mapping(void **state)
{
    static const struct dk_register_ops ops = { read_model, write_model };
    static const char *const devices[] = { "a", "plain" };
    size_t board, i;

    (void)state;
    for (board = 0; board < 4; board++) {
        struct dk_machine *machine =
            machine_that_faults(boards[board & 1], board & 2 ? "iommu.passthrough=1" : NULL);
        struct device *other = dk_device_find(machine, "c");
        struct model model = { 0 };
        struct resource *resource;

        assert_int_equal(dk_registers_add(other, 0x2000, &ops, &model), 0);
        resource = platform_get_resource(to_platform_device(other), IORESOURCE_MEM, 0);
        assert_non_null(resource);
        for (i = 0; i < 2; i++) {
            struct device *dev = dk_device_find(machine, devices[i]);
            u32 value = 0xa1b2c3d4;
            dma_addr_t dma;

            memset(&model, 0, sizeof(model));
            assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(64)), 0);
            dma = dma_map_resource(dev, resource->start + 0x1010, 0x20, DMA_BIDIRECTIONAL, 0);
            assert_int_equal(dma_mapping_error(dev, dma), 0);
            assert_int_equal(dma & (PAGE_SIZE - 1), 0x10);
            assert_int_equal(dk_master_write(dev, dma + 4, &value, 4), 0);
            assert_int_equal(model.writes, 1);
            assert_int_equal(model.offset, 0x1014);
            assert_int_equal(model.width, 4);
            assert_int_equal(model.value, 0xa1b2c3d4);
            assert_int_equal(dk_master_read(dev, dma + 8, &value, 4), 0);
            assert_int_equal(model.reads, 1);
            assert_int_equal(model.offset, 0x1018);
            assert_int_equal(value, 0x11223344);
            dma_unmap_resource(dev, dma, 0x20, DMA_BIDIRECTIONAL, 0);
            if (iommu_get_domain_for_dev(dev)) {
                expect(dev, true, dma + 4, 4, DK_MASTER_FAULT_UNMAPPED, 0);
                dma = dma_map_resource(dev, resource->start, 0x2000, DMA_TO_DEVICE, 0);
                assert_int_equal(dma_mapping_error(dev, dma), 0);
                expect(dev, true, dma + 4, 4, DK_MASTER_FAULT_PERMISSION, 0);
                expect(dev, false, dma + 0x1ffc, 4, NO_FAULT, 0);
                expect(dev, false, dma + 0x2000, 4, DK_MASTER_FAULT_UNMAPPED, 0);
                dma_unmap_resource(dev, dma, 0x2000, DMA_TO_DEVICE, 0);
                assert_int_equal(model.writes, 1);
            }
            /* Memory is no register, and a range that wraps is none. */
            assert_int_equal(dma_map_resource(dev, 0x40000000, 0x20, DMA_BIDIRECTIONAL, 0),
                             DMA_MAPPING_ERROR);
            assert_int_equal(dma_map_resource(dev, ~0ull - 7, 0x20, DMA_BIDIRECTIONAL, 0), DMA_MAPPING_ERROR);
        }
        dk_machine_destroy(machine);
    }
}

/* ---- A device that goes ---- */

/* What it left mapped is reported and out of its reach; who shares the context goes on. */
static void a_device_that_goes_leaves_the_space_to_the_others(void **state)
{
    struct dk_machine *machine = machine_that_faults(boards[0], NULL);
    struct device *a = dk_device_find(machine, "a"), *b = dk_device_find(machine, "b");
    char *buffer = kmalloc(4096, GFP_KERNEL), *cpu;
    dma_addr_t left, mine, coherent;
    unsigned i;

    (void)state;
    mine = dma_map_single(b, buffer, 4096, DMA_TO_DEVICE);
    left = dma_map_single(a, buffer, 4096, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(a, left), 0);
    assert_int_equal(dma_mapping_error(b, mine), 0);
    cpu = dma_alloc_coherent(a, 20000, &coherent, GFP_KERNEL);
    assert_non_null(cpu);
    assert_int_equal(dk_check_count(machine, NULL), 0);
    dk_device_remove(a);
    assert_true(dk_check_count(machine, "leak-at-remove") >= 1);
    expect(a, false, left, 1, DK_MASTER_FAULT_OTHER, 0);
    assert_int_equal(dma_map_single(a, buffer, 4096, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    dma_unmap_single(a, left, 4096, DMA_TO_DEVICE);
    expect(b, false, mine, 4096, NO_FAULT, 0);
    for (i = 0; i < 100; i++) {
        dma_addr_t more = dma_map_single(b, buffer, 4096, DMA_BIDIRECTIONAL);

        assert_int_equal(dma_mapping_error(b, more), 0);
        assert_true(more != left && more != coherent);
        expect(b, true, more, 4096, NO_FAULT, 0);
        dma_unmap_single(b, more, 4096, DMA_BIDIRECTIONAL);
        expect(b, true, more, 1, DK_MASTER_FAULT_UNMAPPED, 0);
    }
    dma_unmap_single(b, mine, 4096, DMA_TO_DEVICE);
    kfree(buffer);
    dk_machine_destroy(machine);
}

/* ---- Context ---- */

struct sleeper {
    struct device *dev, *plain;
    struct dma_iommu_mapping *space;
    struct sg_table *table;
};

static void create(struct sleeper *s)
{
    s->space = arm_iommu_create_mapping(s->dev, 0x100000, 1 << 20);
}

static void create_for_a_bus(struct sleeper *s)
{
    s->space = arm_iommu_create_mapping((struct device *)NULL, 0x100000, 1 << 20);
}

static void attach(struct sleeper *s)
{
    assert_int_equal(arm_iommu_attach_device(s->dev, s->space), 0);
}

static void detach(struct sleeper *s)
{
    arm_iommu_detach_device(s->dev);
}

static void release(struct sleeper *s)
{
    arm_iommu_release_mapping(s->space);
}

static void free_table(struct sleeper *s)
{
    dma_free_noncontiguous(s->dev, 8192, s->table, DMA_TO_DEVICE);
}

static void register_bounce(struct sleeper *s)
{
    assert_int_equal(dmabounce_register_dev(s->plain, 512, 4096, NULL), 0);
}

static void unregister_bounce(struct sleeper *s)
{
    dmabounce_unregister_dev(s->plain);
}

/* Calls that may sleep are reported under a spinlock, each once, and nowhere else. */
static void calls_that_may_sleep_are_watched(void **state)
{
    static void (*const calls[])(struct sleeper * s) = {
        free_table,        create, attach, detach, release, create_for_a_bus, release, register_bounce,
        unregister_bounce,
    };
    int locked;
    size_t i;

    (void)state;
    for (locked = 0; locked < 2; locked++) {
        struct dk_machine *machine = machine_that_faults(boards[0], NULL);
        struct sleeper s = { .dev = dk_device_find(machine, "a"), .plain = dk_device_find(machine, "plain") };
        spinlock_t lock;

        spin_lock_init(&lock);
        s.table = dma_alloc_noncontiguous(s.dev, 8192, DMA_TO_DEVICE, GFP_KERNEL, 0);
        assert_non_null(s.table);
        for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
            unsigned long before = dk_check_count(machine, "sleeps-in-atomic");

            if (locked)
                spin_lock(&lock);
            calls[i](&s);
            if (locked)
                spin_unlock(&lock);
            if (dk_check_count(machine, "sleeps-in-atomic") - before != (unsigned long)locked)
                fail_msg("call %zu: %lu reports", i, dk_check_count(machine, "sleeps-in-atomic") - before);
        }
        assert_int_equal(dk_machine_destroy(machine), locked * i);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_direction_is_a_permission),
        cmocka_unit_test(neighbours_are_reached_to_the_end_of_the_page),
        cmocka_unit_test(a_mapping_ends_with_its_last_page),
        cmocka_unit_test(a_list_goes_to_its_last_page),
        cmocka_unit_test(a_boundary_within_a_page_is_the_drivers),
        cmocka_unit_test(unmapping_ends_accesses_under_way),
        cmocka_unit_test(unmapping_waits_for_what_has_begun),
        cmocka_unit_test(what_is_undone_faults),
        cmocka_unit_test(faults_lead_to_the_mapping_of_another_device),
        cmocka_unit_test(a_lazy_iommu_forgets_late),
        cmocka_unit_test(an_id_is_a_context),
        cmocka_unit_test(addresses_come_from_the_top_of_the_mask),
        cmocka_unit_test(each_mask_bounds_its_own),
        cmocka_unit_test(a_mask_without_an_address_is_refused),
        cmocka_unit_test(windows_bound_the_addresses),
        cmocka_unit_test(a_narrower_device_joins_a_space),
        cmocka_unit_test(addresses_run_out_and_come_back),
        cmocka_unit_test(registers_are_reached_through_a_mapping),
        cmocka_unit_test(a_device_that_goes_leaves_the_space_to_the_others),
        cmocka_unit_test(calls_that_may_sleep_are_watched),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("api-iommu", tests, NULL, NULL);
}
