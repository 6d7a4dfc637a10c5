/* SPDX-License-Identifier: MIT */
/*
 * Error pointers: a pointer that carries a negative errno in the last page of the address space.
 */
#ifndef DMAKIT_ERROR_H
#define DMAKIT_ERROR_H

#include <dmakit/types.h>
#include <errno.h>

/* The largest errno an error pointer can carry. */
#define MAX_ERRNO 4095

/* Linux's own numbers that user space's errno.h does not have. */
#ifndef ERESTARTSYS
#define ERESTARTSYS 512
#endif
#ifndef ENOTSUPP
#define ENOTSUPP 524
#endif

/* An error pointer that carries @error, a negative errno. */
static inline void *ERR_PTR(long error)
{
    return (void *)(intptr_t)error;
}

/* The negative errno that the error pointer @pointer carries. */
static inline long PTR_ERR(const void *pointer)
{
    return (long)(intptr_t)pointer;
}

/* Whether @pointer is an error pointer. NULL is not one. */
static inline bool IS_ERR(const void *pointer)
{
    return (uintptr_t)pointer >= (uintptr_t)-MAX_ERRNO;
}

/* Whether the integer @value, an address of any width, carries a negative errno. Evaluates it twice. */
#define IS_ERR_VALUE(value)                                                  \
    (sizeof(value) > sizeof(unsigned long) ? (u64)(value) >= (u64)-MAX_ERRNO \
                                           : (unsigned long)(value) >= (unsigned long)-MAX_ERRNO)

/* Whether @pointer is NULL or an error pointer. */
static inline bool IS_ERR_OR_NULL(const void *pointer)
{
    return !pointer || IS_ERR(pointer);
}

/* The error that @pointer carries, or 0. */
static inline int PTR_ERR_OR_ZERO(const void *pointer)
{
    return IS_ERR(pointer) ? (int)PTR_ERR(pointer) : 0;
}

/* The same error pointer as another type. */
static inline void *ERR_CAST(const void *pointer)
{
    return (void *)(uintptr_t)pointer;
}

#endif
