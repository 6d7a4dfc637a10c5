/* SPDX-License-Identifier: MIT */
/*
 * Lending: while no device needs them, the free pages of a contiguous area serve movable memory, page by
 * page. A request that finds no place among what is free has pages moved out of the way. Areas whose units
 * are single pages lend; others do not.
 */
#ifndef DK_MM_CMA_LEND_H
#define DK_MM_CMA_LEND_H

#include <dmakit/gfp.h>
#include <dmakit/types.h>
#include <pthread.h>

struct cma;
struct dk_free_runs;
struct dk_memory;
struct page;

struct dk_cma_lending {
    pthread_mutex_t lock; /* of those that move pages out, one at a time; taken before all others of mm */
    /* The rest is guarded by the area's lock. */
    struct dk_free_runs *reachable; /* what is free or lent; NULL until the first page is lent */
    u64 lent;                       /* pages; atomic, for those that only look */
    u64 start, end; /* pfns that are being emptied: what becomes free there is not given out */
};

void dk_cma_lending_start(struct dk_cma_lending *lending);
void dk_cma_lending_finish(struct dk_cma_lending *lending);

/*
 * A page of one of @memory's areas, where @gfp's zones allow it, an ordinary allocation marked DK_PAGE_LENT
 * for movable memory. Of the area that has the most free. NULL: none has any. Takes the page lock.
 */
struct page *dk_cma_lend(struct dk_memory *memory, gfp_t gfp);

/* Whether @cma has lent anything. Lock-free. */
bool dk_cma_has_lent(const struct cma *cma);
/*
 * As cma_alloc(), of what is free when lent pages have moved: the lowest place first, and where a page stays
 * (it has a reference more than its owner's) the next one behind it; a log line names the page. NULL: there
 * is no such place, or none for what it holds. May sleep; no lock of this room is held.
 */
struct page *dk_cma_recall(struct cma *cma, unsigned long count, unsigned align, u64 *pfn);

#endif
