/* SPDX-License-Identifier: MIT */
/* Given ranges of pages: what is movable moves out, with its contents; what is not is named, and stays. */
#include "fixture.h"

#include "base/hooks.h"
#include "mm/private.h"

#include <dmakit/fail.h>
#include <dmakit/migrate.h>
#include <dmakit/slab.h>
#include <dmakit/vmalloc.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>

#define BLOCK DK_BLOCK_PAGES
#define PAGES (4 * BLOCK)
#define OWNED 1500

static const struct dk_memory_range range = { 0, PAGES *PAGE_SIZE };
static const struct dk_memory_config config = { .ranges = &range, .range_count = 1, .line = 64 };

/* An owner of movable pages, each with its number in it. */
static struct {
    struct page *pages[OWNED];
    unsigned count, isolated, migrated, put_back, asked;
    int answer;          /* of migrate_page, instead of moving */
    unsigned answers;    /* how often it is given */
    bool refuses;        /* to isolate */
    struct page *holder; /* a page that it refuses always */
    /* Another thread's, which has dropped its last reference and comes to free it when this one yields. */
    struct page *passing;
} owner;

int sched_yield(void)
{
    struct page *page = owner.passing;

    owner.passing = NULL;
    if (page) {
        __atomic_store_n(&page->count, 1, __ATOMIC_RELAXED);
        __free_page(page);
    }
    return 0;
}

static unsigned number_of(const struct page *page)
{
    return (unsigned)page_private(page);
}

static bool isolate_page(struct page *page, isolate_mode_t mode)
{
    (void)mode;
    assert_true(PageLocked(page));
    assert_ptr_equal(owner.pages[number_of(page)], page);
    if (owner.refuses || page == owner.holder)
        return false;
    owner.isolated++;
    return true;
}

static int migrate_page(struct page *new_page, struct page *old_page, enum migrate_mode mode)
{
    unsigned number = number_of(old_page);

    assert_int_equal(mode, MIGRATE_SYNC);
    assert_true(PageLocked(new_page) && PageLocked(old_page) && PageIsolated(old_page));
    owner.asked++;
    if (owner.answers) {
        owner.answers--;
        return owner.answer;
    }
    memcpy(page_address(new_page), page_address(old_page), PAGE_SIZE);
    set_page_private(new_page, number);
    get_page(new_page);
    __SetPageMovable(new_page, old_page->movable);
    owner.pages[number] = new_page;
    __ClearPageMovable(old_page);
    put_page(old_page);
    owner.migrated++;
    return MIGRATEPAGE_SUCCESS;
}

static void putback_page(struct page *page)
{
    assert_true(PageLocked(page) && PageIsolated(page));
    owner.put_back++;
}

static const struct movable_operations operations = { isolate_page, migrate_page, putback_page };

static void own(struct dk_memory *memory, unsigned count)
{
    memset(&owner, 0, sizeof(owner));
    for (owner.count = 0; owner.count < count; owner.count++) {
        struct page *page = dk_pages_allocate(memory, GFP_USER | __GFP_MOVABLE, 0);

        assert_non_null(page);
        memset(page_address(page), (int)(owner.count % 251), PAGE_SIZE);
        set_page_private(page, owner.count);
        lock_page(page);
        __SetPageMovable(page, &operations);
        unlock_page(page);
        owner.pages[owner.count] = page;
    }
}

/* All contents are where the owner thinks. */
static void check(void)
{
    unsigned i;

    for (i = 0; i < owner.count; i++) {
        const unsigned char *bytes = page_address(owner.pages[i]);

        assert_int_equal(number_of(owner.pages[i]), i);
        assert_int_equal(bytes[0], i % 251);
        assert_int_equal(bytes[PAGE_SIZE - 1], i % 251);
        assert_int_equal(page_count(owner.pages[i]), 1);
        assert_true(PageMovable(owner.pages[i]));
        assert_false(PageLocked(owner.pages[i]) || PageIsolated(owner.pages[i]));
    }
}

static void disown(void)
{
    while (owner.count) {
        struct page *page = owner.pages[--owner.count];

        lock_page(page);
        __ClearPageMovable(page);
        unlock_page(page);
        __free_page(page);
    }
}

