/* SPDX-License-Identifier: MIT */
/*
 * What decides whether a mapping is bounced: a rule of the driver's, the SA-1111's erratum, the machine's
 * arguments; and what a pool does when it is full, and never shows.
 */
#include "api.h"

#include <dmakit/dmabounce.h>
#include <pthread.h>

/* RAM from 0 to 64 MiB and from 4 GiB to 4 GiB + 64 MiB; the bus has the properties @bus. */
#define HIGH_AND_LOW(coherence, bus)                                                                                             \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"high and low\"; compatible = \"dmakit,test\"; " coherence \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x4000000 1 0 0 0x4000000>; };"                                          \
    " mmu: iommu@f0000000 { compatible = \"arm,mmu-401\"; reg = <0 0xf0000000 0 0x10000>; #iommu-cells = <1>; };"                \
    " reserved-memory { #address-cells = <2>; #size-cells = <2>; ranges;"                                                        \
    "  pool: pool@1000000 { compatible = \"restricted-dma-pool\"; reg = <0 0x1000000 0 0x100000>; }; };"                         \
    " bus@0 { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; ranges; " bus                                \
    "  nic@0 { compatible = \"dmakit,nic\"; }; behind@0 { compatible = \"dmakit,nic\"; iommus = <&mmu 1>; };"                    \
    "  confined@0 { compatible = \"dmakit,nic\"; memory-region = <&pool>; }; };"                                                 \
    " aliases { nic = \"/bus@0/nic@0\"; behind = \"/bus@0/behind@0\"; confined = \"/bus@0/confined@0\"; }; };"
#define FIRST_MIB "dma-ranges = <0 0 0 0 0 0x100000>;"

/* An SA-1111 on a bus that shows its masters all memory. Of the first MiB the bounce buffers leave nothing.
 */
#define COMPANION                                                                                                            \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"companion\"; compatible = \"dmakit,test\";"           \
    " dma-noncoherent; memory@c0000000 { device_type = \"memory\"; reg = <0xc0000000 0x2000000>; };"                         \
    " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; taken@c0000000 { reg = <0xc0000000 0xc0000>; }; };" \
    " companion@40000000 { compatible = \"intel,sa1111\", \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"  \
    "  nic@40000400 { compatible = \"dmakit,nic\"; }; }; aliases { nic = \"/companion@40000000/nic@40000400\"; }; };"

static const char *const boards[] = { COHERENT_BOARD, NONCOHERENT_BOARD };

