/* SPDX-License-Identifier: MIT */
/*
 * Small memory of the current machine: kmalloc() and caches of equal objects.
 *
 * Nothing is ever written into a free object, and bookkeeping stands outside, but for the patterns of
 * SLAB_POISON and SLAB_RED_ZONE, and of the quarantine: where the machine's checker is at depth 2 or above,
 * what is freed is not given out again for a while, and a store into it meanwhile is reported
 * (slab-use-after-free). It is there when memory is short (DMAKIT_OPTIONS=quarantine_size=). Frees find the
 * machine by address; a free of anything that is not an allocated object is refused, changes nothing, and is
 * reported: slab-double-free (it is free), slab-invalid-free (the middle of one, other memory),
 * slab-wrong-cache.
 *
 * Source of the semantics: Documentation/core-api/memory-allocation.rst and mm-api.rst.
 */
#ifndef DMAKIT_SLAB_H
#define DMAKIT_SLAB_H

#include <dmakit/gfp.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

/* What an allocation of 0 bytes gives: not NULL, faults when accessed, may be freed. */
#define ZERO_SIZE_PTR ((void *)16)
#define ZERO_OR_NULL_PTR(pointer) ((uintptr_t)(pointer) <= (uintptr_t)ZERO_SIZE_PTR)

/* The largest kmalloc(): a block of the highest order. */
#define KMALLOC_MAX_SIZE (PAGE_SIZE << 10)

typedef unsigned int slab_flags_t;

/* Bit values are dmakit's own. */
/* On cache lines; an object of at most half a line on halves, and so on. */
#define SLAB_HWCACHE_ALIGN ((slab_flags_t)0x1u)
#define SLAB_CACHE_DMA ((slab_flags_t)0x2u)        /* from ZONE_DMA */
#define SLAB_CACHE_DMA32 ((slab_flags_t)0x4u)      /* from below 4 GiB */
#define SLAB_PANIC ((slab_flags_t)0x8u)            /* has no effect: nothing ends the process */
#define SLAB_ACCOUNT ((slab_flags_t)0x10u)         /* has no effect */
#define SLAB_RECLAIM_ACCOUNT ((slab_flags_t)0x20u) /* has no effect */
/* Free objects hold a pattern: a write to one is found when it is allocated again (slab-use-after-free), and
 * fresh ones hold another. Not with a constructor, whose work it would undo. */
#define SLAB_POISON ((slab_flags_t)0x40u)
/* Bytes between objects hold a pattern: a write past an object's end, or before its start, is found when it
 * is freed (slab-overrun). */
#define SLAB_RED_ZONE ((slab_flags_t)0x80u)
#define SLAB_CONSISTENCY_CHECKS ((slab_flags_t)0x100u) /* has no effect: frees are always checked */
#define SLAB_STORE_USER ((slab_flags_t)0x200u)         /* has no effect */
#define SLAB_NO_MERGE ((slab_flags_t)0x400u)           /* has no effect: caches are never merged */
#define SLAB_TEMPORARY SLAB_RECLAIM_ACCOUNT

/*
 * @size bytes of the current machine, with a kernel address and physically contiguous. A power of two is
 * aligned to itself (Documentation/core-api/memory-allocation.rst); anything to 8 bytes. Where the CPU's
 * caches are not coherent with devices, each object has cache lines of its own, as with ARCH_DMA_MINALIGN.
 *
 * NULL: no memory, @size above KMALLOC_MAX_SIZE, or no current machine. Size 0: ZERO_SIZE_PTR. Sleeps only
 * with __GFP_DIRECT_RECLAIM; without it any context. __GFP_DMA is honoured; __GFP_HIGHMEM and __GFP_DMA32 are
 * not for kmalloc(), and are left out with a log line. Freed with kfree().
 */
DK_PUBLIC void *kmalloc(size_t size, gfp_t gfp) __attribute__((warn_unused_result));
/* As kmalloc(), cleared. */
DK_PUBLIC void *kzalloc(size_t size, gfp_t gfp) __attribute__((warn_unused_result));
/* @count times @size bytes; NULL as well when the product overflows. */
DK_PUBLIC void *kmalloc_array(size_t count, size_t size, gfp_t gfp) __attribute__((warn_unused_result));
DK_PUBLIC void *kcalloc(size_t count, size_t size, gfp_t gfp) __attribute__((warn_unused_result));
/*
 * @memory with room for @size bytes: where it was if it fits, else a copy, and the old one is freed. NULL:
 * kmalloc(). Size 0: frees, returns ZERO_SIZE_PTR. NULL on failure, also when @memory is not an object;
 * @memory is unchanged then.
 */
