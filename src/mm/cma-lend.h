/* SPDX-License-Identifier: MIT */
/*
 * Lending: while no device needs them, the free pages of a contiguous area serve movable memory, page by
 * page. A request that finds no place among what is free has pages moved out of the way. Areas whose units
 * are single pages lend; others do not.
 */
#ifndef DK_MM_CMA_LEND_H
#define DK_MM_CMA_LEND_H

#include <dmakit/gfp.h>
#include <dmakit/list.h>
#include <dmakit/types.h>
#include <pthread.h>

struct cma;
struct dk_free_runs;
struct dk_memory;
struct page;

struct dk_cma_lending {
    pthread_mutex_t lock; /* of those that move pages out, one at a time; taken before all others of mm */
    /* The rest is guarded by the area's lock. */
    struct dk_free_runs
        *reachable;           /* what is free, lent, or a handle's that is not pinned; NULL until needed */
    u64 lent;                 /* pages of the latter two; atomic, for those that only look */
    struct list_head handles; /* cma-handle.c's */
    u64 start, end;           /* pfns that are being emptied: what becomes free there is not given out */
};

void dk_cma_lending_start(struct dk_cma_lending *lending);
void dk_cma_lending_finish(struct dk_cma_lending *lending);

/*
 * A page of one of @memory's areas, where @gfp's zones allow it, an ordinary allocation marked DK_PAGE_LENT
 * for movable memory. Of the area that has the most free. NULL: none has any. Takes the page lock.
 */
struct page *dk_cma_lend(struct dk_memory *memory, gfp_t gfp);

/* How many dk_cma_lend() could give with @gfp now, one after the other. Takes the page lock. */
u64 dk_cma_lendable_pages(struct dk_memory *memory, gfp_t gfp);

/* Starts to tell what is reachable from what is free. False: out of memory. Under the area's lock. */
bool dk_cma_begin_lending(struct cma *cma);
/* Ends the window: @page's allocation is in it, or with NULL what is free there is free again. */
void dk_cma_close_window(struct cma *cma, struct page *page);

/* cma-handle.c: frees the handles that are left when an area goes. */
void dk_cma_handles_finish(struct cma *cma);
/* cma-handle.c: moves the handles out of the window. False: the one at *pfn, or that begins behind it, has no
 * other place. */
bool dk_cma_move_handles(struct cma *cma, u64 *pfn);
/* The first handle's run from @pfn on, of which a part lies below @end: [*start, *past), or else [@end,
 * @end). Under the area's lock. */
void dk_cma_next_handle(struct cma *cma, u64 pfn, u64 end, u64 *start, u64 *past);

/* Whether @cma ever lent something, or had a handle: then a request that fails asks for it. Lock-free. */
bool dk_cma_lends(const struct cma *cma);
/*
 * As cma_alloc(), of what is free when lent pages have moved: the lowest place first, and where a page stays
 * (it has a reference more than its owner's) the next one behind it; a log line names the page. NULL: there
 * is no such place, or none for what it holds. May sleep; no lock of this room is held.
 */
struct page *dk_cma_recall(struct cma *cma, unsigned long count, unsigned align, u64 *pfn);

#endif
