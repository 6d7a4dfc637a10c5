/* SPDX-License-Identifier: MIT */
/*
 * The transfer table of the back ends that do more than add an offset: IOMMUs and bounce buffers.
 */
#include "transfer.h"

#include <dmakit/iommu.h>

/* RAM from 0 to 64 MiB and from 4 GiB to 4 GiB + 64 MiB, an IOMMU, and a device on a bus with the properties
 * @bus. */
#define HIGH_AND_LOW(coherence, bus, nic)                                                                                        \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"high and low\"; compatible = \"dmakit,test\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x4000000 1 0 0 0x4000000>; };"                                          \
    " mmu: iommu@f0000000 { compatible = \"arm,mmu-401\"; reg = <0 0xf0000000 0 0x10000>; #iommu-cells = <1>; };"                \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; ranges; " bus                                \
    " nic@0 { compatible = \"dmakit,nic\"; " nic " }; };"                                                                        \
    " aliases { nic = \"/bus@0/nic@0\"; }; };"
#define BEHIND "iommus = <&mmu 0x10>;"
#define IOMMU(coherence) HIGH_AND_LOW(coherence, "", BEHIND)
/* Addresses from 1 MiB to 16 MiB and a GiB at 2 GiB: masks and windows together. */
#define IOMMU_HOLES(coherence)                                                                        \
    HIGH_AND_LOW(coherence,                                                                           \
                 "dma-ranges = <0 0x100000 0 0x100000 0 0xf00000>, <0 0x80000000 0 0 0 0x40000000>;", \
                 BEHIND)

/* What a Raspberry Pi 4's old peripherals see: its first GiB at 3 GiB. */
#define FIRST_GIB(coherence)                                                                                                     \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"first GiB\"; compatible = \"dmakit,test\"; " coherence    \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x80000000>; };"                                                         \
    " soc { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges = <0x7e000000 0 0xfe000000 0x1800000>;" \
    "  dma-ranges = <0xc0000000 0 0 0x40000000>; nic@7e000000 { compatible = \"dmakit,nic\"; reg = <0x7e000000 0x1000>; }; };"   \
    " aliases { nic = \"/soc/nic@7e000000\"; }; };"

#define RESTRICTED(coherence)                                                                                                  \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"restricted\"; compatible = \"dmakit,test\"; " coherence \
    " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"                                            \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"                                                      \
    "  pool: pool@41000000 { compatible = \"restricted-dma-pool\"; reg = <0x41000000 0x400000>; }; };"                         \
    " nic@0 { compatible = \"dmakit,nic\"; memory-region = <&pool>; }; aliases { nic = \"/nic@0\"; }; };"

/* An SA-1111 on a bus that shows its masters all memory: only its erratum makes them bounce. Of the first MiB
 * the bounce buffers leave nothing. */
#define COMPANION(coherence)                                                                                                  \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"companion\"; compatible = \"dmakit,test\"; " coherence \
    " memory@c0000000 { device_type = \"memory\"; reg = <0xc0000000 0x2000000>; };"                                           \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; taken@c0000000 { reg = <0xc0000000 0xc0000>; }; };"  \
    " companion@40000000 { compatible = \"intel,sa1111\", \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"   \
    "  nic@40000400 { compatible = \"dmakit,nic\"; }; }; aliases { nic = \"/companion@40000000/nic@40000400\"; }; };"

/* ---- What each row is about ---- */

static bool is_translated(struct device *dev, phys_addr_t phys, dma_addr_t dma)
{
    return dma != phys && iommu_iova_to_phys(iommu_get_domain_for_dev(dev), dma) == phys;
}

static bool is_in_holes(struct device *dev, phys_addr_t phys, dma_addr_t dma)
{
    return is_translated(dev, phys, dma) &&
           ((dma >= 0x100000 && dma < 0x1000000) || (dma >= 0x80000000 && dma < 0xc0000000));
}

static bool is_direct(struct device *dev, phys_addr_t phys, dma_addr_t dma)
{
    return !iommu_get_domain_for_dev(dev) && dma == phys;
}

/* Memory above 4 GiB through an address below: what a mask of 64 bits needs no bounce buffer for. */
static bool is_bounced_if_narrow(struct device *dev, phys_addr_t phys, dma_addr_t dma)
{
    if (phys >> 32 == 0)
        return false;
    return dma_get_mask(dev) >> 32 ? dma == phys && !dma_need_sync(dev, dma) == dev->dma_coherent
                                   : dma >> 32 == 0 && dma_need_sync(dev, dma);
}

static bool is_bounced(struct device *dev, phys_addr_t phys, dma_addr_t dma)
{
    return dma != phys && dma_need_sync(dev, dma);
}

static bool is_in_first_gib(struct device *dev, phys_addr_t phys, dma_addr_t dma)
{
    return phys >= 0x40000000 && dma >= 0xc0000000 && is_bounced(dev, phys, dma);
}

static bool is_in_restricted_pool(struct device *dev, phys_addr_t phys, dma_addr_t dma)
{
    return dma >= 0x41000000 && dma < 0x41400000 && is_bounced(dev, phys, dma);
}

static bool is_in_first_mib(struct device *dev, phys_addr_t phys, dma_addr_t dma)
{
    return phys >= 0xc0100000 && dma >= 0xc0000000 && dma < 0xc0100000 && is_bounced(dev, phys, dma);
}

/* ---- Buffers that large leaves map ---- */

/*
 * A buffer over 3 MiB that begins at byte @first of 4 MiB: in the first page, its addresses are aligned as
 * its memory is, and leaves of 2 MiB serve; else only those of 4 KiB.
 */
static void move_large_from(struct device *dev, size_t first)
{
    static const size_t at[] = { 0, 100000, (2u << 20) - 4000, (3u << 20) - 8000 };
    struct page *page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
    size_t size = 3u << 20, part = 8000;
    dma_addr_t dma;
    unsigned i;
    char *cpu;

    assert_non_null(page);
    cpu = (char *)page_address(page) + first;
    for (i = 0; i < 4; i++)
        fill(cpu + at[i], part, 30 + i);
    dma = dma_map_page(dev, page, first, size, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dma & ((4u << 20) - 1), first & (PAGE_SIZE - 1));
    for (i = 0; i < 4; i++) {
        assert_true(transfer_to_device(dev, dma + at[i], part, 30 + i));
        transfer_from_device(dev, dma + at[i], part, 40 + i);
    }
    dma_unmap_page(dev, dma, size, DMA_BIDIRECTIONAL);
    for (i = 0; i < 4; i++)
        assert_true(filled(cpu + at[i], part, 40 + i));
    __free_pages(page, MAX_PAGE_ORDER);
}

/* ---- Lists that are merged ---- */

#define ENTRIES 9

struct entry {
    unsigned offset, length;
};

struct list_case {
    const char *name;
    struct entry entries[ENTRIES]; /* length 0 ends them */
    unsigned max_seg_size;         /* 0: 64 KiB */
    unsigned long boundary;        /* 0: 4 GiB */
    unsigned segments[ENTRIES];    /* their lengths; 0 ends them */
};

static const struct list_case lists[] = {
    { "whole pages are one segment", { { 0, 4096 }, { 0, 4096 }, { 0, 4096 } }, 0, 0, { 12288 } },
    { "a short end may be last, a late start first",
      { { 100, 3996 }, { 0, 4096 }, { 0, 10 } },
      0,
      0,
      { 8102 } },
    { "an end within a page ends the segment",
      { { 0, 4096 }, { 0, 100 }, { 0, 4096 } },
      0,
      0,
      { 4196, 4096 } },
    { "so does a start", { { 0, 4096 }, { 8, 4088 }, { 0, 4096 } }, 0, 0, { 4096, 8184 } },
    { "an offset beyond the first page", { { 4096 + 96, 4000 }, { 0, 4096 } }, 0, 0, { 8096 } },
    { "the longest segment", { { 0, 4096 }, { 0, 4096 }, { 0, 4096 } }, 8192, 0, { 8192, 4096 } },
    { "just too long", { { 0, 4096 }, { 0, 4096 }, { 0, 4096 } }, 12287, 0, { 8192, 4096 } },
    { "a boundary of 8 KiB",
      { { 0, 4096 }, { 0, 4096 }, { 0, 4096 }, { 0, 4096 }, { 0, 4096 } },
      0,
      0x1fff,
      { 8192, 8192, 4096 } },
    { "entries that a boundary would cut",
      { { 0, 4096 }, { 0, 8192 }, { 0, 4096 } },
      0,
      0x1fff,
      { 4096, 8192, 4096 } },
    { "a boundary of a page", { { 0, 4096 }, { 0, 4096 } }, 0, 0xfff, { 4096, 4096 } },
    { "a boundary within a page merges nothing",
      { { 0, 1024 }, { 3072, 1024 }, { 0, 1024 } },
      0,
      0x3ff,
      { 1024, 1024, 1024 } },
    { "nine that never meet",
      { { 0, 100 },
        { 0, 100 },
        { 0, 100 },
        { 0, 100 },
        { 0, 100 },
        { 0, 100 },
        { 0, 100 },
        { 0, 100 },
        { 0, 100 } },
      0,
      0,
      { 100, 100, 100, 100, 100, 100, 100, 100, 100 } },
    { "nine entries",
      { { 0, 4096 },
        { 0, 4096 },
        { 0, 4096 },
        { 0, 4096 },
        { 0, 4096 },
        { 0, 4096 },
        { 0, 4096 },
        { 0, 4096 },
        { 0, 4096 } },
      0,
      0,
      { 36864 } },
};

/* A list of the case's entries in pages that do not follow one another; chained after the fourth entry. */
static int make_list(const struct list_case *list, struct scatterlist *first, struct scatterlist *second,
                     struct page **pages)
{
    int count = 0, i;
    struct scatterlist *sg;

    while (count < ENTRIES && list->entries[count].length)
        count++;
    sg_init_table(first, 5);
    sg_init_table(second, ENTRIES - 4);
    if (count > 4)
        sg_chain(first, 5, second);
    sg = first;
    for (i = 0; i < count; i++) {
        pages[i] = alloc_pages(GFP_KERNEL, 2);
        assert_non_null(pages[i]);
        sg_set_page(sg, pages[i], list->entries[i].length, list->entries[i].offset);
        fill(sg_virt(sg), sg->length, 50 + (unsigned)i);
        if (i == count - 1)
            sg_mark_end(sg);
        else
            sg = sg_next(sg);
    }
    return count;
}

/* The segments are those of the case, and none breaks a limit. */
static void check_segments(struct device *dev, const struct list_case *list, struct scatterlist *sgl,
                           int mapped)
{
    unsigned long boundary = dma_get_seg_boundary(dev);
    struct scatterlist *sg;
    int i;

    for_each_sg (sgl, sg, mapped, i) {
        dma_addr_t first = sg_dma_address(sg), last = first + sg_dma_len(sg) - 1;

        if (sg_dma_len(sg) != list->segments[i])
            fail_msg("%s: segment %d of %d has %u bytes", list->name, i, mapped, sg_dma_len(sg));
        assert_true(sg_dma_len(sg) <= dma_get_max_seg_size(dev));
        assert_true((first & ~(u64)boundary) == (last & ~(u64)boundary));
    }
    if (mapped < ENTRIES)
        assert_int_equal(list->segments[mapped], 0);
}

static void move_list(struct device *dev, const struct list_case *list)
{
    struct scatterlist first[5], second[ENTRIES - 4], *sg, *segment;
    struct page *pages[ENTRIES];
    int count = make_list(list, first, second, pages), mapped, i;
    unsigned char bytes[16384];
    unsigned at = 0;

    assert_int_equal(dma_set_max_seg_size(dev, list->max_seg_size ? list->max_seg_size : 65536), 0);
    assert_int_equal(dma_set_seg_boundary(dev, list->boundary ? list->boundary : 0xffffffff), 0);
    mapped = (int)dma_map_sg(dev, first, count, DMA_BIDIRECTIONAL);
    check_segments(dev, list, first, mapped);
    /* Each entry's bytes are where the segments put them. */
    segment = first;
    for_each_sg (first, sg, count, i) {
        if (at == sg_dma_len(segment)) {
            segment = sg_next(segment);
            at = 0;
        }
        assert_int_equal(dk_master_read(dev, sg_dma_address(segment) + at, bytes, sg->length), 0);
        assert_true(filled(bytes, sg->length, 50 + (unsigned)i));
        fill(bytes, sg->length, 60 + (unsigned)i);
        assert_int_equal(dk_master_write(dev, sg_dma_address(segment) + at, bytes, sg->length), 0);
        at += sg->length;
    }
    dma_sync_sg_for_cpu(dev, first, count, DMA_BIDIRECTIONAL);
    for_each_sg (first, sg, count, i) {
        assert_true(filled(sg_virt(sg), sg->length, 60 + (unsigned)i));
        fill(sg_virt(sg), sg->length, 70 + (unsigned)i);
    }
    dma_sync_sg_for_device(dev, first, count, DMA_BIDIRECTIONAL);
    assert_int_equal(dk_master_read(dev, sg_dma_address(first), bytes, first->length), 0);
    assert_true(filled(bytes, first->length, 70));
    dma_unmap_sg(dev, first, count, DMA_BIDIRECTIONAL);
    for (i = 0; i < count; i++)
        __free_pages(pages[i], 2);
    assert_int_equal(dma_set_max_seg_size(dev, 65536), 0);
    assert_int_equal(dma_set_seg_boundary(dev, 0xffffffff), 0);
}

static void move_large_and_lists(struct device *dev)
{
    size_t i;

    move_large_from(dev, 57);
    move_large_from(dev, 12345);
    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
        move_list(dev, &lists[i]);
}

/* ---- The table ---- */

#define BOTH(name, board, smallest, memory, arguments, is_right, more)                                     \
    { name ", coherent",                                                                                   \
      board("dma-coherent;"),                                                                              \
      smallest,                                                                                            \
      true,                                                                                                \
      false,                                                                                               \
      memory,                                                                                              \
      arguments,                                                                                           \
      NULL,                                                                                                \
      is_right,                                                                                            \
      more },                                                                                              \
    {                                                                                                      \
        name ", non-coherent", board("dma-noncoherent;"), smallest, false, false, memory, arguments, NULL, \
            is_right, more                                                                                 \
    }
#define PLAIN(coherence) HIGH_AND_LOW(coherence, "", "")
#define SMALL(coherence) SMALL_BOARD(coherence, "ranges;")

static const struct transfer_row rows[] = {
    BOTH("IOMMU", IOMMU, 24, TRANSFER_ANY, NULL, is_translated, move_large_and_lists),
    BOTH("IOMMU, windows", IOMMU_HOLES, 24, TRANSFER_ANY, NULL, is_in_holes, NULL),
    BOTH("lazy IOMMU", IOMMU, 24, TRANSFER_ANY, "iommu.strict=0", is_translated, move_large_and_lists),
    BOTH("passthrough", IOMMU, 30, TRANSFER_LOW, "iommu.passthrough=1", is_direct, NULL),
    BOTH("memory above the mask", PLAIN, 30, TRANSFER_ANY, NULL, is_bounced_if_narrow, NULL),
    BOTH("swiotlb=force", SMALL, 32, TRANSFER_ANY, "swiotlb=force", is_bounced, NULL),
    BOTH("the first GiB at 3 GiB", FIRST_GIB, 32, TRANSFER_ANY, NULL, is_in_first_gib, NULL),
    BOTH("restricted pool", RESTRICTED, 32, TRANSFER_ANY, NULL, is_in_restricted_pool, NULL),
    BOTH("SA-1111", COMPANION, 32, TRANSFER_ANY, NULL, is_in_first_mib, NULL),
};

static void every_cell_moves_bytes_both_ways(void **state)
{
    (void)state;
    transfer_table(rows, sizeof(rows) / sizeof(rows[0]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_moves_bytes_both_ways),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("transfer-back-ends", tests, NULL, NULL);
}
