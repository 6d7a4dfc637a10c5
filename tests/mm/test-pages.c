/* SPDX-License-Identifier: MIT */
/* Pages: zones and flags, ranges, references, refused frees, fragmentation by seed, highmem. */
#include "fixture.h"

#include <dmakit/slab.h>
#include <dmakit/vmalloc.h>

/* DMA below 16 MiB, DMA32 below 4 GiB, ordinary memory above. */
static const struct dk_memory_range pc_ranges[] = { { 0, 32 * MIB }, { 4 * GIB, 32 * MIB } };
static const struct dk_memory_config pc = {
    .ranges = pc_ranges, .range_count = 2, .line = 64, .zone_dma_end = 16 * MIB, .zone_dma32_end = 4 * GIB
};
#define PC_PAGES (64 * MIB / PAGE_SIZE)

static void test_zones(void **state)
{
    static const struct {
        gfp_t gfp;
        phys_addr_t low, high; /* where all pages must lie */
        u64 pages;             /* how many there are */
    } cases[] = {
        { GFP_DMA, 0, 16 * MIB, 4096 },
        { GFP_DMA32, 0, 32 * MIB, 8192 },
        { 0, 0, ~0ull, PC_PAGES },
        { __GFP_HIGHMEM, 0, ~0ull, PC_PAGES },
    };
    struct dk_memory *memory = make(&pc);
    unsigned i, order;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (order = 0; order <= MAX_PAGE_ORDER; order += 5) {
            LIST_HEAD(taken);
            struct page *page, *next;
            phys_addr_t before = ~0ull;
            u64 count = 0;

            while ((page = dk_pages_allocate(memory, cases[i].gfp | __GFP_NOWARN, order))) {
                phys_addr_t phys = page_to_phys(page);

                assert_true(phys >= cases[i].low && phys < cases[i].high);
                assert_int_equal(phys % (PAGE_SIZE << order), 0);
                /* The highest address first, zone after zone. */
                assert_true(phys < before);
                before = phys;
                list_add(&page->lru, &taken);
                count++;
            }
            assert_int_equal(count << order, cases[i].pages);
            assert_true(silent());
            list_for_each_entry_safe (page, next, &taken, lru) {
                list_del(&page->lru);
                __free_pages(page, order);
            }
            assert_int_equal(dk_memory_free_pages(memory), PC_PAGES);
        }
    }
    unmake(memory, PC_PAGES);
}

static void test_zones_without_memory(void **state)
{
    const struct dk_memory_range range = { 64 * MIB, 16 * MIB };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    struct page *page;

    (void)state;
    /* ZONE_DMA holds nothing: GFP_DMA means ordinary memory. */
    config.zone_dma_end = 16 * MIB;
    memory = make(&config);
    page = dk_pages_allocate(memory, GFP_DMA, 0);
    assert_non_null(page);
    __free_pages(page, 0);
    page = dk_pages_allocate(memory, GFP_DMA32, 0);
    assert_non_null(page);
    __free_pages(page, 0);
    unmake(memory, 4096);

    /* A zone's end inside a block of the largest order: no block lies across. */
    config.zone_dma_end = 64 * MIB + 5 * PAGE_SIZE;
    memory = make(&config);
    page = dk_pages_allocate(memory, GFP_DMA, 2);
    assert_int_equal(page_to_phys(page), 64 * MIB);
    assert_null(dk_pages_allocate(memory, GFP_DMA | __GFP_NOWARN, 1));
    __free_pages(page, 2);
    page = dk_pages_allocate(memory, GFP_DMA32, 0);
    assert_int_equal(page_to_phys(page), 64 * MIB + 4 * PAGE_SIZE);
    __free_pages(page, 0);
    assert_null(dk_pages_allocate(memory, GFP_DMA | __GFP_NOWARN, 3));
    unmake(memory, 4096);
}

/* The last pages of each zone are for requests that must not wait; and what could have had a higher zone
 * leaves some of a lower one. */
