/* SPDX-License-Identifier: MIT */
/*
 * The live mappings and allocations of one device.
 */
#ifndef DK_CHECK_MAPPINGS_H
#define DK_CHECK_MAPPINGS_H

#include "check/check.h"
#include "check/intervals.h"
#include "check/lock.h"
#include "check/shadow.h"

/* What is remembered of a mapping that is gone: enough to tell a second unmap from one of something that
 * never was. */
struct dk_past_mapping {
    struct dk_mapping mapping;
    u32 stack;  /* of the call that made it */
    u32 undone; /* of the call that unmapped or freed it; 0: not known */
    bool left;  /* by a driver that was unbound, or a device that was removed */
};

/* One mapping, and what the checker knows of it. Fixed from its entry on, but for @checked and @used. */
struct dk_record {
    struct dk_interval by_dma;
    struct dk_interval by_phys; /* size 0: not counted in the machine's lines */
    struct dk_shadow_few few;   /* where it is counted there */
    struct dk_record
        *pieces; /* of the same mapping, elsewhere in memory: counted in lines, not live by themselves */
    union {
        struct dk_past_mapping past;
        struct {
            struct dk_mapping mapping;
            u32 stack, undone;
            bool left;
        };
    };
    struct dk_handover *handover; /* NULL: nobody watches it change hands */
    const struct dk_mappings *of; /* the table it is in */
    bool checked;                 /* dma_mapping_error() was asked about it */
    bool other;                   /* @by_phys is among the shadow's others: no line is counted */
    bool used;                    /* before that it was synced, or the device accessed it */
};

/* How many that are gone are remembered, powers of two: enough for the texts of reports; and so many more
 * that the device's own accesses can be told from those to what never was mapped, as depth 2 does. */
#define DK_PAST_MAPPINGS 16
#define DK_OLDER_MAPPINGS 1024

/* One lock a device: a critical section is an insertion in a hash, and devices do not wait for each other. */
struct dk_mappings {
    struct dk_mappings *next; /* of the same checker */
    struct device *dev;       /* dead once @removed */
    char *path;               /* the device's, outliving it */
    bool removed;
    struct dk_lock lock; /* guards all that follows */
    bool quiet;          /* a mapping could not be remembered: what is unknown may be right */
    struct dk_intervals live;
    struct dk_record *latest; /* the one that was entered last; NULL: it is gone */
    struct dk_record *free;   /* linked through by_dma.next */
    struct dk_record_slab *slabs;
    struct dk_record
        *held_last;     /* depth 2: the allocation that the device last accessed; NULL: none, or gone */
    dma_addr_t reached; /* depth 2: one past what the device last accessed of a mapping; 0: nothing */
    struct dk_record *past[DK_PAST_MAPPINGS]; /* the last that went; those not there yet are NULL */
    struct dk_past_mapping *older;            /* those that went before them; NULL: they are forgotten */
    unsigned older_room;                      /* a power of two, or 0 */
    unsigned past_count;                      /* how many went in all */
};

/* @older, a power of two or 0: how many mappings that are gone are remembered beside DK_PAST_MAPPINGS. NULL
 * when out of memory. */
struct dk_mappings *dk_mappings_create(struct device *dev, unsigned older);
void dk_mappings_destroy(struct dk_mappings *mappings);

/* All that follow: under the lock. */

static inline struct dk_record *dk_record_of(struct dk_interval *by_dma)
{
    return container_of(by_dma, struct dk_record, by_dma);
}

/* More records to take. False: out of memory. */
bool dk_mappings_refill(struct dk_mappings *mappings);

/* A record that is in no list any more. */
static inline void dk_mappings_give(struct dk_mappings *mappings, struct dk_record *record)
{
    record->by_dma.next = mappings->free ? &mappings->free->by_dma : NULL;
    mappings->free = record;
}

