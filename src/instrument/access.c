/* SPDX-License-Identifier: MIT */
/*
 * What gcc and clang call for plain loads and stores.
 */
#include "instrument/instrument.h"

/* Whether one of @size bytes of shadow has one of the bits @asked. */
static bool is_special(const u8 *shadow, size_t size, u8 asked)
{
    const u64 every = 0x0101010101010101ull;
    u64 word;

    for (; size >= 8; shadow += 8, size -= 8) {
        __builtin_memcpy(&word, shadow, 8);
        if (word & every * asked)
            return true;
    }
    for (; size; shadow++, size--) {
        if (*shadow & asked)
            return true;
    }
    return false;
}

void dk_instrument_look(uintptr_t address, size_t size, unsigned access, const char *call)
{
    const u8 asked = access & DK_ACCESS_STORE ? DK_OWNER_STORES : DK_OWNER_LOADS;
    const uintptr_t shadow = dk_slot_shadow((const void *)address);

    if (size <= DK_SLOT_SIZE - (address & (DK_SLOT_SIZE - 1)) &&
        (!shadow || (shadow > DK_SLOT_ASKS && !is_special((const u8 *)(shadow + address), size, asked))))
        return;
    dk_instrument_access((const volatile void *)address, size, access, call);
}

#define ACCESSES(size)                                                                        \
    DK_EXPORT void __tsan_read##size(void *address);                                          \
    DK_EXPORT void __tsan_write##size(void *address);                                         \
    DK_EXPORT void __tsan_unaligned_read##size(void *address);                                \
    DK_EXPORT void __tsan_unaligned_write##size(void *address);                               \
    DK_EXPORT void __tsan_volatile_read##size(void *address);                                 \
    DK_EXPORT void __tsan_volatile_write##size(void *address);                                \
    DK_EXPORT void __tsan_unaligned_volatile_read##size(void *address);                       \
    DK_EXPORT void __tsan_unaligned_volatile_write##size(void *address);                      \
    DK_EXPORT void __tsan_read_write##size(void *address);                                    \
    DK_EXPORT void __tsan_unaligned_read_write##size(void *address);                          \
    void __tsan_read##size(void *address)                                                     \
    {                                                                                         \
        dk_instrument_check(address, size, DK_ACCESS_LOAD, NULL);                             \
    }                                                                                         \
    void __tsan_write##size(void *address)                                                    \
    {                                                                                         \
        dk_instrument_check(address, size, DK_ACCESS_STORE, NULL);                            \
    }                                                                                         \
    void __tsan_unaligned_read##size(void *address)                                           \
    {                                                                                         \
        dk_instrument_check_range(address, size, DK_ACCESS_LOAD, NULL);                       \
    }                                                                                         \
    void __tsan_unaligned_write##size(void *address)                                          \
    {                                                                                         \
        dk_instrument_check_range(address, size, DK_ACCESS_STORE, NULL);                      \
    }                                                                                         \
    void __tsan_volatile_read##size(void *address)                                            \
    {                                                                                         \
        dk_instrument_check(address, size, DK_ACCESS_LOAD | DK_ACCESS_VOLATILE, NULL);        \
    }                                                                                         \
    void __tsan_volatile_write##size(void *address)                                           \
    {                                                                                         \
        dk_instrument_check(address, size, DK_ACCESS_STORE | DK_ACCESS_VOLATILE, NULL);       \
    }                                                                                         \
    void __tsan_unaligned_volatile_read##size(void *address)                                  \
    {                                                                                         \
        dk_instrument_check_range(address, size, DK_ACCESS_LOAD | DK_ACCESS_VOLATILE, NULL);  \
    }                                                                                         \
    void __tsan_unaligned_volatile_write##size(void *address)                                 \
    {                                                                                         \
        dk_instrument_check_range(address, size, DK_ACCESS_STORE | DK_ACCESS_VOLATILE, NULL); \
    }                                                                                         \
    void __tsan_read_write##size(void *address)                                               \
    {                                                                                         \
        dk_instrument_check(address, size, DK_ACCESS_LOAD, NULL);                             \
        dk_instrument_check(address, size, DK_ACCESS_STORE, NULL);                            \
    }                                                                                         \
    void __tsan_unaligned_read_write##size(void *address)                                     \
    {                                                                                         \
        dk_instrument_check_range(address, size, DK_ACCESS_LOAD, NULL);                       \
        dk_instrument_check_range(address, size, DK_ACCESS_STORE, NULL);                      \
    }

ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

/* Structures, and vectors wider than 16 bytes. */
DK_EXPORT void __tsan_read_range(void *address, unsigned long size);
DK_EXPORT void __tsan_write_range(void *address, unsigned long size);

void __tsan_read_range(void *address, unsigned long size)
{
    dk_instrument_check_range(address, size, DK_ACCESS_LOAD, NULL);
}

void __tsan_write_range(void *address, unsigned long size)
{
    dk_instrument_check_range(address, size, DK_ACCESS_STORE, NULL);
}

/* C++: the pointer to an object's table of functions. */
DK_EXPORT void __tsan_vptr_read(void **pointer);
DK_EXPORT void __tsan_vptr_update(void **pointer, void *value);

void __tsan_vptr_read(void **pointer)
{
    dk_instrument_check(pointer, sizeof(*pointer), DK_ACCESS_LOAD, NULL);
}

void __tsan_vptr_update(void **pointer, void *value)
{
    (void)value;
    dk_instrument_check(pointer, sizeof(*pointer), DK_ACCESS_STORE, NULL);
}

/* Stacks are unwound when they are needed. */
DK_EXPORT void __tsan_func_entry(void *caller);
DK_EXPORT void __tsan_func_exit(void);
DK_EXPORT void __tsan_ignore_thread_begin(void);
DK_EXPORT void __tsan_ignore_thread_end(void);

void __tsan_func_entry(void *caller)
{
    (void)caller;
}

void __tsan_func_exit(void)
{
}

void __tsan_ignore_thread_begin(void)
{
}

void __tsan_ignore_thread_end(void)
{
}
