/* SPDX-License-Identifier: MIT */
#include "base/magazine.h"

#include "base/alloc.h"
#include <pthread.h>

/* Lines that neighbouring threads' magazines must not share; a power of two. */
#define LINE ((size_t)64)
/* Full magazines of a class that wait for a thread; what is more goes back to the source. */
#define DEPOT_MAGAZINES 16

struct dk_magazine_depot {
    pthread_mutex_t lock; /* guards all but the capacity, and is never held while the source is called */
    unsigned capacity;    /* of the class's magazines; never changes */
    unsigned full_count;  /* written under the lock, accessed atomically by dk_magazines_held() */
    unsigned empty_count;
    u64 *full[DEPOT_MAGAZINES];
    u64 *empty[DEPOT_MAGAZINES];
};

/* As dk_allocate(), at the start of a line, and with the last line to itself. Free with release_lines(). */
static void *allocate_lines(size_t count, size_t size)
{
    size_t bytes = count * size, room = LINE + sizeof(void *);
    void *memory = dk_allocate(1, (bytes + LINE - 1) / LINE * LINE + room);
    void **lines;

    if (!memory)
        return NULL;
    lines = (void **)(((uintptr_t)memory + room) & ~(uintptr_t)(LINE - 1));
    lines[-1] = memory;
    return lines;
}

static void release_lines(void *lines)
{
    if (lines)
        dk_release(((void **)lines)[-1]);
}

struct dk_magazines *dk_magazines_create(const struct dk_magazine_source *source, void *owner,
                                         const unsigned *capacities, unsigned classes)
{
    struct dk_magazines *magazines = dk_allocate(1, sizeof(*magazines));

    if (!magazines)
        return NULL;
    magazines->depots = dk_allocate(classes, sizeof(*magazines->depots));
    if (!magazines->depots) {
        dk_release(magazines);
        return NULL;
    }
    for (unsigned i = 0; i < classes; i++) {
        magazines->depots[i].capacity = capacities[i];
        pthread_mutex_init(&magazines->depots[i].lock, NULL);
    }
    magazines->source = *source;
    magazines->owner = owner;
    magazines->classes = classes;
    return magazines;
}

