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

/* ---- Blocks in lists ---- */

static void list_block(struct dk_zone *zone, struct page *page, unsigned order)
{
    page->flags = DK_PAGE_FREE;
    page->order = (u8)order;
    list_add(&page->lru, &zone->lists[order]);
}

static void unlist_block(struct page *page)
{
    list_del(&page->lru);
    page->flags = 0;
}

/* The page of the free block of exactly @order at @pfn, or NULL. */
static struct page *free_block_at(struct dk_memory *memory, const struct dk_zone *zone, u64 pfn,
                                  unsigned order)
{
    struct page *page;

    if (pfn < zone->start || pfn + ((u64)1 << order) > zone->end)
        return NULL;
    page = dk_page_mapped(memory, pfn);
    return page && page->flags == DK_PAGE_FREE && page->order == order ? page : NULL;
}

/* Frees one naturally aligned block, which grows as long as its other half is free too. */
static void free_block(struct dk_memory *memory, struct dk_zone *zone, u64 pfn, unsigned order)
{
    struct page *page;

    for (; order < MAX_PAGE_ORDER; order++) {
        struct page *buddy = free_block_at(memory, zone, pfn ^ ((u64)1 << order), order);

        if (!buddy)
            break;
        unlist_block(buddy);
        pfn &= ~((u64)1 << order);
    }
    if (order == MAX_PAGE_ORDER)
        dk_block_freed(memory, pfn, pfn + DK_BLOCK_PAGES);
    /* Where the extents cannot grow for want of memory, the block waits in the last list. */
    if (order == MAX_PAGE_ORDER && dk_extent_insert(zone, pfn, pfn + DK_BLOCK_PAGES))
        return;
    page = dk_page_mapped(memory, pfn);
    if (page)
        list_block(zone, page, order);
}

void dk_buddy_free(struct dk_memory *memory, struct dk_zone *zone, u64 start, u64 end)
{
    zone->free += end - start;
    while (start < end) {
        u64 whole = align_down(end, DK_BLOCK_PAGES);
        unsigned order = 0;

        /* A long run goes back in one piece; its pages in between were never mapped, perhaps. */
        if (!(start & (DK_BLOCK_PAGES - 1)) && start < whole && dk_extent_insert(zone, start, whole)) {
            dk_block_freed(memory, start, whole);
            start = whole;
            continue;
        }
        while (order < MAX_PAGE_ORDER && !(start & ((u64)1 << order)) && start + ((u64)2 << order) <= end)
            order++;
        free_block(memory, zone, start, order);
        start += (u64)1 << order;
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

struct dk_request {
    u64 count, align, lowest, highest;
    u64 choice; /* 0: the first that fits */
};

/* A block of a list that @request fits into, and where; NULL: none. */
static struct page *find_block(const struct dk_zone *zone, const struct dk_request *request, u64 *place)
{
    unsigned order;

    if (request->count > DK_BLOCK_PAGES)
        return NULL;
    for (order = order_of(request->count); order <= MAX_PAGE_ORDER; order++) {
        unsigned skip = (unsigned)(request->choice % CANDIDATES);
        struct page *page, *found = NULL;

        list_for_each_entry (page, &zone->lists[order], lru) {
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

static bool take_from_lists(struct dk_memory *memory, struct dk_zone *zone, const struct dk_request *request,
                            u64 *pfn)
{
    struct page *page = find_block(zone, request, pfn);
    u64 start, size;

    if (!page)
        return false;
    start = pfn_of(page);
    size = (u64)1 << page->order;
    if (page->order == MAX_PAGE_ORDER)
        dk_block_taken(memory, start, start + size);
    unlist_block(page);
    zone->free -= size;
    dk_buddy_free(memory, zone, start, *pfn);
    dk_buddy_free(memory, zone, *pfn + request->count, start + size);
    return true;
}

/*
 * Cuts [pfn, until) out of the extent @index: whole blocks leave it, and what is left of those goes to the
 * lists. Room for one extent more is there, and the sections of what is left are mapped.
 */
static void cut_from_extent(struct dk_memory *memory, struct dk_zone *zone, size_t index, u64 pfn, u64 until)
{
    const struct dk_extent extent = zone->extents[index];
    u64 start = larger(align_down(pfn, DK_BLOCK_PAGES), extent.start);
    u64 end = smaller(align_down(until + DK_BLOCK_PAGES - 1, DK_BLOCK_PAGES), extent.end);

    dk_extent_cut(zone, index, start, end);
    dk_block_taken(memory, start, end);
    zone->free -= end - start;
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

        if (!dk_run_fit(extent->start, extent->end, request->count, request->align, request->lowest,
                        request->highest, pfn))
            continue;
        if (request->choice)
            move_place(extent->start, request->count, request->align, request->lowest, request->choice >> 16,
                       pfn);
        if (!dk_page_get(memory, *pfn) || !dk_page_get(memory, *pfn + request->count - 1) ||
            !dk_extents_grow(zone, 1))
            return false;
        cut_from_extent(memory, zone, index, *pfn, *pfn + request->count);
        return true;
    }
    return false;
}

bool dk_buddy_take(struct dk_memory *memory, struct dk_zone *zone, u64 count, u64 align, u64 lowest,
                   u64 highest, u64 *pfn)
{
    struct dk_request request = { count, align, lowest, highest, 0 };

    if (!count || count > zone->free || lowest >= zone->end || highest <= zone->start)
        return false;
    /* One allocation in eight breaks into memory that was whole: that is what fragments it. */
    if (memory->seed) {
        request.choice = dk_mix(memory->seed, ++memory->allocations) | 1ull << 63;
        if ((request.choice >> 3) % 8 == 0 && take_from_extents(memory, zone, &request, pfn))
            return true;
    }
    return take_from_lists(memory, zone, &request, pfn) || take_from_extents(memory, zone, &request, pfn);
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
            cut_from_extent(memory, zone, index, start, until);
            start = until;
            continue;
        }
        page = block_around(memory, zone, start);
        if (!page)
            return;
        block = pfn_of(page);
        size = (u64)1 << page->order;
        until = smaller(end, block + size);
        if (page->order == MAX_PAGE_ORDER)
            dk_block_taken(memory, block, block + size);
        zone->free -= size;
        unlist_block(page);
        /* The first piece may begin with the same page, and be of another order. */
        dk_buddy_free(memory, zone, block, start);
        dk_buddy_free(memory, zone, until, block + size);
        start = until;
    }
}
