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
    u64 start;
    u64 size; /* at least 1; start + size - 1 does not wrap */
    unsigned size_class;
};

struct dk_intervals {
    struct dk_interval **buckets;
    unsigned bits; /* 1 << bits buckets */
    size_t count;
    u64 classes; /* a bit for each class in use */
    size_t class_count[DK_INTERVAL_CLASS_COUNT];
};

/* 0 or -ENOMEM. */
int dk_intervals_init(struct dk_intervals *set);
/* Frees the set's own memory, not what the ranges belong to. */
void dk_intervals_finish(struct dk_intervals *set);

/* Enters @interval, whose start and size are set. Cannot fail: a hash that cannot grow has longer chains. */
void dk_intervals_insert(struct dk_intervals *set, struct dk_interval *interval);
/* Takes out @interval, which is in the set. */
void dk_intervals_remove(struct dk_intervals *set, struct dk_interval *interval);

/*
 * Calls @visit for each range that shares a byte with [first, last], in no order, until it returns false. The
 * cost grows with last - first divided by the smallest class in use, or with the number of ranges. @visit may
 * not change the set.
 */
void dk_intervals_touching(const struct dk_intervals *set, u64 first, u64 last,
                           bool (*visit)(struct dk_interval *interval, void *data), void *data);
/* The same for each range that starts at @start. */
void dk_intervals_starting(const struct dk_intervals *set, u64 start,
                           bool (*visit)(struct dk_interval *interval, void *data), void *data);
/* The same for every range. */
void dk_intervals_each(const struct dk_intervals *set,
                       bool (*visit)(struct dk_interval *interval, void *data), void *data);

/* The head of the chain where a range of @size bytes at @start hangs, among others. */
struct dk_interval *dk_intervals_chain(const struct dk_intervals *set, u64 start, u64 size);

#endif
