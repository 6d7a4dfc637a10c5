/* SPDX-License-Identifier: MIT */
/*
 * The library's own memory and its fault point: the n-th allocation fails, once, whoever asked for it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include <cmocka.h>
#include <dmakit/fail.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The number, from 1, of the first of @most allocations that fails; 0: none does. */
static int first_failure(int most)
{
    int i;

    for (i = 1; i <= most; i++) {
        char *memory = dk_allocate(1, 16);

        dk_release(memory);
        if (!memory)
            return i;
    }
    return 0;
}

static void the_nth_allocation_fails_once(void **state)
{
    unsigned long n;

    (void)state;
    for (n = 1; n <= 5; n++) {
        dk_fail_nth(n);
        assert_int_equal(dk_fail_hits(), 0);
        assert_int_equal(first_failure(10), n);
        assert_int_equal(dk_fail_hits(), 1);
        assert_int_equal(first_failure(10), 0);
        assert_int_equal(dk_fail_hits(), 1);
    }
    dk_fail_nth(0);
    assert_int_equal(dk_fail_hits(), 0);
    assert_int_equal(first_failure(10), 0);
    assert_int_equal(dk_fail_hits(), 0);
}

static void an_order_can_be_taken_back_or_changed(void **state)
{
    static const unsigned long far[] = { 1000, LONG_MAX, (unsigned long)LONG_MAX + 1, ULONG_MAX - 1,
                                         ULONG_MAX };
    size_t i;

    (void)state;
    dk_fail_nth(1);
    dk_fail_nth(0);
    assert_false(dk_fault_point());
    dk_fail_nth(2);
    assert_false(dk_fault_point());
    dk_fail_nth(2);
    assert_false(dk_fault_point());
    assert_true(dk_fault_point());
    for (i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
        dk_fail_nth(far[i]);
        assert_int_equal(first_failure(20), 0);
        assert_int_equal(dk_fail_hits(), 0);
    }
    dk_fail_nth(0);
}

/* What each way of allocating does when it is the one to fail, and that each asks exactly once. */
static void every_way_of_allocating_asks_once(void **state)
{
    char *memory = dk_copy_string("kept");
    void *none;

    (void)state;
    assert_non_null(memory);
    dk_fail_nth(1);
    assert_null(dk_allocate(1, 1));
    dk_fail_nth(1);
    none = dk_resize(memory, 100, 1);
    assert_null(none);
    assert_string_equal(memory, "kept");
    dk_fail_nth(1);
    assert_null(dk_copy_string("text"));
    dk_fail_nth(1);
    assert_null(dk_format("%d", 1));

    dk_fail_nth(5);
    none = dk_allocate(1, 1);
    assert_non_null(none);
    dk_release(none);
    memory = dk_resize(memory, 100, 1);
    assert_non_null(memory);
    none = dk_copy_string("text");
    assert_non_null(none);
    dk_release(none);
    none = dk_format("%d", 1);
    assert_non_null(none);
    dk_release(none);
    assert_int_equal(dk_fail_hits(), 0);
    assert_true(dk_fault_point());
    dk_fail_nth(0);
    dk_release(memory);
    dk_release(NULL);
}

static void memory_is_zeroed_and_sizes_of_zero_are_fine(void **state)
{
    static const struct {
        size_t count, size;
    } cases[] = { { 0, 0 }, { 0, 8 }, { 8, 0 }, { 1, 1 }, { 7, 9 }, { 1000, 3 } };
    unsigned char *memory;
    size_t i, at;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memory = dk_allocate(cases[i].count, cases[i].size);
        assert_non_null(memory);
        for (at = 0; at < cases[i].count * cases[i].size; at++)
            assert_int_equal(memory[at], 0);
        dk_release(memory);
    }
    memory = dk_resize(NULL, 4, 1);
    assert_non_null(memory);
    memcpy(memory, "abc", 4);
    memory = dk_resize(memory, 5000, 2);
    assert_non_null(memory);
    assert_string_equal((char *)memory, "abc");
    memory[9999] = 1;
    memory = dk_resize(memory, 0, 2);
    assert_non_null(memory);
    dk_release(memory);
}

