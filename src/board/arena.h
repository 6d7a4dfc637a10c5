/* SPDX-License-Identifier: MIT */
/*
 * The owner of a board's strings and arrays: they all go at once.
 */
#ifndef DK_BOARD_ARENA_H
#define DK_BOARD_ARENA_H

#include <dmakit/types.h>

struct dk_arena;

/* An empty arena, or NULL when out of memory. */
struct dk_arena *dk_arena_create(void);

/* Frees @arena and everything taken from it. NULL is fine. */
void dk_arena_destroy(struct dk_arena *arena);

/* Zeroed memory for @count objects of @size bytes, aligned for any of them; NULL when out of memory or on
 * overflow. */
void *dk_arena_take(struct dk_arena *arena, size_t count, size_t size)
    __attribute__((malloc, warn_unused_result));

/* printf into the arena; NULL when out of memory. */
char *dk_arena_format(struct dk_arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3), warn_unused_result));

#endif
