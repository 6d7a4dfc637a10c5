/* SPDX-License-Identifier: MIT */
/*
 * The addresses of an address space beside a plain model: one byte for each page that says whether it is
 * free.
 */
#include "mapping/iova.h"

#include <dmakit/dma-mapping.h>
#include <dmakit/error.h>
#include <dmakit/fail.h>
#include <dmakit/log.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define EVERYWHERE (~(dma_addr_t)0)
#define MIB (1ull << 20)
#define GIB (1ull << 30)
#define BYTES(pages) ((dma_addr_t)(pages) << PAGE_SHIFT)

static unsigned log_lines;
static u64 state_word;

static void count_line(int level, const char *line, void *data)
{
    (void)level;
    (void)line;
    (void)data;
    log_lines++;
}

static u64 draw(u64 below)
{
    state_word ^= state_word << 13;
    state_word ^= state_word >> 7;
    state_word ^= state_word << 17;
    return state_word % below;
}

static u64 chosen_seed(void)
{
    const char *text = getenv("DMAKIT_TEST_SEED");

    return text ? strtoull(text, NULL, 0) : 0x10fabeadull;
}

/* ---- The model ---- */

#define PAGES (1u << 17)

enum { FREE, TAKEN, RESERVED };

static struct dk_iova *space;
static unsigned char model[PAGES]; /* by page from model_first on */
static u64 model_first, model_pages, model_free;

/* Whether magazines keep something: then it is theirs to say which place comes next. */
static bool caches(void)
{
    return model_pages >= 1024;
}

/* What a range takes away: cached sizes are rounded up. */
static u64 held(u64 pages)
{
    unsigned order = dk_iova_order(pages);

    return pages <= DK_IOVA_CACHED_PAGES && model_pages >> (order + 10) ? 1ull << order : pages;
}

static void model_set(u64 page, u64 pages, unsigned char from, unsigned char to)
{
    assert_true(page >= model_first && pages <= model_pages && page - model_first <= model_pages - pages);
    for (u64 i = page - model_first; i < page - model_first + pages; i++) {
        if (model[i] != from)
            fail_msg("page 0x%llx is %u, not %u", model_first + i, model[i], from);
        model[i] = to;
    }
    model_free += (to == FREE ? pages : 0) - (from == FREE ? pages : 0);
}

static bool model_has(u64 page, u64 pages, unsigned char what)
{
    for (u64 i = page - model_first; i < page - model_first + pages; i++) {
        if (model[i] != what)
            return false;
    }
    return true;
}

/* The highest place, or 0. */
static u64 model_find(u64 pages, dma_addr_t limit)
{
    u64 align = 1ull << dk_iova_order(pages), length = held(pages), page;

    if (length > model_pages)
        return 0;
    page = (model_first + model_pages - length) & ~(align - 1);
    while (page >= model_first) {
        if (BYTES(page) + (BYTES(pages) - 1) <= limit && model_has(page, length, FREE))
            return page;
        if (page < align)
            return 0;
        page -= align;
    }
    return 0;
}

static void open_space(u64 first, u64 pages)
{
    space = dk_iova_create(BYTES(first), BYTES(first + pages) - 1);
    assert_false(IS_ERR(space));
    assert_true(pages <= PAGES);
    memset(model, FREE, sizeof(model));
    model_first = first;
    model_pages = pages;
    model_free = pages;
    assert_int_equal(dk_iova_free_pages(space), pages);
}

static void reserve(u64 first, u64 pages)
{
    /* There are no addresses behind the last one. */
    if (pages > (1ull << 52) - first)
        pages = (1ull << 52) - first;
    for (u64 page = first; page < first + pages; page++) {
        if (page >= model_first && page - model_first < model_pages && model_has(page, 1, FREE))
            model_set(page, 1, FREE, RESERVED);
    }
    /* Any byte of a page stands for it. */
    assert_int_equal(
        dk_iova_reserve(space, BYTES(first) + draw(PAGE_SIZE), BYTES(first + pages) - 1 - draw(PAGE_SIZE)),
        0);
    assert_int_equal(dk_iova_free_pages(space), model_free);
}

