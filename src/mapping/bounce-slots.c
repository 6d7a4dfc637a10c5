/* SPDX-License-Identifier: MIT */
#include "mapping/bounce-slots.h"

#include "base/alloc.h"
#include "base/thread-number.h"
#include <pthread.h>

/* A fixed number, so that the same calls get the same slots on every host. */
#define AREAS 16u
#define NOWHERE (~0u)
#define WORD 64u

/*
 * Segments of one area with the same largest free block are in a list. The rank is the block's order and one;
 * 0: nothing is free.
 */
struct segment {
    u64 free[DK_BOUNCE_SEGMENT / WORD]; /* one bit a slot */
    unsigned next, previous;            /* in the list; NOWHERE at its ends */
    unsigned rank;
};

struct area {
    pthread_mutex_t lock;   /* guards the area's segments and lists */
    unsigned segments, end; /* the first segment, and the one after the last; never change */
    unsigned lists[DK_BOUNCE_ORDERS + 1];
} __attribute__((aligned(64)));

struct dk_bounce_slots {
    u64 count;
    struct segment *segments;
    unsigned char *behind; /* of each slot: how far behind its run's first it is; relaxed atomic */
    unsigned area_count;
    u64 taken, most; /* relaxed atomic */
    void *areas_memory;
    struct area *areas;
};

/* ---- One segment ---- */

/* Bits at the multiples of 1 << order. */
static const u64 starts[] = { ~0ull,
                              0x5555555555555555,
                              0x1111111111111111,
                              0x0101010101010101,
                              0x0001000100010001,
                              0x0000000100000001,
                              0x0000000000000001 };

/* From the free blocks of @order - 1 in @blocks those of @order. */
static void halve(u64 blocks[2], unsigned order)
{
    if (order == DK_BOUNCE_ORDERS - 1) {
        blocks[0] &= blocks[1];
        blocks[1] = 0;
        return;
    }
    for (unsigned i = 0; i < 2; i++)
        blocks[i] &= blocks[i] >> (1u << (order - 1)) & starts[order];
}

static unsigned rank_of(const struct segment *segment)
{
    u64 blocks[2] = { segment->free[0], segment->free[1] };
    unsigned rank = 0;

    while (blocks[0] | blocks[1]) {
        if (++rank == DK_BOUNCE_ORDERS)
            break;
        halve(blocks, rank);
    }
    return rank;
}

/* The lowest free block of @order; there is one. */
static unsigned lowest_block(const struct segment *segment, unsigned order)
{
    u64 blocks[2] = { segment->free[0], segment->free[1] };

    for (unsigned i = 1; i <= order; i++)
        halve(blocks, i);
    return blocks[0] ? (unsigned)__builtin_ctzll(blocks[0]) : WORD + (unsigned)__builtin_ctzll(blocks[1]);
}

static bool is_free(const struct segment *segment, unsigned at)
{
    return segment->free[at / WORD] >> at % WORD & 1;
}

/* The lowest free run of @count in [at, end) that begins at a multiple of @align; NOWHERE: there is none. */
static unsigned lowest_run(const struct segment *segment, unsigned at, unsigned end, unsigned count,
                           unsigned align)
{
    unsigned used;

    for (at = (at + align - 1) & ~(align - 1); at + count <= end; at = (used + align) & ~(align - 1)) {
        for (used = at + count; used > at && is_free(segment, used - 1); used--)
            ;
        if (used == at)
            return at;
        used--;
    }
    return NOWHERE;
}

/* The bits of [at, at + count) in word @i. */
static u64 bits_of(unsigned at, unsigned count, unsigned i)
{
    unsigned low = at > i * WORD ? at - i * WORD : 0;
    unsigned high = at + count > i * WORD ? at + count - i * WORD : 0;

    if (high > WORD)
        high = WORD;
    return low >= high ? 0 : ~0ull >> (WORD - (high - low)) << low;
}

/* ---- An area's lists; under its lock ---- */

static void enlist(struct dk_bounce_slots *slots, struct area *area, unsigned index)
{
    struct segment *segment = &slots->segments[index];
    unsigned *head;

    segment->rank = rank_of(segment);
    head = &area->lists[segment->rank];
    segment->previous = NOWHERE;
    segment->next = *head;
    if (*head != NOWHERE)
        slots->segments[*head].previous = index;
    *head = index;
}

static void delist(struct dk_bounce_slots *slots, struct area *area, unsigned index)
{
    const struct segment *segment = &slots->segments[index];

    if (segment->next != NOWHERE)
        slots->segments[segment->next].previous = segment->previous;
    if (segment->previous != NOWHERE)
        slots->segments[segment->previous].next = segment->next;
    else
        area->lists[segment->rank] = segment->next;
}

