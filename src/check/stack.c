/* SPDX-License-Identifier: MIT */
#include "check/stack.h"

#include "base/alloc.h"
#include <errno.h>
#include <string.h>
#include <unwind.h>

#define BUCKET_BITS 10
#define BUCKETS ((size_t)1 << BUCKET_BITS)
#define FIRST_ROOM 64

/* ---- The depot ---- */

/*
 * Static because a thread's memory of stacks outlives the checker that they were numbered by, and a new
 * checker may stand at the old one's address.
 */
static u64 serials;

int dk_stacks_init(struct dk_stacks *stacks)
{
    *stacks = (struct dk_stacks){ .count = 1, .room = FIRST_ROOM };
    stacks->stacks = dk_allocate(FIRST_ROOM, sizeof(struct dk_stack *));
    stacks->buckets = dk_allocate(BUCKETS, sizeof(u32));
    if (!stacks->stacks || !stacks->buckets) {
        dk_release(stacks->stacks);
        dk_release(stacks->buckets);
        return -ENOMEM;
    }
    stacks->serial = __atomic_add_fetch(&serials, 1, __ATOMIC_RELAXED);
    pthread_mutex_init(&stacks->lock, NULL);
    return 0;
}

void dk_stacks_finish(struct dk_stacks *stacks)
{
    u32 i;

    for (i = 1; i < stacks->count; i++) {
        dk_release(stacks->stacks[i]->frames);
        dk_release(stacks->stacks[i]);
    }
    dk_release(stacks->stacks);
    dk_release(stacks->buckets);
    pthread_mutex_destroy(&stacks->lock);
}

static u64 hash_of(const uintptr_t *addresses, unsigned count)
{
    u64 hash = count;
    unsigned i;

    for (i = 0; i < count; i++) {
        hash = (hash ^ addresses[i]) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
    }
    return hash;
}

static u32 find(const struct dk_stacks *stacks, u64 hash, const uintptr_t *addresses, unsigned count)
{
    u32 id = stacks->buckets[hash % BUCKETS];

    while (id) {
        const struct dk_stack *stack = stacks->stacks[id];

        if (stack->hash == hash && stack->count == count &&
            !memcmp(stack->addresses, addresses, count * sizeof(*addresses)))
            return id;
        id = stack->next;
    }
    return 0;
}

static u32 enter(struct dk_stacks *stacks, u64 hash, const uintptr_t *addresses, unsigned count)
{
    struct dk_stack *stack;

    if (stacks->count == stacks->room) {
        struct dk_stack **more =
            dk_resize(stacks->stacks, (size_t)stacks->room * 2, sizeof(struct dk_stack *));

        if (!more)
            return 0;
        stacks->stacks = more;
        stacks->room *= 2;
    }
    stack = dk_allocate(1, sizeof(*stack));
    if (!stack)
        return 0;
    stack->hash = hash;
    stack->count = count;
    memcpy(stack->addresses, addresses, count * sizeof(*addresses));
    stack->next = stacks->buckets[hash % BUCKETS];
    stacks->stacks[stacks->count] = stack;
    stacks->buckets[hash % BUCKETS] = stacks->count;
    return stacks->count++;
}

u32 dk_stacks_intern(struct dk_stacks *stacks, const uintptr_t *addresses, unsigned count)
{
    u64 hash = hash_of(addresses, count);
    u32 id;

    pthread_mutex_lock(&stacks->lock);
    id = find(stacks, hash, addresses, count);
    if (!id)
        id = enter(stacks, hash, addresses, count);
    pthread_mutex_unlock(&stacks->lock);
    return id;
}

struct dk_stack *dk_stacks_get(struct dk_stacks *stacks, u32 id)
{
    struct dk_stack *stack;

    if (!id)
        return NULL;
    pthread_mutex_lock(&stacks->lock);
    stack = stacks->stacks[id];
    pthread_mutex_unlock(&stacks->lock);
    return stack;
}

/* ---- Unwinding ---- */

/* A call on the stack: where it returns to, the stack pointer then, and the frame pointer then. */
struct unwound_frame {
    uintptr_t address;
    uintptr_t cfa;
    uintptr_t frame_pointer;
};

struct unwinding {
    uintptr_t above; /* frames at or below this stack address are left out */
    unsigned count;
    struct unwound_frame frames[DK_STACK_RAW];
};

/* DWARF's number for the frame pointer. */
#ifdef __x86_64__
#define FRAME_POINTER 6
#endif

static _Unwind_Reason_Code unwind_step(struct _Unwind_Context *context, void *data)
{
    struct unwinding *unwinding = data;
    struct unwound_frame *frame = &unwinding->frames[unwinding->count];
    uintptr_t address = _Unwind_GetIP(context);
    uintptr_t cfa = _Unwind_GetCFA(context);

    if (!address || unwinding->count == DK_STACK_RAW)
        return _URC_END_OF_STACK;
    if (cfa <= unwinding->above)
        return _URC_NO_REASON;
    frame->address = address;
    frame->cfa = cfa;
#ifdef FRAME_POINTER
    frame->frame_pointer = _Unwind_GetGR(context, FRAME_POINTER);
#endif
    unwinding->count++;
    return _URC_NO_REASON;
}

