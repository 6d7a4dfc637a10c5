/* SPDX-License-Identifier: MIT */
/*
 * How much memory the current machine has, and where it is: for drivers that size their caches, for tests,
 * and for whoever looks why an allocation fails.
 */
#ifndef DMAKIT_MEMORY_INFO_H
#define DMAKIT_MEMORY_INFO_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

struct sysinfo;

/* Free pages of all zones. 0 without a current machine. Any context. */
DK_PUBLIC unsigned long nr_free_pages(void);
/* Pages that could be allocated before anybody is asked to free some: those above the zones' high watermarks
 * and what they keep from each other. 0 without a current machine. Any context. */
DK_PUBLIC long si_mem_available(void);
/* Fills in totalram, freeram, totalhigh and freehigh, in units of mem_unit bytes, of <linux/sysinfo.h>; all
 * else is 0. All is 0 without a current machine. Any context. */
DK_PUBLIC void si_meminfo(struct sysinfo *info);

enum dk_memory_info {
    DK_MEMINFO,      /* as /proc/meminfo: totals */
    DK_ZONEINFO,     /* as /proc/zoneinfo: watermarks and counts */
    DK_BUDDYINFO,    /* as /proc/buddyinfo: free blocks by order, without those in threads' lists */
    DK_PAGETYPEINFO, /* as /proc/pagetypeinfo: the same by type, and page blocks by type */
};

/*
 * Writes what @which says into @text, at most @size bytes with the terminating 0, in the format of Linux's
 * file of that name (Documentation/filesystems/proc.rst), without what has no meaning here. Returns the bytes
 * that all of it needs without the 0; 0: no current machine. @text may be NULL if @size is 0. Takes the page
 * allocator's lock.
 */
DK_PUBLIC size_t dk_memory_info(enum dk_memory_info which, char *text, size_t size);

DK_END_DECLS

#endif
