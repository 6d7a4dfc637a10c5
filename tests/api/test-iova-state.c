/* SPDX-License-Identifier: MIT */
/*
 * Addresses first, memory later: dma_iova_try_alloc() and what follows.
 */
#include "api.h"

#include <dmakit/fail.h>
#include <dmakit/iommu.h>
#include <pthread.h>

#define BOARD(coherence)                                                                                                      \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"addresses\"; compatible = \"dmakit,test\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                           \
    " mmu: iommu@10000000 { compatible = \"arm,mmu-401\"; reg = <0x10000000 0x10000>; #iommu-cells = <1>; };"                 \
    " behind@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 0x10>; }; plain@0 { compatible = \"dmakit,nic\"; };"             \
    " aliases { behind = \"/behind@0\"; plain = \"/plain@0\"; }; };"

static const char *const boards[] = { BOARD("dma-coherent;"), BOARD("dma-noncoherent;") };

static void reads(struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    unsigned char bytes[16384];

    assert_true(size <= sizeof(bytes));
    assert_int_equal(dk_master_read(dev, dma, bytes, size), 0);
    assert_true(filled(bytes, size, tag));
}

static void writes(struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    unsigned char bytes[16384];

    assert_true(size <= sizeof(bytes));
    fill(bytes, size, tag);
    assert_int_equal(dk_master_write(dev, dma, bytes, size), 0);
}

/* The last report. */
struct seen {
    char what[512];
    char direction[32];
    u64 size, offset, dma, length;
    unsigned stack;
};

static void note(const struct dk_report *report, void *data)
{
    struct seen *seen = data;

    snprintf(seen->what, sizeof(seen->what), "%s", report->what);
    snprintf(seen->direction, sizeof(seen->direction), "%s",
             report->mapping.direction ? report->mapping.direction : "");
    seen->size = report->mapping.size;
    seen->offset = report->bytes.offset;
    seen->dma = report->bytes.dma;
    seen->length = report->bytes.length;
    seen->stack = report->mapping.stack.count;
}

static enum dk_master_fault_kind fault_of(struct device *dev, dma_addr_t dma, bool write)
{
    struct dk_master_fault fault;
    unsigned char byte = 0;

    assert_int_equal(write ? dk_master_write(dev, dma, &byte, 1) : dk_master_read(dev, dma, &byte, 1),
                     -EFAULT);
    assert_true(dk_master_last_fault(dev, &fault));
    return fault.kind;
}

