/* SPDX-License-Identifier: MIT */
/* <linux/math.h> for driver source. */
#ifndef DMAKIT_LINUX_MATH_H
#define DMAKIT_LINUX_MATH_H

/* @y is a power of two. */
#define round_up(x, y) ((((x)-1) | ((__typeof__(x))((y)-1))) + 1)
#define round_down(x, y) ((x) & ~((__typeof__(x))((y)-1)))

#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define DIV_ROUND_CLOSEST(n, d) (((n) + (d) / 2) / (d))
#ifndef roundup
#define roundup(x, y) ((((x) + (y)-1) / (y)) * (y))
#endif
#define rounddown(x, y) ((x) - (x) % (y))

#endif
