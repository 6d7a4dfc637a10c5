/* SPDX-License-Identifier: MIT */
/*
 * Thread numbers and magazines: each item has one holder at a time, whichever threads take, give and end, and
 * the source is asked for many items at once.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/magazine.h"
#include <cmocka.h>
#include <dmakit/fail.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLASSES 4
#define ITEMS 8192

static const unsigned capacities[CLASSES] = { 8, 64, 0, 1 };

/* The items of class c are c * ITEMS and up. */
struct source {
    pthread_mutex_t lock;
    unsigned limit;                     /* items of a class that exist */
    unsigned char out[CLASSES * ITEMS]; /* whether the source has given it out */
    unsigned refills, spills;           /* calls */
    unsigned held[CLASSES];             /* how many are out */
    bool wrong;
};

static size_t refill(void *owner, unsigned class_index, u64 *items, size_t count)
{
    struct source *source = owner;
    size_t found = 0;

    pthread_mutex_lock(&source->lock);
    source->refills++;
    for (unsigned i = 0; i < source->limit && found < count; i++) {
        if (!source->out[class_index * ITEMS + i]) {
            source->out[class_index * ITEMS + i] = 1;
            items[found++] = class_index * ITEMS + i;
        }
    }
    source->held[class_index] += (unsigned)found;
    pthread_mutex_unlock(&source->lock);
    return found;
}

static void spill(void *owner, unsigned class_index, const u64 *items, size_t count)
{
    struct source *source = owner;

    pthread_mutex_lock(&source->lock);
    source->spills++;
    for (size_t i = 0; i < count; i++) {
        if (items[i] / ITEMS != class_index || !source->out[items[i]])
            source->wrong = true;
        source->out[items[i]] = 0;
    }
    source->held[class_index] -= (unsigned)count;
    pthread_mutex_unlock(&source->lock);
}

static const struct dk_magazine_source operations = { refill, spill };

static struct dk_magazines *make(struct source *source, unsigned limit)
{
    struct dk_magazines *magazines;

    memset(source, 0, sizeof(*source));
    pthread_mutex_init(&source->lock, NULL);
    source->limit = limit;
    magazines = dk_magazines_create(&operations, source, capacities, CLASSES);
    assert_non_null(magazines);
    return magazines;
}

/* All that was taken must have been given. */
static void unmake(struct source *source, struct dk_magazines *magazines)
{
    dk_magazines_destroy(magazines);
    assert_false(source->wrong);
    for (unsigned i = 0; i < CLASSES; i++)
        assert_int_equal(source->held[i], 0);
    pthread_mutex_destroy(&source->lock);
}

static struct source source;

static void the_last_given_is_the_first_taken(void **state)
{
    struct dk_magazines *magazines = make(&source, ITEMS);
    u64 first = 0, second = 0, item = 0;

    (void)state;
    assert_true(dk_magazine_take(magazines, 0, &first));
    assert_true(dk_magazine_take(magazines, 0, &second));
    assert_true(first != second);
    assert_true(dk_magazine_give(magazines, 0, first));
    assert_true(dk_magazine_take(magazines, 0, &item));
    assert_true(item == first);
    assert_true(dk_magazine_give(magazines, 0, second));
    assert_true(dk_magazine_give(magazines, 0, first));
    assert_int_equal(source.refills, 1);
    assert_int_equal(source.spills, 0);
    unmake(&source, magazines);
}

static void a_class_without_capacity_is_not_cached(void **state)
{
    struct dk_magazines *magazines = make(&source, ITEMS);
    u64 item = 0;

    (void)state;
    /* With and without magazines of this thread. */
    for (int i = 0; i < 2; i++) {
        assert_false(dk_magazine_take(magazines, 2, &item));
        assert_false(dk_magazine_give(magazines, 2, 2 * ITEMS));
        assert_int_equal(source.held[2], 0);
        assert_true(dk_magazine_take(magazines, 3, &item));
        assert_true(dk_magazine_give(magazines, 3, item));
    }
    unmake(&source, magazines);
}

