/* SPDX-License-Identifier: MIT */
/* Page blocks have types: what stays for long is kept together, so that the rest stays whole. */
#include "draw.h"
#include "fixture.h"

#include "mm/page-lists.h"

#include <stdlib.h>

#define PAGES ((u64)65536)
#define BLOCKS (PAGES / DK_BLOCK_PAGES)

static const struct dk_memory_range range = { 0, PAGES *PAGE_SIZE };

/*
 * Buffers come and go, a quarter of memory at a time, and here and there a page is taken for
 * good. How many page blocks hold none of those at the end? @movable: what the buffers are allocated with.
 */
static u64 blocks_left_whole(u64 seed, gfp_t movable)
{
    struct dk_memory_config config = small_config(&range);
    static struct page *buffers[PAGES / 4];
    struct page *page, *next;
    struct dk_memory *memory = make(&config);
    bool broken[BLOCKS] = { false };
    LIST_HEAD(stays);
    u64 whole = BLOCKS;
    unsigned i;

    memset(buffers, 0, sizeof(buffers));
    state_word = seed;
    for (i = 0; i < 200000; i++) {
        struct page **buffer = &buffers[draw(PAGES / 4)];

        if (*buffer) {
            __free_pages(*buffer, 1);
            *buffer = NULL;
        } else {
            *buffer = dk_pages_allocate(memory, GFP_KERNEL | movable | __GFP_NOWARN, 1);
        }
        if (i % 100 == 0) {
            page = dk_pages_allocate(memory, GFP_KERNEL, 0);
            assert_non_null(page);
            list_add(&page->lru, &stays);
        }
    }
    list_for_each_entry_safe (page, next, &stays, lru) {
        whole -= !broken[page_to_pfn(page) / DK_BLOCK_PAGES];
        broken[page_to_pfn(page) / DK_BLOCK_PAGES] = true;
        __free_page(page);
    }
    for (i = 0; i < PAGES / 4; i++)
        __free_pages(buffers[i], 1);
    unmake(memory, PAGES);
    return whole;
}

static void test_long_lived_pages_stay_together(void **state)
{
    u64 seed = draw_seed(0x1234567);
    u64 typed = blocks_left_whole(seed, __GFP_MOVABLE), untyped = blocks_left_whole(seed, 0);

    (void)state;
    print_message("%llu of %llu blocks stay whole, %llu without types\n", typed, (unsigned long long)BLOCKS,
                  untyped);
    /* 2000 pages fill two blocks. */
    assert_true(typed >= BLOCKS - 6);
    assert_true(untyped + 8 < typed);
}

/* Empties the threads' lists. */
static void settle(struct dk_memory *memory)
{
    pthread_mutex_lock(&memory->pages_lock);
    dk_page_lists_close(memory);
    dk_page_lists_open(memory);
    pthread_mutex_unlock(&memory->pages_lock);
}

static enum migratetype type_at(struct dk_memory *memory, const struct page *page)
{
    enum migratetype type;

    pthread_mutex_lock(&memory->pages_lock);
    type = dk_block_type(memory, page_to_pfn(page));
    pthread_mutex_unlock(&memory->pages_lock);
    return type;
}

/* When one kind has no block left, it takes of the other's: a page block nearly free goes over as a whole,
 * from a full one just the page is taken. */
static void test_stealing(void **state)
{
    const struct dk_memory_range small = { 0, 2 * DK_BLOCK_PAGES * PAGE_SIZE };
    struct dk_memory_config config = small_config(&small);
    struct dk_memory *memory = make(&config);
    struct page *block = dk_pages_allocate(memory, GFP_KERNEL, MAX_PAGE_ORDER);
    struct page *movable[DK_BLOCK_PAGES], *page, *other;
    unsigned i;

    (void)state;
    movable[0] = dk_pages_allocate(memory, GFP_KERNEL | __GFP_MOVABLE, 0);
    assert_int_equal(type_at(memory, movable[0]), MIGRATE_MOVABLE);
    assert_int_equal(type_at(memory, block), MIGRATE_UNMOVABLE);
    page = dk_pages_allocate(memory, GFP_KERNEL, 0);
    assert_int_equal(type_at(memory, page), MIGRATE_UNMOVABLE);
    __free_page(page);
    __free_page(movable[0]);
    settle(memory);
    /* Whole again, it is anybody's. */
    assert_int_equal(type_at(memory, page), MIGRATE_MOVABLE);

    for (i = 0; i < DK_BLOCK_PAGES - 1; i++)
        movable[i] = dk_pages_allocate(memory, GFP_KERNEL | __GFP_MOVABLE, 0);
    page = dk_pages_allocate(memory, GFP_KERNEL, 0);
    assert_non_null(page);
    assert_int_equal(type_at(memory, page), MIGRATE_MOVABLE);
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0));
    for (i = 0; i < DK_BLOCK_PAGES - 1; i++)
        __free_page(movable[i]);
    settle(memory);
    other = dk_pages_allocate(memory, GFP_KERNEL, 3);
    assert_int_equal(type_at(memory, other), MIGRATE_UNMOVABLE);
    __free_pages(other, 3);
    __free_page(page);
    __free_pages(block, MAX_PAGE_ORDER);
    unmake(memory, 2 * DK_BLOCK_PAGES);
}

/* Nothing is given out of isolated ones. */
static void test_isolation(void **state)
{
    const struct dk_memory_range small = { 0, 3 * DK_BLOCK_PAGES * PAGE_SIZE };
    struct dk_memory_config config = small_config(&small);
    struct dk_memory *memory = make(&config);
    struct page *page = dk_pages_take(memory, GFP_KERNEL, 1, 1, DK_BLOCK_PAGES * PAGE_SIZE,
                                      2 * DK_BLOCK_PAGES * PAGE_SIZE - 1);

    (void)state;
    pthread_mutex_lock(&memory->pages_lock);
    assert_int_equal(dk_blocks_isolate(memory, DK_BLOCK_PAGES, 2 * DK_BLOCK_PAGES), 0);
    pthread_mutex_unlock(&memory->pages_lock);
    assert_int_equal(dk_memory_free_pages(memory), 2 * DK_BLOCK_PAGES);
    assert_null(dk_pages_take(memory, GFP_HIGHUSER_MOVABLE | __GFP_NOWARN, 1, 1, DK_BLOCK_PAGES * PAGE_SIZE,
                              2 * DK_BLOCK_PAGES * PAGE_SIZE - 1));
    /* Freed into isolation. */
    __free_page(page);
    assert_int_equal(dk_memory_free_pages(memory), 2 * DK_BLOCK_PAGES);
    assert_null(dk_pages_take(memory, GFP_KERNEL | __GFP_NOWARN, 2 * DK_BLOCK_PAGES, 1, 0, ~0ull));
    pthread_mutex_lock(&memory->pages_lock);
    dk_blocks_rejoin(memory, DK_BLOCK_PAGES, 2 * DK_BLOCK_PAGES);
    pthread_mutex_unlock(&memory->pages_lock);
    page = dk_pages_take(memory, GFP_KERNEL, 3 * DK_BLOCK_PAGES, 1, 0, ~0ull);
    assert_non_null(page);
    dk_pages_give(memory, page, 3 * DK_BLOCK_PAGES);
    unmake(memory, 3 * DK_BLOCK_PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_long_lived_pages_stay_together),
        cmocka_unit_test(test_stealing),
        cmocka_unit_test(test_isolation),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
