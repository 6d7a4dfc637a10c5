/* SPDX-License-Identifier: MIT */
#include "mm/slab.h"

#include "base/alloc.h"
#include "base/log.h"
#include <string.h>

/* A slab has at least this many objects if blocks of up to LARGEST_ORDER do. */
#define OBJECTS_WANTED 8
#define LARGEST_ORDER 3
/* What any object is aligned to. */
#define LEAST_ALIGN 8

struct dk_slab {
    struct list_head link;
    struct kmem_cache *cache;
    struct page *page;
    char *start;
    unsigned order;
    size_t objects, used;
    u64 busy[]; /* one bit an object */
};

/* ---- Objects of one slab ---- */

static bool is_busy(const struct dk_slab *slab, size_t index)
{
    return slab->busy[index / 64] >> (index % 64) & 1;
}

/* The lowest free object, or with a @choice another. The slab has one. */
static size_t find_free(const struct dk_slab *slab, u64 choice)
{
    size_t skip = choice ? (size_t)(choice % (slab->objects - slab->used)) : 0, i;

    for (i = 0; i < slab->objects; i++) {
        if (!is_busy(slab, i) && !skip--)
            break;
    }
    return i;
}

/* The index of the object that starts at @object; slab->objects when none does. */
static size_t index_of(const struct dk_slab *slab, const void *object)
{
    size_t offset = (size_t)((const char *)object - slab->start), index = offset / slab->cache->stride;

    return offset % slab->cache->stride || index >= slab->objects ? slab->objects : index;
}

/* ---- Slabs of a cache ---- */

static void set_pages(struct dk_slab *slab, void *value)
{
    size_t i;

    for (i = 0; i < (size_t)1 << slab->order; i++)
        slab->page[i].slab = value;
}

/* A slab in no list, its objects constructed. NULL: no memory. Without the lock, since a constructor is the
 * caller's. */
static struct dk_slab *slab_create(struct kmem_cache *cache, gfp_t gfp, unsigned order)
{
    struct dk_memory *memory = cache->state->memory;
    size_t objects = (PAGE_SIZE << order) / cache->stride, count = (size_t)1 << order, i;
    struct dk_slab *slab = dk_allocate(1, sizeof(*slab) + (objects + 63) / 64 * sizeof(u64));

    if (!slab)
        return NULL;
    slab->page = dk_pages_take_marked(memory, gfp, count, count, 0, (phys_addr_t)-1, DK_PAGE_SLAB);
    if (!slab->page) {
        dk_release(slab);
        return NULL;
    }
    slab->cache = cache;
    slab->start = page_address(slab->page);
    slab->order = order;
    slab->objects = objects;
    for (i = 0; cache->constructor && i < objects; i++)
        cache->constructor(slab->start + i * cache->stride);
    return slab;
}

static struct dk_slab *grow(struct kmem_cache *cache, gfp_t gfp)
{
    gfp_t flags = (gfp & ~(__GFP_HIGHMEM | __GFP_DMA32 | __GFP_DMA | __GFP_ZERO)) | cache->zone;
    unsigned least = get_order(cache->stride);
    struct dk_slab *slab =
        slab_create(cache, least < cache->order ? flags | __GFP_NOWARN : flags, cache->order);

    /* A smaller block will do when memory is short or in pieces. */
    if (!slab && least < cache->order)
        slab = slab_create(cache, flags, least);
    return slab;
}

