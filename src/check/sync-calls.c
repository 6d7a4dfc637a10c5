/* SPDX-License-Identifier: MIT */
/*
 * Calls that sync.
 */
#include "check/check.h"

#include "check/checker.h"

struct sync_call {
    struct dk_checker *checker;
    struct device *dev;
    const char *call;
    dma_addr_t dma;
    u64 size;
    enum dma_data_direction direction;
    bool for_cpu;
    int sg_nents;
};

static void report_not_mapped(const struct sync_call *sync, struct dk_mappings *mappings)
{
    struct dk_mapping gone = { .size = 0 };
    u32 stack = 0;
    struct dk_report_draft draft;

    dk_draft_begin(&draft, sync->checker, DK_CLASS_SYNC_NOT_MAPPED, sync->dev, sync->call);
    if (mappings) {
        const struct dk_past_mapping *past;

        dk_lock_take(&mappings->lock);
        past = dk_mappings_past(mappings, sync->dma);
        if (past) {
            gone = past->mapping;
            stack = past->stack;
        }
        dk_lock_give(&mappings->lock);
    }
    if (gone.size)
        dk_draft_mapping(&draft, &gone, stack, 0, gone.size);
    draft.dma = sync->dma;
    draft.length = sync->size;
    dk_draft_what(&draft, "%s() of %llu bytes at 0x%llx, where %s", sync->call, sync->size, sync->dma,
                  gone.size ? "a mapping was that is unmapped" : "the device has no mapping");
    dk_report_make(sync->checker, &draft);
}

/* @record shares bytes with the sync, but does not hold them all. */
static void report_out_of_range(const struct sync_call *sync, const struct dk_record *record)
{
    const struct dk_mapping *mapping = &record->mapping;
    struct dk_report_draft draft;

    dk_draft_begin(&draft, sync->checker, DK_CLASS_SYNC_OUT_OF_RANGE, sync->dev, sync->call);
    if (sync->dma >= mapping->dma) {
        u64 offset = sync->dma - mapping->dma;

        dk_draft_mapping(&draft, mapping, record->stack, mapping->size,
                         sync->size - (mapping->size - offset));
        dk_draft_what(&draft, "%s() of %llu bytes from offset %llu of a mapping of %llu bytes at 0x%llx",
                      sync->call, sync->size, offset, mapping->size, mapping->dma);
    } else {
        dk_draft_mapping(&draft, mapping, record->stack, 0, mapping->size);
        draft.dma = sync->dma;
        draft.length = mapping->dma - sync->dma;
        dk_draft_what(&draft, "%s() of %llu bytes from %llu bytes before a mapping of %llu bytes at 0x%llx",
                      sync->call, sync->size, mapping->dma - sync->dma, mapping->size, mapping->dma);
    }
    dk_report_make(sync->checker, &draft);
}

static enum dk_class direction_class(const struct sync_call *sync, enum dma_data_direction mapped)
{
    if (mapped == DMA_TO_DEVICE && sync->for_cpu)
        return DK_CLASS_SYNC_READONLY_FOR_CPU;
    if (mapped == DMA_FROM_DEVICE && !sync->for_cpu)
        return DK_CLASS_SYNC_WRITEONLY_FOR_DEVICE;
    return DK_CLASS_SYNC_WRONG_DIRECTION;
}

static void check_direction(const struct sync_call *sync, const struct dk_record *record)
{
    const struct dk_mapping *mapping = &record->mapping;
    struct dk_report_draft draft;

    if (dk_direction_fits(mapping->direction, sync->direction))
        return;
    dk_draft_begin(&draft, sync->checker, direction_class(sync, mapping->direction), sync->dev, sync->call);
    dk_draft_mapping(&draft, mapping, record->stack, sync->dma - mapping->dma, sync->size);
    dk_draft_what(&draft, "%s() of %llu bytes at 0x%llx synced %s what is mapped %s", sync->call, sync->size,
                  sync->dma, dk_direction_name(sync->direction), dk_direction_name(mapping->direction));
    dk_report_make(sync->checker, &draft);
}

static void check_sg_count(const struct sync_call *sync, const struct dk_record *record)
{
    const struct dk_mapping *mapping = &record->mapping;
    struct dk_report_draft draft;

    if (mapping->kind != DK_MAPPING_SG || !sync->sg_nents || sync->sg_nents == mapping->sg_nents)
        return;
    dk_draft_begin(&draft, sync->checker, DK_CLASS_SYNC_WRONG_SG_COUNT, sync->dev, sync->call);
    dk_draft_mapping(&draft, mapping, record->stack, sync->dma - mapping->dma, sync->size);
    dk_draft_what(&draft, "%s() at 0x%llx synced %d entries of a scatterlist that was mapped with %d%s",
                  sync->call, mapping->dma, sync->sg_nents, mapping->sg_nents,
                  sync->sg_nents == mapping->sg_mapped ? ", the number that dma_map_sg() returned" : "");
    dk_report_make(sync->checker, &draft);
}

