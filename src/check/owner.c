/* SPDX-License-Identifier: MIT */
#include "check/owner.h"

#include "base/alloc.h"
#include "check/checker.h"
#include <dmakit/dma-mapping.h>
#include <dmakit/scatterlist.h>

#define SLAB_RUNS 32

/* Larger runs are not followed byte by byte: that would take longer than the bug is likely. */
#define RUN_LIMIT ((u64)64 << 20)
/* Larger coherent allocations hold pictures and sound, not descriptors. */
#define ORDER_LIMIT ((u64)64 << 10)

/* What a mapping may have set in the shadow. */
#define OWNERSHIP                                                                                \
    (DK_OWNER_NO_LOAD | DK_OWNER_NO_STORE | DK_OWNER_UNSEEN | DK_OWNER_WROTE | DK_OWNER_SHARED | \
     DK_OWNER_MAPPED)
/* What ends when bytes change hands. */
#define TENURE (DK_OWNER_NO_LOAD | DK_OWNER_NO_STORE | DK_OWNER_UNSEEN | DK_OWNER_WROTE)

struct dk_owned_slab {
    struct dk_owned_slab *next;
    struct dk_owned runs[SLAB_RUNS];
};

struct dk_owner *dk_owner_create(void)
{
    struct dk_owner *owner = dk_allocate(1, sizeof(*owner));

    if (owner && dk_intervals_init(&owner->runs)) {
        dk_release(owner);
        return NULL;
    }
    return owner;
}

void dk_owner_destroy(struct dk_owner *owner)
{
    struct dk_owned_slab *slab;
    struct dk_order_link *link;

    if (!owner)
        return;
    dk_owner_shadows_free(owner);
    while ((slab = owner->slabs)) {
        unsigned i;

        owner->slabs = slab->next;
        for (i = 0; i < SLAB_RUNS; i++)
            dk_release(slab->runs[i].words);
        dk_release(slab);
    }
    while ((link = owner->links)) {
        owner->links = link->next;
        dk_release(link);
    }
    dk_intervals_finish(&owner->runs);
    dk_release(owner);
}

/* ---- Runs of mappings ---- */

static void give_run(struct dk_owner *owner, struct dk_owned *run)
{
    dk_release(run->words);
    run->words = NULL;
    run->next_run = owner->free;
    owner->free = run;
}

static struct dk_owned *take_run(struct dk_owner *owner)
{
    struct dk_owned *run;
    unsigned i;

    if (!owner->free) {
        struct dk_owned_slab *slab = dk_allocate(1, sizeof(*slab));

        if (!slab)
            return NULL;
        slab->next = owner->slabs;
        owner->slabs = slab;
        for (i = 0; i < SLAB_RUNS; i++)
            give_run(owner, &slab->runs[i]);
    }
    run = owner->free;
    owner->free = run->next_run;
    return run;
}

struct search {
    const struct dk_mapping *mapping;
    struct dk_owned *found;
};

static bool is_first_run(struct dk_interval *by_phys, void *data)
{
    struct search *search = data;
    struct dk_owned *run = dk_owned_of(by_phys);

    if (run->offset || run->mapping.number != search->mapping->number ||
        run->mapping.dma != search->mapping->dma)
        return true;
    search->found = run;
    return false;
}

/* The first run of @mapping, or NULL. Under the lock. */
static struct dk_owned *first_run(struct dk_owner *owner, const struct dk_mapping *mapping)
{
    struct search search = { mapping, NULL };

    dk_intervals_starting(&owner->runs, mapping->phys, is_first_run, &search);
    return search.found;
}

static bool is_coherent(enum dk_mapping_kind kind)
{
    return kind == DK_MAPPING_COHERENT || kind == DK_MAPPING_BLOCK || kind == DK_MAPPING_POOL_BLOCK;
}

/* The shadow of what the device owns by @mapping. What it only reads, the CPU may read too. */
static u8 devices(const struct dk_mapping *mapping)
{
    if (mapping->direction == DMA_TO_DEVICE)
        return DK_OWNER_MAPPED | DK_OWNER_NO_STORE;
    return DK_OWNER_MAPPED | DK_OWNER_NO_STORE | DK_OWNER_NO_LOAD;
}

