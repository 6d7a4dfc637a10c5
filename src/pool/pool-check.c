/* SPDX-License-Identifier: MIT */
#include "pool/pool-check.h"

#include "base/alloc.h"
#include "base/context.h"
#include "base/log.h"
#include <dmakit/vmalloc.h>
#include <stdio.h>
#include <string.h>

/* What is in a free block, and around all of them. A bug that writes just these bytes is not seen. */
#define FREE_BYTE 0xd5
#define ZONE_BYTE 0xb9

/* Which of a block's bytes a device's write was reported of, so that what it left is not reported again. */
#define TOLD_BODY 1u
#define TOLD_FRONT 2u
#define TOLD_BEHIND 4u

struct dk_pool_record {
    struct dk_pool_record *next; /* in the pool's free blocks */
    struct dk_pool_chunk *chunk;
    u32 index;
    u32 allocated, freed; /* stacks of the latest calls; 0: none */
    bool used;
    u8 told;
};

static char *cpu_of(const struct dk_pool_record *record)
{
    return record->chunk->start + dk_pool_layout_offset(&record->chunk->pool->state->layout, record->index);
}

static dma_addr_t dma_of(const struct dk_pool_record *record)
{
    return record->chunk->dma + (u64)(cpu_of(record) - record->chunk->start);
}

static phys_addr_t phys_of(const void *cpu)
{
    struct dk_memory *memory;
    phys_addr_t phys = 0;

    return dk_address_find(cpu, &memory, &phys) == DK_ADDRESS_HOST ? 0 : phys;
}

static struct dk_mapping mapping_of(const struct dk_pool_record *record)
{
    char *cpu = cpu_of(record);

    return (struct dk_mapping){
        .kind = DK_MAPPING_POOL_BLOCK,
        .dma = dma_of(record),
        .phys = phys_of(cpu),
        .cpu = cpu,
        .size = record->chunk->pool->size,
        .contiguous = is_vmalloc_addr(cpu) ? PAGE_SIZE : 0,
        .direction = DMA_BIDIRECTIONAL,
    };
}

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

/* ---- Where bus masters find blocks ---- */

#define PLACE_BITS 12
#define PLACES ((size_t)1 << PLACE_BITS)

/* A page of a chunk. */
struct dk_pool_place {
    struct dk_pool_place *next; /* of the same hash; guarded by dk_pools' lock */
    u64 frame;                  /* physical address >> PAGE_SHIFT; ~0: not entered */
    struct dk_pool_chunk *chunk;
    size_t offset; /* in it */
};

static size_t hash_of(u64 frame)
{
    return (size_t)(frame * 0x9e3779b97f4a7c15ull >> (64 - PLACE_BITS));
}

/* Under the lock. */
static bool make_places(struct dk_pools *pools)
{
    struct dk_pool_place **places = pools->places;

    if (!places)
        places = dk_allocate(PLACES, sizeof(*places));
    __atomic_store_n(&pools->places, places, __ATOMIC_RELEASE);
    return places;
}

void dk_pool_places_free(struct dk_pools *pools)
{
    dk_release(pools->places);
}

static bool enter_places(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    struct dk_pools *pools = dk_pools_of(state);
    bool made;

    chunk->places = dk_allocate(chunk->pages, sizeof(*chunk->places));
    if (!chunk->places)
        return false;
    for (size_t i = 0; i < chunk->pages; i++) {
        phys_addr_t phys = phys_of(chunk->start + (i << PAGE_SHIFT));

        chunk->places[i] = (struct dk_pool_place){
            .frame = phys ? phys >> PAGE_SHIFT : ~0ull,
            .chunk = chunk,
            .offset = i << PAGE_SHIFT,
        };
    }
    pthread_mutex_lock(&pools->lock);
    made = make_places(pools);
    for (size_t i = 0; made && i < chunk->pages; i++) {
        struct dk_pool_place *place = &chunk->places[i];

        place->next = pools->places[hash_of(place->frame)];
        pools->places[hash_of(place->frame)] = place;
    }
    pthread_mutex_unlock(&pools->lock);
    if (!made) {
        dk_release(chunk->places);
        chunk->places = NULL;
    }
    return made;
}

