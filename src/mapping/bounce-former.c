/* SPDX-License-Identifier: MIT */
/*
 * What buffers left in the slots of a bounce pool, so that no later one shows it to its device.
 *
 * A buffer overwrites its own bytes; the rest of its run is cleared, as far as it may hold anything. For a
 * run that somebody holds, or keeps in a magazine, its first record says how far that is: a size that comes
 * back finds nothing to clear. For slots that are free there is a byte each. Both are accessed by who holds
 * the run, which passes from one thread to the next under a lock of the magazines or the slots.
 */
#include "mapping/bounce-private.h"

#include "mapping/mapping.h"
#include <string.h>

/* What the bytes count in, so that a whole slot fits one. */
#define PIECE 16u

void dk_bounce_former_start(struct dk_bounce_pool *pool)
{
    memset(pool->soiled, DK_BOUNCE_SLOT / PIECE, (size_t)(pool->size / DK_BOUNCE_SLOT));
}

void dk_bounce_former_taken(struct dk_bounce_pool *pool, u64 first, unsigned slots)
{
    unsigned char *soiled = pool->soiled + first;

    while (slots && !soiled[slots - 1])
        slots--;
    pool->records[first].soiled = slots ? (slots - 1) * DK_BOUNCE_SLOT + soiled[slots - 1] * PIECE : 0;
}

void dk_bounce_former_given(struct dk_bounce_pool *pool, u64 first, unsigned slots)
{
    unsigned left = pool->records[first].soiled, whole = left / DK_BOUNCE_SLOT;
    unsigned char *soiled = pool->soiled + first;

    memset(soiled, DK_BOUNCE_SLOT / PIECE, whole);
    memset(soiled + whole, 0, slots - whole);
    if (whole < slots)
        soiled[whole] = (unsigned char)((left % DK_BOUNCE_SLOT + PIECE - 1) / PIECE);
}

/* For the CPU and for devices that do not snoop. False: it cannot be mapped. */
static bool clear(struct dk_bounce_pool *pool, phys_addr_t phys, size_t size)
{
    while (size) {
        size_t piece = DK_SLOT_SIZE - (size_t)(phys & (DK_SLOT_SIZE - 1));
        char *cpu = dk_memory_cached(pool->memory, phys);

        if (!cpu)
            return false;
        if (piece > size)
            piece = size;
        memset(cpu, 0, piece);
        if (pool->cache)
            dk_cache_clean(pool->cache, phys, piece);
        phys += piece;
        size -= piece;
    }
    return true;
}

bool dk_bounce_clear_rest(struct dk_bounce_pool *pool, struct dk_bounce_record *record, u64 before,
                          size_t size)
{
    phys_addr_t start = pool->base + (u64)(record - pool->records) * DK_BOUNCE_SLOT;
    u64 end = before + size, soiled = record->soiled;

    if (!clear(pool, start, before < soiled ? before : soiled))
        return false;
    if (soiled > end && !clear(pool, start + end, soiled - end))
        return false;
    record->soiled = (unsigned)end;
    return true;
}
