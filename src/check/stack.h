/* SPDX-License-Identifier: MIT */
/*
 * Stacks: captured cheaply, and each different one kept once under a small number.
 */
#ifndef DK_CHECK_STACK_H
#define DK_CHECK_STACK_H

#include <dmakit/check.h>
#include <pthread.h>

/* Return addresses that are kept: a driver's DK_STACK_DEPTH calls, and the library's own in front of them. */
#define DK_STACK_RAW (DK_STACK_DEPTH + 8)

struct dk_stack {
    u64 hash;
    u32 next; /* id of the next one in its bucket; 0: the last */
    u32 count;
    struct dk_frames
        *frames; /* what the addresses mean; NULL until asked for. Guarded by the symbols' lock */
    uintptr_t addresses[DK_STACK_RAW];
};

/* All stacks of one checker. */
struct dk_stacks {
    pthread_mutex_t lock;
    u64 serial; /* different for each that ever lived in the process: tags what threads remember */
    struct dk_stack **stacks; /* by id; entry 0 is unused */
    u32 count, room;
    u32 *buckets;
};

/* 0 or -ENOMEM. */
int dk_stacks_init(struct dk_stacks *stacks);
void dk_stacks_finish(struct dk_stacks *stacks);

/*
 * The id of the present stack, from the caller's own frame outwards. 0: out of memory. Any thread; the stack
 * of a call that this thread made before from the same place is recognised without unwinding.
 */
u32 dk_stacks_capture(struct dk_stacks *stacks);

#ifdef __x86_64__

#define DK_REMEMBERED_BITS 6
/* Places for one stack, of which the first is looked at in line. A power of two. */
#define DK_REMEMBERED_WAYS 4
#define DK_WITNESSES_AT_ONCE 4

/* A word of the stack that proves a remembered stack to be the present one. */
struct dk_witness {
    uintptr_t slot;
    uintptr_t value;
};

struct dk_remembered_stack {
    u64 serial; /* of whose stacks @id is one; 0: none */
    /* Instead of that, where it is not the thread's own stack: there may be no memory where the witnesses
     * behind one that differs were. */
    u64 careful;
    u32 id;
    unsigned count; /* a multiple of DK_WITNESSES_AT_ONCE */
    /* The first is the innermost return address. Some of the last may be there twice. */
    struct dk_witness witnesses[2 * DK_STACK_RAW + DK_WITNESSES_AT_ONCE - 1];
};

/* This thread's, 1 << DK_REMEMBERED_BITS of them by where a function was called from; NULL: it has none yet.
 */
extern __thread struct dk_remembered_stack *dk_remembered __attribute__((tls_model("initial-exec")));

static inline size_t dk_remembered_index(uintptr_t frame, uintptr_t caller)
{
    return (size_t)(((caller ^ frame) * 0x9e3779b97f4a7c15ull) >> (64 - DK_REMEMBERED_BITS));
}

/* Whether all are there: @count of them, not 0. The words lie above the present frame on the thread's own
 * stack, so they can be read. */
bool dk_witnesses_agree(const struct dk_witness *witnesses, unsigned count);

/* Unwinds the stack of the function with @frame, called from @caller, and remembers it. */
u32 dk_stacks_learn(struct dk_stacks *stacks, uintptr_t frame, uintptr_t caller);

/* dk_stacks_capture() in the function that it is written in. */
static inline __attribute__((always_inline)) u32 dk_stacks_recall(struct dk_stacks *stacks)
{
    const uintptr_t frame = (uintptr_t)__builtin_frame_address(0);
    const uintptr_t caller = (uintptr_t)__builtin_return_address(0);
    const struct dk_remembered_stack *mine = dk_remembered;

    if (__builtin_expect(mine != NULL, 1)) {
        mine += dk_remembered_index(frame, caller);
        if (__builtin_expect(mine->serial == stacks->serial &&
                                 mine->witnesses[0].slot == frame + sizeof(uintptr_t) &&
                                 dk_witnesses_agree(mine->witnesses, mine->count),
                             1))
            return mine->id;
    }
    return dk_stacks_learn(stacks, frame, caller);
}

#else

static inline u32 dk_stacks_recall(struct dk_stacks *stacks)
{
    return dk_stacks_capture(stacks);
}

#endif

/* The id for @count addresses, innermost first; 0 when out of memory. */
u32 dk_stacks_intern(struct dk_stacks *stacks, const uintptr_t *addresses, unsigned count);

/* The stack with @id, which stays until dk_stacks_finish(). NULL for 0. */
struct dk_stack *dk_stacks_get(struct dk_stacks *stacks, u32 id);

/* Return addresses from the caller's own frame outwards, always unwound. Returns their number, at most
 * DK_STACK_RAW. */
unsigned dk_stack_unwind(uintptr_t *addresses);

#endif
