/* SPDX-License-Identifier: MIT */
/*
 * What the tests of this room share: small memories, a sink that counts log lines, and waiting for a thread.
 */
#ifndef TEST_MM_FIXTURE_H
#define TEST_MM_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "mm/memory.h"
#include <dmakit/error.h>
#include <dmakit/log.h>
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <time.h>

#define MIB ((u64)1 << 20)
#define GIB ((u64)1 << 30)

static unsigned log_lines;
static char last_line[1024];

static inline void count_line(int level, const char *line, void *data)
{
    (void)level;
    (void)data;
    log_lines++;
    strncpy(last_line, line, sizeof(last_line) - 1);
}

/* True when exactly one line was logged since the last call, and it holds @part. */
static inline bool logged(const char *part)
{
    bool one = log_lines == 1 && strstr(last_line, part);

    log_lines = 0;
    return one;
}

static inline bool silent(void)
{
    bool none = !log_lines;

    log_lines = 0;
    return none;
}

/* A coherent memory with one range and lines of 64 bytes. */
static inline struct dk_memory_config small_config(const struct dk_memory_range *range)
{
    return (struct dk_memory_config){ .ranges = range, .range_count = 1, .line = 64 };
}

static inline struct dk_memory *make(const struct dk_memory_config *config)
{
    struct dk_memory *memory;

    dk_log_set_sink(count_line, NULL);
    log_lines = 0;
    memory = dk_memory_create(config);
    assert_false(IS_ERR_OR_NULL(memory));
    return memory;
}

/* Ends a test, which has left @expected pages free. */
static inline void unmake(struct dk_memory *memory, u64 expected)
{
    assert_int_equal(dk_memory_free_pages(memory), expected);
    dk_memory_destroy(memory);
    dk_log_set_sink(NULL, NULL);
}

/* Waits up to a minute. False: nobody posted it. */
static inline bool wait_for(sem_t *semaphore)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    while (sem_timedwait(semaphore, &until)) {
        if (errno != EINTR)
            return false;
    }
    return true;
}

#endif
