/* SPDX-License-Identifier: MIT */
/*
 * Timing for dmakit bench.
 */
#include "bench.h"

#include <stdlib.h>
#include <time.h>

static double now_ns(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static double time_ns(const struct bench_subject *subject, struct bench_state *state, unsigned long count)
{
    double start = now_ns();

    subject->run(state, count);
    return now_ns() - start;
}

/* How many operations fill a round, with a quarter to spare for a clock that speeds up. */
static unsigned long calibrate(const struct bench_row *row, const struct bench_subject *subject,
                               struct bench_state *state)
{
    /* Starting a thread may take as long as a round: so many operations are not to be that alone. */
    unsigned long count = row->threads ? 1ul << 17 : 16;

    for (;;) {
        double took = time_ns(subject, state, count);

        if (took >= BENCH_ROUND_NS / 4)
            return (unsigned long)((double)count * BENCH_ROUND_NS * 1.25 / took) + 1;
        count *= 2;
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Sorts @samples. */
static struct bench_figures summarize(double *samples)
{
    qsort(samples, BENCH_ROUNDS, sizeof(*samples), compare);
    return (struct bench_figures){ .min = samples[0], .median = samples[BENCH_ROUNDS / 2] };
}

double dk_bench_goal(const struct bench_row *row, const struct bench_measure *measure)
{
    if (row->goal_over_ns > 0 || row->goal_over_percent > 0)
        return measure->peer.min * (1 + row->goal_over_percent / 100) + row->goal_over_ns;
    return row->goal;
}

/* Of the peers besides the first, those that there are: how many operations fill a round, else 0. */
static void calibrate_others(const struct bench_row *row, struct bench_state *state, unsigned long *counts)
{
    for (int i = 0; i < BENCH_OTHERS && row->others[i].run; i++) {
        if (!row->is_there || row->is_there(&row->others[i]))
            counts[i] = calibrate(row, &row->others[i], state);
    }
}

void dk_bench_measure(const struct bench_row *row, struct bench_state *state, struct bench_measure *measure)
{
    unsigned long count = calibrate(row, &row->subject, state);
    unsigned long peer_count = calibrate(row, &row->peer, state);
    unsigned long other_counts[BENCH_OTHERS] = { 0 };
    double subject[BENCH_ROUNDS];
    double peer[BENCH_ROUNDS];
    double others[BENCH_OTHERS][BENCH_ROUNDS];
    double ratio[BENCH_ROUNDS];

    calibrate_others(row, state, other_counts);
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        subject[i] = time_ns(&row->subject, state, count) / (double)count;
        peer[i] = time_ns(&row->peer, state, peer_count) / (double)peer_count;
        ratio[i] = subject[i] / peer[i];
        for (int j = 0; j < BENCH_OTHERS; j++) {
            if (other_counts[j])
                others[j][i] = time_ns(&row->others[j], state, other_counts[j]) / (double)other_counts[j];
        }
    }
    measure->subject = summarize(subject);
    measure->peer = summarize(peer);
    for (int j = 0; j < BENCH_OTHERS; j++)
        measure->others[j] = other_counts[j] ? summarize(others[j]) : (struct bench_figures){ 0, 0 };
    if (row->ratio) {
        /* The best of each, not the luckiest pair: a disturbed peer must not make the row look good. */
        measure->subject.min /= measure->peer.min;
        measure->subject.median = summarize(ratio).median;
    }
}
