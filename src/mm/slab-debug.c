/* SPDX-License-Identifier: MIT */
/*
 * What makes misuse of objects visible: patterns in free objects (SLAB_POISON) and between objects
 * (SLAB_RED_ZONE).
 *
 * Red zones are written once, when their slab is made, and never repaired: a device may own the bytes around
 * them. What is reported is remembered beside the slab instead.
 */
#include "mm/slab.h"

#include "base/log.h"
#include <stdio.h>
#include <string.h>

/* The first byte of [start, start + count) that is not @value; NULL: all are. */
static const char *first_other(const char *start, size_t count, unsigned char value)
{
    size_t i;

    /* All alike, as nearly always: the C library is quicker to say so. */
    if (count && (unsigned char)*start == value && !memcmp(start, start + 1, count - 1))
        return NULL;
    for (i = 0; i < count; i++) {
        if ((unsigned char)start[i] != value)
            return start + i;
    }
    return NULL;
}

void dk_slab_paint(struct dk_slab *slab)
{
    const struct kmem_cache *cache = slab->cache;
    size_t zone = cache->stride - cache->size, i;
    char *object = slab->start;

    if (slab->damaged)
        memset(slab->start - cache->lead, DK_RED_ZONE, cache->lead);
    for (i = 0; i < slab->objects; i++, object += cache->stride) {
        if (slab->damaged)
            memset(object + cache->size, DK_RED_ZONE, zone);
        if (cache->poison)
            dk_poison_free(object, cache->size);
    }
}

void dk_slab_note(struct dk_slab_damage *damage, const struct kmem_cache *cache, const char *object,
                  const char *at, bool red_zone)
{
    if (damage->memory)
        return;
    damage->memory = cache->state->memory;
    snprintf(damage->cache, sizeof(damage->cache), "%s", cache->name);
    damage->size = cache->size;
    damage->object = object;
    damage->at = at;
    damage->red_zone = red_zone;
    damage->freed_by = NULL;
    damage->freed_stack = 0;
}

/* Looks at red zone @index: 0 is before the first object, and each other one behind the object before it. */
static void check_zone(struct dk_slab *slab, size_t index, const char *object, struct dk_slab_damage *damage)
{
    const struct kmem_cache *cache = slab->cache;
    size_t length = index ? cache->stride - cache->size : cache->lead;
    const char *zone = slab->start - cache->lead, *at;

    if (slab->damaged[index / 64] >> (index % 64) & 1)
        return;
    if (index)
        zone = slab->start + (index - 1) * cache->stride + cache->size;
    at = first_other(zone, length, DK_RED_ZONE);
    if (!at)
        return;
    slab->damaged[index / 64] |= 1ull << (index % 64);
    dk_slab_note(damage, cache, object, at, true);
}

void dk_slab_check_zones(struct dk_slab *slab, size_t index, struct dk_slab_damage *damage)
{
    const char *object = slab->start + index * slab->cache->stride;

    if (!slab->damaged)
        return;
    check_zone(slab, index + 1, object, damage);
    check_zone(slab, index, object, damage);
}

const char *dk_poison_find(const char *start, size_t size)
{
    const char *at = first_other(start, size - 1, DK_POISON_FREE);

    return at ? at : first_other(start + size - 1, 1, DK_POISON_FREE_LAST);
}

void dk_poison_free(char *start, size_t size)
{
    memset(start, DK_POISON_FREE, size - 1);
    start[size - 1] = (char)DK_POISON_FREE_LAST;
}

void dk_object_check_poison(const struct kmem_cache *cache, const char *object, struct dk_slab_damage *damage)
{
    const char *at = cache->poison && !damage->memory ? dk_poison_find(object, cache->size) : NULL;

    if (at)
        dk_slab_note(damage, cache, object, at, false);
}

void dk_object_poison_fresh(const struct kmem_cache *cache, char *object)
{
    memset(object, DK_POISON_FRESH, cache->size);
}

void dk_slab_report(const struct dk_slab_damage *damage, const char *call)
{
    struct dk_finding finding = { .call = call, .cpu = damage->at, .dma = (dma_addr_t)-1, .length = 1 };
    ptrdiff_t offset = damage->at - damage->object;
    char what[256];

    if (!damage->memory)
        return;
    if (!damage->red_zone) {
        finding.class_name = "slab-use-after-free";
        snprintf(what, sizeof(what), "byte %td of an object of %s was written after the object was freed",
                 offset, damage->cache);
        if (damage->freed_by) {
            snprintf(what, sizeof(what),
                     "byte %td of %zu of an object of %s was written after this free of it, as %s() found",
                     offset, damage->size, damage->cache, call);
            finding.call = damage->freed_by;
            finding.stack = damage->freed_stack;
        }
    } else {
        finding.class_name = "slab-overrun";
        if (offset < 0)
            snprintf(what, sizeof(what),
                     "the byte %td before an object of %s was written, which is no object's", -offset,
                     damage->cache);
        else
            snprintf(what, sizeof(what), "byte %td of an object of %s was written, which has %zu bytes",
                     offset, damage->cache, damage->size);
    }
    dk_log(DK_LOG_WARNING, "%s: %p: %s", call, (const void *)damage->at, what);
    finding.what = what;
    dk_hooks_finding(damage->memory->hooks, &finding);
}

void dk_slab_refuse(struct dk_memory *memory, const char *class_name, const char *call, const void *object,
                    const char *wrong)
{
    struct dk_finding finding = {
        .class_name = class_name, .call = call, .cpu = object, .dma = (dma_addr_t)-1
    };
    char what[160];

    dk_log(DK_LOG_WARNING, "%s: %p %s", call, object, wrong);
    if (!memory)
        return;
    snprintf(what, sizeof(what), "what was given to %s %s", call, wrong);
    finding.what = what;
    dk_hooks_finding(memory->hooks, &finding);
}
