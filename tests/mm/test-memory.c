/* SPDX-License-Identifier: MIT */
/* A memory as a whole: ranges, views, sections, lookups, reserving, many at once, fork. */
#include "fixture.h"

#include "base/context.h"
#include <dirent.h>
#include <dmakit/slab.h>
#include <dmakit/vmalloc.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__has_feature)
#define SANITIZED (__has_feature(thread_sanitizer) || __has_feature(address_sanitizer))
#elif defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

static void test_refused_configurations(void **state)
{
    static const struct {
        struct dk_memory_range ranges[2];
        unsigned count, line;
        long error;
    } cases[] = {
        { { { 0, 16 * MIB } }, 1, 64, 0 },
        { { { 0, 16 * MIB } }, 1, 16, 0 },
        { { { 0, 16 * MIB } }, 1, 4096, 0 },
        { { { 0, 16 * MIB } }, 1, 8, -EINVAL },
        { { { 0, 16 * MIB } }, 1, 8192, -EINVAL },
        { { { 0, 16 * MIB } }, 1, 48, -EINVAL },
        { { { 0, 16 * MIB }, { 16 * MIB, MIB } }, 2, 64, 0 },
        { { { 0, 16 * MIB }, { 16 * MIB - 1, MIB } }, 2, 64, -EINVAL },
        { { { 32 * MIB, MIB }, { 0, MIB } }, 2, 64, -EINVAL },
        { { { (1ull << 52) - MIB, MIB } }, 1, 64, 0 },
        { { { (1ull << 52) - MIB, MIB + 1 } }, 1, 64, -EINVAL },
        { { { 1ull << 52, 1 } }, 1, 64, -EINVAL },
        { { { ~0ull - 4095, 8192 } }, 1, 64, -EINVAL },
        { { { 100, 50 } }, 1, 64, 0 },
    };
    unsigned i;

    (void)state;
    dk_log_set_sink(count_line, NULL);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_memory *memory = dk_memory_create(&(struct dk_memory_config){
            .ranges = cases[i].ranges, .range_count = cases[i].count, .line = cases[i].line });

        if (PTR_ERR_OR_ZERO(memory) != cases[i].error)
            fail_msg("case %u: %d", i, PTR_ERR_OR_ZERO(memory));
        if (!IS_ERR(memory))
            dk_memory_destroy(memory);
    }
    dk_memory_destroy(NULL);
    dk_log_set_sink(NULL, NULL);
}

static void test_ranges_shrink_to_pages(void **state)
{
    const struct dk_memory_range ranges[] = { { 0x1001, 0x4000 }, { 0x8000, 0x1fff } };
    struct dk_memory *memory =
        make(&(struct dk_memory_config){ .ranges = ranges, .range_count = 2, .line = 64 });
    static const struct {
        phys_addr_t phys;
        u64 size;
        bool ram;
    } cases[] = {
        { 0x2000, 0x3000, true }, { 0x2000, 0x3001, false }, { 0x1fff, 2, false },     { 0x1fff, 1, false },
        { 0x4fff, 1, true },      { 0x5000, 1, false },      { 0x8000, 0x1000, true }, { 0x8fff, 1, true },
        { 0x8fff, 2, false },     { 0x4000, 0x5000, false }, { 0x2000, ~0ull, false }, { ~0ull, 1, false },
    };
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (dk_memory_is_ram(memory, cases[i].phys, cases[i].size) != cases[i].ram)
            fail_msg("0x%llx + 0x%llx", cases[i].phys, cases[i].size);
    }
    assert_int_equal(dk_memory_last(memory), 0x8fff);
    assert_int_equal(dk_memory_line(memory), 64);
    assert_false(dk_memory_two_views(memory));
    assert_null(dk_memory_hooks(memory));
    assert_null(dk_memory_machine(memory));
    unmake(memory, 4);
}

