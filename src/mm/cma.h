/* SPDX-License-Identifier: MIT */
/*
 * Making contiguous memory areas.
 */
#ifndef DK_MM_CMA_H
#define DK_MM_CMA_H

#include "mm/memory.h"
#include <dmakit/cma.h>

/*
 * An area of the RAM [base, base + size), which the caller took through dk_memory_reserve() or
 * dk_pages_take() and which is the area's until dk_cma_destroy(). It is given out in units of 1 <<
 * @order_per_bit pages. Error pointers: -EINVAL @size 0, @base or @size no multiple of a unit, no RAM, or
 * @order_per_bit above MAX_PAGE_ORDER, or 1 << 32 units or more; -ENOMEM. @name is copied.
 */
struct cma *dk_cma_create(struct dk_memory *memory, phys_addr_t base, u64 size, unsigned order_per_bit,
                          const char *name);
/* Before the memory goes. NULL is fine. Runs that are still allocated become ordinary pages of nobody. */
void dk_cma_destroy(struct cma *cma);
/* Pages of @cma that are free, those that threads keep too. Takes the area's lock. */
u64 dk_cma_free_pages(struct cma *cma);

/* Takes the @count pages from @pfn on, a unit's first, as cma_alloc() does, after what threads keep was given
 * back. False: they are not free, or not all in @cma, or out of memory. */
bool dk_cma_take_at(struct cma *cma, u64 pfn, u64 count);
/* dk_cma_destroy() of an area that dk_cma_declare_in() made, and its memory goes back to the page allocator,
 * if that can have it again. */
void dk_cma_undeclare(struct cma *cma);

struct dk_memory *dk_cma_memory(const struct cma *cma);
unsigned dk_cma_order_per_bit(const struct cma *cma);

/* Into how many pieces a survey divides an area. */
#define DK_CMA_PICTURE 64

/* Pages, but where it says otherwise. */
struct dk_cma_survey {
    u64 pages, free, kept; /* @kept: those that threads kept until the survey, which gave them back */
    u64 largest_free, largest_allocation;
    u64 free_runs, allocations; /* how many */
    u64 movable, pinned;   /* in use, but lent or a handle's that is not pinned; of the lent, pinned ones */
    u64 largest_reachable; /* the longest run that a request can have when what is movable has moved */
    u64 used_in[DK_CMA_PICTURE]; /* of piece i, which starts at page i * pages / DK_CMA_PICTURE, rounded up */
    u64 movable_in[DK_CMA_PICTURE], pinned_in[DK_CMA_PICTURE]; /* of these */
};

/* What there is in @cma at one moment. Takes its locks; time by the number of units in use. */
void dk_cma_survey(struct cma *cma, struct dk_cma_survey *survey);

/* ---- The areas of a memory (cma-areas.c) ---- */

/* How many areas dk_cma_declare_in() lets a memory have. */
#define DK_CMA_AREAS 64u

/* cma_declare_contiguous() on @memory: the area, or an error pointer. It goes with the memory. */
struct cma *dk_cma_declare_in(struct dk_memory *memory, phys_addr_t base, phys_addr_t size, phys_addr_t limit,
                              phys_addr_t alignment, unsigned order_per_bit, bool fixed, const char *name);
/* The areas of @memory into @areas, in the order in which they were made; returns how many there are. */
size_t dk_cma_list(struct dk_memory *memory, struct cma **areas, size_t most);
/*
 * Whether @cma is called by the @length characters at @name: its whole name, or of a name that is a path the
 * last component, with its unit address or without.
 */
bool dk_cma_is_called(const struct cma *cma, const char *name, size_t length);
/* The first one called so, or NULL. */
struct cma *dk_cma_find(struct dk_memory *memory, const char *name, size_t length);
/* Adds what @cma has to *@info. */
void dk_cma_add_info(struct cma_info *info, struct cma *cma);
/* The area that @page is allocated from; NULL: from none. */
struct cma *dk_cma_of(struct dk_memory *memory, const struct page *page);
/* Destroys all that are left. */
void dk_cma_finish(struct dk_memory *memory);

#endif
