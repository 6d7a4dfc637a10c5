/* SPDX-License-Identifier: MIT */
/*
 * The run time of programs compiled with -fsanitize=thread code generation: what the compiler's calls and the
 * C library's wrappers share. Everything here is linked into the program; what is wrong with an access the
 * library finds out (dk_instrument_access()).
 *
 * Nothing in this room may be instrumented itself.
 */
#ifndef DK_INSTRUMENT_INSTRUMENT_H
#define DK_INSTRUMENT_INSTRUMENT_H

#include <dmakit/instrument.h>

#define DK_EXPORT __attribute__((visibility("default")))

/* Out of line, so that the way of an access to ordinary memory needs no frame. */
__attribute__((noinline)) void dk_instrument_look(uintptr_t address, size_t size, unsigned access,
                                                  const char *call);

/* Before an access. Ordinary memory costs one load from the table. */
static inline __attribute__((always_inline)) void
dk_instrument_check(const volatile void *address, size_t size, unsigned access, const char *call)
{
    if (__builtin_expect(dk_slot_find((const void *)address) != NULL, 0))
        dk_instrument_look((uintptr_t)address, size, access, call);
}

/* The same for as many bytes as the program likes, whose end may lie in another slot. */
static inline void dk_instrument_check_range(const volatile void *address, size_t size, unsigned access,
                                             const char *call)
{
    if (size && (dk_slot_find((const void *)address) || dk_slot_find((const char *)address + (size - 1))))
        dk_instrument_look((uintptr_t)address, size, access, call);
}

#endif
