/* SPDX-License-Identifier: MIT */
/*
 * Free slots of a bounce pool: random operations beside a model of one byte a slot, threads, and each
 * allocation failing.
 */
#include "machine/compose.h"
#include "mapping/bounce-slots.h"

#include <dmakit/fail.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

/* More segments than areas, and a last one that is not whole. */
#define SLOTS 2500u

struct taken {
    u64 first;
    unsigned count;
};

static unsigned char model[SLOTS]; /* 1: in a run */
static struct taken runs[SLOTS];
static unsigned run_count;
static u64 used, most;
static u64 random_state;

static unsigned draw(unsigned below)
{
    return (unsigned)(test_random(&random_state) % below);
}

static bool model_has(unsigned count, unsigned align, u64 lowest, u64 end)
{
    u64 first, i;

    for (first = (lowest + align - 1) / align * align; first + count <= end; first += align) {
        if (first % DK_BOUNCE_SEGMENT + count > DK_BOUNCE_SEGMENT)
            continue;
        for (i = 0; i < count && !model[first + i]; i++)
            ;
        if (i == count)
            return true;
    }
    return false;
}

static void enter(u64 first, unsigned count)
{
    assert_true(first + count <= SLOTS);
    assert_true(first % DK_BOUNCE_SEGMENT + count <= DK_BOUNCE_SEGMENT);
    for (u64 i = first; i < first + count; i++) {
        if (model[i])
            fail_msg("slot %llu was given twice", i);
        model[i] = 1;
    }
    runs[run_count++] = (struct taken){ first, count };
    used += count;
    if (used > most)
        most = used;
}

static void take(struct dk_bounce_slots *slots)
{
    unsigned count = draw(4) ? 1 + draw(12) : 1 + draw(DK_BOUNCE_SEGMENT), align = 1u << draw(4);
    u64 lowest = 0, end = SLOTS, first;

    if (!draw(3)) {
        lowest = draw(SLOTS);
        end = lowest + draw(SLOTS - (unsigned)lowest) + 1;
    }
    if (!dk_bounce_slots_take(slots, count, align, lowest, end, &first)) {
        if (model_has(count, align, lowest, end))
            fail_msg("%u slots from a multiple of %u in %llu-%llu were there", count, align, lowest, end);
        return;
    }
    assert_true(first >= lowest && first + count <= end);
    assert_int_equal(first % align, 0);
    enter(first, count);
}

static void take_blocks(struct dk_bounce_slots *slots)
{
    unsigned order = draw(DK_BOUNCE_ORDERS);
    size_t wanted = 1 + draw(10), found;
    u64 firsts[10];

    found = dk_bounce_slots_take_blocks(slots, order, firsts, wanted);
    assert_true(found <= wanted);
    if (!found)
        assert_false(model_has(1u << order, 1u << order, 0, SLOTS));
    for (size_t i = 0; i < found; i++) {
        assert_int_equal(firsts[i] % (1u << order), 0);
        enter(firsts[i], 1u << order);
    }
}

static void give(struct dk_bounce_slots *slots)
{
    unsigned which = draw(run_count);
    struct taken run = runs[which];

    /* Wherever one looks, the run's first is found. */
    assert_int_equal(dk_bounce_slots_first(slots, run.first + draw(run.count)), run.first);
    assert_int_equal(dk_bounce_slots_first(slots, run.first + run.count - 1), run.first);
    assert_true(dk_bounce_slots_give(slots, run.first, run.count));
    assert_false(dk_bounce_slots_give(slots, run.first, run.count));
    memset(model + run.first, 0, run.count);
    used -= run.count;
    runs[which] = runs[--run_count];
}

static void test_model(void **state)
{
    unsigned long operations = test_rounds(1000000);
    struct dk_bounce_slots *slots = dk_bounce_slots_create(SLOTS);
    unsigned bias = 2;
    u64 now, peak;

    (void)state;
    assert_non_null(slots);
    random_state = test_seed(0x5107b0a7d);
    for (unsigned long i = 0; i < operations; i++) {
        /* Now filling up, now emptying. */
        if (i % 3000 == 0)
            bias = 1 + draw(4);
        if (run_count && draw(5) < bias)
            give(slots);
        else if (draw(4))
            take(slots);
        else
            take_blocks(slots);
        dk_bounce_slots_usage(slots, &now, &peak);
        assert_int_equal(now, used);
        assert_int_equal(peak, most);
    }
    while (run_count)
        give(slots);
    /* Whatever happened, the pool is whole again. */
    for (unsigned i = 0; i < SLOTS / DK_BOUNCE_SEGMENT; i++)
        assert_true(dk_bounce_slots_take(slots, DK_BOUNCE_SEGMENT, DK_BOUNCE_SEGMENT, 0, SLOTS, &now));
    assert_true(dk_bounce_slots_take(slots, SLOTS % DK_BOUNCE_SEGMENT, 1, 0, SLOTS, &now));
    assert_false(dk_bounce_slots_take(slots, 1, 1, 0, SLOTS, &now));
    dk_bounce_slots_destroy(slots);
}

