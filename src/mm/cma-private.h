/* SPDX-License-Identifier: MIT */
/*
 * What the files of a contiguous area share: an index of free runs, and before it the stacks of runs that
 * threads gave back lately.
 *
 * A run's first page tells what the run is, by its flags: 0, free and in the index; DK_PAGE_KEPT, free and in
 * a stack; DK_PAGE_USED and DK_PAGE_CMA, allocated; with DK_PAGE_GIVEN too, released, but references are
 * left. A kept run is its stack's alone, and an allocated one is its owner's, so each changes it without a
 * lock; whoever takes a run from a stack looks whether it is still kept, for two threads that release one run
 * at the same moment may both have put it there.
 *
 * While the stacks are drained (and always where there are none) everything free is in the index, and a
 * request that it has no place for fails without a lock, unless pages are lent (cma-lend.h).
 */
#ifndef DK_MM_CMA_PRIVATE_H
#define DK_MM_CMA_PRIVATE_H

#include "mm/cma-cache.h"
#include "mm/cma-lend.h"
#include "mm/cma.h"
#include "mm/free-runs.h"
#include "mm/private.h"

#define CMA_USED (DK_PAGE_USED | DK_PAGE_CMA)

struct cma {
    struct dk_memory *memory;
    struct list_head link; /* in the memory's list; guarded by pages_lock */
    u64 start, end;        /* pfns */
    unsigned order_per_bit;
    struct page *pages; /* that of @start, when one section holds the whole area; else NULL */
    char *name;
    /* Of the dk_pages_take() behind it, which its pages forget meanwhile; 0: it was reserved. */
    u32 whole_run;
    pthread_mutex_t drain_lock; /* of those that empty the stacks; taken before the next */
    pthread_mutex_t lock;       /* guards the index, the phase and what follows */
    struct dk_free_runs *runs;  /* in units, numbered like pfns */
    unsigned changes;           /* since the last failure */
    bool draining;              /* somebody needs the stacks empty: they stay so */
    u64 draws;                  /* random places so far */
    struct dk_cma_cache cache;
    struct dk_cma_lending lending;
};

static inline u64 dk_cma_units(const struct cma *cma, u64 pages)
{
    return (pages + ((u64)1 << cma->order_per_bit) - 1) >> cma->order_per_bit;
}

/* The page of @pfn, its section mapped if need be. NULL: out of memory. */
static inline struct page *dk_cma_page_at(const struct cma *cma, u64 pfn)
{
    return cma->pages ? cma->pages + (pfn - cma->start) : dk_page_get(cma->memory, pfn);
}

static inline void dk_cma_mark_free(struct page *page)
{
    __atomic_store_n(&page->flags, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&page->run, 0, __ATOMIC_RELAXED);
}

/* Sets up the first page of an allocated run. */
static inline void dk_cma_mark_used(struct page *page, unsigned long count, u32 flags)
{
    page->order = 0;
    page->private_data = 0;
    __atomic_store_n(&page->run, (u32)count, __ATOMIC_RELAXED);
    __atomic_store_n(&page->count, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&page->flags, flags, __ATOMIC_RELEASE);
}

/* The free units [at, at + units) leave the index of what is free, or come back. Under the area's lock. */
static inline void dk_cma_take_free(struct cma *cma, u64 at, u64 units)
{
    dk_free_runs_take(cma->runs, at, units);
    dk_block_taken(cma->memory, at << cma->order_per_bit, (at + units) << cma->order_per_bit);
}

static inline void dk_cma_give_free(struct cma *cma, u64 at, u64 units)
{
    dk_free_runs_give(cma->runs, at, units);
    dk_block_freed(cma->memory, at << cma->order_per_bit, (at + units) << cma->order_per_bit);
}

/* The same where they leave what is reachable too: for or from a request. */
static inline void dk_cma_take_units(struct cma *cma, u64 at, u64 units)
{
    dk_cma_take_free(cma, at, units);
    if (cma->lending.reachable)
        dk_free_runs_take(cma->lending.reachable, at, units);
}

static inline void dk_cma_give_units(struct cma *cma, u64 at, u64 units)
{
    dk_cma_give_free(cma, at, units);
    if (cma->lending.reachable)
        dk_free_runs_give(cma->lending.reachable, at, units);
}

/* The area of @memory that holds @pfn; NULL: none does. Under pages_lock. */
struct cma *dk_cma_holding(const struct dk_memory *memory, u64 pfn);

/* A change of the index that was no failure. Under the area's lock. */
void dk_cma_note_change(struct cma *cma);

/*
 * Empties all stacks; they stay so until dk_cma_end_draining(). Under drain_lock; takes the area's lock.
 */
void dk_cma_drain(struct cma *cma);
/* Under both locks. */
void dk_cma_end_draining(struct cma *cma);
/* Empties @stack into the index. The caller is its thread and inside, or waited until nobody is. Takes the
 * area's lock. */
void dk_cma_empty_stack(struct cma *cma, struct dk_cma_stack *stack);

#endif
