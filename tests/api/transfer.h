/* SPDX-License-Identifier: MIT */
/*
 * A cell of the transfer tables: on one kind of bus, under one mask and with one seed, every way of mapping
 * moves bytes both ways through a bus master, and nothing is reported.
 */
#ifndef TESTS_API_TRANSFER_H
#define TESTS_API_TRANSFER_H

#include "api.h"

/* Where the memory that is mapped comes from. */
enum transfer_memory {
    TRANSFER_LOW_IF_NARROW, /* GFP_DMA where the mask has less than 64 bits: what a device without help must
                               use */
    TRANSFER_LOW,           /* GFP_DMA */
    TRANSFER_ANY,           /* GFP_KERNEL: the highest there is */
};

struct transfer_row {
    const char *name;
    const char *board;
    unsigned smallest_mask; /* bits: what dma_set_mask() takes there at least */
    bool coherent;
    bool pool; /* the device takes its reserved memory first */
    enum transfer_memory memory;
    const char *arguments; /* the machine's */
    const char *device;    /* an alias; NULL: "nic" */
    /* Whether a mapping of @phys at @dma is what the row is about; NULL: any is. */
    bool (*is_right)(struct device *dev, phys_addr_t phys, dma_addr_t dma);
    /* What this row has beyond the common ways; NULL: nothing. */
    void (*more)(struct device *dev);
};

/* The device reads @size bytes (at most 8 KiB) that were filled with @tag, or writes such. */
bool transfer_to_device(struct device *dev, dma_addr_t dma, size_t size, unsigned tag);
void transfer_from_device(struct device *dev, dma_addr_t dma, size_t size, unsigned tag);

/* All the ways, or, under a mask too narrow for @row, that it is refused. */
void transfer_cell(const struct transfer_row *row, unsigned mask, uint64_t seed);
/* Each row under masks of 24, 30, 32 and 64 bits, with seeds 0 to 3. */
void transfer_table(const struct transfer_row *rows, size_t count);

#endif
