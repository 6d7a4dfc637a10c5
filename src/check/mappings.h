/* SPDX-License-Identifier: MIT */
/*
 * The live mappings and allocations of one device.
 */
#ifndef DK_CHECK_MAPPINGS_H
#define DK_CHECK_MAPPINGS_H

#include "check/check.h"
#include "check/intervals.h"
#include "check/lock.h"

/* One mapping, and what the checker knows of it. Fixed from its entry on, but for @checked and @used. */
struct dk_record {
    struct dk_interval by_dma;
    struct dk_interval by_phys; /* size 0: not counted in the machine's lines */
    struct dk_record
        *pieces; /* of the same mapping, elsewhere in memory: counted in lines, not live by themselves */
    struct dk_mapping mapping;
    struct dk_handover *handover; /* NULL: nobody watches it change hands */
    const struct dk_mappings *of; /* the table it is in */
    u32 stack;                    /* of the call that made it */
    bool checked;                 /* dma_mapping_error() was asked about it */
    bool other;                   /* @by_phys is among the shadow's others: no line is counted */
    bool used;                    /* before that it was synced, or the device accessed it */
};

/* A mapping that is gone: enough to tell a second unmap from one of something that never was. */
struct dk_past_mapping {
    struct dk_mapping mapping;
    u32 stack;
    u32 undone; /* of the call that unmapped or freed it; 0: not known */
    bool left;  /* by a driver that was unbound, or a device that was removed */
};

/* How many of them are remembered: enough for the texts of reports, and for the device's own accesses to be
 * told from those to what never was mapped, as depth 2 does. */
#define DK_PAST_MAPPINGS 16
#define DK_PAST_MAPPINGS_LONG 1024

/* One lock a device: a critical section is an insertion in a hash, and devices do not wait for each other. */
struct dk_mappings {
    struct dk_mappings *next; /* of the same checker */
    struct device *dev;       /* dead once @removed */
    char *path;               /* the device's, outliving it */
    bool removed;
    struct dk_lock lock; /* guards all that follows */
    bool quiet;          /* a mapping could not be remembered: what is unknown may be right */
    struct dk_intervals live;
    struct dk_record *free; /* linked through by_dma.next */
    struct dk_record_slab *slabs;
    dma_addr_t reached; /* depth 2: one past what the device last accessed of a mapping; 0: nothing */
    struct dk_past_mapping *past;
    unsigned past_room; /* a power of two */
    unsigned past_next;
};

/* @past, a power of two: how many mappings that are gone are remembered. NULL when out of memory. */
struct dk_mappings *dk_mappings_create(struct device *dev, unsigned past);
void dk_mappings_destroy(struct dk_mappings *mappings);

/* All that follow: under the lock. */

/* A record to fill; NULL when out of memory. Entered with dk_mappings_enter(). */
struct dk_record *dk_mappings_take(struct dk_mappings *mappings);
void dk_mappings_enter(struct dk_mappings *mappings, struct dk_record *record);
/* Takes @record out of the live ones and remembers it among the past, as what is returned. Its memory is used
 * again after dk_mappings_give(). */
struct dk_past_mapping *dk_mappings_leave(struct dk_mappings *mappings, struct dk_record *record);
void dk_mappings_give(struct dk_mappings *mappings, struct dk_record *record);

/* The record that @asked most likely means: of those with its DMA address the one that agrees in most. NULL:
 * none has it. */
struct dk_record *dk_mappings_find(const struct dk_mappings *mappings, const struct dk_mapping *asked);
/*
 * The record that holds the byte at @dma; of several the one that holds most of the @size bytes from there,
 * then one that can be synced in @direction, then one with @sg_nents. NULL: none.
 */
struct dk_record *dk_mappings_holding(const struct dk_mappings *mappings, dma_addr_t dma, u64 size,
                                      enum dma_data_direction direction, int sg_nents);
/* The record with @dma whose error was not asked for yet: the newest. NULL: none. */
struct dk_record *dk_mappings_unchecked(const struct dk_mappings *mappings, dma_addr_t dma);
/* The latest that began at @dma, or held it, and is gone; NULL: none of the last few. */
const struct dk_past_mapping *dk_mappings_past(const struct dk_mappings *mappings, dma_addr_t dma);
const struct dk_past_mapping *dk_mappings_past_holding(const struct dk_mappings *mappings, dma_addr_t dma);

/* Whether dma_mapping_error() is to be asked about mappings of @kind. */
bool dk_mapping_needs_check(enum dk_mapping_kind kind);
/* Kinds with one number are undone by the same functions. */
unsigned dk_mapping_group(enum dk_mapping_kind kind);
bool dk_mapping_is_allocation(enum dk_mapping_kind kind);
/* Whether a mapping in direction @mapped may be synced in @direction: its own, or any when it goes both ways.
 */
bool dk_direction_fits(enum dma_data_direction mapped, enum dma_data_direction direction);

static inline struct dk_record *dk_record_of(struct dk_interval *by_dma)
{
    return container_of(by_dma, struct dk_record, by_dma);
}

#endif
