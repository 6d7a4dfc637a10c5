/* SPDX-License-Identifier: MIT */
/* Byte order for driver source: what <asm/byteorder.h> gives a driver. */
#ifndef DMAKIT_LINUX_BYTEORDER_GENERIC_H
#define DMAKIT_LINUX_BYTEORDER_GENERIC_H

#include <asm/byteorder.h>
#include <linux/types.h>

#define cpu_to_le16 __cpu_to_le16
#define cpu_to_le32 __cpu_to_le32
#define cpu_to_le64 __cpu_to_le64
#define le16_to_cpu __le16_to_cpu
#define le32_to_cpu __le32_to_cpu
#define le64_to_cpu __le64_to_cpu
#define cpu_to_be16 __cpu_to_be16
#define cpu_to_be32 __cpu_to_be32
#define cpu_to_be64 __cpu_to_be64
#define be16_to_cpu __be16_to_cpu
#define be32_to_cpu __be32_to_cpu
#define be64_to_cpu __be64_to_cpu

/* Of what a pointer points to. */
#define le16_to_cpup __le16_to_cpup
#define le32_to_cpup __le32_to_cpup
#define le64_to_cpup __le64_to_cpup
#define be16_to_cpup __be16_to_cpup
#define be32_to_cpup __be32_to_cpup
#define be64_to_cpup __be64_to_cpup

static inline void le32_add_cpu(__le32 *value, u32 more)
{
    *value = cpu_to_le32(le32_to_cpu(*value) + more);
}

#endif
