/* SPDX-License-Identifier: MIT */
/*
 * The life of a watched mapping: made, among others of the same memory, and gone.
 */
#include "check/handover-private.h"

#include "base/alloc.h"
#include <dmakit/dma-mapping.h>
#include <string.h>

/* Memory for mappings up to this is kept for the next one, as far as all that is kept is little. */
#define KEPT_LARGEST ((u64)1 << 20)
#define KEPT_ALL ((u64)16 << 20)
#define SMALLEST_ORDER 9

/* ---- Memory ---- */

/* Of @size bytes in all; NULL when out of memory, or too much would be used. */
static struct dk_handover *take(struct dk_handovers *handovers, u64 size)
{
    unsigned order = size > 1 ? 64 - (unsigned)__builtin_clzll(size - 1) : 0;
    struct dk_handover *handover;

    if (order < SMALLEST_ORDER)
        order = SMALLEST_ORDER;
    if (handovers->used + ((u64)1 << order) > DK_HANDOVER_ALL)
        return NULL;
    handover = handovers->free[order];
    if (handover) {
        handovers->free[order] = handover->next;
        handovers->kept -= (u64)1 << order;
    } else {
        handover = dk_allocate(1, (size_t)1 << order);
        if (!handover)
            return NULL;
    }
    handovers->used += (u64)1 << order;
    memset(handover, 0, offsetof(struct dk_handover, hull));
    handover->order = order;
    return handover;
}

static void give(struct dk_handovers *handovers, struct dk_handover *handover)
{
    u64 size = (u64)1 << handover->order;

    handovers->used -= size;
    if (size > KEPT_LARGEST || handovers->kept + size > KEPT_ALL) {
        dk_release(handover);
        return;
    }
    handovers->kept += size;
    handover->next = handovers->free[handover->order];
    handovers->free[handover->order] = handover;
}

static void forget(struct dk_handovers *handovers, struct dk_handover *handover)
{
    struct dk_place *place;

    while ((place = handover->places)) {
        handover->places = place->next;
        dk_place_leave(handovers, place);
        if (place != &handover->first)
            dk_release(place);
    }
    dk_owned_finish(&handover->owners);
    give(handovers, handover);
}

/* ---- Meeting other mappings ---- */

/* A new mapping's place, and one of another's that has bytes of it. */
struct meeting {
    struct dk_handover *mine;
    const struct dk_place *place;
    struct dk_handover_findings *findings;
};

/* Bytes [from, to) of @handover, which has [start, end) of them to itself as @other does not: whether they
 * lie in the rest of its first or last line. Mappings that a device may write are reported for that when they
 * are made, and entries of one list are one mapping to the driver. */
static void mark_edges(struct dk_handover *handover, u64 from, u64 to, const struct dk_handover *other)
{
    if (handover->mapping.number != other->mapping.number && other->mapping.direction == DMA_TO_DEVICE)
        return;
    if (from < handover->before)
        handover->front_others = true;
    if (to > handover->before + handover->mapping.size)
        handover->back_others = true;
}

/* The mapping's own bytes of @place, as physical addresses. */
static void own_part(const struct dk_place *place, phys_addr_t *start, phys_addr_t *end)
{
    const struct dk_handover *handover = place->handover;
    u64 first = dk_higher(place->at, handover->before);
    u64 last = dk_lower(place->at + place->by_phys.size, handover->before + handover->mapping.size);

    *start = place->by_phys.start + (first - place->at);
    *end = place->by_phys.start + (dk_higher(last, first) - place->at);
}

/* Bytes [start, end), which both mappings have: the new one hands them to the device, or finds them with it.
 */
static void meet_bytes(const struct meeting *meeting, struct dk_place *place, phys_addr_t start,
                       phys_addr_t end)
{
    struct dk_handover *mine = meeting->mine, *other = place->handover;
    u64 at = dk_place_offset(place, start), to = dk_place_offset(place, end), next;
    u64 here = dk_place_offset(meeting->place, start);
    bool skip = mine->mapping.attrs & DMA_ATTR_SKIP_CPU_SYNC;

    if (!skip) {
        dk_handover_look(other, at, to, DK_LOOK_MAP, meeting->findings);
        dk_handover_hold(other, at, to);
    }
    for (; at < to && !other->blind; here += next - at, at = next) {
        enum dk_byte_owner owner = dk_owned_at(&other->owners, at - other->before, &next);

        next = dk_lower(next + other->before, to);
        if (skip && owner != DK_OWNER_CPU && owner != DK_OWNER_UNSYNCED)
            dk_handover_own(mine, here - mine->before, here - mine->before + (next - at), DK_OWNER_DEVICE);
        else if (!skip && owner == DK_OWNER_UNSYNCED)
            dk_handover_own(other, at - other->before, next - other->before, DK_OWNER_DEVICE);
    }
}

