/* SPDX-License-Identifier: MIT */
/*
 * Flags of an allocation. The bit values are dmakit's own; the names and meanings are Linux's
 * (Documentation/core-api/memory-allocation.rst).
 */
#ifndef DMAKIT_GFP_H
#define DMAKIT_GFP_H

#include <dmakit/types.h>

#define __GFP_DMA ((gfp_t)0x1u)     /* from ZONE_DMA */
#define __GFP_HIGHMEM ((gfp_t)0x2u) /* may lack a kernel address */
#define __GFP_DMA32 ((gfp_t)0x4u)   /* from below 4 GiB */
#define __GFP_MOVABLE ((gfp_t)0x8u) /* its user can stand its being moved */
#define __GFP_HIGH ((gfp_t)0x20u)   /* may use reserves */
#define __GFP_IO ((gfp_t)0x40u)
#define __GFP_FS ((gfp_t)0x80u)
#define __GFP_ZERO ((gfp_t)0x100u)           /* cleared */
#define __GFP_DIRECT_RECLAIM ((gfp_t)0x400u) /* may sleep */
#define __GFP_KSWAPD_RECLAIM ((gfp_t)0x800u)
#define __GFP_NOWARN ((gfp_t)0x2000u) /* no log line on failure */
#define __GFP_RETRY_MAYFAIL ((gfp_t)0x4000u)
#define __GFP_NOFAIL ((gfp_t)0x8000u)
#define __GFP_NORETRY ((gfp_t)0x10000u)
#define __GFP_MEMALLOC ((gfp_t)0x20000u)
#define __GFP_COMP ((gfp_t)0x40000u) /* a compound page */
#define __GFP_NOMEMALLOC ((gfp_t)0x80000u)
#define __GFP_HARDWALL ((gfp_t)0x100000u)
#define __GFP_ACCOUNT ((gfp_t)0x400000u)

#define __GFP_RECLAIM (__GFP_DIRECT_RECLAIM | __GFP_KSWAPD_RECLAIM)

#define GFP_ATOMIC (__GFP_HIGH | __GFP_KSWAPD_RECLAIM)
#define GFP_KERNEL (__GFP_RECLAIM | __GFP_IO | __GFP_FS)
#define GFP_KERNEL_ACCOUNT (GFP_KERNEL | __GFP_ACCOUNT)
#define GFP_NOWAIT (__GFP_KSWAPD_RECLAIM)
#define GFP_NOIO (__GFP_RECLAIM)
#define GFP_NOFS (__GFP_RECLAIM | __GFP_IO)
#define GFP_USER (__GFP_RECLAIM | __GFP_IO | __GFP_FS | __GFP_HARDWALL)
#define GFP_DMA __GFP_DMA
#define GFP_DMA32 __GFP_DMA32
#define GFP_HIGHUSER (GFP_USER | __GFP_HIGHMEM)
#define GFP_HIGHUSER_MOVABLE (GFP_HIGHUSER | __GFP_MOVABLE)

/* For calls that name a node: there is one, and they take any number. */
#define NUMA_NO_NODE (-1)

/* Whether an allocation with @gfp may sleep. */
static inline bool gfpflags_allow_blocking(gfp_t gfp)
{
    return gfp & __GFP_DIRECT_RECLAIM;
}

#endif
