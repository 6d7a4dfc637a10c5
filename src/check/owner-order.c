/* SPDX-License-Identifier: MIT */
/*
 * The order of accesses to coherent memory: from addresses to words (order.h), and from findings to reports.
 */
#include "check/checker.h"
#include "check/owner.h"
#include <stdio.h>

static bool is_followed(struct dk_interval *by_phys, void *data)
{
    struct dk_owned *run = dk_owned_of(by_phys);

    if (!run->words)
        return true;
    *(struct dk_owned **)data = run;
    return false;
}

/* The run of coherent memory that holds @phys, or NULL. Under the lock. */
static struct dk_owned *followed_run(struct dk_owner *owner, phys_addr_t phys)
{
    struct dk_owned *run = NULL;

    dk_intervals_touching(&owner->runs, phys, phys, is_followed, &run);
    return run;
}

/* The words of @run that @size bytes at @phys touch; the number of bytes that lie in it. */
static u64 words_of(const struct dk_owned *run, phys_addr_t phys, u64 size, u64 *first, u64 *last)
{
    u64 skip = phys - run->by_phys.start, rest = run->by_phys.size - skip;

    if (size > rest)
        size = rest;
    *first = skip / DK_ORDER_WORD;
    *last = (skip + size - 1) / DK_ORDER_WORD;
    return size;
}

/* ---- Reports ---- */

static const char *order_explanation(enum dk_class class_index)
{
    switch (class_index) {
    case DK_CLASS_DESCRIPTOR_READ_BEFORE_RMB:
        return "loaded a word that the device had written, without a barrier since the word which says so";
    case DK_CLASS_DESCRIPTOR_PUBLISHED_BEFORE_WMB:
        return "stored a word that makes another one valid, without a barrier since that was stored; the device has "
               "seen the former, and now reads the latter";
    default:
        return "rang the doorbell without a barrier since it stored a word that the device now reads";
    }
}

static void report_order(struct dk_checker *checker, const struct dk_owned *run,
                         const struct dk_order_finding *finding, uintptr_t cpu)
{
    const u64 offset = run->offset + finding->word * DK_ORDER_WORD;
    struct dk_report_draft draft;
    char other[64] = "";

    dk_draft_begin(&draft, checker, finding->class_index, NULL, "");
    draft.device = run->device;
    if (finding->stack)
        draft.access_stack = finding->stack;
    if (finding->class_index == DK_CLASS_DOORBELL_BEFORE_WRITE)
        draft.call = "dk_io_write";
    else
        draft.access_kind = finding->class_index == DK_CLASS_DESCRIPTOR_READ_BEFORE_RMB ? "load" : "store";
    dk_draft_mapping(&draft, &run->mapping, run->stack, offset, DK_ORDER_WORD);
    if (cpu)
        draft.cpu = cpu;
    if (finding->other != ~0ull)
        snprintf(other, sizeof(other), ", which is at offset %llu", finding->other);
    dk_draft_what(&draft, "the CPU %s (offset %llu of %llu coherent bytes%s)",
                  order_explanation(finding->class_index), offset, run->mapping.size, other);
    dk_report_make(checker, &draft);
}

/* ---- Accesses ---- */

void dk_owner_order_master(struct dk_checker *checker, const struct device *dev, phys_addr_t phys, u64 length,
                           bool write)
{
    u64 size;

    for (; length; phys += size, length -= size) {
        struct dk_order_finding finding;
        struct dk_owned *run, copy;
        bool found = false;

        dk_lock_take(&checker->owner->lock);
        run = followed_run(checker->owner, phys);
        size = 1;
        if (run) {
            const struct dk_order_run words = { run->words, run->offset };
            u64 first, last;

            size = words_of(run, phys, length, &first, &last);
            found = dk_order_device(&checker->owner->links, dev, &words, first, last, write, &finding);
            if (found)
                copy = *run;
        }
        dk_lock_give(&checker->owner->lock);
        if (found)
            report_order(checker, &copy, &finding, 0);
    }
}

u64 dk_owner_order(struct dk_checker *checker, phys_addr_t phys, uintptr_t cpu, u64 length, unsigned access)
{
    const bool store = access & DK_ACCESS_STORE;
    u32 stack = store ? dk_stacks_capture(&checker->stacks) : 0;
    struct dk_order_finding finding;
    struct dk_owned *run, copy;
    bool found = false;
    u64 size = 1;

    dk_lock_take(&checker->owner->lock);
    run = followed_run(checker->owner, phys);
    if (run) {
        const struct dk_order_run words = { run->words, run->offset };
        u64 first, last;

        size = words_of(run, phys, length, &first, &last);
        found = dk_order_cpu(&words, first, last, store, stack, &finding);
        if (found)
            copy = *run;
    }
    dk_lock_give(&checker->owner->lock);
    if (found)
        report_order(checker, &copy, &finding, cpu);
    return size;
}

void dk_owner_register_write(struct dk_machine *machine, bool before)
{
    if (machine->checker && machine->checker->owner)
        dk_order_register(before, before ? dk_stacks_capture(&machine->checker->stacks) : 0);
}
