/* SPDX-License-Identifier: MIT */
/*
 * Looking through an area: what is free, and what is allocated where.
 */
#include "mm/cma-private.h"

u64 dk_cma_free_pages(struct cma *cma)
{
    u64 units;

    pthread_mutex_lock(&cma->lock);
    units = dk_free_runs_units(cma->runs);
    pthread_mutex_unlock(&cma->lock);
    return (units << cma->order_per_bit) + dk_cma_cache_pages(&cma->cache);
}

/* The allocations that start in [pfn, end), which is in no free run. */
static void survey_used(const struct cma *cma, u64 pfn, u64 end, struct dk_cma_survey *survey)
{
    while (pfn < end) {
        const struct page *page = dk_page_mapped(cma->memory, pfn);
        u64 run = page && dk_page_flags(page) & DK_PAGE_CMA ? dk_page_run(page) : 0;

        if (run) {
            survey->allocations++;
            survey->largest_allocation = run > survey->largest_allocation ? run : survey->largest_allocation;
        }
        /* A unit may be larger than what was asked of it. */
        pfn += run ? dk_cma_units(cma, run) << cma->order_per_bit : (u64)1 << cma->order_per_bit;
    }
}

/* Counts the pages [at, end) of the area in the pieces that they lie in. */
static void paint(const struct dk_cma_survey *survey, u64 *pieces, u64 at, u64 end)
{
    while (at < end) {
        u64 piece = at * DK_CMA_PICTURE / survey->pages;
        u64 past = ((piece + 1) * survey->pages + DK_CMA_PICTURE - 1) / DK_CMA_PICTURE;

        past = past < end ? past : end;
        pieces[piece] += past - at;
        at = past;
    }
}

/* [start, end) is movable: lent, or a handle's. */
static void survey_movable(const struct cma *cma, u64 start, u64 end, struct dk_cma_survey *survey)
{
    survey->movable += end - start;
    paint(survey, survey->movable_in, start - cma->start, end - cma->start);
    for (; start < end; start++) {
        const struct page *page = dk_page_mapped(cma->memory, start);

        if (!page || !(dk_page_flags(page) & DK_PAGE_LENT) ||
            __atomic_load_n(&page->count, __ATOMIC_RELAXED) <= 1)
            continue;
        survey->pinned++;
        paint(survey, survey->pinned_in, start - cma->start, start + 1 - cma->start);
    }
}

/* What is reachable and not free. A free run lies in a reachable one. Areas that lend have units of one page.
 */
static void survey_reachable(const struct cma *cma, struct dk_cma_survey *survey)
{
    u64 at = cma->start, start, count, free, free_count;

    survey->largest_reachable = dk_free_runs_largest(cma->lending.reachable, 0);
    while (dk_free_runs_next(cma->lending.reachable, at, &start, &count)) {
        u64 end = start + count;

        for (at = start; at < end;) {
            if (!dk_free_runs_next(cma->runs, at, &free, &free_count) || free >= end) {
                free = end;
                free_count = 0;
            }
            survey_movable(cma, at, free, survey);
            at = free + free_count;
        }
    }
}

void dk_cma_survey(struct cma *cma, struct dk_cma_survey *survey)
{
    u64 at = cma->start, end, start, count;

    *survey = (struct dk_cma_survey){ .pages = cma->end - cma->start };
    pthread_mutex_lock(&cma->drain_lock);
    survey->kept = dk_cma_cache_pages(&cma->cache);
    dk_cma_drain(cma);
    pthread_mutex_lock(&cma->lock);
    survey->free = dk_free_runs_units(cma->runs) << cma->order_per_bit;
    survey->free_runs = dk_free_runs_count(cma->runs);
    survey->largest_free = dk_free_runs_largest(cma->runs, 0) << cma->order_per_bit;
    while (at < cma->end) {
        bool more = dk_free_runs_next(cma->runs, at >> cma->order_per_bit, &start, &count);

        end = more ? start << cma->order_per_bit : cma->end;
        survey_used(cma, at, end, survey);
        paint(survey, survey->used_in, at - cma->start, end - cma->start);
        at = more ? (start + count) << cma->order_per_bit : cma->end;
    }
    survey->largest_reachable = survey->largest_free;
    if (cma->lending.reachable)
        survey_reachable(cma, survey);
    dk_cma_end_draining(cma);
    pthread_mutex_unlock(&cma->lock);
    pthread_mutex_unlock(&cma->drain_lock);
}
