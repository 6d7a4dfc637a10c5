/* SPDX-License-Identifier: MIT */
/*
 * Allocating given ranges: their page blocks are isolated, so that what becomes free in them stays so, what
 * is movable is moved out, and when all is free the range is taken.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "mm/page-lists.h"

#include <dmakit/migrate.h>
#include <sched.h>

/* How often a range is gone through before pages that cannot be moved just now are in the way. */
#define ROUNDS 5
/* And how often a page is waited for that another thread is just giving back. */
#define YIELDS 1000

enum obstacle { NONE, MOVABLE, PASSING, PINNED, FIXED };

/* What keeps the page of @pfn from being free. Under pages_lock. */
static enum obstacle obstacle_at(struct dk_memory *memory, u64 pfn)
{
    const struct page *page = dk_page_mapped(memory, pfn);
    u32 flags = page ? dk_page_flags(page) : 0, count;

    if (!page)
        return FIXED;
    count = __atomic_load_n(&page->count, __ATOMIC_ACQUIRE);
    if (flags == DK_PAGE_LISTED || (flags & DK_PAGE_USED && !count))
        return PASSING;
    /* What an area lends goes back to the area, and so never becomes free here. */
    if (!(flags & DK_PAGE_MOVABLE) || flags & DK_PAGE_LENT)
        return FIXED;
    return count > 1 || flags & DK_PAGE_ISOLATED ? PINNED : MOVABLE;
}

/* The first obstacle in [*pfn, end) that is at least @least, and where. Under pages_lock. */
static enum obstacle next_obstacle(struct dk_memory *memory, u64 *pfn, u64 end, enum obstacle least)
{
    struct dk_zone *zone = dk_zone_of(memory, *pfn);

    for (;; ++*pfn) {
        enum obstacle obstacle;

        *pfn = dk_buddy_first_used(memory, zone, *pfn, end);
        if (*pfn == end)
            return NONE;
        obstacle = obstacle_at(memory, *pfn);
        if (obstacle >= least)
            return obstacle;
    }
}

/* The first one of any kind. */
static enum obstacle find_obstacle(struct dk_memory *memory, u64 *pfn, u64 end)
{
    enum obstacle obstacle;

    pthread_mutex_lock(&memory->pages_lock);
    obstacle = next_obstacle(memory, pfn, end, MOVABLE);
    pthread_mutex_unlock(&memory->pages_lock);
    return obstacle;
}

static const char *kind_of(struct dk_memory *memory, u64 pfn)
{
    const struct page *page;
    bool isolated;
    u64 head;
    u32 flags;

    pthread_mutex_lock(&memory->pages_lock);
    page = dk_page_head(memory, pfn, &head);
    flags = page ? dk_page_flags(page) : 0;
    isolated = dk_block_type(memory, pfn) == MIGRATE_ISOLATE;
    pthread_mutex_unlock(&memory->pages_lock);
    return isolated                               ? "in a page block that somebody else isolates"
           : flags & DK_PAGE_SLAB                 ? "a slab's"
           : flags & DK_PAGE_LARGE                ? "kmalloc()'s"
           : flags & DK_PAGE_VMALLOC              ? "vmalloc()'s"
           : flags & (DK_PAGE_CMA | DK_PAGE_LENT) ? "a contiguous area's"
           : flags & DK_PAGE_MOVABLE
               ? "movable, with more references than its owner's, or an owner that cannot move it now"
               : "in use, and not movable";
}

static int busy(struct dk_memory *memory, u64 start, u64 end, u64 pfn, gfp_t gfp)
{
    if (!(gfp & __GFP_NOWARN))
        dk_log(DK_LOG_WARNING, "alloc_contig_range: pages 0x%llx-0x%llx: the page 0x%llx is %s", start, end,
               pfn, kind_of(memory, pfn));
    return -EBUSY;
}

/* Moves out what is in the isolated range. 0, or -errno with *pfn in the way. */
static int evict(struct dk_memory *memory, u64 start, u64 end, gfp_t gfp, u64 *pfn)
{
    unsigned round, yields = 0;
    int error = 0;

    for (round = 0; round < ROUNDS; round++) {
        enum obstacle obstacle;

        *pfn = start;
        while ((obstacle = find_obstacle(memory, pfn, end)) != NONE) {
            if (obstacle == PASSING && yields++ < YIELDS) {
                sched_yield();
                continue;
            }
            if (obstacle == FIXED)
                return -EBUSY;
            error = obstacle == MOVABLE ? dk_page_migrate(memory, *pfn, gfp) : -EAGAIN;
            if (error == -ENOMEM || error == -EBUSY)
                return error;
            ++*pfn;
        }
        *pfn = start;
        if (find_obstacle(memory, pfn, end) == NONE)
            return 0;
    }
    return -EBUSY;
}

