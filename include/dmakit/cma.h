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
struct device;
struct dk_machine;

/*
 * @count contiguous pages of @cma, their first page frame number a multiple of 1 << @align. The lowest place
 * that fits; with the machine's seed another one. Of an area of 16 MiB or more, without a seed, a run of 1 to
 * 256 pages, a power of two, may be one of those that this thread gave back lately. @no_warn: no log line on
 * failure. NULL: @cma NULL or a parent process's, count 0, out of memory, or no such run is free, and none
 * becomes so when what is movable in @cma has moved (movable.h, and the handles below). May sleep. The pages
 * hold what they held, or a pattern where they slept meanwhile (pasr.h). Each run has one reference; given
 * back with cma_release().
 *
 * A search takes as long in a large area that is broken up as in a small one, and one that fails is the
 * shortest. What threads keep of what they gave back counts as free, and is had by whoever needs it.
 */
DK_PUBLIC struct page *cma_alloc(struct cma *cma, unsigned long count, unsigned int align, bool no_warn);

/*
 * Gives back @count pages that cma_alloc() gave. False, and nothing happens: @cma or @pages NULL, pages
 * outside @cma. Pages of @cma that are not the start of an allocated run of @count are refused with a log
 * line and reported (cma-release-mismatch: another count; cma-release-not-allocated: released before, not
 * the first page, or a handle's); the call returns true, for they are the area's. Pages that get_page() holds
 * stay out of use until put_page(). Any context.
 */
DK_PUBLIC bool cma_release(struct cma *cma, const struct page *pages, unsigned long count);

/* The area's first physical address, its size in bytes, and its name, which lives as long as the area. */
DK_PUBLIC phys_addr_t cma_get_base(const struct cma *cma);
DK_PUBLIC unsigned long cma_get_size(const struct cma *cma);
DK_PUBLIC const char *cma_get_name(const struct cma *cma);

/*
 * Makes a contiguous area of @size bytes of the current machine and gives it in *@res_cma; it goes with the
 * machine. @fixed: exactly [@base, @base + @size); else anywhere from @base on (0: anywhere) and below @limit
 * (0: no limit), aligned to @alignment (a power of two; 0: a unit). Units are 1 << @order_per_bit pages.
 * @name is copied; NULL: "cmaN". 0, or -EINVAL: @res_cma NULL, @size 0 or no multiple of a unit, @alignment
 * no power of two, @order_per_bit above MAX_PAGE_ORDER, @fixed with a @base that is not aligned, [@base,
 * @base + @size) past @limit, past the end of memory or no RAM, or there is no current machine; -EBUSY: some
 * of the fixed range is in use or reserved; -ENOMEM: no such range is free, or out of memory; -ENOSPC: the
 * machine has 64 areas. May sleep. Unlike in Linux it may be called while the machine runs, and an area need
 * not be whole page blocks. (Documentation/core-api/mm-api.rst, the kernel-doc of
 * cma_declare_contiguous_nid().)
 */
DK_PUBLIC int cma_declare_contiguous(phys_addr_t base, phys_addr_t size, phys_addr_t limit,
                                     phys_addr_t alignment, unsigned int order_per_bit, bool fixed,
                                     const char *name, struct cma **res_cma);
/* The same; there is one node of memory. */
static inline int cma_declare_contiguous_nid(phys_addr_t base, phys_addr_t size, phys_addr_t limit,
                                             phys_addr_t alignment, unsigned int order_per_bit, bool fixed,
                                             const char *name, struct cma **res_cma, int nid)
{
    (void)nid;
    return cma_declare_contiguous(base, size, limit, alignment, order_per_bit, fixed, name, res_cma);
}

/* The same on @machine: the area, or an error pointer. -EINVAL also when @machine is NULL or its process
 * forked. */
DK_PUBLIC struct cma *dk_cma_declare(struct dk_machine *machine, phys_addr_t base, phys_addr_t size,
                                     phys_addr_t limit, phys_addr_t alignment, unsigned int order_per_bit,
                                     bool fixed, const char *name);

/* Calls @it for each area of the current machine, in the order in which they were made, until it returns
 * something else than 0: returns that, else 0. No lock is held in the calls. */
DK_PUBLIC int cma_for_each_area(int (*it)(struct cma *cma, void *data), void *data);

/* The area of the current machine called @name, or NULL: none, or no machine. An area of the board is called
 * by its node's path, by the path's last component, and by that without its unit address. */
DK_PUBLIC struct cma *dk_cma_get(const char *name);

/* What areas have, in bytes; of several together, but for the bounds and the largest. */
struct cma_info {
    phys_addr_t lower_bound; /* first address of the lowest area */
    phys_addr_t upper_bound; /* first address above the highest area */
    u64 total_size;
    u64 free_size;
    u64 largest_free;   /* the longest run that could be had */
    unsigned int count; /* of areas */
};

/*
 * Sums up the areas of the current machine that @areas names, separated by commas; NULL: all. 0; -EINVAL
 * @info NULL, or no machine; -ENOENT one of the names is no area's. What threads keep is given back first.
 * May sleep. (After cma_info_about() of the allocator's first versions.)
 */
DK_PUBLIC int cma_info_about(struct cma_info *info, const char *areas);

/* The same of the areas that serve @dev. 0; -EINVAL: an argument is NULL. */
DK_PUBLIC int cma_info(struct cma_info *info, struct device *dev);

/*
 * Tells in text what @cma has in use, movable and free, in how many runs and the longest of them, and shows
 * it in a line of 64 characters: '.' all free, 'm' nothing in use but what is movable, 'P' pinned movable
 * memory in it, '#' all in use, '+' some. As snprintf(): at most @size bytes, a NUL among them, and how many
 * it would be without it. 0: @cma NULL. May sleep.
 */
DK_PUBLIC int dk_cma_describe(struct cma *cma, char *buffer, size_t size);

/* ---- Handles ---- */

struct dk_cma_handle;

/*
 * @count contiguous pages of @cma, aligned to 1 << @align, that stay where they are while they are pinned
 * only: between pins they may be moved, contents and all, out of the way of a request or by
 * dk_cma_defragment(), but not while get_page() holds them. (After the pinning interface that the allocator's
 * first versions proposed.)
 *
 * Error pointers: -EINVAL @cma NULL or with units of several pages, @count 0; -ENOMEM no such run is free, or
 * out of memory. May sleep. The caller's; dk_cma_handle_free(), as long as the machine is there.
 */
DK_PUBLIC struct dk_cma_handle *dk_cma_handle_alloc(struct cma *cma, unsigned long count, unsigned int align);
/* Of a handle that is pinned it is refused with a log line. NULL and error pointers are fine. May sleep. */
DK_PUBLIC void dk_cma_handle_free(struct dk_cma_handle *handle);
/* Holds the pages where they are, and returns the first. Counts. NULL: @handle is NULL or an error pointer,
 * or in a child made by fork(). May sleep. */
DK_PUBLIC struct page *cma_pin(struct dk_cma_handle *handle);
/* One pin less; without the last the pages, and their addresses, are not the caller's. What is not pinned is
 * refused with a log line; NULL and error pointers are fine. Any context. */
DK_PUBLIC void cma_unpin(struct dk_cma_handle *handle);

/*
 * Moves the handles of @cma that are not pinned to lower places, each to the lowest there is for it, lowest
 * first, so that what is free is in longer runs. What threads keep is given back first. Returns how many
 * pages were moved; -EINVAL as above; -ENODEV in a child made by fork(). May sleep.
 */
DK_PUBLIC long dk_cma_defragment(struct cma *cma);

DK_END_DECLS

#endif
