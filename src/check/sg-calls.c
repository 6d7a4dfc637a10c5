/* SPDX-License-Identifier: MIT */
/*
 * Scatterlists that are not what they were when they were mapped: sg-changed-while-mapped.
 *
 * Of entries that were merged into one segment the first one's memory and length are known, not the others'.
 */
#include "check/checker.h"

struct sg_search {
    const void *sg;
    struct dk_record *found;
};

static bool compare_entry(struct dk_interval *interval, void *data)
{
    struct dk_record *record = dk_record_of(interval);
    struct sg_search *search = data;

    if (record->mapping.kind != DK_MAPPING_SG || record->mapping.sg != search->sg)
        return true;
    search->found = record;
    return false;
}

struct dk_record *dk_sg_record(struct dk_mappings *mappings, const void *sg, struct dk_record *otherwise)
{
    struct sg_search search = { sg, NULL };

    dk_intervals_each(&mappings->live, compare_entry, &search);
    return search.found ? search.found : otherwise;
}

bool dk_sg_compare(struct dk_checker *checker, struct device *dev, const char *call,
                   const struct dk_mapping *mapping, u32 stack, const struct dk_mapping *asked)
{
    u64 length = mapping->contiguous ? mapping->contiguous : mapping->size;
    struct dk_report_draft draft;
    const char *what;
    u64 was, is;

    if (mapping->kind != DK_MAPPING_SG || !asked->sg || mapping->sg != asked->sg)
        return false;
    if (mapping->dma != asked->dma) {
        what = "DMA address";
        was = mapping->dma;
        is = asked->dma;
    } else if (mapping->size != asked->size) {
        what = "DMA length";
        was = mapping->size;
        is = asked->size;
    } else if (asked->contiguous && mapping->phys != asked->phys) {
        what = "page or offset, physical address";
        was = mapping->phys;
        is = asked->phys;
    } else if (asked->contiguous && length != asked->contiguous) {
        what = "length";
        was = length;
        is = asked->contiguous;
    } else {
        return false;
    }
    dk_draft_begin(&draft, checker, DK_CLASS_SG_CHANGED_WHILE_MAPPED, dev, call);
    dk_draft_mapping(&draft, mapping, stack, 0, mapping->size);
    dk_draft_what(&draft,
                  "%s() of a scatterlist whose entry with the segment at 0x%llx was changed: its %s was "
                  "0x%llx when it was mapped, and is 0x%llx",
                  call, mapping->dma, what, was, is);
    dk_report_make(checker, &draft);
    return true;
}

bool dk_check_sg_entry(struct device *dev, const char *call, const struct dk_mapping *found,
                       const void *entry, phys_addr_t phys, u64 length)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mapping asked = *found, mapping = *found;

    if (!checker || found->sg != entry ||
        (found->phys == phys && length == (found->contiguous ? found->contiguous : found->size)))
        return false;
    asked.phys = phys;
    asked.contiguous = length;
    return dk_sg_compare(checker, dev, call, found, dk_checker_recall(checker, dev, &mapping), &asked);
}