static void test_moving_out(void **state)
{
    struct dk_memory *memory = make(&config);
    u64 i, inside = 0;

    (void)state;
    own(memory, OWNED);
    for (i = 0; i < OWNED; i++)
        inside += page_to_pfn(owner.pages[i]) >= 3 * BLOCK - 100;
    assert_true(inside > BLOCK);
    /* Not aligned to anything. */
    assert_int_equal(alloc_contig_range(3 * BLOCK - 100, PAGES - 7, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_ZERO),
                     0);
    assert_true(silent());
    assert_int_equal(owner.migrated, owner.isolated);
    assert_in_range(owner.migrated, inside - 7, inside);
    assert_int_equal(owner.put_back, 0);
    check();
    for (i = 3 * BLOCK - 100; i < PAGES - 7; i++) {
        const struct page *page = phys_to_page(i * PAGE_SIZE);

        assert_int_equal(page_count(page), 1);
        assert_int_equal(*(char *)page_address(page), 0);
    }
    assert_int_equal(dk_memory_free_pages(memory), PAGES - OWNED - (BLOCK + 93));
    for (i = 0; i < OWNED; i++) {
        u64 pfn = page_to_pfn(owner.pages[i]);

        assert_true(pfn < 3 * BLOCK - 100 || pfn >= PAGES - 7);
    }
    /* Each page is one of its own. */
    __free_page(phys_to_page((3 * BLOCK) * PAGE_SIZE));
    free_contig_range(3 * BLOCK - 100, 100);
    free_contig_range(3 * BLOCK + 1, BLOCK - 8);
    assert_true(silent());
    disown();
    unmake(memory, PAGES);
}

static void test_what_is_in_the_way(void **state)
{
    struct dk_memory *memory = make(&config);
    void *small = kmalloc(100, GFP_KERNEL), *large = kmalloc(20000, GFP_KERNEL), *area = vmalloc(100);
    struct page *page = alloc_pages(GFP_KERNEL, 2);
    struct {
        u64 pfn;
        const char *says;
    } cases[] = {
        { virt_to_phys(small) / PAGE_SIZE, "a slab's" },
        { virt_to_phys(large) / PAGE_SIZE + 2, "kmalloc()'s" },
        { page_to_pfn(vmalloc_to_page(area)), "vmalloc()'s" },
        { page_to_pfn(page) + 1, "in use, and not movable" },
    };
    u64 before = dk_memory_free_pages(memory);
    char says[64];
    unsigned i;

    (void)state;
    own(memory, 10);
    for (i = 0; i < 4; i++) {
        snprintf(says, sizeof(says), "the page 0x%llx is %s", cases[i].pfn, cases[i].says);
        assert_int_equal(alloc_contig_range(cases[i].pfn, cases[i].pfn + 1, MIGRATE_MOVABLE, GFP_KERNEL),
                         -EBUSY);
        assert_true(logged(says));
        assert_int_equal(
            alloc_contig_range(cases[i].pfn, cases[i].pfn + 1, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN),
            -EBUSY);
        assert_true(silent());
    }
    /* Nothing moved, though some could have. */
    assert_int_equal(alloc_contig_range(0, PAGES, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN), -EBUSY);
    assert_int_equal(owner.isolated, 0);
    check();
    disown();
    assert_int_equal(dk_memory_free_pages(memory), before);
    __free_pages(page, 2);
    vfree(area);
    kfree(large);
    kfree(small);
    unmake(memory, PAGES);
}

static void test_pinned(void **state)
{
    struct dk_memory *memory = make(&config);
    u64 low, high;

    (void)state;
    own(memory, 20);
    low = page_to_pfn(owner.pages[19]);
    high = page_to_pfn(owner.pages[0]) + 1;
    assert_int_equal(high - low, 20);
    get_page(owner.pages[7]);
    assert_int_equal(alloc_contig_range(low, high, MIGRATE_MOVABLE, GFP_KERNEL), -EBUSY);
    assert_true(logged("movable, with more references"));
    assert_int_equal(owner.isolated, 0);
    put_page(owner.pages[7]);
    check();
    assert_int_equal(alloc_contig_range(low, high, MIGRATE_MOVABLE, GFP_KERNEL), 0);
    assert_int_equal(owner.migrated, 20);
    check();
    free_contig_range(low, high - low);
    disown();
    unmake(memory, PAGES);
}

