/* SPDX-License-Identifier: MIT */
/* Contiguous memory areas: places, alignment, releases that are refused, references. */
#include "fixture.h"

#include "base/context.h"
#include "mm/cma.h"
#include <dmakit/slab.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGES (64 * MIB / PAGE_SIZE)
#define AREA_PAGES 1024u

static const struct dk_memory_range range = { GIB, 64 * MIB };

static struct dk_memory *make_area(u64 seed, unsigned order_per_bit, phys_addr_t base, struct cma **cma)
{
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;

    config.seed = seed;
    memory = make(&config);
    assert_int_equal(dk_memory_reserve(memory, base, AREA_PAGES * PAGE_SIZE, true), 0);
    *cma = dk_cma_create(memory, base, AREA_PAGES * PAGE_SIZE, order_per_bit, "frames");
    assert_false(IS_ERR(*cma));
    return memory;
}

static void test_places(void **state)
{
    /* The area starts three pages above an aligned address: alignment counts from address 0. */
    const phys_addr_t base = GIB + 16 * MIB + 3 * PAGE_SIZE;
    static const struct {
        unsigned long count;
        unsigned align;
        long place; /* pages from the area's start; -1: none */
    } cases[] = {
        { 1, 0, 0 },    { 5, 0, 1 },     { 1, 2, 9 },    { 1, 0, 6 },     { 2, 0, 7 },    { 1, 8, 253 },
        { 200, 0, 10 }, { 600, 0, 254 }, { 171, 0, -1 }, { 170, 0, 854 }, { 43, 0, 210 }, { 1, 0, -1 },
    };
    struct page *pages[12];
    struct dk_memory *memory;
    struct cma *cma;
    unsigned i;

    (void)state;
    memory = make_area(0, 0, base, &cma);
    assert_int_equal(cma_get_base(cma), base);
    assert_int_equal(cma_get_size(cma), AREA_PAGES * PAGE_SIZE);
    assert_string_equal(cma_get_name(cma), "frames");
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    for (i = 0; i < 12; i++) {
        pages[i] = cma_alloc(cma, cases[i].count, cases[i].align, true);
        if (pages[i] ? page_to_phys(pages[i]) != base + (u64)cases[i].place * PAGE_SIZE
                     : cases[i].place != -1)
            fail_msg("case %u: page %lld", i,
                     pages[i] ? (long long)(page_to_phys(pages[i]) - base) / 4096 : -1);
    }
    assert_int_equal(dk_cma_free_pages(cma), 0);
    assert_true(silent());
    for (i = 0; i < 12; i++) {
        if (pages[i])
            assert_true(cma_release(cma, pages[i], cases[i].count));
    }
    assert_true(silent());
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    pages[0] = cma_alloc(cma, AREA_PAGES, 0, false);
    assert_true(cma_release(cma, pages[0], AREA_PAGES));
    dk_cma_destroy(cma);
    dk_cma_destroy(NULL);
    unmake(memory, PAGES - AREA_PAGES);
}