/* Gives an empty slab's pages back. Under the lock. */
static void slab_destroy(struct dk_slab *slab)
{
    set_pages(slab, NULL);
    list_del(&slab->link);
    dk_pages_give_marked(slab->cache->state->memory, slab->page, (size_t)1 << slab->order, DK_PAGE_SLAB,
                         "slab");
    dk_release(slab);
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

void *dk_cache_take(struct kmem_cache *cache, gfp_t gfp)
{
    struct dk_slab_state *state = cache->state;
    struct dk_slab *slab;
    phys_addr_t phys;
    char *object;

    if (dk_memory_forked(state->memory))
        return NULL;
    pthread_mutex_lock(&state->lock);
    if (list_empty(&cache->partial)) {
        pthread_mutex_unlock(&state->lock);
        slab = grow(cache, gfp);
        if (!slab)
            return NULL;
        pthread_mutex_lock(&state->lock);
        set_pages(slab, slab);
        list_add(&slab->link, &cache->partial);
    }
    slab = list_first_entry(&cache->partial, struct dk_slab, link);
    object = take_from(cache, slab);
    phys = page_to_phys(slab->page) + (phys_addr_t)(object - slab->start);
    pthread_mutex_unlock(&state->lock);
    dk_memory_taken(state->memory, phys, cache->stride);
    return object;
}

/* The slab that holds @object, or NULL. Under the lock. */
static struct dk_slab *slab_of(struct dk_memory *memory, u64 pfn)
{
    struct page *page = dk_page_mapped(memory, pfn);

    return page ? page->slab : NULL;
}

bool dk_object_give(struct dk_memory *memory, u64 pfn, const void *object, const struct kmem_cache *cache,
                    const char *call)
{
    const char *wrong = NULL;
    struct dk_slab *slab;
    size_t index;

    pthread_mutex_lock(&memory->slab->lock);
    slab = slab_of(memory, pfn);
    if (!slab) {
        pthread_mutex_unlock(&memory->slab->lock);
        return false;
    }
    index = index_of(slab, object);
    if (cache && slab->cache != cache) {
        wrong = "is an object of another cache";
    } else if (index == slab->objects) {
        wrong = "does not point to the start of an object";
    } else if (!is_busy(slab, index)) {
        wrong = "is free already";
    } else {
        if (slab->used == slab->objects) {
            list_del(&slab->link);
            list_add(&slab->link, &slab->cache->partial);
        }
        slab->busy[index / 64] &= ~(1ull << (index % 64));
        slab->used--;
        slab->cache->objects--;
        if (!slab->used)
            slab_destroy(slab);
    }
    pthread_mutex_unlock(&memory->slab->lock);
    if (wrong)
        dk_log(DK_LOG_WARNING, "%s: %p %s", call, object, wrong);
    return true;
}

size_t dk_object_size(struct dk_memory *memory, u64 pfn, const void *object)
{
    const struct dk_slab *slab;
    size_t size = 0, index;

    pthread_mutex_lock(&memory->slab->lock);
    slab = slab_of(memory, pfn);
    if (slab) {
        index = index_of(slab, object);
        size = index < slab->objects && is_busy(slab, index) ? slab->cache->stride : 0;
    }
    pthread_mutex_unlock(&memory->slab->lock);
    return size;
}

/* ---- Caches ---- */

static size_t round_up(size_t value, size_t align)
{
    return (value + align - 1) & ~(align - 1);
}

void dk_cache_init(struct kmem_cache *cache, struct dk_slab_state *state, size_t size, size_t align,
                   gfp_t zone)
{
    if (align < LEAST_ALIGN)
        align = LEAST_ALIGN;
    cache->state = state;
    cache->size = size;
    cache->align = align;
    cache->stride = round_up(size, align);
    cache->zone = zone;
    cache->order = get_order(cache->stride);
    while (cache->order < LARGEST_ORDER && (PAGE_SIZE << cache->order) / cache->stride < OBJECTS_WANTED)
        cache->order++;
    INIT_LIST_HEAD(&cache->link);
    INIT_LIST_HEAD(&cache->partial);
    INIT_LIST_HEAD(&cache->full);
}

struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align,
                                     slab_flags_t flags, void (*constructor)(void *object))
{
    struct dk_memory *memory = dk_current_for("kmem_cache_create");
    gfp_t zone = flags & SLAB_CACHE_DMA ? __GFP_DMA : flags & SLAB_CACHE_DMA32 ? __GFP_DMA32 : 0;
    struct kmem_cache *cache;
    size_t wanted = align;

    dk_might_sleep_gfp(memory, GFP_KERNEL, "kmem_cache_create");
    if (!memory || !size || size > KMALLOC_MAX_SIZE || (align & (align - 1)) || align > KMALLOC_MAX_SIZE)
        return NULL;
    cache = dk_allocate(1, sizeof(*cache));
    if (!cache)
        return NULL;
    if (flags & SLAB_HWCACHE_ALIGN) {
        size_t line = memory->line;

        while (line > LEAST_ALIGN && size <= line / 2)
            line /= 2;
        if (wanted < line)
            wanted = line;
    }
    dk_cache_init(cache, memory->slab, size, wanted, zone);
    cache->constructor = constructor;
    cache->name = dk_copy_string(name ? name : "");
    if (!cache->name) {
        dk_release(cache);
        return NULL;
    }
    pthread_mutex_lock(&memory->slab->lock);
    list_add_tail(&cache->link, &memory->slab->caches);
    pthread_mutex_unlock(&memory->slab->lock);
    return cache;
}