/* Pieces of memory from anywhere, the first and last of them short, are one range of addresses. */
static void pieces_are_linked_into_a_range(void **state)
{
    int round;

    (void)state;
    for (round = 0; round < 8; round++) {
        struct dk_machine *machine =
            machine_with(boards[round & 1], round & 4 ? "iommu.strict=0" : NULL, round & 2 ? 5 : 0, 1);
        struct device *dev = dk_device_find(machine, "behind");
        struct page *pages[3] = { alloc_pages(GFP_KERNEL, 1), alloc_pages(GFP_KERNEL, 1),
                                  alloc_pages(GFP_KERNEL, 1) };
        /* 3000 bytes to the end of a page, two whole ones, and 100 bytes. */
        static const size_t first[] = { 1096, 0, 0 }, size[] = { 3000, 8192, 100 }, at[] = { 0, 3000, 11192 };
        phys_addr_t phys[3];
        char *cpu[3];
        struct dma_iova_state range = { 0 };
        int i;

        for (i = 0; i < 3; i++) {
            phys[i] = page_to_phys(pages[i]) + first[i];
            cpu[i] = (char *)page_address(pages[i]) + first[i];
            fill(cpu[i], size[i], (unsigned)i);
        }
        assert_false(dma_use_iova(&range));
        assert_true(dma_iova_try_alloc(dev, &range, phys[0], 11292));
        assert_true(dma_use_iova(&range));
        assert_int_equal(range.addr & (PAGE_SIZE - 1), 1096);
        assert_true(range.addr + 11291 <= dma_get_mask(dev));
        for (i = 0; i < 3; i++)
            assert_int_equal(dma_iova_link(dev, &range, phys[i], at[i], size[i], DMA_BIDIRECTIONAL, 0), 0);
        assert_int_equal(dma_iova_sync(dev, &range, 0, 11292), 0);
        for (i = 0; i < 3; i++) {
            reads(dev, range.addr + at[i], size[i], (unsigned)i);
            writes(dev, range.addr + at[i], size[i], 10 + (unsigned)i);
        }
        dma_sync_single_for_cpu(dev, range.addr + at[1], size[1], DMA_FROM_DEVICE);
        assert_true(filled(cpu[1], size[1], 11));
        /* One after another, or the rest at once. */
        dma_iova_unlink(dev, &range, at[0], size[0], DMA_BIDIRECTIONAL, 0);
        assert_true(filled(cpu[0], size[0], 10));
        if (round & 1) {
            dma_iova_unlink(dev, &range, at[1], size[1], DMA_BIDIRECTIONAL, 0);
            dma_iova_unlink(dev, &range, at[2], size[2], DMA_BIDIRECTIONAL, 0);
            dma_iova_free(dev, &range);
        } else {
            fill(cpu[0], size[0], 20);
            assert_int_equal(dma_iova_link(dev, &range, phys[0], at[0], size[0], DMA_BIDIRECTIONAL, 0), 0);
            reads(dev, range.addr, size[0], 20);
            dma_iova_destroy(dev, &range, 11292, DMA_BIDIRECTIONAL, 0);
        }
        for (i = 1; i < 3; i++)
            assert_true(filled(cpu[i], size[i], 10 + (unsigned)i));
        assert_false(dma_use_iova(&range));
        assert_int_equal(range.addr, 0);
        for (i = 0; i < 3; i++)
            __free_pages(pages[i], 1);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* What is linked is reached as its direction allows, and until it is unlinked; lazily as well. */
static void linking_and_unlinking_take_effect(void **state)
{
    static const char *const arguments[] = { NULL, "iommu.strict=0" };
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct dk_machine *machine = machine_with(boards[0], arguments[i], 0, 1);
        struct device *dev = dk_device_find(machine, "behind");
        struct page *page = alloc_pages(GFP_KERNEL, 1);
        struct dma_iova_state range, other;
        dma_addr_t addr;

        dk_check_set_sink(machine, ignore_report, NULL);
        assert_true(dma_iova_try_alloc(dev, &range, 0, 16384));
        addr = range.addr;
        assert_int_equal(addr & (PAGE_SIZE - 1), 0);
        assert_int_equal(fault_of(dev, addr, false), DK_MASTER_FAULT_UNMAPPED);
        assert_int_equal(dma_iova_link(dev, &range, page_to_phys(page), 0, 4096, DMA_TO_DEVICE, 0), 0);
        assert_int_equal(dma_iova_link(dev, &range, page_to_phys(page), 8192, 4096, DMA_FROM_DEVICE, 0), 0);
        assert_int_equal(dma_iova_sync(dev, &range, 0, 16384), 0);
        writes(dev, addr + 8192, 4096, 3);
        reads(dev, addr, 4096, 3);
        assert_int_equal(fault_of(dev, addr, true), DK_MASTER_FAULT_PERMISSION);
        assert_int_equal(fault_of(dev, addr + 8192, false), DK_MASTER_FAULT_PERMISSION);
        assert_int_equal(fault_of(dev, addr + 4096, false), DK_MASTER_FAULT_UNMAPPED);
        assert_int_equal(fault_of(dev, addr + 12288, true), DK_MASTER_FAULT_UNMAPPED);
        dma_iova_unlink(dev, &range, 0, 4096, DMA_TO_DEVICE, 0);
        assert_int_equal(fault_of(dev, addr, false), DK_MASTER_FAULT_UNMAPPED);
        /* The addresses stay taken. */
        assert_true(dma_iova_try_alloc(dev, &other, 0, 4096));
        assert_true(other.addr + 4096 <= addr || other.addr >= addr + 16384);
        dma_iova_free(dev, &other);
        dma_iova_destroy(dev, &range, 12288, DMA_FROM_DEVICE, 0);
        if (!arguments[i])
            assert_int_equal(fault_of(dev, addr + 8192, true), DK_MASTER_FAULT_UNMAPPED);
        else
            writes(dev, addr + 8192, 100, 4);
        __free_pages(page, 1);
        dk_machine_destroy(machine);
    }
}

/* A report names the range, and the direction that was linked, whatever else is in it. */
static void faults_lead_to_the_range(void **state)
{
    static const struct {
        unsigned at;
        bool write;
        const char *what, *direction;
    } cases[] = {
        { 3, true, "of memory that was linked to-device", "to-device" },
        { 8192, false, "of memory that was linked from-device", "from-device" },
        { 4096, false, "4096 bytes into a range of 16384 at ", "bidirectional" },
        { 12289, true, "where nothing is linked", "bidirectional" },
        { 16384, false, "0 bytes past the end of a mapping of 16384", "bidirectional" },
    };
    struct seen seen;
    size_t i;

    (void)state;
    /* A machine for each: two mistakes of one line are one report. */
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_on(boards[0]);
        struct device *dev = dk_device_find(machine, "behind");
        struct page *page = alloc_page(GFP_KERNEL);
        struct dma_iova_state range;

        dk_check_set_sink(machine, note, &seen);
        seen = (struct seen){ .size = 0 };
        assert_true(dma_iova_try_alloc(dev, &range, 0, 16384));
        assert_int_equal(dma_iova_link(dev, &range, page_to_phys(page), 0, 4096, DMA_TO_DEVICE, 0), 0);
        assert_int_equal(dma_iova_link(dev, &range, page_to_phys(page), 8192, 4096, DMA_FROM_DEVICE, 0), 0);
        fault_of(dev, range.addr + cases[i].at, cases[i].write);
        if (!strstr(seen.what, cases[i].what) || strcmp(seen.direction, cases[i].direction))
            fail_msg("case %zu: %s (%s)", i, seen.what, seen.direction);
        assert_int_equal(seen.size, 16384);
        assert_int_equal(seen.offset, cases[i].at);
        assert_true(seen.stack > 0);
        dma_iova_unlink(dev, &range, 0, 4096, DMA_TO_DEVICE, 0);
        fault_of(dev, range.addr, false);
        assert_non_null(strstr(seen.what, "0 bytes into a range of 16384"));
        assert_true(seen.stack > 0);
        /* A range has no memory of its own, at a low address or any other. */
        fault_of(dev, 0x100, false);
        assert_non_null(strstr(seen.what, "where nothing is mapped"));
        dma_iova_destroy(dev, &range, 12288, DMA_FROM_DEVICE, 0);
        __free_page(page);
        dk_machine_destroy(machine);
    }
}

