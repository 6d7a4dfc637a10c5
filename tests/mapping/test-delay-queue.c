/* SPDX-License-Identifier: MIT */
/*
 * Runs that wait before they go on: the oldest go first, when there are too many, and all of them when they
 * are asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mapping/delay-queue.h"
#include <cmocka.h>
#include <dmakit/fail.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS 61u
#define SIZE 300u

struct run {
    u64 start, size;
    unsigned tag;
};

struct log {
    struct run runs[RUNS + 1];
    unsigned count;
};

static void note(void *owner, u64 start, u64 size, unsigned tag)
{
    struct log *given = owner;

    assert_true(given->count < RUNS + 1);
    given->runs[given->count++] = (struct run){ start, size, tag };
}

static u64 word;

static unsigned draw(unsigned below)
{
    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
    return (unsigned)(word % below);
}

static void expect_run(const struct run *given, const struct run *expected)
{
    assert_true(given->start == expected->start);
    assert_true(given->size == expected->size);
    assert_int_equal(given->tag, expected->tag);
}

/* What came since the last call are the first @count of @list, in their order. */
static void expect_given(struct log *given, const struct run *list, unsigned count)
{
    unsigned i;

    assert_int_equal(given->count, count);
    for (i = 0; i < count; i++)
        expect_run(&given->runs[i], &list[i]);
    given->count = 0;
}

static void random_runs_are_as_in_a_list(void **state)
{
    static struct run list[RUNS + 2];
    struct log given = { .count = 0 };
    struct dk_delay_queue *queue = dk_delay_queue_create(RUNS, SIZE, note, &given);
    const char *text = getenv("DMAKIT_TEST_SEED");
    unsigned rounds = getenv("DMAKIT_TEST_FAST") ? 20000 : 1000000, count = 0, i;
    u64 held = 0;

    (void)state;
    assert_non_null(queue);
    word = text ? strtoull(text, NULL, 0) : 0xb0c5;
    word += !word;
    printf("seed 0x%llx (DMAKIT_TEST_SEED)\n", word);
    for (i = 0; i < rounds; i++) {
        struct run run = { i, 1 + draw(draw(4) ? 3 : 128), draw(9) };
        unsigned gone = 0;

        if (draw(50) == 0) {
            assert_true(dk_delay_queue_flush(queue) == (count > 0));
            expect_given(&given, list, count);
            count = 0;
            held = 0;
        }
        if (draw(500) == 0) {
            run.size = SIZE + 1 + draw(9);
            dk_delay_queue_add(queue, run.start, run.size, run.tag);
            expect_given(&given, &run, 1);
            continue;
        }
        if (draw(500) == 0)
            run.size = SIZE;
        dk_delay_queue_add(queue, run.start, run.size, run.tag);
        list[count++] = run;
        held += run.size;
        while (count - gone > RUNS || held > SIZE)
            held -= list[gone++].size;
        expect_given(&given, list, gone);
        memmove(list, list + gone, (count -= gone) * sizeof(list[0]));
        assert_true(dk_delay_queue_held(queue) == held);
    }
    /* What is in it at its end goes on too. */
    dk_delay_queue_destroy(queue);
    expect_given(&given, list, count);
}

static void no_memory_is_an_error(void **state)
{
    struct log given = { .count = 0 };

    (void)state;
    dk_fail_nth(1);
    assert_null(dk_delay_queue_create(RUNS, SIZE, note, &given));
    assert_int_equal(dk_fail_hits(), 1);
    dk_fail_nth(0);
    dk_delay_queue_destroy(NULL);
    assert_true(dk_delay_queue_held(NULL) == 0);
}

#define EACH 20000u

struct crowd {
    struct dk_delay_queue *queue;
    unsigned char given[2 * EACH]; /* how often */
};

static void count(void *owner, u64 start, u64 size, unsigned tag)
{
    struct crowd *crowd = owner;

    (void)size;
    (void)tag;
    __atomic_fetch_add(&crowd->given[start], 1, __ATOMIC_RELAXED);
}

struct member {
    struct crowd *crowd;
    unsigned first, late;
};

static void *churn(void *data)
{
    struct member *member = data;
    struct crowd *crowd = member->crowd;
    unsigned i;

    for (i = 0; i < EACH; i++) {
        dk_delay_queue_add(crowd->queue, member->first + i, 1 + i % 7, 0);
        if (i % 300 == 0) {
            dk_delay_queue_flush(crowd->queue);
            /* The other thread may have been the one that gave it. */
            member->late += !__atomic_load_n(&crowd->given[member->first + i], __ATOMIC_RELAXED);
        }
    }
    return NULL;
}

static void threads_meet(void **state)
{
    static struct crowd crowd;
    struct member members[2] = { { &crowd, 0, 0 }, { &crowd, EACH, 0 } };
    pthread_t threads[2];
    unsigned i;

    (void)state;
    crowd.queue = dk_delay_queue_create(RUNS, SIZE, count, &crowd);
    assert_non_null(crowd.queue);
    for (i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &members[i]), 0);
    for (i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    dk_delay_queue_destroy(crowd.queue);
    assert_int_equal(members[0].late + members[1].late, 0);
    for (i = 0; i < 2 * EACH; i++)
        assert_int_equal(crowd.given[i], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_runs_are_as_in_a_list),
        cmocka_unit_test(no_memory_is_an_error),
        cmocka_unit_test(threads_meet),
    };

    return cmocka_run_group_tests_name("delay-queue", tests, NULL, NULL);
}
