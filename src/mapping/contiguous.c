/* SPDX-License-Identifier: MIT */
/*
 * Which contiguous memory area serves a device: its own (memory-region, dev_set_cma_area()), else those of
 * its cma_map= rule in turn, else the machine's default one.
 */
#include "mapping/mapping.h"

#include "base/log.h"
#include "mm/cma.h"

/* Buffers are aligned to their size, but not to more than this order of pages: 1 MiB. */
#define HIGHEST_ALIGNMENT 8u

/* The areas that serve @dev, into @single where it is one. */
static struct cma *const *areas_of(const struct device *dev, size_t *count, struct cma **single)
{
    const struct dk_contiguous_rule *rule = dev->dk->cma_rule;

    if (!dev->dk->cma && rule) {
        *count = rule->area_count;
        return rule->areas;
    }
    *single = dev->dk->cma ? dev->dk->cma : dk_device_machine(dev)->mapping->default_cma;
    *count = *single ? 1 : 0;
    return single;
}

static struct page *take(const struct device *dev, size_t count, unsigned align, bool no_warn)
{
    struct cma *single, *const *areas;
    struct page *page = NULL;
    size_t area_count;

    areas = areas_of(dev, &area_count, &single);
    if (align > HIGHEST_ALIGNMENT)
        align = HIGHEST_ALIGNMENT;
    /* That one of several is full is no news. */
    for (size_t i = 0; i < area_count && !page; i++)
        page = cma_alloc(areas[i], count, align, no_warn || i + 1 < area_count);
    return page;
}

struct page *dk_contiguous_take(struct device *dev, size_t count, gfp_t gfp)
{
    /* An area may have to move pages out of the way. */
    if (!gfpflags_allow_blocking(gfp))
        return NULL;
    /* Single pages would only break the default area up. */
    if (!dev->dk->cma && !dev->dk->cma_rule && count <= 1)
        return NULL;
    return take(dev, count, get_order(count << PAGE_SHIFT), gfp & __GFP_NOWARN);
}

static bool give(const struct device *dev, const struct page *page, size_t count)
{
    struct cma *single, *const *areas;
    bool given = false;
    size_t area_count;

    areas = areas_of(dev, &area_count, &single);
    for (size_t i = 0; i < area_count && !given; i++)
        given = cma_release(areas[i], page, count);
    return given;
}

bool dk_contiguous_give(struct device *dev, struct page *page, size_t count)
{
    /* The device may have had another area when it took them. */
    return give(dev, page, count) ||
           cma_release(dk_cma_of(dk_device_machine(dev)->memory, page), page, count);
}

void dk_give_pages(struct device *dev, struct page *page, size_t count)
{
    if (!dk_contiguous_give(dev, page, count))
        dk_pages_give(dk_device_machine(dev)->memory, page, count);
}

/* ---- Linux's calls ---- */

/* Whether @dev is one to work on; NULL is not. */
static bool is_usable(const struct device *dev, const char *call)
{
    if (dev && !dk_memory_forked(dk_device_machine(dev)->memory))
        return true;
    dk_log(DK_LOG_WARNING, "%s: %s", call,
           dev ? "the machine is the parent process's" : "there is no device");
    return false;
}

struct cma *dev_get_cma_area(struct device *dev)
{
    struct cma *single, *const *areas;
    struct dk_memory *memory;
    struct dk_machine *machine;
    size_t count;

    if (dev) {
        areas = areas_of(dev, &count, &single);
        return count ? areas[0] : NULL;
    }
    memory = dk_memory_current();
    machine = memory ? dk_memory_machine(memory) : NULL;
    return machine ? machine->mapping->default_cma : NULL;
}

void dev_set_cma_area(struct device *dev, struct cma *cma)
{
    if (!is_usable(dev, "dev_set_cma_area"))
        return;
    if (cma && dk_cma_memory(cma) != dk_device_machine(dev)->memory)
        dk_log(DK_LOG_WARNING, "dev_set_cma_area: %s is an area of another machine than %s",
               cma_get_name(cma), dev_name(dev));
    else
        dev->dk->cma = cma;
}

struct page *dma_alloc_from_contiguous(struct device *dev, size_t count, unsigned int order, bool no_warn)
{
    if (!dev)
        return cma_alloc(dev_get_cma_area(NULL), count, order < HIGHEST_ALIGNMENT ? order : HIGHEST_ALIGNMENT,
                         no_warn);
    return is_usable(dev, "dma_alloc_from_contiguous") ? take(dev, count, order, no_warn) : NULL;
}

bool dma_release_from_contiguous(struct device *dev, struct page *pages, int count)
{
    if (!pages || count <= 0)
        return false;
    return dev ? give(dev, pages, (size_t)count)
               : cma_release(dev_get_cma_area(NULL), pages, (unsigned long)count);
}

struct page *dma_alloc_contiguous(struct device *dev, size_t size, gfp_t gfp)
{
    size_t count = (size >> PAGE_SHIFT) + ((size & (PAGE_SIZE - 1)) != 0);

    return count && is_usable(dev, "dma_alloc_contiguous") ? dk_contiguous_take(dev, count, gfp) : NULL;
}

void dma_free_contiguous(struct device *dev, struct page *page, size_t size)
{
    if (page && is_usable(dev, "dma_free_contiguous"))
        dk_give_pages(dev, page, (size >> PAGE_SHIFT) + ((size & (PAGE_SIZE - 1)) != 0));
}

int dma_contiguous_reserve_area(phys_addr_t size, phys_addr_t base, phys_addr_t limit, struct cma **res_cma,
                                bool fixed)
{
    return cma_declare_contiguous(base, size, limit, 0, 0, fixed, "reserved", res_cma);
}

int dma_declare_contiguous(struct device *dev, phys_addr_t size, phys_addr_t base, phys_addr_t limit)
{
    struct cma *cma;

    if (!is_usable(dev, "dma_declare_contiguous"))
        return -EINVAL;
    cma =
        dk_cma_declare_in(dk_device_machine(dev)->memory, base, size, limit, 0, 0, base != 0, dev_name(dev));
    if (IS_ERR(cma))
        return (int)PTR_ERR(cma);
    dev->dk->cma = cma;
    return 0;
}

/* ---- dmakit's ---- */

struct cma *dk_cma_declare(struct dk_machine *machine, phys_addr_t base, phys_addr_t size, phys_addr_t limit,
                           phys_addr_t alignment, unsigned int order_per_bit, bool fixed, const char *name)
{
    if (!machine || dk_memory_forked(machine->memory))
        return ERR_PTR(-EINVAL);
    return dk_cma_declare_in(machine->memory, base, size, limit, alignment, order_per_bit, fixed, name);
}

int cma_info(struct cma_info *info, struct device *dev)
{
    struct cma *single, *const *areas;
    size_t count;

    if (!info || !is_usable(dev, "cma_info"))
        return -EINVAL;
    *info = (struct cma_info){ 0 };
    areas = areas_of(dev, &count, &single);
    for (size_t i = 0; i < count; i++)
        dk_cma_add_info(info, areas[i]);
    return 0;
}
