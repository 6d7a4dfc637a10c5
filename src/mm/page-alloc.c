/* SPDX-License-Identifier: MIT */
/*
 * Pages for everybody: flags and zones above the buddy allocator, references, and who may free what.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "mm/private.h"

#include <string.h>

static unsigned order_above(u64 count)
{
    unsigned order = 0;

    while (((u64)1 << order) < count)
        order++;
    return order;
}

void dk_pages_clear(struct dk_memory *memory, u64 pfn, u64 count)
{
    while (count) {
        u64 run = DK_SECTION_PAGES - (pfn & (DK_SECTION_PAGES - 1));
        char *start = dk_memory_cached(memory, (phys_addr_t)pfn << PAGE_SHIFT);

        if (run > count)
            run = count;
        if (start)
            memset(start, 0, (size_t)run << PAGE_SHIFT);
        pfn += run;
        count -= run;
    }
}

/* Whether @zone has @count pages for a request with @gfp: what must not wait for memory may use the reserve.
 */
static bool may_take(const struct dk_zone *zone, gfp_t gfp, u64 count)
{
    return zone->free >= count && (gfp & __GFP_HIGH || zone->free - count >= zone->reserve);
}

/* How a request with @gfp asks for pages [lowest, highest). */
static struct dk_request request_for(gfp_t gfp, u64 count, u64 align, u64 lowest, u64 highest)
{
    return (struct dk_request){ .count = count,
                                .align = align,
                                .lowest = lowest,
                                .highest = highest,
                                .type = gfp & __GFP_MOVABLE ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE };
}

/* Tries the zones that @gfp names, then those above them that have kernel addresses: the range alone decides.
 */
static struct page *take(struct dk_memory *memory, gfp_t gfp, u64 count, u64 align, u64 lowest, u64 highest,
                         bool all_zones)
{
    enum dk_zone_kind kinds[DK_ZONE_COUNT];
    unsigned zones = dk_zone_list(memory, gfp, kinds), i;
    struct dk_request request = request_for(gfp, count, align, lowest, highest);
    u64 pfn = 0;

    for (i = 0; i < zones; i++) {
        struct dk_zone *zone = &memory->zones[kinds[i]];

        if (may_take(zone, gfp, count) && dk_buddy_take(memory, zone, &request, &pfn))
            return dk_page_mapped(memory, pfn);
    }
    for (i = zones ? (unsigned)kinds[0] + 1 : DK_ZONE_COUNT; all_zones && i <= DK_ZONE_NORMAL; i++) {
        struct dk_zone *zone = &memory->zones[i];

        if (may_take(zone, gfp, count) && dk_buddy_take(memory, zone, &request, &pfn))
            return dk_page_mapped(memory, pfn);
    }
    return NULL;
}

static struct page *take_marked(struct dk_memory *memory, gfp_t gfp, u64 count, u64 align, phys_addr_t lowest,
                                phys_addr_t highest, unsigned flags, bool all_zones)
{
    u64 low = (lowest >> PAGE_SHIFT) + ((lowest & (PAGE_SIZE - 1)) != 0);
    u64 high = (highest >> PAGE_SHIFT) + ((highest & (PAGE_SIZE - 1)) == PAGE_SIZE - 1);
    struct page *page = NULL;

    if (!count || count > UINT32_MAX || !align || (align & (align - 1)) || dk_memory_forked(memory))
        return NULL;
    if (!dk_fault_point()) {
        pthread_mutex_lock(&memory->pages_lock);
        page = take(memory, gfp, count, align, low, high, all_zones);
        if (page) {
            page->flags = DK_PAGE_USED | flags;
            page->order = (u8)order_above(count);
            page->run = (u32)count;
            page->count = 1;
            page->type = gfp & __GFP_MOVABLE ? MIGRATE_MOVABLE : MIGRATE_UNMOVABLE;
            page->private_data = 0;
        }
        pthread_mutex_unlock(&memory->pages_lock);
    }
    if (!page && !(gfp & __GFP_NOWARN))
        dk_log(DK_LOG_WARNING, "no %llu contiguous pages aligned to %llu in 0x%llx-0x%llx (gfp 0x%x)", count,
               align, lowest, highest, gfp);
    if (page)
        dk_memory_taken(memory, page_to_phys(page), count << PAGE_SHIFT);
    if (page && (gfp & __GFP_ZERO))
        dk_pages_clear(memory, page_to_phys(page) >> PAGE_SHIFT, count);
    return page;
}

