/* SPDX-License-Identifier: MIT */
/* <linux/dma-direction.h> for driver source. */
#ifndef DMAKIT_LINUX_DMA_DIRECTION_H
#define DMAKIT_LINUX_DMA_DIRECTION_H

#include <dmakit/dma-direction.h>

#endif
