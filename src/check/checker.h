/* SPDX-License-Identifier: MIT */
/*
 * A machine's checker: everything that the files of this room share.
 */
#ifndef DK_CHECK_CHECKER_H
#define DK_CHECK_CHECKER_H

#include "check/check.h"
#include "check/coherents.h"
#include "check/handover.h"
#include "check/mappings.h"
#include "check/owner.h"
#include "check/report.h"
#include "check/shadow.h"
#include "check/stack.h"
#include "check/symbols.h"

/* How many addresses are known to be no free memory. */
#define DK_KNOWN_BITS 10
#define DK_KNOWN_BUSY (1u << DK_KNOWN_BITS)

struct dk_checker {
    struct dk_machine *machine;
    int depth;
    unsigned line; /* cache line in bytes */
    struct dk_stacks stacks;
    struct dk_symbols symbols;
    struct dk_reports reports;
    struct dk_shadow shadow;
    struct dk_coherents coherents;
    struct dk_handovers handovers;
    u64 busy[DK_KNOWN_BUSY]; /* freed.c's; atomic */
    struct dk_owner *owner;  /* whose each byte is; NULL below depth 3 */
    struct dk_mappings
        *devices; /* all there ever were; new ones are put in front, and none goes before the checker does */
    u64 last_number; /* of a mapping; guarded by the shadow's lock */
    bool quiet;      /* a device's table found no memory; atomic */
    bool exhausted;  /* the log line about that was written; atomic */
};

static inline struct dk_checker *dk_checker_of(const struct device *dev)
{
    return dk_device_machine(dev)->checker;
}

/* Makes the device's table. NULL: out of memory. Lock-free. */
struct dk_mappings *dk_checker_make_mappings(struct dk_checker *checker, struct device *dev);

/* The device's table; with @make made when it has none yet. NULL: none, or out of memory. Lock-free. */
static inline struct dk_mappings *dk_checker_mappings(struct dk_checker *checker, struct device *dev,
                                                      bool make)
{
    struct dk_mappings *mappings = __atomic_load_n(&dev->dk->check, __ATOMIC_ACQUIRE);

    return mappings || !make ? mappings : dk_checker_make_mappings(checker, dev);
}

/* Whether what is unknown of @mappings (NULL: a device without a table) may be right nevertheless. */
bool dk_checker_quiet(struct dk_checker *checker, struct dk_mappings *mappings);

/* @dev's mapping as it was remembered: *mapping, which describes it, and the stack of the call that made it.
 * 0: it was not, and *mapping stays. Takes the table's lock. */
u32 dk_checker_recall(struct dk_checker *checker, struct device *dev, struct dk_mapping *mapping);

/*
 * @asked, a buffer, a page or a list's segment, was mapped by @call, and may be coherent memory: if it is,
 * reports maps-coherent-memory. Not so segments of whole pages, as dma_get_sgtable() makes them: by those
 * coherent memory is handed on, to a device that may be the same.
 */
void dk_check_maps_coherent(struct device *dev, const char *call, const struct dk_mapping *asked);

/* At depth 2: @mapping was made by @call, of memory that is free: reports maps-freed-memory. */
void dk_check_maps_freed(struct dk_checker *checker, struct device *dev, const char *call,
                         const struct dk_mapping *mapping, u32 stack);

/* Where @phys is entered, and one more, after it was found to be no free memory; the entry goes when it is
 * freed. By granules of 1 << DK_KNOWN_SHIFT bytes. */
#define DK_KNOWN_SHIFT 8
static inline u64 *dk_known_busy(struct dk_checker *checker, phys_addr_t phys)
{
    return &checker->busy[(u32)(phys >> DK_KNOWN_SHIFT) * 0x9e3779b1u >> (32 - DK_KNOWN_BITS)];
}

/* What is known so is forgotten: some of it is freed by a call that does not tell which memory goes. */
void dk_forget_busy(struct dk_checker *checker);

/* Which live coherent allocation or block of any device holds @cpu: copied into *mapping, and the stack of
 * the call that made it. 0: none. A search of all of them. */
u32 dk_coherent_at(struct dk_checker *checker, const void *cpu, struct dk_mapping *mapping);

/* One log line, once, that the checker ran out of memory. */
void dk_checker_exhausted(struct dk_checker *checker, const char *what);

/* The same as the next, for a record that has pieces. */
void dk_record_leave_pieces(struct dk_checker *checker, struct dk_mappings *mappings,
                            struct dk_record *record);

/* Takes @record and its pieces out of the machine's lines, and gives the pieces back. Under the lock of
 * @mappings. */
static inline void dk_record_leave_lines(struct dk_checker *checker, struct dk_mappings *mappings,
                                         struct dk_record *record)
{
    if (!record->by_phys.size)
        return;
    if (__builtin_expect(record->pieces != NULL, 0)) {
        dk_record_leave_pieces(checker, mappings, record);
        return;
    }
    dk_lock_take(&checker->shadow.lock);
    if (record->other)
        dk_shadow_leave_other(&checker->shadow, &record->by_phys);
    else
        dk_shadow_leave(&checker->shadow, &record->by_phys, &record->few);
    dk_lock_give(&checker->shadow.lock);
}

/* Begins a report by the driver's @call on @dev: class, texts, device, and the present stack. */
void dk_draft_begin(struct dk_report_draft *draft, struct dk_checker *checker, enum dk_class class_index,
                    const struct device *dev, const char *call);

/* " at FILE:LINE, in FUNCTION()" of the driver's call with @stack, or "". */
void dk_describe_place(struct dk_checker *checker, u32 stack, char *text, size_t size);

/* The mapping concerned, and its bytes from @offset on, @length of them. */
void dk_draft_mapping(struct dk_report_draft *draft, const struct dk_mapping *mapping, u32 stack, u64 offset,
                      u64 length);

/* The record of the segment in the list entry @sg, whatever is written there now; @otherwise when there is
 * none. Under the lock; a search of all. */
struct dk_record *dk_sg_record(struct dk_mappings *mappings, const void *sg, struct dk_record *otherwise);
/* Reports what has changed of a list's entry (sg-changed-while-mapped): @asked has what it says now, its
 * memory in @phys and @contiguous (0: that is not compared). Returns whether it did. */
bool dk_sg_compare(struct dk_checker *checker, struct device *dev, const char *call,
                   const struct dk_mapping *mapping, u32 stack, const struct dk_mapping *asked);

/* What dk_overlap_find() found, copied: the other mapping may be gone when it is reported. */
struct dk_overlap {
    bool found;    /* another mapping shares a line */
    bool overflow; /* more than seven others share one */
    struct dk_mapping other, crowd;
    u32 other_stack, crowd_stack;
    phys_addr_t at, crowd_at; /* the first byte of the mapping in the shared line */
};

/*
 * Under the shadow's lock: who shares lines with @record, which dk_shadow_enter() has just entered, returning
 * @before. On a coherent device only bytes count.
 */
void dk_overlap_find(struct dk_shadow *shadow, const struct dk_record *record, unsigned line, bool coherent,
                     unsigned before, struct dk_overlap *overlap);

/* With no lock held: the reports on what dk_overlap_find() found. */
void dk_overlap_report(struct dk_checker *checker, struct device *dev, const char *call,
                       const struct dk_mapping *mapping, const struct dk_overlap *overlap);

#endif
