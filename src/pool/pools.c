/* SPDX-License-Identifier: MIT */
/*
 * All pools of a machine: what becomes of them when their driver or their device goes, and the listing.
 */
#include "base/alloc.h"
#include "base/text.h"
#include "pool/pool-check.h"
#include "pool/pool-masters.h"

/* Destroyed pools without memory that stay recognisable: a late free is then refused, and not made in memory
 * that somebody else has. */
#define TOMBS 64u

int dk_pools_start(struct dk_machine *machine)
{
    struct dk_pools *pools = dk_allocate(1, sizeof(*pools));

    if (!pools)
        return -ENOMEM;
    pthread_mutex_init(&pools->lock, NULL);
    INIT_LIST_HEAD(&pools->pools);
    machine->pools = pools;
    return 0;
}

/* In a child made by fork() nothing is taken apart: a thread of the parent may have been inside. */
static bool is_parents(const struct dk_machine *machine)
{
    return machine->memory && dk_memory_forked(machine->memory);
}

void dk_pools_finish(struct dk_machine *machine)
{
    struct dk_pools *pools = machine->pools;
    struct dk_pool_state *state, *following;

    if (!pools || is_parents(machine))
        return;
    list_for_each_entry_safe (state, following, &pools->pools, link) {
        list_del(&state->link);
        dk_pool_release(state);
    }
    dk_pool_places_free(pools);
    pthread_mutex_destroy(&pools->lock);
    dk_release(pools);
    machine->pools = NULL;
}

void dk_pools_add(struct dk_pool_state *state)
{
    struct dk_pools *pools = dk_pools_of(state);

    pthread_mutex_lock(&pools->lock);
    list_add(&state->link, &pools->pools);
    pthread_mutex_unlock(&pools->lock);
}

/* The oldest of too many tombs, out of the list; NULL: there are not too many. Under the lock. */
static struct dk_pool_state *take_oldest(struct dk_pools *pools)
{
    struct dk_pool_state *state, *oldest = NULL;

    if (pools->tombs <= TOMBS)
        return NULL;
    list_for_each_entry (state, &pools->pools, link) {
        if (state->tomb)
            oldest = state;
    }
    if (oldest) {
        list_del(&oldest->link);
        pools->tombs--;
    }
    return oldest;
}

void dk_pools_bury(struct dk_pool_state *state)
{
    struct dk_pools *pools = dk_pools_of(state);
    struct dk_pool_state *oldest;

    /* In front again: tombs are counted from their destruction. */
    pthread_mutex_lock(&pools->lock);
    list_del(&state->link);
    list_add(&state->link, &pools->pools);
    if (list_empty(&state->chunks)) {
        dk_pool_tables_free(state);
        state->tomb = true;
        pools->tombs++;
    }
    oldest = take_oldest(pools);
    pthread_mutex_unlock(&pools->lock);
    if (oldest)
        dk_pool_release(oldest);
}

bool dk_pools_find(struct dk_pool_state *state, const void *cpu,
                   void (*found)(struct dk_pool_state *other, void *data), void *data)
{
    struct dk_pools *pools = dk_pools_of(state);
    struct dk_pool_state *other;
    bool any = false;

    pthread_mutex_lock(&pools->lock);
    list_for_each_entry (other, &pools->pools, link) {
        if (other == state || any)
            continue;
        pthread_mutex_lock(&other->lock);
        any = dk_pool_chunk_find(other, cpu);
        if (any)
            found(other, data);
        pthread_mutex_unlock(&other->lock);
    }
    pthread_mutex_unlock(&pools->lock);
    return any;
}

/* ---- Devices ---- */

/* A pool of @dev that is not destroyed, and not reported as left; NULL: none is left. */
static struct dk_pool_state *next_left(struct dk_pools *pools, const struct device *dev)
{
    struct dk_pool_state *state, *oldest = NULL;

    pthread_mutex_lock(&pools->lock);
    list_for_each_entry (state, &pools->pools, link) {
        if (state->dev == dev && !state->left && !dk_pool_is_destroyed(state))
            oldest = state;
    }
    if (oldest)
        oldest->left = true;
    pthread_mutex_unlock(&pools->lock);
    return oldest;
}

void dk_pools_driver_unbound(struct device *dev)
{
    struct dk_pools *pools = dk_device_machine(dev)->pools;
    struct dk_pool_state *state;

    if (is_parents(dk_device_machine(dev)))
        return;
    while ((state = next_left(pools, dev)))
        dk_pool_check_left(state, "dk_driver_unbind");
}

/* A pool of @dev with memory; NULL: none. */
static struct dk_pool_state *next_with_memory(struct dk_pools *pools, const struct device *dev)
{
    struct dk_pool_state *state, *found = NULL;

    pthread_mutex_lock(&pools->lock);
    list_for_each_entry (state, &pools->pools, link) {
        if (state->dev == dev && !state->tomb)
            found = state;
    }
    pthread_mutex_unlock(&pools->lock);
    return found;
}

void dk_pools_device_removed(struct device *dev)
{
    struct dk_pools *pools = dk_device_machine(dev)->pools;
    struct dk_pool_state *state;
    LIST_HEAD(chunks);

    if (!pools || is_parents(dk_device_machine(dev)))
        return;
    while ((state = next_left(pools, dev)))
        dk_pool_check_left(state, "dk_device_remove");
    while ((state = next_with_memory(pools, dev))) {
        __atomic_store_n(&state->destroyed, true, __ATOMIC_RELEASE);
        dk_pool_magazines_free(state->pool);
        pthread_mutex_lock(&state->lock);
        dk_pool_remove(state, true, &chunks);
        pthread_mutex_unlock(&state->lock);
        dk_pool_chunks_free(state, &chunks);
        dk_pools_bury(state);
    }
}

/* ---- The listing ---- */

static void add_pool(struct dk_text *text, const struct dk_pool_state *state)
{
    size_t unused = state->free + dk_pool_magazines_held(state->pool);
    size_t used = unused < state->blocks ? state->blocks - unused : 0;

    dk_text_add(text, "%-16.64s %4zu %4zu %4zu %2zu\n", state->name, used, state->blocks, state->pool->size,
                state->pages);
}

ssize_t dk_device_pools(struct device *dev, char *buffer, size_t size)
{
    struct dk_text text = { buffer, size, 0 };
    struct dk_pools *pools;
    struct dk_pool_state *state;

    if (!dev || (!buffer && size))
        return -EINVAL;
    if (is_parents(dk_device_machine(dev)))
        return -ENODEV;
    pools = dk_device_machine(dev)->pools;
    dk_text_add(&text, "poolinfo - 0.1\n");
    pthread_mutex_lock(&pools->lock);
    list_for_each_entry (state, &pools->pools, link) {
        if (state->dev != dev || dk_pool_is_destroyed(state))
            continue;
        pthread_mutex_lock(&state->lock);
        add_pool(&text, state);
        pthread_mutex_unlock(&state->lock);
    }
    pthread_mutex_unlock(&pools->lock);
    return (ssize_t)text.length;
}