static void test_refused(void **state)
{
    struct dk_memory *memory;
    struct page *pages, *foreign;
    struct cma *cma;
    int local;

    (void)state;
    memory = make_area(0, 0, GIB + 16 * MIB, &cma);
    assert_int_equal(PTR_ERR(dk_cma_create(memory, GIB, 0, 0, "a")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_create(memory, GIB + 5, MIB, 0, "a")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_create(memory, GIB, 5, 0, "a")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_create(memory, GIB + PAGE_SIZE, MIB, 1, "a")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_create(memory, GIB, MIB, 11, "a")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_create(memory, 0, MIB, 0, "a")), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_create(memory, GIB + 63 * MIB, 2 * MIB, 0, "a")), -EINVAL);
    assert_null(cma_alloc(NULL, 1, 0, false));
    assert_null(cma_alloc(cma, 0, 0, false));
    assert_true(silent());
    assert_null(cma_alloc(cma, AREA_PAGES + 1, 0, true));
    assert_true(silent());
    assert_null(cma_alloc(cma, AREA_PAGES + 1, 0, false));
    assert_true(logged("frames"));
    assert_null(cma_alloc(cma, 1, 63, false));
    assert_true(logged("frames"));
    /* 16 MiB from 1 GiB: nothing there is aligned to 32 MiB. */
    assert_null(cma_alloc(cma, 1, 13, true));

    pages = cma_alloc(cma, 10, 0, false);
    foreign = alloc_pages(GFP_KERNEL, 0);
    assert_false(cma_release(NULL, pages, 10));
    assert_false(cma_release(cma, NULL, 10));
    assert_false(cma_release(cma, foreign, 1));
    assert_false(cma_release(cma, (struct page *)&local, 1));
    assert_false(cma_release(cma, pages, AREA_PAGES + 1));
    assert_false(cma_release(cma, pages - 1, 1));
    assert_true(silent());
    assert_true(cma_release(cma, pages, 9));
    assert_true(logged("frames"));
    assert_true(cma_release(cma, pages + 1, 9));
    assert_true(logged("frames"));
    assert_true(cma_release(cma, pages + 20, 1));
    assert_true(logged("frames"));
    __free_pages(pages, 0);
    assert_true(log_lines == 1);
    log_lines = 0;
    kfree(page_address(pages));
    assert_true(logged("kfree"));
    put_page(pages);
    assert_true(logged("put_page"));
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 10);
    assert_true(cma_release(cma, pages, 10));
    assert_true(silent());
    assert_true(cma_release(cma, pages, 10));
    assert_true(logged("frames"));
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    __free_page(foreign);
    dk_cma_destroy(cma);
    unmake(memory, PAGES - AREA_PAGES);
}

static void test_references(void **state)
{
    struct dk_memory *memory;
    struct page *pages;
    struct cma *cma;

    (void)state;
    memory = make_area(0, 0, GIB, &cma);
    pages = cma_alloc(cma, 8, 3, false);
    get_page(pages);
    assert_true(cma_release(cma, pages, 8));
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 8);
    assert_true(cma_release(cma, pages, 8));
    assert_true(logged("frames"));
    put_page(pages);
    assert_true(silent());
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    /* What is still out when the area goes belongs to nobody. */
    pages = cma_alloc(cma, 8, 3, false);
    assert_non_null(cma_alloc(cma, 70, 0, false));
    dk_cma_destroy(cma);
    put_page(pages);
    assert_true(logged("not an allocated page"));
    unmake(memory, PAGES - AREA_PAGES);
}

/* Each page goes back to its own area, also after others went. */
static void test_several_areas(void **state)
{
    struct dk_memory *memory;
    struct page *pages[3];
    struct cma *areas[3];
    unsigned i;

    (void)state;
    memory = make_area(0, 0, GIB, &areas[0]);
    for (i = 1; i < 3; i++) {
        assert_int_equal(dk_memory_reserve(memory, GIB + i * 4 * MIB, 4 * MIB, true), 0);
        areas[i] = dk_cma_create(memory, GIB + i * 4 * MIB, 4 * MIB, 0, "more");
    }
    for (i = 0; i < 3; i++) {
        pages[i] = cma_alloc(areas[i], i + 1, 0, false);
        get_page(pages[i]);
        assert_false(cma_release(areas[(i + 1) % 3], pages[i], i + 1));
        assert_true(cma_release(areas[i], pages[i], i + 1));
    }
    put_page(pages[1]);
    assert_int_equal(dk_cma_free_pages(areas[0]), 1023);
    assert_int_equal(dk_cma_free_pages(areas[1]), 1024);
    assert_int_equal(dk_cma_free_pages(areas[2]), 1021);
    dk_cma_destroy(areas[0]);
    put_page(pages[2]);
    assert_int_equal(dk_cma_free_pages(areas[2]), 1024);
    assert_true(silent());
    dk_cma_destroy(areas[1]);
    dk_cma_destroy(areas[2]);
    unmake(memory, PAGES - 3 * AREA_PAGES);
}

