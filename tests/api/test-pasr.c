/* SPDX-License-Identifier: MIT */
/*
 * A board whose DRAM refreshes in part, as a program sees it: what sleeps from the start, who is reported,
 * what is lost.
 */
#include "api.h"

#include <dmakit/fail.h>

#define BOARD "lpddr2-interleaved.dts"
#define BASE 0x80000000ull
#define SECTION (32ull << 20)

/* The same, coherent; and behind an IOMMU, strict or lazy. */
#define DIES                                                                                           \
    "rank { density = <2048>; io-width = <32>; dmakit,pasr = \"bank\"; dmakit,base = <0x80000000>; };" \
    "memory@80000000 { device_type = \"memory\"; reg = <0x80000000 0x10000000>; };"
#define COHERENT                                                                                \
    "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; aliases { bus = \"/bus\"; }; " DIES \
    " bus { compatible = \"dmakit,bus\"; dma-coherent; }; };"
#define TRANSLATED                                                                              \
    "/dts-v1/; / { #address-cells = <1>; #size-cells = <1>; aliases { bus = \"/bus\"; }; " DIES \
    " m: iommu { compatible = \"arm,smmu-v3\"; #iommu-cells = <1>; };"                          \
    " bus { compatible = \"dmakit,bus\"; iommus = <&m 1>; }; };"

static struct dk_pasr_statistics statistics(void)
{
    struct dk_pasr_statistics sum;

    assert_int_equal(dk_pasr_read(NULL, &sum), 0);
    return sum;
}

/* All sleeps at the start but what is reserved or taken, and its partner. */
static void test_start(void **state)
{
    struct dk_machine *machine = machine_with(BOARD, NULL, 0, 1);
    struct pasr_die *one = dk_pasr_die_find("/sdram-channel-0/rank@0"),
                    *two = dk_pasr_die_find("/sdram-channel-1/rank@0");
    struct dk_pasr_section section;
    char text[4000];

    (void)state;
    assert_non_null(one);
    assert_non_null(two);
    assert_int_equal(statistics().sections, 16);
    assert_int_equal(statistics().bytes, 512ull << 20);
    assert_in_range(statistics().sections_asleep, 10, 14);
    assert_int_equal(dk_pasr_section_read(two, 2, &section), 0);
    assert_int_equal(section.base, BASE + 5 * SECTION);
    assert_ptr_equal(section.partner, one);
    assert_int_equal(section.partner_section, 2);
    assert_true(dk_pasr_list(text, sizeof(text)) < sizeof(text));
    assert_non_null(strstr(text, "segment-selective"));
    assert_non_null(strstr(text, ", partner /sdram-channel-1/rank@0 7"));
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static u32 told;
static unsigned calls;

static void sleepy(struct pasr_die *die, u32 mask, void *data)
{
    (void)die;
    (void)data;
    told = mask;
    calls++;
    might_sleep();
}

/* The controller hears of what drivers take and give, and must not sleep. */
static void test_controller(void **state)
{
    struct dk_machine *machine = machine_with(BOARD, NULL, 0, 1);
    struct pasr_die *die = dk_pasr_die_find("/sdram-channel-0/rank@0");
    struct page *pages[32];
    unsigned i, before;
    u32 start;

    (void)state;
    assert_int_equal(dk_pasr_set_controller(die, sleepy, NULL), 0);
    start = told;
    assert_int_equal(calls, 1);
    for (i = 0; i < 32; i++)
        pages[i] = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
    assert_int_not_equal(told, start);
    before = calls;
    for (i = 0; i < 32; i++)
        __free_pages(pages[i], MAX_PAGE_ORDER);
    assert_true(calls > before);
    assert_int_equal(told, start);
    before = calls;
    assert_int_equal(dk_check_count(machine, "sleeps-in-atomic"), before);
    /* The end of the machine is no news. */
    assert_int_equal(dk_machine_destroy(machine), before);
    assert_int_equal(calls, before);
}

struct seen {
    unsigned count;
    char class_name[64], device[64], access[32], what[300];
    u64 length;
    bool mapping;
};

static void note(const struct dk_report *report, void *data)
{
    struct seen *seen = data;

    seen->count++;
    snprintf(seen->class_name, sizeof(seen->class_name), "%s", report->class_name);
    snprintf(seen->device, sizeof(seen->device), "%s", report->device);
    snprintf(seen->access, sizeof(seen->access), "%s", report->access.kind);
    snprintf(seen->what, sizeof(seen->what), "%s", report->what);
    seen->length = report->bytes.length;
    seen->mapping = report->mapping.kind;
}

/* A block whose section slept, and sleeps again without it. */
static struct page *wake_section(void)
{
    static const char *const names[] = { "/rank", "/sdram-channel-0/rank@0", "/sdram-channel-1/rank@0" };
    struct dk_pasr_section sections[24];
    struct page *all[160], *found = NULL;
    unsigned count = 0, blocks = 0, i, j;

    for (i = 0; i < 3; i++) {
        struct pasr_die *die = dk_pasr_die_find(names[i]);

        for (j = 0; die && j < 8; j++)
            assert_int_equal(dk_pasr_section_read(die, j, &sections[count++]), 0);
    }
    while (blocks < 160 && (all[blocks] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, MAX_PAGE_ORDER)))
        blocks++;
    for (i = 0; i < blocks; i++) {
        phys_addr_t phys = page_to_phys(all[i]);

        for (j = 0; !found && j < count; j++) {
            if (sections[j].asleep && phys >= sections[j].base && phys - sections[j].base < sections[j].size)
                found = all[i];
        }
        if (found != all[i])
            __free_pages(all[i], MAX_PAGE_ORDER);
    }
    assert_non_null(found);
    return found;
}

