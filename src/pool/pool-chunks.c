/* SPDX-License-Identifier: MIT */
/*
 * A pool's memory: chunks, found by the page that an address lies in, and their free blocks.
 *
 * The table has each page in which a block starts. It is open addressing without gaps: an entry stands at its
 * own place or behind it, with no free one between. The inline free looks at the own place alone, without a
 * lock; what it does not find there, or finds half moved, is looked for again under the lock.
 */
#include "base/alloc.h"
#include "base/context.h"
#include "base/log.h"
#include "pool/pool-check.h"

#include <string.h>

#define WORD_BITS 64u
#define FIRST_ENTRIES ((size_t)32)

struct dk_pool_entry {
    struct dk_pool_chunk *chunk; /* NULL: free */
    u64 page;                    /* CPU address >> PAGE_SHIFT */
};

struct dk_pool_table {
    struct dk_pool_table *older; /* an inline free may still look there */
    size_t count;                /* of entries: a power of two */
    size_t used;                 /* at most half of them */
    bool packed;                 /* dk_pool_is_packed() */
    struct dk_pool_entry *entries;
    struct dk_pool_pages *pages; /* what the inline free reads of each entry */
};

/* ---- The table ---- */

/*
 * A pool whose blocks the inline free cannot tell from other addresses has its chunks' lengths in its
 * entries, in pages, in the bits that an address of a page does not have, and a bit that no address has; so
 * the inline free never finds them, whatever it is given, and the one behind it needs no lock to say which
 * addresses are blocks'.
 */
static u64 start_of(const struct dk_pool_table *table, const struct dk_pool_chunk *chunk)
{
    if (!chunk || (table->packed && chunk->pages >= PAGE_SIZE))
        return DK_POOL_NO_PAGE;
    return (uintptr_t)chunk->start + (table->packed ? chunk->pages | DK_POOL_NO_PAGE : 0);
}

/* Whether a block begins at @offset, if there is room for it: the chunk is no longer than DK_POOL_CHUNK. */
static bool is_multiple(const struct dk_pool_layout *layout, size_t offset)
{
    size_t index, within;

    if (layout->segment)
        return dk_pool_layout_find(layout, offset, &index, &within) && !within;
    return offset * layout->inverse < layout->inverse;
}

bool dk_pool_has_block(const struct dma_pool *pool, const void *cpu, dma_addr_t dma)
{
    const struct dk_pool_pages *pages = __atomic_load_n(&pool->pages, __ATOMIC_ACQUIRE);
    const struct dk_pool_page *page =
        &pages->pages[(uintptr_t)cpu >> PAGE_SHIFT & pages->last / sizeof(struct dk_pool_page)];
    u64 start = __atomic_load_n(&page->start, __ATOMIC_RELAXED);
    u64 bytes = (start & (PAGE_SIZE - 1)) << PAGE_SHIFT;
    u64 offset = (uintptr_t)cpu - (start & ~DK_POOL_NO_PAGE & ~(u64)(PAGE_SIZE - 1));

    /* No longer than that, and it is the entry of this page, not of one that has the same place. */
    return bytes <= DK_POOL_CHUNK && offset < bytes && pool->state->layout.size <= bytes - offset &&
           dma - (uintptr_t)cpu == __atomic_load_n(&page->delta, __ATOMIC_RELAXED) &&
           is_multiple(&pool->state->layout, (size_t)offset);
}

static void set_entry(struct dk_pool_table *table, size_t at, struct dk_pool_entry entry)
{
    const struct dk_pool_chunk *chunk = entry.chunk;

    table->entries[at] = entry;
    __atomic_store_n(&table->pages->pages[at].start, start_of(table, chunk), __ATOMIC_RELAXED);
    __atomic_store_n(&table->pages->pages[at].delta, chunk ? chunk->dma - (uintptr_t)chunk->start : 0,
                     __ATOMIC_RELAXED);
}

static void enter(struct dk_pool_table *table, struct dk_pool_entry entry)
{
    size_t at = (size_t)entry.page & (table->count - 1);

    while (table->entries[at].chunk)
        at = (at + 1) & (table->count - 1);
    set_entry(table, at, entry);
    table->used++;
}

/* Where @page is, or the free entry that ends the search. */
static size_t find(const struct dk_pool_table *table, u64 page)
{
    size_t at = (size_t)page & (table->count - 1);

    while (table->entries[at].chunk && table->entries[at].page != page)
        at = (at + 1) & (table->count - 1);
    return at;
}

