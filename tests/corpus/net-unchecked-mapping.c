/* SPDX-License-Identifier: MIT */
/*
 * Buffers of a ping program for remote DMA are mapped and given to the card without asking whether the
 * mapping worked. It always does, until a bounce pool or an IOMMU runs out of room.
 *
 * bug-class: error-unchecked
 * depth: 1
 * reference: https://github.com/larrystevenwise/krping/pull/12 ("Silence DMA unmap checking"; the review asks
 *            to give up when the mapping failed, which the mended twin does)
 */
#define PING_SOURCE 0x00 /* 64 bits */
#define PING_SINK 0x08   /* 64 bits */
#define PING_GO 0x10     /* bytes to carry from source to sink, at most 256 */
#define PING_COMPLETED 0x14

#ifdef DRIVER
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/string.h>

#define PING_BYTES 256

struct ping {
    void __iomem *regs;
    struct completion done;
    u8 *source, *sink;
};

static irqreturn_t ping_interrupt(int irq, void *data)
{
    struct ping *ping = data;

    complete(&ping->done);
    return IRQ_HANDLED;
}

int net_unchecked_mapping_use(struct device *dev)
{
    struct ping *ping = dev_get_drvdata(dev);
    dma_addr_t source, sink;
    int ret = -EIO;

    memset(ping->source, 0x5a, PING_BYTES);
    source = dma_map_single(dev, ping->source, PING_BYTES, DMA_TO_DEVICE);
    if (dma_mapping_error(dev, source))
        return -ENOMEM;
    sink = dma_map_single(dev, ping->sink, PING_BYTES, DMA_FROM_DEVICE); /* BUG */
#ifdef MENDED
    if (dma_mapping_error(dev, sink)) {
        dma_unmap_single(dev, source, PING_BYTES, DMA_TO_DEVICE);
        return -ENOMEM;
    }
#endif
    writeq(source, ping->regs + PING_SOURCE);
    writeq(sink, ping->regs + PING_SINK);
    writel(PING_BYTES, ping->regs + PING_GO);
    if (wait_for_completion_timeout(&ping->done, 30 * HZ) && readl(ping->regs + PING_COMPLETED))
        ret = 0;
    dma_unmap_single(dev, sink, PING_BYTES, DMA_FROM_DEVICE);
    dma_unmap_single(dev, source, PING_BYTES, DMA_TO_DEVICE);
    return ret ? ret : memcmp(ping->source, ping->sink, PING_BYTES) ? -EIO : 0;
}

static int ping_probe(struct platform_device *pdev)
{
    struct ping *ping = devm_kzalloc(&pdev->dev, sizeof(*ping), GFP_KERNEL);

    if (!ping)
        return -ENOMEM;
    init_completion(&ping->done);
    platform_set_drvdata(pdev, ping);
    ping->source = devm_kzalloc(&pdev->dev, PING_BYTES, GFP_KERNEL);
    ping->sink = devm_kzalloc(&pdev->dev, PING_BYTES, GFP_KERNEL);
    if (!ping->source || !ping->sink)
        return -ENOMEM;
    ping->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(ping->regs))
        return PTR_ERR(ping->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    return devm_request_irq(&pdev->dev, platform_get_irq(pdev, 0), ping_interrupt, 0, "ping", ping);
}

static struct platform_driver net_unchecked_mapping_driver = { .probe = ping_probe };
module_platform_driver(net_unchecked_mapping_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t bytes[256];

    if (reg != PING_GO || value > sizeof(bytes))
        return;
    device->registers[PING_COMPLETED / 4] =
        !dk_master_read(device->dev, corpus_address(device, PING_SOURCE), bytes, value) &&
        !dk_master_write(device->dev, corpus_address(device, PING_SINK), bytes, value);
    dk_interrupt_raise(device->dev, 0);
}

const struct corpus_model net_unchecked_mapping_model = { .written = written };
#endif
