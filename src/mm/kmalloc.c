/* SPDX-License-Identifier: MIT */
/*
 * kmalloc() and its kin: slabs up to 8 KiB, pages of their own above.
 */
#include "mm/slab-quarantine.h"

#include "base/alloc.h"
#include "base/log.h"
#include <dmakit/vmalloc.h>
#include <string.h>

/* The smallest class that holds @size; NULL: it takes pages. Where devices see past the caches, only whole
 * lines will do. */
static struct kmem_cache *class_of(struct dk_memory *memory, size_t size, gfp_t gfp)
{
    struct kmem_cache *classes = memory->slab->kmalloc[(gfp & __GFP_DMA) != 0];
    unsigned i;

    for (i = 0; i < DK_KMALLOC_CLASSES; i++) {
        if (classes[i].size >= size && (!memory->two_views || classes[i].size % memory->line == 0))
            return &classes[i];
    }
    return NULL;
}

static void *take_pages(struct dk_memory *memory, size_t size, gfp_t gfp)
{
    size_t count = (size_t)1 << get_order(size);
    struct page *page;

    if (size > KMALLOC_MAX_SIZE) {
        if (!(gfp & __GFP_NOWARN))
            dk_log(DK_LOG_WARNING, "kmalloc: %zu bytes are more than KMALLOC_MAX_SIZE", size);
        return NULL;
    }
    page = dk_pages_take_marked(memory, gfp, count, count, 0, (phys_addr_t)-1, DK_PAGE_LARGE);
    return page ? page_address(page) : NULL;
}

/* kmalloc() for @call, which the reports name. */
static void *allocate(size_t size, gfp_t gfp, const char *call)
{
    struct dk_memory *memory = dk_current_for(call);
    struct kmem_cache *cache;
    void *object;

    dk_might_sleep_gfp(memory, gfp, call);
    if (!memory)
        return NULL;
    if (!size)
        return ZERO_SIZE_PTR;
    if (gfp & (__GFP_HIGHMEM | __GFP_DMA32)) {
        dk_log(DK_LOG_WARNING, "%s: __GFP_HIGHMEM and __GFP_DMA32 (gfp 0x%x) are not for it", call, gfp);
        gfp &= ~(__GFP_HIGHMEM | __GFP_DMA32);
    }
    if (dk_fault_point())
        return NULL;
    cache = class_of(memory, size, gfp);
    if (!cache)
        return take_pages(memory, size, gfp);
    if (!dk_cache_take(cache, gfp, &object, 1, call))
        return NULL;
    if (gfp & __GFP_ZERO)
        memset(object, 0, cache->size);
    return object;
}

void *kmalloc(size_t size, gfp_t gfp)
{
    return allocate(size, gfp, "kmalloc");
}

void *kzalloc(size_t size, gfp_t gfp)
{
    return allocate(size, gfp | __GFP_ZERO, "kzalloc");
}

void *kmalloc_array(size_t count, size_t size, gfp_t gfp)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : allocate(bytes, gfp, "kmalloc_array");
}

void *kcalloc(size_t count, size_t size, gfp_t gfp)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : allocate(bytes, gfp | __GFP_ZERO, "kcalloc");
}

/* The bytes of a kmalloc() with pages of its own that starts at @memory; 0: it is not one. */
static size_t large_size(struct dk_memory *memory, u64 pfn, const void *address)
{
    const struct page *page = dk_page_mapped(memory, pfn);
    size_t size = 0;

    if (!page || offset_in_page(address))
        return 0;
    pthread_mutex_lock(&memory->pages_lock);
    if ((dk_page_flags(page) & DK_PAGE_USED) && (dk_page_flags(page) & DK_PAGE_LARGE))
        size = (size_t)dk_page_run(page) << PAGE_SHIFT;
    pthread_mutex_unlock(&memory->pages_lock);
    return size;
}

static size_t size_of(const void *address)
{
    struct dk_memory *memory;
    phys_addr_t phys;
    size_t size = dk_object_size(address);

    if (size || dk_address_find(address, &memory, &phys) != DK_ADDRESS_LINEAR)
        return size;
    return large_size(memory, phys >> PAGE_SHIFT, address);
}

size_t ksize(const void *memory)
{
    size_t size = ZERO_OR_NULL_PTR(memory) ? 0 : size_of(memory);

    if (!size && !ZERO_OR_NULL_PTR(memory))
        dk_log(DK_LOG_WARNING, "ksize: %p is not what kmalloc() returned, or is free", memory);
    return size;
}

/* Frees the @size bytes at @phys, which are pages of their own. */
static void release_pages(struct dk_memory *memory, phys_addr_t phys, size_t size, const char *call)
{
    struct page *page = dk_page_mapped(memory, phys >> PAGE_SHIFT);
    struct dk_freed freed = { .call = call };

    dk_memory_freed(memory, phys, size, call, memory->quarantine ? &freed : NULL);
    if (!dk_quarantine_hold_pages(memory, page, size >> PAGE_SHIFT, &freed))
        dk_pages_give_marked(memory, page, size >> PAGE_SHIFT, DK_PAGE_LARGE, call);
}

