/* SPDX-License-Identifier: MIT */
/*
 * What the files of a bounce pool share: runs of slots, and what is written down of its buffers.
 */
#ifndef DK_MAPPING_BOUNCE_PRIVATE_H
#define DK_MAPPING_BOUNCE_PRIVATE_H

#include "mapping/bounce.h"
#include "mapping/delay-queue.h"

#define NOWHERE (~(phys_addr_t)0)
#define NOINLINE __attribute__((noinline))
#define LIKELY(condition) __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)
#define LOAD(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#define STORE(place, value) __atomic_store_n(&(place), value, __ATOMIC_RELAXED)

/* The bytes of a cache line of the host. */
#define LINE ((size_t)64)
/* The order of a run that is no block: it goes back to the slots. */
#define NO_ORDER 0xffffu

/* Consecutive slots of one buffer. */
struct dk_bounce_run {
    u64 first;
    unsigned slots; /* 0: none was found */
    unsigned order; /* of the magazine it came from, or NO_ORDER */
};

/*
 * On a line of its own: neighbours may be other threads'. Relaxed atomic. The short way writes as little as
 * it can: where @shape has a block, the buffer begins with its run, and @cpu says what its original is.
 */
struct dk_bounce_record {
    u64 shape; /* shape_of() the buffer; 0: there is none */
    char *cpu; /* the CPU's view of the original; NULL: it lies in several sections, or there is none */
    struct device *dev;
    /* Without a block: */
    phys_addr_t start;
    phys_addr_t original; /* NOWHERE: pages of dk_bounce_alloc() */
    unsigned slots;       /* of the run */
    unsigned order;       /* of the magazine it came from, or NO_ORDER */
    unsigned soiled;      /* not atomic: how many bytes from the run's begin may not be zeros */
} __attribute__((aligned(64)));

/* A buffer's size, and its run if that is a block: its order and one, else 0. */
static inline u64 shape_of(size_t size, unsigned block)
{
    return (u64)size | (u64)block << 32;
}

static inline size_t size_of(u64 shape)
{
    return (size_t)(shape & 0xffffffff);
}

static inline unsigned block_of(u64 shape)
{
    return (unsigned)(shape >> 32);
}

static inline unsigned slots_of(const struct dk_bounce_record *record, u64 shape)
{
    return block_of(shape) ? 1u << (block_of(shape) - 1) : LOAD(record->slots);
}

/* A thread's own, and not read by others. */
struct dk_bounce_thread {
    struct dk_magazine_pair *pairs; /* its magazines; NULL: the short ways are closed */
    phys_addr_t section, end;       /* what @view shows; 0: nothing so far */
    char *view;                     /* the CPU's of the section that was used last */
    unsigned orders;                /* a bit for each that it may keep in its magazines */
} __attribute__((aligned(64)));

/* @slots slots, or the block above, that begin at a multiple of @align and end where @dev reaches, its DMA
 * addresses being at most @limit. Where there are none, what threads keep and what is in quarantine is freed
 * first. Any thread; may take the locks of the slots, the magazines and the quarantine. */
struct dk_bounce_run dk_bounce_run_take(struct dk_bounce_pool *pool, const struct device *dev, u64 limit,
                                        unsigned slots, unsigned align);
/* Gives a run back that dk_bounce_run_take() or a magazine had, through the quarantine if there is one. Any
 * thread; may take the same locks. */
void dk_bounce_run_give(struct dk_bounce_pool *pool, u64 first, unsigned slots, unsigned order);

/* The memory of the pool may hold anything. */
void dk_bounce_former_start(struct dk_bounce_pool *pool);
/* The run of @slots that begins at @first was taken out of the slots; goes back into them. */
void dk_bounce_former_taken(struct dk_bounce_pool *pool, u64 first, unsigned slots);
void dk_bounce_former_given(struct dk_bounce_pool *pool, u64 first, unsigned slots);
/*
 * Clears what former buffers left in the run of @record, but for the @size bytes at @before, which the caller
 * overwrites next. On a machine with two views no line of the run may hide what devices wrote
 * (dk_cache_renew()). False: the run cannot be mapped into the process.
 */
bool dk_bounce_clear_rest(struct dk_bounce_pool *pool, struct dk_bounce_record *record, u64 before,
                          size_t size);

/*
 * Logs that @size bytes of @dev have no place, unless @attrs has DMA_ATTR_NO_WARN or a line was logged this
 * second: there is none now, or @never. Returns NOWHERE.
 */
phys_addr_t dk_bounce_refuse(struct dk_bounce_pool *pool, const struct device *dev, size_t size, bool never,
                             unsigned long attrs);
/* Logs what is still in use, if anything is. */
void dk_bounce_log_left(const struct dk_bounce_pool *pool);

#endif
