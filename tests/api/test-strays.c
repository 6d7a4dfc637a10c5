/* SPDX-License-Identifier: MIT */
/*
 * A device's accesses that no mapping of the driver's covers, and those that one does.
 */
#include "class-cases.h"

/* What boards have. PLAIN: no IOMMU; LINEAR: the DMA address is the physical one, so that neighbours in
 * memory are neighbours to the device; HIGH: memory above 4 GiB; MOVED: physical addresses are no DMA
 * addresses. */
enum { PLAIN = 1, LINEAR = 2, HIGH = 4, MOVED = 8, TRANSLATED = 16 };

static const struct class_board boards[] = {
    { COHERENT_BOARD, NULL, PLAIN | LINEAR },
    { NONCOHERENT_BOARD, NULL, PLAIN | LINEAR },
    { COHERENT_BOARD, "swiotlb=force", PLAIN },
    { NONCOHERENT_BOARD, "swiotlb=force", PLAIN },
    { HIGH_BOARD, NULL, PLAIN | LINEAR | HIGH },
    { OFFSET_BOARD, NULL, PLAIN | MOVED },
    { BEHIND_IOMMU_BOARD("dma-coherent;"), NULL, TRANSLATED },
    { BEHIND_IOMMU_BOARD("dma-noncoherent;"), "iommu.strict=0", TRANSLATED },
    { BEHIND_IOMMU_BOARD("dma-coherent;"), "iommu.passthrough=1", PLAIN | LINEAR },
};

static char bytes[4096];

/* ---- After unmapping ---- */

static void after_unmap_bad(struct scene *scene)
{
    dma_addr_t dma = class_map(scene, 256, DMA_FROM_DEVICE);

    assert_int_equal(dk_master_write(scene->dev, dma, bytes, 256), 0);
    dma_unmap_single(scene->dev, dma, 256, DMA_FROM_DEVICE);
    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 64, bytes, 64)), 0);
}

/* The ring was long, and the device comes back to its first buffer. */
static void long_after_unmap_bad(struct scene *scene)
{
    struct page *page = alloc_page(GFP_KERNEL);
    dma_addr_t dma = dma_map_page(scene->dev, page, 0, 4096, DMA_FROM_DEVICE), other;
    int i;

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    dma_unmap_page(scene->dev, dma, 4096, DMA_FROM_DEVICE);
    for (i = 0; i < 200; i++) {
        other = class_map(scene, 256, DMA_FROM_DEVICE);
        dma_unmap_single(scene->dev, other, 256, DMA_FROM_DEVICE);
    }
    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 2048, bytes, 64)), 0);
    __free_page(page);
}

static void after_free_bad(struct scene *scene)
{
    dma_addr_t dma;
    void *cpu = dma_alloc_coherent(scene->dev, 8192, &dma, GFP_KERNEL);

    assert_non_null(cpu);
    dma_free_coherent(scene->dev, 8192, cpu, dma);
    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 4096, bytes, 4)), 0);
}

/* Mapped again, by the time the device comes. */
static void again_good(struct scene *scene)
{
    dma_addr_t dma;
    int i;

    for (i = 0; i < 100; i++) {
        dma = class_map(scene, 256, DMA_FROM_DEVICE);
        assert_int_equal(dk_master_write(scene->dev, dma, bytes, 256), 0);
        dma_sync_single_for_cpu(scene->dev, dma, 256, DMA_FROM_DEVICE);
        dma_sync_single_for_device(scene->dev, dma, 256, DMA_FROM_DEVICE);
        assert_int_equal(dk_master_write(scene->dev, dma + 255, bytes, 1), 0);
        dma_unmap_single(scene->dev, dma, 256, DMA_FROM_DEVICE);
    }
}

/* ---- Next to a mapping ---- */

static void past_end_bad(struct scene *scene)
{
    dma_addr_t dma = class_map(scene, 200, DMA_BIDIRECTIONAL);

    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 100, bytes, 104)), 0);
    dma_unmap_single(scene->dev, dma, 200, DMA_BIDIRECTIONAL);
}

