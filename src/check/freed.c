/* SPDX-License-Identifier: MIT */
/*
 * Depth 2: memory that is free and mapped all the same, whichever came first.
 */
#include "check/checker.h"

struct freed_search {
    bool found;
    struct dk_mapping mapping; /* the oldest */
    phys_addr_t start;         /* of the bytes of it that are freed */
    u64 size;
    u32 stack;
    const char *device;
    phys_addr_t first, last;
};

static bool weigh(struct dk_interval *interval, void *data)
{
    const struct dk_record *record = container_of(interval, struct dk_record, by_phys);
    phys_addr_t end = interval->start + (interval->size - 1);
    struct freed_search *search = data;

    if (search->found && record->mapping.number > search->mapping.number)
        return true;
    search->found = true;
    search->mapping = record->mapping;
    search->stack = record->stack;
    search->device = record->of->path;
    search->start = interval->start > search->first ? interval->start : search->first;
    search->size = (end < search->last ? end : search->last) - search->start + 1;
    return true;
}

void dk_forget_busy(struct dk_checker *checker)
{
    unsigned i;

    for (i = 0; i < DK_KNOWN_BUSY; i++)
        __atomic_store_n(&checker->busy[i], 0, __ATOMIC_RELAXED);
}

/* What was known of memory that is freed now. */
static void forget_busy_at(struct dk_checker *checker, phys_addr_t phys, u64 size)
{
    const phys_addr_t last = phys + (size - 1);
    phys_addr_t at = phys & ~(((phys_addr_t)1 << DK_KNOWN_SHIFT) - 1);

    if ((last - at) >> DK_KNOWN_SHIFT >= DK_KNOWN_BUSY) {
        dk_forget_busy(checker);
        return;
    }
    for (; at <= last; at += (phys_addr_t)1 << DK_KNOWN_SHIFT)
        __atomic_store_n(dk_known_busy(checker, at), 0, __ATOMIC_RELAXED);
}

bool dk_check_freed(struct dk_machine *machine, phys_addr_t phys, u64 size, const char *call, u32 *stack)
{
    struct freed_search search = { .first = phys, .last = phys + (size - 1) };
    struct dk_checker *checker = machine->checker;
    struct dk_report_draft draft;

    if (!checker || !size)
        return false;
    forget_busy_at(checker, phys, size);
    if (stack)
        *stack = dk_stacks_capture(&checker->stacks);
    dk_lock_take(&checker->shadow.lock);
    dk_intervals_touching(&checker->shadow.mappings, search.first, search.last, weigh, &search);
    dk_intervals_touching(&checker->shadow.others, search.first, search.last, weigh, &search);
    dk_lock_give(&checker->shadow.lock);
    if (!search.found)
        return false;
    dk_draft_begin(&draft, checker, DK_CLASS_FREED_WHILE_MAPPED, NULL, call);
    draft.device = search.device;
    draft.advice = "unmap memory before it is freed, when the device is done with it";
    dk_draft_mapping(&draft, &search.mapping, search.stack, search.start - search.mapping.phys, search.size);
    dk_draft_what(&draft, "%s() of %llu bytes, of which %llu are still mapped for the device, at 0x%llx (%s)",
                  call, size, search.size, search.mapping.dma, dk_direction_name(search.mapping.direction));
    dk_report_make(checker, &draft);
    return true;
}

void dk_check_maps_freed(struct dk_checker *checker, struct device *dev, const char *call,
                         const struct dk_mapping *mapping, u32 stack)
{
    struct dk_report_draft draft;
    u64 size = mapping->contiguous ? mapping->contiguous : mapping->size;

    if (!dk_memory_is_freed(checker->machine->memory, mapping->phys) &&
        ((mapping->phys ^ (mapping->phys + (size - 1))) < PAGE_SIZE ||
         !dk_memory_is_freed(checker->machine->memory, mapping->phys + (size - 1))))
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_MAPS_FREED_MEMORY, dev, call);
    dk_draft_mapping(&draft, mapping, stack, 0, mapping->size);
    dk_draft_what(&draft, "%s() mapped %llu bytes of memory at physical address 0x%llx that is free", call,
                  mapping->size, mapping->phys);
    dk_report_make(checker, &draft);
}
