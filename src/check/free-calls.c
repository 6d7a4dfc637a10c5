/* SPDX-License-Identifier: MIT */
/*
 * Calls that unmap and free.
 */
#include "check/check.h"

#include "check/checker.h"
#include <dmakit/dma-mapping.h>
#include <stdio.h>

static const char *undone(enum dk_mapping_kind kind)
{
    return dk_mapping_is_allocation(kind) ? "freed" : "unmapped";
}

static const char *made(enum dk_mapping_kind kind)
{
    return dk_mapping_is_allocation(kind) ? "allocated" : "mapped";
}

/* The functions that undo a mapping or allocation of @kind. */
static const char *right_function(enum dk_mapping_kind kind)
{
    static const char *const names[] = {
        [DK_MAPPING_SINGLE] = "dma_unmap_single()",
        [DK_MAPPING_PAGE] = "dma_unmap_page()",
        [DK_MAPPING_SG] = "dma_unmap_sg()",
        [DK_MAPPING_RESOURCE] = "dma_unmap_resource()",
        [DK_MAPPING_COHERENT] = "dma_free_coherent() or dma_free_attrs()",
        [DK_MAPPING_NONCOHERENT] = "dma_free_noncoherent()",
        [DK_MAPPING_PAGES] = "dma_free_pages()",
        [DK_MAPPING_NONCONTIGUOUS] = "dma_free_noncontiguous()",
        [DK_MAPPING_IOVA] = "dma_iova_destroy() or dma_iova_free()",
        [DK_MAPPING_BLOCK] = "dma_free()",
        [DK_MAPPING_REMAP] = "dk_coherent_unmap()",
        [DK_MAPPING_POOL] = "dma_pool_destroy()",
        [DK_MAPPING_POOL_BLOCK] = "dma_pool_free()",
    };

    return names[kind];
}

/* What the driver holds of an allocation of @kind. */
static const char *handle_name(enum dk_mapping_kind kind)
{
    if (kind == DK_MAPPING_NONCONTIGUOUS)
        return "table";
    return kind == DK_MAPPING_PAGES ? "page" : "CPU address";
}

/* ---- What is not there ---- */

/* What is known of an address that no live mapping of the device starts at. Copies: no lock is held
 * afterwards. */
struct whereabouts {
    struct dk_mapping mapping;
    u32 stack, undone;
    enum { NOWHERE, PAST, LEFT, INSIDE, ELSEWHERE } place;
    const char *device; /* ELSEWHERE: whose it is */
};

/* Whether another device of the machine has a mapping there. */
static void look_elsewhere(struct dk_checker *checker, const struct dk_mappings *mine,
                           const struct dk_mapping *asked, struct whereabouts *where)
{
    struct dk_mappings *other = __atomic_load_n(&checker->devices, __ATOMIC_ACQUIRE);

    for (; other && where->place == NOWHERE; other = other->next) {
        struct dk_record *record = NULL;

        if (other == mine)
            continue;
        dk_lock_take(&other->lock);
        record = dk_mappings_find(other, asked);
        if (record) {
            where->place = ELSEWHERE;
            where->mapping = record->mapping;
            where->stack = record->stack;
            where->device = other->path;
        }
        dk_lock_give(&other->lock);
    }
}

static void look_around(struct dk_checker *checker, struct dk_mappings *mappings,
                        const struct dk_mapping *asked, struct whereabouts *where)
{
    where->place = NOWHERE;
    if (mappings) {
        const struct dk_record *record;
        const struct dk_past_mapping *past;

        dk_lock_take(&mappings->lock);
        record = dk_mappings_holding(mappings, asked->dma, 1, asked->direction, asked->sg_nents);
        past = dk_mappings_past(mappings, asked->dma);
        if (record) {
            where->place = INSIDE;
            where->mapping = record->mapping;
            where->stack = record->stack;
        } else if (past) {
            where->place = past->left ? LEFT : PAST;
            where->mapping = past->mapping;
            where->stack = past->stack;
            where->undone = past->undone;
        }
        dk_lock_give(&mappings->lock);
    }
    if (where->place == NOWHERE)
        look_elsewhere(checker, mappings, asked, where);
}

