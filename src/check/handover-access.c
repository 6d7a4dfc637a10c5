/* SPDX-License-Identifier: MIT */
/*
 * Devices' accesses to watched mappings.
 */
#include "check/handover-private.h"

struct access {
    struct dk_checker *checker;
    dma_addr_t dma;
    phys_addr_t phys;
    u64 length;
    const char *from; /* NULL: it reads */
    bool snoops;      /* what it writes is in the CPU's view at once */
    u64 ticket;
    unsigned tracked; /* places that it writes */
    struct dk_place *place;
    struct dk_handover_findings *findings;
};

/* Whether the device came by this mapping, and not by another's address. */
static bool is_addressed(const struct dk_place *place, const struct access *access)
{
    const struct dk_handover *handover = place->handover;

    return access->dma + handover->before - handover->mapping.dma == dk_place_offset(place, access->phys);
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
    phys_addr_t start = dk_higher(access->phys, interval->start);
    phys_addr_t end = dk_lower(access->phys + access->length, interval->start + interval->size);
    u64 from = dk_place_offset(place, start), to = dk_place_offset(place, end);

    /* Of the syncs that are under way, one may be of another mapping of these bytes. */
    if (is_addressed(place, access) && (!handover->shared || !access->checker->handovers.syncing)) {
        dk_handover_look(handover, from, to, access->from ? DK_LOOK_WRITE : DK_LOOK_READ, access->findings);
        if (!access->from)
            dk_handover_look_unsynced(handover, from, to, access->findings);
        else
            strike(handover, from, to, access->checker->line);
    } else if (place->cpu && access->from) {
        dk_handover_refilled(handover, from, to, false);
    }
    if (!access->from)
        return true;
    take_unsynced(handover, from, to);
    if (place->cpu) {
        begin_write(handover, from, to, access, access->from + (start - access->phys));
        access->tracked++;
        access->place = place;
    }
    return true;
}

/*
 * A device that snoops is about to write all of a simple mapping that is its own: the ticket. 0: it is
 * otherwise, or the CPU has stored something, and nothing was done.
 */
static u64 write_whole(struct dk_handovers *handovers, dma_addr_t dma, phys_addr_t phys, u64 length,
                       const void *from)
{
    struct dk_place *place;
    struct dk_handover *handover;
    u64 ticket = 0;

    dk_lock_take(&handovers->lock);
    place = dk_place_exactly(handovers, phys, length);
    handover = place ? place->handover : NULL;
    if (handover && dk_handover_is_simple(handover) && handover->mapping.dma == dma &&
        handover->owners.own[0].owner == DK_OWNER_DEVICE &&
        dk_view_same(place->cpu, handover->held, length)) {
        dk_view_copy(handover->held, from, length);
        dk_handover_begin(handover, 0, length);
        ticket = ++handovers->ticket;
        handovers->last_written = place;
    }
    dk_lock_give(&handovers->lock);
    return ticket;
}

/* Some place may have bytes of it. */
static __attribute__((noinline)) u64 access_memory(struct dk_machine *machine, struct device *dev,
                                                   dma_addr_t dma, phys_addr_t phys, u64 length,
                                                   const void *from)
{
    struct dk_checker *checker = machine->checker;
    struct dk_handovers *handovers = &checker->handovers;
    struct dk_handover_findings findings;
    struct access access = {
        .checker = checker,
        .dma = dma,
        .phys = phys,
        .length = length,
        .from = from,
        .snoops = !machine->cache || dev->dma_coherent,
        .findings = &findings,
    };

    if (from && access.snoops) {
        access.ticket = write_whole(handovers, dma, phys, length, from);
        if (access.ticket)
            return access.ticket;
    }
    findings.count = 0;
    dk_lock_take(&handovers->lock);
    dk_places_touching(handovers, phys, length, access_place, &access);
    if (access.tracked) {
        access.ticket = ++handovers->ticket;
        handovers->last_written = access.tracked == 1 ? access.place : NULL;
    }
    dk_lock_give(&handovers->lock);
    if (findings.count)
        dk_handover_report(checker, from ? "dk_master_write" : "dk_master_read",
                           from ? "device-write" : "device-read", &findings);
    return access.ticket;
}

u64 dk_handover_access(struct dk_machine *machine, struct device *dev, dma_addr_t dma, phys_addr_t phys,
                       u64 length, const void *from)
{
    if (!length || !dk_places_any(&machine->checker->handovers, phys, length))
        return 0;
    return access_memory(machine, dev, dma, phys, length, from);
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

    dk_lock_take(&handovers->lock);
    /* Mostly nothing has begun since. */
    if (ticket == handovers->ticket && handovers->last_written)
        end_write(&handovers->last_written->by_phys, &written);
    else
        dk_places_touching(handovers, phys, length, end_write, &written);
    dk_lock_give(&handovers->lock);
}
