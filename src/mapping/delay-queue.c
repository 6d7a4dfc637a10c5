/* SPDX-License-Identifier: MIT */
#include "mapping/delay-queue.h"

#include "base/alloc.h"
#include <pthread.h>

struct run {
    u64 start, size;
    unsigned tag;
};

struct dk_delay_queue {
    dk_delay_give *give;
    void *owner;
    u64 largest;          /* units in it, at most */
    pthread_mutex_t lock; /* held while runs go on, so that who flushes finds them gone afterwards */
    u64 held;             /* units; written under the lock, read without it */
    unsigned first, count, most;
    struct run runs[]; /* a ring of @most, the oldest at @first */
};

struct dk_delay_queue *dk_delay_queue_create(unsigned runs, u64 size, dk_delay_give *give, void *owner)
{
    struct dk_delay_queue *queue = dk_allocate(1, sizeof(*queue) + runs * sizeof(queue->runs[0]));

    if (!queue)
        return NULL;
    queue->give = give;
    queue->owner = owner;
    queue->largest = size;
    queue->most = runs;
    pthread_mutex_init(&queue->lock, NULL);
    return queue;
}

void dk_delay_queue_destroy(struct dk_delay_queue *queue)
{
    if (!queue)
        return;
    dk_delay_queue_flush(queue);
    pthread_mutex_destroy(&queue->lock);
    dk_release(queue);
}

static void set_held(struct dk_delay_queue *queue, u64 held)
{
    __atomic_store_n(&queue->held, held, __ATOMIC_RELAXED);
}

/* Under the lock. */
static void give_oldest(struct dk_delay_queue *queue)
{
    const struct run *oldest = &queue->runs[queue->first];

    queue->give(queue->owner, oldest->start, oldest->size, oldest->tag);
    set_held(queue, queue->held - oldest->size);
    queue->first = queue->first + 1 == queue->most ? 0 : queue->first + 1;
    queue->count--;
}

void dk_delay_queue_add(struct dk_delay_queue *queue, u64 start, u64 size, unsigned tag)
{
    unsigned place;

    if (size > queue->largest) {
        queue->give(queue->owner, start, size, tag);
        return;
    }
    pthread_mutex_lock(&queue->lock);
    while (queue->count == queue->most || queue->held + size > queue->largest)
        give_oldest(queue);
    place = queue->first + queue->count++;
    queue->runs[place < queue->most ? place : place - queue->most] = (struct run){ start, size, tag };
    set_held(queue, queue->held + size);
    pthread_mutex_unlock(&queue->lock);
}

bool dk_delay_queue_flush(struct dk_delay_queue *queue)
{
    bool any;

    pthread_mutex_lock(&queue->lock);
    any = queue->count;
    while (queue->count)
        give_oldest(queue);
    pthread_mutex_unlock(&queue->lock);
    return any;
}

u64 dk_delay_queue_held(const struct dk_delay_queue *queue)
{
    return queue ? __atomic_load_n(&queue->held, __ATOMIC_RELAXED) : 0;
}