/* Whether [start, end) is memory of one zone that the page allocator has to give. */
static bool is_range(struct dk_memory *memory, u64 start, u64 end)
{
    const struct dk_ram_map *map = dk_ram_map(memory);
    const struct dk_ram *past = map->ranges + map->count, *range;

    if (start >= end || end > (u64)1 << (DK_PHYS_BITS - PAGE_SHIFT) ||
        dk_zone_of(memory, start) != dk_zone_of(memory, end - 1))
        return false;
    range = dk_ram_at_or_above(map, (phys_addr_t)start << PAGE_SHIFT);
    while (start < end) {
        if (!range || range == past || range->base >> PAGE_SHIFT > start || range->flags & DK_RAM_RESERVED)
            return false;
        start = range->end >> PAGE_SHIFT;
        range++;
    }
    return true;
}

/* Whether somebody isolates one of the blocks of [start, end). Under pages_lock. */
static bool is_isolated(struct dk_memory *memory, u64 start, u64 end)
{
    u64 pfn;

    for (pfn = start & ~(DK_BLOCK_PAGES - 1); pfn < end; pfn += DK_BLOCK_PAGES) {
        if (dk_block_type(memory, pfn) == MIGRATE_ISOLATE)
            return true;
    }
    return false;
}

/* Isolates the page blocks, if nothing is in the way that can be seen from the start: at *pfn, then. */
static int begin(struct dk_memory *memory, u64 start, u64 end, u64 *pfn)
{
    int error;

    *pfn = start;
    pthread_mutex_lock(&memory->pages_lock);
    error = dk_blocks_isolate(memory, start, end);
    if (!error && next_obstacle(memory, pfn, end, PINNED) != NONE) {
        error = -EBUSY;
        dk_blocks_rejoin(memory, start, end);
    }
    pthread_mutex_unlock(&memory->pages_lock);
    return error;
}

/* Takes the range if all of it is free, and ends the isolation. */
static int finish(struct dk_memory *memory, u64 start, u64 end, u64 *pfn)
{
    struct dk_zone *zone = dk_zone_of(memory, start);
    int error = 0;
    u64 at;

    pthread_mutex_lock(&memory->pages_lock);
    *pfn = dk_buddy_first_used(memory, zone, start, end);
    if (*pfn != end)
        error = -EBUSY;
    else if (!dk_extents_grow(zone, 2))
        error = -ENOMEM;
    if (!error) {
        dk_buddy_remove(memory, zone, start, end);
        for (at = start; at < end; at++)
            dk_page_single(dk_page_mapped(memory, at), MIGRATE_MOVABLE);
    }
    dk_blocks_rejoin(memory, start, end);
    pthread_mutex_unlock(&memory->pages_lock);
    return error;
}

static int take(struct dk_memory *memory, u64 start, u64 end, gfp_t gfp)
{
    u64 pfn;
    int error = begin(memory, start, end, &pfn);

    if (error == -EBUSY)
        return busy(memory, start, end, pfn, gfp);
    if (error)
        return error;
    error = evict(memory, start, end, gfp, &pfn);
    if (error) {
        pthread_mutex_lock(&memory->pages_lock);
        dk_blocks_rejoin(memory, start, end);
        pthread_mutex_unlock(&memory->pages_lock);
    } else {
        error = finish(memory, start, end, &pfn);
    }
    return error == -EBUSY ? busy(memory, start, end, pfn, gfp) : error;
}

int dk_contig_take(struct dk_memory *memory, u64 start, u64 end, enum migratetype type, gfp_t gfp)
{
    int error;

    if (dk_memory_forked(memory) || type != MIGRATE_MOVABLE || gfp & __GFP_COMP ||
        !is_range(memory, start, end))
        return -EINVAL;
    if (dk_fault_point())
        return -ENOMEM;
    dk_memory_end_quarantine(memory, "alloc_contig_range");
    error = take(memory, start, end, gfp);
    if (error)
        return error;
    dk_memory_taken(memory, (phys_addr_t)start << PAGE_SHIFT, (end - start) << PAGE_SHIFT);
    if (gfp & __GFP_ZERO)
        dk_pages_clear(memory, start, end - start);
    return 0;
}

/* ---- Linux's calls ---- */

int alloc_contig_range(unsigned long start, unsigned long end, unsigned migratetype, gfp_t gfp)
{
    struct dk_memory *memory = dk_current_for("alloc_contig_range");

    dk_might_sleep_gfp(memory, GFP_KERNEL, "alloc_contig_range");
    return memory ? dk_contig_take(memory, start, end, (enum migratetype)migratetype, gfp) : -EINVAL;
}

/* Tells that [pfn, end) is about to be freed, run by run of what will be. */
static void tell_freed(struct dk_memory *memory, u64 pfn, u64 end)
{
    u64 at, start = pfn;

    for (at = pfn; at <= end; at++) {
        const struct page *page = at < end ? dk_page_mapped(memory, at) : NULL;

        if (page && dk_page_flags(page) == DK_PAGE_USED && dk_page_run(page) == 1 &&
            __atomic_load_n(&page->count, __ATOMIC_RELAXED) == 1)
            continue;
        if (at > start)
            dk_memory_freed(memory, (phys_addr_t)start << PAGE_SHIFT, (at - start) << PAGE_SHIFT,
                            "free_contig_range", NULL);
        start = at + 1;
    }
}

