/* SPDX-License-Identifier: MIT */
/*
 * Mappings that share cache lines: overlapping-lines, overlap-overflow.
 */
#include "check/checker.h"

/* Live mappings that may share a line with a new one before it is too many. */
#define OVERLAPS 7
#define SKIP_CPU_SYNC (1ul << 5)

struct sharers {
    const struct dk_record *mine;
    phys_addr_t first, last; /* the mapping's bytes in the line, or the whole line */
    const struct dk_record *oldest;
    unsigned count;
};

static bool note_sharer(struct dk_interval *interval, void *data)
{
    struct sharers *sharers = data;
    const struct dk_record *other = container_of(interval, struct dk_record, by_phys);

    /* Segments of one dma_map_sg() have one number: neighbours in a buffer, which are one mapping to the
     * driver. */
    if (other->mapping.number == sharers->mine->mapping.number)
        return true;
    sharers->count++;
    if (!sharers->oldest || other->mapping.number < sharers->oldest->mapping.number)
        sharers->oldest = other;
    return true;
}

static void find_sharers(struct dk_shadow *shadow, const struct dk_record *record, phys_addr_t line_start,
                         unsigned line, bool coherent, struct sharers *sharers)
{
    phys_addr_t start = record->by_phys.start;
    phys_addr_t last = start + (record->by_phys.size - 1);

    *sharers = (struct sharers){ .mine = record, .first = line_start, .last = line_start + (line - 1) };
    if (coherent && sharers->first < start)
        sharers->first = start;
    if (coherent && sharers->last > last)
        sharers->last = last;
    dk_intervals_touching(&shadow->mappings, sharers->first, sharers->last, note_sharer, sharers);
}

void dk_overlap_find(struct dk_shadow *shadow, const struct dk_record *record, unsigned line, bool coherent,
                     unsigned before, struct dk_overlap *overlap)
{
    phys_addr_t start = record->by_phys.start;
    phys_addr_t last = start + (record->by_phys.size - 1);
    bool allowed = record->mapping.attrs & SKIP_CPU_SYNC;
    phys_addr_t at;

    overlap->found = false;
    overlap->overflow = false;
    if (!before || (allowed && before <= OVERLAPS))
        return;
    for (at = start & ~(phys_addr_t)(line - 1); at <= last; at += line) {
        unsigned count = dk_shadow_count(shadow, at);
        bool crowded = count > OVERLAPS + 1;
        struct sharers sharers;

        if (count < 2 || (!crowded && (allowed || overlap->found)))
            continue;
        find_sharers(shadow, record, at, line, coherent, &sharers);
        if (sharers.count && !allowed && !overlap->found) {
            overlap->found = true;
            overlap->other = sharers.oldest->mapping;
            overlap->other_stack = sharers.oldest->stack;
            overlap->at = at < start ? start : at;
        }
        if (sharers.count > OVERLAPS) {
            overlap->overflow = true;
            overlap->crowd = sharers.oldest->mapping;
            overlap->crowd_stack = sharers.oldest->stack;
            overlap->crowd_at = at < start ? start : at;
            return;
        }
        if (overlap->found && before <= OVERLAPS)
            return;
    }
}

/* The bytes of @other in the line that holds @at. */
static void draft_shared(struct dk_report_draft *draft, const struct dk_mapping *other, u32 stack,
                         phys_addr_t at, unsigned line)
{
    phys_addr_t first = at & ~(phys_addr_t)(line - 1);
    phys_addr_t last = first + (line - 1);
    phys_addr_t end = other->phys + (other->size - 1);

    if (first < other->phys)
        first = other->phys;
    if (last > end)
        last = end;
    dk_draft_mapping(draft, other, stack, first - other->phys, last - first + 1);
}

void dk_overlap_report(struct dk_checker *checker, struct device *dev, const char *call,
                       const struct dk_mapping *mapping, const struct dk_overlap *overlap)
{
    struct dk_report_draft draft;

    if (overlap->found) {
        dk_draft_begin(&draft, checker, DK_CLASS_OVERLAPPING_LINES, dev, call);
        draft_shared(&draft, &overlap->other, overlap->other_stack, overlap->at, checker->line);
        dk_draft_what(
            &draft,
            "%s() mapped %llu bytes at 0x%llx (%s) whose bytes at physical address 0x%llx share %s with a "
            "live mapping of %llu bytes at 0x%llx (%s)",
            call, mapping->size, mapping->dma, dk_direction_name(mapping->direction), overlap->at,
            dev->dma_coherent ? "memory" : "a cache line", overlap->other.size, overlap->other.dma,
            dk_direction_name(overlap->other.direction));
        dk_report_make(checker, &draft);
    }
    if (overlap->overflow) {
        dk_draft_begin(&draft, checker, DK_CLASS_OVERLAP_OVERFLOW, dev, call);
        draft_shared(&draft, &overlap->crowd, overlap->crowd_stack, overlap->crowd_at, checker->line);
        dk_draft_what(
            &draft,
            "%s() mapped %llu bytes at 0x%llx whose cache line at physical address 0x%llx more than %d "
            "other live mappings use, the oldest of %llu bytes at 0x%llx",
            call, mapping->size, mapping->dma, overlap->crowd_at, OVERLAPS, overlap->crowd.size,
            overlap->crowd.dma);
        dk_report_make(checker, &draft);
    }
}
