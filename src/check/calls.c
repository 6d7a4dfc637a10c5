/* SPDX-License-Identifier: MIT */
/*
 * Calls that make mappings, and what becomes of those that are left.
 */
#include "check/check.h"

#include "base/alloc.h"
#include "check/checker.h"
#include <stdlib.h>

/* ---- Making ---- */

/* Larger mappings than this are not counted line by line: that would take longer than the bug is likely. */
#define LINES_LIMIT ((u64)64 << 20)

/* Whether the device may write through a streaming mapping: then it is to have its cache lines for itself. */
static bool takes_lines(const struct dk_mapping *mapping)
{
    return mapping->kind <= DK_MAPPING_SG && mapping->direction != DMA_TO_DEVICE && mapping->size &&
           mapping->size <= LINES_LIMIT;
}

/* Under the shadow's lock, as are the two that follow. */
static inline void enter_lines(struct dk_checker *checker, const struct device *dev, struct dk_record *record,
                               phys_addr_t phys, u64 size, struct dk_overlap *overlap)
{
    unsigned before;

    record->by_phys.start = phys;
    record->by_phys.size = size;
    before = dk_shadow_enter(&checker->shadow, &record->by_phys, &record->few);
    if (before)
        dk_overlap_find(&checker->shadow, record, checker->line, dev->dma_coherent, before, overlap);
}

/* At depth 2 what a device only reads is found by its memory, too. */
static bool is_other(const struct dk_checker *checker, const struct dk_mapping *mapping)
{
    return checker->depth >= 2 && mapping->kind <= DK_MAPPING_SG && mapping->size && !takes_lines(mapping);
}

static void enter_other(struct dk_checker *checker, struct dk_record *record, phys_addr_t phys, u64 size)
{
    record->by_phys.start = phys;
    record->by_phys.size = size;
    record->other = true;
    dk_shadow_enter_other(&checker->shadow, &record->by_phys);
}

/* Among those that have the same memory, and lines. */
static inline void enter_memory(struct dk_checker *checker, const struct device *dev,
                                struct dk_record *record, phys_addr_t phys, u64 size,
                                struct dk_overlap *overlap)
{
    if (takes_lines(&record->mapping))
        enter_lines(checker, dev, record, phys, size, overlap);
    else if (is_other(checker, &record->mapping))
        enter_other(checker, record, phys, size);
}

/* Memory that is handed to a device though nobody uses it, and whose refresh is off: freed, or not yet got.
 */
static __attribute__((noinline)) void check_asleep(struct dk_checker *checker, struct device *dev,
                                                   const char *call, const struct dk_mapping *mapping,
                                                   u32 stack)
{
    const u64 size = mapping->contiguous ? mapping->contiguous : mapping->size;
    struct dk_memory *memory = dk_device_machine(dev)->memory;
    struct dk_report_draft draft;
    u64 at, run = 0;

    if (mapping->kind > DK_MAPPING_SG)
        return;
    for (at = 0; at < size; at += run) {
        run = size - at;
        if (dk_pasr_run(memory, mapping->phys + at, &run))
            break;
    }
    if (at >= size)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_ACCESS_TO_MASKED_SECTION, dev, call);
    dk_draft_what(&draft,
                  "%llu bytes at 0x%llx were mapped, in memory that nobody uses and whose refresh is off",
                  run, mapping->phys + at);
    dk_draft_mapping(&draft, mapping, stack, at, run);
    dk_report_make(checker, &draft);
}