static void test_one_view_is_one(void **state)
{
    const struct dk_memory_range range = { GIB - MIB, 2 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct dk_section *section = dk_memory_section(memory, GIB - 1);

    (void)state;
    assert_non_null(section);
    assert_int_equal(section->base, 0);
    assert_ptr_equal(section->cached, section->dram);
    assert_null(section->fill);
    assert_null(section->filled);
    assert_ptr_equal(section, dk_memory_section(memory, 0));
    assert_ptr_not_equal(section, dk_memory_section(memory, GIB));
    /* Behind a section's struct pages comes nothing, and not the next section's. */
    assert_int_equal(page_to_phys(section->pages + GIB / PAGE_SIZE - 1), GIB - PAGE_SIZE);
    assert_int_equal(page_to_phys(section->pages + GIB / PAGE_SIZE), ~0ull);
    assert_null(dk_memory_section(memory, 2 * GIB));
    assert_null(dk_memory_section(memory, 1ull << 52));
    assert_null(dk_memory_cached(memory, 1ull << 51));
    assert_null(dk_memory_dram(memory, 1ull << 51));
    assert_int_equal(section->cached_slot.linear, MIB);
    assert_int_equal(section->cached_slot.linear_start, GIB - MIB);
    unmake(memory, 512);
}

static void test_two_views_differ(void **state)
{
    const struct dk_memory_range range = { 0x80000000, 16 * MIB };
    struct dk_memory_config config = small_config(&range);
    struct dk_section *section;
    struct dk_memory *memory, *owner;
    phys_addr_t phys;
    char *window;

    (void)state;
    config.two_views = true;
    memory = make(&config);
    section = dk_memory_section(memory, 0x80000000);
    assert_non_null(section);
    assert_ptr_not_equal(section->cached, section->dram);
    assert_non_null(section->fill);
    assert_non_null(section->filled);
    dk_memory_cached(memory, 0x80001000)[3] = 7;
    assert_int_equal(dk_memory_dram(memory, 0x80001000)[3], 0);
    dk_memory_dram(memory, 0x80001000)[3] = 9;
    assert_int_equal(dk_memory_cached(memory, 0x80001000)[3], 7);
    section->fill[DK_SLOT_SIZE - 1] = 1;
    section->filled[DK_SLOT_SIZE / 64 / 64 - 1] = 1;
    assert_int_equal(dk_address_find(dk_memory_dram(memory, 0x80001000) + 5, &owner, &phys),
                     DK_ADDRESS_UNCACHED);
    assert_int_equal(phys, 0x80001005);
    assert_ptr_equal(owner, memory);

    window = mmap(NULL, 2 * PAGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(dk_memory_show(memory, window, 0x80001000, PAGE_SIZE, false), 0);
    assert_int_equal(dk_memory_show(memory, window + PAGE_SIZE, 0x80001000, PAGE_SIZE, true), 0);
    assert_int_equal(window[3], 7);
    assert_int_equal(window[PAGE_SIZE + 3], 9);
    assert_int_equal(dk_memory_show(memory, window + 1, 0x80001000, PAGE_SIZE, true), -EINVAL);
    assert_int_equal(dk_memory_show(memory, window, 0x80001001, PAGE_SIZE, true), -EINVAL);
    assert_int_equal(dk_memory_show(memory, window, 0x80001000, 5, true), -EINVAL);
    assert_int_equal(dk_memory_show(memory, window, 0x80001000, 0, true), -EINVAL);
    assert_int_equal(dk_memory_show(memory, window, 0x90001000, PAGE_SIZE, true), -EINVAL);
    munmap(window, 2 * PAGE_SIZE);
    unmake(memory, 4096);
    assert_null(dk_slot_find(section));
}

static void test_lookups(void **state)
{
    const struct dk_memory_range ranges[] = { { 0, 4 * MIB }, { 8 * MIB, 8 * MIB } };
    struct dk_memory *memory =
        make(&(struct dk_memory_config){ .ranges = ranges, .range_count = 2, .line = 64 });
    char *base = dk_memory_cached(memory, 0), *start = base;
    struct page *pages = dk_memory_section(memory, 0)->pages;
    struct dk_slot *registers;
    struct dk_memory *owner;
    phys_addr_t phys;
    int local;
    struct {
        const void *address;
        enum dk_address_kind kind;
        phys_addr_t phys;
    } cases[] = {
        { &local, DK_ADDRESS_HOST, ~0ull },
        { NULL, DK_ADDRESS_HOST, ~0ull },
        { (void *)~(uintptr_t)0, DK_ADDRESS_HOST, ~0ull },
        { base, DK_ADDRESS_LINEAR, 0 },
        { base + 4 * MIB - 1, DK_ADDRESS_LINEAR, 4 * MIB - 1 },
        { base + 4 * MIB, DK_ADDRESS_HOLE, 4 * MIB },
        { base + 8 * MIB - 1, DK_ADDRESS_HOLE, 8 * MIB - 1 },
        { base + 8 * MIB, DK_ADDRESS_LINEAR, 8 * MIB },
        { base + 16 * MIB - 1, DK_ADDRESS_LINEAR, 16 * MIB - 1 },
        { base + 16 * MIB, DK_ADDRESS_HOLE, 16 * MIB },
        { base + GIB - 1, DK_ADDRESS_HOLE, GIB - 1 },
        { pages, DK_ADDRESS_PAGES, 0 },
        { pages + 1023, DK_ADDRESS_PAGES, 4 * MIB - 4096 },
        { pages + 1024, DK_ADDRESS_HOLE, ~0ull },
        { (char *)pages + 1, DK_ADDRESS_HOLE, ~0ull },
        { (char *)pages + GIB - 4096, DK_ADDRESS_HOLE, ~0ull },
    };
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (dk_address_find(cases[i].address, &owner, &phys) != cases[i].kind || phys != cases[i].phys ||
            owner != (cases[i].kind == DK_ADDRESS_HOST ? NULL : memory))
            fail_msg("case %u: kind %d, phys 0x%llx", i, dk_address_find(cases[i].address, &owner, &phys),
                     phys);
    }
    registers = dk_memory_take_slot(memory, DK_SLOT_REGISTERS);
    assert_non_null(registers);
    assert_int_equal(dk_address_find(registers->start + 5, &owner, &phys), DK_ADDRESS_REGISTERS);
    assert_int_equal((uintptr_t)registers->start % DK_SLOT_SIZE, 0);
    assert_ptr_equal(owner, memory);

    assert_int_equal(virt_to_phys(base + 100), 100);
    assert_int_equal(virt_to_phys(base + 4 * MIB), ~0ull);
    assert_int_equal(virt_to_phys(&local), ~0ull);
    assert_int_equal(virt_to_phys(pages), ~0ull);
    assert_true(virt_addr_valid(base));
    assert_false(virt_addr_valid(base + 5 * MIB));
    assert_ptr_equal(virt_to_page(base + 8192), pages + 2);
    assert_null(virt_to_page(&local));
    assert_ptr_equal(phys_to_virt(9 * MIB), base + 9 * MIB);
    assert_null(phys_to_virt(5 * MIB));
    assert_ptr_equal(phys_to_page(12345), pages + 3);
    assert_null(phys_to_page(4 * MIB));
    assert_ptr_equal(pfn_to_page(7), pages + 7);
    assert_int_equal(page_to_pfn(pages + 7), 7);
    assert_int_equal(page_to_phys((struct page *)&local), ~0ull);
    assert_true(pfn_valid(1023));
    assert_false(pfn_valid(1024));
    assert_false(pfn_valid(~0ul));
    assert_ptr_equal(page_address(pages + 1), base + 4096);
    assert_null(page_address(pages + 1024));
    assert_false(PageHighMem(pages));
    unmake(memory, 3072);
    assert_int_equal(dk_address_find(start, &owner, &phys), DK_ADDRESS_HOST);
}

static void test_reserve(void **state)
{
    const struct dk_memory_range range = { 0, 64 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct dk_memory *owner;
    phys_addr_t phys;
    struct page *page;
    char *base;
    u64 before;

    (void)state;
    assert_int_equal(dk_memory_reserve(memory, 10 * MIB + 1, 2 * PAGE_SIZE, true), 0);
    /* Two pages and a byte more touch three. */
    assert_int_equal(dk_memory_free_pages(memory), 16384 - 3);
    assert_int_equal(dk_memory_reserve(memory, 10 * MIB, PAGE_SIZE, true), 0);
    assert_int_equal(dk_memory_free_pages(memory), 16384 - 3);
    assert_int_equal(dk_memory_reserve(memory, 60 * MIB, 100 * MIB, true), 0);
    assert_int_equal(dk_memory_reserve(memory, GIB, MIB, true), 0);
    assert_int_equal(dk_memory_reserve(memory, 1ull << 53, MIB, true), 0);
    assert_int_equal(dk_memory_reserve(memory, 5, 0, true), 0);
    assert_int_equal(dk_memory_free_pages(memory), 16384 - 3 - 1024);
    assert_true(dk_memory_is_ram(memory, 0, 64 * MIB));

    base = dk_memory_cached(memory, 0);
    assert_int_equal(dk_address_find(base + 20 * MIB, &owner, &phys), DK_ADDRESS_LINEAR);
    assert_int_equal(dk_memory_reserve(memory, 20 * MIB, MIB, false), 0);
    assert_int_equal(dk_address_find(base + 20 * MIB, &owner, &phys), DK_ADDRESS_HOLE);
    assert_int_equal(phys, 20 * MIB);
    assert_int_equal(dk_address_find(base + 21 * MIB, &owner, &phys), DK_ADDRESS_LINEAR);
    assert_int_equal(dk_address_find(base + 20 * MIB - 1, &owner, &phys), DK_ADDRESS_LINEAR);
    assert_null(page_address(phys_to_page(20 * MIB)));
    assert_true(PageHighMem(phys_to_page(20 * MIB)));
    assert_null(phys_to_virt(20 * MIB));

    page = dk_pages_take(memory, GFP_KERNEL, 1, 1, 30 * MIB, 30 * MIB + PAGE_SIZE - 1);
    assert_non_null(page);
    assert_int_equal(page_to_phys(page), 30 * MIB);
    before = dk_memory_free_pages(memory);
    assert_int_equal(dk_memory_reserve(memory, 29 * MIB, 2 * MIB, false), -EBUSY);
    assert_int_equal(dk_memory_free_pages(memory), before);
    assert_int_equal(dk_address_find(base + 29 * MIB, &owner, &phys), DK_ADDRESS_LINEAR);
    /* Right beside it there is room: in lists below, in an extent further down. */
    assert_int_equal(dk_memory_reserve(memory, 25 * MIB, 5 * MIB, true), 0);
    assert_int_equal(dk_memory_reserve(memory, 30 * MIB + PAGE_SIZE, 3 * PAGE_SIZE, true), 0);
    dk_pages_give(memory, page, 1);
    before = dk_memory_free_pages(memory);
    assert_int_equal(before, 16384 - 3 - 1024 - 256 - 5 * 256 - 3);
    /* All that is left can be taken, and none of it is reserved. */
    while ((page = dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0))) {
        phys = page_to_phys(page);
        assert_false(phys >= 10 * MIB && phys < 10 * MIB + 3 * PAGE_SIZE);
        assert_false(phys >= 20 * MIB && phys < 21 * MIB);
        assert_false(phys >= 25 * MIB && phys < 30 * MIB);
        assert_false(phys > 30 * MIB && phys < 30 * MIB + 4 * PAGE_SIZE);
        assert_true(phys < 60 * MIB);
        before--;
    }
    assert_int_equal(before, 0);
    unmake(memory, 0);
}

/* What is left between reserved pieces, in whatever order they were taken, stays whole. */
static void test_reserve_cuts_extents(void **state)
{
    static const unsigned orders[][3] = { { 48, 16, 32 }, { 16, 32, 48 }, { 32, 48, 16 } };
    static const unsigned left[][2] = { { 0, 16 }, { 20, 32 }, { 36, 48 }, { 52, 64 } };
    const struct dk_memory_range range = { 0, 64 * MIB };
    const struct dk_memory_config config = small_config(&range);
    unsigned i, j;

    (void)state;
    for (i = 0; i < 3; i++) {
        struct dk_memory *memory = make(&config);

        for (j = 0; j < 3; j++)
            assert_int_equal(dk_memory_reserve(memory, orders[i][j] * MIB, 4 * MIB, true), 0);
        assert_int_equal(dk_memory_free_pages(memory), 13312);
        for (j = 0; j < 4; j++) {
            struct page *page = dk_pages_take(memory, GFP_KERNEL, (left[j][1] - left[j][0]) * 256, 1,
                                              left[j][0] * MIB, left[j][1] * MIB - 1);

            assert_non_null(page);
        }
        unmake(memory, 0);
    }
}

/* What is around the reserved pages of a block stays free, wherever in it they lie. */
static void test_reserve_cuts_blocks(void **state)
{
    static const u64 offsets[] = { 512, 513, 600, 1022, 1023 };
    const struct dk_memory_range range = { GIB, 16 * MIB };
    struct dk_memory_config config = small_config(&range);
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
        struct dk_memory *memory = make(&config);
        /* Leaves blocks of 1, 2, 4 and so on up to 512 pages. */
        struct page *page = dk_pages_take(memory, 0, 1, 1, GIB, GIB + PAGE_SIZE - 1);

        assert_non_null(page);
        assert_int_equal(dk_memory_reserve(memory, GIB + offsets[i] * PAGE_SIZE, PAGE_SIZE, true), 0);
        assert_int_equal(dk_memory_free_pages(memory), 16 * MIB / PAGE_SIZE - 2);
        dk_pages_give(memory, page, 1);
        unmake(memory, 16 * MIB / PAGE_SIZE - 1);
    }
}

