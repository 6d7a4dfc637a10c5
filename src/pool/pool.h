/* SPDX-License-Identifier: MIT */
/*
 * Pools of coherent blocks, the inner side: what the files of dma_pool share.
 *
 *   dma-pool.c        the public calls
 *   pool-layout.c     where the blocks of a chunk lie
 *   pool-chunks.c     chunks of coherent memory, found by address, and their free blocks
 *   pool-magazines.c  the threads' caches and the depot between them and the chunks
 *   pool-check.c      the other way of a pool whose machine has a checker: no magazines, each block watched
 *   pool-record.h     a watched block's record
 *   pool-freed.c      what a checked pool is given to free, and what is wrong with it
 *   pool-masters.c    what bus masters write into checked pools' memory
 *   pools.c           all pools of a machine
 */
#ifndef DK_POOL_POOL_H
#define DK_POOL_POOL_H

#include "mapping/dispatch.h"
#include "mapping/remap.h"
#include <dmakit/dmapool.h>
#include <pthread.h>

/* dk_pool_page.start where there is no page: no CPU address is less than what a chunk has above it. */
#define DK_POOL_NO_PAGE (1ull << 63)
/* Chunks grow with their pool up to this, in bytes, or to one block. */
#define DK_POOL_CHUNK ((size_t)64 << 10)

/* ---- Layout ---- */

/*
 * Where the blocks of a chunk lie: in segments from byte @first on, each with @per_segment blocks from its
 * byte @lead on, @stride apart. A pool without a boundary that matters has one segment without end.
 */
struct dk_pool_layout {
    size_t size;  /* of a block */
    size_t align; /* of a block's DMA address */
    size_t boundary;
    size_t stride;
    u64 inverse; /* 2^64 / @stride, rounded up: of the numbers below 2^32 only a multiple of @stride has a
                    product with it, modulo 2^64, that is below it */
    size_t first;
    size_t lead;
    size_t zone; /* bytes before a block and behind it that are its own, and nobody is to write: checked pools
                  */
    size_t segment;     /* bytes; 0: no end */
    size_t per_segment; /* where there is an end */
    size_t base;        /* bytes of the smallest chunk: whole pages, at least one block */
};

/* False, with a log line that says why: no pool can be like that. @zone: the least of a checked pool, else 0.
 */
bool dk_pool_layout_make(struct dk_pool_layout *layout, const struct device *dev, size_t size, size_t align,
                         size_t boundary, size_t zone);
/* How many blocks a chunk of @bytes has, and the distance of the one with @index. */
size_t dk_pool_layout_count(const struct dk_pool_layout *layout, size_t bytes);
size_t dk_pool_layout_offset(const struct dk_pool_layout *layout, size_t index);
/* The block that @offset belongs to, the nearest of @blocks: its index, and the offset in it, which is
 * negative in front of it and at least its size behind it. */
size_t dk_pool_layout_nearest(const struct dk_pool_layout *layout, size_t offset, size_t blocks,
                              ssize_t *within);
/* The one whose bytes, from its first to the next one's, have the one at @offset: which of them in *within.
 * False: the offset is in front of a segment's first block, or behind its last one's place. */
bool dk_pool_layout_find(const struct dk_pool_layout *layout, size_t offset, size_t *index, size_t *within);

/* The power of two that is no less than @value, and at least a page. */
static inline size_t dk_pool_power_above(size_t value)
{
    size_t power = PAGE_SIZE;

    while (power < value)
        power *= 2;
    return power;
}

/* ---- A pool ---- */

struct dk_pool_record;
struct dk_pool_place;

struct dk_pool_chunk {
    struct list_head link;    /* in dk_pool_state.chunks */
    struct list_head partial; /* in dk_pool_state.partial while it has free blocks and is not checked */
    struct dma_pool *pool;
    struct dk_waiting_free memory; /* what dk_take_coherent() gave */
    char *start;                   /* the first byte in use: @pages whole pages from there on */
    dma_addr_t dma;                /* its address */
    size_t pages;
    size_t blocks;
    size_t free;                    /* of them that are in no magazine and not in use */
    size_t hint;                    /* no word of @is_free below this one has a bit set */
    u64 *is_free;                   /* one bit a block */
    struct dk_pool_record *records; /* checked: one a block; else NULL */
    struct dk_pool_place *places;   /* checked: one a page; else NULL */
};

struct dk_pool_magazine;
struct dk_pool_table;

/* What no inline call reads. */
struct dk_pool_state {
    struct dma_pool *pool;
    struct list_head link; /* in dk_pools.pools, guarded by its lock */
    struct device *dev;
    char *name; /* "" where the driver gave none */
    bool managed;
    bool checked;   /* its machine has a checker */
    bool destroyed; /* atomic */
    bool left;      /* reported as left by its driver; guarded by dk_pools' lock, as the next */
    bool tomb;      /* destroyed, and without memory */
    u32 stack;      /* checked: of the call that created it */
    struct dk_pool_layout layout;
    size_t largest;       /* bytes that a chunk can have at most: above the last bit that not_block leaves */
    unsigned capacity;    /* of a magazine, in blocks */
    char before[64];      /* the lock's line is its own */
    pthread_mutex_t lock; /* guards all that follows */
    struct list_head chunks;
    struct list_head partial; /* those with free blocks; wholly free ones last */
    size_t empty_chunks;      /* wholly free ones */
    size_t bytes, blocks;     /* of all chunks, as much as is used of them */
    size_t pages;
    size_t free;                 /* blocks that are in no magazine and not in use */
    struct dk_pool_table *table; /* newest first */
    struct dk_pool_magazine *full, *empty;
    unsigned full_count, empty_count;
    struct dk_pool_record *first, **last; /* checked: free blocks, the one that was freed first in front */
};

