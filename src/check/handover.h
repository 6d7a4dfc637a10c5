/* SPDX-License-Identifier: MIT */
/*
 * Depth 2, the handover: what each streaming mapping held when its bytes changed hands, kept up to date with
 * what devices write. What the CPU sees and was neither there then nor written by a device since, the CPU has
 * stored.
 *
 * A mapping's bytes are the device's from dma_map_*() on, the CPU's from a sync for the CPU on, and the
 * device's again from a sync for the device on. Mappings of the same memory change hands together. One lock
 * guards them all; it is taken under that of a device's table, and findings are reported after both.
 */
#ifndef DK_CHECK_HANDOVER_H
#define DK_CHECK_HANDOVER_H

#include "check/check.h"
#include "check/intervals.h"
#include "check/lock.h"
#include "check/owned-ranges.h"

/* Mappings larger than this are not watched, nor are those for which all of a machine's would be too much. */
#define DK_HANDOVER_LARGEST ((u64)64 << 20)
#define DK_HANDOVER_ALL ((u64)256 << 20)

struct dk_checker;
struct dk_handover;

#define DK_HANDOVER_ORDERS 64

/* Memory that an unmapping without a sync left with the device. */
struct dk_left {
    phys_addr_t phys;
    u64 size; /* 0: none */
    u64 hash; /* of what the CPU saw */
};

#define DK_HANDOVER_LEFT 256

/* How many places have bytes in granules of one hash. */
#define DK_HANDOVER_HASH_BITS 12

struct dk_handovers {
    u32 granules[1u << DK_HANDOVER_HASH_BITS];    /* atomic: most accesses are to none of the places */
    struct dk_lock lock;                          /* guards all that follows */
    struct dk_intervals places;                   /* by physical address */
    struct dk_handover *free[DK_HANDOVER_ORDERS]; /* by order of their memory */
    u64 used, kept;                               /* bytes, in use and in @free */
    unsigned syncing;                             /* syncs for the CPU under way */
    struct dk_left left[DK_HANDOVER_LEFT];
    bool left_lost;                /* there was more */
    u64 ticket;                    /* counts what begins: mappings and writes of devices */
    struct dk_place *last_written; /* the only place of the write with the last ticket; NULL: look for it */
};

/* Small enough that two buffers of a network card rarely share one. */
#define DK_GRANULE_SHIFT 8

static inline unsigned dk_granule_hash(u64 granule)
{
    return (unsigned)((u32)granule * 0x9e3779b1u >> (32 - DK_HANDOVER_HASH_BITS));
}

/* As the next, for more than one granule. */
bool dk_handover_any_of(const struct dk_handovers *handovers, u64 granule, u64 last);

/* False: no watched mapping has a byte of [phys, phys + size). Without the lock. */
static inline bool dk_handover_any(const struct dk_handovers *handovers, phys_addr_t phys, u64 size)
{
    u64 granule = phys >> DK_GRANULE_SHIFT, last = (phys + (size - 1)) >> DK_GRANULE_SHIFT;

    if (__builtin_expect(granule != last, 0))
        return dk_handover_any_of(handovers, granule, last);
    return __atomic_load_n(&handovers->granules[dk_granule_hash(granule)], __ATOMIC_RELAXED);
}

/* Something found under the lock, to be reported without it. */
struct dk_handover_finding {
    unsigned class_index;
    struct device *dev;
    struct dk_mapping mapping;
    u32 stack;
    u64 offset, length; /* the first run of bytes; behind the mapping where offset is its size or more */
    u64 in_front;       /* not 0: they begin so many bytes in front of the mapping instead */
    u64 more, last;     /* bytes of further runs, and the end of the last */
    uintptr_t cpu;      /* the first byte's address */
    const char *how;    /* what becomes of bytes that the CPU owned; NULL: the device owned them */
    u64 part, part_end; /* sync-wrong-subrange: what the sync covered instead */
};

