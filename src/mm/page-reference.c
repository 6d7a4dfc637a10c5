/* SPDX-License-Identifier: MIT */
/*
 * References to pages, and freeing: who may give what back.
 */
#include "base/log.h"
#include "mm/page-lists.h"
#include "mm/slab.h"

struct page *dk_page_head(struct dk_memory *memory, u64 pfn, u64 *head_pfn)
{
    unsigned order;

    for (order = 0; order <= MAX_PAGE_ORDER; order++) {
        u64 start = pfn & ~(((u64)1 << order) - 1);
        struct page *page = dk_page_mapped(memory, start);

        if (page && (dk_page_flags(page) & DK_PAGE_USED) && pfn - start < dk_page_run(page)) {
            *head_pfn = start;
            return page;
        }
    }
    return dk_cma_head(memory, pfn, head_pfn);
}

/* One reference less. False: it was the last. */
static bool lower(struct page *page)
{
    return __atomic_sub_fetch(&page->count, 1, __ATOMIC_ACQ_REL);
}

/* One reference more, if there is one already. */
static bool raise(struct page *page)
{
    u32 count = __atomic_load_n(&page->count, __ATOMIC_RELAXED);

    do {
        if (!count)
            return false;
    } while (!__atomic_compare_exchange_n(&page->count, &count, count + 1, true, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED));
    return true;
}

/* Frees a block without references. Under pages_lock. */
static void free_block(struct dk_memory *memory, struct page *page, u64 pfn)
{
    u64 run = page->run;

    dk_page_set_flags(page, 0);
    page->run = 0;
    dk_buddy_free(memory, dk_zone_of(memory, pfn), pfn, pfn + run);
    if (memory->waiting)
        pthread_cond_broadcast(&memory->freed);
}

void dk_page_drop(struct dk_memory *memory, struct page *page, u64 pfn)
{
    if (lower(page))
        return;
    if (dk_page_flags(page) & DK_PAGE_CMA)
        dk_cma_idle(memory, page, pfn);
    else if (dk_page_flags(page) & DK_PAGE_LENT)
        dk_cma_lent_idle(memory, page, pfn);
    else
        free_block(memory, page, pfn);
}

/* ---- Giving back without the lock ---- */

/*
 * Frees a block of a small order through this thread's list, if it is marked @flags, has @count pages and no
 * second reference. The caller's reference is what keeps the fields still that are read here; who lowers the
 * count to 0 frees, so that of two who free a page one is told.
 */
static bool give_fast(struct dk_memory *memory, struct page *page, u64 pfn, size_t count, unsigned flags)
{
    struct dk_zone *zone = dk_zone_of(memory, pfn);
    unsigned class_index;
    u32 one = 1;

    if (memory->seed || dk_zone_tight(zone) || count >= 1u << DK_LIST_ORDERS || (count & (count - 1)) ||
        (dk_page_flags(page) & ~DK_PAGE_COMPOUND) != (DK_PAGE_USED | flags) ||
        !dk_page_lists_here(memory->lists) || __atomic_load_n(&page->run, __ATOMIC_RELAXED) != count)
        return false;
    if (!__atomic_compare_exchange_n(&page->count, &one, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED))
        return false;
    class_index = dk_list_class((unsigned)(zone - memory->zones), page->type,
                                (unsigned)__builtin_ctzl((unsigned long)count));
    dk_page_set_flags(page, DK_PAGE_LISTED);
    if (dk_page_lists_give(memory->lists, class_index, page))
        return true;
    pthread_mutex_lock(&memory->pages_lock);
    dk_page_lists_spill(memory, class_index);
    free_block(memory, page, pfn);
    pthread_mutex_unlock(&memory->pages_lock);
    return true;
}

bool dk_pages_give_found(struct dk_memory *memory, struct page *page, u64 pfn, size_t count, unsigned flags,
                         const char *call)
{
    const char *wrong = NULL;

    if (give_fast(memory, page, pfn, count, flags))
        return true;
    pthread_mutex_lock(&memory->pages_lock);
    if (!(dk_page_flags(page) & DK_PAGE_USED) || !__atomic_load_n(&page->count, __ATOMIC_RELAXED))
        wrong = "is not allocated, or is not the first page of an allocation";
    else if ((dk_page_flags(page) & DK_PAGE_OWNED) != flags)
        wrong = "belongs to another allocator";
    else if (page->run != count)
        wrong = "was allocated with another number of pages";
    else
        dk_page_drop(memory, page, pfn);
    pthread_mutex_unlock(&memory->pages_lock);
    if (wrong)
        dk_log(DK_LOG_WARNING, "%s: the page at 0x%llx %s", call, (phys_addr_t)pfn << PAGE_SHIFT, wrong);
    return !wrong;
}

