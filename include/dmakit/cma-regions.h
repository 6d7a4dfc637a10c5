/* SPDX-License-Identifier: MIT */
/*
 * Named regions of contiguous memory, each with an allocator of its own: what board code of the contiguous
 * memory allocator's first versions (2010 to 2011) registers. Newer code uses areas (cma.h), which
 * cma_alloc_from() serves as well.
 *
 * A region is an area whose places an allocator of the program's may choose. The library keeps account of
 * what is allocated where, so that an allocator that gives a place twice, or one outside, does no harm.
 */
#ifndef DMAKIT_CMA_REGIONS_H
#define DMAKIT_CMA_REGIONS_H

#include <dmakit/cma.h>
#include <dmakit/error.h>
#include <dmakit/list.h>

DK_BEGIN_DECLS

struct cma_allocator;

/* The caller's; it must live from cma_region_register() until cma_region_unregister() or the machine's end.
 */
struct cma_region {
    /* For the caller to fill in, and not to change while it is registered. */
    const char *name;           /* what cma_alloc_from() calls it; NULL: for those who have the pointer */
    phys_addr_t start;          /* 0: anywhere, and set to where it is */
    u64 size;                   /* bytes, whole pages */
    u64 alignment;              /* bytes, of the start; a power of two, 0: a page */
    const char *allocator_name; /* NULL: the library's, which chooses the lowest place that fits */
    void *private_data;         /* the allocator's */
    /* The library's. */
    struct cma *area;
    const struct cma_allocator *allocator; /* NULL until it is first needed, and for the library's own */
    struct list_head link;
};

/*
 * Chooses places in regions. The calls come one at a time, and must not register, allocate or free here.
 * Addresses and sizes are multiples of a page.
 */
struct cma_allocator {
    const char *name;
    /* Before the first allocation from @region: 0 or -errno, which that allocation returns. May be NULL. */
    int (*init)(struct cma_region *region);
    /* When a region that was set up goes. May be NULL. */
    void (*cleanup)(struct cma_region *region);
    /* A place for @size bytes aligned to @alignment, a power of two: 0 and *@start, or -errno. */
    int (*alloc)(struct cma_region *region, u64 size, u64 alignment, phys_addr_t *start);
    /* A place that alloc() gave is free. */
    void (*free)(struct cma_region *region, phys_addr_t start, u64 size);
    struct list_head link; /* the library's */
};

/*
 * Lets regions of the current machine name @allocator, before or after they are registered. It must live
 * until cma_allocator_unregister(), or the machine's end. 0; -EINVAL: NULL, or without name, alloc or free,
 * or there is no machine; -EBUSY: the name is taken. May sleep.
 */
DK_PUBLIC int cma_allocator_register(struct cma_allocator *allocator);
/* 0; -EBUSY a region was set up by it; -ENOENT it is not registered on the current machine; -EINVAL NULL. */
DK_PUBLIC int cma_allocator_unregister(struct cma_allocator *allocator);

/*
 * Takes memory of the current machine for @region. 0, or the errors of cma_declare_contiguous() (exactly at
 * @region->start, unless that is 0), and -EBUSY: it is registered, or its name is taken. May sleep.
 */
DK_PUBLIC int cma_region_register(struct cma_region *region);
/* Gives it back. 0; -EBUSY: some of it is allocated; -EINVAL: NULL, or not registered on the current
 * machine. May sleep. */
DK_PUBLIC int cma_region_unregister(struct cma_region *region);

/*
 * The physical address of @size bytes, rounded up to pages, aligned to @alignment (bytes, a power of two, 0:
 * a page), from @region; else an error for IS_ERR_VALUE(): -EINVAL @region NULL or not registered on the
 * current machine, @size 0, a bad alignment; -ENODEV its allocator is not registered; -ENOMEM no place;
 * -EFAULT, with a log line: the allocator gave a place that is not free; or what the allocator returned.
 * Freed with cma_free(). May sleep.
 */
DK_PUBLIC dma_addr_t cma_alloc_from_region(struct cma_region *region, size_t size, dma_addr_t alignment);
/* The same from the first that has room of the regions and areas of the current machine that @regions names,
 * separated by commas; the error of the last one. -ENOENT: one of the names is unknown, and nothing is tried
 * after it. */
DK_PUBLIC dma_addr_t cma_alloc_from(const char *regions, size_t size, dma_addr_t alignment);
/* Frees what the two calls above gave on the current machine. 0; -ENOENT: no allocation starts at @address.
 * Not in atomic context. */
DK_PUBLIC int cma_free(dma_addr_t address);

DK_END_DECLS

#endif