/* Any part is unlinked without memory, and nothing of a link that fails stays. */
static void unlinking_needs_no_memory(void **state)
{
    const size_t size = 4 << 20, part[] = { 0, 4096, (2 << 20) - 4096, 2 << 20, (4 << 20) - 4096 };
    struct dk_machine *machine = machine_on(boards[0]);
    struct device *dev = dk_device_find(machine, "behind");
    /* Whole blocks, aligned so that the largest leaves could be used. */
    struct page *page = alloc_pages(GFP_KERNEL, 10);
    phys_addr_t phys = page_to_phys(page);
    struct dma_iova_state range;
    unsigned long nth;
    size_t i;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    assert_true(dma_iova_try_alloc(dev, &range, 0, size));
    assert_int_equal((range.addr | phys) & (size - 1), 0);
    for (nth = 1;; nth++) {
        int error;

        dk_fail_nth(nth);
        error = dma_iova_link(dev, &range, phys, 0, size, DMA_TO_DEVICE, 0);
        if (!dk_fail_hits())
            break;
        assert_int_equal(error, -ENOMEM);
        for (i = 0; i < sizeof(part) / sizeof(part[0]); i++)
            assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), range.addr + part[i]), 0);
    }
    dk_fail_nth(0);
    assert_true(nth > 1);
    for (i = 0; i < sizeof(part) / sizeof(part[0]); i++) {
        dk_fail_nth(1);
        dma_iova_unlink(dev, &range, part[i], 4096, DMA_TO_DEVICE, 0);
        dk_fail_nth(0);
        assert_int_equal(fault_of(dev, range.addr + part[i], false), DK_MASTER_FAULT_UNMAPPED);
    }
    assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), range.addr + 8192), phys + 8192);
    /* What is there already stays as it was. */
    dma_iova_unlink(dev, &range, 0, 1 << 20, DMA_TO_DEVICE, 0);
    assert_int_equal(dma_iova_link(dev, &range, phys, 0, size - 4096, DMA_TO_DEVICE, 0), -EEXIST);
    assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), range.addr), 0);
    dma_iova_unlink(dev, &range, 0, 3 << 20, DMA_TO_DEVICE, 0);
    assert_int_equal(dma_iova_link(dev, &range, phys, 0, size - 4096, DMA_TO_DEVICE, 0), -EEXIST);
    assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), range.addr), 0);
    assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), range.addr + (3 << 20)),
                     phys + (3 << 20));
    dma_iova_destroy(dev, &range, size, DMA_TO_DEVICE, 0);
    __free_pages(page, 10);
    dk_machine_destroy(machine);
}