void free_contig_range(unsigned long pfn, unsigned long count)
{
    struct dk_memory *memory = dk_current_for("free_contig_range");
    u64 at, held = 0, wrong = 0;

    if (!memory || dk_memory_forked(memory))
        return;
    tell_freed(memory, pfn, (u64)pfn + count);
    pthread_mutex_lock(&memory->pages_lock);
    for (at = pfn; at - pfn < count; at++) {
        struct page *page = dk_page_mapped(memory, at);

        if (!page || dk_page_flags(page) != DK_PAGE_USED || page->run != 1 ||
            !__atomic_load_n(&page->count, __ATOMIC_RELAXED)) {
            wrong++;
            continue;
        }
        held += __atomic_load_n(&page->count, __ATOMIC_RELAXED) != 1;
        dk_page_drop(memory, page, at);
    }
    pthread_mutex_unlock(&memory->pages_lock);
    if (held)
        dk_log(DK_LOG_WARNING, "free_contig_range: %llu of the pages 0x%lx-0x%lx are still in use", held, pfn,
               pfn + count);
    if (wrong)
        dk_log(DK_LOG_WARNING, "free_contig_range: %llu of the pages 0x%lx-0x%lx are not such an allocation",
               wrong, pfn, pfn + count);
}

/* ---- Anywhere ---- */

/* Whether [*start, *start + count) could be taken; else *start moves down, below what is in the way. */
static bool may_do(struct dk_memory *memory, u64 *start, u64 count)
{
    u64 pfn = *start, first, below = *start ? *start - 1 : 0;
    bool clear = false;

    pthread_mutex_lock(&memory->pages_lock);
    if (is_range(memory, pfn, pfn + count) && !is_isolated(memory, pfn, pfn + count)) {
        clear = next_obstacle(memory, &pfn, pfn + count, PINNED) == NONE;
        if (!clear && dk_page_head(memory, pfn, &first))
            pfn = first;
        below = pfn >= count ? pfn - count : 0;
    }
    pthread_mutex_unlock(&memory->pages_lock);
    if (!clear)
        *start = below;
    return clear;
}

/* Goes down a mapped section's windows. False: there is no place in it. */
static bool take_in_section(struct dk_memory *memory, u64 low, u64 high, u64 count, u64 align, gfp_t gfp,
                            u64 *place)
{
    u64 at;

    if (high - low < count)
        return false;
    for (at = (high - count) & ~(align - 1); at >= low && at + count <= high; at = (at & ~(align - 1))) {
        u64 before = at;

        if (may_do(memory, &at, count)) {
            if (!dk_contig_take(memory, at, at + count, MIGRATE_MOVABLE, gfp | __GFP_NOWARN)) {
                *place = at;
                return true;
            }
            at = before;
        }
        /* Below the obstacle; one step at least. */
        if ((at & ~(align - 1)) >= before)
            at = before - align;
        if (at > before)
            break;
    }
    return false;
}

static struct page *take_anywhere(struct dk_memory *memory, u64 count, u64 align, gfp_t gfp)
{
    enum dk_zone_kind kinds[DK_ZONE_COUNT];
    unsigned zones = dk_zone_list(memory, gfp, kinds), i;

    for (i = 0; i < zones; i++) {
        const struct dk_zone *zone = &memory->zones[kinds[i]];
        u64 high = zone->ram_end;

        while (high > zone->ram_start) {
            u64 low = (high - 1) & ~(DK_SECTION_PAGES - 1), place;

            if (low < zone->ram_start)
                low = zone->ram_start;
            /* In sections that nobody touched all is free, and the first attempt would have been enough. */
            if (dk_page_mapped(memory, low) && take_in_section(memory, low, high, count, align, gfp, &place))
                return dk_page_mapped(memory, place);
            high = low;
        }
    }
    return NULL;
}

struct page *alloc_contig_pages(unsigned long count, gfp_t gfp, int nid, const void *nodemask)
{
    struct dk_memory *memory = dk_current_for("alloc_contig_pages");
    u64 align = count & (count - 1) ? 1 : count;
    struct page *page;
    u64 pfn, i;

    (void)nid;
    (void)nodemask;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "alloc_contig_pages");
    if (!memory || !count || count > DK_SECTION_PAGES || gfp & __GFP_COMP)
        return NULL;
    page = dk_pages_take_marked(memory, gfp | __GFP_NOWARN | __GFP_NORETRY, count, (size_t)align, 0,
                                (phys_addr_t)-1, 0);
    if (page) {
        pfn = page_to_phys(page) >> PAGE_SHIFT;
        pthread_mutex_lock(&memory->pages_lock);
        for (i = 0; i < count; i++)
            dk_page_single(dk_page_mapped(memory, pfn + i), MIGRATE_MOVABLE);
        pthread_mutex_unlock(&memory->pages_lock);
    } else {
        dk_memory_end_quarantine(memory, "alloc_contig_pages");
        page = take_anywhere(memory, count, align, gfp);
    }
    if (!page && !(gfp & __GFP_NOWARN))
        dk_log(DK_LOG_WARNING, "alloc_contig_pages: no place for %lu contiguous pages (gfp 0x%x)", count,
               gfp);
    return page;
}
