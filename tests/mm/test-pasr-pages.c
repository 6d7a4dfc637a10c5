/* SPDX-License-Identifier: MIT */
/*
 * The page allocator says which memory is unused, and memory that slept has lost what it held.
 */
#include "draw.h"
#include "fixture.h"

#include "mm/cma.h"
#include "mm/private.h"
#include <dmakit/fail.h>
#include <dmakit/pasr.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* RAM begins and ends inside blocks, a zone ends inside one, and a section of the second die is half no RAM.
 */
#define DIE (4 * GIB)
#define SECTION (16 * MIB)
#define RAM (DIE + 3 * PAGE_SIZE)
#define RAM_PAGES ((15 * SECTION + 8 * MIB) / PAGE_SIZE)
#define DMA_END (DIE + 100 * PAGE_SIZE)
#define DMA32_END (DIE + 3 * SECTION + 5 * PAGE_SIZE)

static struct pasr_die *dies[2];
static u32 told[2];

static void apply(struct pasr_die *die, u32 mask, void *data)
{
    u32 *mine = data;

    (void)die;
    assert_int_not_equal(mask, *mine);
    *mine = mask;
}

/* What was found, by class. */
static unsigned findings;
static char found[300];
static struct dk_memory *reenter;

static void count_finding(void *data, const struct dk_finding *finding)
{
    (void)data;
    findings++;
    assert_string_equal(finding->class_name, "access-to-masked-section");
    snprintf(found, sizeof(found), "%s", finding->what);
    /* No lock is held: whoever is told may allocate. */
    if (reenter) {
        struct page *page = dk_pages_allocate(reenter, 0, 0);

        assert_non_null(page);
        __free_pages(page, 0);
    }
}

static const struct dk_hooks hooks = { .finding = count_finding };

static void add_dies(void)
{
    unsigned i;

    for (i = 0; i < 2; i++) {
        const struct dk_pasr_layout layout = {
            .name = i ? "second" : "first",
            .base = DIE + i * 8 * SECTION,
            .section_size = SECTION,
            .sections = 8,
            .mode = PASR_BANK_SELECTIVE,
            .apply_mask = apply,
            .data = &told[i],
        };

        told[i] = 0;
        dies[i] = dk_pasr_die_add(&layout);
        assert_false(IS_ERR(dies[i]));
    }
}

/* Without dies yet. */
static struct dk_memory *bare(bool two_views, u64 seed)
{
    const struct dk_memory_range range = { RAM, RAM_PAGES * PAGE_SIZE };
    struct dk_memory *memory = make(&(struct dk_memory_config){ .ranges = &range,
                                                                .range_count = 1,
                                                                .line = 64,
                                                                .two_views = two_views,
                                                                .zone_dma_end = DMA_END,
                                                                .zone_dma32_end = DMA32_END,
                                                                .seed = seed,
                                                                .hooks = &hooks });

    findings = 0;
    return memory;
}

static struct dk_memory *machine(bool two_views, u64 seed)
{
    struct dk_memory *memory = bare(two_views, seed);

    add_dies();
    return memory;
}

static struct dk_pasr_section section_of(phys_addr_t phys)
{
    struct dk_pasr_section section;

    assert_int_equal(dk_pasr_section_read(dies[(phys - DIE) / (8 * SECTION)],
                                          (unsigned)((phys - DIE) / SECTION % 8), &section),
                     0);
    return section;
}

/* Bytes of whole free blocks in [base, base + SECTION), as the allocator's own lists say. */
static u64 buddys_word(const struct dk_memory *memory, phys_addr_t base)
{
    u64 first = base >> PAGE_SHIFT, past = (base + SECTION) >> PAGE_SHIFT, pages = 0;
    unsigned kind, type;

    for (kind = 0; kind < DK_ZONE_COUNT; kind++) {
        const struct dk_zone *zone = &memory->zones[kind];
        const struct page *page;
        size_t i;

        for (i = 0; i < zone->count; i++) {
            u64 start = zone->extents[i].start > first ? zone->extents[i].start : first;
            u64 end = zone->extents[i].end < past ? zone->extents[i].end : past;

            pages += start < end ? end - start : 0;
        }
        for (type = 0; type < MIGRATE_TYPES; type++) {
            list_for_each_entry (page, &zone->lists[type][MAX_PAGE_ORDER], lru)
                pages += page_to_pfn(page) >= first && page_to_pfn(page) < past ? DK_BLOCK_PAGES : 0;
        }
    }
    return pages << PAGE_SHIFT;
}