#define DK_HANDOVER_FINDINGS 4

struct dk_handover_findings {
    unsigned count;
    struct dk_handover_finding list[DK_HANDOVER_FINDINGS];
};

/* 0 or -ENOMEM. */
int dk_handovers_init(struct dk_handovers *handovers);
void dk_handovers_finish(struct dk_handovers *handovers);

/*
 * All that follow take a NULL handover: a mapping that is not watched. Findings are added to *findings, which
 * the caller hands to dk_handover_report() when it holds no lock. They take the lock themselves.
 */

/* A mapping was made, after its lines were cleaned. NULL: it is none that changes hands, or too large, or out
 * of memory. @stack: of the call. */
struct dk_handover *dk_handover_mapped(struct dk_checker *checker, struct device *dev,
                                       const struct dk_mapping *mapping, u32 stack,
                                       struct dk_handover_findings *findings);
/* @size bytes at @phys are behind byte @offset of the mapping too. */
void dk_handover_piece(struct dk_checker *checker, struct dk_handover *handover, u64 offset, phys_addr_t phys,
                       u64 size, struct dk_handover_findings *findings);

/* Before [offset, offset + size) is synced, and after. */
void dk_handover_sync(struct dk_checker *checker, struct dk_handover *handover, u64 offset, u64 size,
                      enum dma_data_direction direction, bool for_cpu, struct dk_handover_findings *findings);
void dk_handover_synced(struct dk_checker *checker, struct dk_handover *handover, u64 offset, u64 size,
                        enum dma_data_direction direction, bool for_cpu);

/*
 * Before an unmapping or free with @attrs. The handover is gone afterwards. True: other mappings of its
 * memory are left, and dk_handover_changed() is to be called when the unmapping is done.
 */
bool dk_handover_unmap(struct dk_checker *checker, struct dk_handover *handover, unsigned long attrs,
                       struct dk_handover_findings *findings);
/* The mapping is forgotten, with nothing looked at. */
void dk_handover_drop(struct dk_checker *checker, struct dk_handover *handover);

/* The library itself changed what the CPU sees of [phys, phys + size), or may have: no store of the CPU. */
void dk_handover_changed(struct dk_checker *checker, phys_addr_t phys, u64 size);

/*
 * A device's access: before the bytes move and, if it is a write for which the first gave a ticket other than
 * 0, after it; @moved says whether they did. Hooks of a machine; the second may be called while nothing may
 * be mapped or unmapped.
 */
u64 dk_handover_access(struct dk_machine *machine, const struct dk_master_move *move);
void dk_handover_written(struct dk_machine *machine, phys_addr_t phys, u64 length, u64 ticket, bool moved);

/*
 * The first of these for an access of @handover's own device to some of it, where that is simple, nothing was
 * stored, and there is nothing to report. DK_ACCESS_UNSURE: it may be otherwise, nothing was done, and the
 * general one is to be asked.
 */
u64 dk_handover_access_simple(struct dk_checker *checker, struct dk_handover *handover,
                              const struct dk_master_move *move);

/* Calls @visit for each run of the mapping's bytes in memory whose owner is one: the CPU (@cpu), or a device.
 */
void dk_handover_each_owned(struct dk_checker *checker, const struct dk_handover *handover,
                            void (*visit)(phys_addr_t phys, u64 size, bool cpu, void *data), void *data);

/*
 * Stores of the CPU into [phys, phys + size) were reported where they were made (depth 3): none of the bytes
 * is reported until they change hands the next time.
 */
void dk_handover_told(struct dk_checker *checker, phys_addr_t phys, u64 size);

/* Makes reports of *findings, found at @call of the driver's, or with @access ("device-read",
 * "device-write") in it. No lock is held. */
void dk_handover_report(struct dk_checker *checker, const char *call, const char *access,
                        const struct dk_handover_findings *findings);

#endif