/* Allocations, and mappings made without a sync, are the CPU's until they are synced for the device. */
static u8 at_first(const struct dk_mapping *mapping)
{
    if (is_coherent(mapping->kind))
        return DK_OWNER_COHERENT;
    if (mapping->kind > DK_MAPPING_SG || mapping->attrs & DMA_ATTR_SKIP_CPU_SYNC)
        return DK_OWNER_MAPPED;
    return devices(mapping);
}

/* Another live mapping has some of [first, last]: what it says of them comes back. */
struct reinstating {
    struct dk_checker *checker;
    const struct dk_owned *but; /* this mapping's own runs are left out */
    u64 first, last;
};

const struct dk_owned *dk_owner_head(struct dk_owner *owner, const struct dk_owned *run)
{
    return run->offset ? first_run(owner, &run->mapping) : run;
}

/* A mapping that is partly the CPU's has nothing to say: no alarm is better than a false one. */
static bool reinstate(struct dk_interval *by_phys, void *data)
{
    const struct reinstating *what = data;
    const struct dk_owned *run = dk_owned_of(by_phys);
    const struct dk_owned *head = dk_owner_head(what->checker->owner, run);
    u64 first = by_phys->start > what->first ? by_phys->start : what->first;
    u64 last = by_phys->start + (by_phys->size - 1);
    struct dk_owner_change change = { 0 };
    u8 set = DK_OWNER_MAPPED;

    if (last > what->last)
        last = what->last;
    if (!dk_owner_is_streaming(run->mapping.kind) ||
        (what->but && run->mapping.number == what->but->mapping.number &&
         run->mapping.dma == what->but->mapping.dma))
        return true;
    if (head && !head->with_cpu)
        set = devices(&run->mapping);
    dk_owner_change(what->checker, first, last - first + 1, 0, (u8)(set | DK_OWNER_SHARED), &change);
    return true;
}

/* Bytes of @run are no longer what they were: they are @set, and what others have to say. */
static void hand_over(struct dk_checker *checker, struct dk_owned *run, u64 skip, u64 size, u8 clear, u8 set,
                      s64 *to_cpu)
{
    phys_addr_t phys = run->by_phys.start + skip;
    struct reinstating others = { checker, run, phys, phys + size - 1 };
    struct dk_owner_change change = { 0 };

    if (run->both)
        return;
    dk_owner_change(checker, phys, size, clear, set, &change);
    *to_cpu += change.to_cpu;
    if (change.before & DK_OWNER_SHARED)
        dk_intervals_touching(&checker->owner->runs, others.first, others.last, reinstate, &others);
}

static bool is_coherent_run(struct dk_interval *by_phys, void *data)
{
    *(bool *)data |= is_coherent(dk_owned_of(by_phys)->mapping.kind);
    return !*(bool *)data;
}

/* Enters a run behind @head, or a first one when that is NULL; returns it. NULL: out of memory, and the run
 * is not followed. */
static struct dk_owned *add_run(struct dk_checker *checker, struct dk_owned *head,
                                const struct dk_owned *like, u64 offset, phys_addr_t phys, u64 size)
{
    u8 set = at_first(&like->mapping);
    struct dk_owner_change change = { 0 };
    struct dk_owned *run;

    if (!size || (size > RUN_LIMIT && dk_owner_is_streaming(like->mapping.kind)))
        return NULL;
    run = take_run(checker->owner);
    if (!run)
        return NULL;
    *run = *like;
    run->words = NULL;
    run->both = false;
    if (dk_owner_is_streaming(like->mapping.kind))
        dk_intervals_touching(&checker->owner->runs, phys, phys, is_coherent_run, &run->both);
    if (run->both)
        set = 0;
    if (set == DK_OWNER_COHERENT && like->mapping.size <= ORDER_LIMIT)
        run->words = dk_allocate(size / DK_ORDER_WORD + 2, sizeof(*run->words));
    if (set == DK_OWNER_COHERENT && !run->words)
        set = 0;
    run->offset = offset;
    run->by_phys = (struct dk_interval){ .start = phys, .size = size };
    run->next_run = NULL;
    run->with_cpu = 0;
    if (set && !dk_owner_change(checker, phys, size, dk_owner_is_streaming(like->mapping.kind) ? TENURE : 0,
                                set, &change)) {
        /* Of a run that spans sections a part may have been marked. */
        set = 0;
    }
    if (change.before & DK_OWNER_MAPPED && dk_owner_is_streaming(like->mapping.kind)) {
        struct reinstating others = { checker, NULL, phys, phys + size - 1 };

        dk_owner_change(checker, phys, size, 0, DK_OWNER_SHARED, &change);
        dk_intervals_touching(&checker->owner->runs, others.first, others.last, reinstate, &others);
    }
    if (head) {
        run->next_run = head->next_run;
        head->next_run = run;
    } else {
        head = run;
    }
    if (!(set & DK_OWNER_NO_STORE))
        head->with_cpu += size;
    dk_intervals_insert(&checker->owner->runs, &run->by_phys);
    return run;
}

