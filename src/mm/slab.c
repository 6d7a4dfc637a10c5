/* SPDX-License-Identifier: MIT */
/*
 * Slabs: how a cache gets them, and how they go, when they are empty or with their cache or memory.
 */
#include "mm/slab-quarantine.h"

#include "base/alloc.h"
#include "base/log.h"

/* ---- Slabs of a cache ---- */

static size_t slab_bytes(const struct dk_slab *slab)
{
    return PAGE_SIZE << slab->order;
}

/* Pages from the cache's source into @slab. False: there are none that serve. */
static bool take_sourced(struct kmem_cache *cache, struct dk_slab *slab, gfp_t gfp)
{
    size_t count = (size_t)1 << slab->order, i;

    slab->entries = dk_allocate(count, sizeof(*slab->entries));
    if (!slab->entries)
        return false;
    slab->memory = cache->source.take(cache->source.data, slab_bytes(slab), gfp, &slab->handle);
    if (!slab->memory)
        goto release;
    if (((uintptr_t)slab->memory & (PAGE_SIZE - 1)) || ((uintptr_t)slab->memory & (cache->align - 1))) {
        dk_log(DK_LOG_WARNING, "%s: its source gave %p, which is not aligned to pages and to %zu bytes",
               cache->name, (void *)slab->memory, cache->align);
        cache->source.give(cache->source.data, slab->memory, slab_bytes(slab), slab->handle);
        goto release;
    }
    for (i = 0; i < count; i++) {
        slab->entries[i].address = slab->memory + (i << PAGE_SHIFT);
        slab->entries[i].value = slab;
    }
    return true;

release:
    dk_release(slab->entries);
    return false;
}

/* Pages from the page allocator into @slab. False: there are none. */
static bool take_pages(struct kmem_cache *cache, struct dk_slab *slab, gfp_t gfp)
{
    size_t count = (size_t)1 << slab->order;

    slab->page =
        dk_pages_take_marked(cache->state->memory, gfp, count, count, 0, (phys_addr_t)-1, DK_PAGE_SLAB);
    if (!slab->page)
        return false;
    slab->memory = page_address(slab->page);
    return true;
}

/* A slab in no list, its objects constructed. NULL: no memory. Without the lock, since source and constructor
 * are the caller's. */
static struct dk_slab *slab_create(struct kmem_cache *cache, gfp_t gfp, unsigned order)
{
    size_t objects = ((PAGE_SIZE << order) - cache->lead) / cache->stride, i;
    size_t busy_words = (objects + 63) / 64, zone_words = cache->lead ? objects / 64 + 1 : 0;
    size_t held_words = cache->quarantines ? busy_words : 0;
    struct dk_slab *slab =
        dk_allocate(1, sizeof(*slab) + (busy_words + zone_words + held_words) * sizeof(u64));

    if (!slab)
        return NULL;
    slab->cache = cache;
    slab->order = order;
    slab->objects = objects;
    if (zone_words)
        slab->damaged = slab->busy + busy_words;
    if (held_words)
        slab->held = slab->busy + busy_words + zone_words;
    if (!(cache->source.take ? take_sourced(cache, slab, gfp) : take_pages(cache, slab, gfp))) {
        dk_release(slab);
        return NULL;
    }
    slab->start = slab->memory + cache->lead;
    dk_slab_paint(slab);
    for (i = 0; cache->constructor && i < objects; i++)
        cache->constructor(slab->start + i * cache->stride);
    return slab;
}

static struct dk_slab *grow(struct kmem_cache *cache, gfp_t gfp)
{
    gfp_t flags = (gfp & ~(__GFP_HIGHMEM | __GFP_DMA32 | __GFP_DMA | __GFP_ZERO)) | cache->zone;
    struct dk_slab *slab =
        slab_create(cache, cache->least < cache->order ? flags | __GFP_NOWARN : flags, cache->order);

    /* A smaller block will do when memory is short or in pieces. */
    if (!slab && cache->least < cache->order)
        slab = slab_create(cache, flags, cache->least);
    return slab;
}

/* Makes the slab of @slab's addresses known. False: no memory for that. Under the lock. */
static bool enter(struct dk_slab_state *state, struct dk_slab *slab)
{
    size_t count = (size_t)1 << slab->order, i;

    if (!slab->page && !dk_address_index_grow(&state->sourced, count))
        return false;
    for (i = 0; i < count; i++) {
        if (slab->page)
            slab->page[i].slab = slab;
        else
            dk_address_index_add(&state->sourced, &slab->entries[i]);
    }
    return true;
}

/* The reverse. Under the lock. */
static void leave(struct dk_slab_state *state, struct dk_slab *slab)
{
    size_t count = (size_t)1 << slab->order, i;

    for (i = 0; i < count; i++) {
        if (slab->page)
            slab->page[i].slab = NULL;
        else
            dk_address_index_remove(&state->sourced, &slab->entries[i]);
    }
}

/* Gives the pages of a slab back that is in no list and unknown. Without the lock, since the source is the
 * caller's; the cache may be gone. */
static void slab_destroy(struct dk_memory *memory, const struct dk_page_source *source, struct dk_slab *slab)
{
    if (slab->page)
        dk_pages_give_marked(memory, slab->page, (size_t)1 << slab->order, DK_PAGE_SLAB, "slab");
    else
        source->give(source->data, slab->memory, slab_bytes(slab), slab->handle);
    dk_release(slab->entries);
    dk_release(slab);
}

