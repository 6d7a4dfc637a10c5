/* SPDX-License-Identifier: MIT */
/*
 * The loops whose price with the checker is measured. Compiled twice: as they are, and with BENCH_CHECKED as
 * part of an instrumented program.
 */
#include "bench-ring.h"

#ifdef BENCH_CHECKED
#define LOOP(name) name##_checked
#else
#define LOOP(name) name
#endif

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

__attribute__((noinline)) void LOOP(dk_bench_ring_run)(struct bench_ring *ring, unsigned long count)
{
    run(ring, count, true);
}

__attribute__((noinline)) void LOOP(dk_bench_ring_run_plain)(struct bench_ring *ring, unsigned long count)
{
    run(ring, count, false);
}

/* CRC-32 of ordinary memory, byte by byte: two loads a byte, of which the second waits for the first. */
__attribute__((noinline)) void LOOP(dk_bench_ordinary_run)(struct bench_ring *ring, unsigned long count)
{
    for (unsigned long i = 0; i < count; i++) {
        u32 crc = ~0u;

        for (size_t at = 0; at < BENCH_ORDINARY; at++)
            crc = ring->table[(crc ^ ring->ordinary[at]) & 0xff] ^ crc >> 8;
        ring->ordinary[i % BENCH_ORDINARY] = (unsigned char)crc;
    }
}
