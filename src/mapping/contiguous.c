/* SPDX-License-Identifier: MIT */
/*
 * Which contiguous memory area serves a device.
 */
#include "mapping/mapping.h"

/* Buffers are aligned to their size, but not to more than this order of pages: 1 MiB. */
#define HIGHEST_ALIGNMENT 8

static struct cma *area_of(const struct device *dev)
{
    return dev->dk->cma ? dev->dk->cma : dk_device_machine(dev)->mapping->default_cma;
}

struct page *dk_contiguous_take(struct device *dev, size_t count, gfp_t gfp)
{
    struct cma *area = area_of(dev);
    unsigned align = get_order(count << PAGE_SHIFT);

    /* An area may have to move pages out of the way. */
    if (!area || !gfpflags_allow_blocking(gfp))
        return NULL;
    /* Single pages would only break the default area up. */
    if (!dev->dk->cma && count <= 1)
        return NULL;
    return cma_alloc(area, count, align < HIGHEST_ALIGNMENT ? align : HIGHEST_ALIGNMENT, gfp & __GFP_NOWARN);
}

bool dk_contiguous_give(struct device *dev, struct page *page, size_t count)
{
    struct dk_mapping_state *state = dk_device_machine(dev)->mapping;

    if (dev->dk->cma && cma_release(dev->dk->cma, page, count))
        return true;
    return state->default_cma && cma_release(state->default_cma, page, count);
}

void dk_give_pages(struct device *dev, struct page *page, size_t count)
{
    if (!dk_contiguous_give(dev, page, count))
        dk_pages_give(dk_device_machine(dev)->memory, page, count);
}
