/* SPDX-License-Identifier: MIT */
/*
 * Partial array self-refresh: dies, sections and what is known of their bytes.
 *
 * Which pages of a section are unused is exact: a count, and where it is neither 0 nor all a bit a page. So
 * no call needs memory, and what is said twice is noticed.
 *
 * Lock order: pages_lock, then the PASR lock, then section_lock. The PASR lock checks for errors: who comes
 * back from the controller's callback is told so, and does not hang.
 */
#ifndef DK_MM_PASR_H
#define DK_MM_PASR_H

#include "mm/memory.h"
#include <dmakit/pasr.h>

/* A section's size and base are multiples of it: no page of the host's, huge ones included, lies in two. */
#define DK_PASR_UNIT ((u64)2 << 20)

struct pasr_section {
    struct pasr_die *die;
    phys_addr_t base, end;
    u64 unused; /* bytes */
    u64 *map;   /* a bit a page: unused; says nothing while @unused is 0 or all */
    u64 *lost;  /* a bit a page: had contents when the section fell asleep, and nobody got it since */
    struct pasr_section *partner;
    u64 asleep_since;    /* the machine's count of operations then */
    phys_addr_t touched; /* a page that the CPU touched while the section slept; DK_PASR_UNTOUCHED: none that
                            was not reported */
    bool offline, asleep;
    bool any_lost; /* a bit of @lost is set */
    bool watched;  /* its host memory was empty when it fell asleep: whoever touches it leaves a trace */
};

#define DK_PASR_UNTOUCHED (~(phys_addr_t)0)

struct pasr_die {
    struct list_head link;
    char *name;
    enum pasr_mode mode;
    dk_pasr_apply_mask *apply_mask;
    void *data;
    u32 mask;
    u64 mask_changes, operations_asleep;
    bool changed; /* in the list of those whose mask is to be chosen anew */
    struct pasr_die *next_changed;
    unsigned count;
    u64 *maps;     /* of all sections */
    u64 maps_size; /* bytes */
    struct pasr_section sections[];
};

struct dk_pasr {
    struct dk_memory *memory;
    pthread_mutex_t lock; /* guards all that follows, and dies and sections */
    struct list_head dies;
    struct pasr_section **by_base; /* all sections, sorted */
    size_t count;
    struct pasr_die *changed;
    u64 operations, refused;
    unsigned touched; /* sections with a touched page to report; atomic */
    unsigned asleep;  /* sections asleep; atomic */
};

/* Frees a memory's dies. NULL is fine. */
void dk_pasr_finish(struct dk_pasr *pasr);

/* ---- Between its files ---- */

/* pasr.c: the current memory's state with its lock taken, for @call. NULL with *error set: -ENODEV, -EDEADLK,
 * or 0 when there is no die at all. */
struct dk_pasr *dk_pasr_enter(const char *call, int *error);
/* The same for @memory; NULL is none. */
struct dk_pasr *dk_pasr_enter_memory(struct dk_memory *memory, const char *call, int *error);
/* The same for @die and sections @first to @first + @count - 1 of it: -EINVAL, logged, when there are none
 * such. */
struct dk_pasr *dk_pasr_enter_die(struct dk_memory *memory, const char *call, const struct pasr_die *die,
                                  unsigned first, unsigned count, int *error);
void dk_pasr_leave(struct dk_pasr *pasr);
/* The index of the first section that ends above @phys; pasr->count when none does. */
size_t dk_pasr_at_or_above(const struct dk_pasr *pasr, phys_addr_t phys);
/* Makes the pages of [base, end), which lies in @section, unused or used. Returns the bytes that were not. */
u64 dk_pasr_set(struct pasr_section *section, phys_addr_t base, phys_addr_t end, bool unused);
/* Whether @die is one of @pasr's. It need not be a die at all. */
bool dk_pasr_has_die(const struct dk_pasr *pasr, const struct pasr_die *die);

/* pasr-mask.c: @section's counter or state changed; its die, and its partner's, have their masks chosen anew
 * by dk_pasr_settle(), which puts sections to sleep and wakes them. */
void dk_pasr_note(struct dk_pasr *pasr, struct pasr_section *section);
void dk_pasr_settle(struct dk_pasr *pasr);
/* Tells the controller, if there is one, the mask. */
void dk_pasr_tell(struct pasr_die *die);
/* The largest mask that @mode allows among @count sections of which those in @may sleep may. */
u32 dk_pasr_choose_mask(enum pasr_mode mode, unsigned count, u32 may);

/* pasr-loss.c: what @section held is gone; it wakes, and whether somebody touched it is noted; its pages in
 * [base, end) get what they wake up with. */
void dk_pasr_forget(struct dk_pasr *pasr, struct pasr_section *section);
void dk_pasr_wake(struct dk_pasr *pasr, struct pasr_section *section);
void dk_pasr_fill(struct dk_pasr *pasr, struct pasr_section *section, phys_addr_t base, phys_addr_t end);

/* pasr-section.c: whether a page of an online section is in use. */
bool dk_pasr_in_use(const struct pasr_section *section);

#endif
