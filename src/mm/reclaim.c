/* SPDX-License-Identifier: MIT */
#include "mm/reclaim.h"

#include "base/alloc.h"
#include "base/context.h"
#include "base/log.h"

#include <dmakit/shrinker.h>
#include <stdarg.h>
#include <stdio.h>

/* Passes of an allocation that goes on failing although each freed something. */
#define MOST_PASSES 16
/* Above this order one pass is all: blocks that large seldom come together. */
#define COSTLY_ORDER 3
/* A pass asks for 1/8 of the objects first, then, while nothing is freed, for 1/4, 1/2 and all. */
#define LEAST_PRESSURE 3
#define BATCH 128

struct dk_reclaim {
    struct dk_memory *memory;
    pthread_rwlock_t lock; /* read while callbacks run: whoever removes one waits for them */
    struct list_head shrinkers;
    unsigned count; /* of shrinkers; atomic access, written under the lock */
    unsigned turn;  /* where the next pass begins, so that none is always first; atomic access */
    struct notifier_block *notifiers;
};

struct dk_reclaim *dk_reclaim_create(struct dk_memory *memory)
{
    struct dk_reclaim *reclaim = dk_allocate(1, sizeof(*reclaim));

    if (!reclaim)
        return NULL;
    reclaim->memory = memory;
    INIT_LIST_HEAD(&reclaim->shrinkers);
    pthread_rwlock_init(&reclaim->lock, NULL);
    return reclaim;
}

void dk_reclaim_destroy(struct dk_reclaim *reclaim)
{
    struct shrinker *shrinker, *next;

    if (!reclaim)
        return;
    list_for_each_entry_safe (shrinker, next, &reclaim->shrinkers, dk_link) {
        dk_log(DK_LOG_WARNING, "the shrinker %s is still registered",
               shrinker->dk_name ? shrinker->dk_name : "of the older form");
        /* Whoever made it may still free it. */
        shrinker->dk_reclaim = NULL;
    }
    pthread_rwlock_destroy(&reclaim->lock);
    dk_release(reclaim);
}

bool dk_reclaim_wanted(const struct dk_memory *memory)
{
    return __atomic_load_n(&memory->reclaim->count, __ATOMIC_RELAXED);
}

/* ---- A pass ---- */

static unsigned long share_of(const struct shrinker *shrinker, unsigned long objects, unsigned pressure)
{
    unsigned long share = objects >> pressure;

    if (shrinker->seeks > DEFAULT_SEEKS)
        share = share / (unsigned long)shrinker->seeks * DEFAULT_SEEKS;
    else if (!shrinker->seeks)
        share = objects;
    /* At least one, or a small cache would never be asked. */
    return share ? share : 1;
}

/* Asks one shrinker; returns how many objects it freed. */
static unsigned long shrink(struct shrinker *shrinker, gfp_t gfp, unsigned pressure)
{
    unsigned long batch = shrinker->batch > 0 ? (unsigned long)shrinker->batch : BATCH, freed = 0, left;
    struct shrink_control control = { .gfp_mask = gfp };

    left = shrinker->count_objects(shrinker, &control);
    if (!left || left == SHRINK_EMPTY || left == SHRINK_STOP)
        return 0;
    left = share_of(shrinker, left, pressure);
    while (left) {
        unsigned long scan = left < batch ? left : batch, got;

        control.nr_to_scan = scan;
        control.nr_scanned = scan;
        got = shrinker->scan_objects(shrinker, &control);
        if (got == SHRINK_STOP)
            break;
        freed += got;
        /* One that says it looked at nothing would be asked for ever. */
        if (!control.nr_scanned)
            break;
        left -= control.nr_scanned < left ? control.nr_scanned : left;
    }
    return freed;
}

