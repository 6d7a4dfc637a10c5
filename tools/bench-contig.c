/* SPDX-License-Identifier: MIT */
/*
 * The rows about contiguous memory: a run of an area of 65,536 pages taken and given back, beside a first fit
 * in a bitmap of the same area.
 */
#include "bench-contig.h"
#include "base/alloc.h"
#include "machine/machine.h"
#include "mm/cma.h"

#include <string.h>

#define AREA_PAGES 65536u
/* The operation's place: the highest of its size, so that a first fit has to come by all the others. */
#define PLACE_PAGES 256u

const char dk_bench_bitmap[] = "first-fit bitmap";

/* ---- The peer ---- */

void dk_bench_set_busy(u64 *bitmap, size_t page, size_t count, bool busy)
{
    for (; count; page++, count--) {
        if (busy)
            bitmap[page / 64] |= 1ull << page % 64;
        else
            bitmap[page / 64] &= ~(1ull << page % 64);
    }
}

/* The first page from @page up to @end that is busy, or that is not; @end when there is none. */
static size_t next_in_state(const u64 *bitmap, size_t page, size_t end, bool busy)
{
    while (page < end) {
        u64 word = (busy ? bitmap[page / 64] : ~bitmap[page / 64]) >> page % 64;

        if (word) {
            page += (size_t)__builtin_ctzll(word);
            break;
        }
        page = (page | 63) + 1;
    }
    return page < end ? page : end;
}

size_t dk_bench_first_fit(const struct bench_contig *contig, size_t count, size_t align)
{
    const u64 *bitmap = contig->bitmap;
    size_t at = 0, end = contig->area_pages;

    for (;;) {
        size_t busy;

        at = (next_in_state(bitmap, at, end, false) + align - 1) & ~(align - 1);
        if (at + count > end)
            return end;
        busy = next_in_state(bitmap, at, at + count, true);
        if (busy == at + count)
            return at;
        at = busy;
    }
}

void dk_bench_bitmap_pair(struct bench_state *state, unsigned long count)
{
    struct bench_contig *contig = state->contig;
    size_t pages = (size_t)1 << contig->order;

    for (unsigned long i = 0; i < count; i++) {
        size_t at;

        pthread_mutex_lock(&contig->lock);
        at = dk_bench_first_fit(contig, pages, pages);
        if (at < contig->area_pages)
            dk_bench_set_busy(contig->bitmap, at, pages, true);
        pthread_mutex_unlock(&contig->lock);
        __asm__ volatile("" : "+r"(at) : : "memory");
        if (at == contig->area_pages)
            continue;
        pthread_mutex_lock(&contig->lock);
        dk_bench_set_busy(contig->bitmap, at, pages, false);
        pthread_mutex_unlock(&contig->lock);
    }
}

/* ---- The subject ---- */

static void run_pair(struct bench_state *state, unsigned long count)
{
    const struct bench_contig *contig = state->contig;
    unsigned order = contig->order;

    for (unsigned long i = 0; i < count; i++) {
        struct page *page = cma_alloc(contig->area, 1ul << order, order, true);

        __asm__ volatile("" : "+r"(page) : : "memory");
        cma_release(contig->area, page, 1ul << order);
    }
}

void dk_bench_contig_fail(struct bench_state *state, unsigned long count)
{
    const struct bench_contig *contig = state->contig;

    for (unsigned long i = 0; i < count; i++) {
        struct page *page = cma_alloc(contig->area, BENCH_SPACING, 0, true);

        __asm__ volatile("" : "+r"(page) : : "memory");
    }
}

/* ---- Occupancy ---- */

/* Takes a run for good, in both. False: there is none. */
bool dk_bench_occupy(struct bench_contig *contig, unsigned long count, unsigned align, struct page **page)
{
    *page = cma_alloc(contig->area, count, align, true);
    if (*page)
        dk_bench_set_busy(contig->bitmap, dk_bench_index(contig, *page), count, true);
    return *page;
}

void dk_bench_vacate(struct bench_contig *contig, struct page *page, unsigned long count)
{
    cma_release(contig->area, page, count);
    dk_bench_set_busy(contig->bitmap, dk_bench_index(contig, page), count, false);
}

/* The lowest @percent of the area are taken. */
static bool pack(struct bench_contig *contig, unsigned percent)
{
    struct page *page;

    return dk_bench_occupy(contig, (unsigned long)AREA_PAGES * percent / 100, 0, &page);
}

/*
 * All of the area but the operation's place is taken in runs of 1 to 16 pages, and random ones of them are
 * given back until @percent are taken.
 */