/* Takes, and checks all that can be said about it: the place itself where nothing is cached. */
static u64 take(u64 pages, dma_addr_t limit)
{
    dma_addr_t iova = dk_iova_take(space, pages, limit);
    u64 page = iova >> PAGE_SHIFT, wanted;

    if (iova == DMA_MAPPING_ERROR) {
        wanted = model_find(pages, limit);
        if (wanted)
            fail_msg("no %llu pages below 0x%llx, but they are at page 0x%llx", pages, limit, wanted);
        return 0;
    }
    assert_int_equal(iova & ~PAGE_MASK, 0);
    assert_int_equal(page & ((1ull << dk_iova_order(pages)) - 1), 0);
    assert_true(iova + (BYTES(pages) - 1) <= limit);
    assert_true(page);
    if (!caches())
        assert_int_equal(page, model_find(pages, limit));
    model_set(page, held(pages), FREE, TAKEN);
    return page;
}

static void give(u64 page, u64 pages)
{
    model_set(page, held(pages), TAKEN, FREE);
    dk_iova_give(space, BYTES(page), pages);
}

static void give_wrongly(dma_addr_t iova, u64 pages)
{
    unsigned before = log_lines;
    u64 free = dk_iova_free_pages(space);

    dk_iova_give(space, iova, pages);
    assert_int_equal(log_lines, before + 1);
    assert_int_equal(dk_iova_free_pages(space), free);
}

/* All must have been given back. */
static void close_space(void)
{
    unsigned before = log_lines;

    assert_int_equal(dk_iova_free_pages(space), model_free);
    assert_false(memchr(model, TAKEN, model_pages));
    dk_magazines_drain(space->magazines);
    assert_int_equal(space->tree.free, model_free);
    dk_iova_destroy(space);
    assert_int_equal(log_lines, before);
}

/* ---- Random operations ---- */

#define RANGES 4096

static struct {
    u64 page, pages;
} ranges[RANGES];
static unsigned range_count;

static u64 draw_pages(u64 most)
{
    u64 limit = 1ull << draw(2 + dk_iova_order(most));

    if (limit > most + 1)
        limit = most + 1;
    return draw(4) ? 1 + draw(limit) : 1ull << draw(dk_iova_order(limit) + 1);
}

static dma_addr_t draw_limit(void)
{
    if (draw(4) == 0)
        return BYTES(model_first) + draw(BYTES(model_pages));
    if (draw(64) == 0)
        return draw(BYTES(model_first));
    return draw(2) ? EVERYWHERE : BYTES(model_first + 1 + draw(model_pages)) - 1;
}

static void take_one(void)
{
    u64 pages = draw_pages(model_pages), page;

    if (range_count == RANGES)
        return;
    page = take(pages, draw_limit());
    if (page) {
        ranges[range_count].page = page;
        ranges[range_count++].pages = pages;
    }
}

/* What is not a range must be noticed; where nothing is cached, at once. */
static void misuse(u64 page, u64 pages)
{
    switch (draw(6)) {
    case 0:
        give_wrongly(BYTES(page), pages + 1);
        break;
    case 1:
        if (pages > 1)
            give_wrongly(BYTES(page), 1 + draw(pages - 1));
        break;
    case 2:
        if (pages > 1)
            give_wrongly(BYTES(page + 1 + draw(pages - 1)), 1);
        break;
    case 3:
        give_wrongly(BYTES(page) + 1 + draw(PAGE_SIZE - 1), pages);
        break;
    case 4:
        assert_int_equal(dk_iova_reserve(space, BYTES(page), BYTES(page)), -EBUSY);
        assert_int_equal(dk_iova_free_pages(space), model_free);
        break;
    default:
        give(page, pages);
        give_wrongly(BYTES(page), pages);
        assert_int_equal(take(pages, BYTES(page + pages) - 1), page);
    }
}

static void give_one(void)
{
    unsigned which = (unsigned)draw(range_count);
    u64 page = ranges[which].page, pages = ranges[which].pages;

    if (!caches() && draw(16) == 0)
        misuse(page, pages);
    ranges[which] = ranges[--range_count];
    give(page, pages);
}