/* Asks all shrinkers, each pass beginning with another. Under the lock, read. */
static unsigned long shrink_all(struct dk_reclaim *reclaim, gfp_t gfp, unsigned pressure)
{
    unsigned first = __atomic_fetch_add(&reclaim->turn, 1, __ATOMIC_RELAXED) % reclaim->count, i;
    struct list_head *at = reclaim->shrinkers.next;
    unsigned long freed = 0;

    for (i = 0; i < first; i++)
        at = at->next;
    for (i = 0; i < reclaim->count; i++) {
        if (at == &reclaim->shrinkers)
            at = at->next;
        freed += shrink(list_entry(at, struct shrinker, dk_link), gfp, pressure);
        at = at->next;
    }
    return freed;
}

static unsigned long pass(struct dk_reclaim *reclaim, gfp_t gfp)
{
    unsigned pressure = LEAST_PRESSURE + 1;
    unsigned long freed = 0;

    pthread_rwlock_rdlock(&reclaim->lock);
    dk_context()->reclaiming = true;
    while (reclaim->count && !freed && pressure)
        freed = shrink_all(reclaim, gfp, --pressure);
    dk_context()->reclaiming = false;
    pthread_rwlock_unlock(&reclaim->lock);
    return freed;
}

static unsigned long notify(struct dk_reclaim *reclaim)
{
    struct notifier_block *block;
    unsigned long freed = 0;

    pthread_rwlock_rdlock(&reclaim->lock);
    dk_context()->reclaiming = true;
    for (block = reclaim->notifiers; block; block = block->next) {
        if (block->notifier_call(block, 0, &freed) & NOTIFY_STOP_MASK)
            break;
    }
    dk_context()->reclaiming = false;
    pthread_rwlock_unlock(&reclaim->lock);
    return freed;
}

/* As in Linux: not for who has another way, nor where a notifier's own input and output could not go on. */
static bool may_notify(gfp_t gfp, u64 count)
{
    return gfp & __GFP_FS && !(gfp & (__GFP_NORETRY | __GFP_RETRY_MAYFAIL)) && count <= 1u << COSTLY_ORDER;
}

static unsigned most_passes(gfp_t gfp, u64 count)
{
    if (gfp & __GFP_NORETRY || (count > 1u << COSTLY_ORDER && !(gfp & __GFP_RETRY_MAYFAIL)))
        return 1;
    return MOST_PASSES;
}

bool dk_reclaim(struct dk_memory *memory, gfp_t gfp, u64 count, struct dk_reclaim_tries *tries)
{
    unsigned long freed;

    if (!tries->exhausted && tries->passes < most_passes(gfp, count)) {
        tries->passes++;
        freed = pass(memory->reclaim, gfp);
        tries->freed += freed;
        if (freed)
            return true;
        tries->exhausted = true;
    }
    if (tries->notified || !may_notify(gfp, count))
        return false;
    tries->notified = true;
    return notify(memory->reclaim);
}

void dk_reclaim_anew(struct dk_reclaim_tries *tries)
{
    *tries = (struct dk_reclaim_tries){ .waits = tries->waits };
}

/* ---- Coming and going ---- */

static int add(struct shrinker *shrinker, const char *call)
{
    struct dk_memory *memory = dk_current_for(call);
    struct dk_reclaim *reclaim;
    int error = 0;

    if (!memory || dk_memory_forked(memory))
        return -ENODEV;
    dk_might_sleep_gfp(memory, GFP_KERNEL, call);
    if (!shrinker->count_objects || !shrinker->scan_objects) {
        dk_log(DK_LOG_WARNING, "%s: a shrinker needs count_objects and scan_objects", call);
        return -EINVAL;
    }
    reclaim = memory->reclaim;
    pthread_rwlock_wrlock(&reclaim->lock);
    if (shrinker->dk_reclaim) {
        error = -EBUSY;
    } else {
        shrinker->dk_reclaim = reclaim;
        list_add_tail(&shrinker->dk_link, &reclaim->shrinkers);
        __atomic_store_n(&reclaim->count, reclaim->count + 1, __ATOMIC_RELAXED);
    }
    pthread_rwlock_unlock(&reclaim->lock);
    if (error)
        dk_log(DK_LOG_WARNING, "%s: the shrinker is registered already", call);
    return error;
}

