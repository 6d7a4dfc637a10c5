/* SPDX-License-Identifier: MIT */
/*
 * Reports of what was found at a handover.
 */
#include "check/handover-private.h"

#include <stdarg.h>
#include <stdio.h>

struct sentence {
    struct dk_report_draft *draft;
    size_t used;
};

static __attribute__((format(printf, 2, 3))) void say(struct sentence *sentence, const char *format, ...)
{
    size_t room = sizeof(sentence->draft->what) - sentence->used;
    va_list arguments;
    int length;

    va_start(arguments, format);
    length = vsnprintf(sentence->draft->what + sentence->used, room, format, arguments);
    va_end(arguments);
    if (length > 0)
        sentence->used += (size_t)length < room ? (size_t)length : room - 1;
}

static void say_where(struct sentence *sentence, const struct dk_handover_finding *finding)
{
    const struct dk_mapping *mapping = &finding->mapping;
    const char *bytes = finding->length == 1 ? "byte" : "bytes";

    if (finding->in_front)
        say(sentence, "%llu %s, %llu in front of", finding->length, bytes, finding->in_front);
    else if (finding->offset >= mapping->size)
        say(sentence, "%llu %s, %llu behind", finding->length, bytes, finding->offset - mapping->size);
    else
        say(sentence, "%llu %s at offset %llu of", finding->length, bytes, finding->offset);
    say(sentence, " a mapping of %llu bytes at 0x%llx (%s)", mapping->size, mapping->dma,
        dk_direction_name(mapping->direction));
    if (finding->more)
        say(sentence, " and %llu more up to offset %llu", finding->more, finding->last);
}

static void say_what(struct sentence *sentence, const struct dk_handover_finding *finding)
{
    switch (finding->class_index) {
    case DK_CLASS_MISSING_SYNC_FOR_DEVICE:
        say(sentence, "the CPU changed ");
        say_where(sentence, finding);
        say(sentence, " which it owned, and they were not synced for the device: %s", finding->how);
        return;
    case DK_CLASS_SYNC_WRONG_SUBRANGE:
        say(sentence, "the CPU changed ");
        say_where(sentence, finding);
        if (finding->how)
            say(sentence, ", but bytes %llu to %llu of it were synced for the device: %s", finding->part,
                finding->part_end - 1, finding->how);
        else
            say(sentence, " while the device owned them: bytes %llu to %llu of it were synced for the CPU",
                finding->part, finding->part_end - 1);
        return;
    case DK_CLASS_SKIP_SYNC_WITHOUT_SYNC:
        say_where(sentence, finding);
        say(sentence, ", made with DMA_ATTR_SKIP_CPU_SYNC, were never synced for the device: %s",
            finding->how);
        return;
    case DK_CLASS_SHARED_CACHE_LINE:
        say(sentence, "the CPU changed ");
        say_where(sentence, finding);
        say(sentence, " in the same cache line, while the device owned that and wrote to it");
        return;
    default:
        say(sentence, "the CPU changed ");
        say_where(sentence, finding);
        say(sentence, " while the device owned them");
    }
}

/* At depth 3 it is known who stored next to the mapping; what @draft says otherwise is where it was seen. */
static void name_store(struct dk_report_draft *draft, struct dk_checker *checker,
                       const struct dk_handover_finding *finding)
{
    u32 stack = dk_owner_stored_beside(checker, finding->mapping.phys + finding->offset - finding->in_front,
                                       finding->length);

    if (!stack)
        return;
    draft->access_stack = stack;
    draft->access_kind = "store";
    draft->call = "";
}

void dk_handover_report(struct dk_checker *checker, const char *call, const char *access,
                        const struct dk_handover_findings *findings)
{
    unsigned i;

    for (i = 0; i < findings->count; i++) {
        const struct dk_handover_finding *finding = &findings->list[i];
        struct dk_report_draft draft;
        struct sentence sentence = { &draft, 0 };

        dk_draft_begin(&draft, checker, (enum dk_class)finding->class_index, finding->dev, call);
        if (access)
            draft.access_kind = access;
        dk_draft_mapping(&draft, &finding->mapping, finding->stack, finding->offset, finding->length);
        draft.dma -= finding->in_front;
        draft.cpu = finding->cpu;
        if (finding->class_index == DK_CLASS_SHARED_CACHE_LINE)
            name_store(&draft, checker, finding);
        say_what(&sentence, finding);
        say(&sentence, "; seen at %s()", call);
        dk_report_make(checker, &draft);
    }
}
