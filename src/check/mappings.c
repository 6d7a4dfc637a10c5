/* SPDX-License-Identifier: MIT */
#include "check/mappings.h"

#include "base/alloc.h"

#define SLAB_RECORDS 32

struct dk_record_slab {
    struct dk_record_slab *next;
    struct dk_record records[SLAB_RECORDS];
};

struct dk_mappings *dk_mappings_create(struct device *dev, unsigned past)
{
    struct dk_mappings *mappings = dk_allocate(1, sizeof(*mappings));

    if (!mappings)
        return NULL;
    mappings->dev = dev;
    mappings->past_room = past;
    mappings->past = dk_allocate(past, sizeof(*mappings->past));
    mappings->path = dk_copy_string(dev->dk->path ? dev->dk->path : "");
    if (!mappings->past || !mappings->path || dk_intervals_init(&mappings->live)) {
        dk_release(mappings->past);
        dk_release(mappings->path);
        dk_release(mappings);
        return NULL;
    }
    return mappings;
}

void dk_mappings_destroy(struct dk_mappings *mappings)
{
    struct dk_record_slab *slab = mappings->slabs;

    while (slab) {
        struct dk_record_slab *next = slab->next;

        dk_release(slab);
        slab = next;
    }
    dk_intervals_finish(&mappings->live);
    dk_release(mappings->past);
    dk_release(mappings->path);
    dk_release(mappings);
}

void dk_mappings_give(struct dk_mappings *mappings, struct dk_record *record)
{
    record->by_dma.next = mappings->free ? &mappings->free->by_dma : NULL;
    mappings->free = record;
}

struct dk_record *dk_mappings_take(struct dk_mappings *mappings)
{
    struct dk_record *record;
    unsigned i;

    if (!mappings->free) {
        struct dk_record_slab *slab = dk_allocate(1, sizeof(*slab));

        if (!slab)
            return NULL;
        slab->next = mappings->slabs;
        mappings->slabs = slab;
        for (i = 0; i < SLAB_RECORDS; i++)
            dk_mappings_give(mappings, &slab->records[i]);
    }
    record = mappings->free;
    record->of = mappings;
    record->other = false;
    mappings->free = record->by_dma.next ? dk_record_of(record->by_dma.next) : NULL;
    return record;
}

void dk_mappings_enter(struct dk_mappings *mappings, struct dk_record *record)
{
    record->by_dma.start = record->mapping.dma;
    record->by_dma.size = record->mapping.size ? record->mapping.size : 1;
    dk_intervals_insert(&mappings->live, &record->by_dma);
}

struct dk_past_mapping *dk_mappings_leave(struct dk_mappings *mappings, struct dk_record *record)
{
    struct dk_past_mapping *past = &mappings->past[mappings->past_next++ & (mappings->past_room - 1)];

    dk_intervals_remove(&mappings->live, &record->by_dma);
    past->mapping = record->mapping;
    past->stack = record->stack;
    past->undone = 0;
    past->left = false;
    return past;
}

bool dk_mapping_needs_check(enum dk_mapping_kind kind)
{
    return kind == DK_MAPPING_SINGLE || kind == DK_MAPPING_PAGE || kind == DK_MAPPING_RESOURCE;
}

unsigned dk_mapping_group(enum dk_mapping_kind kind)
{
    /* Whether a buffer was named by pointer or by page makes no difference to its undoing. */
    return kind == DK_MAPPING_PAGE ? DK_MAPPING_SINGLE : kind;
}

bool dk_mapping_is_allocation(enum dk_mapping_kind kind)
{
    return kind >= DK_MAPPING_COHERENT && kind != DK_MAPPING_REMAP;
}

/* ---- Searches ---- */

#define ALL_AGREE 63

/* How well @asked describes @mapping; what tells two mappings of one buffer apart best weighs most. */
static unsigned agreement(const struct dk_mapping *mapping, const struct dk_mapping *asked)
{
    unsigned points = 0;

    if (dk_mapping_group(mapping->kind) == dk_mapping_group(asked->kind))
        points += 32;
    if (mapping->size == asked->size)
        points += 16;
    if (mapping->direction == asked->direction)
        points += 8;
    if (!asked->cpu || mapping->cpu == asked->cpu)
        points += 4;
    if (mapping->sg_nents == asked->sg_nents)
        points += 2;
    if (mapping->kind == asked->kind)
        points += 1;
    return points;
}

struct best_search {
    const struct dk_mapping *asked;
    struct dk_record *best;
    unsigned points;
};