static void test_reserve(void **state)
{
    /* 1/256 of the pages above: DMA keeps 48 from ordinary requests and 16 from GFP_DMA32, DMA32 keeps 32. */
    enum { MARKS = 16 + 16 + 32, LOWMEM = 48 + 32, NORMAL = 8192, DMA = 4096 };
    static const struct {
        gfp_t gfp;
        unsigned left; /* pages that stay free */
    } cases[] = {
        { GFP_KERNEL, MARKS + LOWMEM },
        { GFP_NOWAIT, MARKS + LOWMEM },
        { GFP_NOIO, MARKS + LOWMEM },
        { GFP_ATOMIC, LOWMEM },
        { GFP_KERNEL | __GFP_HIGH, LOWMEM },
        { GFP_KERNEL | __GFP_MEMALLOC, 0 },
        { GFP_KERNEL | __GFP_MEMALLOC | __GFP_NOMEMALLOC, MARKS + LOWMEM },
        { GFP_KERNEL | GFP_DMA, NORMAL + DMA + 16 },
        { GFP_ATOMIC | GFP_DMA, NORMAL + DMA },
        { GFP_KERNEL | GFP_DMA32, NORMAL + 16 + 16 + 16 },
        { GFP_ATOMIC | GFP_DMA32, NORMAL + 16 },
        { GFP_KERNEL | __GFP_RETRY_MAYFAIL, MARKS + LOWMEM },
        { GFP_KERNEL | __GFP_NORETRY, MARKS + LOWMEM },
    };
    struct dk_memory_config config = pc;
    unsigned i, order;

    (void)state;
    config.reserve = 64;
    for (i = 0; i < 2 * sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_memory *memory = make(&config);
        gfp_t gfp = cases[i / 2].gfp;
        struct page *page, *next;
        LIST_HEAD(taken);

        order = i % 2 ? 4 : 0;
        while ((page = dk_pages_allocate(memory, gfp | __GFP_NOWARN, order)))
            list_add(&page->lru, &taken);
        if (dk_memory_free_pages(memory) != cases[i / 2].left)
            fail_msg("case %u, order %u: %llu", i / 2, order, dk_memory_free_pages(memory));
        /* A run that would leave too little is refused as a page is. */
        page = dk_pages_take(memory, gfp | __GFP_NOWARN, 1, 1, 0,
                             gfp & GFP_DMA     ? 16 * MIB - 1
                             : gfp & GFP_DMA32 ? 32 * MIB - 1
                                               : ~0ull);
        assert_null(page);
        list_for_each_entry_safe (page, next, &taken, lru) {
            list_del(&page->lru);
            __free_pages(page, order);
        }
        unmake(memory, PC_PAGES);
    }
}

/* The range decides what a request could have had: a device that reaches ZONE_DMA alone may have all of it.
 */
static void test_reserve_of_a_range(void **state)
{
    struct dk_memory_config config = pc;
    struct dk_memory *memory;
    struct page *page;

    (void)state;
    config.reserve = 64;
    memory = make(&config);
    page = dk_pages_take(memory, GFP_KERNEL, 4096 - 16, 1, 0, 16 * MIB - 1);
    assert_non_null(page);
    assert_null(dk_pages_take(memory, GFP_KERNEL | __GFP_NOWARN, 1, 1, 0, 16 * MIB - 1));
    dk_pages_give(memory, page, 4096 - 16);
    page = dk_pages_take(memory, GFP_KERNEL | __GFP_NOWARN, 4096 - 16 - 15, 1, 0, 32 * MIB - 1);
    assert_true(page_to_phys(page) >= 16 * MIB);
    dk_pages_give(memory, page, 4096 - 16 - 15);
    unmake(memory, PC_PAGES);
}

/* The order of the zones, seen by taking all memory one block after the other. */
static void test_zone_order(void **state)
{
    enum { DMA, DMA32, NORMAL, HIGH };
    static const struct {
        gfp_t gfp;
        int zones[5]; /* ended by -1 */
    } cases[] = {
        { 0, { NORMAL, DMA32, DMA, -1 } },
        { __GFP_HIGHMEM, { HIGH, NORMAL, DMA32, DMA, -1 } },
        { GFP_DMA, { DMA, -1 } },
        { GFP_DMA32, { DMA32, DMA, -1 } },
    };
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_memory_config config = pc;
        struct page *page, *next;
        struct dk_memory *memory;
        LIST_HEAD(taken);
        int at = -1, last = -1;

        config.highmem = 8 * MIB;
        memory = make(&config);
        while ((page = dk_pages_allocate(memory, cases[i].gfp | __GFP_NOWARN, 8))) {
            phys_addr_t phys = page_to_phys(page);
            int zone = phys < config.zone_dma_end  ? DMA
                       : phys < 4 * GIB            ? DMA32
                       : phys < 4 * GIB + 24 * MIB ? NORMAL
                                                   : HIGH;

            if (zone != last)
                at++;
            if (cases[i].zones[at] != zone)
                fail_msg("case %u: zone %d at place %d", i, zone, at);
            last = zone;
            list_add(&page->lru, &taken);
        }
        assert_int_equal(cases[i].zones[at + 1], -1);
        list_for_each_entry_safe (page, next, &taken, lru) {
            list_del(&page->lru);
            __free_pages(page, 8);
        }
        unmake(memory, PC_PAGES);
    }
}

