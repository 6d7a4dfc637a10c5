/* SPDX-License-Identifier: MIT */
#include "base/alloc.h"

#include <dmakit/fail.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * Static because the library's own allocations have no machine yet when a board is read, and a
 * fault must be placeable there too. UNREAD: the environment has not been asked; -1: nothing is to fail; else
 * how many more are to succeed.
 */
#define UNREAD (-2)
static _Atomic long remaining = UNREAD;
static _Atomic unsigned long hits;

void dk_fail_nth(unsigned long n)
{
    atomic_store(&hits, 0);
    /* What does not fit is further away than any process gets. */
    atomic_store(&remaining, n && n <= LONG_MAX ? (long)n - 1 : -1);
}

unsigned long dk_fail_hits(void)
{
    return atomic_load(&hits);
}

/* DMAKIT_OPTIONS=fail_nth=N, read once; a value that is no number is src/start's to refuse. */
static long read_environment(void)
{
    const char *options = getenv("DMAKIT_OPTIONS");
    const char *found = options ? strstr(options, "fail_nth=") : NULL;
    long n = found ? strtol(found + strlen("fail_nth="), NULL, 0) : 0;
    long unread = UNREAD;

    atomic_compare_exchange_strong(&remaining, &unread, n > 0 ? n - 1 : -1);
    return atomic_load(&remaining);
}

bool dk_fault_point(void)
{
    long left = atomic_load_explicit(&remaining, memory_order_relaxed);

    if (left == UNREAD)
        left = read_environment();

    /* The common case writes nothing, so threads do not share a line here. */
    while (left >= 0) {
        if (atomic_compare_exchange_weak(&remaining, &left, left - 1)) {
            if (left > 0)
                return false;
            atomic_fetch_add(&hits, 1);
            return true;
        }
    }
    return false;
}

void *dk_allocate(size_t count, size_t size)
{
    size_t bytes;

    /* calloc() looks too, but under the address sanitizer it ends the process then. */
    if (__builtin_mul_overflow(count, size, &bytes) || dk_fault_point())
        return NULL;
    return calloc(1, bytes ? bytes : 1);
}

void *dk_resize(void *memory, size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || dk_fault_point())
        return NULL;
    return realloc(memory, bytes ? bytes : 1);
}

char *dk_copy_string(const char *string)
{
    size_t length = strlen(string) + 1;
    char *copy = dk_allocate(length, 1);

    return copy ? memcpy(copy, string, length) : NULL;
}

char *dk_format(const char *format, ...)
{
    va_list arguments;
    char *text;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return NULL;
    text = dk_allocate((size_t)length + 1, 1);
    if (!text)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

void dk_release(void *memory)
{
    free(memory);
}
