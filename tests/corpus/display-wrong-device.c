/* SPDX-License-Identifier: MIT */
/*
 * A display system is made of parts, and only one of them, the controller, does DMA. The driver maps a frame
 * for the controller and unmaps it for the device that stands for the whole system: another one, perhaps with
 * another idea of caches, addresses and IOMMUs.
 *
 * bug-class: free-not-allocated, leak-at-remove
 * depth: 1
 * reference: https://github.com/revyos/th1520-linux-kernel/pull/31 ("drm/verisilicon: unconditionally use the
 * DC device as dma_dev": one device for all of it, as in the mended twin)
 */
#define DC_FRAME 0x00 /* 64 bits */
#define DC_SHOW 0x08  /* bytes */
#define DC_SHOWN 0x0c

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define FRAME 2048

struct display {
    struct device *dc;     /* the controller */
    struct device *system; /* what it is part of */
    void __iomem *regs;
};

static struct device *display_dma_dev(struct display *display)
{
#ifdef MENDED
    return display->dc;
#else
    return display->system;
#endif
}

static int display_show(struct display *display, u8 *frame)
{
    dma_addr_t dma = dma_map_single(display->dc, frame, FRAME, DMA_TO_DEVICE); /* SEEN */

    if (dma_mapping_error(display->dc, dma))
        return -ENOMEM;
    writeq(dma, display->regs + DC_FRAME);
    writel(FRAME, display->regs + DC_SHOW);
    dma_unmap_single(display_dma_dev(display), dma, FRAME, DMA_TO_DEVICE); /* BUG */
    return readl(display->regs + DC_SHOWN) == FRAME ? 0 : -EIO;
}

int display_wrong_device_use(struct device *dev)
{
    struct display *display = dev_get_drvdata(dev);
    u8 *frame = kzalloc(FRAME, GFP_KERNEL);
    int ret;

    if (!frame)
        return -ENOMEM;
    ret = display_show(display, frame);
    kfree(frame);
    return ret;
}

static int display_probe(struct platform_device *pdev)
{
    struct display *display = devm_kzalloc(&pdev->dev, sizeof(*display), GFP_KERNEL);

    if (!display)
        return -ENOMEM;
    display->dc = &pdev->dev;
    display->system = pdev->dev.parent;
    platform_set_drvdata(pdev, display);
    display->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(display->regs))
        return PTR_ERR(display->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver display_wrong_device_driver = { .probe = display_probe };
module_platform_driver(display_wrong_device_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t frame[2048];

    if (reg == DC_SHOW && value <= sizeof(frame) &&
        !dk_master_read(device->dev, corpus_address(device, DC_FRAME), frame, value))
        device->registers[DC_SHOWN / 4] = value;
}

const struct corpus_model display_wrong_device_model = { .written = written };
#endif
