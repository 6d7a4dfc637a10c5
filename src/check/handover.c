/* SPDX-License-Identifier: MIT */
/*
 * Watched mappings change hands.
 */
#include "check/handover-private.h"

#include "base/alloc.h"

/* How far beside what is synced for the device the CPU's stores are looked for. */
#define AROUND ((u64)PAGE_SIZE)

int dk_handovers_init(struct dk_handovers *handovers)
{
    return dk_intervals_init(&handovers->places);
}

void dk_handovers_finish(struct dk_handovers *handovers)
{
    unsigned order;

    for (order = 0; order < DK_HANDOVER_ORDERS; order++) {
        struct dk_handover *handover = handovers->free[order];

        while (handover) {
            struct dk_handover *next = handover->next;

            dk_release(handover);
            handover = next;
        }
    }
    dk_intervals_finish(&handovers->places);
}

static inline void count_granules(struct dk_handovers *handovers, const struct dk_place *place, u32 more)
{
    u64 granule = place->by_phys.start >> DK_GRANULE_SHIFT;
    u64 last = (place->by_phys.start + (place->by_phys.size - 1)) >> DK_GRANULE_SHIFT;

    for (; granule <= last; granule++) {
        u32 *count = &handovers->granules[dk_granule_hash(granule)];

        __atomic_store_n(count, __atomic_load_n(count, __ATOMIC_RELAXED) + more, __ATOMIC_RELAXED);
    }
}

void dk_place_enter(struct dk_handovers *handovers, struct dk_place *place)
{
    count_granules(handovers, place, 1);
    dk_intervals_insert_lazily(&handovers->places, &place->by_phys);
}

void dk_place_leave(struct dk_handovers *handovers, struct dk_place *place)
{
    if (handovers->last_written == place)
        handovers->last_written = NULL;
    dk_intervals_remove(&handovers->places, &place->by_phys);
    count_granules(handovers, place, -1u);
}

/* Long accesses are looked up. */
#define FEW_GRANULES 16

bool dk_handover_any_of(const struct dk_handovers *handovers, u64 granule, u64 last)
{
    if (last - granule >= FEW_GRANULES)
        return true;
    for (; granule <= last; granule++) {
        if (__atomic_load_n(&handovers->granules[dk_granule_hash(granule)], __ATOMIC_RELAXED))
            return true;
    }
    return false;
}

void dk_places_touching(struct dk_handovers *handovers, phys_addr_t phys, u64 size,
                        bool (*visit)(struct dk_interval *interval, void *data), void *data)
{
    dk_intervals_touching(&handovers->places, phys, phys + (size - 1), visit, data);
}

/* ---- Holding and owning ---- */

void dk_handover_hold(struct dk_handover *handover, u64 from, u64 to)
{
    const struct dk_place *place;

    for (place = handover->places; place; place = place->next) {
        u64 first = dk_higher(from, place->at), end = dk_lower(to, place->at + place->by_phys.size);

        if (!place->cpu || first >= end)
            continue;
        dk_view_copy(handover->held + first, place->cpu + (first - place->at), end - first);
        if (handover->written)
            dk_cache_refills(dk_device_machine(handover->dev)->cache,
                             place->by_phys.start + (first - place->at), handover->written + first,
                             end - first);
    }
    if (handover->writing && from < handover->hull_end && to > handover->hull)
        handover->disturbed = true;
}

void dk_handover_refilled(struct dk_handover *handover, u64 from, u64 to, bool all)
{
    const struct dk_place *place;

    for (place = handover->places; place && handover->written; place = place->next) {
        u64 first = dk_higher(from, place->at), end = dk_lower(to, place->at + place->by_phys.size);
        const char *cpu = place->cpu ? place->cpu + (first - place->at) : NULL;
        char *held = handover->held + first;
        const char *written = handover->written + first;
        u64 at = 0, run;

        while (cpu && first < end &&
               (at = dk_view_changed(cpu, held, written, at, end - first)) < end - first) {
            run = dk_view_run(cpu + at, held + at, written + at, 0, end - first - at);
            if (all)
                dk_view_copy(held + at, cpu + at, run);
            at += run;
        }
    }
}

