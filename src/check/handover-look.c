/* SPDX-License-Identifier: MIT */
/*
 * What the CPU stored into a watched mapping, and whether it might.
 */
#include "check/handover-private.h"

/* ---- Findings ---- */

/* The one of its class, which takes further runs too; NULL: another mapping's, or too many. */
static struct dk_handover_finding *open_finding(struct dk_handover_findings *findings,
                                                const struct dk_handover *handover, enum dk_class class_index)
{
    struct dk_handover_finding *finding;
    unsigned i;

    for (i = 0; i < findings->count; i++) {
        finding = &findings->list[i];
        if (finding->class_index == class_index)
            return finding->mapping.number == handover->mapping.number &&
                           finding->mapping.dma == handover->mapping.dma
                       ? finding
                       : NULL;
    }
    if (findings->count == DK_HANDOVER_FINDINGS)
        return NULL;
    finding = &findings->list[findings->count++];
    *finding = (struct dk_handover_finding){
        .class_index = class_index,
        .dev = handover->dev,
        .mapping = handover->mapping,
        .stack = handover->stack,
    };
    return finding;
}

struct verdict {
    enum dk_class class_index; /* DK_CLASS_COUNT: it might be stored */
    const char *how;
    u64 part, part_end; /* sync-wrong-subrange: what the sync covered instead */
};

/* Extent bytes [from, to), the first of them at @cpu. */
static void add(struct dk_handover_findings *findings, const struct dk_handover *handover,
                const struct verdict *verdict, u64 from, u64 to, const char *cpu)
{
    struct dk_handover_finding *finding = open_finding(findings, handover, verdict->class_index);

    if (!finding)
        return;
    if (finding->length) {
        finding->more += to - from;
        finding->last = to - handover->before;
        return;
    }
    finding->offset = from < handover->before ? 0 : from - handover->before;
    finding->in_front = from < handover->before ? handover->before - from : 0;
    finding->length = to - from;
    finding->cpu = (uintptr_t)cpu;
    finding->how = verdict->how;
    finding->part = verdict->part;
    finding->part_end = verdict->part_end;
}

/* ---- What was stored ---- */

static struct verdict legal(void)
{
    return (struct verdict){ .class_index = DK_CLASS_COUNT };
}

/* Bytes that the CPU owns, from @at on: whether they were given to the device in time. */
static struct verdict judge_cpu(const struct dk_handover *handover, u64 at, enum dk_look look)
{
    struct verdict verdict = { .class_index = DK_CLASS_MISSING_SYNC_FOR_DEVICE };

    if (handover->given_end && at >= handover->got && at < handover->got_end)
        verdict =
            (struct verdict){ DK_CLASS_SYNC_WRONG_SUBRANGE, NULL, handover->given, handover->given_end };
    switch (look) {
    case DK_LOOK_READ:
        verdict.how = "the device reads them now";
        break;
    case DK_LOOK_WRITE:
        verdict.how = "the device writes over them now";
        break;
    case DK_LOOK_UNMAP_LOSES:
        verdict.how = "the unmapping gives the CPU what the device has in their place";
        break;
    case DK_LOOK_FOR_CPU_LOSES:
        verdict.how = "the sync gives the CPU what the device has in their place";
        break;
    default:
        return legal();
    }
    return verdict;
}

static struct verdict judge(const struct dk_handover *handover, enum dk_byte_owner owner, u64 at,
                            enum dk_look look)
{
    switch (owner) {
    case DK_OWNER_CPU:
        return judge_cpu(handover, at, look);
    case DK_OWNER_UNSYNCED:
        if (look == DK_LOOK_WRITE)
            return (struct verdict){ .class_index = DK_CLASS_SKIP_SYNC_WITHOUT_SYNC,
                                     .how = "the device writes over them now" };
        return legal();
    case DK_OWNER_DEVICE:
        /* The CPU has some of the mapping, but not these. */
        if (dk_owned_any(&handover->owners, DK_OWNER_CPU))
            return (struct verdict){ DK_CLASS_SYNC_WRONG_SUBRANGE, NULL, handover->got, handover->got_end };
        return (struct verdict){ .class_index = DK_CLASS_CPU_WRITE_WHILE_DEVICE_OWNS };
    case DK_OWNER_TOLD:
        return legal();
    }
    return legal();
}

/* Extent bytes [at, to) of @place have one owner and the first differs. Returns the end of what differs. */
static u64 look_at_run(struct dk_handover *handover, const struct dk_place *place, u64 at, u64 to,
                       enum dk_byte_owner owner, enum dk_look look, struct dk_handover_findings *findings)
{
    const char *cpu = place->cpu + (at - place->at);
    const char *written = handover->written ? handover->written + at : NULL;
    u64 run = dk_view_run(cpu, handover->held + at, written, 0, to - at);
    struct verdict verdict = judge(handover, owner, at - handover->before, look);
    phys_addr_t phys = place->by_phys.start + (at - place->at);
    u64 asleep = run;