/* Lines move unless the driver says that it does that itself. */
static void skipping_the_sync_skips_it(void **state)
{
    struct dk_machine *machine = machine_on(boards[1]);
    struct device *dev = dk_device_find(machine, "behind");
    struct page *page = alloc_page(GFP_KERNEL);
    char *cpu = page_address(page);
    struct dma_iova_state range;

    (void)state;
    assert_true(dma_iova_try_alloc(dev, &range, 0, 4096));
    fill(cpu, 4096, 1);
    assert_int_equal(dma_iova_link(dev, &range, page_to_phys(page), 0, 4096, DMA_BIDIRECTIONAL, 0), 0);
    reads(dev, range.addr, 4096, 1);
    dma_iova_unlink(dev, &range, 0, 4096, DMA_BIDIRECTIONAL, 0);
    fill(cpu, 4096, 2);
    assert_int_equal(
        dma_iova_link(dev, &range, page_to_phys(page), 0, 4096, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC),
        0);
    reads(dev, range.addr, 4096, 1);
    dma_sync_single_for_device(dev, range.addr, 4096, DMA_TO_DEVICE);
    reads(dev, range.addr, 4096, 2);
    writes(dev, range.addr, 4096, 3);
    dma_iova_unlink(dev, &range, 0, 4096, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
    assert_true(filled(cpu, 4096, 2));
    assert_int_equal(
        dma_iova_link(dev, &range, page_to_phys(page), 0, 4096, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC),
        0);
    dma_iova_destroy(dev, &range, 4096, DMA_BIDIRECTIONAL, 0);
    assert_true(filled(cpu, 4096, 3));
    __free_page(page);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void without_an_iommu_there_is_no_range(void **state)
{
    static const char *const arguments[] = { NULL, "iommu.passthrough=1", "iommu.passthrough=1" };
    static const char *const devices[] = { "plain", "plain", "behind" };
    int i;

    (void)state;
    for (i = 0; i < 3; i++) {
        struct dk_machine *machine = machine_with(boards[0], arguments[i], 0, 1);
        struct device *dev = dk_device_find(machine, devices[i]);
        struct dma_iova_state range = { 77, 77 };

        assert_false(dma_iova_try_alloc(dev, &range, 0, 4096));
        assert_false(dma_use_iova(&range));
        assert_int_equal(dma_iova_link(dev, &range, 0x40000000, 0, 4096, DMA_TO_DEVICE, 0), -EINVAL);
        assert_int_equal(dma_iova_sync(dev, &range, 0, 4096), -EINVAL);
        dma_iova_unlink(dev, &range, 0, 4096, DMA_TO_DEVICE, 0);
        dma_iova_destroy(dev, &range, 4096, DMA_TO_DEVICE, 0);
        dma_iova_free(dev, &range);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void wrong_arguments_are_refused(void **state)
{
    static const struct {
        phys_addr_t phys;
        size_t offset, size;
        enum dma_data_direction direction;
    } links[] = {
        { 0x41000000, 0, 0, DMA_TO_DEVICE },
        { 0x41000000, 0, 20001, DMA_TO_DEVICE },
        { 0x41000000, 20000, 1, DMA_TO_DEVICE },
        { 0x41000000, 8192, SIZE_MAX, DMA_TO_DEVICE },
        { 0x41000000, SIZE_MAX, 2, DMA_TO_DEVICE },
        { 0x41000001, 0, 100, DMA_TO_DEVICE },
        { 0x41000000, 100, 100, DMA_TO_DEVICE },
        { 0x39000000, 0, 4096, DMA_TO_DEVICE },
        { 0x43fff000, 0, 8192, DMA_TO_DEVICE },
        { 0x41000000, 0, 4096, DMA_NONE },
        { 0x41000000, 0, 4096, (enum dma_data_direction)9 },
    };
    struct dk_machine *machine = machine_on(boards[0]);
    struct device *dev = dk_device_find(machine, "behind");
    struct dma_iova_state range = { 0 }, none = { 0 };
    struct log_lines lines;
    dma_addr_t addr;
    size_t i;

    (void)state;
    assert_false(dma_iova_try_alloc(NULL, &range, 0, 4096));
    assert_false(dma_iova_try_alloc(dev, NULL, 0, 4096));
    assert_false(dma_iova_try_alloc(dev, &range, 0, 0));
    assert_false(dma_iova_try_alloc(dev, &range, 0, SIZE_MAX));
    assert_false(dma_iova_try_alloc(dev, &range, 4095, SIZE_MAX - PAGE_SIZE));
    assert_false(dma_iova_try_alloc(dev, &range, 0, (size_t)5 << 30));
    assert_true(dma_iova_try_alloc(dev, &range, 0, 20000));
    addr = range.addr;
    for (i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        if (dma_iova_link(dev, &range, links[i].phys, links[i].offset, links[i].size, links[i].direction,
                          0) != -EINVAL)
            fail_msg("link %zu", i);
    }
    assert_int_equal(dma_iova_link(dev, NULL, 0x41000000, 0, 4096, DMA_TO_DEVICE, 0), -EINVAL);
    assert_int_equal(dma_iova_link(NULL, &range, 0x41000000, 0, 4096, DMA_TO_DEVICE, 0), -EINVAL);
    assert_int_equal(dma_iova_link(dev, &none, 0x41000000, 0, 4096, DMA_TO_DEVICE, 0), -EINVAL);
    assert_int_equal(dma_iova_link(dev, &range, 0x41000000, 4096, 8192, DMA_TO_DEVICE, 0), 0);
    assert_int_equal(dma_iova_link(dev, &range, 0x41004000, 0, 8192, DMA_TO_DEVICE, 0), -EEXIST);
    assert_int_equal(dma_iova_link(dev, &range, 0x41004000, 8192, 1, DMA_TO_DEVICE, 0), -EEXIST);
    assert_int_equal(dma_iova_link(dev, &range, 0x41004000, 0, 4096, DMA_TO_DEVICE, 0), 0);
    assert_int_equal(dma_iova_sync(dev, &range, 0, 20000), 0);
    assert_int_equal(dma_iova_sync(dev, &range, 0, 20001), -EINVAL);
    assert_int_equal(dma_iova_sync(dev, &range, 0, 0), -EINVAL);
    assert_int_equal(dma_iova_sync(dev, &none, 0, 1), -EINVAL);
    keep_log(&lines);
    dma_iova_unlink(dev, &range, 4096, 20000, DMA_TO_DEVICE, 0);
    dma_iova_destroy(dev, &range, 20001, DMA_TO_DEVICE, 0);
    dma_iova_destroy(dev, &none, 0, DMA_TO_DEVICE, 0);
    dma_iova_free(dev, &none);
    assert_int_equal(lines.count, 4);
    drop_log();
    dma_iova_free(dev, NULL);
    dma_iova_destroy(dev, NULL, 0, DMA_TO_DEVICE, 0);
    /* Nothing of it did anything. */
    assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), addr + 4096), 0x41000000);
    assert_true(dma_use_iova(&range));
    dma_iova_destroy(dev, &range, 12288, DMA_TO_DEVICE, 0);
    assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), addr + 4096), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* Addresses run out, and are there again when a range goes. */
