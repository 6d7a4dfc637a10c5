/* SPDX-License-Identifier: MIT */
/*
 * Runs of a contiguous area that threads gave back lately and are likely to want again: for each thread a
 * small stack for each order. Taking and giving touch this thread's own stack alone: no lock, no locked
 * instruction, no line that another thread writes. They differ from magazines (base/magazine.h) in that any
 * thread can empty them all, which a request needs that must find whatever is free.
 *
 * Why emptying is safe: a thread writes @inside, then reads @phase, and only while that says DK_CMA_CACHING
 * does it touch its stack. Who empties writes @phase, asks the kernel for a barrier in all threads
 * (membarrier), then waits until each @inside is 0: a thread that had not seen the new phase is seen inside,
 * and any other stays out. Where the kernel has no such call both sides use full fences.
 */
#ifndef DK_MM_CMA_CACHE_H
#define DK_MM_CMA_CACHE_H

#include "base/thread-number.h"
#include <dmakit/barrier.h>
#include <dmakit/types.h>

#define DK_CMA_CACHE_ORDERS 9 /* 0 to 8 */
#define DK_CMA_CACHE_ITEMS 16 /* of an order, for each thread */

/* The phase's lower bits; above them it counts the changes, so that two equal readings mean no change. */
#define DK_CMA_CACHING 0u  /* stacks are in use */
#define DK_CMA_DRAINING 1u /* they are being emptied; nobody uses them */
#define DK_CMA_DRAINED 2u  /* they are empty, and stay so */
#define DK_CMA_PHASE 3u

struct dk_cma_stack {
    char before[64]; /* the thread writes all the time: no line is shared with what lies before or after */
    u32 inside;      /* atomic: its thread is taking or giving */
    u32 pages;       /* in it, all orders together; atomic, for those that only count */
    u8 counts[DK_CMA_CACHE_ORDERS];
    u64 items[DK_CMA_CACHE_ORDERS][DK_CMA_CACHE_ITEMS]; /* pfns */
    char after[64];
};

struct dk_cma_cache {
    u32 phase;   /* atomic; changed under the area's lock */
    u32 budget;  /* pages that a stack may hold; 0: there are no stacks, and the phase is DRAINED for good */
    bool fenced; /* no membarrier here */
    unsigned stacks; /* atomic: how many there are, or are being made */
    unsigned most_stacks;
    /* By thread number; the last two stand for no number, and have none. */
    struct dk_cma_stack *by_thread[DK_THREAD_UNNUMBERED + 1];
};

/* For an area of @pages pages: all stacks together hold an eighth of it at most. A small area has none. */
void dk_cma_cache_start(struct dk_cma_cache *cache, u64 pages);
/* The stacks must be empty, and nobody inside. */
void dk_cma_cache_finish(struct dk_cma_cache *cache);

/* Gives this thread a stack if it has none, stacks are in use, and there may be one more. With no lock held;
 * without memory for it nothing happens. */
void dk_cma_cache_make(struct dk_cma_cache *cache);

/* Sets the phase. Under the area's lock. */
void dk_cma_cache_enter_phase(struct dk_cma_cache *cache, u32 phase);
/*
 * After DK_CMA_DRAINING was set: returns when no thread is inside. False: the kernel refuses the barrier that
 * it promised, and other threads' stacks must not be touched.
 */
bool dk_cma_cache_wait(struct dk_cma_cache *cache);
/* A run out of @stack, of any order; false: it is empty. The caller is its thread, inside, or waited. */
bool dk_cma_stack_pop(struct dk_cma_stack *stack, unsigned *order, u64 *pfn);
/* Pages in all stacks. Exact when nobody is inside. */
u64 dk_cma_cache_pages(const struct dk_cma_cache *cache);

static inline u32 dk_cma_cache_phase(const struct dk_cma_cache *cache)
{
    return __atomic_load_n(&cache->phase, __ATOMIC_ACQUIRE);
}

static inline void dk_cma_cache_leave(struct dk_cma_stack *stack)
{
    __atomic_store_n(&stack->inside, 0, __ATOMIC_RELEASE);
}

/* This thread's stack, which is its own until dk_cma_cache_leave(). NULL: it has none, or the stacks are not
 * in use. */
static inline struct dk_cma_stack *dk_cma_cache_enter(struct dk_cma_cache *cache)
{
    struct dk_cma_stack *stack = __atomic_load_n(&cache->by_thread[dk_thread_number_here], __ATOMIC_ACQUIRE);
    u32 phase;

    if (!stack)
        return NULL;
#ifdef DK_THREAD_CHECKED
    /* The checker knows no fences. */
    __atomic_store_n(&stack->inside, 1, __ATOMIC_SEQ_CST);
    phase = __atomic_load_n(&cache->phase, __ATOMIC_SEQ_CST);
#else
    __atomic_store_n(&stack->inside, 1, __ATOMIC_RELAXED);
    if (__builtin_expect(cache->fenced, 0))
        dk_fence(__ATOMIC_SEQ_CST);
    barrier();
    phase = dk_cma_cache_phase(cache);
#endif
    if (__builtin_expect((phase & DK_CMA_PHASE) != DK_CMA_CACHING, 0)) {
        dk_cma_cache_leave(stack);
        return NULL;
    }
    return stack;
}

/* A run of 1 << @order pages out of @stack, which the caller entered; false: it has none. */
static inline bool dk_cma_stack_take(struct dk_cma_stack *stack, unsigned order, u64 *pfn)
{
    unsigned count = stack->counts[order];

    if (!count)
        return false;
    stack->counts[order] = (u8)(count - 1);
    __atomic_store_n(&stack->pages, stack->pages - (1u << order), __ATOMIC_RELAXED);
    *pfn = stack->items[order][count - 1];
    return true;
}

/* Puts it in. False: the stack holds enough. */
static inline bool dk_cma_stack_give(const struct dk_cma_cache *cache, struct dk_cma_stack *stack,
                                     unsigned order, u64 pfn)
{
    unsigned count = stack->counts[order];
    u32 pages = stack->pages + (1u << order);

    if (count == DK_CMA_CACHE_ITEMS || pages > cache->budget)
        return false;
    stack->items[order][count] = pfn;
    stack->counts[order] = (u8)(count + 1);
    __atomic_store_n(&stack->pages, pages, __ATOMIC_RELAXED);
    return true;
}

#endif
