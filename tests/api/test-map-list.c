/* SPDX-License-Identifier: MIT */
/*
 * What mapping makes of lists: chained ones, odd ones, those of highmem pages, and those that are only partly
 * in reach.
 */
#include "api.h"

/* RAM below and above 4 GiB. */
#define HIGH_AND_LOW(coherence)                                                                                                  \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"high and low\"; compatible = \"dmakit,test\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x4000000>, <1 0 0 0x4000000>; };"                                       \
    " nic@0 { compatible = \"dmakit,nic\"; }; aliases { nic = \"/nic@0\"; }; };"

static void odd_lists_map_nothing(void **state)
{
    struct dk_machine *machine = machine_on(NONCOHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = kmalloc(4096, GFP_KERNEL);
    struct scatterlist list[3];
    struct log_lines lines;
    int i;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    sg_init_table(list, 3);
    for (i = 0; i < 3; i++)
        sg_set_buf(&list[i], buffer + 1024 * i, 512);
    /* More entries than there are. */
    keep_log(&lines);
    assert_int_equal(dma_map_sg(dev, list, 4, DMA_TO_DEVICE), 0);
    drop_log();
    assert_non_null(strstr(lines.text, "ends after 3 of 4"));
    assert_int_equal(dma_map_sg(dev, list, 0, DMA_TO_DEVICE), 0);
    assert_int_equal(dma_map_sg(dev, list, -1, DMA_TO_DEVICE), 0);
    assert_int_equal(dma_map_sg(dev, NULL, 3, DMA_TO_DEVICE), 0);
    assert_int_equal(dma_map_sg(NULL, list, 3, DMA_TO_DEVICE), 0);
    assert_int_equal(dma_map_sg(dev, list, 3, DMA_NONE), 0);
    /* An entry without bytes; and one that reaches past the end of RAM. */
    list[1].length = 0;
    assert_int_equal(dma_map_sg(dev, list, 3, DMA_TO_DEVICE), 0);
    assert_int_equal(dk_check_count(machine, NULL), 0);
    list[1].length = 0x8000000;
    assert_int_equal(dma_map_sg(dev, list, 3, DMA_TO_DEVICE), 0);
    assert_int_equal(dk_check_count(machine, "maps-invalid-address"), 1);
    list[1].length = 512;
    /* Fewer than there are is fine. */
    assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 2);
    dma_unmap_sg(dev, list, 2, DMA_TO_DEVICE);
    assert_int_equal(dma_map_sg(dev, list, 3, DMA_TO_DEVICE), 3);
    dma_unmap_sg(dev, list, 3, DMA_TO_DEVICE);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

static void memory_of_the_host_is_reported(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = kmalloc(64, GFP_KERNEL), *host = malloc(64);
    struct scatterlist list[2];

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    sg_init_table(list, 2);
    sg_set_buf(&list[0], buffer, 64);
    sg_set_buf(&list[1], host, 64);
    assert_int_equal(dk_check_count(machine, NULL), 0);
    assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 0);
    assert_int_equal(dk_check_count(machine, "maps-invalid-address"), 1);
    free(host);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

static void a_chained_list_is_mapped_whole(void **state)
{
    static const char *const boards[] = { COHERENT_BOARD, NONCOHERENT_BOARD };
    size_t board;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_on(boards[board]);
        struct device *dev = dk_device_find(machine, "nic");
        struct scatterlist first[3], second[3], *sg;
        char *buffers[5];
        unsigned char bytes[300];
        int i;

        sg_init_table(first, 3);
        sg_init_table(second, 3);
        sg_chain(first, 3, second);
        for_each_sg (first, sg, 5, i) {
            buffers[i] = kmalloc(300, GFP_KERNEL);
            fill(buffers[i], 300, (unsigned)i);
            sg_set_buf(sg, buffers[i], 300);
        }
        assert_int_equal(dma_map_sg(dev, first, 5, DMA_BIDIRECTIONAL), 5);
        for_each_sg (first, sg, 5, i) {
            assert_int_equal(sg_dma_address(sg), virt_to_phys(buffers[i]));
            assert_int_equal(sg_dma_len(sg), 300);
            assert_int_equal(dk_master_read(dev, sg_dma_address(sg), bytes, 300), 0);
            assert_true(filled(bytes, 300, (unsigned)i));
            fill(bytes, 300, 10 + (unsigned)i);
            assert_int_equal(dk_master_write(dev, sg_dma_address(sg), bytes, 300), 0);
        }
        dma_sync_sg_for_cpu(dev, first, 5, DMA_BIDIRECTIONAL);
        for (i = 0; i < 5; i++)
            assert_true(filled(buffers[i], 300, 10 + (unsigned)i));
        dma_sync_sg_for_device(dev, first, 5, DMA_BIDIRECTIONAL);
        dma_unmap_sg(dev, first, 5, DMA_BIDIRECTIONAL);
        for (i = 0; i < 5; i++)
            kfree(buffers[i]);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* Pages without a kernel address are mapped like any others. */
static void highmem_pages_are_mapped_and_moved(void **state)
{
    static const char *const boards[] = { COHERENT_BOARD, NONCOHERENT_BOARD };
    size_t board;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_with(boards[board], "highmem=16M", 0, 1);
        struct device *dev = dk_device_find(machine, "nic");
        struct page *pages[3];
        struct scatterlist list[3];
        unsigned char bytes[2048];
        dma_addr_t dma;
        char *seen;
        int i;

        for (i = 0; i < 3; i++) {
            pages[i] = alloc_page(GFP_HIGHUSER);
            assert_non_null(pages[i]);
            assert_true(PageHighMem(pages[i]));
            assert_null(page_address(pages[i]));
            assert_true(page_to_phys(pages[i]) >= 0x43000000);
        }
        seen = kmap(pages[0]);
        assert_non_null(seen);
        fill(seen, 4096, 1);
        dma = dma_map_page(dev, pages[0], 1024, 2048, DMA_BIDIRECTIONAL);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        assert_int_equal(dma, page_to_phys(pages[0]) + 1024);
        assert_int_equal(dk_master_read(dev, dma, bytes, 2048), 0);
        assert_memory_equal(bytes, seen + 1024, 2048);
        fill(bytes, 2048, 2);
        assert_int_equal(dk_master_write(dev, dma, bytes, 2048), 0);
        dma_unmap_page(dev, dma, 2048, DMA_BIDIRECTIONAL);
        assert_true(filled(seen + 1024, 2048, 2));
        kunmap(pages[0]);

        sg_init_table(list, 3);
        for (i = 0; i < 3; i++)
            sg_set_page(&list[i], pages[i], 1000, 100);
        assert_null(sg_virt(&list[0]));
        assert_int_equal(dma_map_sg(dev, list, 3, DMA_FROM_DEVICE), 3);
        for (i = 0; i < 3; i++) {
            fill(bytes, 1000, 3 + (unsigned)i);
            assert_int_equal(dk_master_write(dev, sg_dma_address(&list[i]), bytes, 1000), 0);
        }
        dma_unmap_sg(dev, list, 3, DMA_FROM_DEVICE);
        for (i = 0; i < 3; i++) {
            seen = kmap_local_page(pages[i]);
            assert_non_null(seen);
            assert_true(filled(seen + 100, 1000, 3 + (unsigned)i));
            kunmap_local(seen);
            assert_int_equal(sg_copy_to_buffer(&list[i], 1, bytes, 2000), 1000);
            assert_true(filled(bytes, 1000, 3 + (unsigned)i));
            __free_page(pages[i]);
        }
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* A block of 4 MiB above 4 GiB: what comes first is below, and goes back. */
static struct page *high_block(void)
{
    struct page *blocks[16], *block = NULL;
    int count = 0;

    while (count < 16 && (block = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER)) &&
           page_to_phys(block) < 1ull << 32)
        blocks[count++] = block;
    while (count)
        __free_pages(blocks[--count], MAX_PAGE_ORDER);
    assert_true(block && page_to_phys(block) >= 1ull << 32);
    return block;
}

/* The third of four segments is out of reach: the two before it do not stay mapped, and no CPU data is lost.
 */
static void a_failure_halfway_leaves_nothing_mapped(void **state)
{
    static const char *const boards[] = { HIGH_AND_LOW("dma-coherent;"), HIGH_AND_LOW("dma-noncoherent;") };
    size_t board;

    (void)state;
    for (board = 0; board < 2; board++) {
        struct dk_machine *machine = machine_with(boards[board], "swiotlb=noforce", 0, 1);
        struct device *dev = dk_device_find(machine, "nic");
        struct page *pages[4];
        struct sg_table table;
        struct scatterlist *sg;
        unsigned i;

        assert_int_equal(sg_alloc_table(&table, 4, GFP_KERNEL), 0);
        for_each_sgtable_sg (&table, sg, i) {
            pages[i] = i == 2 ? high_block() : alloc_page(GFP_KERNEL | GFP_DMA32);
            assert_non_null(pages[i]);
            fill(page_address(pages[i]), 4096, i);
            sg_set_page(sg, pages[i], 4096, 0);
        }
        table.nents = 77;
        /* That the device has no more bits is said, so that failing is no mistake. */
        assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(32)), 0);
        assert_int_equal(dma_map_sg(dev, table.sgl, 4, DMA_FROM_DEVICE), 0);
        assert_int_equal(dma_map_sgtable(dev, &table, DMA_FROM_DEVICE, 0), -EIO);
        assert_int_equal(table.nents, 77);
        for (i = 0; i < 4; i++)
            assert_true(filled(page_address(pages[i]), 4096, i));
        /* Within reach it works, twice in a row. */
        assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(64)), 0);
        for (i = 0; i < 2; i++) {
            assert_int_equal(dma_map_sgtable(dev, &table, DMA_TO_DEVICE, 0), 0);
            assert_int_equal(table.nents, 4);
            dma_unmap_sgtable(dev, &table, DMA_TO_DEVICE, 0);
        }
        for (i = 0; i < 4; i++)
            __free_pages(pages[i], i == 2 ? MAX_PAGE_ORDER : 0);
        sg_free_table(&table);
        assert_int_equal(dk_check_count(machine, NULL), 0);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void sgtable_errors_have_their_meaning(void **state)
{
    struct dk_machine *machine = machine_with("hostile.dts", "swiotlb=noforce", 0, 1);
    struct device *good = device_below(machine, "coherent", "good"),
                  *narrow = device_below(machine, "narrow", "narrow");
    char *buffer = kmalloc(64, GFP_KERNEL | GFP_DMA), *far = kmalloc(64, GFP_KERNEL);
    struct sg_table table = { 0 };
    struct scatterlist sg, far_sg;
    struct sg_table far_table = { &far_sg, 0, 1 };

    (void)state;
    assert_non_null(buffer);
    assert_int_equal(dma_map_sgtable(good, NULL, DMA_TO_DEVICE, 0), -EINVAL);
    assert_int_equal(dma_map_sgtable(good, &table, DMA_TO_DEVICE, 0), -EINVAL);
    sg_init_one(&sg, buffer, 64);
    table = (struct sg_table){ &sg, 0, 1 };
    assert_int_equal(dma_map_sgtable(good, &table, DMA_NONE, 0), -EINVAL);
    assert_int_equal(dma_map_sgtable(NULL, &table, DMA_TO_DEVICE, 0), -EINVAL);
    sg_init_one(&far_sg, far, 64);
    assert_int_equal(dma_map_sgtable(narrow, &far_table, DMA_TO_DEVICE, 0), -EIO);
    assert_int_equal(far_table.nents, 0);
    assert_int_equal(dma_map_sgtable(good, &table, DMA_TO_DEVICE, 0), 0);
    assert_int_equal(table.nents, 1);
    dma_unmap_sgtable(good, &table, DMA_TO_DEVICE, 0);
    dma_unmap_sgtable(good, NULL, DMA_TO_DEVICE, 0);
    dma_unmap_sg(good, NULL, 1, DMA_TO_DEVICE);
    /* A list that no retry makes better. */
    sg.length = 0;
    assert_int_equal(dma_map_sgtable(good, &table, DMA_TO_DEVICE, 0), -EINVAL);
    kfree(buffer);
    kfree(far);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* RAM from 1 MiB to 64 MiB, and from 4 GiB on; the mask can end in either. */
#define HOLES                                                                                                    \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"holes\"; compatible = \"dmakit,holes\"; " \
    "dma-coherent; memory@0 { device_type = \"memory\"; reg = <0 0x100000 0 0x3f00000>, <1 0 0 0x4000000>; };"   \
    " nic@0 { compatible = \"dmakit,nic\"; }; aliases { nic = \"/nic@0\"; }; };"

static bool is_ram(u64 first, u64 last)
{
    return (first >= 0x100000 && last < 0x4000000) ||
           (first >= 1ull << 32 && last < (1ull << 32) + 0x4000000);
}

static unsigned seed;

static unsigned below(unsigned limit)
{
    seed = seed * 1664525u + 1013904223u;
    return (unsigned)((u64)(seed >> 8) * limit >> 24);
}

/* Lists at the edges of RAM and mask map alike with and without a checker: as addresses and lengths say. */
static void what_maps_does_not_depend_on_the_checker(void **state)
{
    static const u64 places[] = {
        0x100000, 0x101000, 0x3ffe000, 0x3fff000, 1ull << 32, (1ull << 32) + 0x5000, (1ull << 32) + 0x3fff000
    };
    static const unsigned offsets[] = { 0, 1, 4095, 4096, 5000 };
    static const unsigned lengths[] = { 0, 1, 2, 4095, 4096, 4097, 8192, 0x100000, 0xffffffff };
    static const u64 masks[] = { ~0ull, 0xffffffff, 0x1000057ff, 0x100005800, 0x100003fff };
    unsigned accepted = 0, round;
    int depth;

    (void)state;
    for (depth = 0; depth <= 1; depth++) {
        struct dk_machine *machine = machine_with(HOLES, "swiotlb=noforce", 0, depth);
        struct device *dev = dk_device_find(machine, "nic");

        dk_check_set_sink(machine, ignore_report, NULL);
        seed = 31337;
        print_message("seed %u\n", seed);
        for (round = 0; round < 4000; round++) {
            u64 mask = masks[below(sizeof(masks) / sizeof(masks[0]))];
            int count = 1 + (int)below(3), i;
            struct scatterlist list[3], *sg;
            bool possible = true;

            assert_int_equal(dma_set_mask(dev, mask), 0);
            sg_init_table(list, (unsigned)count);
            for_each_sg (list, sg, count, i) {
                u64 place = places[below(sizeof(places) / sizeof(places[0]))];
                unsigned offset = offsets[below(5)], length = lengths[below(4) ? 1 + below(6) : below(9)];
                u64 first = place + offset, last = first + length - 1;

                sg_set_page(sg, phys_to_page(place), length, offset);
                assert_non_null(sg_page(sg));
                possible = possible && length && is_ram(first, last) && last <= mask;
            }
            if (dma_map_sg(dev, list, count, DMA_TO_DEVICE) != (possible ? (unsigned)count : 0))
                fail_msg("depth %d, round %u, mask 0x%llx", depth, round, mask);
            if (!possible)
                continue;
            accepted++;
            for_each_sg (list, sg, count, i) {
                assert_true(sg_dma_address(sg) == sg_phys(sg));
                assert_int_equal(sg_dma_len(sg), sg->length);
            }
            dma_unmap_sg(dev, list, count, DMA_TO_DEVICE);
        }
        dk_machine_destroy(machine);
    }
    assert_true(accepted > 1000);
}

/* Without a checker too, a list's odd entries keep it from being mapped. */
static void odd_lists_map_nothing_unchecked(void **state)
{
    struct dk_machine *other = machine_with(COHERENT_BOARD, NULL, 0, 0);
    struct page *foreign = alloc_page(GFP_KERNEL);
    struct dk_machine *machine = machine_with(COHERENT_BOARD, "highmem=16M", 0, 0);
    struct device *dev = dk_device_find(machine, "nic");
    struct page *page = alloc_page(GFP_KERNEL), *high = alloc_page(GFP_HIGHUSER);
    struct scatterlist list[2];
    char host[16];

    (void)state;
    sg_init_table(list, 2);
    sg_set_page(&list[0], page, 64, 0);
    sg_set_page(&list[1], page, 64, 128);
    assert_int_equal(dma_map_sg(dev, list, 2, DMA_NONE), 0);
    assert_int_equal(dma_map_sg(dev, list, 3, DMA_TO_DEVICE), 0);
    assert_int_equal(dma_map_sg(dev, list, -1, DMA_TO_DEVICE), 0);
    assert_int_equal(dma_map_sg(dev, list, 0, DMA_TO_DEVICE), 0);
    assert_int_equal(dma_map_sg(NULL, list, 2, DMA_TO_DEVICE), 0);
    sg_set_page(&list[1], foreign, 64, 0);
    assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 0);
    sg_set_buf(&list[1], host, sizeof(host));
    assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 0);
    /* A kernel address is no page. */
    sg_set_page(&list[1], page_address(page), 64, 1);
    assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 0);
    assert_true(PageHighMem(high));
    sg_set_page(&list[1], high, 64, 0);
    assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 2);
    assert_true(sg_dma_address(&list[1]) == page_to_phys(high));
    dma_unmap_sg(dev, list, 2, DMA_TO_DEVICE);
    __free_page(high);
    __free_page(page);
    assert_int_equal(dk_machine_destroy(machine), 0);
    dk_machine_enter(other);
    __free_page(foreign);
    assert_int_equal(dk_machine_destroy(other), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_lists_map_nothing),
        cmocka_unit_test(memory_of_the_host_is_reported),
        cmocka_unit_test(a_chained_list_is_mapped_whole),
        cmocka_unit_test(highmem_pages_are_mapped_and_moved),
        cmocka_unit_test(a_failure_halfway_leaves_nothing_mapped),
        cmocka_unit_test(sgtable_errors_have_their_meaning),
        cmocka_unit_test(what_maps_does_not_depend_on_the_checker),
        cmocka_unit_test(odd_lists_map_nothing_unchecked),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("map-list", tests, NULL, NULL);
}