static void check(const struct dk_memory *memory)
{
    unsigned i;

    for (i = 0; i < 16; i++) {
        phys_addr_t base = DIE + i * SECTION;
        u64 expected = buddys_word(memory, base);
        struct dk_pasr_section section = section_of(base);

        if (section.unused != expected)
            fail_msg("section %u: 0x%llx bytes unused, the allocator has 0x%llx", i, section.unused,
                     expected);
        assert_int_equal(section.asleep, expected == SECTION);
        assert_int_equal(told[i / 8] >> i % 8 & 1, section.asleep);
    }
}

static void storm(u64 seed, u64 fragmentation, unsigned operations)
{
    static struct {
        struct page *page;
        size_t count;
    } live[4000];
    struct dk_memory *memory = machine(false, fragmentation);
    unsigned count = 0, bias = 2, i;
    struct dk_pasr_statistics sum;

    print_message("fragmentation %llu\n", fragmentation);
    state_word = seed;
    check(memory);
    for (i = 0; i < operations; i++) {
        if (i % 2000 == 0)
            bias = 1 + (unsigned)draw(4);
        if (count && (draw(5) < bias || count == 4000)) {
            unsigned which = (unsigned)draw(count);

            dk_pages_give(memory, live[which].page, live[which].count);
            live[which] = live[--count];
        } else {
            size_t pages = draw(3) ? draw(8) + 1 : draw(3) ? draw(1024) + 1 : draw(9000) + 1;
            struct page *page =
                dk_pages_take(memory, __GFP_NOWARN, pages, (size_t)1 << draw(11), 0, ~(phys_addr_t)0);

            if (!page)
                continue;
            assert_false(section_of(page_to_phys(page)).asleep);
            assert_false(section_of(page_to_phys(page) + pages * PAGE_SIZE - 1).asleep);
            live[count].page = page;
            live[count++].count = pages;
        }
        if (i % 64 == 0)
            check(memory);
    }
    while (count) {
        count--;
        dk_pages_give(memory, live[count].page, live[count].count);
    }
    check(memory);
    assert_int_equal(dk_pasr_read(NULL, &sum), 0);
    assert_true(sum.mask_changes > operations / 200);
    assert_int_equal(findings, 0);
    assert_true(silent());
    unmake(memory, RAM_PAGES);
}

static void test_storm(void **state)
{
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 3000 : 60000;

    (void)state;
    storm(draw_seed(0x5e1f2ef2e54), 0, operations);
    storm(draw_seed(0x5e1f2ef2e54) + 1, 5, operations);
}

static unsigned count_bytes(const char *at, u64 size, char value)
{
    unsigned count = 0;

    for (; size; size--)
        count += *at++ == value;
    return count;
}

/* Reserved memory is in use, whenever it was reserved. */
static void test_reserved(void **state)
{
    struct dk_memory *memory = machine(false, 0);
    phys_addr_t base = DIE + 5 * SECTION;

    (void)state;
    assert_true(section_of(base).asleep);
    assert_int_equal(dk_memory_reserve(memory, base + MIB, PAGE_SIZE, true), 0);
    assert_false(section_of(base).asleep);
    assert_int_equal(section_of(base).unused, SECTION - DK_BLOCK_PAGES * PAGE_SIZE);
    assert_int_equal(dk_memory_reserve(memory, base + SECTION, 2 * SECTION, false), 0);
    assert_int_equal(section_of(base + SECTION).unused, 0);
    assert_int_equal(section_of(base + 2 * SECTION).unused, 0);
    check(memory);
    /* Its owner may say otherwise, and the section goes offline. It is another's when it comes back. */
    memset(dk_memory_cached(memory, base + SECTION), 'x', PAGE_SIZE);
    assert_int_equal(pasr_put(base + SECTION, SECTION), 0);
    assert_true(section_of(base + SECTION).asleep);
    assert_int_equal(dk_pasr_sections_offline(dies[0], 6, 1), 0);
    assert_int_equal(dk_pasr_sections_online(dies[0], 6, 1), 0);
    assert_false(section_of(base + SECTION).asleep);
    assert_in_range(count_bytes(dk_memory_cached(memory, base + SECTION), PAGE_SIZE, 'x'), 0, PAGE_SIZE / 16);
    assert_in_range(count_bytes(dk_memory_cached(memory, base + SECTION), PAGE_SIZE, 0), 0, PAGE_SIZE / 16);
    assert_int_equal(dk_pasr_sections_offline(dies[0], 5, 1), -EBUSY);
    dk_memory_destroy(memory);
    dk_log_set_sink(NULL, NULL);
}