static void run(u64 first, u64 pages, unsigned operations)
{
    unsigned bias = 2;

    open_space(first, pages);
    range_count = 0;
    for (u64 i = draw(4); i; i--)
        reserve(first + draw(pages), 1 + draw(1 + pages / 16));
    for (unsigned i = 0; i < operations; i++) {
        if (i % 500 == 0)
            bias = 1 + (unsigned)draw(4);
        if (range_count && draw(5) < bias)
            give_one();
        else
            take_one();
        if (i % 64 == 0)
            assert_int_equal(dk_iova_free_pages(space), model_free);
        if (draw(2000) == 0 && model_free > pages / 2 && !caches()) {
            u64 page = first + draw(pages);

            if (model_has(page, 1, FREE))
                reserve(page, 1);
        }
    }
    while (range_count)
        give_one();
    close_space();
}

static void random_operations_agree_with_the_model(void **state)
{
    static const struct {
        u64 first, pages;
        unsigned operations;
    } cases[] = {
        { 1, 1, 5000 },
        { 1, 2, 5000 },
        { 6, 5, 20000 },
        { 1, 63, 75000 },
        { 64, 64, 75000 },
        { 0xffffd, 7, 20000 },
        { 253, 700, 200000 },
        { (1ull << 52) - 600, 600, 100000 },
        { (1ull << 40) - 77, 1023, 100000 },
        { 1, 1024, 50000 },
        { 12345, 5000, 100000 },
        { 0x80000 - 60000, PAGES, 150000 },
        { (1ull << 52) - PAGES, PAGES, 100000 },
    };
    unsigned part = getenv("DMAKIT_TEST_FAST") ? 25 : 1;

    (void)state;
    state_word = chosen_seed();
    print_message("seed 0x%llx\n", state_word);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        run(cases[i].first, cases[i].pages, cases[i].operations / part);
}

/* ---- Small spaces ---- */

/* Takes @pages until there are none, then gives them back, in an order of its own; returns how many. */
static unsigned exhaust(u64 pages)
{
    range_count = 0;
    while ((ranges[range_count].page = take(pages, EVERYWHERE))) {
        /* From above. */
        assert_true(!range_count || ranges[range_count].page < ranges[range_count - 1].page);
        ranges[range_count++].pages = pages;
    }
    assert_true(dk_iova_take(space, pages, EVERYWHERE) == DMA_MAPPING_ERROR);
    for (unsigned count = range_count; count; count--) {
        unsigned which = (unsigned)draw(count);

        give(ranges[which].page, pages);
        ranges[which] = ranges[count - 1];
    }
    assert_int_equal(dk_iova_free_pages(space), model_free);
    return range_count;
}

static void small_spaces_can_be_used_to_the_last_page(void **state)
{
    static const u64 starts[] = { 1, 2, 7, 61, 64, 0xfffff };

    (void)state;
    state_word = 1;
    for (u64 pages = 1; pages <= 64; pages++) {
        for (size_t i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
            for (unsigned window = 0; window < 3; window++) {
                open_space(starts[i], pages);
                if (window)
                    reserve(starts[i] + pages * (window - 1) / 2, 1 + (pages > 8));
                for (u64 size = 1; size <= pages + 1; size++) {
                    unsigned count = exhaust(size);

                    if (size == 1)
                        assert_int_equal(count, model_free);
                }
                close_space();
            }
        }
    }
}

/* ---- Cases ---- */

