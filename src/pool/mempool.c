/* SPDX-License-Identifier: MIT */
/*
 * Memory pools with a reserve.
 *
 * A free looks at the reserve's counts without the lock. That is enough: whoever took an element out of the
 * reserve lowered the count before the element could be freed, so the free of each element that the reserve
 * lacks sees that it lacks one. A pool without a reserve has waiters alone, which ask again by themselves.
 */
#include "pool/mempool.h"

#include "base/alloc.h"
#include "base/context.h"
#include "base/log.h"
#include "machine/machine.h"
#include <dmakit/dmapool.h>
#include <stdio.h>

#define NO_DMA ((dma_addr_t)-1)

static void report(const char *class_name, const char *call, const void *element, const char *what)
{
    struct dk_memory *memory = dk_memory_current();
    const struct dk_finding finding = {
        .class_name = class_name, .call = call, .cpu = element, .dma = NO_DMA, .what = what
    };

    dk_log(DK_LOG_WARNING, "%s: %s", call, what);
    if (memory)
        dk_hooks_finding(dk_memory_hooks(memory), &finding);
}

/* ---- One element ---- */

bool dk_mempool_ask(mempool_t *pool, gfp_t gfp, struct dk_mempool_element *got)
{
    *got = (struct dk_mempool_element){ 0 };
    if (pool->alloc_dma)
        got->element = pool->alloc_dma(gfp, pool->pool_data, &got->dma);
    else if (pool->alloc)
        got->element = pool->alloc(gfp, pool->pool_data);
    return got->element;
}

static void give_away(mempool_t *pool, const struct dk_mempool_element *element)
{
    if (pool->free_dma)
        pool->free_dma(element->element, pool->pool_data, element->dma);
    else if (pool->free)
        pool->free(element->element, pool->pool_data);
}

static void set_count(mempool_t *pool, int count)
{
    __atomic_store_n(&pool->curr_nr, count, __ATOMIC_RELAXED);
}

/* Under the lock, with the reserve not empty. */
static struct dk_mempool_element take_reserved(mempool_t *pool)
{
    set_count(pool, pool->curr_nr - 1);
    return pool->elements[pool->curr_nr];
}

/* Whether anybody but the free function wants an element. Without the lock. */
static bool wanting(const mempool_t *pool)
{
    return !mempool_is_saturated(pool) || __atomic_load_n(&pool->waiting, __ATOMIC_RELAXED);
}

/* To a waiter or into the reserve. False: neither wants it. Under the lock. */
static bool keep(mempool_t *pool, const struct dk_mempool_element *given)
{
    if (dk_mempool_serve(pool, given))
        return true;
    if (pool->curr_nr >= pool->min_nr)
        return false;
    pool->elements[pool->curr_nr] = *given;
    set_count(pool, pool->curr_nr + 1);
    return true;
}

void dk_mempool_put(mempool_t *pool, const struct dk_mempool_element *given)
{
    unsigned long flags;
    bool kept;

    spin_lock_irqsave(&pool->lock, flags);
    kept = keep(pool, given);
    spin_unlock_irqrestore(&pool->lock, flags);
    if (!kept)
        give_away(pool, given);
}

static bool is_reserved(const mempool_t *pool, const void *element)
{
    int i;

    for (i = 0; i < pool->curr_nr; i++) {
        if (pool->elements[i].element == element)
            return true;
    }
    return false;
}

/* ---- A pool's life ---- */

/* Fills the reserve as far as the pool's function goes. */
static bool fill(mempool_t *pool, gfp_t gfp)
{
    struct dk_mempool_element got;

    while (!mempool_is_saturated(pool)) {
        if (!dk_mempool_ask(pool, gfp, &got))
            return false;
        dk_mempool_put(pool, &got);
    }
    return true;
}

/* Takes the last of the reserve out while it has more than @most. False: it has not. */
static bool take_surplus(mempool_t *pool, int most, struct dk_mempool_element *got)
{
    unsigned long flags;
    bool surplus;

    spin_lock_irqsave(&pool->lock, flags);
    surplus = pool->curr_nr > most;
    if (surplus)
        *got = take_reserved(pool);
    spin_unlock_irqrestore(&pool->lock, flags);
    return surplus;
}