static void relist(struct dk_bounce_slots *slots, struct area *area, unsigned index)
{
    if (rank_of(&slots->segments[index]) == slots->segments[index].rank)
        return;
    delist(slots, area, index);
    enlist(slots, area, index);
}

static u64 mark(struct dk_bounce_slots *slots, struct area *area, unsigned index, unsigned at, unsigned count)
{
    struct segment *segment = &slots->segments[index];
    u64 first = (u64)index * DK_BOUNCE_SEGMENT + at;

    for (unsigned i = 0; i < 2; i++)
        segment->free[i] &= ~bits_of(at, count, i);
    relist(slots, area, index);
    for (unsigned i = 0; i < count; i++)
        __atomic_store_n(&slots->behind[first + i], (unsigned char)i, __ATOMIC_RELAXED);
    return first;
}

/* The segment with the smallest free blocks of at least @order; NOWHERE: there is none. */
static unsigned segment_with(const struct area *area, unsigned order)
{
    for (unsigned rank = order + 1; rank <= DK_BOUNCE_ORDERS; rank++) {
        if (area->lists[rank] != NOWHERE)
            return area->lists[rank];
    }
    return NOWHERE;
}

static unsigned order_above(unsigned count)
{
    return count > 1 ? 32 - (unsigned)__builtin_clz(count - 1) : 0;
}

/* Slot by slot, where the run must lie in [lowest, end), or lies across blocks. */
static bool search(struct dk_bounce_slots *slots, struct area *area, unsigned count, unsigned align,
                   u64 lowest, u64 end, u64 *first)
{
    unsigned order = order_above(count);
    /* A run that is longer than 1 << (order - 1) has a block of a quarter of its length. */
    unsigned least = order > 2 ? order - 1 : 1;

    for (unsigned i = area->segments; i < area->end; i++) {
        u64 base = (u64)i * DK_BOUNCE_SEGMENT;
        unsigned at, from, until;

        if (slots->segments[i].rank < least || base + DK_BOUNCE_SEGMENT <= lowest || base >= end)
            continue;
        from = lowest > base ? (unsigned)(lowest - base) : 0;
        until = end - base < DK_BOUNCE_SEGMENT ? (unsigned)(end - base) : DK_BOUNCE_SEGMENT;
        at = lowest_run(&slots->segments[i], from, until, count, align);
        if (at != NOWHERE) {
            *first = mark(slots, area, i, at, count);
            return true;
        }
    }
    return false;
}

static bool take_in_area(struct dk_bounce_slots *slots, struct area *area, unsigned count, unsigned align,
                         u64 lowest, u64 end, u64 *first)
{
    unsigned order = order_above(count > align ? count : align);

    if (lowest == 0 && end >= slots->count) {
        unsigned index = segment_with(area, order);

        if (index != NOWHERE) {
            *first = mark(slots, area, index, lowest_block(&slots->segments[index], order), count);
            return true;
        }
    }
    return search(slots, area, count, align, lowest, end, first);
}

/* ---- The whole ---- */

