/* SPDX-License-Identifier: MIT */
/*
 * Pages: allocation and the ways between a page, its physical address and its kernel address.
 */
#ifndef DMAKIT_PAGE_H
#define DMAKIT_PAGE_H

#include <dmakit/gfp.h>
#include <dmakit/list.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

/* Orders run from 0 to this: the largest run of pages that alloc_pages() gives is 4 MiB. */
#define MAX_PAGE_ORDER 10
#define MAX_ORDER MAX_PAGE_ORDER

/*
 * What the pages of a page block (the largest order's block) are good for. Requests with __GFP_MOVABLE go to
 * movable blocks and others to unmovable ones, so that what stays for long is kept together; isolated ones
 * give nothing out. Linux's MIGRATE_RECLAIMABLE does not exist: nothing here would be of it.
 */
enum migratetype {
    MIGRATE_UNMOVABLE,
    MIGRATE_MOVABLE,
    MIGRATE_ISOLATE,
    MIGRATE_TYPES,
    /* Contiguous areas lend their memory themselves (cma.h): no page block has this type. */
    MIGRATE_CMA = MIGRATE_TYPES,
};

#define pageblock_order MAX_PAGE_ORDER
#define pageblock_nr_pages (1ul << pageblock_order)

struct movable_operations;

/*
 * One page frame's bookkeeping. It stands apart from the memory it describes: nothing is ever written into a
 * free block. All fields are the library's, guarded by the memory's lock unless said otherwise.
 */
struct page {
    struct list_head
        lru;    /* in a free list while free; the owner's while allocated (the slab's, a driver's) */
    void *slab; /* the slab this page belongs to, or NULL */
    unsigned long private_data; /* the owner's; page_private() */
    u32 flags;
    u32 count; /* references; atomic access */
    u8 order;  /* of the free or allocated block that starts here */
    u8 type;   /* enum migratetype: of the list it is free in, or what it was allocated as */
    u32 run;   /* pages of the allocation that starts here */
    const struct movable_operations *movable; /* what its owner moves it with (migrate.h), or NULL */
};

static inline unsigned long page_private(const struct page *page)
{
    return page->private_data;
}

static inline void set_page_private(struct page *page, unsigned long value)
{
    page->private_data = value;
}

/* The order of the smallest block that holds @size bytes. 0 for a size of 0 or up to one page. */
static inline unsigned get_order(size_t size)
{
    size_t pages = size ? (size - 1) >> PAGE_SHIFT : 0;

    return pages ? (unsigned)(sizeof(unsigned long) * 8) - (unsigned)__builtin_clzl(pages) : 0;
}

/*
 * 1 << @order contiguous pages, aligned to their size, of the current machine. NULL when there are none,
 * @order exceeds MAX_PAGE_ORDER, the flags contradict (GFP_DMA with GFP_HIGHMEM), or there is no current
 * machine. Sleeps only with __GFP_DIRECT_RECLAIM; without it any context. Not cleared without __GFP_ZERO.
 * Freed with __free_pages() of the same order.
 */
DK_PUBLIC struct page *alloc_pages(gfp_t gfp, unsigned order);
#define alloc_page(gfp) alloc_pages(gfp, 0)

/* A machine has one node, whatever @nid says. */
static inline struct page *alloc_pages_node(int nid, gfp_t gfp, unsigned order)
{
    (void)nid;
    return alloc_pages(gfp, order);
}
#define __alloc_pages_node(nid, gfp, order) alloc_pages_node(nid, gfp, order)

/*
 * Fills the elements of @pages[@count] that are NULL with pages, from the first on, until there are none.
 * Returns how many elements from the first on are filled then. As alloc_page() otherwise.
 */
DK_PUBLIC unsigned long alloc_pages_bulk(gfp_t gfp, unsigned long count, struct page **pages);
#define alloc_pages_bulk_array(gfp, count, pages) alloc_pages_bulk(gfp, count, pages)

/* Drops a reference; the last one frees the block. A bad page or one that is free is refused with a log line.
 * NULL is fine. Any context. */
DK_PUBLIC void __free_pages(struct page *page, unsigned order);
#define __free_page(page) __free_pages(page, 0)

/* As alloc_pages(), and returns the kernel address; 0 on failure. Never highmem. */
DK_PUBLIC unsigned long __get_free_pages(gfp_t gfp, unsigned order);
#define __get_free_page(gfp) __get_free_pages(gfp, 0)
#define get_zeroed_page(gfp) __get_free_pages((gfp) | __GFP_ZERO, 0)
/* 0 is fine. */
DK_PUBLIC void free_pages(unsigned long address, unsigned order);
#define free_page(address) free_pages(address, 0)