static void spaces_that_cannot_be_are_refused(void **state)
{
    static const struct {
        dma_addr_t base, last;
        u64 pages; /* 0: refused */
    } cases[] = {
        { 0, 0, 0 },
        { 0, PAGE_SIZE - 1, 0 },
        { 0, 2 * PAGE_SIZE - 2, 0 },
        { 0, 2 * PAGE_SIZE - 1, 1 },
        { PAGE_SIZE, 2 * PAGE_SIZE - 1, 1 },
        { PAGE_SIZE + 1, 2 * PAGE_SIZE - 1, 0 },
        { PAGE_SIZE + 1, 3 * PAGE_SIZE - 1, 1 },
        { PAGE_SIZE, 2 * PAGE_SIZE - 2, 0 },
        { GIB, GIB - 1, 0 },
        { GIB, 0, 0 },
        { EVERYWHERE, EVERYWHERE, 0 },
        { EVERYWHERE - PAGE_SIZE + 1, EVERYWHERE, 1 },
        { 0, 4 * GIB - 1, (1ull << 20) - 1 },
        { 0, EVERYWHERE, (1ull << 52) - 1 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_iova *made = dk_iova_create(cases[i].base, cases[i].last);

        if (cases[i].pages) {
            assert_false(IS_ERR(made));
            assert_true(dk_iova_free_pages(made) == cases[i].pages);
            dk_iova_destroy(made);
        } else {
            assert_int_equal(PTR_ERR(made), -EINVAL);
        }
    }
    dk_iova_destroy(NULL);
}

static void the_largest_space_has_its_ends(void **state)
{
    struct dk_iova *large = dk_iova_create(0, EVERYWHERE);
    dma_addr_t top, bottom, half;

    (void)state;
    assert_false(IS_ERR(large));
    top = dk_iova_take(large, 1, EVERYWHERE);
    assert_true(top == EVERYWHERE - PAGE_SIZE + 1);
    bottom = dk_iova_take(large, 1, 2 * PAGE_SIZE - 1);
    assert_true(bottom == PAGE_SIZE);
    assert_true(dk_iova_take(large, 1, 2 * PAGE_SIZE - 1) == DMA_MAPPING_ERROR);
    assert_true(dk_iova_take(large, 1, PAGE_SIZE - 1) == DMA_MAPPING_ERROR);
    assert_true(dk_iova_take(large, 1, 0) == DMA_MAPPING_ERROR);
    /* Neither half is free as a whole, but what is missing of the upper one is its end. */
    assert_true(dk_iova_take(large, 1ull << 51, EVERYWHERE) == DMA_MAPPING_ERROR);
    half = dk_iova_take(large, (1ull << 51) - 1000, EVERYWHERE);
    assert_true(half == 1ull << 63);
    dk_iova_give(large, half, (1ull << 51) - 1000);
    dk_iova_give(large, bottom, 1);
    dk_iova_give(large, top, 1);
    assert_true(dk_iova_free_pages(large) == (1ull << 52) - 1);
    dk_iova_destroy(large);
}

static void sizes_that_cannot_be_are_refused(void **state)
{
    static const u64 sizes[] = {
        0, 65, 128, 1ull << 40, 1ull << 52, (1ull << 52) + 1, 1ull << 63, EVERYWHERE
    };

    (void)state;
    open_space(64, 64);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        assert_true(dk_iova_take(space, sizes[i], EVERYWHERE) == DMA_MAPPING_ERROR);
        give_wrongly(BYTES(64), sizes[i]);
        give_wrongly(0, sizes[i]);
        give_wrongly(BYTES(127), sizes[i]);
        give_wrongly(BYTES(128), sizes[i]);
        give_wrongly(EVERYWHERE, sizes[i]);
    }
    close_space();
}

static void the_tail_of_a_large_range_is_free(void **state)
{
    dma_addr_t large, small;

    (void)state;
    space = dk_iova_create(GIB, GIB + 128 * MIB - 1);
    assert_false(IS_ERR(space));
    large = dk_iova_take(space, 65 * MIB / PAGE_SIZE, EVERYWHERE);
    assert_true(large == GIB);
    assert_true(dk_iova_free_pages(space) == 63 * MIB / PAGE_SIZE);
    small = dk_iova_take(space, 32 * MIB / PAGE_SIZE, EVERYWHERE);
    assert_true(small == GIB + 96 * MIB);
    dk_iova_give(space, large, 65 * MIB / PAGE_SIZE);
    dk_iova_give(space, small, 32 * MIB / PAGE_SIZE);
    assert_true(dk_iova_free_pages(space) == 128 * MIB / PAGE_SIZE);
    assert_true(dk_iova_take(space, 128 * MIB / PAGE_SIZE, EVERYWHERE) == GIB);
    dk_iova_destroy(space);
}

