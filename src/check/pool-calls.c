/* SPDX-License-Identifier: MIT */
/*
 * Reports on pools. What is wrong src/pool finds out: it knows its blocks.
 */
#include "check/check.h"

#include "check/checker.h"

u32 dk_check_stack(struct device *dev)
{
    struct dk_checker *checker = dk_checker_of(dev);

    return checker ? dk_stacks_capture(&checker->stacks) : 0;
}

void dk_check_forget(struct device *dev, const struct dk_mapping *mapping)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct dk_record *record;

    if (!mappings)
        return;
    dk_lock_take(&mappings->lock);
    record = dk_mappings_find(mappings, mapping);
    if (record && record->mapping.kind == mapping->kind && record->mapping.cpu == mapping->cpu &&
        record->mapping.size == mapping->size) {
        if (checker->owner)
            dk_owner_gone(checker, &record->mapping);
        dk_mappings_leave(mappings, record, 0, false);
    }
    dk_lock_give(&mappings->lock);
}

void dk_check_pool(struct device *dev, const struct dk_pool_bug *bug)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_report_draft draft;
    char place[200] = "";

    if (!checker)
        return;
    dk_draft_begin(&draft, checker, dk_class_find(bug->class_name), dev, bug->call);
    draft.access_kind = bug->access_kind;
    if (bug->advice)
        draft.advice = bug->advice;
    if (bug->memory)
        dk_draft_mapping(&draft, bug->memory, bug->stack, bug->offset, bug->length);
    draft.undone_stack = bug->freed;
    draft.cpu = (uintptr_t)bug->cpu;
    draft.dma = bug->dma;
    draft.length = bug->length;
    if (bug->freed)
        dk_describe_place(checker, bug->freed, place, sizeof(place));
    dk_draft_what(&draft, "%s%s%s", bug->what, *place ? "; it was freed" : "", place);
    dk_report_make(checker, &draft);
}
