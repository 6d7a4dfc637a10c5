/* SPDX-License-Identifier: MIT */
#include "check/coherents.h"

#include "base/alloc.h"
#include "check/checker.h"
#include <dmakit/dma-mapping.h>
#include <errno.h>

#define SLAB_RANGES 32
#define FULL 0xff

struct dk_coherent {
    struct dk_interval by_phys; /* linked through its next while free */
    const struct device *dev;
    dma_addr_t dma;
};

struct dk_coherent_slab {
    struct dk_coherent_slab *next;
    struct dk_coherent ranges[SLAB_RANGES];
};

int dk_coherents_init(struct dk_coherents *coherents)
{
    *coherents = (struct dk_coherents){ .free = NULL };
    coherents->counters = dk_allocate(DK_COHERENT_COUNTERS, 1);
    if (!coherents->counters)
        return -ENOMEM;
    if (!dk_intervals_init(&coherents->ranges))
        return 0;
    dk_release(coherents->counters);
    coherents->counters = NULL;
    return -ENOMEM;
}

void dk_coherents_finish(struct dk_coherents *coherents)
{
    struct dk_coherent_slab *slab = coherents->slabs;

    while (slab) {
        struct dk_coherent_slab *next = slab->next;

        dk_release(slab);
        slab = next;
    }
    dk_intervals_finish(&coherents->ranges);
    dk_release(coherents->counters);
    coherents->counters = NULL;
}

/* ---- The counters ---- */

/* Under the lock. */
static void count(const struct dk_coherents *coherents, const struct dk_interval *range, int by)
{
    u64 at, last = range->start + (range->size - 1);

    for (at = range->start & ~((u64)PAGE_SIZE - 1); at <= last; at += PAGE_SIZE) {
        u8 *counter = dk_coherents_counter(coherents, at);
        u8 value = __atomic_load_n(counter, __ATOMIC_RELAXED);

        if (value != FULL)
            __atomic_store_n(counter, (u8)(value + by), __ATOMIC_RELAXED);
    }
}

/* ---- The ranges ---- */

static struct dk_coherent *coherent_of(struct dk_interval *by_phys)
{
    return container_of(by_phys, struct dk_coherent, by_phys);
}

static void give(struct dk_coherents *coherents, struct dk_coherent *coherent)
{
    coherent->by_phys.next = coherents->free ? &coherents->free->by_phys : NULL;
    coherents->free = coherent;
}

/* Under the lock. NULL: out of memory. */
static struct dk_coherent *take(struct dk_coherents *coherents)
{
    struct dk_coherent *coherent;
    unsigned i;

    if (!coherents->free) {
        struct dk_coherent_slab *slab = dk_allocate(1, sizeof(*slab));

        if (!slab)
            return NULL;
        slab->next = coherents->slabs;
        coherents->slabs = slab;
        for (i = 0; i < SLAB_RANGES; i++)
            give(coherents, &slab->ranges[i]);
    }
    coherent = coherents->free;
    coherents->free = coherent->by_phys.next ? coherent_of(coherent->by_phys.next) : NULL;
    return coherent;
}

void dk_check_coherent_taken(struct device *dev, phys_addr_t phys, u64 size, dma_addr_t dma)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_coherent *coherent;

    if (!checker)
        return;
    dk_lock_take(&checker->coherents.lock);
    coherent = take(&checker->coherents);
    if (coherent) {
        coherent->by_phys.start = phys;
        coherent->by_phys.size = size;
        coherent->dev = dev;
        coherent->dma = dma;
        dk_intervals_insert(&checker->coherents.ranges, &coherent->by_phys);
        count(&checker->coherents, &coherent->by_phys, 1);
    }
    dk_lock_give(&checker->coherents.lock);
    if (!coherent)
        dk_checker_exhausted(checker, "coherent memory is not known as such");
}

static bool note_first(struct dk_interval *interval, void *data)
{
    *(struct dk_coherent **)data = coherent_of(interval);
    return false;
}

void dk_check_coherent_given(struct device *dev, phys_addr_t phys)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_coherent *coherent = NULL;

    if (!checker)
        return;
    dk_lock_take(&checker->coherents.lock);
    dk_intervals_starting(&checker->coherents.ranges, phys, note_first, &coherent);
    if (coherent) {
        dk_intervals_remove(&checker->coherents.ranges, &coherent->by_phys);
        count(&checker->coherents, &coherent->by_phys, -1);
        give(&checker->coherents, coherent);
    }
    dk_lock_give(&checker->coherents.lock);
}

/* ---- Mapped once more ---- */

/* The live record of @dev that holds @dma, if there is one: an allocation, or a pool's block. */
static bool recall(struct dk_checker *checker, const struct device *dev, dma_addr_t dma,
                   struct dk_mapping *mapping, u32 *stack)
{
    struct dk_mappings *mappings = dk_checker_mappings(checker, (struct device *)(uintptr_t)dev, false);
    const struct dk_record *record;

    if (!mappings)
        return false;
    dk_lock_take(&mappings->lock);
    record = dk_mappings_holding(mappings, dma, 1, DMA_BIDIRECTIONAL, 0);
    if (record) {
        *mapping = record->mapping;
        *stack = record->stack;
    }
    dk_lock_give(&mappings->lock);
    return record;
}

static bool is_whole_pages(const struct dk_mapping *mapping)
{
    u64 size = mapping->contiguous ? mapping->contiguous : mapping->size;

    return !((mapping->phys | size) & (PAGE_SIZE - 1));
}

