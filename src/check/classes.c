/* SPDX-License-Identifier: MIT */
#include "check/classes.h"

#include <dmakit/check.h>
#include <string.h>

static const char *const names[DK_CLASS_COUNT + 1] = {
    [DK_CLASS_LEAK_AT_REMOVE] = "leak-at-remove",
    [DK_CLASS_FREE_INVALID_ADDRESS] = "free-invalid-address",
    [DK_CLASS_FREE_NOT_ALLOCATED] = "free-not-allocated",
    [DK_CLASS_FREE_WRONG_SIZE] = "free-wrong-size",
    [DK_CLASS_FREE_WRONG_FUNCTION] = "free-wrong-function",
    [DK_CLASS_FREE_WRONG_CPU_ADDRESS] = "free-wrong-cpu-address",
    [DK_CLASS_FREE_WRONG_SG_COUNT] = "free-wrong-sg-count",
    [DK_CLASS_FREE_WRONG_DIRECTION] = "free-wrong-direction",
    [DK_CLASS_ERROR_UNCHECKED] = "error-unchecked",
    [DK_CLASS_MAPS_STACK] = "maps-stack",
    [DK_CLASS_MAPS_RODATA] = "maps-rodata",
    [DK_CLASS_SYNC_NOT_MAPPED] = "sync-not-mapped",
    [DK_CLASS_SYNC_OUT_OF_RANGE] = "sync-out-of-range",
    [DK_CLASS_SYNC_WRONG_DIRECTION] = "sync-wrong-direction",
    [DK_CLASS_SYNC_READONLY_FOR_CPU] = "sync-readonly-for-cpu",
    [DK_CLASS_SYNC_WRITEONLY_FOR_DEVICE] = "sync-writeonly-for-device",
    [DK_CLASS_SYNC_WRONG_SG_COUNT] = "sync-wrong-sg-count",
    [DK_CLASS_SG_SEGMENT_TOO_LONG] = "sg-segment-too-long",
    [DK_CLASS_SG_CROSSES_BOUNDARY] = "sg-crosses-boundary",
    [DK_CLASS_MAPS_INVALID_ADDRESS] = "maps-invalid-address",
    [DK_CLASS_MAPS_VMALLOC] = "maps-vmalloc",
    [DK_CLASS_OVERLAPPING_LINES] = "overlapping-lines",
    [DK_CLASS_OVERLAP_OVERFLOW] = "overlap-overflow",
    [DK_CLASS_SLEEPS_IN_ATOMIC] = "sleeps-in-atomic",
    [DK_CLASS_IOMMU_UNMAPPED] = "iommu-unmapped",
    [DK_CLASS_IOMMU_PERMISSION] = "iommu-permission",
    [DK_CLASS_DEVICE_ACCESS_AFTER_UNMAP] = "device-access-after-unmap",
    [DK_CLASS_FREED_WHILE_REMAPPED] = "freed-while-remapped",
    [DK_CLASS_FREED_WHILE_MAPPED] = "freed-while-mapped",
    [DK_CLASS_CMA_RELEASE_MISMATCH] = "cma-release-mismatch",
    [DK_CLASS_CMA_RELEASE_NOT_ALLOCATED] = "cma-release-not-allocated",
    [DK_CLASS_ACCESS_TO_MASKED_SECTION] = "access-to-masked-section",
    [DK_CLASS_SLAB_DOUBLE_FREE] = "slab-double-free",
    [DK_CLASS_SLAB_INVALID_FREE] = "slab-invalid-free",
    [DK_CLASS_SLAB_WRONG_CACHE] = "slab-wrong-cache",
    [DK_CLASS_SLAB_OVERRUN] = "slab-overrun",
    [DK_CLASS_SLAB_USE_AFTER_FREE] = "slab-use-after-free",
    [DK_CLASS_SLAB_LEAK] = "slab-leak",
    [DK_CLASS_MEMPOOL_LEAK] = "mempool-leak",
    [DK_CLASS_MEMPOOL_DOUBLE_FREE] = "mempool-double-free",
    [DK_CLASS_POOL_WRONG_POOL] = "pool-wrong-pool",
    [DK_CLASS_POOL_USE_AFTER_FREE] = "pool-use-after-free",
    [DK_CLASS_POOL_OVERRUN] = "pool-overrun",
    [DK_CLASS_POOL_DESTROYED_BUSY] = "pool-destroyed-busy",
    [DK_CLASS_CPU_WRITE_WHILE_DEVICE_OWNS] = "cpu-write-while-device-owns",
    [DK_CLASS_MISSING_SYNC_FOR_DEVICE] = "missing-sync-for-device",
    [DK_CLASS_SYNC_WRONG_SUBRANGE] = "sync-wrong-subrange",
    [DK_CLASS_SKIP_SYNC_WITHOUT_SYNC] = "skip-sync-without-sync",
    [DK_CLASS_SHARED_CACHE_LINE] = "shared-cache-line",
    [DK_CLASS_CPU_READ_WHILE_DEVICE_OWNS] = "cpu-read-while-device-owns",
    [DK_CLASS_STALE_READ] = "stale-read",
    [DK_CLASS_MISSING_SYNC_FOR_CPU] = "missing-sync-for-cpu",
    [DK_CLASS_DESCRIPTOR_READ_BEFORE_RMB] = "descriptor-read-before-rmb",
    [DK_CLASS_DESCRIPTOR_PUBLISHED_BEFORE_WMB] = "descriptor-published-before-wmb",
    [DK_CLASS_DOORBELL_BEFORE_WRITE] = "doorbell-before-write",
    [DK_CLASS_DEVICE_ACCESS_OUT_OF_RANGE] = "device-access-out-of-range",
    [DK_CLASS_DEVICE_ACCESS_WRONG_DIRECTION] = "device-access-wrong-direction",
    [DK_CLASS_DEVICE_ACCESS_UNMAPPED] = "device-access-unmapped",
    [DK_CLASS_ADDRESS_TRUNCATED] = "address-truncated",
    [DK_CLASS_MAPS_FREED_MEMORY] = "maps-freed-memory",
    [DK_CLASS_MAPS_COHERENT_MEMORY] = "maps-coherent-memory",
    [DK_CLASS_ERROR_CHECKED_TOO_LATE] = "error-checked-too-late",
    [DK_CLASS_SG_NENTS_CONFUSED] = "sg-nents-confused",
    [DK_CLASS_SG_CHANGED_WHILE_MAPPED] = "sg-changed-while-mapped",
    [DK_CLASS_FREE_AFTER_REMOVE] = "free-after-remove",
    [DK_CLASS_MASK_NOT_SET] = "mask-not-set",
    [DK_CLASS_MASK_SET_TOO_LATE] = "mask-set-too-late",
    [DK_CLASS_ALIAS_DIFFERENT_ATTRIBUTES] = "alias-different-attributes",
    [DK_CLASS_LEAK_WHILE_BOUND] = "leak-while-bound",
    [DK_CLASS_EXCEEDS_MAX_MAPPING] = "exceeds-max-mapping",
    [DK_CLASS_COUNT] = NULL,
};