/* The product wraps to something small: an allocator that does not look gives too little. */
static void a_product_that_wraps_gives_null(void **state)
{
    static const struct {
        size_t count, size;
    } cases[] = {
        { SIZE_MAX, 2 },         { 2, SIZE_MAX },        { SIZE_MAX / 2 + 1, 2 },
        { SIZE_MAX / 8 + 2, 8 }, { SIZE_MAX, SIZE_MAX },
    };
    char *kept = dk_copy_string("kept");
    size_t i;

    (void)state;
    assert_non_null(kept);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        void *memory = dk_allocate(cases[i].count, cases[i].size);

        assert_null(memory);
        memory = dk_resize(kept, cases[i].count, cases[i].size);
        assert_null(memory);
        assert_string_equal(kept, "kept");
    }
    dk_release(kept);
}

static void strings_are_copied_whole(void **state)
{
    char *copy = dk_copy_string("");
    char *text;
    char longest[3000];

    (void)state;
    assert_string_equal(copy, "");
    dk_release(copy);
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = 0;
    copy = dk_copy_string(longest);
    assert_string_equal(copy, longest);
    text = dk_format("%s-%d", longest, 42);
    assert_int_equal(strlen(text), strlen(longest) + 3);
    assert_string_equal(text + strlen(longest), "-42");
    dk_release(text);
    dk_release(copy);
    text = dk_format("%s", "");
    assert_string_equal(text, "");
    dk_release(text);
}

#define THREADS 4
#define ALLOCATIONS 2000

static void *allocate_often(void *failures)
{
    int i;

    for (i = 0; i < ALLOCATIONS; i++) {
        void *memory = dk_allocate(1, 8);

        *(int *)failures += !memory;
        dk_release(memory);
    }
    return NULL;
}

static void one_thread_of_many_is_hit(void **state)
{
    static const unsigned long orders[] = { 1, ALLOCATIONS, (unsigned long)THREADS * ALLOCATIONS,
                                            (unsigned long)THREADS * ALLOCATIONS + 1 };
    size_t order;

    (void)state;
    for (order = 0; order < sizeof(orders) / sizeof(orders[0]); order++) {
        pthread_t threads[THREADS];
        int failures[THREADS] = { 0 };
        int i, sum = 0;

        dk_fail_nth(orders[order]);
        for (i = 0; i < THREADS; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, allocate_often, &failures[i]), 0);
        for (i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
            sum += failures[i];
        }
        assert_int_equal(sum, orders[order] <= (unsigned long)THREADS * ALLOCATIONS);
        assert_int_equal(dk_fail_hits(), sum);
    }
    dk_fail_nth(0);
}

/* This program again, in a process that has read no environment yet; returns its exit status. */
static int run_child(const char *word, const char *options)
{
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (!child) {
        if (options)
            setenv("DMAKIT_OPTIONS", options, 1);
        else
            unsetenv("DMAKIT_OPTIONS");
        execl("/proc/self/exe", "test-alloc", word, (char *)NULL);
        _exit(100);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void the_environment_says_the_same(void **state)
{
    static const struct {
        const char *options;
        int first; /* the allocation that fails; 0: none */
    } cases[] = {
        { NULL, 0 },
        { "", 0 },
        { "seed=3", 0 },
        { "fail_nth=1", 1 },
        { "fail_nth=3", 3 },
        { "seed=3:fail_nth=2", 2 },
        { "fail_nth=0", 0 },
        { "fail_nth=-1", 0 },
        { "fail_nth=4:depth=1", 4 },
        { "fail_nth=0x5", 5 },
        { "fail_nth=", 0 },
        { "fail_nth=many", 0 },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(run_child("first", cases[i].options), cases[i].first);
    /* What the program orders comes after what the environment said. */
    assert_int_equal(run_child("ordered", "fail_nth=1"), 4);
    assert_int_equal(run_child("taken-back", "fail_nth=1"), 0);
}

static int child(const char *word)
{
    if (!strcmp(word, "ordered"))
        dk_fail_nth(4);
    if (!strcmp(word, "taken-back"))
        dk_fail_nth(0);
    return first_failure(20);
}

int main(int count, char **words)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nth_allocation_fails_once),
        cmocka_unit_test(an_order_can_be_taken_back_or_changed),
        cmocka_unit_test(every_way_of_allocating_asks_once),
        cmocka_unit_test(memory_is_zeroed_and_sizes_of_zero_are_fine),
        cmocka_unit_test(a_product_that_wraps_gives_null),
        cmocka_unit_test(strings_are_copied_whole),
        cmocka_unit_test(one_thread_of_many_is_hit),
        cmocka_unit_test(the_environment_says_the_same),
    };

    if (count > 1)
        return child(words[1]);
    return cmocka_run_group_tests_name("alloc", tests, NULL, NULL);
}
