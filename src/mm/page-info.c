/* SPDX-License-Identifier: MIT */
#include <dmakit/memory-info.h>

#include "base/text.h"
#include "mm/cma.h"
#include "mm/page-lists.h"

#include <linux/sysinfo.h>
#include <string.h>

static const char *const zone_names[DK_ZONE_COUNT] = { "DMA", "DMA32", "Normal", "HighMem" };
static const char *const type_names[MIGRATE_TYPES] = { "Unmovable", "Movable", "Isolate" };

/* ---- Totals ---- */

struct totals {
    u64 total, free, available, high_total, high_free, cma_free;
};

/* Pages of [start, end) that the page allocator gives out. */
static u64 managed(const struct dk_memory *memory, u64 start, u64 end)
{
    const struct dk_ram_map *map = dk_ram_map(memory);
    u64 pages = 0;
    size_t i;

    for (i = 0; i < map->count; i++) {
        u64 low = map->ranges[i].base >> PAGE_SHIFT, high = map->ranges[i].end >> PAGE_SHIFT;

        low = low > start ? low : start;
        high = high < end ? high : end;
        if (low < high && !(map->ranges[i].flags & DK_RAM_RESERVED))
            pages += high - low;
    }
    return pages;
}

/* What has to stay free in @zone for others. */
static u64 kept(const struct dk_zone *zone)
{
    return zone->marks[DK_MARK_HIGH] + zone->lowmem_reserve[DK_ZONE_COUNT - 1];
}

static struct totals count(struct dk_memory *memory)
{
    struct totals totals = { 0 };
    struct cma *cma[DK_CMA_AREAS];
    size_t areas;
    unsigned i;
    u64 held;

    dk_memory_end_quarantine(memory, "si_meminfo");
    pthread_mutex_lock(&memory->pages_lock);
    for (i = 0; i < DK_ZONE_COUNT; i++) {
        const struct dk_zone *zone = &memory->zones[i];

        totals.total += managed(memory, zone->start, zone->end);
        totals.free += zone->free;
        totals.available += zone->free > kept(zone) ? zone->free - kept(zone) : 0;
    }
    held = dk_page_lists_held(memory);
    totals.free += held;
    totals.available += held;
    totals.high_total = managed(memory, memory->zones[DK_ZONE_HIGHMEM].start, ~0ull);
    totals.high_free = memory->zones[DK_ZONE_HIGHMEM].free;
    pthread_mutex_unlock(&memory->pages_lock);
    areas = dk_cma_list(memory, cma, DK_CMA_AREAS);
    for (i = 0; i < areas && i < DK_CMA_AREAS; i++)
        totals.cma_free += dk_cma_free_pages(cma[i]);
    return totals;
}

unsigned long nr_free_pages(void)
{
    struct dk_memory *memory = dk_memory_current();

    return memory ? (unsigned long)dk_memory_free_pages(memory) : 0;
}

long si_mem_available(void)
{
    struct dk_memory *memory = dk_memory_current();

    return memory ? (long)count(memory).available : 0;
}

void si_meminfo(struct sysinfo *info)
{
    struct dk_memory *memory = dk_memory_current();
    struct totals totals = memory ? count(memory) : (struct totals){ 0 };

    memset(info, 0, sizeof(*info));
    info->totalram = (unsigned long)totals.total;
    info->freeram = (unsigned long)totals.free;
    info->totalhigh = (unsigned long)totals.high_total;
    info->freehigh = (unsigned long)totals.high_free;
    info->mem_unit = memory ? PAGE_SIZE : 0;
}

static void add_meminfo(struct dk_memory *memory, struct dk_text *text)
{
    const struct totals totals = count(memory);
    const struct {
        const char *name;
        u64 pages;
    } lines[] = { { "MemTotal:", totals.total },         { "MemFree:", totals.free },
                  { "MemAvailable:", totals.available }, { "HighTotal:", totals.high_total },
                  { "HighFree:", totals.high_free },     { "CmaFree:", totals.cma_free } };
    size_t i;

    for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        dk_text_add(text, "%-15s %8llu kB\n", lines[i].name, lines[i].pages << (PAGE_SHIFT - 10));
}

/* ---- Zones. Under pages_lock ---- */

static void add_zoneinfo(const struct dk_zone *zone, struct dk_text *text)
{
    unsigned i;

    dk_text_add(
        text, "  pages free     %llu\n        min      %llu\n        low      %llu\n        high     %llu\n",
        zone->free, zone->marks[DK_MARK_MIN], zone->marks[DK_MARK_LOW], zone->marks[DK_MARK_HIGH]);
    dk_text_add(text, "        spanned  %llu\n        present  %llu\n        protection: (",
                zone->ram_end - zone->ram_start, zone->present);
    for (i = 0; i < DK_ZONE_COUNT; i++)
        dk_text_add(text, "%s%llu", i ? ", " : "", zone->lowmem_reserve[i]);
    dk_text_add(text, ")\n      nr_isolated  %llu\n  start_pfn:     %llu\n", zone->free_of[MIGRATE_ISOLATE],
                zone->ram_start);
}