void dk_check_mapped(struct device *dev, const char *call, struct dk_mapping *mapping)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_handover_findings findings;
    struct dk_overlap overlap;
    struct dk_mappings *mappings;
    struct dk_record *record;
    u64 live;
    u32 stack;

    if (!checker)
        return;
    mappings = dk_checker_mappings(checker, dev, true);
    if (!mappings)
        return;
    overlap.found = overlap.overflow = false;
    findings.count = 0;
    stack = dk_stacks_capture(&checker->stacks);
    dk_lock_take(&mappings->lock);
    /* A driver may be bound again. */
    mappings->removed = false;
    record = dk_mappings_take(mappings);
    dk_lock_take(&checker->shadow.lock);
    /* Further segments of one dma_map_sg(), and ranges of one remap, come with the first one's number. */
    if (!mapping->number || (mapping->kind != DK_MAPPING_SG && mapping->kind != DK_MAPPING_REMAP))
        mapping->number = ++checker->last_number;
    if (record) {
        record->mapping = *mapping;
        record->stack = stack;
        record->by_phys.size = 0;
        enter_memory(checker, dev, record, mapping->phys,
                     mapping->contiguous ? mapping->contiguous : mapping->size, &overlap);
    }
    dk_lock_give(&checker->shadow.lock);
    if (record) {
        record->checked = !dk_mapping_needs_check(mapping->kind);
        record->used = false;
        record->handover = NULL;
        dk_mappings_enter(mappings, record);
        if (checker->owner)
            dk_owner_mapped(checker, dev, mappings->path, mapping, stack);
        if (checker->depth > 1)
            record->handover = dk_handover_mapped(checker, dev, mapping, stack, &findings);
    } else {
        __atomic_store_n(&mappings->quiet, true, __ATOMIC_RELAXED);
    }
    live = mappings->live.count;
    dk_lock_give(&mappings->lock);
    if (!record)
        dk_checker_exhausted(checker, "a mapping is not checked");
    if (__builtin_expect(dk_pasr_any_asleep(checker->machine->memory), 0))
        check_asleep(checker, dev, call, mapping, stack);
    if (checker->depth >= 2 && mapping->kind <= DK_MAPPING_SG)
        dk_check_maps_freed(checker, dev, call, mapping, stack);
    if (mapping->kind <= DK_MAPPING_SG &&
        dk_coherents_may_hold(&checker->coherents, mapping->phys, mapping->size))
        dk_check_maps_coherent(dev, call, mapping);
    if (live >= DK_GROWTH_AT_ALL && !(live & (live - 1)))
        dk_check_growth(dev, call, DK_GROWTH_AT_ALL / 2);
    if (overlap.found || overlap.overflow)
        dk_overlap_report(checker, dev, call, mapping, &overlap);
    if (findings.count)
        dk_handover_report(checker, call, NULL, &findings);
}

void dk_check_mapped_piece(struct device *dev, const char *call, const struct dk_mapping *mapping, u64 offset,
                           phys_addr_t phys, u64 size)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct dk_handover_findings findings = { .count = 0 };
    struct dk_overlap overlap = { .found = false };
    struct dk_record *record, *piece = NULL;

    if (!mappings)
        return;
    if (checker->owner)
        dk_owner_mapped_piece(checker, mapping, offset, phys, size);
    if (!takes_lines(mapping) && !is_other(checker, mapping) && checker->depth < 2)
        return;
    dk_lock_take(&mappings->lock);
    record = dk_mappings_find(mappings, mapping);
    if (record && record->mapping.number != mapping->number)
        record = NULL;
    if (record)
        dk_handover_piece(checker, record->handover, offset, phys, size, &findings);
    if (record && (takes_lines(mapping) || is_other(checker, mapping)))
        piece = dk_mappings_take(mappings);
    if (piece) {
        piece->mapping = *mapping;
        /* So that an address in the piece less this one is an offset into the mapping. */
        piece->mapping.phys = phys - offset;
        piece->stack = record->stack;
        piece->handover = NULL;
        piece->pieces = record->pieces;
        record->pieces = piece;
        dk_lock_take(&checker->shadow.lock);
        enter_memory(checker, dev, piece, phys, size, &overlap);
        dk_lock_give(&checker->shadow.lock);
    }
    dk_lock_give(&mappings->lock);
    if (overlap.found || overlap.overflow)
        dk_overlap_report(checker, dev, call, mapping, &overlap);
    if (findings.count)
        dk_handover_report(checker, call, NULL, &findings);
}

/* The device of @mappings was asked about @dma, and may have used it before. */
static __attribute__((noinline)) void check_error_late(struct dk_checker *checker, struct device *dev,
                                                       struct dk_mappings *mappings, dma_addr_t dma)
{
    struct dk_report_draft draft;
    struct dk_mapping mapping;
    struct dk_record *record;
    bool late = false;
    u32 stack = 0;