bool dk_pages_give_marked(struct dk_memory *memory, struct page *page, size_t count, unsigned flags,
                          const char *call)
{
    struct dk_memory *owner;
    u64 pfn;

    if (!dk_page_find(page, &owner, &pfn) || owner != memory) {
        dk_log(DK_LOG_WARNING, "%s: %p is no page of this machine", call, (void *)page);
        return false;
    }
    return dk_pages_give_found(memory, page, pfn, count, flags, call);
}

void dk_pages_give(struct dk_memory *memory, struct page *page, size_t count)
{
    dk_pages_give_marked(memory, page, count, 0, "dk_pages_give");
}

/* ---- References ---- */

void get_page(struct page *page)
{
    struct dk_memory *memory;
    struct page *head = NULL;
    u64 pfn;

    if (dk_page_find(page, &memory, &pfn)) {
        pthread_mutex_lock(&memory->pages_lock);
        head = dk_page_head(memory, pfn, &pfn);
        if (head && !raise(head))
            head = NULL;
        pthread_mutex_unlock(&memory->pages_lock);
    }
    if (!head)
        dk_log(DK_LOG_WARNING, "get_page: %p is not an allocated page", (void *)page);
}

/* Tells that the last reference but an owner's is about to be dropped. */
static void tell_last(struct dk_memory *memory, u64 pfn)
{
    const struct page *head;
    u64 size = 0;

    if (!memory->hooks || !memory->hooks->memory_freed)
        return;
    pthread_mutex_lock(&memory->pages_lock);
    head = dk_page_head(memory, pfn, &pfn);
    if (head && __atomic_load_n(&head->count, __ATOMIC_RELAXED) == 1 &&
        !(dk_page_flags(head) & DK_PAGE_OWNED))
        size = (u64)dk_page_run(head) << PAGE_SHIFT;
    pthread_mutex_unlock(&memory->pages_lock);
    if (size)
        dk_memory_freed(memory, (phys_addr_t)pfn << PAGE_SHIFT, size, "put_page", NULL);
}

void put_page(struct page *page)
{
    struct dk_memory *memory;
    struct page *head = NULL;
    bool owned = false;
    u32 flags, count;
    u64 pfn;

    if (dk_page_find(page, &memory, &pfn)) {
        tell_last(memory, pfn);
        pthread_mutex_lock(&memory->pages_lock);
        head = dk_page_head(memory, pfn, &pfn);
        count = head ? __atomic_load_n(&head->count, __ATOMIC_RELAXED) : 0;
        flags = head ? dk_page_flags(head) : 0;
        /* The owner's own reference is not the caller's to drop. */
        owned = count == 1 && (flags & DK_PAGE_OWNED) && !(flags & DK_PAGE_GIVEN);
        if (!count)
            head = NULL;
        else if (!owned)
            dk_page_drop(memory, head, pfn);
        pthread_mutex_unlock(&memory->pages_lock);
    }
    if (!head || owned)
        dk_log(DK_LOG_WARNING, "put_page: %p %s", (void *)page,
               owned ? "has no reference but its allocator's" : "is not an allocated page");
}

bool get_page_unless_zero(struct page *page)
{
    struct dk_memory *memory;
    struct page *head;
    bool raised;
    u64 pfn;

    if (!dk_page_find(page, &memory, &pfn))
        return false;
    pthread_mutex_lock(&memory->pages_lock);
    head = dk_page_head(memory, pfn, &pfn);
    raised = head && raise(head);
    pthread_mutex_unlock(&memory->pages_lock);
    return raised;
}