/* A whole section's memory, or NULL. */
static struct page *take_section(struct dk_memory *memory, phys_addr_t base)
{
    return dk_pages_take(memory, 0, SECTION / PAGE_SIZE, 1, base, base + SECTION - 1);
}

static void lose(bool two_views, u64 seed, char *into)
{
    struct dk_memory *memory = machine(two_views, seed);
    phys_addr_t base = DIE + 6 * SECTION;
    struct page *page = take_section(memory, base);
    char *cached = dk_memory_cached(memory, base), *dram = dk_memory_dram(memory, base);
    char garbage[64];

    assert_non_null(page);
    memset(cached + 5 * PAGE_SIZE, 'c', PAGE_SIZE);
    memset(dram + 9 * PAGE_SIZE, 'd', PAGE_SIZE);
    memset(cached + 3000 * PAGE_SIZE, 'e', PAGE_SIZE);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    assert_true(section_of(base).asleep);
    /* The host has its memory back. */
    assert_true(dk_memory_touched(memory, base, base + SECTION) == base + SECTION);

    page = take_section(memory, base);
    assert_non_null(page);
    assert_int_equal(
        count_bytes(cached, SECTION, 'c') + count_bytes(cached, SECTION, 'd') < 2 * PAGE_SIZE / 16, 1);
    assert_memory_equal(cached + 5 * PAGE_SIZE, dram + 5 * PAGE_SIZE, PAGE_SIZE);
    assert_memory_equal(cached + 9 * PAGE_SIZE, dram + 9 * PAGE_SIZE, PAGE_SIZE);
    assert_in_range(count_bytes(cached + 5 * PAGE_SIZE, PAGE_SIZE, 0), 0, PAGE_SIZE / 16);
    assert_in_range(count_bytes(cached + 3000 * PAGE_SIZE, PAGE_SIZE, 'e'), 0, PAGE_SIZE / 16);
    assert_in_range(count_bytes(cached + 3000 * PAGE_SIZE, PAGE_SIZE, 0), 0, PAGE_SIZE / 16);
    /* What a device would have read there is the same. */
    dk_pasr_garbage(memory, base + 5 * PAGE_SIZE + 3, garbage, sizeof(garbage));
    assert_memory_equal(garbage, cached + 5 * PAGE_SIZE + 3, sizeof(garbage));
    memcpy(into, cached + 5 * PAGE_SIZE, PAGE_SIZE);
    /* Never touched, never filled. */
    assert_int_equal(count_bytes(cached, 5 * PAGE_SIZE, 0), 5 * PAGE_SIZE);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    assert_int_equal(findings, 0);
    assert_true(silent());
    unmake(memory, RAM_PAGES);
}

static void test_contents_are_lost(void **state)
{
    char first[PAGE_SIZE], again[PAGE_SIZE], other[PAGE_SIZE];

    (void)state;
    lose(false, 0, first);
    lose(true, 0, again);
    assert_memory_equal(first, again, PAGE_SIZE);
    lose(false, 3, other);
    assert_memory_not_equal(first, other, PAGE_SIZE);
}

