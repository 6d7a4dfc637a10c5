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
    phys_addr_t address;
    struct dk_mapping mapping;
    u32 stack;
    bool found;
};

/* Goes on until it is found. */
static bool compare_phys(struct dk_interval *by_dma, void *data)
{
    const struct dk_record *record = dk_record_of(by_dma);
    struct lead *lead = data;

    u64 size = record->mapping.contiguous ? record->mapping.contiguous : record->mapping.size;

    if (lead->address - record->mapping.phys >= size)
        return true;
    lead->found = true;
    lead->mapping = record->mapping;
    lead->stack = record->stack;
    return false;
}

static bool is_physical_address(struct dk_mappings *mappings, struct lead *lead)
{
    dk_lock_take(&mappings->lock);
    dk_intervals_each(&mappings->live, compare_phys, lead);
    dk_lock_give(&mappings->lock);
    return lead->found && lead->mapping.dma != lead->address;
}

static bool was_mapped(struct dk_mappings *mappings, struct lead *lead)
{
    const struct dk_past_mapping *past;

    dk_lock_take(&mappings->lock);
    past = dk_mappings_past(mappings, lead->address);
    if (past) {
        lead->mapping = past->mapping;
        lead->stack = past->stack;
    }
    dk_lock_give(&mappings->lock);
    return past != NULL;
}

/* " at FILE:LINE, in FUNCTION()" of the call that made the mapping, or "". */
static void describe_place(struct dk_checker *checker, u32 stack, char *text, size_t size)
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

/* A live one that ends in the page before @dma's. */
static bool ends_before(struct dk_mappings *mappings, dma_addr_t dma, struct lead *lead)
{
    dma_addr_t page = dma & ~((dma_addr_t)PAGE_SIZE - 1);

    return page && (is_mapped(mappings, page - 1, lead) || is_mapped(mappings, page - PAGE_SIZE, lead));
}

static void begin(struct dk_report_draft *draft, struct dk_checker *checker, enum dk_class class_index,
                  const struct device *dev, dma_addr_t dma, u64 length, bool write, const struct lead *lead)
{
    dk_draft_begin(draft, checker, class_index, dev, write ? "dk_master_write" : "dk_master_read");
    draft->access_kind = write ? "device-write" : "device-read";
    if (lead->found)
        dk_draft_mapping(draft, &lead->mapping, lead->stack, dma - lead->mapping.dma, length);
    draft->dma = dma;
    draft->length = length;
}

static const char *did(bool write)
{
    return write ? "wrote" : "read";
}

static void report_permission(struct dk_checker *checker, struct dk_mappings *mappings, struct device *dev,
                              const struct dk_master_fault *fault)
{
    struct lead lead = { .found = false };
    struct dk_report_draft draft;

    if (mappings)
        is_mapped(mappings, fault->dma, &lead);
    begin(&draft, checker, DK_CLASS_IOMMU_PERMISSION, dev, fault->dma, fault->length, fault->write, &lead);
    dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx of a mapping that is %s", did(fault->write),
                  fault->length, fault->dma,
                  lead.found ? dk_direction_name(lead.mapping.direction) : "not for that");
    dk_report_make(checker, &draft);
}

static void report_unmapped(struct dk_checker *checker, struct dk_mappings *mappings, struct device *dev,
                            const struct dk_master_fault *fault)
{
    struct lead lead = { .address = fault->dma };
    struct dk_report_draft draft;
    bool past = mappings && is_past(mappings, fault->dma, &lead);
    bool beyond = !past && mappings && ends_before(mappings, fault->dma, &lead);
    bool physical = !past && !beyond && mappings && is_physical_address(mappings, &lead);

    begin(&draft, checker, DK_CLASS_IOMMU_UNMAPPED, dev, fault->dma, fault->length, fault->write, &lead);
    if (past) {
        dk_draft_what(
            &draft, "the device %s %llu bytes at 0x%llx, %llu bytes into a mapping of %llu that is gone",
            did(fault->write), fault->length, fault->dma, fault->dma - lead.mapping.dma, lead.mapping.size);
    } else if (beyond) {
        dk_draft_what(
            &draft,
            "the device %s %llu bytes at 0x%llx, %llu bytes past the end of a mapping of %llu at 0x%llx",
            did(fault->write), fault->length, fault->dma, fault->dma - (lead.mapping.dma + lead.mapping.size),
            lead.mapping.size, lead.mapping.dma);
    } else if (physical) {
        draft.offset = fault->dma - lead.mapping.phys;
        draft.advice = "give the device the DMA address, not the physical or the CPU's";
        dk_draft_what(
            &draft,
            "the device %s %llu bytes at 0x%llx, the physical address of a mapping whose DMA address is 0x%llx",
            did(fault->write), fault->length, fault->dma, lead.mapping.dma);
    } else {
        dk_draft_what(&draft, "the device %s %llu bytes at 0x%llx, where nothing is mapped",
                      did(fault->write), fault->length, fault->dma);
    }
    dk_report_make(checker, &draft);
}

void dk_check_stale(struct device *dev, dma_addr_t dma, u64 length, bool write)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct lead lead = { .found = false };
    struct dk_report_draft draft;

    if (!checker)
        return;
    if (mappings)
        is_past(mappings, dma, &lead);
    begin(&draft, checker, DK_CLASS_DEVICE_ACCESS_AFTER_UNMAP, dev, dma, length, write, &lead);
    dk_draft_what(
        &draft,
        "the device %s %llu bytes at 0x%llx after their unmapping, in the window that a lazy IOMMU leaves "
        "open; a strict one would have refused it",
        did(write), length, dma);
    dk_report_make(checker, &draft);
}

/* ---- What the bus saw ---- */

static void log_bus_error(struct dk_checker *checker, struct dk_mappings *mappings, struct device *dev,
                          const struct dk_master_fault *fault)
{
    struct lead lead = { .address = fault->dma };
    char place[512] = "";

    if (dk_master_fault_count(dev) > LINES_PER_DEVICE)
        return;
    if (mappings && is_physical_address(mappings, &lead)) {
        describe_place(checker, lead.stack, place, sizeof(place));
        dk_device_log(
            dev, 1,
            "bus error: %s %llu bytes at 0x%llx: %s. It is the physical address of the %s mapping whose DMA "
            "address is 0x%llx, made%s",
            fault->write ? "writes" : "reads", fault->length, fault->dma, fault->reason,
            dk_mapping_kind_name(lead.mapping.kind), lead.mapping.dma, place);
    } else if (mappings && was_mapped(mappings, &lead)) {
        describe_place(checker, lead.stack, place, sizeof(place));
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
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;

    if (checker && fault->kind == DK_MASTER_FAULT_UNMAPPED)
        report_unmapped(checker, mappings, dev, fault);
    else if (checker && fault->kind == DK_MASTER_FAULT_PERMISSION)
        report_permission(checker, mappings, dev, fault);
    else
        log_bus_error(checker, mappings, dev, fault);
}