/* Access by access, and into what was mapped before. */
static void walks_off_bad(struct scene *scene)
{
    dma_addr_t dma, before;
    int i;

    before = dma_map_single(scene->dev, scene->buffer + 256, 256, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(scene->dev, before), 0);
    dma_unmap_single(scene->dev, before, 256, DMA_FROM_DEVICE);
    dma = class_map(scene, 256, DMA_FROM_DEVICE);
    for (i = 0; i < 4; i++)
        assert_int_equal(dk_master_write(scene->dev, dma + (dma_addr_t)i * 64, bytes, 64), 0);
    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 256, bytes, 64)), 0);
    dma_unmap_single(scene->dev, dma, 256, DMA_FROM_DEVICE);
}

static void before_start_bad(struct scene *scene)
{
    dma_addr_t dma = dma_map_single(scene->dev, scene->buffer + 128, 64, DMA_BIDIRECTIONAL);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma - 16, bytes, 16)), 0);
    dma_unmap_single(scene->dev, dma, 64, DMA_BIDIRECTIONAL);
}

/* Off the end of the bus's window: what is before it moves. */
static void off_window_bad(struct scene *scene)
{
    struct page *last = NULL;
    dma_addr_t dma;

    while (!last || page_to_phys(last) != 0x41fff000) {
        last = alloc_page(GFP_KERNEL);
        assert_non_null(last);
    }
    dma = dma_map_page(scene->dev, last, 0, 4096, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 4000, bytes, 128)), -EFAULT);
}

/* The same, from a mapping of one byte. */
static void off_window_from_a_byte_bad(struct scene *scene)
{
    struct page *last = NULL;
    dma_addr_t dma;

    while (!last || page_to_phys(last) != 0x41fff000) {
        last = alloc_page(GFP_KERNEL);
        assert_non_null(last);
    }
    dma = dma_map_page(scene->dev, last, 4095, 1, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma, bytes, 2)), -EFAULT);
}

/* One burst over two mappings that meet; a read of the rest of the last word. */
static void neighbours_good(struct scene *scene)
{
    dma_addr_t first = class_map(scene, 256, DMA_BIDIRECTIONAL);
    dma_addr_t second = dma_map_single(scene->dev, scene->buffer + 256, 250, DMA_BIDIRECTIONAL);
    struct scatterlist sgs[4];
    struct scatterlist *sg;
    int i, mapped;

    assert_int_equal(dma_mapping_error(scene->dev, second), 0);
    if (second == first + 256)
        assert_int_equal(dk_master_write(scene->dev, first + 128, bytes, 300), 0);
    assert_int_equal(dk_master_read(scene->dev, second + 248, bytes, 8), 0);
    dma_unmap_single(scene->dev, first, 256, DMA_BIDIRECTIONAL);
    dma_unmap_single(scene->dev, second, 250, DMA_BIDIRECTIONAL);
    sg_init_table(sgs, 4);
    for (i = 0; i < 4; i++)
        sg_set_buf(&sgs[i], scene->buffer + 1024 * i, 1024);
    mapped = dma_map_sg(scene->dev, sgs, 4, DMA_FROM_DEVICE);
    assert_true(mapped > 0);
    for_each_sg (sgs, sg, mapped, i)
        assert_int_equal(dk_master_write(scene->dev, sg_dma_address(sg), bytes, sg_dma_len(sg)), 0);
    dma_unmap_sg(scene->dev, sgs, 4, DMA_FROM_DEVICE);
}

/* ---- Against the direction ---- */

static void writes_bad(struct scene *scene)
{
    dma_addr_t dma = class_map(scene, 256, DMA_TO_DEVICE);

    assert_int_equal(AT(scene, dk_master_write(scene->dev, dma + 8, bytes, 4)), 0);
    dma_unmap_single(scene->dev, dma, 256, DMA_TO_DEVICE);
}