static void report_not_allocated(struct dk_checker *checker, struct dk_mappings *mappings, struct device *dev,
                                 const char *call, const struct dk_mapping *asked)
{
    struct dk_report_draft draft;
    struct whereabouts where;
    char bytes[40] = "";

    look_around(checker, mappings, asked, &where);
    dk_draft_begin(&draft, checker,
                   where.place == LEFT ? DK_CLASS_FREE_AFTER_REMOVE : DK_CLASS_FREE_NOT_ALLOCATED, dev, call);
    draft.dma = asked->dma;
    draft.length = asked->size;
    /* dma_free() gives no size. */
    if (asked->kind != DK_MAPPING_BLOCK)
        snprintf(bytes, sizeof(bytes), "of %llu bytes ", asked->size);
    switch (where.place) {
    case PAST:
        dk_draft_mapping(&draft, &where.mapping, where.stack, 0, where.mapping.size);
        draft.undone_stack = where.undone;
        dk_draft_what(&draft, "%s() %sat 0x%llx, which were %s before already", call, bytes, asked->dma,
                      undone(where.mapping.kind));
        break;
    case LEFT:
        dk_draft_mapping(&draft, &where.mapping, where.stack, 0, where.mapping.size);
        dk_draft_what(&draft, "%s() %sat 0x%llx, which the driver had left behind when it was unbound", call,
                      bytes, asked->dma);
        break;
    case INSIDE:
        dk_draft_mapping(&draft, &where.mapping, where.stack, asked->dma - where.mapping.dma,
                         where.mapping.size - (asked->dma - where.mapping.dma));
        dk_draft_what(&draft,
                      "%s() %sat 0x%llx, where none starts: the address lies %llu bytes inside a live one "
                      "of %llu bytes at 0x%llx",
                      call, bytes, asked->dma, asked->dma - where.mapping.dma, where.mapping.size,
                      where.mapping.dma);
        break;
    case ELSEWHERE:
        dk_draft_mapping(&draft, &where.mapping, where.stack, 0, where.mapping.size);
        dk_draft_what(&draft, "%s() %sat 0x%llx, which are not this device's: they were %s for %s", call,
                      bytes, asked->dma, made(where.mapping.kind), where.device);
        break;
    case NOWHERE:
        dk_draft_what(&draft, "%s() %sat 0x%llx, where nothing is %s for the device", call, bytes, asked->dma,
                      made(asked->kind));
        break;
    }
    dk_report_make(checker, &draft);
}

static void report_invalid(struct dk_checker *checker, struct device *dev, const char *call,
                           const struct dk_mapping *asked)
{
    struct dk_report_draft draft;

    dk_draft_begin(&draft, checker, DK_CLASS_FREE_INVALID_ADDRESS, dev, call);
    draft.dma = asked->dma;
    draft.length = asked->size;
    dk_draft_what(&draft, "%s() of %llu bytes at DMA_MAPPING_ERROR, the address of a mapping that failed",
                  call, asked->size);
    dk_report_make(checker, &draft);
}

/* ---- What differs ---- */

struct comparison {
    struct dk_checker *checker;
    struct device *dev;
    const char *call;
    const struct dk_mapping *asked;
    const struct dk_record *record;
};

static void begin(const struct comparison *comparison, struct dk_report_draft *draft,
                  enum dk_class class_index)
{
    const struct dk_record *record = comparison->record;

    dk_draft_begin(draft, comparison->checker, class_index, comparison->dev, comparison->call);
    dk_draft_mapping(draft, &record->mapping, record->stack, 0, record->mapping.size);
}

static void compare_function(const struct comparison *comparison)
{
    const struct dk_mapping *mapping = &comparison->record->mapping;
    struct dk_report_draft draft;

    if (dk_mapping_group(mapping->kind) == dk_mapping_group(comparison->asked->kind))
        return;
    begin(comparison, &draft, DK_CLASS_FREE_WRONG_FUNCTION);
    dk_draft_what(&draft, "%s() of %llu bytes at 0x%llx, which were %s as %s and are %s with %s",
                  comparison->call, mapping->size, mapping->dma, made(mapping->kind),
                  dk_mapping_kind_name(mapping->kind), undone(mapping->kind), right_function(mapping->kind));
    dk_report_make(comparison->checker, &draft);
}

static void compare_size(const struct comparison *comparison)
{
    const struct dk_mapping *mapping = &comparison->record->mapping;
    u64 asked = comparison->asked->size;
    struct dk_report_draft draft;

    /* What a list says of itself is not the driver's to give. */
    if (mapping->size == asked || comparison->asked->kind == DK_MAPPING_BLOCK ||
        (mapping->sg && mapping->sg == comparison->asked->sg))
        return;
    begin(comparison, &draft, DK_CLASS_FREE_WRONG_SIZE);
    /* The bytes that only one of the two sizes covers. */
    if (asked < mapping->size)
        dk_draft_mapping(&draft, mapping, comparison->record->stack, asked, mapping->size - asked);
    else
        dk_draft_mapping(&draft, mapping, comparison->record->stack, mapping->size, asked - mapping->size);
    dk_draft_what(&draft, "%s() at 0x%llx %s with %llu bytes what was %s with %llu", comparison->call,
                  mapping->dma, undone(mapping->kind), asked, made(mapping->kind), mapping->size);
    dk_report_make(comparison->checker, &draft);
}