    dk_lock_take(&mappings->lock);
    record = dk_mappings_unchecked(mappings, dma);
    if (record) {
        record->checked = true;
        late = record->used;
        if (late) {
            mapping = record->mapping;
            stack = record->stack;
        }
    }
    dk_lock_give(&mappings->lock);
    if (!late)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_ERROR_CHECKED_TOO_LATE, dev, "dma_mapping_error");
    dk_draft_mapping(&draft, &mapping, stack, 0, mapping.size);
    dk_draft_what(&draft,
                  "dma_mapping_error() was asked about the mapping of %llu bytes at 0x%llx when it had been "
                  "synced, or accessed by the device, already",
                  mapping.size, mapping.dma);
    dk_report_make(checker, &draft);
}

void dk_check_mapping_error(struct device *dev, dma_addr_t dma)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct dk_record *latest;
    bool done;

    if (!mappings)
        return;
    /* Nearly always a driver asks right after it mapped. */
    dk_lock_take(&mappings->lock);
    latest = mappings->latest;
    done = latest && latest->mapping.dma == dma && !latest->checked && !latest->used;
    if (done)
        latest->checked = true;
    dk_lock_give(&mappings->lock);
    if (!done)
        check_error_late(checker, dev, mappings, dma);
}

void dk_check_sg_segment(struct device *dev, const char *call, dma_addr_t dma, u64 length)
{
    struct dk_checker *checker = dk_checker_of(dev);
    const struct device_dma_parameters *limits = dev->dma_parms;
    u64 longest = limits && limits->max_segment_size ? limits->max_segment_size : 0x10000;
    u64 boundary = limits && limits->segment_boundary_mask ? limits->segment_boundary_mask : 0xffffffff;
    struct dk_report_draft draft;

    if (!checker || !length)
        return;
    if (length > longest) {
        dk_draft_begin(&draft, checker, DK_CLASS_SG_SEGMENT_TOO_LONG, dev, call);
        draft.dma = dma;
        draft.length = length;
        dk_draft_what(&draft,
                      "%s() made a segment of %llu bytes at 0x%llx for a device that takes at most %llu",
                      call, length, dma, longest);
        dk_report_make(checker, &draft);
    }
    if ((dma ^ (dma + (length - 1))) & ~boundary) {
        dk_draft_begin(&draft, checker, DK_CLASS_SG_CROSSES_BOUNDARY, dev, call);
        draft.dma = dma;
        draft.length = length;
        dk_draft_what(
            &draft,
            "%s() made a segment from 0x%llx to 0x%llx, across a multiple of 0x%llx, which the device cannot "
            "cross",
            call, dma, dma + (length - 1), boundary + 1);
        dk_report_make(checker, &draft);
    }
}

/* ---- Leaving ---- */

struct leavings {
    struct dk_record **records;
    size_t count, room;
};

static bool collect(struct dk_interval *interval, void *data)
{
    struct leavings *leavings = data;

    if (leavings->count < leavings->room)
        leavings->records[leavings->count++] = dk_record_of(interval);
    return true;
}

static int by_age(const void *a, const void *b)
{
    const struct dk_mapping *one = &(*(struct dk_record *const *)a)->mapping;
    const struct dk_mapping *two = &(*(struct dk_record *const *)b)->mapping;

    if (one->number != two->number)
        return one->number < two->number ? -1 : 1;
    return one->dma < two->dma ? -1 : one->dma > two->dma;
}