static void unwind(struct unwinding *unwinding, void *frame)
{
    unwinding->above = (uintptr_t)frame;
    unwinding->count = 0;
    _Unwind_Backtrace(unwind_step, unwinding);
}

__attribute__((noinline)) unsigned dk_stack_unwind(uintptr_t *addresses)
{
    struct unwinding unwinding;
    unsigned i;

    unwind(&unwinding, __builtin_frame_address(0));
    for (i = 0; i < unwinding.count; i++)
        addresses[i] = unwinding.frames[i].address;
    return unwinding.count;
}

static u32 intern_unwound(struct dk_stacks *stacks, const struct unwinding *unwinding)
{
    uintptr_t addresses[DK_STACK_RAW];
    unsigned i;

    for (i = 0; i < unwinding->count; i++)
        addresses[i] = unwinding->frames[i].address;
    return dk_stacks_intern(stacks, addresses, unwinding->count);
}

/* ---- What a thread remembers ---- */

#ifdef __x86_64__

#define REMEMBERED ((size_t)1 << DK_REMEMBERED_BITS)

/* What dk_remembered points to the beginning of. */
struct remembered {
    struct dk_remembered_stack stacks[REMEMBERED];
    unsigned turn; /* which of a stack's places is given up next */
};

/* Registers that a function saves below its return address. */
#define SAVED_REGISTERS 7

/*
 * A thread's own. The memory hangs on the thread and not in its static storage, which would come out of small
 * stacks; the key is there to free it when the thread ends, and goes with the library.
 */
__thread struct dk_remembered_stack *dk_remembered;
static pthread_key_t remembered_key;
static bool remembered_key_made;

/* What runs later in the ending thread may make calls, and then remembers anew. */
static void forget(void *table)
{
    dk_remembered = NULL;
    dk_release(table);
}

__attribute__((constructor)) static void make_key(void)
{
    remembered_key_made = !pthread_key_create(&remembered_key, forget);
}

__attribute__((destructor)) static void delete_key(void)
{
    if (remembered_key_made)
        pthread_key_delete(remembered_key);
    remembered_key_made = false;
}

/* Where this thread's own stack lies, in front of @own_stack_end; both 0: not known. */
static __thread uintptr_t own_stack, own_stack_end;

static void find_own_stack(void)
{
    pthread_attr_t attributes;
    void *start;
    size_t size;

    if (pthread_getattr_np(pthread_self(), &attributes))
        return;
    if (!pthread_attr_getstack(&attributes, &start, &size)) {
        own_stack = (uintptr_t)start;
        own_stack_end = (uintptr_t)start + size;
    }
    pthread_attr_destroy(&attributes);
}

static struct dk_remembered_stack *make_remembered(void)
{
    struct remembered *table;

    if (!remembered_key_made)
        return NULL;
    table = dk_allocate(1, sizeof(*table));
    if (table && pthread_setspecific(remembered_key, table)) {
        dk_release(table);
        table = NULL;
    }
    dk_remembered = table ? table->stacks : NULL;
    if (table)
        find_own_stack();
    return dk_remembered;
}

/* No sanitizer knows these words as anybody's object. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static inline uintptr_t word_at(uintptr_t slot)
{
    return *(const volatile uintptr_t *)slot;
}

__attribute__((no_sanitize("address", "thread", "undefined"))) bool
dk_witnesses_agree(const struct dk_witness *witnesses, unsigned count)
{
    const struct dk_witness *end = witnesses + count;
    uintptr_t differ;

    /* They nearly always agree, and a branch each costs more. */
    do {
        differ = word_at(witnesses[0].slot) ^ witnesses[0].value;
        differ |= word_at(witnesses[1].slot) ^ witnesses[1].value;
        differ |= word_at(witnesses[2].slot) ^ witnesses[2].value;
        differ |= word_at(witnesses[3].slot) ^ witnesses[3].value;
        witnesses += DK_WITNESSES_AT_ONCE;
    } while (!differ && witnesses < end);
    return !differ;
}

/* The same where only what is proved by the witnesses before can be read. */
__attribute__((no_sanitize("address", "thread", "undefined"))) static bool
agree_one_by_one(const struct dk_witness *witnesses, unsigned count)
{
    unsigned i;

    for (i = 0; i < count; i++) {
        if (word_at(witnesses[i].slot) != witnesses[i].value)
            return false;
    }
    return true;
}

/* Where the function whose frame ends at @cfa and begins at @low saved the frame pointer @value; 0: nowhere
 * to be seen. */
