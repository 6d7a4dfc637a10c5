/* SPDX-License-Identifier: MIT */
/*
 * Each row of dmakit bench survives each allocation failing: an error, or fewer operations; no crash, no
 * leak.
 */
#include "tools/bench.h"

#include <dmakit/fail.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static void ignore_line(int level, const char *line, void *data)
{
    (void)level;
    (void)line;
    (void)data;
}

static void each_allocation_fails(void **state)
{
    (void)state;
    dk_log_set_sink(ignore_line, NULL);
    for (size_t i = 0; i < dk_bench_row_count(); i++) {
        const struct bench_row *row = dk_bench_row_at(i);
        unsigned long hits = 1;
        unsigned long n;

        /* What fails in the smallest of the rows about growth does in the others. */
        if (row->scale > 1024)
            continue;
        /* Rows that fill an area make thousands of allocations, all in one place. */
        for (n = 1; hits; n += n < 300 ? 1 : 499) {
            struct bench_state bench;
            int error;

            dk_fail_nth(n);
            error = dk_bench_open(row, &bench);
            if (!error)
                row->subject.run(&bench, 3);
            hits = dk_fail_hits();
            dk_fail_nth(0);
            if (!hits)
                assert_int_equal(error, 0);
            dk_bench_close(row, &bench);
            assert_in_range(n, 1, 10000);
        }
        assert_true(n > 10);
    }
    dk_log_set_sink(NULL, NULL);
}

/* A ring that stops early measures nothing: each packet must have come in. */
static void ring_receives_every_packet(void **state)
{
    static const char *const names[] = { "check-depth-0", "check-depth-1", "check-depth-2" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        const struct bench_row *row = dk_bench_row_find(names[i]);
        struct bench_state bench;

        assert_int_equal(dk_bench_open(row, &bench), 0);
        row->subject.run(&bench, 1000);
        row->peer.run(&bench, 1000);
        assert_int_equal(dk_bench_ring_received(bench.ring), 1000);
        assert_int_equal(dk_bench_ring_received(bench.plain_ring), 1000);
        assert_int_equal(dk_check_count(bench.machine, NULL), 0);
        dk_bench_close(row, &bench);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_fails),
        cmocka_unit_test(ring_receives_every_packet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
