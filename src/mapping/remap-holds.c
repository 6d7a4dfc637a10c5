/* SPDX-License-Identifier: MIT */
/*
 * The life of remaps, and of the memory that they keep allocated.
 */
#include "mapping/remap.h"

#include "base/alloc.h"

struct dk_remap *dk_remap_begin(struct device *dev, struct device *owner, dma_addr_t dma, u64 size)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;
    struct dk_remap *remap = dk_allocate(1, sizeof(*remap));

    if (!remap)
        return NULL;
    remap->dev = dev;
    remap->owner = owner;
    remap->dma = dma;
    remap->size = size;
    pthread_mutex_lock(&state->remaps_lock);
    list_add_tail(&remap->link, &state->remaps);
    pthread_mutex_unlock(&state->remaps_lock);
    return remap;
}

void dk_remap_publish(struct dk_remap *remap, const struct scatterlist *table)
{
    struct dk_mapping_state *state = dk_device_machine(remap->dev)->mapping;

    pthread_mutex_lock(&state->remaps_lock);
    remap->table = table;
    pthread_mutex_unlock(&state->remaps_lock);
}

/* Whether a free of @owner's that waits for @remap waits for another one too. Under remaps_lock. */
static bool another_waits(struct dk_mapping_state *state, const struct dk_remap *remap)
{
    struct dk_remap *other;

    list_for_each_entry (other, &state->remaps, link) {
        if (other != remap && other->owner == remap->owner && other->waiting.cpu == remap->waiting.cpu &&
            other->waiting.dma == remap->waiting.dma)
            return true;
    }
    return false;
}

void dk_remap_end(struct dk_remap *remap)
{
    struct dk_mapping_state *state = dk_device_machine(remap->dev)->mapping;
    struct dk_waiting_free *waiting = &remap->waiting;
    bool last;

    /* The importer reaches nothing any more before the memory may go. */
    if (remap->pages)
        dk_iommu_space_release(remap->space, remap->iova, remap->pages);
    dk_iommu_space_put(remap->space);
    pthread_mutex_lock(&state->remaps_lock);
    last = waiting->cpu && !another_waits(state, remap);
    list_del(&remap->link);
    pthread_mutex_unlock(&state->remaps_lock);
    /* What a removed owner allocated by is gone with it. */
    if (last && __atomic_load_n(&remap->owner->dk->gone, __ATOMIC_RELAXED))
        dk_device_log(
            remap->owner, 1,
            "the device freed %zu bytes while they were remapped, and was removed: they stay allocated",
            waiting->size);
    else if (last)
        dk_release_coherent(remap->owner, waiting);
    dk_release(remap->ranges);
    dk_release(remap);
}

struct dk_remap *dk_remap_claim(const struct device *dev, const struct scatterlist *table)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;
    struct dk_remap *remap, *found = NULL;

    if (!table)
        return NULL;
    pthread_mutex_lock(&state->remaps_lock);
    list_for_each_entry (remap, &state->remaps, link) {
        if (remap->table == table) {
            found = remap;
            if (remap->dev == dev)
                remap->table = NULL;
            break;
        }
    }
    pthread_mutex_unlock(&state->remaps_lock);
    return found;
}

static bool overlaps(const struct dk_remap *remap, dma_addr_t dma, u64 size)
{
    return dma - remap->dma < remap->size || remap->dma - dma < size;
}

bool dk_remap_keeps(struct device *owner, const char *call, const struct dk_waiting_free *waiting)
{
    struct dk_mapping_state *state = dk_device_machine(owner)->mapping;
    struct dk_mapping mapping = { .kind = DK_MAPPING_REMAP, .direction = DMA_BIDIRECTIONAL };
    struct device *importer = NULL;
    struct dk_remap *remap;

    pthread_mutex_lock(&state->remaps_lock);
    list_for_each_entry (remap, &state->remaps, link) {
        if (remap->owner != owner || !overlaps(remap, waiting->dma, waiting->size))
            continue;
        /* What waits already is not freed twice. */
        if (!remap->waiting.cpu)
            remap->waiting = *waiting;
        if (!importer && remap->table) {
            mapping.dma = remap->ranges[0].dma;
            mapping.size = remap->ranges[0].size;
        }
        importer = importer ? importer : remap->dev;
    }
    pthread_mutex_unlock(&state->remaps_lock);
    if (!importer)
        return false;
    if (owner->dk->machine->checker)
        dk_check_freed_remapped(owner, call, waiting->dma, waiting->size, importer, &mapping);
    else
        dk_device_log(owner, 1,
                      "%s: %zu bytes at 0x%llx are remapped for %s, and stay allocated until they are not",
                      call, waiting->size, waiting->dma, dk_device_path(importer));
    return true;
}

/* One of @dev's, or NULL. */
static struct dk_remap *any_of(struct dk_mapping_state *state, const struct device *dev)
{
    struct dk_remap *remap, *found = NULL;

    pthread_mutex_lock(&state->remaps_lock);
    list_for_each_entry (remap, &state->remaps, link) {
        if (remap->dev == dev) {
            found = remap;
            break;
        }
    }
    pthread_mutex_unlock(&state->remaps_lock);
    return found;
}

void dk_remap_device_removed(struct device *dev)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;
    struct dk_remap *remap;

    while ((remap = any_of(state, dev)))
        dk_remap_end(remap);
}
