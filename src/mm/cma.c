/* SPDX-License-Identifier: MIT */
/*
 * Taking runs out of an area and giving them back: from the stack of this thread, else from the index.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "mm/cma-private.h"

#include <stdio.h>

/*
 * A request that fails while threads keep runs makes them give all back, and they keep none until so many
 * changes of the index came without another failure. So what emptying costs, some microseconds, is spread
 * over as many changes.
 */
#define CHANGES_UNTIL_KEEPING 1024u

/* ---- Pages ---- */

/* find_page() where the area lies in several sections. */
static bool find_far_page(const struct cma *cma, const struct page *page, u64 *pfn)
{
    struct dk_memory *memory;

    return dk_page_find(page, &memory, pfn) && memory == cma->memory && *pfn >= cma->start && *pfn < cma->end;
}

/* Whether @page is one of the area's, and which. */
static inline bool find_page(const struct cma *cma, const struct page *page, u64 *pfn)
{
    size_t offset = (size_t)((uintptr_t)page - (uintptr_t)cma->pages), index = offset / sizeof(*page);

    if (!cma->pages)
        return find_far_page(cma, page, pfn);
    *pfn = cma->start + index;
    return *pfn < cma->end && index * sizeof(*page) == offset;
}

/* The order of a run of @count pages that threads may keep; DK_CMA_CACHE_ORDERS: of none. */
static inline unsigned kept_order(const struct cma *cma, unsigned long count)
{
    unsigned order;

    if (!count || count & (count - 1) || count >> DK_CMA_CACHE_ORDERS)
        return DK_CMA_CACHE_ORDERS;
    order = (unsigned)__builtin_ctzl(count);
    return order >= cma->order_per_bit ? order : DK_CMA_CACHE_ORDERS;
}

/* ---- The index ---- */

void dk_cma_note_change(struct cma *cma)
{
    if (cma->cache.budget && !cma->draining && (cma->cache.phase & DK_CMA_PHASE) == DK_CMA_DRAINED &&
        ++cma->changes >= CHANGES_UNTIL_KEEPING)
        dk_cma_cache_enter_phase(&cma->cache, DK_CMA_CACHING);
}

/* Under the area's lock. NULL: no place, or no memory for its struct pages. */
static struct page *take_indexed(struct cma *cma, unsigned long count, u64 units, unsigned order, u64 *pfn)
{
    u64 first = cma->start >> cma->order_per_bit, all = (cma->end - cma->start) >> cma->order_per_bit;
    u64 from = first, at;
    struct page *page;

    if (cma->memory->seed)
        from += dk_mix(cma->memory->seed ^ cma->start, ++cma->draws) % all;
    if (!dk_free_runs_find(cma->runs, units, order, from, first + all, &at) &&
        (from == first || !dk_free_runs_find(cma->runs, units, order, first, first + all, &at)))
        return NULL;
    *pfn = at << cma->order_per_bit;
    page = dk_cma_page_at(cma, *pfn);
    if (!page)
        return NULL;
    dk_cma_take_units(cma, at, units);
    dk_cma_mark_used(page, count, CMA_USED);
    return page;
}

/* Makes the run at @pfn, whose first page is free already, free in the index. */
static void give_indexed(struct cma *cma, u64 pfn, u64 count)
{
    pthread_mutex_lock(&cma->lock);
    dk_cma_give_units(cma, pfn >> cma->order_per_bit, dk_cma_units(cma, count));
    dk_cma_note_change(cma);
    pthread_mutex_unlock(&cma->lock);
}

/* ---- What threads keep ---- */

void dk_cma_empty_stack(struct cma *cma, struct dk_cma_stack *stack)
{
    unsigned order;
    u64 pfn;

    while (dk_cma_stack_pop(stack, &order, &pfn)) {
        struct page *page = dk_cma_page_at(cma, pfn);

        if (dk_page_flags(page) == DK_PAGE_KEPT && dk_page_run(page) == 1u << order) {
            dk_cma_mark_free(page);
            give_indexed(cma, pfn, 1u << order);
        }
    }
}

static inline struct page *take_kept(struct cma *cma, unsigned order, u64 *pfn)
{
    struct dk_cma_stack *stack = dk_cma_cache_enter(&cma->cache);
    struct page *page = NULL;

    if (!stack)
        return NULL;
    while (dk_cma_stack_take(stack, order, pfn)) {
        page = dk_cma_page_at(cma, *pfn);
        if (__builtin_expect(dk_page_flags(page) == DK_PAGE_KEPT, 1)) {
            dk_cma_mark_used(page, 1ul << order, CMA_USED);
            break;
        }
        page = NULL;
    }
    dk_cma_cache_leave(stack);
    return page;
}