static void ranges_run_out(void **state)
{
    static const char *const arguments[] = { NULL, "iommu.strict=0" };
    int i, round;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct dk_machine *machine = machine_with(boards[0], arguments[i], 0, 1);
        struct device *dev = dk_device_find(machine, "behind");
        struct dma_iommu_mapping *space = arm_iommu_create_mapping(dev, 0x100000, 64 << 10);

        assert_int_equal(arm_iommu_attach_device(dev, space), 0);
        for (round = 0; round < 4; round++) {
            struct dma_iova_state range, other = { 5, 5 };

            assert_false(dma_iova_try_alloc(dev, &other, 1, 64 << 10));
            assert_true(dma_iova_try_alloc(dev, &range, 0, 64 << 10));
            assert_int_equal(range.addr, 0x100000);
            assert_false(dma_iova_try_alloc(dev, &other, 0, 1));
            assert_false(dma_use_iova(&other));
            assert_int_equal(dma_iova_link(dev, &range, 0x41000000, 0, 64 << 10, DMA_TO_DEVICE, 0), 0);
            if (round & 1)
                dma_iova_unlink(dev, &range, 0, 64 << 10, DMA_TO_DEVICE, 0);
            dma_iova_destroy(dev, &range, round & 1 ? 0 : 64 << 10, DMA_TO_DEVICE, 0);
        }
        arm_iommu_detach_device(dev);
        arm_iommu_release_mapping(space);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* A range that is never given back, and one that is given back twice, are reported. */
static void leaks_and_second_ends_are_reported(void **state)
{
    struct dk_machine *machine = machine_on(boards[0]);
    struct device *dev = dk_device_find(machine, "behind");
    struct dma_iova_state range, copy;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    assert_true(dma_iova_try_alloc(dev, &range, 0, 8192));
    copy = range;
    dma_iova_free(dev, &range);
    assert_int_equal(dk_check_count(machine, NULL), 0);
    dma_iova_free(dev, &copy);
    assert_int_equal(dk_check_count(machine, NULL), 1);
    assert_true(dma_iova_try_alloc(dev, &range, 0, 8192));
    copy = range;
    dma_iova_destroy(dev, &copy, 0, DMA_TO_DEVICE, 0);
    dma_iova_destroy(dev, &range, 8192, DMA_TO_DEVICE, 0);
    assert_int_equal(dk_check_count(machine, NULL), 2);
    /* A mapping's own call does not end a range. */
    assert_true(dma_iova_try_alloc(dev, &range, 0, 8192));
    dma_unmap_single(dev, range.addr, 8192, DMA_BIDIRECTIONAL);
    assert_true(dk_check_count(machine, NULL) >= 3);
    assert_true(dma_iova_try_alloc(dev, &range, 0, 8192));
    assert_int_equal(dk_check_count(machine, "leak-at-remove"), 0);
    dk_device_remove(dev);
    assert_true(dk_check_count(machine, "leak-at-remove") >= 1);
    /* Too late. */
    assert_int_equal(dma_iova_link(dev, &range, 0x41000000, 0, 4096, DMA_TO_DEVICE, 0), -EINVAL);
    dma_iova_free(dev, &range);
    assert_false(dma_iova_try_alloc(dev, &range, 0, 8192));
    dk_machine_destroy(machine);
}

/* Without the checker too a range goes once: no address is given out twice. */
static void a_copy_does_not_end_a_range_again(void **state)
{
    static const char *const arguments[] = { NULL, "iommu.strict=0" };
    int depth, i, j;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        for (i = 0; i < 2; i++) {
            struct dk_machine *machine = machine_with(boards[0], arguments[i], 0, depth);
            struct device *dev = dk_device_find(machine, "behind");
            struct dma_iova_state range, copy, again[300];

            dk_check_set_sink(machine, ignore_report, NULL);
            assert_true(dma_iova_try_alloc(dev, &range, 0, 4096));
            copy = range;
            dma_iova_free(dev, &range);
            dma_iova_free(dev, &copy);
            assert_true(dma_iova_try_alloc(dev, &range, 100, 8000));
            copy = range;
            dma_iova_destroy(dev, &range, 0, DMA_TO_DEVICE, 0);
            dma_iova_destroy(dev, &copy, 8000, DMA_TO_DEVICE, 0);
            assert_false(dma_use_iova(&copy));
            /* Enough for a lazy one to forget. */
            for (j = 0; j < 300; j++) {
                assert_true(dma_iova_try_alloc(dev, &range, 0, 4096));
                dma_iova_free(dev, &range);
            }
            for (j = 0; j < 300; j++) {
                int other;

                assert_true(dma_iova_try_alloc(dev, &again[j], 0, 4096));
                for (other = 0; other < j; other++)
                    assert_true(again[other].addr != again[j].addr);
            }
            for (j = 0; j < 300; j++)
                dma_iova_free(dev, &again[j]);
            assert_int_equal(dk_check_count(machine, NULL), 2 * depth);
            dk_machine_destroy(machine);
        }
    }
}

