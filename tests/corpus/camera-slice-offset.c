/* SPDX-License-Identifier: MIT */
/*
 * A capture core writes slices of a buffer in turn. To save time only the slice that is ready is synced, but
 * the offset stays what it was: the first slice is synced again and again, and the others are read from the
 * cache.
 *
 * bug-class: sync-wrong-subrange | missing-sync-for-cpu | cpu-read-while-device-owns | stale-read
 * depth: 3
 * reference: https://github.com/ikwzm/udmabuf/issues/129 ("Setting sync-offset and sync-size has no effect":
 * cache inconsistency with slices, none when all is synced)
 */
#define CAP_BUFFER 0x00 /* 64 bits */
#define CAP_SLICE 0x08  /* write a slice's number: the core fills it */
#define CAP_FILLED 0x0c
#define SLICE 1024
#define SLICES 4

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct capture {
    struct device *dev;
    void __iomem *regs;
    u8 *buffer;
    dma_addr_t dma;
    unsigned long sync_offset;
    size_t sync_size;
};

static u8 capture_slice(struct capture *capture, unsigned int slice)
{
    u8 least = 0xff;
    unsigned int i;

    writel(slice, capture->regs + CAP_SLICE);
#ifdef MENDED
    capture->sync_offset = slice * SLICE;
#endif
    dma_sync_single_range_for_cpu(capture->dev, capture->dma, capture->sync_offset,
                                  capture->sync_size, /* SEEN */
                                  DMA_FROM_DEVICE);
    for (i = 0; i < SLICE; i++) {
        if (capture->buffer[slice * SLICE + i] < least) /* BUG */
            least = capture->buffer[slice * SLICE + i]; /* BUG */
    }
    dma_sync_single_range_for_device(capture->dev, capture->dma, capture->sync_offset, capture->sync_size,
                                     DMA_FROM_DEVICE);
    return least;
}

int camera_slice_offset_use(struct device *dev)
{
    struct capture *capture = dev_get_drvdata(dev);
    unsigned int i;

    for (i = 0; i < 2 * SLICES; i++) {
        if (capture_slice(capture, i % SLICES) != i + 1)
            return -EIO;
    }
    return readl(capture->regs + CAP_FILLED) == 2 * SLICES ? 0 : -EIO;
}

static int capture_probe(struct platform_device *pdev)
{
    struct capture *capture = devm_kzalloc(&pdev->dev, sizeof(*capture), GFP_KERNEL);

    if (!capture)
        return -ENOMEM;
    capture->dev = &pdev->dev;
    platform_set_drvdata(pdev, capture);
    capture->sync_size = SLICE;
    capture->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(capture->regs))
        return PTR_ERR(capture->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    capture->buffer =
        dma_alloc_noncoherent(&pdev->dev, SLICES * SLICE, &capture->dma, DMA_FROM_DEVICE, GFP_KERNEL);
    if (!capture->buffer)
        return -ENOMEM;
    writeq(capture->dma, capture->regs + CAP_BUFFER);
    return 0;
}

static void capture_remove(struct platform_device *pdev)
{
    struct capture *capture = platform_get_drvdata(pdev);

    dma_free_noncoherent(&pdev->dev, SLICES * SLICE, capture->buffer, capture->dma, DMA_FROM_DEVICE);
}

static struct platform_driver camera_slice_offset_driver = { .probe = capture_probe,
                                                             .remove = capture_remove };
module_platform_driver(camera_slice_offset_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t slice[SLICE];

    if (reg != CAP_SLICE)
        return;
    memset(slice, (int)++device->accesses, sizeof(slice));
    if (!dk_master_write(device->dev, corpus_address(device, CAP_BUFFER) + value * SLICE, slice,
                         sizeof(slice)))
        device->registers[CAP_FILLED / 4]++;
}

const struct corpus_model camera_slice_offset_model = { .written = written };
#endif
