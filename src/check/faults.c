/* SPDX-License-Identifier: MIT */
/*
 * What a bus error probably means: a line for the log that leads from the address to the driver's mapping.
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

void dk_check_fault(struct device *dev, const struct dk_master_fault *fault)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
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
