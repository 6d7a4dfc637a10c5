/* SPDX-License-Identifier: MIT */
/*
 * An access that the shadow forbids: whether it still is wrong under the lock, whose mapping it meets, and
 * which mistake it is.
 */
#include "check/checker.h"
#include "check/owner.h"

struct culprit {
    struct dk_owned *run;
    bool store;
};

static bool is_culprit(struct dk_interval *by_phys, void *data)
{
    struct culprit *culprit = data;
    struct dk_owned *run = dk_owned_of(by_phys);

    if (!dk_owner_is_streaming(run->mapping.kind) ||
        (!culprit->store && run->mapping.direction == DMA_TO_DEVICE))
        return true;
    culprit->run = run;
    return false;
}

static enum dk_class class_of_load(const struct dk_owned *run, const struct dk_owned *head, u8 shadow)
{
    if (!(shadow & DK_OWNER_NO_LOAD))
        return DK_CLASS_MISSING_SYNC_FOR_CPU;
    if (!(shadow & DK_OWNER_WROTE))
        return DK_CLASS_CPU_READ_WHILE_DEVICE_OWNS;
    if (head && head->with_cpu)
        return DK_CLASS_SYNC_WRONG_SUBRANGE;
    if (!run->coherent || (head && head->bounced))
        return DK_CLASS_STALE_READ;
    return DK_CLASS_CPU_READ_WHILE_DEVICE_OWNS;
}

static const char *explanation(enum dk_class class_index)
{
    switch (class_index) {
    case DK_CLASS_MISSING_SYNC_FOR_CPU:
        return "which the device wrote after they were synced for the CPU: it may see what was there before";
    case DK_CLASS_SYNC_WRONG_SUBRANGE:
        return "which the device wrote, outside the range that was synced for the CPU";
    case DK_CLASS_STALE_READ:
        return "which the device wrote and nobody synced for the CPU: it sees what was there before";
    default:
        return "which the device owns";
    }
}

/* What a report is made of, copied while the lock was held. */
struct finding {
    struct dk_owned run;
    enum dk_class class_index;
    u64 length;
};

/* Whether the access is still wrong; what to report then. */
static bool convict(struct dk_checker *checker, phys_addr_t phys, u64 length, unsigned access,
                    struct finding *finding)
{
    const bool store = access & DK_ACCESS_STORE;
    const u8 wrong = dk_owner_forbids(access);
    struct culprit culprit = { NULL, store };
    const struct dk_owned *head;
    const u8 *shadow = dk_owner_shadow(checker->machine, phys);
    u8 first = shadow ? dk_owner_get(shadow) : 0;
    u64 at, rest;

    if (!(first & wrong))
        return false;
    dk_intervals_touching(&checker->owner->runs, phys, phys, is_culprit, &culprit);
    if (!culprit.run)
        return false;
    /* A device that writes while the CPU looks on is no mistake, before the CPU can know of it. */
    head = dk_owner_head(checker->owner, culprit.run);
    if (!(first & dk_owner_forbids(DK_ACCESS_STORE)) && (!head || !dk_order_since(head->written_at)))
        return false;
    rest = culprit.run->by_phys.size - (phys - culprit.run->by_phys.start);
    for (at = 0;
         at < length && at < rest && !((dk_owner_get(shadow + at) ^ first) & (wrong | DK_OWNER_WROTE)); at++)
        continue;
    finding->run = *culprit.run;
    finding->length = at;
    finding->class_index =
        store ? DK_CLASS_CPU_WRITE_WHILE_DEVICE_OWNS : class_of_load(culprit.run, head, first);
    return true;
}

u64 dk_owner_report(struct dk_checker *checker, phys_addr_t phys, uintptr_t cpu, u64 length, unsigned access,
                    const char *call)
{
    const bool store = access & DK_ACCESS_STORE;
    const struct dk_mapping *mapping;
    struct dk_report_draft draft;
    const u8 *shadow = dk_owner_shadow(checker->machine, phys);
    struct finding finding;
    bool wrong;
    u64 offset;

    if (shadow && dk_owner_is_watched(dk_owner_get(shadow)))
        return dk_owner_watched(checker, phys, length, call);
    dk_lock_take(&checker->owner->lock);
    wrong = convict(checker, phys, length, access, &finding);
    dk_lock_give(&checker->owner->lock);
    if (!wrong)
        return 1;
    mapping = &finding.run.mapping;
    offset = finding.run.offset + (phys - finding.run.by_phys.start);
    dk_draft_begin(&draft, checker, finding.class_index, NULL, call ? call : "");
    draft.device = finding.run.device;
    draft.access_kind = store ? "store" : "load";
    dk_draft_mapping(&draft, mapping, finding.run.stack, offset, finding.length);
    draft.cpu = cpu;
    dk_draft_what(&draft, "%s %s %llu byte%s at offset %llu of a %s mapping of %llu bytes (%s), %s",
                  call ? call : "the CPU", store ? "stored" : "loaded", finding.length,
                  finding.length == 1 ? "" : "s", offset, dk_mapping_kind_name(mapping->kind), mapping->size,
                  dk_direction_name(mapping->direction), explanation(finding.class_index));
    dk_report_make(checker, &draft);
    if (store)
        dk_handover_told(checker, phys, finding.length);
    return finding.length;
}
