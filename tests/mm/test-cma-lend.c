/* SPDX-License-Identifier: MIT */
/* What contiguous areas lend to movable memory, and get back when a device needs it, also while threads
 * write. */
#include "lending.h"
#include "writers.h"

#include "base/log.h"
#include "mm/cma-lend.h"
#include <dmakit/fail.h>
#include <dmakit/migrate.h>
#include <dmakit/movable.h>
#include <dmakit/vmalloc.h>
#include <stdio.h>
#include <stdlib.h>

#define MOVABLE_PAGES 460 /* nine tenths of the area */

static void fill_with_numbers(struct dk_movable *movable)
{
    for (size_t i = 0; i < dk_movable_size(movable) / sizeof(u64); i++)
        ((u64 *)dk_movable_address(movable))[i] = i * 0x9e3779b97f4a7c15ull;
}

static void assert_numbers(const struct dk_movable *movable)
{
    for (size_t i = 0; i < dk_movable_size(movable) / sizeof(u64); i++)
        assert_int_equal(((u64 *)dk_movable_address(movable))[i], i * 0x9e3779b97f4a7c15ull);
}

static u64 lent_pages(const struct dk_movable *movable, const struct cma *cma)
{
    u64 lent = 0;

    for (size_t at = 0; at < dk_movable_size(movable); at += PAGE_SIZE) {
        phys_addr_t phys = page_to_phys(vmalloc_to_page((char *)dk_movable_address(movable) + at));

        lent += phys >= cma_get_base(cma) && phys - cma_get_base(cma) < cma_get_size(cma);
    }
    return lent;
}

