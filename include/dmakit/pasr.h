/* SPDX-License-Identifier: MIT */
/*
 * Partial array self-refresh: memory that nobody uses is not refreshed, and forgets what it holds.
 *
 * A die is the DRAM that one mode register rules: one chip, or those side by side on a channel's rank. It is
 * divided into sections, its banks or its segments, and the memory controller is told which of them need no
 * refresh: the mask, bit i for section i, 1 for "asleep". Whoever owns memory says what is unused
 * (pasr_put()) and what is about to be used (pasr_get()). The page allocator does so for its whole free
 * blocks (1 << MAX_PAGE_ORDER pages), and for those of contiguous areas; reserved memory counts as used.
 *
 * All of it concerns the current machine (dk_machine_enter()). Where a board describes dies (docs/boards.md),
 * its machines have them from the start.
 *
 * Source of the semantics: the mailing list's description of the framework (Coquelin, 2012), which names
 * modes, sections, pairs and the two calls; JEDEC JESD209-2 for the bank mask (MR16) and the segment mask
 * (MR17).
 */
#ifndef DMAKIT_PASR_H
#define DMAKIT_PASR_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

struct pasr_die;

enum pasr_mode {
    /* The first 1/1, 1/2, 1/4 or 1/8 of the die is refreshed. */
    PASR_SINGLE_ENDED,
    /* The first or the last 1/1, 1/2, 1/4 or 1/8 of it is. */
    PASR_DOUBLE_ENDED,
    /* Each bank by itself: for memory controllers whose highest address bits choose the bank (BRC). */
    PASR_BANK_SELECTIVE,
    /* Each segment, that is a range of rows, by itself: for those whose highest bits are the row's (RBC). */
    PASR_SEGMENT_SELECTIVE,
};

/* As many as a mask has bits. */
#define PASR_MAX_SECTIONS 32u

/*
 * The memory controller's side: writes the die's mask register. Called with the new mask each time it
 * changes, and never twice in a row with the same one; the register starts as 0. Atomic context, with the
 * allocator's locks held: it must not sleep, and no call of this header or of an allocator works inside
 * (-EDEADLK from those here that return an error; an allocation does not return). Not called any more once
 * dk_machine_destroy() has removed the devices.
 */
typedef void dk_pasr_apply_mask(struct pasr_die *die, u32 mask, void *data);

struct dk_pasr_layout {
    const char *name; /* for log lines and lists; copied */
    phys_addr_t base; /* of section 0: a multiple of 2 MiB */
    u64 section_size; /* bytes: a multiple of 2 MiB */
    u64 stride;       /* bytes from one section to the next, a multiple of section_size; 0: section_size.
                         Two dies that are interleaved have twice the section size, and bases that are one
                         section size apart. */
    unsigned
        sections; /* 1 to PASR_MAX_SECTIONS; a power of two, at least 8, but where each can sleep alone */
    enum pasr_mode mode;
    dk_pasr_apply_mask *apply_mask; /* may be NULL */
    void *data;                     /* handed to it */
};

/*
 * [phys, phys + size), whole pages, is about to be used, or is unused from now on. Parts that belong to no
 * die are passed over; so is everything where there is no die at all. A section sleeps when all of its bytes
 * are unused, its partner's too, and the die's mode allows it. It is awake when pasr_get() returns, and what
 * it held is lost: pages that were ever touched hold a pattern that the machine's seed chooses.
 *
 * 0. Errors, each with a log line and nothing changed: -EINVAL @size is 0, not whole pages, or the range
 * wraps around; -EALREADY a page of it is in use already (pasr_get), or unused already (pasr_put); -ENXIO a
 * part of it is in a section that was taken offline; -ENODEV there is no current machine, or this is a
 * fork()ed child; -EDEADLK from inside dk_pasr_apply_mask(). Any context; takes the machine's PASR lock.
 */
DK_PUBLIC int pasr_get(phys_addr_t phys, u64 size);
DK_PUBLIC int pasr_put(phys_addr_t phys, u64 size);