static void leave_places(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    struct dk_pools *pools = dk_pools_of(state);

    if (!chunk->places)
        return;
    pthread_mutex_lock(&pools->lock);
    for (size_t i = 0; i < chunk->pages; i++) {
        struct dk_pool_place **at = &pools->places[hash_of(chunk->places[i].frame)];

        while (*at != &chunk->places[i])
            at = &(*at)->next;
        *at = chunk->places[i].next;
    }
    pthread_mutex_unlock(&pools->lock);
    dk_release(chunk->places);
    chunk->places = NULL;
}

/* ---- Chunks ---- */

bool dk_pool_check_enter(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    if (!state->checked)
        return true;
    chunk->records = dk_allocate(chunk->blocks, sizeof(*chunk->records));
    if (!chunk->records || !enter_places(state, chunk))
        return false;
    memset(chunk->start, ZONE_BYTE, chunk->pages << PAGE_SHIFT);
    for (size_t i = 0; i < chunk->blocks; i++) {
        chunk->records[i].chunk = chunk;
        chunk->records[i].index = (u32)i;
        memset(cpu_of(&chunk->records[i]), FREE_BYTE, state->layout.size);
    }
    return true;
}

void dk_pool_check_leave(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    leave_places(state, chunk);
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
        record->told &= (u8)~TOLD_BODY;
    }
    pthread_mutex_unlock(&state->lock);
    return record;
}

static void check_body(struct dk_pool_state *state, const char *call, const struct dk_pool_record *before)
{
    const struct dk_mapping mapping = mapping_of(before);
    char *cpu = cpu_of(before);
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

    if (first == state->layout.size || before->told & TOLD_BODY)
        return;
    snprintf(
        bug.what, sizeof(bug.what),
        "byte %zu of a block of pool %.64s, at %p, was written while the block was free, as %s() sees that "
        "hands it out again",
        first, state->name, (void *)cpu, call);
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
    check_body(state, call, &before);
    mapping = mapping_of(record);
    dk_check_mapped(state->dev, call, &mapping);
    *dma = mapping.dma;
    return (void *)(uintptr_t)mapping.cpu;
}

/* ---- Freeing ---- */

