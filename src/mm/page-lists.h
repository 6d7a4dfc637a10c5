/* SPDX-License-Identifier: MIT */
/*
 * Page lists: for each thread the free blocks of small orders that it gave back last, so that taking and
 * giving in turns asks for no lock. A thread alone uses its lists, without a locked instruction.
 *
 * What lies in a list is free: it is counted so, and whoever finds no memory closes all lists first. Closing
 * empties them into the buddy allocator, and as long as they are closed everybody takes and gives there. So
 * memory runs out only when there is none.
 */
#ifndef DK_MM_PAGE_LISTS_H
#define DK_MM_PAGE_LISTS_H

#include "base/thread-number.h"
#include "mm/private.h"

#include <dmakit/barrier.h>

#define DK_LIST_ORDERS 4
/* A zone's lists: of unmovable and of movable blocks of each order. */
#define DK_LIST_CLASSES (DK_ZONE_COUNT * 2 * DK_LIST_ORDERS)
/* Pages in a list, at most. */
#define DK_LIST_PAGES 32

struct dk_page_list {
    unsigned count; /* written by the thread alone, or while the lists are closed; atomic access */
    struct page *blocks[DK_LIST_PAGES];
};

/* A thread's lists; on lines of their own. */
struct dk_page_list_set {
    char before[64];
    unsigned busy; /* the thread is inside; atomic access */
    struct dk_page_list lists[DK_LIST_CLASSES];
    char after[64];
};

struct dk_page_lists {
    unsigned closed; /* how many keep them closed; atomic access, written under pages_lock */
    bool fenced; /* this process has no membarrier(): threads that enter pay with a fence. Atomic access */
    /* By thread number, entered once; the last two, which stand for no number, stay NULL. Atomic access. */
    struct dk_page_list_set *sets[DK_THREAD_UNNUMBERED + 1];
};

/* NULL: out of memory. */
struct dk_page_lists *dk_page_lists_create(void);
/* What lies in them is lost with the memory. NULL is fine. */
void dk_page_lists_destroy(struct dk_page_lists *lists);

/* The capacity, in blocks, of a list of @class_index. */
static inline unsigned dk_list_capacity(unsigned class_index)
{
    return DK_LIST_PAGES >> (class_index % DK_LIST_ORDERS);
}

static inline unsigned dk_list_class(unsigned zone, enum migratetype type, unsigned order)
{
    return (zone * 2 + (type == MIGRATE_MOVABLE)) * DK_LIST_ORDERS + order;
}

/* This thread's lists; NULL: it has none, so far or for good. */
static inline struct dk_page_list_set *dk_page_lists_here(struct dk_page_lists *lists)
{
    return __atomic_load_n(&lists->sets[dk_thread_number_here], __ATOMIC_RELAXED);
}

/*
 * Enters this thread's lists. False: they are closed. Inside nothing may wait: who closes them waits for us,
 * with pages_lock held. Whoever has pages_lock may enter.
 *
 * Why a plain store is enough: we set busy, then look at closed; the closing thread sets closed, then calls
 * membarrier(), which is a full barrier in our thread too, then looks at busy. So one of us sees the other.
 */
static inline bool dk_page_lists_enter(const struct dk_page_lists *lists, struct dk_page_list_set *set)
{
    __atomic_store_n(&set->busy, 1, __ATOMIC_RELAXED);
    if (__builtin_expect(__atomic_load_n(&lists->fenced, __ATOMIC_RELAXED), 0))
        dk_fence(__ATOMIC_SEQ_CST);
    barrier();
    if (__builtin_expect(!__atomic_load_n(&lists->closed, __ATOMIC_ACQUIRE), 1))
        return true;
    __atomic_store_n(&set->busy, 0, __ATOMIC_RELEASE);
    return false;
}

static inline void dk_page_lists_leave(struct dk_page_list_set *set)
{
    __atomic_store_n(&set->busy, 0, __ATOMIC_RELEASE);
}

/* A block out of this thread's list of @class_index, or NULL. Any context; lock-free. */
static inline struct page *dk_page_lists_take(struct dk_page_lists *lists, unsigned class_index)
{
    struct dk_page_list_set *set = dk_page_lists_here(lists);
    struct page *page = NULL;
    unsigned count;

    if (!set || !dk_page_lists_enter(lists, set))
        return NULL;
    count = __atomic_load_n(&set->lists[class_index].count, __ATOMIC_RELAXED);
    if (count) {
        page = set->lists[class_index].blocks[count - 1];
        __atomic_store_n(&set->lists[class_index].count, count - 1, __ATOMIC_RELAXED);
    }
    dk_page_lists_leave(set);
    return page;
}

/* Puts @page, which is the caller's and marked DK_PAGE_LISTED, into this thread's list of @class_index.
 * False: it is full, closed, or there is none. Any context; lock-free. */
static inline bool dk_page_lists_give(struct dk_page_lists *lists, unsigned class_index, struct page *page)
{
    struct dk_page_list_set *set = dk_page_lists_here(lists);
    unsigned count;

    if (!set || !dk_page_lists_enter(lists, set))
        return false;
    count = __atomic_load_n(&set->lists[class_index].count, __ATOMIC_RELAXED);
    if (count < dk_list_capacity(class_index)) {
        set->lists[class_index].blocks[count] = page;
        __atomic_store_n(&set->lists[class_index].count, count + 1, __ATOMIC_RELAXED);
    }
    dk_page_lists_leave(set);
    return count < dk_list_capacity(class_index);
}

/* Makes this thread's lists at its first call, when it can have some. Not under pages_lock; asks the fault
 * point. */
void dk_page_lists_prepare(struct dk_page_lists *lists);

/* All of the following under pages_lock. */

/* Gives this thread's list of @class_index up to half of its capacity from @zone, the first of them on top;
 * leaves @keep pages in the zone. */
void dk_page_lists_refill(struct dk_memory *memory, struct dk_zone *zone, unsigned class_index, u64 keep);
/* Gives half of this thread's list back. */
void dk_page_lists_spill(struct dk_memory *memory, unsigned class_index);
/* Empties this thread's lists. */
void dk_page_lists_drain_here(struct dk_memory *memory);
/* Closes everybody's, and empties them. Closings count. */
void dk_page_lists_close(struct dk_memory *memory);
void dk_page_lists_open(struct dk_memory *memory);
/* Pages in them. Exact when no other thread is inside. */
u64 dk_page_lists_held(const struct dk_memory *memory);

#endif