/*
 * Adds a die to the current machine. What the page allocator holds free there is unused, anything else in
 * use. Also when the memory comes later (hotplug): what is no RAM yet is in use.
 *
 * Returns it, or an error pointer: -EINVAL the layout is malformed, -EEXIST a section overlaps another die's,
 * or the name is taken, -ENOMEM, -ENODEV no current machine, -EDEADLK. May sleep. The die is the machine's
 * until dk_pasr_die_remove().
 */
DK_PUBLIC struct pasr_die *dk_pasr_die_add(const struct dk_pasr_layout *layout);

/*
 * Takes a die away, whose memory is unused; its sections' partners are alone from then on. Its mask is not
 * touched any more. -EBUSY a section that is not offline is in use, with nothing changed; -EINVAL @die is
 * none of the current machine; -ENODEV, -EDEADLK. Any context.
 */
DK_PUBLIC int dk_pasr_die_remove(struct pasr_die *die);

/* The current machine's die called @name (a board's: its node's path), or NULL. Any context. */
DK_PUBLIC struct pasr_die *dk_pasr_die_find(const char *name);

/*
 * Makes two sections partners: neither sleeps while the other is in use. Interleaving spreads each address
 * range over both. -EINVAL no such die or section, or a section with itself, or sizes that differ; -EBUSY one
 * of them has a partner; -ENODEV, -EDEADLK. Any context.
 */
DK_PUBLIC int dk_pasr_pair(struct pasr_die *die, unsigned section, struct pasr_die *partner,
                           unsigned partner_section);

/*
 * Memory hotplug: takes sections @first to @first + @count - 1 offline, all of them unused and none of them
 * the page allocator's, or back online. Offline ones sleep where the mode allows it, and refuse pasr_get()
 * and pasr_put(). After coming online a section is in use, all of it, until its new owner says otherwise.
 * -EINVAL no such die or sections; -EALREADY one of them is offline, or online, already; -EBUSY one is in
 * use, or has memory of the page allocator's (RAM that is not reserved); -ENODEV, -EDEADLK; nothing changed
 * then. Any context.
 */
DK_PUBLIC int dk_pasr_sections_offline(struct pasr_die *die, unsigned first, unsigned count);
DK_PUBLIC int dk_pasr_sections_online(struct pasr_die *die, unsigned first, unsigned count);

/*
 * Sets who writes the die's mask register; NULL: nobody. A new controller's register holds 0: it is called at
 * once if the mask is another. -EINVAL @die is none of the current machine; -ENODEV, -EDEADLK. Any context.
 */
DK_PUBLIC int dk_pasr_set_controller(struct pasr_die *die, dk_pasr_apply_mask *apply_mask, void *data);

/* A section as it is now. */
struct dk_pasr_section {
    phys_addr_t base;
    u64 size;                 /* bytes */
    u64 unused;               /* of them */
    struct pasr_die *partner; /* NULL: none */
    unsigned partner_section;
    bool asleep, offline;
};

/* 0; -EINVAL no such die or section; -ENODEV, -EDEADLK. Any context. */
DK_PUBLIC int dk_pasr_section_read(struct pasr_die *die, unsigned section, struct dk_pasr_section *state);

struct dk_pasr_statistics {
    unsigned dies, sections, sections_asleep;
    u64 bytes, bytes_unused, bytes_asleep;
    u64 operations;        /* calls of pasr_get() and pasr_put() that were not refused, and the allocator's */
    u64 operations_asleep; /* summed over sections: how many of them each slept through */
    u64 mask_changes;      /* as dk_pasr_apply_mask() heard of them, or would have */
    u64 refused;           /* calls of pasr_get() and pasr_put() that failed */
};

/* All dies of the current machine together; with @die not NULL that one (operations and refused stay the
 * machine's). 0; -EINVAL no such die; -ENODEV, -EDEADLK. Any context. */
DK_PUBLIC int dk_pasr_read(struct pasr_die *die, struct dk_pasr_statistics *statistics);

/*
 * A list of dies and sections for people, as snprintf() does it: at most @size bytes with the NUL into @text;
 * returns the length that it has in full. 0 where there is no machine or no die. Any context.
 */
DK_PUBLIC size_t dk_pasr_list(char *text, size_t size);

DK_END_DECLS

#endif
