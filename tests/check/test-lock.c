/* SPDX-License-Identifier: MIT */
/*
 * The lock: one thread's own until another comes, and everybody's then. Each test counts what two threads did
 * under it in a plain variable, so that one of them inside too early loses counts, and is a race to TSan.
 */
#include "check/lock.h"

#include "../refuse-membarrier.h"
#include "base/membarrier.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <cmocka.h>

#define ROUNDS 100000u
#define LOCKS 2000u

struct shared {
    struct dk_lock lock;
    unsigned long count; /* guarded by the lock */
    unsigned rounds;
    u32 started; /* atomic */
};

static void *count_up(void *data)
{
    struct shared *shared = data;
    unsigned i;

    __atomic_add_fetch(&shared->started, 1, __ATOMIC_RELAXED);
    for (i = 0; i < shared->rounds; i++) {
        dk_lock_take(&shared->lock);
        shared->count++;
        dk_lock_give(&shared->lock);
    }
    return NULL;
}

static void run_thread(struct shared *shared)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, count_up, shared), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void test_first_thread_owns(void **state)
{
    struct shared shared = { .rounds = ROUNDS };

    (void)state;
    count_up(&shared);
    assert_int_equal(shared.count, ROUNDS);
    assert_int_equal(shared.lock.owner, dk_thread_number_here + 1);
    assert_true(shared.lock.alone);
    assert_int_equal(shared.lock.taken, 0);
    assert_int_equal(shared.lock.inside, 0);
}

static void test_second_thread_shares(void **state)
{
    struct shared shared = { .rounds = 10 };

    (void)state;
    count_up(&shared);
    run_thread(&shared);
    assert_int_equal(shared.lock.owner, DK_LOCK_SHARED);
    assert_false(shared.lock.alone);
    count_up(&shared);
    run_thread(&shared);
    assert_int_equal(shared.count, 40);
    assert_int_equal(shared.lock.taken, 0);
    assert_int_equal(shared.lock.inside, 0);
}

/* The next thread may have the number of one that is dead: then it is the owner. */
static void test_owner_dies(void **state)
{
    struct shared shared = { .rounds = 10 };
    unsigned i;

    (void)state;
    for (i = 0; i < 20; i++)
        run_thread(&shared);
    count_up(&shared);
    assert_int_equal(shared.count, 210);
}

static void test_two_threads(void **state)
{
    struct shared shared = { .rounds = ROUNDS };
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, count_up, &shared), 0);
    count_up(&shared);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(shared.count, 2 * ROUNDS);
}

struct many {
    struct shared *shared;
    unsigned turn; /* atomic: the lock that the owner is at */
};

static void *follow(void *data)
{
    struct many *many = data;
    unsigned i;

    for (i = 0; i < LOCKS; i++) {
        /* Right into the owner's rounds. */
        while (!__atomic_load_n(&many->shared[i].started, __ATOMIC_RELAXED))
            continue;
        count_up(&many->shared[i]);
    }
    return NULL;
}

/* What is hard is the moment when the owner loses it: so it happens often, while the owner goes in and out.
 */
static void test_owner_loses_it_inside(void **state)
{
    struct many many = { .shared = calloc(LOCKS, sizeof(struct shared)) };
    pthread_t thread;
    unsigned i;

    (void)state;
    assert_non_null(many.shared);
    for (i = 0; i < LOCKS; i++)
        many.shared[i].rounds = 500;
    assert_int_equal(pthread_create(&thread, NULL, follow, &many), 0);
    for (i = 0; i < LOCKS; i++)
        count_up(&many.shared[i]);
    assert_int_equal(pthread_join(thread, NULL), 0);
    for (i = 0; i < LOCKS; i++)
        assert_int_equal(many.shared[i].count, 1000);
    free(many.shared);
}

/* 0 when nothing was lost; 77 where it cannot be tried. */
static int with_refused_barrier(bool from_the_start)
{
    struct shared shared = { .rounds = 1000 };
    pthread_t thread;

    if (from_the_start && !refuse_membarrier())
        return 77;
    count_up(&shared);
    if ((shared.lock.owner == DK_LOCK_SHARED) != from_the_start)
        return 1;
    if (!from_the_start && !refuse_membarrier())
        return 77;
    if (pthread_create(&thread, NULL, count_up, &shared))
        return 2;
    count_up(&shared);
    pthread_join(thread, NULL);
    return shared.count == 3000 && shared.lock.owner == DK_LOCK_SHARED ? 0 : 3;
}

static void test_barrier_refused(void **state)
{
    unsigned i;

    (void)state;
    for (i = 0; i < 2; i++) {
        int status = 0;
        pid_t child = fork();

        if (!child)
            _exit(with_refused_barrier(i));
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
            skip();
        assert_int_equal(WEXITSTATUS(status), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_thread_owns),
        cmocka_unit_test(test_second_thread_shares),
        cmocka_unit_test(test_owner_dies),
        cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_owner_loses_it_inside),
        cmocka_unit_test(test_barrier_refused),
    };

    if (!dk_membarrier_register())
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
