/* SPDX-License-Identifier: MIT */
/*
 * Random operations on the page allocator beside a plain model: one byte a page that says whose it is. A
 * success must be what was asked for; a failure is allowed only where the model, too, has no aligned block.
 * Some page blocks are isolated for a while.
 */
#include "draw.h"
#include "fixture.h"

#include "mm/private.h"

#include <dmakit/migrate.h>

#include <stdio.h>
#include <stdlib.h>

/* Two pieces of RAM with a hole between, edges inside blocks, zone ends inside blocks, across a section's
 * end. */
#define FIRST (GIB - 6 * MIB + 3 * PAGE_SIZE)
#define FIRST_PAGES 1700
#define SECOND (GIB + 2 * MIB - 5 * PAGE_SIZE)
#define SECOND_PAGES 2396
#define PAGES (FIRST_PAGES + SECOND_PAGES)
#define BASE_PFN ((GIB - 8 * MIB) / PAGE_SIZE)
#define SPAN ((u64)8192)
#define DMA_END (FIRST + 700 * PAGE_SIZE)
#define DMA32_END (GIB + 3 * MIB + 7 * PAGE_SIZE)

#define BLOCKS (SPAN / DK_BLOCK_PAGES)
/* In the last zone, all of it RAM. */

enum { HOLE, FREE, USED };

struct allocation {
    struct page *page;
    u64 pfn;
    u32 count;
    bool given; /* through dk_pages_take() */
    unsigned order;
};

static unsigned char model[SPAN];
static bool isolated[BLOCKS];
static struct allocation live[PAGES];
static unsigned live_count;
static u64 free_now;

static int zone_of(u64 pfn)
{
    u64 phys = pfn * PAGE_SIZE;

    return phys < DMA_END ? 0 : phys < DMA32_END ? 1 : 2;
}

/* Whether a request may have a page of @pfn's block. */
static bool is_open(u64 pfn)
{
    return !isolated[(pfn - BASE_PFN) / DK_BLOCK_PAGES];
}

/* Whether the model has a free aligned block of 1 << @order pages in [low, high), within one zone up to
 * @last_zone. */
static bool model_has(unsigned order, u64 low, u64 high, int last_zone)
{
    u64 size = (u64)1 << order, pfn, i;

    for (pfn = BASE_PFN / size * size; pfn + size <= BASE_PFN + SPAN; pfn += size) {
        bool all = pfn >= BASE_PFN && pfn >= low && pfn + size <= high && is_open(pfn);

        for (i = 0; all && i < size; i++)
            all = model[pfn + i - BASE_PFN] == FREE && zone_of(pfn + i) <= last_zone &&
                  zone_of(pfn + i) == zone_of(pfn);
        if (all)
            return true;
    }
    return false;
}

static void model_set(u64 pfn, u64 count, unsigned char from, unsigned char to)
{
    u64 i;

    for (i = 0; i < count; i++) {
        if (model[pfn + i - BASE_PFN] != from)
            fail_msg("page 0x%llx is %u", pfn + i, model[pfn + i - BASE_PFN]);
        model[pfn + i - BASE_PFN] = to;
    }
}

static void remember(struct page *page, u64 count, bool given, unsigned order)
{
    struct allocation *new = &live[live_count++];

    *new = (struct allocation){ page, page_to_pfn(page), (u32)count, given, order };
    model_set(new->pfn, count, FREE, USED);
    free_now -= count;
}

static void allocate_block(struct dk_memory *memory)
{
    static const struct {
        gfp_t gfp;
        int last_zone;
    } kinds[] = { { __GFP_NOWARN, 2 }, { GFP_DMA32 | __GFP_NOWARN, 1 }, { GFP_DMA | __GFP_NOWARN, 0 } };
    unsigned kind = (unsigned)draw(3), order = (unsigned)draw(4) ? (unsigned)draw(4) : (unsigned)draw(11);
    bool movable = draw(2);
    struct page *page = dk_pages_allocate(memory, kinds[kind].gfp | (movable ? __GFP_MOVABLE : 0), order);

    if (!page) {
        assert_false(model_has(order, 0, ~0ull, kinds[kind].last_zone));
        return;
    }
    assert_true(is_open(page_to_pfn(page)));
    assert_int_equal(page_to_pfn(page) % (1u << order), 0);
    assert_true(zone_of(page_to_pfn(page)) <= kinds[kind].last_zone);
    remember(page, 1u << order, false, order);
}

static void take_range(struct dk_memory *memory)
{
    u64 count = draw(8) ? draw(40) + 1 : draw(1500) + 1, align = 1ull << draw(8);
    u64 low = BASE_PFN + draw(SPAN), high = low + draw(SPAN), i;
    bool movable = draw(2);
    struct page *page;
    unsigned order = 0;
    u64 pfn;

    if (!draw(3)) {
        low = 0;
        high = 1ull << 40;
    }
    page = dk_pages_take(memory, __GFP_NOWARN | (movable ? __GFP_MOVABLE : 0), count, align, low * PAGE_SIZE,
                         high * PAGE_SIZE - 1);
    if (!page) {
        while (1ull << order < count || 1ull << order < align)
            order++;
        assert_false(order <= MAX_PAGE_ORDER && model_has(order, low, high, 2));
        return;
    }
    pfn = page_to_pfn(page);
    assert_true(pfn >= low && pfn + count <= high);
    assert_int_equal(pfn % align, 0);
    assert_true(pfn * PAGE_SIZE / GIB == ((pfn + count) * PAGE_SIZE - 1) / GIB);
    for (i = 0; i < count; i++)
        assert_true(is_open(pfn + i));
    remember(page, count, true, 0);
}