    /* Freed, and its refresh is off: what was there is gone, and nobody stored anything. */
    if (verdict.class_index != DK_CLASS_COUNT &&
        dk_pasr_run(dk_device_machine(handover->dev)->memory, phys, &asleep))
        verdict = legal();
    if (verdict.class_index != DK_CLASS_COUNT) {
        if (findings)
            add(findings, handover, &verdict, at, at + run, cpu);
        dk_view_copy(handover->held + at, cpu, run);
    }
    return at + run;
}

/* Extent bytes [from, to), all of @place. */
static void look_at_place(struct dk_handover *handover, const struct dk_place *place, u64 from, u64 to,
                          enum dk_look look, struct dk_handover_findings *findings)
{
    const char *cpu = place->cpu + (from - place->at);
    const char *written = handover->written ? handover->written + from : NULL;
    u64 size = to - from, at = 0;

    while ((at = dk_view_changed(cpu, handover->held + from, written, at, size)) < size) {
        enum dk_byte_owner owner;
        u64 end;

        owner = dk_owned_at(&handover->owners, from + at - handover->before, &end);
        end = dk_lower(end + handover->before, to);
        at = look_at_run(handover, place, from + at, end, owner, look, findings) - from;
    }
}

static void look_beside_hull(struct dk_handover *handover, const struct dk_place *place, u64 from, u64 to,
                             enum dk_look look, struct dk_handover_findings *findings)
{
    if (!handover->writing) {
        look_at_place(handover, place, from, to, look, findings);
        return;
    }
    if (from < dk_lower(to, handover->hull))
        look_at_place(handover, place, from, dk_lower(to, handover->hull), look, findings);
    if (dk_higher(from, handover->hull_end) < to)
        look_at_place(handover, place, dk_higher(from, handover->hull_end), to, look, findings);
}

void dk_handover_look(struct dk_handover *handover, u64 from, u64 to, enum dk_look look,
                      struct dk_handover_findings *findings)
{
    const struct dk_place *place;

    if (handover->blind)
        return;
    from = dk_higher(from, handover->before);
    to = dk_lower(to, handover->before + handover->mapping.size);
    for (place = handover->places; place; place = place->next) {
        u64 first = dk_higher(from, place->at), end = dk_lower(to, place->at + place->by_phys.size);

        if (place->cpu && first < end)
            look_beside_hull(handover, place, first, end, look, findings);
    }
}

void dk_handover_look_unsynced(struct dk_handover *handover, u64 from, u64 to,
                               struct dk_handover_findings *findings)
{
    const struct verdict verdict = { .class_index = DK_CLASS_SKIP_SYNC_WITHOUT_SYNC,
                                     .how = "the device reads them now" };
    u64 at, end;

    if (handover->blind)
        return;
    from = dk_higher(from, handover->before);
    to = dk_lower(to, handover->before + handover->mapping.size);
    for (at = from - handover->before; at + handover->before < to; at = end) {
        enum dk_byte_owner owner = dk_owned_at(&handover->owners, at, &end);
        const struct dk_place *place = handover->places;

        end = dk_lower(end, to - handover->before);
        if (owner != DK_OWNER_UNSYNCED)
            continue;
        while (place && (!place->cpu || at + handover->before - place->at >= place->by_phys.size))
            place = place->next;
        add(findings, handover, &verdict, at + handover->before, end + handover->before,
            place ? place->cpu + (at + handover->before - place->at) : NULL);
        dk_handover_own(handover, at, end, DK_OWNER_TOLD);
    }
}

/* ---- The rest of the first and last line ---- */

/* Extent bytes [from, to) are no mapping's; that of byte @beside of the mapping has them in its line. */
static void look_at_edge(struct dk_handover *handover, u64 from, u64 to, u64 beside,
                         struct dk_handover_findings *findings)
{
    const struct verdict verdict = { .class_index = DK_CLASS_SHARED_CACHE_LINE };
    const struct dk_place *place = handover->places;
    const char *cpu, *written;
    u64 at, run, end;

    if (dk_owned_at(&handover->owners, beside, &end) != DK_OWNER_DEVICE)
        return;
    while (place && (!place->cpu || from - place->at >= place->by_phys.size))
        place = place->next;
    if (!place || to - place->at > place->by_phys.size)
        return;
    cpu = place->cpu + (from - place->at);
    written = handover->written ? handover->written + from : NULL;
    for (at = 0; (at = dk_view_changed(cpu, handover->held + from, written, at, to - from)) < to - from;
         at += run) {
        run = dk_view_run(cpu + at, handover->held + from + at, written ? written + at : NULL, 0,
                          to - from - at);
        add(findings, handover, &verdict, from + at, from + at + run, cpu + at);
        dk_view_copy(handover->held + from + at, cpu + at, run);
    }
}

void dk_handover_look_edges(struct dk_handover *handover, u64 from, u64 to, unsigned line,
                            struct dk_handover_findings *findings)
{
    u64 start = handover->before, end = start + handover->mapping.size;

    if (handover->blind)
        return;
    if (start && from < line && handover->front_struck && !handover->front_others)
        look_at_edge(handover, 0, start, 0, findings);
    if (handover->after && to > end + handover->after - line && handover->back_struck &&
        !handover->back_others)
        look_at_edge(handover, end, end + handover->after, handover->mapping.size - 1, findings);
}
