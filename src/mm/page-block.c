/* SPDX-License-Identifier: MIT */
/*
 * Page blocks and their types. A type is kept in the block's section, so that memory which nobody touched
 * costs nothing: what is not mapped is MIGRATE_MOVABLE.
 */
#include "mm/page-lists.h"

static u8 *word_of(struct dk_memory *memory, u64 pfn)
{
    struct dk_section *section = dk_section_mapped(memory, (phys_addr_t)pfn << PAGE_SHIFT);

    return section ? &section->block_types[(pfn & (DK_SECTION_PAGES - 1)) >> MAX_PAGE_ORDER] : NULL;
}

enum migratetype dk_block_type(struct dk_memory *memory, u64 pfn)
{
    const u8 *word = word_of(memory, pfn);

    return !word ? MIGRATE_MOVABLE : *word & DK_BLOCK_ISOLATED ? MIGRATE_ISOLATE : (enum migratetype) * word;
}

enum migratetype dk_block_whole_type(struct dk_memory *memory, u64 pfn)
{
    enum migratetype type = dk_block_type(memory, pfn);

    return type == MIGRATE_UNMOVABLE ? MIGRATE_MOVABLE : type;
}

u64 dk_block_end(struct dk_memory *memory, u64 pfn, u64 end)
{
    u64 size = word_of(memory, pfn) ? DK_BLOCK_PAGES : DK_SECTION_PAGES, next = (pfn & ~(size - 1)) + size;

    return next < end ? next : end;
}

u64 dk_blocks_alike(struct dk_memory *memory, u64 start, u64 end, enum migratetype *type)
{
    u64 until = dk_block_end(memory, start, end);

    *type = dk_block_whole_type(memory, start);
    while (until < end && dk_block_whole_type(memory, until) == *type)
        until = dk_block_end(memory, until, end);
    return until;
}

void dk_blocks_use(struct dk_memory *memory, u64 start, u64 end, enum migratetype type)
{
    for (; start < end; start = dk_block_end(memory, start, end)) {
        u8 *word = word_of(memory, start);

        if (word)
            *word = (u8)((*word & DK_BLOCK_ISOLATED) | type);
    }
}

u64 dk_block_step(struct dk_memory *memory, u64 pfn, struct page **free)
{
    struct page *page = dk_page_mapped(memory, pfn);
    u32 run;

    *free = NULL;
    if (!page)
        return dk_block_end(memory, pfn, ~0ull) - pfn;
    if (dk_page_flags(page) == DK_PAGE_FREE) {
        *free = page;
        return (u64)1 << page->order;
    }
    /* Of a contiguous area's page it changes under that area's lock alone. */
    run = dk_page_flags(page) & DK_PAGE_USED ? dk_page_run(page) : 0;
    return run ? run : 1;
}

u64 dk_block_alike_pages(struct dk_memory *memory, const struct dk_zone *zone, u64 pfn, enum migratetype type)
{
    u64 start = pfn & ~(DK_BLOCK_PAGES - 1), end = start + DK_BLOCK_PAGES, pages = 0;

    if (start < zone->start)
        start = zone->start;
    if (end > zone->end)
        end = zone->end;
    while (start < end) {
        struct page *free, *page = dk_page_mapped(memory, start);
        u64 step = dk_block_step(memory, start, &free);

        if (step > end - start)
            step = end - start;
        if (page && (free || (dk_page_flags(page) & DK_PAGE_USED && page->type == type)))
            pages += step;
        start += step;
    }
    return pages;
}

/* ---- Isolation ---- */

/* Makes [*start, *end) whole blocks; returns the zone, which has the whole of each but the first and last. */
static struct dk_zone *widen(struct dk_memory *memory, u64 *start, u64 *end)
{
    struct dk_zone *zone = dk_zone_of(memory, *start);

    *start &= ~(DK_BLOCK_PAGES - 1);
    *end = (*end + DK_BLOCK_PAGES - 1) & ~(DK_BLOCK_PAGES - 1);
    return zone;
}

/* Sorts the free pages of the blocks [start, end). The first and the last may belong to two zones. */
static void sort(struct dk_memory *memory, u64 start, u64 end)
{
    unsigned i;

    for (i = 0; i < DK_ZONE_COUNT; i++) {
        struct dk_zone *zone = &memory->zones[i];
        u64 low = start > zone->start ? start : zone->start, high = end < zone->end ? end : zone->end;

        if (low < high)
            dk_buddy_sort(memory, zone, low, high);
    }
}

/* Maps the sections of [start, end) that hold RAM, so that their blocks have types; false: out of memory. */
static bool map_sections(struct dk_memory *memory, u64 start, u64 end)
{
    const struct dk_ram_map *map = dk_ram_map(memory);

    while (start < end) {
        const struct dk_ram *ram = dk_ram_at_or_above(map, (phys_addr_t)start << PAGE_SHIFT);

        if (!ram || ram->base >> PAGE_SHIFT >= end)
            break;
        if (ram->base >> PAGE_SHIFT > start)
            start = ram->base >> PAGE_SHIFT;
        if (!dk_page_get(memory, start))
            return false;
        start = (start & ~(DK_SECTION_PAGES - 1)) + DK_SECTION_PAGES;
    }
    return true;
}

int dk_blocks_isolate(struct dk_memory *memory, u64 start, u64 end)
{
    struct dk_zone *zone = widen(memory, &start, &end);
    u64 pfn;

    for (pfn = start; pfn < end; pfn = dk_block_end(memory, pfn, end)) {
        if (dk_block_type(memory, pfn) == MIGRATE_ISOLATE)
            return -EBUSY;
    }
    if (!map_sections(memory, start, end) || !dk_extents_grow(zone, 4))
        return -ENOMEM;
    for (pfn = start; pfn < end; pfn = dk_block_end(memory, pfn, end)) {
        u8 *word = word_of(memory, pfn);

        if (word)
            *word |= DK_BLOCK_ISOLATED;
    }
    dk_page_lists_close(memory);
    sort(memory, start, end);
    zone->promised += 2;
    return 0;
}

void dk_blocks_rejoin(struct dk_memory *memory, u64 start, u64 end)
{
    struct dk_zone *zone = widen(memory, &start, &end);
    u64 pfn;

    for (pfn = start; pfn < end; pfn = dk_block_end(memory, pfn, end)) {
        u8 *word = word_of(memory, pfn);

        if (word)
            *word &= (u8)~DK_BLOCK_ISOLATED;
    }
    zone->promised -= 2;
    sort(memory, start, end);
    dk_page_lists_open(memory);
}