struct worker {
    struct device *dev;
    pthread_t thread;
    unsigned failures;
};

/* Ends each range twice; nothing but its own memory may ever be linked in one. */
static void *take_and_end_twice(void *data)
{
    struct worker *worker = data;
    struct page *page = alloc_page(GFP_KERNEL);
    struct dma_iova_state range, copy;
    int i;

    for (i = 0; i < 500; i++) {
        if (!dma_iova_try_alloc(worker->dev, &range, 0, i & 1 ? 8192 : 4096) ||
            dma_iova_link(worker->dev, &range, page_to_phys(page), 0, 4096, DMA_TO_DEVICE, 0) ||
            iommu_iova_to_phys(iommu_get_domain_for_dev(worker->dev), range.addr) != page_to_phys(page))
            worker->failures++;
        copy = range;
        dma_iova_destroy(worker->dev, &range, 4096, DMA_TO_DEVICE, 0);
        /* Another thread may have these addresses now, but then they are another device's. */
        dma_iova_free(worker->dev, &copy);
    }
    __free_page(page);
    return NULL;
}

static void threads_do_not_end_each_others_ranges(void **state)
{
    int depth, i;

    (void)state;
    for (depth = 0; depth < 2; depth++) {
        struct dk_machine *machine = machine_with(boards[0], NULL, 0, depth);
        struct worker workers[4] = { { .failures = 0 } };
        char name[24];

        dk_check_set_sink(machine, ignore_report, NULL);
        for (i = 0; i < 4; i++) {
            snprintf(name, sizeof(name), "part-%d", i);
            workers[i].dev = device_below(machine, "behind", name);
        }
        for (i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&workers[i].thread, NULL, take_and_end_twice, &workers[i]), 0);
        for (i = 0; i < 4; i++) {
            pthread_join(workers[i].thread, NULL);
            assert_int_equal(workers[i].failures, 0);
        }
        assert_int_equal(dk_check_count(machine, "free-not-allocated"), depth * 4 * 500);
        assert_int_equal(dk_machine_destroy(machine), depth * 4 * 500);
    }
}

