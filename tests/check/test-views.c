/* SPDX-License-Identifier: MIT */
/*
 * What differs between two views of memory, byte for byte: searches that step over many bytes at once against
 * ones that look at each.
 */
#include "check/views.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Three steps of eight words, and some bytes more. */
#define SIZE 205

struct views {
    char cpu[SIZE], held[SIZE], written[SIZE];
};

/* All alike, so that a byte which is compared with a neighbour's place does not differ there. */
static void make(struct views *views)
{
    memset(views->cpu, 7, SIZE);
    memset(views->held, 7, SIZE);
    memset(views->written, 9, SIZE);
}

/* The byte at @at is another in @side of the two, and the rest is alike. */
static void difference_is_found(struct views *views, char *side, unsigned at)
{
    unsigned from;

    make(views);
    side[at] = 8;
    for (from = 0; from <= SIZE; from++) {
        assert_int_equal(dk_view_changed(views->cpu, views->held, NULL, from, SIZE), from <= at ? at : SIZE);
        assert_int_equal(dk_view_changed(views->cpu, views->held, views->written, from, SIZE),
                         from <= at ? at : SIZE);
    }
    assert_false(dk_view_same(views->cpu, views->held, SIZE));
    assert_true(dk_view_same(views->cpu, views->held, at));
    /* Behind the bytes in question nothing is looked at. */
    assert_int_equal(dk_view_changed(views->cpu, views->held, NULL, 0, at), at);
}

static void each_byte_that_differs_is_found(void **state)
{
    struct views views;
    unsigned at;

    (void)state;
    for (at = 0; at < SIZE; at++) {
        difference_is_found(&views, views.cpu, at);
        difference_is_found(&views, views.held, at);
    }
}

/* What the device wrote has come by a refill: it is taken over as far as the search goes, and no further. */
static void what_was_written_is_held_up_to_the_first_that_differs(void **state)
{
    struct views views, expected;
    unsigned at, first, end;

    (void)state;
    for (first = 0; first < SIZE; first += 5) {
        for (end = first; end < SIZE; end += 7) {
            make(&views);
            memset(views.cpu + first, 9, end - first);
            views.cpu[end] = 8;
            expected = views;
            at = (unsigned)dk_view_changed(views.cpu, views.held, views.written, 0, SIZE);
            assert_int_equal(at, end);
            memset(expected.held + first, 9, end - first);
            assert_memory_equal(&views, &expected, sizeof(views));
        }
    }
    /* Refilled to the very end. */
    make(&views);
    memset(views.cpu + SIZE - 1, 9, 1);
    assert_int_equal(dk_view_changed(views.cpu, views.held, views.written, 0, SIZE), SIZE);
    assert_int_equal(views.held[SIZE - 1], 9);
}

static void a_run_ends_where_the_views_meet_again(void **state)
{
    struct views views;
    unsigned first, end;

    (void)state;
    for (first = 0; first < SIZE; first++) {
        for (end = first + 1; end <= SIZE; end += 3) {
            make(&views);
            memset(views.cpu + first, 8, end - first);
            assert_int_equal(dk_view_run(views.cpu, views.held, NULL, first, SIZE), end - first);
            assert_int_equal(dk_view_run(views.cpu, views.held, NULL, first, end), end - first);
            assert_int_equal(dk_view_run(views.cpu, views.held, NULL, end, end), 0);
            /* What the device wrote is no store. */
            views.cpu[end - 1] = 9;
            assert_int_equal(dk_view_run(views.cpu, views.held, views.written, first, SIZE), end - 1 - first);
            assert_int_equal(dk_view_run(views.cpu, views.held, NULL, first, SIZE), end - first);
        }
    }
}

static void a_copy_has_all_bytes_and_no_more(void **state)
{
    char from[SIZE], into[SIZE + 1];
    unsigned size, i;

    (void)state;
    for (i = 0; i < SIZE; i++)
        from[i] = (char)(i + 1);
    for (size = 0; size <= SIZE; size++) {
        memset(into, 0, sizeof(into));
        dk_view_copy(into, from, size);
        assert_memory_equal(into, from, size);
        for (i = size; i <= SIZE; i++)
            assert_int_equal(into[i], 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_byte_that_differs_is_found),
        cmocka_unit_test(what_was_written_is_held_up_to_the_first_that_differs),
        cmocka_unit_test(a_run_ends_where_the_views_meet_again),
        cmocka_unit_test(a_copy_has_all_bytes_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
