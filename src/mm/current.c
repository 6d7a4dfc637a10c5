/* SPDX-License-Identifier: MIT */
/*
 * The memory that calls without a device use, and what fork() does to it.
 *
 * The state here is process-wide because the question is: is there only one machine in this process?
 */
#include "base/log.h"
#include "mm/private.h"

/* All of them; guarded by live_lock. */
static struct list_head live = LIST_HEAD_INIT(live);
/* Of the parent process, in a child. Kept so that a leak checker in the child finds them. */
static struct list_head inherited = LIST_HEAD_INIT(inherited);
static pthread_mutex_t live_lock = PTHREAD_MUTEX_INITIALIZER;
/* The only live one, or NULL. Atomic access; changed under live_lock. */
static struct dk_memory *only;
/* Counts removals: what a thread entered before one may be gone. Atomic access. */
static u64 removals;
static u64 last_id;
static bool forks_watched;

/* What a thread entered belongs to the thread. */
static _Thread_local struct {
    struct dk_memory *memory;
    u64 id;       /* of @memory: another may come to stand at its address */
    u64 removals; /* when @memory was last known to be alive */
} entered;

static void choose_only(void)
{
    bool one = !list_empty(&live) && live.next == live.prev;

    __atomic_store_n(&only, one ? list_first_entry(&live, struct dk_memory, link) : NULL, __ATOMIC_RELEASE);
}

static void before_fork(void)
{
    pthread_mutex_lock(&live_lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&live_lock);
}

static void after_fork_child(void)
{
    struct dk_memory *memory, *following;
    size_t i;

    list_for_each_entry_safe (memory, following, &live, link) {
        __atomic_store_n(&memory->forked, true, __ATOMIC_RELEASE);
        list_del(&memory->link);
        list_add_tail(&memory->link, &inherited);
    }
    /* Not the memories' own lists: another thread may have been changing them when the process forked. */
    for (i = 0; !list_empty(&inherited) && i < DK_SLOT_COUNT; i++) {
        if (dk_slots[i]) {
            dk_slots[i] = NULL;
            dk_slot_shadows[i] = 0;
        }
    }
    choose_only();
    entered.memory = NULL;
    pthread_mutex_unlock(&live_lock);
}

int dk_current_add(struct dk_memory *memory)
{
    pthread_mutex_lock(&live_lock);
    if (!forks_watched && pthread_atfork(before_fork, after_fork_parent, after_fork_child)) {
        pthread_mutex_unlock(&live_lock);
        return -ENOMEM;
    }
    forks_watched = true;
    memory->id = ++last_id;
    list_add_tail(&memory->link, &live);
    choose_only();
    pthread_mutex_unlock(&live_lock);
    return 0;
}

bool dk_current_remove(struct dk_memory *memory)
{
    if (dk_memory_forked(memory))
        return false;
    pthread_mutex_lock(&live_lock);
    list_del(&memory->link);
    choose_only();
    __atomic_fetch_add(&removals, 1, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&live_lock);
    return true;
}

/* Forgets what this thread entered if it has gone since. */
static struct dk_memory *still_entered(void)
{
    u64 now = __atomic_load_n(&removals, __ATOMIC_ACQUIRE);
    struct dk_memory *memory;
    bool found = false;

    if (!entered.memory || entered.removals == now)
        return entered.memory;
    pthread_mutex_lock(&live_lock);
    list_for_each_entry (memory, &live, link) {
        if (memory == entered.memory && memory->id == entered.id)
            found = true;
    }
    entered.removals = __atomic_load_n(&removals, __ATOMIC_ACQUIRE);
    pthread_mutex_unlock(&live_lock);
    if (!found)
        entered.memory = NULL;
    return entered.memory;
}

struct dk_memory *dk_memory_current(void)
{
    struct dk_memory *memory = still_entered();

    return memory ? memory : __atomic_load_n(&only, __ATOMIC_ACQUIRE);
}

struct dk_memory *dk_memory_enter(struct dk_memory *memory)
{
    struct dk_memory *before = still_entered();

    entered.memory = memory && !dk_memory_forked(memory) ? memory : NULL;
    entered.id = memory ? memory->id : 0;
    entered.removals = __atomic_load_n(&removals, __ATOMIC_ACQUIRE);
    return before;
}

struct dk_memory *dk_current_for(const char *call)
{
    struct dk_memory *memory = dk_memory_current();

    if (!memory)
        dk_log(DK_LOG_WARNING,
               "%s: this thread has no machine: none is alive, or several are and it entered none", call);
    return memory;
}