/* To the last byte, which may be alone in its line. */
static void ending_a_range_gives_the_cpu_what_was_received(void **state)
{
    enum { LENGTH = 2 * 64 + 1 };
    struct dk_machine *machine = machine_on(boards[1]);
    struct device *dev = dk_device_find(machine, "behind");
    struct page *page = alloc_page(GFP_KERNEL);
    struct dma_iova_state range;

    (void)state;
    assert_true(dma_iova_try_alloc(dev, &range, 0, LENGTH));
    assert_int_equal(dma_iova_link(dev, &range, page_to_phys(page), 0, LENGTH, DMA_FROM_DEVICE, 0), 0);
    writes(dev, range.addr, LENGTH, 3);
    assert_false(filled(page_address(page), LENGTH, 3));
    dma_iova_destroy(dev, &range, LENGTH, DMA_FROM_DEVICE, 0);
    assert_true(filled(page_address(page), LENGTH, 3));
    __free_page(page);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* Its addresses are there for the next one. */
static void a_range_that_finds_no_memory_takes_nothing(void **state)
{
    struct dk_machine *machine = machine_with(boards[0], NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "behind");
    struct dma_iova_state range;
    dma_addr_t first;
    unsigned long n, hits = 1;

    (void)state;
    assert_true(dma_iova_try_alloc(dev, &range, 0, 8192));
    first = range.addr;
    dma_iova_free(dev, &range);
    for (n = 1; hits; n++) {
        bool taken;

        dk_fail_nth(n);
        taken = dma_iova_try_alloc(dev, &range, 0, 8192);
        hits = dk_fail_hits();
        dk_fail_nth(0);
        assert_int_equal(taken, !hits);
        if (!taken)
            assert_true(dma_iova_try_alloc(dev, &range, 0, 8192));
        assert_int_equal(range.addr, first);
        dma_iova_free(dev, &range);
    }
    assert_true(n > 2);
    dk_machine_destroy(machine);
}

/* A state is its device's, and only as long as the range is: others neither put memory into it nor take it.
 */
static void a_range_is_its_devices(void **state)
{
    struct dk_machine *machine = machine_on(boards[0]);
    struct device *dev = dk_device_find(machine, "behind"), *twin = device_below(machine, "behind", "twin");
    struct page *page = alloc_page(GFP_KERNEL);
    phys_addr_t phys = page_to_phys(page);
    struct dma_iova_state range, copy;
    struct seen seen;

    (void)state;
    dk_check_set_sink(machine, note, &seen);
    assert_true(dma_iova_try_alloc(dev, &range, 0, 8192));
    copy = range;
    assert_int_equal(dma_iova_link(twin, &copy, phys, 0, 4096, DMA_TO_DEVICE, 0), -EINVAL);
    assert_int_equal(dma_iova_link(dev, &range, phys, 0, 4096, DMA_TO_DEVICE, 0), 0);
    assert_int_equal(dma_iova_sync(twin, &copy, 0, 4096), -EINVAL);
    assert_int_equal(dk_check_count(machine, NULL), 0);
    dma_iova_unlink(twin, &copy, 1024, 2048, DMA_TO_DEVICE, 0);
    assert_int_equal(dk_check_count(machine, "free-not-allocated"), 1);
    assert_int_equal(seen.dma, range.addr + 1024);
    assert_int_equal(seen.length, 2048);
    assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), range.addr), phys);
    dma_iova_destroy(twin, &copy, 4096, DMA_TO_DEVICE, 0);
    assert_int_equal(dk_check_count(machine, "free-not-allocated"), 2);
    assert_int_equal(iommu_iova_to_phys(iommu_get_domain_for_dev(dev), range.addr), phys);
    /* Of another length it is no range of the device's either. */
    copy = (struct dma_iova_state){ range.addr, 4096 };
    assert_int_equal(dma_iova_link(dev, &copy, phys, 0, 4096, DMA_TO_DEVICE, 0), -EINVAL);
    copy = range;
    dma_iova_destroy(dev, &range, 4096, DMA_TO_DEVICE, 0);
    assert_int_equal(dma_iova_link(dev, &copy, phys, 0, 4096, DMA_TO_DEVICE, 0), -EINVAL);
    assert_int_equal(dk_check_count(machine, NULL), 2);
    __free_page(page);
    dk_machine_destroy(machine);
}

