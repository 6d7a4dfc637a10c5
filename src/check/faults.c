/* SPDX-License-Identifier: MIT */
/*
 * What a bus master's stray access means: from the address to the driver's mapping. A report where an IOMMU
 * saw it, a line for the log where only the bus did, which knows no mappings.
 */
#include "check/checker.h"

#include "base/log.h"
#include <dmakit/master.h>
#include <stdio.h>

/* A device that lost its way faults at every access: the first few say it all. */
#define LINES_PER_DEVICE 4

/* What the faulting address has to do with. */
struct lead {
    struct dk_mapping mapping;
    u32 stack;
    const char *owner; /* the path of the device that it was mapped for; NULL: the faulting one */
    bool found;
};

/* The address that is looked for, and what is found. */
struct physical_search {
    phys_addr_t address;
    struct lead *lead;
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
static bool is_physical_address(struct dk_mappings *mappings, phys_addr_t address, struct lead *lead)
{
    struct physical_search search = { address, lead };

    dk_lock_take(&mappings->lock);
    dk_intervals_each(&mappings->live, compare_phys, &search);
    dk_lock_give(&mappings->lock);
    return lead->found;
}

static bool was_mapped(struct dk_mappings *mappings, dma_addr_t dma, struct lead *lead)
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
static bool is_mapped(struct dk_mappings *mappings, dma_addr_t dma, struct lead *lead)
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
static bool is_past(struct dk_mappings *mappings, dma_addr_t dma, struct lead *lead)
{
    const struct dk_past_mapping *past;

    dk_lock_take(&mappings->lock);
    past = dk_mappings_past_holding(mappings, dma);
    if (past) {
        lead->mapping = past->mapping;
        lead->stack = past->stack;
        lead->found = true;
    }
    dk_lock_give(&mappings->lock);
    return lead->found;
}

/* A live one that ends in the page before @dma's, or in its. */
static bool ends_before(struct dk_mappings *mappings, dma_addr_t dma, struct lead *lead)
{
    dma_addr_t page = dma & ~((dma_addr_t)PAGE_SIZE - 1);

    if (!page || (!is_mapped(mappings, page - 1, lead) && !is_mapped(mappings, page - PAGE_SIZE, lead)))
        return false;
    lead->found = dma - lead->mapping.dma >= lead->mapping.size;
    return lead->found;
}

typedef bool search_in(struct dk_mappings *mappings, u64 address, struct lead *lead);

/* Whether @mappings are of a device that translates through @domain. */
static bool is_in(struct dk_mappings *mappings, const struct dk_iommu_domain *domain)
{
    bool inside;

    dk_lock_take(&mappings->lock);
    inside = !mappings->removed && __atomic_load_n(&mappings->dev->dk->iommu, __ATOMIC_RELAXED) == domain;
    dk_lock_give(&mappings->lock);
    return inside;
}

/* Searches the mappings of @dev, then those of the devices in its address space: a controller reaches what is
 * mapped for the interfaces below it. */
static bool search(struct dk_checker *checker, struct device *dev, search_in *in, u64 address,
                   struct lead *lead)
{
    const struct dk_iommu_domain *domain = __atomic_load_n(&dev->dk->iommu, __ATOMIC_RELAXED);
    struct dk_mappings *mine = dk_checker_mappings(checker, dev, false);
    struct dk_mappings *other = __atomic_load_n(&checker->devices, __ATOMIC_ACQUIRE);

    *lead = (struct lead){ .found = false };
    if (mine && in(mine, address, lead))
        return true;
    for (; domain && other; other = other->next) {
        if (other == mine || !is_in(other, domain) || !in(other, address, lead))
            continue;
        lead->owner = other->path;
        return true;
    }
    return false;
}

static void begin(struct dk_report_draft *draft, struct dk_checker *checker, enum dk_class class_index,
                  const struct device *dev, bool write)
{
    dk_draft_begin(draft, checker, class_index, dev, write ? "dk_master_write" : "dk_master_read");
    draft->access_kind = write ? "device-write" : "device-read";
}

/* @lead lives until the report is made. */
static void conclude(struct dk_report_draft *draft, struct dk_checker *checker, dma_addr_t dma, u64 length,
                     const struct lead *lead, u64 offset)
{
    if (lead->found)
        dk_draft_mapping(draft, &lead->mapping, lead->stack, offset, length);
    draft->dma = dma;
    draft->length = length;
    dk_report_make(checker, draft);
}

static const char *did(bool write)
{
    return write ? "wrote" : "read";
}

/* Whose mapping it is, where it is another device's. */
static const char *owned(const struct lead *lead)
{
    return lead->owner ? ", mapped for " : "";
}

static const char *owner(const struct lead *lead)
{
    return lead->owner ? lead->owner : "";
}

static void report_permission(struct dk_checker *checker, struct device *dev,
                              const struct dk_master_fault *fault)
{
    struct dk_report_draft draft;
    bool linked;
    struct lead lead;

    linked = search(checker, dev, is_mapped, fault->dma, &lead) && lead.mapping.kind == DK_MAPPING_IOVA;
    /* A range has no direction, but each piece linked into it has: the one that the access is against. */
    if (linked)
        lead.mapping.direction = fault->write ? DMA_TO_DEVICE : DMA_FROM_DEVICE;
    begin(&draft, checker, DK_CLASS_IOMMU_PERMISSION, dev, fault->write);
    if (!lead.found)
        dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx of a mapping that is not for that",
                      did(fault->write), fault->length, fault->dma);
    else
        dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx of %s %s%s%s", did(fault->write),
                      fault->length, fault->dma, linked ? "memory that was linked" : "a mapping that is",
                      dk_direction_name(lead.mapping.direction), owned(&lead), owner(&lead));
    conclude(&draft, checker, fault->dma, fault->length, &lead, fault->dma - lead.mapping.dma);
}