/* A driver frees its buffer while the device still works on it, and nobody else is in that section: @bad. Its
 * twin stops the device first. */
static void late_device(const char *board, const char *bus, const char *arguments, bool bad, bool write)
{
    struct dk_machine *machine = machine_with(board, arguments, 0, 2);
    struct device *dev = device_below(machine, bus, "card");
    struct seen seen = { 0 };
    char bytes[100], again[100], *buffer;
    struct page *page;
    dma_addr_t dma;

    dk_check_set_sink(machine, note, &seen);
    page = wake_section();
    buffer = page_address(page);
    fill(buffer, 4096, 1);
    dma = dma_map_page(dev, page, 0, 4096, DMA_BIDIRECTIONAL);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dk_master_read(dev, dma, bytes, sizeof(bytes)), 0);
    assert_true(filled(bytes, sizeof(bytes), 1));
    dma_unmap_page(dev, dma, 4096, DMA_BIDIRECTIONAL);
    __free_pages(page, MAX_PAGE_ORDER);
    if (bad) {
        assert_int_equal(write ? dk_master_write(dev, dma + 8, bytes, sizeof(bytes))
                               : dk_master_read(dev, dma + 8, bytes, sizeof(bytes)),
                         0);
        assert_int_equal(dk_check_count(machine, "access-to-masked-section"), 1);
    }
    if (bad)
        assert_int_equal(dk_check_count(machine, "device-access-after-unmap"), arguments ? 1 : 0);
    if (bad && !write) {
        assert_false(filled(bytes, sizeof(bytes), 1));
        assert_int_equal(dk_master_read(dev, dma + 8, again, sizeof(again)), 0);
        assert_memory_equal(bytes, again, sizeof(bytes));
    }
    if (bad) {
        if (!arguments) {
            assert_string_equal(seen.class_name, "access-to-masked-section");
            assert_string_equal(seen.access, write ? "device-write" : "device-read");
            assert_non_null(strstr(seen.what, "refresh is off"));
            assert_int_equal(seen.length, sizeof(bytes));
        }
        assert_non_null(strstr(seen.device, "/card"));
        assert_true(seen.mapping);
        dk_machine_destroy(machine);
        return;
    }
    assert_int_equal(seen.count, 0);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void test_late_device(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++) {
        bool bad = i & 1, write = i & 2;

        late_device(BOARD, "noncoherent", NULL, bad, write);
        late_device(COHERENT, "bus", NULL, bad, write);
        /* The lazy IOMMU's window is reported too. */
        late_device(TRANSLATED, "bus", "iommu.strict=0", bad, write);
    }
}

