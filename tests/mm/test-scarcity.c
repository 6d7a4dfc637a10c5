/* SPDX-License-Identifier: MIT */
/* Each allocation fails in turn: an error comes back, nothing crashes, nothing is lost. */
#include "fixture.h"

#include "mm/cma.h"
#include <dirent.h>
#include <dmakit/fail.h>
#include <dmakit/slab.h>
#include <dmakit/vmalloc.h>

#define PAGES (64 * MIB / PAGE_SIZE)

static const struct dk_memory_range ranges[] = { { GIB - 32 * MIB, 32 * MIB }, { GIB, 32 * MIB } };

static void use_pages(struct dk_memory *memory)
{
    struct page *page = alloc_pages(GFP_KERNEL | __GFP_ZERO, 2), *run;
    char *exact = alloc_pages_exact(5 * PAGE_SIZE, GFP_KERNEL);

    run = dk_pages_take(memory, GFP_KERNEL, 3000, 1, 0, GIB - 8 * MIB);
    if (run)
        dk_pages_give(memory, run, 3000);
    run = dk_pages_take(memory, GFP_KERNEL, 3, 1, 0, GIB + 8 * MIB);
    free_pages_exact(exact, 5 * PAGE_SIZE);
    if (run)
        dk_pages_give(memory, run, 3);
    __free_pages(page, 2);
}

static void use_slabs(void)
{
    struct kmem_cache *cache = kmem_cache_create("scarce", 100, 0, SLAB_HWCACHE_ALIGN, NULL);
    void *small = kmemdup("a small one", 10, GFP_KERNEL), *large = kzalloc(10000, GFP_KERNEL), *more;
    char *text = kstrdup("text", GFP_KERNEL);

    more = krealloc(small, 100, GFP_KERNEL);
    if (more)
        small = more;
    kfree(small);
    kfree(large);
    kfree(text);
    if (cache) {
        void *object = kmem_cache_zalloc(cache, GFP_KERNEL);

        kmem_cache_free(cache, object);
        kmem_cache_destroy(cache);
    }
}

static void use_areas(void)
{
    void *area = vmalloc(100000), *other = kvmalloc(5 * MIB, GFP_KERNEL), *map;
    struct page *pages[2] = { alloc_page(GFP_KERNEL), alloc_page(GFP_KERNEL) };

    if (pages[0] && pages[1]) {
        map = vmap(pages, 2, VM_MAP, pgprot_noncached(PAGE_KERNEL));
        vunmap(map);
    }
    __free_page(pages[0]);
    __free_page(pages[1]);
    vfree(area);
    kvfree(other);
}

static void use_contiguous(struct dk_memory *memory)
{
    struct cma *cma = dk_cma_create(memory, GIB, MIB, 0, "scarce");
    struct page *page;

    if (IS_ERR(cma)) {
        assert_int_equal(PTR_ERR(cma), -ENOMEM);
        return;
    }
    page = cma_alloc(cma, 5, 2, false);
    if (page)
        assert_true(cma_release(cma, page, 5));
    assert_int_equal(dk_cma_free_pages(cma), 256);
    dk_cma_destroy(cma);
}

static void use_all(bool two_views, u64 seed)
{
    struct dk_memory *memory = dk_memory_create(&(struct dk_memory_config){ .ranges = ranges,
                                                                            .range_count = 2,
                                                                            .line = 64,
                                                                            .two_views = two_views,
                                                                            .seed = seed,
                                                                            .zone_dma_end = GIB - 16 * MIB,
                                                                            .zone_dma32_end = GIB + 16 * MIB,
                                                                            .highmem = 4 * MIB });
    u64 expected = PAGES;
    struct page *high;
    int error;

    if (IS_ERR(memory)) {
        assert_int_equal(PTR_ERR(memory), -ENOMEM);
        return;
    }
    error = dk_memory_reserve(memory, GIB, MIB, true);
    expected -= error ? 0 : 256;
    assert_true(!error || error == -ENOMEM);
    assert_int_equal(dk_memory_free_pages(memory), expected);
    error = dk_memory_reserve(memory, GIB - 20 * MIB, 5 * PAGE_SIZE, false);
    expected -= error ? 0 : 5;
    assert_true(!error || error == -ENOMEM);
    error = dk_memory_add(memory, 2 * GIB, MIB);
    assert_true(!error || error == -ENOMEM);
    assert_int_equal(dk_memory_is_ram(memory, 2 * GIB, MIB), !error);
    assert_true(dk_memory_is_ram(memory, GIB - 32 * MIB, 64 * MIB));
    (void)!dk_memory_take_slot(memory, DK_SLOT_REGISTERS);
    use_pages(memory);
    assert_int_equal(dk_memory_free_pages(memory), expected);
    use_slabs();
    assert_int_equal(dk_memory_free_pages(memory), expected);
    use_areas();
    assert_int_equal(dk_memory_free_pages(memory), expected);
    if (expected == PAGES - 261)
        use_contiguous(memory);
    high = alloc_page(GFP_HIGHUSER);
    if (high)
        kunmap_local(kmap_local_page(high));
    __free_page(high);
    assert_int_equal(dk_memory_free_pages(memory), expected);
    dk_memory_destroy(memory);
    assert_null(dk_memory_current());
}