/* Frees @memory for @call; NULL and ZERO_SIZE_PTR are fine. */
static void release(const void *memory, const char *call)
{
    struct dk_memory *owner;
    phys_addr_t phys;
    size_t size = 0;

    if (ZERO_OR_NULL_PTR(memory) || dk_object_give(memory, NULL, call))
        return;
    if (dk_address_find(memory, &owner, &phys) == DK_ADDRESS_LINEAR)
        size = large_size(owner, phys >> PAGE_SHIFT, memory);
    if (size)
        release_pages(owner, phys, size, call);
    else
        dk_slab_refuse(owner ? owner : dk_memory_current(), "slab-invalid-free", call, memory,
                       "is not what kmalloc() returned, or is free");
}

void kfree(const void *memory)
{
    release(memory, "kfree");
}

void kfree_sensitive(const void *memory)
{
    size_t size = ZERO_OR_NULL_PTR(memory) ? 0 : size_of(memory);

    /* What is no object is refused by the free. The barrier keeps the compiler from dropping the stores. */
    if (size) {
        memset((void *)(uintptr_t)memory, 0, size);
        __asm__ volatile("" : : "r"(memory) : "memory");
    }
    release(memory, "kfree_sensitive");
}

void kfree_bulk(size_t count, void **objects)
{
    size_t i;

    for (i = 0; i < count; i++)
        release(objects[i], "kfree_bulk");
}

size_t kmalloc_size_roundup(size_t size)
{
    struct dk_memory *memory = dk_memory_current();
    const struct kmem_cache *cache;

    if (!size || size > KMALLOC_MAX_SIZE || !memory)
        return size;
    cache = class_of(memory, size, 0);
    return cache ? cache->size : PAGE_SIZE << get_order(size);
}

/* krealloc() for @call. */
static void *reallocate(const void *memory, size_t size, gfp_t gfp, const char *call)
{
    size_t before;
    void *copy;

    if (!size) {
        release(memory, call);
        return ZERO_SIZE_PTR;
    }
    if (ZERO_OR_NULL_PTR(memory))
        return allocate(size, gfp, call);
    before = size_of(memory);
    if (!before) {
        dk_slab_refuse(dk_memory_current(), "slab-invalid-free", call, memory,
                       "is not what kmalloc() returned, or is free");
        return NULL;
    }
    if (before >= size)
        return (void *)(uintptr_t)memory;
    copy = allocate(size, gfp, call);
    if (!copy)
        return NULL;
    memcpy(copy, memory, before);
    release(memory, call);
    return copy;
}

void *krealloc(const void *memory, size_t size, gfp_t gfp)
{
    return reallocate(memory, size, gfp, "krealloc");
}

void *krealloc_array(void *memory, size_t count, size_t size, gfp_t gfp)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL
                                                       : reallocate(memory, bytes, gfp, "krealloc_array");
}

void *kmemdup(const void *from, size_t size, gfp_t gfp)
{
    void *copy = allocate(size, gfp, "kmemdup");

    if (copy && size)
        memcpy(copy, from, size);
    return copy;
}

char *kstrdup(const char *string, gfp_t gfp)
{
    size_t size;
    char *copy;

    if (!string)
        return NULL;
    size = strlen(string) + 1;
    copy = allocate(size, gfp, "kstrdup");
    return copy ? memcpy(copy, string, size) : NULL;
}

/* kvmalloc() for @call. */
static void *allocate_anywhere(size_t size, gfp_t gfp, const char *call)
{
    /* What does not fit into a page has another way, so its failure is none. */
    void *memory = NULL;

    if (size <= KMALLOC_MAX_SIZE)
        memory = allocate(size, size > PAGE_SIZE ? gfp | __GFP_NOWARN | __GFP_NORETRY : gfp, call);
    if (memory || size <= PAGE_SIZE || (gfp & GFP_KERNEL) != GFP_KERNEL)
        return memory;
    return gfp & __GFP_ZERO ? vzalloc(size) : vmalloc(size);
}

void *kvmalloc(size_t size, gfp_t gfp)
{
    return allocate_anywhere(size, gfp, "kvmalloc");
}

void *kvzalloc(size_t size, gfp_t gfp)
{
    return allocate_anywhere(size, gfp | __GFP_ZERO, "kvzalloc");
}

void *kvmalloc_array(size_t count, size_t size, gfp_t gfp)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL
                                                       : allocate_anywhere(bytes, gfp, "kvmalloc_array");
}

void *kvcalloc(size_t count, size_t size, gfp_t gfp)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes)
               ? NULL
               : allocate_anywhere(bytes, gfp | __GFP_ZERO, "kvcalloc");
}

void kvfree(const void *memory)
{
    if (is_vmalloc_addr(memory))
        vfree(memory);
    else
        kfree(memory);
}