static void compare_cpu_address(const struct comparison *comparison)
{
    const struct dk_mapping *mapping = &comparison->record->mapping;
    struct dk_report_draft draft;

    if (!dk_mapping_is_allocation(mapping->kind) || mapping->kind != comparison->asked->kind ||
        mapping->cpu == comparison->asked->cpu)
        return;
    begin(comparison, &draft, DK_CLASS_FREE_WRONG_CPU_ADDRESS);
    draft.cpu = (uintptr_t)comparison->asked->cpu;
    dk_draft_what(&draft, "%s() at 0x%llx freed with %s %p what was allocated at %p", comparison->call,
                  mapping->dma, handle_name(mapping->kind), comparison->asked->cpu, mapping->cpu);
    dk_report_make(comparison->checker, &draft);
}

static void compare_sg_count(const struct comparison *comparison)
{
    const struct dk_mapping *mapping = &comparison->record->mapping;
    const struct dk_mapping *asked = comparison->asked;
    struct dk_report_draft draft;

    if (mapping->kind != DK_MAPPING_SG || asked->kind != DK_MAPPING_SG ||
        mapping->sg_nents == asked->sg_nents)
        return;
    begin(comparison, &draft, DK_CLASS_FREE_WRONG_SG_COUNT);
    dk_draft_what(&draft, "%s() at 0x%llx unmapped %d entries of a scatterlist that was mapped with %d%s",
                  comparison->call, mapping->dma, asked->sg_nents, mapping->sg_nents,
                  asked->sg_nents == mapping->sg_mapped ? ", the number that dma_map_sg() returned" : "");
    dk_report_make(comparison->checker, &draft);
}

static void compare_direction(const struct comparison *comparison)
{
    const struct dk_mapping *mapping = &comparison->record->mapping;
    struct dk_report_draft draft;

    if (mapping->direction == comparison->asked->direction)
        return;
    begin(comparison, &draft, DK_CLASS_FREE_WRONG_DIRECTION);
    dk_draft_what(&draft, "%s() of %llu bytes at 0x%llx %s %s what was %s %s", comparison->call,
                  mapping->size, mapping->dma, undone(mapping->kind),
                  dk_direction_name(comparison->asked->direction), made(mapping->kind),
                  dk_direction_name(mapping->direction));
    dk_report_make(comparison->checker, &draft);
}

/* The attributes by which memory is made, and given back. */
#define ATTRIBUTES (DMA_ATTR_WRITE_COMBINE | DMA_ATTR_NON_CONSISTENT | DMA_ATTR_NO_KERNEL_MAPPING)

static void compare_attributes(const struct comparison *comparison)
{
    const struct dk_mapping *mapping = &comparison->record->mapping;
    unsigned long asked = comparison->asked->attrs & ATTRIBUTES;
    struct dk_report_draft draft;

    if (mapping->kind != DK_MAPPING_COHERENT || comparison->asked->kind != DK_MAPPING_COHERENT ||
        (mapping->attrs & ATTRIBUTES) == asked)
        return;
    begin(comparison, &draft, DK_CLASS_ALIAS_DIFFERENT_ATTRIBUTES);
    dk_draft_what(&draft, "%s() at 0x%llx freed with attributes 0x%lx what was allocated with 0x%lx",
                  comparison->call, mapping->dma, asked, mapping->attrs & ATTRIBUTES);
    dk_report_make(comparison->checker, &draft);
}

static void compare_checked(const struct comparison *comparison)
{
    const struct dk_mapping *mapping = &comparison->record->mapping;
    struct dk_report_draft draft;

    if (comparison->record->checked)
        return;
    begin(comparison, &draft, DK_CLASS_ERROR_UNCHECKED);
    dk_draft_what(
        &draft, "%s() of %llu bytes at 0x%llx, which were mapped and used without asking dma_mapping_error()",
        comparison->call, mapping->size, mapping->dma);
    dk_report_make(comparison->checker, &draft);
}

/*
 * Whether a function for @asked can undo a mapping of kind @made without harm: another group's would free or
 * list what is not there. A segment is a mapping like a single one.
 */
static bool can_undo(enum dk_mapping_kind asked, enum dk_mapping_kind made_as)
{
    unsigned group = dk_mapping_group(asked);

    return group == dk_mapping_group(made_as) || (group == DK_MAPPING_SINGLE && made_as == DK_MAPPING_SG);
}

/* Whether none of the comparisons would find anything: nearly always. A list is compared entry by entry. */
static bool is_right(const struct dk_record *record, const struct dk_mapping *asked)
{
    const struct dk_mapping *mapping = &record->mapping;

    return record->checked && mapping->kind == asked->kind && mapping->size == asked->size &&
           mapping->direction == asked->direction && !asked->sg && mapping->sg_nents == asked->sg_nents &&
           (mapping->cpu == asked->cpu || !dk_mapping_is_allocation(mapping->kind)) &&
           !((mapping->attrs ^ asked->attrs) & ATTRIBUTES);
}

