/* SPDX-License-Identifier: MIT */
/*
 * kmalloc() and its kin: slabs up to 8 KiB, pages of their own above.
 */
#include "mm/slab.h"

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
    object = dk_cache_take(cache, gfp);
    if (object && (gfp & __GFP_ZERO))
        memset(object, 0, cache->stride);
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
        size = (size_t)page->run << PAGE_SHIFT;
    pthread_mutex_unlock(&memory->pages_lock);
    return size;
}

static size_t size_of(const void *address)
{
    struct dk_memory *memory;
    phys_addr_t phys;
    size_t size;

    if (dk_address_find(address, &memory, &phys) != DK_ADDRESS_LINEAR)
        return 0;
    size = dk_object_size(memory, phys >> PAGE_SHIFT, address);
    return size ? size : large_size(memory, phys >> PAGE_SHIFT, address);
}

size_t ksize(const void *memory)
{
    size_t size = ZERO_OR_NULL_PTR(memory) ? 0 : size_of(memory);

    if (!size && !ZERO_OR_NULL_PTR(memory))
        dk_log(DK_LOG_WARNING, "ksize: %p is not what kmalloc() returned, or is free", memory);
    return size;
}

void kfree(const void *memory)
{
    struct dk_memory *owner;
    phys_addr_t phys;
    size_t size;
    u64 pfn;

    if (ZERO_OR_NULL_PTR(memory))
        return;
    if (dk_address_find(memory, &owner, &phys) != DK_ADDRESS_LINEAR) {
        dk_log(DK_LOG_WARNING, "kfree: %p is not a kmalloc() address of a machine", memory);
        return;
    }
    pfn = phys >> PAGE_SHIFT;
    if (dk_object_give(owner, pfn, memory, NULL, "kfree"))
        return;
    size = large_size(owner, pfn, memory);
    if (!size)
        dk_log(DK_LOG_WARNING, "kfree: %p is not what kmalloc() returned, or is free", memory);
    else
        dk_pages_give_marked(owner, dk_page_mapped(owner, pfn), size >> PAGE_SHIFT, DK_PAGE_LARGE, "kfree");
}

void *krealloc(const void *memory, size_t size, gfp_t gfp)
{
    size_t before;
    void *copy;

    if (!size) {
        kfree(memory);
        return ZERO_SIZE_PTR;
    }
    if (ZERO_OR_NULL_PTR(memory))
        return allocate(size, gfp, "krealloc");
    before = ksize(memory);
    if (!before)
        return NULL;
    if (before >= size)
        return (void *)(uintptr_t)memory;
    copy = allocate(size, gfp, "krealloc");
    if (!copy)
        return NULL;
    memcpy(copy, memory, before);
    kfree(memory);
    return copy;
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

void *kvmalloc(size_t size, gfp_t gfp)
{
    /* What does not fit into a page has another way, so its failure is none. */
    void *memory = NULL;

    if (size <= KMALLOC_MAX_SIZE)
        memory = allocate(size, size > PAGE_SIZE ? gfp | __GFP_NOWARN | __GFP_NORETRY : gfp, "kvmalloc");
    if (memory || size <= PAGE_SIZE || (gfp & GFP_KERNEL) != GFP_KERNEL)
        return memory;
    return gfp & __GFP_ZERO ? vzalloc(size) : vmalloc(size);
}

void *kvzalloc(size_t size, gfp_t gfp)
{
    return kvmalloc(size, gfp | __GFP_ZERO);
}

void kvfree(const void *memory)
{
    if (is_vmalloc_addr(memory))
        vfree(memory);
    else
        kfree(memory);
}
