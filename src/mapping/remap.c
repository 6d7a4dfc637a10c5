/* SPDX-License-Identifier: MIT */
/*
 * Coherent remap: from the owner's DMA addresses to memory, and from there to the importer's.
 */
#include <dmakit/coherent-remap.h>

#include "base/alloc.h"
#include "mapping/bounce.h"
#include "mapping/dispatch.h"
#include "mapping/iommu-dma.h"
#include "mapping/remap.h"

#define CALL "dk_coherent_remap"

/* ---- Where the memory is ---- */

/* Memory in one piece. */
struct run {
    phys_addr_t phys;
    u64 size;
};

struct runs {
    struct run *runs;
    size_t count;
};

/* The owner's bytes. */
struct source {
    struct device *owner;
    const void *cpu;
    dma_addr_t dma;
    u64 size;
};

/* Where byte @offset of the memory is, and how many follow it there; false: nowhere. */
static bool find_run(const struct source *source, u64 offset, struct run *run)
{
    struct device *owner = source->owner;
    struct dk_machine *machine = dk_device_machine(owner);
    dma_addr_t dma = source->dma + offset;
    u64 left = source->size - offset;
    unsigned rights = 0;

    run->size = left;
    /* A pool on the device itself may have addresses that its bus knows nothing of. */
    if (owner->dk->coherent_pool && dk_coherent_pool_locate(owner->dk->coherent_pool, owner, source->cpu,
                                                            source->dma, source->size, &run->phys)) {
        run->phys += offset;
        return true;
    }
    if (!dk_device_translated(owner))
        return dk_bus_translate(owner, dma, left, &run->phys, &run->size) == 0;
    return owner->dk->space &&
           dk_iommu_find(owner->dk->space->domain, dma, left, &run->phys, &run->size, &rights) &&
           !(rights & DK_IOMMU_STALE) && dk_memory_is_ram(machine->memory, run->phys, run->size);
}

/* Counts the runs, and writes up to @room of them to @runs. 0: some of the memory is nowhere. */
static size_t walk(const struct source *source, struct run *runs, size_t room)
{
    struct run last = { 0, 0 }, run;
    size_t count = 0;
    u64 offset;

    for (offset = 0; offset < source->size; offset += run.size) {
        if (!find_run(source, offset, &run))
            return 0;
        if (count && last.phys + last.size == run.phys) {
            last.size += run.size;
        } else {
            last = run;
            count++;
        }
        if (count <= room)
            runs[count - 1] = last;
    }
    return count;
}

/* 0, with source->runs to release; -EINVAL, -ENOMEM. */
static int find_memory(const struct source *source, struct runs *found)
{
    found->count = walk(source, NULL, 0);
    if (!found->count) {
        dk_device_log(source->owner, 0, CALL ": 0x%llx + %llu leads to no memory", source->dma, source->size);
        return -EINVAL;
    }
    found->runs = dk_allocate(found->count, sizeof(*found->runs));
    if (!found->runs)
        return -ENOMEM;
    walk(source, found->runs, found->count);
    return 0;
}

/* What the CPU uses past its cache may be anybody's, anything else theirs who snoop. */
static int check_coherency(struct device *dev, const struct source *source, const struct runs *memory,
                           unsigned long attrs)
{
    struct dk_machine *machine = dk_device_machine(dev);
    size_t i;

    if (!machine->cache || dev->dma_coherent)
        return 0;
    for (i = 0; i < memory->count; i++) {
        if (dk_memory_is_uncached(machine->memory, memory->runs[i].phys, memory->runs[i].size))
            continue;
        if (!(attrs & DMA_ATTR_NO_WARN))
            dk_device_log(dev, 1,
                          CALL
                          ": the CPU uses the coherent memory of %s through its cache, which this device "
                          "does not snoop: it would not see what the CPU writes, nor the CPU what it writes",
                          dk_device_path(source->owner));
        return -EOPNOTSUPP;
    }
    return 0;
}

/* ---- Direct ---- */

static u64 smaller(u64 a, u64 b)
{
    return a < b ? a : b;
}

