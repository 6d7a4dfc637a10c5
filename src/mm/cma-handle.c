/* SPDX-License-Identifier: MIT */
/*
 * Handles: runs of a contiguous area that stay where they are while they are pinned only. Between pins they
 * are reachable for requests as lent pages are, and the defragmenter packs them.
 *
 * A handle that lies in a window is the mover's: pinning and freeing wait until the window is closed.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "mm/cma-private.h"

#include <string.h>

struct dk_cma_handle {
    struct cma *cma;
    struct list_head link; /* in the area's list; what follows is guarded by the area's lock, as that is */
    struct page *page;     /* the first one */
    u64 start;             /* its pfn */
    unsigned long count;
    unsigned align, pins;
};

static bool overlaps(const struct dk_cma_handle *handle, u64 start, u64 end)
{
    return handle->start < end && handle->start + handle->count > start;
}

/* Takes the area's lock when @handle lies in no window. */
static void lock_handle(struct dk_cma_handle *handle)
{
    struct cma *cma = handle->cma;

    for (;;) {
        pthread_mutex_lock(&cma->lock);
        if (!overlaps(handle, cma->lending.start, cma->lending.end))
            return;
        pthread_mutex_unlock(&cma->lock);
        /* Held for as long as there is a window. */
        pthread_mutex_lock(&cma->lending.lock);
        pthread_mutex_unlock(&cma->lending.lock);
    }
}

struct dk_cma_handle *dk_cma_handle_alloc(struct cma *cma, unsigned long count, unsigned int align)
{
    struct dk_cma_handle *handle;

    if (!cma || cma->order_per_bit || !count)
        return ERR_PTR(-EINVAL);
    handle = dk_allocate(1, sizeof(*handle));
    if (!handle)
        return ERR_PTR(-ENOMEM);
    handle->cma = cma;
    handle->count = count;
    handle->align = align;
    handle->page = cma_alloc(cma, count, align, true);
    if (!handle->page)
        goto release;
    handle->start = page_to_phys(handle->page) >> PAGE_SHIFT;
    pthread_mutex_lock(&cma->lock);
    if (!dk_cma_begin_lending(cma)) {
        pthread_mutex_unlock(&cma->lock);
        cma_release(cma, handle->page, count);
        goto release;
    }
    __atomic_fetch_or(&handle->page->flags, DK_PAGE_HANDLE, __ATOMIC_RELEASE);
    dk_free_runs_give(cma->lending.reachable, handle->start, count);
    list_add(&handle->link, &cma->lending.handles);
    pthread_mutex_unlock(&cma->lock);
    return handle;

release:
    dk_release(handle);
    return ERR_PTR(-ENOMEM);
}

