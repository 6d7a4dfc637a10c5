/* SPDX-License-Identifier: MIT */
/*
 * What gcc and clang call for atomics: here the operation itself has to be done, in the memory order that the
 * program asked for.
 */
#include "instrument/instrument.h"

#define VOLATILE_LOAD (DK_ACCESS_LOAD | DK_ACCESS_VOLATILE)
#define VOLATILE_STORE (DK_ACCESS_STORE | DK_ACCESS_VOLATILE)

/* The compilers number the orders as their own __ATOMIC_ macros do; other bits are hints. */
#define ORDER_MASK 0x7

#ifdef __x86_64__
typedef unsigned __int128 u128;
#endif

#define EACH_WIDTH(each) each(8, u8) each(16, u16) each(32, u32) each(64, u64)

/* Around an access that has an order: barriers of its own, in the program's eyes. */
static inline void order(int order)
{
    if (order & ORDER_MASK)
        dk_instrument_order(order & ORDER_MASK);
}

/* A constant order in each branch, as the builtins want it. */
#define LOADS(bits, type)                                                               \
    DK_EXPORT type __tsan_atomic##bits##_load(const volatile type *address, int asked); \
    type __tsan_atomic##bits##_load(const volatile type *address, int asked)            \
    {                                                                                   \
        type value;                                                                     \
                                                                                        \
        dk_instrument_check(address, sizeof(type), VOLATILE_LOAD, NULL);                \
        switch (asked & ORDER_MASK) {                                                   \
        case __ATOMIC_RELAXED:                                                          \
            return __atomic_load_n(address, __ATOMIC_RELAXED);                          \
        case __ATOMIC_CONSUME:                                                          \
        case __ATOMIC_ACQUIRE:                                                          \
            value = __atomic_load_n(address, __ATOMIC_ACQUIRE);                         \
            break;                                                                      \
        default:                                                                        \
            value = __atomic_load_n(address, __ATOMIC_SEQ_CST);                         \
        }                                                                               \
        order(asked);                                                                   \
        return value;                                                                   \
    }
EACH_WIDTH(LOADS)

#define STORES(bits, type)                                                                     \
    DK_EXPORT void __tsan_atomic##bits##_store(volatile type *address, type value, int asked); \
    void __tsan_atomic##bits##_store(volatile type *address, type value, int asked)            \
    {                                                                                          \
        order(asked);                                                                          \
        dk_instrument_check(address, sizeof(type), VOLATILE_STORE, NULL);                      \
        switch (asked & ORDER_MASK) {                                                          \
        case __ATOMIC_RELAXED:                                                                 \
            __atomic_store_n(address, value, __ATOMIC_RELAXED);                                \
            break;                                                                             \
        case __ATOMIC_RELEASE:                                                                 \
            __atomic_store_n(address, value, __ATOMIC_RELEASE);                                \
            break;                                                                             \
        default:                                                                               \
            __atomic_store_n(address, value, __ATOMIC_SEQ_CST);                                \
        }                                                                                      \
    }
EACH_WIDTH(STORES)

/* An update that returns what was there before. */
#define UPDATES(bits, type, name, builtin)                                                      \
    DK_EXPORT type __tsan_atomic##bits##_##name(volatile type *address, type value, int asked); \
    type __tsan_atomic##bits##_##name(volatile type *address, type value, int asked)            \
    {                                                                                           \
        type before;                                                                            \
                                                                                                \
        order(asked);                                                                           \
        dk_instrument_check(address, sizeof(type), VOLATILE_LOAD, NULL);                        \
        dk_instrument_check(address, sizeof(type), VOLATILE_STORE, NULL);                       \
        switch (asked & ORDER_MASK) {                                                           \
        case __ATOMIC_RELAXED:                                                                  \
            return builtin(address, value, __ATOMIC_RELAXED);                                   \
        case __ATOMIC_CONSUME:                                                                  \
        case __ATOMIC_ACQUIRE:                                                                  \
            before = builtin(address, value, __ATOMIC_ACQUIRE);                                 \
            break;                                                                              \
        case __ATOMIC_RELEASE:                                                                  \
            before = builtin(address, value, __ATOMIC_RELEASE);                                 \
            break;                                                                              \
        case __ATOMIC_ACQ_REL:                                                                  \
            before = builtin(address, value, __ATOMIC_ACQ_REL);                                 \
            break;                                                                              \
        default:                                                                                \
            before = builtin(address, value, __ATOMIC_SEQ_CST);                                 \
        }                                                                                       \
        order(asked);                                                                           \
        return before;                                                                          \
    }