void dk_handover_begin(struct dk_handover *handover, u64 from, u64 to)
{
    handover->disturbed |= handover->writing != 0;
    handover->hull = handover->writing ? dk_lower(handover->hull, from) : from;
    handover->hull_end = handover->writing ? dk_higher(handover->hull_end, to) : to;
    handover->writing++;
}

void dk_handover_end(struct dk_handover *handover)
{
    if (handover->writing && !--handover->writing)
        handover->disturbed = false;
}

void dk_handover_own(struct dk_handover *handover, u64 from, u64 to, enum dk_byte_owner owner)
{
    if (!dk_owned_set(&handover->owners, from, to, owner))
        handover->blind = true;
}

/* [from, to) of a mapping, and what becomes of it in all mappings that have the bytes. */
struct change {
    struct dk_handover *handover;
    bool holds; /* what is there now is held */
    bool owns;  /* and is @owner's */
    enum dk_byte_owner owner;
};

/* Extent bytes of one mapping. */
static void change_bytes(struct dk_handover *handover, u64 from, u64 to, const struct change *change)
{
    u64 start = handover->before, end = start + handover->mapping.size;

    if (change->holds)
        dk_handover_hold(handover, from, to);
    from = dk_higher(from, start);
    to = dk_lower(to, end);
    if (change->owns && from < to)
        dk_handover_own(handover, from - start, to - start, change->owner);
}

struct changing {
    const struct change *change;
    phys_addr_t phys;
    u64 size;
};

static bool change_place(struct dk_interval *interval, void *data)
{
    const struct changing *changing = data;
    struct dk_place *place = dk_place_of(interval);
    phys_addr_t start = dk_higher(changing->phys, interval->start);
    phys_addr_t end = dk_lower(changing->phys + changing->size, interval->start + interval->size);

    if (place->cpu && place->handover != changing->change->handover)
        change_bytes(place->handover, dk_place_offset(place, start), dk_place_offset(place, end),
                     changing->change);
    return true;
}

/* Extent bytes [from, to) of change->handover, and the same bytes of others. */
static void change_all(struct dk_handovers *handovers, u64 from, u64 to, const struct change *change)
{
    struct dk_handover *handover = change->handover;
    const struct dk_place *place;

    change_bytes(handover, from, to, change);
    for (place = handover->places; place && handover->shared; place = place->next) {
        u64 first = dk_higher(from, place->at), end = dk_lower(to, place->at + place->by_phys.size);
        struct changing changing = { change, place->by_phys.start + (first - place->at), end - first };

        if (place->cpu && first < end)
            dk_places_touching(handovers, changing.phys, changing.size, change_place, &changing);
    }
}

/* ---- Changing hands ---- */

void dk_handover_sync(struct dk_checker *checker, struct dk_handover *handover, u64 offset, u64 size,
                      enum dma_data_direction direction, bool for_cpu, struct dk_handover_findings *findings)
{
    u64 from, to, start;

    if (!handover)
        return;
    dk_lock_take(&checker->handovers.lock);
    start = handover->before;
    from = start + offset;
    to = from + size;
    if (for_cpu) {
        bool loses = direction != DMA_TO_DEVICE;

        dk_handover_look(handover, from, to, loses ? DK_LOOK_FOR_CPU_LOSES : DK_LOOK_FOR_CPU, findings);
        dk_handover_look_edges(handover, from, to, checker->line, findings);
        /* What the library copies until it is synced is nobody's store. */
        if (loses) {
            dk_handover_begin(handover, from, to);
            checker->handovers.syncing++;
        }
    } else {
        dk_handover_look(handover, from, to, DK_LOOK_FOR_DEVICE, findings);
        dk_handover_look(handover, from > AROUND ? from - AROUND : 0, from, DK_LOOK_AROUND, findings);
        dk_handover_look(handover, to, to + AROUND, DK_LOOK_AROUND, findings);
    }
    dk_lock_give(&checker->handovers.lock);
}

/* The rest of the first and last line goes with the bytes beside it. */
static void widen(const struct dk_handover *handover, unsigned line, u64 *from, u64 *to)
{
    u64 end = handover->before + handover->mapping.size;

    if (handover->before && *from < line)
        *from = 0;
    if (handover->after && *to > end + handover->after - line)
        *to = end + handover->after;
}

