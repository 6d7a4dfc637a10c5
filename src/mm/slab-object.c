/* SPDX-License-Identifier: MIT */
/*
 * Objects of slabs: taking, giving, and telling what an address is.
 */
#include "mm/slab-quarantine.h"

#include "base/context.h"

/* How many empty slabs a cache keeps whose pages come from a source; the page allocator gets them at once. */
#define EMPTY_KEPT 1

/* ---- Objects of one slab ---- */

/* Whether it has a user. */
static bool is_busy(const struct dk_slab *slab, size_t index)
{
    u64 busy = slab->busy[index / 64];

    if (slab->held)
        busy &= ~slab->held[index / 64];
    return busy >> (index % 64) & 1;
}

/* The lowest free object, or with a @choice another. The slab has one. */
static size_t find_free(const struct dk_slab *slab, u64 choice)
{
    size_t skip = choice ? (size_t)(choice % (slab->objects - slab->used)) : 0, word = 0;
    u64 free = ~slab->busy[0];

    while (!choice && !free)
        free = ~slab->busy[++word];
    while (choice && skip >= (size_t)__builtin_popcountll(free)) {
        skip -= (size_t)__builtin_popcountll(free);
        free = ~slab->busy[++word];
    }
    while (skip--)
        free &= free - 1;
    return word * 64 + (size_t)__builtin_ctzll(free);
}

/* The index of the object that starts at @object, which is in the slab's pages; slab->objects when none does.
 */
static size_t index_of(const struct dk_slab *slab, const void *object)
{
    /* Slabs are small enough for 32 bits, whose division is quicker. Before the first object it wraps. */
    u32 offset = (u32)((uintptr_t)object - (uintptr_t)slab->start), stride = (u32)slab->cache->stride;
    u32 index = offset / stride;

    return index >= slab->objects || offset - index * stride ? slab->objects : index;
}

/* ---- Taking ---- */

/* A slab with a free object, in the partial list. False: there is none. Under the lock. */
static bool find_partial(struct kmem_cache *cache)
{
    struct dk_slab *slab;

    if (!list_empty(&cache->partial))
        return true;
    if (list_empty(&cache->empty))
        return false;
    slab = list_first_entry(&cache->empty, struct dk_slab, link);
    list_del(&slab->link);
    cache->empty_count--;
    list_add(&slab->link, &cache->partial);
    return true;
}

/* Takes an object out of @slab. Under the lock. */
static void *take_from(struct kmem_cache *cache, struct dk_slab *slab)
{
    struct dk_slab_state *state = cache->state;
    u64 choice = state->memory->seed ? dk_mix(state->memory->seed, ++state->allocations) | 1ull << 63 : 0;
    size_t index = find_free(slab, choice);

    slab->busy[index / 64] |= 1ull << (index % 64);
    slab->used++;
    cache->objects++;
    if (slab->used == slab->objects) {
        list_del(&slab->link);
        list_add(&slab->link, &cache->full);
    }
    return slab->start + index * cache->stride;
}

/* An object has a new user: it is looked at, made known, and made fresh. Without the lock. */
static void hand_out(struct kmem_cache *cache, char *object, const char *call)
{
    const struct dk_hooks *hooks = cache->state->memory->hooks;
    struct dk_slab_damage damage;
    phys_addr_t phys;

    if (cache->poison) {
        damage.memory = NULL;
        dk_object_check_poison(cache, object, &damage);
        dk_slab_report(&damage, call);
    }
    if (hooks && hooks->memory_taken) {
        phys = virt_to_phys(object);
        if (phys != (phys_addr_t)-1)
            dk_memory_taken(cache->state->memory, phys, cache->stride);
    }
    if (cache->poison)
        dk_object_poison_fresh(cache, object);
}

/* A slab with a free object, in the partial list. False: there is no memory. Under the lock, which it drops
 * meanwhile. */
static bool find_or_grow(struct kmem_cache *cache, gfp_t gfp, const char *call)
{
    if (find_partial(cache))
        return true;
    /* Its own freed objects come before memory that somebody has to give up first. */
    if (cache->held) {
        gfp_t easy = gfp & ~(__GFP_DIRECT_RECLAIM | __GFP_NOFAIL | __GFP_MEMALLOC | __GFP_HIGH);

        if (dk_cache_grow(cache, easy | __GFP_NOWARN))
            return true;
        pthread_mutex_unlock(&cache->state->lock);
        dk_quarantine_end_cache(cache, call);
        pthread_mutex_lock(&cache->state->lock);
        if (find_partial(cache))
            return true;
    }
    return dk_cache_grow(cache, gfp);
}

