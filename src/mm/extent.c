/* SPDX-License-Identifier: MIT */
/*
 * Extents: long free runs, kept as two numbers until something is taken from them.
 */
#include "base/alloc.h"
#include "mm/private.h"

#include <string.h>

bool dk_extents_grow(struct dk_zone *zone, size_t extra)
{
    size_t wanted = zone->count + extra + zone->promised;
    struct dk_extent *extents;

    if (wanted <= zone->capacity)
        return true;
    if (wanted < zone->capacity * 2)
        wanted = zone->capacity * 2;
    extents = dk_resize(zone->extents, wanted, sizeof(*extents));
    if (!extents)
        return false;
    zone->extents = extents;
    zone->capacity = wanted;
    return true;
}

size_t dk_extent_at_or_above(const struct dk_zone *zone, u64 pfn)
{
    size_t low = 0, high = zone->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (zone->extents[middle].end > pfn)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void insert_at(struct dk_zone *zone, size_t index, struct dk_extent extent)
{
    memmove(&zone->extents[index + 1], &zone->extents[index], (zone->count - index) * sizeof(*zone->extents));
    zone->extents[index] = extent;
    zone->count++;
}

static void remove_at(struct dk_zone *zone, size_t index)
{
    zone->count--;
    memmove(&zone->extents[index], &zone->extents[index + 1], (zone->count - index) * sizeof(*zone->extents));
}

/* Whether the extent @index is of @type, so that one beside it may join it. */
static bool is_of(const struct dk_zone *zone, size_t index, enum migratetype type)
{
    return zone->extents[index].type == type;
}

bool dk_extent_insert(struct dk_zone *zone, u64 start, u64 end, enum migratetype type)
{
    size_t next = dk_extent_at_or_above(zone, start);
    bool joins_next = next < zone->count && zone->extents[next].start == end && is_of(zone, next, type);
    bool joins_last = next > 0 && zone->extents[next - 1].end == start && is_of(zone, next - 1, type);

    if (joins_last) {
        zone->extents[next - 1].end = joins_next ? zone->extents[next].end : end;
        if (joins_next)
            remove_at(zone, next);
    } else if (joins_next) {
        zone->extents[next].start = start;
    } else {
        if (!dk_extents_grow(zone, 1))
            return false;
        insert_at(zone, next, (struct dk_extent){ start, end, (u8)type });
    }
    return true;
}

void dk_extent_cut(struct dk_zone *zone, size_t index, u64 start, u64 end)
{
    struct dk_extent *extent = &zone->extents[index];
    u64 past = extent->end;
    u8 type = extent->type;

    if (start == extent->start && end == past) {
        remove_at(zone, index);
    } else if (start == extent->start) {
        extent->start = end;
    } else {
        extent->end = start;
        if (end != past)
            insert_at(zone, index + 1, (struct dk_extent){ end, past, type });
    }
}
