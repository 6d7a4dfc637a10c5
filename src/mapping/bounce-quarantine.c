/* SPDX-License-Identifier: MIT */
#include "mapping/bounce-quarantine.h"

#include "base/alloc.h"
#include <pthread.h>

struct run {
    u64 first;
    unsigned slots, order;
};

struct dk_bounce_quarantine {
    dk_bounce_give *give;
    void *owner;
    u64 most;
    pthread_mutex_t lock; /* held while runs go back, so that who ends it finds them free afterwards */
    u64 held;             /* slots; atomic access, since it is read without the lock */
    unsigned first, count;
    struct run runs[DK_BOUNCE_QUARANTINE_RUNS]; /* a ring, the oldest at @first */
};

struct dk_bounce_quarantine *dk_bounce_quarantine_create(u64 slots, dk_bounce_give *give, void *owner)
{
    struct dk_bounce_quarantine *quarantine = dk_allocate(1, sizeof(*quarantine));

    if (!quarantine)
        return NULL;
    quarantine->give = give;
    quarantine->owner = owner;
    quarantine->most = slots;
    pthread_mutex_init(&quarantine->lock, NULL);
    return quarantine;
}

void dk_bounce_quarantine_destroy(struct dk_bounce_quarantine *quarantine)
{
    if (!quarantine)
        return;
    pthread_mutex_destroy(&quarantine->lock);
    dk_release(quarantine);
}

/* Under the lock. */
static void give_oldest(struct dk_bounce_quarantine *quarantine)
{
    const struct run *oldest = &quarantine->runs[quarantine->first];

    quarantine->give(quarantine->owner, oldest->first, oldest->slots, oldest->order);
    __atomic_sub_fetch(&quarantine->held, oldest->slots, __ATOMIC_RELAXED);
    quarantine->first = (quarantine->first + 1) % DK_BOUNCE_QUARANTINE_RUNS;
    quarantine->count--;
}

void dk_bounce_quarantine_add(struct dk_bounce_quarantine *quarantine, u64 first, unsigned slots,
                              unsigned order)
{
    unsigned place;

    pthread_mutex_lock(&quarantine->lock);
    while (quarantine->count &&
           (quarantine->count == DK_BOUNCE_QUARANTINE_RUNS || quarantine->held + slots > quarantine->most))
        give_oldest(quarantine);
    if (slots > quarantine->most) {
        quarantine->give(quarantine->owner, first, slots, order);
    } else {
        place = (quarantine->first + quarantine->count++) % DK_BOUNCE_QUARANTINE_RUNS;
        quarantine->runs[place] = (struct run){ first, slots, order };
        __atomic_add_fetch(&quarantine->held, slots, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&quarantine->lock);
}

bool dk_bounce_quarantine_end(struct dk_bounce_quarantine *quarantine)
{
    bool any;

    pthread_mutex_lock(&quarantine->lock);
    any = quarantine->count;
    while (quarantine->count)
        give_oldest(quarantine);
    pthread_mutex_unlock(&quarantine->lock);
    return any;
}

u64 dk_bounce_quarantine_held(const struct dk_bounce_quarantine *quarantine)
{
    return quarantine ? __atomic_load_n(&quarantine->held, __ATOMIC_RELAXED) : 0;
}