/* How many of the @size bytes at @phys a window of @dev carries below @limit, and to which address. */
static u64 carried(const struct device *dev, phys_addr_t phys, u64 size, u64 limit, dma_addr_t *dma)
{
    static const struct dk_window everything = { 0, 0, ~0ull };
    const struct dk_window *windows = dev->dk->window_count ? dev->dk->windows : &everything;
    unsigned i, count = dev->dk->window_count ? dev->dk->window_count : 1;
    u64 most = 0;

    for (i = 0; i < count; i++) {
        u64 offset = phys - windows[i].cpu, length;

        if (phys < windows[i].cpu || offset >= windows[i].size || windows[i].dma + offset > limit)
            continue;
        length = smaller(size, windows[i].size - offset);
        length = smaller(length - 1, limit - (windows[i].dma + offset)) + 1;
        if (length > most) {
            most = length;
            *dma = windows[i].dma + offset;
        }
    }
    return most;
}

/* Whether @dev may use the @size bytes at @phys, its @dma, as they are. */
static bool may_touch(struct device *dev, phys_addr_t phys, dma_addr_t dma, u64 size)
{
    const struct dk_bounce_pool *pool = dev->dk->bounce;

    if (dev->dk->bounce_always && (!dk_bounce_holds(pool, phys) || !dk_bounce_holds(pool, phys + (size - 1))))
        return false;
    return !dev->dk->needs_bounce || !dev->dk->needs_bounce(dev, dma, (size_t)size);
}

/* Counts the ranges, and writes them to @ranges unless it is NULL. 0: @dev does not reach all of it. */
static unsigned reach(struct device *dev, const struct runs *memory, struct dk_remap_range *ranges)
{
    u64 limit = dk_dma_limit(dev, *dev->dma_mask);
    unsigned count = 0;
    u64 offset, length;
    size_t i;

    for (i = 0; i < memory->count; i++) {
        for (offset = 0; offset < memory->runs[i].size; offset += length) {
            phys_addr_t phys = memory->runs[i].phys + offset;
            dma_addr_t dma = 0;

            length = carried(dev, phys, memory->runs[i].size - offset, limit, &dma);
            if (!length || !may_touch(dev, phys, dma, length))
                return 0;
            if (ranges)
                ranges[count] = (struct dk_remap_range){ dma, phys, length, length };
            count++;
        }
    }
    return count;
}

static int map_direct(struct dk_remap *remap, const struct runs *memory, unsigned long attrs)
{
    unsigned count = reach(remap->dev, memory, NULL);

    if (!count) {
        if (!(attrs & DMA_ATTR_NO_WARN))
            dk_device_log(
                remap->dev, 1,
                CALL ": the device does not reach all of the %llu bytes from physical 0x%llx on (its limit "
                     "is 0x%llx), and coherent memory cannot be bounced",
                remap->size, memory->runs[0].phys, dk_dma_limit(remap->dev, *remap->dev->dma_mask));
        return -EIO;
    }
    remap->ranges = dk_allocate(count, sizeof(*remap->ranges));
    if (!remap->ranges)
        return -ENOMEM;
    remap->count = reach(remap->dev, memory, remap->ranges);
    return 0;
}

/* ---- Behind an IOMMU ---- */

/* Whether the runs can be put together in pages. */
static bool meet_in_pages(const struct runs *memory)
{
    size_t i;

    for (i = 1; i < memory->count; i++) {
        const struct run *before = &memory->runs[i - 1];

        if (memory->runs[i].phys & (PAGE_SIZE - 1) || (before->phys + before->size) & (PAGE_SIZE - 1))
            return false;
    }
    return true;
}

