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

/* The id for @count addresses, innermost first; 0 when out of memory. */
u32 dk_stacks_intern(struct dk_stacks *stacks, const uintptr_t *addresses, unsigned count);

/* The stack with @id, which stays until dk_stacks_finish(). NULL for 0. */
struct dk_stack *dk_stacks_get(struct dk_stacks *stacks, u32 id);

/* Return addresses from the caller's own frame outwards, always unwound. Returns their number, at most
 * DK_STACK_RAW. */
unsigned dk_stack_unwind(uintptr_t *addresses);

#endif
