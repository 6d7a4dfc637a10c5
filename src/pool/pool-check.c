/* SPDX-License-Identifier: MIT */
#include "pool/pool-check.h"

#include "base/alloc.h"
#include "base/context.h"
#include "base/log.h"
#include "pool/pool-freed.h"
#include "pool/pool-masters.h"
#include <stdio.h>
#include <string.h>

/* What is in a free block, and around all of them. A bug that writes just these bytes is not seen. */
#define FREE_BYTE 0xd5
#define ZONE_BYTE 0xb9

u32 dk_pool_check_stack(struct dk_pool_state *state)
{
    return state->checked ? dk_check_stack(state->dev) : 0;
}

/* ---- Patterns ---- */

/* The first of @size bytes that is not @byte; @size: all are. */
static size_t first_other(const char *bytes, size_t size, unsigned char byte)
{
    u64 pattern = byte * 0x0101010101010101ull, word;
    size_t i = 0;

    for (; i + sizeof(word) <= size; i += sizeof(word)) {
        memcpy(&word, bytes + i, sizeof(word));
        if (word != pattern)
            break;
    }
    while (i < size && (unsigned char)bytes[i] == byte)
        i++;
    return i;
}

static size_t last_other(const char *bytes, size_t size, unsigned char byte)
{
    while (size && (unsigned char)bytes[size - 1] == byte)
        size--;
    return size;
}

/* ---- Chunks ---- */

/* [cpu, cpu + size) of a chunk is in no block in use from here on, or no longer so. */
static void set_vacant(const struct dk_pool_state *state, const char *cpu, size_t size, bool vacant)
{
    size_t run;

    if (dk_device_machine(state->dev)->depth < 3)
        return;
    for (; size; cpu += run, size -= run) {
        run = PAGE_SIZE - ((uintptr_t)cpu & (PAGE_SIZE - 1));
        if (run > size)
            run = size;
        dk_check_vacant(state->dev, dk_pool_phys(cpu), run, vacant);
    }
}

bool dk_pool_check_enter(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    if (!state->checked)
        return true;
    chunk->records = dk_allocate(chunk->blocks, sizeof(*chunk->records));
    if (!chunk->records)
        return false;
    memset(chunk->start, ZONE_BYTE, chunk->pages << PAGE_SHIFT);
    for (size_t i = 0; i < chunk->blocks; i++) {
        chunk->records[i].chunk = chunk;
        chunk->records[i].index = (u32)i;
        memset(dk_pool_record_cpu(&chunk->records[i]), FREE_BYTE, state->layout.size);
    }
    set_vacant(state, chunk->start, chunk->pages << PAGE_SHIFT, true);
    /* Last: from here on bus masters find them. */
    return dk_pool_places_enter(state, chunk);
}

void dk_pool_check_leave(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    dk_pool_places_leave(state, chunk);
    if (chunk->records)
        set_vacant(state, chunk->start, chunk->pages << PAGE_SHIFT, false);
    dk_release(chunk->records);
    chunk->records = NULL;
}

static void add_free(struct dk_pool_state *state, struct dk_pool_record *record)
{
    record->next = NULL;
    *state->last = record;
    state->last = &record->next;
    record->chunk->free++;
    state->free++;
}

void dk_pool_check_add(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    for (size_t i = 0; i < chunk->blocks; i++)
        add_free(state, &chunk->records[i]);
}

/* ---- Allocating ---- */

/* The block that was freed longest ago, in use now; *before is what it was. NULL: there is none. */
static struct dk_pool_record *take(struct dk_pool_state *state, u32 stack, struct dk_pool_record *before)
{
    struct dk_pool_record *record;

    pthread_mutex_lock(&state->lock);
    record = state->first;
    if (record) {
        state->first = record->next;
        if (!state->first)
            state->last = &state->first;
        record->chunk->free--;
        state->free--;
        *before = *record;
        record->used = true;
        record->allocated = stack;
        record->told &= (u8)~DK_POOL_TOLD_BODY;
    }
    pthread_mutex_unlock(&state->lock);
    return record;
}

