/* SPDX-License-Identifier: MIT */
/*
 * Making an area, its end, and the list of a memory's areas.
 */
#include "base/alloc.h"
#include "mm/cma-private.h"

phys_addr_t cma_get_base(const struct cma *cma)
{
    return (phys_addr_t)cma->start << PAGE_SHIFT;
}

unsigned long cma_get_size(const struct cma *cma)
{
    return (unsigned long)((cma->end - cma->start) << PAGE_SHIFT);
}

const char *cma_get_name(const struct cma *cma)
{
    return cma->name;
}

struct dk_memory *dk_cma_memory(const struct cma *cma)
{
    return cma->memory;
}

unsigned dk_cma_order_per_bit(const struct cma *cma)
{
    return cma->order_per_bit;
}

static void release(struct cma *cma)
{
    if (!cma)
        return;
    dk_cma_handles_finish(cma);
    dk_cma_lending_finish(&cma->lending);
    dk_cma_cache_finish(&cma->cache);
    dk_free_runs_destroy(cma->runs);
    dk_release(cma->name);
    pthread_mutex_destroy(&cma->lock);
    pthread_mutex_destroy(&cma->drain_lock);
    dk_release(cma);
}

struct cma *dk_cma_create(struct dk_memory *memory, phys_addr_t base, u64 size, unsigned order_per_bit,
                          const char *name)
{
    struct page *first;
    struct cma *cma;
    u64 unit, units;

    if (order_per_bit > MAX_PAGE_ORDER)
        return ERR_PTR(-EINVAL);
    unit = (u64)PAGE_SIZE << order_per_bit;
    units = size / unit;
    if (!size || ((base | size) & (unit - 1)) || units > DK_FREE_RUNS_MOST ||
        !dk_memory_is_ram(memory, base, size))
        return ERR_PTR(-EINVAL);
    first = dk_page_get(memory, base >> PAGE_SHIFT);
    cma = first ? dk_allocate(1, sizeof(*cma)) : NULL;
    if (!cma)
        return ERR_PTR(-ENOMEM);
    pthread_mutex_init(&cma->drain_lock, NULL);
    pthread_mutex_init(&cma->lock, NULL);
    dk_cma_lending_start(&cma->lending);
    cma->memory = memory;
    cma->start = base >> PAGE_SHIFT;
    cma->end = (base + size) >> PAGE_SHIFT;
    cma->order_per_bit = order_per_bit;
    if (base >> DK_SLOT_SHIFT == (base + size - 1) >> DK_SLOT_SHIFT)
        cma->pages = first;
    cma->name = dk_copy_string(name ? name : "");
    cma->runs = dk_free_runs_create(cma->start >> order_per_bit, units);
    if (!cma->name || !cma->runs) {
        release(cma);
        return ERR_PTR(-ENOMEM);
    }
    dk_free_runs_give(cma->runs, cma->start >> order_per_bit, units);
    /* With a seed each request goes to a place of its own. */
    dk_cma_cache_start(&cma->cache, memory->seed ? 0 : cma->end - cma->start);
    pthread_mutex_lock(&memory->pages_lock);
    if (dk_page_flags(first) == DK_PAGE_USED) {
        cma->whole_run = first->run;
        dk_cma_mark_free(first);
    }
    list_add_tail(&cma->link, &memory->areas);
    dk_block_freed(memory, cma->start, cma->end);
    pthread_mutex_unlock(&memory->pages_lock);
    return cma;
}

/* Marks what is allocated in [pfn, end) as nobody's, so that a late put_page() does not look for the area. */
static void disown(const struct cma *cma, u64 pfn, u64 end)
{
    while (pfn < end) {
        struct page *page = dk_page_mapped(cma->memory, pfn);

        if (page && (dk_page_flags(page) & (DK_PAGE_CMA | DK_PAGE_LENT)))
            dk_cma_mark_free(page);
        pfn = page ? pfn + 1 : (pfn | (DK_SECTION_PAGES - 1)) + 1;
    }
}

/* What is in no free run is allocated. */
static void disown_all(struct cma *cma)
{
    u64 at = cma->start, start, count;

    while (at < cma->end && dk_free_runs_next(cma->runs, at >> cma->order_per_bit, &start, &count)) {
        disown(cma, at, start << cma->order_per_bit);
        at = (start + count) << cma->order_per_bit;
    }
    disown(cma, at, cma->end);
}

void dk_cma_destroy(struct cma *cma)
{
    struct dk_memory *memory;
    struct page *first;

    if (!cma)
        return;
    memory = cma->memory;
    if (!dk_memory_forked(memory)) {
        for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++) {
            if (cma->cache.by_thread[i])
                dk_cma_empty_stack(cma, cma->cache.by_thread[i]);
        }
        pthread_mutex_lock(&memory->pages_lock);
        disown_all(cma);
        list_del(&cma->link);
        dk_block_taken(memory, cma->start, cma->end);
        first = dk_page_mapped(memory, cma->start);
        if (first && cma->whole_run) {
            first->count = 1;
            __atomic_store_n(&first->run, cma->whole_run, __ATOMIC_RELAXED);
            __atomic_store_n(&first->flags, DK_PAGE_USED, __ATOMIC_RELEASE);
        }
        pthread_mutex_unlock(&memory->pages_lock);
    }
    release(cma);
}

void dk_cma_undeclare(struct cma *cma)
{
    struct dk_memory *memory = cma->memory;
    struct page *first = cma->whole_run ? dk_page_mapped(memory, cma->start) : NULL;
    u32 count = cma->whole_run;

    dk_cma_destroy(cma);
    if (first)
        dk_pages_give(memory, first, count);
}

void dk_cma_finish(struct dk_memory *memory)
{
    struct cma *cma, *next;

    list_for_each_entry_safe (cma, next, &memory->areas, link)
        dk_cma_destroy(cma);
}

/* ---- Those of a memory ---- */

size_t dk_cma_list(struct dk_memory *memory, struct cma **areas, size_t most)
{
    struct cma *cma;
    size_t count = 0;

    pthread_mutex_lock(&memory->pages_lock);
    list_for_each_entry (cma, &memory->areas, link) {
        if (count < most)
            areas[count] = cma;
        count++;
    }
    pthread_mutex_unlock(&memory->pages_lock);
    return count;
}

struct cma *dk_cma_holding(const struct dk_memory *memory, u64 pfn)
{
    struct cma *cma;

    list_for_each_entry (cma, &memory->areas, link) {
        if (pfn >= cma->start && pfn < cma->end)
            return cma;
    }
    return NULL;
}

struct page *dk_cma_head(struct dk_memory *memory, u64 pfn, u64 *head_pfn)
{
    const struct cma *area = dk_cma_holding(memory, pfn);

    for (u64 at = pfn; area && at >= area->start; at--) {
        struct page *page = dk_page_mapped(memory, at);

        if (page && dk_page_flags(page) & DK_PAGE_USED) {
            *head_pfn = at;
            return pfn - at < dk_page_run(page) ? page : NULL;
        }
        if (!at)
            break;
    }
    return NULL;
}

struct cma *dk_cma_of(struct dk_memory *memory, const struct page *page)
{
    struct dk_memory *owner;
    struct cma *cma;
    u64 pfn;

    if (!dk_page_find(page, &owner, &pfn) || owner != memory ||
        !(dk_page_flags(page) & (DK_PAGE_CMA | DK_PAGE_LENT)))
        return NULL;
    pthread_mutex_lock(&memory->pages_lock);
    cma = dk_cma_holding(memory, pfn);
    pthread_mutex_unlock(&memory->pages_lock);
    return cma;
}
