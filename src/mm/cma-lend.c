/* SPDX-License-Identifier: MIT */
#include "mm/cma-lend.h"

#include "base/context.h"
#include "base/log.h"
#include "mm/cma-private.h"
#include "mm/reclaim.h"
#include <sched.h>

/* How often a page is tried that its owner, or who frees it just now, may soon leave. */
#define ATTEMPTS 5
/* A shrinker may free a handle, or want memory of an area, which waits for who moves pages. */
#define WITHOUT_RECLAIM (GFP_KERNEL & ~__GFP_DIRECT_RECLAIM)

void dk_cma_lending_start(struct dk_cma_lending *lending)
{
    pthread_mutex_init(&lending->lock, NULL);
    INIT_LIST_HEAD(&lending->handles);
}

void dk_cma_lending_finish(struct dk_cma_lending *lending)
{
    dk_free_runs_destroy(lending->reachable);
    pthread_mutex_destroy(&lending->lock);
}

bool dk_cma_lends(const struct cma *cma)
{
    return __atomic_load_n(&cma->lending.reachable, __ATOMIC_RELAXED);
}

/* ---- Lending ---- */

bool dk_cma_begin_lending(struct cma *cma)
{
    struct dk_free_runs *reachable;
    u64 at = cma->start, start, count;

    if (cma->lending.reachable)
        return true;
    reachable = dk_free_runs_create(cma->start, cma->end - cma->start);
    if (!reachable)
        return false;
    for (; dk_free_runs_next(cma->runs, at, &start, &count); at = start + count)
        dk_free_runs_give(reachable, start, count);
    __atomic_store_n(&cma->lending.reachable, reachable, __ATOMIC_RELAXED);
    return true;
}

static struct page *lend(struct cma *cma)
{
    struct page *page = NULL;
    u64 pfn;

    pthread_mutex_lock(&cma->lock);
    if (dk_cma_begin_lending(cma) && dk_free_runs_find(cma->runs, 1, 0, cma->start, cma->end, &pfn))
        page = dk_cma_page_at(cma, pfn);
    if (page) {
        dk_cma_take_free(cma, pfn, 1);
        dk_cma_mark_used(page, 1, DK_PAGE_USED | DK_PAGE_LENT);
    }
    pthread_mutex_unlock(&cma->lock);
    return page;
}

/* Whether all of @cma lies where a request with @gfp may have its page. */
static bool is_allowed(const struct cma *cma, gfp_t gfp)
{
    enum dk_zone_kind kinds[DK_ZONE_COUNT];
    unsigned count = dk_zone_list(cma->memory, gfp, kinds);

    return count && dk_zone_of(cma->memory, cma->end - 1) <= &cma->memory->zones[kinds[0]];
}

/* What @cma can lend to a request with @gfp. Takes its lock. */
static u64 lendable_pages(struct cma *cma, gfp_t gfp)
{
    u64 free;

    if (cma->order_per_bit || !is_allowed(cma, gfp))
        return 0;
    pthread_mutex_lock(&cma->lock);
    free = dk_free_runs_units(cma->runs);
    pthread_mutex_unlock(&cma->lock);
    return free;
}

u64 dk_cma_lendable_pages(struct dk_memory *memory, gfp_t gfp)
{
    struct cma *cma;
    u64 pages = 0;

    pthread_mutex_lock(&memory->pages_lock);
    list_for_each_entry (cma, &memory->areas, link)
        pages += lendable_pages(cma, gfp);
    pthread_mutex_unlock(&memory->pages_lock);
    return pages;
}

/* The area to lend from: what is free in it may change before somebody has taken it. */
static struct cma *choose_area(struct dk_memory *memory, gfp_t gfp)
{
    struct cma *cma, *best = NULL;
    u64 most = 0;

    pthread_mutex_lock(&memory->pages_lock);
    list_for_each_entry (cma, &memory->areas, link) {
        u64 free = lendable_pages(cma, gfp);

        if (free > most) {
            most = free;
            best = cma;
        }
    }
    pthread_mutex_unlock(&memory->pages_lock);
    return best;
}

struct page *dk_cma_lend(struct dk_memory *memory, gfp_t gfp)
{
    struct cma *cma = choose_area(memory, gfp);
    struct page *page = cma ? lend(cma) : NULL;

    if (!page)
        return NULL;
    dk_memory_taken(memory, page_to_phys(page), PAGE_SIZE);
    if (gfp & __GFP_ZERO)
        dk_pages_clear(memory, page_to_phys(page) >> PAGE_SHIFT, 1);
    return page;
}

void dk_cma_lent_idle(struct dk_memory *memory, struct page *page, u64 pfn)
{
    struct cma *cma = dk_cma_holding(memory, pfn);

    if (!cma)
        return;
    pthread_mutex_lock(&cma->lock);
    /* Under the lock, so that who closes the window knows whose page this is. */
    dk_cma_mark_free(page);
    /* In the window it is for who opened that. */
    if (pfn < cma->lending.start || pfn >= cma->lending.end) {
        dk_cma_give_free(cma, pfn, 1);
        dk_cma_note_change(cma);
    }
    pthread_mutex_unlock(&cma->lock);
}

/* ---- Moving lent pages out of a window ---- */

