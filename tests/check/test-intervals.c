/* SPDX-License-Identifier: MIT */
/*
 * Sets of ranges against an array that is searched from end to end: one whose ranges get their place at once,
 * and one whose ranges get it when somebody searches.
 */
#include "check/intervals.h"

#include <dmakit/list.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define RANGES 300
#define OPERATIONS 1000000

static u64 random_state;

static u64 random_below(u64 bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (random_state * 0x2545f4914f6cdd1dull >> 11) % bound;
}

struct range {
    struct dk_interval at_once, lazily;
    bool in;
};

static struct range ranges[RANGES];
static struct dk_intervals sets[2];
static u64 seen[2]; /* of what a search visited: how many, and the sum of their places */
static unsigned seen_count[2];

static bool note_at_once(struct dk_interval *interval, void *data)
{
    (void)data;
    seen[0] += (u64)(container_of(interval, struct range, at_once) - ranges);
    seen_count[0]++;
    return true;
}

static bool note_lazily(struct dk_interval *interval, void *data)
{
    (void)data;
    seen[1] += (u64)(container_of(interval, struct range, lazily) - ranges);
    seen_count[1]++;
    return true;
}

static bool touches(const struct range *range, u64 first, u64 last)
{
    return range->in && range->at_once.start <= last &&
           range->at_once.start + (range->at_once.size - 1) >= first;
}

static void search(void)
{
    const unsigned kind = (unsigned)random_below(3);
    u64 first = random_below(0x4000), last = first + random_below(random_below(2) ? 0x40 : 0x4000);
    u64 sum = 0;
    unsigned count = 0, i;

    if (kind == 1) {
        i = (unsigned)random_below(RANGES);
        first = ranges[i].at_once.start;
    }
    memset(seen, 0, sizeof(seen));
    memset(seen_count, 0, sizeof(seen_count));
    if (kind == 0) {
        dk_intervals_touching(&sets[0], first, last, note_at_once, NULL);
        dk_intervals_touching(&sets[1], first, last, note_lazily, NULL);
    } else if (kind == 1) {
        dk_intervals_starting(&sets[0], first, note_at_once, NULL);
        dk_intervals_starting(&sets[1], first, note_lazily, NULL);
    } else {
        dk_intervals_each(&sets[0], note_at_once, NULL);
        dk_intervals_each(&sets[1], note_lazily, NULL);
    }
    for (i = 0; i < RANGES; i++) {
        if (kind == 0 ? !touches(&ranges[i], first, last)
                      : !ranges[i].in || (kind == 1 && ranges[i].at_once.start != first))
            continue;
        sum += i;
        count++;
    }
    for (i = 0; i < 2; i++) {
        assert_int_equal(seen_count[i], count);
        assert_int_equal(seen[i], sum);
    }
}

static void change(struct range *range)
{
    if (range->in) {
        dk_intervals_remove(&sets[0], &range->at_once);
        dk_intervals_remove(&sets[1], &range->lazily);
    } else {
        range->at_once.start = range->lazily.start = random_below(0x4000);
        range->at_once.size = range->lazily.size = 1 + random_below(1ull << random_below(13));
        dk_intervals_insert(&sets[0], &range->at_once);
        dk_intervals_insert_lazily(&sets[1], &range->lazily);
    }
    range->in = !range->in;
}

static void test_model(void **state)
{
    const unsigned operations = getenv("DMAKIT_TEST_FAST") ? OPERATIONS / 20 : OPERATIONS;
    unsigned i;

    (void)state;
    assert_int_equal(dk_intervals_init(&sets[0]), 0);
    assert_int_equal(dk_intervals_init(&sets[1]), 0);
    for (i = 0; i < operations; i++) {
        /* Many changes between searches, so that ranges go that never had a place. */
        if (random_below(16))
            change(&ranges[random_below(RANGES)]);
        else
            search();
    }
    for (i = 0; i < RANGES; i++) {
        if (ranges[i].in)
            change(&ranges[i]);
    }
    search();
    assert_int_equal(sets[0].count, 0);
    assert_int_equal(sets[1].count, 0);
    assert_int_equal(sets[1].classes, 0);
    assert_null(sets[1].fresh);
    dk_intervals_finish(&sets[0]);
    dk_intervals_finish(&sets[1]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_model) };

    random_state = argc > 1 ? strtoull(argv[1], NULL, 0) : (u64)time(NULL) % 100000 + 1;
    printf("seed %llu\n", random_state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