static void reads_bad(struct scene *scene)
{
    dma_addr_t dma = class_map(scene, 256, DMA_FROM_DEVICE);

    assert_int_equal(AT(scene, dk_master_read(scene->dev, dma + 8, bytes, 4)), 0);
    dma_unmap_single(scene->dev, dma, 256, DMA_FROM_DEVICE);
}

/* A word whose other bytes are somebody else's is read to be written; two mappings of one buffer permit what
 * either does. */
static void direction_good(struct scene *scene)
{
    bool word = strcmp(dev_name(scene->dev), "nic@1") != 0;
    dma_addr_t dma = class_map(scene, 254, DMA_FROM_DEVICE), to;

    if (word) {
        assert_int_equal(dk_master_read(scene->dev, dma + 248, bytes, 8), 0);
        assert_int_equal(dk_master_read(scene->dev, dma + 252, bytes, 2), 0);
    }
    dma_unmap_single(scene->dev, dma, 254, DMA_FROM_DEVICE);
    dma = class_map(scene, 64, DMA_TO_DEVICE);
    to = class_map(scene, 64, DMA_BIDIRECTIONAL);
    assert_int_equal(dk_master_read(scene->dev, dma, bytes, 64), 0);
    assert_int_equal(dk_master_write(scene->dev, to, bytes, 64), 0);
    dma_unmap_single(scene->dev, dma, 64, DMA_TO_DEVICE);
    dma_unmap_single(scene->dev, to, 64, DMA_BIDIRECTIONAL);
}

/* ---- Never mapped ---- */

static void by_hand_bad(struct scene *scene)
{
    struct page *page = alloc_page(GFP_KERNEL);

    assert_int_equal(AT(scene, dk_master_write(scene->dev, page_to_phys(page), bytes, 64)), 0);
    __free_page(page);
}

/* All that a device may access without dma_map_*(): what was allocated for it, by itself or a device below.
 */
static void other_memory_good(struct scene *scene)
{
    struct device *below = dk_device_add(scene->dev, "interface");
    struct dma_pool *pool = dma_pool_create("ring", scene->dev, 48, 16, 0);
    dma_addr_t coherent, block, piece, pages, mapped;
    void *cpu = dma_alloc_coherent(scene->dev, 4096, &coherent, GFP_KERNEL);
    void *element = dma_pool_alloc(pool, GFP_KERNEL, &block);
    void *small = dma_alloc(scene->dev, 100, &piece, GFP_KERNEL);
    struct page *page = dma_alloc_pages(scene->dev, 4096, &pages, DMA_BIDIRECTIONAL, GFP_KERNEL);

    assert_false(IS_ERR(below));
    assert_true(cpu && element && small && page);
    assert_int_equal(dk_master_write(scene->dev, coherent + 4092, bytes, 4), 0);
    assert_int_equal(dk_master_read(scene->dev, coherent, bytes, 4096), 0);
    assert_int_equal(dk_master_write(scene->dev, block, bytes, 48), 0);
    assert_int_equal(dk_master_read(scene->dev, block + 47, bytes, 1), 0);
    assert_int_equal(dk_master_write(scene->dev, piece, bytes, 100), 0);
    assert_int_equal(dk_master_write(scene->dev, pages, bytes, 4096), 0);
    mapped = dma_map_single(below, scene->buffer, 512, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(below, mapped), 0);
    assert_int_equal(dk_master_write(scene->dev, mapped, bytes, 512), 0);
    dma_unmap_single(below, mapped, 512, DMA_FROM_DEVICE);
    dma_free_pages(scene->dev, 4096, page, pages, DMA_BIDIRECTIONAL);
    dma_free(scene->dev, small, piece);
    dma_pool_free(pool, element, block);
    dma_pool_destroy(pool);
    dma_free_coherent(scene->dev, 4096, cpu, coherent);
}

/* ---- Addresses that were damaged ---- */