/* One zone's part of a block is isolated, or no longer: of the other zone's part nothing is asked meanwhile.
 */
static void isolate(struct dk_memory *memory, u64 block)
{
    u64 start = BASE_PFN + block * DK_BLOCK_PAGES;

    if (zone_of(start) != zone_of(start + DK_BLOCK_PAGES - 1))
        return;
    pthread_mutex_lock(&memory->pages_lock);
    if (isolated[block])
        dk_blocks_rejoin(memory, start + 5, start + 6);
    else
        assert_int_equal(dk_blocks_isolate(memory, start + draw(DK_BLOCK_PAGES), start + DK_BLOCK_PAGES), 0);
    isolated[block] = !isolated[block];
    if (isolated[block])
        assert_int_equal(dk_blocks_isolate(memory, start, start + 1), -EBUSY);
    pthread_mutex_unlock(&memory->pages_lock);
}

static u64 free_in_isolation(void)
{
    u64 pages = 0, i;

    for (i = 0; i < SPAN; i++)
        pages += model[i] == FREE && isolated[i / DK_BLOCK_PAGES];
    return pages;
}

/* A given range: had when the model says that all of it is free, in one zone, and nothing of its blocks is
 * isolated. */
static void take_given(struct dk_memory *memory)
{
    u64 start = BASE_PFN + draw(SPAN), count = draw(6) ? draw(30) + 1 : draw(3000) + 1, i;
    bool good = zone_of(start) == zone_of(start + count - 1) && start + count <= BASE_PFN + SPAN;
    int error;

    for (i = start; good && i < start + count; i++)
        good = model[i - BASE_PFN] == FREE && is_open(i);
    error = dk_contig_take(memory, start, start + count, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN);
    if (!error != good)
        fail_msg("0x%llx + 0x%llx: %d", start, count, error);
    if (error)
        return;
    assert_int_equal(dk_memory_free_pages(memory), free_now - count - free_in_isolation());
    free_contig_range((unsigned long)start, (unsigned long)count);
}

static void give(struct dk_memory *memory)
{
    unsigned which = (unsigned)draw(live_count);
    struct allocation old = live[which];

    if (draw(16) == 0) {
        /* A wrong free changes nothing. */
        unsigned before = log_lines;

        dk_pages_give(memory, old.page, old.count + 1);
        if (old.count > 1)
            dk_pages_give(memory, old.page + 1, old.count - 1);
        assert_int_equal(log_lines - before, old.count > 1 ? 2 : 1);
        return;
    }
    live[which] = live[--live_count];
    model_set(old.pfn, old.count, USED, FREE);
    free_now += old.count;
    if (old.given)
        dk_pages_give(memory, old.page, old.count);
    else
        __free_pages(old.page, old.order);
}

static void run(u64 seed, u64 fragmentation, unsigned operations)
{
    const struct dk_memory_range ranges[] = { { FIRST, FIRST_PAGES * PAGE_SIZE },
                                              { SECOND, SECOND_PAGES * PAGE_SIZE } };
    struct dk_memory *memory = make(&(struct dk_memory_config){ .ranges = ranges,
                                                                .range_count = 2,
                                                                .line = 64,
                                                                .zone_dma_end = DMA_END,
                                                                .zone_dma32_end = DMA32_END,
                                                                .seed = fragmentation });
    unsigned i, bias = 2;

    print_message("fragmentation %llu\n", fragmentation);
    state_word = seed;
    live_count = 0;
    free_now = PAGES;
    memset(isolated, 0, sizeof(isolated));
    memset(model, HOLE, sizeof(model));
    memset(model + (FIRST / PAGE_SIZE - BASE_PFN), FREE, FIRST_PAGES);
    memset(model + (SECOND / PAGE_SIZE - BASE_PFN), FREE, SECOND_PAGES);
    for (i = 0; i < operations; i++) {
        /* Now filling up, now emptying. */
        if (i % 5000 == 0)
            bias = 1 + (unsigned)draw(4);
        if (live_count && draw(5) < bias)
            give(memory);
        else if (draw(3))
            allocate_block(memory);
        else
            take_range(memory);
        if (draw(50) == 0)
            take_given(memory);
        if (draw(200) == 0)
            isolate(memory, draw(BLOCKS));
        if (i % 64 == 0)
            assert_int_equal(dk_memory_free_pages(memory), free_now - free_in_isolation());
    }
    for (i = 0; i < BLOCKS; i++) {
        if (isolated[i])
            isolate(memory, i);
    }
    while (live_count)
        give(memory);
    unmake(memory, PAGES);
}

static unsigned operations(void)
{
    return getenv("DMAKIT_TEST_FAST") ? 20000 : 500000;
}

static void test_packed(void **state)
{
    (void)state;
    run(draw_seed(0x9d2c5680f00d), 0, operations());
}

static void test_fragmented(void **state)
{
    (void)state;
    run(draw_seed(0x9d2c5680f00d) + 1, 7, operations());
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_packed), cmocka_unit_test(test_fragmented) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
