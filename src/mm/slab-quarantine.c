/* SPDX-License-Identifier: MIT */
#include "mm/slab-quarantine.h"

#include "base/alloc.h"
#include <sched.h>
#include <stdio.h>

/* An entry is made room for with so many bytes of memory, but there are at least and at most so many. */
#define BYTES_AN_ENTRY 256u
#define LEAST_ENTRIES 64u
#define MOST_ENTRIES 65536u
/* Entries beyond, for threads that come before what is too much has left. */
#define SPARE_ENTRIES 64u
/* How often a thread is waited for that is just giving memory back. */
#define YIELDS 1000

struct held {
    struct dk_slab *slab; /* NULL: pages */
    struct page *page;
    const char *call; /* which freed it, and its stack */
    u32 stack;
    u32 index;   /* of the object, or how many pages */
    bool marked; /* it holds the pattern */
};

/* Guarded by the state's lock, but for what never changes. */
struct dk_quarantine {
    size_t most_bytes, most; /* never change */
    size_t bytes;
    size_t first, count; /* in @entries, a ring with the oldest first */
    unsigned leaving;    /* threads that have taken entries out, and not freed them yet; atomic access */
    size_t room;         /* never changes */
    struct held entries[];
};

int dk_quarantine_start(struct dk_slab_state *state, size_t bytes)
{
    size_t most = bytes / BYTES_AN_ENTRY;

    if (!bytes)
        return 0;
    if (most < LEAST_ENTRIES)
        most = LEAST_ENTRIES;
    if (most > MOST_ENTRIES)
        most = MOST_ENTRIES;
    state->quarantine =
        dk_allocate(1, sizeof(struct dk_quarantine) + (most + SPARE_ENTRIES) * sizeof(struct held));
    if (!state->quarantine)
        return -ENOMEM;
    state->quarantine->most_bytes = bytes;
    state->quarantine->most = most;
    state->quarantine->room = most + SPARE_ENTRIES;
    return 0;
}

void dk_quarantine_finish(struct dk_slab_state *state)
{
    dk_release(state->quarantine);
    state->quarantine = NULL;
}

void dk_quarantine_init_cache(struct kmem_cache *cache)
{
    const struct dk_memory *memory = cache->state->memory;

    /* A source may sleep when it takes pages back; and private caches' owners know what is in them. */
    cache->quarantines = cache->state->quarantine && !cache->source.take && !cache->private_objects;
    /* A constructor's work would be undone; and where devices see past the caches, the pattern must not stand
     * in lines that somebody else's object has. */
    cache->marks_freed =
        cache->quarantines && !cache->constructor &&
        (!memory->two_views || (cache->lead % memory->line == 0 && cache->stride % memory->line == 0));
}

/* ---- Going in ---- */

static struct held *entry_at(struct dk_quarantine *quarantine, size_t index)
{
    return &quarantine->entries[(quarantine->first + index) % quarantine->room];
}

static size_t bytes_of(const struct held *held)
{
    return held->slab ? held->slab->cache->stride : (size_t)held->index << PAGE_SHIFT;
}

static char *object_of(const struct held *held)
{
    return held->slab->start + held->index * held->slab->cache->stride;
}

/* False: there is no room. Under the lock. */
static bool push(struct dk_quarantine *quarantine, struct held held)
{
    if (quarantine->count == quarantine->room)
        return false;
    *entry_at(quarantine, quarantine->count++) = held;
    quarantine->bytes += bytes_of(&held);
    return true;
}

void dk_quarantine_prepare(const struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    if (memory->two_views && memory->hooks && memory->hooks->memory_taken)
        memory->hooks->memory_taken(memory->hooks->data, phys, size);
}

bool dk_quarantine_hold(struct dk_slab *slab, size_t index, const struct dk_freed *freed)
{
    struct kmem_cache *cache = slab->cache;
    struct dk_quarantine *quarantine = cache->state->quarantine;
    const struct held held = { .slab = slab,
                               .call = freed->call,
                               .stack = freed->stack,
                               .index = (u32)index,
                               .marked = cache->marks_freed && !freed->used };

    if (cache->stride > quarantine->most_bytes || !push(quarantine, held))
        return false;
    if (held.marked)
        dk_poison_free(object_of(&held), cache->size);
    slab->held[index / 64] |= 1ull << (index % 64);
    cache->held++;
    return true;
}

