/* SPDX-License-Identifier: MIT */
/*
 * What the dispatch files share: the checks of a call's arguments that hold with the checker off too.
 */
#ifndef DK_MAPPING_DISPATCH_H
#define DK_MAPPING_DISPATCH_H

#include "mapping/mapping.h"

#define DK_ZONE_FLAGS (__GFP_DMA | __GFP_DMA32 | __GFP_HIGHMEM)

/* Whether @dev is one that @call can work on: not NULL, not removed, its machine not left behind by fork().
 * Logs why not. */
bool dk_device_usable(const struct device *dev, const char *call);

/* As dk_device_usable(), and that @dev can be mapped for @size bytes in @direction. */
bool dk_mapping_usable(const struct device *dev, const char *call, u64 size,
                       enum dma_data_direction direction);

/* The same for what undoes a mapping or allocation: a wrong size or direction, and a device that is gone, are
 * the checker's to report. */
bool dk_undo_usable(struct device *dev, const char *call, u64 size, enum dma_data_direction direction);

/* Up to here no mapping is too long for any device; the answer is not for free. */
#define DK_NEVER_TOO_LONG 65536
void dk_map_checked_long(struct device *dev, const char *call, u64 size);

/* With the checker on: what @call is about to map, and what it could not. A macro: an inline function would
 * be a frame of the report's stack that is not known as the library's. */
#define dk_map_checked(dev, call, size)           \
    do {                                          \
        if ((size) > DK_NEVER_TOO_LONG)           \
            dk_map_checked_long(dev, call, size); \
    } while (0)

void dk_map_failed(struct device *dev, const char *call, phys_addr_t phys, u64 size, unsigned long attrs);

/* True when a call on @dev is seen by the checker. */
static inline bool dk_checked(const struct device *dev)
{
    return dk_device_machine(dev)->checker != NULL;
}

/* What dma_map_single() and dma_unmap_single() do where no short way serves; out of line, so that the short
 * ways need no stack frame. */
__attribute__((noinline)) dma_addr_t dk_map_single_long(struct device *dev, void *cpu, size_t size,
                                                        enum dma_data_direction direction,
                                                        unsigned long attrs);
__attribute__((noinline)) void dk_unmap_single_long(struct device *dev, dma_addr_t dma, size_t size,
                                                    enum dma_data_direction direction, unsigned long attrs);

/* Reports a call that may sleep where this thread must not, and names its device. */
void dk_might_sleep_for(struct device *dev, gfp_t gfp, const char *call);
/*
 * What dma_alloc_attrs() does but for telling the checker, for allocators that stand on it: the same checks,
 * log lines (as @call's) and memory. Freed with dk_release_coherent().
 */
void *dk_take_coherent(struct device *dev, const char *call, size_t size, dma_addr_t *dma, gfp_t gfp,
                       unsigned long attrs);
/* Whether @size rounds up to whole pages without wrapping; logs when not. */
bool dk_size_usable(const struct device *dev, const char *call, size_t size);

/*
 * The physical address of @size bytes at @cpu, when all of them are RAM of @dev's machine in the linear map.
 */
bool dk_linear_phys(const struct device *dev, const void *cpu, u64 size, phys_addr_t *phys);

#endif