void dk_handover_synced(struct dk_checker *checker, struct dk_handover *handover, u64 offset, u64 size,
                        enum dma_data_direction direction, bool for_cpu)
{
    const struct change change = {
        .handover = handover,
        /* Else what the CPU stored before is still to be synced for the device. */
        .holds = !for_cpu || direction != DMA_TO_DEVICE,
        .owns = true,
        .owner = for_cpu ? DK_OWNER_CPU : DK_OWNER_DEVICE,
    };
    u64 from, to;

    if (!handover)
        return;
    dk_lock_take(&checker->handovers.lock);
    from = handover->before + offset;
    to = from + size;
    widen(handover, checker->line, &from, &to);
    change_all(&checker->handovers, from, to, &change);
    if (for_cpu && change.holds) {
        dk_handover_end(handover);
        checker->handovers.syncing--;
    }
    handover->given = handover->given_end = 0;
    if (for_cpu) {
        handover->got = offset;
        handover->got_end = offset + size;
    } else {
        if (handover->front_struck && from == 0)
            handover->front_struck = false;
        if (handover->back_struck && to == dk_extent_size(handover))
            handover->back_struck = false;
        if (dk_owned_any(&handover->owners, DK_OWNER_CPU)) {
            handover->given = offset;
            handover->given_end = offset + size;
        }
    }
    dk_lock_give(&checker->handovers.lock);
}

static void change_memory(struct dk_checker *checker, phys_addr_t phys, u64 size, const struct change *change)
{
    struct changing changing = { change, phys, size };

    if (!size || checker->depth < 2)
        return;
    dk_lock_take(&checker->handovers.lock);
    dk_places_touching(&checker->handovers, phys, size, change_place, &changing);
    dk_lock_give(&checker->handovers.lock);
}

void dk_handover_changed(struct dk_checker *checker, phys_addr_t phys, u64 size)
{
    const struct change change = { .holds = true };

    change_memory(checker, phys, size, &change);
}

static bool tell_place(struct dk_interval *interval, void *data)
{
    const struct changing *told = data;
    struct dk_place *place = dk_place_of(interval);
    struct dk_handover *handover = place->handover;
    u64 start = handover->before;
    u64 at = dk_higher(dk_place_offset(place, dk_higher(told->phys, interval->start)), start);
    u64 to =
        dk_lower(dk_place_offset(place, dk_lower(told->phys + told->size, interval->start + interval->size)),
                 start + handover->mapping.size);
    u64 end;

    for (; place->cpu && at < to; at = end) {
        enum dk_byte_owner owner = dk_owned_at(&handover->owners, at - start, &end);

        end = dk_lower(end + start, to);
        if (owner == DK_OWNER_DEVICE)
            dk_handover_own(handover, at - start, end - start, DK_OWNER_TOLD);
    }
    return true;
}

void dk_handover_each_owned(struct dk_checker *checker, const struct dk_handover *handover,
                            void (*visit)(phys_addr_t phys, u64 size, bool cpu, void *data), void *data)
{
    struct dk_handovers *handovers = &checker->handovers;
    const struct dk_place *place;
    u64 at, end, run_end;

    dk_lock_take(&handovers->lock);
    for (place = handover->places; place; place = place->next) {
        u64 before = handover->before;

        if (!place->cpu)
            continue;
        at = dk_higher(place->at, before);
        end = dk_lower(place->at + place->by_phys.size, before + handover->mapping.size);
        for (; at < end; at = run_end) {
            enum dk_byte_owner owner = dk_owned_at(&handover->owners, at - before, &run_end);

            run_end = dk_lower(run_end + before, end);
            visit(place->by_phys.start + (at - place->at), run_end - at,
                  owner == DK_OWNER_CPU || owner == DK_OWNER_UNSYNCED, data);
        }
    }
    dk_lock_give(&handovers->lock);
}

void dk_handover_told(struct dk_checker *checker, phys_addr_t phys, u64 size)
{
    struct changing told = { NULL, phys, size };

    if (!size || checker->depth < 2)
        return;
    dk_lock_take(&checker->handovers.lock);
    dk_places_touching(&checker->handovers, phys, size, tell_place, &told);
    dk_lock_give(&checker->handovers.lock);
}
