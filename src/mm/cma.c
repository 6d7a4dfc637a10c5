/* SPDX-License-Identifier: MIT */
/*
 * Contiguous areas: an index of free runs, and before it the stacks of runs that threads gave back lately.
 *
 * A run's first page tells what the run is, by its flags: 0, free and in the index; DK_PAGE_KEPT, free and in
 * a stack; DK_PAGE_USED and DK_PAGE_CMA, allocated; with DK_PAGE_GIVEN too, released, but references are
 * left. A kept run is its stack's alone, and an allocated one is its owner's, so each changes it without a
 * lock; whoever takes a run from a stack looks whether it is still kept, for two threads that release one run
 * at the same moment may both have put it there.
 *
 * While the stacks are drained (and always where there are none) everything free is in the index, and a
 * request that it has no place for fails without a lock.
 */
#include "mm/cma.h"

#include "base/alloc.h"
#include "base/log.h"
#include "mm/cma-cache.h"
#include "mm/free-runs.h"
#include "mm/private.h"

#include <stdio.h>

/*
 * A request that fails while threads keep runs makes them give all back, and they keep none until so many
 * changes of the index came without another failure. So what emptying costs, some microseconds, is spread
 * over as many changes.
 */
#define CHANGES_UNTIL_KEEPING 1024u

#define CMA_USED (DK_PAGE_USED | DK_PAGE_CMA)

struct cma {
    struct dk_memory *memory;
    struct list_head link; /* in the memory's list; guarded by pages_lock */
    u64 start, end;        /* pfns */
    unsigned order_per_bit;
    struct page *pages; /* that of @start, when one section holds the whole area; else NULL */
    char *name;
    u32 whole_run; /* of the dk_pages_take() behind it, which its pages forget meanwhile; 0: it was reserved
                    */
    pthread_mutex_t drain_lock; /* of those that empty the stacks; taken before the next */
    pthread_mutex_t lock;       /* guards the index, the phase and what follows */
    struct dk_free_runs *runs;  /* in units, numbered like pfns */
    unsigned changes;           /* since the last failure */
    bool draining;              /* somebody needs the stacks empty: they stay so */
    u64 draws;                  /* random places so far */
    struct dk_cma_cache cache;
};

/* ---- Units and pages ---- */

static u64 units_of(const struct cma *cma, u64 pages)
{
    return (pages + ((u64)1 << cma->order_per_bit) - 1) >> cma->order_per_bit;
}

/* The page of @pfn, its section mapped if need be. NULL: out of memory. */
static struct page *page_at(const struct cma *cma, u64 pfn)
{
    return cma->pages ? cma->pages + (pfn - cma->start) : dk_page_get(cma->memory, pfn);
}

/* The same where the area lies in several sections. */
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

static void mark_used(struct page *page, unsigned long count)
{
    page->order = 0;
    page->private_data = 0;
    __atomic_store_n(&page->run, (u32)count, __ATOMIC_RELAXED);
    __atomic_store_n(&page->count, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&page->flags, CMA_USED, __ATOMIC_RELEASE);
}

static void mark_free(struct page *page)
{
    __atomic_store_n(&page->flags, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&page->run, 0, __ATOMIC_RELAXED);
}

/* ---- The index ---- */

/* A change that was no failure. Under the area's lock. */
static void note_change(struct cma *cma)
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
    page = page_at(cma, *pfn);
    if (!page)
        return NULL;
    dk_free_runs_take(cma->runs, at, units);
    mark_used(page, count);
    return page;
}

/* Makes the run at @pfn, whose first page is free already, free in the index. */
static void give_indexed(struct cma *cma, u64 pfn, u64 count)
{
    pthread_mutex_lock(&cma->lock);
    dk_free_runs_give(cma->runs, pfn >> cma->order_per_bit, units_of(cma, count));
    note_change(cma);
    pthread_mutex_unlock(&cma->lock);
}

/* ---- What threads keep ---- */