static dma_addr_t map_high(struct scene *scene, phys_addr_t from)
{
    struct page *page = NULL;
    dma_addr_t dma;
    int i;

    assert_int_equal(dma_set_mask_and_coherent(scene->dev, DMA_BIT_MASK(64)), 0);
    for (i = 0; i < 65536 && (!page || page_to_phys(page) < from); i++)
        page = alloc_page(GFP_KERNEL);
    assert_true(page && page_to_phys(page) >= from);
    dma = dma_map_page(scene->dev, page, 0, 4096, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    assert_true(dma >> 32);
    return dma;
}

static void low_bits_bad(struct scene *scene)
{
    dma_addr_t dma = map_high(scene, 1ull << 32);

    assert_int_equal(AT(scene, dk_master_write(scene->dev, (u32)dma, bytes, 64)), 0);
}

static void low_bits_further_bad(struct scene *scene)
{
    dma_addr_t dma = map_high(scene, 1ull << 32);

    assert_int_equal(AT(scene, dk_master_write(scene->dev, (u32)(dma + 1024), bytes, 64)), 0);
}

static void physical_bad(struct scene *scene)
{
    class_map(scene, 64, DMA_BIDIRECTIONAL);
    assert_int_equal(AT(scene, dk_master_write(scene->dev, virt_to_phys(scene->buffer) + 4, bytes, 4)),
                     -EFAULT);
}

static void cpu_bad(struct scene *scene)
{
    class_map(scene, 64, DMA_BIDIRECTIONAL);
    assert_int_equal(AT(scene, dk_master_read(scene->dev, (uintptr_t)scene->buffer, bytes, 4)), -EFAULT);
}

/* Some address space of the device's is above 32 bits behind an IOMMU, too. */
static void translated_low_bits_bad(struct scene *scene)
{
    dma_addr_t dma, other;

    assert_int_equal(dma_set_mask_and_coherent(scene->dev, DMA_BIT_MASK(48)), 0);
    dma = class_map(scene, 64, DMA_BIDIRECTIONAL);
    other = (u32)dma;
    assert_true(dma >> 32);
    assert_int_equal(AT(scene, dk_master_read(scene->dev, other, bytes, 4)), -EFAULT);
}

/* ---- More entries than segments ---- */

static void confused_bad(struct scene *scene)
{
    struct page *pages[2] = { alloc_page(GFP_KERNEL), alloc_page(GFP_KERNEL) };
    struct scatterlist sgs[2], *sg;
    int i;

    sg_init_table(sgs, 2);
    sg_set_page(&sgs[0], pages[0], 4096, 0);
    sg_set_page(&sgs[1], pages[1], 4096, 0);
    assert_int_equal(dma_map_sg(scene->dev, sgs, 2, DMA_TO_DEVICE), 1);
    for_each_sg (sgs, sg, 2, i)
        AT(scene, (void)dk_master_read(scene->dev, sg_dma_address(sg), bytes, sg->length));
}

static void not_confused_good(struct scene *scene)
{
    struct page *pages[2] = { alloc_page(GFP_KERNEL), alloc_page(GFP_KERNEL) };
    struct scatterlist sgs[2], *sg;
    int i, mapped;

    sg_init_table(sgs, 2);
    sg_set_page(&sgs[0], pages[0], 4096, 0);
    sg_set_page(&sgs[1], pages[1], 4096, 0);
    mapped = dma_map_sg(scene->dev, sgs, 2, DMA_TO_DEVICE);
    assert_true(mapped > 0);
    for_each_sg (sgs, sg, mapped, i)
        assert_int_equal(dk_master_read(scene->dev, sg_dma_address(sg), bytes, 4096), 0);
    dma_unmap_sg(scene->dev, sgs, 2, DMA_TO_DEVICE);
    __free_page(pages[0]);
    __free_page(pages[1]);
}

static const struct class_case cases[] = {
    { "device-access-after-unmap", after_unmap_bad, again_good, PLAIN, 2 },
    { "device-access-after-unmap", long_after_unmap_bad, again_good, PLAIN, 2 },
    { "device-access-after-unmap", after_free_bad, other_memory_good, PLAIN, 2 },
    { "device-access-out-of-range", past_end_bad, neighbours_good, 0, 2 },
    { "device-access-out-of-range", walks_off_bad, neighbours_good, LINEAR, 2 },
    { "device-access-out-of-range", before_start_bad, neighbours_good, LINEAR, 2 },
    { "device-access-out-of-range", before_start_bad, neighbours_good, TRANSLATED, 2 },
    { "device-access-wrong-direction", writes_bad, direction_good, PLAIN, 2 },
    { "device-access-wrong-direction", reads_bad, direction_good, PLAIN, 2 },
    { "device-access-unmapped", by_hand_bad, other_memory_good, LINEAR, 2 },
    { "address-truncated", low_bits_bad, again_good, HIGH, 2 },
    { "address-truncated", low_bits_further_bad, again_good, HIGH, 2 },
    { "address-truncated", physical_bad, again_good, MOVED, 2 },
    { "address-truncated", cpu_bad, again_good, PLAIN, 2 },
    { "address-truncated", translated_low_bits_bad, again_good, TRANSLATED, 1 },
    { "sg-nents-confused", confused_bad, not_confused_good, TRANSLATED, 1 },
};

#define CASES (sizeof(cases) / sizeof(cases[0]))
#define BOARDS (sizeof(boards) / sizeof(boards[0]))

static void each_mistake_is_reported_where_it_stands(void **state)
{
    (void)state;
    class_mistakes(cases, CASES, boards, BOARDS, "test-strays.c");
}

static void each_correct_twin_is_silent(void **state)
{
    (void)state;
    class_twins(cases, CASES, boards, BOARDS);
}

static void an_overrun_off_the_window_is_one_too(void **state)
{
    static const struct class_board half = {
        SMALL_BOARD("dma-coherent;", "ranges; dma-ranges = <0x0 0x40000000 0x2000000>;"), "swiotlb=noforce", 0
    };
    static const struct class_case off[] = {
        { "device-access-out-of-range", off_window_bad, again_good, 0, 2 },
        { "device-access-out-of-range", off_window_from_a_byte_bad, again_good, 0, 2 },
    };

    (void)state;
    class_mistakes(off, 2, &half, 1, "test-strays.c");
}

static void note_bytes(const struct dk_report *report, void *data)
{
    u64 *noted = data;

    noted[0]++;
    noted[1] = report->mapping.size;
    noted[2] = report->bytes.offset;
    noted[3] = report->bytes.length;
}

/* What it then ran over is mapped by accident: the driver gave the device the first one's address. */
static void an_overrun_is_the_mappings_where_it_began(void **state)
{
    u64 noted[4] = { 0 };
    struct scene scene = { 0 };
    dma_addr_t first, second;

    (void)state;
    scene.machine = machine_with(boards[0].dts, boards[0].arguments, 0, 2);
    scene.dev = dk_device_find(scene.machine, "nic");
    scene.buffer = kmalloc(4096, GFP_KERNEL);
    dk_check_set_sink(scene.machine, note_bytes, noted);
    first = class_map(&scene, 256, DMA_BIDIRECTIONAL);
    second = dma_map_single(scene.dev, scene.buffer + 256, 64, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(scene.dev, second), 0);
    assert_int_equal(dk_master_write(scene.dev, first, bytes, 320), 0);
    assert_int_equal(noted[0], 0);
    assert_int_equal(dk_master_write(scene.dev, first, bytes, 384), 0);
    assert_int_equal(noted[0], 1);
    assert_int_equal(noted[1], 256);
    assert_int_equal(noted[2], 256);
    assert_int_equal(noted[3], 128);
    assert_int_equal(dk_master_write(scene.dev, second, bytes, 128), 0);
    assert_int_equal(noted[0], 2);
    assert_int_equal(noted[1], 64);
    assert_int_equal(noted[3], 64);
    dma_unmap_single(scene.dev, first, 256, DMA_BIDIRECTIONAL);
    dma_unmap_single(scene.dev, second, 64, DMA_BIDIRECTIONAL);
    dk_machine_destroy(scene.machine);
}

struct named {
    char class_name[64], what[512];
    u64 offset, length, dma;
};

static void note_names(const struct dk_report *report, void *data)
{
    struct named *named = data;

    snprintf(named->class_name, sizeof(named->class_name), "%s", report->class_name);
    snprintf(named->what, sizeof(named->what), "%s", report->what);
    named->offset = report->bytes.offset;
    named->length = report->bytes.length;
    named->dma = report->bytes.dma;
}

/* Bytes of the buffer, of which [256, 456) is mapped; [512, 768) was. */
static void what_strays_is_named_to_the_byte(void **state)
{
    static const struct {
        enum dma_data_direction direction;
        bool write;
        u64 at, size;
        const char *class_name; /* NULL: nothing strays */
        u64 offset, length, dma;
        const char *did, *where; /* around the address */
    } cases[] = {
        { DMA_BIDIRECTIONAL, true, 256, 200, NULL, 0, 0, 0, NULL, NULL },
        { DMA_BIDIRECTIONAL, true, 256, 201, "device-access-out-of-range", 200, 1, 456, "wrote 201 bytes",
          ", the last 1 of them past the end of a mapping of 200 at " },
        { DMA_BIDIRECTIONAL, true, 460, 4, "device-access-out-of-range", 204, 4, 460, "wrote 4 bytes",
          ", 4 bytes past the end of a mapping of 200 at " },
        { DMA_BIDIRECTIONAL, false, 250, 6, "device-access-out-of-range", 0, 6, 250, "read 6 bytes",
          ", 6 bytes before a mapping of 200 at " },
        { DMA_FROM_DEVICE, false, 264, 16, "device-access-wrong-direction", 8, 16, 264, "read 16 bytes",
          " of a mapping that is from-device" },
        { DMA_TO_DEVICE, true, 455, 1, "device-access-wrong-direction", 199, 1, 455, "wrote 1 bytes",
          " of a mapping that is to-device" },
        { DMA_BIDIRECTIONAL, true, 767, 1, "device-access-after-unmap", 255, 1, 767, "wrote 1 bytes",
          ", 255 bytes into a mapping of 256 that is unmapped" },
        { DMA_BIDIRECTIONAL, false, 512, 8, "device-access-after-unmap", 0, 8, 512, "read 8 bytes",
          ", 0 bytes into a mapping of 256 that is unmapped" },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene scene = { 0 };
        struct named named = { .class_name = "" };
        dma_addr_t start, gone, dma;
        char what[256], mapping[32];

        scene.machine = machine_with(boards[0].dts, boards[0].arguments, 0, 2);
        scene.dev = dk_device_find(scene.machine, "nic");
        scene.buffer = kmalloc(4096, GFP_KERNEL);
        dk_check_set_sink(scene.machine, note_names, &named);
        gone = dma_map_single(scene.dev, scene.buffer + 512, 256, DMA_BIDIRECTIONAL);
        assert_int_equal(dma_mapping_error(scene.dev, gone), 0);
        dma_unmap_single(scene.dev, gone, 256, DMA_BIDIRECTIONAL);
        dma = dma_map_single(scene.dev, scene.buffer + 256, 200, cases[i].direction);
        assert_int_equal(dma_mapping_error(scene.dev, dma), 0);
        start = dma - 256;
        assert_int_equal(cases[i].write
                             ? dk_master_write(scene.dev, start + cases[i].at, bytes, cases[i].size)
                             : dk_master_read(scene.dev, start + cases[i].at, bytes, cases[i].size),
                         0);
        assert_string_equal(named.class_name, cases[i].class_name ? cases[i].class_name : "");
        if (cases[i].class_name) {
            /* Of a mapping that is live the address comes last. */
            snprintf(mapping, sizeof(mapping), "0x%llx", (unsigned long long)dma);
            snprintf(what, sizeof(what), "the device %s at 0x%llx%s%s", cases[i].did,
                     (unsigned long long)(start + cases[i].at), cases[i].where,
                     strstr(cases[i].where, " at ") ? mapping : "");
            assert_string_equal(named.what, what);
            assert_int_equal(named.offset, cases[i].offset);
            assert_int_equal(named.length, cases[i].length);
            assert_int_equal(named.dma, start + cases[i].dma);
        }
        dma_unmap_single(scene.dev, dma, 200, cases[i].direction);
        dk_machine_destroy(scene.machine);
    }
}

struct ended {
    unsigned count;
    char class_name[64], kind[16];
    int line;
};

static void note_end(const struct dk_report *report, void *data)
{
    struct ended *ended = data;
    const struct dk_frames *stack = &report->undone.stack;

    ended->count++;
    snprintf(ended->class_name, sizeof(ended->class_name), "%s", report->class_name);
    snprintf(ended->kind, sizeof(ended->kind), "%s", report->undone.kind ? report->undone.kind : "");
    ended->line = stack->count ? stack->frames[0].line : 0;
}

/* Who unmapped or freed what the device accesses, or the driver unmaps again; nobody did that to what is
 * mapped. */
static void the_end_of_a_mapping_is_told(void **state)
{
    struct ended ended = { 0 };
    struct scene scene = { 0 };
    dma_addr_t dma;
    void *cpu;
    int line;

    (void)state;
    scene.machine = machine_with(boards[0].dts, boards[0].arguments, 0, 2);
    scene.dev = dk_device_find(scene.machine, "nic");
    scene.buffer = kmalloc(4096, GFP_KERNEL);
    dk_check_set_sink(scene.machine, note_end, &ended);
    dma = class_map(&scene, 256, DMA_FROM_DEVICE);
    line = __LINE__ + 1;
    dma_unmap_single(scene.dev, dma, 256, DMA_FROM_DEVICE);
    assert_int_equal(dk_master_write(scene.dev, dma, bytes, 4), 0);
    assert_string_equal(ended.class_name, "device-access-after-unmap");
    assert_string_equal(ended.kind, "unmapped");
    assert_int_equal(ended.line, line);
    dma_unmap_single(scene.dev, dma, 256, DMA_FROM_DEVICE);
    assert_string_equal(ended.class_name, "free-not-allocated");
    assert_string_equal(ended.kind, "unmapped");
    assert_int_equal(ended.line, line);
    cpu = dma_alloc_coherent(scene.dev, 8192, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    line = __LINE__ + 1;
    dma_free_coherent(scene.dev, 8192, cpu, dma);
    assert_int_equal(dk_master_write(scene.dev, dma + 4096, bytes, 4), 0);
    assert_string_equal(ended.kind, "freed");
    assert_int_equal(ended.line, line);
    dma = class_map(&scene, 200, DMA_BIDIRECTIONAL);
    assert_int_equal(dk_master_write(scene.dev, dma + 100, bytes, 104), 0);
    assert_string_equal(ended.class_name, "device-access-out-of-range");
    assert_string_equal(ended.kind, "");
    assert_int_equal(ended.count, 4);
    dma_unmap_single(scene.dev, dma, 200, DMA_BIDIRECTIONAL);
    dk_machine_destroy(scene.machine);
}

/* A sign-extended address leads nowhere on a real bus; on this one the bus says so, and the report why. */
static void a_sign_extended_address_is_told(void **state)
{
    struct class_seen seen = { 0 };
    struct scene scene = { 0 };
    dma_addr_t dma;

    (void)state;
    scene.machine = machine_with(HIGH_BOARD, NULL, 0, 2);
    scene.dev = dk_device_find(scene.machine, "nic");
    dk_check_set_sink(scene.machine, class_note, &seen);
    dma = map_high(&scene, 0xc0000000);
    while (!(dma & 0x80000000) || dma >> 32)
        dma = dma_map_page(scene.dev, alloc_page(GFP_KERNEL), 0, 4096, DMA_TO_DEVICE);
    dma = (dma_addr_t)(s64)(s32)dma + 8;
    assert_int_equal(AT(&scene, dk_master_read(scene.dev, dma, bytes, 8)), -EFAULT);
    assert_int_equal(seen.reports, 1);
    assert_string_equal(seen.class_name, "address-truncated");
    assert_int_equal(seen.line, scene.line);
    dk_machine_destroy(scene.machine);
}

/* Depth 1 does not look at what devices do. */
static void depth_one_does_not_look(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < CASES; i++) {
        struct scene scene = { 0 };
        struct class_seen seen;

        if ((cases[i].needs & boards[0].has) != cases[i].needs)
            continue;
        seen = class_play(cases[i].bad, &boards[0], 1, 0, &scene);
        assert_int_equal(seen.reports, 0);
        dk_machine_destroy(scene.machine);
    }
}

static void count_write(void *model, uint64_t offset, unsigned width, uint64_t value)
{
    (void)offset;
    (void)width;
    (void)value;
    ++*(int *)model;
}

static uint64_t read_zero(void *model, uint64_t offset, unsigned width)
{
    (void)model;
    (void)offset;
    (void)width;
    return 0;
}

/* What a region of the board's holds is not mapped, nor is a device's own memory, nor what others' registers
 * are: an interrupt is a write there. */
static void memory_set_aside_needs_no_mapping(void **state)
{
    struct dk_machine *machine = machine_with(
        "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"m\"; compatible = \"m\"; dma-coherent;"
        " memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x4000000>; };"
        " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;"
        " frame@43000000 { reg = <0x43000000 0x100000>; no-map; };"
        " kept@42000000 { reg = <0x42000000 0x100000>; }; };"
        " nic: nic@0 { compatible = \"dmakit,nic\"; }; aliases { nic = \"/nic@0\"; };"
        " bell@1 { compatible = \"dmakit,bell\"; }; };",
        NULL, 0, 2);
    static const struct dk_register_ops ops = { read_zero, count_write };
    struct device *dev = dk_device_find(machine, "nic"), *bell = dk_device_find(machine, "/bell@1");
    const struct resource *resource;
    int rung = 0;

    (void)state;
    assert_int_equal(dk_registers_add(bell, 0x1000, &ops, &rung), 0);
    resource = platform_get_resource(to_platform_device(bell), IORESOURCE_MEM, 0);
    assert_non_null(resource);
    assert_int_equal(dk_master_write(dev, resource->start + 16, bytes, 4), 0);
    assert_int_equal(rung, 1);
    assert_int_equal(dk_master_write(dev, 0x43000000, bytes, 4096), 0);
    assert_int_equal(dk_master_write(dev, 0x42000ff0, bytes, 4096), 0);
    assert_int_equal(dma_declare_coherent_memory(dev, 0x50000000, 0x50000000, 0x10000), 0);
    assert_int_equal(dk_master_write(dev, 0x50004000, bytes, 4096), 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_reported_where_it_stands),
        cmocka_unit_test(each_correct_twin_is_silent),
        cmocka_unit_test(an_overrun_off_the_window_is_one_too),
        cmocka_unit_test(an_overrun_is_the_mappings_where_it_began),
        cmocka_unit_test(what_strays_is_named_to_the_byte),
        cmocka_unit_test(the_end_of_a_mapping_is_told),
        cmocka_unit_test(a_sign_extended_address_is_told),
        cmocka_unit_test(depth_one_does_not_look),
        cmocka_unit_test(memory_set_aside_needs_no_mapping),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("strays", tests, NULL, NULL);
}
