/* SPDX-License-Identifier: MIT */
/*
 * The ordinary case, a buffer that is mapped and unmapped as it should be: in one pass, with few
 * instructions. What is not ordinary is left to calls.c and free-calls.c, before anything has changed.
 */
#include "check/checker.h"

/* Counts the few lines of @record, or whatever is free of others; false: it shares one, or has too many.
 * Under the shadow's lock. */
static inline bool enter_lines(struct dk_checker *checker, struct dk_record *record)
{
    struct dk_shadow *shadow = &checker->shadow;

    record->by_phys.start = record->mapping.phys;
    record->by_phys.size = record->mapping.size;
    record->other = record->mapping.direction == DMA_TO_DEVICE;
    if (record->other && checker->depth > 1)
        dk_shadow_enter_other(shadow, &record->by_phys);
    else if (record->other)
        record->by_phys.size = 0;
    return record->other || dk_shadow_enter_alone(shadow, &record->by_phys, &record->few);
}

/* Whether what is mapped may be free already: then there is something to report. */
static inline bool is_freed(struct dk_checker *checker, phys_addr_t phys, u64 size)
{
    u64 *known = dk_known_busy(checker, phys);

    if (__builtin_expect((phys ^ (phys + (size - 1))) >= PAGE_SIZE, 0))
        return dk_memory_is_freed(checker->machine->memory, phys) ||
               dk_memory_is_freed(checker->machine->memory, phys + (size - 1));
    if (__builtin_expect(__atomic_load_n(known, __ATOMIC_RELAXED) == phys + 1, 1))
        return false;
    if (dk_memory_is_freed(checker->machine->memory, phys))
        return true;
    __atomic_store_n(known, phys + 1, __ATOMIC_RELAXED);
    return false;
}

/* Depths 2 and 3. Under the lock of @record's table. */
static __attribute__((noinline)) void watch(struct dk_checker *checker, struct device *dev,
                                            struct dk_record *record, struct dk_handover_findings *findings)
{
    if (checker->owner)
        dk_owner_mapped(checker, dev, record->of->path, &record->mapping, record->stack);
    record->handover = dk_handover_mapped(checker, dev, &record->mapping, record->stack, findings);
}

/* Member by member: of an initialiser the compiler makes a string instruction, which takes as long as all the
 * rest. */
static inline void describe(struct dk_mapping *mapping, const void *cpu, phys_addr_t phys, u64 size,
                            enum dma_data_direction direction, unsigned long attrs)
{
    mapping->kind = DK_MAPPING_SINGLE;
    mapping->shared = false;
    mapping->dma = phys;
    mapping->phys = phys;
    mapping->cpu = cpu;
    mapping->size = size;
    mapping->contiguous = 0;
    mapping->direction = direction;
    mapping->attrs = attrs;
    mapping->sg_nents = 0;
    mapping->sg_mapped = 0;
    mapping->sg = NULL;
    mapping->number = 0;
}

bool dk_check_mapped_single(struct device *dev, const void *cpu, phys_addr_t phys, u64 size,
                            enum dma_data_direction direction, unsigned long attrs)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = dk_checker_mappings(checker, dev, false);
    struct dk_handover_findings findings;
    struct dk_record *record;
    bool entered;
    u32 stack;

    if (!mappings || dk_pasr_any_asleep(checker->machine->memory) ||
        dk_coherents_may_hold(&checker->coherents, phys, size) ||
        (checker->depth > 1 && is_freed(checker, phys, size)))
        return false;
    findings.count = 0;
    stack = dk_stacks_recall(&checker->stacks);
    dk_lock_take(&mappings->lock);
    record = mappings->free;
    if (__builtin_expect(!record || mappings->live.count >= DK_GROWTH_AT_ALL - 1, 0)) {
        dk_lock_give(&mappings->lock);
        return false;
    }
    describe(&record->mapping, cpu, phys, size, direction, attrs);
    /* Whoever shares its memory reads that as soon as it is entered. */
    record->stack = stack;
    dk_lock_take(&checker->shadow.lock);
    entered = enter_lines(checker, record);
    if (entered)
        record->mapping.number = ++checker->last_number;
    dk_lock_give(&checker->shadow.lock);
    if (entered) {
        mappings->free = record->by_dma.next ? dk_record_of(record->by_dma.next) : NULL;
        record->pieces = NULL;
        record->checked = false;
        record->used = false;
        record->handover = NULL;
        mappings->removed = false;
        dk_mappings_enter(mappings, record);
        if (checker->depth > 1)
            watch(checker, dev, record, &findings);
    }
    dk_lock_give(&mappings->lock);
    if (__builtin_expect(findings.count, 0))
        dk_handover_report(checker, "dma_map_single", NULL, &findings);
    return entered;
}

