/* SPDX-License-Identifier: MIT */
/*
 * The buddy allocator of one zone: blocks of 1 to 1024 pages, cut from extents and merged back into them.
 *
 * The highest addresses go first, since devices with few address bits cannot reach them: a driver that never
 * set its mask finds out. With a seed the place is chosen by hash(seed, number of the allocation) among what
 * there is.
 */
#include "mm/private.h"

/* With a seed: among how many fitting blocks of a list one is chosen. */
#define CANDIDATES 8

static u64 larger(u64 a, u64 b)
{
    return a > b ? a : b;
}

static u64 smaller(u64 a, u64 b)
{
    return a < b ? a : b;
}

static u64 align_down(u64 value, u64 align)
{
    return value & ~(align - 1);
}

struct page *dk_page_mapped(struct dk_memory *memory, u64 pfn)
{
    struct dk_section *section = dk_section_mapped(memory, (phys_addr_t)pfn << PAGE_SHIFT);

    return section ? section->pages + (pfn & (DK_SECTION_PAGES - 1)) : NULL;
}

struct page *dk_page_get(struct dk_memory *memory, u64 pfn)
{
    struct dk_section *section = dk_memory_section(memory, (phys_addr_t)pfn << PAGE_SHIFT);

    return section ? section->pages + (pfn & (DK_SECTION_PAGES - 1)) : NULL;
}

static u64 pfn_of(const struct page *page)
{
    const struct dk_section *section = dk_slot_find(page)->section;

    return ((u64)section->base >> PAGE_SHIFT) + (u64)(page - section->pages);
}

/* ---- Whole blocks ---- */

/*
 * Whole blocks become free in add_whole() and stop being so in remove_whole(), and nowhere else, but for
 * those that wait in the list of the largest order because the extents could not grow. At the start all
 * RAM is free (zone.c).
 */
static bool add_whole(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end,
                      enum migratetype type)
{
    if (!dk_extent_insert(zone, start, end, type))
        return false;
    dk_zone_count(zone, type, (s64)(end - start));
    dk_block_freed(memory, start, end);
    return true;
}

static void remove_whole(struct dk_memory *memory, struct dk_zone *zone, size_t index, u64 start, u64 end)
{
    dk_zone_count(zone, zone->extents[index].type, -(s64)(end - start));
    dk_extent_cut(zone, index, start, end);
    dk_block_taken(memory, start, end);
}

/* ---- Blocks in lists ---- */

static void list_block(struct dk_memory *memory, struct dk_zone *zone, struct page *page, unsigned order,
                       enum migratetype type)
{
    dk_page_set_flags(page, DK_PAGE_FREE);
    page->order = (u8)order;
    page->type = (u8)type;
    list_add(&page->lru, &zone->lists[type][order]);
    dk_zone_count(zone, type, 1ll << order);
    if (order == MAX_PAGE_ORDER)
        dk_block_freed(memory, pfn_of(page), pfn_of(page) + DK_BLOCK_PAGES);
}

static void unlist_block(struct dk_memory *memory, struct dk_zone *zone, struct page *page)
{
    list_del(&page->lru);
    dk_page_set_flags(page, 0);
    dk_zone_count(zone, page->type, -(1ll << page->order));
    if (page->order == MAX_PAGE_ORDER)
        dk_block_taken(memory, pfn_of(page), pfn_of(page) + DK_BLOCK_PAGES);
}

/* The page of the free block of exactly @order at @pfn, or NULL. */
static struct page *free_block_at(struct dk_memory *memory, const struct dk_zone *zone, u64 pfn,
                                  unsigned order)
{
    struct page *page;

    if (pfn < zone->start || pfn + ((u64)1 << order) > zone->end)
        return NULL;
    page = dk_page_mapped(memory, pfn);
    return page && dk_page_flags(page) == DK_PAGE_FREE && page->order == order ? page : NULL;
}

