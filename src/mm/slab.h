/* SPDX-License-Identifier: MIT */
/*
 * Slabs: blocks of pages cut into equal objects.
 */
#ifndef DK_MM_SLAB_H
#define DK_MM_SLAB_H

#include "mm/private.h"
#include <dmakit/slab.h>

struct dk_slab_state;

struct kmem_cache {
    struct dk_slab_state *state;
    struct list_head link; /* in the state's list; kmalloc()'s own stand in no list */
    char *name;
    size_t size;   /* as asked for */
    size_t stride; /* from one object to the next; a multiple of @align */
    size_t align;
    unsigned order; /* of its slabs, when memory allows */
    gfp_t zone;     /* added to each allocation's flags */
    void (*constructor)(void *object);
    struct list_head partial, full; /* slabs; an empty one goes back at once */
    u64 objects;                    /* allocated now */
};

/* 8, 16, 32, 64, 96, 128, 192, then powers of two up to 8192. */
#define DK_KMALLOC_CLASSES 13

struct dk_slab_state {
    struct dk_memory *memory;
    /*
     * Guards all caches of the memory, their slabs, and struct page's slab: a bad free may name a slab of any
     * cache, one that is just being given back too, so the way from page to cache must stand still.
     */
    pthread_mutex_t lock;
    struct list_head caches;
    u64 allocations;                                  /* counts them, for the seed */
    struct kmem_cache kmalloc[2][DK_KMALLOC_CLASSES]; /* the second ones from ZONE_DMA */
};

/* Sets up the fields of @cache, which no one sees yet. @align: a power of two. */
void dk_cache_init(struct kmem_cache *cache, struct dk_slab_state *state, size_t size, size_t align,
                   gfp_t zone);
/* An object, or NULL. Takes the lock; does not ask the fault point. Not cleared. */
void *dk_cache_take(struct kmem_cache *cache, gfp_t gfp);
/*
 * Frees @object, of @cache or with NULL of any, for @call. False: it is in no slab, and nothing was said or
 * done. What is in a slab and cannot be freed is refused with a log line. Takes the lock.
 */
bool dk_object_give(struct dk_memory *memory, u64 pfn, const void *object, const struct kmem_cache *cache,
                    const char *call);
/* The size of the allocated object at @object; 0: there is none. Takes the lock. */
size_t dk_object_size(struct dk_memory *memory, u64 pfn, const void *object);

#endif