/* Adds the free blocks of @type to @counts, by order. */
static void count_blocks(const struct dk_zone *zone, unsigned type, u64 *counts)
{
    const struct page *page;
    unsigned order;
    size_t i;

    for (order = 0; order <= MAX_PAGE_ORDER; order++) {
        list_for_each_entry (page, &zone->lists[type][order], lru)
            counts[order]++;
    }
    for (i = 0; i < zone->count; i++) {
        u64 start = zone->extents[i].start, end = zone->extents[i].end;

        while (zone->extents[i].type == type && start < end) {
            order = 0;
            while (order < MAX_PAGE_ORDER && !(start & ((u64)1 << order)) && start + ((u64)2 << order) <= end)
                order++;
            /* All of a long run at once. */
            if (order == MAX_PAGE_ORDER) {
                counts[order] += (end - start) >> MAX_PAGE_ORDER;
                start = end & ~(DK_BLOCK_PAGES - 1);
            } else {
                counts[order]++;
                start += (u64)1 << order;
            }
        }
    }
}

static void add_counts(struct dk_text *text, const u64 *counts)
{
    unsigned order;

    for (order = 0; order <= MAX_PAGE_ORDER; order++)
        dk_text_add(text, " %6llu", counts[order]);
    dk_text_add(text, "\n");
}

static void add_buddyinfo(const struct dk_zone *zone, struct dk_text *text)
{
    u64 counts[MAX_PAGE_ORDER + 1] = { 0 };
    unsigned type;

    for (type = 0; type < MIGRATE_TYPES; type++)
        count_blocks(zone, type, counts);
    add_counts(text, counts);
}

static void add_types(const struct dk_zone *zone, const char *name, struct dk_text *text)
{
    unsigned type;

    for (type = 0; type < MIGRATE_TYPES; type++) {
        u64 counts[MAX_PAGE_ORDER + 1] = { 0 };

        count_blocks(zone, type, counts);
        dk_text_add(text, "Node    0, zone %8s, type %12s", name, type_names[type]);
        add_counts(text, counts);
    }
}

static void add_blocks(struct dk_memory *memory, const struct dk_zone *zone, struct dk_text *text)
{
    u64 counts[MIGRATE_TYPES] = { 0 }, pfn = zone->ram_start & ~(DK_BLOCK_PAGES - 1), end = zone->ram_end;
    unsigned type;

    while (pfn < end) {
        u64 until = dk_block_end(memory, pfn, end);

        counts[dk_block_type(memory, pfn)] += (until - pfn + DK_BLOCK_PAGES - 1) >> MAX_PAGE_ORDER;
        pfn = until;
    }
    for (type = 0; type < MIGRATE_TYPES; type++)
        dk_text_add(text, " %12llu", counts[type]);
    dk_text_add(text, "\n");
}

static void add_zones(struct dk_memory *memory, enum dk_memory_info which, struct dk_text *text)
{
    unsigned i;

    for (i = 0; i < DK_ZONE_COUNT; i++) {
        const struct dk_zone *zone = &memory->zones[i];

        if (!zone->present)
            continue;
        if (which == DK_PAGETYPEINFO) {
            add_types(zone, zone_names[i], text);
            continue;
        }
        dk_text_add(text, "Node 0, zone %8s%s", zone_names[i], which == DK_ZONEINFO ? "\n" : "");
        if (which == DK_ZONEINFO)
            add_zoneinfo(zone, text);
        else
            add_buddyinfo(zone, text);
    }
}

static void add_pagetypeinfo(struct dk_memory *memory, struct dk_text *text)
{
    unsigned i;

    dk_text_add(text, "Page block order: %d\nPages per block:  %llu\n\n%-43s", MAX_PAGE_ORDER, DK_BLOCK_PAGES,
                "Free pages count per migrate type at order");
    for (i = 0; i <= MAX_PAGE_ORDER; i++)
        dk_text_add(text, " %6u", i);
    dk_text_add(text, "\n");
    add_zones(memory, DK_PAGETYPEINFO, text);
    dk_text_add(text, "\n%-24s", "Number of blocks type");
    for (i = 0; i < MIGRATE_TYPES; i++)
        dk_text_add(text, " %12s", type_names[i]);
    dk_text_add(text, "\n");
    for (i = 0; i < DK_ZONE_COUNT; i++) {
        if (!memory->zones[i].present)
            continue;
        dk_text_add(text, "Node 0, zone %8s   ", zone_names[i]);
        add_blocks(memory, &memory->zones[i], text);
    }
}

size_t dk_memory_info(enum dk_memory_info which, char *text, size_t size)
{
    struct dk_memory *memory = dk_memory_current();
    struct dk_text out = { text, size, 0 };

    if (!memory || dk_memory_forked(memory))
        return 0;
    if (which == DK_MEMINFO) {
        add_meminfo(memory, &out);
        return out.length;
    }
    dk_memory_end_quarantine(memory, "dk_memory_info");
    pthread_mutex_lock(&memory->pages_lock);
    if (which == DK_PAGETYPEINFO)
        add_pagetypeinfo(memory, &out);
    else
        add_zones(memory, which, &out);
    pthread_mutex_unlock(&memory->pages_lock);
    return out.length;
}