static void windows_may_overlap_each_other_but_nothing_taken(void **state)
{
    u64 page;

    (void)state;
    state_word = 2;
    open_space(100, 1000);
    reserve(50, 60);
    reserve(105, 10);
    reserve(90, 20);
    reserve(1095, 500);
    reserve(2000, 10);
    reserve(10, 20);
    assert_int_equal(model_free, 980);
    page = take(3, EVERYWHERE);
    assert_int_equal(page, 1092);
    assert_int_equal(dk_iova_reserve(space, BYTES(1090), BYTES(1093)), -EBUSY);
    assert_int_equal(dk_iova_reserve(space, 0, EVERYWHERE), -EBUSY);
    assert_int_equal(dk_iova_reserve(space, BYTES(1093), BYTES(1092)), 0);
    assert_int_equal(dk_iova_free_pages(space), model_free);
    give_wrongly(BYTES(105), 1);
    give(page, 3);
    /* One page of a large window. */
    page = take(1, BYTES(800) - 1);
    assert_int_equal(page, 799);
    assert_int_equal(dk_iova_reserve(space, BYTES(768), BYTES(832) - 1), -EBUSY);
    assert_int_equal(dk_iova_reserve(space, BYTES(512), BYTES(1024) - 1), -EBUSY);
    assert_int_equal(dk_iova_free_pages(space), model_free);
    give(page, 1);
    close_space();
    /* What magazines hold is not taken. */
    open_space(1, PAGES);
    page = take(1, EVERYWHERE);
    give(page, 1);
    reserve(page - 10, 20);
    close_space();
    open_space(1, PAGES);
    reserve(0, 2 * PAGES);
    assert_int_equal(model_free, 0);
    assert_int_equal(take(1, EVERYWHERE), 0);
    close_space();
}

/* A window that nothing is in the way of, which is any but a few, leaves them what they hold. */
static void a_window_elsewhere_leaves_the_magazines_alone(void **state)
{
    size_t held_before;
    u64 page;

    (void)state;
    open_space(1, PAGES);
    page = take(1, EVERYWHERE);
    give(page, 1);
    held_before = dk_magazines_held(space->magazines, 0);
    assert_true(held_before > 0);
    reserve(100, 10);
    assert_int_equal(dk_magazines_held(space->magazines, 0), held_before);
    reserve(page, 1);
    assert_int_equal(dk_magazines_held(space->magazines, 0), 0);
    close_space();
}

/* A cached size comes to the tree later, and is refused there. */
static void a_cached_range_that_is_given_twice_is_noticed_in_the_end(void **state)
{
    unsigned before = log_lines;
    u64 page;

    (void)state;
    open_space(1, PAGES);
    page = take(1, EVERYWHERE);
    give(page, 1);
    dk_iova_give(space, BYTES(page), 1);
    dk_iova_give(space, BYTES(page), 2);
    dk_iova_give(space, BYTES(page) + 1, 1);
    dk_iova_give(space, 0, 1);
    dk_magazines_drain(space->magazines);
    assert_int_equal(log_lines, before + 4);
    close_space();
}

/* Once a range beyond the limit was popped, it must not be lost. */
static void a_limit_holds_for_cached_ranges_too(void **state)
{
    (void)state;
    open_space(1, PAGES);
    for (unsigned i = 0; i < 2000; i++) {
        u64 pages = 1 + i % 64, below = take(pages, BYTES(PAGES / 2) - 1), above = take(pages, EVERYWHERE);

        assert_true(below && above);
        give(below, pages);
        give(above, pages);
    }
    close_space();
}

