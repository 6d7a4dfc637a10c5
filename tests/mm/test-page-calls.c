/* SPDX-License-Identifier: MIT */
/* The alloc_pages() family: references, compound and split pages, bulk requests; and what is told of memory.
 */
#include "fixture.h"

#include "mm/private.h"

#include <dmakit/memory-info.h>
#include <dmakit/migrate.h>
#include <linux/sysinfo.h>
#include <stdio.h>

/* DMA below 16 MiB, DMA32 below 4 GiB, ordinary memory above, and highmem. */
static const struct dk_memory_range ranges[] = { { 0, 32 * MIB }, { 4 * GIB, 32 * MIB } };
static const struct dk_memory_config pc = { .ranges = ranges,
                                            .range_count = 2,
                                            .line = 64,
                                            .zone_dma_end = 16 * MIB,
                                            .zone_dma32_end = 4 * GIB,
                                            .highmem = 8 * MIB };
#define PAGES ((u64)16384)

static void test_references(void **state)
{
    struct dk_memory *memory = make(&pc);
    struct page *page = alloc_pages_node(0, GFP_KERNEL, 2), *compound;

    (void)state;
    assert_int_equal(page_count(page), 1);
    assert_int_equal(page_count(page + 1), 0);
    assert_true(get_page_unless_zero(page));
    assert_true(try_get_page(page + 3));
    assert_int_equal(page_ref_count(page), 3);
    put_page(page);
    put_page(page);
    /* Not compound: each page for itself. */
    assert_false(PageCompound(page) || PageCompound(page + 1));
    assert_ptr_equal(compound_head(page + 1), page + 1);
    assert_int_equal(compound_order(page), 0);
    assert_int_equal(page_size(page), PAGE_SIZE);

    compound = alloc_pages(GFP_KERNEL | __GFP_COMP, 2);
    assert_true(PageHead(compound) && !PageTail(compound) && PageCompound(compound));
    assert_true(!PageHead(compound + 3) && PageTail(compound + 3) && PageCompound(compound + 3));
    assert_ptr_equal(compound_head(compound + 3), compound);
    assert_ptr_equal(compound_head(compound), compound);
    assert_int_equal(compound_order(compound), 2);
    assert_int_equal(compound_order(compound + 1), 0);
    assert_int_equal(compound_nr(compound), 4);
    get_page(compound + 2);
    assert_int_equal(page_count(compound + 1), 2);
    __free_pages(compound, 2);
    assert_int_equal(page_count(compound), 1);
    put_page(compound + 3);
    assert_int_equal(page_count(compound), 0);
    assert_false(PageCompound(compound + 1));
    assert_false(get_page_unless_zero(compound));
    assert_false(get_page_unless_zero((struct page *)&memory));
    /* A single page is never compound. */
    compound = alloc_page(GFP_KERNEL | __GFP_COMP);
    assert_false(PageCompound(compound));
    __free_page(compound);
    __free_pages(page, 2);
    assert_int_equal(page_count(page), 0);
    assert_true(silent());
    unmake(memory, PAGES);
}

/* What the page allocator has to give is freed memory; what is in use is not, nor what it never had. */
static void test_freed(void **state)
{
    struct dk_memory *memory = make(&pc);
    struct page *page, *block;
    phys_addr_t phys;

    (void)state;
    assert_int_equal(dk_memory_reserve(memory, MIB, MIB, true), 0);
    assert_false(dk_memory_is_freed(memory, MIB));
    assert_false(dk_memory_is_freed(memory, 2 * MIB - 1));
    assert_true(dk_memory_is_freed(memory, MIB - 1));
    assert_true(dk_memory_is_freed(memory, 2 * MIB));
    /* There is no memory at all. */
    assert_false(dk_memory_is_freed(memory, 32 * MIB));

    page = alloc_page(GFP_KERNEL);
    phys = page_to_phys(page);
    assert_false(dk_memory_is_freed(memory, phys));
    __free_page(page);
    assert_true(dk_memory_is_freed(memory, phys));
    block = alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER);
    phys = page_to_phys(block) + (PAGE_SIZE << MAX_PAGE_ORDER) - 1;
    assert_false(dk_memory_is_freed(memory, phys));
    __free_pages(block, MAX_PAGE_ORDER);
    assert_true(dk_memory_is_freed(memory, phys));
    unmake(memory, PAGES - 256);
}

