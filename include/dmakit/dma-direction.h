/* SPDX-License-Identifier: MIT */
/*
 * Which way a mapping's bytes go.
 */
#ifndef DMAKIT_DMA_DIRECTION_H
#define DMAKIT_DMA_DIRECTION_H

#include <dmakit/types.h>

enum dma_data_direction {
    DMA_BIDIRECTIONAL = 0,
    DMA_TO_DEVICE = 1,   /* the device reads */
    DMA_FROM_DEVICE = 2, /* the device writes */
    DMA_NONE = 3,        /* no transfer: an error where a direction is asked for */
};

/* Whether @direction is one of the three that move bytes. */
static inline bool valid_dma_direction(enum dma_data_direction direction)
{
    return direction == DMA_BIDIRECTIONAL || direction == DMA_TO_DEVICE || direction == DMA_FROM_DEVICE;
}

#endif
