/* SPDX-License-Identifier: MIT */
/*
 * Calls against what a device or its driver can: masks, the longest mapping, a device that is gone, mappings
 * without end.
 */
#include "check/check.h"

#include "base/alloc.h"
#include "check/checker.h"
#include <dmakit/dma-mapping.h>
#include <stdlib.h>

/* ---- Masks ---- */

/* Older drivers write the masks themselves. */
static bool has_default_masks(const struct device *dev)
{
    return !dev->dk->mask_set && dev->dma_mask && *dev->dma_mask == DMA_BIT_MASK(32) &&
           dev->coherent_dma_mask == DMA_BIT_MASK(32);
}

/* Begins the report that the driver never set a mask, for the allocation or mapping of @size bytes that
 * failed; NULL: it did. */
static struct dk_checker *begin_mask_report(struct dk_report_draft *draft, struct device *dev,
                                            const char *call, u64 size)
{
    struct dk_checker *checker = dk_checker_of(dev);

    if (!checker || !has_default_masks(dev))
        return NULL;
    dk_draft_begin(draft, checker, DK_CLASS_MASK_NOT_SET, dev, call);
    draft->length = size;
    return checker;
}

void dk_check_mask_needed(struct device *dev, const char *call, phys_addr_t phys, u64 size)
{
    struct dk_report_draft draft;
    struct dk_checker *checker = begin_mask_report(&draft, dev, call, size);

    if (!checker)
        return;
    dk_draft_what(
        &draft,
        "%s() of %llu bytes at physical address 0x%llx failed: the driver never set a mask, and has "
        "the default one of 32 bits",
        call, size, phys);
    dk_report_make(checker, &draft);
}

void dk_check_mask_needed_to_allocate(struct device *dev, const char *call, u64 size)
{
    struct dk_report_draft draft;
    struct dk_checker *checker = begin_mask_report(&draft, dev, call, size);

    if (!checker)
        return;
    dk_draft_what(
        &draft,
        "%s() of %llu bytes failed: the driver has set no mask, and none of this machine's memory lies "
        "where a device reaches with the default one of 32 bits",
        call, size);
    dk_report_make(checker, &draft);
}

/* What mappings are to fit. */
struct limit_search {
    bool (*fits)(const struct dk_mapping *mapping, u64 limit);
    u64 limit;
    struct dk_mapping oldest;
    u32 stack;
    u64 count;
};

static bool weigh_limit(struct dk_interval *interval, void *data)
{
    const struct dk_record *record = dk_record_of(interval);
    struct limit_search *search = data;

    if (search->fits(&record->mapping, search->limit))
        return true;
    if (!search->count++ || record->mapping.number < search->oldest.number) {
        search->oldest = record->mapping;
        search->stack = record->stack;
    }
    return true;
}

static bool is_below(const struct dk_mapping *mapping, u64 mask)
{
    return mapping->dma + (mapping->size ? mapping->size - 1 : 0) <= mask;
}

static bool fits_mask(const struct dk_mapping *mapping, u64 mask)
{
    return dk_mapping_is_allocation(mapping->kind) || mapping->kind == DK_MAPPING_REMAP ||
           is_below(mapping, mask);
}

static bool fits_coherent_mask(const struct dk_mapping *mapping, u64 mask)
{
    return !dk_mapping_is_allocation(mapping->kind) || mapping->kind == DK_MAPPING_IOVA ||
           is_below(mapping, mask);
}

static bool fits_length(const struct dk_mapping *mapping, u64 length)
{
    return mapping->kind != DK_MAPPING_SG || mapping->size <= length;
}

static bool fits_boundary(const struct dk_mapping *mapping, u64 mask)
{
    return mapping->kind != DK_MAPPING_SG || !((mapping->dma ^ (mapping->dma + (mapping->size - 1))) & ~mask);
}

