/* SPDX-License-Identifier: MIT */
/* What contiguous areas lend, and get back when a device needs it, against a model of a byte a page. */
#include "draw.h"
#include "lending.h"

#include "mm/cma-lend.h"
#include <dmakit/migrate.h>
#include <stdio.h>
#include <stdlib.h>

#define LENT_MOST 400
#define HELD_MOST 64

enum state { FREE, DEVICE, LENT, PINNED };

/* Lent pages have an owner of the test's own: what each holds is its number. */
static struct {
    struct dk_memory *memory;
    struct cma *cma;
    struct page *lent[LENT_MOST];
    bool pinned[LENT_MOST];
    struct page *held[HELD_MOST];
    unsigned long counts[HELD_MOST];
    u64 moves;
} model;

static unsigned pick(unsigned below)
{
    return (unsigned)draw(below);
}

static u64 *contents(const struct page *page)
{
    return (u64 *)(void *)dk_memory_cached(model.memory, page_to_phys(page));
}

static bool isolate_page(struct page *page, isolate_mode_t mode)
{
    (void)mode;
    return page;
}

static const struct movable_operations operations;

static int migrate_page(struct page *to, struct page *from, enum migrate_mode mode)
{
    u64 number = *contents(from);

    (void)mode;
    assert_true(number < LENT_MOST);
    assert_ptr_equal(model.lent[number], from);
    *contents(to) = number;
    *contents(from) = ~0ull;
    model.lent[number] = to;
    model.moves++;
    get_page(to);
    __SetPageMovable(to, &operations);
    __ClearPageMovable(from);
    put_page(from);
    return 0;
}

static void putback_page(struct page *page)
{
    (void)page;
}

static const struct movable_operations operations = { isolate_page, migrate_page, putback_page };

/* A byte a page of the area. */
static void survey(unsigned char *map)
{
    memset(map, FREE, AREA);
    for (unsigned i = 0; i < HELD_MOST; i++) {
        if (model.held[i])
            memset(map + (page_to_pfn(model.held[i]) - (GIB >> PAGE_SHIFT)), DEVICE, model.counts[i]);
    }
    for (unsigned i = 0; i < LENT_MOST; i++) {
        u64 at = model.lent[i] ? page_to_pfn(model.lent[i]) - (GIB >> PAGE_SHIFT) : AREA;

        if (at < AREA) {
            assert_int_equal(map[at], FREE);
            map[at] = model.pinned[i] ? PINNED : LENT;
        }
    }
}

/* Whether @count aligned pages are free, or with @moving would be. */
static bool has_place(const unsigned char *map, unsigned long count, unsigned align, bool moving)
{
    for (unsigned long at = 0; at + count <= AREA; at += 1ul << align) {
        unsigned long n = 0;

        while (n < count && (map[at + n] == FREE || (moving && map[at + n] == LENT)))
            n++;
        if (n == count)
            return true;
    }
    return false;
}

static void borrow(unsigned i)
{
    unsigned char map[AREA];

    model.lent[i] = dk_cma_lend(model.memory, GFP_HIGHUSER_MOVABLE);
    if (!model.lent[i]) {
        survey(map);
        assert_false(has_place(map, 1, 0, false));
        return;
    }
    *contents(model.lent[i]) = i;
    lock_page(model.lent[i]);
    __SetPageMovable(model.lent[i], &operations);
    unlock_page(model.lent[i]);
}

static void give_back(unsigned i)
{
    assert_int_equal(*contents(model.lent[i]), i);
    if (model.pinned[i])
        put_page(model.lent[i]);
    lock_page(model.lent[i]);
    __ClearPageMovable(model.lent[i]);
    unlock_page(model.lent[i]);
    __free_page(model.lent[i]);
    model.lent[i] = NULL;
    model.pinned[i] = false;
}

static void change_lent(unsigned i)
{
    if (!model.lent[i])
        borrow(i);
    else if (pick(4))
        give_back(i);
    else if (model.pinned[i])
        put_page(model.lent[i]), model.pinned[i] = false;
    else
        get_page(model.lent[i]), model.pinned[i] = true;
}

static void change_held(unsigned i)
{
    unsigned char map[AREA];
    unsigned align;
    bool expected;

    if (model.held[i]) {
        assert_true(cma_release(model.cma, model.held[i], model.counts[i]));
        model.held[i] = NULL;
        return;
    }
    model.counts[i] = 1 + pick(pick(8) ? 20 : 200);
    align = pick(6);
    survey(map);
    expected = has_place(map, model.counts[i], align, true);
    model.held[i] = cma_alloc(model.cma, model.counts[i], align, true);
    if (!model.held[i] != !expected)
        fail_msg("%lu pages aligned to 1 << %u: %p", model.counts[i], align, (void *)model.held[i]);
    if (!model.held[i])
        return;
    assert_int_equal(page_to_pfn(model.held[i]) & ((1u << align) - 1), 0);
    /* Nothing is in it that was not moved out, or moved. */
    map[0] = 0;
    survey(map);
    for (unsigned long n = 0; n < model.counts[i]; n++)
        assert_int_equal(map[page_to_pfn(model.held[i]) - (GIB >> PAGE_SHIFT) + n], DEVICE);
}

static void check_all(void)
{
    unsigned char map[AREA];
    u64 free = 0;

    survey(map);
    for (unsigned i = 0; i < AREA; i++)
        free += map[i] == FREE;
    assert_int_equal(dk_cma_free_pages(model.cma), free);
    assert_unused_is_free(model.cma);
    for (unsigned i = 0; i < LENT_MOST; i++) {
        if (model.lent[i])
            assert_int_equal(*contents(model.lent[i]), i);
    }
}

static void test_model(void **state)
{
    unsigned long operations_done, rounds = getenv("DMAKIT_TEST_FAST") ? 20000 : 1000000;
    u64 before;

    (void)state;
    state_word = draw_seed(0xc0a1e5ced);
    memset(&model, 0, sizeof(model));
    model.memory = make_area(0, AREA, &model.cma);
    before = dk_memory_free_pages(model.memory);
    for (operations_done = 0; operations_done < rounds; operations_done++) {
        if (pick(5))
            change_lent(pick(LENT_MOST));
        else
            change_held(pick(HELD_MOST));
        if (operations_done % 1024 == 0)
            check_all();
    }
    printf("%llu pages were moved\n", (unsigned long long)model.moves);
    assert_true(model.moves > rounds / 100);
    for (unsigned i = 0; i < LENT_MOST; i++) {
        if (model.lent[i])
            give_back(i);
    }
    for (unsigned i = 0; i < HELD_MOST; i++) {
        if (model.held[i])
            change_held(i);
    }
    assert_int_equal(dk_cma_free_pages(model.cma), AREA);
    dk_cma_destroy(model.cma);
    unmake(model.memory, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
