/* SPDX-License-Identifier: MIT */
/*
 * How much of a bounce pool is used, and who holds it.
 */
#include "mapping/bounce-private.h"

#include "base/log.h"
#include "base/magazine.h"
#include "mapping/mapping.h"
#include <stdio.h>
#include <time.h>

#define QUIET_MS 1000

/* Slots in magazines. */
static u64 kept_slots(const struct dk_bounce_pool *pool)
{
    u64 kept = 0;

    for (unsigned i = 0; pool->magazines && i < DK_BOUNCE_ORDERS; i++)
        kept += dk_magazines_held(pool->magazines, i) << i;
    return kept;
}

void dk_bounce_usage(const struct dk_bounce_pool *pool, u64 *slots, u64 *used, u64 *most)
{
    u64 taken, kept;

    dk_bounce_slots_usage(pool->slots, &taken, most);
    kept = kept_slots(pool) + dk_delay_queue_held(pool->quarantine);
    *slots = pool->size / DK_BOUNCE_SLOT;
    /* They change meanwhile. */
    *used = kept < taken ? taken - kept : 0;
    if (*most < *used)
        *most = *used;
}

#define HOLDERS 64 /* devices that are told apart */
#define NAMED 3

struct holder {
    const struct device *dev;
    u64 bytes;
    unsigned buffers;
};

static unsigned find_holders(const struct dk_bounce_pool *pool, struct holder *holders)
{
    u64 slots = pool->size / DK_BOUNCE_SLOT, slot = 0;
    unsigned found = 0, i;

    while (slot < slots) {
        const struct dk_bounce_record *record = &pool->records[slot];
        u64 shape = LOAD(record->shape);
        const struct device *dev = LOAD(record->dev);

        slot += shape && slots_of(record, shape) ? slots_of(record, shape) : 1;
        if (!shape)
            continue;
        for (i = 0; i < found && holders[i].dev != dev; i++)
            ;
        if (i == HOLDERS)
            continue;
        if (i == found)
            holders[found++] = (struct holder){ .dev = dev };
        holders[i].bytes += size_of(shape);
        holders[i].buffers++;
    }
    return found;
}

/* Writes the largest holders into @text, as " by PATH (N bytes in M buffers), ...". */
static void describe_holders(const struct dk_bounce_pool *pool, char *text, size_t size)
{
    struct holder holders[HOLDERS];
    unsigned found = find_holders(pool, holders);
    size_t used = 0;

    text[0] = 0;
    for (unsigned n = 0; n < NAMED && n < found; n++) {
        struct holder *largest = &holders[n], other;

        for (unsigned i = n + 1; i < found; i++) {
            if (holders[i].bytes > largest->bytes)
                largest = &holders[i];
        }
        other = *largest;
        *largest = holders[n];
        holders[n] = other;
        used += (size_t)snprintf(text + used, size - used, "%s %s (%llu bytes in %u buffer%s)",
                                 n ? "," : " by", dk_device_path(other.dev), other.bytes, other.buffers,
                                 other.buffers == 1 ? "" : "s");
        if (used >= size)
            return;
    }
}

/* Whether a line may be logged now: *left_out lines were not since the last one. */
static bool may_log(struct dk_bounce_pool *pool, u64 *left_out)
{
    u64 until = LOAD(pool->quiet_until);
    struct timespec time;
    u64 now;

    clock_gettime(CLOCK_MONOTONIC, &time);
    now = (u64)time.tv_sec * 1000 + (u64)time.tv_nsec / 1000000;
    if (now < until || !__atomic_compare_exchange_n(&pool->quiet_until, &until, now + QUIET_MS, false,
                                                    __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
        __atomic_add_fetch(&pool->left_out, 1, __ATOMIC_RELAXED);
        return false;
    }
    *left_out = __atomic_exchange_n(&pool->left_out, 0, __ATOMIC_RELAXED);
    return true;
}

phys_addr_t dk_bounce_refuse(struct dk_bounce_pool *pool, const struct device *dev, size_t size, bool never,
                             unsigned long attrs)
{
    char holders[640], before[64] = "", keepers[96] = "";
    u64 slots, used, most, kept, left_out;

    if (attrs & DMA_ATTR_NO_WARN || !may_log(pool, &left_out))
        return NOWHERE;
    if (left_out)
        snprintf(before, sizeof(before), "; %llu lines like this were left out", left_out);
    if (never) {
        dk_log(DK_LOG_WARNING,
               "bounce pool %s: %s wants %zu bytes in one buffer, and 1 to %zu are possible%s", pool->name,
               dk_device_path(dev), size, dk_bounce_max_mapping(dev), before);
        return NOWHERE;
    }
    describe_holders(pool, holders, sizeof(holders));
    dk_bounce_usage(pool, &slots, &used, &most);
    kept = kept_slots(pool);
    if (kept)
        snprintf(keepers, sizeof(keepers), "; %llu are kept by threads for their next buffers", kept);
    dk_log(DK_LOG_WARNING, "bounce pool %s: no room for %zu bytes of %s: %llu of %llu slots are used%s%s%s",
           pool->name, size, dk_device_path(dev), used, slots, holders, keepers, before);
    return NOWHERE;
}

void dk_bounce_log_left(const struct dk_bounce_pool *pool)
{
    u64 slots, used, most;
    char holders[640];

    dk_bounce_usage(pool, &slots, &used, &most);
    if (!used)
        return;
    describe_holders(pool, holders, sizeof(holders));
    dk_log(DK_LOG_WARNING, "bounce pool %s goes while %llu of its %llu slots are used%s", pool->name, used,
           slots, holders);
}