static void empty(mempool_t *pool)
{
    struct dk_mempool_element got;

    while (take_surplus(pool, 0, &got))
        give_away(pool, &got);
    dk_release(pool->elements);
    *pool = (mempool_t){ 0 };
}

/* Makes a pool whose functions are set. */
static int start(mempool_t *pool, const char *call, int min_nr, gfp_t gfp)
{
    struct dk_machine *machine = dk_machine_current();

    dk_might_sleep_gfp(machine ? machine->memory : NULL, gfp, call);
    if (min_nr < 0 || !(pool->alloc ? pool->free != NULL : pool->alloc_dma && pool->free_dma)) {
        dk_log(DK_LOG_WARNING, "%s: a reserve of %d elements, and %s", call, min_nr,
               pool->alloc || pool->alloc_dma ? "no function that frees" : "no function that allocates");
        *pool = (mempool_t){ 0 };
        return -EINVAL;
    }
    spin_lock_init(&pool->lock);
    INIT_LIST_HEAD(&pool->waiters);
    pool->min_nr = min_nr;
    /* A pool without a reserve has a place all the same, by which it is known to be initialised. */
    pool->capacity = min_nr ? min_nr : 1;
    pool->checked = machine && machine->checker;
    pool->elements = dk_allocate((size_t)pool->capacity, sizeof(*pool->elements));
    if (pool->elements && fill(pool, gfp))
        return 0;
    empty(pool);
    return -ENOMEM;
}

int mempool_init_node(mempool_t *pool, int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
                      void *pool_data, gfp_t gfp, int node)
{
    (void)node;
    *pool = (mempool_t){ .alloc = alloc_fn, .free = free_fn, .pool_data = pool_data };
    return start(pool, "mempool_init", min_nr, gfp);
}

int mempool_init(mempool_t *pool, int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
                 void *pool_data)
{
    return mempool_init_node(pool, min_nr, alloc_fn, free_fn, pool_data, GFP_KERNEL, NUMA_NO_NODE);
}

int dk_mempool_init_dma(mempool_t *pool, int min_nr, dk_mempool_alloc_dma_t *alloc_fn,
                        dk_mempool_free_dma_t *free_fn, void *pool_data)
{
    *pool = (mempool_t){ .alloc_dma = alloc_fn, .free_dma = free_fn, .pool_data = pool_data };
    return start(pool, "dk_mempool_init_dma", min_nr, GFP_KERNEL);
}

/* False, with a log line: threads wait in it. */
static bool leave(mempool_t *pool, const char *call)
{
    int waiting = __atomic_load_n(&pool->waiting, __ATOMIC_RELAXED);
    long out = __atomic_load_n(&pool->out, __ATOMIC_RELAXED);
    char what[128];

    if (!mempool_initialized(pool))
        return true;
    if (waiting || out > 0) {
        if (waiting)
            snprintf(what, sizeof(what), "%d threads wait for an element of the pool, which stays", waiting);
        else
            snprintf(what, sizeof(what), "%ld elements of the pool are still out", out);
        report("mempool-leak", call, NULL, what);
    }
    if (waiting)
        return false;
    empty(pool);
    return true;
}

void mempool_exit(mempool_t *pool)
{
    if (pool)
        leave(pool, "mempool_exit");
}

mempool_t *mempool_create_node(int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn,
                               void *pool_data, gfp_t gfp, int node)
{
    mempool_t *pool = dk_allocate(1, sizeof(*pool));

    if (pool && mempool_init_node(pool, min_nr, alloc_fn, free_fn, pool_data, gfp, node)) {
        dk_release(pool);
        pool = NULL;
    }
    return pool;
}

mempool_t *mempool_create(int min_nr, mempool_alloc_t *alloc_fn, mempool_free_t *free_fn, void *pool_data)
{
    return mempool_create_node(min_nr, alloc_fn, free_fn, pool_data, GFP_KERNEL, NUMA_NO_NODE);
}

mempool_t *dk_mempool_create_dma(int min_nr, dk_mempool_alloc_dma_t *alloc_fn, dk_mempool_free_dma_t *free_fn,
                                 void *pool_data)
{
    mempool_t *pool = dk_allocate(1, sizeof(*pool));

    if (pool && dk_mempool_init_dma(pool, min_nr, alloc_fn, free_fn, pool_data)) {
        dk_release(pool);
        pool = NULL;
    }
    return pool;
}