/* Whether this thread keeps the run, whose last reference it has. */
static inline bool keep(struct cma *cma, struct page *page, unsigned order, u64 pfn)
{
    struct dk_cma_stack *stack = dk_cma_cache_enter(&cma->cache);
    bool kept;

    if (!stack)
        return false;
    kept = dk_cma_stack_give(&cma->cache, stack, order, pfn);
    /* Nobody else looks into the stack before this thread leaves it. */
    if (kept)
        __atomic_store_n(&page->flags, DK_PAGE_KEPT, __ATOMIC_RELEASE);
    dk_cma_cache_leave(stack);
    return kept;
}

/* Makes room in this thread's stack, or makes the stack: the next release is likely to want it. */
static void prepare_to_keep(struct cma *cma)
{
    struct dk_cma_stack *stack;

    if (!cma->cache.budget)
        return;
    stack = dk_cma_cache_enter(&cma->cache);
    if (stack) {
        dk_cma_empty_stack(cma, stack);
        dk_cma_cache_leave(stack);
    } else {
        dk_cma_cache_make(&cma->cache);
    }
}

/* ---- Allocation ---- */

/* Whether the index has no place, and nobody keeps anything: a moment at which the request had none. */
static bool is_known_to_fail(const struct cma *cma, u64 units, unsigned order)
{
    u32 phase = dk_cma_cache_phase(&cma->cache);

    return (phase & DK_CMA_PHASE) == DK_CMA_DRAINED && units > dk_free_runs_largest(cma->runs, order) &&
           phase == dk_cma_cache_phase(&cma->cache);
}

void dk_cma_drain(struct cma *cma)
{
    bool drained;

    pthread_mutex_lock(&cma->lock);
    cma->draining = true;
    drained = (cma->cache.phase & DK_CMA_PHASE) == DK_CMA_DRAINED;
    if (!drained)
        dk_cma_cache_enter_phase(&cma->cache, DK_CMA_DRAINING);
    pthread_mutex_unlock(&cma->lock);
    if (drained)
        return;

    drained = dk_cma_cache_wait(&cma->cache);
    for (unsigned i = 0; drained && i < DK_THREAD_NUMBERS; i++) {
        struct dk_cma_stack *stack = __atomic_load_n(&cma->cache.by_thread[i], __ATOMIC_ACQUIRE);

        if (stack)
            dk_cma_empty_stack(cma, stack);
    }
    if (!drained)
        dk_log(
            DK_LOG_WARNING,
            "cma_alloc: %s: the kernel refuses the barrier (membarrier) that takes back what other threads keep",
            cma->name);
    pthread_mutex_lock(&cma->lock);
    dk_cma_cache_enter_phase(&cma->cache, drained ? DK_CMA_DRAINED : DK_CMA_CACHING);
    pthread_mutex_unlock(&cma->lock);
}

void dk_cma_end_draining(struct cma *cma)
{
    cma->draining = false;
    cma->changes = 0;
}

/* With what all threads keep given back first. */
static struct page *take_after_draining(struct cma *cma, unsigned long count, u64 units, unsigned order,
                                        u64 *pfn)
{
    struct page *page;

    pthread_mutex_lock(&cma->drain_lock);
    dk_cma_drain(cma);
    pthread_mutex_lock(&cma->lock);
    page = take_indexed(cma, count, units, order, pfn);
    dk_cma_end_draining(cma);
    pthread_mutex_unlock(&cma->lock);
    pthread_mutex_unlock(&cma->drain_lock);
    return page;
}

/* As cma_alloc(), of what nobody keeps; *pfn is the first page's. */
static struct page *take(struct cma *cma, unsigned long count, unsigned align, u64 *pfn)
{
    unsigned order = align > cma->order_per_bit ? align - cma->order_per_bit : 0;
    u64 units = dk_cma_units(cma, count);
    struct page *page;
    bool drained;

    if (is_known_to_fail(cma, units, order))
        return NULL;
    pthread_mutex_lock(&cma->lock);
    page = take_indexed(cma, count, units, order, pfn);
    drained = (cma->cache.phase & DK_CMA_PHASE) == DK_CMA_DRAINED;
    if (page)
        dk_cma_note_change(cma);
    else if (drained)
        cma->changes = 0;
    pthread_mutex_unlock(&cma->lock);
    return page || drained ? page : take_after_draining(cma, count, units, order, pfn);
}

struct page *cma_alloc(struct cma *cma, unsigned long count, unsigned int align, bool no_warn)
{
    struct page *page = NULL;
    unsigned kept;
    u64 pfn;

    if (!cma || dk_memory_forked(cma->memory))
        return NULL;
    dk_might_sleep_gfp(cma->memory, GFP_KERNEL, "cma_alloc");
    if (!count)
        return NULL;
    if (align < DK_PHYS_BITS - PAGE_SHIFT && count <= cma->end - cma->start && !dk_fault_point()) {
        kept = kept_order(cma, count);
        if (kept < DK_CMA_CACHE_ORDERS && align <= kept)
            page = take_kept(cma, kept, &pfn);
        if (!page)
            page = take(cma, count, align, &pfn);
        if (!page && dk_cma_lends(cma))
            page = dk_cma_recall(cma, count, align, &pfn);
    }
    if (page)
        dk_memory_taken(cma->memory, (phys_addr_t)pfn << PAGE_SHIFT, (u64)count << PAGE_SHIFT);
    else if (!no_warn)
        dk_log(DK_LOG_WARNING, "cma_alloc: %s has no %lu contiguous pages of alignment order %u", cma->name,
               count, align);
    return page;
}

