/* SPDX-License-Identifier: MIT */
/*
 * Movable memory: ordinary pointers to pages that the machine may move, contents and all, while threads use
 * them. It has the pages of contiguous memory areas while no device needs them, as a page cache and programs'
 * memory do under Linux (Documentation/mm/page_migration.rst).
 *
 * Where the kernel has write protection by userfaultfd for shared memory, a store into a page that is being
 * moved waits. Elsewhere the page is read-only for that moment and a handler of SIGSEGV waits: then the
 * program must not take that signal's action for itself (memory no longer moves if it does), and a system
 * call that writes into the page just then fails with EFAULT, which also happens where a process may use
 * userfaultfd for its own faults only (vm.unprivileged_userfaultfd).
 */
#ifndef DMAKIT_MOVABLE_H
#define DMAKIT_MOVABLE_H

#include <dmakit/page.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

struct dk_movable;

/*
 * @size bytes, rounded up to pages, of the current machine at consecutive addresses. With __GFP_ZERO cleared,
 * else they hold what they held. Highmem is used whether or not @gfp asks for it.
 *
 * Error pointers: -EINVAL @size 0, or zone flags that contradict; -ENOMEM memory, address space or mappings
 * (a process has some 65,000, and each run of pages costs one); -ENODEV no current machine. May sleep. The
 * caller's; dk_movable_destroy(). What is left goes with the machine.
 */
DK_PUBLIC struct dk_movable *dk_movable_create(size_t size, gfp_t gfp);
/* NULL and error pointers are fine. Pages that are still pinned are freed when their pins go (put_page()).
 * May sleep. */
DK_PUBLIC void dk_movable_destroy(struct dk_movable *movable);

/* Its first address, which never changes, and its size in bytes; NULL and 0 of NULL and error pointers. Any
 * context. */
DK_PUBLIC void *dk_movable_address(const struct dk_movable *movable);
DK_PUBLIC size_t dk_movable_size(const struct dk_movable *movable);

/*
 * Holds the pages of @length bytes at @offset where they are, for a device: @pages gets them, one for each
 * page that the bytes touch, to be mapped page by page (dma_map_page()) or as a list. A page pinned n times
 * stays until n pins are gone.
 *
 * 0; -EINVAL @movable NULL or an error pointer, @length 0, or a range that leaves the memory; -ENODEV in a
 * child made by fork(). May sleep.
 */
DK_PUBLIC int dk_movable_pin(struct dk_movable *movable, size_t offset, size_t length, struct page **pages);
/* Takes one pin away from each of these pages; ranges outside the memory, and pages without a pin, are
 * refused with a log line. May sleep. */
DK_PUBLIC void dk_movable_unpin(struct dk_movable *movable, size_t offset, size_t length);

/*
 * Moves the pages of @length bytes at @offset to others now, so that a test finds who kept a physical
 * address. Returns how many were moved, pinned ones being left; -EINVAL as dk_movable_pin(); -ENOMEM no other
 * page is free, or the host is out of memory or mappings, with some moved or none; -EBUSY none could be moved
 * because the program took SIGSEGV's action; -ENODEV in a child made by fork(). May sleep.
 */
DK_PUBLIC long dk_movable_migrate(struct dk_movable *movable, size_t offset, size_t length);

DK_END_DECLS

#endif