static bool churn(struct bench_contig *contig, unsigned percent)
{
    struct run {
        struct page *page;
        unsigned long count;
    } *runs = dk_allocate(AREA_PAGES, sizeof(*runs));
    unsigned long taken = AREA_PAGES - PLACE_PAGES, left, count, used = 0;
    struct page *low, *place;
    unsigned word = 1;

    /* The place is above all the rest while that is in one piece. */
    if (!runs || !dk_bench_occupy(contig, taken, 0, &low) ||
        !dk_bench_occupy(contig, PLACE_PAGES, 8, &place)) {
        dk_release(runs);
        return false;
    }
    dk_bench_vacate(contig, low, taken);
    for (left = taken; left; left -= count, used++) {
        word = word * 1103515245 + 12345;
        count = (word >> 16) % 16 + 1;
        count = count < left ? count : left;
        runs[used].count = count;
        if (!dk_bench_occupy(contig, count, 0, &runs[used].page)) {
            dk_release(runs);
            return false;
        }
    }
    while (taken > (unsigned long)AREA_PAGES * percent / 100) {
        struct run *run;

        word = word * 1103515245 + 12345;
        run = &runs[(word >> 16) % used];
        dk_bench_vacate(contig, run->page, run->count);
        taken -= run->count;
        *run = runs[--used];
    }
    dk_bench_vacate(contig, place, PLACE_PAGES);
    dk_release(runs);
    return true;
}

bool dk_bench_space(struct bench_contig *contig)
{
    struct page *whole, *page;

    if (!dk_bench_occupy(contig, contig->area_pages, 0, &whole))
        return false;
    dk_bench_vacate(contig, whole, contig->area_pages);
    for (size_t i = 0; i < contig->area_pages / BENCH_SPACING; i++) {
        if (!dk_bench_occupy(contig, 1, 9, &page))
            return false;
    }
    return true;
}

/* ---- Setting up ---- */

int dk_bench_contig_set_up(struct bench_state *state, size_t pages, unsigned order)
{
    struct bench_contig *contig = dk_allocate(1, sizeof(*contig));
    struct cma *area;

    if (!contig)
        return -ENOMEM;
    state->contig = contig;
    pthread_mutex_init(&contig->lock, NULL);
    contig->memory = state->machine->memory;
    contig->area_pages = pages;
    contig->order = order;
    contig->bitmap = dk_allocate(pages / 64, sizeof(*contig->bitmap));
    if (!contig->bitmap)
        return -ENOMEM;
    contig->pages = dk_pages_take(contig->memory, GFP_KERNEL, pages, pages, 0, ~0ull);
    if (!contig->pages)
        return -ENOMEM;
    area = dk_cma_create(contig->memory, page_to_phys(contig->pages), (u64)pages << PAGE_SHIFT, 0, "bench");
    if (IS_ERR(area))
        return PTR_ERR_OR_ZERO(area);
    contig->area = area;
    return 0;
}

void dk_bench_contig_tear_down(struct bench_state *state)
{
    struct bench_contig *contig = state->contig;

    if (!contig)
        return;
    dk_cma_destroy(contig->area);
    if (contig->pages)
        dk_pages_give(contig->memory, contig->pages, contig->area_pages);
    dk_release(contig->bitmap);
    pthread_mutex_destroy(&contig->lock);
    dk_release(contig);
}

#define SET_UP(name, order, occupancy)                                \
    static int set_up_##name(struct bench_state *state)               \
    {                                                                 \
        int error = dk_bench_contig_set_up(state, AREA_PAGES, order); \
                                                                      \
        return error ? error : occupancy ? 0 : -ENOMEM;               \
    }

#define SET_UP_ORDER(order)                                     \
    SET_UP(order##_0, order, true)                              \
    SET_UP(order##_50_packed, order, pack(state->contig, 50))   \
    SET_UP(order##_50_churned, order, churn(state->contig, 50)) \
    SET_UP(order##_90_packed, order, pack(state->contig, 90))   \
    SET_UP(order##_90_churned, order, churn(state->contig, 90))

SET_UP_ORDER(0)
SET_UP_ORDER(4)
SET_UP_ORDER(8)
SET_UP(fail, 9, dk_bench_space(state->contig))

#define ROW(name_, summary_, setup_)                                                             \
    {                                                                                            \
        .subject = { name_, run_pair }, .peer = { dk_bench_bitmap, dk_bench_bitmap_pair },       \
        .summary = summary_, .goal = 15, .setup = setup_, .teardown = dk_bench_contig_tear_down, \
    }

#define ROWS(order, pages)                                                                                  \
    ROW("contig-" #order "-0", pages " of an empty area taken and given back", set_up_##order##_0),         \
        ROW("contig-" #order "-50-packed", "the same with the lower half taken",                            \
            set_up_##order##_50_packed),                                                                    \
        ROW("contig-" #order "-50-churned",                                                                 \
            "the same with half of it taken in 1 to 16 pages here and there", set_up_##order##_50_churned), \
        ROW("contig-" #order "-90-packed", "the same with the lower nine tenths taken",                     \
            set_up_##order##_90_packed),                                                                    \
        ROW("contig-" #order "-90-churned", "the same with nine tenths taken here and there",               \
            set_up_##order##_90_churned)

const struct bench_row dk_bench_contig_rows[] = {
    ROWS(0, "a page"),
    ROWS(4, "16 pages"),
    ROWS(8, "256 pages"),
    {
        .subject = { "contig-fail", dk_bench_contig_fail },
        .peer = { dk_bench_bitmap, dk_bench_bitmap_pair },
        .summary = "512 pages asked of an area in which each 512th page is taken",
        .goal = 10,
        .setup = set_up_fail,
        .teardown = dk_bench_contig_tear_down,
    },
};

const size_t dk_bench_contig_row_count = sizeof(dk_bench_contig_rows) / sizeof(dk_bench_contig_rows[0]);