static int map_iommu(struct dk_remap *remap, const struct runs *memory, unsigned long attrs)
{
    struct dk_iommu_space *space = dk_iommu_space_of(remap->dev, attrs);
    u64 limit = dk_dma_limit(remap->dev, *remap->dev->dma_mask);
    u64 offset = memory->runs[0].phys & (PAGE_SIZE - 1);
    u64 pages = PFN_UP(offset + remap->size);
    dma_addr_t at;
    size_t i;

    if (!space || !meet_in_pages(memory))
        return -EIO;
    remap->ranges = dk_allocate(1, sizeof(*remap->ranges));
    if (!remap->ranges)
        return -ENOMEM;
    at = dk_iommu_space_take(space, pages, limit);
    if (at == DMA_MAPPING_ERROR)
        goto full;
    dk_iommu_space_hold(space);
    remap->space = space;
    remap->iova = at;
    remap->pages = pages;
    remap->ranges[0] =
        (struct dk_remap_range){ at + offset, memory->runs[0].phys, memory->runs[0].size, remap->size };
    remap->count = 1;
    for (i = 0; i < memory->count; i++) {
        phys_addr_t first = memory->runs[i].phys & ~((phys_addr_t)PAGE_SIZE - 1);
        u64 bytes = (u64)PFN_UP(memory->runs[i].phys + memory->runs[i].size - first) << PAGE_SHIFT;

        if (dk_iommu_map_fresh(space->domain, at, first, bytes, DK_IOMMU_READ | DK_IOMMU_WRITE))
            goto full;
        at += bytes;
    }
    return 0;

full:
    dk_iommu_out_of_space(remap->dev, remap->size, limit, attrs);
    return -ENOMEM;
}

static int map(struct dk_remap *remap, const struct runs *memory, unsigned long attrs)
{
    if (remap->dev->dma_ops == &dk_iommu_ops)
        return map_iommu(remap, memory, attrs);
    if (remap->dev->dma_ops == &dk_direct_ops)
        return map_direct(remap, memory, attrs);
    dk_device_log(remap->dev, 1, CALL ": the device's own DMA operations have no way to do this");
    return -EIO;
}

/* ---- The table ---- */

/* How long the segment at @dma may be, of @left bytes. */
static u64 segment_length(struct device *dev, dma_addr_t dma, u64 left)
{
    u64 boundary = dma_get_seg_boundary(dev);
    u64 longest = dma_get_max_seg_size(dev);

    if (longest > PAGE_SIZE)
        longest &= ~((u64)PAGE_SIZE - 1);
    longest = smaller(left, longest);
    return smaller(longest - 1, boundary - (dma & boundary)) + 1;
}

/* Counts the segments of @remap, and writes them to the entries from @sg on unless it is NULL. */
static u64 lay_out(const struct dk_remap *remap, struct scatterlist *sg)
{
    u64 count = 0, offset, length;
    unsigned i;

    for (i = 0; i < remap->count; i++) {
        const struct dk_remap_range *range = &remap->ranges[i];

        for (offset = 0; offset < range->size; offset += length) {
            length = segment_length(remap->dev, range->dma + offset, range->size - offset);
            count++;
            if (!sg)
                continue;
            sg_dma_address(sg) = range->dma + offset;
            sg_dma_len(sg) = (unsigned)length;
            sg = sg_next(sg);
        }
    }
    return count;
}

static int fill_table(const struct dk_remap *remap, struct sg_table *table)
{
    u64 count = lay_out(remap, NULL);
    int error;

    if (count > INT_MAX)
        return -EINVAL;
    error = sg_alloc_table(table, (unsigned)count, GFP_KERNEL);
    if (!error)
        lay_out(remap, table->sgl);
    return error;
}

/* ---- The checker ---- */

static struct dk_mapping mapping_of(const struct dk_remap *remap, unsigned range)
{
    const struct dk_remap_range *of = &remap->ranges[range];

    return (struct dk_mapping){
        .kind = DK_MAPPING_REMAP,
        .dma = of->dma,
        .phys = of->phys,
        .size = of->size,
        .contiguous = of->contiguous < of->size ? of->contiguous : 0,
        .direction = DMA_BIDIRECTIONAL,
    };
}

/* All ranges are one mapping to the reports. */
static void remember(const struct dk_remap *remap)
{
    u64 number = 0;
    unsigned i;

    for (i = 0; i < remap->count; i++) {
        struct dk_mapping mapping = mapping_of(remap, i);

        mapping.number = number;
        dk_check_mapped(remap->dev, CALL, &mapping);
        number = mapping.number;
    }
}

/* ---- The calls ---- */