static const struct dk_class_facts facts[DK_CLASS_COUNT] = {
    [DK_CLASS_LEAK_AT_REMOVE] = {
        "the device was removed while something was still mapped or allocated for it",
        "unmap or free it on every path that ends the driver, before the device goes",
        "error",
    },
    [DK_CLASS_FREE_INVALID_ADDRESS] = {
        "the address of a failed mapping was unmapped or freed",
        "after dma_mapping_error() says so there is nothing to unmap: leave the path earlier",
        "error",
    },
    [DK_CLASS_FREE_NOT_ALLOCATED] = {
        "something was unmapped or freed that is not mapped or allocated",
        "unmap each mapping once, with the device and the address that it was made with",
        "error",
    },
    [DK_CLASS_FREE_WRONG_SIZE] = {
        "unmapped or freed with another size than mapped or allocated",
        "give the size that the mapping was made with",
        "error",
    },
    [DK_CLASS_FREE_WRONG_FUNCTION] = {
        "unmapped or freed by a function that does not belong to the one that made it",
        "undo each kind of mapping or allocation with its own function",
        "error",
    },
    [DK_CLASS_FREE_WRONG_CPU_ADDRESS] = {
        "an allocation was freed with another CPU address than it has",
        "give the pointer that the allocation returned",
        "error",
    },
    [DK_CLASS_FREE_WRONG_SG_COUNT] = {
        "a scatterlist was unmapped with another number of entries than mapped",
        "give the nents that dma_map_sg() was called with, not what it returned",
        "error",
    },
    [DK_CLASS_FREE_WRONG_DIRECTION] = {
        "unmapped or freed with another direction than mapped or allocated",
        "give the direction that the mapping was made with",
        "error",
    },
    [DK_CLASS_ERROR_UNCHECKED] = {
        "a mapping was used without asking dma_mapping_error() about it",
        "ask dma_mapping_error() right after mapping, and give up when it says so",
        "warning",
    },
    [DK_CLASS_MAPS_STACK] = {
        "memory on a stack was mapped",
        "allocate the buffer with kmalloc(): a stack is not DMA memory, and is gone when the function returns",
        "error",
    },
    [DK_CLASS_MAPS_RODATA] = {
        "code or read-only data was mapped",
        "copy the data to a buffer from kmalloc() and map that",
        "error",
    },
    [DK_CLASS_SYNC_NOT_MAPPED] = {
        "memory was synced that is not mapped",
        "sync only between mapping and unmapping, with the device and the DMA address of the mapping",
        "error",
    },
    [DK_CLASS_SYNC_OUT_OF_RANGE] = {
        "a sync reaches past its mapping",
        "sync no more than was mapped; offset and size count from the start of the mapping",
        "error",
    },
    [DK_CLASS_SYNC_WRONG_DIRECTION] = {
        "synced in another direction than mapped",
        "give the direction of the mapping; map bidirectionally what goes both ways",
        "error",
    },
    [DK_CLASS_SYNC_READONLY_FOR_CPU] = {
        "memory that the device only reads was synced for the CPU as if the device had written it",
        "map it DMA_FROM_DEVICE or DMA_BIDIRECTIONAL if the device writes it; else sync it with DMA_TO_DEVICE",
        "error",
    },
    [DK_CLASS_SYNC_WRITEONLY_FOR_DEVICE] = {
        "memory that the device only writes was synced for the device as if the device would read it",
        "map it DMA_TO_DEVICE or DMA_BIDIRECTIONAL if the device reads it; else sync it with DMA_FROM_DEVICE",
        "error",
    },
    [DK_CLASS_SYNC_WRONG_SG_COUNT] = {
        "a scatterlist was synced with another number of entries than mapped",
        "give the nents that dma_map_sg() was called with, not what it returned",
        "error",
    },
    [DK_CLASS_SG_SEGMENT_TOO_LONG] = {
        "a mapped segment is longer than the device says it can take",
        "split the entry, or raise the limit with dma_set_max_seg_size() if the device can take more",
        "error",
    },
    [DK_CLASS_SG_CROSSES_BOUNDARY] = {
        "a mapped segment crosses a boundary that the device says it cannot",
        "split the entry at the boundary, or set the device's real one with dma_set_seg_boundary()",
        "error",
    },
    [DK_CLASS_MAPS_INVALID_ADDRESS] = {
        "something was mapped that is not the machine's memory",
        "map memory from kmalloc() or alloc_pages()",
        "error",
    },
    [DK_CLASS_MAPS_VMALLOC] = {
        "an address outside the linear map was given where one inside it is needed",
        "allocate the buffer with kmalloc(), or map its pages one by one with vmalloc_to_page() and dma_map_page()",
        "error",
    },
    [DK_CLASS_OVERLAPPING_LINES] = {
        "two live mappings that the device may write share a cache line or bytes",
        "give each buffer cache lines of its own: allocate it by itself, or align and pad it to "
        "dma_get_cache_alignment()",
        "error",
    },
    [DK_CLASS_OVERLAP_OVERFLOW] = {
        "a mapping shares a cache line with more than seven others that the device may write",
        "unmap buffers when the device is done with them, and give each one cache lines of its own",
        "error",
    },
    [DK_CLASS_SLEEPS_IN_ATOMIC] = {
        "a call that may sleep was made where sleeping is forbidden",
        "use GFP_ATOMIC there, or move the call out of the interrupt handler or from under the spinlock",
        "error",
    },
    [DK_CLASS_IOMMU_UNMAPPED] = {
        "the device accessed an address at which nothing is mapped in its IOMMU",
        "give the device the address and length that the mapping has, and unmap only when it is done",
        "error",
    },
    [DK_CLASS_IOMMU_PERMISSION] = {
        "the device accessed memory against the direction of its mapping",
        "map memory that the device writes DMA_FROM_DEVICE or DMA_BIDIRECTIONAL, and what it reads DMA_TO_DEVICE or "
        "DMA_BIDIRECTIONAL",
        "error",
    },
    [DK_CLASS_DEVICE_ACCESS_AFTER_UNMAP] = {
        "the device accessed memory after its unmapping",
        "stop the device, or wait until it is done, before unmapping; nothing but a strict IOMMU would hold it back",
        "error",
    },
    [DK_CLASS_FREED_WHILE_REMAPPED] = {
        "coherent memory was freed while it was remapped for another device",
        "free it after dk_coherent_unmap() of every device that it was remapped for",
        "error",
    },
    [DK_CLASS_FREED_WHILE_MAPPED] = {
        "something was freed while something else was still mapped to it",
        "undo what was put on top of it before it is freed",
        "error",
    },
    [DK_CLASS_CMA_RELEASE_MISMATCH] = {
        "pages of a contiguous area were released with another count than they were allocated with",
        "give cma_release() the number of pages that cma_alloc() was asked for",
        "error",
    },
    [DK_CLASS_CMA_RELEASE_NOT_ALLOCATED] = {
        "pages of a contiguous area were released where no allocation starts",
        "release each run once, with the page that cma_alloc() returned",
        "error",
    },
    [DK_CLASS_ACCESS_TO_MASKED_SECTION] = {
        "memory was accessed that nobody uses and whose refresh is off",
        "stop the device, or wait until it is done, before the memory is freed, and call pasr_get() before memory is used",
        "error",
    },
    [DK_CLASS_SLAB_DOUBLE_FREE] = {
        "an object of kmalloc() or of a cache was freed that is free already",
        "free each object once, and forget the pointer then",
        "error",
    },
    [DK_CLASS_SLAB_INVALID_FREE] = {
        "something was freed, or made larger, that is no object of kmalloc() or of a cache, or no more",
        "give kfree(), krealloc() and kmem_cache_free() the pointer that the allocation returned, and once",
        "error",
    },
    [DK_CLASS_SLAB_WRONG_CACHE] = {
        "an object was freed to another cache than its own",
        "give kmem_cache_free() the cache that the object was allocated from",
        "error",
    },
    [DK_CLASS_SLAB_OVERRUN] = {
        "bytes next to an object were written, which are nobody's",
        "write no more than the object's size, and nothing before its start",
        "error",
    },
    [DK_CLASS_SLAB_USE_AFTER_FREE] = {
        "an object was written after it was freed",
        "forget each pointer to an object before it is freed, and stop what writes it",
        "error",
    },
    [DK_CLASS_SLAB_LEAK] = {
        "a cache was destroyed while objects of it were still allocated",
        "free every object before kmem_cache_destroy()",
        "error",
    },
    [DK_CLASS_MEMPOOL_LEAK] = {
        "a memory pool with a reserve went while elements of it were out",
        "give every element back with mempool_free() before mempool_destroy() or mempool_exit()",
        "error",
    },
    [DK_CLASS_MEMPOOL_DOUBLE_FREE] = {
        "an element of a memory pool was freed that lies in the pool's reserve",
        "free each element once, and forget the pointer then",
        "error",
    },
    [DK_CLASS_POOL_WRONG_POOL] = {
        "a pool's block was freed to another pool",
        "free each block to the pool that it was allocated from",
        "error",
    },
    [DK_CLASS_POOL_USE_AFTER_FREE] = {
        "a pool's block was written after it was freed, or a pool used after it was destroyed",
        "free a block when neither the driver nor the device uses it any more: stop the device, or wait for it, first",
        "error",
    },
    [DK_CLASS_POOL_OVERRUN] = {
        "bytes in front of a pool's block or behind it were written",
        "write no more than the pool's block size; give the device a length that ends in the block",
        "error",
    },
    [DK_CLASS_POOL_DESTROYED_BUSY] = {
        "a pool was destroyed with a block still in use",
        "free every block before dma_pool_destroy(), on every path",
        "error",
    },
    [DK_CLASS_CPU_WRITE_WHILE_DEVICE_OWNS] = {
        "the CPU stored into mapped memory while the device owned it",
        "fill the buffer before it is mapped, or take it back with dma_sync_*_for_cpu() first and give it with "
        "dma_sync_*_for_device() again",
        "error",
    },
    [DK_CLASS_MISSING_SYNC_FOR_DEVICE] = {
        "the CPU stored into mapped memory that it owned, and did not sync it for the device",
        "call dma_sync_*_for_device() on what the CPU changed before the device uses it or it is unmapped",
        "error",
    },
    [DK_CLASS_SYNC_WRONG_SUBRANGE] = {
        "a sync covered another part of the mapping than the one that the CPU read or changed",
        "sync the very bytes that the CPU reads or changes: offset and size count from the start of the mapping",
        "error",
    },
    [DK_CLASS_SKIP_SYNC_WITHOUT_SYNC] = {
        "memory was mapped with DMA_ATTR_SKIP_CPU_SYNC and used without the sync that the driver owes then",
        "call dma_sync_*_for_device() on what the device is to read, or map it without the attribute",
        "error",
    },
    [DK_CLASS_SHARED_CACHE_LINE] = {
        "the CPU stored next to mapped memory, into a cache line that the device was writing to",
        "give the buffer cache lines of its own: allocate it by itself, or align and pad it to "
        "dma_get_cache_alignment()",
        "error",
    },
    [DK_CLASS_CPU_READ_WHILE_DEVICE_OWNS] = {
        "the CPU read memory that the device owns and may be writing",
        "unmap it, or call dma_sync_single_for_cpu() on those bytes, before the CPU reads them",
        "error",
    },
    [DK_CLASS_STALE_READ] = {
        "the CPU read memory that the device had written, and saw what was there before",
        "unmap it, or call dma_sync_single_for_cpu() on those bytes, before the CPU reads them",
        "error",
    },
    [DK_CLASS_MISSING_SYNC_FOR_CPU] = {
        "the CPU read bytes that the device wrote after they had been synced for the CPU",
        "call dma_sync_single_for_cpu() each time the device has written, and dma_sync_single_for_device() before it may "
        "write again",
        "error",
    },
    [DK_CLASS_DESCRIPTOR_READ_BEFORE_RMB] = {
        "the CPU read what a device had written, after the word that says so, with no barrier between",
        "call dma_rmb() after the word that says that the rest is valid, and before the rest is read",
        "error",
    },
    [DK_CLASS_DESCRIPTOR_PUBLISHED_BEFORE_WMB] = {
        "the CPU told a device that something is valid, with no barrier after writing it",
        "call dma_wmb() before the word that says that the rest is valid is written",
        "error",
    },
    [DK_CLASS_DOORBELL_BEFORE_WRITE] = {
        "the CPU rang a device's doorbell, with no barrier after writing what the device is to read",
        "ring it with writel(), or call wmb() before writel_relaxed()",
        "error",
    },
    [DK_CLASS_DEVICE_ACCESS_OUT_OF_RANGE] = {
        "the device accessed memory next to a mapping, or ran past its end",
        "give the device the length that was mapped, and map all that it may access",
        "error",
    },
    [DK_CLASS_DEVICE_ACCESS_WRONG_DIRECTION] = {
        "the device accessed memory against the direction of its mapping",
        "map memory that the device writes DMA_FROM_DEVICE or DMA_BIDIRECTIONAL, and what it reads DMA_TO_DEVICE or "
        "DMA_BIDIRECTIONAL",
        "error",
    },
    [DK_CLASS_DEVICE_ACCESS_UNMAPPED] = {
        "the device accessed memory that was never mapped for it",
        "give the device addresses that a mapping or an allocation returned, and no other",
        "error",
    },
    [DK_CLASS_ADDRESS_TRUNCATED] = {
        "the device accessed what was left of a mapping's address on its way to the device",
        "keep DMA addresses in dma_addr_t, and write all their bits: the upper half has a register of its own, or set a smaller mask",
        "error",
    },
    [DK_CLASS_MAPS_FREED_MEMORY] = {
        "memory was mapped that is free",
        "map memory before it is freed, and forget each pointer to it then",
        "error",
    },
    [DK_CLASS_MAPS_COHERENT_MEMORY] = {
        "coherent memory was mapped once more",
        "use the DMA address that the allocation returned: coherent memory needs no mapping and no sync",
        "error",
    },
    [DK_CLASS_ERROR_CHECKED_TOO_LATE] = {
        "dma_mapping_error() was asked when the address was in use already",
        "ask dma_mapping_error() right after mapping, before the address is handed on",
        "warning",
    },
    [DK_CLASS_SG_NENTS_CONFUSED] = {
        "the device was given more entries of a scatterlist than were mapped",
        "walk as many entries as dma_map_sg() returned (for_each_sgtable_dma_sg()), with sg_dma_address() and sg_dma_len()",
        "error",
    },
    [DK_CLASS_SG_CHANGED_WHILE_MAPPED] = {
        "a scatterlist was changed between its mapping and its unmapping or sync",
        "leave a list as it is while it is mapped, and unmap it before it is used again",
        "error",
    },
    [DK_CLASS_FREE_AFTER_REMOVE] = {
        "something was unmapped, freed or synced for a device that was removed",
        "unmap and free it on the way out of the driver, before the device goes",
        "error",
    },
    [DK_CLASS_MASK_NOT_SET] = {
        "a mapping or allocation failed since the driver had set no mask, and the memory is above 32 bits",
        "call dma_set_mask_and_coherent() when the device is probed, with as many bits as it has",
        "warning",
    },
    [DK_CLASS_MASK_SET_TOO_LATE] = {
        "a mask or limit was lowered below what is mapped or allocated",
        "set masks and limits when the device is probed, before anything is mapped or allocated",
        "error",
    },
    [DK_CLASS_ALIAS_DIFFERENT_ATTRIBUTES] = {
        "memory was freed or shown with other attributes than it was allocated with",
        "give dma_mmap_attrs() and dma_free_attrs() the attributes of the allocation",
        "warning",
    },
    [DK_CLASS_LEAK_WHILE_BOUND] = {
        "one line makes mappings and none of them is ever unmapped",
        "unmap each buffer when the device is done with it, on the paths of errors too",
        "warning",
    },
    [DK_CLASS_EXCEEDS_MAX_MAPPING] = {
        "a mapping is longer than the device's longest, dma_max_mapping_size()",
        "split the buffer into pieces of at most dma_max_mapping_size()",
        "warning",
    },
};

const char *dk_class_name(enum dk_class class_index)
{
    return names[class_index];
}

const struct dk_class_facts *dk_class_facts(enum dk_class class_index)
{
    return &facts[class_index];
}

enum dk_class dk_class_find(const char *name)
{
    unsigned i;

    for (i = 0; i < DK_CLASS_COUNT; i++) {
        if (!strcmp(names[i], name))
            break;
    }
    return (enum dk_class)i;
}

bool dk_class_lies_in_mapping(const char *class_name)
{
    return !strncmp(class_name, "leak-", 5) || !strcmp(class_name, names[DK_CLASS_ERROR_UNCHECKED]);
}

const char *const *dk_check_classes(void)
{
    return names;
}

const char *dk_check_class_summary(const char *class_name)
{
    enum dk_class found = class_name ? dk_class_find(class_name) : DK_CLASS_COUNT;

    return found < DK_CLASS_COUNT ? facts[found].summary : NULL;
}
