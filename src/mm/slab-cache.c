/* SPDX-License-Identifier: MIT */
/*
 * Caches: what they are set up to, and the calls that programs make.
 */
#include "mm/slab-quarantine.h"

#include "base/alloc.h"
#include "base/log.h"
#include <stdio.h>
#include <string.h>

/* A slab has at least this many objects if blocks of up to LARGEST_ORDER do. */
#define OBJECTS_WANTED 8
#define LARGEST_ORDER 3

static size_t align_up(size_t value, size_t align)
{
    return (value + align - 1) & ~(align - 1);
}

bool dk_cache_init(struct kmem_cache *cache, struct dk_slab_state *state, const struct dk_cache_shape *shape)
{
    size_t align = shape->align < DK_SLAB_LEAST_ALIGN ? DK_SLAB_LEAST_ALIGN : shape->align;
    size_t line = state->memory->line, zone = shape->flags & SLAB_RED_ZONE ? DK_SLAB_LEAST_ALIGN : 0;

    /* Where devices see past the caches, patterns must not stand in lines that somebody else's object has. */
    if ((shape->flags & (SLAB_RED_ZONE | SLAB_POISON)) && state->memory->two_views && align < line)
        align = line;
    *cache = (struct kmem_cache){ .state = state, .name = shape->name, .size = shape->size, .align = align };
    cache->stride = align_up(shape->size + zone, align);
    cache->lead = align_up(zone, align);
    cache->private_objects = shape->flags & DK_SLAB_PRIVATE;
    /* A constructor's state would be lost under the pattern. */
    cache->poison = (shape->flags & SLAB_POISON) && !shape->constructor;
    cache->zone = shape->flags & SLAB_CACHE_DMA     ? __GFP_DMA
                  : shape->flags & SLAB_CACHE_DMA32 ? __GFP_DMA32
                                                    : 0;
    cache->constructor = shape->constructor;
    if (shape->source)
        cache->source = *shape->source;
    dk_quarantine_init_cache(cache);
    cache->least = get_order(cache->lead + cache->stride);
    cache->order = cache->least;
    while (cache->order < LARGEST_ORDER &&
           ((PAGE_SIZE << cache->order) - cache->lead) / cache->stride < OBJECTS_WANTED)
        cache->order++;
    INIT_LIST_HEAD(&cache->link);
    INIT_LIST_HEAD(&cache->partial);
    INIT_LIST_HEAD(&cache->full);
    INIT_LIST_HEAD(&cache->empty);
    return cache->least <= MAX_PAGE_ORDER;
}

/* kmem_cache_create() for @call. */
static struct kmem_cache *create(const char *call, const char *name, const struct dk_cache_shape *asked)
{
    struct dk_memory *memory = dk_current_for(call);
    struct dk_cache_shape shape = *asked;
    struct kmem_cache *cache;

    dk_might_sleep_gfp(memory, GFP_KERNEL, call);
    if (!memory || !shape.size || shape.size > KMALLOC_MAX_SIZE || (shape.align & (shape.align - 1)) ||
        shape.align > KMALLOC_MAX_SIZE)
        return NULL;
    if (shape.flags & SLAB_HWCACHE_ALIGN) {
        size_t line = memory->line;

        while (line > DK_SLAB_LEAST_ALIGN && shape.size <= line / 2)
            line /= 2;
        if (shape.align < line)
            shape.align = line;
    }
    cache = dk_allocate(1, sizeof(*cache));
    if (!cache)
        return NULL;
    shape.name = dk_copy_string(name ? name : "");
    if (!shape.name)
        goto release;
    /* What the memory asks for besides: not of a source's pages, which others may look at, and not where the
     * largest block leaves no room. */
    if (!shape.source)
        shape.flags |= memory->slab_debug;
    if (!dk_cache_init(cache, memory->slab, &shape)) {
        shape.flags = asked->flags;
        if (!dk_cache_init(cache, memory->slab, &shape))
            goto release;
    }
    pthread_mutex_lock(&memory->slab->lock);
    list_add_tail(&cache->link, &memory->slab->caches);
    pthread_mutex_unlock(&memory->slab->lock);
    return cache;

release:
    dk_release((void *)(uintptr_t)shape.name);
    dk_release(cache);
    return NULL;
}

struct kmem_cache *(kmem_cache_create)(const char *name, unsigned int size, unsigned int align,
                                       slab_flags_t flags, void (*constructor)(void *object))
{
    const struct dk_cache_shape shape = {
        .size = size, .align = align, .flags = flags, .constructor = constructor
    };

    return create("kmem_cache_create", name, &shape);
}

/* Whether [offset, offset + length) lies in an object of @size bytes. */
static bool region_fits(const char *call, const char *name, unsigned size, unsigned offset, unsigned length)
{
    if (offset <= size && length <= size - offset)
        return true;
    dk_log(DK_LOG_WARNING, "%s: %s: the user's %u bytes at %u are not in an object of %u", call,
           name ? name : "", length, offset, size);
    return false;
}

struct kmem_cache *__kmem_cache_create_args(const char *name, unsigned int size,
                                            struct kmem_cache_args *arguments, slab_flags_t flags)
{
    const struct kmem_cache_args none = { 0 }, *given = arguments ? arguments : &none;
    const struct dk_cache_shape shape = {
        .size = size, .align = given->align, .flags = flags, .constructor = given->ctor
    };

