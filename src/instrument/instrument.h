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

/* Whether one of @size bytes of shadow, a constant up to 16, has one of the bits @asked. */
static inline __attribute__((always_inline)) bool dk_instrument_special(const u8 *shadow, size_t size,
                                                                        u8 asked)
{
    u64 words[2] = { 0, 0 };

    if (size == 1)
        return *shadow & asked;
    __builtin_memcpy(words, shadow, size);
    return (words[0] | words[1]) & asked * 0x0101010101010101ull;
}

/*
 * Before an access of @size bytes, a constant up to 16. Ordinary memory costs one load from the table, a
 * machine's own a second one, from its shadow.
 */
static inline __attribute__((always_inline)) void
dk_instrument_check(const volatile void *address, size_t size, unsigned access, const char *call)
{
    const u8 asked = access & DK_ACCESS_STORE ? DK_OWNER_STORES : DK_OWNER_LOADS;
    const uintptr_t at = (uintptr_t)address, shadow = dk_slot_shadow((const void *)address);

    /* The rarer case is the one that costs most: so it is the straight way. */
    if (__builtin_expect(shadow > DK_SLOT_ASKS, 1)) {
        if ((size == 1 || __builtin_expect((at & (DK_SLOT_SIZE - 1)) <= DK_SLOT_SIZE - size, 1)) &&
            __builtin_expect(!dk_instrument_special((const u8 *)(shadow + at), size, asked), 1))
            return;
    } else if (!shadow) {
        return;
    }
    dk_instrument_access(address, size, access, call);
}

/* The same for as many bytes as the program likes, whose end may lie in another slot. */
static inline void dk_instrument_check_range(const volatile void *address, size_t size, unsigned access,
                                             const char *call)
{
    if (size && (dk_slot_shadow((const void *)address) || dk_slot_shadow((const char *)address + (size - 1))))
        dk_instrument_look((uintptr_t)address, size, access, call);
}

#endif
