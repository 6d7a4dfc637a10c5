/* SPDX-License-Identifier: MIT */
/*
 * In which order a bus master and the CPU see each other's accesses to coherent memory (depth 3).
 *
 * The host orders more than the machine that is simulated, so nothing goes wrong here; what could is
 * inferred. A thread's store is ordered before a later one of its own if a barrier stands between; a device
 * that has seen the later one has seen the earlier one too, then. A thread's load is ordered after an earlier
 * one of its own if a barrier stands between.
 *
 * Reported is only what the accesses themselves prove: that somebody polled a word (read it twice, and it
 * changed meanwhile) and then, without order, read another one that had been written before it. Every library
 * call that orders accesses on a real machine, or hands memory over, counts as a barrier of both kinds.
 */
#ifndef DK_CHECK_ORDER_H
#define DK_CHECK_ORDER_H

#include "check/classes.h"
#include "check/stack.h"

struct device;

/* Accesses are followed by words of so many bytes. */
#define DK_ORDER_WORD 4u

/* What happened last to a word. Times count accesses; 0 is never. */
struct dk_order_word {
    u64 stored; /* by thread @storer, whose last barrier was at @fenced, with the stack @stack */
    u64 fenced;
    u64 written;  /* by a device, after @stored was; else 0 */
    u64 loads[2]; /* by thread @loader: the last, and the one before */
    u64 reads[2]; /* by devices, likewise */
    u32 storer, loader;
    u32 stack;
};

/* What a device saw of a thread. */
struct dk_order_link {
    struct dk_order_link *next;
    const struct device *dev;
    u32 thread;
    u64 ordered;        /* it has seen all stores up to this time */
    u64 stored, fenced; /* of the latest word that it saw change */
    u64 polled;         /* when it saw that word's former value; 0: it did not */
    u64 offset;
    u32 stack;
};

/* What was inferred, for a report. */
struct dk_order_finding {
    enum dk_class class_index;
    u32 stack; /* of the access that is to be mended; 0: the present one */
    u64 word;  /* index of the word that was seen too early */
    u64 other; /* offset, in its allocation, of the word by which it was known to be valid */
};

/* Words of one run of memory, and where it lies in its allocation. */
struct dk_order_run {
    struct dk_order_word *words;
    u64 offset;
};

/*
 * The present thread accesses words [@first, @last] of @run; @release and @acquire: the access itself is
 * ordered after earlier and before later ones. True: *finding is to be reported. Under the caller's lock,
 * like the next.
 */
bool dk_order_cpu(const struct dk_order_run *run, u64 first, u64 last, bool store, u32 stack,
                  struct dk_order_finding *finding);
/* @dev does. @links: what devices saw so far. */
bool dk_order_device(struct dk_order_link **links, const struct device *dev, const struct dk_order_run *run,
                     u64 first, u64 last, bool write, struct dk_order_finding *finding);

/* This thread's barrier. */
void dk_order_barrier(bool loads, bool stores);
/* This thread writes a register, or did. @stack: of the call. */
void dk_order_register(bool before, u32 stack);
/* Whether this thread had a barrier for loads since @time. */
bool dk_order_since(u64 time);
u64 dk_order_time(void);

#endif
