/* SPDX-License-Identifier: MIT */
/*
 * What a bus master's stray access means: from the address to the driver's mapping. A report where an IOMMU
 * saw it, a line for the log where only the bus did, which knows no mappings.
 */
#include "check/accesses.h"

#include "base/log.h"
#include "machine/bus.h"
#include <dmakit/master.h>
#include <stdio.h>

/* A device that lost its way faults at every access: the first few say it all. */
#define LINES_PER_DEVICE 4

/* The address that is looked for, and what is found. */
struct physical_search {
    phys_addr_t address;
    struct dk_lead *lead;
};

/* Goes on until it is found. A range of addresses has no memory of its own. */
static bool compare_phys(struct dk_interval *by_dma, void *data)
{
    const struct dk_record *record = dk_record_of(by_dma);
    const struct dk_mapping *mapping = &record->mapping;
    const struct physical_search *search = data;
    u64 size = mapping->contiguous ? mapping->contiguous : mapping->size;

    if (mapping->kind == DK_MAPPING_IOVA || search->address - mapping->phys >= size ||
        mapping->dma == search->address)
        return true;
    search->lead->found = true;
    search->lead->mapping = *mapping;
    search->lead->stack = record->stack;
    return false;
}

/* A live mapping of the memory at physical @address, which the device knows by another one. */
bool dk_lead_physical(struct dk_mappings *mappings, phys_addr_t address, struct dk_lead *lead)
{
    struct physical_search search = { address, lead };

    dk_lock_take(&mappings->lock);
    dk_intervals_each(&mappings->live, compare_phys, &search);
    dk_lock_give(&mappings->lock);
    return lead->found;
}

static bool was_mapped(struct dk_mappings *mappings, dma_addr_t dma, struct dk_lead *lead)
{
    const struct dk_past_mapping *past;

    dk_lock_take(&mappings->lock);
    past = dk_mappings_past(mappings, dma);
    if (past) {
        lead->mapping = past->mapping;
        lead->stack = past->stack;
    }
    dk_lock_give(&mappings->lock);
    return past != NULL;
}

void dk_describe_place(struct dk_checker *checker, u32 stack, char *text, size_t size)
{
    struct dk_frames frames;

    dk_symbols_frames(&checker->symbols, dk_stacks_get(&checker->stacks, stack), &frames);
    *text = '\0';
    if (frames.count && frames.frames[0].function && frames.frames[0].file)
        snprintf(text, size, " at %s:%d, in %s()", frames.frames[0].file, frames.frames[0].line,
                 frames.frames[0].function);
}

/* ---- What the IOMMU saw ---- */

/* The live mapping that holds @dma. */
bool dk_lead_live(struct dk_mappings *mappings, dma_addr_t dma, struct dk_lead *lead)
{
    const struct dk_record *record;

    dk_lock_take(&mappings->lock);
    record = dk_mappings_holding(mappings, dma, 1, DMA_BIDIRECTIONAL, 0);
    if (record) {
        lead->mapping = record->mapping;
        lead->stack = record->stack;
        lead->found = true;
    }
    dk_lock_give(&mappings->lock);
    return lead->found;
}

/* The latest one that held it and is gone. */
bool dk_lead_past(struct dk_mappings *mappings, dma_addr_t dma, struct dk_lead *lead)
{
    const struct dk_past_mapping *past;

    dk_lock_take(&mappings->lock);
    past = dk_mappings_past_holding(mappings, dma);
    if (past) {
        lead->mapping = past->mapping;
        lead->stack = past->stack;
        lead->undone = past->undone;
        lead->found = true;
    }
    dk_lock_give(&mappings->lock);
    return lead->found;
}

/* A live one that ends in the page before @dma's, or in its. */
static bool ends_before(struct dk_mappings *mappings, dma_addr_t dma, struct dk_lead *lead)
{
    dma_addr_t page = dma & ~((dma_addr_t)PAGE_SIZE - 1);

    if (!page || (!dk_lead_live(mappings, page - 1, lead) && !dk_lead_live(mappings, page - PAGE_SIZE, lead)))
        return false;
    lead->found = dma - lead->mapping.dma >= lead->mapping.size;
    return lead->found;
}

bool dk_lead_shares(const struct device *dev, struct dk_mappings *other, u64 address)
{
    const struct dk_iommu_domain *domain = __atomic_load_n(&dev->dk->iommu, __ATOMIC_RELAXED);
    phys_addr_t mine, its;
    bool shares = false;
    u64 run;

    dk_lock_take(&other->lock);
    if (other->removed)
        shares = false;
    else if (dk_device_translated(dev))
        shares = domain && __atomic_load_n(&other->dev->dk->iommu, __ATOMIC_RELAXED) == domain;
    else if (!dk_device_translated(other->dev))
        shares = !dk_bus_translate((struct device *)(uintptr_t)dev, address, 1, &mine, &run) &&
                 !dk_bus_translate(other->dev, address, 1, &its, &run) && mine == its;
    dk_lock_give(&other->lock);
    return shares;
}

