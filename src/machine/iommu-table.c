/* SPDX-License-Identifier: MIT */
#include "machine/iommu-table.h"

#include "base/alloc.h"
#include <errno.h>

/* What one entry covers, and what one table, by level; 0 is the last. */
#define SPAN(level) ((u64)PAGE_SIZE << (9 * (level)))
#define ROOT 3u

static unsigned index_at(dma_addr_t iova, unsigned level)
{
    return (unsigned)(iova / SPAN(level) % DK_IOMMU_FANOUT);
}

static u64 smaller(u64 a, u64 b)
{
    return a < b ? a : b;
}

static u64 load(const u64 *entry)
{
    return __atomic_load_n(entry, DK_IOMMU_LOAD_ORDER);
}

static void store(u64 *entry, u64 value)
{
    __atomic_store_n(entry, value, DK_IOMMU_STORE_ORDER);
}

/* ---- Runs of entries ---- */

#if defined(__SSE2__) && !defined(DK_THREAD_CHECKED)
/*
 * Two entries a store. Other threads read single entries meanwhile and must see each whole. The architecture
 * promises that of an aligned store of 8 bytes, of a vector only as a whole and on processors with AVX when
 * it is aligned to 16. In fact every x86-64 processor writes a vector to its cache in one piece, or in two
 * where it crosses a line, and an aligned lane of 8 bytes crosses neither. Volatile: each store is done once
 * as written, and no loop of them becomes a call of memset(), which promises nothing.
 */
typedef u64 pair __attribute__((vector_size(16), aligned(8), may_alias));
#define PAIR_PAGES 2u
#define LINE_PAIRS 4u

void dk_iommu_fill(u64 *entries, u64 first, unsigned count)
{
    const pair step = { PAIR_PAGES * PAGE_SIZE, PAIR_PAGES * PAGE_SIZE };
    volatile pair *at = (volatile pair *)entries;
    pair value = { first, first + PAGE_SIZE };

    dk_fence(__ATOMIC_RELEASE);
    for (; count >= LINE_PAIRS * PAIR_PAGES; count -= LINE_PAIRS * PAIR_PAGES, at += LINE_PAIRS) {
        at[0] = value;
        at[1] = value + step;
        at[2] = value + 2 * step;
        at[3] = value + 3 * step;
        value += LINE_PAIRS * step;
    }
    for (; count >= PAIR_PAGES; count -= PAIR_PAGES, value += step)
        *at++ = value;
    if (count)
        store((u64 *)(uintptr_t)at, value[0]);
}

void dk_iommu_clear(u64 *entries, unsigned count)
{
    const pair none = { 0, 0 };
    volatile pair *at = (volatile pair *)entries;

    for (; count >= LINE_PAIRS * PAIR_PAGES; count -= LINE_PAIRS * PAIR_PAGES, at += LINE_PAIRS) {
        at[0] = none;
        at[1] = none;
        at[2] = none;
        at[3] = none;
    }
    for (; count >= PAIR_PAGES; count -= PAIR_PAGES)
        *at++ = none;
    if (count)
        store((u64 *)(uintptr_t)at, 0);
}
#else
void dk_iommu_fill(u64 *entries, u64 first, unsigned count)
{
    for (; count; count--, first += PAGE_SIZE)
        store(entries++, first);
}

void dk_iommu_clear(u64 *entries, unsigned count)
{
    for (; count; count--)
        store(entries++, 0);
}
#endif

/* ---- Tables ---- */

void dk_iommu_tables_start(struct dk_iommu_tables *tables)
{
    unsigned i;

    tables->nowhere.iova = 1ull << 63;
    for (i = 0; i < DK_IOMMU_RECENT; i++)
        tables->recent[i] = &tables->nowhere;
    pthread_mutex_init(&tables->split, NULL);
}

static void release_below(struct dk_iommu_branch *branch, unsigned level)
{
    unsigned i;

    for (i = 0; i < DK_IOMMU_FANOUT; i++) {
        if (!branch->next[i])
            continue;
        if (level > 1)
            release_below(branch->next[i], level - 1);
        dk_release(branch->next[i]);
    }
}