/* @then: what @call does with the block. */
static void check_body(struct dk_pool_state *state, const char *call, const char *then,
                       const struct dk_pool_record *before)
{
    const struct dk_mapping mapping = dk_pool_record_mapping(before);
    char *cpu = dk_pool_record_cpu(before);
    size_t first = first_other(cpu, state->layout.size, FREE_BYTE);
    struct dk_pool_bug bug = {
        .class_name = "pool-use-after-free",
        .call = call,
        .access_kind = "call",
        .memory = &mapping,
        .stack = before->allocated,
        .freed = before->freed,
        .cpu = cpu + first,
        .dma = mapping.dma + first,
        .offset = first,
        .length = last_other(cpu, state->layout.size, FREE_BYTE) - first,
    };

    if (first == state->layout.size || before->told & DK_POOL_TOLD_BODY)
        return;
    snprintf(
        bug.what, sizeof(bug.what),
        "byte %zu of a block of pool %.64s, at %p, was written while the block was free, as %s() sees that %s",
        first, state->name, (void *)cpu, call, then);
    dk_check_pool(state->dev, &bug);
}

void *dk_pool_check_alloc(struct dk_pool_state *state, const char *call, gfp_t gfp, dma_addr_t *dma)
{
    struct dk_pool_record *record, before;
    u32 stack = dk_check_stack(state->dev);
    struct dk_mapping mapping;

    dk_might_sleep_for(state->dev, gfp, call);
    /* That was said; more memory would say it again. */
    if (dk_context()->atomic_depth)
        gfp &= ~__GFP_DIRECT_RECLAIM;
    while (!(record = take(state, stack, &before))) {
        if (!dk_pool_grow(state, call, gfp))
            return NULL;
    }
    check_body(state, call, "hands it out again", &before);
    mapping = dk_pool_record_mapping(record);
    set_vacant(state, mapping.cpu, state->layout.size, false);
    dk_check_mapped(state->dev, call, &mapping);
    *dma = mapping.dma;
    return (void *)(uintptr_t)mapping.cpu;
}

/* ---- Freeing ---- */

/* A zone of a block: @bytes of it from @cpu on. */
static void check_zone(struct dk_pool_state *state, const struct dk_pool_record *record, bool behind)
{
    const struct dk_mapping mapping = dk_pool_record_mapping(record);
    size_t size = state->layout.size, zone = state->layout.zone;
    char *cpu = (char *)(uintptr_t)mapping.cpu + (behind ? (ptrdiff_t)size : -(ptrdiff_t)zone);
    size_t first = first_other(cpu, zone, ZONE_BYTE), end = last_other(cpu, zone, ZONE_BYTE);
    struct dk_pool_bug bug = {
        .class_name = "pool-overrun",
        .call = "dma_pool_free",
        .access_kind = "call",
        .memory = &mapping,
        .stack = record->allocated,
        .cpu = cpu + first,
        .dma = mapping.dma + (u64)(cpu + first - (char *)(uintptr_t)mapping.cpu),
        .offset = behind ? size + first : 0,
        .length = end - first,
    };
    bool told = record->told & (behind ? DK_POOL_TOLD_BEHIND : DK_POOL_TOLD_FRONT);

    if (first == zone)
        return;
    if (behind)
        snprintf(
            bug.what, sizeof(bug.what),
            "the bytes from %zu to %zu behind a block of %zu bytes of pool %.64s, at %p, were written: byte "
            "%zu of the block is the first",
            first, end - 1, size, state->name, mapping.cpu, size + first);
    else
        snprintf(
            bug.what, sizeof(bug.what),
            "the bytes from %zu to %zu in front of a block of %zu bytes of pool %.64s, at %p, were written: "
            "byte -%zu of the block is the first",
            zone - first, zone - end + 1, size, state->name, mapping.cpu, zone - first);
    if (!told)
        dk_check_pool(state->dev, &bug);
    memset(cpu, ZONE_BYTE, zone);
}

