/* SPDX-License-Identifier: MIT */
/*
 * The library's own memory. Every allocation passes one fault point, so that a test can make
 * the n-th of them fail.
 */
#ifndef DK_BASE_ALLOC_H
#define DK_BASE_ALLOC_H

#include <dmakit/types.h>

/*
 * True when the allocation about to be made is to fail. Whatever can run out (host memory, a
 * mapping, pages of the machine) asks exactly once before it takes. Any thread; no locks.
 */
bool dk_fault_point(void);

/* Zeroed memory of @count times @size bytes; NULL when out of memory or on overflow. Free with dk_release().
 */
void *dk_allocate(size_t count, size_t size) __attribute__((malloc, warn_unused_result));

/* As realloc() of @count times @size bytes: NULL leaves @memory as it was. New bytes are not cleared. */
void *dk_resize(void *memory, size_t count, size_t size) __attribute__((warn_unused_result));

/* A copy of @string; NULL when out of memory. */
char *dk_copy_string(const char *string) __attribute__((malloc, warn_unused_result));

/* printf into new memory; NULL when out of memory. */
char *dk_format(const char *format, ...) __attribute__((format(printf, 1, 2), malloc, warn_unused_result));

/* Frees what the calls above gave. NULL is fine. */
void dk_release(void *memory);

#endif
