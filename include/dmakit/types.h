/* SPDX-License-Identifier: MIT */
/*
 * The field's integer types, as Linux driver source spells them.
 */
#ifndef DMAKIT_TYPES_H
#define DMAKIT_TYPES_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
#define DK_BEGIN_DECLS extern "C" {
#define DK_END_DECLS }
#else
#define DK_BEGIN_DECLS
#define DK_END_DECLS
#endif

/* Marks what the shared library exports; everything else stays hidden. */
#define DK_PUBLIC __attribute__((visibility("default")))

/*
 * Keeps the call before it from being the last thing its function does: a tail call leaves no frame of the
 * caller, and reports could not name its line. Costs nothing.
 */
#define DK_KEEP_FRAME() __asm__ volatile("")

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef unsigned long long u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef long long s64;

/* An address on a device's bus, in bytes. DMA_MAPPING_ERROR (all ones) is never a valid one. */
typedef u64 dma_addr_t;
/* An address on the machine's memory bus, in bytes. */
typedef u64 phys_addr_t;
typedef phys_addr_t resource_size_t;
/* Flags of an allocation; see gfp.h. */
typedef unsigned int gfp_t;

#define PAGE_SHIFT 12
#define PAGE_SIZE ((size_t)1 << PAGE_SHIFT)
#define PAGE_MASK (~(PAGE_SIZE - 1))

#define PFN_DOWN(x) ((unsigned long)((u64)(x) >> PAGE_SHIFT))
#define PFN_UP(x) ((unsigned long)(((u64)(x) + PAGE_SIZE - 1) >> PAGE_SHIFT))
#define PFN_PHYS(x) ((phys_addr_t)(x) << PAGE_SHIFT)
#define offset_in_page(p) ((unsigned long)(uintptr_t)(p) & ~PAGE_MASK)

#endif