/* What the owner answers. */
static void test_answers(void **state)
{
    struct dk_memory *memory = make(&config);
    u64 low, high;

    (void)state;
    own(memory, 4);
    low = page_to_pfn(owner.pages[3]);
    high = page_to_pfn(owner.pages[0]) + 1;
    /* Soon, it says twice. */
    owner.answer = -EAGAIN;
    owner.answers = 2;
    assert_int_equal(alloc_contig_range(low, high, MIGRATE_MOVABLE, GFP_KERNEL), 0);
    assert_int_equal(owner.asked, 6);
    assert_int_equal(owner.put_back, 0);
    check();
    free_contig_range(low, high - low);

    low = page_to_pfn(owner.pages[3]);
    high = low + 1;
    owner.answers = 1000;
    owner.asked = 0;
    assert_int_equal(alloc_contig_range(low, high, MIGRATE_MOVABLE, GFP_KERNEL), -EBUSY);
    assert_true(logged("the page 0x"));
    assert_int_equal(owner.asked, owner.put_back * 3);
    /* As often as Linux tries. */
    assert_int_equal(owner.put_back, 5);
    check();

    owner.answer = -EIO;
    owner.put_back = 0;
    assert_int_equal(alloc_contig_range(low, high, MIGRATE_MOVABLE, GFP_KERNEL), -EBUSY);
    log_lines = 0;
    assert_int_equal(owner.put_back, 1);
    owner.answers = 0;
    owner.refuses = true;
    owner.isolated = 0;
    assert_int_equal(alloc_contig_range(low, high, MIGRATE_MOVABLE, GFP_KERNEL), -EBUSY);
    log_lines = 0;
    assert_int_equal(owner.isolated, 0);
    owner.refuses = false;
    check();
    /* Isolation has ended: the block's pages are given out again. */
    assert_int_equal(dk_memory_free_pages(memory), PAGES - 4);
    disown();
    unmake(memory, PAGES);
}

/* A page that another thread is just giving back is waited for. */
static void test_passing(void **state)
{
    struct dk_memory *memory = make(&config);
    struct page *page = alloc_page(GFP_KERNEL);
    u64 pfn = page_to_pfn(page);

    (void)state;
    __atomic_store_n(&page->count, 0, __ATOMIC_RELAXED);
    owner.passing = page;
    assert_int_equal(alloc_contig_range(pfn, pfn + 1, MIGRATE_MOVABLE, GFP_KERNEL), 0);
    assert_null(owner.passing);
    assert_true(silent());
    free_contig_range(pfn, 1);
    unmake(memory, PAGES);
}

/* No page for the contents: all of memory is in use. */
static void test_no_place_to_go(void **state)
{
    struct dk_memory *memory = make(&config);
    struct page *page, *next;
    LIST_HEAD(taken);
    u64 pfn;

    (void)state;
    own(memory, 1);
    pfn = page_to_pfn(owner.pages[0]);
    while ((page = dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0)))
        list_add(&page->lru, &taken);
    assert_int_equal(alloc_contig_range(pfn, pfn + 1, MIGRATE_MOVABLE, GFP_KERNEL), -ENOMEM);
    assert_int_equal(owner.put_back, 1);
    check();
    list_for_each_entry_safe (page, next, &taken, lru)
        __free_page(page);
    disown();
    unmake(memory, PAGES);
}