static bool holds_all(const struct dk_mapping *mapping, const struct sync_call *sync)
{
    u64 offset = sync->dma - mapping->dma;

    return sync->dma >= mapping->dma && offset <= mapping->size && sync->size <= mapping->size - offset;
}

static bool count_holder(struct dk_interval *interval, void *data)
{
    (void)interval;
    ++*(unsigned *)data;
    return true;
}

/* @record, unchecked, is in use now; but of several at one address it may be another that is meant. */
static void note_use(struct dk_mappings *mappings, struct dk_record *record, dma_addr_t dma)
{
    unsigned holders = 0;

    dk_intervals_touching(&mappings->live, dma, dma, count_holder, &holders);
    record->used |= holders == 1;
}

/* Under the lock: the record that the sync concerns. It holds the first byte, or at least the last. */
static struct dk_record *record_of(struct dk_mappings *mappings, const struct sync_call *sync)
{
    u64 last = sync->dma + (sync->size ? sync->size - 1 : 0);
    struct dk_record *record =
        dk_mappings_holding(mappings, sync->dma, sync->size, sync->direction, sync->sg_nents);

    if (!record && last >= sync->dma)
        record = dk_mappings_holding(mappings, last, 1, sync->direction, sync->sg_nents);
    return record;
}

/* The record, copied; what the CPU did to its bytes, if they change hands, to *findings. */
static bool find_record(struct dk_mappings *mappings, const struct sync_call *sync, struct dk_record *copy,
                        struct dk_handover_findings *findings)
{
    struct dk_record *record;

    dk_lock_take(&mappings->lock);
    record = record_of(mappings, sync);
    if (record && record->handover && holds_all(&record->mapping, sync))
        dk_handover_sync(sync->checker, record->handover, sync->dma - record->mapping.dma, sync->size,
                         sync->direction, sync->for_cpu, findings);
    if (record && !record->checked)
        note_use(mappings, record, sync->dma);
    /* The links of its place among the lines are guarded by another lock. */
    if (record) {
        copy->mapping = record->mapping;
        copy->stack = record->stack;
    }
    dk_lock_give(&mappings->lock);
    return record;
}

bool dk_check_sync(struct device *dev, const char *call, dma_addr_t dma, u64 size,
                   enum dma_data_direction direction, bool for_cpu, int sg_nents, struct dk_mapping *found)
{
    struct dk_checker *checker = dk_checker_of(dev);
    const struct sync_call sync = { checker, dev, call, dma, size, direction, for_cpu, sg_nents };
    struct dk_handover_findings findings;
    struct dk_mappings *mappings;
    struct dk_record record;

    *found = (struct dk_mapping){ .dma = dma, .size = size, .direction = direction, .sg_nents = sg_nents };
    if (!checker)
        return true;
    mappings = dk_checker_mappings(checker, dev, false);
    findings.count = 0;
    if (!mappings || !find_record(mappings, &sync, &record, &findings)) {
        if (dk_checker_quiet(checker, mappings))
            return true;
        report_not_mapped(&sync, mappings);
        return false;
    }
    if (!holds_all(&record.mapping, &sync)) {
        if (dk_checker_quiet(checker, mappings))
            return true;
        report_out_of_range(&sync, &record);
        return false;
    }
    *found = record.mapping;
    check_direction(&sync, &record);
    check_sg_count(&sync, &record);
    /* What a sync in the wrong direction does to the bytes is part of that mistake. */
    if (findings.count && dk_direction_fits(record.mapping.direction, direction))
        dk_handover_report(checker, call, NULL, &findings);
    if (checker->owner)
        dk_owner_synced(checker, found, dma - found->dma, size, for_cpu);
    return true;
}

void dk_check_synced(struct device *dev, dma_addr_t dma, u64 size, enum dma_data_direction direction,
                     bool for_cpu, int sg_nents)
{
    struct dk_checker *checker = dk_checker_of(dev);
    const struct sync_call sync = { checker, dev, NULL, dma, size, direction, for_cpu, sg_nents };
    struct dk_mappings *mappings;
    const struct dk_record *record;

    if (!checker || checker->depth < 2)
        return;
    mappings = dk_checker_mappings(checker, dev, false);
    if (!mappings)
        return;
    dk_lock_take(&mappings->lock);
    record = record_of(mappings, &sync);
    if (record && holds_all(&record->mapping, &sync))
        dk_handover_synced(checker, record->handover, dma - record->mapping.dma, size, direction, for_cpu);
    dk_lock_give(&mappings->lock);
}