/* Depths 2 and 3. Returns whether others have mapped its memory too. Under the lock of @record's table. */
static __attribute__((noinline)) bool unwatch(struct dk_checker *checker, struct dk_record *record,
                                              unsigned long attrs, struct dk_handover_findings *findings)
{
    bool shared = dk_handover_unmap(checker, record->handover, attrs, findings);

    if (checker->owner)
        dk_owner_gone(checker, &record->mapping);
    return shared;
}

bool dk_check_unmap_right(struct device *dev, dma_addr_t dma, u64 size, enum dma_data_direction direction,
                          unsigned long attrs)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings = dk_checker_mappings(checker, dev, false);
    struct dk_handover_findings findings;
    struct dk_record *record;
    phys_addr_t phys = 0;
    bool shared = false;
    u32 undone;

    if (!mappings)
        return false;
    findings.count = 0;
    undone = checker->depth > 1 ? dk_stacks_recall(&checker->stacks) : 0;
    dk_lock_take(&mappings->lock);
    record = dk_mappings_only(mappings, dma, size);
    if (record && (!record->checked || record->mapping.kind != DK_MAPPING_SINGLE ||
                   record->mapping.direction != direction || record->mapping.attrs != attrs))
        record = NULL;
    if (record) {
        /* One made the general way may lie in a window where addresses differ. */
        phys = record->mapping.phys;
        if (checker->depth > 1)
            shared = unwatch(checker, record, attrs, &findings);
        dk_record_leave_lines(checker, mappings, record);
        dk_mappings_leave(mappings, record, undone, false);
    }
    dk_lock_give(&mappings->lock);
    if (__builtin_expect(findings.count, 0))
        dk_handover_report(checker, "dma_unmap_single", NULL, &findings);
    if (__builtin_expect(shared, 0))
        dk_check_unmapped(dev, phys, size);
    return record;
}

/* Whether @record holds all of it, and allows it; and nobody is yet to ask whether it was made at all. */
static inline bool holds(const struct dk_record *record, dma_addr_t dma, u64 length, bool write)
{
    u64 offset = dma - record->by_dma.start;

    return offset < record->by_dma.size && length <= record->by_dma.size - offset && record->checked &&
           record->mapping.direction != (write ? DMA_TO_DEVICE : DMA_FROM_DEVICE);
}

/* A buffer, from its first byte to its last. */
static __attribute__((noinline)) u64 access_buffer(struct dk_checker *checker, struct dk_mappings *mappings,
                                                   const struct dk_master_move *move)
{
    const struct dk_record *record;
    u64 ticket = DK_ACCESS_UNSURE;

    dk_lock_take(&mappings->lock);
    record = dk_mappings_only(mappings, move->dma, move->length);
    if (record && record->handover && holds(record, move->dma, move->length, move->from))
        ticket = dk_handover_access_simple(checker, record->handover, move);
    if (ticket != DK_ACCESS_UNSURE)
        mappings->reached = move->dma + move->length;
    dk_lock_give(&mappings->lock);
    return ticket;
}

u64 dk_check_access_right(const struct dk_master_move *move)
{
    struct dk_checker *checker = dk_checker_of(move->dev);
    struct dk_mappings *mappings = dk_checker_mappings(checker, move->dev, false);
    const struct dk_record *record;
    u64 ticket = DK_ACCESS_UNSURE;

    if (!mappings)
        return DK_ACCESS_UNSURE;
    if (dk_handover_any(&checker->handovers, move->phys, move->length))
        return access_buffer(checker, mappings, move);
    /* A descriptor, in the allocation where the last one was. */
    dk_lock_take(&mappings->lock);
    record = mappings->held_last;
    if (record && holds(record, move->dma, move->length, move->from)) {
        mappings->reached = move->dma + move->length;
        ticket = 0;
    }
    dk_lock_give(&mappings->lock);
    return ticket;
}