/* Empties @stack into the index. The caller is its thread and inside, or waited until nobody is. */
static void empty_stack(struct cma *cma, struct dk_cma_stack *stack)
{
    unsigned order;
    u64 pfn;

    while (dk_cma_stack_pop(stack, &order, &pfn)) {
        struct page *page = page_at(cma, pfn);

        if (dk_page_flags(page) == DK_PAGE_KEPT && dk_page_run(page) == 1u << order) {
            mark_free(page);
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
        page = page_at(cma, *pfn);
        if (__builtin_expect(dk_page_flags(page) == DK_PAGE_KEPT, 1)) {
            mark_used(page, 1ul << order);
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
        empty_stack(cma, stack);
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

/* Empties all stacks; they stay so until end_draining(). Under drain_lock. */
static void drain(struct cma *cma)
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
            empty_stack(cma, stack);
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

static void end_draining(struct cma *cma)
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
    drain(cma);
    pthread_mutex_lock(&cma->lock);
    page = take_indexed(cma, count, units, order, pfn);
    end_draining(cma);
    pthread_mutex_unlock(&cma->lock);
    pthread_mutex_unlock(&cma->drain_lock);
    return page;
}

/* As cma_alloc(), of what nobody keeps; *pfn is the first page's. */
static struct page *take(struct cma *cma, unsigned long count, unsigned align, u64 *pfn)
{
    unsigned order = align > cma->order_per_bit ? align - cma->order_per_bit : 0;
    u64 units = units_of(cma, count);
    struct page *page;
    bool drained;

    if (is_known_to_fail(cma, units, order))
        return NULL;
    pthread_mutex_lock(&cma->lock);
    page = take_indexed(cma, count, units, order, pfn);
    drained = (cma->cache.phase & DK_CMA_PHASE) == DK_CMA_DRAINED;
    if (page)
        note_change(cma);
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
    u64 units = units_of(cma, count), first = pfn >> cma->order_per_bit, at;
    struct page *page = NULL;

    if (!count || pfn < cma->start || pfn >= cma->end || count > cma->end - pfn)
        return false;
    pthread_mutex_lock(&cma->drain_lock);
    drain(cma);
    pthread_mutex_lock(&cma->lock);
    if (dk_free_runs_find(cma->runs, units, 0, first, first + units, &at))
        page = page_at(cma, pfn);
    if (page) {
        dk_free_runs_take(cma->runs, first, units);
        mark_used(page, (unsigned long)count);
    }
    end_draining(cma);
    pthread_mutex_unlock(&cma->lock);
    pthread_mutex_unlock(&cma->drain_lock);
    return page;
}

/* ---- Release ---- */

/* The last reference went. Under pages_lock. */
static void idle(struct cma *cma, struct page *page, u64 pfn)
{
    u32 count = dk_page_run(page);

    mark_free(page);
    give_indexed(cma, pfn, count);
}

void dk_cma_idle(struct dk_memory *memory, struct page *page, u64 pfn)
{
    struct cma *cma;

    list_for_each_entry (cma, &memory->areas, link) {
        if (pfn >= cma->start && pfn < cma->end) {
            idle(cma, page, pfn);
            return;
        }
    }
    mark_free(page);
}

/* A release that fits no allocation of @cma. */
static void refuse(const struct cma *cma, const struct page *page, u64 pfn, unsigned long count)
{
    phys_addr_t phys = (phys_addr_t)pfn << PAGE_SHIFT;
    bool used = dk_page_flags(page) == CMA_USED;
    char what[256];
    struct dk_finding finding = {
        .class_name = used ? "cma-release-mismatch" : "cma-release-not-allocated",
        .call = "cma_release",
        .dma = (dma_addr_t)-1,
        .length = (u64)count << PAGE_SHIFT,
        .what = what,
        .advice = used ? "Give the number of pages that cma_alloc() was asked for."
                       : "Release each run once, with the page that cma_alloc() returned.",
    };

    if (used)
        snprintf(what, sizeof(what), "%lu pages at 0x%llx of %s were released, where %u are allocated.",
                 count, phys, cma->name, dk_page_run(page));
    else
        snprintf(
            what, sizeof(what),
            "%lu pages at 0x%llx of %s were released, where no allocation starts: it was released before, or "
            "starts elsewhere.",
            count, phys, cma->name);
    dk_log(DK_LOG_WARNING, "cma_release: %lu pages at 0x%llx are not an allocation of %s", count, phys,
           cma->name);
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
    page = page_at(cma, pfn);
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

/* ---- What there is ---- */

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

u64 dk_cma_free_pages(struct cma *cma)
{
    u64 units;

    pthread_mutex_lock(&cma->lock);
    units = dk_free_runs_units(cma->runs);
    pthread_mutex_unlock(&cma->lock);
    return (units << cma->order_per_bit) + dk_cma_cache_pages(&cma->cache);
}

/* The allocations that start in [pfn, end), which is in no free run. */
static void survey_used(const struct cma *cma, u64 pfn, u64 end, struct dk_cma_survey *survey)
{
    while (pfn < end) {
        const struct page *page = dk_page_mapped(cma->memory, pfn);
        u64 run = page && dk_page_flags(page) & DK_PAGE_CMA ? dk_page_run(page) : 0;

        if (run) {
            survey->allocations++;
            survey->largest_allocation = run > survey->largest_allocation ? run : survey->largest_allocation;
        }
        /* A unit may be larger than what was asked of it. */
        pfn += run ? units_of(cma, run) << cma->order_per_bit : (u64)1 << cma->order_per_bit;
    }
}

/* Counts the pages [at, end) of the area, which are in use, in the pieces that they lie in. */
static void paint_used(struct dk_cma_survey *survey, u64 at, u64 end)
{
    while (at < end) {
        u64 piece = at * DK_CMA_PICTURE / survey->pages;
        u64 past = ((piece + 1) * survey->pages + DK_CMA_PICTURE - 1) / DK_CMA_PICTURE;

        past = past < end ? past : end;
        survey->used_in[piece] += past - at;
        at = past;
    }
}

void dk_cma_survey(struct cma *cma, struct dk_cma_survey *survey)
{
    u64 at = cma->start, end, start, count;

    *survey = (struct dk_cma_survey){ .pages = cma->end - cma->start };
    pthread_mutex_lock(&cma->drain_lock);
    survey->kept = dk_cma_cache_pages(&cma->cache);
    drain(cma);
    pthread_mutex_lock(&cma->lock);
    survey->free = dk_free_runs_units(cma->runs) << cma->order_per_bit;
    survey->free_runs = dk_free_runs_count(cma->runs);
    survey->largest_free = dk_free_runs_largest(cma->runs, 0) << cma->order_per_bit;
    while (at < cma->end) {
        bool more = dk_free_runs_next(cma->runs, at >> cma->order_per_bit, &start, &count);

        end = more ? start << cma->order_per_bit : cma->end;
        survey_used(cma, at, end, survey);
        paint_used(survey, at - cma->start, end - cma->start);
        at = more ? (start + count) << cma->order_per_bit : cma->end;
    }
    end_draining(cma);
    pthread_mutex_unlock(&cma->lock);
    pthread_mutex_unlock(&cma->drain_lock);
}

/* ---- Making an area, and its end ---- */

static void release(struct cma *cma)
{
    if (!cma)
        return;
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
        mark_free(first);
    }
    list_add_tail(&cma->link, &memory->areas);
    pthread_mutex_unlock(&memory->pages_lock);
    return cma;
}

/* Marks what is allocated in [pfn, end) as nobody's, so that a late put_page() does not look for the area. */
static void disown(const struct cma *cma, u64 pfn, u64 end)
{
    while (pfn < end) {
        struct page *page = dk_page_mapped(cma->memory, pfn);

        if (page && (dk_page_flags(page) & DK_PAGE_CMA))
            mark_free(page);
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
                empty_stack(cma, cma->cache.by_thread[i]);
        }
        pthread_mutex_lock(&memory->pages_lock);
        disown_all(cma);
        list_del(&cma->link);
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

struct cma *dk_cma_of(struct dk_memory *memory, const struct page *page)
{
    struct cma *cma, *found = NULL;
    struct dk_memory *owner;
    u64 pfn;

    if (!dk_page_find(page, &owner, &pfn) || owner != memory || !(dk_page_flags(page) & DK_PAGE_CMA))
        return NULL;
    pthread_mutex_lock(&memory->pages_lock);
    list_for_each_entry (cma, &memory->areas, link) {
        if (pfn >= cma->start && pfn < cma->end)
            found = cma;
    }
    pthread_mutex_unlock(&memory->pages_lock);
    return found;
}