static uintptr_t saved_frame_pointer(uintptr_t cfa, uintptr_t low, uintptr_t value)
{
    unsigned i;

    for (i = 2; i < 2 + SAVED_REGISTERS; i++) {
        uintptr_t slot = cfa - i * sizeof(uintptr_t);

        if (slot >= low && word_at(slot) == value)
            return slot;
    }
    return 0;
}

/*
 * Chooses the words that prove the stack. A call leaves its return address right below where its frame ends.
 * The place of the next frame follows from that address (a frame's size is fixed there) or, in functions with
 * alloca and the like, from the frame pointer, so then the word in which that was saved is a witness too. By
 * induction from the innermost frame, the same words in the same places are the same stack. False: it cannot
 * be proved like that (a signal's frame, say).
 */
static bool choose_witnesses(const struct unwinding *unwinding, uintptr_t own_frame,
                             struct dk_remembered_stack *mine)
{
    uintptr_t pointer_slot = 0;
    unsigned i;

    mine->count = 0;
    for (i = 0; i < unwinding->count; i++) {
        const struct unwound_frame *frame = &unwinding->frames[i];
        uintptr_t low = i ? frame[-1].cfa : own_frame;

        if (word_at(frame->cfa - sizeof(uintptr_t)) != frame->address)
            return false;
        mine->witnesses[mine->count++] =
            (struct dk_witness){ frame->cfa - sizeof(uintptr_t), frame->address };
        if (!i || frame->frame_pointer != frame[-1].frame_pointer)
            pointer_slot = saved_frame_pointer(frame->cfa, low, frame->frame_pointer);
        if (i + 1 == unwinding->count || frame[1].cfa != frame->frame_pointer + 2 * sizeof(uintptr_t))
            continue;
        if (!pointer_slot)
            return false;
        mine->witnesses[mine->count++] = (struct dk_witness){ pointer_slot, frame->frame_pointer };
    }
    for (; mine->count % DK_WITNESSES_AT_ONCE; mine->count++)
        mine->witnesses[mine->count] = mine->witnesses[mine->count - 1];
    return mine->count;
}

/* Whether @mine is the stack of the function with @frame. */
static bool is_present(const struct dk_remembered_stack *mine, u64 serial, uintptr_t frame)
{
    if (mine->witnesses[0].slot != frame + sizeof(uintptr_t))
        return false;
    return mine->serial == serial    ? dk_witnesses_agree(mine->witnesses, mine->count)
           : mine->careful == serial ? agree_one_by_one(mine->witnesses, mine->count)
                                     : false;
}

static bool is_free(const struct dk_remembered_stack *place, u64 serial)
{
    return place->serial != serial && place->careful != serial;
}

/* The place @first of @table for a new stack. What was there moves on to a free one, else to each in turn:
 * what is called most was learnt last, or soon is, and is found in line. */
static struct dk_remembered_stack *make_room(struct dk_remembered_stack *table, size_t first, u64 serial)
{
    size_t way = 1;

    if (is_free(&table[first], serial))
        return &table[first];
    while (way < DK_REMEMBERED_WAYS && !is_free(&table[first ^ way], serial))
        way++;
    if (way == DK_REMEMBERED_WAYS)
        way = 1 + ((struct remembered *)table)->turn++ % (DK_REMEMBERED_WAYS - 1);
    table[first ^ way] = table[first];
    return &table[first];
}

u32 dk_stacks_learn(struct dk_stacks *stacks, uintptr_t frame, uintptr_t caller)
{
    const size_t first = dk_remembered_index(frame, caller);
    struct dk_remembered_stack *table = dk_remembered ? dk_remembered : make_remembered();
    struct unwinding unwinding;
    size_t way;
    u32 id;

    for (way = 0; table && way < DK_REMEMBERED_WAYS; way++) {
        if (is_present(&table[first ^ way], stacks->serial, frame))
            return table[first ^ way].id;
    }
    unwind(&unwinding, (void *)frame);
    id = intern_unwound(stacks, &unwinding);
    if (table && id) {
        struct dk_remembered_stack *mine = make_room(table, first, stacks->serial);

        mine->serial = mine->careful = 0;
        if (choose_witnesses(&unwinding, frame, mine)) {
            *(frame - own_stack < own_stack_end - own_stack ? &mine->serial : &mine->careful) =
                stacks->serial;
            mine->id = id;
        }
    }
    return id;
}

__attribute__((noinline)) u32 dk_stacks_capture(struct dk_stacks *stacks)
{
    return dk_stacks_recall(stacks);
}

#else

__attribute__((noinline)) u32 dk_stacks_capture(struct dk_stacks *stacks)
{
    struct unwinding unwinding;

    unwind(&unwinding, __builtin_frame_address(0));
    return intern_unwound(stacks, &unwinding);
}

#endif
