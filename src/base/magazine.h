/* SPDX-License-Identifier: MIT */
/*
 * Magazines: per-thread caches of an allocator's items, which are 64-bit values (an address, a slot's index),
 * in classes (sizes). Taking and giving touch this thread's own magazine alone: no lock, no locked
 * instruction, no shared line, and nothing is written into what an item stands for. Full and empty magazines
 * change hands through a depot.
 *
 * A thread has two magazines of each class, so that taking and giving in turns at the edge of one does not go
 * to the depot each time. What a thread holds when it ends goes to the next thread with its number.
 */
#ifndef DK_BASE_MAGAZINE_H
#define DK_BASE_MAGAZINE_H

#include "base/thread-number.h"

/* What stands behind: called with no lock of the magazines held, from the thread that ran out or over. */
struct dk_magazine_source {
    /* Up to @count items of @class_index into @items, of which the last is taken first; returns how many. */
    size_t (*refill)(void *owner, unsigned class_index, u64 *items, size_t count);
    /* Takes @count items back. Cannot fail. */
    void (*spill)(void *owner, unsigned class_index, const u64 *items, size_t count);
};

/*
 * A thread's two magazines of a class. The counts are written by the thread alone, and read by others
 * (dk_magazines_held), so they are accessed atomically; the rest is the thread's own.
 */
struct dk_magazine_pair {
    u64 *items;        /* the loaded magazine; NULL until the class is used */
    unsigned count;    /* of items in it */
    unsigned capacity; /* 0 until the class is used: the inline calls then take the long way */
    u64 *spare;        /* the other magazine */
    unsigned spare_count;
};

struct dk_magazine_depot;

struct dk_magazines {
    /*
     * By thread number: a pair a class, on lines of its own; NULL until the thread comes. Each is written by
     * its bearer alone, and the last two, which stand for no number, by nobody.
     */
    struct dk_magazine_pair *sets[DK_THREAD_UNNUMBERED + 1];
    struct dk_magazine_source source;
    void *owner;
    unsigned classes;
    struct dk_magazine_depot *depots; /* one a class */
};

/* @capacities[@classes]: how many items a magazine of each class holds; 0: the class is not cached. NULL: out
 * of memory. */
struct dk_magazines *dk_magazines_create(const struct dk_magazine_source *source, void *owner,
                                         const unsigned *capacities, unsigned classes);
/* Spills everything. No other thread may be inside. NULL is fine. */
void dk_magazines_destroy(struct dk_magazines *magazines);

/* What the inline calls below do when this thread's loaded magazine does not serve. */
bool dk_magazine_take_slow(struct dk_magazines *magazines, unsigned class_index, u64 *item);
bool dk_magazine_give_slow(struct dk_magazines *magazines, unsigned class_index, u64 item);

/* This thread's magazines, a pair a class, which stay while @magazines do; NULL: it has none so far. */
static inline struct dk_magazine_pair *dk_magazines_here(struct dk_magazines *magazines)
{
    return __atomic_load_n(&magazines->sets[dk_thread_number_here], __ATOMIC_RELAXED);
}

/* An item out of the loaded magazine of @pair, which is this thread's. False: it is empty. */
static inline bool dk_magazine_pair_take(struct dk_magazine_pair *pair, u64 *item)
{
    unsigned count = __atomic_load_n(&pair->count, __ATOMIC_RELAXED);

    if (__builtin_expect(!count, 0))
        return false;
    __atomic_store_n(&pair->count, count - 1, __ATOMIC_RELAXED);
    *item = pair->items[count - 1];
    return true;
}

/* Puts @item into the loaded magazine of @pair, which is this thread's: nobody else takes it from there.
 * False: it is full. */
static inline bool dk_magazine_pair_give(struct dk_magazine_pair *pair, u64 item)
{
    unsigned count = __atomic_load_n(&pair->count, __ATOMIC_RELAXED);

    if (__builtin_expect(count == pair->capacity, 0))
        return false;
    pair->items[count] = item;
    __atomic_store_n(&pair->count, count + 1, __ATOMIC_RELAXED);
    return true;
}

/*
 * An item of @class_index, which is below the number of classes. False: the class is not cached, the thread
 * has no number, no memory for a magazine, or the source has none.
 */
static inline bool dk_magazine_take(struct dk_magazines *magazines, unsigned class_index, u64 *item)
{
    struct dk_magazine_pair *pairs = dk_magazines_here(magazines);

    if (__builtin_expect(pairs && dk_magazine_pair_take(&pairs[class_index], item), 1))
        return true;
    return dk_magazine_take_slow(magazines, class_index, item);
}

/*
 * Gives @item of @class_index back. False: the class is not cached, the thread has no number, or no memory
 * for a magazine: the caller gives it to the source.
 */
static inline bool dk_magazine_give(struct dk_magazines *magazines, unsigned class_index, u64 item)
{
    struct dk_magazine_pair *pairs = dk_magazines_here(magazines);

    if (__builtin_expect(pairs && dk_magazine_pair_give(&pairs[class_index], item), 1))
        return true;
    return dk_magazine_give_slow(magazines, class_index, item);
}

/* Spills this thread's magazines and the depot: when the source ran out. Other threads keep theirs. */
void dk_magazines_drain(struct dk_magazines *magazines);

/* How many items of @class_index all magazines hold. Exact when no other thread is inside. */
u64 dk_magazines_held(const struct dk_magazines *magazines, unsigned class_index);

#endif