#define ALL_UPDATES(bits, type)                        \
    UPDATES(bits, type, exchange, __atomic_exchange_n) \
    UPDATES(bits, type, fetch_add, __atomic_fetch_add) \
    UPDATES(bits, type, fetch_sub, __atomic_fetch_sub) \
    UPDATES(bits, type, fetch_and, __atomic_fetch_and) \
    UPDATES(bits, type, fetch_or, __atomic_fetch_or)   \
    UPDATES(bits, type, fetch_xor, __atomic_fetch_xor) \
    UPDATES(bits, type, fetch_nand, __atomic_fetch_nand)
EACH_WIDTH(ALL_UPDATES)

/* A failed exchange may be asked for a weaker order; it gets the strongest that goes with the successful
 * one's. */
#define COMPARE(bits, type)                                                                               \
    static bool do_compare_##bits(volatile type *address, type *expected, type value, int asked)          \
    {                                                                                                     \
        dk_instrument_check(address, sizeof(type), VOLATILE_LOAD, NULL);                                  \
        dk_instrument_check(address, sizeof(type), VOLATILE_STORE, NULL);                                 \
        switch (asked & ORDER_MASK) {                                                                     \
        case __ATOMIC_RELAXED:                                                                            \
            return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_RELAXED,         \
                                               __ATOMIC_RELAXED);                                         \
        case __ATOMIC_CONSUME:                                                                            \
        case __ATOMIC_ACQUIRE:                                                                            \
            return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_ACQUIRE,         \
                                               __ATOMIC_ACQUIRE);                                         \
        case __ATOMIC_RELEASE:                                                                            \
            return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_RELEASE,         \
                                               __ATOMIC_RELAXED);                                         \
        case __ATOMIC_ACQ_REL:                                                                            \
            return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_ACQ_REL,         \
                                               __ATOMIC_ACQUIRE);                                         \
        default:                                                                                          \
            return __atomic_compare_exchange_n(address, expected, value, false, __ATOMIC_SEQ_CST,         \
                                               __ATOMIC_SEQ_CST);                                         \
        }                                                                                                 \
    }                                                                                                     \
    static bool compare_##bits(volatile type *address, type *expected, type value, int asked)             \
    {                                                                                                     \
        bool done;                                                                                        \
                                                                                                          \
        order(asked);                                                                                     \
        done = do_compare_##bits(address, expected, value, asked);                                        \
        order(asked);                                                                                     \
        return done;                                                                                      \
    }                                                                                                     \
    DK_EXPORT int __tsan_atomic##bits##_compare_exchange_strong(volatile type *address, type *expected,   \
                                                                type value, int asked, int failed);       \
    DK_EXPORT int __tsan_atomic##bits##_compare_exchange_weak(volatile type *address, type *expected,     \
                                                              type value, int asked, int failed);         \
    DK_EXPORT type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected,      \
                                                              type value, int asked, int failed);         \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile type *address, type *expected, type value, \
                                                      int asked, int failed)                              \
    {                                                                                                     \
        return compare_##bits(address, expected, value, stronger(asked, failed));                         \
    }                                                                                                     \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile type *address, type *expected, type value,   \
                                                    int asked, int failed)                                \
    {                                                                                                     \
        return compare_##bits(address, expected, value, stronger(asked, failed));                         \
    }                                                                                                     \
    type __tsan_atomic##bits##_compare_exchange_val(volatile type *address, type expected, type value,    \
                                                    int asked, int failed)                                \
    {                                                                                                     \
        compare_##bits(address, &expected, value, stronger(asked, failed));                               \
        return expected;                                                                                  \
    }

/* An order that is at least both. */
static int stronger(int asked, int failed)
{
    asked &= ORDER_MASK;
    failed &= ORDER_MASK;
    if (failed == __ATOMIC_SEQ_CST)
        return failed;
    if (failed == __ATOMIC_RELAXED || asked >= __ATOMIC_ACQ_REL)
        return asked;
    return asked == __ATOMIC_RELEASE ? __ATOMIC_ACQ_REL : __ATOMIC_ACQUIRE;
}
EACH_WIDTH(COMPARE)