static bool usable(struct device *dev, const struct sg_table *table, const struct source *source)
{
    if (!dk_mapping_usable(dev, CALL, source->size, DMA_BIDIRECTIONAL) ||
        !dk_device_usable(source->owner, CALL))
        return false;
    if (!table || source->dma + (source->size - 1) < source->dma ||
        dk_device_machine(dev) != dk_device_machine(source->owner)) {
        dk_device_log(dev, 0, CALL ": %s",
                      !table ? "no table" : "a range that wraps, or an owner on another machine");
        return false;
    }
    return true;
}

/* What follows the begin: all of it is undone by dk_remap_end(). */
static int set_up(struct dk_remap *remap, struct sg_table *table, const struct source *source,
                  unsigned long attrs)
{
    struct sg_table filled;
    struct runs memory;
    int error;

    if (!dk_check_is_allocated(source->owner, source->cpu, source->dma, source->size)) {
        dk_device_log(remap->dev, 0, CALL ": %s has no coherent memory of %llu bytes at 0x%llx and %p",
                      dk_device_path(source->owner), source->size, source->dma, source->cpu);
        return -EINVAL;
    }
    error = find_memory(source, &memory);
    if (error)
        return error;
    error = check_coherency(remap->dev, source, &memory, attrs);
    if (!error)
        error = map(remap, &memory, attrs);
    if (!error)
        error = fill_table(remap, &filled);
    dk_release(memory.runs);
    if (error)
        return error;
    if (dk_checked(remap->dev))
        remember(remap);
    *table = filled;
    return 0;
}

int dk_coherent_remap(struct device *dev, struct sg_table *table, struct device *owner, void *cpu,
                      dma_addr_t dma, size_t size, unsigned long attrs)
{
    const struct source source = { owner, cpu, dma, size };
    struct dk_remap *remap;
    int error;

    if (!usable(dev, table, &source))
        return -EINVAL;
    dk_might_sleep_for(dev, GFP_KERNEL, CALL);
    remap = dk_remap_begin(dev, owner, dma, size);
    if (!remap)
        return -ENOMEM;
    error = set_up(remap, table, &source, attrs);
    if (error) {
        dk_remap_end(remap);
        return error;
    }
    dk_remap_publish(remap, table->sgl);
    return 0;
}

static void report_unknown(struct device *dev)
{
    const struct dk_finding finding = {
        .class_name = "free-not-allocated",
        .dev = dev,
        .call = "dk_coherent_unmap",
        .dma = DMA_MAPPING_ERROR,
        .what =
            "dk_coherent_unmap() was given a table that is no remap's: it was unmapped before already, or "
            "dk_coherent_remap() did not make it",
    };

    dk_hooks_finding(&dk_device_machine(dev)->hooks, &finding);
}

void dk_coherent_unmap(struct device *dev, struct sg_table *table)
{
    struct dk_mapping asked, found;
    struct dk_remap *remap;
    unsigned i;

    if (!table || !dev) {
        dk_device_log(dev, 0, "dk_coherent_unmap: no %s", table ? "device" : "table");
        return;
    }
    remap = dk_remap_claim(dev, table->sgl);
    /* The removal has undone the rest. */
    if (!dk_device_usable(dev, "dk_coherent_unmap")) {
        if (!remap)
            sg_free_table(table);
        return;
    }
    dk_might_sleep_for(dev, GFP_KERNEL, "dk_coherent_unmap");
    if (!remap) {
        report_unknown(dev);
        return;
    }
    asked = mapping_of(remap, 0);
    if (remap->dev != dev) {
        dk_device_log(dev, 0, "dk_coherent_unmap: the memory was remapped for %s",
                      dk_device_path(remap->dev));
        dk_check_unmap_elsewhere(dev, "dk_coherent_unmap", remap->dev, &asked);
        return;
    }
    /* Whatever becomes of the records: the table tells what is to be undone. */
    for (i = 0; i < remap->count && dk_checked(dev); i++) {
        asked = mapping_of(remap, i);
        dk_check_unmap(dev, "dk_coherent_unmap", &asked, &found);
    }
    dk_remap_end(remap);
    sg_free_table(table);
}