void dk_check_maps_coherent(struct device *dev, const char *call, const struct dk_mapping *asked)
{
    struct dk_checker *checker = dk_checker_of(dev);
    struct dk_mapping mapping;
    struct dk_coherent found = { .dev = NULL }, *coherent = NULL;
    struct dk_report_draft draft;
    u32 stack = 0;

    /* Who says that the caches are no concern may show another device what the first one has. */
    if (asked->attrs & DMA_ATTR_SKIP_CPU_SYNC || (asked->kind == DK_MAPPING_SG && is_whole_pages(asked)))
        return;
    dk_lock_take(&checker->coherents.lock);
    dk_intervals_touching(&checker->coherents.ranges, asked->phys, asked->phys, note_first, &coherent);
    if (coherent)
        found = *coherent;
    dk_lock_give(&checker->coherents.lock);
    if (!found.dev)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_MAPS_COHERENT_MEMORY, dev, call);
    if (recall(checker, found.dev, found.dma + (asked->phys - found.by_phys.start), &mapping, &stack))
        dk_draft_mapping(&draft, &mapping, stack, asked->phys - mapping.phys, asked->size);
    else
        draft.dma = found.dma + (asked->phys - found.by_phys.start);
    draft.length = asked->size;
    dk_draft_what(&draft, "%s() mapped %llu bytes of coherent memory, which has a DMA address: 0x%llx", call,
                  asked->size, found.dma + (asked->phys - found.by_phys.start));
    dk_report_make(checker, &draft);
}

struct cpu_search {
    uintptr_t cpu;
    struct dk_mapping *mapping;
    u32 stack;
};

/* Goes on until it is found. */
static bool compare_cpu(struct dk_interval *interval, void *data)
{
    const struct dk_record *record = dk_record_of(interval);
    const struct dk_mapping *mapping = &record->mapping;
    struct cpu_search *search = data;

    if ((mapping->kind != DK_MAPPING_COHERENT && mapping->kind != DK_MAPPING_BLOCK &&
         mapping->kind != DK_MAPPING_POOL_BLOCK) ||
        search->cpu - (uintptr_t)mapping->cpu >= mapping->size)
        return true;
    *search->mapping = *mapping;
    search->stack = record->stack;
    return false;
}

u32 dk_coherent_at(struct dk_checker *checker, const void *cpu, struct dk_mapping *mapping)
{
    struct dk_mappings *mappings = __atomic_load_n(&checker->devices, __ATOMIC_ACQUIRE);
    struct cpu_search search = { .cpu = (uintptr_t)cpu, .mapping = mapping };

    for (; mappings && !search.stack; mappings = mappings->next) {
        dk_lock_take(&mappings->lock);
        dk_intervals_each(&mappings->live, compare_cpu, &search);
        dk_lock_give(&mappings->lock);
    }
    return search.stack;
}

/* ---- Shown to a program ---- */

/* Which live allocation has one of the pages [@first, @last]. */
struct page_search {
    phys_addr_t first, last;
    struct dk_mapping mapping;
    u32 stack; /* 0: none has */
};

/* Whether a page behind the kernel's address of @mapping, which is made of any pages, is one of them. */
static bool has_page(const struct dk_mapping *mapping, const struct page_search *search)
{
    u64 at;

    for (at = 0; at < mapping->size; at += PAGE_SIZE) {
        struct dk_memory *memory;
        phys_addr_t phys;

        if (dk_address_find((const char *)mapping->cpu + at, &memory, &phys) != DK_ADDRESS_VMALLOC)
            return false;
        if (phys + (PAGE_SIZE - 1) >= search->first && phys <= search->last)
            return true;
    }
    return false;
}

/* Goes on until it is found. */
static bool compare_pages(struct dk_interval *interval, void *data)
{
    const struct dk_record *record = dk_record_of(interval);
    const struct dk_mapping *mapping = &record->mapping;
    struct page_search *search = data;

    if (mapping->kind != DK_MAPPING_COHERENT || mapping->attrs & DMA_ATTR_NON_CONSISTENT)
        return true;
    if (mapping->contiguous
            ? !has_page(mapping, search)
            : mapping->phys > search->last || mapping->phys + (mapping->size - 1) < search->first)
        return true;
    search->mapping = *mapping;
    search->stack = record->stack;
    return false;
}

void dk_check_shown_cached(struct dk_machine *machine, const char *call, phys_addr_t phys, u64 size)
{
    struct page_search search = { .first = phys, .last = phys + (size - 1) };
    struct dk_checker *checker = machine->checker;
    struct dk_mappings *mappings = checker ? __atomic_load_n(&checker->devices, __ATOMIC_ACQUIRE) : NULL;
    struct dk_report_draft draft;
    const char *device = NULL;

    for (; mappings && !search.stack; mappings = mappings->next) {
        dk_lock_take(&mappings->lock);
        if (!mappings->removed && !mappings->dev->dma_coherent)
            dk_intervals_each(&mappings->live, compare_pages, &search);
        dk_lock_give(&mappings->lock);
        device = mappings->path;
    }
    if (!search.stack)
        return;
    dk_draft_begin(&draft, checker, DK_CLASS_ALIAS_DIFFERENT_ATTRIBUTES, NULL, call);
    draft.device = device;
    draft.advice = "show coherent memory with dma_mmap_coherent(), which knows how the kernel uses it";
    dk_draft_mapping(&draft, &search.mapping, search.stack, 0, search.mapping.size);
    dk_draft_what(&draft,
                  "%s() shows %llu bytes at physical address 0x%llx through the cache; they are of coherent "
                  "memory at 0x%llx, which the kernel and the device use uncached",
                  call, size, phys, search.mapping.dma);
    dk_report_make(checker, &draft);
}