/* Takes @page out, and closes the gap. */
static void leave(struct dk_pool_table *table, u64 page)
{
    size_t mask = table->count - 1, gap = find(table, page), at = gap;

    if (!table->entries[gap].chunk)
        return;
    table->used--;
    for (;;) {
        at = (at + 1) & mask;
        if (!table->entries[at].chunk)
            break;
        /* Whether its own place is at the gap or in front of it: then it may stand there. */
        if (((at - (size_t)table->entries[at].page) & mask) >= ((at - gap) & mask)) {
            set_entry(table, gap, table->entries[at]);
            gap = at;
        }
    }
    set_entry(table, gap, (struct dk_pool_entry){ NULL, 0 });
}

static void free_table(struct dk_pool_table *table)
{
    dk_release(table->entries);
    dk_release(table->pages);
    dk_release(table);
}

static struct dk_pool_table *make_table(size_t count, bool packed)
{
    struct dk_pool_table *table = dk_allocate(1, sizeof(*table));

    if (!table)
        return NULL;
    table->count = count;
    table->packed = packed;
    table->entries = dk_allocate(count, sizeof(*table->entries));
    /* One entry stands in the structure, so that there is one to spare. */
    table->pages = dk_allocate(1, sizeof(*table->pages) + count * sizeof(struct dk_pool_page));
    if (!table->entries || !table->pages) {
        free_table(table);
        return NULL;
    }
    table->pages->last = (count - 1) * sizeof(struct dk_pool_page);
    for (size_t i = 0; i < count; i++)
        table->pages->pages[i].start = DK_POOL_NO_PAGE;
    return table;
}

static void publish(struct dk_pool_state *state, struct dk_pool_table *table)
{
    state->table = table;
    __atomic_store_n(&state->pool->pages, table->pages, __ATOMIC_RELEASE);
}

/* Room for @more pages. False: out of memory. Under the lock. */
static bool make_room(struct dk_pool_state *state, size_t more)
{
    struct dk_pool_table *old = state->table, *table;
    size_t count = old->count;

    while ((old->used + more) * 2 > count)
        count *= 2;
    if (count == old->count)
        return true;
    table = make_table(count, old->packed);
    if (!table)
        return false;
    for (size_t i = 0; i < old->count; i++) {
        if (old->entries[i].chunk)
            enter(table, old->entries[i]);
    }
    table->older = old;
    dk_release(old->entries);
    old->entries = NULL;
    publish(state, table);
    return true;
}

bool dk_pool_tables_make(struct dk_pool_state *state)
{
    /* Two pages with one place are further apart than a chunk is long, where not_block leaves room for that:
     * so an entry of another page is never taken for the right one. */
    struct dk_pool_table *table = make_table(FIRST_ENTRIES, dk_pool_is_packed(state->pool));

    _Static_assert(FIRST_ENTRIES * PAGE_SIZE >= 2 * DK_POOL_CHUNK, "places for all pages of a chunk");
    _Static_assert(sizeof(struct dk_pool_page) == 16, "the inline free counts on it");
    if (!table)
        return false;
    publish(state, table);
    return true;
}

void dk_pool_tables_free(struct dk_pool_state *state)
{
    /* Static, since nobody writes it: a pool that is destroyed has no page. */
    static struct dk_pool_pages no_pages = { .pages = { { DK_POOL_NO_PAGE, 0 } } };

    __atomic_store_n(&state->pool->pages, &no_pages, __ATOMIC_RELAXED);
    while (state->table) {
        struct dk_pool_table *older = state->table->older;

        free_table(state->table);
        state->table = older;
    }
}

static u64 page_of(const void *cpu)
{
    return (u64)(uintptr_t)cpu >> PAGE_SHIFT;
}

/* Enters the pages in which blocks of @chunk start, or takes them out. */
static void each_page(struct dk_pool_state *state, struct dk_pool_chunk *chunk, bool in)
{
    u64 last = ~0ull;

    for (size_t i = 0; i < chunk->blocks; i++) {
        u64 page = page_of(chunk->start + dk_pool_layout_offset(&state->layout, i));

        if (page == last)
            continue;
        last = page;
        if (in)
            enter(state->table, (struct dk_pool_entry){ chunk, page });
        else
            leave(state->table, page);
    }
}

struct dk_pool_chunk *dk_pool_chunk_find(const struct dk_pool_state *state, const void *cpu)
{
    return state->table ? state->table->entries[find(state->table, page_of(cpu))].chunk : NULL;
}

/* ---- Chunks ---- */