static void report_leak(struct dk_checker *checker, struct device *dev, const struct dk_record *record)
{
    const struct dk_mapping *mapping = &record->mapping;
    const char *made = dk_mapping_is_allocation(mapping->kind) ? "allocated" : "mapped";
    struct dk_report_draft draft;

    dk_draft_begin(&draft, checker, DK_CLASS_LEAK_AT_REMOVE, dev, "dk_device_remove");
    dk_draft_mapping(&draft, mapping, record->stack, 0, mapping->size);
    dk_draft_what(&draft, "the device was removed with %llu bytes at 0x%llx (%s, %s) still %s", mapping->size,
                  mapping->dma, dk_mapping_kind_name(mapping->kind), dk_direction_name(mapping->direction),
                  made);
    dk_report_make(checker, &draft);
    if (record->checked)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_ERROR_UNCHECKED, dev, "dk_device_remove");
    dk_draft_mapping(&draft, mapping, record->stack, 0, mapping->size);
    dk_draft_what(&draft,
                  "the mapping of %llu bytes at 0x%llx was never asked about with dma_mapping_error()",
                  mapping->size, mapping->dma);
    dk_report_make(checker, &draft);
}

void dk_record_leave_pieces(struct dk_checker *checker, struct dk_mappings *mappings,
                            struct dk_record *record)
{
    struct dk_record *piece;

    dk_lock_take(&checker->shadow.lock);
    for (piece = record; piece; piece = piece->pieces) {
        if (piece->other)
            dk_shadow_leave_other(&checker->shadow, &piece->by_phys);
        else
            dk_shadow_leave(&checker->shadow, &piece->by_phys, &piece->few);
    }
    dk_lock_give(&checker->shadow.lock);
    while ((piece = record->pieces)) {
        record->pieces = piece->pieces;
        dk_mappings_give(mappings, piece);
    }
}

static bool any(struct dk_interval *interval, void *data)
{
    *(struct dk_record **)data = dk_record_of(interval);
    return false;
}

/* Takes one record out and copies it to *record; false when none is left. */
static bool take_one(struct dk_checker *checker, struct dk_mappings *mappings, struct dk_record *wanted,
                     struct dk_record *record)
{
    struct dk_record *found = wanted;

    dk_lock_take(&mappings->lock);
    if (!found)
        dk_intervals_each(&mappings->live, any, &found);
    if (found) {
        dk_record_leave_lines(checker, mappings, found);
        dk_handover_drop(checker, found->handover);
        if (checker->owner)
            dk_owner_gone(checker, &found->mapping);
        dk_mappings_leave(mappings, found, 0, true);
        *record = *found;
    }
    dk_lock_give(&mappings->lock);
    return found;
}

void dk_check_device_removed(struct device *dev)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct leavings leavings = { .count = 0 };
    struct dk_record record;
    u64 reported = 0;
    size_t i;

    if (!mappings)
        return;
    /* No other thread maps for a device that goes. Oldest first; without memory to sort in, in any order. */
    dk_lock_take(&mappings->lock);
    leavings.room = mappings->live.count;
    dk_lock_give(&mappings->lock);
    leavings.records = leavings.room ? dk_allocate(leavings.room, sizeof(*leavings.records)) : NULL;
    dk_lock_take(&mappings->lock);
    if (leavings.records)
        dk_intervals_each(&mappings->live, collect, &leavings);
    mappings->removed = true;
    dk_lock_give(&mappings->lock);
    if (leavings.count)
        qsort(leavings.records, leavings.count, sizeof(*leavings.records), by_age);
    for (i = 0; i < leavings.count; i++) {
        if (!take_one(checker, mappings, leavings.records[i], &record))
            break;
        /* A scatterlist is one leak, however many segments it has. */
        if (record.mapping.number != reported)
            report_leak(checker, dev, &record);
        reported = record.mapping.number;
    }
    while (take_one(checker, mappings, NULL, &record))
        report_leak(checker, dev, &record);
    dk_release(leavings.records);
}

struct visiting {
    void (*visit)(const struct dk_mapping *mapping, void *data);
    void *data;
};

static bool visit_record(struct dk_interval *interval, void *data)
{
    struct visiting *visiting = data;

    visiting->visit(&dk_record_of(interval)->mapping, visiting->data);
    return true;
}

void dk_check_each_mapping(struct device *dev, void (*visit)(const struct dk_mapping *mapping, void *data),
                           void *data)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct visiting visiting = { visit, data };

    if (!mappings)
        return;
    dk_lock_take(&mappings->lock);
    dk_intervals_each(&mappings->live, visit_record, &visiting);
    dk_lock_give(&mappings->lock);
}