void kmem_cache_destroy(struct kmem_cache *cache)
{
    struct dk_slab_state *state;
    u64 objects;

    if (!cache)
        return;
    state = cache->state;
    if (dk_memory_forked(state->memory))
        return;
    dk_might_sleep_gfp(state->memory, GFP_KERNEL, "kmem_cache_destroy");
    pthread_mutex_lock(&state->lock);
    objects = cache->objects;
    if (!objects)
        list_del(&cache->link);
    pthread_mutex_unlock(&state->lock);
    if (objects) {
        dk_log(DK_LOG_WARNING, "kmem_cache_destroy: %s still has %llu objects, and stays", cache->name,
               objects);
        return;
    }
    dk_release(cache->name);
    dk_release(cache);
}

static void *allocate(struct kmem_cache *cache, gfp_t gfp, const char *call)
{
    void *object;

    dk_might_sleep_gfp(cache->state->memory, gfp, call);
    if (dk_fault_point())
        return NULL;
    object = dk_cache_take(cache, gfp);
    if (!object || !(gfp & __GFP_ZERO))
        return object;
    if (cache->constructor)
        dk_log(DK_LOG_WARNING, "%s: an object of %s is not cleared, since the cache has a constructor", call,
               cache->name);
    else
        memset(object, 0, cache->size);
    return object;
}

void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp)
{
    return allocate(cache, gfp, "kmem_cache_alloc");
}

void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp)
{
    return allocate(cache, gfp | __GFP_ZERO, "kmem_cache_zalloc");
}

void kmem_cache_free(struct kmem_cache *cache, void *object)
{
    struct dk_memory *memory;
    phys_addr_t phys;

    if (!object)
        return;
    if (dk_address_find(object, &memory, &phys) != DK_ADDRESS_LINEAR ||
        !dk_object_give(memory, phys >> PAGE_SHIFT, object, cache, "kmem_cache_free"))
        dk_log(DK_LOG_WARNING, "kmem_cache_free: %p is in no slab", object);
}

unsigned int kmem_cache_size(struct kmem_cache *cache)
{
    return (unsigned int)cache->size;
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
    for (i = 0; i < DK_KMALLOC_CLASSES; i++) {
        dk_cache_init(&state->kmalloc[0][i], state, sizes[i], LEAST_ALIGN, 0);
        dk_cache_init(&state->kmalloc[1][i], state, sizes[i], LEAST_ALIGN, __GFP_DMA);
    }
    return state;
}

static void forget_slabs(struct list_head *slabs)
{
    struct dk_slab *slab, *following;

    list_for_each_entry_safe (slab, following, slabs, link)
        dk_release(slab);
}

void dk_slab_finish(struct dk_slab_state *state)
{
    struct kmem_cache *cache, *following;
    unsigned i;

    if (!state)
        return;
    for (i = 0; i < 2 * DK_KMALLOC_CLASSES; i++) {
        cache = &state->kmalloc[i / DK_KMALLOC_CLASSES][i % DK_KMALLOC_CLASSES];
        forget_slabs(&cache->partial);
        forget_slabs(&cache->full);
    }
    list_for_each_entry_safe (cache, following, &state->caches, link) {
        forget_slabs(&cache->partial);
        forget_slabs(&cache->full);
        dk_release(cache->name);
        dk_release(cache);
    }
    pthread_mutex_destroy(&state->lock);
    dk_release(state);
}