static unsigned count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static void each_failure(bool two_views, u64 seed)
{
    unsigned descriptors = count_descriptors();
    unsigned long n;

    dk_log_set_sink(count_line, NULL);
    for (n = 1; n < 10000; n++) {
        dk_fail_nth(n);
        use_all(two_views, seed);
        if (!dk_fail_hits())
            break;
    }
    dk_fail_nth(0);
    print_message("%lu allocations\n", n - 1);
    assert_true(n > 50 && n < 10000);
    assert_int_equal(count_descriptors(), descriptors);
    dk_log_set_sink(NULL, NULL);
}

static void test_one_view(void **state)
{
    (void)state;
    each_failure(false, 0);
}

static void test_two_views(void **state)
{
    (void)state;
    each_failure(true, 0);
}

static void test_fragmented(void **state)
{
    (void)state;
    each_failure(true, 5);
}

/* A run over two sections, neither of them mapped yet: without either there is no run, and no page is lost.
 */
static void test_two_sections(void **state)
{
    const struct dk_memory_range range = { 0, 2 * GIB };
    const struct dk_memory_config config = small_config(&range);
    size_t count = DK_SLOT_SIZE / PAGE_SIZE + 1000;
    unsigned long n, hits = 1;

    (void)state;
    for (n = 1; hits; n++) {
        struct dk_memory *memory = make(&config);
        struct page *page;

        dk_fail_nth(n);
        page = dk_pages_take(memory, GFP_KERNEL | __GFP_NOWARN, count, 1, 0, ~0ull);
        hits = dk_fail_hits();
        dk_fail_nth(0);
        if (page)
            dk_pages_give(memory, page, count);
        else
            assert_int_equal(hits, 1);
        assert_int_equal(dk_memory_free_pages(memory), 2 * GIB / PAGE_SIZE);
        page = dk_pages_take(memory, GFP_KERNEL, count, 1, 0, ~0ull);
        assert_non_null(page);
        dk_pages_give(memory, page, count);
        unmake(memory, 2 * GIB / PAGE_SIZE);
    }
    assert_true(n > 10);
}

/* All memory given out, for each order; then what is freed can be had again. */
static void test_exhaustion(void **state)
{
    struct dk_memory *memory =
        make(&(struct dk_memory_config){ .ranges = ranges, .range_count = 2, .line = 64 });
    struct page *page, *next;
    LIST_HEAD(taken);
    unsigned i;

    (void)state;
    while ((page = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
        list_add(&page->lru, &taken);
    assert_int_equal(dk_memory_free_pages(memory), 0);
    assert_true(silent());
    assert_null(alloc_pages(GFP_KERNEL, 0));
    assert_true(logged("no 1 contiguous"));
    assert_null(kmalloc(8, GFP_KERNEL | __GFP_NOWARN));
    assert_null(kmalloc(100000, GFP_KERNEL | __GFP_NOWARN));
    assert_true(silent());
    assert_null(vmalloc(1));
    assert_true(logged("contiguous"));
    for (i = 0; i < 10; i++) {
        page = list_first_entry(&taken, struct page, lru);
        list_del(&page->lru);
        __free_page(page);
    }
    assert_null(vmalloc(11 * PAGE_SIZE));
    assert_int_equal(dk_memory_free_pages(memory), 10);
    vfree(vmalloc(10 * PAGE_SIZE));
    list_for_each_entry_safe (page, next, &taken, lru) {
        list_del(&page->lru);
        __free_page(page);
    }
    unmake(memory, PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_one_view), cmocka_unit_test(test_two_views),
                                        cmocka_unit_test(test_fragmented),
                                        cmocka_unit_test(test_two_sections),
                                        cmocka_unit_test(test_exhaustion) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
