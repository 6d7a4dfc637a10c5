/* SPDX-License-Identifier: MIT */
/*
 * A pool of coherent memory: a device's own, or the machine's default. Blocks are powers of two of pages,
 * found in a bitmap.
 */
#include "mapping/mapping.h"

#include "base/alloc.h"
#include "base/log.h"
#include <string.h>

struct dk_coherent_pool {
    struct dk_machine *machine;
    phys_addr_t phys;   /* as the board or the driver gave it: maybe in the uncached alias */
    phys_addr_t target; /* where its bytes are: RAM */
    dma_addr_t device_base;
    bool own_offset; /* a device's window gives its address, instead of @device_base */
    size_t pages;
    unsigned char *used; /* one a page; guarded by @lock */
    pthread_mutex_t lock;
};

struct dk_coherent_pool *dk_coherent_pool_create(struct dk_machine *machine, phys_addr_t phys, u64 size,
                                                 dma_addr_t device_base, bool own_offset)
{
    struct dk_coherent_pool *pool;
    int error = -ENOMEM;

    if (!size || (phys | size) & (PAGE_SIZE - 1) || phys + (size - 1) < phys)
        return ERR_PTR(-EINVAL);
    pool = dk_allocate(1, sizeof(*pool));
    if (!pool)
        return ERR_PTR(-ENOMEM);
    pool->machine = machine;
    pool->phys = phys;
    pool->target = dk_alias_to_memory(machine, phys);
    pool->device_base = device_base;
    pool->own_offset = own_offset;
    pool->pages = size >> PAGE_SHIFT;
    pool->used = dk_allocate(pool->pages, 1);
    if (!pool->used)
        goto release;
    if (!dk_memory_is_ram(machine->memory, pool->target, size)) {
        error = dk_memory_add(machine->memory, pool->target, size);
        if (error)
            goto release_bitmap;
    }
    pthread_mutex_init(&pool->lock, NULL);
    return pool;

release_bitmap:
    dk_release(pool->used);
release:
    dk_release(pool);
    return ERR_PTR(error);
}

void dk_coherent_pool_destroy(struct dk_coherent_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_destroy(&pool->lock);
    dk_release(pool->used);
    dk_release(pool);
}

/* The address at which @dev finds page @index; false when no window of its bus leads there. */
static bool block_dma(const struct dk_coherent_pool *pool, const struct device *dev, size_t index, u64 size,
                      dma_addr_t *dma)
{
    phys_addr_t offset = (phys_addr_t)index << PAGE_SHIFT;

    if (!pool->own_offset) {
        *dma = pool->device_base + offset;
        return true;
    }
    if (!dev) {
        *dma = pool->phys + offset;
        return true;
    }
    return dk_phys_to_dma(dev, pool->phys + offset, size, dma) ||
           dk_phys_to_dma(dev, pool->target + offset, size, dma);
}

/* A run's kernel addresses are consecutive only within one section. */
static bool in_one_section(phys_addr_t phys, u64 size)
{
    return phys >> DK_SLOT_SHIFT == (phys + size - 1) >> DK_SLOT_SHIFT;
}

/* The first free, aligned block of @count pages, marked as used; pool->pages when there is none. */
static size_t claim(struct dk_coherent_pool *pool, size_t count)
{
    size_t at, i;

    pthread_mutex_lock(&pool->lock);
    for (at = 0; at + count <= pool->pages; at += count) {
        for (i = 0; i < count && !pool->used[at + i]; i++)
            ;
        if (i == count && in_one_section(pool->target + ((u64)at << PAGE_SHIFT), (u64)count << PAGE_SHIFT))
            break;
    }
    if (at + count <= pool->pages)
        memset(pool->used + at, 1, count);
    else
        at = pool->pages;
    pthread_mutex_unlock(&pool->lock);
    return at;
}

static void unclaim(struct dk_coherent_pool *pool, size_t at, size_t count)
{
    pthread_mutex_lock(&pool->lock);
    memset(pool->used + at, 0, count);
    pthread_mutex_unlock(&pool->lock);
}

/*
 * The CPU's address of a block that is now @dev's. A device that snoops shares the CPU's own view with it;
 * any other shares DRAM, which no cached line may then cover. NULL: out of memory.
 */
static char *show_block(struct dk_coherent_pool *pool, const struct device *dev, phys_addr_t phys, u64 size)
{
    if (!dk_memory_section(pool->machine->memory, phys))
        return NULL;
    if (dev && dev->dma_coherent) {
        /* Who had the block before may have left it otherwise. */
        if (!dk_lines_recache(pool->machine, phys, size))
            dk_lines_flush(pool->machine, phys, size);
        return dk_memory_cached(pool->machine->memory, phys);
    }
    if (dk_lines_uncache(pool->machine, phys, size))
        return NULL;
    return dk_memory_dram(pool->machine->memory, phys);
}

