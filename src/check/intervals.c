/* SPDX-License-Identifier: MIT */
#include "check/intervals.h"

#include "base/alloc.h"
#include <errno.h>

#define FIRST_BITS 6
/* Growing on past this would cost more memory than the chains cost time. */
#define LAST_BITS 24

static unsigned class_of(u64 size)
{
    unsigned size_class = size > 1 ? 64 - (unsigned)__builtin_clzll(size - 1) : 0;

    if (size_class < DK_INTERVAL_CLASS_LOWEST)
        return DK_INTERVAL_CLASS_LOWEST;
    return size_class < DK_INTERVAL_CLASS_COUNT ? size_class : DK_INTERVAL_CLASS_COUNT - 1;
}

static size_t bucket_of(unsigned bits, unsigned size_class, u64 block)
{
    return (size_t)((block * DK_INTERVAL_CLASS_COUNT + size_class) * 0x9e3779b97f4a7c15ull >> (64 - bits));
}

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

static void grow(struct dk_intervals *set)
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
            size_t to = bucket_of(bits, interval->size_class, interval->start >> interval->size_class);

            interval->next = buckets[to];
            buckets[to] = interval;
            interval = next;
        }
    }
    dk_release(set->buckets);
    set->buckets = buckets;
    set->bits = bits;
}

void dk_intervals_insert(struct dk_intervals *set, struct dk_interval *interval)
{
    unsigned size_class = class_of(interval->size);
    size_t bucket;

    if (set->count >= (size_t)1 << set->bits && set->bits < LAST_BITS)
        grow(set);
    bucket = bucket_of(set->bits, size_class, interval->start >> size_class);
    interval->size_class = size_class;
    interval->next = set->buckets[bucket];
    set->buckets[bucket] = interval;
    set->count++;
    if (!set->class_count[size_class]++)
        set->classes |= 1ull << size_class;
}

void dk_intervals_remove(struct dk_intervals *set, struct dk_interval *interval)
{
    unsigned size_class = interval->size_class;
    struct dk_interval **link =
        &set->buckets[bucket_of(set->bits, size_class, interval->start >> size_class)];

    while (*link && *link != interval)
        link = &(*link)->next;
    if (!*link)
        return;
    *link = interval->next;
    interval->next = NULL;
    set->count--;
    if (!--set->class_count[size_class])
        set->classes &= ~(1ull << size_class);
}

struct dk_interval *dk_intervals_chain(const struct dk_intervals *set, u64 start, u64 size)
{
    unsigned size_class = class_of(size);

    return set->buckets[bucket_of(set->bits, size_class, start >> size_class)];
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

void dk_intervals_touching(const struct dk_intervals *set, u64 first, u64 last,
                           bool (*visit)(struct dk_interval *interval, void *data), void *data)
{
    u64 classes = set->classes;

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
            struct dk_interval *interval = set->buckets[bucket_of(set->bits, size_class, block)];

            for (; interval; interval = interval->next) {
                if (interval->size_class == size_class && interval->start >> size_class == block &&
                    interval->start <= last && interval->start + (interval->size - 1) >= first &&
                    !visit(interval, data))
                    return;
            }
        }
    }
}

void dk_intervals_starting(const struct dk_intervals *set, u64 start,
                           bool (*visit)(struct dk_interval *interval, void *data), void *data)
{
    u64 classes = set->classes;

    while (classes) {
        unsigned size_class = (unsigned)__builtin_ctzll(classes);
        struct dk_interval *interval = set->buckets[bucket_of(set->bits, size_class, start >> size_class)];

        classes &= classes - 1;
        for (; interval; interval = interval->next) {
            if (interval->size_class == size_class && interval->start == start && !visit(interval, data))
                return;
        }
    }
}

void dk_intervals_each(const struct dk_intervals *set,
                       bool (*visit)(struct dk_interval *interval, void *data), void *data)
{
    struct dk_interval *interval;
    size_t i;

    for (i = 0; i < (size_t)1 << set->bits; i++) {
        for (interval = set->buckets[i]; interval; interval = interval->next) {
            if (!visit(interval, data))
                return;
        }
    }
}
