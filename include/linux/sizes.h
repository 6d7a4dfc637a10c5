/* SPDX-License-Identifier: MIT */
/* <linux/sizes.h> for driver source: bytes. */
#ifndef DMAKIT_LINUX_SIZES_H
#define DMAKIT_LINUX_SIZES_H

#define SZ_1 0x1u
#define SZ_2 0x2u
#define SZ_4 0x4u
#define SZ_8 0x8u
#define SZ_16 0x10u
#define SZ_32 0x20u
#define SZ_64 0x40u
#define SZ_128 0x80u
#define SZ_256 0x100u
#define SZ_512 0x200u
#define SZ_1K 0x400u
#define SZ_2K 0x800u
#define SZ_4K 0x1000u
#define SZ_8K 0x2000u
#define SZ_16K 0x4000u
#define SZ_32K 0x8000u
#define SZ_64K 0x10000u
#define SZ_128K 0x20000u
#define SZ_256K 0x40000u
#define SZ_512K 0x80000u
#define SZ_1M 0x100000u
#define SZ_2M 0x200000u
#define SZ_4M 0x400000u
#define SZ_8M 0x800000u
#define SZ_16M 0x1000000u
#define SZ_32M 0x2000000u
#define SZ_64M 0x4000000u
#define SZ_128M 0x8000000u
#define SZ_256M 0x10000000u
#define SZ_512M 0x20000000u
#define SZ_1G 0x40000000u
#define SZ_2G 0x80000000u
#define SZ_4G 0x100000000ull

#endif
