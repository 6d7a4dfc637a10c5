/* SPDX-License-Identifier: MIT */
/*
 * The program whose price with the checker is measured: a network card's receive loop. The card fills a
 * buffer by DMA and marks its descriptor; the driver takes the buffer back, sums its bytes one by one, and
 * gives it to the card again.
 */
#include "bench-ring.h"
#include "base/alloc.h"

unsigned long dk_bench_ring_received(const struct bench_ring *ring)
{
    u64 packet = 0;

    for (size_t i = 0; i < BENCH_BUFFER; i++)
        packet += (unsigned char)ring->packet[i];
    return ring->sum == packet * ring->received ? ring->received : 0;
}

static int fill(struct bench_ring *ring, unsigned index)
{
    dma_addr_t dma;

    ring->buffers[index] = kmalloc(BENCH_BUFFER, GFP_KERNEL);
    if (!ring->buffers[index])
        return -ENOMEM;
    dma = dma_map_single(ring->dev, ring->buffers[index], BENCH_BUFFER, DMA_FROM_DEVICE);
    if (dma_mapping_error(ring->dev, dma))
        return -ENOMEM;
    ring->dma[index] = dma;
    ring->descriptors[index] = (struct ring_descriptor){ .address = dma, .length = BENCH_BUFFER };
    return 0;
}

struct bench_ring *dk_bench_ring_create(struct dk_machine *machine)
{
    struct bench_ring *ring = dk_allocate(1, sizeof(*ring));
    struct dk_machine *before;
    int error;

    if (!ring)
        return ERR_PTR(-ENOMEM);
    for (unsigned i = 0; i < RING_SIZE; i++)
        ring->dma[i] = DMA_MAPPING_ERROR;
    for (unsigned i = 0; i < BENCH_BUFFER; i++)
        ring->packet[i] = (char)(i * 7);
    for (u32 i = 0; i < 256; i++) {
        ring->table[i] = i;
        for (unsigned bit = 0; bit < 8; bit++)
            ring->table[i] = ring->table[i] >> 1 ^ (ring->table[i] & 1 ? 0xedb88320u : 0);
    }
    ring->ordinary = dk_allocate(BENCH_ORDINARY, 1);
    if (!ring->ordinary) {
        dk_release(ring);
        return ERR_PTR(-ENOMEM);
    }
    ring->dev = dk_bench_device(machine, "ring");
    if (IS_ERR(ring->dev)) {
        error = PTR_ERR_OR_ZERO(ring->dev);
        ring->dev = NULL;
        goto fail;
    }
    ring->descriptors = dma_alloc_coherent(ring->dev, RING_SIZE * sizeof(struct ring_descriptor),
                                           &ring->descriptors_dma, GFP_KERNEL);
    if (!ring->descriptors) {
        error = -ENOMEM;
        goto fail;
    }
    before = dk_machine_enter(machine);
    error = 0;
    for (unsigned i = 0; i < RING_SIZE && !error; i++)
        error = fill(ring, i);
    dk_machine_enter(before);
    if (error)
        goto fail;
    return ring;

fail:
    dk_bench_ring_destroy(ring);
    return ERR_PTR(error);
}

void dk_bench_ring_destroy(struct bench_ring *ring)
{
    if (!ring)
        return;
    for (unsigned i = 0; i < RING_SIZE; i++) {
        if (ring->dma[i] != DMA_MAPPING_ERROR)
            dma_unmap_single(ring->dev, ring->dma[i], BENCH_BUFFER, DMA_FROM_DEVICE);
        kfree(ring->buffers[i]);
    }
    if (ring->descriptors)
        dma_free_coherent(ring->dev, RING_SIZE * sizeof(struct ring_descriptor), ring->descriptors,
                          ring->descriptors_dma);
    dk_device_remove(ring->dev);
    dk_release(ring->ordinary);
    dk_release(ring);
}