/* A magazine out of @list, which the depot's lock guards with its @count; NULL: there is none. */
static u64 *depot_take(struct dk_magazine_depot *depot, u64 **list, unsigned *count)
{
    u64 *items = NULL;

    pthread_mutex_lock(&depot->lock);
    if (*count) {
        items = list[*count - 1];
        __atomic_store_n(count, *count - 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&depot->lock);
    return items;
}

/* False: @list has enough of them. */
static bool depot_give(struct dk_magazine_depot *depot, u64 **list, unsigned *count, u64 *items)
{
    bool room;

    pthread_mutex_lock(&depot->lock);
    room = *count < DEPOT_MAGAZINES;
    if (room) {
        list[*count] = items;
        __atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&depot->lock);
    return room;
}

static u64 *take_full(struct dk_magazine_depot *depot)
{
    return depot_take(depot, depot->full, &depot->full_count);
}

static bool give_full(struct dk_magazine_depot *depot, u64 *items)
{
    return depot_give(depot, depot->full, &depot->full_count, items);
}

/* An empty magazine; NULL: out of memory. */
static u64 *take_empty(struct dk_magazine_depot *depot)
{
    u64 *items = depot_take(depot, depot->empty, &depot->empty_count);

    return items ? items : allocate_lines(depot->capacity, sizeof(*items));
}

static void give_empty(struct dk_magazine_depot *depot, u64 *items)
{
    if (!depot_give(depot, depot->empty, &depot->empty_count, items))
        release_lines(items);
}

static void set_count(unsigned *count, unsigned value)
{
    __atomic_store_n(count, value, __ATOMIC_RELAXED);
}

static void spill(struct dk_magazines *magazines, unsigned class_index, const u64 *items, unsigned count)
{
    if (count)
        magazines->source.spill(magazines->owner, class_index, items, count);
}

/*
 * This thread's magazines of @class_index, made at its first call. NULL: the class is not cached, the thread
 * has no number, or out of memory.
 */
static struct dk_magazine_pair *pair_here(struct dk_magazines *magazines, unsigned class_index)
{
    struct dk_magazine_depot *depot = &magazines->depots[class_index];
    unsigned number = dk_thread_number();
    struct dk_magazine_pair *pair;
    u64 *loaded, *spare;

    if (!depot->capacity || number >= DK_THREAD_NUMBERS)
        return NULL;
    pair = magazines->sets[number];
    if (!pair) {
        pair = allocate_lines(magazines->classes, sizeof(*pair));
        if (!pair)
            return NULL;
        __atomic_store_n(&magazines->sets[number], pair, __ATOMIC_RELEASE);
    }
    pair += class_index;
    if (pair->items)
        return pair;
    loaded = take_empty(depot);
    spare = loaded ? take_empty(depot) : NULL;
    if (!spare) {
        if (loaded)
            give_empty(depot, loaded);
        return NULL;
    }
    pair->items = loaded;
    pair->spare = spare;
    pair->capacity = depot->capacity;
    return pair;
}

static void exchange(struct dk_magazine_pair *pair)
{
    u64 *items = pair->items;
    unsigned count = pair->count;

    pair->items = pair->spare;
    pair->spare = items;
    set_count(&pair->count, pair->spare_count);
    set_count(&pair->spare_count, count);
}

bool dk_magazine_take_slow(struct dk_magazines *magazines, unsigned class_index, u64 *item)
{
    struct dk_magazine_pair *pair = pair_here(magazines, class_index);
    struct dk_magazine_depot *depot = &magazines->depots[class_index];
    u64 *full;

    if (!pair)
        return false;
    if (!pair->count && pair->spare_count)
        exchange(pair);
    if (!pair->count) {
        full = take_full(depot);
        if (full) {
            give_empty(depot, pair->items);
            pair->items = full;
            set_count(&pair->count, pair->capacity);
        } else {
            /* Half, so that what is given back next has room too. */
            set_count(&pair->count,
                      (unsigned)magazines->source.refill(magazines->owner, class_index, pair->items,
                                                         (pair->capacity + 1) / 2));
        }
    }
    if (!pair->count)
        return false;
    set_count(&pair->count, pair->count - 1);
    *item = pair->items[pair->count];
    return true;
}

bool dk_magazine_give_slow(struct dk_magazines *magazines, unsigned class_index, u64 item)
{
    struct dk_magazine_pair *pair = pair_here(magazines, class_index);
    struct dk_magazine_depot *depot = &magazines->depots[class_index];
    u64 *empty;

    if (!pair)
        return false;
    if (pair->count == pair->capacity && pair->spare_count < pair->capacity)
        exchange(pair);
    if (pair->count == pair->capacity) {
        empty = take_empty(depot);
        if (empty && give_full(depot, pair->spare)) {
            pair->spare = empty;
        } else {
            if (empty)
                give_empty(depot, empty);
            spill(magazines, class_index, pair->spare, pair->spare_count);
        }
        set_count(&pair->spare_count, 0);
        exchange(pair);
    }
    pair->items[pair->count] = item;
    set_count(&pair->count, pair->count + 1);
    return true;
}

static void spill_pair(struct dk_magazines *magazines, unsigned class_index, struct dk_magazine_pair *pair)
{
    spill(magazines, class_index, pair->items, pair->count);
    set_count(&pair->count, 0);
    spill(magazines, class_index, pair->spare, pair->spare_count);
    set_count(&pair->spare_count, 0);
}

/* As many as there can be at once, no more: other threads may go on giving. */
static void spill_depot(struct dk_magazines *magazines, unsigned class_index)
{
    struct dk_magazine_depot *depot = &magazines->depots[class_index];

    for (unsigned i = 0; i < DEPOT_MAGAZINES; i++) {
        u64 *full = take_full(depot);

        if (!full)
            return;
        spill(magazines, class_index, full, depot->capacity);
        give_empty(depot, full);
    }
}

void dk_magazines_drain(struct dk_magazines *magazines)
{
    struct dk_magazine_pair *pairs = dk_magazines_here(magazines);

    for (unsigned i = 0; i < magazines->classes; i++) {
        if (pairs)
            spill_pair(magazines, i, &pairs[i]);
        spill_depot(magazines, i);
    }
}

u64 dk_magazines_held(const struct dk_magazines *magazines, unsigned class_index)
{
    const struct dk_magazine_depot *depot = &magazines->depots[class_index];
    u64 held = (u64)__atomic_load_n(&depot->full_count, __ATOMIC_RELAXED) * depot->capacity;

    for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++) {
        const struct dk_magazine_pair *pair = __atomic_load_n(&magazines->sets[i], __ATOMIC_ACQUIRE);

        if (!pair)
            continue;
        pair += class_index;
        held += __atomic_load_n(&pair->count, __ATOMIC_RELAXED);
        held += __atomic_load_n(&pair->spare_count, __ATOMIC_RELAXED);
    }
    return held;
}

static void destroy_set(struct dk_magazines *magazines, struct dk_magazine_pair *pairs)
{
    for (unsigned i = 0; i < magazines->classes; i++) {
        spill_pair(magazines, i, &pairs[i]);
        release_lines(pairs[i].items);
        release_lines(pairs[i].spare);
    }
    release_lines(pairs);
}

static void destroy_depot(struct dk_magazines *magazines, unsigned class_index)
{
    struct dk_magazine_depot *depot = &magazines->depots[class_index];
    u64 *empty;

    spill_depot(magazines, class_index);
    while ((empty = depot_take(depot, depot->empty, &depot->empty_count)))
        release_lines(empty);
    pthread_mutex_destroy(&depot->lock);
}

void dk_magazines_destroy(struct dk_magazines *magazines)
{
    if (!magazines)
        return;
    for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++) {
        if (magazines->sets[i])
            destroy_set(magazines, magazines->sets[i]);
    }
    for (unsigned i = 0; i < magazines->classes; i++)
        destroy_depot(magazines, i);
    dk_release(magazines->depots);
    dk_release(magazines);
}