static void test_units(void **state)
{
    struct dk_memory *memory;
    struct page *first, *second;
    struct cma *cma;

    (void)state;
    memory = make_area(0, 4, GIB, &cma);
    first = cma_alloc(cma, 1, 0, false);
    second = cma_alloc(cma, 17, 0, false);
    assert_int_equal(page_to_phys(first), GIB);
    assert_int_equal(page_to_phys(second), GIB + 16 * PAGE_SIZE);
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 48);
    assert_true(cma_release(cma, first, 1));
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES - 32);
    assert_true(cma_release(cma, second, 17));
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    dk_cma_destroy(cma);
    unmake(memory, PAGES - AREA_PAGES);
}

/* An area made of pages that the page allocator gave goes back as those. */
static void test_from_the_page_allocator(void **state)
{
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct page *whole = dk_pages_take(memory, GFP_KERNEL, AREA_PAGES, 1, 0, ~0ull), *page;
    struct cma *cma = dk_cma_create(memory, page_to_phys(whole), AREA_PAGES * PAGE_SIZE, 0, NULL);

    (void)state;
    page = cma_alloc(cma, 3, 0, false);
    assert_ptr_equal(page, whole);
    assert_true(cma_release(cma, page, 3));
    dk_pages_give(memory, whole, AREA_PAGES);
    assert_int_equal(log_lines, 1);
    dk_cma_destroy(cma);
    dk_pages_give(memory, whole, AREA_PAGES);
    assert_int_equal(log_lines, 1);
    unmake(memory, PAGES);
}

/* Random runs beside one byte a page. */
static void test_model(void **state)
{
    static const unsigned char none[AREA_PAGES];
    unsigned char model[AREA_PAGES] = { 0 };
    struct {
        struct page *page;
        unsigned long first, count;
    } live[AREA_PAGES];
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 5000 : 100000, used = 0, i, j, word = 12345;
    struct dk_memory *memory;
    struct cma *cma;

    (void)state;
    memory = make_area(11, 0, GIB + 5 * PAGE_SIZE, &cma);
    for (i = 0; i < operations; i++) {
        word = word * 1103515245 + 12345;
        if (used && (word >> 16) % 2) {
            unsigned which = (word >> 17) % used;

            assert_true(cma_release(cma, live[which].page, live[which].count));
            memset(model + live[which].first, 0, live[which].count);
            live[which] = live[--used];
        } else {
            unsigned long count = (word >> 17) % 60 + 1, align = (word >> 24) % 5;
            struct page *page = cma_alloc(cma, count, (unsigned)align, true);

            if (page) {
                unsigned long first = page_to_pfn(page) - PFN_DOWN(cma_get_base(cma));

                assert_true(first + count <= AREA_PAGES);
                assert_int_equal(page_to_pfn(page) % (1u << align), 0);
                assert_memory_equal(model + first, none, count);
                memset(model + first, 1, count);
                live[used].page = page;
                live[used].first = first;
                live[used++].count = count;
                continue;
            }
            for (j = 0; j + count <= AREA_PAGES; j++) {
                if ((PFN_DOWN(cma_get_base(cma)) + j) % (1u << align) == 0)
                    assert_memory_not_equal(model + j, none, count);
            }
        }
    }
    while (used--)
        assert_true(cma_release(cma, live[used].page, live[used].count));
    assert_true(silent());
    assert_int_equal(dk_cma_free_pages(cma), AREA_PAGES);
    dk_cma_destroy(cma);
    unmake(memory, PAGES - AREA_PAGES);
}

static unsigned findings;

static void take_finding(void *data, const struct dk_finding *finding)
{
    (void)data;
    assert_string_equal(finding->call, "cma_alloc");
    findings++;
}