void dk_cma_handle_free(struct dk_cma_handle *handle)
{
    struct cma *cma;
    bool pinned;

    if (IS_ERR_OR_NULL(handle))
        return;
    cma = handle->cma;
    if (dk_memory_forked(cma->memory))
        return;
    dk_might_sleep_gfp(cma->memory, GFP_KERNEL, "dk_cma_handle_free");
    lock_handle(handle);
    pinned = handle->pins;
    if (!pinned) {
        dk_free_runs_take(cma->lending.reachable, handle->start, handle->count);
        list_del(&handle->link);
        __atomic_fetch_and(&handle->page->flags, ~DK_PAGE_HANDLE, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&cma->lock);
    if (pinned) {
        dk_log(DK_LOG_WARNING, "dk_cma_handle_free: %s: the %lu pages at 0x%llx are pinned", cma->name,
               handle->count, (phys_addr_t)handle->start << PAGE_SHIFT);
        return;
    }
    cma_release(cma, handle->page, handle->count);
    dk_release(handle);
}

struct page *cma_pin(struct dk_cma_handle *handle)
{
    struct cma *cma;
    struct page *page;

    if (IS_ERR_OR_NULL(handle) || dk_memory_forked(handle->cma->memory))
        return NULL;
    cma = handle->cma;
    dk_might_sleep_gfp(cma->memory, GFP_KERNEL, "cma_pin");
    lock_handle(handle);
    if (!handle->pins++)
        dk_free_runs_take(cma->lending.reachable, handle->start, handle->count);
    page = handle->page;
    pthread_mutex_unlock(&cma->lock);
    return page;
}

void cma_unpin(struct dk_cma_handle *handle)
{
    struct cma *cma;
    bool pinned;

    if (IS_ERR_OR_NULL(handle) || dk_memory_forked(handle->cma->memory))
        return;
    cma = handle->cma;
    /* What is pinned lies in no window. */
    pthread_mutex_lock(&cma->lock);
    pinned = handle->pins;
    if (pinned && !--handle->pins)
        dk_free_runs_give(cma->lending.reachable, handle->start, handle->count);
    pthread_mutex_unlock(&cma->lock);
    if (!pinned)
        dk_log(DK_LOG_WARNING, "cma_unpin: %s: the %lu pages at 0x%llx are not pinned", cma->name,
               handle->count, (phys_addr_t)handle->start << PAGE_SHIFT);
}

void dk_cma_handles_finish(struct cma *cma)
{
    struct dk_cma_handle *handle, *following;

    list_for_each_entry_safe (handle, following, &cma->lending.handles, link)
        dk_release(handle);
}

/* ---- Moving ---- */

/* Copies whole pages, of which no two lie in both runs. False: one of them cannot be mapped. */
static bool copy(struct dk_memory *memory, u64 from, u64 to, u64 count)
{
    for (u64 i = 0; i < count; i++) {
        const char *source = dk_memory_cached(memory, (phys_addr_t)(from + i) << PAGE_SHIFT);
        char *target = dk_memory_cached(memory, (phys_addr_t)(to + i) << PAGE_SHIFT);

        if (!source || !target)
            return false;
        memcpy(target, source, PAGE_SIZE);
    }
    return true;
}

/* Makes [start, end), a part of a run that a handle left, free where the window does not have it. */
static void give_outside(struct cma *cma, u64 start, u64 end)
{
    u64 low = end < cma->lending.start ? end : cma->lending.start;
    u64 high = start > cma->lending.end ? start : cma->lending.end;

    if (start < low)
        dk_cma_give_free(cma, start, low - start);
    if (high < end)
        dk_cma_give_free(cma, high, end - high);
}

/*
 * Moves @handle, which lies in the window, to the lowest place that ends at or below @limit. False: there is
 * none, somebody has a reference to its pages, or the host is out of memory. Whatever is free is reachable,
 * and so is the handle: that index stays.
 */
static bool move_handle(struct cma *cma, struct dk_cma_handle *handle, u64 limit)
{
    struct page *page = NULL;
    u32 references = 1;
    bool copied;
    u64 to;

    pthread_mutex_lock(&cma->lock);
    if (dk_free_runs_find(cma->runs, handle->count, handle->align, cma->start, limit, &to))
        page = dk_cma_page_at(cma, to);
    /* Others may hold it too (get_page()); while there is no reference none can be added. */
    if (page && !__atomic_compare_exchange_n(&handle->page->count, &references, 0, false, __ATOMIC_ACQ_REL,
                                             __ATOMIC_RELAXED))
        page = NULL;
    if (page) {
        dk_cma_take_free(cma, to, handle->count);
        dk_cma_mark_used(page, handle->count, CMA_USED | DK_PAGE_HANDLE);
    }
    pthread_mutex_unlock(&cma->lock);
    if (!page)
        return false;
    dk_memory_taken(cma->memory, (phys_addr_t)to << PAGE_SHIFT, (u64)handle->count << PAGE_SHIFT);
    copied = copy(cma->memory, handle->start, to, handle->count);

    pthread_mutex_lock(&cma->lock);
    if (copied) {
        dk_cma_mark_free(handle->page);
        give_outside(cma, handle->start, handle->start + handle->count);
        handle->page = page;
        handle->start = to;
    } else {
        __atomic_store_n(&handle->page->count, 1, __ATOMIC_RELEASE);
        dk_cma_mark_free(page);
        dk_cma_give_free(cma, to, handle->count);
    }
    pthread_mutex_unlock(&cma->lock);
    return copied;
}

/* The lowest handle that reaches above @pfn; NULL: none does. Under the area's lock. */
static struct dk_cma_handle *handle_above(const struct cma *cma, u64 pfn)
{
    struct dk_cma_handle *handle, *lowest = NULL;

    list_for_each_entry (handle, &cma->lending.handles, link) {
        if (handle->start + handle->count > pfn && (!lowest || handle->start < lowest->start))
            lowest = handle;
    }
    return lowest;
}

void dk_cma_next_handle(struct cma *cma, u64 pfn, u64 end, u64 *start, u64 *past)
{
    const struct dk_cma_handle *handle = handle_above(cma, pfn);

    *start = end;
    *past = end;
    if (handle && handle->start < end) {
        *start = handle->start > pfn ? handle->start : pfn;
        *past = handle->start + handle->count;
    }
}

bool dk_cma_move_handles(struct cma *cma, u64 *pfn)
{
    for (*pfn = cma->lending.start; *pfn < cma->lending.end;) {
        struct dk_cma_handle *handle;

        pthread_mutex_lock(&cma->lock);
        handle = handle_above(cma, *pfn);
        /* One above the window may be freed as soon as the lock is given up. */
        if (handle && handle->start >= cma->lending.end)
            handle = NULL;
        if (handle && handle->start > *pfn)
            *pfn = handle->start;
        pthread_mutex_unlock(&cma->lock);
        if (!handle)
            return true;
        if (!move_handle(cma, handle, cma->end))
            return false;
    }
    return true;
}

/* Makes what threads keep free in the index. */
static void take_back(struct cma *cma)
{
    pthread_mutex_lock(&cma->drain_lock);
    dk_cma_drain(cma);
    pthread_mutex_lock(&cma->lock);
    dk_cma_end_draining(cma);
    pthread_mutex_unlock(&cma->lock);
    pthread_mutex_unlock(&cma->drain_lock);
}

long dk_cma_defragment(struct cma *cma)
{
    u64 pfn;
    long moved = 0;

    if (!cma || cma->order_per_bit)
        return -EINVAL;
    /* The parent goes on using the memory, and knows nothing of what is moved here. */
    if (dk_memory_forked(cma->memory))
        return -ENODEV;
    dk_might_sleep_gfp(cma->memory, GFP_KERNEL, "dk_cma_defragment");
    pthread_mutex_lock(&cma->lending.lock);
    take_back(cma);
    for (pfn = cma->start;;) {
        struct dk_cma_handle *handle;
        u64 start;

        pthread_mutex_lock(&cma->lock);
        handle = handle_above(cma, pfn);
        if (!handle) {
            pthread_mutex_unlock(&cma->lock);
            break;
        }
        start = handle->start;
        pfn = start + handle->count;
        if (!handle->pins) {
            cma->lending.start = start;
            cma->lending.end = pfn;
            dk_free_runs_take(cma->lending.reachable, start, handle->count);
        }
        pthread_mutex_unlock(&cma->lock);
        if (cma->lending.start == cma->lending.end)
            continue;
        if (move_handle(cma, handle, start))
            moved += (long)handle->count;
        dk_cma_close_window(cma, NULL);
    }
    pthread_mutex_unlock(&cma->lending.lock);
    return moved;
}