/* Bytes go both ways through a mapping of @buffer; returns whether it was bounced. */
static bool moves(struct device *dev, char *buffer, size_t size)
{
    unsigned char bytes[4096];
    dma_addr_t dma;

    assert_true(size <= sizeof(bytes));
    fill(buffer, size, 1);
    dma = dma_map_single(dev, buffer, size, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dk_master_read(dev, dma, bytes, size), 0);
    assert_true(filled(bytes, size, 1));
    fill(bytes, size, 2);
    assert_int_equal(dk_master_write(dev, dma, bytes, size), 0);
    dma_sync_single_for_cpu(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_true(filled(buffer, size, 2));
    fill(buffer, size, 3);
    dma_sync_single_for_device(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_int_equal(dk_master_read(dev, dma, bytes, size), 0);
    assert_true(filled(bytes, size, 3));
    fill(bytes, size, 4);
    assert_int_equal(dk_master_write(dev, dma, bytes, size), 0);
    dma_unmap_single(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_true(filled(buffer, size, 4));
    return dma != virt_to_phys(buffer);
}

/* ---- A driver's rule ---- */

/* The rule's last question, and its next answer. */
static struct {
    struct device *dev;
    dma_addr_t address;
    size_t size;
    unsigned asked;
    int answer;
} question; /* the callback has no data of its own */

static int answer(struct device *dev, dma_addr_t address, size_t size)
{
    question.dev = dev;
    question.address = address;
    question.size = size;
    question.asked++;
    return question.answer;
}

static int always(struct device *dev, dma_addr_t address, size_t size)
{
    (void)dev;
    (void)address;
    (void)size;
    return 1;
}

static void the_rule_decides(void **state)
{
    int board;

    (void)state;
    for (board = 0; board < 4; board++) {
        struct dk_machine *machine = machine_with(boards[board & 1], NULL, board & 2 ? 5 : 0, 1);
        struct device *dev = dk_device_find(machine, "nic"), *other = device_below(machine, "bus", "other");
        char *buffer = kmalloc(4096, GFP_KERNEL);
        struct scatterlist list[2];
        int i;

        assert_int_equal(dmabounce_register_dev(dev, 512, 4096, answer), 0);
        for (i = 0; i < 4; i++) {
            question.asked = 0;
            question.answer = i == 1 ? 1 : i == 3 ? -1 : 0;
            assert_int_equal(moves(dev, buffer, 1000), question.answer != 0);
            assert_int_equal(question.asked, 1);
            assert_ptr_equal(question.dev, dev);
            assert_int_equal(question.address, virt_to_phys(buffer));
            assert_int_equal(question.size, 1000);
        }
        question.answer = 1;
        sg_init_table(list, 2);
        sg_set_buf(&list[0], buffer, 100);
        sg_set_buf(&list[1], buffer + 2048, 300);
        assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 2);
        assert_int_not_equal(sg_dma_address(&list[0]), virt_to_phys(buffer));
        assert_int_equal(question.size, 300);
        dma_unmap_sg(dev, list, 2, DMA_TO_DEVICE);
        /* The rule is this device's alone, and ends. */
        assert_false(moves(other, buffer, 1000));
        dmabounce_unregister_dev(dev);
        question.asked = 0;
        assert_false(moves(dev, buffer, 1000));
        assert_int_equal(question.asked, 0);
        assert_int_equal(dmabounce_register_dev(dev, 512, 4096, answer), 0);
        assert_true(moves(dev, buffer, 4096));
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* Without a rule what the device does not reach is bounced, in a pool that it reaches. */
static void no_rule_is_reach(void **state)
{
    struct dk_machine *machine =
        machine_with(HIGH_AND_LOW("dma-noncoherent;", FIRST_MIB), "swiotlb=noforce", 0, 1);
    struct device *dev = dk_device_find(machine, "nic");
    char *high = kmalloc(4096, GFP_KERNEL), *low = kmalloc(512, GFP_KERNEL | GFP_DMA);

    (void)state;
    assert_true(virt_to_phys(high) >= 0x100000 && virt_to_phys(low) < 0x100000);
    assert_true(dma_map_single(dev, high, 512, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    assert_int_equal(dmabounce_register_dev(dev, 512, 4096, NULL), 0);
    assert_true(moves(dev, high, 4096));
    assert_false(moves(dev, low, 512));
    dmabounce_unregister_dev(dev);
    assert_true(dma_map_single(dev, high, 512, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
    kfree(low);
    kfree(high);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A pool of its own has its size, says when it is full, and serves again. */
static void an_own_pool_fills_and_recovers(void **state)
{
    struct dk_machine *machine = machine_on(COHERENT_BOARD);
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = kmalloc(64 << 12, GFP_KERNEL);
    struct scatterlist list[2];
    struct log_lines lines;
    dma_addr_t dma[65];
    int count = 0, round;

    (void)state;
    assert_non_null(buffer);
    assert_int_equal(dmabounce_register_dev(dev, 512, 4096, always), 0);
    for (round = 0; round < 3; round++) {
        keep_log(&lines);
        for (count = 0; count < 65; count++) {
            dma[count] = dma_map_single(dev, buffer + (count & 63) * 4096, 4096, DMA_TO_DEVICE);
            if (dma_mapping_error(dev, dma[count]))
                break;
        }
        drop_log();
        assert_int_equal(count, 64);
        /* A line a second at most. */
        if (!round) {
            assert_int_equal(lines.count, 1);
            assert_non_null(strstr(lines.text, "no room for 4096 bytes"));
        }
        dma_unmap_single(dev, dma[5], 4096, DMA_TO_DEVICE);
        /* Room for one entry and not for two: nothing stays mapped. */
        sg_init_table(list, 2);
        sg_set_buf(&list[0], buffer, 4096);
        sg_set_buf(&list[1], buffer + 4096, 4096);
        assert_int_equal(dma_map_sg(dev, list, 2, DMA_TO_DEVICE), 0);
        dma[5] = dma_map_single(dev, buffer, 4096, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma[5]), 0);
        while (count--)
            dma_unmap_single(dev, dma[count], 4096, DMA_TO_DEVICE);
        dma[0] = dma_map_single(dev, buffer, 64 << 12, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma[0]), 0);
        dma_unmap_single(dev, dma[0], 64 << 12, DMA_TO_DEVICE);
    }
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* How many buffers of the size that it was registered with a pool has. */
static void a_pool_has_room_for_so_many(void **state)
{
    static const struct {
        unsigned long large;
        unsigned count;
    } cases[] = { { 1, 128 },       { 2048, 128 },     { 4096, 64 },
                  { 64 << 10, 64 }, { 128 << 10, 32 }, { 256 << 10, 16 } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 0);
        struct device *dev = dk_device_find(machine, "nic");
        char *buffer = kmalloc(256 << 10, GFP_KERNEL);
        dma_addr_t dma[129];
        unsigned count = 0;

        assert_int_equal(dmabounce_register_dev(dev, 512, cases[i].large, always), 0);
        while (count < 129 && (dma[count] = dma_map_single_attrs(dev, buffer, cases[i].large, DMA_TO_DEVICE,
                                                                 DMA_ATTR_NO_WARN)) != DMA_MAPPING_ERROR)
            count++;
        if (count != cases[i].count)
            fail_msg("%lu bytes: %u", cases[i].large, count);
        while (count--)
            dma_unmap_single(dev, dma[count], cases[i].large, DMA_TO_DEVICE);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void what_has_a_pool_takes_no_other(void **state)
{
    struct dk_machine *machine = machine_on(HIGH_AND_LOW("dma-coherent;", ""));
    struct device *dev = dk_device_find(machine, "nic"), *gone;
    struct log_lines lines;
    char *buffer = kmalloc(4096, GFP_KERNEL);
    unsigned char bytes[100];
    dma_addr_t dma;

    (void)state;
    assert_int_equal(dmabounce_register_dev(NULL, 512, 4096, always), -EINVAL);
    assert_int_equal(dmabounce_register_dev(dev, 512, 0, always), -EINVAL);
    assert_int_equal(dmabounce_register_dev(dev, 512, (256 << 10) + 1, always), -EINVAL);
    assert_int_equal(dmabounce_register_dev(dev, 512, ~0ul, always), -EINVAL);
    assert_int_equal(dma_set_min_align_mask(dev, 4095), 0);
    assert_int_equal(dmabounce_register_dev(dev, 512, (252 << 10) + 1, always), -EINVAL);
    assert_int_equal(dmabounce_register_dev(dev, 512, 252 << 10, always), 0);
    dmabounce_unregister_dev(dev);
    assert_int_equal(dma_set_min_align_mask(dev, 0), 0);
    assert_int_equal(dmabounce_register_dev(dk_device_find(machine, "behind"), 512, 4096, always), -EINVAL);
    assert_int_equal(dmabounce_register_dev(dk_device_find(machine, "confined"), 512, 4096, always), -EBUSY);
    /* What is mapped already may be bounced elsewhere. */
    dma = dma_map_single(dev, buffer, 100, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dmabounce_register_dev(dev, 512, 4096, always), -EBUSY);
    dma_unmap_single(dev, dma, 100, DMA_FROM_DEVICE);
    assert_int_equal(dmabounce_register_dev(dev, 512, 4096, always), 0);
    assert_int_equal(dmabounce_register_dev(dev, 512, 4096, always), -EBUSY);

    /* Too early: what is mapped stays so, and the second time it works. */
    dma = dma_map_single(dev, buffer, 100, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    keep_log(&lines);
    dmabounce_unregister_dev(dev);
    assert_int_equal(lines.count, 1);
    assert_non_null(strstr(lines.text, "in use"));
    fill(bytes, 100, 9);
    assert_int_equal(dk_master_write(dev, dma, bytes, 100), 0);
    dma_unmap_single(dev, dma, 100, DMA_FROM_DEVICE);
    assert_true(filled(buffer, 100, 9));
    keep_log(&lines);
    dmabounce_unregister_dev(dev);
    assert_int_equal(lines.count, 0);
    dmabounce_unregister_dev(dev);
    assert_int_equal(lines.count, 1);
    dmabounce_unregister_dev(dk_device_find(machine, "confined"));
    assert_int_equal(lines.count, 2);
    drop_log();
    dmabounce_unregister_dev(NULL);

    gone = device_below(machine, "nic", "gone");
    assert_int_equal(dmabounce_register_dev(gone, 512, 4096, always), 0);
    dk_device_remove(gone);
    assert_int_equal(dmabounce_register_dev(gone, 512, 4096, always), -EINVAL);
    dmabounce_unregister_dev(gone);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* What was bounced is undone, also when nothing would be bounced any more. */
static void what_bounced_is_undone(void **state)
{
    struct log_lines lines;

    (void)state;
    for (int way = 0; way < 4; way++) {
        int depth = way & 1;
        struct dk_machine *machine = machine_with(HIGH_AND_LOW("dma-coherent;", ""), NULL, 0, depth);
        struct device *dev = dk_device_find(machine, "nic");
        char *buffer = kmalloc(4096, GFP_KERNEL);
        unsigned char bytes[100];
        dma_addr_t dma;

        assert_true(virt_to_phys(buffer) >> 32 != 0);
        if (way & 2) {
            assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(64)), 0);
            assert_int_equal(dmabounce_register_dev(dev, 512, 4096, always), 0);
        } else {
            assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(32)), 0);
        }
        dma = dma_map_single(dev, buffer, 100, DMA_FROM_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        assert_true(dma != virt_to_phys(buffer));
        keep_log(&lines);
        if (way & 2)
            dmabounce_unregister_dev(dev);
        else
            assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(64)), 0);
        drop_log();
        fill(bytes, 100, way);
        assert_int_equal(dk_master_write(dev, dma, bytes, 100), 0);
        dma_unmap_single(dev, dma, 100, DMA_FROM_DEVICE);
        if (!filled(buffer, 100, way))
            fail_msg("way %d", way);
        assert_false(moves(dev, buffer, 100));
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* ---- The SA-1111 ---- */

static struct dk_machine *companion(const char *dts, const char *memory)
{
    const struct dk_machine_options options = { .size = sizeof(options), .memory = memory, .depth = 1 };
    struct dk_machine *machine;

    assert_int_equal(create_machine(dts, &options, &machine), 0);
    dk_machine_enter(machine);
    return machine;
}

/* With much RAM its masters see the first MiB; with no more than that there is nothing to bounce. */
static void the_sa1111_reaches_a_mebibyte(void **state)
{
    static const struct {
        const char *board, *device, *memory;
        bool bounces;
    } cases[] = {
        { "sa1111.dts", "usb", NULL, true },
        { "sa1111.dts", "usb", "1M@0xc0000000", false },
        { "sa1111.dts", "usb", "2M@0xc0000000", true },
        { "sa1111.dts", "nic", NULL, false },
        { COMPANION, "nic", NULL, true },
        { COMPANION, "nic", "1M@0xc0000000", false },
    };
    size_t i;
    int level;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine = companion(cases[i].board, cases[i].memory);
        struct device *dev = dk_device_find(machine, cases[i].device);
        struct page *page;
        dma_addr_t dma;

        assert_non_null(dev);
        /* The controller, what hangs on it, and what hangs on that. */
        for (level = 0; level < 3; level++) {
            if (level) {
                dev = dk_device_add(dev, "below");
                assert_false(IS_ERR(dev));
            }
            page = alloc_page(GFP_KERNEL);
            assert_non_null(page);
            if (moves(dev, page_address(page), 4096) != cases[i].bounces)
                fail_msg("case %zu, level %d", i, level);
            dma = dma_map_page(dev, page, 0, 64, DMA_TO_DEVICE);
            assert_int_equal(dma_mapping_error(dev, dma), 0);
            if (cases[i].bounces) {
                assert_true(dma >= 0xc0000000 && dma < 0xc0100000);
                assert_int_equal(dmabounce_register_dev(dev, 512, 4096, always), -EBUSY);
            }
            dma_unmap_page(dev, dma, 64, DMA_TO_DEVICE);
            if (cases[i].bounces)
                assert_int_equal(dmabounce_register_dev(dev, 512, 4096, always), -EBUSY);
            dmabounce_unregister_dev(dev);
            assert_int_equal(moves(dev, page_address(page), 100), cases[i].bounces);
            __free_page(page);
        }
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* The companion's masters reach the first MiB of memory, to its last byte. */
static void the_sa1111_s_reach_ends_to_the_byte(void **state)
{
    static const char board[] =
        "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"companion\"; compatible = \"dmakit,test\";"
        " dma-noncoherent; memory@c0000000 { device_type = \"memory\"; reg = <0xc0000000 0x200000>; };"
        " reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges; edge@c00ff000 { reg = <0xc00ff000 0x2000>; }; };"
        " companion@40000000 { compatible = \"intel,sa1111\", \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"
        "  nic@40000400 { compatible = \"dmakit,nic\"; }; }; aliases { nic = \"/companion@40000000/nic@40000400\"; }; };";
    static const struct {
        phys_addr_t at;
        size_t size;
        bool bounced;
    } cases[] = {
        { 0xff000, 4096, false }, { 0xfffff, 1, false }, { 0xfffc0, 65, true }, { 0x100000, 1, true }
    };
    struct dk_machine *machine = machine_on(board);
    struct device *dev = dk_device_find(machine, "nic");
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct page *page = phys_to_page(0xc0000000 + cases[i].at);
        dma_addr_t dma = dma_map_page(dev, page, cases[i].at % PAGE_SIZE, cases[i].size, DMA_TO_DEVICE);

        assert_int_equal(dma_mapping_error(dev, dma), 0);
        if ((dma != 0xc0000000 + cases[i].at) != cases[i].bounced)
            fail_msg("%zu bytes at 0x%llx", cases[i].size, (unsigned long long)cases[i].at);
        assert_true(dma + cases[i].size <= 0xc0100000);
        dma_unmap_page(dev, dma, cases[i].size, DMA_TO_DEVICE);
    }
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- The machine's pool ---- */

enum outcome { DIRECT, BOUNCED, REFUSED };

static void arguments_choose_the_pool(void **state)
{
    static const struct {
        const char *arguments;
        enum outcome high, low; /* memory above and below a mask of 32 bits */
    } cases[] = {
        { NULL, BOUNCED, DIRECT },
        { "swiotlb=128", BOUNCED, DIRECT },
        { "swiotlb=0x100", BOUNCED, DIRECT },
        { "swiotlb=128,4", BOUNCED, DIRECT },
        { "swiotlb=128,0", BOUNCED, DIRECT },
        { "swiotlb=force", BOUNCED, BOUNCED },
        { "swiotlb=128,force", BOUNCED, BOUNCED },
        { "swiotlb=128,4,force", BOUNCED, BOUNCED },
        { "swiotlb=noforce", REFUSED, DIRECT },
        { "swiotlb=128,noforce", REFUSED, DIRECT },
        /* More than there is: there is none. */
        { "swiotlb=1000000", REFUSED, DIRECT },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine =
            machine_with(HIGH_AND_LOW("dma-coherent;", ""), cases[i].arguments, 0, 1);
        struct device *dev = dk_device_find(machine, "nic");
        char *buffers[2] = { kmalloc(4096, GFP_KERNEL), kmalloc(4096, GFP_KERNEL | GFP_DMA) };
        enum outcome expected[2] = { cases[i].high, cases[i].low };
        int k;

        assert_true(virt_to_phys(buffers[0]) >> 32 && !(virt_to_phys(buffers[1]) >> 32));
        assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(32)), 0);
        for (k = 0; k < 2; k++) {
            dma_addr_t dma = dma_map_single(dev, buffers[k], 4096, DMA_TO_DEVICE);
            enum outcome found = dma == DMA_MAPPING_ERROR          ? REFUSED
                                 : dma == virt_to_phys(buffers[k]) ? DIRECT
                                                                   : BOUNCED;

            if (found != expected[k])
                fail_msg("case %zu, buffer %d: %d", i, k, (int)found);
            if (found == REFUSED)
                continue;
            assert_int_equal(dma_mapping_error(dev, dma), 0);
            assert_int_equal(dma_need_sync(dev, dma), found == BOUNCED);
            dma_unmap_single(dev, dma, 4096, DMA_TO_DEVICE);
            assert_int_equal(moves(dev, buffers[k], 4096), found == BOUNCED);
        }
        kfree(buffers[0]);
        kfree(buffers[1]);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void bad_arguments_are_refused(void **state)
{
    static const char *const bad[] = {
        "swiotlb=often",
        "swiotlb=12x",
        "swiotlb=12force",
        "swiotlb=,force",
        "swiotlb=-1",
        "swiotlb=forced",
        "swiotlb=99999999999999999999",
        "swiotlb=0xffffffffffffffff",
        "swiotlb=4,5,6",
        "swiotlb=4,,force",
        "swiotlb=",
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const struct dk_machine_options options = { .size = sizeof(options),
                                                    .arguments = bad[i],
                                                    .depth = 1 };
        struct log_lines lines;
        struct dk_machine *machine;

        keep_log(&lines);
        if (create_machine(COHERENT_BOARD, &options, &machine) != -EINVAL)
            fail_msg("%s", bad[i]);
        drop_log();
        assert_non_null(strstr(lines.text, "swiotlb="));
    }
}

/* The longest mapping is told, and kept to. */
static void the_longest_mapping(void **state)
{
    static const struct {
        const char *arguments, *device;
        u64 mask;
        unsigned min_align_mask;
        size_t longest;
    } cases[] = {
        { NULL, "nic", DMA_BIT_MASK(32), 0, 256 << 10 },
        { NULL, "nic", DMA_BIT_MASK(32), 4095, 252 << 10 },
        { NULL, "nic", DMA_BIT_MASK(64), 0, SIZE_MAX },
        { "swiotlb=noforce", "nic", DMA_BIT_MASK(32), 0, SIZE_MAX },
        { "swiotlb=force", "nic", DMA_BIT_MASK(64), 0, 256 << 10 },
        { "swiotlb=force", "nic", DMA_BIT_MASK(64), 511, 254 << 10 },
        { NULL, "confined", DMA_BIT_MASK(64), 0, 256 << 10 },
        { NULL, "behind", DMA_BIT_MASK(32), 0, SIZE_MAX },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine =
            machine_with(HIGH_AND_LOW("dma-coherent;", ""), cases[i].arguments, 0, 1);
        struct device *dev = dk_device_find(machine, cases[i].device);
        struct page *page = alloc_pages(GFP_KERNEL, 8);
        size_t longest = cases[i].longest;
        struct log_lines lines;
        dma_addr_t dma;

        assert_true(page_to_phys(page) >> 32 != 0);
        assert_int_equal(dma_set_mask(dev, cases[i].mask), 0);
        assert_int_equal(dma_set_min_align_mask(dev, cases[i].min_align_mask), 0);
        if (dma_max_mapping_size(dev) != longest)
            fail_msg("case %zu: %zu", i, dma_max_mapping_size(dev));
        assert_true(dma_opt_mapping_size(dev) <= longest);
        if (longest != SIZE_MAX) {
            dma = dma_map_page(dev, page, 0, longest, DMA_TO_DEVICE);
            assert_int_equal(dma_mapping_error(dev, dma), 0);
            dma_unmap_page(dev, dma, longest, DMA_TO_DEVICE);
            keep_log(&lines);
            dk_check_set_sink(machine, ignore_report, NULL);
            assert_true(dma_map_page(dev, page, 0, (256 << 10) + 1, DMA_TO_DEVICE) == DMA_MAPPING_ERROR);
            drop_log();
            assert_non_null(strstr(lines.text, "in one buffer"));
        }
        __free_pages(page, 8);
        assert_int_equal(dk_check_count(machine, "exceeds-max-mapping"), longest != SIZE_MAX);
        assert_int_equal(dk_machine_destroy(machine), longest != SIZE_MAX);
    }
}

/* Offsets that the device's registers want kept are kept. */
static void low_bits_are_kept(void **state)
{
    static const unsigned masks[] = { 0, 63, 511, 2047, 4095, 65535 };
    struct dk_machine *machine = machine_with(HIGH_AND_LOW("dma-noncoherent;", ""), "swiotlb=force", 3, 1);
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = kmalloc(16384, GFP_KERNEL);
    size_t i, offset;

    (void)state;
    for (i = 0; i < sizeof(masks) / sizeof(masks[0]); i++) {
        assert_int_equal(dma_set_min_align_mask(dev, masks[i]), 0);
        for (offset = 0; offset < 8192; offset += 128 * 11) {
            dma_addr_t dma = dma_map_single(dev, buffer + offset, 100, DMA_TO_DEVICE);

            assert_int_equal(dma_mapping_error(dev, dma), 0);
            assert_int_equal(dma & masks[i], virt_to_phys(buffer + offset) & masks[i]);
            dma_unmap_single(dev, dma, 100, DMA_TO_DEVICE);
            assert_true(moves(dev, buffer + offset, 4096));
        }
    }
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- What slots held before ---- */

/* A buffer that a device only writes shows it the CPU's bytes, not another buffer's; what it leaves stays. */
static void former_contents_are_never_seen(void **state)
{
    static const struct {
        const char *board, *arguments, *device;
    } places[] = {
        { HIGH_AND_LOW("dma-coherent;", ""), "swiotlb=128,force", "nic" },
        { HIGH_AND_LOW("dma-noncoherent;", ""), "swiotlb=128,force", "nic" },
        { HIGH_AND_LOW("dma-coherent;", ""), NULL, "confined" },
        { HIGH_AND_LOW("dma-noncoherent;", ""), NULL, "confined" },
        { COMPANION, NULL, "nic" },
    };
    size_t place;
    int round;

    (void)state;
    for (place = 0; place < sizeof(places) / sizeof(places[0]); place++) {
        struct dk_machine *machine = machine_with(places[place].board, places[place].arguments, 7, 1);
        struct device *dev = dk_device_find(machine, places[place].device);
        char *secret = kmalloc(4096, GFP_KERNEL), *buffer = kmalloc(4096, GFP_KERNEL);
        unsigned char seen[4096];

        memset(secret, 0x5a, 4096);
        for (round = 0; round < 50; round++) {
            dma_addr_t dma = dma_map_single(dev, secret, 4096, DMA_BIDIRECTIONAL);
            size_t size = 1 + (size_t)round * 83 % 4096, written = size / 3;

            assert_int_equal(dma_mapping_error(dev, dma), 0);
            memset(seen, 0x5b, 4096);
            assert_int_equal(dk_master_write(dev, dma, seen, 4096), 0);
            dma_unmap_single(dev, dma, 4096, DMA_BIDIRECTIONAL);

            fill(buffer, size, 1);
            dma = dma_map_single(dev, buffer, size, DMA_FROM_DEVICE);
            assert_int_equal(dma_mapping_error(dev, dma), 0);
            assert_int_equal(dk_master_read(dev, dma, seen, size), 0);
            assert_true(filled(seen, size, 1));
            /* It writes less than it might. */
            memset(seen, 0x77, written);
            assert_int_equal(dk_master_write(dev, dma, seen, written), 0);
            dma_unmap_single(dev, dma, size, DMA_FROM_DEVICE);
            assert_memory_equal(buffer, seen, written);
            fill(seen, size, 1);
            assert_memory_equal(buffer + written, seen + written, size - written);
        }
        kfree(secret);
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* What a confined device does not get is logged, unless the driver says that it copes. */
static void refusals_can_be_quiet(void **state)
{
    struct dk_machine *machine = machine_with(HIGH_AND_LOW("dma-coherent;", ""), NULL, 0, 0);
    struct device *dev = dk_device_find(machine, "confined");
    struct log_lines lines;
    dma_addr_t dma;

    (void)state;
    keep_log(&lines);
    assert_null(dma_alloc_attrs(dev, 1 << 20, &dma, GFP_KERNEL, DMA_ATTR_NO_WARN));
    assert_null(dma_alloc_coherent(dev, 1 << 20, &dma, GFP_KERNEL | __GFP_NOWARN));
    assert_null(dma_alloc_pages(dev, 1 << 20, &dma, DMA_TO_DEVICE, GFP_KERNEL | __GFP_NOWARN));
    assert_null(dma_alloc_noncontiguous(dev, 1 << 20, DMA_TO_DEVICE, GFP_KERNEL, DMA_ATTR_NO_WARN));
    assert_int_equal(lines.count, 0);
    assert_null(dma_alloc_coherent(dev, 1 << 20, &dma, GFP_KERNEL));
    assert_int_not_equal(lines.count, 0);
    drop_log();
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* A machine that goes says whose buffers are left in its pool, with the checker off too. */
static void what_is_left_is_logged_by_name(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, "swiotlb=force", 0, 0);
    struct device *dev = dk_device_find(machine, "nic");
    char *buffer = kmalloc(100, GFP_KERNEL);
    struct log_lines lines;
    dma_addr_t dma = dma_map_single(dev, buffer, 100, DMA_TO_DEVICE);

    (void)state;
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    keep_log(&lines);
    assert_int_equal(dk_machine_destroy(machine), 0);
    drop_log();
    assert_non_null(strstr(lines.text, "are used by /bus@0/nic@0 (100 bytes in 1 buffer)"));
}

struct crowd {
    struct device *dev;
    char *buffer;
    unsigned left, wrong;
};

/* Each of a row of threads, all alive at once, maps a buffer: they begin to look in different parts of the
 * pool. */
static void *map_in_a_crowd(void *data)
{
    struct crowd *crowd = data;
    dma_addr_t dma = dma_map_single(crowd->dev, crowd->buffer, 2048, DMA_TO_DEVICE);
    pthread_t next;

    crowd->wrong += dma_mapping_error(crowd->dev, dma) || dma - 0x80000000 >= 0x80000;
    if (crowd->left && crowd->left-- && !pthread_create(&next, NULL, map_in_a_crowd, crowd))
        pthread_join(next, NULL);
    if (dma != DMA_MAPPING_ERROR)
        dma_unmap_single(crowd->dev, dma, 2048, DMA_TO_DEVICE);
    return NULL;
}

/* The bus shows the confined device half of its pool: that half is used to the end, and nothing beyond. */
static void a_window_may_show_half_of_a_pool(void **state)
{
    struct dk_machine *machine = machine_with(
        HIGH_AND_LOW("dma-coherent;", "dma-ranges = <0 0x80000000 0 0x1000000 0 0x80000>;"), NULL, 0, 1);
    struct device *dev = dk_device_find(machine, "confined");
    char *buffer = kmalloc(2048, GFP_KERNEL);
    dma_addr_t mapped[512];
    struct crowd crowd = { dev, buffer, 20, 0 };
    unsigned count = 0;
    bool seen[256] = { false };

    (void)state;
    while (count < 512) {
        mapped[count] = dma_map_single(dev, buffer, 2048, DMA_TO_DEVICE);
        if (dma_mapping_error(dev, mapped[count]))
            break;
        assert_in_range(mapped[count], 0x80000000, 0x8007f800);
        assert_false(seen[(mapped[count] - 0x80000000) / 2048]);
        seen[(mapped[count] - 0x80000000) / 2048] = true;
        count++;
    }
    assert_int_equal(count, 256);
    while (count)
        dma_unmap_single(dev, mapped[--count], 2048, DMA_TO_DEVICE);
    /* Last, because threads keep slots for themselves. */
    map_in_a_crowd(&crowd);
    assert_int_equal(crowd.wrong, 0);
    assert_int_equal(crowd.left, 0);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_rule_decides),
        cmocka_unit_test(a_window_may_show_half_of_a_pool),
        cmocka_unit_test(no_rule_is_reach),
        cmocka_unit_test(an_own_pool_fills_and_recovers),
        cmocka_unit_test(a_pool_has_room_for_so_many),
        cmocka_unit_test(what_has_a_pool_takes_no_other),
        cmocka_unit_test(what_bounced_is_undone),
        cmocka_unit_test(the_sa1111_reaches_a_mebibyte),
        cmocka_unit_test(the_sa1111_s_reach_ends_to_the_byte),
        cmocka_unit_test(arguments_choose_the_pool),
        cmocka_unit_test(bad_arguments_are_refused),
        cmocka_unit_test(the_longest_mapping),
        cmocka_unit_test(low_bits_are_kept),
        cmocka_unit_test(former_contents_are_never_seen),
        cmocka_unit_test(refusals_can_be_quiet),
        cmocka_unit_test(what_is_left_is_logged_by_name),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("dmabounce", tests, NULL, NULL);
}