/*
 * 16 bytes at once: one instruction of the processor does it all, which is as strong as any order asked for.
 * Only gcc calls these; clang calls libatomic. Elsewhere a program that needs them does not link. Not
 * inlined: in a function for any x86-64, clang would call a function for it that is nowhere.
 */
#ifdef __x86_64__
__attribute__((noinline, target("cx16"))) static u128 swap_if(volatile u128 *address, u128 expected,
                                                              u128 value)
{
    u128 before;

    order(__ATOMIC_SEQ_CST);
    before = __sync_val_compare_and_swap(address, expected, value);
    order(__ATOMIC_SEQ_CST);
    return before;
}

DK_EXPORT u128 __tsan_atomic128_load(const volatile u128 *address, int asked);
DK_EXPORT void __tsan_atomic128_store(volatile u128 *address, u128 value, int asked);

u128 __tsan_atomic128_load(const volatile u128 *address, int asked)
{
    (void)asked;
    dk_instrument_check(address, sizeof(u128), VOLATILE_LOAD, NULL);
    return swap_if((volatile u128 *)(uintptr_t)address, 0, 0);
}

#define UPDATE_128(name, next)                                                             \
    DK_EXPORT u128 __tsan_atomic128_##name(volatile u128 *address, u128 value, int asked); \
    u128 __tsan_atomic128_##name(volatile u128 *address, u128 value, int asked)            \
    {                                                                                      \
        u128 now = 0, before;                                                              \
                                                                                           \
        (void)asked;                                                                       \
        dk_instrument_check(address, sizeof(u128), VOLATILE_LOAD, NULL);                   \
        dk_instrument_check(address, sizeof(u128), VOLATILE_STORE, NULL);                  \
        do {                                                                               \
            before = now;                                                                  \
            now = swap_if(address, before, next);                                          \
        } while (now != before);                                                           \
        return before;                                                                     \
    }
UPDATE_128(exchange, value)
UPDATE_128(fetch_add, before + value)
UPDATE_128(fetch_sub, before - value)
UPDATE_128(fetch_and, before &value)
UPDATE_128(fetch_or, before | value)
UPDATE_128(fetch_xor, before ^ value)
UPDATE_128(fetch_nand, ~(before &value))

void __tsan_atomic128_store(volatile u128 *address, u128 value, int asked)
{
    u128 now = 0, before;

    (void)asked;
    dk_instrument_check(address, sizeof(u128), VOLATILE_STORE, NULL);
    do {
        before = now;
        now = swap_if(address, before, value);
    } while (now != before);
}

static bool compare_128(volatile u128 *address, u128 *expected, u128 value)
{
    u128 before;

    dk_instrument_check(address, sizeof(u128), VOLATILE_LOAD, NULL);
    dk_instrument_check(address, sizeof(u128), VOLATILE_STORE, NULL);
    before = swap_if(address, *expected, value);
    if (before == *expected)
        return true;
    *expected = before;
    return false;
}

DK_EXPORT int __tsan_atomic128_compare_exchange_strong(volatile u128 *address, u128 *expected, u128 value,
                                                       int asked, int failed);
DK_EXPORT int __tsan_atomic128_compare_exchange_weak(volatile u128 *address, u128 *expected, u128 value,
                                                     int asked, int failed);
DK_EXPORT u128 __tsan_atomic128_compare_exchange_val(volatile u128 *address, u128 expected, u128 value,
                                                     int asked, int failed);

int __tsan_atomic128_compare_exchange_strong(volatile u128 *address, u128 *expected, u128 value, int asked,
                                             int failed)
{
    (void)asked;
    (void)failed;
    return compare_128(address, expected, value);
}

int __tsan_atomic128_compare_exchange_weak(volatile u128 *address, u128 *expected, u128 value, int asked,
                                           int failed)
{
    (void)asked;
    (void)failed;
    return compare_128(address, expected, value);
}

u128 __tsan_atomic128_compare_exchange_val(volatile u128 *address, u128 expected, u128 value, int asked,
                                           int failed)
{
    (void)asked;
    (void)failed;
    compare_128(address, &expected, value);
    return expected;
}
#endif

DK_EXPORT void __tsan_atomic_thread_fence(int asked);
DK_EXPORT void __tsan_atomic_signal_fence(int asked);

void __tsan_atomic_thread_fence(int asked)
{
    dk_instrument_fence(asked & ORDER_MASK);
}

void __tsan_atomic_signal_fence(int asked)
{
    (void)asked;
    __asm__ volatile("" : : : "memory");
}