struct page *dk_pages_take_marked(struct dk_memory *memory, gfp_t gfp, size_t count, size_t align,
                                  phys_addr_t lowest, phys_addr_t highest, unsigned flags)
{
    return take_marked(memory, gfp, count, align, lowest, highest, flags, false);
}

struct page *dk_pages_take(struct dk_memory *memory, gfp_t gfp, size_t count, size_t align,
                           phys_addr_t lowest, phys_addr_t highest)
{
    return take_marked(memory, gfp, count, align, lowest, highest, 0, true);
}

struct page *dk_pages_allocate(struct dk_memory *memory, gfp_t gfp, unsigned order)
{
    size_t count;

    if (order > MAX_PAGE_ORDER)
        return NULL;
    count = (size_t)1 << order;
    return take_marked(memory, gfp, count, count, 0, (phys_addr_t)-1, 0, false);
}

/* ---- References and freeing ---- */

/*
 * The first page of the allocation that holds the page of @pfn; NULL: it is not allocated. Pages inside a
 * block find it because blocks are aligned to their size. Under pages_lock.
 */
static struct page *head_of(struct dk_memory *memory, u64 pfn, u64 *head_pfn)
{
    unsigned order;

    for (order = 0; order <= MAX_PAGE_ORDER; order++) {
        u64 start = pfn & ~(((u64)1 << order) - 1);
        struct page *page = dk_page_mapped(memory, start);

        if (page && (page->flags & DK_PAGE_USED) && pfn - start < page->run) {
            *head_pfn = start;
            return page;
        }
    }
    return NULL;
}

/* Drops one reference, and with the last one the allocation. Under pages_lock. */
static void drop(struct dk_memory *memory, struct page *page, u64 pfn)
{
    u64 run = page->run;

    if (--page->count)
        return;
    if (page->flags & DK_PAGE_CMA) {
        dk_cma_idle(memory, page, pfn);
        return;
    }
    page->flags = 0;
    page->run = 0;
    dk_buddy_free(memory, dk_zone_of(memory, pfn), pfn, pfn + run);
}

bool dk_pages_give_marked(struct dk_memory *memory, struct page *page, size_t count, unsigned flags,
                          const char *call)
{
    const char *wrong = NULL;
    struct dk_memory *owner;
    u64 pfn;

    if (!dk_page_find(page, &owner, &pfn) || owner != memory) {
        dk_log(DK_LOG_WARNING, "%s: %p is no page of this machine", call, (void *)page);
        return false;
    }
    pthread_mutex_lock(&memory->pages_lock);
    if (!(page->flags & DK_PAGE_USED))
        wrong = "is not allocated, or is not the first page of an allocation";
    else if ((page->flags & DK_PAGE_OWNED) != flags)
        wrong = "belongs to another allocator";
    else if (page->run != count)
        wrong = "was allocated with another number of pages";
    else
        drop(memory, page, pfn);
    pthread_mutex_unlock(&memory->pages_lock);
    if (wrong)
        dk_log(DK_LOG_WARNING, "%s: the page at 0x%llx %s", call, (phys_addr_t)pfn << PAGE_SHIFT, wrong);
    return !wrong;
}

void dk_pages_give(struct dk_memory *memory, struct page *page, size_t count)
{
    dk_pages_give_marked(memory, page, count, 0, "dk_pages_give");
}