void dk_iommu_tables_finish(struct dk_iommu_tables *tables)
{
    release_below(&tables->root, ROOT);
    pthread_mutex_destroy(&tables->split);
}

static void *next_of(const struct dk_iommu_branch *branch, unsigned index)
{
    return __atomic_load_n(&branch->next[index], __ATOMIC_ACQUIRE);
}

/* The table below @branch of @level for @iova, made if need be; NULL when out of memory. */
static void *make_next(struct dk_iommu_branch *branch, unsigned level, dma_addr_t iova)
{
    void **next = &branch->next[index_at(iova, level)];
    void *table = __atomic_load_n(next, __ATOMIC_ACQUIRE);
    void *made;

    if (table)
        return table;
    made = dk_allocate(1, level > 1 ? sizeof(struct dk_iommu_branch) : sizeof(struct dk_iommu_leaves));
    if (!made)
        return NULL;
    if (level == 1)
        ((struct dk_iommu_leaves *)made)->iova = iova & ~(DK_IOMMU_LEAVES_SIZE - 1);
    if (__atomic_compare_exchange_n(next, &table, made, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
        return made;
    dk_release(made);
    return table;
}

/* Where an IOVA is mapped, or would be. */
struct spot {
    u64 *entry;                     /* NULL: there is no table that far down */
    struct dk_iommu_branch *branch; /* that @entry is in, above the last level */
    unsigned level;
    u64 value; /* of the entry */
};

/* @tables are only read. */
static struct spot look(const struct dk_iommu_tables *tables, dma_addr_t iova)
{
    struct spot spot = { .branch = (struct dk_iommu_branch *)(uintptr_t)&tables->root, .level = ROOT };
    void *next = next_of(spot.branch, index_at(iova, ROOT));

    while (next && spot.level > 1) {
        spot.branch = next;
        spot.level--;
        spot.entry = &spot.branch->leaf[index_at(iova, spot.level)];
        spot.value = load(spot.entry);
        if (spot.value)
            return spot;
        next = next_of(spot.branch, index_at(iova, spot.level));
    }
    spot.entry = NULL;
    if (next) {
        spot.level = 0;
        spot.entry = dk_iommu_leaf(next, iova);
        spot.value = load(spot.entry);
    }
    return spot;
}

/* The bytes from @iova to the end of what @spot speaks for: an entry's, or a hole's. */
static u64 rest_of(const struct spot *spot, dma_addr_t iova)
{
    return SPAN(spot->level) - iova % SPAN(spot->level);
}

/* How many entries of the last level follow in one table from @iova on, within @size bytes. */
static unsigned entries_left(dma_addr_t iova, u64 size)
{
    return (unsigned)smaller(DK_IOMMU_FANOUT - index_at(iova, 0), size / PAGE_SIZE);
}

bool dk_iommu_tables_any(const struct dk_iommu_tables *tables, dma_addr_t iova, u64 size)
{
    while (size) {
        struct spot spot = look(tables, iova);
        u64 step = smaller(rest_of(&spot, iova), size);
        unsigned i, count;

        if (spot.value)
            return true;
        if (!spot.level) {
            count = entries_left(iova, size);
            for (i = 0; i < count; i++) {
                if (load(spot.entry + i))
                    return true;
            }
            step = count * (u64)PAGE_SIZE;
        }
        iova += step;
        size -= step;
    }
    return false;
}

/* ---- Mapping ---- */

/* The level of the largest leaf that may stand at @iova. */
static unsigned level_for(dma_addr_t iova, phys_addr_t phys, u64 size)
{
    unsigned level = ROOT - 1;

    while (level && ((iova | phys) % SPAN(level) || size < SPAN(level)))
        level--;
    return level;
}

/* The branch of @level for @iova, made if need be. */
static struct dk_iommu_branch *make_branch(struct dk_iommu_tables *tables, dma_addr_t iova, unsigned level)
{
    struct dk_iommu_branch *branch = &tables->root;
    unsigned above;

    for (above = ROOT; branch && above > level; above--)
        branch = make_next(branch, above, iova);
    return branch;
}

/* A piece of a range to map: a large leaf, or a run of small ones in one table. */
struct piece {
    struct dk_iommu_branch *branch; /* for a large one */
    struct dk_iommu_leaves *leaves; /* for a run */
    unsigned level;
    u64 size;
};

static int make_piece(struct dk_iommu_tables *tables, dma_addr_t iova, phys_addr_t phys, u64 size,
                      struct piece *piece)
{
    piece->level = level_for(iova, phys, size);
    piece->branch = make_branch(tables, iova, piece->level ? piece->level : 1);
    if (!piece->branch)
        return -ENOMEM;
    piece->size = SPAN(piece->level);
    if (piece->level)
        return 0;
    piece->leaves = make_next(piece->branch, 1, iova);
    piece->size = entries_left(iova, size) * (u64)PAGE_SIZE;
    return piece->leaves ? 0 : -ENOMEM;
}

int dk_iommu_tables_map(struct dk_iommu_tables *tables, dma_addr_t iova, phys_addr_t phys, u64 size,
                        u64 flags)
{
    struct piece piece;
    u64 done;

    /* All tables first: then there is nothing to undo. */
    for (done = 0; done < size; done += piece.size) {
        if (make_piece(tables, iova + done, phys + done, size - done, &piece))
            return -ENOMEM;
    }
    for (done = 0; done < size; done += piece.size) {
        /* It does not: tables stay. */
        if (make_piece(tables, iova + done, phys + done, size - done, &piece))
            return -ENOMEM;
        if (piece.level) {
            store(&piece.branch->leaf[index_at(iova + done, piece.level)], (phys + done) | flags);
            continue;
        }
        dk_iommu_fill(dk_iommu_leaf(piece.leaves, iova + done), (phys + done) | flags,
                      (unsigned)(piece.size / PAGE_SIZE));
        __atomic_store_n(&tables->recent[(iova + done) / DK_IOMMU_LEAVES_SIZE % DK_IOMMU_RECENT],
                         piece.leaves, __ATOMIC_RELEASE);
    }
    return 0;
}

/* ---- Unmapping ---- */

/* Fills @leaves with the pages of a leaf that starts where they do, all but those in [from, to). */
static void fill_around(struct dk_iommu_leaves *leaves, u64 value, dma_addr_t from, dma_addr_t to)
{
    dma_addr_t end = leaves->iova + DK_IOMMU_LEAVES_SIZE;
    u64 before = from > leaves->iova ? smaller(from, end) - leaves->iova : 0;
    u64 after = to < end ? (to > leaves->iova ? to - leaves->iova : 0) : DK_IOMMU_LEAVES_SIZE;

    dk_iommu_fill(leaves->leaf, value, (unsigned)(before / PAGE_SIZE));
    dk_iommu_fill(leaves->leaf + after / PAGE_SIZE, value + after,
                  (unsigned)((DK_IOMMU_LEAVES_SIZE - after) / PAGE_SIZE));
}

/* The same for a leaf of 1 GiB at @start, in leaves of 2 MiB and of 4 KiB at the edges; -ENOMEM before
 * anything is filled. */
static int fill_branch_around(struct dk_iommu_branch *branch, dma_addr_t start, u64 value, dma_addr_t from,
                              dma_addr_t to)
{
    dma_addr_t end = start + SPAN(2);
    u64 offset;

    if (from > start && from % SPAN(1) && !make_next(branch, 1, from))
        return -ENOMEM;
    if (to < end && to % SPAN(1) && !make_next(branch, 1, to))
        return -ENOMEM;
    for (offset = 0; offset < SPAN(2); offset += SPAN(1)) {
        dma_addr_t at = start + offset;

        if (at + SPAN(1) <= from || at >= to)
            store(&branch->leaf[index_at(at, 1)], value + offset);
        else if (at < from || at + SPAN(1) > to)
            fill_around(make_next(branch, 1, at), value + offset, from, to);
    }
    return 0;
}

/*
 * Takes [iova, iova + size) out of the leaf at @spot that reaches beyond it. The smaller leaves stand before
 * the large one goes, so whoever looks finds the rest mapped all the time. -ENOMEM, and it stays; -EAGAIN:
 * another thread split it.
 */
static int split(struct dk_iommu_tables *tables, const struct spot *spot, dma_addr_t iova, u64 size)
{
    dma_addr_t start = iova - iova % SPAN(spot->level);
    void *below = make_next(spot->branch, spot->level, iova);
    int error = below ? 0 : -ENOMEM;

    if (error)
        return error;
    pthread_mutex_lock(&tables->split);
    if (load(spot->entry) != spot->value)
        error = -EAGAIN;
    else if (spot->level == 1)
        fill_around(below, spot->value, iova, iova + size);
    else
        error = fill_branch_around(below, start, spot->value, iova, iova + size);
    if (!error)
        store(spot->entry, 0);
    pthread_mutex_unlock(&tables->split);
    return error;
}

static u64 clear_counted(u64 *entries, unsigned count)
{
    u64 mapped = 0;
    unsigned i;

    for (i = 0; i < count; i++)
        mapped += load(entries + i) ? PAGE_SIZE : 0;
    dk_iommu_clear(entries, count);
    return mapped;
}

u64 dk_iommu_tables_unmap(struct dk_iommu_tables *tables, dma_addr_t iova, u64 size)
{
    u64 unmapped = 0;

    while (size) {
        struct spot spot = look(tables, iova);
        u64 step = smaller(rest_of(&spot, iova), size);
        int error = 0;

        if (!spot.level) {
            step = entries_left(iova, size) * (u64)PAGE_SIZE;
            unmapped += clear_counted(spot.entry, (unsigned)(step / PAGE_SIZE));
        } else if (spot.value) {
            if (step == SPAN(spot.level))
                store(spot.entry, 0);
            else
                error = split(tables, &spot, iova, step);
            if (error == -EAGAIN)
                continue;
            if (!error)
                unmapped += step;
        }
        iova += step;
        size -= step;
    }
    return unmapped;
}

static void mark_entries(u64 *entries, unsigned count, u64 flags)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        u64 value = load(entries + i);

        if (value)
            store(entries + i, value | flags);
    }
}

