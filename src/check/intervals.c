/* SPDX-License-Identifier: MIT */
#include "check/intervals.h"

#include "base/alloc.h"
#include <errno.h>

#define FIRST_BITS 6

int dk_intervals_init(struct dk_intervals *set)
{
    *set = (struct dk_intervals){ .bits = FIRST_BITS };
    set->buckets = dk_allocate((size_t)1 << FIRST_BITS, sizeof(struct dk_interval *));
    return set->buckets ? 0 : -ENOMEM;
}

void dk_intervals_finish(struct dk_intervals *set)
{
    dk_release(set->buckets);
    set->buckets = NULL;
}

void dk_intervals_grow(struct dk_intervals *set)
{
    unsigned bits = set->bits + 1;
    struct dk_interval **buckets = dk_allocate((size_t)1 << bits, sizeof(struct dk_interval *));
    size_t i;

    if (!buckets)
        return;
    for (i = 0; i < (size_t)1 << set->bits; i++) {
        struct dk_interval *interval = set->buckets[i];

        while (interval) {
            struct dk_interval *next = interval->next;

            dk_interval_link(&buckets[dk_interval_bucket(bits, interval->size_class,
                                                         interval->start >> interval->size_class)],
                             interval);
            interval = next;
        }
    }
    dk_release(set->buckets);
    set->buckets = buckets;
    set->bits = bits;
}

/* Before a search: every range gets its place. */
static inline void settle(struct dk_intervals *set)
{
    struct dk_interval *interval;

    while ((interval = set->fresh)) {
        dk_intervals_remove(set, interval);
        dk_intervals_insert(set, interval);
    }
}

static void touching_of_all(const struct dk_intervals *set, u64 first, u64 last,
                            bool (*visit)(struct dk_interval *interval, void *data), void *data)
{
    struct dk_interval *interval;
    size_t i;

    for (i = 0; set->count && i < (size_t)1 << set->bits; i++) {
        for (interval = set->buckets[i]; interval; interval = interval->next) {
            if (interval->start <= last && interval->start + (interval->size - 1) >= first &&
                !visit(interval, data))
                return;
        }
    }
}

void dk_intervals_touching(struct dk_intervals *set, u64 first, u64 last,
                           bool (*visit)(struct dk_interval *interval, void *data), void *data)
{
    u64 classes;

    settle(set);
    classes = set->classes;
    /* Fewer ranges than places where they may be. */
    if ((last - first) >> DK_INTERVAL_CLASS_LOWEST > (set->count << 3) + 64) {
        touching_of_all(set, first, last, visit, data);
        return;
    }
    while (classes) {
        unsigned size_class = (unsigned)__builtin_ctzll(classes);
        u64 block = first >> size_class;
        u64 end = last >> size_class;

        classes &= classes - 1;
        for (block = block ? block - 1 : 0; block <= end; block++) {
            struct dk_interval *interval = set->buckets[dk_interval_bucket(set->bits, size_class, block)];

            for (; interval; interval = interval->next) {
                if (interval->size_class == size_class && interval->start >> size_class == block &&
                    interval->start <= last && interval->start + (interval->size - 1) >= first &&
                    !visit(interval, data))
                    return;
            }
        }
    }
}

void dk_intervals_starting(struct dk_intervals *set, u64 start,
                           bool (*visit)(struct dk_interval *interval, void *data), void *data)
{
    u64 classes;

    settle(set);
    classes = set->classes;
    while (classes) {
        unsigned size_class = (unsigned)__builtin_ctzll(classes);
        struct dk_interval *interval =
            set->buckets[dk_interval_bucket(set->bits, size_class, start >> size_class)];

        classes &= classes - 1;
        for (; interval; interval = interval->next) {
            if (interval->size_class == size_class && interval->start == start && !visit(interval, data))
                return;
        }
    }
}

void dk_intervals_each(struct dk_intervals *set, bool (*visit)(struct dk_interval *interval, void *data),
                       void *data)
{
    struct dk_interval *interval;
    size_t i;

    settle(set);
    for (i = 0; i < (size_t)1 << set->bits; i++) {
        for (interval = set->buckets[i]; interval; interval = interval->next) {
            if (!visit(interval, data))
                return;
        }
    }
}