static bool weigh(struct dk_interval *interval, void *data)
{
    struct best_search *search = data;
    struct dk_record *record = dk_record_of(interval);
    unsigned points = agreement(&record->mapping, search->asked);

    /* Of equal ones the checked one, then the older: the driver goes on with the others. */
    if (!search->best || points > search->points ||
        (points == search->points && (record->checked > search->best->checked ||
                                      (record->checked == search->best->checked &&
                                       record->mapping.number < search->best->mapping.number)))) {
        search->best = record;
        search->points = points;
    }
    return true;
}

struct dk_record *dk_mappings_find(const struct dk_mappings *mappings, const struct dk_mapping *asked)
{
    struct best_search search = { .asked = asked };
    struct dk_interval *interval = dk_intervals_chain(&mappings->live, asked->dma, asked->size);
    struct dk_record *only = NULL;

    /* Nearly always one mapping has the address and agrees in everything: then its own chain has it, and only
     * it. */
    for (; interval; interval = interval->next) {
        if (interval->start == asked->dma && interval->size == asked->size) {
            if (only)
                break;
            only = dk_record_of(interval);
        }
    }
    if (only && !interval && only->checked && agreement(&only->mapping, asked) == ALL_AGREE)
        return only;
    dk_intervals_starting(&mappings->live, asked->dma, weigh, &search);
    return search.best;
}

struct holding_search {
    u64 last;
    enum dma_data_direction direction;
    int sg_nents;
    struct dk_record *best;
};

bool dk_direction_fits(enum dma_data_direction mapped, enum dma_data_direction direction)
{
    return mapped == direction || mapped == DMA_BIDIRECTIONAL;
}

static u64 held_until(const struct dk_record *record, u64 last)
{
    u64 end = record->by_dma.start + (record->by_dma.size - 1);

    return end < last ? end : last;
}

static unsigned fitness(const struct dk_record *record, const struct holding_search *search)
{
    return (dk_direction_fits(record->mapping.direction, search->direction) ? 2 : 0) +
           (record->mapping.sg_nents == search->sg_nents ? 1 : 0);
}

static bool weigh_holding(struct dk_interval *interval, void *data)
{
    struct holding_search *search = data;
    struct dk_record *record = dk_record_of(interval);
    u64 held = held_until(record, search->last);
    u64 best_held = search->best ? held_until(search->best, search->last) : 0;

    if (!search->best || held > best_held ||
        (held == best_held && fitness(record, search) > fitness(search->best, search)))
        search->best = record;
    return true;
}

struct dk_record *dk_mappings_holding(const struct dk_mappings *mappings, dma_addr_t dma, u64 size,
                                      enum dma_data_direction direction, int sg_nents)
{
    struct holding_search search = {
        .last = size && dma + (size - 1) >= dma ? dma + (size - 1) : dma,
        .direction = direction,
        .sg_nents = sg_nents,
    };

    dk_intervals_touching(&mappings->live, dma, dma, weigh_holding, &search);
    return search.best;
}

static bool newest_unchecked(struct dk_interval *interval, void *data)
{
    struct dk_record *record = dk_record_of(interval);
    struct dk_record **newest = data;

    if (!record->checked && dk_mapping_needs_check(record->mapping.kind) &&
        (!*newest || record->mapping.number > (*newest)->mapping.number))
        *newest = record;
    return true;
}

struct dk_record *dk_mappings_unchecked(const struct dk_mappings *mappings, dma_addr_t dma)
{
    struct dk_record *newest = NULL;

    dk_intervals_starting(&mappings->live, dma, newest_unchecked, &newest);
    return newest;
}

/* The latest past mapping of whose first @reach bytes @dma is one; @reach 0: of all its bytes. */
static const struct dk_past_mapping *latest_past(const struct dk_mappings *mappings, dma_addr_t dma,
                                                 u64 reach)
{
    unsigned i;

    for (i = 1; i <= mappings->past_room && i <= mappings->past_next; i++) {
        const struct dk_past_mapping *past =
            &mappings->past[(mappings->past_next - i) & (mappings->past_room - 1)];
        u64 size = past->mapping.size && reach ? reach : past->mapping.size;

        if (dma - past->mapping.dma < size)
            return past;
    }
    return NULL;
}

const struct dk_past_mapping *dk_mappings_past(const struct dk_mappings *mappings, dma_addr_t dma)
{
    return latest_past(mappings, dma, 1);
}

const struct dk_past_mapping *dk_mappings_past_holding(const struct dk_mappings *mappings, dma_addr_t dma)
{
    return latest_past(mappings, dma, 0);
}