bool dk_lead_find(struct dk_checker *checker, struct device *dev, dk_lead_search *search, u64 address,
                  struct dk_lead *lead)
{
    struct dk_mappings *mine = dk_checker_mappings(checker, dev, false);
    struct dk_mappings *other = __atomic_load_n(&checker->devices, __ATOMIC_ACQUIRE);

    *lead = (struct dk_lead){ .found = false };
    if (mine && search(mine, address, lead))
        return true;
    for (; other; other = other->next) {
        if (other == mine || !dk_lead_shares(dev, other, address) || !search(other, address, lead))
            continue;
        lead->owner = other->path;
        return true;
    }
    return false;
}

void dk_access_begin(struct dk_report_draft *draft, struct dk_checker *checker, enum dk_class class_index,
                     const struct device *dev, bool write)
{
    dk_draft_begin(draft, checker, class_index, dev, write ? "dk_master_write" : "dk_master_read");
    draft->access_kind = write ? "device-write" : "device-read";
}

void dk_access_conclude(struct dk_report_draft *draft, struct dk_checker *checker, dma_addr_t dma, u64 length,
                        const struct dk_lead *lead, u64 offset)
{
    if (lead->found) {
        dk_draft_mapping(draft, &lead->mapping, lead->stack, offset, length);
        draft->undone_stack = lead->undone;
    }
    draft->dma = dma;
    draft->length = length;
    dk_report_make(checker, draft);
}

static void report_permission(struct dk_checker *checker, struct device *dev,
                              const struct dk_master_fault *fault)
{
    struct dk_report_draft draft;
    bool linked;
    struct dk_lead lead;

    linked =
        dk_lead_find(checker, dev, dk_lead_live, fault->dma, &lead) && lead.mapping.kind == DK_MAPPING_IOVA;
    /* A range has no direction, but each piece linked into it has: the one that the access is against. */
    if (linked)
        lead.mapping.direction = fault->write ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
    dk_access_begin(&draft, checker, DK_CLASS_IOMMU_PERMISSION, dev, fault->write);
    if (!lead.found)
        dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx of a mapping that is not for that",
                      dk_access_did(fault->write), fault->length, fault->dma);
    else
        dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx of %s %s%s%s", dk_access_did(fault->write),
                      fault->length, fault->dma, linked ? "memory that was linked" : "a mapping that is",
                      dk_direction_name(lead.mapping.direction), dk_lead_owned(&lead), dk_lead_owner(&lead));
    dk_access_conclude(&draft, checker, fault->dma, fault->length, &lead, fault->dma - lead.mapping.dma);
}

/* No DMA address of late. Whether it is a physical one. */
static bool describe_unknown(struct dk_report_draft *draft, struct dk_checker *checker, struct device *dev,
                             const struct dk_master_fault *fault, struct dk_lead *lead)
{
    if (dk_lead_find(checker, dev, dk_lead_physical, fault->dma, lead)) {
        draft->advice = "give the device the DMA address, not the physical or the CPU's";
        dk_draft_what(
            draft,
            "the device %s %llu bytes at 0x%llx, the physical address of a mapping whose DMA address "
            "is 0x%llx%s%s",
            dk_access_did(fault->write), fault->length, fault->dma, lead->mapping.dma, dk_lead_owned(lead),
            dk_lead_owner(lead));
    } else {
        dk_draft_what(draft, "the device %s %llu bytes at 0x%llx, where nothing is mapped",
                      dk_access_did(fault->write), fault->length, fault->dma);
    }
    return lead->found;
}