void dk_pool_check_free(struct dk_pool_state *state, void *cpu, dma_addr_t dma)
{
    u32 stack = dk_check_stack(state->dev);
    struct dk_pool_record *record;
    struct dk_mapping mapping;
    struct dk_pool_freed found;

    pthread_mutex_lock(&state->lock);
    found = dk_pool_freed_look(state, cpu, dma);
    record = found.what == DK_FREED_RIGHT ? found.record : NULL;
    if (record) {
        record->used = false;
        record->freed = stack;
    }
    pthread_mutex_unlock(&state->lock);
    if (!record) {
        dk_pool_freed_report(state, &found, cpu, dma);
        return;
    }
    mapping = dk_pool_record_mapping(record);
    dk_check_forget(state->dev, &mapping);
    check_zone(state, &found.block, false);
    check_zone(state, &found.block, true);
    memset(cpu, FREE_BYTE, state->layout.size);
    set_vacant(state, cpu, state->layout.size, true);
    pthread_mutex_lock(&state->lock);
    record->told &= DK_POOL_TOLD_BODY;
    add_free(state, record);
    pthread_mutex_unlock(&state->lock);
}

/* ---- Ending ---- */

void dk_pool_check_unused(struct dk_pool_state *state)
{
    const struct dk_pool_record *record;

    for (record = state->first; record; record = record->next)
        check_body(state, "dma_pool_destroy", "ends the pool", record);
}

void dk_pool_check_busy(struct dk_pool_state *state)
{
    struct dk_pool_chunk *chunk;

    list_for_each_entry (chunk, &state->chunks, link) {
        for (size_t i = 0; i < chunk->blocks; i++) {
            const struct dk_pool_record *record = &chunk->records[i];
            const struct dk_mapping mapping = dk_pool_record_mapping(record);
            struct dk_pool_bug bug = {
                .class_name = "pool-destroyed-busy",
                .call = "dma_pool_destroy",
                .access_kind = "call",
                .memory = &mapping,
                .stack = record->allocated,
                .cpu = mapping.cpu,
                .dma = mapping.dma,
                .length = mapping.size,
            };

            if (!record->used)
                continue;
            snprintf(bug.what, sizeof(bug.what),
                     "pool %.64s was destroyed with its block at %p still in use: its memory stays until the "
                     "device goes",
                     state->name, mapping.cpu);
            dk_check_forget(state->dev, &mapping);
            dk_check_pool(state->dev, &bug);
        }
    }
}

void dk_pool_check_left(struct dk_pool_state *state, const char *call)
{
    size_t unused = state->free + (state->checked ? 0 : dk_pool_magazines_held(state->pool));
    struct dk_mapping mapping = {
        .kind = DK_MAPPING_POOL,
        .dma = DMA_MAPPING_ERROR,
        .size = state->pages << PAGE_SHIFT,
        .direction = DMA_BIDIRECTIONAL,
    };
    struct dk_pool_bug bug = {
        .class_name = "leak-at-remove",
        .call = call,
        .access_kind = "call",
        .memory = &mapping,
        .stack = state->stack,
        .dma = DMA_MAPPING_ERROR,
        .advice = "destroy the pool on every path that ends the driver, before the device goes",
    };

    if (!list_empty(&state->chunks)) {
        const struct dk_pool_chunk *oldest = list_last_entry(&state->chunks, struct dk_pool_chunk, link);

        mapping.dma = bug.dma = oldest->dma;
        mapping.cpu = bug.cpu = oldest->start;
    }
    snprintf(bug.what, sizeof(bug.what), "pool %.64s was not destroyed; %zu of its %zu blocks are in use",
             state->name, state->blocks - unused, state->blocks);
    if (state->checked)
        dk_check_pool(state->dev, &bug);
    else
        dk_device_log(state->dev, DK_LOG_WARNING, "%s: %s", call, bug.what);
}

void dk_pool_check_destroyed(struct dk_pool_state *state, const char *call, const char *class_name,
                             const void *cpu, dma_addr_t dma)
{
    struct dk_pool_bug bug = {
        .class_name = class_name,
        .call = call,
        .access_kind = "call",
        .cpu = cpu,
        .dma = dma,
        .advice = "destroy a pool once, when nothing of the driver uses it any more",
    };

    snprintf(bug.what, sizeof(bug.what), "%s() for pool %.64s, which is destroyed", call, state->name);
    if (state->checked)
        dk_check_pool(state->dev, &bug);
    else
        dk_device_log(state->dev, DK_LOG_ERROR, "%s", bug.what);
}