/* @size bytes in whole pages, the rest of the power of two given back. Never highmem. NULL: @size 0 or more
 * than the largest block, or as alloc_pages(); context as there. Freed with free_pages_exact(). */
DK_PUBLIC void *alloc_pages_exact(size_t size, gfp_t gfp);
/* Takes the same @size. NULL is fine; what is not such an allocation is refused with a log line. Any context.
 */
DK_PUBLIC void free_pages_exact(void *address, size_t size);

/* One reference more, and one less (the last frees the page, of the order it was allocated with). A page
 * inside an allocation stands for all of it. Any context. */
DK_PUBLIC void get_page(struct page *page);
DK_PUBLIC void put_page(struct page *page);
/* As get_page(), of a page that may be free by now: whether it was not. Any context. */
DK_PUBLIC bool get_page_unless_zero(struct page *page);
#define try_get_page(page) get_page_unless_zero(page)
/* References of the allocation that starts with @page or, if it is compound, holds it; 0 when it is free, or
 * inside another. Any context. */
DK_PUBLIC int page_count(const struct page *page);
#define page_ref_count(page) page_count(page)

/*
 * Makes an allocation of 1 << @order pages as many of one page each, with a reference each. Compound ones,
 * those with more than one reference, and what is not an allocation of this order, are refused with a log
 * line. Any context.
 */
DK_PUBLIC void split_page(struct page *page, unsigned order);

/* Compound pages are allocations of several pages with __GFP_COMP. The first page of the one that holds
 * @page, or @page itself. Any context. */
DK_PUBLIC struct page *compound_head(const struct page *page);
/* The order of the compound page that starts with @page; 0: none does. */
DK_PUBLIC unsigned compound_order(const struct page *page);
static inline unsigned long compound_nr(const struct page *page)
{
    return 1ul << compound_order(page);
}
static inline size_t page_size(const struct page *page)
{
    return PAGE_SIZE << compound_order(page);
}
/* Whether a compound page starts with @page; goes on with it; one of both. */
static inline bool PageHead(const struct page *page)
{
    return compound_order(page) != 0;
}
static inline bool PageTail(const struct page *page)
{
    return compound_head(page) != page;
}
static inline bool PageCompound(const struct page *page)
{
    return PageHead(page) || PageTail(page);
}

/* The physical address of @page. Any context; lock-free. (phys_addr_t)-1 for something that is not a page. */
DK_PUBLIC phys_addr_t page_to_phys(const struct page *page);
static inline unsigned long page_to_pfn(const struct page *page)
{
    return PFN_DOWN(page_to_phys(page));
}

/* The page at @phys of the current machine, or NULL where it has no RAM. */
DK_PUBLIC struct page *phys_to_page(phys_addr_t phys);
static inline struct page *pfn_to_page(unsigned long pfn)
{
    return phys_to_page(PFN_PHYS(pfn));
}
/* Whether the current machine has RAM at @pfn. */
DK_PUBLIC bool pfn_valid(unsigned long pfn);

/* The kernel address of @page; NULL for highmem and no-map memory. */
DK_PUBLIC void *page_address(const struct page *page);

/* Whether @address lies in a machine's linear map and RAM. Any context; lock-free. */
DK_PUBLIC bool virt_addr_valid(const void *address);
/* Linear map addresses only: (phys_addr_t)-1, and NULL, for any other. */
DK_PUBLIC phys_addr_t virt_to_phys(const volatile void *address);
DK_PUBLIC struct page *virt_to_page(const void *address);
/* The current machine's kernel address of @phys; NULL where it has no RAM, or none with a kernel address. */
DK_PUBLIC void *phys_to_virt(phys_addr_t phys);

/* Whether @page has no kernel address. */
DK_PUBLIC bool PageHighMem(const struct page *page);
/* An address for @page until kunmap; for pages without a kernel address too. NULL when address space ran out.
 */
DK_PUBLIC void *kmap_local_page(struct page *page);
/* Undoes kmap_local_page(), given any address in the page. NULL is fine; what was not mapped is refused. */
DK_PUBLIC void kunmap_local(const void *address);
#define kmap(page) kmap_local_page(page)
/* Takes what kmap() took: the page. */
DK_PUBLIC void kunmap(struct page *page);

DK_END_DECLS

#endif
