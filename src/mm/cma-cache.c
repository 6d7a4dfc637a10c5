/* SPDX-License-Identifier: MIT */
#include "mm/cma-cache.h"

#include "base/alloc.h"
#include "base/membarrier.h"
#include <sched.h>

/* A stack holds 1/128 of an area, 16 of them 1/8. Below 32 pages it is not worth having one. */
#define STACK_SHARE 128u
#define SHARE 8u
#define LEAST_BUDGET 32u
/* 32 MiB: more than that is no longer lately. */
#define MOST_BUDGET 8192u
/* Being inside takes some instructions; whoever is there after these was preempted. */
#define SPINS 100u

void dk_cma_cache_start(struct dk_cma_cache *cache, u64 pages)
{
    u64 budget = pages / STACK_SHARE < MOST_BUDGET ? pages / STACK_SHARE : MOST_BUDGET;
    u64 stacks;

    cache->phase = DK_CMA_DRAINED;
    if (budget < LEAST_BUDGET)
        return;
    stacks = pages / SHARE / budget;
    cache->budget = (u32)budget;
    cache->most_stacks = stacks < DK_THREAD_NUMBERS ? (unsigned)stacks : DK_THREAD_NUMBERS;
    cache->phase = DK_CMA_CACHING;
    cache->fenced = !dk_membarrier_register();
}

void dk_cma_cache_finish(struct dk_cma_cache *cache)
{
    for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++)
        dk_release(cache->by_thread[i]);
}

void dk_cma_cache_make(struct dk_cma_cache *cache)
{
    unsigned number = dk_thread_number();
    struct dk_cma_stack *stack;

    if ((dk_cma_cache_phase(cache) & DK_CMA_PHASE) != DK_CMA_CACHING || number >= DK_THREAD_NUMBERS ||
        cache->by_thread[number])
        return;
    /* Counted first, so that no two threads make the last one. */
    if (__atomic_fetch_add(&cache->stacks, 1, __ATOMIC_RELAXED) < cache->most_stacks) {
        stack = dk_allocate(1, sizeof(*stack));
        if (stack) {
            __atomic_store_n(&cache->by_thread[number], stack, __ATOMIC_RELEASE);
            return;
        }
    }
    __atomic_fetch_sub(&cache->stacks, 1, __ATOMIC_RELAXED);
}

void dk_cma_cache_enter_phase(struct dk_cma_cache *cache, u32 phase)
{
    u32 changes = (cache->phase & ~DK_CMA_PHASE) + DK_CMA_PHASE + 1;

    __atomic_store_n(&cache->phase, changes | phase, __ATOMIC_SEQ_CST);
}

bool dk_cma_cache_wait(struct dk_cma_cache *cache)
{
#ifndef DK_THREAD_CHECKED
    if (cache->fenced)
        dk_fence(__ATOMIC_SEQ_CST);
    else if (!dk_membarrier())
        return false;
#endif
    for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++) {
        struct dk_cma_stack *stack = __atomic_load_n(&cache->by_thread[i], __ATOMIC_ACQUIRE);
        unsigned spins = 0;

        while (stack && __atomic_load_n(&stack->inside, __ATOMIC_SEQ_CST)) {
            if (++spins > SPINS)
                sched_yield();
        }
    }
    return true;
}

bool dk_cma_stack_pop(struct dk_cma_stack *stack, unsigned *order, u64 *pfn)
{
    for (unsigned i = 0; i < DK_CMA_CACHE_ORDERS; i++) {
        *order = i;
        if (dk_cma_stack_take(stack, i, pfn))
            return true;
    }
    return false;
}

u64 dk_cma_cache_pages(const struct dk_cma_cache *cache)
{
    u64 pages = 0;

    for (unsigned i = 0; cache->budget && i < DK_THREAD_NUMBERS; i++) {
        const struct dk_cma_stack *stack = __atomic_load_n(&cache->by_thread[i], __ATOMIC_ACQUIRE);

        if (stack)
            pages += __atomic_load_n(&stack->pages, __ATOMIC_RELAXED);
    }
    return pages;
}