static void test_refused_requests(void **state)
{
    static const gfp_t contradictions[] = { GFP_DMA | __GFP_HIGHMEM, GFP_DMA | GFP_DMA32,
                                            GFP_DMA32 | __GFP_HIGHMEM };
    struct dk_memory *memory = make(&pc);
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        assert_null(alloc_pages(contradictions[i], 0));
        assert_true(logged("contiguous pages"));
    }
    assert_null(alloc_pages(GFP_KERNEL, MAX_PAGE_ORDER + 1));
    assert_null(alloc_pages_exact(0, GFP_KERNEL));
    assert_null(alloc_pages_exact((4 << 20) + 1, GFP_KERNEL));
    assert_null(dk_pages_take(memory, GFP_KERNEL, 0, 1, 0, ~0ull));
    assert_null(dk_pages_take(memory, GFP_KERNEL, 1, 3, 0, ~0ull));
    assert_null(dk_pages_take(memory, GFP_KERNEL, 1, 0, 0, ~0ull));
    assert_null(dk_pages_take(memory, GFP_KERNEL, (size_t)1 << 32, 1, 0, ~0ull));
    assert_true(silent());
    assert_null(dk_pages_take(memory, GFP_KERNEL | __GFP_NOWARN, 8193, 1, 0, ~0ull));
    assert_true(silent());
    assert_null(dk_pages_take(memory, GFP_KERNEL, 8193, 1, 0, ~0ull));
    assert_true(logged("8193 contiguous pages"));
    unmake(memory, PC_PAGES);
}

static void test_ranges(void **state)
{
    static const struct {
        gfp_t gfp;
        size_t count, align;
        phys_addr_t lowest, highest, place; /* ~0: none */
    } cases[] = {
        { 0, 1, 1, 0, ~0ull, 4 * GIB + 32 * MIB - PAGE_SIZE },
        { GFP_DMA, 1, 1, 0, ~0ull, 16 * MIB - PAGE_SIZE },
        { GFP_DMA, 1, 1, 4 * GIB, ~0ull, 4 * GIB + 32 * MIB - PAGE_SIZE },
        { GFP_DMA, 8192, 1, 0, ~0ull, 4 * GIB },
        { 0, 1, 1, 0, 4 * GIB - 1, 32 * MIB - PAGE_SIZE },
        { 0, 1, 1, 0, 4 * GIB + PAGE_SIZE - 2, 32 * MIB - PAGE_SIZE },
        { 0, 1, 1, 0, 4 * GIB + PAGE_SIZE - 1, 4 * GIB },
        { 0, 1, 1, 5 * PAGE_SIZE, 6 * PAGE_SIZE - 1, 5 * PAGE_SIZE },
        { 0, 1, 1, 5 * PAGE_SIZE + 1, 6 * PAGE_SIZE - 1, ~0ull },
        { 0, 1, 1, 5 * PAGE_SIZE, 6 * PAGE_SIZE - 2, ~0ull },
        { 0, 1, 1, 5 * PAGE_SIZE + 1, 7 * PAGE_SIZE - 1, 6 * PAGE_SIZE },
        { 0, 2, 2, 5 * PAGE_SIZE, 8 * PAGE_SIZE - 1, 6 * PAGE_SIZE },
        { 0, 2, 2, 5 * PAGE_SIZE, 7 * PAGE_SIZE - 1, ~0ull },
        { 0, 2, 1, 5 * PAGE_SIZE, 7 * PAGE_SIZE - 1, 5 * PAGE_SIZE },
        { 0, 8192, 8192, 0, ~0ull, 4 * GIB },
        { 0, 4096, 1, 0, 32 * MIB - 1, 16 * MIB },
        { 0, 4097, 1, 0, 32 * MIB - 1, ~0ull },
        { 0, 1, 4096, 0, 20 * MIB, 16 * MIB },
        { 0, 3000, 1024, 0, 31 * MIB, 16 * MIB },
        { 0, 3000, 1, MIB, 14 * MIB - 1, 14 * MIB - 3000 * PAGE_SIZE },
        { 0, 1, 1, 33 * MIB, 4 * GIB - 1, ~0ull },
        { 0, 1, 1, 6 * GIB, ~0ull, ~0ull },
        { 0, 1, 1, 8 * PAGE_SIZE, 4 * PAGE_SIZE, ~0ull },
    };
    struct dk_memory *memory = make(&pc);
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct page *page = dk_pages_take(memory, cases[i].gfp | __GFP_NOWARN, cases[i].count, cases[i].align,
                                          cases[i].lowest, cases[i].highest);

        if ((page ? page_to_phys(page) : ~0ull) != cases[i].place)
            fail_msg("case %u: 0x%llx", i, page ? page_to_phys(page) : ~0ull);
        if (page) {
            assert_int_equal(dk_memory_free_pages(memory), PC_PAGES - cases[i].count);
            dk_pages_give(memory, page, cases[i].count);
        }
        assert_int_equal(dk_memory_free_pages(memory), PC_PAGES);
    }
    unmake(memory, PC_PAGES);
}

