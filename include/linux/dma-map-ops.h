/* SPDX-License-Identifier: MIT */
/* <linux/dma-map-ops.h> for driver source. */
#ifndef DMAKIT_LINUX_DMA_MAP_OPS_H
#define DMAKIT_LINUX_DMA_MAP_OPS_H

#include <dmakit/dma-map-ops.h>
#include <linux/dma-mapping.h>

#endif
