/* SPDX-License-Identifier: MIT */
/*
 * A sound device's DMA channel frees the control blocks of a transfer that is over in its interrupt handler.
 * Coherent memory may have to be unmapped page by page, which may sleep; a pool's block is given back
 * anywhere.
 *
 * bug-class: sleeps-in-atomic
 * depth: 1
 * reference: https://github.com/raspberrypi/linux/pull/1178 (bcm2835_dma_desc_free warns whenever an audio
 * device is closed; "Switching to dmapool is one solution": https://github.com/raspberrypi/linux/issues/1231)
 */
#define CB_ADDRESS 0x00 /* 64 bits: control block { u64 source; u32 length; u32 pad; } */
#define CB_START 0x08   /* plays it and interrupts */
#define CB_PLAYED 0x0c  /* bytes */
#define PERIOD 256

#ifdef DRIVER
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct control_block {
    __le64 source;
    __le32 length;
    __le32 pad;
};

struct channel {
    struct device *dev;
    void __iomem *regs;
    struct completion over;
    struct dma_pool *pool;
    struct control_block *cb;
    dma_addr_t cb_dma;
    u8 *period;
    dma_addr_t period_dma;
};

static int channel_desc_alloc(struct channel *channel)
{
#ifdef MENDED
    channel->cb = dma_pool_zalloc(channel->pool, GFP_KERNEL, &channel->cb_dma);
#else
    channel->cb =
        dma_alloc_coherent(channel->dev, sizeof(*channel->cb), &channel->cb_dma, GFP_KERNEL); /* SEEN */
#endif
    return channel->cb ? 0 : -ENOMEM;
}

static void channel_desc_free(struct channel *channel)
{
#ifdef MENDED
    dma_pool_free(channel->pool, channel->cb, channel->cb_dma);
#else
    dma_free_coherent(channel->dev, sizeof(*channel->cb), channel->cb, channel->cb_dma);      /* BUG */
#endif
}

static irqreturn_t channel_interrupt(int irq, void *data)
{
    struct channel *channel = data;

    channel_desc_free(channel);
    complete(&channel->over);
    return IRQ_HANDLED;
}

int sound_free_in_irq_use(struct device *dev)
{
    struct channel *channel = dev_get_drvdata(dev);
    int ret = channel_desc_alloc(channel);

    if (ret)
        return ret;
    channel->cb->source = cpu_to_le64(channel->period_dma);
    channel->cb->length = cpu_to_le32(PERIOD);
    writeq(channel->cb_dma, channel->regs + CB_ADDRESS);
    writel(1, channel->regs + CB_START);
    if (!wait_for_completion_timeout(&channel->over, 30 * HZ))
        return -ETIMEDOUT;
    return readl(channel->regs + CB_PLAYED) == PERIOD ? 0 : -EIO;
}

static int channel_probe(struct platform_device *pdev)
{
    struct channel *channel = devm_kzalloc(&pdev->dev, sizeof(*channel), GFP_KERNEL);

    if (!channel)
        return -ENOMEM;
    channel->dev = &pdev->dev;
    init_completion(&channel->over);
    platform_set_drvdata(pdev, channel);
    channel->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(channel->regs))
        return PTR_ERR(channel->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    channel->pool = dmam_pool_create("control blocks", &pdev->dev, sizeof(*channel->cb), 32, 0);
    channel->period = dmam_alloc_coherent(&pdev->dev, PERIOD, &channel->period_dma, GFP_KERNEL);
    if (!channel->pool || !channel->period)
        return -ENOMEM;
    return devm_request_irq(&pdev->dev, platform_get_irq(pdev, 0), channel_interrupt, 0, "channel", channel);
}

static struct platform_driver sound_free_in_irq_driver = { .probe = channel_probe };
module_platform_driver(sound_free_in_irq_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    struct {
        uint64_t source;
        uint32_t length, pad;
    } cb;
    uint8_t period[PERIOD];

    (void)value;
    if (reg != CB_START)
        return;
    if (!dk_master_read(device->dev, corpus_address(device, CB_ADDRESS), &cb, sizeof(cb)) &&
        le32toh(cb.length) <= sizeof(period) &&
        !dk_master_read(device->dev, le64toh(cb.source), period, le32toh(cb.length)))
        device->registers[CB_PLAYED / 4] = le32toh(cb.length);
    dk_interrupt_raise(device->dev, 0);
}

const struct corpus_model sound_free_in_irq_model = { .written = written };
#endif