/* A record to fill; NULL when out of memory. Entered with dk_mappings_enter(). */
static inline struct dk_record *dk_mappings_take(struct dk_mappings *mappings)
{
    struct dk_record *record;

    if (__builtin_expect(!mappings->free, 0) && !dk_mappings_refill(mappings))
        return NULL;
    record = mappings->free;
    record->other = false;
    record->pieces = NULL;
    mappings->free = record->by_dma.next ? dk_record_of(record->by_dma.next) : NULL;
    return record;
}

static inline void dk_mappings_enter(struct dk_mappings *mappings, struct dk_record *record)
{
    record->by_dma.start = record->mapping.dma;
    record->by_dma.size = record->mapping.size ? record->mapping.size : 1;
    dk_intervals_insert(&mappings->live, &record->by_dma);
    mappings->latest = record;
}

/* Takes @record out of the live ones and remembers it among the past ones, for as many as there is room for.
 * @undone: the stack of the call that did it; 0: not known. */
static inline void dk_mappings_leave(struct dk_mappings *mappings, struct dk_record *record, u32 undone,
                                     bool left)
{
    const unsigned count = mappings->past_count++;
    struct dk_record **past = &mappings->past[count % DK_PAST_MAPPINGS];

    dk_intervals_remove(&mappings->live, &record->by_dma);
    if (mappings->latest == record)
        mappings->latest = NULL;
    if (mappings->held_last == record)
        mappings->held_last = NULL;
    record->undone = undone;
    record->left = left;
    if (mappings->older_room && *past)
        mappings->older[(count - DK_PAST_MAPPINGS) & (mappings->older_room - 1)] = (*past)->past;
    if (*past)
        dk_mappings_give(mappings, *past);
    *past = record;
}

/* The record with @dma and @size, if there is just one. */
static inline struct dk_record *dk_mappings_only(const struct dk_mappings *mappings, dma_addr_t dma, u64 size)
{
    struct dk_interval *interval = dk_intervals_chain(&mappings->live, dma, size);
    struct dk_record *only = NULL;

    for (; interval; interval = interval->next) {
        if (interval->start == dma && interval->size == size) {
            if (only)
                return NULL;
            only = dk_record_of(interval);
        }
    }
    return only;
}

/* The record that @asked most likely means: of those with its DMA address the one that agrees in most. NULL:
 * none has it. */
struct dk_record *dk_mappings_find(struct dk_mappings *mappings, const struct dk_mapping *asked);
/*
 * The record that holds the byte at @dma; of several the one that holds most of the @size bytes from there,
 * then one that can be synced in @direction, then one with @sg_nents. NULL: none.
 */
struct dk_record *dk_mappings_holding(struct dk_mappings *mappings, dma_addr_t dma, u64 size,
                                      enum dma_data_direction direction, int sg_nents);
/* The record with @dma whose error was not asked for yet: the newest. NULL: none. */
struct dk_record *dk_mappings_unchecked(struct dk_mappings *mappings, dma_addr_t dma);
/* The latest that began at @dma, or held it, and is gone; NULL: none of the last few. */
const struct dk_past_mapping *dk_mappings_past(const struct dk_mappings *mappings, dma_addr_t dma);
const struct dk_past_mapping *dk_mappings_past_holding(const struct dk_mappings *mappings, dma_addr_t dma);
/* Whether one of those was made with @stack. */
bool dk_mappings_past_made(const struct dk_mappings *mappings, u32 stack);

/* Whether dma_mapping_error() is to be asked about mappings of @kind. */
static inline bool dk_mapping_needs_check(enum dk_mapping_kind kind)
{
    return kind == DK_MAPPING_SINGLE || kind == DK_MAPPING_PAGE || kind == DK_MAPPING_RESOURCE;
}

/* Kinds with one number are undone by the same functions. */
unsigned dk_mapping_group(enum dk_mapping_kind kind);
static inline bool dk_mapping_is_allocation(enum dk_mapping_kind kind)
{
    return kind >= DK_MAPPING_COHERENT && kind != DK_MAPPING_REMAP;
}

/* Whether a mapping in direction @mapped may be synced in @direction: its own, or any when it goes both ways.
 */
bool dk_direction_fits(enum dma_data_direction mapped, enum dma_data_direction direction);

#endif