DK_PUBLIC void *krealloc(const void *memory, size_t size, gfp_t gfp) __attribute__((warn_unused_result));
/* NULL and ZERO_SIZE_PTR are fine. Objects of a kmem_cache are taken too. Any context. */
DK_PUBLIC void kfree(const void *memory);
/* As krealloc() to @count times @size bytes; NULL as well when the product overflows. */
DK_PUBLIC void *krealloc_array(void *memory, size_t count, size_t size, gfp_t gfp)
    __attribute__((warn_unused_result));
/* As kfree(), but the memory is overwritten with zeros first, all of ksize(). */
DK_PUBLIC void kfree_sensitive(const void *memory);
/* As kfree() for each of @objects[@count]. */
DK_PUBLIC void kfree_bulk(size_t count, void **objects);
/*
 * The bytes that kmalloc(@size) on the current machine would really have: asking for as many wastes none. 0
 * for 0; @size itself when it is above KMALLOC_MAX_SIZE or there is no current machine.
 */
DK_PUBLIC size_t kmalloc_size_roundup(size_t size);
/* How many bytes the object really has; 0 for NULL, ZERO_SIZE_PTR, and what is no object (with a log line).
 */
DK_PUBLIC size_t ksize(const void *memory);
/* A copy of @string (NULL: NULL), of @size bytes at @from. Freed with kfree(). NULL as kmalloc(). */
DK_PUBLIC char *kstrdup(const char *string, gfp_t gfp) __attribute__((warn_unused_result));
DK_PUBLIC void *kmemdup(const void *from, size_t size, gfp_t gfp) __attribute__((warn_unused_result));

#define kmalloc_node(size, gfp, node) ((void)(node), kmalloc(size, gfp))
#define kzalloc_node(size, gfp, node) ((void)(node), kzalloc(size, gfp))
#define kmalloc_array_node(count, size, gfp, node) ((void)(node), kmalloc_array(count, size, gfp))
#define kcalloc_node(count, size, gfp, node) ((void)(node), kcalloc(count, size, gfp))

/* kmalloc(), or vmalloc() where that finds nothing contiguous (GFP_KERNEL only). May sleep. Freed with
 * kvfree(). */
DK_PUBLIC void *kvmalloc(size_t size, gfp_t gfp) __attribute__((warn_unused_result));
DK_PUBLIC void *kvzalloc(size_t size, gfp_t gfp) __attribute__((warn_unused_result));
/* NULL as well when the product overflows. */
DK_PUBLIC void *kvmalloc_array(size_t count, size_t size, gfp_t gfp) __attribute__((warn_unused_result));
DK_PUBLIC void *kvcalloc(size_t count, size_t size, gfp_t gfp) __attribute__((warn_unused_result));
#define kvmalloc_node(size, gfp, node) ((void)(node), kvmalloc(size, gfp))
#define kvzalloc_node(size, gfp, node) ((void)(node), kvzalloc(size, gfp))
/* What kmalloc() or vmalloc() returned; NULL is fine. May sleep. */
DK_PUBLIC void kvfree(const void *memory);

struct kmem_cache;

/* What the newer form of kmem_cache_create() takes; all zeros is fine. */
struct kmem_cache_args {
    unsigned int align;      /* 0: 8 bytes; a power of two */
    unsigned int useroffset; /* what may be copied to and from user space: checked, and has no effect */
    unsigned int usersize;
    unsigned int freeptr_offset; /* has no effect: nothing is written into a free object */
    bool use_freeptr_offset;
    void (*ctor)(void *object);
    unsigned int sheaf_capacity; /* has no effect */
};

/*
 * A cache of objects of @size bytes, at multiples of @align (0: 8; a power of two), of the current machine.
 * @constructor (or NULL) runs once on each object when its memory is taken, not at each allocation: an object
 * is freed in its constructed state. NULL: @size 0 or above KMALLOC_MAX_SIZE (less what SLAB_RED_ZONE needs),
 * a bad @align, out of memory, no current machine. May sleep. @name is copied.
 *
 * On a machine where the CPU's caches are not coherent with devices, SLAB_POISON and SLAB_RED_ZONE put each
 * object on lines of its own, so that no pattern is ever in a line that a device may own with another object.
 */
DK_PUBLIC struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align,
                                               slab_flags_t flags, void (*constructor)(void *object));
/* The newer form; @arguments NULL: all zeros. NULL as well when the user's region leaves the object. */
DK_PUBLIC struct kmem_cache *__kmem_cache_create_args(const char *name, unsigned int size,
                                                      struct kmem_cache_args *arguments, slab_flags_t flags);
/* Both forms: four arguments are (name, size, kmem_cache_args, flags). */
#define DK_CACHE_CREATE(name, size, third, fourth, fifth, call, ...) call
#define kmem_cache_create(...)                                                                \
    DK_CACHE_CREATE(__VA_ARGS__, kmem_cache_create, __kmem_cache_create_args, no_such_form, ) \
    (__VA_ARGS__)
