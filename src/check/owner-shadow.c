/* SPDX-License-Identifier: MIT */
#include "check/owner-shadow.h"

#include "base/alloc.h"
#include "check/checker.h"
#include <sys/mman.h>

/* A section with a shadow. */
struct dk_owner_section {
    struct dk_owner_section *next;
    struct dk_section *section;
    u8 *shadow;
};

static void publish_for(const struct dk_slot *slot, const u8 *shadow)
{
    if (slot->start)
        __atomic_store_n(&dk_slot_shadows[(uintptr_t)slot->start >> DK_SLOT_SHIFT],
                         shadow ? (uintptr_t)shadow - (uintptr_t)slot->start : 0, __ATOMIC_RELEASE);
}

static void publish(const struct dk_section *section, const u8 *shadow)
{
    publish_for(&section->cached_slot, shadow);
    publish_for(&section->dram_slot, shadow);
}

void dk_owner_shadows_free(struct dk_owner *owner)
{
    struct dk_owner_section *section;

    while ((section = owner->sections)) {
        owner->sections = section->next;
        publish(section->section, NULL);
        munmap(section->shadow, DK_SLOT_SIZE);
        dk_release(section);
    }
}

/* The shadow of @phys, made now if need be; under the lock. NULL: out of memory, or no RAM. */
static u8 *make_shadow(struct dk_checker *checker, phys_addr_t phys)
{
    struct dk_section *section = dk_memory_section(checker->machine->memory, phys);
    struct dk_owner_section *made;
    void *shadow;
    u8 *known;

    if (!section)
        return NULL;
    known = dk_slot_owner(section->cached_slot.start);
    if (known)
        return known + (phys - section->base);
    made = dk_allocate(1, sizeof(*made));
    if (!made)
        return NULL;
    shadow = dk_fault_point() ? MAP_FAILED
                              : mmap(NULL, DK_SLOT_SIZE, PROT_READ | PROT_WRITE,
                                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (shadow == MAP_FAILED) {
        dk_release(made);
        return NULL;
    }
    *made = (struct dk_owner_section){ checker->owner->sections, section, (u8 *)shadow };
    checker->owner->sections = made;
    publish(section, made->shadow);
    return made->shadow + (phys - section->base);
}

const u8 *dk_owner_shadow(struct dk_machine *machine, phys_addr_t phys)
{
    struct dk_section *section = dk_memory_section(machine->memory, phys);
    const u8 *shadow = section ? dk_slot_owner(section->cached_slot.start) : NULL;

    return shadow ? shadow + (phys - section->base) : NULL;
}

/* ---- Changes, a word at a time ---- */

#define EVERY 0x0101010101010101ull

static u8 any_byte(u64 word)
{
    word |= word >> 32;
    word |= word >> 16;
    return (u8)(word | word >> 8);
}

/* How many of the eight bytes are. */
static s64 stores_forbidden(u64 word)
{
    return (s64)((((word / DK_OWNER_NO_STORE) & EVERY) * EVERY) >> 56);
}

/* What becomes of each shadow byte. */
struct rule {
    u8 clear, set;
};

/* @old: eight bytes, or one. */
typedef u64 apply_rule(u64 old, struct rule rule);

static inline u64 clear_and_set(u64 old, struct rule rule)
{
    return (old & ~(EVERY * rule.clear)) | EVERY * rule.set;
}

/* What the device wrote: what was its own is written, what was the CPU's of a mapping is written behind its
 * back. */
static inline u64 mark_write(u64 old, struct rule rule)
{
    u64 mapped = (old / DK_OWNER_MAPPED) & EVERY, owned = (old / DK_OWNER_NO_STORE) & EVERY;

    (void)rule;
    return old | mapped * DK_OWNER_WROTE | (mapped & ~owned) * DK_OWNER_UNSEEN;
}

/* @size bytes of shadow in one section. Inline, so that each rule has a loop of its own. */
static inline __attribute__((always_inline)) void rewrite(u8 *at, u64 size, apply_rule *apply,
                                                          struct rule rule, struct dk_owner_change *change)
{
    while (size) {
        u64 *words = (u64 *)(void *)at, count = size / 8, old, new;
        s64 gain;

        if (!count || (uintptr_t)at & 7) {
            u8 byte = dk_owner_get(at), then = (u8)apply(byte, rule);

            __atomic_store_n(at, then, __ATOMIC_RELAXED);
            change->before |= byte;
            change->to_cpu += stores_forbidden(byte) - stores_forbidden(then);
            at++;
            size--;
            continue;
        }
        /* Many words are alike, one after another. */
        old = __atomic_load_n(words, __ATOMIC_RELAXED);
        new = apply(old, rule);
        gain = stores_forbidden(old) - stores_forbidden(new);
        change->before |= any_byte(old);
        for (; count && __atomic_load_n(words, __ATOMIC_RELAXED) == old; count--) {
            __atomic_store_n(words++, new, __ATOMIC_RELAXED);
            change->to_cpu += gain;
        }
        size -= (u64)((u8 *)words - at);
        at = (u8 *)words;
    }
}

/* The same for memory that may span sections. False: some of it has no shadow. */
static inline __attribute__((always_inline)) bool rewrite_range(struct dk_checker *checker, phys_addr_t phys,
                                                                u64 size, apply_rule *apply, struct rule rule,
                                                                struct dk_owner_change *change)
{
    while (size) {
        u64 rest = DK_SLOT_SIZE - (phys & (DK_SLOT_SIZE - 1)), run = size < rest ? size : rest;
        u8 *shadow = make_shadow(checker, phys);

        if (!shadow)
            return false;
        rewrite(shadow, run, apply, rule, change);
        phys += run;
        size -= run;
    }
    return true;
}

bool dk_owner_change(struct dk_checker *checker, phys_addr_t phys, u64 size, u8 clear, u8 set,
                     struct dk_owner_change *change)
{
    return rewrite_range(checker, phys, size, clear_and_set, (struct rule){ clear, set }, change);
}

void dk_owner_mark(struct dk_checker *checker, phys_addr_t phys, u64 size, u8 clear, u8 set)
{
    struct dk_owner_change change = { 0 };

    dk_owner_change(checker, phys, size, clear, set, &change);
}

void dk_owner_mark_written(struct dk_checker *checker, phys_addr_t phys, u64 size)
{
    struct dk_owner_change change = { 0 };

    rewrite_range(checker, phys, size, mark_write, (struct rule){ 0 }, &change);
}
