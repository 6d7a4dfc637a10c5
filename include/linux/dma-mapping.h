/* SPDX-License-Identifier: MIT */
/* <linux/dma-mapping.h> for driver source. */
#ifndef DMAKIT_LINUX_DMA_MAPPING_H
#define DMAKIT_LINUX_DMA_MAPPING_H

#include <dmakit/dma-mapping.h>
#include <linux/device.h>
#include <linux/err.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>

#endif