static bool meet(struct dk_interval *interval, void *data)
{
    const struct meeting *meeting = data;
    struct dk_place *place = dk_place_of(interval);
    phys_addr_t mine, mine_end, other, other_end;
    phys_addr_t first = meeting->place->by_phys.start, end = first + meeting->place->by_phys.size;

    if (!place->cpu || place->handover == meeting->mine)
        return true;
    meeting->mine->shared = place->handover->shared = true;
    own_part(meeting->place, &mine, &mine_end);
    own_part(place, &other, &other_end);
    if (dk_higher(first, other) < dk_lower(end, other_end))
        mark_edges(meeting->mine, dk_place_offset(meeting->place, dk_higher(first, other)),
                   dk_place_offset(meeting->place, dk_lower(end, other_end)), place->handover);
    first = place->by_phys.start;
    end = first + place->by_phys.size;
    if (dk_higher(first, mine) < dk_lower(end, mine_end))
        mark_edges(place->handover, dk_place_offset(place, dk_higher(first, mine)),
                   dk_place_offset(place, dk_lower(end, mine_end)), meeting->mine);
    if (dk_higher(mine, other) < dk_lower(mine_end, other_end))
        meet_bytes(meeting, place, dk_higher(mine, other), dk_lower(mine_end, other_end));
    return true;
}

/* ---- What was left with the device ---- */

/* FNV-1a, public domain, over what the CPU sees of @handover. */
static u64 hash_of(const struct dk_handover *handover)
{
    u64 hash = 0xcbf29ce484222325ull, i;

    for (i = 0; i < handover->mapping.size; i++)
        hash = (hash ^ (unsigned char)handover->held[handover->before + i]) * 0x100000001b3ull;
    return hash;
}

/* Memory that was unmapped without a sync is the device's still: mapped without one again, it may read it. */
static void leave_with_device(struct dk_handovers *handovers, struct dk_handover *handover)
{
    struct dk_left *left = NULL;
    unsigned i;

    if (handover->first.next || handover->bounced != (handover->places != &handover->first) ||
        dk_owned_any(&handover->owners, DK_OWNER_CPU) || dk_owned_any(&handover->owners, DK_OWNER_UNSYNCED))
        return;
    for (i = 0; i < DK_HANDOVER_LEFT && handovers->left[i].size && !left; i++) {
        if (handovers->left[i].phys == handover->mapping.phys &&
            handovers->left[i].size == handover->mapping.size)
            left = &handovers->left[i];
    }
    if (!left && i == DK_HANDOVER_LEFT) {
        handovers->left_lost = true;
        return;
    }
    if (!left)
        left = &handovers->left[i];
    dk_handover_hold(handover, 0, dk_extent_size(handover));
    *left = (struct dk_left){ handover->mapping.phys, handover->mapping.size, hash_of(handover) };
}

/* Whether the CPU has stored nothing to @handover, which is @left's memory, since that was left. */
static bool is_as_left(const struct dk_handover *handover, const struct dk_left *left)
{
    const struct dk_mapping *mapping = &handover->mapping;
    struct dk_cache *cache = dk_device_machine(handover->dev)->cache;

    /* With two views what the CPU sees may be new without any store; and lines that bouncing leaves dirty. */
    if (cache && !handover->bounced)
        return !dk_cache_is_dirty(cache, mapping->phys, mapping->size);
    return left->phys != mapping->phys || left->size != mapping->size || hash_of(handover) == left->hash;
}

/* Whether the device may have it already. */
static bool was_left(const struct dk_handovers *handovers, const struct dk_handover *handover)
{
    const struct dk_mapping *mapping = &handover->mapping;
    unsigned i;

    for (i = 0; i < DK_HANDOVER_LEFT && handovers->left[i].size; i++) {
        const struct dk_left *left = &handovers->left[i];

        if (mapping->phys < left->phys + left->size && left->phys < mapping->phys + mapping->size)
            return is_as_left(handover, left);
    }
    return handovers->left_lost;
}

/* ---- Making ---- */

