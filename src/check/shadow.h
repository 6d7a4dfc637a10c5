/* SPDX-License-Identifier: MIT */
/*
 * How many live mappings a device may write through, for each cache line of the machine's memory.
 *
 * A filter: a line that only one mapping touches is the common case and costs a byte's increment. A count is
 * never trusted alone (it saturates, and lines whose counters found no memory have none): who shares the line
 * is then looked up among the mappings themselves, which the shadow also keeps by physical address.
 */
#ifndef DK_CHECK_SHADOW_H
#define DK_CHECK_SHADOW_H

#include "check/intervals.h"
#include "check/lock.h"
#include <dmakit/slot.h>
#include <string.h>

struct dk_shadow {
    struct dk_lock lock; /* guards all that follows; taken by the caller */
    unsigned line_shift;
    u8 ***sections; /* two levels, by section of memory; a counter a line */
    struct dk_intervals mappings;
    struct dk_intervals others; /* depth 2: mappings that are not counted, since devices only read them */
};

/* The counters of an interval that has few lines. */
struct dk_shadow_few {
    u8 *lines; /* NULL: it has more, or they were not there */
    u64 ones;  /* a one for each of them */
};

/* @line: the cache line in bytes, a power of two. 0 or -ENOMEM. */
int dk_shadow_init(struct dk_shadow *shadow, unsigned line);
void dk_shadow_finish(struct dk_shadow *shadow);

/* The count of dk_shadow_enter() and dk_shadow_leave() for an interval of any size, wherever it lies. */
unsigned dk_shadow_count_up(struct dk_shadow *shadow, const struct dk_interval *interval);
void dk_shadow_count_down(struct dk_shadow *shadow, const struct dk_interval *interval);

#define DK_SHADOW_LEAF_BITS 11
#define DK_SHADOW_TOP ((size_t)1 << (52 - DK_SLOT_SHIFT - DK_SHADOW_LEAF_BITS))
/* Counters of up to eight lines are read and written at once, those of other lines behind them too. */
#define DK_SHADOW_FEW 8
#define DK_SHADOW_ONES 0x0101010101010101ull

/* The counters of the section that holds @phys, or NULL. */
static inline u8 *dk_shadow_section(const struct dk_shadow *shadow, phys_addr_t phys)
{
    u64 index = phys >> DK_SLOT_SHIFT;
    u8 **leaf =
        index >> DK_SHADOW_LEAF_BITS < DK_SHADOW_TOP ? shadow->sections[index >> DK_SHADOW_LEAF_BITS] : NULL;

    return leaf ? leaf[index & (((size_t)1 << DK_SHADOW_LEAF_BITS) - 1)] : NULL;
}

/* Finds the counters of @interval's lines: kept with it, for its end not to find them again. */
static inline struct dk_shadow_few dk_shadow_find_few(const struct dk_shadow *shadow,
                                                      const struct dk_interval *interval)
{
    u64 first = (interval->start & (DK_SLOT_SIZE - 1)) >> shadow->line_shift;
    u64 last = ((interval->start & (DK_SLOT_SIZE - 1)) + (interval->size - 1)) >> shadow->line_shift;
    struct dk_shadow_few few = { dk_shadow_section(shadow, interval->start), 0 };

    if (__builtin_expect(
            !few.lines || last - first >= DK_SHADOW_FEW || last >> (DK_SLOT_SHIFT - shadow->line_shift), 0)) {
        few.lines = NULL;
        return few;
    }
    few.lines += first;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    few.ones = DK_SHADOW_ONES >> 8 * (DK_SHADOW_FEW - 1 - (last - first));
#else
    few.ones = DK_SHADOW_ONES << 8 * (DK_SHADOW_FEW - 1 - (last - first));
#endif
    return few;
}

/* Counts @few from no mapping to one (@up), or back. False, and nothing has changed: one of them has another,
 * or there are more. */
static inline bool dk_shadow_count_alone(const struct dk_shadow_few *few, bool up)
{
    u64 counts;

    if (__builtin_expect(!few->lines, 0))
        return false;
    memcpy(&counts, few->lines, sizeof(counts));
    if (__builtin_expect((counts & few->ones * 0xff) != (up ? 0 : few->ones), 0))
        return false;
    counts ^= few->ones;
    memcpy(few->lines, &counts, sizeof(counts));
    return true;
}

/* Counts @interval (physical addresses) and enters it, and says in *few where, for dk_shadow_leave(). Returns
 * the highest count that one of its lines had before. */
static inline unsigned dk_shadow_enter(struct dk_shadow *shadow, struct dk_interval *interval,
                                       struct dk_shadow_few *few)
{
    *few = dk_shadow_find_few(shadow, interval);
    dk_intervals_insert_lazily(&shadow->mappings, interval);
    return dk_shadow_count_alone(few, true) ? 0 : dk_shadow_count_up(shadow, interval);
}

/* The same, but false, and nothing has changed, unless its lines are few and no other mapping's. */
static inline bool dk_shadow_enter_alone(struct dk_shadow *shadow, struct dk_interval *interval,
                                         struct dk_shadow_few *few)
{
    *few = dk_shadow_find_few(shadow, interval);
    if (__builtin_expect(!dk_shadow_count_alone(few, true), 0))
        return false;
    dk_intervals_insert_lazily(&shadow->mappings, interval);
    return true;
}

/* Takes back what they did. */
static inline void dk_shadow_leave(struct dk_shadow *shadow, struct dk_interval *interval,
                                   const struct dk_shadow_few *few)
{
    dk_intervals_remove(&shadow->mappings, interval);
    if (__builtin_expect(!dk_shadow_count_alone(few, false), 0))
        dk_shadow_count_down(shadow, interval);
}

/* The same without counting. */
static inline void dk_shadow_enter_other(struct dk_shadow *shadow, struct dk_interval *interval)
{
    dk_intervals_insert_lazily(&shadow->others, interval);
}

static inline void dk_shadow_leave_other(struct dk_shadow *shadow, struct dk_interval *interval)
{
    dk_intervals_remove(&shadow->others, interval);
}

/* The count of the line that holds @phys. */
unsigned dk_shadow_count(const struct dk_shadow *shadow, phys_addr_t phys);

#endif