/* What is still linked when a range goes is reported, and out of reach. */
static void linked_memory_at_the_end_is_reported(void **state)
{
    static const struct {
        size_t offset, size; /* linked */
        size_t unlinked;     /* by the end; SIZE_MAX: it is dma_iova_free() */
        bool reported;
    } cases[] = {
        { 0, 8192, 8192, false }, { 0, 8192, 8191, false },    { 0, 8192, 4096, true },
        { 0, 8192, 0, true },     { 0, 8192, SIZE_MAX, true }, { 12288, 1, SIZE_MAX, true },
        { 12288, 1, 4096, true }, { 12288, 1, 12289, false },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_on(boards[0]);
        struct device *dev = dk_device_find(machine, "behind");
        struct page *page = alloc_pages(GFP_KERNEL, 1);
        struct dma_iova_state range;
        dma_addr_t addr;

        dk_check_set_sink(machine, ignore_report, NULL);
        assert_true(dma_iova_try_alloc(dev, &range, 0, 16384));
        addr = range.addr + cases[i].offset;
        assert_int_equal(
            dma_iova_link(dev, &range, page_to_phys(page), cases[i].offset, cases[i].size, DMA_TO_DEVICE, 0),
            0);
        if (cases[i].unlinked == SIZE_MAX)
            dma_iova_free(dev, &range);
        else
            dma_iova_destroy(dev, &range, cases[i].unlinked, DMA_TO_DEVICE, 0);
        if (dk_check_count(machine, NULL) != cases[i].reported)
            fail_msg("case %zu: %lu reports", i, dk_check_count(machine, NULL));
        assert_int_equal(dk_check_count(machine, "freed-while-mapped"), cases[i].reported);
        assert_int_equal(fault_of(dev, addr, false), DK_MASTER_FAULT_UNMAPPED);
        __free_pages(page, 1);
        dk_machine_destroy(machine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_linked_into_a_range),
        cmocka_unit_test(linking_and_unlinking_take_effect),
        cmocka_unit_test(faults_lead_to_the_range),
        cmocka_unit_test(unlinking_needs_no_memory),
        cmocka_unit_test(skipping_the_sync_skips_it),
        cmocka_unit_test(without_an_iommu_there_is_no_range),
        cmocka_unit_test(wrong_arguments_are_refused),
        cmocka_unit_test(ranges_run_out),
        cmocka_unit_test(leaks_and_second_ends_are_reported),
        cmocka_unit_test(a_copy_does_not_end_a_range_again),
        cmocka_unit_test(threads_do_not_end_each_others_ranges),
        cmocka_unit_test(ending_a_range_gives_the_cpu_what_was_received),
        cmocka_unit_test(a_range_that_finds_no_memory_takes_nothing),
        cmocka_unit_test(a_range_is_its_devices),
        cmocka_unit_test(linked_memory_at_the_end_is_reported),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("iova-state", tests, NULL, NULL);
}