/* [phys, phys + size), which the CPU sees at @cpu, is at byte @at of the extent. */
static inline void enter(struct dk_handovers *handovers, struct dk_handover *handover, struct dk_place *place,
                         u64 at, phys_addr_t phys, u64 size, const char *cpu,
                         struct dk_handover_findings *findings)
{
    struct meeting meeting = { handover, place, findings };

    place->handover = handover;
    place->at = at;
    place->by_phys.start = phys;
    place->by_phys.size = size;
    place->cpu = cpu;
    place->next = handover->places;
    handover->places = place;
    if (!cpu)
        handover->blind = true;
    else if (handover->written)
        dk_handover_hold(handover, at, at + size);
    else
        dk_view_copy(handover->held + at, cpu, size);
    if (dk_handover_any(handovers, phys, size))
        dk_places_touching(handovers, phys, size, meet, &meeting);
    dk_place_enter(handovers, place);
}

/* The same for more than one section of memory, which do not follow each other in the process. False: out of
 * memory. */
static bool enter_all(struct dk_handovers *handovers, struct dk_handover *handover, u64 at, phys_addr_t phys,
                      u64 size, struct dk_handover_findings *findings)
{
    struct dk_memory *memory = dk_device_machine(handover->dev)->memory;

    while (size) {
        struct dk_place *place = handover->places ? dk_allocate(1, sizeof(*place)) : &handover->first;
        u64 run = dk_lower(size, DK_SLOT_SIZE - (phys & (DK_SLOT_SIZE - 1)));

        if (!place)
            return false;
        enter(handovers, handover, place, at, phys, run, dk_memory_cached(memory, phys), findings);
        at += run;
        phys += run;
        size -= run;
    }
    return true;
}

/* Where the device's accesses lead instead, when it bounces. */
static bool enter_slots(struct dk_handovers *handovers, struct dk_handover *handover, phys_addr_t phys,
                        u64 size)
{
    struct dk_place *place = dk_allocate(1, sizeof(*place));

    if (!place)
        return false;
    place->handover = handover;
    place->by_phys.start = phys;
    place->by_phys.size = size;
    place->next = handover->places;
    handover->places = place;
    handover->bounced = true;
    dk_place_enter(handovers, place);
    return true;
}

static bool changes_hands(const struct dk_mapping *mapping)
{
    return (mapping->kind <= DK_MAPPING_SG || mapping->kind == DK_MAPPING_NONCOHERENT ||
            mapping->kind == DK_MAPPING_PAGES) &&
           mapping->size && mapping->size <= DK_HANDOVER_LARGEST;
}

static enum dk_byte_owner first_owner(const struct dk_mapping *mapping)
{
    if (mapping->kind > DK_MAPPING_SG)
        return DK_OWNER_CPU;
    return mapping->attrs & DMA_ATTR_SKIP_CPU_SYNC ? DK_OWNER_UNSYNCED : DK_OWNER_DEVICE;
}

/* The parts of its first and last line that a device's accesses to the mapping have to do with. */
static void find_edges(const struct device *dev, const struct dk_mapping *mapping, unsigned line, u64 *before,
                       u64 *after)
{
    bool whole = mapping->direction == DMA_TO_DEVICE || mapping->kind > DK_MAPPING_SG || dev->dma_coherent ||
                 mapping->contiguous;

    *before = whole ? 0 : mapping->phys & (line - 1);
    *after = whole ? 0 : -(mapping->phys + mapping->size) & (line - 1);
}

/* Whether the device's accesses to @mapping lead elsewhere than the CPU's: to *reached, *run bytes of it. */
static bool find_slots(struct device *dev, const struct dk_mapping *mapping, phys_addr_t *reached, u64 *run)
{
    if (dk_device_translated(dev) || (!dev->dk->window_count && mapping->dma == mapping->phys))
        return false;
    return dk_bus_translate(dev, mapping->dma, mapping->size, reached, run) == 0 && *reached != mapping->phys;
}

struct dk_handover *dk_handover_mapped(struct dk_checker *checker, struct device *dev,
                                       const struct dk_mapping *mapping, u32 stack,
                                       struct dk_handover_findings *findings)
{
    struct dk_handovers *handovers = &checker->handovers;
    struct dk_memory *memory = checker->machine->memory;
    bool two_views = checker->machine->cache;
    u64 size = mapping->contiguous ? mapping->contiguous : mapping->size, run, before, after, extent;
    const enum dk_byte_owner owner = first_owner(mapping);
    struct dk_handover *handover;
    phys_addr_t reached;
    bool bounced, entered;

