/* SPDX-License-Identifier: MIT */
#include "check/order.h"

#include "base/alloc.h"
#include "base/context.h"

/*
 * A thread's own. Static, as a thread is in all machines, and time with it: times are compared within one
 * machine only.
 */
static _Thread_local struct {
    u32 number;   /* 0: not asked yet */
    u64 fenced;   /* its last barrier for stores */
    u64 acquired; /* its last barrier for loads */
    /* The word it saw a device change, since @acquired. */
    u64 flag_written, flag_polled, flag_offset;
    const struct dk_order_word *flag;
    /* It is writing a register. */
    bool ringing;
    u64 rung, rung_fenced;
    u32 ringing_stack;
} here;

static u32 threads;

/* Up to which of its stores a thread's register writes are known to be ordered: devices have seen those. By
 * thread number; threads that share an entry are believed to have ordered more than they did. */
#define PUBLISHED 256u
static u64 published[PUBLISHED];

static u64 tick(void)
{
    return __atomic_add_fetch(&dk_access_clock, 1, __ATOMIC_RELAXED);
}

u64 dk_order_time(void)
{
    return __atomic_load_n(&dk_access_clock, __ATOMIC_RELAXED);
}

void dk_order_barrier(bool loads, bool stores)
{
    u64 time = tick();

    if (stores)
        here.fenced = time;
    if (loads) {
        here.acquired = time;
        here.flag = NULL;
    }
}

/* What the library did on behalf of this thread since its last access; and a new thread's past is ordered. */
static void catch_up(void)
{
    u64 time = dk_context()->ordered_at;

    if (!here.number) {
        here.number = __atomic_add_fetch(&threads, 1, __ATOMIC_RELAXED);
        time = tick();
    }
    if (time > here.fenced)
        here.fenced = time;
    if (time > here.acquired) {
        here.acquired = time;
        here.flag = NULL;
    }
}

bool dk_order_since(u64 time)
{
    catch_up();
    return here.acquired > time;
}

