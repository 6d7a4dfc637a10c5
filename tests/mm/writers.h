/* SPDX-License-Identifier: MIT */
/*
 * Threads that write movable memory all the time, and notice when a store of theirs is lost.
 */
#ifndef TEST_MM_WRITERS_H
#define TEST_MM_WRITERS_H

#include "fixture.h"

#include <pthread.h>

#define WRITERS 2

struct writer {
    pthread_t thread;
    char *start;
    size_t pages, first, step; /* in each page: its first word, and from there every @step-th */
    bool *stop;
    u64 rounds, lost;
};

/* Counts in words of its own in every page; each store must be there a round later. */
static inline void *write_on(void *data)
{
    struct writer *writer = data;

    while (!__atomic_load_n(writer->stop, __ATOMIC_RELAXED)) {
        for (size_t page = 0; page < writer->pages; page++) {
            volatile u64 *words = (volatile u64 *)(void *)(writer->start + page * PAGE_SIZE);

            for (size_t i = writer->first; i < PAGE_SIZE / sizeof(u64); i += writer->step) {
                if (words[i] != writer->rounds)
                    writer->lost++;
                words[i] = writer->rounds + 1;
            }
        }
        writer->rounds++;
    }
    return NULL;
}

/* The @pages pages at @start hold zeros. They write every @step-th word of each, from a word of their own,
 * until *@stop. */
static inline void start_writers(struct writer *writers, void *start, size_t pages, size_t step, bool *stop)
{
    *stop = false;
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] =
            (struct writer){ .start = start, .pages = pages, .first = i, .step = step, .stop = stop };
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
    }
}

/* Nothing that they wrote was lost. */
static inline void stop_writers(struct writer *writers)
{
    __atomic_store_n(writers[0].stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(writers[i].thread, NULL);
    for (unsigned i = 0; i < WRITERS; i++) {
        const u64 *words = (const void *)writers[i].start;

        assert_int_equal(writers[i].lost, 0);
        assert_int_equal(words[writers[i].first], writers[i].rounds);
    }
}

#endif
