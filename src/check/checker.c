/* SPDX-License-Identifier: MIT */
/*
 * The checker as a whole: its life, its devices' tables, and what all its reports have in common.
 */
#include "check/checker.h"

#include "base/alloc.h"
#include "base/log.h"

struct dk_checker *dk_checker_create(struct dk_machine *machine, const struct dk_check_options *options)
{
    struct dk_checker *checker = dk_allocate(1, sizeof(*checker));
    int error = -ENOMEM;

    if (!checker)
        return ERR_PTR(-ENOMEM);
    checker->machine = machine;
    checker->depth = options->depth;
    checker->line = dk_memory_line(machine->memory);
    if (dk_stacks_init(&checker->stacks))
        goto free_checker;
    if (dk_shadow_init(&checker->shadow, checker->line))
        goto finish_stacks;
    if (dk_coherents_init(&checker->coherents))
        goto finish_shadow;
    if (dk_handovers_init(&checker->handovers))
        goto finish_coherents;
    if (options->depth >= 3) {
        checker->owner = dk_owner_create();
        if (!checker->owner)
            goto finish_handovers;
    }
    error = dk_reports_init(&checker->reports, options);
    if (error)
        goto destroy_owner;
    dk_symbols_init(&checker->symbols);
    return checker;

destroy_owner:
    dk_owner_destroy(checker->owner);
finish_handovers:
    dk_handovers_finish(&checker->handovers);
finish_coherents:
    dk_coherents_finish(&checker->coherents);
finish_shadow:
    dk_shadow_finish(&checker->shadow);
finish_stacks:
    dk_stacks_finish(&checker->stacks);
free_checker:
    dk_release(checker);
    return ERR_PTR(error);
}

void dk_checker_destroy(struct dk_checker *checker)
{
    struct dk_mappings *mappings;

    if (!checker)
        return;
    dk_owner_destroy(checker->owner);
    mappings = checker->devices;
    while (mappings) {
        struct dk_mappings *next = mappings->next;

        dk_mappings_destroy(mappings);
        mappings = next;
    }
    dk_reports_finish(&checker->reports);
    dk_symbols_finish(&checker->symbols);
    dk_stacks_finish(&checker->stacks);
    dk_coherents_finish(&checker->coherents);
    dk_shadow_finish(&checker->shadow);
    dk_handovers_finish(&checker->handovers);
    dk_release(checker);
}

/* Another thread may be making the same device's table: the first to hang it on the device wins. */
struct dk_mappings *dk_checker_make_mappings(struct dk_checker *checker, struct device *dev)
{
    struct dk_mappings *mappings = dk_mappings_create(dev, checker->depth >= 2 ? DK_OLDER_MAPPINGS : 0);
    void *none = NULL;