void dk_check_limit_set(struct device *dev, const char *call, enum dk_limit limit, u64 value)
{
    static bool (*const fits[])(const struct dk_mapping *mapping, u64 limit) = {
        [DK_LIMIT_MASK] = fits_mask,
        [DK_LIMIT_COHERENT_MASK] = fits_coherent_mask,
        [DK_LIMIT_SEGMENT_SIZE] = fits_length,
        [DK_LIMIT_SEGMENT_BOUNDARY] = fits_boundary,
    };
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct limit_search search = { .fits = fits[limit], .limit = value };
    struct dk_report_draft draft;

    if (!mappings)
        return;
    dk_lock_take(&mappings->lock);
    dk_intervals_each(&mappings->live, weigh_limit, &search);
    dk_lock_give(&mappings->lock);
    if (!search.count)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_MASK_SET_TOO_LATE, dev, call);
    dk_draft_mapping(&draft, &search.oldest, search.stack, 0, search.oldest.size);
    dk_draft_what(&draft,
                  "%s() set 0x%llx while %llu live mappings or allocations do not fit it, the oldest of "
                  "%llu bytes at 0x%llx",
                  call, value, search.count, search.oldest.size, search.oldest.dma);
    dk_report_make(checker, &draft);
}

void dk_check_exceeds(struct device *dev, const char *call, u64 size, u64 most)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_report_draft draft;

    if (!checker)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_EXCEEDS_MAX_MAPPING, dev, call);
    draft.length = size;
    dk_draft_what(&draft,
                  "%s() of %llu bytes for a device whose longest mapping is %llu: it may fail, now or where "
                  "other memory is given",
                  call, size, most);
    dk_report_make(checker, &draft);
}

/* ---- A device that is gone ---- */

void dk_check_after_remove(struct device *dev, const char *call)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_report_draft draft;

    if (!checker)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_FREE_AFTER_REMOVE, dev, call);
    dk_draft_what(&draft, "%s() for a device that was removed: nothing of it is mapped or allocated any more",
                  call);
    dk_report_make(checker, &draft);
}

/* ---- Mappings without end ---- */

struct growth {
    u32 *stacks;
    size_t count, room;
};

static bool collect_stack(struct dk_interval *interval, void *data)
{
    struct growth *growth = data;

    if (growth->count < growth->room)
        growth->stacks[growth->count++] = dk_record_of(interval)->stack;
    return true;
}

static int by_stack(const void *a, const void *b)
{
    u32 one = *(const u32 *)a, two = *(const u32 *)b;

    return one < two ? -1 : one > two;
}

/* The stack that most of @growth's sorted ones are, and how many. */
static u32 find_most(const struct growth *growth, size_t *most)
{
    u32 stack = 0;
    size_t i, run = 0;

    *most = 0;
    for (i = 0; i < growth->count; i++) {
        run = i && growth->stacks[i] == growth->stacks[i - 1] ? run + 1 : 1;
        if (run > *most) {
            *most = run;
            stack = growth->stacks[i];
        }
    }
    return stack;
}

static bool find_by_stack(struct dk_interval *interval, void *data)
{
    struct dk_past_mapping *found = data;
    const struct dk_record *record = dk_record_of(interval);

    if (record->stack == found->stack &&
        (!found->mapping.size || record->mapping.number < found->mapping.number))
        found->mapping = record->mapping;
    return true;
}

void dk_check_growth(struct device *dev, const char *call, u64 least)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = checker ? dk_checker_mappings(checker, dev, false) : NULL;
    struct dk_past_mapping oldest = { .stack = 0 };
    struct growth growth = { .count = 0 };
    struct dk_report_draft draft;
    size_t most = 0;

    if (!mappings)
        return;
    dk_lock_take(&mappings->lock);
    growth.room = mappings->live.count;
    dk_lock_give(&mappings->lock);
    if (growth.room < least)
        return;
    growth.stacks = dk_allocate(growth.room, sizeof(*growth.stacks));
    if (!growth.stacks)
        return;
    dk_lock_take(&mappings->lock);
    dk_intervals_each(&mappings->live, collect_stack, &growth);
    dk_lock_give(&mappings->lock);
    qsort(growth.stacks, growth.count, sizeof(*growth.stacks), by_stack);
    oldest.stack = find_most(&growth, &most);
    dk_release(growth.stacks);
    if (most < least)
        return;
    dk_lock_take(&mappings->lock);
    if (dk_mappings_past_made(mappings, oldest.stack))
        most = 0;
    else
        dk_intervals_each(&mappings->live, find_by_stack, &oldest);
    dk_lock_give(&mappings->lock);
    if (!most || !oldest.mapping.size)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_LEAK_WHILE_BOUND, dev, call);
    dk_draft_mapping(&draft, &oldest.mapping, oldest.stack, 0, oldest.mapping.size);
    dk_draft_what(&draft,
                  "of %llu live mappings of the device one line made %llu, and none of them was ever "
                  "unmapped",
                  (u64)growth.count, (u64)most);
    dk_report_make(checker, &draft);
}
