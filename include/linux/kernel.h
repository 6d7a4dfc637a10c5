/* SPDX-License-Identifier: MIT */
/* <linux/kernel.h> for driver source. */
#if __has_include_next(<linux/kernel.h>)
#include_next <linux/kernel.h>
#endif

#ifndef DMAKIT_LINUX_KERNEL_H
#define DMAKIT_LINUX_KERNEL_H

#include <dmakit/spinlock.h>
#include <linux/align.h>
#include <linux/bitops.h>
#include <linux/bug.h>
#include <linux/byteorder/generic.h>
#include <linux/compiler.h>
#include <linux/container_of.h>
#include <linux/math.h>
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/types.h>

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))
#endif
#define upper_32_bits(n) ((u32)((u64)(n) >> 32))
#define lower_32_bits(n) ((u32)((u64)(n)&0xffffffffu))
#ifndef sizeof_field
#define sizeof_field(type, member) sizeof(((type *)0)->member)
#endif
#ifndef U32_MAX
#define U8_MAX UINT8_MAX
#define U16_MAX UINT16_MAX
#define U32_MAX UINT32_MAX
#define U64_MAX ULLONG_MAX
#define S32_MAX INT32_MAX
#define S64_MAX LLONG_MAX
#endif

#endif
