/* SPDX-License-Identifier: MIT */
/*
 * Slabs: blocks of pages cut into equal objects.
 */
#ifndef DK_MM_SLAB_H
#define DK_MM_SLAB_H

#include "base/address-index.h"
#include "mm/private.h"
#include <dmakit/slab.h>

/* What any object is aligned to; a red zone has at least as many bytes. */
#define DK_SLAB_LEAST_ALIGN ((size_t)8)

/* The bytes of free and of fresh objects (SLAB_POISON), and between objects (SLAB_RED_ZONE). */
#define DK_POISON_FREE 0x6b
#define DK_POISON_FREE_LAST 0xa5
#define DK_POISON_FRESH 0x5a
#define DK_RED_ZONE 0xcc

struct dk_slab_state;
struct dk_quarantine;
struct dk_slab_damage;

struct kmem_cache {
    struct dk_slab_state *state;
    struct list_head link; /* in the state's list; kmalloc()'s own stand in no list */
    const char *name;
    size_t size;   /* as asked for */
    size_t stride; /* from one object to the next; a multiple of @align */
    size_t align;
    size_t lead;          /* bytes before a slab's first object: its red zone */
    bool private_objects; /* DK_SLAB_PRIVATE */
    bool poison;          /* free objects hold a pattern, which is checked */
    bool quarantines;     /* freed objects go into quarantine (slab-quarantine.h) */
    bool marks_freed;     /* and hold the pattern there */
    unsigned least;       /* the order that holds one object */
    unsigned order;       /* of its slabs, when memory allows */
    gfp_t zone;           /* added to each allocation's flags */
    void (*constructor)(void *object);
    struct dk_page_source source;          /* @take NULL: the page allocator */
    struct list_head partial, full, empty; /* slabs; only a source's stay empty, and few of them */
    size_t empty_count;
    u64 objects; /* allocated now */
    u64 held;    /* in quarantine */
};

struct dk_slab {
    struct list_head link;
    struct kmem_cache *cache;
    struct page *page;                /* NULL: from a source, and in the state's index */
    char *memory;                     /* the first byte of its pages */
    char *start;                      /* the first object */
    u64 handle;                       /* the source's */
    struct dk_address_entry *entries; /* one a page, for the index; NULL with @page */
    unsigned order;
    size_t objects, used;
    u64 *held;    /* one bit an object: busy, but freed, and in quarantine; NULL: its cache has none */
    u64 *damaged; /* one bit a red zone, that before the first object first: reported; NULL: there are none */
    u64 busy[];   /* one bit an object */
};

/* 8, 16, 32, 64, 96, 128, 192, then powers of two up to 8192. */
#define DK_KMALLOC_CLASSES 13

struct dk_slab_state {
    struct dk_memory *memory;
    /*
     * Guards all caches of the memory, their slabs, and struct page's slab: a bad free may name a slab of any
     * cache, one that is just being given back too, so the way from page to cache must stand still. Never
     * held while a constructor, a page source or a report's sink runs.
     */
    pthread_mutex_t lock;
    struct list_head caches;
    struct dk_address_index sourced;                  /* pages of slabs that came from a source */
    u64 allocations;                                  /* counts them, for the seed */
    struct kmem_cache kmalloc[2][DK_KMALLOC_CLASSES]; /* the second ones from ZONE_DMA */
    struct dk_quarantine *quarantine;                 /* NULL: none */
};

/* A flag of the library's own caches: kfree() and its kin are not for their objects. */
#define DK_SLAB_PRIVATE ((slab_flags_t)0x80000000u)

/* What dk_cache_init() makes a cache of. */
struct dk_cache_shape {
    const char *name; /* kept, not copied */
    size_t size;
    size_t align; /* a power of two */
    slab_flags_t flags;
    void (*constructor)(void *object);
    const struct dk_page_source *source; /* NULL: the page allocator; copied */
};

/* ---- slab-cache.c: what a cache is set up to ---- */

/* Sets up the fields of @cache, which no one sees yet. False: a slab of it would be larger than the largest
 * block of pages. */
bool dk_cache_init(struct kmem_cache *cache, struct dk_slab_state *state, const struct dk_cache_shape *shape);

/* ---- slab.c: a cache's slabs grow and go ---- */

/*
 * One more slab with free objects, in the partial list of @cache. False: no memory. Under the lock, which it
 * drops meanwhile; may sleep as @gfp says and the cache's source does.
 */
