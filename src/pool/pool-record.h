/* SPDX-License-Identifier: MIT */
/*
 * The record of a checked pool's block, and what it says of the block.
 */
#ifndef DK_POOL_POOL_RECORD_H
#define DK_POOL_POOL_RECORD_H

#include "pool/pool.h"
#include <dmakit/vmalloc.h>

/* Which of a block's bytes a device's write was reported of, so that what it left is not reported again. */
#define DK_POOL_TOLD_BODY 1u
#define DK_POOL_TOLD_FRONT 2u
#define DK_POOL_TOLD_BEHIND 4u

struct dk_pool_record {
    struct dk_pool_record *next; /* in the pool's free blocks */
    struct dk_pool_chunk *chunk;
    u32 index;
    u32 allocated, freed; /* stacks of the latest calls; 0: none */
    bool used;
    u8 told;
};

static inline char *dk_pool_record_cpu(const struct dk_pool_record *record)
{
    return record->chunk->start + dk_pool_layout_offset(&record->chunk->pool->state->layout, record->index);
}

static inline dma_addr_t dk_pool_record_dma(const struct dk_pool_record *record)
{
    return record->chunk->dma + (u64)(dk_pool_record_cpu(record) - record->chunk->start);
}

/* 0: no memory of a machine. */
static inline phys_addr_t dk_pool_phys(const void *cpu)
{
    struct dk_memory *memory;
    phys_addr_t phys = 0;

    return dk_address_find(cpu, &memory, &phys) == DK_ADDRESS_HOST ? 0 : phys;
}

/* The block, as reports and the checker of mappings name it. */
static inline struct dk_mapping dk_pool_record_mapping(const struct dk_pool_record *record)
{
    char *cpu = dk_pool_record_cpu(record);

    return (struct dk_mapping){
        .kind = DK_MAPPING_POOL_BLOCK,
        .dma = dk_pool_record_dma(record),
        .phys = dk_pool_phys(cpu),
        .cpu = cpu,
        .size = record->chunk->pool->size,
        .contiguous = is_vmalloc_addr(cpu) ? PAGE_SIZE : 0,
        .direction = DMA_BIDIRECTIONAL,
    };
}

#endif