/* The whole area, nine tenths of which are lent, is there for who needs it. */
static void test_recall(void **state)
{
    struct dk_memory *memory;
    struct dk_movable *movable;
    struct page *page;
    struct cma *cma;
    u64 before;

    (void)state;
    memory = make_area(0, AREA, &cma);
    before = dk_memory_free_pages(memory);
    movable = dk_movable_create(MOVABLE_PAGES * PAGE_SIZE, GFP_KERNEL);
    assert_false(IS_ERR(movable));
    assert_int_equal(lent_pages(movable, cma), MOVABLE_PAGES);
    assert_int_equal(dk_memory_free_pages(memory), before);
    assert_int_equal(dk_cma_free_pages(cma), AREA - MOVABLE_PAGES);
    fill_with_numbers(movable);

    page = cma_alloc(cma, AREA, 0, false);
    assert_non_null(page);
    assert_int_equal(page_to_phys(page), GIB);
    memset(dk_memory_cached(memory, GIB), 0xff, AREA * PAGE_SIZE);
    assert_numbers(movable);
    assert_int_equal(lent_pages(movable, cma), 0);
    assert_int_equal(dk_memory_free_pages(memory), before - MOVABLE_PAGES);
    assert_true(cma_release(cma, page, AREA));
    assert_true(silent());

    dk_movable_destroy(movable);
    assert_int_equal(dk_cma_free_pages(cma), AREA);
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* A pinned page is named, and the next place behind it taken; when there is none, nothing has changed. */
static void test_pinned(void **state)
{
    struct dk_memory *memory;
    struct dk_movable *movable;
    struct page *page, *pinned;
    char text[32];
    struct cma *cma;
    u64 before;

    (void)state;
    memory = make_area(0, AREA, &cma);
    before = dk_memory_free_pages(memory);
    movable = dk_movable_create(AREA * PAGE_SIZE, GFP_KERNEL);
    assert_false(IS_ERR(movable));
    assert_int_equal(lent_pages(movable, cma), AREA);
    fill_with_numbers(movable);
    assert_int_equal(dk_movable_pin(movable, 100 * PAGE_SIZE, 1, &pinned), 0);
    snprintf(text, sizeof(text), "0x%llx", page_to_phys(pinned));
    dk_log_set_level(DK_LOG_INFO);

    page = cma_alloc(cma, 200, 0, false);
    assert_non_null(page);
    assert_int_equal(page_to_phys(page), page_to_phys(pinned) + PAGE_SIZE);
    assert_true(logged(text));
    assert_numbers(movable);
    assert_true(cma_release(cma, page, 200));

    assert_null(cma_alloc(cma, AREA, 0, true));
    assert_true(logged(text));
    assert_numbers(movable);
    assert_int_equal(dk_cma_free_pages(cma), AREA - lent_pages(movable, cma));
    assert_unused_is_free(cma);

    dk_movable_unpin(movable, 100 * PAGE_SIZE, 1);
    page = cma_alloc(cma, AREA, 0, false);
    assert_non_null(page);
    assert_true(cma_release(cma, page, AREA));
    assert_true(silent());
    dk_log_set_level(DK_LOG_WARNING);
    dk_movable_destroy(movable);
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* Without another place the pages stay, and with one again they go. */
static void test_no_destination(void **state)
{
    struct page *page, *taken[16384];
    struct dk_memory *memory;
    struct dk_movable *movable;
    struct cma *cma;
    size_t count = 0;
    u64 before;

    (void)state;
    memory = make_area(0, AREA, &cma);
    before = dk_memory_free_pages(memory);
    movable = dk_movable_create(AREA / 2 * PAGE_SIZE, GFP_KERNEL);
    assert_false(IS_ERR(movable));
    fill_with_numbers(movable);
    while ((taken[count] = dk_pages_allocate(memory, GFP_ATOMIC | __GFP_NOWARN | __GFP_MEMALLOC, 0)))
        count++;
    assert_null(cma_alloc(cma, AREA, 0, true));
    assert_numbers(movable);
    /* Within the area there is room for what lies where the alignment wants to be. */
    page = cma_alloc(cma, AREA / 2, 9, true);
    assert_non_null(page);
    assert_int_equal(page_to_phys(page), GIB);
    assert_numbers(movable);
    assert_int_equal(lent_pages(movable, cma), AREA / 2);
    assert_true(cma_release(cma, page, AREA / 2));
    while (count)
        __free_page(taken[--count]);
    page = cma_alloc(cma, AREA, 0, false);
    assert_non_null(page);
    assert_numbers(movable);
    assert_true(cma_release(cma, page, AREA));
    dk_movable_destroy(movable);
    dk_cma_destroy(cma);
    log_lines = 0;
    unmake(memory, before);
}

/* What areas lend counts, so that memory that only they have is enough. */
static void test_more_than_zones_have(void **state)
{
    const u64 lendable = 48 * MIB / PAGE_SIZE, all = 64 * MIB / PAGE_SIZE;
    struct dk_movable *movable;
    struct dk_memory *memory;
    struct cma *cma;
    u64 before;

    (void)state;
    memory = make_area(0, lendable, &cma);
    before = dk_memory_free_pages(memory);
    assert_int_equal(before, all - lendable);
    movable = dk_movable_create(32 * MIB, GFP_KERNEL);
    assert_false(IS_ERR(movable));
    assert_int_equal(lent_pages(movable, cma), 32 * MIB / PAGE_SIZE);
    assert_true(silent());

    /* What is lent is not there a second time. */
    assert_true(IS_ERR(dk_movable_create(32 * MIB + PAGE_SIZE, GFP_KERNEL)));
    assert_true(logged("are more than are free"));
    dk_movable_destroy(movable);
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* A given range of an area's pages is refused before anything moves, though all of it could. */
static void test_given_range(void **state)
{
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct dk_movable *movable;
    struct cma *cma;
    u64 before = dk_memory_free_pages(memory), start;

    (void)state;
    cma = dk_cma_declare_in(memory, 0, AREA * PAGE_SIZE, 0, 0, 0, false, "frames");
    assert_false(IS_ERR(cma));
    movable = dk_movable_create(AREA * PAGE_SIZE, GFP_KERNEL);
    assert_false(IS_ERR(movable));
    assert_int_equal(lent_pages(movable, cma), AREA);
    start = cma_get_base(cma) >> PAGE_SHIFT;
    assert_int_equal(alloc_contig_range(start, start + 16, MIGRATE_MOVABLE, GFP_KERNEL), -EBUSY);
    assert_true(logged("is a contiguous area's"));
    assert_int_equal(lent_pages(movable, cma), AREA);
    dk_movable_destroy(movable);
    dk_cma_undeclare(cma);
    unmake(memory, before);
}

/* Memory whose DMA zone has 16 MiB, of which 2 MiB from @area on are set aside; *before: the free pages then.
 */
static struct dk_memory *make_with_area(phys_addr_t area, u64 *before)
{
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;

    config.zone_dma_end = GIB + 16 * MIB;
    memory = make(&config);
    assert_int_equal(dk_memory_reserve(memory, area, 2 * MIB, true), 0);
    *before = dk_memory_free_pages(memory);
    return memory;
}

/* Neither an area of larger units lends, nor one that lies above the zone that was asked for. */
static void test_who_does_not_lend(void **state)
{
    u64 before;
    struct dk_memory *memory = make_with_area(GIB + 32 * MIB, &before);
    struct cma *cma;

    (void)state;
    cma = dk_cma_create(memory, GIB + 32 * MIB, 2 * MIB, 2, "units");
    assert_false(IS_ERR(cma));
    assert_null(dk_cma_lend(memory, GFP_HIGHUSER_MOVABLE));
    assert_int_equal(dk_cma_lendable_pages(memory, GFP_HIGHUSER_MOVABLE), 0);
    dk_cma_destroy(cma);

    cma = dk_cma_create(memory, GIB + 32 * MIB, 2 * MIB, 0, "high");
    assert_false(IS_ERR(cma));
    assert_null(dk_cma_lend(memory, GFP_DMA | __GFP_MOVABLE));
    assert_int_equal(dk_cma_lendable_pages(memory, GFP_DMA), 0);
    assert_int_equal(dk_cma_lendable_pages(memory, GFP_KERNEL), 2 * MIB / PAGE_SIZE);
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* An area that ends where the zone does lies in it. */
static void test_area_up_to_the_end_of_a_zone(void **state)
{
    u64 before;
    struct dk_memory *memory = make_with_area(GIB + 14 * MIB, &before);
    struct page *page;
    struct cma *cma;

    (void)state;
    cma = dk_cma_create(memory, GIB + 14 * MIB, 2 * MIB, 0, "low");
    assert_false(IS_ERR(cma));
    assert_int_equal(dk_cma_lendable_pages(memory, GFP_DMA), 2 * MIB / PAGE_SIZE);
    page = dk_cma_lend(memory, GFP_DMA | __GFP_MOVABLE);
    assert_non_null(page);
    put_page(page);
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* ---- Threads ---- */

/* Two write all the time while the area is taken and given back, and other memory comes and goes. */
static void test_threads(void **state)
{
    int rounds = getenv("DMAKIT_TEST_FAST") ? 5 : 60;
    struct writer writers[WRITERS];
    struct dk_movable *movable;
    struct dk_memory *memory;
    struct cma *cma;
    u64 before;
    bool stop;

    (void)state;
    memory = make_area(0, AREA, &cma);
    before = dk_memory_free_pages(memory);
    movable = dk_movable_create(MOVABLE_PAGES * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO);
    assert_false(IS_ERR(movable));
    /* One word of each page. */
    start_writers(writers, dk_movable_address(movable), MOVABLE_PAGES, PAGE_SIZE / sizeof(u64), &stop);
    for (int i = 0; i < rounds; i++) {
        struct page *page = cma_alloc(cma, AREA, 0, false);
        struct dk_movable *other;

        assert_non_null(page);
        memset(dk_memory_cached(memory, GIB), 0xff, AREA * PAGE_SIZE);
        assert_true(cma_release(cma, page, AREA));
        /* It fills the area again, so that the next round moves something. */
        other = dk_movable_create(AREA / 2 * PAGE_SIZE, GFP_KERNEL);
        assert_false(IS_ERR(other));
        assert_int_equal(lent_pages(other, cma), AREA / 2);
        page = cma_alloc(cma, AREA / 2 + 10, 0, false);
        assert_non_null(page);
        assert_true(cma_release(cma, page, AREA / 2 + 10));
        dk_movable_destroy(other);
    }
    stop_writers(writers);
    for (unsigned i = 0; i < WRITERS; i++)
        assert_true(writers[i].rounds > 0);
    dk_movable_destroy(movable);
    assert_int_equal(dk_cma_free_pages(cma), AREA);
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* ---- Failures ---- */

static void test_failures(void **state)
{
    unsigned long n = 0;
    bool failed = true;

    (void)state;
    while (failed) {
        struct dk_movable *movable;
        struct dk_memory *memory;
        struct page *page;
        struct cma *cma;
        u64 before;

        memory = make_area(0, AREA, &cma);
        before = dk_memory_free_pages(memory);
        dk_fail_nth(++n);
        movable = dk_movable_create(16 * PAGE_SIZE, GFP_KERNEL | __GFP_NOWARN);
        if (!IS_ERR(movable))
            fill_with_numbers(movable);
        page = cma_alloc(cma, AREA, 0, true);
        failed = dk_fail_hits();
        dk_fail_nth(0);
        if (!IS_ERR(movable))
            assert_numbers(movable);
        if (page)
            assert_true(cma_release(cma, page, AREA));
        else
            assert_true(failed);
        page = cma_alloc(cma, AREA, 0, false);
        assert_non_null(page);
        assert_true(cma_release(cma, page, AREA));
        if (!IS_ERR(movable)) {
            assert_numbers(movable);
            dk_movable_destroy(movable);
        }
        assert_int_equal(dk_cma_free_pages(cma), AREA);
        dk_cma_destroy(cma);
        log_lines = 0;
        unmake(memory, before);
    }
    assert_true(n > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_no_destination),
        cmocka_unit_test(test_more_than_zones_have),
        cmocka_unit_test(test_given_range),
        cmocka_unit_test(test_who_does_not_lend),
        cmocka_unit_test(test_area_up_to_the_end_of_a_zone),
        cmocka_unit_test(test_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