void dk_iommu_tables_mark(struct dk_iommu_tables *tables, dma_addr_t iova, u64 size, u64 flags)
{
    while (size) {
        struct spot spot = look(tables, iova);
        u64 step = smaller(rest_of(&spot, iova), size);

        if (!spot.level) {
            step = entries_left(iova, size) * (u64)PAGE_SIZE;
            mark_entries(spot.entry, (unsigned)(step / PAGE_SIZE), flags);
        } else if (spot.value && step == SPAN(spot.level)) {
            store(spot.entry, spot.value | flags);
        }
        iova += step;
        size -= step;
    }
}

/* ---- Looking up ---- */

u64 dk_iommu_tables_find(const struct dk_iommu_tables *tables, dma_addr_t iova, u64 length, phys_addr_t *phys,
                         u64 *run)
{
    struct spot spot = look(tables, iova);
    u64 first = spot.value;

    if (!first)
        return 0;
    *phys = (first & ~DK_IOMMU_FLAGS) + iova % SPAN(spot.level);
    *run = smaller(rest_of(&spot, iova), length);
    while (*run < length) {
        dma_addr_t at = iova + *run;

        spot = look(tables, at);
        if (spot.value != ((*phys + *run - at % SPAN(spot.level)) | (first & DK_IOMMU_FLAGS)))
            break;
        *run += smaller(rest_of(&spot, at), length - *run);
    }
    return first;
}