/* No DMA address of late. Whether it is a physical one. */
static bool describe_unknown(struct dk_report_draft *draft, struct dk_checker *checker, struct device *dev,
                             const struct dk_master_fault *fault, struct lead *lead)
{
    if (search(checker, dev, is_physical_address, fault->dma, lead)) {
        draft->advice = "give the device the DMA address, not the physical or the CPU's";
        dk_draft_what(
            draft,
            "the device %s %llu bytes at 0x%llx, the physical address of a mapping whose DMA address "
            "is 0x%llx%s%s",
            did(fault->write), fault->length, fault->dma, lead->mapping.dma, owned(lead), owner(lead));
    } else {
        dk_draft_what(draft, "the device %s %llu bytes at 0x%llx, where nothing is mapped", did(fault->write),
                      fault->length, fault->dma);
    }
    return lead->found;
}

static void report_unmapped(struct dk_checker *checker, struct device *dev,
                            const struct dk_master_fault *fault)
{
    struct dk_report_draft draft;
    bool physical = false;
    struct lead lead;

    begin(&draft, checker, DK_CLASS_IOMMU_UNMAPPED, dev, fault->write);
    /* The first answer that holds. */
    if (search(checker, dev, is_mapped, fault->dma, &lead))
        dk_draft_what(&draft,
                      "the device %s %llu bytes at 0x%llx, %llu bytes into a %s of %llu at 0x%llx%s%s, where "
                      "nothing is %s",
                      did(fault->write), fault->length, fault->dma, fault->dma - lead.mapping.dma,
                      lead.mapping.kind == DK_MAPPING_IOVA ? "range" : "mapping", lead.mapping.size,
                      lead.mapping.dma, owned(&lead), owner(&lead),
                      lead.mapping.kind == DK_MAPPING_IOVA ? "linked" : "mapped any more");
    else if (search(checker, dev, is_past, fault->dma, &lead))
        dk_draft_what(
            &draft, "the device %s %llu bytes at 0x%llx, %llu bytes into a mapping of %llu%s%s that is gone",
            did(fault->write), fault->length, fault->dma, fault->dma - lead.mapping.dma, lead.mapping.size,
            owned(&lead), owner(&lead));
    else if (search(checker, dev, ends_before, fault->dma, &lead))
        dk_draft_what(
            &draft,
            "the device %s %llu bytes at 0x%llx, %llu bytes past the end of a mapping of %llu at 0x%llx%s%s",
            did(fault->write), fault->length, fault->dma, fault->dma - (lead.mapping.dma + lead.mapping.size),
            lead.mapping.size, lead.mapping.dma, owned(&lead), owner(&lead));
    else
        physical = describe_unknown(&draft, checker, dev, fault, &lead);
    conclude(&draft, checker, fault->dma, fault->length, &lead,
             fault->dma - (physical ? lead.mapping.phys : lead.mapping.dma));
}

void dk_check_stale(struct device *dev, dma_addr_t dma, u64 length, bool write)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_report_draft draft;
    struct lead lead;

    if (!checker)
        return;
    search(checker, dev, is_past, dma, &lead);
    begin(&draft, checker, DK_CLASS_DEVICE_ACCESS_AFTER_UNMAP, dev, write);
    dk_draft_what(
        &draft,
        "the device %s %llu bytes at 0x%llx after their unmapping, in the window that a lazy IOMMU leaves "
        "open; a strict one would have refused it",
        did(write), length, dma);
    conclude(&draft, checker, dma, length, &lead, dma - lead.mapping.dma);
}

void dk_check_asleep(struct device *dev, dma_addr_t dma, phys_addr_t phys, u64 length, bool write)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_report_draft draft;
    struct lead lead;

    if (!checker)
        return;
    if (!search(checker, dev, is_mapped, dma, &lead))
        search(checker, dev, is_past, dma, &lead);
    begin(&draft, checker, DK_CLASS_ACCESS_TO_MASKED_SECTION, dev, write);
    dk_draft_what(
        &draft,
        "the device %s %llu bytes at 0x%llx, in memory at 0x%llx that nobody uses and whose refresh is off: %s",
        did(write), length, dma, phys, write ? "they are lost" : "what it got is nobody's");
    conclude(&draft, checker, dma, length, &lead, dma - lead.mapping.dma);
}

/* ---- What the bus saw ---- */

static void log_bus_error(struct dk_checker *checker, struct dk_mappings *mappings, struct device *dev,
                          const struct dk_master_fault *fault)
{
    struct lead lead = { .found = false };
    char place[512] = "";

    if (dk_master_fault_count(dev) > LINES_PER_DEVICE)
        return;
    if (mappings && is_physical_address(mappings, fault->dma, &lead)) {
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
    else
        log_bus_error(checker, checker ? dk_checker_mappings(checker, dev, false) : NULL, dev, fault);
}