static void test_splitting(void **state)
{
    struct dk_memory *memory = make(&pc);
    struct page *page = alloc_pages(GFP_KERNEL, 3), *compound = alloc_pages(GFP_KERNEL | __GFP_COMP, 1);
    unsigned i;

    (void)state;
    split_page(page, 2);
    assert_true(logged("not an allocation of this order"));
    split_page(page + 1, 0);
    assert_true(logged("not an allocation of this order"));
    get_page(page);
    split_page(page, 3);
    assert_true(logged("other references"));
    put_page(page);
    split_page(compound, 1);
    assert_true(logged("is compound"));
    split_page((struct page *)&i, 0);
    assert_true(logged("is not a page"));
    split_page(page, 3);
    assert_true(silent());
    __free_pages(page, 3);
    assert_true(logged("another number of pages"));
    for (i = 0; i < 8; i++) {
        assert_int_equal(page_count(page + i), 1);
        __free_page(page + i);
        assert_int_equal(page_count(page + i), 0);
    }
    __free_pages(compound, 1);
    assert_true(silent());
    page = dk_pages_take(memory, GFP_KERNEL, 4096, 4096, 4 * GIB, 4 * GIB + 24 * MIB - 1);
    assert_non_null(page);
    dk_pages_give(memory, page, 4096);
    unmake(memory, PAGES);
}

static void test_bulk(void **state)
{
    struct dk_memory *memory = make(&pc);
    struct page *pages[64] = { NULL }, *other = alloc_page(GFP_KERNEL), *all;
    unsigned i;

    (void)state;
    pages[5] = other;
    assert_int_equal(alloc_pages_bulk_array(GFP_KERNEL, 64, pages), 64);
    assert_ptr_equal(pages[5], other);
    assert_int_equal(dk_memory_free_pages(memory), PAGES - 64);
    assert_int_equal(alloc_pages_bulk(GFP_KERNEL, 64, pages), 64);
    for (i = 0; i < 64; i++) {
        __free_page(pages[i]);
        pages[i] = NULL;
    }
    /* Only what there is. */
    all = dk_pages_take(memory, GFP_DMA, 4096 - 10, 1, 0, 16 * MIB - 1);
    assert_int_equal(alloc_pages_bulk(GFP_DMA | __GFP_NOWARN, 64, pages), 10);
    assert_null(pages[10]);
    for (i = 0; i < 10; i++)
        __free_page(pages[i]);
    assert_int_equal(alloc_pages_bulk(GFP_KERNEL, 0, NULL), 0);
    dk_pages_give(memory, all, 4096 - 10);
    unmake(memory, PAGES);
}

static char text[8192];

static bool says(enum dk_memory_info which, const char *part)
{
    size_t length = dk_memory_info(which, text, sizeof(text));

    assert_in_range(length, 1, sizeof(text) - 1);
    assert_int_equal(strlen(text), length);
    if (!strstr(text, part))
        print_message("no \"%s\" in\n%s", part, text);
    return strstr(text, part);
}

