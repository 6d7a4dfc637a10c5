/* SPDX-License-Identifier: MIT */
/* <linux/log2.h> for driver source. */
#ifndef DMAKIT_LINUX_LOG2_H
#define DMAKIT_LINUX_LOG2_H

#include <linux/bitops.h>

static inline bool is_power_of_2(unsigned long n)
{
    return n && !(n & (n - 1));
}
/* The logarithm rounded down; @n is not 0. */
static inline int ilog2(u64 n)
{
    return fls64(n) - 1;
}
/* The power of two at or above @n; 1 for 0. */
static inline unsigned long roundup_pow_of_two(unsigned long n)
{
    return n > 1 ? 1UL << fls64(n - 1) : 1;
}
/* The one at or below @n, which is not 0. */
static inline unsigned long rounddown_pow_of_two(unsigned long n)
{
    return 1UL << (fls64(n) - 1);
}
static inline int order_base_2(unsigned long n)
{
    return n > 1 ? fls64(n - 1) : 0;
}

#endif