/* ---- Chunks ---- */

/*
 * The chunk of @pool with the page that @cpu points into; NULL: none. Under the lock.
 */
struct dk_pool_chunk *dk_pool_chunk_find(const struct dk_pool_state *state, const void *cpu);
/* Whether the inline free cannot tell a block of @pool's from other addresses. */
static inline bool dk_pool_is_packed(const struct dma_pool *pool)
{
    return pool->not_block == ~0ull;
}
/* Whether [@cpu, @dma) are a block's addresses, of a pool that is packed and not checked. Lock-free; may be
 * false of a block whose page's entry is not at its place. */
bool dk_pool_has_block(const struct dma_pool *pool, const void *cpu, dma_addr_t dma);
/* Makes @state larger by a chunk. False: no coherent memory, or no other, for the @call. Without the lock. */
bool dk_pool_grow(struct dk_pool_state *state, const char *call, gfp_t gfp);
/* Up to @count free blocks into [into, into + count): how many. Under the lock. */
size_t dk_pool_take(struct dk_pool_state *state, struct dk_pool_block *into, size_t count);
/* The other way: blocks that were taken. One that is free already is left out, with a log line. Under the
 * lock. */
void dk_pool_give(struct dk_pool_state *state, const struct dk_pool_block *from, size_t count);
/* Takes chunks that are wholly free out of @state, but for one; for dk_pool_chunks_free(). Under the lock. */
void dk_pool_trim(struct dk_pool_state *state, struct list_head *chunks);
/* The same of all that are wholly free, or of all. */
void dk_pool_remove(struct dk_pool_state *state, bool busy_too, struct list_head *chunks);
/* Frees chunks that are in no pool any more. May sleep; without the lock. */
void dk_pool_chunks_free(struct dk_pool_state *state, struct list_head *chunks);
/* Frees the tables, and shuts the inline way. Of a pool without chunks, nobody inside. */
void dk_pool_tables_free(struct dk_pool_state *state);
/* The first table. False: out of memory. */
bool dk_pool_tables_make(struct dk_pool_state *state);

/* ---- Magazines ---- */

/* Opens all of @pool's caches to nobody. */
void dk_pool_shut(struct dma_pool *pool);
/* What the calls do where the loaded magazine does not serve. The block is one of the pool's, in use. */
void *dk_pool_magazine_alloc(struct dma_pool *pool, const char *call, gfp_t gfp, dma_addr_t *dma);
void dk_pool_magazine_free(struct dma_pool *pool, void *cpu, dma_addr_t dma);
/* Empties all magazines into the chunks, and frees them. Nobody inside. */
void dk_pool_magazines_free(struct dma_pool *pool);
/* How many blocks lie in magazines. Under the lock; exact when no other thread is inside. */
size_t dk_pool_magazines_held(const struct dma_pool *pool);

/* ---- All pools of a machine ---- */

struct dk_pools {
    pthread_mutex_t lock;          /* guards what follows; taken before any pool's */
    struct list_head pools;        /* newest first, destroyed ones among them */
    unsigned tombs;                /* of them */
    struct dk_pool_place **places; /* checked pools' pages, a list for each hash of the physical address;
                                      NULL: none so far; atomic */
};

/* Whether dk_pools_master_access() and dk_pools_hold() have anything to look at. Lock-free. */
static inline bool dk_pools_watch(const struct dk_machine *machine)
{
    return machine->pools && __atomic_load_n(&machine->pools->places, __ATOMIC_ACQUIRE);
}

/* Before the first pool, and after the last device. 0 or -ENOMEM. */
int dk_pools_start(struct dk_machine *machine);
void dk_pools_finish(struct dk_machine *machine);
/* A new pool, and one that was destroyed: emptied but for chunks with blocks in use. It stays recognisable
 * for a while. */
void dk_pools_add(struct dk_pool_state *state);
void dk_pools_bury(struct dk_pool_state *state);
/* dma-pool.c: frees the last of a pool, without chunks. */
void dk_pool_release(struct dk_pool_state *state);
/* Calls @found with the pool of @state's machine, other than it, that has a block's page at @cpu, under its
 * lock. False: there is none. */
bool dk_pools_find(struct dk_pool_state *state, const void *cpu,
                   void (*found)(struct dk_pool_state *other, void *data), void *data);
/* Hooks of a machine. The driver of @dev was unbound, or @dev goes: pools it left are reported, once; when it
 * goes, their memory is freed. Before src/mapping forgets it. */
void dk_pools_driver_unbound(struct device *dev);
void dk_pools_device_removed(struct device *dev);

static inline struct dk_pools *dk_pools_of(const struct dk_pool_state *state)
{
    return dk_device_machine(state->dev)->pools;
}

static inline bool dk_pool_is_destroyed(const struct dk_pool_state *state)
{
    return __atomic_load_n(&state->destroyed, __ATOMIC_ACQUIRE);
}

#endif