size_t dk_cache_take(struct kmem_cache *cache, gfp_t gfp, void **objects, size_t count, const char *call)
{
    struct dk_slab_state *state = cache->state;
    size_t taken = 0, i;

    if (dk_memory_forked(state->memory))
        return 0;
    pthread_mutex_lock(&state->lock);
    while (taken < count && find_or_grow(cache, gfp, call))
        objects[taken++] = take_from(cache, list_first_entry(&cache->partial, struct dk_slab, link));
    pthread_mutex_unlock(&state->lock);
    for (i = 0; i < taken; i++)
        hand_out(cache, objects[i], call);
    return taken;
}

/* ---- Giving ---- */

/* Where an address is, found without the lock. */
struct place {
    struct dk_slab_state *state; /* whose slabs it may be in; NULL: nobody's */
    struct dk_memory *memory;    /* in whose linear map it is; NULL: in none */
    u64 pfn;                     /* there */
};

/* The place of @object, which may be of @cache or, with NULL, of any. */
static struct place find_place(const void *object, const struct kmem_cache *cache)
{
    struct place place = { 0 };
    struct dk_memory *memory;
    phys_addr_t phys;

    if (dk_address_find(object, &memory, &phys) == DK_ADDRESS_LINEAR) {
        place.memory = memory;
        place.pfn = phys >> PAGE_SHIFT;
    }
    /* A source may give what is no machine's memory. */
    if (!memory)
        memory = cache ? cache->state->memory : dk_memory_current();
    place.state = memory ? memory->slab : NULL;
    return place;
}

/* The slab that holds @object, which is at @place, or NULL. Under the lock. */
static struct dk_slab *slab_of(const struct place *place, const void *object)
{
    struct page *page = place->memory ? dk_page_mapped(place->memory, place->pfn) : NULL;

    if (page && page->slab)
        return page->slab;
    return dk_address_index_find(&place->state->sourced,
                                 (const void *)((uintptr_t)object & ~(uintptr_t)(PAGE_SIZE - 1)));
}

/* What is wrong with freeing the object @index of @slab as one of @cache; NULL: nothing. */
static const char *refusal(const struct dk_slab *slab, size_t index, const struct kmem_cache *cache,
                           const char **class_name)
{
    if (slab->cache != cache && (cache || slab->cache->private_objects)) {
        *class_name = "slab-wrong-cache";
        return cache ? "is an object of another cache"
                     : "belongs to an allocator with a free function of its own";
    }
    if (index == slab->objects) {
        *class_name = "slab-invalid-free";
        return "does not point to the start of an object";
    }
    if (!is_busy(slab, index)) {
        *class_name = "slab-double-free";
        return "is free already";
    }
    return NULL;
}

void dk_slab_free(struct dk_slab *slab, size_t index, struct list_head *doomed, struct dk_slab_damage *damage)
{
    struct kmem_cache *cache = slab->cache;

    if (cache->poison)
        dk_poison_free(slab->start + index * cache->stride, cache->size);
    if (slab->used == slab->objects) {
        list_del(&slab->link);
        list_add(&slab->link, &cache->partial);
    }
    slab->busy[index / 64] &= ~(1ull << (index % 64));
    slab->used--;
    if (!slab->used) {
        list_del(&slab->link);
        list_add(&slab->link, &cache->empty);
        cache->empty_count++;
    }
    /* A source may sleep when it takes pages back. */
    if (!cache->source.take || !dk_context()->atomic_depth)
        dk_cache_doom(cache, cache->source.take ? EMPTY_KEPT : 0, doomed, damage);
}

/* Frees object @index, at once or after a while. Slabs to give back go to @doomed. Under the lock. */
static void give(struct dk_slab *slab, size_t index, const struct dk_freed *freed, struct list_head *doomed,
                 struct dk_slab_damage *damage)
{
    struct dk_freed as = *freed;

    if (slab->damaged)
        dk_slab_check_zones(slab, index, damage);
    /* A report is to show its bytes. */
    as.used |= damage->memory != NULL;
    slab->cache->objects--;
    if (!slab->held || !dk_quarantine_hold(slab, index, &as))
        dk_slab_free(slab, index, doomed, damage);
}

static bool is_told(const struct dk_memory *memory)
{
    return memory->hooks && memory->hooks->memory_freed;
}

