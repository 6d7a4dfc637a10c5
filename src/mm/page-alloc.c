/* SPDX-License-Identifier: MIT */
/*
 * Taking pages: flags and zones, above this thread's lists and the buddy allocator.
 */
#include "base/alloc.h"
#include "base/context.h"
#include "base/log.h"
#include "mm/page-lists.h"
#include "mm/reclaim.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static unsigned order_above(u64 count)
{
    unsigned order = 0;

    while (((u64)1 << order) < count)
        order++;
    return order;
}

void dk_pages_clear(struct dk_memory *memory, u64 pfn, u64 count)
{
    while (count) {
        u64 run = DK_SECTION_PAGES - (pfn & (DK_SECTION_PAGES - 1));
        char *start = dk_memory_cached(memory, (phys_addr_t)pfn << PAGE_SHIFT);

        if (run > count)
            run = count;
        if (start)
            memset(start, 0, (size_t)run << PAGE_SHIFT);
        pfn += run;
        count -= run;
    }
}

/* What a caller wants, and where it may be. */
struct want {
    gfp_t gfp;
    unsigned flags; /* of the pages */
    struct dk_request request;
    /* The zones to try; those from @named on are tried for the range's sake, though @gfp does not name them.
     */
    enum dk_zone_kind zones[2 * DK_ZONE_COUNT];
    unsigned zone_count;
    int list; /* the class of this thread's list that serves it, or -1 */
    enum dk_mark mark;
    unsigned class_kind; /* the highest of the zones, by which lower ones know what to keep from it */
};

/* What a thread takes that makes memory free: its needs come first. */
static bool may_take_all(gfp_t gfp)
{
    return !(gfp & __GFP_NOMEMALLOC) && (gfp & __GFP_MEMALLOC || dk_context()->reclaiming);
}

static void choose_mark(struct want *want)
{
    bool all = may_take_all(want->gfp);

    want->mark = all || want->gfp & __GFP_HIGH ? DK_MARK_NONE : DK_MARK_MIN;
    if (all)
        want->class_kind = DK_ZONE_COUNT;
}

/* Whether it may sleep: who may not, and says he may, has been reported (dk_might_sleep_gfp). */
static bool may_sleep(gfp_t gfp)
{
    return gfpflags_allow_blocking(gfp) && !dk_context()->atomic_depth && !dk_context()->reclaiming;
}

/* The zones that the flags name, then those above them that have kernel addresses: with @all_zones the range
 * alone decides. */
static void choose_zones(const struct dk_memory *memory, struct want *want, bool all_zones)
{
    unsigned kind;

    want->zone_count = dk_zone_list(memory, want->gfp, want->zones);
    kind = want->zone_count ? want->zones[0] + 1 : DK_ZONE_COUNT;
    for (; all_zones && kind <= DK_ZONE_NORMAL; kind++)
        want->zones[want->zone_count++] = (enum dk_zone_kind)kind;
    /* A range that leaves out the upper zones could not have had them. */
    for (kind = 0; kind < want->zone_count; kind++) {
        unsigned zone = want->zones[kind];

        if (zone > want->class_kind && memory->zones[zone].ram_start < want->request.highest)
            want->class_kind = zone;
    }
}

/*
 * The list that serves @want: the one of the first zone that has memory, when all of it is in the range. With
 * a seed there is none, since the place is chosen then.
 */
static int choose_list(const struct dk_memory *memory, const struct want *want)
{
    const struct dk_request *request = &want->request;
    unsigned order = order_above(request->count), i = 0;

    if (memory->seed || order >= DK_LIST_ORDERS || request->count != (u64)1 << order ||
        request->align > request->count)
        return -1;
    while (i < want->zone_count && !memory->zones[want->zones[i]].present)
        i++;
    if (i == want->zone_count || request->lowest > memory->zones[want->zones[i]].ram_start ||
        request->highest < memory->zones[want->zones[i]].ram_end ||
        dk_zone_tight(&memory->zones[want->zones[i]]))
        return -1;
    return (int)dk_list_class(want->zones[i], request->type, order);
}

/* The page of what the zones have for @want, or NULL. Under pages_lock. */
static struct page *take_from_zones(struct dk_memory *memory, struct want *want)
{
    unsigned i;
    u64 pfn;

    for (i = 0; i < want->zone_count; i++) {
        struct dk_zone *zone = &memory->zones[want->zones[i]];
        struct page *page;

        if (!dk_zone_may_take(zone, want->request.count, want->mark, want->class_kind) ||
            !dk_buddy_take(memory, zone, &want->request, &pfn))
            continue;
        page = dk_page_mapped(memory, pfn);
        page->order = (u8)order_above(want->request.count);
        page->run = (u32)want->request.count;
        page->type = (u8)want->request.type;
        if (want->list >= 0 && (unsigned)want->list / (2 * DK_LIST_ORDERS) == (unsigned)want->zones[i])
            dk_page_lists_refill(memory, zone, (unsigned)want->list, zone->marks[DK_MARK_HIGH]);
        return page;
    }
    return NULL;
}