/* A run that fits into a section lies in one: its kernel addresses follow each other. */
static void test_runs_stay_in_a_section(void **state)
{
    const struct dk_memory_range range = { GIB - 32 * MIB, 64 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct page *page = dk_pages_take(memory, 0, 1, 1, 0, GIB + 2 * PAGE_SIZE - 1), *more;

    (void)state;
    assert_int_equal(page_to_phys(page), GIB + PAGE_SIZE);
    more = dk_pages_take(memory, 0, 3000, 1, 0, GIB + PAGE_SIZE - 1);
    assert_int_equal(page_to_phys(more), GIB - 3000 * PAGE_SIZE);
    dk_pages_give(memory, more, 3000);
    assert_null(dk_pages_take(memory, __GFP_NOWARN, 8192, 1, GIB - 16 * MIB, ~0ull));
    dk_pages_give(memory, page, 1);
    assert_null(dk_pages_take(memory, __GFP_NOWARN, 8193, 1, 0, ~0ull));
    unmake(memory, 16384);
}

static void test_merging(void **state)
{
    const struct dk_memory_range range = { 0, 8 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory = make(&config);
    struct page *pages[2048];
    unsigned i;

    (void)state;
    for (i = 0; i < 2048; i++)
        assert_non_null(pages[i] = dk_pages_allocate(memory, 0, 0));
    assert_null(dk_pages_allocate(memory, __GFP_NOWARN, 0));
    /* Every second page: nothing larger than one. */
    for (i = 0; i < 2048; i += 2)
        __free_pages(pages[i], 0);
    assert_null(dk_pages_allocate(memory, __GFP_NOWARN, 1));
    assert_int_equal(dk_memory_free_pages(memory), 1024);
    for (i = 1; i < 2048; i += 2)
        __free_pages(pages[i], 0);
    pages[0] = dk_pages_take(memory, 0, 2048, 2048, 0, ~0ull);
    assert_non_null(pages[0]);
    dk_pages_give(memory, pages[0], 2048);
    unmake(memory, 2048);
}

static void test_refused_frees(void **state)
{
    struct dk_memory *memory = make(&pc), *other;
    const struct dk_memory_range range = { 0, 16 * MIB };
    const struct dk_memory_config config = small_config(&range);
    struct page *page = alloc_pages(GFP_KERNEL, 2);
    int local = 0;

    (void)state;
    other = make(&config);
    __free_pages(NULL, 0);
    free_pages(0, 0);
    free_pages_exact(NULL, 5);
    assert_true(silent());
    __free_pages(page, 1);
    assert_true(logged("another number of pages"));
    __free_pages(page, 3);
    assert_true(logged("another number of pages"));
    __free_pages(page, 11);
    assert_true(logged("order 11"));
    __free_pages(page + 1, 0);
    assert_true(logged("not allocated"));
    __free_pages((struct page *)&local, 0);
    assert_true(logged("not a page"));
    __free_pages((struct page *)((char *)page + 8), 0);
    assert_true(logged("not a page"));
    free_pages((unsigned long)page_address(page) + 1, 2);
    assert_true(logged("not the address of a page"));
    free_pages((unsigned long)&local, 2);
    assert_true(logged("not the address of a page"));
    free_pages_exact((char *)page_address(page) + 1, 4 * PAGE_SIZE);
    assert_true(logged("not the address of a page"));
    free_pages_exact(&local, 4 * PAGE_SIZE);
    assert_true(logged("not the address of a page"));
    dk_pages_give(other, page, 4);
    assert_true(logged("no page of this machine"));
    assert_int_equal(dk_memory_free_pages(memory), PC_PAGES - 4);
    __free_pages(page, 2);
    assert_true(silent());
    assert_int_equal(dk_memory_free_pages(memory), PC_PAGES);
    __free_pages(page, 2);
    assert_true(logged("not allocated"));
    assert_int_equal(dk_memory_free_pages(memory), PC_PAGES);
    unmake(other, 4096);
    dk_log_set_sink(count_line, NULL);
    unmake(memory, PC_PAGES);
}

static void test_references(void **state)
{
    struct dk_memory *memory = make(&pc);
    struct page *page = alloc_pages(GFP_KERNEL, 3);
    int local = 0;

    (void)state;
    set_page_private(page, 99);
    assert_int_equal(page_private(page), 99);
    get_page(page);
    /* A page inside stands for its block. */
    get_page(page + 5);
    __free_pages(page, 3);
    assert_int_equal(dk_memory_free_pages(memory), PC_PAGES - 8);
    put_page(page + 7);
    assert_int_equal(dk_memory_free_pages(memory), PC_PAGES - 8);
    assert_true(silent());
    put_page(page);
    assert_int_equal(dk_memory_free_pages(memory), PC_PAGES);
    put_page(page);
    assert_true(logged("not an allocated page"));
    get_page(page + 1);
    assert_true(logged("not an allocated page"));
    get_page((struct page *)&local);
    assert_true(logged("not an allocated page"));
    put_page((struct page *)&local);
    assert_true(logged("not an allocated page"));
    page = alloc_pages(GFP_KERNEL, 3);
    assert_int_equal(page_private(page), 0);
    get_page(page + 8);
    assert_true(logged("not an allocated page"));
    __free_pages(page, 3);
    unmake(memory, PC_PAGES);
}

static void test_exact(void **state)
{
    struct dk_memory *memory = make(&pc);
    char *exact = alloc_pages_exact(5 * PAGE_SIZE + 1, GFP_KERNEL | __GFP_ZERO);
    unsigned long address;

    (void)state;
    assert_non_null(exact);
    assert_int_equal(dk_memory_free_pages(memory), PC_PAGES - 6);
    assert_int_equal(virt_to_phys(exact) % (8 * PAGE_SIZE), 0);
    free_pages_exact(exact, 5 * PAGE_SIZE);
    assert_true(logged("another number"));
    free_pages_exact(exact, 5 * PAGE_SIZE + 1);
    assert_int_equal(dk_memory_free_pages(memory), PC_PAGES);

    address = __get_free_pages(GFP_KERNEL, 1);
    memset((void *)address, 0x55, 2 * PAGE_SIZE);
    free_pages(address, 1);
    /* Free memory keeps what it held, until somebody wants it cleared. */
    exact = (char *)__get_free_pages(GFP_KERNEL, 1);
    assert_int_equal((unsigned long)exact, address);
    assert_int_equal(exact[0], 0x55);
    free_pages(address, 1);
    exact = (char *)__get_free_pages(GFP_KERNEL | __GFP_ZERO | __GFP_HIGHMEM, 1);
    assert_int_equal((unsigned long)exact, address);
    assert_int_equal(exact[0], 0);
    assert_int_equal(exact[2 * PAGE_SIZE - 1], 0);
    free_pages(address, 1);
    assert_int_equal(get_order(0), 0);
    assert_int_equal(get_order(PAGE_SIZE), 0);
    assert_int_equal(get_order(PAGE_SIZE + 1), 1);
    assert_int_equal(get_order(4 * PAGE_SIZE), 2);
    assert_int_equal(get_order(4 * PAGE_SIZE + 1), 3);
    unmake(memory, PC_PAGES);
}

/* Which places a number of allocations get, as one number. */
static u64 places(u64 seed)
{
    struct dk_memory_config config = pc;
    struct page *pages[32];
    struct dk_memory *memory;
    u64 hash = 0;
    unsigned i;

    config.seed = seed;
    memory = make(&config);
    for (i = 0; i < 32; i++) {
        assert_non_null(pages[i] = dk_pages_allocate(memory, 0, i % 3));
        hash = hash * 31 + page_to_pfn(pages[i]);
    }
    for (i = 0; i < 32; i++)
        __free_pages(pages[i], i % 3);
    unmake(memory, PC_PAGES);
    return hash;
}

static void test_seeds(void **state)
{
    u64 seed;

    (void)state;
    for (seed = 0; seed < 5; seed++) {
        assert_true(places(seed) == places(seed));
        assert_true(places(seed) != places(seed + 1));
    }
}

/* With a seed all memory can be had too, in range and aligned, and all of it grows together again. */
static void test_seed_keeps_the_rules(void **state)
{
    struct dk_memory_config config = pc;
    LIST_HEAD(taken);
    struct dk_memory *memory;
    struct page *page, *next;
    unsigned count = 0;

    (void)state;
    config.seed = 42;
    memory = make(&config);
    while ((page = dk_pages_take(memory, __GFP_NOWARN, 3, 4, 8 * MIB, 12 * MIB - 1))) {
        phys_addr_t phys = page_to_phys(page);

        assert_true(phys >= 8 * MIB && phys <= 12 * MIB - 3 * PAGE_SIZE && phys % (4 * PAGE_SIZE) == 0);
        list_add(&page->lru, &taken);
        count++;
    }
    assert_int_equal(count, 256);
    list_for_each_entry_safe (page, next, &taken, lru) {
        list_del(&page->lru);
        dk_pages_give(memory, page, 3);
    }
    page = dk_pages_take(memory, 0, 8192, 8192, 4 * GIB, ~0ull);
    assert_non_null(page);
    dk_pages_give(memory, page, 8192);
    unmake(memory, PC_PAGES);
}

/*
 * Every place that fits is some seed's, in memory that was never cut and in a free block: in 2 GiB the four
 * of half a GiB, two of which end where a section does, and in 32 KiB the eight pages.
 */
static void test_seeds_reach_every_place(void **state)
{
    const struct dk_memory_range wide = { 0, 2 * GIB }, narrow = { 0, 16 * PAGE_SIZE };
    const size_t half = GIB / 2 / PAGE_SIZE;
    unsigned quarters = 0, pages = 0;
    u64 seed;

    (void)state;
    for (seed = 1; seed <= 200; seed++) {
        struct dk_memory_config config = small_config(&wide);
        struct dk_memory *memory;
        struct page *page, *block;

        config.seed = seed;
        memory = make(&config);
        page = dk_pages_take(memory, GFP_KERNEL, half, half, 0, ~0ull);
        quarters |= 1u << (page_to_phys(page) / (GIB / 2));
        dk_pages_give(memory, page, half);
        unmake(memory, 2 * GIB / PAGE_SIZE);

        config.ranges = &narrow;
        memory = make(&config);
        block = dk_pages_take(memory, GFP_KERNEL, 16, 1, 0, ~0ull);
        dk_pages_give(memory, block, 16);
        block = dk_pages_take(memory, GFP_KERNEL, 8, 8, 0, 8 * PAGE_SIZE - 1);
        page = dk_pages_take(memory, GFP_KERNEL, 1, 1, 0, ~0ull);
        pages |= 1u << (page_to_phys(page) / PAGE_SIZE);
        dk_pages_give(memory, page, 1);
        dk_pages_give(memory, block, 8);
        unmake(memory, 16);
    }
    assert_int_equal(quarters, 0xf);
    assert_int_equal(pages, 0xff00);
}

static void test_highmem(void **state)
{
    const struct dk_memory_range ranges[] = { { 0, 8 * MIB }, { 16 * MIB, 8 * MIB } };
    struct dk_memory_config config = { .ranges = ranges, .range_count = 2, .line = 64, .highmem = 12 * MIB };
    struct dk_memory *memory = make(&config);
    struct page *page = alloc_page(GFP_HIGHUSER | __GFP_ZERO), *low = alloc_page(GFP_KERNEL), *other;
    char *first, *second, *kernel;

    (void)state;
    assert_int_equal(page_to_phys(page), 24 * MIB - PAGE_SIZE);
    assert_true(PageHighMem(page));
    assert_null(page_address(page));
    assert_int_equal(page_to_phys(low), 4 * MIB - PAGE_SIZE);
    assert_false(PageHighMem(low));
    assert_true(PageHighMem(phys_to_page(4 * MIB)));
    assert_false(PageHighMem(phys_to_page(4 * MIB - 1)));
    assert_null(phys_to_virt(16 * MIB));
    assert_false(virt_addr_valid(dk_memory_cached(memory, 16 * MIB)));

    first = kmap(page);
    second = kmap_local_page(page);
    assert_non_null(first);
    assert_ptr_not_equal(first, second);
    assert_false(virt_addr_valid(first));
    first[5] = 77;
    assert_int_equal(second[5], 77);
    assert_int_equal(dk_memory_cached(memory, 24 * MIB - PAGE_SIZE)[5], 77);
    kunmap_local(first + 100);
    assert_int_equal(second[5], 77);
    assert_true(silent());
    kunmap(page);
    assert_true(silent());
    kunmap(page);
    assert_true(logged("not mapped"));
    kunmap_local(first);
    assert_true(logged("kunmap_local"));
    /* A page's kunmap() leaves the others' addresses alone. */
    other = alloc_page(GFP_HIGHUSER);
    first = kmap(page);
    second = kmap(other);
    second[1] = 3;
    kunmap(page);
    assert_ptr_equal(vmalloc_to_page(second), other);
    assert_null(vmalloc_to_page(first));
    assert_int_equal(second[1], 3);
    kunmap(other);
    assert_true(silent());
    __free_page(other);
    kernel = kmap(low);
    assert_ptr_equal(kernel, page_address(low));
    kunmap(low);
    kunmap_local(kernel);
    assert_true(silent());
    assert_null(kmap((struct page *)&page));
    assert_true(logged("kmap"));
    kunmap((struct page *)&page);
    assert_true(logged("kunmap"));
    __free_page(page);
    __free_page(low);

    /* Without its flag nobody gets it, in whatever range. */
    assert_null(dk_pages_take(memory, __GFP_NOWARN, 1, 1, 16 * MIB, ~0ull));
    assert_null(dk_pages_take(memory, __GFP_NOWARN, 1025, 1, 0, ~0ull));
    page = dk_pages_take(memory, __GFP_HIGHMEM, 1025, 1, 0, ~0ull);
    assert_int_equal(page_to_phys(page), 24 * MIB - 1025 * PAGE_SIZE);
    dk_pages_give(memory, page, 1025);
    unmake(memory, 4096);

    /* More than there is: ignored, and said. */
    config.highmem = 16 * MIB;
    memory = make(&config);
    assert_int_equal(log_lines, 1);
    assert_false(PageHighMem(phys_to_page(24 * MIB - 1)));
    unmake(memory, 4096);
    config.highmem = 16 * MIB - PAGE_SIZE;
    memory = make(&config);
    assert_false(PageHighMem(phys_to_page(0)));
    assert_true(PageHighMem(phys_to_page(PAGE_SIZE)));
    unmake(memory, 4096);
}

/* Pages that another allocator has are not for __free_pages() or put_page(). */
static void test_others_pages(void **state)
{
    struct dk_memory *memory = make(&pc);
    void *large = kmalloc(20000, GFP_KERNEL), *small = kmalloc(100, GFP_KERNEL), *area = vmalloc(100);

    (void)state;
    __free_pages(virt_to_page(large), 3);
    assert_true(logged("another allocator"));
    free_pages((unsigned long)small & PAGE_MASK, 0);
    assert_true(logged("another allocator"));
    __free_page(vmalloc_to_page(area));
    assert_true(logged("another allocator"));
    put_page(vmalloc_to_page(area));
    assert_true(logged("its allocator's"));
    assert_true(dk_memory_free_pages(memory) < PC_PAGES);
    vfree(area);
    kfree(small);
    kfree(large);
    assert_true(silent());
    unmake(memory, PC_PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_zones_without_memory),
        cmocka_unit_test(test_reserve),
        cmocka_unit_test(test_reserve_of_a_range),
        cmocka_unit_test(test_zone_order),
        cmocka_unit_test(test_refused_requests),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_runs_stay_in_a_section),
        cmocka_unit_test(test_merging),
        cmocka_unit_test(test_refused_frees),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_exact),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_seeds_reach_every_place),
        cmocka_unit_test(test_seed_keeps_the_rules),
        cmocka_unit_test(test_highmem),
        cmocka_unit_test(test_others_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
