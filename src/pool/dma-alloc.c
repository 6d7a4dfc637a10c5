/* SPDX-License-Identifier: MIT */
/*
 * Coherent blocks of any size. Small ones are objects of a device's own caches, whose pages are coherent
 * memory: a slab's handle is its DMA address. Larger ones are coherent memory of their own, found by address.
 *
 * The checker knows each block, and not the chunks: what a device reaches between blocks is nobody's.
 */
#include "pool/dma-alloc.h"

#include "base/address-index.h"
#include "base/alloc.h"
#include "base/context.h"
#include "mapping/dispatch.h"
#include "mapping/remap.h"
#include "mm/slab.h"
#include <dmakit/dma-alloc.h>
#include <dmakit/vmalloc.h>
#include <string.h>

/* In cache lines. Powers of two come out aligned to themselves, since slabs start at pages. */
static const unsigned short class_lines[] = { 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128 };
#define CLASSES (sizeof(class_lines) / sizeof(class_lines[0]))
/* Blocks above this have pages of their own. */
#define LARGEST_CLASS (PAGE_SIZE / 2)

struct dk_dma_blocks {
    struct device *dev;
    unsigned class_count;
    struct kmem_cache classes[CLASSES];
    pthread_mutex_t lock; /* guards @large; never held while coherent memory is allocated or freed */
    struct dk_address_index large;
};

struct large_block {
    struct dk_address_entry entry; /* at its CPU address */
    dma_addr_t dma;
    size_t size;
};

/* ---- Chunks ---- */

static void *take_chunk(void *data, size_t size, gfp_t gfp, u64 *handle)
{
    struct dk_dma_blocks *blocks = data;
    dma_addr_t dma;
    void *cpu = dk_take_coherent(blocks->dev, "dma_alloc", size, &dma, gfp, 0);

    if (cpu)
        *handle = dma;
    return cpu;
}

static void give_chunk(void *data, void *pages, size_t size, u64 handle)
{
    struct dk_dma_blocks *blocks = data;
    const struct dk_waiting_free free = { .size = size, .cpu = pages, .dma = (dma_addr_t)handle };

    dk_release_coherent(blocks->dev, &free);
}

/* ---- A device's blocks ---- */

static void blocks_destroy(struct dk_dma_blocks *blocks)
{
    unsigned i;

    for (i = 0; i < blocks->class_count; i++)
        dk_cache_finish(&blocks->classes[i]);
    dk_address_index_finish(&blocks->large);
    pthread_mutex_destroy(&blocks->lock);
    dk_release(blocks);
}

/* NULL: out of memory. */
static struct dk_dma_blocks *blocks_create(struct device *dev)
{
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    struct dk_dma_blocks *blocks = dk_allocate(1, sizeof(*blocks));
    struct dk_page_source source = { take_chunk, give_chunk, blocks };
    size_t line = dk_memory_line(memory);

    if (!blocks)
        return NULL;
    blocks->dev = dev;
    pthread_mutex_init(&blocks->lock, NULL);
    while (blocks->class_count < CLASSES && class_lines[blocks->class_count] * line <= LARGEST_CLASS) {
        const struct dk_cache_shape shape = {
            .name = "dma_alloc",
            .size = class_lines[blocks->class_count] * line,
            .align = line,
            .flags = DK_SLAB_PRIVATE,
            .source = &source,
        };

        dk_cache_init(&blocks->classes[blocks->class_count++], memory->slab, &shape);
    }
    return blocks;
}

/* The blocks of @dev, made if need be. NULL: out of memory. Any context. */
static struct dk_dma_blocks *blocks_of(struct device *dev)
{
    struct dk_dma_blocks *blocks = __atomic_load_n(&dev->dk->blocks, __ATOMIC_ACQUIRE), *none = NULL;