/* Frees one naturally aligned block, which grows as long as its other half is free too. */
static void free_block(struct dk_memory *memory, struct dk_zone *zone, u64 pfn, unsigned order)
{
    struct page *page;

    for (; order < MAX_PAGE_ORDER; order++) {
        struct page *buddy = free_block_at(memory, zone, pfn ^ ((u64)1 << order), order);

        if (!buddy)
            break;
        unlist_block(memory, zone, buddy);
        pfn &= ~((u64)1 << order);
    }
    if (order == MAX_PAGE_ORDER) {
        dk_blocks_use(memory, pfn, pfn + DK_BLOCK_PAGES, MIGRATE_MOVABLE);
        /* Where the extents cannot grow for want of memory, the block waits in the last list. */
        if (add_whole(memory, zone, pfn, pfn + DK_BLOCK_PAGES, dk_block_whole_type(memory, pfn)))
            return;
    }
    page = dk_page_mapped(memory, pfn);
    if (page)
        list_block(memory, zone, page, order, dk_block_type(memory, pfn));
}

/* Frees the whole blocks at the start of [start, end) that are of one type, in one piece: the pages in
 * between were never mapped, perhaps. Returns where it stopped. */
static u64 free_whole(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end)
{
    enum migratetype type;
    u64 until;

    if ((start & (DK_BLOCK_PAGES - 1)) || end - start < DK_BLOCK_PAGES)
        return start;
    until = dk_blocks_alike(memory, start, align_down(end, DK_BLOCK_PAGES), &type);
    if (!add_whole(memory, zone, start, until, type))
        return start;
    dk_blocks_use(memory, start, until, MIGRATE_MOVABLE);
    return until;
}

void dk_buddy_free(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end)
{
    while (start < end) {
        u64 until = free_whole(memory, zone, start, end);
        unsigned order = 0;

        if (until == start) {
            while (order < MAX_PAGE_ORDER && !(start & ((u64)1 << order)) && start + ((u64)2 << order) <= end)
                order++;
            free_block(memory, zone, start, order);
            until = start + ((u64)1 << order);
        }
        start = until;
    }
}

void dk_buddy_sort(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end)
{
    u64 pfn = start;

    while (pfn < end) {
        size_t index = dk_extent_at_or_above(zone, pfn);
        struct page *page;

        if (index < zone->count && zone->extents[index].start <= pfn) {
            u64 until = smaller(end, zone->extents[index].end);

            remove_whole(memory, zone, index, pfn, until);
            dk_buddy_free(memory, zone, pfn, until);
            pfn = until;
            continue;
        }
        pfn += dk_block_step(memory, pfn, &page);
        if (page) {
            unlist_block(memory, zone, page);
            list_block(memory, zone, page, page->order, dk_block_type(memory, pfn - 1));
        }
    }
}

/* ---- Finding a place ---- */

bool dk_run_fit(u64 start, u64 end, u64 count, u64 align, u64 lowest, u64 highest, u64 *place)
{
    u64 low = larger(start, lowest), high = smaller(end, highest), at;

    if (high < low || high - low < count)
        return false;
    at = align_down(high - count, align);
    /* A run that fits into a section does not cross its end: kernel addresses go on within a section only. */
    if (count <= DK_SECTION_PAGES && at / DK_SECTION_PAGES != (at + count - 1) / DK_SECTION_PAGES) {
        u64 boundary = align_down(at + count - 1, DK_SECTION_PAGES);

        if (boundary < low || boundary - low < count)
            return false;
        at = align_down(boundary - count, align);
    }
    *place = at;
    return at >= low;
}

/* Moves *place down to another that fits as well, by @choice. */
static void move_place(u64 start, u64 count, u64 align, u64 lowest, u64 choice, u64 *place)
{
    u64 low = larger(start, lowest), steps, at;

    if (*place < low)
        return;
    steps = (*place - low) / align;
    at = *place - align * (steps ? choice % (steps + 1) : 0);
    if (count > DK_SECTION_PAGES || at / DK_SECTION_PAGES == (at + count - 1) / DK_SECTION_PAGES)
        *place = at;
}