void mempool_destroy(mempool_t *pool)
{
    if (pool && leave(pool, "mempool_destroy"))
        dk_release(pool);
}

/* Room for @wanted elements. False: out of memory. */
static bool widen(mempool_t *pool, int wanted)
{
    struct dk_mempool_element *elements = NULL, *unused;
    unsigned long flags;
    int i;

    /* Others may resize it too: there is room enough as soon as one of us made it. */
    spin_lock_irqsave(&pool->lock, flags);
    if (pool->capacity < wanted) {
        spin_unlock_irqrestore(&pool->lock, flags);
        elements = dk_allocate((size_t)wanted, sizeof(*elements));
        if (!elements)
            return false;
        spin_lock_irqsave(&pool->lock, flags);
    }
    unused = elements;
    if (pool->capacity < wanted) {
        for (i = 0; i < pool->curr_nr; i++)
            elements[i] = pool->elements[i];
        unused = pool->elements;
        __atomic_store_n(&pool->elements, elements, __ATOMIC_RELAXED);
        pool->capacity = wanted;
    }
    __atomic_store_n(&pool->min_nr, wanted, __ATOMIC_RELAXED);
    spin_unlock_irqrestore(&pool->lock, flags);
    dk_release(unused);
    return true;
}

int mempool_resize(mempool_t *pool, int new_min_nr, gfp_t gfp)
{
    struct dk_mempool_element got;

    dk_might_sleep_gfp(dk_memory_current(), gfp, "mempool_resize");
    if (new_min_nr < 1 || !pool || !mempool_initialized(pool)) {
        dk_log(DK_LOG_WARNING, "mempool_resize: the reserve cannot be made %d elements", new_min_nr);
        return -EINVAL;
    }
    if (!widen(pool, new_min_nr))
        return -ENOMEM;
    while (take_surplus(pool, new_min_nr, &got))
        give_away(pool, &got);
    fill(pool, gfp);
    return 0;
}

/* ---- Taking ---- */

/*
 * Asks the pool's function for an element for a thread that might wait as well: what comes goes to those who
 * wait already, as long as there are any. False: the function has none.
 */
static bool ask_after_others(mempool_t *pool, gfp_t gfp, struct dk_mempool_element *got)
{
    unsigned long flags;
    bool served;

    do {
        if (!dk_mempool_ask(pool, gfp, got))
            return false;
        if (!__atomic_load_n(&pool->waiting, __ATOMIC_RELAXED))
            return true;
        spin_lock_irqsave(&pool->lock, flags);
        served = dk_mempool_serve(pool, got);
        spin_unlock_irqrestore(&pool->lock, flags);
    } while (served);
    return true;
}

/* An element, or NULL in it. */
static struct dk_mempool_element take(mempool_t *pool, gfp_t gfp)
{
    gfp_t quiet = (gfp & ~__GFP_DIRECT_RECLAIM) | __GFP_NOWARN | __GFP_NORETRY;
    bool may_wait = gfpflags_allow_blocking(gfp) && !dk_context()->atomic_depth;
    struct dk_mempool_element got;
    unsigned long flags;

    if (may_wait ? ask_after_others(pool, quiet, &got) : dk_mempool_ask(pool, quiet, &got))
        return got;
    if (take_surplus(pool, 0, &got) || !may_wait || ask_after_others(pool, gfp, &got))
        return got;
    spin_lock_irqsave(&pool->lock, flags);
    if (!pool->curr_nr)
        return dk_mempool_wait(pool, gfp, flags);
    got = take_reserved(pool);
    spin_unlock_irqrestore(&pool->lock, flags);
    return got;
}

/* Whether @pool is one, and of the kind that @call is for. Logs when not. */
static bool usable(const mempool_t *pool, bool with_dma, const char *call)
{
    if (!pool || !mempool_initialized(pool))
        dk_log(DK_LOG_ERROR, "%s: %s", call, pool ? "the pool is not initialised" : "no pool");
    else if (with_dma == !pool->alloc)
        return true;
    else
        dk_log(DK_LOG_ERROR, "%s: the pool's elements have %s DMA address", call, with_dma ? "no" : "a");
    return false;
}