/* [@useroffset, @useroffset + @usersize) of the object may be copied to and from user space: checked to lie
 * in it (NULL), and else without effect. */
DK_PUBLIC struct kmem_cache *kmem_cache_create_usercopy(const char *name, unsigned int size,
                                                        unsigned int align, slab_flags_t flags,
                                                        unsigned int useroffset, unsigned int usersize,
                                                        void (*constructor)(void *object));
/* A cache of struct @type. */
#define KMEM_CACHE(type, flags) \
    (kmem_cache_create)(#type, sizeof(struct type), __alignof__(struct type), (flags), NULL)
#define KMEM_CACHE_USERCOPY(type, flags, field)                                                           \
    kmem_cache_create_usercopy(#type, sizeof(struct type), __alignof__(struct type), (flags),             \
                               __builtin_offsetof(struct type, field), sizeof(((struct type *)0)->field), \
                               NULL)

/*
 * Where a cache gets its pages, instead of the page allocator: coherent memory, a contiguous area, memory of
 * a device. Any address will do: the memory needs no struct page, and need not be a machine's.
 */
struct dk_page_source {
    /*
     * @size bytes (PAGE_SIZE times a power of two) at a multiple of PAGE_SIZE, and of the cache's alignment
     * where that is larger; NULL: there are none, and with a @size of more than one object the cache asks
     * again for less. *@handle, 0 before, is kept with them: their DMA address, say. Called in the context of
     * the allocation, with its @gfp and the cache's zone, with no lock of the library's held.
     */
    void *(*take)(void *data, size_t size, gfp_t gfp, u64 *handle);
    /*
     * @pages that @take gave, with the @size and @handle of then; no object is in them. Called from frees,
     * kmem_cache_shrink() and kmem_cache_destroy(), with no lock of the library's held and never in atomic
     * context (a spinlock, an interrupt handler): pages that become free there wait for the next free
     * elsewhere. Not called for what is left when the machine goes.
     */
    void (*give)(void *data, void *pages, size_t size, u64 handle);
    void *data; /* handed to both; lives as long as the cache */
};

/*
 * kmem_cache_create() with pages from @source, which is copied. One empty slab is kept until
 * kmem_cache_shrink(), so that a cache in use does not go to its source at each turn. kmem_cache_free() must
 * not be called from @source's own functions on the same cache. NULL as kmem_cache_create(), and for a source
 * without both functions.
 */
DK_PUBLIC struct kmem_cache *dk_cache_create_from(const char *name, unsigned int size, unsigned int align,
                                                  slab_flags_t flags, void (*constructor)(void *object),
                                                  const struct dk_page_source *source);
/*
 * In *@handle: the handle that @cache's source gave with the pages of @object, plus the offset of @object in
 * them; the object's DMA address, where the handle is that of the pages. False: @object is not an allocated
 * object of @cache, or @cache has no source. Any context; takes a lock.
 */
DK_PUBLIC bool dk_cache_handle(const struct kmem_cache *cache, const void *object, u64 *handle);

/* Objects that are still allocated keep it alive: that is reported (slab-leak), and nothing is freed. NULL is
 * fine. May sleep. */
DK_PUBLIC void kmem_cache_destroy(struct kmem_cache *cache);
/* Gives back what is empty. 0: the cache has no memory left; 1: objects hold some. May sleep. */
DK_PUBLIC int kmem_cache_shrink(struct kmem_cache *cache);
/* An object, or NULL when memory is short. Sleeps as kmalloc() does. */
DK_PUBLIC void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp) __attribute__((warn_unused_result));
#define kmem_cache_alloc_node(cache, gfp, node) ((void)(node), kmem_cache_alloc(cache, gfp))
/* Cleared; in a cache with a constructor the object is left as constructed, with a log line. */
DK_PUBLIC void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp) __attribute__((warn_unused_result));
/* @count objects into @objects, with one taking of the lock as long as slabs have free ones: @count; 0, and
 * none taken, when memory does not suffice or @count is above INT_MAX. Context as kmem_cache_alloc(). */
DK_PUBLIC int kmem_cache_alloc_bulk(struct kmem_cache *cache, gfp_t gfp, size_t count, void **objects)
    __attribute__((warn_unused_result));
/* An object of another cache is refused. NULL is fine. Any context. */
DK_PUBLIC void kmem_cache_free(struct kmem_cache *cache, void *object);
/* As kmem_cache_free() for each of @objects[@count]; @cache NULL: of whatever caches, as kfree(). */
DK_PUBLIC void kmem_cache_free_bulk(struct kmem_cache *cache, size_t count, void **objects);
/* The object's size as asked for. */
DK_PUBLIC unsigned int kmem_cache_size(struct kmem_cache *cache);
/* The name it was created with. */
DK_PUBLIC const char *kmem_cache_name(struct kmem_cache *cache);

DK_END_DECLS

#endif
