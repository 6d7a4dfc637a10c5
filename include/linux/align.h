/* SPDX-License-Identifier: MIT */
/* <linux/align.h> for driver source. @a is a power of two. */
#ifndef DMAKIT_LINUX_ALIGN_H
#define DMAKIT_LINUX_ALIGN_H

#ifndef ALIGN
#define ALIGN(x, a) (((x) + ((__typeof__(x))(a)-1)) & ~((__typeof__(x))(a)-1))
#endif
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a)-1))
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a)-1)) == 0)
#define PTR_ALIGN(p, a) ((__typeof__(p))ALIGN((unsigned long)(p), a))

#endif