void *dk_coherent_pool_take(struct dk_coherent_pool *pool, struct device *dev, size_t size, dma_addr_t *dma)
{
    size_t count = (size_t)1 << get_order(size);
    phys_addr_t phys;
    size_t at;
    char *cpu;

    if (count > pool->pages || dk_fault_point())
        return NULL;
    at = claim(pool, count);
    if (at == pool->pages)
        return NULL;
    if (!block_dma(pool, dev, at, (u64)count << PAGE_SHIFT, dma)) {
        dk_log(DK_LOG_WARNING, "%s: no window leads to the coherent pool at 0x%llx", dev_name(dev),
               pool->phys);
        goto unclaim;
    }
    if (dev && *dma + (((u64)count << PAGE_SHIFT) - 1) > dk_dma_limit(dev, dev->coherent_dma_mask)) {
        dk_device_log(dev, 1, "the coherent pool at DMA address 0x%llx is beyond the coherent mask 0x%llx",
                      *dma, dev->coherent_dma_mask);
        goto unclaim;
    }
    phys = pool->target + ((phys_addr_t)at << PAGE_SHIFT);
    cpu = show_block(pool, dev, phys, (u64)count << PAGE_SHIFT);
    if (!cpu)
        goto unclaim;
    memset(cpu, 0, count << PAGE_SHIFT);
    return cpu;

unclaim:
    unclaim(pool, at, count);
    return NULL;
}

bool dk_coherent_pool_holds(const struct dk_coherent_pool *pool, const void *cpu, u64 size, phys_addr_t *phys)
{
    struct dk_memory *memory = NULL;
    u64 bytes = (u64)pool->pages << PAGE_SHIFT;

    switch (dk_address_find(cpu, &memory, phys)) {
    case DK_ADDRESS_UNCACHED:
    case DK_ADDRESS_LINEAR:
    case DK_ADDRESS_HOLE:
        break;
    default:
        return false;
    }
    return memory == pool->machine->memory && *phys >= pool->target && size <= bytes &&
           *phys - pool->target <= bytes - size;
}

bool dk_coherent_pool_locate(const struct dk_coherent_pool *pool, const struct device *dev, const void *cpu,
                             dma_addr_t dma, u64 size, phys_addr_t *phys)
{
    u64 offset;
    dma_addr_t page;

    if (!dk_coherent_pool_holds(pool, cpu, size, phys))
        return false;
    offset = *phys & (PAGE_SIZE - 1);
    return block_dma(pool, dev, (size_t)((*phys - pool->target) >> PAGE_SHIFT), PAGE_SIZE, &page) &&
           page + offset == dma;
}

bool dk_coherent_pool_give(struct dk_coherent_pool *pool, const void *cpu, unsigned order)
{
    u64 count = 1ull << order;
    phys_addr_t phys;

    if (count > pool->pages || !dk_coherent_pool_holds(pool, cpu, count << PAGE_SHIFT, &phys))
        return false;
    dk_lines_recache(pool->machine, phys, count << PAGE_SHIFT);
    unclaim(pool, (phys - pool->target) >> PAGE_SHIFT, (size_t)count);
    return true;
}

int dk_coherent_pool_mmap(const struct dk_coherent_pool *pool, struct vm_area_struct *vma, const void *cpu,
                          u64 size)
{
    phys_addr_t phys;

    if (!dk_coherent_pool_holds(pool, cpu, size, &phys))
        return -ENXIO;
    return dk_vma_show(pool->machine->memory, vma, phys, size,
                       dk_memory_is_uncached(pool->machine->memory, phys, size));
}

/* ---- A device's own pool ---- */

int dma_declare_coherent_memory(struct device *dev, phys_addr_t phys, dma_addr_t device_address, size_t size)
{
    struct dk_coherent_pool *pool;

    if (!dev || device_address + (size - 1) < device_address)
        return -EINVAL;
    if (dev->dk->coherent_pool)
        return -EBUSY;
    pool = dk_coherent_pool_create(dk_device_machine(dev), phys, size, device_address, false);
    if (IS_ERR(pool))
        return (int)PTR_ERR(pool);
    dev->dk->coherent_pool = pool;
    dev->dk->coherent_pool_own = true;
    return 0;
}

void dma_release_coherent_memory(struct device *dev)
{
    if (!dev || !dev->dk->coherent_pool)
        return;
    if (dev->dk->coherent_pool_own)
        dk_coherent_pool_destroy(dev->dk->coherent_pool);
    dev->dk->coherent_pool = NULL;
    dev->dk->coherent_pool_own = false;
}

void *dma_mark_declared_memory_occupied(struct device *dev, dma_addr_t device_address, size_t size)
{
    struct dk_coherent_pool *pool = dev ? dev->dk->coherent_pool : NULL;
    size_t first, count, i;
    bool busy = false;
    dma_addr_t base;
    char *cpu;

    if (!pool || !size || !block_dma(pool, dev, 0, (u64)pool->pages << PAGE_SHIFT, &base))
        return ERR_PTR(-EINVAL);
    if (device_address < base || (device_address - base) >> PAGE_SHIFT >= pool->pages)
        return ERR_PTR(-EINVAL);
    first = (size_t)((device_address - base) >> PAGE_SHIFT);
    /* Whole pages, from the one that holds the first byte to the one that holds the last. */
    count = (size_t)PFN_UP((device_address & (PAGE_SIZE - 1)) + (u64)size);
    if (count > pool->pages - first)
        return ERR_PTR(-EINVAL);
    pthread_mutex_lock(&pool->lock);
    for (i = 0; i < count; i++)
        busy = busy || pool->used[first + i];
    if (!busy)
        memset(pool->used + first, 1, count);
    pthread_mutex_unlock(&pool->lock);
    if (busy)
        return ERR_PTR(-EBUSY);
    cpu = show_block(pool, dev, pool->target + ((u64)first << PAGE_SHIFT), (u64)count << PAGE_SHIFT);
    if (!cpu) {
        unclaim(pool, first, count);
        return ERR_PTR(-ENOMEM);
    }
    return cpu + (device_address & (PAGE_SIZE - 1));
}