/* Only what is got again is filled, block by block; and what was cleared is. */
static void test_filled_when_got(void **state)
{
    struct dk_memory *memory = machine(false, 0);
    phys_addr_t base = DIE + 6 * SECTION;
    struct page *page = take_section(memory, base);

    (void)state;
    memset(dk_memory_cached(memory, base), 'x', SECTION);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    page = dk_pages_take(memory, __GFP_ZERO, 2, 1, base, base + 2 * PAGE_SIZE - 1);
    assert_non_null(page);
    assert_int_equal(count_bytes(dk_memory_cached(memory, base), 2 * PAGE_SIZE, 0), 2 * PAGE_SIZE);
    assert_true(dk_memory_touched(memory, base + DK_BLOCK_PAGES * PAGE_SIZE, base + SECTION) ==
                base + SECTION);
    dk_pages_give(memory, page, 2);
    page = take_section(memory, base);
    assert_in_range(count_bytes(dk_memory_cached(memory, base), SECTION, 'x'), 0, SECTION / 16);
    assert_in_range(count_bytes(dk_memory_cached(memory, base), SECTION, 0), 0, SECTION / 16);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    unmake(memory, RAM_PAGES);
}

/* The CPU in a section that sleeps: known when it wakes. Its twin stays within what it was given. */
static void test_cpu_touches(void **state)
{
    unsigned twice;

    (void)state;
    for (twice = 0; twice < 4; twice++) {
        bool two_views = twice & 1, bad = twice & 2;
        struct dk_memory *memory = machine(two_views, 0);
        phys_addr_t base = DIE + 6 * SECTION;
        struct page *page = take_section(memory, base);
        char *late = dk_memory_cached(memory, base) + 7 * PAGE_SIZE, *early = late - PAGE_SIZE;
        char *fresh = late + 3 * PAGE_SIZE;

        reenter = memory;
        *late = *early = 1;
        if (!bad)
            *late = 2;
        dk_pages_give(memory, page, SECTION / PAGE_SIZE);
        if (bad)
            *late = *fresh = 2;
        page = take_section(memory, base);
        assert_int_equal(findings, bad);
        if (bad)
            assert_non_null(strstr(found, "0x106007000 while its section slept"));
        assert_int_not_equal(*late, 2);
        assert_int_not_equal(*fresh, 2);
        dk_pages_give(memory, page, SECTION / PAGE_SIZE);
        page = take_section(memory, base);
        assert_int_equal(findings, bad);
        dk_pages_give(memory, page, SECTION / PAGE_SIZE);
        reenter = NULL;
        unmake(memory, RAM_PAGES);
    }
}

/* Also after a die was taken out that nobody touched. */
static void test_cpu_touches_beside_a_die_that_went(void **state)
{
    const struct dk_pasr_layout layout = {
        .name = "gone", .base = 2 * DIE, .section_size = SECTION, .sections = 1, .mode = PASR_BANK_SELECTIVE
    };
    struct dk_memory *memory = machine(false, 0);
    phys_addr_t base = DIE + 6 * SECTION;
    struct pasr_die *gone = dk_pasr_die_add(&layout);
    struct page *page;

    (void)state;
    assert_false(IS_ERR(gone));
    assert_int_equal(pasr_put(layout.base, SECTION), 0);
    assert_int_equal(dk_pasr_die_remove(gone), 0);
    page = take_section(memory, base);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    *dk_memory_cached(memory, base + PAGE_SIZE) = 1;
    page = take_section(memory, base);
    assert_int_equal(findings, 1);
    assert_non_null(strstr(found, "0x106001000 while its section slept"));
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    unmake(memory, RAM_PAGES);
}

/* What was not asleep in between is not lost. */
static void test_kept_while_awake(void **state)
{
    struct dk_memory *memory = machine(false, 0);
    phys_addr_t base = DIE + 6 * SECTION, block = DK_BLOCK_PAGES * PAGE_SIZE;
    struct page *page = take_section(memory, base), *held;
    char *bytes = dk_memory_cached(memory, base);

    (void)state;
    memset(bytes, 'x', SECTION);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    held = dk_pages_take(memory, 0, 1, 1, base + block, base + 2 * block - 1);
    page = dk_pages_take(memory, 0, 2, 1, base, base + 2 * PAGE_SIZE - 1);
    memset(bytes, 'w', 2 * PAGE_SIZE);
    dk_pages_give(memory, page, 2);
    page = dk_pages_take(memory, 0, 2, 1, base, base + 2 * PAGE_SIZE - 1);
    assert_int_equal(count_bytes(bytes, 2 * PAGE_SIZE, 'w'), 2 * PAGE_SIZE);
    dk_pages_give(memory, page, 2);
    dk_pages_give(memory, held, 1);
    unmake(memory, RAM_PAGES);
}