/* Whether @pfn is in a free block of the page allocator, or in a thread's list. Under pages_lock. */
static bool is_free(struct dk_memory *memory, u64 pfn)
{
    unsigned order;

    for (order = 0; order <= MAX_PAGE_ORDER; order++) {
        u64 start = pfn & ~(((u64)1 << order) - 1);
        const struct page *page = dk_page_mapped(memory, start);

        if (page && (dk_page_flags(page) & (DK_PAGE_FREE | DK_PAGE_LISTED)) &&
            pfn - start < (u64)1 << __atomic_load_n(&page->order, __ATOMIC_RELAXED))
            return true;
    }
    /* Whole blocks are in no list. */
    return dk_buddy_first_used(memory, dk_zone_of(memory, pfn), pfn, pfn + 1) != pfn;
}

bool dk_memory_is_freed(struct dk_memory *memory, phys_addr_t phys)
{
    u64 pfn = phys >> PAGE_SHIFT;
    const struct page *page = dk_page_mapped(memory, pfn), *head;
    bool object, freed;

    if (!page)
        return false;
    freed = dk_object_is_freed(memory, phys, &object);
    if (object)
        return freed;
    if (__atomic_load_n(&page->count, __ATOMIC_RELAXED))
        return dk_page_flags(page) & DK_PAGE_HELD;
    pthread_mutex_lock(&memory->pages_lock);
    head = dk_page_head(memory, pfn, &pfn);
    freed = head ? dk_page_flags(head) & DK_PAGE_HELD : is_free(memory, pfn);
    pthread_mutex_unlock(&memory->pages_lock);
    return freed;
}

/* ---- Compound pages, and splitting ---- */

void dk_page_single(struct page *page, u8 type)
{
    page->order = 0;
    page->run = 1;
    page->type = type;
    page->private_data = 0;
    __atomic_store_n(&page->count, 1, __ATOMIC_RELAXED);
    dk_page_set_flags(page, DK_PAGE_USED);
}

/* The first page of the compound page that holds @page; @page itself when none does. */
static const struct page *compound_of(const struct page *page)
{
    const struct page *head = NULL;
    struct dk_memory *memory;
    u64 pfn;

    if (!dk_page_find(page, &memory, &pfn))
        return page;
    pthread_mutex_lock(&memory->pages_lock);
    head = dk_page_head(memory, pfn, &pfn);
    if (head && !(dk_page_flags(head) & DK_PAGE_COMPOUND))
        head = NULL;
    pthread_mutex_unlock(&memory->pages_lock);
    return head ? head : page;
}

struct page *compound_head(const struct page *page)
{
    return (struct page *)(uintptr_t)compound_of(page);
}

static bool is_used(const struct page *page, u32 flags)
{
    struct dk_memory *memory;
    u64 pfn;

    return dk_page_find(page, &memory, &pfn) && (dk_page_flags(page) & flags) == flags;
}

unsigned compound_order(const struct page *page)
{
    return is_used(page, DK_PAGE_USED | DK_PAGE_COMPOUND) ? page->order : 0;
}

int page_count(const struct page *page)
{
    page = compound_of(page);
    return is_used(page, DK_PAGE_USED) ? (int)__atomic_load_n(&page->count, __ATOMIC_ACQUIRE) : 0;
}

void split_page(struct page *page, unsigned order)
{
    const char *wrong = NULL;
    struct dk_memory *memory;
    u64 pfn, i;

    if (!dk_page_find(page, &memory, &pfn)) {
        dk_log(DK_LOG_WARNING, "split_page: %p is not a page", (void *)page);
        return;
    }
    pthread_mutex_lock(&memory->pages_lock);
    if (order > MAX_PAGE_ORDER || !(dk_page_flags(page) & DK_PAGE_USED) || page->run != (u32)1 << order)
        wrong = "is not an allocation of this order";
    else if (dk_page_flags(page) != DK_PAGE_USED)
        wrong = "is compound, movable, or belongs to another allocator";
    else if (__atomic_load_n(&page->count, __ATOMIC_RELAXED) != 1)
        wrong = "has other references";
    for (i = 0; !wrong && i < (u64)1 << order; i++)
        dk_page_single(&page[i], page->type);
    pthread_mutex_unlock(&memory->pages_lock);
    if (wrong)
        dk_log(DK_LOG_WARNING, "split_page: the page at 0x%llx %s", (phys_addr_t)pfn << PAGE_SHIFT, wrong);
}
