/* SPDX-License-Identifier: MIT */
/* vmalloc() and vmap(): what is shown where, guards, refused calls. */
#include "fixture.h"

#include "base/context.h"
#include <dmakit/vmalloc.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES (64 * MIB / PAGE_SIZE)

static const struct dk_memory_range range = { GIB, 64 * MIB };

static struct dk_memory *make_plain(bool two_views)
{
    struct dk_memory_config config = small_config(&range);

    config.two_views = two_views;
    return make(&config);
}

static void test_vmalloc(void **state)
{
    static const struct {
        unsigned long size;
        u64 pages; /* 0: refused */
    } cases[] = { { 0, 0 },          { 1, 1 },          { PAGE_SIZE, 1 },         { PAGE_SIZE + 1, 2 },
                  { 4 * MIB, 1024 }, { 5 * MIB, 1280 }, { 4 * MIB + 5000, 1026 }, { 65 * MIB, 0 },
                  { ~0ul, 0 },       { ~0ul / 2, 0 },   { 64 * MIB, 16384 } };
    struct dk_memory *memory = make_plain(true);
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *area = vmalloc(cases[i].size);
        struct dk_memory *owner;
        phys_addr_t phys;
        unsigned long at;

        if (!area != !cases[i].pages)
            fail_msg("case %u: %p", i, (void *)area);
        if (!area)
            continue;
        if (PAGES - dk_memory_free_pages(memory) != cases[i].pages)
            fail_msg("case %u: %llu pages", i, PAGES - dk_memory_free_pages(memory));
        assert_true(is_vmalloc_addr(area));
        for (at = 0; at < cases[i].size; at += PAGE_SIZE) {
            struct page *page = vmalloc_to_page(area + at + 5);

            area[at] = (char)(at >> PAGE_SHIFT);
            assert_int_equal(vmalloc_to_pfn(area + at), page_to_pfn(page));
            assert_int_equal(*(char *)page_address(page), (char)(at >> PAGE_SHIFT));
            assert_int_equal(dk_address_find(area + at + 7, &owner, &phys), DK_ADDRESS_VMALLOC);
            assert_ptr_equal(owner, memory);
            assert_int_equal(phys, page_to_phys(page) + 7);
        }
        /* Right behind it is nothing. */
        assert_null(vmalloc_to_page(area + cases[i].pages * PAGE_SIZE));
        assert_int_equal(dk_address_find(area + cases[i].pages * PAGE_SIZE, &owner, &phys), DK_ADDRESS_HOLE);
        assert_int_equal(virt_to_phys(area), ~0ull);
        vfree(area);
        assert_null(vmalloc_to_page(area));
        assert_int_equal(dk_memory_free_pages(memory), PAGES);
    }
    log_lines = 0;
    assert_false(is_vmalloc_addr(&i));
    assert_null(vmalloc_to_page(&i));
    assert_int_equal(vmalloc_to_pfn(&i), 0);
    unmake(memory, PAGES);
}

static void test_scattered(void **state)
{
    struct dk_memory *memory = make_plain(false);
    char *area = vzalloc(8 * PAGE_SIZE), *again;
    unsigned i, breaks = 0;

    (void)state;
    for (i = 1; i < 8; i++)
        breaks += vmalloc_to_pfn(area + i * PAGE_SIZE) != vmalloc_to_pfn(area + (i - 1) * PAGE_SIZE) + 1;
    assert_int_equal(breaks, 7);
    memset(area, 1, 8 * PAGE_SIZE);
    vfree(area);
    again = vzalloc(8 * PAGE_SIZE);
    /* Addresses are not used again soon, so that a late access faults. */
    assert_ptr_not_equal(again, area);
    for (i = 0; i < 8 * PAGE_SIZE; i++)
        assert_int_equal(again[i], 0);
    vfree(again);
    unmake(memory, PAGES);
}

