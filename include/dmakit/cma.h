/* SPDX-License-Identifier: MIT */
/*
 * Contiguous memory areas: memory set aside for long runs of pages.
 */
#ifndef DMAKIT_CMA_H
#define DMAKIT_CMA_H

#include <dmakit/page.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

struct cma;

/*
 * @count contiguous pages of @cma, their first page frame number a multiple of 1 << @align. The lowest place
 * that fits; with the machine's seed another one. @no_warn: no log line on failure. NULL: @cma NULL, count 0,
 * or no such run is free. May sleep. The pages hold what they held, or a pattern where
 * they slept meanwhile (pasr.h). Each run has one reference; given back with cma_release().
 */
DK_PUBLIC struct page *cma_alloc(struct cma *cma, unsigned long count, unsigned int align, bool no_warn);

/*
 * Gives back @count pages that cma_alloc() gave. False, and nothing happens: @cma or @pages NULL, pages
 * outside @cma. Pages of @cma that are not the start of an allocated run of @count are refused with a log
 * line; the call returns true, for they are the area's. Pages that get_page() holds stay out of use until
 * put_page(). Any context.
 */
DK_PUBLIC bool cma_release(struct cma *cma, const struct page *pages, unsigned long count);

/* The area's first physical address, its size in bytes, and its name, which lives as long as the area. */
DK_PUBLIC phys_addr_t cma_get_base(const struct cma *cma);
DK_PUBLIC unsigned long cma_get_size(const struct cma *cma);
DK_PUBLIC const char *cma_get_name(const struct cma *cma);

DK_END_DECLS

#endif