static unsigned order_of(u64 count)
{
    unsigned order = 0;

    while (((u64)1 << order) < count)
        order++;
    return order;
}

/* A block of @type's lists that @request fits into, and where; NULL: none. Small blocks first, or with
 * @largest large ones. */
static struct page *find_block(const struct dk_zone *zone, const struct dk_request *request,
                               enum migratetype type, bool largest, u64 *place)
{
    unsigned least = order_of(request->count), i;

    if (request->count > DK_BLOCK_PAGES)
        return NULL;
    for (i = least; i <= MAX_PAGE_ORDER; i++) {
        unsigned order = largest ? MAX_PAGE_ORDER - (i - least) : i;
        unsigned skip = (unsigned)(request->choice % CANDIDATES);
        struct page *page, *found = NULL;

        list_for_each_entry (page, &zone->lists[type][order], lru) {
            u64 pfn = pfn_of(page), at;

            if (!dk_run_fit(pfn, pfn + ((u64)1 << order), request->count, request->align, request->lowest,
                            request->highest, &at))
                continue;
            if (request->choice)
                move_place(pfn, request->count, request->align, request->lowest, request->choice >> 8, &at);
            found = page;
            *place = at;
            if (!skip--)
                break;
        }
        if (found)
            return found;
    }
    return NULL;
}

/* Takes @request's pages at @pfn out of the free block @page, whose rest goes back. */
static void take_from_block(struct dk_memory *memory, struct dk_zone *zone, const struct dk_request *request,
                            struct page *page, u64 pfn)
{
    u64 start = pfn_of(page), end = start + ((u64)1 << page->order);

    unlist_block(memory, zone, page);
    dk_buddy_free(memory, zone, start, pfn);
    dk_buddy_free(memory, zone, pfn + request->count, end);
}

static bool take_from_lists(struct dk_memory *memory, struct dk_zone *zone, const struct dk_request *request,
                            u64 *pfn)
{
    struct page *page = find_block(zone, request, request->type, false, pfn);

    if (page)
        take_from_block(memory, zone, request, page, *pfn);
    return page;
}

/*
 * Cuts [pfn, until) out of the extent @index: whole blocks leave it, as @type's, and what is left of those
 * goes to the lists. Room for one extent more is there, and the sections of what is left are mapped.
 */
static void cut_from_extent(struct dk_memory *memory, struct dk_zone *zone, size_t index, u64 pfn, u64 until,
                            enum migratetype type)
{
    const struct dk_extent extent = zone->extents[index];
    u64 start = larger(align_down(pfn, DK_BLOCK_PAGES), extent.start);
    u64 end = smaller(align_down(until + DK_BLOCK_PAGES - 1, DK_BLOCK_PAGES), extent.end);

    remove_whole(memory, zone, index, start, end);
    dk_blocks_use(memory, start, end, type);
    dk_buddy_free(memory, zone, start, pfn);
    dk_buddy_free(memory, zone, until, end);
}

static bool take_from_extents(struct dk_memory *memory, struct dk_zone *zone,
                              const struct dk_request *request, u64 *pfn)
{
    size_t count = zone->count, first = request->choice && count ? (size_t)(request->choice >> 8) % count : 0,
           i;

    for (i = 0; i < count; i++) {
        size_t index = count - 1 - (i + first) % count;
        const struct dk_extent *extent = &zone->extents[index];

        if (extent->type != MIGRATE_MOVABLE ||
            !dk_run_fit(extent->start, extent->end, request->count, request->align, request->lowest,
                        request->highest, pfn))
            continue;
        if (request->choice)
            move_place(extent->start, request->count, request->align, request->lowest, request->choice >> 16,
                       pfn);
        if (!dk_page_get(memory, *pfn) || !dk_page_get(memory, *pfn + request->count - 1) ||
            !dk_extents_grow(zone, 1))
            return false;
        cut_from_extent(memory, zone, index, *pfn, *pfn + request->count, request->type);
        return true;
    }
    return false;
}