/* A child that fork() made shares the memory, and takes nothing from its parent. */
static void test_fork(void **state)
{
    struct dk_memory *memory = machine(false, 0);
    phys_addr_t base = DIE + 6 * SECTION;
    struct page *page = take_section(memory, base);
    char *bytes = dk_memory_cached(memory, base);
    pid_t child;
    int status;

    (void)state;
    memset(bytes, 'x', PAGE_SIZE);
    child = fork();
    assert_true(child >= 0);
    if (!child) {
        bool refused = pasr_put(base, SECTION) == -ENODEV &&
                       IS_ERR(dk_pasr_die_add(
                           &(struct dk_pasr_layout){ .name = "x", .section_size = SECTION, .sections = 8 }));

        dk_pages_give(memory, page, SECTION / PAGE_SIZE);
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(count_bytes(bytes, PAGE_SIZE, 'x'), PAGE_SIZE);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    unmake(memory, RAM_PAGES);
}

/* What somebody else said of the allocator's memory does not confuse it. */
static void test_contradicted(void **state)
{
    struct dk_memory *memory = machine(false, 0);
    phys_addr_t base = DIE + 6 * SECTION;
    struct page *page = take_section(memory, base);

    (void)state;
    assert_int_equal(pasr_put(base + MIB, 3 * MIB), 0);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    check(memory);
    assert_int_equal(pasr_get(base + MIB, 3 * MIB), 0);
    assert_false(section_of(base).asleep);
    page = take_section(memory, base);
    check(memory);
    dk_pages_give(memory, page, SECTION / PAGE_SIZE);
    check(memory);
    assert_true(silent());
    unmake(memory, RAM_PAGES);
}

static void test_run(void **state)
{
    struct dk_memory *memory = machine(false, 0);
    struct page *page = dk_pages_take(memory, 0, 1, 1, DIE + 6 * SECTION, DIE + 7 * SECTION - 1);
    static const struct {
        u64 from, size,
            run; /* in pages, from section 4 on; sections 4, 5 and 7 to 14 sleep, and 15 is half RAM */
        bool asleep;
    } cases[] = {
        { 0, 1, 1, true },
        { 5, 4096, 4096, true },
        { 5, 8192 - 5, 8192 - 5, true },
        { 5, 8192, 8192 - 5, true },
        { 8191, 2, 1, true },
        { 8192, 10, 10, false },
        { 8192, 4096, 4096, false },
        { 8192, 4097, 4096, false },
        { 8192 + 7, 40960, 4096 - 7, false },
        { 12288, 8 * 4096, 8 * 4096, true },
        { 12288, 9 * 4096, 8 * 4096, true },
        { 12 * 4096, 1 << 20, 1 << 20, false },
    };
    const struct dk_pasr_layout far = {
        .name = "far", .mode = PASR_BANK_SELECTIVE, .base = 2 * DIE, .section_size = SECTION, .sections = 1
    };
    u64 run;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        run = cases[i].size * PAGE_SIZE;
        bool asleep = dk_pasr_run(memory, DIE + 4 * SECTION + cases[i].from * PAGE_SIZE, &run);

        if (asleep != cases[i].asleep || run != cases[i].run * PAGE_SIZE)
            fail_msg("case %zu: %d, %llu pages", i, asleep, run / PAGE_SIZE);
    }
    /* A die's last section, with nothing behind it. */
    assert_int_equal(pasr_put(RAM + RAM_PAGES * PAGE_SIZE, 8 * MIB - 3 * PAGE_SIZE), 0);
    run = 3 * SECTION;
    assert_true(dk_pasr_run(memory, DIE + 15 * SECTION + PAGE_SIZE, &run));
    assert_int_equal(run, SECTION - PAGE_SIZE);
    run = 3 * SECTION;
    assert_false(dk_pasr_run(memory, DIE + 16 * SECTION, &run));
    assert_int_equal(run, 3 * SECTION);
    /* And a first one, with nothing in front of it. */
    assert_false(IS_ERR(dk_pasr_die_add(&far)));
    assert_int_equal(pasr_put(far.base, SECTION), 0);
    for (run = 1; run <= 4; run++) {
        u64 length = run * PAGE_SIZE;

        assert_false(dk_pasr_run(memory, far.base - 3 * PAGE_SIZE, &length));
        assert_int_equal(length, (run < 3 ? run : 3) * PAGE_SIZE);
    }
    dk_pages_give(memory, page, 1);
    unmake(memory, RAM_PAGES);
}

