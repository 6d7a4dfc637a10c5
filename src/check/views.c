/* SPDX-License-Identifier: MIT */
#include "check/views.h"

#include <string.h>

/* A race detector sees what memcmp() and memcpy() read. */
#if defined(__SANITIZE_THREAD__)
#define WATCHED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define WATCHED 1
#endif
#endif

#if defined(__clang__)
#define DK_UNSEEN __attribute__((disable_sanitizer_instrumentation, no_sanitize("thread")))
#else
#define DK_UNSEEN __attribute__((no_sanitize("thread")))
#endif

/* Volatile, so that no compiler makes a call of memcpy() of a loop: a race detector sees that. */
typedef u64 __attribute__((aligned(1), may_alias)) unaligned_word;
typedef const volatile unaligned_word *words;

#define WORD sizeof(u64)

static inline __attribute__((always_inline)) DK_UNSEEN bool same(const char *a, const char *b)
{
    return *(words)(const void *)a == *(words)(const void *)b;
}

/* Eight words a step: most memory has not changed. Returns the first step that has. */
static inline __attribute__((always_inline)) DK_UNSEEN u64 skip_same(const char *a, const char *b, u64 at,
                                                                     u64 size)
{
    for (; at + 8 * WORD <= size; at += 8 * WORD) {
        words x = (words)(const void *)(a + at);
        words y = (words)(const void *)(b + at);

        if ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4]) | (x[5] ^ y[5]) |
            (x[6] ^ y[6]) | (x[7] ^ y[7]))
            break;
    }
    return at;
}

DK_UNSEEN bool dk_view_same(const char *cpu, const char *held, u64 size)
{
#ifndef WATCHED
    return !memcmp(cpu, held, size);
#else
    u64 at = skip_same(cpu, held, 0, size);

    while (at < size && *(const volatile char *)(cpu + at) == held[at])
        at++;
    return at == size;
#endif
}

DK_UNSEEN u64 dk_view_changed(const char *cpu, char *held, const char *written, u64 from, u64 size)
{
    u64 at = from;

#ifndef WATCHED
    if (!memcmp(cpu + from, held + from, size - from))
        return size;
#endif
    while (at < size) {
        u64 stop;

        at = skip_same(cpu, held, at, size);
        stop = at + 8 * WORD < size ? at + 8 * WORD : size;
        for (; at < stop; at++) {
            char now;

            if (at + WORD <= stop && same(cpu + at, held + at)) {
                at += WORD - 1;
                continue;
            }
            now = *(const volatile char *)(cpu + at);
            if (now == held[at])
                continue;
            if (!written || now != written[at])
                return at;
            held[at] = now;
        }
    }
    return size;
}

DK_UNSEEN u64 dk_view_run(const char *cpu, const char *held, const char *written, u64 from, u64 size)
{
    u64 at = from;

    while (at < size) {
        char now = *(const volatile char *)(cpu + at);

        if (now == held[at] || (written && now == written[at]))
            break;
        at++;
    }
    return at - from;
}

DK_UNSEEN void dk_view_copy(char *into, const char *from, u64 size)
{
#ifndef WATCHED
    memcpy(into, from, size);
#else
    u64 at;

    for (at = 0; at + WORD <= size; at += WORD)
        *(unaligned_word *)(void *)(into + at) = *(words)(const void *)(from + at);
    for (; at < size; at++)
        into[at] = *(const volatile char *)(from + at);
#endif
}
