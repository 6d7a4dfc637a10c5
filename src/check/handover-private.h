/* SPDX-License-Identifier: MIT */
/*
 * A watched mapping, for the files that watch it.
 */
#ifndef DK_CHECK_HANDOVER_PRIVATE_H
#define DK_CHECK_HANDOVER_PRIVATE_H

#include "check/checker.h"
#include "check/handover.h"
#include "check/views.h"

/*
 * Bytes of a mapping that follow each other in memory. A device that bounces meets other memory at its DMA
 * address than the CPU uses: then there is a second place, of the slots.
 */
struct dk_place {
    struct dk_interval by_phys;
    struct dk_place *next; /* of the same mapping */
    struct dk_handover *handover;
    u64 at;          /* of its first byte in the extent */
    const char *cpu; /* the CPU's view of it; NULL: slots */
};

/*
 * The extent of a mapping is what is compared: its bytes and, where the device does not snoop and may write,
 * the rest of its first and last line. Offsets into the mapping and into the extent differ by @before.
 */
struct dk_handover {
    u64 before, after;
    struct dk_place *places;
    u64 got, got_end;     /* the last sync for the CPU */
    u64 given, given_end; /* the sync for the device after it, which left bytes with the CPU; or 0 */
    /* What is under way, writes of devices and syncs for the CPU: how many, and the extent bytes that hold
     * them all. These are not compared. */
    unsigned writing;
    bool disturbed;                 /* it is not known what the hull held */
    bool bounced;                   /* it has a place of slots, the first of @places */
    bool shared;                    /* other mappings have, or had, bytes of it */
    bool blind;                     /* out of memory: nothing is said of it */
    bool whole;                     /* @first alone holds all of it, and there is one view */
    bool front_struck, back_struck; /* the device wrote to the first or last line since it got it */
    bool front_others, back_others; /* another mapping that may be written has bytes in the rest of it */
    /* What follows is not cleared when the memory is used again. */
    u64 hull, hull_end;
    struct dk_handover *next; /* free */
    unsigned order;           /* of its memory */
    u32 stack;
    struct device *dev;
    struct dk_mapping mapping;
    char *held;    /* by extent: what the CPU's view held when bytes last changed hands */
    char *written; /* what devices wrote since: it gets there with any refill. NULL: one view */
    u64 since;     /* ticket */
    struct dk_place first;
    struct dk_owned_ranges owners; /* of the mapping's bytes */
};

/*
 * The ordinary case, which has short ways: one view, one run of memory that no other mapping has bytes of,
 * one owner, whose run has no memory of its own, and nothing under way. Under the lock.
 */
static inline bool dk_handover_is_simple(const struct dk_handover *handover)
{
    return handover->whole && !handover->shared && !handover->blind && !handover->writing &&
           handover->owners.count == 1 && handover->owners.runs == handover->owners.own;
}

/* What is about to happen to the bytes that are looked at. */
enum dk_look {
    DK_LOOK_MAP,           /* another mapping is made of them */
    DK_LOOK_FOR_CPU,       /* what the CPU stored is kept */
    DK_LOOK_FOR_CPU_LOSES, /* what the CPU stored is lost */
    DK_LOOK_FOR_DEVICE,
    DK_LOOK_AROUND, /* bytes beside those are synced for the device */
    DK_LOOK_UNMAP,  /* as DK_LOOK_FOR_CPU */
    DK_LOOK_UNMAP_LOSES,
    DK_LOOK_READ, /* by the device */
    DK_LOOK_WRITE,
};

static inline u64 dk_extent_size(const struct dk_handover *handover)
{
    return handover->before + handover->mapping.size + handover->after;
}

static inline u64 dk_lower(u64 a, u64 b)
{
    return a < b ? a : b;
}

static inline u64 dk_higher(u64 a, u64 b)
{
    return a > b ? a : b;
}

/* All that follow: under the lock. [from, to): extent offsets. */

/* Compares, adds what is wrong to *findings (NULL: nothing is said) and takes as held what was reported. Only
 * bytes of the mapping. */
void dk_handover_look(struct dk_handover *handover, u64 from, u64 to, enum dk_look look,
                      struct dk_handover_findings *findings);
/* The same for the rest of the first and last line, as far as [from, to) is of it: when the CPU gets them. */
void dk_handover_look_edges(struct dk_handover *handover, u64 from, u64 to, unsigned line,
                            struct dk_handover_findings *findings);
/* The device reads bytes that were mapped unsynced and never synced for it. */
void dk_handover_look_unsynced(struct dk_handover *handover, u64 from, u64 to,
                               struct dk_handover_findings *findings);

/* What is there now is what is held. */
void dk_handover_hold(struct dk_handover *handover, u64 from, u64 to);
/* With two views: what refills brought into the CPU's is held; with @all, whatever else is new there too. */
void dk_handover_refilled(struct dk_handover *handover, u64 from, u64 to, bool all);
/* Something is under way to [from, to), and over. */
void dk_handover_begin(struct dk_handover *handover, u64 from, u64 to);
void dk_handover_end(struct dk_handover *handover);
/* [from, to): of the mapping. */
void dk_handover_own(struct dk_handover *handover, u64 from, u64 to, enum dk_byte_owner owner);

/* Enters @place, whose by_phys is set, and takes it out. */
void dk_place_enter(struct dk_handovers *handovers, struct dk_place *place);
void dk_place_leave(struct dk_handovers *handovers, struct dk_place *place);
/* Calls @visit for each place that shares a byte with [phys, phys + size). */
void dk_places_touching(struct dk_handovers *handovers, phys_addr_t phys, u64 size,
                        bool (*visit)(struct dk_interval *interval, void *data), void *data);

static inline struct dk_place *dk_place_of(struct dk_interval *by_phys)
{
    return container_of(by_phys, struct dk_place, by_phys);
}

/* The extent offset of @phys, an address of @place or its end. */
static inline u64 dk_place_offset(const struct dk_place *place, phys_addr_t phys)
{
    return place->at + (phys - place->by_phys.start);
}

#endif
