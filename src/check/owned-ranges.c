/* SPDX-License-Identifier: MIT */
#include "check/owned-ranges.h"

#include "base/alloc.h"
#include <string.h>

void dk_owned_init(struct dk_owned_ranges *ranges, u64 size, enum dk_byte_owner owner)
{
    ranges->runs = ranges->own;
    ranges->count = 1;
    ranges->room = DK_OWN_RUNS;
    ranges->own[0] = (struct dk_owned_run){ size, owner };
}

void dk_owned_finish(struct dk_owned_ranges *ranges)
{
    if (ranges->runs != ranges->own)
        dk_release(ranges->runs);
    ranges->runs = ranges->own;
    ranges->count = 0;
}

/* The run that holds the byte at @at. */
static unsigned find(const struct dk_owned_ranges *ranges, u64 at)
{
    unsigned low = 0, high = ranges->count - 1;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (ranges->runs[middle].end > at)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static bool reserve(struct dk_owned_ranges *ranges, unsigned count)
{
    struct dk_owned_run *more;

    if (count <= ranges->room)
        return true;
    more = dk_allocate(2 * (size_t)count, sizeof(*more));
    if (!more)
        return false;
    memcpy(more, ranges->runs, ranges->count * sizeof(*more));
    if (ranges->runs != ranges->own)
        dk_release(ranges->runs);
    ranges->runs = more;
    ranges->room = 2 * count;
    return true;
}

bool dk_owned_set(struct dk_owned_ranges *ranges, u64 from, u64 to, enum dk_byte_owner owner)
{
    struct dk_owned_run new[3];
    unsigned first, last, count = 0, i;
    u64 start;

    if (from >= to)
        return true;
    first = find(ranges, from);
    last = find(ranges, to - 1);
    if (first == last && ranges->runs[first].owner == owner)
        return true;
    start = first ? ranges->runs[first - 1].end : 0;
    /* What is left of the runs at both ends, with neighbours of one owner made one. */
    if (start < from && ranges->runs[first].owner != owner)
        new[count++] = (struct dk_owned_run){ from, ranges->runs[first].owner };
    new[count++] = (struct dk_owned_run){ to, owner };
    if (ranges->runs[last].end > to && ranges->runs[last].owner != owner)
        new[count++] = ranges->runs[last];
    else
        new[count - 1].end = ranges->runs[last].end;
    if (first && ranges->runs[first - 1].owner == new[0].owner)
        first--;
    if (last + 1 < ranges->count && ranges->runs[last + 1].owner == new[count - 1].owner)
        new[count - 1].end = ranges->runs[++last].end;
    if (!reserve(ranges, ranges->count + count))
        return false;
    i = last + 1;
    memmove(&ranges->runs[first + count], &ranges->runs[i], (ranges->count - i) * sizeof(*ranges->runs));
    memcpy(&ranges->runs[first], new, count * sizeof(*new));
    ranges->count = ranges->count - (i - first) + count;
    return true;
}

enum dk_byte_owner dk_owned_at(const struct dk_owned_ranges *ranges, u64 at, u64 *end)
{
    const struct dk_owned_run *run = &ranges->runs[ranges->count > 1 ? find(ranges, at) : 0];

    *end = run->end;
    return run->owner;
}

bool dk_owned_any(const struct dk_owned_ranges *ranges, enum dk_byte_owner owner)
{
    unsigned i;

    for (i = 0; i < ranges->count && ranges->runs[i].owner != owner; i++)
        continue;
    return i < ranges->count;
}