static void free_chunk(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    dk_pool_check_leave(state, chunk);
    if (chunk->memory.cpu)
        dk_release_coherent(state->dev, &chunk->memory);
    dk_release(chunk->is_free);
    dk_release(chunk);
}

void dk_pool_chunks_free(struct dk_pool_state *state, struct list_head *chunks)
{
    struct dk_pool_chunk *chunk, *following;

    list_for_each_entry_safe (chunk, following, chunks, link) {
        list_del(&chunk->link);
        free_chunk(state, chunk);
    }
}

/* What a chunk's DMA address is to be a multiple of, so that distances in it tell alignment and boundaries.
 */
static size_t wanted_alignment(const struct dk_pool_layout *layout, size_t bytes)
{
    size_t align = layout->boundary;

    if (align > dk_pool_power_above(bytes))
        align = dk_pool_power_above(bytes);
    return align > layout->align ? align : layout->align;
}

static bool take_memory(struct dk_pool_state *state, const char *call, gfp_t gfp, size_t bytes,
                        struct dk_waiting_free *memory)
{
    memory->size = bytes;
    memory->attrs = 0;
    memory->cpu = dk_take_coherent(state->dev, call, bytes, &memory->dma, gfp, 0);
    return memory->cpu;
}

/* Memory for @bytes of blocks. Coherent memory is nearly always aligned to its size; where a device's own is
 * not, more is taken and the front left unused. */
static bool take_aligned(struct dk_pool_state *state, const char *call, gfp_t gfp, size_t bytes,
                         struct dk_pool_chunk *chunk)
{
    size_t align = wanted_alignment(&state->layout, bytes), skip;

    if (!take_memory(state, call, gfp, bytes, &chunk->memory))
        return false;
    if (chunk->memory.dma & (align - 1)) {
        dk_release_coherent(state->dev, &chunk->memory);
        if (!take_memory(state, call, gfp, bytes + align, &chunk->memory))
            return false;
    }
    skip = (size_t)(-chunk->memory.dma & (align - 1));
    chunk->start = (char *)chunk->memory.cpu + skip;
    chunk->dma = chunk->memory.dma + skip;
    chunk->pages = bytes >> PAGE_SHIFT;
    return true;
}

/* A chunk of @bytes, in no pool yet; NULL: no memory of one kind or the other. */
static struct dk_pool_chunk *make_chunk(struct dk_pool_state *state, const char *call, gfp_t gfp,
                                        size_t bytes)
{
    struct dk_pool_chunk *chunk = dk_allocate(1, sizeof(*chunk));

    if (!chunk)
        return NULL;
    chunk->pool = state->pool;
    INIT_LIST_HEAD(&chunk->partial);
    chunk->blocks = dk_pool_layout_count(&state->layout, bytes);
    chunk->is_free = dk_allocate((chunk->blocks + WORD_BITS - 1) / WORD_BITS, sizeof(u64));
    if (!chunk->is_free || !take_aligned(state, call, gfp, bytes, chunk) ||
        !dk_pool_check_enter(state, chunk)) {
        free_chunk(state, chunk);
        return NULL;
    }
    return chunk;
}

/* Larger ones as the pool grows, so that there are fewer. */
static size_t chunk_size(struct dk_pool_state *state)
{
    size_t bytes = state->layout.base, has;

    pthread_mutex_lock(&state->lock);
    has = state->bytes;
    pthread_mutex_unlock(&state->lock);
    while (bytes * 2 <= DK_POOL_CHUNK && bytes * 8 <= has)
        bytes *= 2;
    return bytes;
}

static void add_chunk(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    list_add(&chunk->link, &state->chunks);
    each_page(state, chunk, true);
    state->bytes += chunk->pages << PAGE_SHIFT;
    state->pages += chunk->pages;
    state->blocks += chunk->blocks;
    if (state->checked) {
        dk_pool_check_add(state, chunk);
        return;
    }
    for (size_t i = 0; i < chunk->blocks; i++)
        chunk->is_free[i / WORD_BITS] |= 1ull << i % WORD_BITS;
    chunk->free = chunk->blocks;
    state->free += chunk->blocks;
    state->empty_chunks++;
    list_add_tail(&chunk->partial, &state->partial);
}

