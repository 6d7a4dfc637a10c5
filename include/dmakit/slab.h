/* SPDX-License-Identifier: MIT */
/*
 * Small memory of the current machine: kmalloc() and caches of equal objects.
 *
 * Nothing is ever written into a free object, and bookkeeping stands outside. Frees find the machine by
 * address; a free of anything that is not an allocated object (the middle of one, one that is free, host
 * memory) is refused with a log line and changes nothing.
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
#define SLAB_HWCACHE_ALIGN                                                                               \
    ((slab_flags_t)0x1u)                      /* on cache lines; below half a line: on a half, and so on \
                                               */
#define SLAB_CACHE_DMA ((slab_flags_t)0x2u)   /* from ZONE_DMA */
#define SLAB_CACHE_DMA32 ((slab_flags_t)0x4u) /* from below 4 GiB */
#define SLAB_PANIC ((slab_flags_t)0x8u)       /* has no effect: nothing ends the process */
#define SLAB_ACCOUNT ((slab_flags_t)0x10u)    /* has no effect */
#define SLAB_RECLAIM_ACCOUNT ((slab_flags_t)0x20u) /* has no effect */

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
/* How many bytes the object really has; 0 for NULL, ZERO_SIZE_PTR, and what is no object (with a log line).
 */
DK_PUBLIC size_t ksize(const void *memory);
/* A copy of @string (NULL: NULL), of @size bytes at @from. Freed with kfree(). NULL as kmalloc(). */
DK_PUBLIC char *kstrdup(const char *string, gfp_t gfp) __attribute__((warn_unused_result));
DK_PUBLIC void *kmemdup(const void *from, size_t size, gfp_t gfp) __attribute__((warn_unused_result));

/* kmalloc(), or vmalloc() where that finds nothing contiguous (GFP_KERNEL only). May sleep. Freed with
 * kvfree(). */
DK_PUBLIC void *kvmalloc(size_t size, gfp_t gfp) __attribute__((warn_unused_result));
DK_PUBLIC void *kvzalloc(size_t size, gfp_t gfp) __attribute__((warn_unused_result));
/* What kmalloc() or vmalloc() returned; NULL is fine. May sleep. */
DK_PUBLIC void kvfree(const void *memory);

struct kmem_cache;

/*
 * A cache of objects of @size bytes, at multiples of @align (0: 8; a power of two), of the current machine.
 * @constructor (or NULL) runs once on each object when its memory is taken, not at each allocation: an object
 * is freed in its constructed state. NULL: @size 0 or above KMALLOC_MAX_SIZE, a bad @align, out of memory, no
 * current machine. May sleep. @name is copied.
 */
DK_PUBLIC struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align,
                                               slab_flags_t flags, void (*constructor)(void *object));
/* Objects that are still allocated keep it alive: a log line names them, and nothing is freed. NULL is fine.
 * May sleep. */
DK_PUBLIC void kmem_cache_destroy(struct kmem_cache *cache);
/* An object, or NULL when memory is short. Sleeps as kmalloc() does. */
DK_PUBLIC void *kmem_cache_alloc(struct kmem_cache *cache, gfp_t gfp) __attribute__((warn_unused_result));
/* Cleared; in a cache with a constructor the object is left as constructed, with a log line. */
DK_PUBLIC void *kmem_cache_zalloc(struct kmem_cache *cache, gfp_t gfp) __attribute__((warn_unused_result));
/* An object of another cache is refused. NULL is fine. Any context. */
DK_PUBLIC void kmem_cache_free(struct kmem_cache *cache, void *object);
/* The object's size as asked for. */
DK_PUBLIC unsigned int kmem_cache_size(struct kmem_cache *cache);

DK_END_DECLS

#endif
