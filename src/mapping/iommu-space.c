/* SPDX-License-Identifier: MIT */
#include "mapping/iommu-space.h"

#include "base/alloc.h"
#include "base/log.h"
#include "mapping/mapping.h"

/* The last address that page tables hold. */
#define LAST_ADDRESS ((1ull << DK_IOMMU_BITS) - 1)

static void free_space(struct dk_iommu_space *space)
{
    dk_delay_queue_destroy(space->lazy);
    dk_delay_queue_destroy(space->quarantine);
    dk_iova_ranges_finish(&space->ranges);
    dk_iova_destroy(space->iova);
    dk_iommu_domain_destroy(space->domain);
    dk_release(space);
}

static void give_addresses(void *iova, u64 start, u64 pages, unsigned tag)
{
    (void)tag;
    dk_iova_give(iova, start, pages);
}

/* Unmaps what has been given back by its driver, now. */
static void unmap(void *owner, u64 start, u64 pages, unsigned tag)
{
    struct dk_iommu_space *space = owner;

    dk_iommu_unmap(space->domain, start, pages << PAGE_SHIFT);
    if (space->quarantine)
        dk_delay_queue_add(space->quarantine, start, pages, tag);
    else
        dk_iova_give(space->iova, start, pages);
}

/* What a lazy queue holds is nobody's any more, nor what is in quarantine. False: there was nothing. */
static bool flush(struct dk_iommu_space *space)
{
    bool any = space->lazy && dk_delay_queue_flush(space->lazy);

    return (space->quarantine && dk_delay_queue_flush(space->quarantine)) || any;
}

struct dk_iommu_space *dk_iommu_space_create(struct dk_machine *machine, dma_addr_t base, dma_addr_t last)
{
    struct dk_mapping_state *state = machine->mapping;
    struct dk_iommu_space *space;
    int error = -ENOMEM;

    if (last > LAST_ADDRESS)
        last = LAST_ADDRESS;
    if (base > last)
        return ERR_PTR(-EINVAL);
    space = dk_allocate(1, sizeof(*space));
    if (!space)
        return ERR_PTR(-ENOMEM);
    space->machine = machine;
    space->memory = machine->memory;
    space->iommu = -1;
    space->holders = 1;
    space->base = base;
    space->last = last;
    dk_iova_ranges_start(&space->ranges);
    space->domain = dk_iommu_domain_create(machine);
    if (!space->domain)
        goto free;
    space->iova = dk_iova_create(base, last);
    if (IS_ERR(space->iova)) {
        error = (int)PTR_ERR(space->iova);
        space->iova = NULL;
        goto free;
    }
    if (state->config.quarantine) {
        space->quarantine = dk_delay_queue_create(DK_IOVA_QUARANTINE_RANGES, DK_IOVA_QUARANTINE_PAGES,
                                                  give_addresses, space->iova);
        if (!space->quarantine)
            goto free;
    }
    if (state->config.iommu_lazy) {
        space->lazy = dk_delay_queue_create(DK_LAZY_UNMAPS, ~0ull, unmap, space);
        if (!space->lazy)
            goto free;
    }
    pthread_mutex_lock(&state->spaces_lock);
    list_add(&space->link, &state->spaces);
    pthread_mutex_unlock(&state->spaces_lock);
    return space;

free:
    free_space(space);
    return ERR_PTR(error);
}

void dk_iommu_space_hold(struct dk_iommu_space *space)
{
    struct dk_mapping_state *state = space->machine->mapping;

    pthread_mutex_lock(&state->spaces_lock);
    space->holders++;
    pthread_mutex_unlock(&state->spaces_lock);
}

void dk_iommu_space_put(struct dk_iommu_space *space)
{
    struct dk_mapping_state *state;
    bool last;

    if (!space)
        return;
    state = space->machine->mapping;
    pthread_mutex_lock(&state->spaces_lock);
    last = --space->holders == 0;
    if (last)
        list_del(&space->link);
    pthread_mutex_unlock(&state->spaces_lock);
    if (last)
        free_space(space);
}

void dk_iommu_spaces_finish(struct dk_mapping_state *state)
{
    struct dk_iommu_space *space, *following;

    list_for_each_entry_safe (space, following, &state->spaces, link) {
        dk_log(DK_LOG_WARNING, "an IOMMU address space from 0x%llx on was never released", space->base);
        list_del(&space->link);
        free_space(space);
    }
}

/* The space of the context, with a holder more; if there is none, @fresh (not NULL), which is it from now on.
 */
static struct dk_iommu_space *hold_context(struct dk_mapping_state *state, int iommu, u32 context,
                                           struct dk_iommu_space *fresh)
{
    struct dk_iommu_space *space, *found = NULL;