static void test_wrong_gives(void **state)
{
    static const struct taken wrong[] = {
        { 0, 0 }, { 10, 129 }, { 100, 29 }, { SLOTS, 1 }, { SLOTS - 1, 2 }, { 4, 8 }, { ~0ull, 1 }, { 9, 2 },
    };
    struct dk_bounce_slots *slots = dk_bounce_slots_create(SLOTS);
    u64 first, now, peak;

    (void)state;
    assert_non_null(slots);
    assert_true(dk_bounce_slots_take(slots, 10, 1, 0, SLOTS, &first));
    assert_int_equal(first, 0);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(dk_bounce_slots_give(slots, wrong[i].first, wrong[i].count));
    dk_bounce_slots_usage(slots, &now, &peak);
    assert_int_equal(now, 10);
    assert_true(dk_bounce_slots_give(slots, 0, 10));
    dk_bounce_slots_destroy(slots);
}

/* ---- Threads ---- */

struct worker {
    pthread_t thread;
    struct dk_bounce_slots *slots;
    unsigned char *owners; /* one a slot; atomic */
    unsigned char name;
    u64 seed;
    unsigned long wrong;
};

static void own(struct worker *worker, const struct taken *run, unsigned char from, unsigned char to)
{
    for (u64 i = run->first; i < run->first + run->count; i++) {
        if (__atomic_exchange_n(&worker->owners[i], to, __ATOMIC_RELAXED) != from)
            worker->wrong++;
    }
}

static void *work(void *data)
{
    struct worker *worker = data;
    unsigned long rounds = test_rounds(100000);
    struct taken held[50];
    unsigned count = 0;

    for (unsigned long i = 0; i < rounds; i++) {
        u64 number = test_random(&worker->seed);

        if (count < 50 && number % 2) {
            struct taken *run = &held[count];

            run->count = 1 + (unsigned)(number >> 8) % 40;
            if (!dk_bounce_slots_take(worker->slots, run->count, 1, 0, SLOTS, &run->first))
                continue;
            own(worker, run, 0, worker->name);
            count++;
        } else if (count) {
            unsigned which = (unsigned)(number >> 8) % count;

            own(worker, &held[which], worker->name, 0);
            worker->wrong += !dk_bounce_slots_give(worker->slots, held[which].first, held[which].count);
            held[which] = held[--count];
        }
    }
    while (count--) {
        own(worker, &held[count], worker->name, 0);
        worker->wrong += !dk_bounce_slots_give(worker->slots, held[count].first, held[count].count);
    }
    return NULL;
}

static void test_threads(void **state)
{
    static unsigned char owners[SLOTS];
    struct dk_bounce_slots *slots = dk_bounce_slots_create(SLOTS);
    struct worker workers[4];
    u64 seed = test_seed(0x7123ad5), now, peak;

    (void)state;
    assert_non_null(slots);
    for (unsigned i = 0; i < 4; i++) {
        workers[i] = (struct worker){ .slots = slots, .owners = owners, .name = (unsigned char)(i + 1) };
        workers[i].seed = seed + i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    dk_bounce_slots_usage(slots, &now, &peak);
    assert_int_equal(now, 0);
    dk_bounce_slots_destroy(slots);
}

static void test_each_allocation_fails(void **state)
{
    unsigned long n, hits = 1;

    (void)state;
    for (n = 1; hits; n++) {
        struct dk_bounce_slots *slots;

        dk_fail_nth(n);
        slots = dk_bounce_slots_create(SLOTS);
        hits = dk_fail_hits();
        dk_fail_nth(0);
        assert_true(hits ? !slots : !!slots);
        dk_bounce_slots_destroy(slots);
    }
    assert_in_range(n, 4, 20);
    assert_null(dk_bounce_slots_create(0));
    assert_null(dk_bounce_slots_create(~0ull));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_wrong_gives),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_each_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