/* What a driver maps after it was freed: @bad. Its twin frees what is around it. */
static void test_maps_what_sleeps(void **state)
{
    unsigned bad;

    (void)state;
    for (bad = 0; bad < 2; bad++) {
        struct dk_machine *machine = machine_with(COHERENT, NULL, 0, 1);
        struct device *dev = device_below(machine, "bus", "card");
        struct page *page = wake_section();
        struct seen seen = { 0 };
        dma_addr_t dma;

        dk_check_set_sink(machine, note, &seen);
        if (bad)
            __free_pages(page, MAX_PAGE_ORDER);
        dma = dma_map_page(dev, page, 64, 8192, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        dma_unmap_page(dev, dma, 8192, DMA_TO_DEVICE);
        assert_int_equal(seen.count, bad);
        if (bad) {
            assert_string_equal(seen.class_name, "access-to-masked-section");
            assert_string_equal(seen.access, "call");
            assert_int_equal(seen.length, 8192);
            assert_true(seen.mapping);
        } else {
            __free_pages(page, MAX_PAGE_ORDER);
        }
        assert_int_equal(dk_machine_destroy(machine), bad);
    }
}

/* An access that begins in memory that is awake and ends in some that sleeps: the first part arrives. */
static void test_half(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT, NULL, 0, 1);
    struct device *dev = device_below(machine, "bus", "card");
    char bytes[64], back[64];
    struct page *page = NULL, *all[64];
    unsigned count = 0, i;

    (void)state;
    fill(bytes, sizeof(bytes), 3);
    /* The last block of a section that is followed by a sleeping one. */
    while (count < 64 && (all[count] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, MAX_PAGE_ORDER)))
        count++;
    for (i = 0; i < count; i++) {
        phys_addr_t phys = page_to_phys(all[i]);

        if (phys == BASE + 3 * SECTION - (4 << 20))
            page = all[i];
        else
            __free_pages(all[i], MAX_PAGE_ORDER);
    }
    assert_non_null(page);
    assert_int_equal(dk_master_write(dev, BASE + 3 * SECTION - 32, bytes, 64), 0);
    assert_int_equal(dk_check_count(machine, "access-to-masked-section"), 1);
    assert_memory_equal((char *)page_address(page) + (4 << 20) - 32, bytes, 32);
    assert_int_equal(dk_master_read(dev, BASE + 3 * SECTION - 32, back, 64), 0);
    assert_memory_equal(back, bytes, 32);
    assert_memory_not_equal(back + 32, bytes + 32, 32);
    assert_int_equal(dk_check_count(machine, "access-to-masked-section"), 2);
    __free_pages(page, MAX_PAGE_ORDER);
    dk_machine_destroy(machine);
}

/* A driver that keeps a section's memory for itself says what of it is unused; what was there is gone then.
 */
