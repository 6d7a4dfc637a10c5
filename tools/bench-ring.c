/* SPDX-License-Identifier: MIT */
/*
 * The program whose price with the checker is measured: a network card's receive loop. The card fills a
 * buffer by DMA and marks its descriptor; the driver takes the buffer back, sums its bytes one by one, and
 * gives it to the card again.
 */
#include "base/alloc.h"
#include "bench.h"

#define RING_SIZE 64

struct ring_descriptor {
    u64 address;
    u32 length;
    u32 done; /* 1: the card has filled the buffer */
};

struct bench_ring {
    struct device *dev;
    struct ring_descriptor *descriptors;
    dma_addr_t descriptors_dma;
    char *buffers[RING_SIZE];
    dma_addr_t dma[RING_SIZE]; /* DMA_MAPPING_ERROR: not mapped */
    unsigned next;
    unsigned long received;
    u64 sum; /* of all bytes received */
    char packet[BENCH_BUFFER];
};

/* The card's side: the next packet, by bus address alone. */
static void card_receive(struct bench_ring *ring, unsigned index)
{
    dma_addr_t at = ring->descriptors_dma + index * sizeof(struct ring_descriptor);
    u64 address = 0;
    u32 done = 1;

    dk_master_read(ring->dev, at, &address, sizeof(address));
    dk_master_write(ring->dev, address, ring->packet, sizeof(ring->packet));
    dk_master_write(ring->dev, at + offsetof(struct ring_descriptor, done), &done, sizeof(done));
}

/* One byte after the other: the empty statement keeps the compiler from adding several at once. */
static u32 sum_bytes(const char *bytes, size_t length)
{
    u32 sum = 0;

    for (size_t i = 0; i < length; i++) {
        sum += (unsigned char)bytes[i];
        __asm__ volatile("" : "+r"(sum));
    }
    return sum;
}

static inline __attribute__((always_inline)) void run(struct bench_ring *ring, unsigned long count, bool maps)
{
    for (unsigned long i = 0; i < count; i++) {
        unsigned index = ring->next;
        struct ring_descriptor *descriptor = &ring->descriptors[index];

        card_receive(ring, index);
        if (!__atomic_load_n(&descriptor->done, __ATOMIC_RELAXED))
            continue;
        dma_rmb();
        if (maps)
            dma_unmap_single(ring->dev, ring->dma[index], BENCH_BUFFER, DMA_FROM_DEVICE);
        ring->sum += sum_bytes(ring->buffers[index], BENCH_BUFFER);
        if (maps) {
            ring->dma[index] = dma_map_single(ring->dev, ring->buffers[index], BENCH_BUFFER, DMA_FROM_DEVICE);
            if (dma_mapping_error(ring->dev, ring->dma[index]))
                return;
        }
        descriptor->address = ring->dma[index];
        dma_wmb();
        __atomic_store_n(&descriptor->done, 0, __ATOMIC_RELAXED);
        ring->next = (index + 1) % RING_SIZE;
        ring->received++;
    }
}

__attribute__((noinline)) void dk_bench_ring_run(struct bench_ring *ring, unsigned long count)
{
    run(ring, count, true);
}

__attribute__((noinline)) void dk_bench_ring_run_plain(struct bench_ring *ring, unsigned long count)
{
    run(ring, count, false);
}

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
    dk_release(ring);
}