bool dk_cache_grow(struct kmem_cache *cache, gfp_t gfp);
/* Moves the empty slabs beyond @keep to @doomed, unknown from now on; dk_slabs_give_back() is to follow.
 * Broken poison in them goes to @damage. Under the lock. */
void dk_cache_doom(struct kmem_cache *cache, size_t keep, struct list_head *doomed,
                   struct dk_slab_damage *damage);
/* Gives back the slabs in @doomed, of pages of @source; NULL: of the page allocator. Their cache may be gone.
 * With no lock held; may sleep where the source does. */
void dk_slabs_give_back(struct dk_memory *memory, const struct dk_page_source *source,
                        struct list_head *doomed);
/* Gives back what is empty of it, for @call. Takes the lock; may sleep where its source does. */
void dk_cache_shrink(struct kmem_cache *cache, const char *call);
/* Frees the slabs of @cache whatever is in them, for a cache that has an owner who knows. Takes the lock; may
 * sleep where its source does. */
void dk_cache_finish(struct kmem_cache *cache);

/* ---- slab-object.c: objects are taken and given ---- */

/*
 * Up to @count objects into @objects for @call; returns how many. Takes the lock; does not ask the fault
 * point. Not cleared.
 */
size_t dk_cache_take(struct kmem_cache *cache, gfp_t gfp, void **objects, size_t count, const char *call);
/*
 * Frees @object, of @cache or with NULL of any, for @call. False: it is in no slab, and nothing was said or
 * done. What is in a slab and cannot be freed is refused with a log line and a finding. Takes the lock.
 */
bool dk_object_give(const void *object, const struct kmem_cache *cache, const char *call);
/* Marks the busy object @index of @slab free for good. Slabs to give back go to @doomed. Under the lock. */
void dk_slab_free(struct dk_slab *slab, size_t index, struct list_head *doomed,
                  struct dk_slab_damage *damage);
/* Whether @phys is in a slab of pages (*@object), and then in an object that is free, or between objects.
 * Takes the lock. */
bool dk_object_is_freed(struct dk_memory *memory, phys_addr_t phys, bool *object);
/* The bytes that the allocated object at @object may use; 0: there is none. Takes the lock. */
size_t dk_object_size(const void *object);
/* The cache of the allocated object at @object of @memory's, and in *@handle what dk_cache_handle() says;
 * NULL: there is none that came from a source. Takes the lock. */
struct kmem_cache *dk_object_cache(struct dk_memory *memory, const void *object, u64 *handle);

/* ---- slab-debug.c: patterns in and between objects ---- */

/* A pattern that is broken: found under the lock, reported without it, when the cache may be gone. */
struct dk_slab_damage {
    struct dk_memory *memory; /* NULL: none was found */
    char cache[64];           /* its name */
    size_t size;              /* of its objects */
    const char *object;       /* the object concerned: free, or next to the red zone */
    const char *at;           /* the first byte that is wrong */
    bool red_zone;            /* else poison */
    const char *freed_by;     /* the call that freed the object, and its stack; NULL: not known */
    u32 freed_stack;
};

/* Fills in the patterns of a new slab, whose objects are free. */
void dk_slab_paint(struct dk_slab *slab);
/* Looks at the red zones around object @index. Under the lock. */
void dk_slab_check_zones(struct dk_slab *slab, size_t index, struct dk_slab_damage *damage);
/* Looks at the poison of an object that nobody else sees. */
void dk_object_check_poison(const struct kmem_cache *cache, const char *object,
                            struct dk_slab_damage *damage);
/* The first byte of [start, start + size) that is not what dk_poison_free() put there; NULL: all are. */
const char *dk_poison_find(const char *start, size_t size);
void dk_poison_free(char *start, size_t size);
/* Makes an object look fresh. */
void dk_object_poison_fresh(const struct kmem_cache *cache, char *object);
/* Notes that the byte at @at is wrong, of @object of @cache, if nothing is noted yet. */
void dk_slab_note(struct dk_slab_damage *damage, const struct kmem_cache *cache, const char *object,
                  const char *at, bool red_zone);
/* Reports what was found by @call, if anything. With no lock held, since a report's sink is the caller's. */
void dk_slab_report(const struct dk_slab_damage *damage, const char *call);
/* Refuses @object for @call: a log line "@call: @object @wrong", and a finding of @class_name. With no lock
 * held. */
void dk_slab_refuse(struct dk_memory *memory, const char *class_name, const char *call, const void *object,
                    const char *wrong);

#endif
