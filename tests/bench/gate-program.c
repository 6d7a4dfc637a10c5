/* SPDX-License-Identifier: MIT */
/*
 * gate-program ROW COUNT: sets a row of `dmakit bench` up and runs its operation COUNT times, for somebody
 * who counts instructions: what COUNT and twice COUNT differ in is the operation alone.
 */
#include "tools/bench.h"

#include <stdlib.h>

int main(int argc, char **argv)
{
    const struct bench_row *row = argc == 3 ? dk_bench_row_find(argv[1]) : NULL;
    unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;
    struct bench_state state;
    int error;

    if (!row || !count) {
        fputs("usage: gate-program ROW COUNT\n", stderr);
        return 2;
    }
    error = dk_bench_open(row, &state);
    if (!error)
        row->subject.run(&state, count);
    dk_bench_close(row, &state);
    return error ? 2 : 0;
}