static void test_information(void **state)
{
    struct dk_memory_config config = pc;
    struct sysinfo info;
    struct dk_memory *memory;
    struct page *page;
    char small[20];
    size_t length;

    (void)state;
    config.reserve = 64;
    memory = make(&config);
    assert_int_equal(dk_memory_reserve(memory, MIB, MIB, true), 0);
    assert_int_equal(nr_free_pages(), PAGES - 256);
    memset(&info, 0xff, sizeof(info));
    si_meminfo(&info);
    assert_int_equal(info.totalram, PAGES - 256);
    assert_int_equal(info.freeram, PAGES - 256);
    assert_int_equal(info.totalhigh, 2048);
    assert_int_equal(info.freehigh, 2048);
    assert_int_equal(info.mem_unit, PAGE_SIZE);
    assert_int_equal(info.totalswap, 0);
    assert_int_equal(info.sharedram, 0);
    /* Each zone keeps its high mark, and what requests for higher zones leave to it. */
    assert_int_equal(si_mem_available(), PAGES - 256 - (24 + 48) - (24 + 32) - (36 + 8) - 12);
    page = alloc_pages(GFP_KERNEL, 8);
    assert_int_equal(nr_free_pages(), PAGES - 512);
    __free_pages(page, 8);

    assert_true(says(DK_MEMINFO, "MemTotal:          64512 kB\n"));
    assert_true(says(DK_MEMINFO, "HighTotal:          8192 kB\n"));
    assert_true(says(DK_MEMINFO, "MemAvailable:      63776 kB\n"));
    assert_true(says(DK_ZONEINFO, "Node 0, zone      DMA\n  pages free     3840\n"
                                  "        min      16\n        low      20\n        high     24\n"
                                  "        spanned  4096\n        present  4096\n"
                                  "        protection: (0, 16, 40, 48)\n"
                                  "      nr_isolated  0\n  start_pfn:     0\n"));
    assert_true(says(DK_ZONEINFO, "Node 0, zone   Normal\n  pages free     6144\n"
                                  "        min      24\n        low      30\n        high     36\n"
                                  "        spanned  6144\n        present  6144\n"
                                  "        protection: (0, 0, 0, 8)\n"
                                  "      nr_isolated  0\n  start_pfn:     1048576\n"));
    assert_true(says(DK_ZONEINFO, "Node 0, zone  HighMem\n"));
    /* The reserved MiB leaves one below and two above it, of a block of four. */
    assert_true(says(
        DK_BUDDYINFO,
        "Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3\n"));
    assert_true(says(
        DK_BUDDYINFO,
        "Node 0, zone   Normal      0      0      0      0      0      0      0      0      0      0      6\n"));
    page = alloc_pages(GFP_KERNEL, 9);
    assert_true(says(
        DK_BUDDYINFO,
        "Node 0, zone   Normal      0      0      0      0      0      0      0      0      0      1      5\n"));
    assert_true(says(DK_PAGETYPEINFO,
                     "Page block order: 10\nPages per block:  1024\n\n"
                     "Free pages count per migrate type at order       0      1      2      3"
                     "      4      5      6      7      8      9     10\n"));
    assert_true(says(DK_PAGETYPEINFO, "\nNumber of blocks type       Unmovable      Movable      Isolate\n"));
    assert_true(says(DK_PAGETYPEINFO,
                     "Node    0, zone   Normal, type    Unmovable      0      0      0      0      0"
                     "      0      0      0      0      1      0\n"));
    assert_true(says(DK_PAGETYPEINFO, "Node 0, zone   Normal               1            5            0\n"));
    assert_true(says(DK_PAGETYPEINFO, "Node 0, zone    DMA32               0            4            0\n"));
    __free_pages(page, 9);

    /* As much as there is room for. */
    length = dk_memory_info(DK_MEMINFO, NULL, 0);
    assert_int_equal(dk_memory_info(DK_MEMINFO, small, sizeof(small)), length);
    assert_int_equal(strlen(small), sizeof(small) - 1);
    unmake(memory, PAGES - 256);
    assert_int_equal(dk_memory_info(DK_MEMINFO, text, sizeof(text)), 0);
    assert_int_equal(nr_free_pages(), 0);
    assert_int_equal(si_mem_available(), 0);
    si_meminfo(&info);
    assert_int_equal(info.totalram, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_references), cmocka_unit_test(test_freed),
                                        cmocka_unit_test(test_splitting), cmocka_unit_test(test_bulk),
                                        cmocka_unit_test(test_information) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