/*
 * Takes from blocks of the other type, the largest free piece first, so that it happens seldom. Where that
 * piece, or the need, is great, and at least half of the page block is free or of @request's type already,
 * the page block changes its type: the next requests find their place in it too.
 */
static bool take_from_others(struct dk_memory *memory, struct dk_zone *zone, const struct dk_request *request,
                             u64 *pfn)
{
    enum migratetype other = request->type == MIGRATE_MOVABLE ? MIGRATE_UNMOVABLE : MIGRATE_MOVABLE;
    struct page *page = find_block(zone, request, other, true, pfn);
    u64 block;

    if (!page)
        return false;
    block = align_down(*pfn, DK_BLOCK_PAGES);
    if ((request->type == MIGRATE_UNMOVABLE || page->order >= MAX_PAGE_ORDER / 2) &&
        dk_block_alike_pages(memory, zone, block, request->type) >= DK_BLOCK_PAGES / 2) {
        dk_blocks_use(memory, block, block + DK_BLOCK_PAGES, request->type);
        dk_buddy_sort(memory, zone, larger(block, zone->start), smaller(block + DK_BLOCK_PAGES, zone->end));
    }
    take_from_block(memory, zone, request, page, *pfn);
    return true;
}

bool dk_buddy_take(struct dk_memory *memory, struct dk_zone *zone, struct dk_request *request, u64 *pfn)
{
    if (!request->count || request->count > zone->free || request->lowest >= zone->end ||
        request->highest <= zone->start)
        return false;
    /* One allocation in eight breaks into memory that was whole: that is what fragments it. */
    request->choice = 0;
    if (memory->seed) {
        request->choice = dk_mix(memory->seed, ++memory->allocations) | 1ull << 63;
        if ((request->choice >> 3) % 8 == 0 && take_from_extents(memory, zone, request, pfn))
            return true;
    }
    return take_from_lists(memory, zone, request, pfn) || take_from_extents(memory, zone, request, pfn) ||
           take_from_others(memory, zone, request, pfn);
}

/* ---- Given ranges ---- */

/* The free block in a list that holds @pfn, or NULL. */
static struct page *block_around(struct dk_memory *memory, const struct dk_zone *zone, u64 pfn)
{
    unsigned order;

    for (order = 0; order <= MAX_PAGE_ORDER; order++) {
        struct page *page = free_block_at(memory, zone, align_down(pfn, (u64)1 << order), order);

        if (page)
            return page;
    }
    return NULL;
}

u64 dk_buddy_first_used(struct dk_memory *memory, struct dk_zone *zone, u64 pfn, u64 end)
{
    while (pfn < end) {
        size_t index = dk_extent_at_or_above(zone, pfn);
        const struct page *page;

        if (index < zone->count && zone->extents[index].start <= pfn) {
            pfn = zone->extents[index].end;
            continue;
        }
        page = block_around(memory, zone, pfn);
        if (!page)
            return pfn;
        pfn = pfn_of(page) + ((u64)1 << page->order);
    }
    return end;
}

void dk_buddy_remove(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end)
{
    while (start < end) {
        size_t index = dk_extent_at_or_above(zone, start);
        struct page *page;
        u64 until, block, size;

        if (index < zone->count && zone->extents[index].start <= start) {
            until = smaller(end, zone->extents[index].end);
            cut_from_extent(memory, zone, index, start, until, MIGRATE_MOVABLE);
            start = until;
            continue;
        }
        page = block_around(memory, zone, start);
        if (!page)
            return;
        block = pfn_of(page);
        size = (u64)1 << page->order;
        until = smaller(end, block + size);
        unlist_block(memory, zone, page);
        /* The first piece may begin with the same page, and be of another order. */
        dk_buddy_free(memory, zone, block, start);
        dk_buddy_free(memory, zone, until, block + size);
        start = until;
    }
}