bool dk_object_give(const void *object, const struct kmem_cache *cache, const char *call)
{
    struct place place = find_place(object, cache);
    struct dk_freed freed = { .call = call };
    struct dk_slab_damage damage;
    const char *wrong, *class_name = NULL;
    struct dk_page_source source;
    struct list_head doomed;
    struct dk_slab *slab;
    bool held = false;
    size_t index;

    if (!place.state)
        return false;
    damage.memory = NULL;
    INIT_LIST_HEAD(&doomed);
    pthread_mutex_lock(&place.state->lock);
    slab = slab_of(&place, object);
    if (!slab) {
        pthread_mutex_unlock(&place.state->lock);
        return false;
    }
    index = index_of(slab, object);
    wrong = refusal(slab, index, cache, &class_name);
    if (!wrong && slab->page && is_told(place.state->memory)) {
        phys_addr_t phys = page_to_phys(slab->page) + (u64)((const char *)object - slab->memory);
        size_t size = slab->cache->size, marked = slab->cache->marks_freed ? slab->cache->stride : 0;
        bool quarantines = slab->held;

        /* The caller has the object still, unless it is freed twice at the same time. */
        pthread_mutex_unlock(&place.state->lock);
        dk_memory_freed(place.state->memory, phys, size, call, quarantines ? &freed : NULL);
        if (marked && !freed.used)
            dk_quarantine_prepare(place.state->memory, phys, marked);
        pthread_mutex_lock(&place.state->lock);
        slab = slab_of(&place, object);
        if (slab)
            wrong = refusal(slab, index, cache, &class_name);
        if (!slab) {
            pthread_mutex_unlock(&place.state->lock);
            return false;
        }
    }
    if (!wrong) {
        /* The cache may be destroyed as soon as its last object is free. */
        if (!slab->page)
            source = slab->cache->source;
        held = slab->held;
        give(slab, index, &freed, &doomed, &damage);
    }
    pthread_mutex_unlock(&place.state->lock);
    if (!list_empty(&doomed))
        dk_slabs_give_back(place.state->memory, &source, &doomed);
    if (damage.memory)
        dk_slab_report(&damage, call);
    if (held)
        dk_quarantine_trim(place.state, call);
    if (wrong)
        dk_slab_refuse(place.state->memory, class_name, call, object, wrong);
    return true;
}

bool dk_object_is_freed(struct dk_memory *memory, phys_addr_t phys, bool *object)
{
    const struct page *page = dk_page_mapped(memory, phys >> PAGE_SHIFT);
    const struct dk_slab *slab;
    bool freed = false;
    u64 offset;

    pthread_mutex_lock(&memory->slab->lock);
    slab = page ? page->slab : NULL;
    *object = slab;
    if (slab) {
        offset = phys - page_to_phys(slab->page) - (u64)(slab->start - slab->memory);
        freed = offset / slab->cache->stride < slab->objects &&
                !is_busy(slab, (size_t)(offset / slab->cache->stride));
    }
    pthread_mutex_unlock(&memory->slab->lock);
    return freed;
}

size_t dk_object_size(const void *object)
{
    struct place place = find_place(object, NULL);
    const struct dk_slab *slab;
    size_t size = 0, index;

    if (!place.state)
        return 0;
    pthread_mutex_lock(&place.state->lock);
    slab = slab_of(&place, object);
    if (slab) {
        index = index_of(slab, object);
        if (index < slab->objects && is_busy(slab, index))
            size = slab->damaged || slab->cache->poison ? slab->cache->size : slab->cache->stride;
    }
    pthread_mutex_unlock(&place.state->lock);
    return size;
}

struct kmem_cache *dk_object_cache(struct dk_memory *memory, const void *object, u64 *handle)
{
    const struct place place = { .state = memory->slab };
    struct kmem_cache *cache = NULL;
    const struct dk_slab *slab;
    size_t index;

    pthread_mutex_lock(&place.state->lock);
    slab = slab_of(&place, object);
    index = slab ? index_of(slab, object) : 0;
    if (slab && index < slab->objects && is_busy(slab, index)) {
        cache = slab->cache;
        *handle = slab->handle + (u64)((const char *)object - slab->memory);
    }
    pthread_mutex_unlock(&place.state->lock);
    return cache;
}

bool dk_cache_handle(const struct kmem_cache *cache, const void *object, u64 *handle)
{
    u64 found;

    if (!cache || dk_object_cache(cache->state->memory, object, &found) != cache)
        return false;
    *handle = found;
    return true;
}
