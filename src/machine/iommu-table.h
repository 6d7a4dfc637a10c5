/* SPDX-License-Identifier: MIT */
/*
 * An IOMMU's page tables: 48 bits of IOVA, 9 bits a level, leaves of 4 KiB, 2 MiB and 1 GiB.
 *
 * Different ranges may be changed by different threads at once, and anything may be looked up meanwhile; one
 * range is changed by one thread at a time. A table, once made, stays until all of them go: threads keep
 * pointers to them. So a level that can have leaves has two arrays, and a leaf hides the table that stands
 * beside it, whose entries are all empty then.
 */
#ifndef DK_MACHINE_IOMMU_TABLE_H
#define DK_MACHINE_IOMMU_TABLE_H

#include <dmakit/barrier.h>
#include <pthread.h>

#define DK_IOMMU_FANOUT 512u
/* An entry: the physical address of its page, and below it the rights (iommu.h) and this. */
#define DK_IOMMU_PRESENT 0x8u
#define DK_IOMMU_FLAGS ((u64)PAGE_SIZE - 1)
/* What one table of 4 KiB leaves covers. */
#define DK_IOMMU_LEAVES_SIZE ((u64)PAGE_SIZE * DK_IOMMU_FANOUT)
/* Last-level tables that are found without a walk: 128 MiB of IOVA in a row. */
#define DK_IOMMU_RECENT 64u

/* The order of a store to an entry that dk_grace_check() follows, and of the load after dk_grace_enter(). */
#ifdef DK_THREAD_CHECKED
#define DK_IOMMU_STORE_ORDER __ATOMIC_SEQ_CST
#define DK_IOMMU_LOAD_ORDER __ATOMIC_SEQ_CST
#else
#define DK_IOMMU_STORE_ORDER __ATOMIC_RELEASE
#define DK_IOMMU_LOAD_ORDER __ATOMIC_ACQUIRE
#endif

/* The last level. */
struct dk_iommu_leaves {
    u64 leaf[DK_IOMMU_FANOUT];
    dma_addr_t iova; /* of the first entry */
};

/* A level above it: 1 GiB or 2 MiB an entry; the root, whose entries are 512 GiB, has no leaves. */
struct dk_iommu_branch {
    u64 leaf[DK_IOMMU_FANOUT];
    void *next[DK_IOMMU_FANOUT]; /* struct dk_iommu_branch, or above the last level struct dk_iommu_leaves */
};

struct dk_iommu_tables {
    struct dk_iommu_leaves *recent[DK_IOMMU_RECENT]; /* by IOVA; never NULL */
    struct dk_iommu_leaves nowhere;                  /* what they are at first: it has no IOVA */
    struct dk_iommu_branch root;
    pthread_mutex_t split; /* two threads may unmap different parts of one large leaf */
};

void dk_iommu_tables_start(struct dk_iommu_tables *tables);
void dk_iommu_tables_finish(struct dk_iommu_tables *tables);

/* Whether any of [iova, iova + size) is mapped. */
bool dk_iommu_tables_any(const struct dk_iommu_tables *tables, dma_addr_t iova, u64 size);

/* Maps a range in which nothing is mapped, with the largest leaves that alignment allows. 0, or -ENOMEM, and
 * nothing is mapped. @flags: rights and DK_IOMMU_PRESENT. */
int dk_iommu_tables_map(struct dk_iommu_tables *tables, dma_addr_t iova, phys_addr_t phys, u64 size,
                        u64 flags);

/* Unmaps what is mapped there; the bytes that were. A leaf that reaches beyond the range is split; when there
 * is no memory for that it stays. */
u64 dk_iommu_tables_unmap(struct dk_iommu_tables *tables, dma_addr_t iova, u64 size);

/* Adds @flags to the leaves that lie wholly in the range. */
void dk_iommu_tables_mark(struct dk_iommu_tables *tables, dma_addr_t iova, u64 size, u64 flags);

/* The entry that maps @iova, or 0, and nothing else is set. *phys: where @iova itself leads; *run: how many
 * bytes from there on, @length at most, follow contiguously with the same flags. */
u64 dk_iommu_tables_find(const struct dk_iommu_tables *tables, dma_addr_t iova, u64 length, phys_addr_t *phys,
                         u64 *run);

/* Stores @count entries, the first as given, each further one a page higher: entries of leaves in a row. */
void dk_iommu_fill(u64 *entries, u64 first, unsigned count);
/* Empties @count entries. */
void dk_iommu_clear(u64 *entries, unsigned count);

/* The table of 4 KiB leaves for the whole range, when it was used recently and the range is none for a larger
 * leaf, else NULL. A range that was mapped whole lies in 4 KiB leaves whenever this finds them. */
static inline struct dk_iommu_leaves *dk_iommu_recent(struct dk_iommu_tables *tables, dma_addr_t iova,
                                                      u64 size)
{
    struct dk_iommu_leaves *leaves =
        __atomic_load_n(&tables->recent[iova / DK_IOMMU_LEAVES_SIZE % DK_IOMMU_RECENT], __ATOMIC_ACQUIRE);
    u64 offset = iova - leaves->iova;

    /* Two comparisons that also see another table's IOVA, be it higher or lower. */
    return offset < DK_IOMMU_LEAVES_SIZE && size < DK_IOMMU_LEAVES_SIZE &&
                   offset + size <= DK_IOMMU_LEAVES_SIZE
               ? leaves
               : NULL;
}

static inline u64 *dk_iommu_leaf(struct dk_iommu_leaves *leaves, dma_addr_t iova)
{
    return &leaves->leaf[iova / PAGE_SIZE % DK_IOMMU_FANOUT];
}

#endif