bool dk_cma_take_at(struct cma *cma, u64 pfn, u64 count)
{
    u64 units = dk_cma_units(cma, count), first = pfn >> cma->order_per_bit, at;
    struct page *page = NULL;

    if (!count || pfn < cma->start || pfn >= cma->end || count > cma->end - pfn)
        return false;
    pthread_mutex_lock(&cma->drain_lock);
    dk_cma_drain(cma);
    pthread_mutex_lock(&cma->lock);
    if (dk_free_runs_find(cma->runs, units, 0, first, first + units, &at))
        page = dk_cma_page_at(cma, pfn);
    if (page) {
        dk_cma_take_units(cma, first, units);
        dk_cma_mark_used(page, (unsigned long)count, CMA_USED);
    }
    dk_cma_end_draining(cma);
    pthread_mutex_unlock(&cma->lock);
    pthread_mutex_unlock(&cma->drain_lock);
    return page;
}

/* ---- Release ---- */

/* The last reference went. Under pages_lock. */
static void idle(struct cma *cma, struct page *page, u64 pfn)
{
    u32 count = dk_page_run(page);

    dk_cma_mark_free(page);
    give_indexed(cma, pfn, count);
}

void dk_cma_idle(struct dk_memory *memory, struct page *page, u64 pfn)
{
    struct cma *cma = dk_cma_holding(memory, pfn);

    /* An area that goes disowns its pages: they do not come here. */
    if (cma)
        idle(cma, page, pfn);
}

/* A release that fits no allocation of @cma. */
static void refuse(const struct cma *cma, const struct page *page, u64 pfn, unsigned long count)
{
    phys_addr_t phys = (phys_addr_t)pfn << PAGE_SHIFT;
    u32 flags = dk_page_flags(page);
    bool used = flags == CMA_USED;
    char what[256];
    struct dk_finding finding = {
        .class_name = used ? "cma-release-mismatch" : "cma-release-not-allocated",
        .call = "cma_release",
        .dma = (dma_addr_t)-1,
        .length = (u64)count << PAGE_SHIFT,
        .what = what,
        .advice = used                     ? "give the number of pages that cma_alloc() was asked for"
                  : flags & DK_PAGE_HANDLE ? "free the handle, with dk_cma_handle_free()"
                                           : "release each run once, with the page that cma_alloc() returned",
    };

    if (used)
        snprintf(what, sizeof(what), "%lu pages at 0x%llx of %s were released, where %u are allocated", count,
                 phys, cma->name, dk_page_run(page));
    else if (flags & DK_PAGE_HANDLE)
        snprintf(what, sizeof(what), "%lu pages at 0x%llx of %s were released, which are a handle's", count,
                 phys, cma->name);
    else
        snprintf(
            what, sizeof(what),
            "%lu pages at 0x%llx of %s were released, where no allocation starts: it was released before, or "
            "starts elsewhere",
            count, phys, cma->name);
    dk_log(DK_LOG_WARNING, "cma_release: %lu pages at 0x%llx are %s of %s", count, phys,
           flags & DK_PAGE_HANDLE ? "a handle's" : "not an allocation", cma->name);
    dk_hooks_finding(cma->memory->hooks, &finding);
}

bool cma_release(struct cma *cma, const struct page *pages, unsigned long count)
{
    struct dk_memory *memory;
    bool good, given = false;
    struct page *page;
    unsigned order;
    u64 pfn;

    if (!cma || !pages || dk_memory_forked(cma->memory) || !find_page(cma, pages, &pfn) ||
        count > cma->end - pfn)
        return false;
    memory = cma->memory;
    page = dk_cma_page_at(cma, pfn);
    if (!page)
        return false;
    order = kept_order(cma, count);
    if (order < DK_CMA_CACHE_ORDERS && dk_page_flags(page) == CMA_USED && dk_page_run(page) == count &&
        __atomic_load_n(&page->count, __ATOMIC_ACQUIRE) == 1 && !(pfn & (count - 1)) &&
        keep(cma, page, order, pfn))
        return true;

    pthread_mutex_lock(&memory->pages_lock);
    good = dk_page_flags(page) == CMA_USED && dk_page_run(page) == count;
    if (good && __atomic_sub_fetch(&page->count, 1, __ATOMIC_ACQ_REL)) {
        __atomic_store_n(&page->flags, CMA_USED | DK_PAGE_GIVEN, __ATOMIC_RELEASE);
    } else if (good) {
        idle(cma, page, pfn);
        given = true;
    }
    pthread_mutex_unlock(&memory->pages_lock);
    if (!good)
        refuse(cma, page, pfn, count);
    if (given && order < DK_CMA_CACHE_ORDERS)
        prepare_to_keep(cma);
    return true;
}