static void test_atomic_context(void **state)
{
    const struct dk_hooks hooks = { .finding = take_finding };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    struct cma *cma;

    (void)state;
    config.hooks = &hooks;
    memory = make(&config);
    assert_int_equal(dk_memory_reserve(memory, GIB, MIB, true), 0);
    cma = dk_cma_create(memory, GIB, MIB, 0, "a");
    dk_context()->atomic_depth = 1;
    cma_alloc(cma, 1, 0, false);
    dk_context()->atomic_depth = 0;
    assert_int_equal(findings, 1);
    dk_cma_destroy(cma);
    unmake(memory, PAGES - 256);
}

/* What is the program's bug is a finding besides the log line; pages of others are not: it may just ask. */
static void take_release_finding(void *data, const struct dk_finding *finding)
{
    assert_true(finding->dma == (dma_addr_t)-1);
    snprintf(data, 512, "%s %s %llu %s", finding->class_name, finding->call,
             (unsigned long long)finding->length, finding->what);
}

static bool found(char *text, const char *first, const char *second)
{
    bool both = strstr(text, first) && strstr(text, second);

    *text = 0;
    return both;
}

static void test_findings(void **state)
{
    char text[512] = "";
    const struct dk_hooks hooks = { .finding = take_release_finding, .data = text };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    struct page *pages;
    struct cma *cma;

    (void)state;
    config.hooks = &hooks;
    memory = make(&config);
    assert_int_equal(dk_memory_reserve(memory, GIB, MIB, true), 0);
    cma = dk_cma_create(memory, GIB, MIB, 0, "frames");
    pages = cma_alloc(cma, 10, 0, false);
    cma_release(cma, pages, 9);
    assert_true(found(text, "cma-release-mismatch cma_release 36864 9 pages at 0x40000000 of frames",
                      "10 are allocated"));
    cma_release(cma, pages + 1, 9);
    assert_true(found(text, "cma-release-not-allocated cma_release 36864", "0x40001000"));
    cma_release(cma, pages - 1, 10);
    cma_release(cma, pages + 256, 1);
    get_page(pages);
    cma_release(cma, pages, 10);
    assert_string_equal(text, "");
    /* Released once already, though a reference keeps it. */
    cma_release(cma, pages, 10);
    assert_true(found(text, "cma-release-not-allocated", "before"));
    put_page(pages);
    cma_release(cma, pages, 10);
    assert_true(found(text, "cma-release-not-allocated", "before"));
    dk_cma_destroy(cma);
    unmake(memory, PAGES - 256);
}

/* A run begins anywhere: a reference to any page of it holds all of it. */
static void test_reference_inside(void **state)
{
    static const struct dk_memory_range ram = { GIB, 16 * MIB };
    struct dk_memory_config config = small_config(&ram);
    struct dk_memory *memory = make(&config);
    struct page *first, *run;
    struct cma *cma;

    (void)state;
    assert_int_equal(dk_memory_reserve(memory, GIB, 4 * MIB, true), 0);
    cma = dk_cma_create(memory, GIB, 4 * MIB, 0, "frames");
    assert_false(IS_ERR(cma));
    first = cma_alloc(cma, 1, 0, false);
    run = cma_alloc(cma, 5, 0, false);
    assert_int_equal(page_to_pfn(run), page_to_pfn(first) + 1);
    get_page(run + 3);
    assert_true(silent());
    /* The page behind it is free. */
    assert_false(get_page_unless_zero(run + 5));
    assert_int_equal(page_count(run), 2);
    assert_true(cma_release(cma, run, 5));
    assert_int_equal(dk_cma_free_pages(cma), 1024 - 6);
    put_page(run + 4);
    assert_int_equal(dk_cma_free_pages(cma), 1024 - 1);
    assert_true(silent());
    get_page(run + 3);
    assert_true(logged("is not an allocated page"));
    get_page(run + 1000);
    assert_true(logged("is not an allocated page"));
    assert_true(cma_release(cma, first, 1));
    dk_cma_destroy(cma);
    unmake(memory, 3 * MIB * 4 / PAGE_SIZE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference_inside),
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_several_areas),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_from_the_page_allocator),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_atomic_context),
        cmocka_unit_test(test_findings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
