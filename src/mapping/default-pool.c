/* SPDX-License-Identifier: MIT */
/*
 * The machine-wide coherent pool, as an interface of its own.
 */
#include "mapping/mapping.h"

#include "base/log.h"

static struct dk_mapping_state *state_of(struct device *dev)
{
    struct dk_machine *machine = dev ? dk_device_machine(dev) : dk_machine_current();

    return machine ? machine->mapping : NULL;
}

void *dma_alloc_from_global_coherent(struct device *dev, ssize_t size, dma_addr_t *dma)
{
    struct dk_mapping_state *state = state_of(dev);

    if (!state || !state->default_pool || size <= 0)
        return NULL;
    return dk_coherent_pool_take(state->default_pool, dev, (size_t)size, dma);
}

int dma_release_from_global_coherent(int order, void *cpu)
{
    struct dk_mapping_state *state = state_of(NULL);

    if (!state || !state->default_pool || order < 0 || order >= 52)
        return 0;
    return dk_coherent_pool_give(state->default_pool, cpu, (unsigned)order);
}

int dma_mmap_from_global_coherent(struct vm_area_struct *vma, void *cpu, size_t size, int *result)
{
    struct dk_mapping_state *state = state_of(NULL);
    phys_addr_t phys;

    if (!state || !state->default_pool || !dk_coherent_pool_holds(state->default_pool, cpu, size, &phys))
        return 0;
    *result = dk_coherent_pool_mmap(state->default_pool, vma, cpu, size);
    return 1;
}

int dma_init_global_coherent(phys_addr_t phys, size_t size)
{
    struct dk_mapping_state *state = state_of(NULL);
    struct dk_coherent_pool *pool;
    phys_addr_t target;
    bool ram;
    int error;

    if (!state)
        return -ENODEV;
    target = dk_alias_to_memory(state->machine, phys);
    ram = size && dk_memory_is_ram(state->machine->memory, target, size);
    pool = dk_coherent_pool_create(state->machine, phys, size, 0, true);
    if (IS_ERR(pool))
        return (int)PTR_ERR(pool);
    /* Last, because it cannot be undone. Memory that the pool itself has added was never the page
     * allocator's. */
    error = ram ? dk_memory_reserve(state->machine->memory, target, size, false) : 0;
    if (error) {
        dk_coherent_pool_destroy(pool);
        return error;
    }
    if (state->default_pool)
        dk_log(DK_LOG_WARNING, "the default coherent pool is redefined: now 0x%llx + 0x%zx", phys, size);
    /* Blocks of the pool before stay readable: their memory is the machine's. */
    dk_coherent_pool_destroy(state->own_pool);
    state->own_pool = pool;
    state->default_pool = pool;
    return 0;
}