static void test_driver(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT, NULL, 0, 1);
    struct page *all[64] = { NULL }, *mine[8] = { NULL };
    struct dk_pasr_section section;
    struct pasr_die *die = dk_pasr_die_find("/rank");
    unsigned count = 0, kept = 0, i;
    char *buffer;

    (void)state;
    assert_int_equal(dk_pasr_section_read(die, 2, &section), 0);
    assert_true(section.asleep);
    while (count < 64 && (all[count] = alloc_pages(GFP_KERNEL | __GFP_NOWARN | __GFP_ZERO, MAX_PAGE_ORDER)))
        count++;
    for (i = 0; i < count; i++) {
        if (page_to_phys(all[i]) - section.base < section.size)
            mine[kept++] = all[i];
        else
            __free_pages(all[i], MAX_PAGE_ORDER);
    }
    assert_int_equal(kept, 8);
    buffer = page_address(mine[0]);
    fill(buffer, 4096, 5);
    /* A page of it is not the section. */
    dk_log_set_level(-1);
    assert_int_equal(pasr_put(page_to_phys(mine[0]), 4096), 0);
    assert_int_equal(pasr_put(page_to_phys(mine[0]), 4096), -EALREADY);
    assert_int_equal(pasr_get(page_to_phys(mine[0]), 4096), 0);
    assert_true(filled(buffer, 4096, 5));
    assert_int_equal(pasr_get(page_to_phys(mine[0]), 4096), -EALREADY);
    dk_log_set_level(1);
    assert_int_equal(pasr_put(section.base, section.size), 0);
    assert_int_equal(dk_pasr_section_read(die, 2, &section), 0);
    assert_true(section.asleep);
    assert_int_equal(pasr_get(section.base, section.size), 0);
    assert_false(filled(buffer, 64, 5));
    assert_int_equal(dk_check_count(machine, NULL), 0);
    /* A load or a store in between is seen by the next get. */
    assert_int_equal(pasr_put(section.base, section.size), 0);
    *(volatile char *)buffer = 1;
    assert_int_equal(pasr_get(section.base, section.size), 0);
    assert_int_equal(dk_check_count(machine, "access-to-masked-section"), 1);
    for (i = 0; i < 8; i++)
        __free_pages(mine[i], MAX_PAGE_ORDER);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

/* Machines of one board have dies of their own; boards without dies have none. */
static void test_many(void **state)
{
    struct dk_machine *one = machine_with(COHERENT, NULL, 0, 1), *two = machine_with(COHERENT, NULL, 0, 1),
                      *plain;
    struct pasr_die *die = dk_pasr_die_find("/rank");
    struct dk_pasr_statistics sum;
    struct page *page = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
    unsigned asleep = statistics().sections_asleep;

    (void)state;
    assert_non_null(page);
    dk_machine_enter(one);
    assert_int_equal(dk_pasr_read(die, &sum), -EINVAL);
    assert_int_not_equal(dk_pasr_die_find("/rank"), die);
    assert_true(statistics().sections_asleep >= asleep);
    plain = machine_with("coherent-pc.dts", NULL, 0, 1);
    assert_int_equal(statistics().dies, 0);
    assert_int_equal(pasr_put(0x1000, 0x1000), 0);
    assert_int_equal(dk_machine_destroy(plain), 0);
    assert_int_equal(dk_machine_destroy(one), 0);
    dk_machine_enter(two);
    __free_pages(page, MAX_PAGE_ORDER);
    assert_int_equal(dk_machine_destroy(two), 0);
}

static void test_each_allocation_fails(void **state)
{
    struct dk_board *board = board_from(BOARD);
    const struct dk_machine_options options = { .size = sizeof(options), .depth = 1 };
    unsigned long n, failed = 0;

    (void)state;
    assert_false(IS_ERR(board));
    dk_log_set_level(-1);
    for (n = 1; n < 5000; n++) {
        struct dk_machine *machine;

        dk_fail_nth(n);
        machine = dk_machine_create(board, &options);
        if (!dk_fail_hits()) {
            dk_fail_nth(0);
            dk_machine_destroy(machine);
            break;
        }
        dk_fail_nth(0);
        failed += IS_ERR(machine);
        if (IS_ERR(machine))
            continue;
        dk_machine_enter(machine);
        assert_int_equal(statistics().dies, 2);
        dk_machine_destroy(machine);
    }
    dk_log_set_level(1);
    assert_in_range(failed, 20, n);
    dk_board_free(board);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),       cmocka_unit_test(test_controller),
        cmocka_unit_test(test_late_device), cmocka_unit_test(test_maps_what_sleeps),
        cmocka_unit_test(test_half),        cmocka_unit_test(test_driver),
        cmocka_unit_test(test_many),        cmocka_unit_test(test_each_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
