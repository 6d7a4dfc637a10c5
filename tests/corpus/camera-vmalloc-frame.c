/* SPDX-License-Identifier: MIT */
/*
 * A USB camera's frames are large, so their memory comes from vmalloc(), and the transfers are told to go
 * straight there. Such an address says nothing about where the pages are.
 *
 * bug-class: maps-vmalloc
 * depth: 1
 * reference: https://github.com/floe/sur40/issues/24 ("rejecting DMA map of vmalloc memory - error -11 in
 *            usb_bulk_read"). The mended twin reads through a buffer of kmalloc().
 */
#define BULK_ADDRESS 0x00 /* 64 bits */
#define BULK_READ 0x08    /* bytes: the next ones of the frame */
#define BULK_COUNT 0x0c   /* bytes read of this frame */
#define FRAME 16384
#define BULK 4096

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/vmalloc.h>

struct camera {
    struct device *dev;
    void __iomem *regs;
    u8 *bulk_in;
};

static int camera_bulk(struct camera *camera, u8 *to)
{
    dma_addr_t dma = dma_map_single(camera->dev, to, BULK, DMA_FROM_DEVICE); /* BUG */

    if (dma_mapping_error(camera->dev, dma))
        return -EAGAIN;
    writeq(dma, camera->regs + BULK_ADDRESS);
    writel(BULK, camera->regs + BULK_READ);
    dma_unmap_single(camera->dev, dma, BULK, DMA_FROM_DEVICE);
    return 0;
}

static int camera_frame(struct camera *camera, u8 *frame)
{
    u32 at;
    int ret = 0;

    for (at = 0; at < FRAME && !ret; at += BULK) {
#ifdef MENDED
        ret = camera_bulk(camera, camera->bulk_in);
        memcpy(frame + at, camera->bulk_in, BULK);
#else
        ret = camera_bulk(camera, frame + at);
#endif
    }
    return ret;
}

int camera_vmalloc_frame_use(struct device *dev)
{
    struct camera *camera = dev_get_drvdata(dev);
    u8 *frame = vzalloc(FRAME);
    int ret;

    if (!frame)
        return -ENOMEM;
    ret = camera_frame(camera, frame);
    if (!ret && (readl(camera->regs + BULK_COUNT) != FRAME || !frame[FRAME - 1]))
        ret = -EIO;
    vfree(frame);
    return ret;
}

static int camera_probe(struct platform_device *pdev)
{
    struct camera *camera = devm_kzalloc(&pdev->dev, sizeof(*camera), GFP_KERNEL);

    if (!camera)
        return -ENOMEM;
    camera->dev = &pdev->dev;
    platform_set_drvdata(pdev, camera);
    camera->bulk_in = devm_kzalloc(&pdev->dev, BULK, GFP_KERNEL);
    if (!camera->bulk_in)
        return -ENOMEM;
    camera->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(camera->regs))
        return PTR_ERR(camera->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver camera_vmalloc_frame_driver = { .probe = camera_probe };
module_platform_driver(camera_vmalloc_frame_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    if (reg == BULK_READ && !corpus_fill(device, corpus_address(device, BULK_ADDRESS), value, 4))
        device->registers[BULK_COUNT / 4] += value;
}

const struct corpus_model camera_vmalloc_frame_model = { .written = written };
#endif
