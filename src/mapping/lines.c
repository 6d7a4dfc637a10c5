/* SPDX-License-Identifier: MIT */
/*
 * What a mapping call does to cache lines on a machine with two views.
 */
#include "mapping/mapping.h"

/* Each call that may move lines has a number of its own, so that eviction is the same in every run of one
 * seed. */
static void evict(struct dk_machine *machine, phys_addr_t phys, u64 size)
{
    u64 number;

    if (!machine->seed)
        return;
    number = __atomic_add_fetch(&machine->mapping->cache_events, 1, __ATOMIC_RELAXED);
    dk_cache_evict(machine->cache, number, phys, size);
}

void dk_lines_to_device(struct dk_machine *machine, phys_addr_t phys, u64 size)
{
    if (!machine->cache)
        return;
    evict(machine, phys, size);
    dk_cache_clean(machine->cache, phys, size);
}

void dk_lines_to_cpu(struct dk_machine *machine, phys_addr_t phys, u64 size,
                     enum dma_data_direction direction)
{
    if (!machine->cache)
        return;
    evict(machine, phys, size);
    if (direction != DMA_TO_DEVICE)
        dk_cache_invalidate(machine->cache, phys, size);
}

void dk_lines_flush(struct dk_machine *machine, phys_addr_t phys, u64 size)
{
    if (!machine->cache)
        return;
    dk_cache_clean(machine->cache, phys, size);
    dk_cache_invalidate(machine->cache, phys, size);
}

int dk_lines_uncache(struct dk_machine *machine, phys_addr_t phys, u64 size)
{
    if (!machine->cache)
        return 0;
    dk_lines_flush(machine, phys, size);
    return dk_memory_set_uncached(machine->memory, phys, size);
}

bool dk_lines_recache(struct dk_machine *machine, phys_addr_t phys, u64 size)
{
    if (!machine->cache || !dk_memory_clear_uncached(machine->memory, phys, size))
        return false;
    /* The lines hold what they held before, not what the CPU stored past them: they must not go down. */
    dk_cache_invalidate(machine->cache, phys, size);
    return true;
}

void dk_lines_sync(struct device *dev, void *cpu, size_t size, enum dma_data_direction direction)
{
    struct dk_machine *machine = dk_device_machine(dev);
    const char *at = cpu;

    while (size && !dev->dma_coherent) {
        struct dk_memory *memory = NULL;
        phys_addr_t phys;
        enum dk_address_kind kind = dk_address_find(at, &memory, &phys);
        size_t run = size, rest = PAGE_SIZE - ((uintptr_t)at & (PAGE_SIZE - 1));

        /* Behind an IOMMU an allocation may be made of pages from anywhere. */
        if (kind == DK_ADDRESS_VMALLOC && run > rest)
            run = rest;
        if ((kind != DK_ADDRESS_LINEAR && kind != DK_ADDRESS_VMALLOC) || memory != machine->memory ||
            !dk_memory_is_ram(memory, phys, run))
            return;
        if (direction != DMA_FROM_DEVICE)
            dk_lines_to_device(machine, phys, run);
        dk_lines_to_cpu(machine, phys, run, direction);
        at += run;
        size -= run;
    }
}
