/* SPDX-License-Identifier: MIT */
/* <linux/string.h> for driver source. */
#if __has_include_next(<linux/string.h>)
#include_next <linux/string.h>
#endif

#ifndef DMAKIT_LINUX_STRING_H
#define DMAKIT_LINUX_STRING_H

#include <dmakit/slab.h>
#include <string.h>

/* Clears what the compiler must not leave out. */
static inline void memzero_explicit(void *memory, size_t size)
{
    memset(memory, 0, size);
    __asm__ __volatile__("" : : "r"(memory) : "memory");
}

#endif
