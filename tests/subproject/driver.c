/* SPDX-License-Identifier: MIT */
/*
 * The DMA part of a driver as Linux drivers spell it: it compiles with `pkg-config --cflags dmakit-linux` and
 * nothing else.
 */
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/gfp.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/of_reserved_mem.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

struct ring {
    struct device *dev;
    spinlock_t lock;
    void *descriptors;
    dma_addr_t descriptors_dma;
    void *buffer;
    dma_addr_t buffer_dma;
};

#define RING_BYTES 4096
#define BUFFER_BYTES 2048

int ring_init(struct ring *ring, struct device *dev);
void ring_fini(struct ring *ring);

int ring_init(struct ring *ring, struct device *dev)
{
    int ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(32));

    if (ret)
        return ret;
    ring->dev = dev;
    spin_lock_init(&ring->lock);
    ring->descriptors = dma_alloc_coherent(dev, RING_BYTES, &ring->descriptors_dma, GFP_KERNEL);
    if (!ring->descriptors)
        return -ENOMEM;
    ret = -ENOMEM;
    ring->buffer = kzalloc(BUFFER_BYTES, GFP_KERNEL);
    if (!ring->buffer)
        goto free_descriptors;
    ring->buffer_dma = dma_map_single(dev, ring->buffer, BUFFER_BYTES, DMA_FROM_DEVICE);
    if (dma_mapping_error(dev, ring->buffer_dma))
        goto free_buffer;
    return 0;

free_buffer:
    kfree(ring->buffer);
free_descriptors:
    dma_free_coherent(dev, RING_BYTES, ring->descriptors, ring->descriptors_dma);
    return ret;
}

void ring_fini(struct ring *ring)
{
    dma_unmap_single(ring->dev, ring->buffer_dma, BUFFER_BYTES, DMA_FROM_DEVICE);
    kfree(ring->buffer);
    dma_free_coherent(ring->dev, RING_BYTES, ring->descriptors, ring->descriptors_dma);
}