    pthread_mutex_lock(&state->spaces_lock);
    list_for_each_entry (space, &state->spaces, link) {
        if (space->iommu == iommu && space->context == context)
            found = space;
    }
    if (found) {
        found->holders++;
    } else if (fresh) {
        found = fresh;
        found->iommu = iommu;
        found->context = context;
    }
    pthread_mutex_unlock(&state->spaces_lock);
    return found;
}

int dk_iommu_space_join(struct device *dev, int iommu, u32 context)
{
    struct dk_machine *machine = dk_device_machine(dev);
    struct dk_iommu_space *fresh, *space = hold_context(machine->mapping, iommu, context, NULL);
    int error;

    if (!space) {
        fresh = dk_iommu_space_create(machine, 0, LAST_ADDRESS);
        if (IS_ERR(fresh))
            return (int)PTR_ERR(fresh);
        space = hold_context(machine->mapping, iommu, context, fresh);
        /* Another device of the context came meanwhile. */
        if (space != fresh)
            dk_iommu_space_put(fresh);
    }
    error = dk_iommu_space_enter(dev, space);
    dk_iommu_space_put(space);
    return error;
}

/* The window of @dev with the lowest DMA address at or above @from; NULL: none. */
static const struct dk_window *window_from(const struct device *dev, dma_addr_t from)
{
    const struct dk_window *lowest = NULL;
    unsigned i;

    for (i = 0; i < dev->dk->window_count; i++) {
        const struct dk_window *window = &dev->dk->windows[i];

        if (window->dma >= from && (!lowest || window->dma < lowest->dma))
            lowest = window;
    }
    return lowest;
}

/* Takes the addresses between the windows of @dev out of use. */
static int reserve_gaps(struct dk_iommu_space *space, const struct device *dev)
{
    const struct dk_window *window;
    dma_addr_t from = 0, next = 0;
    int error = 0;

    if (!dev->dk->window_count)
        return 0;
    flush(space);
    while ((window = window_from(dev, next)) && !error) {
        if (window->dma > from)
            error = dk_iova_reserve(space->iova, from, window->dma - 1);
        next = window->dma + 1;
        if (window->dma + (window->size - 1) == ~0ull)
            return error;
        if (window->dma + window->size > from)
            from = window->dma + window->size;
    }
    if (!error && from <= LAST_ADDRESS)
        error = dk_iova_reserve(space->iova, from, LAST_ADDRESS);
    return error;
}

static void move(struct device *dev, struct dk_iommu_space *space)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;
    struct dk_iommu_space *before = dev->dk->space;

    if (space) {
        pthread_mutex_lock(&state->spaces_lock);
        space->holders++;
        pthread_mutex_unlock(&state->spaces_lock);
    }
    dk_iommu_attach(dev, space ? space->domain : NULL);
    dev->dk->space = space;
    dk_mapping_refresh(dev);
    dk_iommu_space_put(before);
}

/* What maps as @dev goes where it goes. Their windows are its own. */
static void move_children(struct device *dev, struct dk_iommu_space *space)
{
    struct dk_device *child;

    list_for_each_entry (child, &dev->dk->children, sibling) {
        if (dk_maps_as_parent(child->dev) && child->dev->dma_ops == &dk_iommu_ops) {
            move(child->dev, space);
            move_children(child->dev, space);
        }
    }
}

int dk_iommu_space_enter(struct device *dev, struct dk_iommu_space *space)
{
    struct dk_machine *machine = dk_device_machine(dev);
    int error = space ? reserve_gaps(space, dev) : 0;

    if (error) {
        dk_device_log(
            dev, 1, "addresses that the device's windows leave out are in use in its IOMMU space: %d", error);
        return error;
    }
    move(dev, space);
    pthread_mutex_lock(&machine->devices_lock);
    move_children(dev, space);
    pthread_mutex_unlock(&machine->devices_lock);
    return 0;
}

dma_addr_t dk_iommu_space_take(struct dk_iommu_space *space, u64 pages, dma_addr_t limit)
{
    dma_addr_t iova = dk_iova_take(space->iova, pages, limit);

    if (iova == DMA_MAPPING_ERROR && flush(space))
        iova = dk_iova_take(space->iova, pages, limit);
    return iova;
}

void dk_iommu_space_release(struct dk_iommu_space *space, dma_addr_t start, u64 pages)
{
    if (space->lazy) {
        dk_iommu_mark_stale(space->domain, start, pages << PAGE_SHIFT);
        dk_delay_queue_add(space->lazy, start, pages, 0);
    } else {
        unmap(space, start, pages, 0);
    }
}
