/* SPDX-License-Identifier: MIT */
/*
 * Which physical addresses are RAM, and what is special about them.
 *
 * Readers take no lock: a map is replaced whole, and the ones before stay until the memory goes. Changes are
 * few (reserved regions at start, a device's own memory), so the old maps cost little.
 */
#include "base/alloc.h"
#include "mm/private.h"

#include <string.h>

struct dk_ram_map *dk_ram_map_allocate(size_t count)
{
    return dk_allocate(1, sizeof(struct dk_ram_map) + count * sizeof(struct dk_ram));
}

const struct dk_ram_map *dk_ram_map(const struct dk_memory *memory)
{
    return __atomic_load_n(&memory->map, __ATOMIC_ACQUIRE);
}

void dk_ram_map_publish(struct dk_memory *memory, struct dk_ram_map *map)
{
    map->previous = memory->map;
    __atomic_store_n(&memory->map, map, __ATOMIC_RELEASE);
}

/* Adds a piece, as part of the one before where nothing tells them apart. */
static void append(struct dk_ram_map *map, phys_addr_t base, phys_addr_t end, unsigned flags)
{
    struct dk_ram *last = map->count ? &map->ranges[map->count - 1] : NULL;

    if (base >= end)
        return;
    if (last && last->end == base && last->flags == flags)
        last->end = end;
    else
        map->ranges[map->count++] = (struct dk_ram){ base, end, flags };
}

struct dk_ram_map *dk_ram_map_change(const struct dk_ram_map *map, phys_addr_t base, phys_addr_t end,
                                     unsigned flags)
{
    /* A new piece adds one range, and each of the two ends cuts at most one range in two. */
    struct dk_ram_map *changed = dk_ram_map_allocate(map->count + 2);
    bool adding = flags & DK_RAM_ADDED;
    size_t i;

    if (!changed)
        return NULL;
    for (i = 0; i < map->count; i++) {
        const struct dk_ram *range = &map->ranges[i];
        phys_addr_t low = range->base > base ? range->base : base;
        phys_addr_t high = range->end < end ? range->end : end;

        if (adding && range->base >= end) {
            append(changed, base, end, flags);
            adding = false;
        }
        if (low >= high) {
            append(changed, range->base, range->end, range->flags);
            continue;
        }
        append(changed, range->base, low, range->flags);
        append(changed, low, high, range->flags | flags);
        append(changed, high, range->end, range->flags);
    }
    if (adding)
        append(changed, base, end, flags);
    return changed;
}

const struct dk_ram *dk_ram_at_or_above(const struct dk_ram_map *map, phys_addr_t phys)
{
    size_t low = 0, high = map->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (map->ranges[middle].end > phys)
            high = middle;
        else
            low = middle + 1;
    }
    return low < map->count ? &map->ranges[low] : NULL;
}

const struct dk_ram *dk_ram_find(const struct dk_memory *memory, phys_addr_t phys)
{
    const struct dk_ram *range = dk_ram_at_or_above(dk_ram_map(memory), phys);

    return range && range->base <= phys ? range : NULL;
}

/* Whether [phys, phys + size) is RAM, all of it without the flags @without. */
static bool is_all(const struct dk_memory *memory, phys_addr_t phys, u64 size, unsigned without)
{
    const struct dk_ram_map *map = dk_ram_map(memory);
    const struct dk_ram *range = dk_ram_at_or_above(map, phys);
    const struct dk_ram *past = map->ranges + map->count;
    phys_addr_t end = phys + size;

    if (!range || range->base > phys || end < phys)
        return false;
    /* Pieces that touch differ in what is special about them alone. */
    while (!(range->flags & without) && range->end < end) {
        if (range + 1 == past || range[1].base != range->end)
            return false;
        range++;
    }
    return !(range->flags & without);
}

bool dk_memory_is_ram(const struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    return is_all(memory, phys, size, 0);
}

bool dk_memory_has_ram(const struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    const struct dk_ram *range = dk_ram_at_or_above(dk_ram_map(memory), phys);

    return range && range->base <= phys + (size - 1);
}

bool dk_memory_is_linear(const struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    return is_all(memory, phys, size, DK_RAM_NO_MAP | DK_RAM_HIGHMEM);
}