static void test_refused(void **state)
{
    const struct dk_memory_range ranges[] = { { 0, 8 * MIB }, { 16 * MIB, 8 * MIB } };
    struct dk_memory *memory = make(&(struct dk_memory_config){
        .ranges = ranges, .range_count = 2, .line = 64, .zone_dma_end = 4 * MIB });
    const struct {
        u64 start, end;
        unsigned type;
        gfp_t gfp;
        int error;
    } cases[] = {
        { 5, 5, MIGRATE_MOVABLE, GFP_KERNEL, -EINVAL },
        { 6, 5, MIGRATE_MOVABLE, GFP_KERNEL, -EINVAL },
        { 5, 6, MIGRATE_UNMOVABLE, GFP_KERNEL, -EINVAL },
        { 5, 6, MIGRATE_ISOLATE, GFP_KERNEL, -EINVAL },
        { 5, 6, MIGRATE_CMA, GFP_KERNEL, -EINVAL },
        { 5, 6, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_COMP, -EINVAL },
        { 1023, 1025, MIGRATE_MOVABLE, GFP_KERNEL, -EINVAL }, /* two zones */
        { 2047, 2049, MIGRATE_MOVABLE, GFP_KERNEL, -EINVAL }, /* a hole */
        { 2047, 4097, MIGRATE_MOVABLE, GFP_KERNEL, -EINVAL },
        { 6143, 6145, MIGRATE_MOVABLE, GFP_KERNEL, -EINVAL },
        { 0, ~0ul, MIGRATE_MOVABLE, GFP_KERNEL, -EINVAL },
        { 1500, 1700, MIGRATE_MOVABLE, GFP_KERNEL, -EINVAL }, /* reserved in part */
        { 1499, 1600, MIGRATE_MOVABLE, GFP_KERNEL, 0 },
        { 4096, 6144, MIGRATE_MOVABLE, GFP_KERNEL, 0 },
    };
    unsigned i;

    (void)state;
    assert_int_equal(dk_memory_reserve(memory, 1600 * PAGE_SIZE, PAGE_SIZE, true), 0);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (alloc_contig_range(cases[i].start, cases[i].end, cases[i].type, cases[i].gfp) != cases[i].error)
            fail_msg("case %u", i);
        if (!cases[i].error)
            free_contig_range(cases[i].start, cases[i].end - cases[i].start);
        assert_int_equal(dk_memory_free_pages(memory), 4095);
        assert_true(silent());
    }
    pthread_mutex_lock(&memory->pages_lock);
    assert_int_equal(dk_blocks_isolate(memory, 4096, 4097), 0);
    pthread_mutex_unlock(&memory->pages_lock);
    assert_int_equal(alloc_contig_range(4100, 4101, MIGRATE_MOVABLE, GFP_KERNEL), -EBUSY);
    assert_true(logged("somebody else isolates"));
    pthread_mutex_lock(&memory->pages_lock);
    dk_blocks_rejoin(memory, 4096, 4097);
    pthread_mutex_unlock(&memory->pages_lock);
    free_contig_range(100, 3);
    assert_true(logged("3 of the pages"));
    assert_int_equal(alloc_contig_range(100, 103, MIGRATE_MOVABLE, GFP_KERNEL), 0);
    get_page(phys_to_page(101 * PAGE_SIZE));
    free_contig_range(100, 3);
    assert_true(logged("1 of the pages 0x64-0x67 are still in use"));
    assert_int_equal(dk_memory_free_pages(memory), 4094);
    put_page(phys_to_page(101 * PAGE_SIZE));
    unmake(memory, 4095);
}

struct told {
    unsigned calls;
    phys_addr_t phys[4];
    u64 size[4];
};

static bool note_freed(void *data, phys_addr_t phys, u64 size, const char *call, u32 *stack)
{
    struct told *told = data;

    (void)stack;
    assert_string_equal(call, "free_contig_range");
    assert_true(told->calls < 4);
    told->phys[told->calls] = phys;
    told->size[told->calls++] = size;
    return false;
}

/* What is freed is told run by run, and what somebody has a reference to is not. */
static void test_telling(void **state)
{
    struct told told = { 0 };
    const struct dk_hooks hooks = { .memory_freed = note_freed, .data = &told };
    struct dk_memory_config told_config = config;
    struct dk_memory *memory;

    (void)state;
    told_config.hooks = &hooks;
    memory = make(&told_config);
    assert_int_equal(alloc_contig_range(100, 110, MIGRATE_MOVABLE, GFP_KERNEL), 0);
    get_page(phys_to_page(103 * PAGE_SIZE));
    free_contig_range(100, 10);
    assert_true(logged("1 of the pages 0x64-0x6e are still in use"));
    assert_int_equal(told.calls, 2);
    assert_int_equal(told.phys[0], 100 * PAGE_SIZE);
    assert_int_equal(told.size[0], 3 * PAGE_SIZE);
    assert_int_equal(told.phys[1], 104 * PAGE_SIZE);
    assert_int_equal(told.size[1], 6 * PAGE_SIZE);
    memory->hooks = NULL;
    put_page(phys_to_page(103 * PAGE_SIZE));
    unmake(memory, PAGES);
}