    if (blocks)
        return blocks;
    blocks = blocks_create(dev);
    /* Another thread may be making them too: the first wins. */
    if (blocks && !__atomic_compare_exchange_n(&dev->dk->blocks, &none, blocks, false, __ATOMIC_ACQ_REL,
                                               __ATOMIC_ACQUIRE)) {
        blocks_destroy(blocks);
        return none;
    }
    return blocks;
}

static void free_large(void *value, void *data)
{
    struct large_block *block = value;
    const struct dk_waiting_free free = { .size = block->size,
                                          .cpu = (void *)(uintptr_t)block->entry.address,
                                          .dma = block->dma };

    dk_release_coherent(data, &free);
    dk_release(block);
}

void dk_dma_blocks_device_removed(struct device *dev)
{
    struct dk_dma_blocks *blocks = __atomic_exchange_n(&dev->dk->blocks, NULL, __ATOMIC_ACQ_REL);
    u64 left, i;

    if (!blocks)
        return;
    left = blocks->large.count;
    for (i = 0; i < blocks->class_count; i++)
        left += blocks->classes[i].objects;
    if (left && !dk_checked(dev))
        dk_device_log(dev, 1, "the device was removed with %llu blocks of dma_alloc() left", left);
    dk_address_index_each(&blocks->large, free_large, dev);
    blocks_destroy(blocks);
}

/* ---- Allocating ---- */

/* NULL: none, or none that the coherent mask of today reaches: chunks may be older. */
static void *take_small(struct dk_dma_blocks *blocks, struct kmem_cache *cache, dma_addr_t *dma, gfp_t gfp)
{
    struct device *dev = blocks->dev;
    void *cpu;
    u64 handle;

    if (!dk_cache_take(cache, gfp, &cpu, 1, "dma_alloc"))
        return NULL;
    if (!dk_cache_handle(cache, cpu, &handle) ||
        handle + (cache->size - 1) > dk_dma_limit(dev, dev->coherent_dma_mask)) {
        dk_object_give(cpu, cache, "dma_alloc");
        return NULL;
    }
    *dma = (dma_addr_t)handle;
    return cpu;
}

static void *take_large(struct dk_dma_blocks *blocks, size_t size, dma_addr_t *dma, gfp_t gfp)
{
    struct large_block *block = dk_allocate(1, sizeof(*block));
    bool room;

    if (!block)
        return NULL;
    block->size = size;
    block->entry.value = block;
    block->entry.address = dk_take_coherent(blocks->dev, "dma_alloc", size, &block->dma, gfp, 0);
    if (!block->entry.address) {
        dk_release(block);
        return NULL;
    }
    *dma = block->dma;
    pthread_mutex_lock(&blocks->lock);
    room = dk_address_index_grow(&blocks->large, 1);
    if (room)
        dk_address_index_add(&blocks->large, &block->entry);
    pthread_mutex_unlock(&blocks->lock);
    if (!room) {
        free_large(block, blocks->dev);
        return NULL;
    }
    return (void *)(uintptr_t)block->entry.address;
}

/* The smallest class that holds @size; NULL: none does. */
static struct kmem_cache *class_of(struct dk_dma_blocks *blocks, size_t size)
{
    unsigned i;

    for (i = 0; i < blocks->class_count; i++) {
        if (blocks->classes[i].size >= size)
            return &blocks->classes[i];
    }
    return NULL;
}

static void *take(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp)
{
    struct dk_dma_blocks *blocks = blocks_of(dev);
    struct kmem_cache *cache;
    void *cpu = NULL;

    if (!blocks)
        return NULL;
    cache = class_of(blocks, size);
    if (cache)
        cpu = take_small(blocks, cache, dma, gfp);
    /* A page of its own may be there where a chunk is not, or lie lower. */
    return cpu ? cpu : take_large(blocks, size, dma, gfp);
}

