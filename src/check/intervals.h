/* SPDX-License-Identifier: MIT */
/*
 * A set of address ranges that answers "which of them hold this address" without a search.
 *
 * A range belongs to the size class k with 1 << k >= its size, and hangs in a hash under (k, start >> k). One
 * that holds address x therefore starts in x's block of its class or in the block before, so two places for
 * each class in use are looked at, however many ranges there are. Ranges may overlap and be equal. The caller
 * locks.
 */
#ifndef DK_CHECK_INTERVALS_H
#define DK_CHECK_INTERVALS_H

#include <dmakit/types.h>

#define DK_INTERVAL_CLASS_LOWEST 6
#define DK_INTERVAL_CLASS_COUNT 64

/* Embedded in what the range belongs to. */
struct dk_interval {
    struct dk_interval *next;
    struct dk_interval **link; /* what leads here */
    u64 start;
    u64 size; /* at least 1; start + size - 1 does not wrap */
    unsigned size_class;
};

struct dk_intervals {
    struct dk_interval **buckets;
    unsigned bits;             /* 1 << bits buckets */
    size_t count;              /* of those that have their place */
    struct dk_interval *fresh; /* those that have none yet */
    u64 classes;               /* a bit for each class in use */
    size_t class_count[DK_INTERVAL_CLASS_COUNT];
};

/* The class of those that have no place yet. */
#define DK_INTERVAL_FRESH DK_INTERVAL_CLASS_COUNT

/* 0 or -ENOMEM. */
int dk_intervals_init(struct dk_intervals *set);
/* Frees the set's own memory, not what the ranges belong to. */
void dk_intervals_finish(struct dk_intervals *set);

/* Twice as many buckets, if there is memory. */
void dk_intervals_grow(struct dk_intervals *set);

static inline unsigned dk_interval_class(u64 size)
{
    const u64 lowest = ((u64)1 << DK_INTERVAL_CLASS_LOWEST) - 1;

    /* The driver's argument may be 0, which no range has. */
    if (__builtin_expect((size - 1) >> 63, 0))
        return DK_INTERVAL_CLASS_COUNT - 1;
    return 64 - (unsigned)__builtin_clzll((size - 1) | lowest);
}

static inline size_t dk_interval_bucket(unsigned bits, unsigned size_class, u64 block)
{
    return (size_t)((block * DK_INTERVAL_CLASS_COUNT + size_class) * 0x9e3779b97f4a7c15ull >> (64 - bits));
}

static inline void dk_interval_link(struct dk_interval **head, struct dk_interval *interval)
{
    interval->next = *head;
    interval->link = head;
    if (*head)
        (*head)->link = &interval->next;
    *head = interval;
}

/* Growing on past this would cost more memory than the chains cost time. */
#define DK_INTERVALS_MOST_BITS 24

/* Enters @interval, whose start and size are set. Cannot fail: a hash that cannot grow has longer chains. */
static inline void dk_intervals_insert(struct dk_intervals *set, struct dk_interval *interval)
{
    const unsigned size_class = dk_interval_class(interval->size);

    if (__builtin_expect(set->count >> set->bits, 0) && set->bits < DK_INTERVALS_MOST_BITS)
        dk_intervals_grow(set);
    interval->size_class = size_class;
    dk_interval_link(&set->buckets[dk_interval_bucket(set->bits, size_class, interval->start >> size_class)],
                     interval);
    set->count++;
    set->class_count[size_class]++;
    set->classes |= 1ull << size_class;
}

/* The same for a set that is rarely searched: @interval gets its place when it is. */
static inline void dk_intervals_insert_lazily(struct dk_intervals *set, struct dk_interval *interval)
{
    interval->size_class = DK_INTERVAL_FRESH;
    dk_interval_link(&set->fresh, interval);
}

/* Takes out @interval, which is in the set. */
static inline void dk_intervals_remove(struct dk_intervals *set, struct dk_interval *interval)
{
    const unsigned size_class = interval->size_class;

    *interval->link = interval->next;
    if (interval->next)
        interval->next->link = interval->link;
    interval->next = NULL;
    if (size_class == DK_INTERVAL_FRESH)
        return;
    set->count--;
    if (!--set->class_count[size_class])
        set->classes &= ~(1ull << size_class);
}

/*
 * Calls @visit for each range that shares a byte with [first, last], in no order, until it returns false. The
 * cost grows with last - first divided by the smallest class in use, or with the number of ranges. @visit may
 * not change the set.
 */
void dk_intervals_touching(struct dk_intervals *set, u64 first, u64 last,
                           bool (*visit)(struct dk_interval *interval, void *data), void *data);
/* The same for each range that starts at @start. */
void dk_intervals_starting(struct dk_intervals *set, u64 start,
                           bool (*visit)(struct dk_interval *interval, void *data), void *data);
/* The same for every range. */
void dk_intervals_each(struct dk_intervals *set, bool (*visit)(struct dk_interval *interval, void *data),
                       void *data);

/* The head of the chain where a range of @size bytes at @start hangs, among others. Of a set that is not
 * entered lazily. */
static inline struct dk_interval *dk_intervals_chain(const struct dk_intervals *set, u64 start, u64 size)
{
    const unsigned size_class = dk_interval_class(size);

    return set->buckets[dk_interval_bucket(set->bits, size_class, start >> size_class)];
}

#endif
