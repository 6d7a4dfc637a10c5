/* SPDX-License-Identifier: MIT */
#include "pool/pool-freed.h"

#include <stdio.h>

static struct dk_pool_chunk *chunk_with(struct dk_pool_state *state, const void *cpu)
{
    struct dk_pool_chunk *chunk;

    list_for_each_entry (chunk, &state->chunks, link) {
        if ((uintptr_t)cpu - (uintptr_t)chunk->start < chunk->pages << PAGE_SHIFT)
            return chunk;
    }
    return NULL;
}

/* The record of the block in use that begins at @dma. */
static struct dk_pool_record *record_with(struct dk_pool_state *state, dma_addr_t dma)
{
    struct dk_pool_chunk *chunk;

    list_for_each_entry (chunk, &state->chunks, link) {
        u64 offset = dma - chunk->dma;
        ssize_t within;

        if (offset < (u64)chunk->pages << PAGE_SHIFT) {
            size_t index = dk_pool_layout_nearest(&state->layout, (size_t)offset, chunk->blocks, &within);

            return within || !chunk->records[index].used ? NULL : &chunk->records[index];
        }
    }
    return NULL;
}

struct dk_pool_freed dk_pool_freed_look(struct dk_pool_state *state, const void *cpu, dma_addr_t dma)
{
    struct dk_pool_chunk *chunk = dk_pool_chunk_find(state, cpu);
    struct dk_pool_freed found = { .what = DK_FREED_NOTHING };
    struct dk_pool_record *record = NULL;

    if (!chunk)
        chunk = chunk_with(state, cpu);
    if (chunk)
        record = &chunk->records[dk_pool_layout_nearest(
            &state->layout, (size_t)((const char *)cpu - chunk->start), chunk->blocks, &found.within)];
    if (record && !found.within) {
        found.what = !record->used                       ? DK_FREED_FREE
                     : dk_pool_record_dma(record) == dma ? DK_FREED_RIGHT
                                                         : DK_FREED_OTHER_DMA;
        found.record = record;
    }
    if (found.what == DK_FREED_NOTHING || found.what == DK_FREED_OTHER_DMA) {
        struct dk_pool_record *by_dma = record_with(state, dma);

        if (by_dma) {
            found.what = DK_FREED_OTHER_CPU;
            record = by_dma;
        }
    }
    if (found.what == DK_FREED_NOTHING && record && found.within > 0 &&
        found.within < (ssize_t)state->layout.size && record->used)
        found.what = DK_FREED_INSIDE;
    if (record && found.what != DK_FREED_NOTHING)
        found.block = *record;
    return found;
}

/* Another pool has the address. */
static void look_there(struct dk_pool_state *other, void *data)
{
    struct dk_pool_freed *found = data;
    const struct dk_pool_chunk *chunk = dk_pool_chunk_find(other, found->cpu);

    found->what = DK_FREED_OTHER_POOL;
    found->block = chunk->records[dk_pool_layout_nearest(
        &other->layout, (size_t)((const char *)found->cpu - chunk->start), chunk->blocks, &found->within)];
    snprintf(found->other, sizeof(found->other), "%s", other->name);
}

static void describe(struct dk_pool_state *state, const struct dk_pool_freed *found, struct dk_pool_bug *bug)
{
    const struct dk_mapping *block = bug->memory;

    bug->class_name = "free-not-allocated";
    switch (found->what) {
    case DK_FREED_FREE:
        bug->freed = found->block.freed;
        snprintf(bug->what, sizeof(bug->what),
                 "dma_pool_free() of a block of pool %.64s, at %p, that is free%s", state->name, bug->cpu,
                 found->block.freed ? " already" : ", and was never in use");
        break;
    case DK_FREED_INSIDE:
        snprintf(bug->what, sizeof(bug->what),
                 "dma_pool_free() of %p, %zd bytes inside a block of pool %.64s, at %p, that is in use",
                 bug->cpu, found->within, state->name, block->cpu);
        break;
    case DK_FREED_OTHER_DMA:
        snprintf(
            bug->what, sizeof(bug->what),
            "dma_pool_free() of a block of pool %.64s, at %p, with the DMA address 0x%llx and not its 0x%llx",
            state->name, bug->cpu, bug->dma, block->dma);
        bug->advice = "give the DMA address that dma_pool_alloc() told with the block";
        break;
    case DK_FREED_OTHER_CPU:
        bug->class_name = "free-wrong-cpu-address";
        snprintf(
            bug->what, sizeof(bug->what),
            "dma_pool_free() of a block of pool %.64s, at 0x%llx, with the CPU address %p and not its %p",
            state->name, bug->dma, bug->cpu, block->cpu);
        break;
    case DK_FREED_OTHER_POOL:
        bug->class_name = "pool-wrong-pool";
        snprintf(bug->what, sizeof(bug->what), "dma_pool_free() to pool %.64s of a block, at %p, of pool %s",
                 state->name, bug->cpu, found->other);
        break;
    default:
        snprintf(bug->what, sizeof(bug->what), "dma_pool_free() to pool %.64s of %p, which is no block of it",
                 state->name, bug->cpu);
        break;
    }
}

void dk_pool_freed_report(struct dk_pool_state *state, struct dk_pool_freed *found, const void *cpu,
                          dma_addr_t dma)
{
    struct dk_mapping mapping;
    struct dk_pool_bug bug = {
        .call = "dma_pool_free",
        .access_kind = "call",
        .cpu = cpu,
        .dma = dma,
        .length = state->layout.size,
    };

    if (found->what == DK_FREED_NOTHING) {
        found->cpu = cpu;
        dk_pools_find(state, cpu, look_there, found);
    }
    if (found->what != DK_FREED_NOTHING) {
        mapping = dk_pool_record_mapping(&found->block);
        bug.memory = &mapping;
        bug.stack = found->block.allocated;
        if (found->what == DK_FREED_INSIDE) {
            bug.offset = (u64)found->within;
            bug.length -= bug.offset;
        }
    }
    describe(state, found, &bug);
    dk_check_pool(state->dev, &bug);
}