/* Sets up what was taken. From @page's flags on, others see an allocation. */
static void begin_use(struct page *page, unsigned flags)
{
    page->private_data = 0;
    __atomic_store_n(&page->count, 1, __ATOMIC_RELAXED);
    dk_page_set_flags(page, DK_PAGE_USED | flags);
}

/* Takes from the zones, and when they have nothing also what lies in the threads' lists. */
static struct page *take_locked(struct dk_memory *memory, struct want *want)
{
    struct page *page;

    if (want->list >= 0)
        dk_page_lists_prepare(memory->lists);
    pthread_mutex_lock(&memory->pages_lock);
    /* What no list serves comes from where it would without lists, as far as this thread can tell. */
    if (want->list < 0)
        dk_page_lists_drain_here(memory);
    page = take_from_zones(memory, want);
    if (!page && want->mark != DK_MARK_LOW && dk_page_lists_held(memory)) {
        dk_page_lists_close(memory);
        page = take_from_zones(memory, want);
        dk_page_lists_open(memory);
    }
    if (page)
        begin_use(page, want->flags);
    pthread_mutex_unlock(&memory->pages_lock);
    return page;
}

/* The same, and when there is nothing, with what is in quarantine: nobody needs that. */
static struct page *take_at_last(struct dk_memory *memory, struct want *want)
{
    struct page *page = take_locked(memory, want);

    if (page || !dk_memory_end_quarantine(memory, "alloc_pages"))
        return page;
    /* What leaves goes where freed pages go. */
    if (want->list >= 0)
        page = dk_page_lists_take(memory->lists, (unsigned)want->list);
    if (!page)
        return take_locked(memory, want);
    begin_use(page, want->flags);
    return page;
}

/* Whether the machine could ever have what is wanted. */
static bool is_possible(const struct dk_memory *memory, const struct want *want)
{
    unsigned i;

    for (i = 0; i < want->zone_count; i++) {
        if (memory->zones[want->zones[i]].present >= want->request.count)
            return true;
    }
    return false;
}

/* Waits a while for somebody to free memory. */
static void wait_for_memory(struct dk_memory *memory)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += 100000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_mutex_lock(&memory->pages_lock);
    dk_page_lists_close(memory);
    memory->waiting++;
    pthread_cond_timedwait(&memory->freed, &memory->pages_lock, &until);
    memory->waiting--;
    dk_page_lists_open(memory);
    pthread_mutex_unlock(&memory->pages_lock);
}

/* Of a wait that goes on: a line every ten seconds. */
#define WAITS_PER_LINE 100

/* What __GFP_NOFAIL promises: goes on until there is memory. */
static struct page *take_in_the_end(struct dk_memory *memory, struct want *want,
                                    struct dk_reclaim_tries *tries)
{
    struct page *page;

    want->mark = DK_MARK_NONE;
    for (;;) {
        page = take_at_last(memory, want);
        if (page)
            return page;
        if (tries->waits++ % WAITS_PER_LINE == 0)
            dk_log(DK_LOG_WARNING, "waiting for %llu contiguous pages that must not fail (gfp 0x%x)",
                   want->request.count, want->gfp);
        wait_for_memory(memory);
        dk_reclaim_anew(tries);
        dk_reclaim(memory, want->gfp, want->request.count, tries);
    }
}

static struct page *take_slow(struct dk_memory *memory, struct want *want, struct dk_reclaim_tries *tries)
{
    bool sleeps = may_sleep(want->gfp);
    enum dk_mark least;
    struct page *page;

    choose_mark(want);
    least = want->mark;
    /* While another zone has enough, none is emptied. */
    if (memory->has_marks || (sleeps && dk_reclaim_wanted(memory))) {
        want->mark = DK_MARK_LOW;
        page = take_at_last(memory, want);
        if (page)
            return page;
        if (sleeps && least == DK_MARK_MIN && dk_reclaim_wanted(memory))
            dk_reclaim(memory, want->gfp, want->request.count, tries);
        want->mark = least;
    }
    do {
        page = take_at_last(memory, want);
        if (page)
            return page;
    } while (sleeps && dk_reclaim(memory, want->gfp, want->request.count, tries));
    if (sleeps && want->gfp & __GFP_NOFAIL && is_possible(memory, want))
        return take_in_the_end(memory, want, tries);
    return NULL;
}

static struct page *take(struct dk_memory *memory, struct want *want, struct dk_reclaim_tries *tries)
{
    struct page *page = want->list >= 0 ? dk_page_lists_take(memory->lists, (unsigned)want->list) : NULL;

