/* SPDX-License-Identifier: MIT */
/*
 * Devices' accesses to watched mappings.
 */
#include "check/handover-private.h"

struct access {
    struct dk_checker *checker;
    const struct dk_master_move *move;
    bool snoops; /* what it writes is in the CPU's view at once */
    u64 ticket;
    unsigned tracked; /* places that it writes */
    struct dk_place *place;
    struct dk_handover_findings *findings;
};

/* Whether the device came by this mapping, and not by another's address. */
static bool is_addressed(const struct dk_place *place, const struct access *access)
{
    const struct dk_handover *handover = place->handover;

    return access->move->dma + handover->before - handover->mapping.dma ==
           dk_place_offset(place, access->move->phys);
}

/* The device strikes the first or last line of the mapping. */
static void strike(struct dk_handover *handover, u64 from, u64 to, unsigned line)
{
    u64 start = handover->before, end = start + handover->mapping.size;

    if (start && from < line && to > start)
        handover->front_struck = true;
    if (handover->after && from < end && to > end + handover->after - line)
        handover->back_struck = true;
}

static void begin_write(struct dk_handover *handover, u64 from, u64 to, const struct access *access,
                        const char *bytes)
{
    if (access->snoops)
        dk_view_copy(handover->held + from, bytes, to - from);
    if (handover->written)
        dk_view_copy(handover->written + from, bytes, to - from);
    dk_handover_begin(handover, from, to);
}

/* What the device wrote is the device's, however it got there. */
static void take_unsynced(struct dk_handover *handover, u64 from, u64 to)
{
    u64 at = dk_higher(from, handover->before) - handover->before, end;

    to = dk_lower(to, handover->before + handover->mapping.size);
    for (; at + handover->before < to; at = end) {
        enum dk_byte_owner owner = dk_owned_at(&handover->owners, at, &end);

        end = dk_lower(end, to - handover->before);
        if (owner == DK_OWNER_UNSYNCED)
            dk_handover_own(handover, at, end, DK_OWNER_DEVICE);
    }
}

static bool access_place(struct dk_interval *interval, void *data)
{
    struct access *access = data;
    struct dk_place *place = dk_place_of(interval);
    struct dk_handover *handover = place->handover;
    const struct dk_master_move *move = access->move;
    phys_addr_t start = dk_higher(move->phys, interval->start);
    phys_addr_t end = dk_lower(move->phys + move->length, interval->start + interval->size);
    u64 from = dk_place_offset(place, start), to = dk_place_offset(place, end);

    /* Of the syncs that are under way, one may be of another mapping of these bytes. */
    if (is_addressed(place, access) && (!handover->shared || !access->checker->handovers.syncing)) {
        dk_handover_look(handover, from, to, move->from ? DK_LOOK_WRITE : DK_LOOK_READ, access->findings);
        if (!move->from)
            dk_handover_look_unsynced(handover, from, to, access->findings);
        else
            strike(handover, from, to, access->checker->line);
    } else if (place->cpu && move->from) {
        dk_handover_refilled(handover, from, to, false);
    }
    if (!move->from)
        return true;
    take_unsynced(handover, from, to);
    if (place->cpu) {
        begin_write(handover, from, to, access, (const char *)move->from + (start - move->phys));
        access->tracked++;
        access->place = place;
    }
    return true;
}

u64 dk_handover_access_simple(struct dk_checker *checker, struct dk_handover *handover,
                              const struct dk_master_move *move)
{
    struct dk_handovers *handovers = &checker->handovers;
    struct dk_place *place = &handover->first;
    u64 at, ticket = DK_ACCESS_UNSURE;

    /* Else what it writes is not in the CPU's view. */
    if (move->from && checker->machine->cache && !handover->dev->dma_coherent)
        return DK_ACCESS_UNSURE;
    dk_lock_take(&handovers->lock);
    at = move->phys - place->by_phys.start;
    if (dk_handover_is_simple(handover) && at < place->by_phys.size &&
        move->length <= place->by_phys.size - at && handover->owners.own[0].owner == DK_OWNER_DEVICE &&
        dk_view_same(place->cpu + at, handover->held + at, move->length))
        ticket = 0;
    if (!ticket && move->from) {
        dk_view_copy(handover->held + at, move->from, move->length);
        dk_handover_begin(handover, at, at + move->length);
        ticket = ++handovers->ticket;
        handovers->last_written = place;
    }
    dk_lock_give(&handovers->lock);
    return ticket;
}

/* Some place may have bytes of it. */
static __attribute__((noinline)) u64 access_memory(struct dk_machine *machine,
                                                   const struct dk_master_move *move)
{
    struct dk_checker *checker = machine->checker;
    struct dk_handovers *handovers = &checker->handovers;
    struct dk_handover_findings findings;
    struct access access = {
        .checker = checker,
        .move = move,
        .snoops = !machine->cache || move->dev->dma_coherent,
        .findings = &findings,
    };

    findings.count = 0;
    dk_lock_take(&handovers->lock);
    dk_places_touching(handovers, move->phys, move->length, access_place, &access);
    if (access.tracked) {
        access.ticket = ++handovers->ticket;
        handovers->last_written = access.tracked == 1 ? access.place : NULL;
    }
    dk_lock_give(&handovers->lock);
    if (findings.count)
        dk_handover_report(checker, move->from ? "dk_master_write" : "dk_master_read",
                           move->from ? "device-write" : "device-read", &findings);
    return access.ticket;
}

u64 dk_handover_access(struct dk_machine *machine, const struct dk_master_move *move)
{
    if (!move->length || !dk_handover_any(&machine->checker->handovers, move->phys, move->length))
        return 0;
    return access_memory(machine, move);
}

struct written {
    phys_addr_t phys;
    u64 length;
    u64 ticket;
    bool moved;
};

static bool end_write(struct dk_interval *interval, void *data)
{
    const struct written *written = data;
    struct dk_place *place = dk_place_of(interval);
    struct dk_handover *handover = place->handover;
    phys_addr_t start = dk_higher(written->phys, interval->start);
    phys_addr_t end = dk_lower(written->phys + written->length, interval->start + interval->size);
    u64 from = dk_place_offset(place, start), to = dk_place_offset(place, end);

    if (!place->cpu)
        return true;
    /* It was mapped while the device was writing: what was held may be half of it. */
    if (handover->since > written->ticket) {
        dk_handover_hold(handover, from, to);
        return true;
    }
    if (!written->moved || handover->disturbed)
        dk_handover_hold(handover, dk_lower(from, handover->hull), dk_higher(to, handover->hull_end));
    else if (handover->written)
        dk_handover_refilled(handover, from, to, true);
    dk_handover_end(handover);
    return true;
}

void dk_handover_written(struct dk_machine *machine, phys_addr_t phys, u64 length, u64 ticket, bool moved)
{
    struct dk_handovers *handovers = &machine->checker->handovers;
    struct written written = { phys, length, ticket, moved };
    struct dk_place *place;

    dk_lock_take(&handovers->lock);
    /* Mostly nothing has begun since. */
    place = ticket == handovers->ticket ? handovers->last_written : NULL;
    if (place && moved && !place->handover->written && !place->handover->disturbed)
        dk_handover_end(place->handover);
    else if (place)
        end_write(&place->by_phys, &written);
    else
        dk_places_touching(handovers, phys, length, end_write, &written);
    dk_lock_give(&handovers->lock);
}