static void report_unmapped(struct dk_checker *checker, struct device *dev,
                            const struct dk_master_fault *fault)
{
    struct dk_report_draft draft;
    bool physical = false;
    struct dk_lead lead;

    if (dk_stray_past_segments(checker, dev, fault))
        return;
    dk_access_begin(&draft, checker, DK_CLASS_IOMMU_UNMAPPED, dev, fault->write);
    /* The first answer that holds. */
    if (dk_lead_find(checker, dev, dk_lead_live, fault->dma, &lead))
        dk_draft_what(&draft,
                      "the device %s %llu bytes at 0x%llx, %llu bytes into a %s of %llu at 0x%llx%s%s, where "
                      "nothing is %s",
                      dk_access_did(fault->write), fault->length, fault->dma, fault->dma - lead.mapping.dma,
                      lead.mapping.kind == DK_MAPPING_IOVA ? "range" : "mapping", lead.mapping.size,
                      lead.mapping.dma, dk_lead_owned(&lead), dk_lead_owner(&lead),
                      lead.mapping.kind == DK_MAPPING_IOVA ? "linked" : "mapped any more");
    else if (dk_lead_find(checker, dev, dk_lead_past, fault->dma, &lead))
        dk_draft_what(
            &draft, "the device %s %llu bytes at 0x%llx, %llu bytes into a mapping of %llu%s%s that is gone",
            dk_access_did(fault->write), fault->length, fault->dma, fault->dma - lead.mapping.dma,
            lead.mapping.size, dk_lead_owned(&lead), dk_lead_owner(&lead));
    else if (dk_lead_find(checker, dev, ends_before, fault->dma, &lead))
        dk_draft_what(
            &draft,
            "the device %s %llu bytes at 0x%llx, %llu bytes past the end of a mapping of %llu at 0x%llx%s%s",
            dk_access_did(fault->write), fault->length, fault->dma,
            fault->dma - (lead.mapping.dma + lead.mapping.size), lead.mapping.size, lead.mapping.dma,
            dk_lead_owned(&lead), dk_lead_owner(&lead));
    else if (dk_stray_truncated(checker, dev, fault->dma, fault->length, fault->write, false))
        return;
    else
        physical = describe_unknown(&draft, checker, dev, fault, &lead);
    dk_access_conclude(&draft, checker, fault->dma, fault->length, &lead,
                       fault->dma - (physical ? lead.mapping.phys : lead.mapping.dma));
}

void dk_check_stale(struct device *dev, dma_addr_t dma, u64 length, bool write)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_report_draft draft;
    struct dk_lead lead;

    if (!checker)
        return;
    dk_lead_find(checker, dev, dk_lead_past, dma, &lead);
    dk_access_begin(&draft, checker, DK_CLASS_DEVICE_ACCESS_AFTER_UNMAP, dev, write);
    dk_draft_what(
        &draft,
        "the device %s %llu bytes at 0x%llx after their unmapping, in the window that a lazy IOMMU leaves "
        "open; a strict one would have refused it",
        dk_access_did(write), length, dma);
    dk_access_conclude(&draft, checker, dma, length, &lead, dma - lead.mapping.dma);
}

void dk_check_asleep(struct device *dev, dma_addr_t dma, phys_addr_t phys, u64 length, bool write)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_report_draft draft;
    struct dk_lead lead;

    if (!checker)
        return;
    if (!dk_lead_find(checker, dev, dk_lead_live, dma, &lead))
        dk_lead_find(checker, dev, dk_lead_past, dma, &lead);
    dk_access_begin(&draft, checker, DK_CLASS_ACCESS_TO_MASKED_SECTION, dev, write);
    dk_draft_what(
        &draft,
        "the device %s %llu bytes at 0x%llx, in memory at 0x%llx that nobody uses and whose refresh is off: %s",
        dk_access_did(write), length, dma, phys, write ? "they are lost" : "what it got is nobody's");
    dk_access_conclude(&draft, checker, dma, length, &lead, dma - lead.mapping.dma);
}

/* ---- What the bus saw ---- */

static void log_bus_error(struct dk_checker *checker, struct dk_mappings *mappings, struct device *dev,
                          const struct dk_master_fault *fault)
{
    struct dk_lead lead = { .found = false };
    char place[512] = "";

    if (dk_master_fault_count(dev) > LINES_PER_DEVICE)
        return;
    if (mappings && dk_lead_physical(mappings, fault->dma, &lead)) {
        dk_describe_place(checker, lead.stack, place, sizeof(place));
        dk_device_log(
            dev, 1,
            "bus error: %s %llu bytes at 0x%llx: %s. It is the physical address of the %s mapping whose DMA "
            "address is 0x%llx, made%s",
            fault->write ? "writes" : "reads", fault->length, fault->dma, fault->reason,
            dk_mapping_kind_name(lead.mapping.kind), lead.mapping.dma, place);
    } else if (mappings && was_mapped(mappings, fault->dma, &lead)) {
        dk_describe_place(checker, lead.stack, place, sizeof(place));
        dk_device_log(dev, 1,
                      "bus error: %s %llu bytes at 0x%llx: %s. A mapping there is gone; it was made%s",
                      fault->write ? "writes" : "reads", fault->length, fault->dma, fault->reason, place);
    } else {
        dk_device_log(dev, 1, "bus error: %s %llu bytes at 0x%llx: %s", fault->write ? "writes" : "reads",
                      fault->length, fault->dma, fault->reason);
    }
}

void dk_check_fault(struct device *dev, const struct dk_master_fault *fault)
{
    struct dk_checker *checker = dk_checker_of(dev);

    if (checker && fault->kind == DK_MASTER_FAULT_UNMAPPED)
        report_unmapped(checker, dev, fault);
    else if (checker && fault->kind == DK_MASTER_FAULT_PERMISSION)
        report_permission(checker, dev, fault);
    else if (!checker || !dk_stray_refused(checker, dev, fault))
        log_bus_error(checker, checker ? dk_checker_mappings(checker, dev, false) : NULL, dev, fault);
}