/* The pages behind an allocation's kernel address, which need not follow each other in memory. */
static bool add_pages(struct dk_checker *checker, const struct dk_owned *like)
{
    const struct dk_mapping *mapping = &like->mapping;
    struct dk_owned *head = NULL, *run;
    u64 at, size;

    for (at = 0; at < mapping->size; at += size) {
        struct dk_memory *memory;
        phys_addr_t phys;

        size = mapping->size - at < PAGE_SIZE ? mapping->size - at : PAGE_SIZE;
        if (dk_address_find((const char *)mapping->cpu + at, &memory, &phys) != DK_ADDRESS_VMALLOC)
            return false;
        run = add_run(checker, head, like, at, phys, size);
        if (!run)
            return false;
        head = head ? head : run;
    }
    return true;
}

static bool add_table(struct dk_checker *checker, const struct dk_owned *like)
{
    const struct dk_mapping *mapping = &like->mapping;
    const struct sg_table *table = mapping->cpu;
    struct dk_owned *head = NULL, *run;
    struct scatterlist *sg;
    u64 at = 0;

    for (sg = table->sgl; sg && at < mapping->size; sg = sg_next(sg)) {
        u64 size = mapping->size - at < sg->length ? mapping->size - at : sg->length;

        run = add_run(checker, head, like, at, sg_phys(sg), size);
        if (!run)
            return false;
        head = head ? head : run;
        at += size;
    }
    return true;
}

void dk_owner_mapped(struct dk_checker *checker, const struct device *dev, const char *path,
                     const struct dk_mapping *mapping, u32 stack)
{
    const struct dk_owned like = {
        .mapping = *mapping,
        .device = path,
        .stack = stack,
        .coherent = dev->dma_coherent,
    };
    struct dk_owned *run = NULL;
    bool followed = false;

    if (!checker->owner || (!dk_owner_is_streaming(mapping->kind) && !is_coherent(mapping->kind)))
        return;
    dk_order_barrier(true, true);
    dk_lock_take(&checker->owner->lock);
    if (mapping->contiguous && mapping->kind == DK_MAPPING_NONCONTIGUOUS)
        followed = add_table(checker, &like);
    else if (mapping->contiguous && mapping->kind != DK_MAPPING_SG)
        followed = add_pages(checker, &like);
    else
        run = add_run(checker, NULL, &like, 0, mapping->phys,
                      mapping->contiguous ? mapping->contiguous : mapping->size);
    dk_owner_watch_edges(checker, run, true);
    dk_lock_give(&checker->owner->lock);
    if (!followed && !run && mapping->size <= RUN_LIMIT)
        dk_checker_exhausted(checker, "accesses to a mapping are not checked");
}

void dk_owner_mapped_piece(struct dk_checker *checker, const struct dk_mapping *mapping, u64 offset,
                           phys_addr_t phys, u64 size)
{
    struct dk_owned *head;
    bool followed;

    if (!checker->owner)
        return;
    dk_lock_take(&checker->owner->lock);
    head = first_run(checker->owner, mapping);
    followed = head && add_run(checker, head, head, offset, phys, size);
    dk_lock_give(&checker->owner->lock);
    if (!followed && size <= RUN_LIMIT)
        dk_checker_exhausted(checker, "accesses to a mapping are not checked");
}

