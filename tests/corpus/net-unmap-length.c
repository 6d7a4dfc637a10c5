/* SPDX-License-Identifier: MIT */
/*
 * A network card's receive buffer is mapped at full size and unmapped with the length of the frame that came.
 * A PC that does not bounce does nothing at unmapping, so nobody notices; elsewhere the rest of the buffer
 * stays mapped, or its lines are never invalidated.
 *
 * bug-class: free-wrong-size
 * depth: 1
 * reference: https://github.com/openbmc/linux/issues/201 (ftgmac100: map size 1536, unmap size 42)
 */
#define RX_ADDRESS 0x00 /* 64 bits: where the next frame goes */
#define RX_START 0x08   /* write anything: a frame may come */
#define RX_LENGTH 0x0c  /* bytes of the frame that came */
#define RX_BUFFER 1536

#ifdef DRIVER
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct net {
    void __iomem *regs;
    struct completion received;
};

static irqreturn_t net_interrupt(int irq, void *data)
{
    struct net *net = data;

    complete(&net->received);
    return IRQ_HANDLED;
}

static int net_receive(struct device *dev, struct net *net, u8 *buffer)
{
    dma_addr_t dma = dma_map_single(dev, buffer, RX_BUFFER, DMA_FROM_DEVICE);
    u32 length;

    if (dma_mapping_error(dev, dma))
        return -ENOMEM;
    writeq(dma, net->regs + RX_ADDRESS);
    writel(1, net->regs + RX_START);
    if (!wait_for_completion_timeout(&net->received, 30 * HZ))
        dev_err(dev, "no frame came\n");
    length = readl(net->regs + RX_LENGTH);
#ifdef MENDED
    dma_unmap_single(dev, dma, RX_BUFFER, DMA_FROM_DEVICE);
#else
    dma_unmap_single(dev, dma, length, DMA_FROM_DEVICE); /* BUG */
#endif
    return length == 42 && buffer[41] != 0 ? 0 : -EIO;
}

int net_unmap_length_use(struct device *dev)
{
    u8 *buffer = kzalloc(RX_BUFFER, GFP_KERNEL);
    int ret;

    if (!buffer)
        return -ENOMEM;
    ret = net_receive(dev, dev_get_drvdata(dev), buffer);
    kfree(buffer);
    return ret;
}

static int net_probe(struct platform_device *pdev)
{
    struct net *net = devm_kzalloc(&pdev->dev, sizeof(*net), GFP_KERNEL);

    if (!net)
        return -ENOMEM;
    init_completion(&net->received);
    platform_set_drvdata(pdev, net);
    net->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(net->regs))
        return PTR_ERR(net->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    return devm_request_irq(&pdev->dev, platform_get_irq(pdev, 0), net_interrupt, 0, "net", net);
}

static struct platform_driver net_unmap_length_driver = { .probe = net_probe };
module_platform_driver(net_unmap_length_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    (void)value;
    if (reg != RX_START)
        return;
    if (!corpus_fill(device, corpus_address(device, RX_ADDRESS), 42, 1))
        device->registers[RX_LENGTH / 4] = 42;
    dk_interrupt_raise(device->dev, 0);
}

const struct corpus_model net_unmap_length_model = { .written = written };
#endif
