/* SPDX-License-Identifier: MIT */
/*
 * The classes of bugs that are found.
 */
#ifndef DK_CHECK_CLASSES_H
#define DK_CHECK_CLASSES_H

#include <stdbool.h>

enum dk_class {
    DK_CLASS_LEAK_AT_REMOVE,
    DK_CLASS_FREE_INVALID_ADDRESS,
    DK_CLASS_FREE_NOT_ALLOCATED,
    DK_CLASS_FREE_WRONG_SIZE,
    DK_CLASS_FREE_WRONG_FUNCTION,
    DK_CLASS_FREE_WRONG_CPU_ADDRESS,
    DK_CLASS_FREE_WRONG_SG_COUNT,
    DK_CLASS_FREE_WRONG_DIRECTION,
    DK_CLASS_ERROR_UNCHECKED,
    DK_CLASS_MAPS_STACK,
    DK_CLASS_MAPS_RODATA,
    DK_CLASS_SYNC_NOT_MAPPED,
    DK_CLASS_SYNC_OUT_OF_RANGE,
    DK_CLASS_SYNC_WRONG_DIRECTION,
    DK_CLASS_SYNC_READONLY_FOR_CPU,
    DK_CLASS_SYNC_WRITEONLY_FOR_DEVICE,
    DK_CLASS_SYNC_WRONG_SG_COUNT,
    DK_CLASS_SG_SEGMENT_TOO_LONG,
    DK_CLASS_SG_CROSSES_BOUNDARY,
    DK_CLASS_MAPS_INVALID_ADDRESS,
    DK_CLASS_MAPS_VMALLOC,
    DK_CLASS_OVERLAPPING_LINES,
    DK_CLASS_OVERLAP_OVERFLOW,
    DK_CLASS_SLEEPS_IN_ATOMIC,
    DK_CLASS_IOMMU_UNMAPPED,
    DK_CLASS_IOMMU_PERMISSION,
    DK_CLASS_DEVICE_ACCESS_AFTER_UNMAP,
    DK_CLASS_FREED_WHILE_REMAPPED,
    DK_CLASS_FREED_WHILE_MAPPED,
    DK_CLASS_CMA_RELEASE_MISMATCH,
    DK_CLASS_CMA_RELEASE_NOT_ALLOCATED,
    DK_CLASS_ACCESS_TO_MASKED_SECTION,
    DK_CLASS_SLAB_DOUBLE_FREE,
    DK_CLASS_SLAB_INVALID_FREE,
    DK_CLASS_SLAB_WRONG_CACHE,
    DK_CLASS_SLAB_OVERRUN,
    DK_CLASS_SLAB_USE_AFTER_FREE,
    DK_CLASS_SLAB_LEAK,
    DK_CLASS_MEMPOOL_LEAK,
    DK_CLASS_MEMPOOL_DOUBLE_FREE,
    DK_CLASS_POOL_WRONG_POOL,
    DK_CLASS_POOL_USE_AFTER_FREE,
    DK_CLASS_POOL_OVERRUN,
    DK_CLASS_POOL_DESTROYED_BUSY,
    /* What is seen when bytes change hands. */
    DK_CLASS_CPU_WRITE_WHILE_DEVICE_OWNS,
    DK_CLASS_MISSING_SYNC_FOR_DEVICE,
    DK_CLASS_SYNC_WRONG_SUBRANGE,
    DK_CLASS_SKIP_SYNC_WITHOUT_SYNC,
    DK_CLASS_SHARED_CACHE_LINE,
    DK_CLASS_COUNT,
};

struct dk_class_facts {
    const char *summary;
    const char *advice;
    const char *severity;
};

const char *dk_class_name(enum dk_class class_index);
const struct dk_class_facts *dk_class_facts(enum dk_class class_index);
/* The class called @name; DK_CLASS_COUNT when there is none. */
enum dk_class dk_class_find(const char *name);
/* Whether a report of @class_name, found where a mapping ends, is about the call that made it: that one lacks
 * its other half. */
bool dk_class_lies_in_mapping(const char *class_name);

#endif