static void test_anywhere(void **state)
{
    struct dk_memory *memory = make(&config);
    struct page *run, *page, *fixed, *next;
    LIST_HEAD(taken);

    (void)state;
    run = alloc_contig_pages(100, GFP_KERNEL, 0, NULL);
    assert_int_equal(page_to_pfn(run), PAGES - 100);
    free_contig_pages(run, 100);
    run = alloc_contig_pages(64, GFP_KERNEL, NUMA_NO_NODE, NULL);
    assert_int_equal(page_to_pfn(run), PAGES - 64);
    assert_int_equal(page_count(run + 63), 1);
    free_contig_pages(run, 64);
    assert_true(silent());

    /* Memory full of movable pages, one in three; a fixed page where the search begins. */
    fixed = dk_pages_take(memory, GFP_KERNEL, 1, 1, (PAGES - 500) * PAGE_SIZE, (PAGES - 499) * PAGE_SIZE - 1);
    own(memory, OWNED / 3);
    while ((page = dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0)))
        list_add(&page->lru, &taken);
    assert_null(alloc_contig_pages(400, GFP_KERNEL | __GFP_NOWARN, 0, NULL));
    assert_true(silent());
    assert_null(alloc_contig_pages(400, GFP_KERNEL, 0, NULL));
    assert_true(logged("no place for 400"));
    list_for_each_entry_safe (page, next, &taken, lru) {
        u64 pfn = page_to_pfn(page);

        /* Pairs of free pages all over, and none in a row beyond what is movable. */
        if (pfn >= PAGES - 2000 || pfn % 3 == 0) {
            list_del(&page->lru);
            __free_page(page);
        }
    }
    run = alloc_contig_pages(1300, GFP_KERNEL, 0, NULL);
    assert_non_null(run);
    assert_true(page_to_pfn(run) + 1300 <= PAGES - 500);
    check();
    assert_true(silent());
    free_contig_pages(run, 1300);
    list_for_each_entry_safe (page, next, &taken, lru)
        __free_page(page);
    __free_page(fixed);
    disown();
    assert_null(alloc_contig_pages(0, GFP_KERNEL, 0, NULL));
    assert_null(alloc_contig_pages(16, GFP_KERNEL | __GFP_COMP, 0, NULL));
    unmake(memory, PAGES);
}

static void test_locks_and_misuse(void **state)
{
    static const struct movable_operations partial = { .isolate_page = isolate_page };
    struct dk_memory *memory = make(&config);
    struct page *page = alloc_page(GFP_KERNEL), *block = alloc_pages(GFP_KERNEL, 1);
    int local = 0;

    (void)state;
    assert_true(trylock_page(page));
    assert_false(trylock_page(page));
    __SetPageMovable(page, &partial);
    assert_true(logged("has no isolate_page"));
    __SetPageMovable(page, NULL);
    assert_true(logged("has no isolate_page"));
    unlock_page(page);
    unlock_page(page);
    assert_true(logged("is not locked"));
    __SetPageMovable(page, &operations);
    assert_true(logged("not a locked allocation of one page"));
    __ClearPageMovable(page);
    assert_true(logged("is not movable"));
    lock_page(block);
    __SetPageMovable(block, &operations);
    assert_true(logged("not a locked allocation of one page"));
    unlock_page(block);
    __SetPageMovable((struct page *)&local, &operations);
    assert_true(logged("is not a page"));
    __free_pages(block, 1);
    __free_page(page);
    lock_page(page);
    assert_true(logged("not an allocated page"));
    assert_false(trylock_page(page));
    assert_true(logged("not an allocated page"));
    unmake(memory, PAGES);
}

/* Each allocation fails in turn: nothing is lost, and no block stays isolated. */
static void test_scarcity(void **state)
{
    unsigned long n, hits = 1;

    (void)state;
    for (n = 1; hits; n++) {
        struct dk_memory *memory = make(&config);
        struct page *run;
        int error;

        own(memory, 3);
        dk_fail_nth(n);
        error = alloc_contig_range(3 * BLOCK, 4 * BLOCK, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN);
        run = alloc_contig_pages(2 * BLOCK, GFP_KERNEL | __GFP_NOWARN, 0, NULL);
        hits = dk_fail_hits();
        dk_fail_nth(0);
        assert_true(!error || error == -ENOMEM);
        check();
        if (!error) {
            /* Whoever was told so has it. */
            assert_int_equal(page_count(pfn_to_page(3 * BLOCK)), 1);
            assert_int_equal(page_count(pfn_to_page(4 * BLOCK - 1)), 1);
            free_contig_range(3 * BLOCK, BLOCK);
        }
        if (run)
            free_contig_pages(run, 2 * BLOCK);
        disown();
        run = dk_pages_take(memory, GFP_KERNEL, PAGES, 1, 0, ~0ull);
        assert_non_null(run);
        dk_pages_give(memory, run, PAGES);
        unmake(memory, PAGES);
    }
    assert_true(n > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moving_out),     cmocka_unit_test(test_what_is_in_the_way),
        cmocka_unit_test(test_pinned),         cmocka_unit_test(test_answers),
        cmocka_unit_test(test_passing),        cmocka_unit_test(test_telling),
        cmocka_unit_test(test_no_place_to_go), cmocka_unit_test(test_refused),
        cmocka_unit_test(test_anywhere),       cmocka_unit_test(test_locks_and_misuse),
        cmocka_unit_test(test_scarcity),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