    if (!mappings) {
        dk_checker_exhausted(checker, "a device's mappings are not checked");
        __atomic_store_n(&checker->quiet, true, __ATOMIC_RELAXED);
        return NULL;
    }
    if (!__atomic_compare_exchange_n(&dev->dk->check, &none, mappings, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE)) {
        dk_mappings_destroy(mappings);
        return none;
    }
    mappings->next = __atomic_load_n(&checker->devices, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&checker->devices, &mappings->next, mappings, true, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
        continue;
    return mappings;
}

bool dk_checker_quiet(struct dk_checker *checker, struct dk_mappings *mappings)
{
    return __atomic_load_n(&checker->quiet, __ATOMIC_RELAXED) ||
           (mappings && __atomic_load_n(&mappings->quiet, __ATOMIC_RELAXED));
}

u32 dk_checker_recall(struct dk_checker *checker, struct device *dev, struct dk_mapping *mapping)
{
    struct dk_mappings *mappings = dk_checker_mappings(checker, dev, false);
    const struct dk_record *record;
    u32 stack = 0;

    if (!mappings)
        return 0;
    dk_lock_take(&mappings->lock);
    record = dk_mappings_find(mappings, mapping);
    if (record) {
        *mapping = record->mapping;
        stack = record->stack;
    }
    dk_lock_give(&mappings->lock);
    return stack;
}

void dk_checker_exhausted(struct dk_checker *checker, const char *what)
{
    if (!__atomic_exchange_n(&checker->exhausted, true, __ATOMIC_RELAXED))
        dk_log(DK_LOG_WARNING, "checker: out of memory: %s", what);
}

void dk_draft_begin(struct dk_report_draft *draft, struct dk_checker *checker, enum dk_class class_index,
                    const struct device *dev, const char *call)
{
    const struct dk_class_facts *facts = dk_class_facts(class_index);

    draft->class_name = dk_class_name(class_index);
    draft->severity = facts->severity;
    draft->advice = facts->advice;
    draft->device = dev && dev->dk->path ? dev->dk->path : "";
    draft->access_kind = "call";
    draft->call = call;
    draft->access_stack = dk_stacks_capture(&checker->stacks);
    draft->mapping_stack = 0;
    draft->undone_stack = 0;
    draft->mapping = NULL;
    draft->cpu = 0;
    draft->dma = (dma_addr_t)-1;
    draft->offset = 0;
    draft->length = 0;
    draft->what[0] = '\0';
}

void dk_draft_mapping(struct dk_report_draft *draft, const struct dk_mapping *mapping, u32 stack, u64 offset,
                      u64 length)
{
    draft->mapping = mapping;
    draft->mapping_stack = stack;
    draft->dma = mapping->dma + offset;
    /* What dma_alloc_pages() returned is a struct page, not the memory. */
    if (mapping->cpu && mapping->kind != DK_MAPPING_PAGES && mapping->kind != DK_MAPPING_NONCONTIGUOUS)
        draft->cpu = (uintptr_t)mapping->cpu + (uintptr_t)offset;
    draft->offset = offset;
    draft->length = length;
}

void dk_check_finding(struct dk_machine *machine, const struct dk_finding *finding)
{
    struct dk_checker *checker = machine->checker;
    enum dk_class known = dk_class_find(finding->class_name);
    struct dk_report_draft draft;

    if (!checker)
        return;
    dk_draft_begin(&draft, checker, known < DK_CLASS_COUNT ? known : DK_CLASS_SLEEPS_IN_ATOMIC, finding->dev,
                   finding->call ? finding->call : "");
    if (known == DK_CLASS_COUNT) {
        draft.class_name = finding->class_name;
        draft.severity = "error";
        draft.advice = "";
    }
    draft.cpu = (uintptr_t)finding->cpu;
    draft.dma = finding->dma;
    draft.length = finding->length;
    if (finding->advice)
        draft.advice = finding->advice;
    if (finding->stack)
        draft.access_stack = finding->stack;
    dk_draft_what(&draft, "%s", finding->what);
    dk_report_make(checker, &draft);
}

const char *dk_mapping_kind_name(enum dk_mapping_kind kind)
{
    static const char *const names[] = {
        [DK_MAPPING_SINGLE] = "single",
        [DK_MAPPING_PAGE] = "page",
        [DK_MAPPING_SG] = "sg",
        [DK_MAPPING_RESOURCE] = "resource",
        [DK_MAPPING_COHERENT] = "coherent",
        [DK_MAPPING_NONCOHERENT] = "noncoherent",
        [DK_MAPPING_PAGES] = "pages",
        [DK_MAPPING_NONCONTIGUOUS] = "noncontiguous",
        [DK_MAPPING_IOVA] = "addresses",
        [DK_MAPPING_BLOCK] = "block",
        [DK_MAPPING_REMAP] = "remap",
        [DK_MAPPING_POOL] = "pool",
        [DK_MAPPING_POOL_BLOCK] = "pool-block",
    };

    return (unsigned)kind < sizeof(names) / sizeof(names[0]) ? names[kind] : "unknown";
}

const char *dk_direction_name(enum dma_data_direction direction)
{
    static const char *const names[] = {
        [DMA_BIDIRECTIONAL] = "bidirectional",
        [DMA_TO_DEVICE] = "to-device",
        [DMA_FROM_DEVICE] = "from-device",
        [DMA_NONE] = "none",
    };

    return (unsigned)direction < sizeof(names) / sizeof(names[0]) ? names[direction] : "unknown";
}