/* Wherever a thread stands, taking and giving in turns goes to the source once at most. */
static void turns_at_an_edge_stay_in_the_thread(void **state)
{
    static u64 taken[ITEMS];

    (void)state;
    for (unsigned start = 0; start <= 40; start++) {
        for (unsigned width = 1; width <= 8; width++) {
            struct dk_magazines *magazines = make(&source, ITEMS);
            unsigned calls, count;

            for (count = 0; count < start; count++)
                assert_true(dk_magazine_take(magazines, 0, &taken[count]));
            calls = source.refills + source.spills;
            for (unsigned round = 0; round < 10; round++) {
                for (unsigned i = 0; i < width; i++)
                    assert_true(dk_magazine_take(magazines, 0, &taken[count++]));
                for (unsigned i = 0; i < width; i++)
                    assert_true(dk_magazine_give(magazines, 0, taken[--count]));
            }
            /* A refill brings half a magazine. */
            assert_true(source.refills + source.spills - calls <= 2);
            while (count)
                assert_true(dk_magazine_give(magazines, 0, taken[--count]));
            unmake(&source, magazines);
        }
    }
}

static void the_source_is_asked_for_many_at_once(void **state)
{
    struct dk_magazines *magazines = make(&source, ITEMS);
    static u64 taken[ITEMS];

    (void)state;
    for (unsigned i = 0; i < ITEMS; i++)
        assert_true(dk_magazine_take(magazines, 1, &taken[i]));
    assert_int_equal(source.refills, ITEMS / 32);
    for (unsigned i = 0; i < ITEMS; i++)
        assert_true(dk_magazine_give(magazines, 1, taken[i]));
    assert_true(source.spills > 0);
    assert_true(source.spills <= ITEMS / 64);
    /* What is kept is bounded, and counted. */
    assert_true(source.held[1] <= 20 * 64);
    assert_int_equal(dk_magazines_held(magazines, 1), source.held[1]);
    unmake(&source, magazines);
}

static void all_items_can_be_had(void **state)
{
    static const unsigned limits[] = { 0, 1, 2, 7, 8, 9, 63, 64, 65, 200 };
    static u64 taken[ITEMS];

    (void)state;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        struct dk_magazines *magazines = make(&source, limits[i]);

        for (unsigned class_index = 0; class_index < CLASSES; class_index++) {
            unsigned count = 0;
            u64 item;

            if (!capacities[class_index])
                continue;
            for (int round = 0; round < 3; round++) {
                while (dk_magazine_take(magazines, class_index, &taken[count]))
                    count++;
                assert_int_equal(count, limits[i]);
                assert_false(dk_magazine_take(magazines, class_index, &item));
                assert_int_equal(dk_magazines_held(magazines, class_index), 0);
                while (count)
                    assert_true(dk_magazine_give(magazines, class_index, taken[--count]));
                assert_int_equal(dk_magazines_held(magazines, class_index), source.held[class_index]);
            }
        }
        unmake(&source, magazines);
    }
}

static void draining_spills_what_this_thread_and_the_depot_hold(void **state)
{
    struct dk_magazines *magazines = make(&source, ITEMS);
    static u64 taken[1000];
    u64 item;

    (void)state;
    dk_magazines_drain(magazines);
    for (unsigned count = 1; count <= 1000; count *= 10) {
        for (unsigned i = 0; i < count; i++)
            assert_true(dk_magazine_take(magazines, 1, &taken[i]));
        assert_true(dk_magazine_take(magazines, 0, &item));
        for (unsigned i = 0; i < count; i++)
            assert_true(dk_magazine_give(magazines, 1, taken[i]));
        assert_true(source.held[1] >= count);
        dk_magazines_drain(magazines);
        assert_int_equal(source.held[1], 0);
        assert_int_equal(source.held[0], 1);
        assert_true(dk_magazine_give(magazines, 0, item));
        dk_magazines_drain(magazines);
        assert_int_equal(source.held[0], 0);
    }
    unmake(&source, magazines);
}