static void remember(struct device *dev, const void *cpu, dma_addr_t dma, size_t size)
{
    struct dk_mapping mapping = {
        .kind = DK_MAPPING_BLOCK,
        .dma = dma,
        .cpu = cpu,
        .size = size,
        .contiguous = is_vmalloc_addr(cpu) ? PAGE_SIZE - offset_in_page(cpu) : 0,
        .direction = DMA_BIDIRECTIONAL,
    };
    struct dk_memory *memory;
    phys_addr_t phys;

    if (!dk_checked(dev))
        return;
    if (dk_address_find(cpu, &memory, &phys) != DK_ADDRESS_HOST)
        mapping.phys = phys;
    dk_check_mapped(dev, "dma_alloc", &mapping);
}

void *dma_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp)
{
    const char *call = "dma_alloc";
    void *cpu;

    if (!dk_device_usable(dev, call) || !dk_size_usable(dev, call, size))
        return NULL;
    if (!dma || !dev->coherent_dma_mask) {
        dk_device_log(dev, 0, "%s: %s", call,
                      dma ? "the device has no coherent DMA mask" : "no place for the DMA address");
        return NULL;
    }
    dk_might_sleep_for(dev, gfp, call);
    /* It was said once that this thread must not sleep; from here on it does not. */
    if (dk_context()->atomic_depth)
        gfp &= ~__GFP_DIRECT_RECLAIM;
    cpu = take(dev, size, dma, (gfp & ~DK_ZONE_FLAGS) | __GFP_NOWARN);
    if (!cpu) {
        if (!(gfp & __GFP_NOWARN))
            dk_device_log(dev, 1, "%s: no coherent memory for %zu bytes under mask 0x%llx", call, size,
                          dev->coherent_dma_mask);
        return NULL;
    }
    if (gfp & __GFP_ZERO)
        memset(cpu, 0, size);
    remember(dev, cpu, *dma, size);
    return cpu;
}

/* ---- Freeing ---- */

/* Why [cpu, dma] is not freed; NULL: it was. */
static const char *give(struct dk_dma_blocks *blocks, const void *cpu, dma_addr_t dma)
{
    struct dk_memory *memory = dk_device_machine(blocks->dev)->memory;
    struct large_block *large;
    struct kmem_cache *cache;
    const char *wrong;
    u64 handle;

    cache = dk_object_cache(memory, cpu, &handle);
    if (cache >= blocks->classes && cache < blocks->classes + blocks->class_count) {
        if (handle != dma)
            return "has another DMA address";
        dk_object_give(cpu, cache, "dma_free");
        return NULL;
    }
    pthread_mutex_lock(&blocks->lock);
    large = dk_address_index_find(&blocks->large, cpu);
    wrong = !large              ? "is no live block of the device's"
            : large->dma != dma ? "has another DMA address"
                                : NULL;
    if (!wrong)
        dk_address_index_remove(&blocks->large, &large->entry);
    pthread_mutex_unlock(&blocks->lock);
    if (wrong)
        return wrong;
    /* Whole pages may sleep on their way back, as with dma_free_coherent(). */
    if (dk_context()->interrupt_depth)
        dk_might_sleep_for(blocks->dev, GFP_KERNEL, "dma_free");
    free_large(large, blocks->dev);
    return NULL;
}

void dma_free(struct device *dev, void *cpu, dma_addr_t dma)
{
    const struct dk_mapping asked = {
        .kind = DK_MAPPING_BLOCK, .dma = dma, .cpu = cpu, .direction = DMA_BIDIRECTIONAL
    };
    struct dk_dma_blocks *blocks;
    struct dk_mapping found;
    const char *wrong;

    if (!cpu || !dk_device_usable(dev, "dma_free"))
        return;
    if (dk_checked(dev)) {
        if (!dk_check_unmap(dev, "dma_free", &asked, &found))
            return;
        /* What was allocated is freed, so that one wrong argument is one report. */
        cpu = (void *)(uintptr_t)found.cpu;
    }
    blocks = __atomic_load_n(&dev->dk->blocks, __ATOMIC_ACQUIRE);
    wrong = blocks ? give(blocks, cpu, dma) : "is no block of the device's";
    if (wrong)
        dk_device_log(dev, 0, "dma_free: %p at 0x%llx %s", cpu, dma, wrong);
}
