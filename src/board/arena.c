/* SPDX-License-Identifier: MIT */
#include "board/arena.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>

/* Chunks of this size hold the small objects; larger objects get a chunk each. */
#define CHUNK_BYTES ((size_t)16384)
#define ALIGNMENT _Alignof(max_align_t)

struct chunk {
    struct chunk *next;
    max_align_t bytes[];
};

struct dk_arena {
    struct chunk *chunks; /* the first one is being filled */
    size_t used, size;    /* bytes of the first one */
};

struct dk_arena *dk_arena_create(void)
{
    return dk_allocate(1, sizeof(struct dk_arena));
}

void dk_arena_destroy(struct dk_arena *arena)
{
    struct chunk *chunk, *next;

    if (!arena)
        return;
    for (chunk = arena->chunks; chunk; chunk = next) {
        next = chunk->next;
        dk_release(chunk);
    }
    dk_release(arena);
}

static struct chunk *new_chunk(size_t bytes)
{
    return dk_allocate(1, sizeof(struct chunk) + bytes);
}

void *dk_arena_take(struct dk_arena *arena, size_t count, size_t size)
{
    struct chunk *chunk;
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - CHUNK_BYTES)
        return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > arena->size - arena->used) {
        bool own = bytes > CHUNK_BYTES / 4;

        chunk = new_chunk(own ? bytes : CHUNK_BYTES);
        if (!chunk)
            return NULL;
        if (own && arena->chunks) {
            /* Second place: the first one goes on being filled. */
            chunk->next = arena->chunks->next;
            arena->chunks->next = chunk;
            return chunk->bytes;
        }
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->size = own ? bytes : CHUNK_BYTES;
        arena->used = 0;
    }
    arena->used += bytes;
    return (char *)arena->chunks->bytes + arena->used - bytes;
}

char *dk_arena_format(struct dk_arena *arena, const char *format, ...)
{
    va_list arguments;
    char *text;
    int length;

    va_start(arguments, format);
    length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        return NULL;
    text = dk_arena_take(arena, (size_t)length + 1, 1);
    if (!text)
        return NULL;
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}