static void *number_of_a_thread(void *data)
{
    *(unsigned *)data = dk_thread_number();
    assert_int_equal(dk_thread_number(), *(unsigned *)data);
    return NULL;
}

static unsigned number_of_new_thread(void)
{
    unsigned number = 0;
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, number_of_a_thread, &number), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    return number;
}

struct waiting {
    pthread_barrier_t *asked, *leave;
    unsigned number;
};

static void *wait_with_number(void *data)
{
    struct waiting *waiting = data;

    waiting->number = dk_thread_number();
    pthread_barrier_wait(waiting->asked);
    pthread_barrier_wait(waiting->leave);
    return NULL;
}

#define CROWD (DK_THREAD_NUMBERS + 20)

static void each_live_thread_has_its_own_number(void **state)
{
    static struct waiting waiting[CROWD];
    static pthread_t threads[CROWD];
    static unsigned bearers[DK_THREAD_NUMBERS + 1];
    pthread_barrier_t asked, leave;
    pthread_attr_t small;
    unsigned here = dk_thread_number();

    (void)state;
    assert_int_equal(here, 0);
    assert_int_equal(number_of_new_thread(), 1);
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_barrier_init(&asked, NULL, CROWD + 1);
    pthread_barrier_init(&leave, NULL, CROWD + 1);
    for (unsigned i = 0; i < CROWD; i++) {
        waiting[i].asked = &asked;
        waiting[i].leave = &leave;
        assert_int_equal(pthread_create(&threads[i], &small, wait_with_number, &waiting[i]), 0);
    }
    pthread_barrier_wait(&asked);
    bearers[here]++;
    for (unsigned i = 0; i < CROWD; i++) {
        assert_true(waiting[i].number <= DK_THREAD_NUMBERS);
        bearers[waiting[i].number]++;
    }
    for (unsigned i = 0; i < DK_THREAD_NUMBERS; i++)
        assert_int_equal(bearers[i], 1);
    assert_int_equal(bearers[DK_THREAD_NUMBERS], 21);
    assert_int_equal(number_of_new_thread(), DK_THREAD_NUMBERS);
    pthread_barrier_wait(&leave);
    for (unsigned i = 0; i < CROWD; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    /* All are free again, the lowest first. */
    assert_int_equal(number_of_new_thread(), 1);
    assert_int_equal(dk_thread_number(), here);
    pthread_barrier_destroy(&asked);
    pthread_barrier_destroy(&leave);
    pthread_attr_destroy(&small);
}

static pthread_key_t late_key;
static unsigned late_number;

/* Runs again until the number is gone, or the C library gives up. */
static void late(void *data)
{
    late_number = dk_thread_number();
    if (late_number < DK_THREAD_NUMBERS)
        pthread_setspecific(late_key, data);
}

static void *end_late(void *data)
{
    dk_thread_number();
    pthread_setspecific(late_key, data);
    return NULL;
}

static void a_number_asked_for_late_is_not_lost(void **state)
{
    pthread_t thread;
    int value;

    (void)state;
    assert_int_equal(pthread_key_create(&late_key, late), 0);
    for (unsigned i = 0; i < 2 * DK_THREAD_NUMBERS; i++) {
        assert_int_equal(pthread_create(&thread, NULL, end_late, &value), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(late_number, DK_THREAD_NUMBERS);
    }
    assert_int_equal(pthread_key_delete(late_key), 0);
    assert_int_equal(number_of_new_thread(), 1);
}

struct job {
    struct dk_magazines *magazines;
    u64 item;
    bool done;
};

static void *take_one(void *data)
{
    struct job *job = data;

    job->done = dk_magazine_take(job->magazines, 0, &job->item);
    return NULL;
}

static void *give_one(void *data)
{
    struct job *job = data;

    job->done = dk_magazine_give(job->magazines, 0, job->item);
    return NULL;
}

static void run_in_thread(void *(*body)(void *), struct job *job)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, body, job), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void what_a_thread_held_goes_to_the_next_with_its_number(void **state)
{
    struct dk_magazines *magazines = make(&source, ITEMS);
    struct job job = { .magazines = magazines };
    u64 item;

    (void)state;
    run_in_thread(take_one, &job);
    assert_true(job.done);
    item = job.item;
    run_in_thread(give_one, &job);
    assert_true(job.done);
    run_in_thread(take_one, &job);
    assert_true(job.done);
    assert_true(job.item == item);
    assert_int_equal(source.refills, 1);
    assert_int_equal(dk_magazines_held(magazines, 0), 3);
    run_in_thread(give_one, &job);
    unmake(&source, magazines);
}

/* The whole life of magazines; what cannot be had from them is had from the source. */
static bool live(struct dk_magazines *magazines)
{
    static u64 taken[300];
    unsigned count = 0;

    if (!magazines)
        return false;
    for (unsigned i = 0; i < 300; i++) {
        if (dk_magazine_take(magazines, 0, &taken[count]) || refill(&source, 0, &taken[count], 1) == 1)
            count++;
    }
    assert_int_equal(count, 300);
    while (count) {
        if (!dk_magazine_give(magazines, 0, taken[--count]))
            spill(&source, 0, &taken[count], 1);
    }
    dk_magazines_drain(magazines);
    assert_int_equal(source.held[0], 0);
    return true;
}

static void every_allocation_fails_in_turn(void **state)
{
    unsigned failed = 0;

    (void)state;
    for (unsigned n = 1;; n++) {
        struct dk_magazines *magazines;
        unsigned long hits;

        memset(&source, 0, sizeof(source));
        pthread_mutex_init(&source.lock, NULL);
        source.limit = ITEMS;
        dk_fail_nth(n);
        magazines = dk_magazines_create(&operations, &source, capacities, CLASSES);
        assert_int_equal(live(magazines), n > 2);
        hits = dk_fail_hits();
        dk_fail_nth(0);
        unmake(&source, magazines);
        if (!hits)
            break;
        failed++;
    }
    /* Two for all, the set, two magazines, and those that the depot holds. */
    assert_true(failed > 5);
}

#define THREADS 4

/* Threads hand items to each other through these places, so that magazines change hands too. */
#define PLACES 512

struct traffic {
    struct dk_magazines *magazines;
    u64 *places;
    unsigned char *holders; /* by item; atomic access */
    unsigned operations;
    u64 seed;
    bool wrong;
};

static u64 draw(u64 *word)
{
    *word ^= *word << 13;
    *word ^= *word >> 7;
    *word ^= *word << 17;
    return *word;
}

/* Relaxed, so that the thread sanitizer sees what order the magazines alone bring. */
static bool set_holder(struct traffic *traffic, u64 item, unsigned char from)
{
    unsigned char before = __atomic_exchange_n(&traffic->holders[item], !from, __ATOMIC_RELAXED);

    traffic->wrong |= before != from;
    return before == from;
}

static void take_and_give(struct traffic *traffic, unsigned class_index, u64 *place)
{
    u64 item;

    if (!dk_magazine_take(traffic->magazines, class_index, &item)) {
        item = 0;
    } else {
        set_holder(traffic, item, 0);
        item++;
    }
    item = __atomic_exchange_n(place, item, __ATOMIC_ACQ_REL);
    if (!item)
        return;
    item--;
    set_holder(traffic, item, 1);
    if (!dk_magazine_give(traffic->magazines, (unsigned)(item / ITEMS), item))
        spill(&source, (unsigned)(item / ITEMS), &item, 1);
}

static void *trade(void *data)
{
    struct traffic *traffic = data;

    for (unsigned i = 0; i < traffic->operations; i++) {
        u64 word = draw(&traffic->seed);

        take_and_give(traffic, word & 1 ? 1 : 0, &traffic->places[word / 256 % PLACES]);
        if (i % 4096 == 0) {
            dk_magazines_drain(traffic->magazines);
            dk_magazines_held(traffic->magazines, 0);
        }
    }
    return NULL;
}

static u64 chosen_seed(void)
{
    const char *text = getenv("DMAKIT_TEST_SEED");

    return text ? strtoull(text, NULL, 0) : 0x3a9a21beadull;
}

static void threads_never_hold_one_item_twice(void **state)
{
    static unsigned char holders[CLASSES * ITEMS];
    static u64 places[PLACES];
    struct dk_magazines *magazines = make(&source, 700);
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 10000 : 50000;
    struct traffic traffic[THREADS];
    pthread_t threads[THREADS];

    (void)state;
    print_message("seed 0x%llx\n", chosen_seed());
    for (unsigned generation = 0; generation < 4; generation++) {
        for (unsigned i = 0; i < THREADS; i++) {
            traffic[i] = (struct traffic){
                magazines, places, holders, operations, chosen_seed() + generation * THREADS + i, false
            };
            assert_int_equal(pthread_create(&threads[i], NULL, trade, &traffic[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_false(traffic[i].wrong);
        }
    }
    for (unsigned i = 0; i < PLACES; i++) {
        if (places[i]) {
            u64 item = places[i] - 1;

            spill(&source, (unsigned)(item / ITEMS), &item, 1);
        }
    }
    for (unsigned i = 0; i < CLASSES; i++)
        assert_int_equal(dk_magazines_held(magazines, i), source.held[i]);
    unmake(&source, magazines);
}

static void *number_of(void *data)
{
    *(unsigned *)data = dk_thread_number();
    return NULL;
}

/* No thread of a child gets a number that a thread of its parent ever had: neither the one that forked nor a
 * new one. */
static void a_child_has_other_numbers(void **state)
{
    unsigned ended, here = dk_thread_number();
    pthread_t thread;
    int status;
    pid_t child;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, number_of, &ended), 0);
    pthread_join(thread, NULL);
    child = fork();
    if (!child) {
        unsigned before = dk_thread_number_here, own = dk_thread_number(), other = here;
        bool right = before == DK_THREAD_UNNUMBERED && own < DK_THREAD_NUMBERS && own != here && own != ended;

        if (pthread_create(&thread, NULL, number_of, &other) || pthread_join(thread, NULL))
            _exit(2);
        right = right && other < DK_THREAD_NUMBERS && other != here && other != ended && other != own;
        /* Its own threads' numbers go on as usual. */
        ended = other;
        if (pthread_create(&thread, NULL, number_of, &other) || pthread_join(thread, NULL))
            _exit(2);
        _exit(right && other == ended ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(dk_thread_number(), here);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_has_other_numbers),
        cmocka_unit_test(each_live_thread_has_its_own_number),
        cmocka_unit_test(a_number_asked_for_late_is_not_lost),
        cmocka_unit_test(the_last_given_is_the_first_taken),
        cmocka_unit_test(a_class_without_capacity_is_not_cached),
        cmocka_unit_test(turns_at_an_edge_stay_in_the_thread),
        cmocka_unit_test(the_source_is_asked_for_many_at_once),
        cmocka_unit_test(all_items_can_be_had),
        cmocka_unit_test(draining_spills_what_this_thread_and_the_depot_hold),
        cmocka_unit_test(what_a_thread_held_goes_to_the_next_with_its_number),
        cmocka_unit_test(every_allocation_fails_in_turn),
        cmocka_unit_test(threads_never_hold_one_item_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
