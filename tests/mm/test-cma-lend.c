/* SPDX-License-Identifier: MIT */
/* What contiguous areas lend, and get back when a device needs it: against a model of a byte a page, and
 * under threads that write. */
#include "fixture.h"
#include "writers.h"

#include "base/log.h"
#include "mm/cma-lend.h"
#include "mm/cma.h"
#include "mm/private.h"
#include <dmakit/fail.h>
#include <dmakit/migrate.h>
#include <dmakit/movable.h>
#include <dmakit/pasr.h>
#include <dmakit/vmalloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct dk_memory_range range = { GIB, 64 * MIB };

/* A memory with an area of @pages at its start, whose die has sections of 2 MiB. */
static struct dk_memory *make_area(u64 seed, u64 pages, struct cma **cma)
{
    const struct dk_pasr_layout die = { .name = "frames",
                                        .mode = PASR_BANK_SELECTIVE,
                                        .base = GIB,
                                        .section_size = 2 * MIB,
                                        .sections = (unsigned)(pages * PAGE_SIZE / (2 * MIB)) };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;

    config.seed = seed;
    memory = make(&config);
    assert_false(IS_ERR(dk_memory_add_die(memory, &die)));
    assert_int_equal(dk_memory_reserve(memory, GIB, pages << PAGE_SHIFT, true), 0);
    *cma = dk_cma_create(memory, GIB, pages << PAGE_SHIFT, 0, "frames");
    assert_false(IS_ERR_OR_NULL(*cma));
    return memory;
}

/* What is free in @cma, and nothing else of it, may go without refresh. */
static void assert_unused_is_free(struct cma *cma)
{
    struct dk_pasr_statistics statistics;

    assert_int_equal(dk_pasr_read(NULL, &statistics), 0);
    assert_int_equal(statistics.bytes_unused, dk_cma_free_pages(cma) * PAGE_SIZE);
}

/* ---- The model ---- */

#define AREA 512
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

static u64 random_state;