/* take() for @call of a program; @with_dma: it has a place for a DMA address. */
static struct dk_mempool_element allocate(mempool_t *pool, gfp_t gfp, bool with_dma, const char *call)
{
    struct dk_mempool_element got = { 0 };

    dk_might_sleep_gfp(dk_memory_current(), gfp, call);
    if (!usable(pool, with_dma, call))
        return got;
    if (gfp & __GFP_ZERO)
        dk_log(DK_LOG_WARNING, "%s: __GFP_ZERO is not for memory pools", call);
    got = take(pool, gfp & ~__GFP_ZERO);
    if (got.element)
        __atomic_fetch_add(&pool->out, 1, __ATOMIC_RELAXED);
    return got;
}

void *mempool_alloc(mempool_t *pool, gfp_t gfp)
{
    return allocate(pool, gfp, false, "mempool_alloc").element;
}

void *dk_mempool_alloc_dma(mempool_t *pool, gfp_t gfp, dma_addr_t *dma)
{
    struct dk_mempool_element got;

    /* What nobody knows the DMA address of could not be freed. */
    if (!dma) {
        dk_log(DK_LOG_ERROR, "dk_mempool_alloc_dma: no place for the DMA address");
        return NULL;
    }
    got = allocate(pool, gfp, true, "dk_mempool_alloc_dma");
    if (got.element)
        *dma = got.dma;
    return got.element;
}

void *mempool_alloc_preallocated(mempool_t *pool)
{
    struct dk_mempool_element got = { 0 };

    if (usable(pool, false, "mempool_alloc_preallocated") && take_surplus(pool, 0, &got))
        __atomic_fetch_add(&pool->out, 1, __ATOMIC_RELAXED);
    return got.element;
}

/* ---- Giving ---- */

static void give(mempool_t *pool, const struct dk_mempool_element *given, bool with_dma, const char *call)
{
    bool twice, kept = false;
    unsigned long flags;

    if (!given->element || !usable(pool, with_dma, call))
        return;
    if (pool->checked || wanting(pool)) {
        spin_lock_irqsave(&pool->lock, flags);
        twice = is_reserved(pool, given->element);
        kept = !twice && keep(pool, given);
        spin_unlock_irqrestore(&pool->lock, flags);
        if (twice) {
            report("mempool-double-free", call, given->element,
                   "an element was freed that lies in the pool's reserve");
            return;
        }
    }
    __atomic_fetch_sub(&pool->out, 1, __ATOMIC_RELAXED);
    if (!kept)
        give_away(pool, given);
}

void mempool_free(void *element, mempool_t *pool)
{
    const struct dk_mempool_element given = { .element = element };

    give(pool, &given, false, "mempool_free");
}

void dk_mempool_free_dma(void *element, dma_addr_t dma, mempool_t *pool)
{
    const struct dk_mempool_element given = { .element = element, .dma = dma };

    give(pool, &given, true, "dk_mempool_free_dma");
}

/* ---- Pairs of functions ---- */

void *mempool_alloc_slab(gfp_t gfp, void *pool_data)
{
    return kmem_cache_alloc(pool_data, gfp);
}

void mempool_free_slab(void *element, void *pool_data)
{
    kmem_cache_free(pool_data, element);
}

void *mempool_kmalloc(gfp_t gfp, void *pool_data)
{
    return kmalloc((size_t)(uintptr_t)pool_data, gfp);
}

void mempool_kfree(void *element, void *pool_data)
{
    (void)pool_data;
    kfree(element);
}

void *mempool_alloc_pages(gfp_t gfp, void *pool_data)
{
    return alloc_pages(gfp, (unsigned)(uintptr_t)pool_data);
}

void mempool_free_pages(void *element, void *pool_data)
{
    __free_pages(element, (unsigned)(uintptr_t)pool_data);
}

void *dk_mempool_alloc_dma_pool(gfp_t gfp, void *pool_data, dma_addr_t *dma)
{
    return dma_pool_alloc(pool_data, gfp, dma);
}

void dk_mempool_free_dma_pool(void *element, void *pool_data, dma_addr_t dma)
{
    dma_pool_free(pool_data, element, dma);
}