/* Nobody's kmalloc() any more. False: it is none, or has more references. */
static bool mark_held(struct dk_memory *memory, struct page *page, size_t count)
{
    bool marked = false;
    u32 flags;

    pthread_mutex_lock(&memory->pages_lock);
    flags = dk_page_flags(page);
    if ((flags & ~DK_PAGE_COMPOUND) == (DK_PAGE_USED | DK_PAGE_LARGE) && dk_page_run(page) == count &&
        __atomic_load_n(&page->count, __ATOMIC_RELAXED) == 1) {
        dk_page_set_flags(page, (flags & ~DK_PAGE_LARGE) | DK_PAGE_HELD);
        marked = true;
    }
    pthread_mutex_unlock(&memory->pages_lock);
    return marked;
}

bool dk_quarantine_hold_pages(struct dk_memory *memory, struct page *page, size_t count,
                              const struct dk_freed *freed)
{
    struct dk_slab_state *state = memory->slab;
    const struct held held = {
        .page = page, .call = freed->call, .stack = freed->stack, .index = (u32)count, .marked = !freed->used
    };
    bool pushed;

    if (!state->quarantine || count << PAGE_SHIFT > state->quarantine->most_bytes ||
        !mark_held(memory, page, count))
        return false;
    if (held.marked) {
        dk_quarantine_prepare(memory, page_to_phys(page), (u64)count << PAGE_SHIFT);
        dk_poison_free(page_address(page), count << PAGE_SHIFT);
    }
    pthread_mutex_lock(&state->lock);
    pushed = push(state->quarantine, held);
    pthread_mutex_unlock(&state->lock);
    if (!pushed)
        dk_pages_give_marked(memory, page, count, DK_PAGE_HELD, freed->call);
    dk_quarantine_trim(state, freed->call);
    return true;
}

/* ---- Leaving ---- */

/* What leaves at once. */
struct departure {
    struct list_head slabs;
    struct held last; /* what is to be looked at, and freed, without the lock; no slab and no page: nothing */
    struct dk_slab_damage damage;
};

/* Under the lock. */
static void begin(struct dk_quarantine *quarantine, struct departure *departure)
{
    INIT_LIST_HEAD(&departure->slabs);
    departure->last = (struct held){ 0 };
    departure->damage.memory = NULL;
    __atomic_add_fetch(&quarantine->leaving, 1, __ATOMIC_RELAXED);
}

static void free_object(const struct held *held, struct departure *departure)
{
    struct dk_slab *slab = held->slab;

    slab->held[held->index / 64] &= ~(1ull << (held->index % 64));
    slab->cache->held--;
    dk_slab_free(slab, held->index, &departure->slabs, &departure->damage);
}

/* Frees @held, which is out of the ring. False: that is all that @departure holds. Under the lock. */
static bool let_go(struct dk_quarantine *quarantine, const struct held *held, struct departure *departure)
{
    const struct dk_slab *slab = held->slab;

    quarantine->bytes -= bytes_of(held);
    if (!slab || (held->marked && dk_poison_find(object_of(held), slab->cache->size))) {
        departure->last = *held;
        return false;
    }
    free_object(held, departure);
    return !departure->damage.memory;
}

/* Before it is anybody's again, so that the report shows it. */
static void look_at(struct dk_memory *memory, const struct held *held, const char *call)
{
    struct dk_slab_damage damage = { .memory = memory, .freed_by = held->call, .freed_stack = held->stack };

    damage.object = held->slab ? object_of(held) : page_address(held->page);
    damage.size = held->slab ? held->slab->cache->size : bytes_of(held);
    damage.at = held->marked ? dk_poison_find(damage.object, damage.size) : NULL;
    snprintf(damage.cache, sizeof(damage.cache), "%s", held->slab ? held->slab->cache->name : "kmalloc");
    if (damage.at)
        dk_slab_report(&damage, call);
}

/* Without the lock. */
static void conclude(struct dk_slab_state *state, struct departure *departure, const char *call)
{
    const struct held *last = &departure->last;

    if (last->slab || last->page)
        look_at(state->memory, last, call);
    if (last->slab) {
        pthread_mutex_lock(&state->lock);
        free_object(last, departure);
        pthread_mutex_unlock(&state->lock);
    } else if (last->page) {
        dk_pages_give_marked(state->memory, last->page, last->index, DK_PAGE_HELD, call);
    }
    dk_slabs_give_back(state->memory, NULL, &departure->slabs);
    __atomic_sub_fetch(&state->quarantine->leaving, 1, __ATOMIC_RELEASE);
    dk_slab_report(&departure->damage, call);
}

