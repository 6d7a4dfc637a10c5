/* SPDX-License-Identifier: MIT */
/*
 * Zones: which memory an allocation's flags lead to, and in what order.
 */
#include "base/alloc.h"
#include "mm/private.h"

static u64 least(u64 a, u64 b)
{
    return a < b ? a : b;
}

static bool fill(struct dk_memory *memory, struct dk_zone *zone)
{
    const struct dk_ram_map *map = dk_ram_map(memory);
    size_t i;

    for (i = 0; i < map->count; i++) {
        u64 start = map->ranges[i].base >> PAGE_SHIFT;
        u64 end = least(map->ranges[i].end >> PAGE_SHIFT, zone->end);

        if (start < zone->start)
            start = zone->start;
        if (start >= end)
            continue;
        if (!dk_extents_grow(zone, 1) || !dk_extent_insert(zone, start, end, MIGRATE_MOVABLE))
            return false;
        zone->ram_start = zone->present ? zone->ram_start : start;
        zone->ram_end = end;
        zone->present += end - start;
        dk_zone_count(zone, MIGRATE_MOVABLE, (s64)(end - start));
    }
    return true;
}

/* ---- Watermarks ---- */

/* What a request that could have had a higher zone leaves in a lower one: this share of the pages above. */
#define LOWMEM_SHARE 256u
/* The marks are this share of the zone apart at least. */
#define MARK_SHARE 1000u

static void update_tight(struct dk_zone *zone)
{
    bool tight = zone->free < zone->marks[DK_MARK_HIGH];

    if (tight != zone->tight)
        __atomic_store_n(&zone->tight, tight, __ATOMIC_RELAXED);
}

static void set_marks(struct dk_zone *zone, u64 least)
{
    u64 distance = least / 4 > zone->present / MARK_SHARE ? least / 4 : zone->present / MARK_SHARE;

    zone->marks[DK_MARK_MIN] = least;
    zone->marks[DK_MARK_LOW] = least + distance;
    zone->marks[DK_MARK_HIGH] = least + 2 * distance;
    update_tight(zone);
}

static void set_lowmem_reserve(struct dk_memory *memory, unsigned kind)
{
    u64 above = 0;
    unsigned i;

    for (i = kind + 1; i < DK_ZONE_COUNT; i++) {
        above += memory->zones[i].present;
        memory->zones[kind].lowmem_reserve[i] = least(above / LOWMEM_SHARE, memory->zones[kind].present);
    }
}

void dk_zone_count(struct dk_zone *zone, enum migratetype type, s64 pages)
{
    zone->free_of[type] += (u64)pages;
    if (type == MIGRATE_ISOLATE)
        return;
    zone->free += (u64)pages;
    update_tight(zone);
}

bool dk_zone_may_take(const struct dk_zone *zone, u64 count, enum dk_mark mark, unsigned class_kind)
{
    u64 left = zone->marks[mark];

    if (class_kind < DK_ZONE_COUNT)
        left += zone->lowmem_reserve[class_kind];
    return zone->free >= count && zone->free - count >= left;
}

/* ---- What there is ---- */

/* With a seed no list serves, since the place is chosen then. */
static void choose_first_zones(struct dk_memory *memory)
{
    enum dk_zone_kind kinds[DK_ZONE_COUNT];
    gfp_t gfp;

    for (gfp = 0; gfp < sizeof(memory->first_zones); gfp++) {
        unsigned zones = memory->seed ? 0 : dk_zone_list(memory, gfp, kinds), i = 0;

        while (i < zones && !memory->zones[kinds[i]].present)
            i++;
        memory->first_zones[gfp] = i < zones ? (u8)kinds[i] : DK_ZONE_COUNT;
    }
}

int dk_zones_start(struct dk_memory *memory, const struct dk_memory_config *config, phys_addr_t highmem_start)
{
    u64 highmem = highmem_start >> PAGE_SHIFT;
    u64 dma = least(config->zone_dma_end >> PAGE_SHIFT, highmem);
    u64 dma32 = least(config->zone_dma32_end >> PAGE_SHIFT, highmem);
    u64 present = 0;
    unsigned i, type, order;

    if (dma32 < dma)
        dma32 = dma;
    memory->zones[DK_ZONE_DMA].end = dma;
    memory->zones[DK_ZONE_DMA32].start = dma;
    memory->zones[DK_ZONE_DMA32].end = dma32;
    memory->zones[DK_ZONE_NORMAL].start = dma32;
    memory->zones[DK_ZONE_NORMAL].end = highmem;
    memory->zones[DK_ZONE_HIGHMEM].start = highmem;
    memory->zones[DK_ZONE_HIGHMEM].end = (u64)1 << (DK_PHYS_BITS - PAGE_SHIFT);
    for (i = 0; i < DK_ZONE_COUNT; i++) {
        for (type = 0; type < MIGRATE_TYPES; type++) {
            for (order = 0; order <= MAX_PAGE_ORDER; order++)
                INIT_LIST_HEAD(&memory->zones[i].lists[type][order]);
        }
    }
    for (i = 0; i < DK_ZONE_COUNT; i++) {
        if (!fill(memory, &memory->zones[i]))
            return -ENOMEM;
        present += memory->zones[i].present;
    }
    choose_first_zones(memory);
    memory->has_marks = config->reserve != 0;
    for (i = 0; i < DK_ZONE_COUNT && config->reserve && present; i++) {
        set_marks(&memory->zones[i], config->reserve * memory->zones[i].present / present);
        set_lowmem_reserve(memory, i);
    }
    return 0;
}

void dk_zones_finish(struct dk_memory *memory)
{
    unsigned i;

    for (i = 0; i < DK_ZONE_COUNT; i++)
        dk_release(memory->zones[i].extents);
}

struct dk_zone *dk_zone_of(struct dk_memory *memory, u64 pfn)
{
    unsigned i = 0;

    while (i < DK_ZONE_HIGHMEM && pfn >= memory->zones[i].end)
        i++;
    return &memory->zones[i];
}

u64 dk_memory_zone(const struct dk_memory *memory, gfp_t gfp, phys_addr_t *first, phys_addr_t *last)
{
    enum dk_zone_kind kind = gfp & __GFP_DMA       ? DK_ZONE_DMA
                             : gfp & __GFP_DMA32   ? DK_ZONE_DMA32
                             : gfp & __GFP_HIGHMEM ? DK_ZONE_HIGHMEM
                                                   : DK_ZONE_NORMAL;
    const struct dk_zone *zone = &memory->zones[kind];

    if (!zone->present)
        return 0;
    *first = zone->start << PAGE_SHIFT;
    *last = (zone->end << PAGE_SHIFT) - 1;
    return zone->present;
}

unsigned dk_zone_list(const struct dk_memory *memory, gfp_t gfp, enum dk_zone_kind *kinds)
{
    gfp_t asked = gfp & (__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM);
    int first = DK_ZONE_NORMAL;
    unsigned count = 0;

    if (asked & (asked - 1))
        return 0;
    /* A zone that has no memory is as one that does not exist: the request means ordinary memory then. */
    if (asked == __GFP_DMA && memory->zones[DK_ZONE_DMA].present)
        first = DK_ZONE_DMA;
    else if (asked == __GFP_DMA32 &&
             (memory->zones[DK_ZONE_DMA32].present || memory->zones[DK_ZONE_DMA].present))
        first = DK_ZONE_DMA32;
    else if (asked == __GFP_HIGHMEM)
        first = DK_ZONE_HIGHMEM;
    for (; first >= 0; first--)
        kinds[count++] = (enum dk_zone_kind)first;
    return count;
}