bool dk_pool_grow(struct dk_pool_state *state, const char *call, gfp_t gfp)
{
    size_t bytes = chunk_size(state);
    struct dk_pool_chunk *chunk = NULL;
    LIST_HEAD(unused);
    bool grown;

    if (bytes > state->layout.base)
        chunk = make_chunk(state, call, gfp | __GFP_NOWARN | __GFP_NORETRY, bytes);
    if (!chunk)
        chunk = make_chunk(state, call, gfp, state->layout.base);
    if (!chunk)
        return false;
    pthread_mutex_lock(&state->lock);
    grown = make_room(state, chunk->pages);
    if (grown)
        add_chunk(state, chunk);
    pthread_mutex_unlock(&state->lock);
    if (!grown)
        free_chunk(state, chunk);
    return grown;
}

static void remove_chunk(struct dk_pool_state *state, struct dk_pool_chunk *chunk)
{
    each_page(state, chunk, false);
    list_del(&chunk->link);
    if (chunk->free) {
        list_del(&chunk->partial);
        state->free -= chunk->free;
    }
    if (!state->checked && chunk->free == chunk->blocks)
        state->empty_chunks--;
    state->bytes -= chunk->pages << PAGE_SHIFT;
    state->pages -= chunk->pages;
    state->blocks -= chunk->blocks;
}

void dk_pool_trim(struct dk_pool_state *state, struct list_head *chunks)
{
    while (state->empty_chunks > 1) {
        struct dk_pool_chunk *chunk = list_last_entry(&state->partial, struct dk_pool_chunk, partial);

        remove_chunk(state, chunk);
        list_add(&chunk->link, chunks);
    }
}

void dk_pool_remove(struct dk_pool_state *state, bool busy_too, struct list_head *chunks)
{
    struct dk_pool_chunk *chunk, *following;

    list_for_each_entry_safe (chunk, following, &state->chunks, link) {
        if (!busy_too && chunk->free < chunk->blocks)
            continue;
        remove_chunk(state, chunk);
        list_add(&chunk->link, chunks);
    }
}

/* ---- Their free blocks ---- */

/* The lowest free block of @chunk, which has one. */
static size_t take_lowest(struct dk_pool_chunk *chunk)
{
    size_t index;

    while (!chunk->is_free[chunk->hint])
        chunk->hint++;
    index = chunk->hint * WORD_BITS + (size_t)__builtin_ctzll(chunk->is_free[chunk->hint]);
    chunk->is_free[chunk->hint] &= chunk->is_free[chunk->hint] - 1;
    return index;
}

size_t dk_pool_take(struct dk_pool_state *state, struct dk_pool_block *into, size_t count)
{
    size_t taken = 0;

    while (taken < count && !list_empty(&state->partial)) {
        struct dk_pool_chunk *chunk = list_first_entry(&state->partial, struct dk_pool_chunk, partial);

        if (chunk->free == chunk->blocks)
            state->empty_chunks--;
        for (; taken < count && chunk->free; taken++, chunk->free--, state->free--) {
            size_t offset = dk_pool_layout_offset(&state->layout, take_lowest(chunk));

            into[taken].cpu = chunk->start + offset;
            into[taken].dma = chunk->dma + offset;
        }
        if (!chunk->free)
            list_del_init(&chunk->partial);
    }
    return taken;
}

static void give_one(struct dk_pool_state *state, const struct dk_pool_block *block)
{
    struct dk_pool_chunk *chunk = dk_pool_chunk_find(state, block->cpu);
    size_t index = 0, within = 0;
    u64 bit;

    /* A magazine has nothing but blocks; but one that was freed twice may have been there twice, and its
     * chunk may be gone. */
    if (!chunk ||
        !dk_pool_layout_find(&state->layout, (size_t)((char *)block->cpu - chunk->start), &index, &within) ||
        within || index >= chunk->blocks)
        goto twice;
    bit = 1ull << index % WORD_BITS;
    if (chunk->is_free[index / WORD_BITS] & bit)
        goto twice;
    chunk->is_free[index / WORD_BITS] |= bit;
    if (index / WORD_BITS < chunk->hint)
        chunk->hint = index / WORD_BITS;
    state->free++;
    if (!chunk->free++)
        list_add(&chunk->partial, &state->partial);
    if (chunk->free == chunk->blocks) {
        state->empty_chunks++;
        list_del(&chunk->partial);
        list_add_tail(&chunk->partial, &state->partial);
    }
    return;

twice:
    dk_device_log(state->dev, DK_LOG_ERROR, "dma_pool_free: pool %s: the block at %p was freed twice",
                  state->name, block->cpu);
}

void dk_pool_give(struct dk_pool_state *state, const struct dk_pool_block *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        give_one(state, &from[i]);
}