/* ---- Transitions ---- */

/* The part of @run that lies in bytes [@offset, @offset + @size) of the mapping: *skip bytes in, the returned
 * number. */
static u64 part_of(const struct dk_owned *run, u64 offset, u64 size, u64 *skip)
{
    u64 start = offset > run->offset ? offset : run->offset;
    u64 end = offset + size, run_end = run->offset + run->by_phys.size;

    if (end > run_end)
        end = run_end;
    *skip = start - run->offset;
    return end > start ? end - start : 0;
}

void dk_owner_synced(struct dk_checker *checker, const struct dk_mapping *mapping, u64 offset, u64 size,
                     bool for_cpu)
{
    struct dk_owned *head, *run;
    s64 to_cpu = 0;

    if (!checker->owner || !dk_owner_is_streaming(mapping->kind))
        return;
    dk_order_barrier(true, true);
    dk_lock_take(&checker->owner->lock);
    head = first_run(checker->owner, mapping);
    for (run = head; run; run = run->next_run) {
        u64 skip, part = part_of(run, offset, size, &skip);

        if (part)
            hand_over(checker, run, skip, part, TENURE, for_cpu ? DK_OWNER_MAPPED : devices(mapping),
                      &to_cpu);
    }
    if (head)
        head->with_cpu += (u64)to_cpu;
    dk_lock_give(&checker->owner->lock);
}

void dk_owner_gone(struct dk_checker *checker, const struct dk_mapping *mapping)
{
    u8 clear = is_coherent(mapping->kind) ? DK_OWNER_COHERENT : OWNERSHIP;
    struct dk_owned *run, *next;
    s64 to_cpu = 0;

    if (!checker->owner)
        return;
    dk_order_barrier(true, true);
    dk_lock_take(&checker->owner->lock);
    run = first_run(checker->owner, mapping);
    dk_owner_watch_edges(checker, run, false);
    for (; run; run = next) {
        next = run->next_run;
        dk_intervals_remove(&checker->owner->runs, &run->by_phys);
        hand_over(checker, run, 0, run->by_phys.size, clear, 0, &to_cpu);
        give_run(checker->owner, run);
    }
    dk_lock_give(&checker->owner->lock);
}

/* ---- The device's accesses ---- */

/* A streaming mapping is written at @dma. */
static void written_through(struct dk_checker *checker, const struct dk_mapping *mapping, dma_addr_t dma,
                            phys_addr_t phys, u64 length)
{
    u64 offset = dma - mapping->dma;
    struct dk_owned *head, *run;

    dk_lock_take(&checker->owner->lock);
    head = first_run(checker->owner, mapping);
    for (run = head; run; run = run->next_run) {
        u64 skip, part = part_of(run, offset, length, &skip);

        if (!part)
            continue;
        if (run->offset + skip == offset && run->by_phys.start + skip != phys)
            head->bounced = true;
        head->written_at = dk_order_time();
        dk_owner_mark_written(checker, run->by_phys.start + skip, part);
    }
    dk_lock_give(&checker->owner->lock);
}

void dk_owner_master_access(const struct dk_master_move *move)
{
    struct device *dev = move->dev;
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mappings *mappings =
        checker && checker->owner ? dk_checker_mappings(checker, dev, false) : NULL;
    struct dk_mapping mapping = { .size = 0 };
    const struct dk_record *record;
    const u8 *shadow;

    if (!mappings)
        return;
    shadow = dk_owner_shadow(checker->machine, move->phys);
    if (shadow && dk_owner_get(shadow) & DK_OWNER_COHERENT) {
        dk_owner_order_master(checker, dev, move->phys, move->length, move->from);
        return;
    }
    if (!move->from)
        return;
    dk_lock_take(&mappings->lock);
    record = dk_mappings_holding(mappings, move->dma, move->length, DMA_FROM_DEVICE, 0);
    if (record)
        mapping = record->mapping;
    dk_lock_give(&mappings->lock);
    if (mapping.size && dk_owner_is_streaming(mapping.kind) && mapping.direction != DMA_TO_DEVICE)
        written_through(checker, &mapping, move->dma, move->phys, move->length);
}
