/* SPDX-License-Identifier: MIT */
/* <linux/bitops.h> for driver source. */
#ifndef DMAKIT_LINUX_BITOPS_H
#define DMAKIT_LINUX_BITOPS_H

#include <linux/bits.h>
#include <string.h>

#define BITS_TO_LONGS(bits) (((bits) + BITS_PER_LONG - 1) / BITS_PER_LONG)

/* Atomic, without order; the test_and_ forms are full barriers and return the bit as it was. Any context. */
static inline void set_bit(long nr, unsigned long *words)
{
    __atomic_fetch_or(&words[BIT_WORD(nr)], BIT_MASK(nr), __ATOMIC_RELAXED);
}
static inline void clear_bit(long nr, unsigned long *words)
{
    __atomic_fetch_and(&words[BIT_WORD(nr)], ~BIT_MASK(nr), __ATOMIC_RELAXED);
}
static inline void change_bit(long nr, unsigned long *words)
{
    __atomic_fetch_xor(&words[BIT_WORD(nr)], BIT_MASK(nr), __ATOMIC_RELAXED);
}
static inline bool test_bit(long nr, const unsigned long *words)
{
    return __atomic_load_n(&words[BIT_WORD(nr)], __ATOMIC_RELAXED) & BIT_MASK(nr);
}
static inline bool test_and_set_bit(long nr, unsigned long *words)
{
    return __atomic_fetch_or(&words[BIT_WORD(nr)], BIT_MASK(nr), __ATOMIC_SEQ_CST) & BIT_MASK(nr);
}
static inline bool test_and_clear_bit(long nr, unsigned long *words)
{
    return __atomic_fetch_and(&words[BIT_WORD(nr)], ~BIT_MASK(nr), __ATOMIC_SEQ_CST) & BIT_MASK(nr);
}

/* The same for words that nobody else touches. */
static inline void __set_bit(long nr, unsigned long *words)
{
    words[BIT_WORD(nr)] |= BIT_MASK(nr);
}
static inline void __clear_bit(long nr, unsigned long *words)
{
    words[BIT_WORD(nr)] &= ~BIT_MASK(nr);
}

/* The lowest and the highest set bit; the word is not 0. */
static inline unsigned long __ffs(unsigned long word)
{
    return (unsigned long)__builtin_ctzl(word);
}
static inline unsigned long __fls(unsigned long word)
{
    return (unsigned long)(BITS_PER_LONG - 1 - __builtin_clzl(word));
}
/* The highest set bit counted from 1; 0 for 0. ffs() is the C library's. */
static inline int fls(unsigned int word)
{
    return word ? 32 - __builtin_clz(word) : 0;
}
static inline int fls64(u64 word)
{
    return word ? 64 - __builtin_clzll(word) : 0;
}

#define hweight32(word) ((unsigned)__builtin_popcount(word))
#define hweight64(word) ((unsigned)__builtin_popcountll(word))

#endif
