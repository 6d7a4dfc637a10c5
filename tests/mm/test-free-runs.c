/* SPDX-License-Identifier: MIT */
/*
 * The index of free runs beside one byte a unit; and how many steps its calls take, counted, in areas from
 * 2^10 to 2^24 units that are broken up in the worst ways.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static unsigned long steps;
#define DK_FREE_RUNS_STEP() ((void)steps++)
#include "mm/free-runs.c" /* NOLINT(bugprone-suspicious-include): with the steps counted */

#include <dmakit/fail.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MOST_UNITS 4100u

static u64 state_word;

static u64 draw(u64 below)
{
    state_word ^= state_word << 13;
    state_word ^= state_word >> 7;
    state_word ^= state_word << 17;
    return (state_word >> 11) % below;
}

/* Short ones mostly. */
static u64 draw_count(u64 most)
{
    u64 count = (u64)1 << draw(13);

    count += draw(count);
    return count < most ? count : draw(most) + 1;
}

struct model {
    struct dk_free_runs *runs;
    u64 start, count;
    unsigned char is_free[MOST_UNITS]; /* 1: free */
};

static bool all_free(const struct model *model, u64 at, u64 count)
{
    return !memchr(model->is_free + (at - model->start), 0, (size_t)count);
}

/* What a request can have at the lowest place, looked for unit by unit. */
static bool model_find(const struct model *model, u64 count, unsigned order, u64 low, u64 high, u64 *at)
{
    u64 end = model->start + model->count;

    if (high > end)
        high = end;
    if (low < model->start)
        low = model->start;
    for (u64 i = align_up(low, order); i < high && count <= high - i; i += (u64)1 << order) {
        if (all_free(model, i, count)) {
            *at = i;
            return true;
        }
    }
    return false;
}

static void check_totals(const struct model *model)
{
    u64 units = 0, count = 0, at = 0, start, length;

    while (dk_free_runs_next(model->runs, at, &start, &length)) {
        assert_true(all_free(model, start, length));
        assert_true(start == model->start || !model->is_free[start - model->start - 1]);
        assert_true(start + length == model->start + model->count ||
                    !model->is_free[start + length - model->start]);
        /* From any unit of it the same run is found. */
        at = start + draw(length);
        assert_true(dk_free_runs_next(model->runs, at, &start, &length));
        units += length;
        count++;
        at = start + length;
    }
    assert_int_equal(units, dk_free_runs_units(model->runs));
    assert_int_equal(count, dk_free_runs_count(model->runs));
    for (u64 i = 0; i < model->count; i++)
        units -= model->is_free[i];
    assert_int_equal(units, 0);
}

static void check_largest(const struct model *model, unsigned order)
{
    u64 largest = dk_free_runs_largest(model->runs, order), at;

    assert_true(!largest || model_find(model, largest, order, 0, ~0ull, &at));
    assert_false(model_find(model, largest + 1, order, 0, ~0ull, &at));
}

static void request(struct model *model)
{
    u64 end = model->start + model->count, low = 0, high = ~0ull, at = 0, expected = 0;
    u64 count = draw_count(model->count + 2);
    unsigned order = draw(4) ? (unsigned)draw(6) : (unsigned)draw(40);
    bool found, there;

    if (!draw(3))
        low = model->start + draw(model->count + 3);
    if (!draw(4))
        high = draw(end + 3);
    found = dk_free_runs_find(model->runs, count, order, low, high, &at);
    there = model_find(model, count, order, low, high, &expected);
    if (found != there || at != expected)
        fail_msg("%llu units of order %u in %llu-%llu: %d at %llu, model %d at %llu",
                 (unsigned long long)count, order, (unsigned long long)low, (unsigned long long)high, found,
                 (unsigned long long)at, there, (unsigned long long)expected);
    if (found) {
        dk_free_runs_take(model->runs, at, count);
        memset(model->is_free + (at - model->start), 0, (size_t)count);
    }
}

/* Gives back what is used from a random unit on, up to a random count. */
static void give(struct model *model)
{
    u64 first = draw(model->count), count = 0, most = draw_count(model->count);

    while (first + count < model->count && count < most && !model->is_free[first + count])
        count++;
    if (!count)
        return;
    dk_free_runs_give(model->runs, model->start + first, count);
    memset(model->is_free + first, 1, (size_t)count);
}

static void run_model(u64 start, u64 count, unsigned long operations)
{
    static struct model model;

    model.start = start;
    model.count = count;
    memset(model.is_free, 0, sizeof(model.is_free));
    model.runs = dk_free_runs_create(start, count);
    assert_non_null(model.runs);
    for (unsigned long i = 0; i < operations; i++) {
        if (draw(2))
            request(&model);
        else
            give(&model);
        if (!(i % 64))
            check_largest(&model, (unsigned)draw(40));
        if (!(i % 1024))
            check_totals(&model);
    }
    check_totals(&model);
    dk_free_runs_destroy(model.runs);
}