bool dk_check_unmap(struct device *dev, const char *call, const struct dk_mapping *asked,
                    struct dk_mapping *found)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings;
    struct dk_record *record = NULL;
    struct dk_record copy;
    struct comparison comparison = { checker, dev, call, asked, &copy };
    struct dk_handover_findings findings;
    bool shared = false, right = false;
    u32 undone;

    if (!checker) {
        *found = *asked;
        return true;
    }
    if (asked->dma == (dma_addr_t)-1) {
        *found = *asked;
        report_invalid(checker, dev, call, asked);
        return false;
    }
    findings.count = 0;
    /* For what comes after: at depth 1 nobody sees what devices do. */
    undone = checker->depth >= 2 ? dk_stacks_capture(&checker->stacks) : 0;
    mappings = dk_checker_mappings(checker, dev, false);
    if (mappings) {
        dk_lock_take(&mappings->lock);
        record = dk_mappings_find(mappings, asked);
        if (asked->sg && (!record || record->mapping.sg != asked->sg))
            record = dk_sg_record(mappings, asked->sg, record);
        if (record) {
            if (record->handover)
                shared = dk_handover_unmap(checker, record->handover, asked->attrs, &findings);
            dk_record_leave_lines(checker, mappings, record);
            if (checker->owner)
                dk_owner_gone(checker, &record->mapping);
            dk_mappings_leave(mappings, record, undone, false);
            right = is_right(record, asked);
            *found = record->mapping;
            copy.stack = record->stack;
            copy.checked = record->checked;
        }
        dk_lock_give(&mappings->lock);
    }
    if (!record) {
        *found = *asked;
        if (dk_checker_quiet(checker, mappings))
            return true;
        report_not_allocated(checker, mappings, dev, call, asked);
        return false;
    }
    found->shared = shared;
    /* Such memory may have been mapped as any other, and goes without a word to dk_check_freed(). */
    if (found->kind >= DK_MAPPING_NONCOHERENT && found->kind <= DK_MAPPING_NONCONTIGUOUS)
        dk_forget_busy(checker);
    if (findings.count)
        dk_handover_report(checker, call, NULL, &findings);
    if (right)
        return true;
    copy.mapping = *found;
    compare_function(&comparison);
    compare_size(&comparison);
    compare_cpu_address(&comparison);
    compare_sg_count(&comparison);
    if (asked->sg)
        dk_sg_compare(checker, dev, call, &copy.mapping, copy.stack, asked);
    compare_direction(&comparison);
    compare_attributes(&comparison);
    compare_checked(&comparison);
    return can_undo(asked->kind, copy.mapping.kind);
}

void dk_check_unmapped(struct device *dev, phys_addr_t phys, u64 size)
{
    struct dk_checker *checker = dk_checker_of(dev);

    if (checker)
        dk_handover_changed(checker, phys, size);
}

void dk_check_shown(struct device *dev, const char *call, const void *cpu, dma_addr_t dma,
                    unsigned long attrs)
{
    const unsigned long shown = DMA_ATTR_WRITE_COMBINE | DMA_ATTR_NON_CONSISTENT;
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mapping mapping = {
        .kind = DK_MAPPING_COHERENT,
        .dma = dma,
        .cpu = cpu,
        .direction = DMA_BIDIRECTIONAL,
    };
    struct dk_report_draft draft;
    u32 stack = checker ? dk_checker_recall(checker, dev, &mapping) : 0;

    if (!stack || mapping.kind != DK_MAPPING_COHERENT || mapping.cpu != cpu ||
        !((mapping.attrs ^ attrs) & shown))
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_ALIAS_DIFFERENT_ATTRIBUTES, dev, call);
    dk_draft_mapping(&draft, &mapping, stack, 0, mapping.size);
    dk_draft_what(&draft, "%s() shows with attributes 0x%lx what was allocated at 0x%llx with 0x%lx", call,
                  attrs & shown, dma, mapping.attrs & shown);
    dk_report_make(checker, &draft);
}

void dk_check_freed_mapped(struct device *dev, const char *call, const struct dk_mapping *freed,
                           const char *still, const char *advice)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mapping mapping = *freed;
    struct dk_report_draft draft;
    u32 stack;

    if (!checker)
        return;
    stack = dk_checker_recall(checker, dev, &mapping);
    dk_draft_begin(&draft, checker, DK_CLASS_FREED_WHILE_MAPPED, dev, call);
    dk_draft_mapping(&draft, &mapping, stack, 0, mapping.size);
    draft.advice = advice;
    dk_draft_what(&draft, "%s() of %llu bytes at 0x%llx, %s", call, mapping.size, mapping.dma, still);
    dk_report_make(checker, &draft);
}
