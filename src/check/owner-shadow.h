/* SPDX-License-Identifier: MIT */
/*
 * The ownership shadow (depth 3): a byte for each byte of memory, made for a section at the first mapping in
 * it and found from the address alone (dmakit/slot.h), so that an access asks without a lock and without
 * knowing the machine. 0 is the CPU's own.
 *
 * Shadow bytes change under the owner's lock; whoever reads them without it may see what they were a moment
 * ago, and asks again under the lock before anything is reported.
 */
#ifndef DK_CHECK_OWNER_SHADOW_H
#define DK_CHECK_OWNER_SHADOW_H

#include <dmakit/instrument.h>

struct dk_checker;
struct dk_machine;
struct dk_owner;

/* The bits that forbid an access. A program that knows that a value changes by itself may look at what the
 * device is writing. */
static inline u8 dk_owner_forbids(unsigned access)
{
    if (access & DK_ACCESS_STORE)
        return DK_OWNER_NO_STORE;
    return access & DK_ACCESS_VOLATILE ? DK_OWNER_NO_LOAD : DK_OWNER_NO_LOAD | DK_OWNER_UNSEEN;
}

/* Bits of a shadow byte that no access asks for, besides those of dmakit/instrument.h. */
#define DK_OWNER_WROTE 0x08u   /* the device has written it since it last changed hands */
#define DK_OWNER_SHARED 0x20u  /* more than one live mapping has it */
#define DK_OWNER_MAPPED 0x40u  /* in a live streaming mapping, whoever owns it */
#define DK_OWNER_WATCHED 0x80u /* with NO_STORE and not mapped: owner-watch.c looks at stores */

static inline u8 dk_owner_get(const u8 *at)
{
    return __atomic_load_n(at, __ATOMIC_RELAXED);
}

static inline bool dk_owner_is_watched(u8 shadow)
{
    return (shadow & (DK_OWNER_WATCHED | DK_OWNER_NO_STORE | DK_OWNER_MAPPED)) ==
           (DK_OWNER_WATCHED | DK_OWNER_NO_STORE);
}

/* The shadow of @phys and what follows it in its section; NULL: nothing is mapped there. Lock-free. */
const u8 *dk_owner_shadow(struct dk_machine *machine, phys_addr_t phys);

/* All that follow: under the lock. */

/* What a change did: how many bytes became the CPU's, and which bits were there before. */
struct dk_owner_change {
    s64 to_cpu;
    u8 before;
};

/* Takes @clear away from the shadow of @size bytes at @phys, puts @set there, and adds to *change what that
 * did. False: some of it has no shadow. */
bool dk_owner_change(struct dk_checker *checker, phys_addr_t phys, u64 size, u8 clear, u8 set,
                     struct dk_owner_change *change);
/* The same where nobody asks. */
void dk_owner_mark(struct dk_checker *checker, phys_addr_t phys, u64 size, u8 clear, u8 set);
/* The device writes it. */
void dk_owner_mark_written(struct dk_checker *checker, phys_addr_t phys, u64 size);

/* The shadows go; no thread may be inside the machine's memory. */
void dk_owner_shadows_free(struct dk_owner *owner);

#endif