/* A zone of a block: @bytes of it from @cpu on. */
static void check_zone(struct dk_pool_state *state, const struct dk_pool_record *record, bool behind)
{
    const struct dk_mapping mapping = mapping_of(record);
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
    bool told = record->told & (behind ? TOLD_BEHIND : TOLD_FRONT);

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

/* What addresses that were freed have to do with @state. Copies: no lock is held afterwards. */
struct finding {
    enum {
        RIGHT,
        NOTHING,    /* known of them */
        FREE,       /* a block's, that is not in use */
        INSIDE,     /* of a block that is in use */
        OTHER_DMA,  /* a block in use, with another DMA address */
        OTHER_CPU,  /* the DMA address of a block in use, with another CPU address */
        OTHER_POOL, /* of another pool */
    } what;
    struct dk_pool_record *record; /* RIGHT alone */
    struct dk_pool_record block;   /* the one that they have to do with */
    ssize_t within;
    const void *cpu; /* OTHER_POOL: which is given to it */
    char other[64];  /* OTHER_POOL: its name */
};

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

/* Under the lock. */
static struct finding look(struct dk_pool_state *state, const void *cpu, dma_addr_t dma)
{
    struct dk_pool_chunk *chunk = dk_pool_chunk_find(state, cpu);
    struct finding found = { .what = NOTHING };
    struct dk_pool_record *record = NULL;

    if (!chunk)
        chunk = chunk_with(state, cpu);
    if (chunk)
        record = &chunk->records[dk_pool_layout_nearest(
            &state->layout, (size_t)((const char *)cpu - chunk->start), chunk->blocks, &found.within)];
    if (record && !found.within) {
        found.what = !record->used ? FREE : dma_of(record) == dma ? RIGHT : OTHER_DMA;
        found.record = record;
    }
    if (found.what == NOTHING || found.what == OTHER_DMA) {
        struct dk_pool_record *by_dma = record_with(state, dma);

        if (by_dma) {
            found.what = OTHER_CPU;
            record = by_dma;
        }
    }
    if (found.what == NOTHING && record && found.within > 0 && found.within < (ssize_t)state->layout.size &&
        record->used)
        found.what = INSIDE;
    if (record && found.what != NOTHING)
        found.block = *record;
    return found;
}

/* Another pool has the address. */
static void look_there(struct dk_pool_state *other, void *data)
{
    struct finding *found = data;
    const struct dk_pool_chunk *chunk = dk_pool_chunk_find(other, found->cpu);

    found->what = OTHER_POOL;
    found->block = chunk->records[dk_pool_layout_nearest(
        &other->layout, (size_t)((const char *)found->cpu - chunk->start), chunk->blocks, &found->within)];
    snprintf(found->other, sizeof(found->other), "%s", other->name);
}

static void describe(struct dk_pool_state *state, const struct finding *found, struct dk_pool_bug *bug)
{
    const struct dk_mapping *block = bug->memory;

    bug->class_name = "free-not-allocated";
    switch (found->what) {
    case FREE:
        bug->freed = found->block.freed;
        snprintf(bug->what, sizeof(bug->what),
                 "dma_pool_free() of a block of pool %.64s, at %p, that is free%s", state->name, bug->cpu,
                 found->block.freed ? " already" : ", and was never in use");
        break;
    case INSIDE:
        snprintf(bug->what, sizeof(bug->what),
                 "dma_pool_free() of %p, %zd bytes inside a block of pool %.64s, at %p, that is in use",
                 bug->cpu, found->within, state->name, block->cpu);
        break;
    case OTHER_DMA:
        snprintf(
            bug->what, sizeof(bug->what),
            "dma_pool_free() of a block of pool %.64s, at %p, with the DMA address 0x%llx and not its 0x%llx",
            state->name, bug->cpu, bug->dma, block->dma);
        bug->advice = "give the DMA address that dma_pool_alloc() told with the block";
        break;
    case OTHER_CPU:
        bug->class_name = "free-wrong-cpu-address";
        snprintf(
            bug->what, sizeof(bug->what),
            "dma_pool_free() of a block of pool %.64s, at 0x%llx, with the CPU address %p and not its %p",
            state->name, bug->dma, bug->cpu, block->cpu);
        break;
    case OTHER_POOL:
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

static void report_wrong(struct dk_pool_state *state, struct finding *found, const void *cpu, dma_addr_t dma)
{
    struct dk_mapping mapping;
    struct dk_pool_bug bug = {
        .call = "dma_pool_free",
        .access_kind = "call",
        .cpu = cpu,
        .dma = dma,
        .length = state->layout.size,
    };

    if (found->what == NOTHING) {
        found->cpu = cpu;
        dk_pools_find(state, cpu, look_there, found);
    }
    if (found->what != NOTHING) {
        mapping = mapping_of(&found->block);
        bug.memory = &mapping;
        bug.stack = found->block.allocated;
        if (found->what == INSIDE) {
            bug.offset = (u64)found->within;
            bug.length -= bug.offset;
        }
    }
    describe(state, found, &bug);
    dk_check_pool(state->dev, &bug);
}

void dk_pool_check_free(struct dk_pool_state *state, void *cpu, dma_addr_t dma)
{
    u32 stack = dk_check_stack(state->dev);
    struct dk_pool_record *record;
    struct dk_mapping mapping;
    struct finding found;

    pthread_mutex_lock(&state->lock);
    found = look(state, cpu, dma);
    record = found.what == RIGHT ? found.record : NULL;
    if (record) {
        record->used = false;
        record->freed = stack;
    }
    pthread_mutex_unlock(&state->lock);
    if (!record) {
        report_wrong(state, &found, cpu, dma);
        return;
    }
    mapping = mapping_of(record);
    dk_check_forget(state->dev, &mapping);
    check_zone(state, &found.block, false);
    check_zone(state, &found.block, true);
    memset(cpu, FREE_BYTE, state->layout.size);
    pthread_mutex_lock(&state->lock);
    record->told &= TOLD_BODY;
    add_free(state, record);
    pthread_mutex_unlock(&state->lock);
}

/* ---- Ending ---- */

void dk_pool_check_busy(struct dk_pool_state *state)
{
    struct dk_pool_chunk *chunk;

    list_for_each_entry (chunk, &state->chunks, link) {
        for (size_t i = 0; i < chunk->blocks; i++) {
            const struct dk_pool_record *record = &chunk->records[i];
            const struct dk_mapping mapping = mapping_of(record);
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

/* ---- Bus masters ---- */

/* What a write struck that it should not have; copies. */
struct strike {
    struct dk_pool_state *state;
    struct dk_pool_record block;
    ssize_t within; /* in the block: negative in front of it */
    size_t length;
};

/* The first of [offset, end) of @chunk that is not in a block in use. */
static bool find_strike(struct dk_pool_chunk *chunk, size_t offset, size_t end, struct strike *strike)
{
    struct dk_pool_state *state = chunk->pool->state;
    ssize_t size = (ssize_t)state->layout.size;

    while (offset < end) {
        size_t index = dk_pool_layout_nearest(&state->layout, offset, chunk->blocks, &strike->within);
        struct dk_pool_record *record = &chunk->records[index];
        bool body = strike->within >= 0 && strike->within < size;

        if (body && record->used) {
            offset += (size_t)(size - strike->within);
            continue;
        }
        record->told |= (u8)(body ? TOLD_BODY : strike->within < 0 ? TOLD_FRONT : TOLD_BEHIND);
        strike->state = state;
        strike->block = *record;
        strike->length = end - offset;
        if (body && strike->length > (size_t)(size - strike->within))
            strike->length = (size_t)(size - strike->within);
        return true;
    }
    return false;
}

static void report_strike(struct device *dev, const struct strike *strike)
{
    const struct dk_mapping mapping = mapping_of(&strike->block);
    ssize_t size = (ssize_t)mapping.size, within = strike->within;
    bool body = within >= 0 && within < size;
    struct dk_pool_bug bug = {
        .class_name = body ? "pool-use-after-free" : "pool-overrun",
        .call = "dk_master_write",
        .access_kind = "device-write",
        .memory = &mapping,
        .stack = strike->block.allocated,
        .freed = body ? strike->block.freed : 0,
        .cpu = (const char *)mapping.cpu + within,
        .dma = mapping.dma + (u64)within,
        .offset = within < 0 ? 0 : (u64)within,
        .length = strike->length,
    };

    if (body)
        snprintf(bug.what, sizeof(bug.what),
                 "the device wrote %zu bytes at 0x%llx, byte %zd of a block of pool %.64s that is free",
                 strike->length, bug.dma, within, strike->state->name);
    else
        snprintf(bug.what, sizeof(bug.what),
                 "the device wrote %zu bytes at 0x%llx, %zd bytes %s a block of %zd bytes of pool %.64s",
                 strike->length, bug.dma, within < 0 ? -within : within - size,
                 within < 0 ? "in front of" : "behind", size, strike->state->name);
    dk_check_pool(dev, &bug);
}

/* Under the lock of @pools. */
static bool strikes(const struct dk_pools *pools, phys_addr_t phys, size_t length, struct strike *strike)
{
    u64 frame = phys >> PAGE_SHIFT;
    const struct dk_pool_place *place = pools->places[hash_of(frame)];
    struct dk_pool_state *state;
    size_t offset;
    bool struck;

    while (place && place->frame != frame)
        place = place->next;
    if (!place)
        return false;
    state = place->chunk->pool->state;
    offset = place->offset + (phys & (PAGE_SIZE - 1));
    pthread_mutex_lock(&state->lock);
    struck = find_strike(place->chunk, offset, offset + length, strike);
    pthread_mutex_unlock(&state->lock);
    return struck;
}

void dk_pools_master_access(struct dk_machine *machine, struct device *dev, dma_addr_t dma, phys_addr_t phys,
                            u64 length, bool write)
{
    struct dk_pools *pools = machine->pools;

    (void)dma;
    if (!write || !pools || !__atomic_load_n(&pools->places, __ATOMIC_ACQUIRE))
        return;
    while (length) {
        u64 run = PAGE_SIZE - (phys & (PAGE_SIZE - 1));
        struct strike strike;
        bool struck;

        if (run > length)
            run = length;
        pthread_mutex_lock(&pools->lock);
        struck = strikes(pools, phys, (size_t)run, &strike);
        pthread_mutex_unlock(&pools->lock);
        if (struck) {
            report_strike(dev, &strike);
            return;
        }
        phys += run;
        length -= run;
    }
}
