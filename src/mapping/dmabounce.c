/* SPDX-License-Identifier: MIT */
#include <dmakit/dmabounce.h>

#include "mapping/bounce.h"
#include "mapping/dispatch.h"

#define BUFFERS 64u
#define SMALLEST_POOL ((size_t)DK_BOUNCE_SLOT * DK_BOUNCE_SEGMENT)
#define LARGEST_POOL ((size_t)PAGE_SIZE << MAX_PAGE_ORDER)

/* Bytes of a pool of buffers of @large bytes: a power of two, so that one block of pages holds it. */
static size_t pool_size(unsigned long large)
{
    size_t size = SMALLEST_POOL;

    while (size < LARGEST_POOL && size / BUFFERS < large)
        size <<= 1;
    return size;
}

static void note(const struct dk_mapping *mapping, void *data)
{
    (void)mapping;
    *(bool *)data = true;
}

int dmabounce_register_dev(struct device *dev, unsigned long small_buffer_size,
                           unsigned long large_buffer_size,
                           int (*needs_bounce_to_dma)(struct device *dev, dma_addr_t address, size_t size))
{
    size_t size = pool_size(large_buffer_size);
    struct dk_bounce_pool *pool;
    struct page *pages;
    bool in_use = false;

    (void)small_buffer_size;
    if (!dk_device_usable(dev, "dmabounce_register_dev") || !large_buffer_size ||
        large_buffer_size > dk_bounce_max_mapping(dev) || dev->dma_ops != &dk_direct_ops)
        return -EINVAL;
    dk_might_sleep_for(dev, GFP_KERNEL, "dmabounce_register_dev");
    /* Undoing looks for buffers in the pool that the device has then. */
    dk_check_each_mapping(dev, note, &in_use);
    if (in_use || dev->dk->bounce || dev->dk->needs_bounce)
        return -EBUSY;
    pages = dk_direct_take(dev, size >> PAGE_SHIFT, GFP_KERNEL);
    if (!pages)
        return -ENOMEM;
    pool = dk_bounce_create(dk_device_machine(dev), page_to_phys(pages), size, dk_device_path(dev));
    if (IS_ERR(pool)) {
        dk_give_pages(dev, pages, size >> PAGE_SHIFT);
        return (int)PTR_ERR(pool);
    }
    dev->dk->bounce_pages = pages;
    dev->dk->bounce = pool;
    dev->dk->needs_bounce = needs_bounce_to_dma;
    dk_mapping_refresh(dev);
    return 0;
}

void dk_bounce_leave(struct device *dev)
{
    struct page *pages = dev->dk->bounce_pages;
    struct dk_bounce_pool *pool = dev->dk->bounce;
    u64 slots, used, most;

    dev->dk->needs_bounce = NULL;
    if (!pages)
        return;
    dk_bounce_usage(pool, &slots, &used, &most);
    dev->dk->bounce = NULL;
    dev->dk->bounce_pages = NULL;
    dk_bounce_destroy(pool);
    dk_give_pages(dev, pages, (size_t)(slots * DK_BOUNCE_SLOT >> PAGE_SHIFT));
}

void dmabounce_unregister_dev(struct device *dev)
{
    u64 slots, used, most;

    if (!dk_device_usable(dev, "dmabounce_unregister_dev"))
        return;
    dk_might_sleep_for(dev, GFP_KERNEL, "dmabounce_unregister_dev");
    if (!dev->dk->bounce_pages) {
        dk_device_log(dev, 1, "dmabounce_unregister_dev: the device was never registered");
        return;
    }
    dev->dk->needs_bounce = NULL;
    dk_bounce_usage(dev->dk->bounce, &slots, &used, &most);
    if (used)
        dk_device_log(dev, 0, "dmabounce_unregister_dev: %llu slots are in use: the pool stays", used);
    else
        dk_bounce_leave(dev);
    dk_mapping_refresh(dev);
}
