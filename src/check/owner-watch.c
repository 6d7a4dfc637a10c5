/* SPDX-License-Identifier: MIT */
/*
 * Stores into memory of no mapping that are looked at all the same: what pools have in no block in use, of
 * which src/pool knows more, and what shares a cache line with a mapping.
 *
 * The latter are no mistake by themselves: that they are one shows when the device has written to the line
 * and it is handed over (shared-cache-line). Then it is known who stored.
 */
#include "check/checker.h"
#include "check/owner.h"

#define WATCHED (DK_OWNER_WATCHED | DK_OWNER_NO_STORE)

void dk_check_vacant(struct device *dev, phys_addr_t phys, u64 size, bool vacant)
{
    struct dk_checker *checker = dk_checker_of(dev);

    if (!checker || !checker->owner)
        return;
    dk_lock_take(&checker->owner->lock);
    dk_owner_mark(checker, phys, size, vacant ? 0 : WATCHED, vacant ? WATCHED : 0);
    dk_lock_give(&checker->owner->lock);
}

/* ---- Beside a mapping ---- */

/* Who is mapped, or coherent, is judged by what it is. */
static bool is_other_mapping(u8 shadow)
{
    return shadow & (DK_OWNER_MAPPED | DK_OWNER_COHERENT);
}

static void watch_byte(struct dk_checker *checker, phys_addr_t phys, u8 shadow, bool on)
{
    if (!is_other_mapping(shadow))
        dk_owner_mark(checker, phys, 1, on ? 0 : WATCHED, on ? WATCHED : 0);
    else if (!on)
        dk_owner_mark(checker, phys, 1, DK_OWNER_WATCHED, 0);
}

static bool touches(const struct dk_owner_beside *beside, phys_addr_t phys, u64 size)
{
    return beside->size && beside->phys + beside->size > phys && beside->phys < phys + size;
}

static void forget_beside(struct dk_owner *owner, phys_addr_t phys, u64 size)
{
    unsigned i;

    for (i = 0; i < DK_OWNER_BESIDE; i++) {
        if (touches(&owner->beside[i], phys, size))
            owner->beside[i].size = 0;
    }
}

/* [@phys, @phys + @size) of one line. */
static void watch_edge(struct dk_checker *checker, phys_addr_t phys, u64 size, bool on)
{
    const u8 *shadow = dk_owner_shadow(checker->machine, phys);
    u8 any = 0;
    u64 i;

    for (i = 0; shadow && i < size; i++)
        any |= dk_owner_get(shadow + i);
    if (on)
        forget_beside(checker->owner, phys, size);
    if (!is_other_mapping(any)) {
        dk_owner_mark(checker, phys, size, on ? 0 : WATCHED, on ? WATCHED : 0);
        return;
    }
    for (i = 0; shadow && i < size; i++)
        watch_byte(checker, phys + i, dk_owner_get(shadow + i), on);
}

void dk_owner_watch_edges(struct dk_checker *checker, const struct dk_owned *run, bool on)
{
    const u64 line = checker->line;
    phys_addr_t end;

    if (!run || run->coherent || run->mapping.kind > DK_MAPPING_SG || run->mapping.direction == DMA_TO_DEVICE)
        return;
    end = run->by_phys.start + run->by_phys.size;
    if (run->by_phys.start & (line - 1))
        watch_edge(checker, run->by_phys.start & ~(line - 1), run->by_phys.start & (line - 1), on);
    if (end & (line - 1))
        watch_edge(checker, end, line - (end & (line - 1)), on);
}

static void note_beside(struct dk_owner *owner, phys_addr_t phys, u64 size, u32 stack)
{
    forget_beside(owner, phys, size);
    owner->beside[owner->next_beside++ % DK_OWNER_BESIDE] = (struct dk_owner_beside){ phys, size, stack };
}

u32 dk_owner_stored_beside(struct dk_checker *checker, phys_addr_t phys, u64 size)
{
    const struct dk_owner *owner = checker->owner;
    u32 stack = 0;
    unsigned i;

    if (!owner)
        return 0;
    dk_lock_take(&checker->owner->lock);
    for (i = 0; i < DK_OWNER_BESIDE && !stack; i++) {
        if (touches(&owner->beside[i], phys, size))
            stack = owner->beside[i].stack;
    }
    dk_lock_give(&checker->owner->lock);
    return stack;
}

/* ---- The store ---- */

static bool is_streaming_run(struct dk_interval *by_phys, void *data)
{
    *(bool *)data |= dk_owner_is_streaming(dk_owned_of(by_phys)->mapping.kind);
    return !*(bool *)data;
}

u64 dk_owner_watched(struct dk_checker *checker, phys_addr_t phys, u64 length, const char *call)
{
    const struct dk_hooks *hooks = &checker->machine->hooks;
    const u8 *shadow = dk_owner_shadow(checker->machine, phys);
    const u64 line = checker->line, rest = PAGE_SIZE - (phys & (PAGE_SIZE - 1));
    bool beside = false;
    u64 run = 0;
    u32 stack;

    while (run < length && run < rest && dk_owner_is_watched(dk_owner_get(shadow + run)))
        run++;
    if (!run)
        return 1;
    stack = dk_stacks_capture(&checker->stacks);
    dk_lock_take(&checker->owner->lock);
    dk_intervals_touching(&checker->owner->runs, phys & ~(line - 1), phys | (line - 1), is_streaming_run,
                          &beside);
    if (beside)
        note_beside(checker->owner, phys, run, stack);
    dk_lock_give(&checker->owner->lock);
    if (!beside && hooks->vacant_stored)
        hooks->vacant_stored(hooks->data, phys, run, call);
    return run;
}
