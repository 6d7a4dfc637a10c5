/* SPDX-License-Identifier: MIT */
/*
 * Who owns each byte of a mapping: runs of bytes with one owner, since a mapping mostly has one or two.
 */
#ifndef DK_CHECK_OWNED_RANGES_H
#define DK_CHECK_OWNED_RANGES_H

#include <dmakit/types.h>

enum dk_byte_owner {
    DK_OWNER_DEVICE,
    DK_OWNER_CPU,
    DK_OWNER_UNSYNCED, /* mapped with DMA_ATTR_SKIP_CPU_SYNC: the CPU's until a sync for the device */
    DK_OWNER_TOLD,     /* the device's, and the CPU's stores into it were reported elsewhere */
};

struct dk_owned_run {
    u64 end; /* it begins where the one before ends */
    enum dk_byte_owner owner;
};

#define DK_OWN_RUNS 4

struct dk_owned_ranges {
    struct dk_owned_run *runs; /* @own, or more room */
    unsigned count, room;
    struct dk_owned_run own[DK_OWN_RUNS];
};

/* Bytes [0, @size), all of them @owner's; @size is not 0. */
void dk_owned_init(struct dk_owned_ranges *ranges, u64 size, enum dk_byte_owner owner);
void dk_owned_finish(struct dk_owned_ranges *ranges);

/* [from, to), which lies in the ranges, is @owner's. False: out of memory, and nothing changed. */
bool dk_owned_set(struct dk_owned_ranges *ranges, u64 from, u64 to, enum dk_byte_owner owner);

/* The owner of the byte at @at, and in *end where the run that holds it ends. */
enum dk_byte_owner dk_owned_at(const struct dk_owned_ranges *ranges, u64 at, u64 *end);

/* Whether any byte is @owner's. */
bool dk_owned_any(const struct dk_owned_ranges *ranges, enum dk_byte_owner owner);

#endif
