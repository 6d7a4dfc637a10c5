/* SPDX-License-Identifier: MIT */
/*
 * Who owns each byte of the machine's memory, for loads and stores to be compared with (depth 3): what
 * mappings have to say in its shadow (owner-shadow.h).
 *
 * An access that both the shadow and the lock find wrong is reported once, at the access. What compares
 * memory later is told of stores (dk_handover_told()).
 */
#ifndef DK_CHECK_OWNER_H
#define DK_CHECK_OWNER_H

#include "check/check.h"
#include "check/intervals.h"
#include "check/lock.h"
#include "check/order.h"
#include "check/owner-shadow.h"

struct dk_checker;

/* One run of memory of a live mapping. */
struct dk_owned {
    struct dk_interval by_phys;
    struct dk_owned *next_run; /* of the same mapping */
    struct dk_mapping mapping;
    u64 offset;     /* of the run's first byte in the mapping */
    u64 written_at; /* the first run: when the device wrote some of it last; dk_order_time() */
    struct dk_order_word
        *words;         /* coherent memory's, if it is small enough to be a descriptor's; else NULL */
    u64 with_cpu;       /* the first run: how many bytes of the mapping are the CPU's just now */
    const char *device; /* its path; lives as long as the checker */
    u32 stack;          /* of the call that made the mapping */
    bool coherent;      /* the device sees what the CPU stores, and the CPU what the device writes */
    bool bounced;       /* the first run: the device reaches a copy */
    bool both;          /* coherent memory that is mapped besides: it belongs to both */
};

/* A store into what shares a cache line with a mapping. */
struct dk_owner_beside {
    phys_addr_t phys;
    u64 size; /* 0: none */
    u32 stack;
};

#define DK_OWNER_BESIDE 64u

struct dk_owner {
    struct dk_lock
        lock; /* guards all that follows, and changes of shadow bytes; taken inside a table's lock */
    struct dk_intervals runs; /* by physical address */
    struct dk_owned *free;    /* linked through next_run */
    struct dk_owned_slab *slabs;
    struct dk_owner_section *sections;              /* that have a shadow */
    struct dk_order_link *links;                    /* what devices saw of threads' stores */
    struct dk_owner_beside beside[DK_OWNER_BESIDE]; /* the last ones */
    unsigned next_beside;
};

static inline struct dk_owned *dk_owned_of(struct dk_interval *by_phys)
{
    return container_of(by_phys, struct dk_owned, by_phys);
}

/* NULL when out of memory. */
struct dk_owner *dk_owner_create(void);
/* The shadows go; no thread may be inside the machine's memory. NULL is fine. */
void dk_owner_destroy(struct dk_owner *owner);

/*
 * Transitions, called by the files of this room that hear of each call. All do nothing below depth 3.
 * @mapping is as dk_check_mapped() remembered it, with its number. May be called with a device's table
 * locked.
 */

/* @mapping was made: the device owns it, unless it is an allocation or was made without a sync. */
void dk_owner_mapped(struct dk_checker *checker, const struct device *dev, const char *path,
                     const struct dk_mapping *mapping, u32 stack);
/* @size bytes at @phys are behind byte @offset of it too. */
void dk_owner_mapped_piece(struct dk_checker *checker, const struct dk_mapping *mapping, u64 offset,
                           phys_addr_t phys, u64 size);
/* @size bytes from @offset on were handed over, to the CPU or to the device. */
void dk_owner_synced(struct dk_checker *checker, const struct dk_mapping *mapping, u64 offset, u64 size,
                     bool for_cpu);
/* It is unmapped or freed, or its device goes: its memory is the CPU's. */
void dk_owner_gone(struct dk_checker *checker, const struct dk_mapping *mapping);

/* A bus master is about to access @length bytes at @dma, which lead to @phys. */
void dk_owner_master_access(const struct dk_master_move *move);

/* The same for coherent memory. */
void dk_owner_order_master(struct dk_checker *checker, const struct device *dev, phys_addr_t phys, u64 length,
                           bool write);
/* This thread is about to write a register, or did. */
void dk_owner_register_write(struct dk_machine *machine, bool before);

/*
 * Stores that no mapping forbids, and that are looked at all the same (owner-watch.c): into memory of pools
 * that is in no block in use (dk_check_vacant()), and next to what a device that does not snoop may write, in
 * its cache lines.
 */

/* Begins (@on) or ends to watch what lies in the first and last cache line of @run beside it. Under the lock.
 */
void dk_owner_watch_edges(struct dk_checker *checker, const struct dk_owned *run, bool on);
/* The program stores @length bytes at @phys, in one section, whose first byte is watched.
 * Returns how many bytes that settles: at least 1. */
u64 dk_owner_watched(struct dk_checker *checker, phys_addr_t phys, u64 length, const char *call);
/* The stack of the last store into [phys, phys + size) next to a mapping; 0: none is known. */
u32 dk_owner_stored_beside(struct dk_checker *checker, phys_addr_t phys, u64 size);

static inline bool dk_owner_is_streaming(enum dk_mapping_kind kind)
{
    return kind <= DK_MAPPING_SG || kind == DK_MAPPING_NONCOHERENT || kind == DK_MAPPING_PAGES ||
           kind == DK_MAPPING_NONCONTIGUOUS;
}

/* The run that speaks for all of @run's mapping; NULL: it is gone. Under the lock. */
const struct dk_owned *dk_owner_head(struct dk_owner *owner, const struct dk_owned *run);

/*
 * The program accesses @length bytes at @cpu, memory at @phys in one section, whose first byte's shadow
 * forbids it. Reports it if that still holds, and returns how many bytes that settles: at least 1.
 */
u64 dk_owner_report(struct dk_checker *checker, phys_addr_t phys, uintptr_t cpu, u64 length, unsigned access,
                    const char *call);

/* The program accesses @length bytes of coherent memory at @phys, in one section. Returns how many bytes of
 * one allocation that settles: at least 1. */
u64 dk_owner_order(struct dk_checker *checker, phys_addr_t phys, uintptr_t cpu, u64 length, unsigned access);

#endif
