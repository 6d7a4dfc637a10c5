/* SPDX-License-Identifier: MIT */
/*
 * A transfer is cancelled by clearing the engine's run bit, and its buffer is unmapped at once. The engine
 * still finishes the descriptor that it works on, and writes where the buffer was.
 *
 * bug-class: device-access-after-unmap | iommu-unmapped
 * depth: 2
 * earlier: 1 hostile
 * reference: https://github.com/Prandr/dma_ip_drivers/pull/24 ("Wait for engine to go idle after clearing the
 * Run bit")
 */
#define ENG_BUFFER 0x00  /* 64 bits: of the descriptor */
#define ENG_CONTROL 0x08 /* ENG_RUN */
#define ENG_STATUS 0x0c  /* read: time passes; ENG_BUSY until the descriptor is done, with the second look */
#define ENG_RUN 0x1
#define ENG_BUSY 0x1
#define ENG_BYTES 1024

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct engine {
    struct device *dev;
    void __iomem *regs;
};

static int engine_wait(struct engine *engine)
{
    u32 status;

    return readl_poll_timeout(engine->regs + ENG_STATUS, status, !(status & ENG_BUSY), 10, 30000000);
}

static void engine_stop(struct engine *engine)
{
    writel(0, engine->regs + ENG_CONTROL);
#ifdef MENDED
    engine_wait(engine);
#endif
}

/* Captures into @buffer, or is told to stop before it is full. */
static int engine_transfer(struct engine *engine, u8 *buffer, bool cancelled)
{
    dma_addr_t dma = dma_map_single(engine->dev, buffer, ENG_BYTES, DMA_FROM_DEVICE); /* SEEN */
    int ret = 0;

    if (dma_mapping_error(engine->dev, dma))
        return -ENOMEM;
    writeq(dma, engine->regs + ENG_BUFFER);
    writel(ENG_RUN, engine->regs + ENG_CONTROL);
    if (cancelled)
        engine_stop(engine);
    else
        ret = engine_wait(engine);
    dma_unmap_single(engine->dev, dma, ENG_BYTES, DMA_FROM_DEVICE); /* BUG */
    return ret;
}

int capture_engine_busy_use(struct device *dev)
{
    struct engine *engine = dev_get_drvdata(dev);
    u8 *buffer = kzalloc(ENG_BYTES, GFP_KERNEL);
    int ret;

    if (!buffer)
        return -ENOMEM;
    ret = engine_transfer(engine, buffer, true);
    if (!ret)
        ret = engine_wait(engine); /* SEEN */
    kfree(buffer);
    return ret;
}

static int engine_probe(struct platform_device *pdev)
{
    struct engine *engine = devm_kzalloc(&pdev->dev, sizeof(*engine), GFP_KERNEL);

    if (!engine)
        return -ENOMEM;
    engine->dev = &pdev->dev;
    platform_set_drvdata(pdev, engine);
    engine->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(engine->regs))
        return PTR_ERR(engine->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver capture_engine_busy_driver = { .probe = engine_probe };
module_platform_driver(capture_engine_busy_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    if (reg == ENG_CONTROL && value & ENG_RUN)
        device->accesses = 2;
}

static uint32_t read_status(struct corpus_device *device, unsigned reg)
{
    if (reg == ENG_STATUS && device->accesses && !--device->accesses)
        corpus_fill(device, corpus_address(device, ENG_BUFFER), ENG_BYTES, 8);
    return device->accesses ? ENG_BUSY : 0;
}

const struct corpus_model capture_engine_busy_model = { .written = written, .read = read_status };
#endif
