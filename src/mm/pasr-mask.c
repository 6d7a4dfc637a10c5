/* SPDX-License-Identifier: MIT */
/*
 * Which sections sleep: the mask of each die, and telling the memory controller.
 */
#include "base/context.h"
#include "mm/pasr.h"
#include "mm/private.h"

/* Bits @first to @end - 1. */
static u32 bits(unsigned first, unsigned end)
{
    u32 low = first < 32 ? ~0u << first : 0, below = end < 32 ? (1u << end) - 1 : ~0u;

    return low & below;
}

u32 dk_pasr_choose_mask(enum pasr_mode mode, unsigned count, u32 may)
{
    unsigned share;

    if (mode == PASR_BANK_SELECTIVE || mode == PASR_SEGMENT_SELECTIVE)
        return may;
    /* The smallest refreshed share first. */
    for (share = 8; share > 1; share /= 2) {
        u32 end = bits(count / share, count);
        u32 start = bits(0, count - count / share);

        if ((may & end) == end)
            return end;
        if (mode == PASR_DOUBLE_ENDED && (may & start) == start)
            return start;
    }
    return 0;
}

static u32 sleepers(const struct pasr_die *die)
{
    u32 may = 0;
    unsigned i;

    for (i = 0; i < die->count; i++) {
        const struct pasr_section *section = &die->sections[i];

        if (!dk_pasr_in_use(section) && (!section->partner || !dk_pasr_in_use(section->partner)))
            may |= 1u << i;
    }
    return may;
}

static void push(struct dk_pasr *pasr, struct pasr_die *die)
{
    if (die->changed)
        return;
    die->changed = true;
    die->next_changed = pasr->changed;
    pasr->changed = die;
}

void dk_pasr_note(struct dk_pasr *pasr, struct pasr_section *section)
{
    push(pasr, section->die);
    if (section->partner)
        push(pasr, section->partner->die);
}

static void put_to_sleep(struct dk_pasr *pasr, struct pasr_section *section)
{
    section->asleep = true;
    section->asleep_since = pasr->operations;
    __atomic_fetch_add(&pasr->asleep, 1, __ATOMIC_RELAXED);
    dk_pasr_forget(pasr, section);
}

static void wake(struct dk_pasr *pasr, struct pasr_section *section)
{
    section->asleep = false;
    section->die->operations_asleep += pasr->operations - section->asleep_since;
    __atomic_fetch_sub(&pasr->asleep, 1, __ATOMIC_RELAXED);
    dk_pasr_wake(pasr, section);
}

void dk_pasr_tell(struct pasr_die *die)
{
    if (!die->apply_mask)
        return;
    dk_context()->atomic_depth++;
    die->apply_mask(die, die->mask, die->data);
    dk_context()->atomic_depth--;
}

static void apply(struct dk_pasr *pasr, struct pasr_die *die, u32 mask)
{
    u32 before = die->mask;
    unsigned i;

    if (mask == before)
        return;
    die->mask = mask;
    die->mask_changes++;
    dk_pasr_tell(die);
    for (i = 0; i < die->count; i++) {
        u32 bit = 1u << i;

        if (mask & ~before & bit)
            put_to_sleep(pasr, &die->sections[i]);
        else if (before & ~mask & bit)
            wake(pasr, &die->sections[i]);
    }
}

void dk_pasr_settle(struct dk_pasr *pasr)
{
    while (pasr->changed) {
        struct pasr_die *die = pasr->changed;

        pasr->changed = die->next_changed;
        die->changed = false;
        apply(pasr, die, dk_pasr_choose_mask(die->mode, die->count, sleepers(die)));
    }
}