/* Blocks that a range consists of, and those that it would fall into, are not ranges of their own. */
static void parts_of_a_range_cannot_be_given_back(void **state)
{
    static const u64 sizes[] = { 33, 64, 65, 128, 192, 200, 256, 448, 449, 512, 700, 960 };

    (void)state;
    open_space(1024, 1023);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        u64 page = take(sizes[i], EVERYWHERE), size = sizes[i];

        assert_true(page);
        for (u64 start = 0; start < size; start += start % 32 == 1 ? 31 : 1) {
            for (u64 end = start + 1; end <= size; end += end < size && end + 31 > size ? size - end : 31) {
                if (start || end < size)
                    give_wrongly(BYTES(page + start), end - start);
            }
            for (u64 length = 32; length < size; length *= 2)
                give_wrongly(BYTES(page + start), length);
        }
        give_wrongly(BYTES(page - 1), size + 1);
        give_wrongly(BYTES(page), size + 1);
        give(page, size);
    }
    close_space();
}

static void halves_that_become_alike_need_no_memory(void **state)
{
    size_t spare = 0;

    (void)state;
    state_word = 3;
    open_space(1, 1023);
    reserve(500, 7);
    for (unsigned i = 0; i < 3; i++) {
        for (u64 pages = 1; pages < 20; pages++)
            exhaust(pages);
        assert_true(!spare || space->tree.spare_count == spare);
        spare = space->tree.spare_count;
    }
    close_space();

    /* What is reserved page by page needs no more than what is reserved at once. */
    open_space(64, 1024);
    reserve(64, 512);
    spare = space->tree.spare_count;
    close_space();
    open_space(64, 1024);
    for (u64 page = 64; page < 576; page++)
        reserve(page, 1);
    assert_int_equal(space->tree.spare_count, spare);
    close_space();
    open_space(64, 1024);
    for (u64 page = 65; page < 576; page += 30)
        reserve(page, 1);
    reserve(64, 512);
    assert_int_equal(space->tree.spare_count, spare);
    close_space();
}

/* ---- Out of memory ---- */

static void live(u64 size)
{
    static u64 places[200];
    u64 pages = size;
    unsigned missing = 0;

    assert_true(IS_ERR(space) ? PTR_ERR(space) == -ENOMEM && dk_fail_hits() : !dk_fail_hits());
    if (IS_ERR(space))
        return;
    for (unsigned i = 0; i < 20; i++) {
        /* Each with both ends deep in the tree, far from the others. */
        u64 page = 1 + size / 21 * i, length = size / 50 + i;
        int error = dk_iova_reserve(space, BYTES(page), BYTES(page + length) - 1);

        assert_true(!error || (error == -ENOMEM && dk_fail_hits()));
        pages -= error ? 0 : length;
        assert_int_equal(dk_iova_free_pages(space), pages);
    }
    for (unsigned i = 0; i < 200; i++) {
        dma_addr_t iova = dk_iova_take(space, 1 + i % 40, EVERYWHERE);

        places[i] = iova == DMA_MAPPING_ERROR ? 0 : iova;
        missing += !places[i];
    }
    assert_true(missing <= dk_fail_hits());
    for (unsigned i = 0; i < 200; i += 2) {
        if (places[i])
            dk_iova_give(space, places[i], 1 + i % 40);
    }
    for (unsigned i = 1; i < 200; i += 2) {
        if (places[i])
            dk_iova_give(space, places[i], 1 + i % 40);
    }
    assert_int_equal(dk_iova_free_pages(space), pages);
    dk_magazines_drain(space->magazines);
    assert_int_equal(space->tree.free, pages);
    dk_iova_destroy(space);
}

static void every_allocation_fails_in_turn(void **state)
{
    static const u64 sizes[] = { 10000, 1ull << 20, 1ull << 40 };
    unsigned before = log_lines;

    (void)state;
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        unsigned long n = 0, hits;

        do {
            dk_fail_nth(++n);
            space = dk_iova_create(BYTES(1), BYTES(1 + sizes[i]) - 1);
            live(sizes[i]);
            hits = dk_fail_hits();
            dk_fail_nth(0);
        } while (hits);
        assert_true(n > 8);
    }
    assert_int_equal(log_lines, before);
}

/* ---- Threads ---- */

#define THREADS 4
#define PLACES 256

struct worker {
    pthread_t thread;
    u64 seed, first;
    unsigned operations;
    bool wrong;
};

