/* SPDX-License-Identifier: MIT */
/* <linux/cache.h> for driver source. The machine's own line: dma_get_cache_alignment(). */
#ifndef DMAKIT_LINUX_CACHE_H
#define DMAKIT_LINUX_CACHE_H

#include <linux/compiler.h>

/* At least as long as the line of any machine that is likely. */
#define L1_CACHE_BYTES 64
#define SMP_CACHE_BYTES L1_CACHE_BYTES
#define ARCH_DMA_MINALIGN 128
#define ____cacheline_aligned __attribute__((aligned(L1_CACHE_BYTES)))
#define __cacheline_aligned ____cacheline_aligned

#endif
