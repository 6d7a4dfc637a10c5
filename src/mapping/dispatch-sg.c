/* SPDX-License-Identifier: MIT */
/*
 * The calls for scatterlists.
 */
#include "mapping/dispatch.h"

/* Whether every entry is the machine's memory; reports or logs the first that is not. */
static bool entries_usable(struct device *dev, const char *call, struct scatterlist *sgl, int nents,
                           bool quiet)
{
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    const struct dk_slot *slot;
    struct scatterlist *sg;
    int i;

    for (i = 0, sg = sgl; i < nents; i++, sg = sg_next(sg)) {
        if (!sg) {
            dk_device_log(dev, 0, "%s: the list ends after %d of %d entries", call, i, nents);
            return false;
        }
        if (!sg_page(sg)) {
            /* sg_set_buf() left the address that has no page behind it. */
            const void *cpu = (const void *)(uintptr_t)sg->dma_address;

            if (dk_check_map_address(dev, call, cpu, sg->length) && !quiet)
                dk_device_log(dev, 0, "%s: entry %d at %p is not the machine's memory", call, i, cpu);
            return false;
        }
        if (dk_checked(dev) && !dk_check_map_page(dev, call, sg_page(sg), sg->offset, sg->length))
            return false;
        slot = dk_slot_find(sg_page(sg));
        if (!sg->length || !slot || slot->kind != DK_SLOT_PAGES || slot->memory != memory ||
            !dk_memory_is_ram(memory, sg_phys(sg), sg->length)) {
            dk_device_log(dev, 0, "%s: entry %d has %u bytes that are not the machine's memory", call, i,
                          sg->length);
            return false;
        }
    }
    return true;
}

/* Each mapped segment is a record of its own, as each can be synced and freed wrongly. */
static void remember(struct device *dev, const char *call, struct scatterlist *sgl, int nents, int mapped,
                     enum dma_data_direction direction, unsigned long attrs)
{
    struct dk_mapping mapping = {
        .kind = DK_MAPPING_SG,
        .direction = direction,
        .attrs = attrs,
        .sg_nents = nents,
        .sg_mapped = mapped,
    };
    struct scatterlist *sg, *entry = sgl;
    u64 done;
    int i;

    for (i = 0, sg = sgl; i < mapped && sg && entry; i++, sg = sg_next(sg)) {
        mapping.dma = sg->dma_address;
        mapping.size = sg->dma_length;
        mapping.phys = sg_phys(entry);
        mapping.contiguous = entry->length < mapping.size ? entry->length : 0;
        mapping.sg = sg;
        dk_check_sg_segment(dev, call, mapping.dma, mapping.size);
        dk_check_mapped(dev, call, &mapping);
        /* The back end may have made one segment of several entries. */
        for (done = entry->length, entry = sg_next(entry); entry && done < mapping.size;
             entry = sg_next(entry)) {
            dk_check_mapped_piece(dev, call, &mapping, done, sg_phys(entry), entry->length);
            done += entry->length;
        }
    }
}

static void check_lengths(struct device *dev, const char *call, struct scatterlist *sgl, int nents)
{
    struct scatterlist *sg;
    int i;

    for_each_sg (sgl, sg, nents, i)
        dk_map_checked(dev, call, sg->length);
}

/* The entry that lies highest speaks for the list. */
static void fail(struct device *dev, const char *call, struct scatterlist *sgl, int nents,
                 unsigned long attrs)
{
    struct scatterlist *sg, *highest = sgl;
    int i;

    for_each_sg (sgl, sg, nents, i)
        highest = sg_phys(sg) > sg_phys(highest) ? sg : highest;
    dk_map_failed(dev, call, sg_phys(highest), highest->length, attrs);
}

/* The number of mapped segments, or -errno. */
static int map_sg(struct device *dev, const char *call, struct scatterlist *sgl, int nents,
                  enum dma_data_direction direction, unsigned long attrs)
{
    int mapped;

    if (!sgl || !dk_mapping_usable(dev, call, (u64)(nents > 0), direction))
        return -EINVAL;
    if (!entries_usable(dev, call, sgl, nents, attrs & DMA_ATTR_NO_WARN))
        return -EINVAL;
    if (!dev->dma_ops->map_sg)
        return -EIO;
    if (dk_checked(dev))
        check_lengths(dev, call, sgl, nents);
    mapped = dev->dma_ops->map_sg(dev, sgl, nents, direction, attrs);
    if (mapped > 0 && dk_checked(dev))
        remember(dev, call, sgl, nents, mapped, direction, attrs);
    else if (dk_checked(dev))
        fail(dev, call, sgl, nents, attrs);
    return mapped ? mapped : -EIO;
}

/*
 * Has the checker forget the segment in @sg, whose memory begins with *@entry, which moves on to the next
 * segment's. What the segment was mapped as is put back, where the driver changed it. False: it is not
 * mapped.
 */
static bool forget(struct device *dev, const char *call, struct dk_mapping *asked, struct scatterlist *sg,
                   struct scatterlist **entry, struct dk_mapping *found)
{
    u64 done = 0;