static void test_vmap(void **state)
{
    struct dk_memory *memory = make_plain(true), *other;
    struct page *pages[3], *foreign[2];
    char *cached, *uncached;
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++)
        pages[i] = alloc_page(GFP_KERNEL);
    cached = vmap(pages, 3, VM_MAP, PAGE_KERNEL);
    uncached = vmap(pages, 3, VM_MAP, pgprot_noncached(PAGE_KERNEL));
    assert_non_null(cached);
    assert_non_null(uncached);
    for (i = 0; i < 3; i++) {
        cached[i * PAGE_SIZE + 9] = (char)(i + 1);
        uncached[i * PAGE_SIZE + 9] = (char)(i + 100);
    }
    for (i = 0; i < 3; i++) {
        assert_int_equal(((char *)page_address(pages[i]))[9], i + 1);
        assert_int_equal(dk_memory_dram(memory, page_to_phys(pages[i]))[9], i + 100);
        assert_ptr_equal(vmalloc_to_page(uncached + i * PAGE_SIZE), pages[i]);
    }
    assert_int_equal(dk_vmap_pages(cached), 3);
    assert_int_equal(dk_vmap_pages(cached + PAGE_SIZE), 0);
    assert_int_equal(dk_vmap_pages(page_address(pages[0])), 0);
    assert_int_equal(dk_vmap_pages(&i), 0);
    vunmap(cached + PAGE_SIZE);
    assert_true(logged("vunmap"));
    vfree(cached);
    assert_true(logged("vfree"));
    vunmap(page_address(pages[0]));
    assert_true(logged("vunmap"));
    vunmap(NULL);
    vfree(NULL);
    assert_true(silent());
    vunmap(uncached);
    assert_int_equal(cached[9], 1);
    vunmap(cached);
    assert_true(silent());
    vunmap(cached);
    assert_true(logged("vunmap"));
    assert_int_equal(dk_vunmap(cached), -EINVAL);

    uncached = vmap(pages, 1, VM_MAP, pgprot_writecombine(PAGE_KERNEL));
    assert_int_equal(uncached[9], 100);
    vunmap(uncached);
    cached = dk_vmap(memory, pages, 3, false);
    assert_int_equal(dk_vunmap(cached), 0);
    assert_null(dk_vmap(memory, pages, 0, false));

    cached = vmalloc(10);
    assert_int_equal(dk_vmap_pages(cached), 0);
    vunmap(cached);
    assert_true(logged("vunmap"));
    vfree(cached + 1);
    assert_true(logged("vfree"));
    vfree(&i);
    assert_true(logged("vfree"));
    vfree(cached);
    assert_true(silent());
    vfree(cached);
    assert_true(logged("vfree"));

    other = make_plain(false);
    dk_memory_enter(other);
    foreign[0] = pages[0];
    foreign[1] = alloc_page(GFP_KERNEL);
    assert_null(vmap(foreign, 2, VM_MAP, PAGE_KERNEL));
    assert_null(vmap(pages, 0, VM_MAP, PAGE_KERNEL));
    foreign[0] = (struct page *)&i;
    assert_null(vmap(foreign, 1, VM_MAP, PAGE_KERNEL));
    __free_page(foreign[1]);
    for (i = 0; i < 3; i++)
        __free_page(pages[i]);
    unmake(other, PAGES);
    unmake(memory, PAGES);
}

/* Pages in a row are shown with one mapping: a process has few. */
static void test_more_than_a_slot(void **state)
{
    const struct dk_memory_range large = { 0, 3 * GIB };
    const struct dk_memory_config config = small_config(&large);
    struct dk_memory *memory = make(&config);
    size_t count = DK_SLOT_SIZE / PAGE_SIZE + 1, i;
    struct page **pages = test_malloc(count * sizeof(*pages));
    struct page *run = dk_pages_take(memory, GFP_KERNEL, count, 1, 0, ~0ull);
    char *area;

    (void)state;
    for (i = 0; i < count; i++)
        pages[i] = phys_to_page(page_to_phys(run) + i * PAGE_SIZE);
    area = vmap(pages, (unsigned)count, VM_MAP, PAGE_KERNEL);
    assert_non_null(area);
    area[0] = 1;
    area[DK_SLOT_SIZE] = 2;
    assert_int_equal(*(char *)page_address(pages[0]), 1);
    assert_int_equal(*(char *)page_address(pages[count - 1]), 2);
    assert_ptr_equal(vmalloc_to_page(area + DK_SLOT_SIZE), pages[count - 1]);
    vunmap(area);
    test_free(pages);
    dk_pages_give(memory, run, count);
    unmake(memory, 3 * GIB / PAGE_SIZE);
}

