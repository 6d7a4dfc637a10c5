/* SPDX-License-Identifier: MIT */
#include "check/mappings.h"

#include "base/alloc.h"

#define SLAB_RECORDS 32

struct dk_record_slab {
    struct dk_record_slab *next;
    struct dk_record records[SLAB_RECORDS];
};

struct dk_mappings *dk_mappings_create(struct device *dev, unsigned older)
{
    struct dk_mappings *mappings = dk_allocate(1, sizeof(*mappings));

    if (!mappings)
        return NULL;
    mappings->dev = dev;
    mappings->older_room = older;
    mappings->older = older ? dk_allocate(older, sizeof(*mappings->older)) : NULL;
    mappings->path = dk_copy_string(dev->dk->path ? dev->dk->path : "");
    if ((older && !mappings->older) || !mappings->path || dk_intervals_init(&mappings->live)) {
        dk_release(mappings->older);
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
    dk_release(mappings->older);
    dk_release(mappings->path);
    dk_release(mappings);
}

bool dk_mappings_refill(struct dk_mappings *mappings)
{
    struct dk_record_slab *slab = dk_allocate(1, sizeof(*slab));
    unsigned i;

    if (!slab)
        return false;
    slab->next = mappings->slabs;
    mappings->slabs = slab;
    for (i = 0; i < SLAB_RECORDS; i++) {
        slab->records[i].of = mappings;
        dk_mappings_give(mappings, &slab->records[i]);
    }
    return true;
}

unsigned dk_mapping_group(enum dk_mapping_kind kind)
{
    /* Whether a buffer was named by pointer or by page makes no difference to its undoing. */
    return kind == DK_MAPPING_PAGE ? DK_MAPPING_SINGLE : kind;
}

/* ---- Searches ---- */

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

static bool agrees(const struct dk_mapping *mapping, const struct dk_mapping *asked)
{
    return mapping->kind == asked->kind && mapping->direction == asked->direction &&
           (!asked->cpu || mapping->cpu == asked->cpu) && mapping->sg_nents == asked->sg_nents;
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

struct dk_record *dk_mappings_find(struct dk_mappings *mappings, const struct dk_mapping *asked)
{
    struct best_search search = { .asked = asked };
    /* Nearly always one mapping has the address and agrees in everything. */
    struct dk_record *only = dk_mappings_only(mappings, asked->dma, asked->size);

    if (only && only->checked && only->mapping.size == asked->size && agrees(&only->mapping, asked))
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

struct dk_record *dk_mappings_holding(struct dk_mappings *mappings, dma_addr_t dma, u64 size,
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

struct dk_record *dk_mappings_unchecked(struct dk_mappings *mappings, dma_addr_t dma)
{
    struct dk_record *newest = NULL;

    dk_intervals_starting(&mappings->live, dma, newest_unchecked, &newest);
    return newest;
}

/* Of whose first @reach bytes @dma is one; @reach 0: of all its bytes. */
static bool held(const struct dk_past_mapping *past, dma_addr_t dma, u64 reach)
{
    return dma - past->mapping.dma < (past->mapping.size && reach ? reach : past->mapping.size);
}

/* The latest that did. */
static const struct dk_past_mapping *latest_past(const struct dk_mappings *mappings, dma_addr_t dma,
                                                 u64 reach)
{
    const unsigned count = mappings->past_count;
    unsigned i;

    for (i = 1; i <= DK_PAST_MAPPINGS && i <= count; i++) {
        const struct dk_record *record = mappings->past[(count - i) % DK_PAST_MAPPINGS];

        if (held(&record->past, dma, reach))
            return &record->past;
    }
    for (; i <= DK_PAST_MAPPINGS + mappings->older_room && i <= count; i++) {
        const struct dk_past_mapping *past = &mappings->older[(count - i) & (mappings->older_room - 1)];

        if (held(past, dma, reach))
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

bool dk_mappings_past_made(const struct dk_mappings *mappings, u32 stack)
{
    unsigned i;

    for (i = 0; i < DK_PAST_MAPPINGS; i++) {
        if (mappings->past[i] && mappings->past[i]->stack == stack)
            return true;
    }
    for (i = 0; i < mappings->older_room; i++) {
        if (mappings->older[i].stack == stack)
            return true;
    }
    return false;
}
