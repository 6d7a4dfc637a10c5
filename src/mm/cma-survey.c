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

/* Counts the pages [at, end) of the area, which are in use, in the pieces that they lie in. */
static void paint_used(struct dk_cma_survey *survey, u64 at, u64 end)
{
    while (at < end) {
        u64 piece = at * DK_CMA_PICTURE / survey->pages;
        u64 past = ((piece + 1) * survey->pages + DK_CMA_PICTURE - 1) / DK_CMA_PICTURE;

        past = past < end ? past : end;
        survey->used_in[piece] += past - at;
        at = past;
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
        paint_used(survey, at - cma->start, end - cma->start);
        at = more ? (start + count) << cma->order_per_bit : cma->end;
    }
    dk_cma_end_draining(cma);
    pthread_mutex_unlock(&cma->lock);
    pthread_mutex_unlock(&cma->drain_lock);
}