static void count_taken(struct dk_bounce_slots *slots, u64 count)
{
    u64 taken = __atomic_add_fetch(&slots->taken, count, __ATOMIC_RELAXED);
    u64 most = __atomic_load_n(&slots->most, __ATOMIC_RELAXED);

    while (taken > most &&
           !__atomic_compare_exchange_n(&slots->most, &most, taken, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        ;
}

/* The @i-th area to ask: each thread begins at its own. */
static struct area *area_to_ask(struct dk_bounce_slots *slots, unsigned i)
{
    return &slots->areas[(dk_thread_number() + i) % slots->area_count];
}

bool dk_bounce_slots_take(struct dk_bounce_slots *slots, unsigned count, unsigned align, u64 lowest, u64 end,
                          u64 *first)
{
    bool found = false;

    for (unsigned i = 0; i < slots->area_count && !found; i++) {
        struct area *area = area_to_ask(slots, i);

        pthread_mutex_lock(&area->lock);
        found = take_in_area(slots, area, count, align, lowest, end, first);
        pthread_mutex_unlock(&area->lock);
    }
    if (found)
        count_taken(slots, count);
    return found;
}

size_t dk_bounce_slots_take_blocks(struct dk_bounce_slots *slots, unsigned order, u64 *firsts, size_t count)
{
    size_t found = 0;

    for (unsigned i = 0; i < slots->area_count && !found; i++) {
        struct area *area = area_to_ask(slots, i);

        pthread_mutex_lock(&area->lock);
        for (; found < count; found++) {
            unsigned index = segment_with(area, order);

            if (index == NOWHERE)
                break;
            firsts[found] =
                mark(slots, area, index, lowest_block(&slots->segments[index], order), 1u << order);
        }
        pthread_mutex_unlock(&area->lock);
    }
    if (found)
        count_taken(slots, (u64)found << order);
    return found;
}

static struct area *area_of(struct dk_bounce_slots *slots, unsigned index)
{
    unsigned i = 0;

    while (index >= slots->areas[i].end)
        i++;
    return &slots->areas[i];
}

bool dk_bounce_slots_give(struct dk_bounce_slots *slots, u64 first, unsigned count)
{
    unsigned at = (unsigned)(first % DK_BOUNCE_SEGMENT);
    unsigned index = (unsigned)(first / DK_BOUNCE_SEGMENT);
    bool taken = true;
    struct area *area;

    if (!count || count > DK_BOUNCE_SEGMENT - at || first >= slots->count || count > slots->count - first)
        return false;
    area = area_of(slots, index);
    pthread_mutex_lock(&area->lock);
    for (unsigned i = 0; i < 2; i++)
        taken = taken && !(slots->segments[index].free[i] & bits_of(at, count, i));
    if (taken) {
        for (unsigned i = 0; i < 2; i++)
            slots->segments[index].free[i] |= bits_of(at, count, i);
        relist(slots, area, index);
    }
    pthread_mutex_unlock(&area->lock);
    if (taken)
        __atomic_sub_fetch(&slots->taken, count, __ATOMIC_RELAXED);
    return taken;
}

u64 dk_bounce_slots_first(const struct dk_bounce_slots *slots, u64 slot)
{
    return slot - __atomic_load_n(&slots->behind[slot], __ATOMIC_RELAXED);
}

void dk_bounce_slots_usage(const struct dk_bounce_slots *slots, u64 *taken, u64 *most)
{
    *taken = __atomic_load_n(&slots->taken, __ATOMIC_RELAXED);
    *most = __atomic_load_n(&slots->most, __ATOMIC_RELAXED);
}

/* Shares the segments out; all but what lies behind the last slot is free. */
static void start_areas(struct dk_bounce_slots *slots, unsigned segments)
{
    for (unsigned i = 0; i < slots->area_count; i++) {
        struct area *area = &slots->areas[i];

        pthread_mutex_init(&area->lock, NULL);
        for (unsigned rank = 0; rank <= DK_BOUNCE_ORDERS; rank++)
            area->lists[rank] = NOWHERE;
        area->segments = (unsigned)((u64)segments * i / slots->area_count);
        area->end = (unsigned)((u64)segments * (i + 1) / slots->area_count);
        /* The lowest ends up first in its list. */
        for (unsigned j = area->end; j-- > area->segments;) {
            u64 left = slots->count - (u64)j * DK_BOUNCE_SEGMENT;

            for (unsigned k = 0; k < 2; k++)
                slots->segments[j].free[k] =
                    bits_of(0, left < DK_BOUNCE_SEGMENT ? (unsigned)left : DK_BOUNCE_SEGMENT, k);
            enlist(slots, area, j);
        }
    }
}

struct dk_bounce_slots *dk_bounce_slots_create(u64 count)
{
    u64 segments = count / DK_BOUNCE_SEGMENT + (count % DK_BOUNCE_SEGMENT != 0);
    struct dk_bounce_slots *slots;

    if (!count || segments >= NOWHERE || segments > SIZE_MAX / DK_BOUNCE_SEGMENT)
        return NULL;
    slots = dk_allocate(1, sizeof(*slots));
    if (!slots)
        return NULL;
    slots->count = count;
    slots->area_count = segments < AREAS ? (unsigned)segments : AREAS;
    slots->segments = dk_allocate((size_t)segments, sizeof(*slots->segments));
    slots->behind = dk_allocate((size_t)segments, DK_BOUNCE_SEGMENT);
    slots->areas_memory = dk_allocate(slots->area_count + 1, sizeof(*slots->areas));
    if (!slots->segments || !slots->behind || !slots->areas_memory) {
        slots->area_count = 0;
        dk_bounce_slots_destroy(slots);
        return NULL;
    }
    slots->areas = (struct area *)(((uintptr_t)slots->areas_memory + sizeof(struct area) - 1) &
                                   ~(uintptr_t)(_Alignof(struct area) - 1));
    start_areas(slots, (unsigned)segments);
    return slots;
}

void dk_bounce_slots_destroy(struct dk_bounce_slots *slots)
{
    if (!slots)
        return;
    for (unsigned i = 0; i < slots->area_count; i++)
        pthread_mutex_destroy(&slots->areas[i].lock);
    dk_release(slots->areas_memory);
    dk_release(slots->behind);
    dk_release(slots->segments);
    dk_release(slots);
}
