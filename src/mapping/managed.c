/* SPDX-License-Identifier: MIT */
/*
 * Allocations that go with their device.
 */
#include "mapping/dispatch.h"

#include "base/alloc.h"

struct managed_allocation {
    struct list_head link; /* in the device's mapping_objects, guarded by its resources_lock */
    struct device *dev;
    size_t size;
    void *cpu;
    dma_addr_t dma;
    unsigned long attrs;
};

static void free_managed(void *data)
{
    struct managed_allocation *allocation = data;
    struct dk_device *device = allocation->dev->dk;

    pthread_mutex_lock(&device->resources_lock);
    list_del(&allocation->link);
    pthread_mutex_unlock(&device->resources_lock);
    dma_free_attrs(allocation->dev, allocation->size, allocation->cpu, allocation->dma, allocation->attrs);
    dk_release(allocation);
}

void *dk_managed_alloc(struct device *dev, size_t size, dma_addr_t *dma, gfp_t gfp, unsigned long attrs)
{
    struct managed_allocation *allocation;
    void *cpu;

    if (!dk_device_usable(dev, "dmam_alloc_attrs"))
        return NULL;
    allocation = dk_allocate(1, sizeof(*allocation));
    if (!allocation)
        return NULL;
    cpu = dma_alloc_attrs(dev, size, dma, gfp, attrs);
    if (!cpu)
        goto release;
    allocation->dev = dev;
    allocation->size = size;
    allocation->cpu = cpu;
    allocation->dma = *dma;
    allocation->attrs = attrs;
    pthread_mutex_lock(&dev->dk->resources_lock);
    list_add(&allocation->link, &dev->dk->mapping_objects);
    pthread_mutex_unlock(&dev->dk->resources_lock);
    if (devm_add_action(dev, free_managed, allocation))
        goto free;
    return cpu;

free:
    free_managed(allocation);
    return NULL;
release:
    dk_release(allocation);
    return NULL;
}

void dk_managed_free(struct device *dev, size_t size, void *cpu, dma_addr_t dma)
{
    struct managed_allocation *allocation, *found = NULL;

    if (!cpu || !dk_device_usable(dev, "dmam_free_coherent"))
        return;
    pthread_mutex_lock(&dev->dk->resources_lock);
    list_for_each_entry (allocation, &dev->dk->mapping_objects, link) {
        if (allocation->cpu == cpu)
            found = allocation;
    }
    pthread_mutex_unlock(&dev->dk->resources_lock);
    if (!found) {
        dk_device_log(dev, 0, "dmam_free_coherent: %p is no managed allocation of this device", cpu);
        return;
    }
    /* The driver's own size and handle go to the free, which says what is wrong with them. */
    found->size = size;
    found->dma = dma;
    devm_release_action(dev, free_managed, found);
}