    asked->dma = sg->dma_address;
    asked->size = sg->dma_length;
    asked->sg = sg;
    asked->phys = *entry && sg_page(*entry) ? sg_phys(*entry) : 0;
    asked->contiguous = *entry ? (*entry)->length : 0;
    if (!dk_check_unmap(dev, call, asked, found))
        return false;
    if (found->sg != sg)
        return true;
    sg->dma_address = found->dma;
    sg->dma_length = (unsigned int)found->size;
    /* One change is told once: after it nothing is sure of where the next segment's memory begins. */
    if (*entry && (asked->dma != found->dma || asked->size != found->size || asked->phys != found->phys ||
                   asked->contiguous != (found->contiguous ? found->contiguous : found->size)))
        *entry = NULL;
    for (; *entry && done < found->size; *entry = sg_next(*entry))
        done += (*entry)->length;
    return true;
}

static void unmap_sg(struct device *dev, const char *call, struct scatterlist *sgl, int nents,
                     enum dma_data_direction direction, unsigned long attrs)
{
    struct scatterlist *sg;
    bool shared = false;
    int i;

    if (!sgl || !dk_undo_usable(dev, call, (u64)(nents > 0), direction))
        return;
    if (dk_checked(dev)) {
        struct dk_mapping asked = {
            .kind = DK_MAPPING_SG,
            .direction = direction,
            .attrs = attrs,
            .sg_nents = nents,
        };
        struct scatterlist *entry = sgl;
        struct dk_mapping first, other;

        if (!forget(dev, call, &asked, sgl, &entry, &first))
            return;
        /* One wrong argument is one report: the other segments are asked for with what the first one really
         * has. */
        asked.direction = direction = first.direction;
        asked.sg_nents = nents = first.sg_nents ? first.sg_nents : nents;
        shared = first.shared;
        for (i = 1, sg = sg_next(sgl); i < first.sg_mapped && sg; i++, sg = sg_next(sg)) {
            if (forget(dev, call, &asked, sg, &entry, &other))
                shared |= other.shared;
        }
    }
    if (dev->dma_ops->unmap_sg)
        dev->dma_ops->unmap_sg(dev, sgl, nents, direction, attrs);
    for (i = 0, sg = sgl; shared && i < nents && sg; i++, sg = sg_next(sg)) {
        if (sg_page(sg))
            dk_check_unmapped(dev, sg_phys(sg), sg->length);
    }
}

/*
 * Maps the whole list where mapping needs no work: @nents, or 0 when some entry needs some, with nothing
 * changed that matters.
 */
static int map_at_once(const struct device *dev, struct scatterlist *sg, int nents,
                       enum dma_data_direction direction)
{
    int i;

    if (!dev || !dev->fast_memory || !valid_dma_direction(direction))
        return 0;
    for (i = 0; i < nents && sg; i++, sg = sg_next(sg)) {
        const struct page *page = sg_page(sg);
        const struct dk_slot *slot = dk_slot_find(page);
        const struct dk_section *section;
        u64 at, length = sg->length;

        if (!slot || slot->kind != DK_SLOT_PAGES || slot->memory != dev->fast_memory)
            return 0;
        section = slot->section;
        at = ((u64)(page - section->pages) << PAGE_SHIFT) + sg->offset - section->cached_slot.linear_start;
        if (length - 1 >= section->cached_slot.linear || at > section->cached_slot.linear - length)
            return 0;
        at += section->base + section->cached_slot.linear_start;
        if (at + (length - 1) > dev->fast_limit)
            return 0;
        sg->dma_address = at;
        sg->dma_length = (unsigned int)length;
    }
    return i == nents ? nents : 0;
}

unsigned int dk_map_sg(struct device *dev, struct scatterlist *sg, int nents,
                       enum dma_data_direction direction, unsigned long attrs)
{
    int mapped = map_at_once(dev, sg, nents, direction);

    if (!mapped)
        mapped = map_sg(dev, "dma_map_sg", sg, nents, direction, attrs);
    return mapped < 0 ? 0 : (unsigned int)mapped;
}

void dk_unmap_sg(struct device *dev, struct scatterlist *sg, int nents, enum dma_data_direction direction,
                 unsigned long attrs)
{
    if (dev && dev->fast_memory)
        return;
    unmap_sg(dev, "dma_unmap_sg", sg, nents, direction, attrs);
}

int dk_map_sgtable(struct device *dev, struct sg_table *table, enum dma_data_direction direction,
                   unsigned long attrs)
{
    int mapped;

    if (!table)
        return -EINVAL;
    mapped = map_sg(dev, "dma_map_sgtable", table->sgl, (int)table->orig_nents, direction, attrs);
    if (mapped < 0)
        return mapped;
    table->nents = (unsigned int)mapped;
    return 0;
}

void dk_unmap_sgtable(struct device *dev, struct sg_table *table, enum dma_data_direction direction,
                      unsigned long attrs)
{
    if (table)
        unmap_sg(dev, "dma_unmap_sgtable", table->sgl, (int)table->orig_nents, direction, attrs);
}
