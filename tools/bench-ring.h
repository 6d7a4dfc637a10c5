/* SPDX-License-Identifier: MIT */
/*
 * What the program of the check-depth rows works on: shared by what sets it up (bench-ring.c) and its loops
 * (bench-ring-loop.c), which are compiled twice.
 */
#ifndef DK_TOOLS_BENCH_RING_H
#define DK_TOOLS_BENCH_RING_H

#include "bench.h"

#define RING_SIZE 64
/* Bytes of ordinary memory that one round of its loop reads. */
#define BENCH_ORDINARY 256

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
    unsigned char *ordinary; /* BENCH_ORDINARY bytes of the host's */
    u32 table[256];          /* of the CRC */
};

#endif
