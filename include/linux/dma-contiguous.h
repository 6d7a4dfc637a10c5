/* SPDX-License-Identifier: MIT */
/* <linux/dma-contiguous.h>, as it was called before Linux 5.10, for driver source. */
#ifndef DMAKIT_LINUX_DMA_CONTIGUOUS_H
#define DMAKIT_LINUX_DMA_CONTIGUOUS_H

#include <dmakit/dma-map-ops.h>

#endif
