/* SPDX-License-Identifier: MIT */
#include "base/thread-number.h"

#include <pthread.h>

#define WORD_BITS 64u

__thread unsigned dk_thread_number_here = DK_THREAD_UNNUMBERED;

/*
 * Static because threads are the process's: one thread works on many machines, and has one number. A bit is
 * set while a live thread has its number; guarded by the lock, which also orders a dead thread before the
 * next one with its number.
 */
static u64 taken[DK_THREAD_NUMBERS / WORD_BITS];
/* Set for good once a thread had it: what a child made by fork() is not to use. Guarded as @taken. */
static u64 used[DK_THREAD_NUMBERS / WORD_BITS];
static pthread_mutex_t taken_lock = PTHREAD_MUTEX_INITIALIZER;
/* Has the number plus one, for its destructor alone: that is how a thread's end is noticed. Goes with the
 * library. */
static pthread_key_t ending;
static bool ending_made; /* guarded by taken_lock */

/* Under the lock. */
static unsigned lowest_free(void)
{
    for (unsigned i = 0; i < DK_THREAD_NUMBERS / WORD_BITS; i++) {
        if (~taken[i])
            return i * WORD_BITS + (unsigned)__builtin_ctzll(~taken[i]);
    }
    return DK_THREAD_NUMBERS;
}

/* Under the lock. */
static void enter(unsigned number)
{
    taken[number / WORD_BITS] |= 1ull << number % WORD_BITS;
    used[number / WORD_BITS] |= 1ull << number % WORD_BITS;
}

/* Destructors of other keys may run after this one and map; they do without a number, or it would be lost. */
static void end(void *value)
{
    unsigned number = (unsigned)((uintptr_t)value - 1);

    dk_thread_number_here = DK_THREAD_NUMBERS;
    pthread_mutex_lock(&taken_lock);
    taken[number / WORD_BITS] &= ~(1ull << number % WORD_BITS);
    pthread_mutex_unlock(&taken_lock);
}

static void before_fork(void)
{
    pthread_mutex_lock(&taken_lock);
}

static void after_fork_parent(void)
{
    pthread_mutex_unlock(&taken_lock);
}

/* The numbers of the parent's threads go on with nobody; the only thread here asks for another one. */
static void after_fork_child(void)
{
    for (unsigned i = 0; i < DK_THREAD_NUMBERS / WORD_BITS; i++)
        taken[i] = used[i];
    if (dk_thread_number_here < DK_THREAD_NUMBERS) {
        pthread_setspecific(ending, NULL);
        dk_thread_number_here = DK_THREAD_UNNUMBERED;
    }
    pthread_mutex_unlock(&taken_lock);
}

__attribute__((constructor)) static void make_key(void)
{
    pthread_mutex_lock(&taken_lock);
    /* Without the handlers a child would not be kept from the parent's caches. */
    ending_made = !pthread_atfork(before_fork, after_fork_parent, after_fork_child) &&
                  !pthread_key_create(&ending, end);
    pthread_mutex_unlock(&taken_lock);
}

/* The library may be unloaded before threads that used it end. */
__attribute__((destructor)) static void delete_key(void)
{
    pthread_mutex_lock(&taken_lock);
    if (ending_made)
        pthread_key_delete(ending);
    ending_made = false;
    pthread_mutex_unlock(&taken_lock);
}

unsigned dk_thread_number_find(void)
{
    unsigned number = DK_THREAD_NUMBERS;

    pthread_mutex_lock(&taken_lock);
    if (ending_made) {
        number = lowest_free();
        if (number < DK_THREAD_NUMBERS && !pthread_setspecific(ending, (void *)((uintptr_t)number + 1)))
            enter(number);
        else
            number = DK_THREAD_NUMBERS;
        dk_thread_number_here = number;
    }
    pthread_mutex_unlock(&taken_lock);
    return number;
}
