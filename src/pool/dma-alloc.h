/* SPDX-License-Identifier: MIT */
/*
 * dma_alloc()'s blocks as src/start sees them.
 */
#ifndef DK_POOL_DMA_ALLOC_H
#define DK_POOL_DMA_ALLOC_H

struct device;

/* Frees all blocks of @dev and what they stand on, while it can still free coherent memory. The checker has
 * reported those that its driver left. No other thread may be inside. May sleep. */
void dk_dma_blocks_device_removed(struct device *dev);

#endif
