/* SPDX-License-Identifier: MIT */
#include "pool/pool.h"

#include "base/log.h"

/* No two blocks share a word that a device accesses at once. */
#define SMALLEST ((size_t)8)

/* Bytes around a block that are looked at each time; where alignment leaves more between blocks than two of
 * these, the rest is not. */
#define WIDEST_ZONE ((size_t)64)

static bool is_power(size_t value)
{
    return value && !(value & (value - 1));
}

static size_t round_up(size_t value, size_t align)
{
    return (value + align - 1) & ~(align - 1);
}

static bool refuse(const struct device *dev, const char *reason, size_t value)
{
    dk_device_log(dev, DK_LOG_ERROR, "dma_pool_create: %s: %zu", reason, value);
    return false;
}

static bool is_possible(const struct device *dev, size_t size, size_t align, size_t boundary)
{
    if (!size)
        return refuse(dev, "blocks of no size", size);
    if (!is_power(align))
        return refuse(dev, "the alignment is no power of two", align);
    /* So large that sums of a few of them do not wrap. */
    if (size > SIZE_MAX / 16)
        return refuse(dev, "no block can be that large", size);
    if (align > SIZE_MAX / 16)
        return refuse(dev, "no block can be aligned to that", align);
    if (boundary && !is_power(boundary))
        return refuse(dev, "the boundary is no power of two", boundary);
    if (boundary && boundary < round_up(size, align))
        return refuse(dev, "a block would cross the boundary", boundary);
    return true;
}

/* Lays blocks out between multiples of @boundary. */
static void divide(struct dk_pool_layout *layout, size_t boundary)
{
    if (layout->lead + layout->size + layout->zone <= boundary) {
        layout->segment = boundary;
        layout->per_segment = (boundary - layout->lead - layout->size - layout->zone) / layout->stride + 1;
    } else {
        /* With what is around it a block has no room between two: it begins at one, and leaves some out. */
        layout->first = round_up(layout->zone, boundary);
        layout->lead = 0;
        layout->segment = round_up(layout->size + 2 * layout->zone, boundary);
        layout->per_segment = 1;
    }
    /* Nothing left over: one segment is like another. */
    if (!layout->first && !layout->lead && layout->per_segment * layout->stride == layout->segment)
        layout->segment = 0;
}

bool dk_pool_layout_make(struct dk_pool_layout *layout, const struct device *dev, size_t size, size_t align,
                         size_t boundary, size_t zone)
{
    size_t largest;

    if (!align)
        align = 1;
    if (!is_possible(dev, size, align, boundary))
        return false;
    /* As in Linux, whose pools cut up single pages where blocks are that small. */
    if (!boundary && round_up(size, align) <= PAGE_SIZE)
        boundary = PAGE_SIZE;
    *layout = (struct dk_pool_layout){ .size = size, .align = align, .boundary = boundary, .zone = zone };
    layout->stride = round_up(size < SMALLEST ? SMALLEST : size, align);
    if (zone) {
        layout->stride = round_up(size + 2 * zone, align);
        layout->zone = (layout->stride - size) / 2;
        if (layout->zone > WIDEST_ZONE)
            layout->zone = WIDEST_ZONE;
        layout->lead = round_up(layout->zone, align);
    }
    layout->inverse = ~0ull / layout->stride + 1;
    largest = layout->lead + layout->size + layout->zone;
    largest = dk_pool_power_above(largest < DK_POOL_CHUNK ? DK_POOL_CHUNK : largest);
    if (boundary && boundary < SIZE_MAX / 16 && boundary <= largest)
        divide(layout, boundary);
    layout->base = round_up(layout->first + layout->lead + size + layout->zone, PAGE_SIZE);
    return true;
}

size_t dk_pool_layout_offset(const struct dk_pool_layout *layout, size_t index)
{
    size_t segment = 0;

    if (layout->segment && layout->per_segment) {
        segment = index / layout->per_segment;
        index -= segment * layout->per_segment;
    }
    return layout->first + segment * layout->segment + layout->lead + index * layout->stride;
}

size_t dk_pool_layout_count(const struct dk_pool_layout *layout, size_t bytes)
{
    size_t segments =
        layout->segment && bytes > layout->first ? (bytes - layout->first) / layout->segment : 0;
    size_t count = segments * layout->per_segment;

    /* Into the last segment, which is not whole; and where the last block's zone would lie outside, back. */
    while ((!layout->segment || count < (segments + 1) * layout->per_segment) &&
           dk_pool_layout_offset(layout, count) + layout->size + layout->zone <= bytes)
        count++;
    while (count && dk_pool_layout_offset(layout, count - 1) + layout->size + layout->zone > bytes)
        count--;
    return count;
}

bool dk_pool_layout_find(const struct dk_pool_layout *layout, size_t offset, size_t *index, size_t *within)
{
    size_t segment, at = offset - layout->first;

    if (offset < layout->first)
        return false;
    segment = layout->segment ? at / layout->segment : 0;
    at -= segment * layout->segment;
    if (at < layout->lead)
        return false;
    at -= layout->lead;
    *index = at / layout->stride;
    *within = at % layout->stride;
    if (!layout->segment)
        return true;
    if (*index >= layout->per_segment)
        return false;
    *index += segment * layout->per_segment;
    return true;
}

size_t dk_pool_layout_nearest(const struct dk_pool_layout *layout, size_t offset, size_t blocks,
                              ssize_t *within)
{
    size_t from_first = offset < layout->first ? 0 : offset - layout->first;
    size_t segment = layout->segment ? from_first / layout->segment : 0;
    size_t at = from_first - segment * layout->segment;
    size_t index = at < layout->lead ? 0 : (at - layout->lead) / layout->stride;

    if (layout->segment) {
        if (index >= layout->per_segment)
            index = layout->per_segment - 1;
        index += segment * layout->per_segment;
    }
    if (index >= blocks)
        index = blocks - 1;
    *within = (ssize_t)(offset - dk_pool_layout_offset(layout, index));
    if (*within >= (ssize_t)layout->size && index + 1 < blocks) {
        ssize_t before = (ssize_t)(offset - dk_pool_layout_offset(layout, index + 1));

        if (-before <= *within - (ssize_t)layout->size) {
            *within = before;
            index++;
        }
    }
    return index;
}
