/* SPDX-License-Identifier: MIT */
#include "pool/pool-masters.h"

#include "base/alloc.h"
#include "pool/pool-record.h"
#include <stdio.h>

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

bool dk_pool_places_enter(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    struct dk_pools *pools = dk_pools_of(state);
    bool made;

    chunk->places = dk_allocate(chunk->pages, sizeof(*chunk->places));
    if (!chunk->places)
        return false;
    for (size_t i = 0; i < chunk->pages; i++) {
        phys_addr_t phys = dk_pool_phys(chunk->start + (i << PAGE_SHIFT));

        chunk->places[i] = (struct dk_pool_place){
            .frame = phys ? phys >> PAGE_SHIFT : ~0ull,
            .chunk = chunk,
            .offset = i << PAGE_SHIFT,
        };
    }
    pthread_mutex_lock(&pools->lock);
    made = make_places(pools);
    /* From now on what masters write is looked at. */
    __atomic_store_n(&dk_device_machine(state->dev)->hooks.master_access_idle, false, __ATOMIC_RELEASE);
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

void dk_pool_places_leave(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
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

/* ---- What they write, and what the CPU stores ---- */

/* What a write struck that it should not have. Copies: the pool may be destroyed while the report is made. */
struct strike {
    char pool[65]; /* its name, cut */
    struct dk_mapping block;
    u32 allocated, freed; /* its stacks */
    ssize_t within;       /* in the block: negative in front of it */
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
        record->told |= (u8)(body                 ? DK_POOL_TOLD_BODY
                             : strike->within < 0 ? DK_POOL_TOLD_FRONT
                                                  : DK_POOL_TOLD_BEHIND);
        snprintf(strike->pool, sizeof(strike->pool), "%s", state->name);
        strike->block = dk_pool_record_mapping(record);
        strike->allocated = record->allocated;
        strike->freed = record->freed;
        strike->length = end - offset;
        if (body && strike->length > (size_t)(size - strike->within))
            strike->length = (size_t)(size - strike->within);
        return true;
    }
    return false;
}

/* @call stored, or NULL: the device @dev wrote. */
static void report_strike(struct device *dev, const struct strike *strike, const char *call)
{
    const char *did = call ? "the CPU stored" : "the device wrote";
    const struct dk_mapping *block = &strike->block;
    ssize_t size = (ssize_t)block->size, within = strike->within;
    bool body = within >= 0 && within < size;
    struct dk_pool_bug bug = {
        .class_name = body ? "pool-use-after-free" : "pool-overrun",
        .call = call ? call : "dk_master_write",
        .access_kind = call ? "store" : "device-write",
        .memory = block,
        .stack = strike->allocated,
        .freed = body ? strike->freed : 0,
        .cpu = (const char *)block->cpu + within,
        .dma = block->dma + (u64)within,
        .offset = within < 0 ? 0 : (u64)within,
        .length = strike->length,
    };

    if (body)
        snprintf(bug.what, sizeof(bug.what),
                 "%s %zu bytes at 0x%llx, byte %zd of a block of pool %s that is free", did, strike->length,
                 bug.dma, within, strike->pool);
    else
        snprintf(bug.what, sizeof(bug.what),
                 "%s %zu bytes at 0x%llx, %zd bytes %s a block of %zd bytes of pool %.64s", did,
                 strike->length, bug.dma, within < 0 ? -within : within - size,
                 within < 0 ? "in front of" : "behind", size, strike->pool);
    dk_check_pool(dev, &bug);
}

/* Under the lock of @pools. */
static const struct dk_pool_place *find_place(const struct dk_pools *pools, u64 frame)
{
    const struct dk_pool_place *place = pools->places[hash_of(frame)];

    while (place && place->frame != frame)
        place = place->next;
    return place;
}

bool dk_pools_hold(const struct dk_machine *machine, phys_addr_t phys)
{
    struct dk_pools *pools = machine->pools;
    bool held;

    if (!dk_pools_watch(machine))
        return false;
    pthread_mutex_lock(&pools->lock);
    held = find_place(pools, phys >> PAGE_SHIFT);
    pthread_mutex_unlock(&pools->lock);
    return held;
}

/* Under the lock of @pools. *dev is the pool's device then. */
static bool strikes(const struct dk_pools *pools, phys_addr_t phys, size_t length, struct strike *strike,
                    struct device **dev)
{
    const struct dk_pool_place *place = find_place(pools, phys >> PAGE_SHIFT);
    struct dk_pool_state *state;
    size_t offset;
    bool struck;

    if (!place)
        return false;
    state = place->chunk->pool->state;
    offset = place->offset + (phys & (PAGE_SIZE - 1));
    pthread_mutex_lock(&state->lock);
    struck = find_strike(place->chunk, offset, offset + length, strike);
    *dev = state->dev;
    pthread_mutex_unlock(&state->lock);
    return struck;
}

/* Out of the way of machines that have no pools. */
static __attribute__((noinline)) void written(struct dk_pools *pools, struct device *dev, phys_addr_t phys,
                                              u64 length)
{
    while (length) {
        u64 run = PAGE_SIZE - (phys & (PAGE_SIZE - 1));
        struct strike strike;
        struct device *owner;
        bool struck;

        if (run > length)
            run = length;
        pthread_mutex_lock(&pools->lock);
        struck = strikes(pools, phys, (size_t)run, &strike, &owner);
        pthread_mutex_unlock(&pools->lock);
        if (struck) {
            report_strike(dev, &strike, NULL);
            return;
        }
        phys += run;
        length -= run;
    }
}

void dk_pools_master_access(struct dk_machine *machine, const struct dk_master_move *move)
{
    if (move->from && dk_pools_watch(machine))
        written(machine->pools, move->dev, move->phys, move->length);
}

void dk_pools_stored(struct dk_machine *machine, phys_addr_t phys, u64 length, const char *call)
{
    struct dk_pools *pools = machine->pools;
    struct strike strike;
    struct device *dev;
    bool struck;

    if (!dk_pools_watch(machine))
        return;
    pthread_mutex_lock(&pools->lock);
    struck = strikes(pools, phys, (size_t)length, &strike, &dev);
    pthread_mutex_unlock(&pools->lock);
    if (struck)
        report_strike(dev, &strike, call ? call : "");
}
