/* SPDX-License-Identifier: MIT */
/*
 * What the files with rows about contiguous memory share: an area, and a bitmap of its pages, which is what
 * the area is measured beside.
 */
#ifndef DK_TOOLS_BENCH_CONTIG_H
#define DK_TOOLS_BENCH_CONTIG_H

#include "bench.h"

#include <pthread.h>

/* No so many pages in a row are free where a request is to find nothing. */
#define BENCH_SPACING 512u

struct bench_contig {
    struct dk_memory *memory;
    struct page *pages; /* the area's memory */
    size_t area_pages;
    struct cma *area;
    unsigned order; /* of what the rows of pairs take */
    pthread_mutex_t lock;
    u64 *bitmap; /* the peer's: a bit a page, set where it is taken; guarded by @lock */
    struct bench_runs *runs;
};

/* The peer's name. */
extern const char dk_bench_bitmap[];

/* An area of @pages pages, a power of two and a multiple of 64, in @state->contig. 0 or -errno;
 * dk_bench_contig_tear_down() in both cases. */
int dk_bench_contig_set_up(struct bench_state *state, size_t pages, unsigned order);
void dk_bench_contig_tear_down(struct bench_state *state);

/* Takes a run in both. False: there is none. */
bool dk_bench_occupy(struct bench_contig *contig, unsigned long count, unsigned align, struct page **page);
void dk_bench_vacate(struct bench_contig *contig, struct page *page, unsigned long count);
/* Takes one page in BENCH_SPACING in both. False: out of memory. */
bool dk_bench_space(struct bench_contig *contig);

/* The number of @page in the area. Pages of a large one do not follow each other as array elements. */
static inline size_t dk_bench_index(const struct bench_contig *contig, const struct page *page)
{
    return (size_t)((page_to_phys(page) - page_to_phys(contig->pages)) >> PAGE_SHIFT);
}

void dk_bench_set_busy(u64 *bitmap, size_t page, size_t count, bool busy);
/* The lowest of the area's pages where @count free ones begin at a multiple of @align, a power of two; the
 * number of its pages: nowhere. */
size_t dk_bench_first_fit(const struct bench_contig *contig, size_t count, size_t align);

/* The operation of the row contig-fail, and of its peer, which takes and gives back a run of the row's order.
 */
void dk_bench_contig_fail(struct bench_state *state, unsigned long count);
void dk_bench_bitmap_pair(struct bench_state *state, unsigned long count);

#endif
