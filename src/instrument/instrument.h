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

/*
 * Before an access of @size bytes, a constant up to 16. Ordinary memory costs one load from the table, a
 * machine's own a second one, from its shadow.
 */
static inline __attribute__((always_inline)) void
dk_instrument_check(const volatile void *address, size_t size, unsigned access, const char *call)
{
    const u64 asked = 0x0101010101010101ull * (access & DK_ACCESS_STORE ? DK_OWNER_STORES : DK_OWNER_LOADS);
    const struct dk_slot *slot = dk_slot_find((const void *)address);
    size_t offset = (uintptr_t)address & (DK_SLOT_SIZE - 1);
    const u8 *owners;
    u64 words[2] = { 0, 0 };

    if (__builtin_expect(!slot, 1))
        return;
    owners = __atomic_load_n(&slot->owners, __ATOMIC_ACQUIRE);
    if (__builtin_expect(owners != NULL && offset <= DK_SLOT_SIZE - size, 1)) {
        __builtin_memcpy(words, owners + offset, size);
        if (__builtin_expect(!((words[0] | words[1]) & asked), 1))
            return;
    } else if (!owners && slot->kind != DK_SLOT_VMALLOC) {
        return;
    }
    dk_instrument_access(address, size, access, call);
}

/* The same for as many bytes as the program likes, whose end may lie in another slot. */
static inline void dk_instrument_check_range(const volatile void *address, size_t size, unsigned access,
                                             const char *call)
{
    if (size && (dk_slot_find((const void *)address) || dk_slot_find((const char *)address + (size - 1))))
        dk_instrument_look((uintptr_t)address, size, access, call);
}

#endif
