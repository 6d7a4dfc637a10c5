/* SPDX-License-Identifier: MIT */
/*
 * Movable pages of a driver's, and ranges of given pages (Documentation/mm/page_migration.rst, section
 * "Non-LRU page migration").
 *
 * An owner whose pages can be moved says so, page by page, and names operations. Whoever needs a given range
 * then moves the pages out of it, instead of failing.
 */
#ifndef DMAKIT_MIGRATE_H
#define DMAKIT_MIGRATE_H

#include <dmakit/page.h>

DK_BEGIN_DECLS

enum migrate_mode { MIGRATE_ASYNC, MIGRATE_SYNC_LIGHT, MIGRATE_SYNC };
typedef unsigned isolate_mode_t;

#define MIGRATEPAGE_SUCCESS 0

/*
 * What the owner of movable pages does. Each is called with the page locked (lock_page()) and referenced by
 * the caller, and with no lock of this library's held; it may sleep.
 */
struct movable_operations {
    /* Takes @page out of use, so that its owner leaves its contents and its lru field alone. False: it cannot
     * now, and the page stays where it is. */
    bool (*isolate_page)(struct page *page, isolate_mode_t mode);
    /*
     * Moves the contents of the isolated @old_page to @new_page, which is locked too, and puts that in its
     * place: with a reference of the owner's own (get_page()), and movable (__SetPageMovable()) if it is to
     * be moved again. The owner's reference to @old_page is dropped (put_page()), and @old_page is movable no
     * longer (__ClearPageMovable()). MIGRATEPAGE_SUCCESS: done; -EAGAIN: try again soon; another error: give
     * up, @old_page is as it was. @mode is MIGRATE_SYNC.
     */
    int (*migrate_page)(struct page *new_page, struct page *old_page, enum migrate_mode mode);
    /* The isolated @page stays: it is in use again. */
    void (*putback_page)(struct page *page);
};

/* A page that can be locked: a bit in it, owned by nobody in particular. lock_page() may sleep;
 * trylock_page() says whether it did. unlock_page() of what is not locked is refused with a log line. */
DK_PUBLIC void lock_page(struct page *page);
DK_PUBLIC bool trylock_page(struct page *page);
DK_PUBLIC void unlock_page(struct page *page);
DK_PUBLIC bool PageLocked(const struct page *page);

/*
 * Says that @page, an allocation of one page and the caller's, can be moved by @operations, which stay as
 * long as it can. Under lock_page(). Something else, and operations that are not complete, are refused with a
 * log line. Allocated with __GFP_MOVABLE it also lies where such pages are kept together.
 */
DK_PUBLIC void __SetPageMovable(struct page *page, const struct movable_operations *operations);
/* Ends that. Under lock_page(). */
DK_PUBLIC void __ClearPageMovable(struct page *page);
DK_PUBLIC bool __PageMovable(const struct page *page);
#define PageMovable(page) __PageMovable(page)
/* Whether somebody is about to move @page. */
DK_PUBLIC bool PageIsolated(const struct page *page);

/*
 * Allocates the pages [start, end) of the current machine, given by page frame number: isolates their page
 * blocks, moves movable pages out, and takes them. Each page is an allocation of its own, with one reference.
 *
 * @migratetype: MIGRATE_MOVABLE. MIGRATE_CMA is refused: a contiguous area's pages are had from cma_alloc().
 * @gfp: __GFP_ZERO, __GFP_NOWARN, and what pages that take the moved ones' place may cost; the zone does not
 * matter. __GFP_COMP is not supported.
 *
 * 0; -EINVAL: no current machine, no such memory, not of one zone, reserved in part, or flags or types that
 * are not those above;
 * -EBUSY: a page is in use and cannot be moved, has a reference more than its owner's, or somebody else is
 * isolating these page blocks: a log line names the page; -ENOMEM: no page for the contents of one, or no
 * memory for bookkeeping. Pages that were moved before an error stay moved; one that cannot be, and is seen
 * from the start, fails before anything changes. -EINTR is never returned: nothing interrupts. May sleep.
 */
DK_PUBLIC int alloc_contig_range(unsigned long start, unsigned long end, unsigned migratetype, gfp_t gfp);
/* Drops the reference of @count pages of the current machine from @pfn on that alloc_contig_range() gave.
 * Those with others stay, and those that are not allocated are refused, each with a log line for all. Any
 * context. */
DK_PUBLIC void free_contig_range(unsigned long pfn, unsigned long count);

/*
 * @count contiguous pages, aligned to @count if that is a power of two, from where @gfp leads; movable pages
 * are moved out of the way. As alloc_contig_range() otherwise. @nid and @nodemask are for machines with
 * several nodes. NULL: there is no such place, @count is 0 or more pages than a section (DK_SLOT_SIZE) has,
 * __GFP_COMP, or no current machine. May sleep. Given back with free_contig_pages().
 */
DK_PUBLIC struct page *alloc_contig_pages(unsigned long count, gfp_t gfp, int nid, const void *nodemask);
static inline void free_contig_pages(struct page *page, unsigned long count)
{
    free_contig_range(page_to_pfn(page), count);
}

DK_END_DECLS

#endif