/* When a slot is used up, gaps in it are found again. */
static void test_gaps(void **state)
{
    enum { COUNT = 50000 };
    const struct dk_memory_range large = { 0, GIB };
    const struct dk_memory_config config = small_config(&large);
    struct dk_memory *memory = make(&config);
    struct page *run = dk_pages_take(memory, GFP_KERNEL, COUNT, 1, 0, ~0ull);
    struct page **pages = test_calloc(COUNT, sizeof(*pages));
    char *areas[6], *first, *small;
    unsigned i;

    (void)state;
    for (i = 0; i < COUNT; i++)
        pages[i] = run + i;
    first = vmap(pages, 1, 0, PAGE_KERNEL);
    areas[0] = vmap(pages, COUNT, 0, PAGE_KERNEL);
    small = vmap(pages, 10, 0, PAGE_KERNEL);
    assert_ptr_equal(areas[0], first + 2 * PAGE_SIZE);
    assert_ptr_equal(small, areas[0] + (COUNT + 1) * PAGE_SIZE);
    vunmap(areas[0]);
    /* Addresses never used go first. A slot has 262144 pages, of which five areas take 250005. */
    for (i = 0; i < 4; i++)
        areas[i] = vmap(pages, COUNT, 0, PAGE_KERNEL);
    assert_ptr_equal(areas[0], small + 11 * PAGE_SIZE);
    areas[4] = vmap(pages, COUNT, 0, PAGE_KERNEL);
    assert_ptr_equal(areas[4], first + 2 * PAGE_SIZE);
    /* No gap is wide enough: another slot. */
    areas[5] = vmap(pages, COUNT, 0, PAGE_KERNEL);
    assert_non_null(areas[5]);
    assert_int_equal((uintptr_t)areas[5] % DK_SLOT_SIZE, 0);
    for (i = 0; i < 6; i++)
        vunmap(areas[i]);
    vunmap(first);
    vunmap(small);
    assert_true(silent());
    dk_pages_give(memory, run, COUNT);
    test_free(pages);
    unmake(memory, GIB / PAGE_SIZE);
}

/* Every page of every area is found, however many areas there are: the table of them is full at 16 and 32. */
static void test_many_areas(void **state)
{
    enum { COUNT = 33 };
    struct dk_memory *memory = make_plain(false);
    struct page *page = alloc_page(GFP_KERNEL);
    char *areas[COUNT];
    unsigned i, j;

    (void)state;
    for (i = 0; i < COUNT; i++) {
        areas[i] = vmap(&page, 1, 0, PAGE_KERNEL);
        for (j = 0; j <= i; j++) {
            assert_ptr_equal(vmalloc_to_page(areas[j] + PAGE_SIZE - 1), page);
            assert_null(vmalloc_to_page(areas[j] + PAGE_SIZE)); /* the guard */
        }
    }
    for (i = 0; i < COUNT; i++)
        vunmap(areas[(i * 7) % COUNT]);
    assert_true(silent());
    __free_page(page);
    unmake(memory, PAGES);
}

static void test_guard_faults(void **state)
{
    struct dk_memory *memory = make_plain(false);
    char *area = vmalloc(PAGE_SIZE);
    int status;
    pid_t pid = fork();

    (void)state;
    if (!pid) {
        signal(SIGSEGV, SIG_DFL);
        ((volatile char *)area)[0] = 1;
        ((volatile char *)area)[PAGE_SIZE] = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    vfree(area);
    unmake(memory, PAGES);
}

static unsigned findings;
static const char *calls[8];

static void take_finding(void *data, const struct dk_finding *finding)
{
    (void)data;
    calls[findings++] = finding->call;
}

static void test_atomic_context(void **state)
{
    const struct dk_hooks hooks = { .finding = take_finding };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    struct page *page;

    (void)state;
    config.hooks = &hooks;
    memory = make(&config);
    page = alloc_page(GFP_KERNEL);
    dk_context()->atomic_depth = 1;
    vfree(vmalloc(1));
    vfree(vzalloc(1));
    vunmap(vmap(&page, 1, 0, PAGE_KERNEL));
    dk_context()->atomic_depth = 0;
    assert_int_equal(findings, 3);
    assert_string_equal(calls[0], "vmalloc");
    assert_string_equal(calls[1], "vzalloc");
    assert_string_equal(calls[2], "vmap");
    __free_page(page);
    unmake(memory, PAGES);
}

static void *churn(void *data)
{
    unsigned i;

    for (i = 0; i < 200; i++) {
        char *area = vmalloc((i % 20 + 1) * 1000);

        if (!area)
            return data;
        memset(area, (int)i, (i % 20 + 1) * 1000);
        if (!vmalloc_to_page(area))
            return data;
        vfree(area);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct dk_memory *memory = make_plain(true);
    pthread_t threads[4];
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, threads), 0);
    for (i = 0; i < 4; i++) {
        void *wrong;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    unmake(memory, PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vmalloc),        cmocka_unit_test(test_scattered),
        cmocka_unit_test(test_vmap),           cmocka_unit_test(test_more_than_a_slot),
        cmocka_unit_test(test_gaps),           cmocka_unit_test(test_guard_faults),
        cmocka_unit_test(test_atomic_context), cmocka_unit_test(test_threads),
        cmocka_unit_test(test_many_areas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