void dk_order_register(bool before, u32 stack)
{
    u64 *entry;
    u64 known;

    catch_up();
    here.ringing = before;
    if (!before)
        return;
    here.rung = tick();
    here.rung_fenced = here.fenced;
    here.ringing_stack = stack;
    entry = &published[here.number % PUBLISHED];
    known = __atomic_load_n(entry, __ATOMIC_RELAXED);
    while (known < here.fenced &&
           !__atomic_compare_exchange_n(entry, &known, here.fenced, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
}

/* ---- The CPU ---- */

/* A load of @word, which a device wrote: could it have been made before that of the flag? */
static bool is_early(const struct dk_order_word *word)
{
    return here.flag && word != here.flag && word->written > here.acquired &&
           word->written <= here.flag_written &&
           /* The flag was polled since this word was read last. */
           here.flag_polled > (word->loader == here.number ? word->loads[0] : 0);
}

bool dk_order_cpu(const struct dk_order_run *run, u64 first, u64 last, bool store, u32 stack,
                  struct dk_order_finding *finding)
{
    bool found = false;
    u64 time, at;

    catch_up();
    time = tick();
    for (at = first; at <= last; at++) {
        struct dk_order_word *word = &run->words[at];

        if (store) {
            word->stored = time;
            word->fenced = here.fenced;
            word->storer = here.number;
            word->stack = stack;
            word->written = 0;
            continue;
        }
        if (!found && is_early(word)) {
            *finding =
                (struct dk_order_finding){ DK_CLASS_DESCRIPTOR_READ_BEFORE_RMB, 0, at, here.flag_offset };
            found = true;
        }
        if (word->loader != here.number)
            word->loads[0] = 0;
        word->loader = here.number;
        word->loads[1] = word->loads[0];
        word->loads[0] = time;
    }
    if (found) {
        /* Said once for each flag that was seen. */
        here.flag = NULL;
        return true;
    }
    for (at = first; !store && at <= last; at++) {
        const struct dk_order_word *word = &run->words[at];

        /* It changed since it was read the time before. */
        if (word->loads[1] && word->written > word->loads[1] && word->written > here.acquired &&
            (!here.flag || word->written > here.flag_written)) {
            here.flag = word;
            here.flag_written = word->written;
            here.flag_polled = word->loads[1];
            here.flag_offset = run->offset + at * DK_ORDER_WORD;
        }
    }
    return false;
}

/* ---- Devices ---- */

/* NULL: out of memory, and what the device saw of the thread is not known. */
static struct dk_order_link *link_of(struct dk_order_link **links, const struct device *dev, u32 thread)
{
    struct dk_order_link *link;

    for (link = *links; link; link = link->next) {
        if (link->dev == dev && link->thread == thread)
            return link;
    }
    link = dk_allocate(1, sizeof(*link));
    if (link) {
        *link = (struct dk_order_link){ .next = *links, .dev = dev, .thread = thread };
        *links = link;
    }
    return link;
}

/* Whether @word, which @link's device reads, may not be there yet; *finding says why. */
static bool is_unordered(const struct dk_order_link *link, const struct dk_order_word *word, u64 ordered,
                         u64 last_read, struct dk_order_finding *finding)
{
    u64 known = __atomic_load_n(&published[link->thread % PUBLISHED], __ATOMIC_RELAXED);

    if (word->stored <= ordered || word->stored <= known)
        return false;
    if (here.ringing && here.number == link->thread && here.rung_fenced < word->stored &&
        word->stored < here.rung) {
        finding->class_index = DK_CLASS_DOORBELL_BEFORE_WRITE;
        finding->stack = here.ringing_stack;
        finding->other = ~0ull;
        return true;
    }
    if (link->polled && link->polled > last_read && link->fenced < word->stored &&
        word->stored < link->stored) {
        finding->class_index = DK_CLASS_DESCRIPTOR_PUBLISHED_BEFORE_WMB;
        finding->stack = link->stack;
        finding->other = link->offset;
        return true;
    }
    return false;
}

static void read_words(struct dk_order_link *link, const struct dk_order_run *run, u64 first, u64 last,
                       bool *found, struct dk_order_finding *finding)
{
    u64 ordered = link->ordered, at;

    for (at = first; at <= last; at++) {
        const struct dk_order_word *word = &run->words[at];

        if (word->storer == link->thread && word->stored && word->fenced > ordered)
            ordered = word->fenced;
    }
    for (at = first; at <= last && !*found; at++) {
        struct dk_order_word *word = &run->words[at];

        if (word->storer != link->thread || !word->stored ||
            !is_unordered(link, word, ordered, word->reads[0], finding))
            continue;
        finding->word = at;
        *found = true;
    }
    for (at = first; at <= last; at++) {
        const struct dk_order_word *word = &run->words[at];

        /* A word that it saw change: maybe what makes others valid. */
        if (word->storer == link->thread && word->stored > link->stored) {
            link->stored = word->stored;
            link->fenced = word->fenced;
            link->polled = word->reads[0] && word->reads[0] < word->stored ? word->reads[0] : 0;
            link->offset = run->offset + at * DK_ORDER_WORD;
            link->stack = word->stack;
        }
    }
    link->ordered = ordered;
}

bool dk_order_device(struct dk_order_link **links, const struct device *dev, const struct dk_order_run *run,
                     u64 first, u64 last, bool write, struct dk_order_finding *finding)
{
    u64 time = tick(), at;
    bool found = false;
    u32 thread = 0;

    for (at = first; at <= last; at++) {
        struct dk_order_word *word = &run->words[at];
        struct dk_order_link *link;

        if (write) {
            word->written = time;
            word->stored = 0;
            continue;
        }
        if (!word->stored || word->storer == thread)
            continue;
        /* Words of one thread are looked at together. */
        thread = word->storer;
        link = link_of(links, dev, thread);
        if (link)
            read_words(link, run, first, last, &found, finding);
    }
    for (at = first; at <= last && !write; at++) {
        run->words[at].reads[1] = run->words[at].reads[0];
        run->words[at].reads[0] = time;
    }
    if (found)
        run->words[finding->word].stored = 0;
    return found;
}
