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

/* @line: the cache line in bytes, a power of two. 0 or -ENOMEM. */
int dk_shadow_init(struct dk_shadow *shadow, unsigned line);
void dk_shadow_finish(struct dk_shadow *shadow);

/* The same as the two that follow, of any size, wherever it lies. */
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

/* The counters of the few lines of @interval, and a one in each of them; NULL: it has more, or they are not
 * there. */
static inline u8 *dk_shadow_few(const struct dk_shadow *shadow, const struct dk_interval *interval, u64 *ones)
{
    u64 first = (interval->start & (DK_SLOT_SIZE - 1)) >> shadow->line_shift;
    u64 last = ((interval->start & (DK_SLOT_SIZE - 1)) + (interval->size - 1)) >> shadow->line_shift;
    u8 *lines = dk_shadow_section(shadow, interval->start);

    if (__builtin_expect(
            !lines || last - first >= DK_SHADOW_FEW || last >> (DK_SLOT_SHIFT - shadow->line_shift), 0))
        return NULL;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    *ones = DK_SHADOW_ONES >> 8 * (DK_SHADOW_FEW - 1 - (last - first));
#else
    *ones = DK_SHADOW_ONES << 8 * (DK_SHADOW_FEW - 1 - (last - first));
#endif
    return lines + first;
}

/* Counts @interval (physical addresses) and enters it. Returns the highest count that one of its lines had
 * before. */
static inline unsigned dk_shadow_enter(struct dk_shadow *shadow, struct dk_interval *interval)
{
    u64 ones, counts;
    u8 *lines = dk_shadow_few(shadow, interval, &ones);

    dk_intervals_insert_lazily(&shadow->mappings, interval);
    if (__builtin_expect(lines != NULL, 1)) {
        memcpy(&counts, lines, sizeof(counts));
        if (__builtin_expect(!(counts & ones * 0xff), 1)) {
            counts |= ones;
            memcpy(lines, &counts, sizeof(counts));
            return 0;
        }
    }
    return dk_shadow_count_up(shadow, interval);
}

/* Takes back what dk_shadow_enter() did. */
static inline void dk_shadow_leave(struct dk_shadow *shadow, struct dk_interval *interval)
{
    u64 ones, counts;
    u8 *lines = dk_shadow_few(shadow, interval, &ones);

    dk_intervals_remove(&shadow->mappings, interval);
    if (__builtin_expect(lines != NULL, 1)) {
        memcpy(&counts, lines, sizeof(counts));
        if (__builtin_expect((counts & ones * 0xff) == ones, 1)) {
            counts ^= ones;
            memcpy(lines, &counts, sizeof(counts));
            return;
        }
    }
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