/* Whether @pfn is lent. */
static bool is_lent(const struct cma *cma, u64 pfn)
{
    const struct page *page = dk_page_mapped(cma->memory, pfn);

    return page && dk_page_flags(page) & DK_PAGE_LENT;
}

/* Takes the free runs of [start, end) out of the index. Under the area's lock. */
static void take_free(struct cma *cma, u64 start, u64 end)
{
    u64 at = start, run, count;

    while (dk_free_runs_next(cma->runs, at, &run, &count) && run < end) {
        u64 low = run > start ? run : start, high = run + count < end ? run + count : end;

        dk_cma_take_free(cma, low, high - low);
        at = high;
    }
}

/* Opens a window of @count pages at the first place from @low on. False: there is none. */
static bool open_window(struct cma *cma, u64 count, unsigned order, u64 low)
{
    struct dk_cma_lending *lending = &cma->lending;
    bool found;

    pthread_mutex_lock(&cma->lock);
    found = lending->reachable &&
            dk_free_runs_find(lending->reachable, count, order, low, cma->end, &lending->start);
    if (found) {
        lending->end = lending->start + count;
        dk_free_runs_take(lending->reachable, lending->start, count);
        take_free(cma, lending->start, lending->end);
    }
    pthread_mutex_unlock(&cma->lock);
    return found;
}

/* Empties the window. 0, or -errno with *pfn the page that stays. */
static int empty_window(struct cma *cma, u64 *pfn)
{
    unsigned attempts = 0;
    int error = 0;

    for (*pfn = cma->lending.start; *pfn < cma->lending.end; ++*pfn) {
        for (attempts = 0; is_lent(cma, *pfn); attempts++) {
            if (attempts == ATTEMPTS)
                return error;
            error = dk_page_migrate(cma->memory, *pfn, WITHOUT_RECLAIM);
            if (error == -ENOMEM)
                return error;
            if (error)
                sched_yield();
        }
    }
    return 0;
}

/* Makes what is neither lent nor a handle's in [start, end) free. Under the area's lock. */
static void give_rest(struct cma *cma, u64 start, u64 end)
{
    while (start < end) {
        u64 handle, past;

        dk_cma_next_handle(cma, start, end, &handle, &past);
        for (; start < handle; start++) {
            if (!is_lent(cma, start))
                dk_cma_give_free(cma, start, 1);
        }
        start = past;
    }
}

void dk_cma_close_window(struct cma *cma, struct page *page)
{
    struct dk_cma_lending *lending = &cma->lending;
    u64 start = lending->start, end = lending->end;

    pthread_mutex_lock(&cma->lock);
    lending->start = lending->end = 0;
    if (!page) {
        dk_free_runs_give(lending->reachable, start, end - start);
        give_rest(cma, start, end);
    }
    pthread_mutex_unlock(&cma->lock);
}

static void log_obstacle(const struct cma *cma, u64 pfn, unsigned long count)
{
    const struct page *page = dk_page_mapped(cma->memory, pfn);

    dk_log(
        DK_LOG_INFO,
        "cma_alloc: %s: the page at 0x%llx stands in the way of %lu pages at 0x%llx: it has %u references; trying the "
        "next place",
        cma->name, (phys_addr_t)pfn << PAGE_SHIFT, count, (phys_addr_t)cma->lending.start << PAGE_SHIFT,
        page ? __atomic_load_n(&page->count, __ATOMIC_RELAXED) : 0);
}

/* dk_cma_recall() with what is free now. NULL: *out_of_memory tells why. */
static struct page *recall(struct cma *cma, unsigned long count, unsigned align, u64 *pfn,
                           bool *out_of_memory)
{
    struct page *page = NULL;
    u64 low = cma->start;
    int error = 0;

    pthread_mutex_lock(&cma->lending.lock);
    while (!page && error != -ENOMEM && open_window(cma, count, align, low)) {
        u64 obstacle;

        error = empty_window(cma, &obstacle);
        if (!error && !dk_cma_move_handles(cma, &obstacle))
            error = -EBUSY;
        if (!error)
            page = dk_cma_page_at(cma, cma->lending.start);
        if (page) {
            *pfn = cma->lending.start;
            dk_cma_mark_used(page, count, CMA_USED);
        } else if (error == -ENOMEM) {
            dk_log(DK_LOG_INFO, "cma_alloc: %s: there is no other place for the page at 0x%llx", cma->name,
                   (phys_addr_t)obstacle << PAGE_SHIFT);
        } else if (error) {
            log_obstacle(cma, obstacle, count);
            low = obstacle + 1;
        } else {
            error = -ENOMEM;
        }
        dk_cma_close_window(cma, page);
    }
    pthread_mutex_unlock(&cma->lending.lock);
    *out_of_memory = !page && error == -ENOMEM;
    return page;
}

struct page *dk_cma_recall(struct cma *cma, unsigned long count, unsigned align, u64 *pfn)
{
    struct dk_reclaim_tries tries = { 0 };
    struct page *page;
    bool out_of_memory;

    do {
        page = recall(cma, count, align, pfn, &out_of_memory);
    } while (out_of_memory && !dk_context()->reclaiming && !dk_context()->atomic_depth &&
             dk_reclaim(cma->memory, GFP_KERNEL, 1, &tries));
    return page;
}