/* False: it was not registered. */
static bool removed(struct shrinker *shrinker)
{
    struct dk_reclaim *reclaim = shrinker->dk_reclaim;

    if (!reclaim)
        return false;
    dk_might_sleep_gfp(reclaim->memory, GFP_KERNEL, "unregister_shrinker");
    pthread_rwlock_wrlock(&reclaim->lock);
    list_del(&shrinker->dk_link);
    shrinker->dk_reclaim = NULL;
    __atomic_store_n(&reclaim->count, reclaim->count - 1, __ATOMIC_RELAXED);
    pthread_rwlock_unlock(&reclaim->lock);
    return true;
}

struct shrinker *shrinker_alloc(unsigned flags, const char *format, ...)
{
    struct shrinker *shrinker;
    char name[64];
    va_list arguments;

    if (!dk_current_for("shrinker_alloc"))
        return NULL;
    va_start(arguments, format);
    vsnprintf(name, sizeof(name), format, arguments);
    va_end(arguments);
    shrinker = dk_allocate(1, sizeof(*shrinker));
    if (!shrinker)
        return NULL;
    shrinker->flags = flags;
    shrinker->seeks = DEFAULT_SEEKS;
    shrinker->dk_name = dk_copy_string(name);
    if (!shrinker->dk_name) {
        dk_release(shrinker);
        return NULL;
    }
    return shrinker;
}

void shrinker_register(struct shrinker *shrinker)
{
    (void)add(shrinker, "shrinker_register");
}

void shrinker_free(struct shrinker *shrinker)
{
    if (!shrinker)
        return;
    (void)removed(shrinker);
    if (!shrinker->dk_name) {
        dk_log(DK_LOG_WARNING, "shrinker_free: %p does not come from shrinker_alloc()", (void *)shrinker);
        return;
    }
    dk_release(shrinker->dk_name);
    dk_release(shrinker);
}

int dk_register_shrinker(struct shrinker *shrinker)
{
    if (!shrinker->seeks)
        shrinker->seeks = DEFAULT_SEEKS;
    return add(shrinker, "register_shrinker");
}

void unregister_shrinker(struct shrinker *shrinker)
{
    if (!removed(shrinker))
        dk_log(DK_LOG_WARNING, "unregister_shrinker: %p is not registered", (void *)shrinker);
}

/* Where @block stands in the chain, or would: before the first of a lower priority. */
static struct notifier_block **place_of(struct dk_reclaim *reclaim, const struct notifier_block *block,
                                        bool *there)
{
    struct notifier_block **place = &reclaim->notifiers, **at;

    *there = false;
    while (*place && (*place)->priority >= block->priority && *place != block)
        place = &(*place)->next;
    for (at = &reclaim->notifiers; *at; at = &(*at)->next) {
        if (*at == block) {
            *there = true;
            return at;
        }
    }
    return place;
}

int register_oom_notifier(struct notifier_block *block)
{
    struct dk_memory *memory = dk_current_for("register_oom_notifier");
    struct notifier_block **place;
    bool there;

    if (!memory || dk_memory_forked(memory))
        return -ENODEV;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "register_oom_notifier");
    pthread_rwlock_wrlock(&memory->reclaim->lock);
    place = place_of(memory->reclaim, block, &there);
    if (!there) {
        block->next = *place;
        *place = block;
    }
    pthread_rwlock_unlock(&memory->reclaim->lock);
    return there ? -EEXIST : 0;
}

int unregister_oom_notifier(struct notifier_block *block)
{
    struct dk_memory *memory = dk_current_for("unregister_oom_notifier");
    struct notifier_block **place;
    bool there;

    if (!memory || dk_memory_forked(memory))
        return -ENODEV;
    dk_might_sleep_gfp(memory, GFP_KERNEL, "unregister_oom_notifier");
    pthread_rwlock_wrlock(&memory->reclaim->lock);
    place = place_of(memory->reclaim, block, &there);
    if (there)
        *place = block->next;
    pthread_rwlock_unlock(&memory->reclaim->lock);
    return there ? 0 : -ENOENT;
}