    if (!region_fits("kmem_cache_create", name, size, given->useroffset, given->usersize))
        return NULL;
    return create("kmem_cache_create", name, &shape);
}

struct kmem_cache *kmem_cache_create_usercopy(const char *name, unsigned int size, unsigned int align,
                                              slab_flags_t flags, unsigned int useroffset,
                                              unsigned int usersize, void (*constructor)(void *object))
{
    const struct dk_cache_shape shape = {
        .size = size, .align = align, .flags = flags, .constructor = constructor
    };

    if (!region_fits("kmem_cache_create_usercopy", name, size, useroffset, usersize))
        return NULL;
    return create("kmem_cache_create_usercopy", name, &shape);
}

struct kmem_cache *dk_cache_create_from(const char *name, unsigned int size, unsigned int align,
                                        slab_flags_t flags, void (*constructor)(void *object),
                                        const struct dk_page_source *source)
{
    const struct dk_cache_shape shape = {
        .size = size, .align = align, .flags = flags, .constructor = constructor, .source = source
    };

    if (!source || !source->take || !source->give) {
        dk_log(DK_LOG_WARNING, "dk_cache_create_from: %s: a source has two functions", name ? name : "");
        return NULL;
    }
    return create("dk_cache_create_from", name, &shape);
}

static void report_leak(const struct kmem_cache *cache, u64 objects)
{
    struct dk_finding finding = { .class_name = "slab-leak",
                                  .call = "kmem_cache_destroy",
                                  .dma = (dma_addr_t)-1 };
    char what[256];

    snprintf(what, sizeof(what), "%s still has %llu objects, and stays", cache->name, objects);
    dk_log(DK_LOG_WARNING, "kmem_cache_destroy: %s", what);
    finding.what = what;
    dk_hooks_finding(cache->state->memory->hooks, &finding);
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
        report_leak(cache, objects);
        return;
    }
    dk_cache_shrink(cache, "kmem_cache_destroy");
    dk_release((void *)(uintptr_t)cache->name);
    dk_release(cache);
}

/* Whether there is a cache: a driver may have left a failed kmem_cache_create() unnoticed. Logs when not. */
static bool usable(const struct kmem_cache *cache, const char *call)
{
    if (!cache)
        dk_log(DK_LOG_ERROR, "%s: no cache", call);
    return cache;
}

int kmem_cache_shrink(struct kmem_cache *cache)
{
    struct dk_slab_state *state;
    bool left;

    if (!usable(cache, "kmem_cache_shrink") || dk_memory_forked(cache->state->memory))
        return 1;
    state = cache->state;
    dk_might_sleep_gfp(state->memory, GFP_KERNEL, "kmem_cache_shrink");
    dk_cache_shrink(cache, "kmem_cache_shrink");
    pthread_mutex_lock(&state->lock);
    left = !list_empty(&cache->partial) || !list_empty(&cache->full) || !list_empty(&cache->empty);
    pthread_mutex_unlock(&state->lock);
    return left;
}

/* Clears @object if @gfp asks for it. */
static void clear(const struct kmem_cache *cache, void *object, gfp_t gfp, const char *call)
{
    if (!(gfp & __GFP_ZERO))
        return;
    if (cache->constructor)
        dk_log(DK_LOG_WARNING, "%s: an object of %s is not cleared, since the cache has a constructor", call,
               cache->name);
    else
        memset(object, 0, cache->size);
}

static void *allocate(struct kmem_cache *cache, gfp_t gfp, const char *call)
{
    void *object;

    if (!usable(cache, call))
        return NULL;
    dk_might_sleep_gfp(cache->state->memory, gfp, call);
    if (dk_fault_point() || !dk_cache_take(cache, gfp, &object, 1, call))
        return NULL;
    clear(cache, object, gfp, call);
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

static void release(struct kmem_cache *cache, void *object, const char *call)
{
    if (object && usable(cache, call) && !dk_object_give(object, cache, call))
        dk_slab_refuse(cache->state->memory, "slab-invalid-free", call, object, "is in no slab");
}

int kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t count, void **objects)
{
    const char *call = "kmem_cache_alloc_bulk";
    size_t taken, i;

    if (!usable(cache, call))
        return 0;
    dk_might_sleep_gfp(cache->state->memory, gfp, call);
    if (count > INT_MAX || dk_fault_point())
        return 0;
    taken = dk_cache_take(cache, gfp, objects, count, call);
    for (i = 0; i < taken; i++) {
        if (taken == count)
            clear(cache, objects[i], gfp, call);
        else
            release(cache, objects[i], call);
    }
    return taken == count ? (int)count : 0;
}

void kmem_cache_free(struct kmem_cache *cache, void *object)
{
    release(cache, object, "kmem_cache_free");
}

void kmem_cache_free_bulk(struct kmem_cache *cache, size_t count, void **objects)
{
    size_t i;

    if (!cache)
        kfree_bulk(count, objects);
    for (i = 0; cache && i < count; i++)
        release(cache, objects[i], "kmem_cache_free_bulk");
}

unsigned int kmem_cache_size(struct kmem_cache *cache)
{
    return cache ? (unsigned int)cache->size : 0;
}

const char *kmem_cache_name(struct kmem_cache *cache)
{
    return cache ? cache->name : NULL;
}