bool dk_cache_grow(struct kmem_cache *cache, gfp_t gfp)
{
    struct dk_slab_state *state = cache->state;
    struct dk_slab *slab;

    pthread_mutex_unlock(&state->lock);
    slab = grow(cache, gfp);
    pthread_mutex_lock(&state->lock);
    if (!slab)
        return false;
    if (!enter(state, slab)) {
        pthread_mutex_unlock(&state->lock);
        slab_destroy(state->memory, &cache->source, slab);
        pthread_mutex_lock(&state->lock);
        return false;
    }
    list_add(&slab->link, &cache->partial);
    return true;
}

void dk_slabs_give_back(struct dk_memory *memory, const struct dk_page_source *source,
                        struct list_head *doomed)
{
    struct dk_slab *slab, *following;

    list_for_each_entry_safe (slab, following, doomed, link)
        slab_destroy(memory, source, slab);
}

void dk_cache_doom(struct kmem_cache *cache, size_t keep, struct list_head *doomed,
                   struct dk_slab_damage *damage)
{
    struct dk_slab *slab;
    size_t i;

    while (cache->empty_count > keep) {
        slab = list_last_entry(&cache->empty, struct dk_slab, link);
        for (i = 0; cache->poison && i < slab->objects; i++)
            dk_object_check_poison(cache, slab->start + i * cache->stride, damage);
        leave(cache->state, slab);
        list_del(&slab->link);
        list_add_tail(&slab->link, doomed);
        cache->empty_count--;
    }
}

void dk_cache_shrink(struct kmem_cache *cache, const char *call)
{
    struct dk_slab_damage damage;
    struct list_head doomed;

    dk_quarantine_end_cache(cache, call);
    damage.memory = NULL;
    INIT_LIST_HEAD(&doomed);
    pthread_mutex_lock(&cache->state->lock);
    dk_cache_doom(cache, 0, &doomed, &damage);
    pthread_mutex_unlock(&cache->state->lock);
    dk_slabs_give_back(cache->state->memory, &cache->source, &doomed);
    dk_slab_report(&damage, call);
}

void dk_cache_finish(struct kmem_cache *cache)
{
    struct list_head *lists[] = { &cache->partial, &cache->full, &cache->empty };
    struct dk_slab *slab, *following;
    struct list_head doomed;
    unsigned i;

    INIT_LIST_HEAD(&doomed);
    pthread_mutex_lock(&cache->state->lock);
    for (i = 0; i < 3; i++) {
        list_for_each_entry_safe (slab, following, lists[i], link) {
            leave(cache->state, slab);
            list_del(&slab->link);
            list_add_tail(&slab->link, &doomed);
        }
    }
    cache->empty_count = 0;
    cache->objects = 0;
    pthread_mutex_unlock(&cache->state->lock);
    dk_slabs_give_back(cache->state->memory, &cache->source, &doomed);
}

/* ---- A memory's slabs ---- */

struct dk_slab_state *dk_slab_start(struct dk_memory *memory)
{
    static const size_t sizes[DK_KMALLOC_CLASSES] = { 8,   16,  32,   64,   96,   128, 192,
                                                      256, 512, 1024, 2048, 4096, 8192 };
    struct dk_slab_state *state = dk_allocate(1, sizeof(*state));
    unsigned i;

    if (!state)
        return NULL;
    state->memory = memory;
    pthread_mutex_init(&state->lock, NULL);
    INIT_LIST_HEAD(&state->caches);
    if (dk_quarantine_start(state, memory->quarantine)) {
        pthread_mutex_destroy(&state->lock);
        dk_release(state);
        return NULL;
    }
    for (i = 0; i < DK_KMALLOC_CLASSES; i++) {
        struct dk_cache_shape shape = {
            .name = "kmalloc",
            .size = sizes[i],
            .align = DK_SLAB_LEAST_ALIGN,
            .flags = memory->slab_debug,
        };

        /* With red zones in between, powers of two are not aligned to themselves by where they stand. */
        if ((shape.flags & SLAB_RED_ZONE) && !(sizes[i] & (sizes[i] - 1)))
            shape.align = sizes[i];
        dk_cache_init(&state->kmalloc[0][i], state, &shape);
        shape.flags |= SLAB_CACHE_DMA;
        dk_cache_init(&state->kmalloc[1][i], state, &shape);
    }
    return state;
}

static void forget_slabs(struct list_head *slabs)
{
    struct dk_slab *slab, *following;

    list_for_each_entry_safe (slab, following, slabs, link) {
        dk_release(slab->entries);
        dk_release(slab);
    }
}

static void forget_cache(struct kmem_cache *cache)
{
    forget_slabs(&cache->partial);
    forget_slabs(&cache->full);
    forget_slabs(&cache->empty);
}

void dk_slab_finish(struct dk_slab_state *state)
{
    struct kmem_cache *cache, *following;
    unsigned i;

    if (!state)
        return;
    for (i = 0; i < 2 * DK_KMALLOC_CLASSES; i++)
        forget_cache(&state->kmalloc[i / DK_KMALLOC_CLASSES][i % DK_KMALLOC_CLASSES]);
    list_for_each_entry_safe (cache, following, &state->caches, link) {
        forget_cache(cache);
        dk_release((void *)(uintptr_t)cache->name);
        dk_release(cache);
    }
    dk_address_index_finish(&state->sourced);
    dk_quarantine_finish(state);
    pthread_mutex_destroy(&state->lock);
    dk_release(state);
}