    if (!page)
        return take_slow(memory, want, tries);
    begin_use(page, want->flags);
    return page;
}

static void log_failure(const struct want *want, phys_addr_t lowest, phys_addr_t highest,
                        const struct dk_reclaim_tries *tries)
{
    char tried[128] = "";

    if (want->gfp & __GFP_NOWARN)
        return;
    if (tries->passes)
        snprintf(tried, sizeof(tried), "; tried: shrinkers %u times, %lu objects freed%s", tries->passes,
                 tries->freed, tries->notified ? ", out-of-memory notifiers" : "");
    dk_log(DK_LOG_WARNING, "no %llu contiguous pages aligned to %llu in 0x%llx-0x%llx (gfp 0x%x)%s",
           want->request.count, want->request.align, lowest, highest, want->gfp, tried);
}

/* Tells of the new user, and clears what he wants cleared. */
static void hand_over(struct dk_memory *memory, struct page *page, u64 count, gfp_t gfp)
{
    if (memory->two_views || __atomic_load_n(&memory->pasr, __ATOMIC_RELAXED))
        dk_memory_taken(memory, page_to_phys(page), count << PAGE_SHIFT);
    if (gfp & __GFP_ZERO)
        dk_pages_clear(memory, page_to_phys(page) >> PAGE_SHIFT, count);
}

static struct page *take_marked(struct dk_memory *memory, gfp_t gfp, u64 count, u64 align, phys_addr_t lowest,
                                phys_addr_t highest, unsigned flags, bool all_zones, bool fails)
{
    struct dk_reclaim_tries tries = { 0 };
    struct want want = { .gfp = gfp, .flags = flags };
    struct page *page;

    if (!count || count > UINT32_MAX || !align || (align & (align - 1)) || dk_memory_forked(memory))
        return NULL;
    want.request = (struct dk_request){
        .count = count,
        .align = align,
        .lowest = (lowest >> PAGE_SHIFT) + ((lowest & (PAGE_SIZE - 1)) != 0),
        .highest = (highest >> PAGE_SHIFT) + ((highest & (PAGE_SIZE - 1)) == PAGE_SIZE - 1),
        .type = gfp & __GFP_MOVABLE ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE,
    };
    choose_zones(memory, &want, all_zones);
    want.list = choose_list(memory, &want);
    if (gfp & __GFP_COMP && count > 1)
        want.flags |= DK_PAGE_COMPOUND;
    page = fails ? NULL : take(memory, &want, &tries);
    if (!page)
        log_failure(&want, lowest, highest, &tries);
    else
        hand_over(memory, page, count, gfp);
    return page;
}

/* What must not fail does not fail on demand either. */
static bool fails_on_demand(gfp_t gfp)
{
    return !(gfp & __GFP_NOFAIL) && dk_fault_point();
}

struct page *dk_pages_take_marked(struct dk_memory *memory, gfp_t gfp, size_t count, size_t align,
                                  phys_addr_t lowest, phys_addr_t highest, unsigned flags)
{
    return take_marked(memory, gfp, count, align, lowest, highest, flags, false, fails_on_demand(gfp));
}

struct page *dk_pages_take(struct dk_memory *memory, gfp_t gfp, size_t count, size_t align,
                           phys_addr_t lowest, phys_addr_t highest)
{
    return take_marked(memory, gfp, count, align, lowest, highest, 0, true, fails_on_demand(gfp));
}

/*
 * The short way: a block out of this thread's list of the zone that @gfp leads to first. NULL: go the long
 * way, which knows all there is to know.
 */
static struct page *take_listed(struct dk_memory *memory, gfp_t gfp, unsigned order)
{
    unsigned kind = memory->first_zones[gfp & (__GFP_DMA | __GFP_HIGHMEM | __GFP_DMA32)];
    enum migratetype type = gfp & __GFP_MOVABLE ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
    struct page *page;

    if (order >= DK_LIST_ORDERS || kind == DK_ZONE_COUNT || gfp & __GFP_COMP ||
        dk_zone_tight(&memory->zones[kind]) || dk_memory_forked(memory))
        return NULL;
    page = dk_page_lists_take(memory->lists, dk_list_class(kind, type, order));
    if (!page)
        return NULL;
    begin_use(page, 0);
    hand_over(memory, page, (u64)1 << order, gfp);
    return page;
}

struct page *dk_pages_allocate(struct dk_memory *memory, gfp_t gfp, unsigned order)
{
    struct page *page = NULL;
    size_t count;
    bool fails;

    if (order > MAX_PAGE_ORDER)
        return NULL;
    fails = fails_on_demand(gfp);
    if (!fails)
        page = take_listed(memory, gfp, order);
    if (page)
        return page;
    count = (size_t)1 << order;
    return take_marked(memory, gfp, count, count, 0, (phys_addr_t)-1, 0, false, fails);
}