#define BLOCKS 40

/* Largest blocks that wait in the list, for the extents could not grow, are unused like the rest. */
static void test_blocks_in_lists(void **state)
{
    const u64 block = DK_BLOCK_PAGES * PAGE_SIZE, start = DIE + 4 * SECTION;
    unsigned removed;

    (void)state;
    for (removed = 0; removed < 2; removed++) {
        struct dk_memory *memory = removed ? bare(false, 0) : machine(false, 0);
        struct page *pages[2 * BLOCKS], *first = NULL;
        const struct page *page;
        phys_addr_t waiting;
        unsigned i;

        /* In halves, for a whole one would be tried twice. */
        for (i = 0; i < 2 * BLOCKS; i++) {
            pages[i] = dk_pages_take(memory, 0, DK_BLOCK_PAGES / 2, 1, start + i * block / 2,
                                     start + (i + 1) * block / 2 - 1);
            assert_non_null(pages[i]);
        }
        for (i = 2; i < 2 * BLOCKS; i += 4) {
            dk_pages_give(memory, pages[i], DK_BLOCK_PAGES / 2);
            dk_fail_nth(1);
            dk_pages_give(memory, pages[i + 1], DK_BLOCK_PAGES / 2);
            dk_fail_nth(0);
        }
        list_for_each_entry (page, &memory->zones[DK_ZONE_NORMAL].lists[MIGRATE_MOVABLE][MAX_PAGE_ORDER], lru)
            first = first ? first : (struct page *)(uintptr_t)page;
        assert_non_null(first);
        if (removed)
            add_dies();
        check(memory);
        waiting = page_to_phys(first);
        if (removed) {
            assert_int_equal(dk_memory_reserve(memory, waiting + PAGE_SIZE, PAGE_SIZE, true), 0);
        } else {
            first = dk_pages_take(memory, 0, 1, 1, waiting, waiting + block - 1);
            assert_non_null(first);
        }
        check(memory);
        if (!removed)
            dk_pages_give(memory, first, 1);
        for (i = 0; i < 2 * BLOCKS; i++) {
            if (i % 4 < 2)
                dk_pages_give(memory, pages[i], DK_BLOCK_PAGES / 2);
        }
        check(memory);
        unmake(memory, RAM_PAGES - removed);
    }
}