void get_page(struct page *page)
{
    struct dk_memory *memory;
    struct page *head = NULL;
    u64 pfn;

    if (dk_page_find(page, &memory, &pfn)) {
        pthread_mutex_lock(&memory->pages_lock);
        head = head_of(memory, pfn, &pfn);
        if (head)
            head->count++;
        pthread_mutex_unlock(&memory->pages_lock);
    }
    if (!head)
        dk_log(DK_LOG_WARNING, "get_page: %p is not an allocated page", (void *)page);
}

void put_page(struct page *page)
{
    struct dk_memory *memory;
    struct page *head = NULL;
    bool owned = false;
    u64 pfn;

    if (dk_page_find(page, &memory, &pfn)) {
        pthread_mutex_lock(&memory->pages_lock);
        head = head_of(memory, pfn, &pfn);
        /* The owner's own reference is not the caller's to drop. */
        owned = head && head->count == 1 && (head->flags & DK_PAGE_OWNED) && !(head->flags & DK_PAGE_GIVEN);
        if (head && !owned)
            drop(memory, head, pfn);
        pthread_mutex_unlock(&memory->pages_lock);
    }
    if (!head || owned)
        dk_log(DK_LOG_WARNING, "put_page: %p %s", (void *)page,
               owned ? "has no reference but its allocator's" : "is not an allocated page");
}

/* ---- Linux's calls ---- */

struct page *alloc_pages(gfp_t gfp, unsigned order)
{
    struct dk_memory *memory = dk_current_for("alloc_pages");

    dk_might_sleep_gfp(memory, gfp, "alloc_pages");
    return memory ? dk_pages_allocate(memory, gfp, order) : NULL;
}

void __free_pages(struct page *page, unsigned order)
{
    struct dk_memory *memory;
    u64 pfn;

    if (!page)
        return;
    if (!dk_page_find(page, &memory, &pfn))
        dk_log(DK_LOG_WARNING, "__free_pages: %p is not a page", (void *)page);
    else if (order > MAX_PAGE_ORDER)
        dk_log(DK_LOG_WARNING, "__free_pages: order %u of the page at 0x%llx is too high", order,
               (phys_addr_t)pfn << PAGE_SHIFT);
    else
        dk_pages_give_marked(memory, page, (size_t)1 << order, 0, "__free_pages");
}

unsigned long __get_free_pages(gfp_t gfp, unsigned order)
{
    struct dk_memory *memory = dk_current_for("__get_free_pages");
    struct page *page;

    dk_might_sleep_gfp(memory, gfp, "__get_free_pages");
    page = memory ? dk_pages_allocate(memory, gfp & ~__GFP_HIGHMEM, order) : NULL;
    return page ? (unsigned long)(uintptr_t)page_address(page) : 0;
}

void free_pages(unsigned long address, unsigned order)
{
    struct page *page;

    if (!address)
        return;
    page = virt_to_page((const void *)(uintptr_t)address);
    if (!page || offset_in_page(address))
        dk_log(DK_LOG_WARNING, "free_pages: 0x%lx is not the address of a page", address);
    else
        __free_pages(page, order);
}

void *alloc_pages_exact(size_t size, gfp_t gfp)
{
    struct dk_memory *memory = dk_current_for("alloc_pages_exact");
    unsigned order = get_order(size);
    struct page *page;

    dk_might_sleep_gfp(memory, gfp, "alloc_pages_exact");
    if (!memory || !size || order > MAX_PAGE_ORDER)
        return NULL;
    page = dk_pages_take_marked(memory, gfp & ~__GFP_HIGHMEM, PFN_UP(size), (size_t)1 << order, 0,
                                (phys_addr_t)-1, 0);
    return page ? page_address(page) : NULL;
}

void free_pages_exact(void *address, size_t size)
{
    struct dk_memory *memory;
    struct page *page;
    u64 pfn;

    if (!address)
        return;
    page = virt_to_page(address);
    if (!page || offset_in_page(address) || !dk_page_find(page, &memory, &pfn))
        dk_log(DK_LOG_WARNING, "free_pages_exact: %p is not the address of a page", address);
    else
        dk_pages_give_marked(memory, page, PFN_UP(size), 0, "free_pages_exact");
}