/* Page and size of ranges that threads hand to each other: page << 16 | pages; 0: none. */
static u64 places[PLACES];
static unsigned char holders[PAGES];

static u64 draw_from(u64 *word, u64 below)
{
    *word ^= *word << 13;
    *word ^= *word >> 7;
    *word ^= *word << 17;
    return *word % below;
}

/* Relaxed, so that only the space itself orders the holders. */
static void set_holder(struct worker *worker, u64 page, u64 pages, unsigned char from)
{
    for (u64 i = page; i < page + pages; i++) {
        if (__atomic_exchange_n(&holders[i - worker->first], !from, __ATOMIC_RELAXED) != from)
            worker->wrong = true;
    }
}

static void *work(void *data)
{
    struct worker *worker = data;

    for (unsigned i = 0; i < worker->operations; i++) {
        u64 pages = draw_from(&worker->seed, 8) ? 1 + draw_from(&worker->seed, 16)
                                                : 1 + draw_from(&worker->seed, 3000);
        dma_addr_t limit = draw_from(&worker->seed, 4) ? EVERYWHERE : BYTES(worker->first + PAGES / 3) - 1;
        dma_addr_t iova = dk_iova_take(space, pages, limit);
        u64 range = 0;

        if (iova != DMA_MAPPING_ERROR) {
            set_holder(worker, iova >> PAGE_SHIFT, pages, 0);
            worker->wrong |= iova + BYTES(pages) - 1 > limit;
            range = iova >> PAGE_SHIFT << 16 | pages;
        }
        range = __atomic_exchange_n(&places[draw_from(&worker->seed, PLACES)], range, __ATOMIC_ACQ_REL);
        if (range) {
            set_holder(worker, range >> 16, range & 0xffff, 1);
            dk_iova_give(space, BYTES(range >> 16), range & 0xffff);
        }
        if (i % 1000 == 0)
            worker->wrong |= dk_iova_free_pages(space) > 2 * PAGES;
    }
    return NULL;
}

static void threads_never_hold_one_page_twice(void **state)
{
    struct worker workers[THREADS];
    unsigned before = log_lines, operations = getenv("DMAKIT_TEST_FAST") ? 4000 : 40000;
    u64 seed = chosen_seed();

    (void)state;
    print_message("seed 0x%llx\n", seed);
    open_space(777, PAGES);
    for (unsigned generation = 0; generation < 2; generation++) {
        for (unsigned i = 0; i < THREADS; i++) {
            workers[i] = (struct worker){ .seed = seed + generation * THREADS + i + 1, .first = 777 };
            workers[i].operations = operations;
            assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(workers[i].thread, NULL), 0);
            assert_false(workers[i].wrong);
        }
    }
    for (unsigned i = 0; i < PLACES; i++) {
        if (places[i])
            dk_iova_give(space, BYTES(places[i] >> 16), places[i] & 0xffff);
    }
    assert_int_equal(dk_iova_free_pages(space), PAGES);
    assert_int_equal(log_lines, before);
    dk_iova_destroy(space);
    assert_int_equal(log_lines, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spaces_that_cannot_be_are_refused),
        cmocka_unit_test(the_largest_space_has_its_ends),
        cmocka_unit_test(sizes_that_cannot_be_are_refused),
        cmocka_unit_test(the_tail_of_a_large_range_is_free),
        cmocka_unit_test(windows_may_overlap_each_other_but_nothing_taken),
        cmocka_unit_test(a_window_elsewhere_leaves_the_magazines_alone),
        cmocka_unit_test(a_cached_range_that_is_given_twice_is_noticed_in_the_end),
        cmocka_unit_test(a_limit_holds_for_cached_ranges_too),
        cmocka_unit_test(parts_of_a_range_cannot_be_given_back),
        cmocka_unit_test(halves_that_become_alike_need_no_memory),
        cmocka_unit_test(small_spaces_can_be_used_to_the_last_page),
        cmocka_unit_test(random_operations_agree_with_the_model),
        cmocka_unit_test(every_allocation_fails_in_turn),
        cmocka_unit_test(threads_never_hold_one_page_twice),
    };

    dk_log_set_sink(count_line, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