static unsigned pick(unsigned below)
{
    random_state = random_state * 6364136223846793005ull + 1442695040888963407ull;
    return (unsigned)((random_state >> 33) % below);
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
    random_state = (u64)time(NULL);
    printf("seed %llu, %lu operations\n", (unsigned long long)random_state, rounds);
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

/* ---- Movable memory ---- */

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

/* Neither an area of larger units lends, nor one that lies above the zone that was asked for. */
static void test_who_does_not_lend(void **state)
{
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    struct cma *cma;
    u64 before;

    (void)state;
    config.zone_dma_end = GIB + 16 * MIB;
    memory = make(&config);
    assert_int_equal(dk_memory_reserve(memory, GIB + 32 * MIB, 2 * MIB, true), 0);
    before = dk_memory_free_pages(memory);
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

/* ---- Handles ---- */

#define HANDLES 24

static void write_handle(struct dk_memory *memory, struct dk_cma_handle *handle, unsigned long count,
                         int value)
{
    struct page *page = cma_pin(handle);

    memset(dk_memory_cached(memory, page_to_phys(page)), value, count * PAGE_SIZE);
    cma_unpin(handle);
}

static void assert_handle(struct dk_memory *memory, struct dk_cma_handle *handle, unsigned long count,
                          int value)
{
    const char *bytes = dk_memory_cached(memory, page_to_phys(cma_pin(handle)));

    for (size_t i = 0; i < count * PAGE_SIZE; i += 61)
        assert_int_equal((unsigned char)bytes[i], value);
    cma_unpin(handle);
}

static void test_handles(void **state)
{
    struct dk_cma_handle *handles[HANDLES];
    struct dk_memory *memory;
    struct page *pinned, *page;
    struct cma *cma;
    u64 before;

    (void)state;
    memory = make_area(0, AREA, &cma);
    before = dk_memory_free_pages(memory);
    assert_int_equal(PTR_ERR(dk_cma_handle_alloc(NULL, 1, 0)), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_handle_alloc(cma, 0, 0)), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_handle_alloc(cma, AREA + 1, 0)), -ENOMEM);
    assert_int_equal(dk_cma_defragment(NULL), -EINVAL);
    assert_int_equal(dk_cma_defragment(cma), 0);
    for (int i = 0; i < HANDLES; i++) {
        handles[i] = dk_cma_handle_alloc(cma, 16, 0);
        assert_false(IS_ERR(handles[i]));
        write_handle(memory, handles[i], 16, i);
    }
    /* Every second goes: holes of 16 pages, and 128 free at the end. */
    for (int i = 0; i < HANDLES; i += 2)
        dk_cma_handle_free(handles[i]);
    assert_int_equal(dk_cma_free_pages(cma), AREA - HANDLES / 2 * 16);
    pinned = cma_pin(handles[3]);
    dk_cma_handle_free(handles[3]);
    assert_true(logged("are pinned"));
    assert_int_equal(dk_cma_defragment(cma), (HANDLES / 2 - 1) * 16);
    for (int i = 1; i < HANDLES; i += 2)
        assert_handle(memory, handles[i], 16, i);
    assert_ptr_equal(cma_pin(handles[3]), pinned);
    cma_unpin(handles[3]);
    assert_int_equal(dk_cma_free_pages(cma), AREA - HANDLES / 2 * 16);
    assert_int_equal(dk_cma_defragment(cma), 0);

    /* A request may have all but the pinned one's: the others make way. */
    page = cma_alloc(cma, 256, 8, false);
    assert_non_null(page);
    assert_int_equal(page_to_phys(page), GIB + 256 * PAGE_SIZE);
    cma_release(cma, page, 256);
    cma_unpin(handles[3]);
    cma_unpin(handles[3]);
    assert_true(logged("are not pinned"));
    page = cma_alloc(cma, 320, 0, false);
    assert_non_null(page);
    for (int i = 1; i < HANDLES; i += 2)
        assert_handle(memory, handles[i], 16, i);
    assert_int_equal(dk_cma_free_pages(cma), 0);
    assert_null(cma_alloc(cma, 1, 0, true));
    cma_release(cma, page, 320);
    for (int i = 1; i < HANDLES; i += 2)
        dk_cma_handle_free(handles[i]);
    dk_cma_handle_free(NULL);
    assert_null(cma_pin(NULL));
    cma_unpin(ERR_PTR(-ENOMEM));
    assert_int_equal(dk_cma_free_pages(cma), AREA);
    assert_true(silent());
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* What a thread keeps of what it gave back is a place to move to. */
static void test_defragment_into_kept(void **state)
{
    struct dk_cma_handle *handles[3];
    struct dk_memory *memory;
    struct cma *cma;

    (void)state;
    memory = make_area(0, 4096, &cma);
    for (int i = 0; i < 3; i++) {
        handles[i] = dk_cma_handle_alloc(cma, 16, 0);
        assert_false(IS_ERR(handles[i]));
    }
    write_handle(memory, handles[2], 16, 2);
    /* The first release makes the stack, in which the second lies then. */
    dk_cma_handle_free(handles[1]);
    dk_cma_handle_free(handles[0]);
    assert_int_equal(dk_cma_defragment(cma), 16);
    assert_int_equal(page_to_phys(cma_pin(handles[2])), GIB);
    cma_unpin(handles[2]);
    assert_handle(memory, handles[2], 16, 2);
    dk_cma_handle_free(handles[2]);
    dk_cma_destroy(cma);
    dk_memory_destroy(memory);
}

/* A child that fork() made shares the memory, and moves nothing of its parent's. */
static void test_defragment_in_child(void **state)
{
    struct dk_cma_handle *handles[2];
    struct dk_memory *memory;
    struct cma *cma;
    int status = 0;
    pid_t child;

    (void)state;
    memory = make_area(0, AREA, &cma);
    for (int i = 0; i < 2; i++) {
        handles[i] = dk_cma_handle_alloc(cma, 16, 0);
        assert_false(IS_ERR(handles[i]));
        write_handle(memory, handles[i], 16, i + 1);
    }
    dk_cma_handle_free(handles[0]);
    child = fork();
    assert_true(child >= 0);
    if (!child)
        _exit(dk_cma_defragment(cma) == -ENODEV && !cma_pin(handles[1]) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(*(char *)dk_memory_cached(memory, GIB), 1);
    assert_handle(memory, handles[1], 16, 2);
    /* What is left goes with the area. */
    dk_cma_destroy(cma);
    dk_memory_destroy(memory);
}

/* Handles of random sizes come, go, are pinned and written, while requests and the defragmenter move them. */
static void test_handles_model(void **state)
{
    unsigned long rounds = getenv("DMAKIT_TEST_FAST") ? 4000 : 100000;
    struct dk_cma_handle *handles[HANDLES] = { NULL };
    unsigned long counts[HANDLES];
    struct page *at[HANDLES] = { NULL };
    unsigned values[HANDLES] = { 0 };
    struct dk_memory *memory;
    long moved = 0;
    struct cma *cma;
    u64 before;

    (void)state;
    random_state = (u64)time(NULL);
    printf("seed %llu\n", (unsigned long long)random_state);
    memory = make_area(0, AREA, &cma);
    before = dk_memory_free_pages(memory);
    for (unsigned long round = 0; round < rounds; round++) {
        unsigned i = pick(HANDLES);
        struct page *page;

        if (!handles[i]) {
            counts[i] = 1 + pick(40);
            handles[i] = dk_cma_handle_alloc(cma, counts[i], pick(5));
            values[i] = pick(256);
            if (IS_ERR(handles[i]))
                handles[i] = NULL;
            else
                write_handle(memory, handles[i], counts[i], (int)values[i]);
        } else if (at[i]) {
            assert_ptr_equal(cma_pin(handles[i]), at[i]);
            cma_unpin(handles[i]);
            cma_unpin(handles[i]);
            at[i] = NULL;
        } else if (pick(3)) {
            assert_handle(memory, handles[i], counts[i], (int)values[i]);
            at[i] = pick(3) ? NULL : cma_pin(handles[i]);
        } else {
            assert_handle(memory, handles[i], counts[i], (int)values[i]);
            dk_cma_handle_free(handles[i]);
            handles[i] = NULL;
        }
        if (round % 16 == 0) {
            moved += dk_cma_defragment(cma);
            assert_unused_is_free(cma);
        }
        if (round % 4 == 0) {
            unsigned long count = 1 + pick(100);

            page = cma_alloc(cma, count, pick(7), true);
            if (page) {
                memset(dk_memory_cached(memory, page_to_phys(page)), 0xff, count * PAGE_SIZE);
                assert_true(cma_release(cma, page, count));
            }
        }
    }
    assert_true(moved > 100);
    for (unsigned i = 0; i < HANDLES; i++) {
        if (at[i])
            cma_unpin(handles[i]);
        if (handles[i])
            assert_handle(memory, handles[i], counts[i], (int)values[i]);
        dk_cma_handle_free(handles[i]);
    }
    assert_int_equal(dk_cma_free_pages(cma), AREA);
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

static void test_handle_failures(void **state)
{
    unsigned long n = 0;
    bool failed = true;

    (void)state;
    while (failed) {
        struct dk_cma_handle *handle;
        struct dk_memory *memory;
        struct cma *cma;
        u64 before;

        memory = make_area(0, AREA, &cma);
        before = dk_memory_free_pages(memory);
        dk_fail_nth(++n);
        handle = dk_cma_handle_alloc(cma, 16, 0);
        failed = dk_fail_hits();
        dk_fail_nth(0);
        assert_int_equal(IS_ERR(handle), failed);
        assert_unused_is_free(cma);
        if (failed)
            assert_int_equal(PTR_ERR(handle), -ENOMEM);
        dk_cma_handle_free(handle);
        assert_int_equal(dk_cma_free_pages(cma), AREA);
        dk_cma_destroy(cma);
        unmake(memory, before);
    }
    assert_true(n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_recall),
        cmocka_unit_test(test_pinned),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_defragment_into_kept),
        cmocka_unit_test(test_defragment_in_child),
        cmocka_unit_test(test_handles_model),
        cmocka_unit_test(test_no_destination),
        cmocka_unit_test(test_more_than_zones_have),
        cmocka_unit_test(test_given_range),
        cmocka_unit_test(test_who_does_not_lend),
        cmocka_unit_test(test_failures),
        cmocka_unit_test(test_handle_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
