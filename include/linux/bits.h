/* SPDX-License-Identifier: MIT */
/* <linux/bits.h> for driver source. Bits are counted from 0. */
#ifndef DMAKIT_LINUX_BITS_H
#define DMAKIT_LINUX_BITS_H

#include <linux/types.h>

#define BITS_PER_BYTE 8
#define BITS_PER_LONG (BITS_PER_BYTE * (int)sizeof(long))
#define BITS_PER_LONG_LONG 64

#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define BIT_MASK(n) (1UL << ((n) % BITS_PER_LONG))
#define BIT_WORD(n) ((n) / BITS_PER_LONG)

/* Bits @low to @high, both included. */
#define GENMASK(high, low) ((~0UL << (low)) & (~0UL >> (BITS_PER_LONG - 1 - (high))))
#define GENMASK_ULL(high, low) ((~0ULL << (low)) & (~0ULL >> (63 - (high))))

#endif