static void test_add(void **state)
{
    const struct dk_memory_range range = { 64 * MIB, 64 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct dk_memory *owner;
    phys_addr_t phys;

    (void)state;
    assert_int_equal(dk_memory_add(memory, 0, 0), -EINVAL);
    assert_int_equal(dk_memory_add(memory, 1, PAGE_SIZE), -EINVAL);
    assert_int_equal(dk_memory_add(memory, PAGE_SIZE, 5), -EINVAL);
    assert_int_equal(dk_memory_add(memory, 1ull << 52, PAGE_SIZE), -EINVAL);
    assert_int_equal(dk_memory_add(memory, (1ull << 52) - PAGE_SIZE, 2 * PAGE_SIZE), -EINVAL);
    assert_int_equal(dk_memory_add(memory, ~0ull & PAGE_MASK, 2 * PAGE_SIZE), -EINVAL);
    assert_int_equal(dk_memory_add(memory, 60 * MIB, 4 * MIB + PAGE_SIZE), -EBUSY);
    assert_int_equal(dk_memory_add(memory, 128 * MIB - PAGE_SIZE, PAGE_SIZE), -EBUSY);
    assert_false(dk_memory_is_ram(memory, 5 * GIB, 1));
    assert_null(dk_memory_cached(memory, 5 * GIB));
    assert_int_equal(dk_memory_add(memory, 5 * GIB, MIB), 0);
    assert_int_equal(dk_memory_add(memory, 5 * GIB, MIB), -EBUSY);
    assert_int_equal(dk_memory_add(memory, 32 * MIB, 32 * MIB), 0);
    assert_int_equal(dk_memory_add(memory, 128 * MIB, MIB), 0);
    assert_true(dk_memory_is_ram(memory, 32 * MIB, 97 * MIB));
    assert_int_equal(dk_memory_last(memory), 128 * MIB - 1);
    assert_int_equal(dk_address_find(dk_memory_cached(memory, 5 * GIB), &owner, &phys), DK_ADDRESS_LINEAR);
    assert_int_equal(phys, 5 * GIB);
    assert_null(dk_pages_take(memory, GFP_KERNEL | __GFP_NOWARN, 1, 1, 5 * GIB, 6 * GIB));
    unmake(memory, 16384);
}

static long resident_kib(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    assert_non_null(file);
    assert_int_equal(fscanf(file, "%ld %ld", &size, &resident), 2);
    fclose(file);
    return resident * (long)(PAGE_SIZE >> 10);
}

static void test_sixteen_tebibytes(void **state)
{
    const struct dk_memory_range ranges[] = { { 0, 2 * GIB }, { 4 * GIB, 16384 * GIB } };
    struct timespec before, after;
    struct dk_memory *memory;
    struct page *page, *last;
    long resident = resident_kib();
    double milliseconds;

    (void)state;
    clock_gettime(CLOCK_MONOTONIC, &before);
    memory = make(&(struct dk_memory_config){
        .ranges = ranges, .range_count = 2, .line = 64, .two_views = true, .zone_dma32_end = 4 * GIB });
    assert_int_equal(dk_memory_reserve(memory, 8192 * GIB, 1024 * GIB, false), 0);
    page = dk_pages_allocate(memory, GFP_KERNEL | __GFP_ZERO, 10);
    last = dk_pages_take(memory, GFP_DMA32, 3, 4, 0, GIB);
    /* More than a section, and more than any block. */
    assert_non_null(page);
    assert_non_null(last);
    assert_int_equal(page_to_phys(page), 16388 * GIB - 4 * MIB);
    assert_int_equal(page_to_phys(last), GIB - 4 * PAGE_SIZE);
    dk_pages_give(memory, page, 1024);
    dk_pages_give(memory, last, 3);
    page = dk_pages_take(memory, GFP_KERNEL, 1000 * DK_SLOT_SIZE / PAGE_SIZE, 1, 0, ~0ull);
    assert_non_null(page);
    dk_pages_give(memory, page, 1000 * DK_SLOT_SIZE / PAGE_SIZE);
    clock_gettime(CLOCK_MONOTONIC, &after);
    milliseconds =
        (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
    print_message("16 TiB: %.2f ms, %ld KiB\n", milliseconds, resident_kib() - resident);
    /* A sanitizer's own bookkeeping counts here. */
    if (!SANITIZED) {
        assert_true(milliseconds < 50);
        assert_true(resident_kib() - resident < 50 * 1024);
    }
    unmake(memory, (2 + 16384 - 1024) * GIB / PAGE_SIZE);
}

static void test_current(void **state)
{
    const struct dk_memory_range range = { 0, 16 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *first, *second;
    struct page *page;

    (void)state;
    assert_null(dk_memory_current());
    dk_log_set_sink(count_line, NULL);
    log_lines = 0;
    assert_null(alloc_pages(GFP_KERNEL, 0));
    assert_true(logged("no machine"));
    assert_null(phys_to_page(0));
    assert_null(phys_to_virt(0));
    assert_false(pfn_valid(0));
    first = make(&config);
    assert_ptr_equal(dk_memory_current(), first);
    second = make(&config);
    assert_null(dk_memory_current());
    assert_null(alloc_pages(GFP_KERNEL, 0));
    assert_true(logged("no machine"));
    assert_null(dk_memory_enter(second));
    assert_ptr_equal(dk_memory_current(), second);
    page = alloc_pages(GFP_KERNEL, 0);
    assert_int_equal(dk_memory_free_pages(first), 4096);
    assert_int_equal(dk_memory_free_pages(second), 4095);
    assert_ptr_equal(dk_memory_enter(first), second);
    assert_ptr_equal(dk_memory_current(), first);
    /* A page knows whose it is. */
    __free_pages(page, 0);
    assert_int_equal(dk_memory_free_pages(second), 4096);
    assert_ptr_equal(dk_memory_enter(NULL), first);
    assert_null(dk_memory_current());
    dk_memory_enter(first);
    dk_memory_destroy(first);
    assert_ptr_equal(dk_memory_current(), second);
    assert_null(dk_memory_enter(second));
    /* What comes to stand at the place of one that is gone was not entered. */
    dk_memory_destroy(second);
    assert_null(dk_memory_current());
    dk_log_set_sink(NULL, NULL);
}

struct worker {
    pthread_t thread;
    unsigned number;
    struct dk_memory *shared;
    const char *wrong;
};

static void *work(void *data)
{
    struct worker *worker = data;
    const struct dk_memory_range range = { worker->number * GIB, 32 * MIB };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    unsigned round, i;

    config.two_views = worker->number & 1;
    for (round = 0; round < 5; round++) {
        struct page *pages[16], *shared[16];

        memory = dk_memory_create(&config);
        if (IS_ERR(memory)) {
            worker->wrong = "not created";
            return NULL;
        }
        dk_memory_enter(memory);
        for (i = 0; i < 16; i++) {
            pages[i] = alloc_pages(GFP_KERNEL | __GFP_ZERO, i % 4);
            shared[i] = dk_pages_take(worker->shared, GFP_KERNEL, i + 1, 1, i % 3 * GIB, ~0ull);
            if (!pages[i] || page_to_phys(pages[i]) < range.base ||
                page_to_phys(pages[i]) >= range.base + range.size)
                worker->wrong = "page of another";
            if (!shared[i])
                worker->wrong = "no shared page";
            memset(page_address(pages[i]), (int)worker->number, PAGE_SIZE);
            memset(page_address(shared[i]), (int)worker->number, PAGE_SIZE);
            get_page(shared[i]);
        }
        for (i = 0; i < 16; i++) {
            const char *mine = page_address(pages[i]), *ours = page_address(shared[i]);

            if (mine[PAGE_SIZE - 1] != (char)worker->number || ours[PAGE_SIZE - 1] != (char)worker->number)
                worker->wrong = "page shared by mistake";
            put_page(shared[i]);
            dk_pages_give(worker->shared, shared[i], i + 1);
            __free_pages(pages[i], i % 4);
        }
        if (dk_memory_free_pages(memory) != 8192)
            worker->wrong = "leak";
        dk_memory_destroy(memory);
    }
    return NULL;
}

static void test_many_in_threads(void **state)
{
    const struct dk_memory_range range = { 0, 4 * GIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *shared = make(&config);
    struct worker workers[4] = { 0 };
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++) {
        workers[i].number = i + 1;
        workers[i].shared = shared;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_null(workers[i].wrong);
    }
    unmake(shared, 4 * GIB / PAGE_SIZE);
}

/* What the child of a fork finds wrong, as its exit status. */
static int child(struct dk_memory *memory, const char *address, struct page *page)
{
    const struct dk_memory_range range = { 0, 16 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *own;
    int status = 0;

    status |= dk_memory_forked(memory) ? 0 : 1;
    status |= dk_memory_current() ? 2 : 0;
    status |= alloc_pages(GFP_KERNEL, 0) ? 4 : 0;
    status |= dk_pages_allocate(memory, GFP_KERNEL, 0) ? 4 : 0;
    status |= virt_addr_valid(address) || page_address(page) ? 8 : 0;
    status |= dk_memory_section(memory, 0) ? 16 : 0;
    dk_memory_enter(memory);
    status |= dk_memory_current() ? 32 : 0;
    dk_memory_destroy(memory);
    own = dk_memory_create(&config);
    status |= IS_ERR(own) || dk_memory_current() != own || dk_memory_forked(own) ? 64 : 0;
    status |= alloc_pages(GFP_KERNEL, 0) ? 0 : 64;
    if (!IS_ERR(own))
        dk_memory_destroy(own);
    return status;
}

static void test_fork(void **state)
{
    const struct dk_memory_range range = { 0, 4 * GIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct page *page = alloc_pages(GFP_KERNEL, 0);
    char *address = page_address(page);
    int status;
    pid_t pid;

    (void)state;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    /* exit(): a leak checker looks at the child too. */
    if (!pid)
        exit(child(memory, address, page));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_false(dk_memory_forked(memory));
    assert_true(virt_addr_valid(address));
    __free_pages(page, 0);
    unmake(memory, 4 * GIB / PAGE_SIZE);
}

/* A limit on file sizes is an error, not the signal that goes with it. */
static void test_file_limit(void **state)
{
    const struct rlimit small = { .rlim_cur = 1 << 20, .rlim_max = RLIM_INFINITY };
    const struct dk_memory_range range = { 0, 4 * GIB };
    const struct dk_memory_config config = small_config(&range);
    int status;
    pid_t pid;

    (void)state;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        struct dk_memory *memory;

        setrlimit(RLIMIT_FSIZE, &small);
        memory = dk_memory_create(&config);
        exit(PTR_ERR_OR_ZERO(memory) != -EFBIG);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* A program without descriptors to spare is told so, and not that memory is out. */
static void test_descriptor_limit(void **state)
{
    const struct dk_memory_range range = { 0, 4 * GIB };
    struct dk_memory_config config = small_config(&range);
    struct rlimit limit;
    int status, spare;
    pid_t pid;

    (void)state;
    config.two_views = true; /* two files */
    fflush(NULL);
    for (spare = 0; spare < 2; spare++) {
        pid = fork();
        assert_true(pid >= 0);
        if (!pid) {
            struct dk_memory *memory;
            int next = dup(0);

            getrlimit(RLIMIT_NOFILE, &limit);
            limit.rlim_cur = (rlim_t)(next + spare);
            close(next);
            setrlimit(RLIMIT_NOFILE, &limit);
            memory = dk_memory_create(&config);
            /* Nor is the one that it could have left open. */
            _exit(PTR_ERR_OR_ZERO(memory) != -EMFILE || (spare && dup(0) != next));
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

#ifdef __x86_64__
/* A sandbox that does not know the call that makes memory files is out of memory, and no success. */
static void test_sandbox(void **state)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = { sizeof(rules) / sizeof(rules[0]), rules };
    const struct dk_memory_range range = { 0, 4 * GIB };
    const struct dk_memory_config config = small_config(&range);
    int status;
    pid_t pid;

    (void)state;
    fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
            _exit(77);
        _exit(PTR_ERR_OR_ZERO(dk_memory_create(&config)) != -ENOMEM);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip(); /* no filters here */
    assert_int_equal(WEXITSTATUS(status), 0);
}
#endif

/* What a process has of the host. */
struct holdings {
    size_t heap;
    long address_space, descriptors;
};

static struct holdings count_holdings(void)
{
    struct holdings holdings = { .heap = mallinfo2().uordblks };
    FILE *file = fopen("/proc/self/statm", "r");
    DIR *folder = opendir("/proc/self/fd");

    assert_non_null(file);
    assert_non_null(folder);
    assert_int_equal(fscanf(file, "%ld", &holdings.address_space), 1);
    fclose(file);
    while (readdir(folder))
        holdings.descriptors++;
    closedir(folder);
    return holdings;
}

/* Uses a bit of everything and leaves it all to dk_memory_destroy(). */
static void live_and_die(bool two_views)
{
    const struct dk_memory_range ranges[] = { { 0, 16 * MIB }, { 1ull << 45, 2 * GIB } };
    struct dk_memory *memory = make(&(struct dk_memory_config){
        .ranges = ranges, .range_count = 2, .line = 4096, .two_views = two_views, .highmem = GIB });
    struct kmem_cache *cache = kmem_cache_create("left", 100, 0, 0, NULL);
    unsigned i;

    assert_int_equal(dk_memory_reserve(memory, MIB, MIB, true), 0);
    assert_int_equal(dk_memory_add(memory, 64 * MIB, MIB), 0);
    for (i = 0; i < 100; i++) {
        assert_non_null(kmem_cache_alloc(cache, GFP_KERNEL));
        assert_non_null(kmalloc(i * 10 + 1, GFP_KERNEL));
        assert_non_null(vmalloc(i * 100 + 1));
        assert_non_null(dk_pages_take(memory, GFP_KERNEL, 5, 1, i * PAGE_SIZE * 10, ~0ull));
    }
    assert_non_null(kmap(alloc_page(GFP_HIGHUSER)));
    assert_non_null(dk_memory_section(memory, 0));
    assert_non_null(dk_memory_take_slot(memory, DK_SLOT_REGISTERS));
    assert_false(IS_ERR(dk_memory_section(memory, 1ull << 45)));
    dk_memory_destroy(memory);
}

static void test_nothing_is_left(void **state)
{
    struct holdings before, after;
    unsigned i;
    size_t slot;

    (void)state;
    /* The first rounds make what the process keeps: streams, arenas, malloc()'s caches of free chunks. */
    for (i = 0; i < 10; i++) {
        live_and_die(false);
        live_and_die(true);
        count_holdings();
    }
    /* A leak shows in each further round; chunks that malloc() splits another time do not. */
    after = count_holdings();
    for (i = 0; i < 5 && (!i || after.heap > before.heap); i++) {
        before = after;
        live_and_die(false);
        live_and_die(true);
        after = count_holdings();
    }
    assert_int_equal(after.descriptors, before.descriptors);
    for (slot = 0; slot < DK_SLOT_COUNT; slot++)
        assert_null(dk_slots[slot]);
    if (!SANITIZED) {
        assert_true(after.heap <= before.heap);
        assert_int_equal(after.address_space, before.address_space);
    }
    dk_log_set_sink(NULL, NULL);
}

static unsigned findings;
static const char *finding_call;

static void take_finding(void *data, const struct dk_finding *finding)
{
    assert_ptr_equal(data, &findings);
    assert_string_equal(finding->class_name, "sleeps-in-atomic");
    assert_null(finding->dev);
    assert_true(finding->dma == ~(dma_addr_t)0);
    finding_call = finding->call;
    findings++;
}

static void test_sleeping(void **state)
{
    const struct dk_memory_range range = { 0, 16 * MIB };
    const struct dk_hooks hooks = { .data = &findings, .finding = take_finding };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    struct page *page;

    (void)state;
    config.hooks = &hooks;
    config.machine = &config;
    memory = make(&config);
    assert_ptr_equal(dk_memory_hooks(memory), &hooks);
    assert_ptr_equal(dk_memory_machine(memory), &config);
    findings = 0;
    page = alloc_pages(GFP_KERNEL, 0);
    __free_pages(page, 0);
    assert_int_equal(findings, 0);
    dk_context()->atomic_depth++;
    page = alloc_pages(GFP_ATOMIC, 0);
    assert_int_equal(findings, 0);
    __free_pages(page, 0);
    page = alloc_pages(GFP_KERNEL, 0);
    assert_int_equal(findings, 1);
    assert_string_equal(finding_call, "alloc_pages");
    __free_pages(page, 0);
    free_page(__get_free_page(GFP_KERNEL));
    assert_int_equal(findings, 2);
    assert_string_equal(finding_call, "__get_free_pages");
    free_pages_exact(alloc_pages_exact(1, GFP_KERNEL), 1);
    assert_int_equal(findings, 3);
    assert_string_equal(finding_call, "alloc_pages_exact");
    free_pages_exact(alloc_pages_exact(1, GFP_NOWAIT), 1);
    dk_might_sleep_gfp(NULL, GFP_KERNEL, "nobody");
    assert_int_equal(findings, 3);
    dk_context()->atomic_depth--;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "allowed");
    assert_int_equal(findings, 3);
    unmake(memory, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_configurations),
        cmocka_unit_test(test_ranges_shrink_to_pages),
        cmocka_unit_test(test_one_view_is_one),
        cmocka_unit_test(test_two_views_differ),
        cmocka_unit_test(test_lookups),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_reserve_cuts_extents),
        cmocka_unit_test(test_reserve_cuts_blocks),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_sixteen_tebibytes),
        cmocka_unit_test(test_current),
        cmocka_unit_test(test_many_in_threads),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_file_limit),
        cmocka_unit_test(test_descriptor_limit),
#ifdef __x86_64__
        cmocka_unit_test(test_sandbox),
#endif
        cmocka_unit_test(test_nothing_is_left),
        cmocka_unit_test(test_sleeping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