/*
 * Frees the oldest, while there are more than @bytes or more than @count, but not those that come meanwhile.
 * False: there were none.
 */
static bool release_oldest(struct dk_slab_state *state, size_t bytes, size_t count, const char *call)
{
    struct dk_quarantine *quarantine = state->quarantine;
    size_t left = quarantine->room;
    struct departure departure;
    bool any = false, more;

    do {
        more = false;
        pthread_mutex_lock(&state->lock);
        begin(quarantine, &departure);
        while (left && !more && (quarantine->bytes > bytes || quarantine->count > count)) {
            const struct held held = *entry_at(quarantine, 0);

            quarantine->first = (quarantine->first + 1) % quarantine->room;
            quarantine->count--;
            left--;
            any = true;
            more = !let_go(quarantine, &held, &departure);
        }
        pthread_mutex_unlock(&state->lock);
        conclude(state, &departure, call);
    } while (more);
    return any;
}

void dk_quarantine_trim(struct dk_slab_state *state, const char *call)
{
    release_oldest(state, state->quarantine->most_bytes, state->quarantine->most, call);
}

/*
 * Takes what is of @cache out of the ring, up to what is to be looked at. True: there is more, or another
 * thread has some that it looks at. Under the lock.
 */
static bool take_of(struct dk_quarantine *quarantine, const struct kmem_cache *cache,
                    struct departure *departure)
{
    size_t count = cache->held ? quarantine->count : 0, kept = 0, i;
    bool stop = false;

    for (i = 0; i < count; i++) {
        const struct held held = *entry_at(quarantine, i);

        if (!stop && held.slab && held.slab->cache == cache)
            stop = !let_go(quarantine, &held, departure);
        else
            *entry_at(quarantine, kept++) = held;
    }
    quarantine->count -= i - kept;
    return stop || cache->held;
}

void dk_quarantine_end_cache(struct kmem_cache *cache, const char *call)
{
    struct dk_slab_state *state = cache->state;
    struct departure departure;
    bool more = cache->quarantines;

    while (more) {
        pthread_mutex_lock(&state->lock);
        begin(state->quarantine, &departure);
        more = take_of(state->quarantine, cache, &departure);
        pthread_mutex_unlock(&state->lock);
        conclude(state, &departure, call);
        if (more)
            sched_yield();
    }
}

void dk_memory_excuse(struct dk_memory *memory, phys_addr_t phys, u64 size)
{
    struct dk_slab_state *state = memory->slab;
    struct dk_quarantine *quarantine = state->quarantine;
    size_t i;

    /* Most of what devices write to that is not mapped are registers. */
    if (!quarantine || !size || !dk_memory_has_ram(memory, phys, size))
        return;
    pthread_mutex_lock(&state->lock);
    for (i = 0; i < quarantine->count; i++) {
        struct held *held = entry_at(quarantine, i);
        phys_addr_t start = page_to_phys(held->slab ? held->slab->page : held->page);

        if (held->slab)
            start += (u64)(object_of(held) - held->slab->memory);
        if (start < phys + size && phys < start + bytes_of(held))
            held->marked = false;
    }
    pthread_mutex_unlock(&state->lock);
}

void dk_quarantine_usage(struct dk_memory *memory, size_t *bytes, size_t *count)
{
    struct dk_slab_state *state = memory->slab;

    pthread_mutex_lock(&state->lock);
    *bytes = state->quarantine ? state->quarantine->bytes : 0;
    *count = state->quarantine ? state->quarantine->count : 0;
    pthread_mutex_unlock(&state->lock);
}

bool dk_memory_end_quarantine(struct dk_memory *memory, const char *call)
{
    struct dk_quarantine *quarantine = memory->slab ? memory->slab->quarantine : NULL;
    unsigned yields;
    bool any;

    if (!quarantine || dk_memory_forked(memory))
        return false;
    any = release_oldest(memory->slab, 0, 0, call);
    /* What another thread took out is not free before it says so. */
    for (yields = 0; yields < YIELDS && __atomic_load_n(&quarantine->leaving, __ATOMIC_ACQUIRE); yields++) {
        sched_yield();
        any = true;
    }
    return any;
}