/* A contiguous area's free memory is unused, whether it was reserved or taken from the page allocator. */
static void test_contiguous(void **state)
{
    const phys_addr_t base = DIE + 9 * SECTION;
    unsigned taken;

    (void)state;
    for (taken = 0; taken < 2; taken++) {
        struct dk_memory *memory = machine(false, taken);
        struct page *whole = NULL, *page, *rest;
        struct cma *cma;

        if (taken)
            whole = dk_pages_take(memory, 0, 2 * SECTION / PAGE_SIZE, 1, base, base + 2 * SECTION - 1);
        else
            assert_int_equal(dk_memory_reserve(memory, base, 2 * SECTION, true), 0);
        assert_int_equal(section_of(base).unused, 0);
        cma = dk_cma_create(memory, base, 2 * SECTION, 2, "test");
        assert_false(IS_ERR(cma));
        assert_true(section_of(base).asleep && section_of(base + SECTION).asleep);
        /* In units of four pages. */
        page = cma_alloc(cma, 5, 0, false);
        assert_non_null(page);
        assert_int_equal(section_of(page_to_phys(page)).unused, SECTION - 8 * PAGE_SIZE);
        memset(dk_memory_cached(memory, page_to_phys(page)), 'x', 8 * PAGE_SIZE);
        get_page(page);
        assert_true(cma_release(cma, page, 5));
        assert_false(section_of(page_to_phys(page)).asleep);
        put_page(page);
        assert_true(section_of(base).asleep && section_of(base + SECTION).asleep);
        rest = cma_alloc(cma, 2 * SECTION / PAGE_SIZE, 0, false);
        assert_int_equal(section_of(base).unused + section_of(base + SECTION).unused, 0);
        assert_in_range(count_bytes(dk_memory_cached(memory, page_to_phys(page)), 8 * PAGE_SIZE, 'x'), 0,
                        PAGE_SIZE);
        if (!taken)
            assert_true(cma_release(cma, rest, 2 * SECTION / PAGE_SIZE));
        dk_cma_destroy(cma);
        assert_int_equal(section_of(base).unused + section_of(base + SECTION).unused, 0);
        if (taken)
            dk_pages_give(memory, whole, 2 * SECTION / PAGE_SIZE);
        check(memory);
        assert_int_equal(findings, 0);
        unmake(memory, RAM_PAGES - (taken ? 0 : 2 * SECTION / PAGE_SIZE));
    }
}

#define THREADS 4

static void *allocate_much(void *data)
{
    struct dk_memory *memory = data;
    u64 word = (u64)(uintptr_t)&word | 1, i, j;
    unsigned rounds = getenv("DMAKIT_TEST_FAST") ? 30 : 300;

    for (i = 0; i < rounds; i++) {
        struct page *pages[8];

        for (j = 0; j < 8; j++) {
            word = word * 6364136223846793005ull + 1442695040888963407ull;
            pages[j] = dk_pages_allocate(memory, __GFP_NOWARN, 6 + (unsigned)(word >> 60) % 5);
            if (!pages[j])
                continue;
            *dk_memory_cached(memory, page_to_phys(pages[j])) = (char)i;
        }
        for (j = 0; j < 8; j++) {
            if (pages[j]) {
                assert_int_equal(*dk_memory_cached(memory, page_to_phys(pages[j])), (char)i);
                dk_pages_give(memory, pages[j], (size_t)pages[j]->run);
            }
        }
    }
    return NULL;
}

static void *read_much(void *data)
{
    struct dk_memory *memory = data;
    unsigned rounds = getenv("DMAKIT_TEST_FAST") ? 300 : 3000;
    struct dk_pasr_statistics sum;
    char text[4000];
    u64 run;

    for (; rounds; rounds--) {
        run = 64 * MIB;
        dk_pasr_run(memory, DIE + rounds % 16 * SECTION, &run);
        dk_pasr_read(NULL, &sum);
        dk_pasr_list(text, sizeof(text));
        dk_pasr_pair(dies[0], rounds % 8, dies[1], rounds % 8);
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct dk_memory *memory = machine(false, 9);
    pthread_t threads[THREADS + 1];
    unsigned i;

    (void)state;
    for (i = 0; i <= THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, i ? allocate_much : read_much, memory), 0);
    for (i = 0; i <= THREADS; i++)
        pthread_join(threads[i], NULL);
    for (i = 0; i < 16; i++)
        assert_int_equal(section_of(DIE + i * SECTION).unused, buddys_word(memory, DIE + i * SECTION));
    assert_int_equal(findings, 0);
    unmake(memory, RAM_PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_storm),
        cmocka_unit_test(test_reserved),
        cmocka_unit_test(test_contents_are_lost),
        cmocka_unit_test(test_filled_when_got),
        cmocka_unit_test(test_cpu_touches),
        cmocka_unit_test(test_cpu_touches_beside_a_die_that_went),
        cmocka_unit_test(test_contradicted),
        cmocka_unit_test(test_kept_while_awake),
        cmocka_unit_test(test_fork),
        cmocka_unit_test(test_run),
        cmocka_unit_test(test_blocks_in_lists),
        cmocka_unit_test(test_contiguous),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