    /* Memory that sleeps is left alone: looking at it would fill it. */
    run = size;
    if (!changes_hands(mapping) || (two_views && dk_memory_is_uncached(memory, mapping->phys, 1)) ||
        (dk_pasr_any_asleep(memory) && (dk_pasr_run(memory, mapping->phys, &run) || run < size)))
        return NULL;
    bounced = find_slots(dev, mapping, &reached, &run);
    before = after = 0;
    if (!bounced && two_views)
        find_edges(dev, mapping, checker->line, &before, &after);
    extent = before + mapping->size + after;
    dk_lock_take(&handovers->lock);
    handover = take(handovers, sizeof(*handover) + extent * (two_views ? 2 : 1));
    if (!handover)
        goto give_lock;
    handover->dev = dev;
    handover->mapping = *mapping;
    handover->stack = stack;
    handover->before = before;
    handover->after = after;
    handover->held = (char *)(handover + 1);
    handover->written = two_views ? handover->held + extent : NULL;
    handover->since = ++handovers->ticket;
    dk_owned_init(&handover->owners, mapping->size, owner);
    handover->got_end = owner == DK_OWNER_CPU ? mapping->size : 0;
    /* A buffer lies in one section, and its address is the CPU's, if there is one view. */
    handover->whole = mapping->kind == DK_MAPPING_SINGLE && !two_views && !bounced;
    entered = true;
    if (mapping->kind == DK_MAPPING_SINGLE && !two_views)
        enter(handovers, handover, &handover->first, 0, mapping->phys, size, mapping->cpu, findings);
    else
        entered = enter_all(handovers, handover, 0, mapping->phys - before, before + size + after, findings);
    if (entered && bounced)
        entered = enter_slots(handovers, handover, reached, run);
    if (!entered) {
        forget(handovers, handover);
        handover = NULL;
    } else if (owner == DK_OWNER_UNSYNCED && was_left(handovers, handover)) {
        dk_handover_own(handover, 0, mapping->size, DK_OWNER_DEVICE);
    }
give_lock:
    dk_lock_give(&handovers->lock);
    return handover;
}

void dk_handover_piece(struct dk_checker *checker, struct dk_handover *handover, u64 offset, phys_addr_t phys,
                       u64 size, struct dk_handover_findings *findings)
{
    struct dk_handovers *handovers = &checker->handovers;

    if (!handover)
        return;
    dk_lock_take(&handovers->lock);
    handover->whole = false;
    if (!enter_all(handovers, handover, handover->before + offset, phys, size, findings))
        handover->blind = true;
    dk_lock_give(&handovers->lock);
}

/* ---- Going ---- */

bool dk_handover_unmap(struct dk_checker *checker, struct dk_handover *handover, unsigned long attrs,
                       struct dk_handover_findings *findings)
{
    struct dk_handovers *handovers = &checker->handovers;
    bool skip = attrs & DMA_ATTR_SKIP_CPU_SYNC, loses, shared;

    if (!handover)
        return false;
    loses = !skip && handover->mapping.kind <= DK_MAPPING_SG && handover->mapping.direction != DMA_TO_DEVICE;
    dk_lock_take(&handovers->lock);
    if (!skip && dk_handover_is_simple(handover) &&
        dk_view_same(handover->first.cpu, handover->held, handover->mapping.size)) {
        dk_place_leave(handovers, &handover->first);
        give(handovers, handover);
        dk_lock_give(&handovers->lock);
        return false;
    }
    dk_handover_look(handover, 0, dk_extent_size(handover), loses ? DK_LOOK_UNMAP_LOSES : DK_LOOK_UNMAP,
                     findings);
    if (!skip)
        dk_handover_look_edges(handover, 0, dk_extent_size(handover), checker->line, findings);
    if (skip && handover->mapping.kind <= DK_MAPPING_SG)
        leave_with_device(handovers, handover);
    shared = handover->shared;
    forget(handovers, handover);
    dk_lock_give(&handovers->lock);
    return shared;
}

void dk_handover_drop(struct dk_checker *checker, struct dk_handover *handover)
{
    if (!handover)
        return;
    dk_lock_take(&checker->handovers.lock);
    forget(&checker->handovers, handover);
    dk_lock_give(&checker->handovers.lock);
}
