/* SPDX-License-Identifier: MIT */
/*
 * Runs of slots that were unmapped of late: the oldest come back first, when there are too many, and all of
 * them when they are asked for.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mapping/bounce-quarantine.h"
#include <cmocka.h>
#include <dmakit/fail.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS 300u

struct run {
    u64 first;
    unsigned slots, order;
};

static struct run given[DK_BOUNCE_QUARANTINE_RUNS + 1];
static unsigned given_count;

static void give(void *owner, u64 first, unsigned slots, unsigned order)
{
    assert_ptr_equal(owner, given);
    assert_true(given_count < DK_BOUNCE_QUARANTINE_RUNS + 1);
    given[given_count++] = (struct run){ first, slots, order };
}

static u64 word;

static unsigned draw(unsigned below)
{
    word ^= word << 13;
    word ^= word >> 7;
    word ^= word << 17;
    return (unsigned)(word % below);
}

/* What came back since the last call are the first @count of @queue, in their order. */
static void expect_given(const struct run *queue, unsigned count)
{
    unsigned i;

    assert_int_equal(given_count, count);
    for (i = 0; i < count; i++) {
        assert_true(given[i].first == queue[i].first);
        assert_int_equal(given[i].slots, queue[i].slots);
        assert_int_equal(given[i].order, queue[i].order);
    }
    given_count = 0;
}

static void random_runs_are_as_in_a_list(void **state)
{
    static struct run queue[DK_BOUNCE_QUARANTINE_RUNS + 2];
    struct dk_bounce_quarantine *quarantine = dk_bounce_quarantine_create(SLOTS, give, given);
    const char *text = getenv("DMAKIT_TEST_SEED");
    unsigned rounds = getenv("DMAKIT_TEST_FAST") ? 20000 : 500000, count = 0, slots = 0, i;

    (void)state;
    assert_non_null(quarantine);
    word = text ? strtoull(text, NULL, 0) : 0xb0c5;
    word += !word;
    printf("seed 0x%llx (DMAKIT_TEST_SEED)\n", word);
    for (i = 0; i < rounds; i++) {
        struct run run = { i, 1 + draw(draw(4) ? 3 : 128), draw(9) };
        unsigned gone = 0;

        if (draw(50) == 0) {
            assert_true(dk_bounce_quarantine_end(quarantine) == (count > 0));
            expect_given(queue, count);
            count = slots = 0;
        }
        if (draw(500) == 0)
            run.slots = SLOTS + 1;
        dk_bounce_quarantine_add(quarantine, run.first, run.slots, run.order);
        queue[count++] = run;
        slots += run.slots;
        while (count - gone > DK_BOUNCE_QUARANTINE_RUNS || slots > SLOTS)
            slots -= queue[gone++].slots;
        expect_given(queue, gone);
        memmove(queue, queue + gone, (count -= gone) * sizeof(queue[0]));
        assert_true(dk_bounce_quarantine_held(quarantine) == slots);
    }
    dk_bounce_quarantine_destroy(quarantine);
    assert_int_equal(given_count, 0);
}

static void no_memory_is_an_error(void **state)
{
    (void)state;
    dk_fail_nth(1);
    assert_null(dk_bounce_quarantine_create(SLOTS, give, given));
    assert_int_equal(dk_fail_hits(), 1);
    dk_fail_nth(0);
    dk_bounce_quarantine_destroy(NULL);
    assert_true(dk_bounce_quarantine_held(NULL) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_runs_are_as_in_a_list),
        cmocka_unit_test(no_memory_is_an_error),
    };

    return cmocka_run_group_tests_name("bounce-quarantine", tests, NULL, NULL);
}