static void test_model(void **state)
{
    static const struct {
        u64 start, count;
    } areas[] = {
        { 0, 1 },
        { 1, 1 },
        { 7, 2 },
        { 0, 16 },
        { 3, 17 },
        { 0, 64 },
        { 255, 257 },
        { 1000, 300 },
        { 0x80003, 700 },
        { 4096, 256 },
        { 513, 1000 },
        { 0, MOST_UNITS },
        { 8191, 300 },
        { 65536, 512 },
        { 1ull << 39, 400 },
        { (1ull << 39) - 9, 333 },
    };
    unsigned long operations = getenv("DMAKIT_TEST_FAST") ? 2000 : 64000;

    (void)state;
    for (size_t i = 0; i < sizeof(areas) / sizeof(areas[0]); i++)
        run_model(areas[i].start, areas[i].count, operations);
}

static void test_no_memory(void **state)
{
    unsigned long n;

    (void)state;
    for (n = 1;; n++) {
        struct dk_free_runs *runs;

        dk_fail_nth(n);
        runs = dk_free_runs_create(5, 1000);
        if (!dk_fail_hits()) {
            dk_free_runs_destroy(runs);
            break;
        }
        assert_null(runs);
    }
    dk_fail_nth(0);
    assert_int_equal(n, 3);
    dk_free_runs_destroy(NULL);
}

/* ---- Steps ---- */

static unsigned long most_steps;

static void note_steps(void)
{
    most_steps = steps > most_steps ? steps : most_steps;
    steps = 0;
}

/* A run of @length in each @period units of the index, from @shift on. */
static struct dk_free_runs *broken_up(u64 units, u64 period, u64 length, u64 shift)
{
    struct dk_free_runs *runs = dk_free_runs_create(0, units);

    assert_non_null(runs);
    for (u64 at = shift; at + length <= units; at += period)
        dk_free_runs_give(runs, at, length);
    return runs;
}

/* The most steps of a search that finds, of one that does not, and of taking and giving. */
static void count_steps(unsigned order, unsigned long *found, unsigned long *failed, unsigned long *changed)
{
    u64 units = (u64)1 << order, last = units - 16, at = 0;
    /* All runs are 14 long, a request of 15 fits into the last one alone. */
    struct dk_free_runs *runs = broken_up(units, 16, 14, 0);

    dk_free_runs_give(runs, last + 14, 1);
    most_steps = steps = 0;
    assert_true(dk_free_runs_find(runs, 15, 0, 0, ~0ull, &at));
    assert_int_equal(at, last);
    note_steps();
    assert_true(dk_free_runs_find(runs, 15, 0, units / 2 + 5, ~0ull, &at));
    assert_int_equal(at, last);
    note_steps();
    *found = most_steps;

    most_steps = 0;
    assert_false(dk_free_runs_find(runs, 16, 0, 0, ~0ull, &at));
    note_steps();
    dk_free_runs_destroy(runs);
    /* Runs of 15, none of which has an aligned place for 8 of them. */
    runs = broken_up(units, 16, 14, 1);
    steps = 0;
    assert_false(dk_free_runs_find(runs, 8, 3, 0, ~0ull, &at));
    note_steps();
    *failed = most_steps;

    /* Taking apart and putting together one run of the whole area, and runs among many. */
    most_steps = steps = 0;
    dk_free_runs_take(runs, units / 2 + 1, 14);
    note_steps();
    dk_free_runs_give(runs, units / 2 + 1, 14);
    note_steps();
    dk_free_runs_destroy(runs);
    runs = broken_up(units, units, units, 0);
    steps = 0;
    for (u64 i = 0; i < 64; i++) {
        dk_free_runs_take(runs, i * (units / 64) + i % 7, 3);
        note_steps();
    }
    for (u64 i = 0; i < 64; i++) {
        dk_free_runs_give(runs, (i * 37 % 64) * (units / 64) + (i * 37 % 64) % 7, 3);
        note_steps();
    }
    assert_int_equal(dk_free_runs_count(runs), 1);
    *changed = most_steps;
    dk_free_runs_destroy(runs);
}

/* From 2^10 to 2^24 units the levels double and the orders grow from 10 to 24. A bitmap's steps grow by
 * 16,384. */
static void test_growth(void **state)
{
    unsigned long found, failed, changed;

    (void)state;
    for (unsigned order = 10; order <= 24; order += 2) {
        unsigned levels = (order + FAN_SHIFT - 1) / FAN_SHIFT;

        count_steps(order, &found, &failed, &changed);
        print_message("2^%u units: found in %lu steps, failed in %lu, changed in %lu\n", order, found, failed,
                      changed);
        assert_int_equal(failed, 0);
        assert_true(found <= 4 * levels);
        assert_true(changed <= 2ul * (order + 1) * (levels + 1) + 2 * levels);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_growth),
    };
    const char *seed = getenv("DMAKIT_TEST_SEED");

    state_word = seed ? strtoull(seed, NULL, 0) : (u64)time(NULL) * 2 + 1;
    print_message("DMAKIT_TEST_SEED=%llu\n", (unsigned long long)state_word);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
