/* SPDX-License-Identifier: MIT */
/*
 * Calls that concern the coherent memory of one device and another device that reaches it.
 */
#include "check/check.h"

#include "check/checker.h"
#include <dmakit/dma-mapping.h>

struct allocation_search {
    const void *cpu;
    dma_addr_t dma;
    u64 size;
    bool found;
};

/* Goes on until it is found. */
static bool compare(struct dk_interval *by_dma, void *data)
{
    const struct dk_mapping *mapping = &dk_record_of(by_dma)->mapping;
    struct allocation_search *search = data;
    u64 offset = search->dma - mapping->dma;
    uintptr_t cpu = (uintptr_t)mapping->cpu;

    if (mapping->kind != DK_MAPPING_COHERENT || search->dma < mapping->dma || offset > mapping->size ||
        search->size > mapping->size - offset)
        return true;
    /* A cookie is no address to add to. */
    search->found = (uintptr_t)search->cpu ==
                    (mapping->attrs & DMA_ATTR_NO_KERNEL_MAPPING ? cpu : cpu + (uintptr_t)offset);
    return !search->found;
}

bool dk_check_is_allocated(struct device *dev, const void *cpu, dma_addr_t dma, u64 size)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct allocation_search search = { cpu, dma, size, false };

    if (!checker)
        return true;
    if (mappings) {
        dk_lock_take(&mappings->lock);
        dk_intervals_touching(&mappings->live, dma, dma, compare, &search);
        dk_lock_give(&mappings->lock);
    }
    return search.found || dk_checker_quiet(checker, mappings);
}

void dk_check_unmap_elsewhere(struct device *dev, const char *call, struct device *other,
                              const struct dk_mapping *its)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mapping mapping = *its;
    struct dk_report_draft draft;
    u32 stack;

    if (!checker)
        return;
    stack = dk_checker_recall(checker, other, &mapping);
    dk_draft_begin(&draft, checker, DK_CLASS_FREE_NOT_ALLOCATED, dev, call);
    dk_draft_mapping(&draft, &mapping, stack, 0, mapping.size);
    dk_draft_what(&draft,
                  "%s() of %llu bytes at 0x%llx, which are not this device's: they were mapped for %s", call,
                  mapping.size, mapping.dma, other->dk->path);
    dk_report_make(checker, &draft);
}

void dk_check_freed_remapped(struct device *owner, const char *call, dma_addr_t dma, u64 size,
                             struct device *importer, const struct dk_mapping *remap)
{
    struct dk_checker *checker = dk_checker_of(owner);
    struct dk_mapping mapping = *remap;
    struct dk_report_draft draft;
    u32 stack;

    if (!checker)
        return;
    stack = dk_checker_recall(checker, importer, &mapping);
    dk_draft_begin(&draft, checker, DK_CLASS_FREED_WHILE_REMAPPED, owner, call);
    dk_draft_mapping(&draft, &mapping, stack, 0, mapping.size);
    dk_draft_what(&draft,
                  "%s() of %llu bytes at 0x%llx, which %s still reaches at 0x%llx: they stay allocated until "
                  "dk_coherent_unmap()",
                  call, size, dma, importer->dk->path, mapping.dma);
    dk_report_make(checker, &draft);
}
