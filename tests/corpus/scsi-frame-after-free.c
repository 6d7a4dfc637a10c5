/* SPDX-License-Identifier: MIT */
/*
 * A command is sent and polled for. The process that polls sees the status in the frame and gives the frame
 * back to its pool; then the interrupt of the same command comes, whose handler marks the frame as done.
 *
 * bug-class: pool-use-after-free
 * depth: 1
 * reference: commit 90dc9d98f01b "megaraid_sas : MFI MPT linked list corruption fix" (the mend frees from one
 *            context only;
 * https://gerrit-public.fairphone.software/plugins/gitiles/kernel/msm-4.9/+/90dc9d98f01b)
 */
#define FRAME_ADDRESS 0x00 /* 64 bits: a frame of 64 bytes; the first is its status */
#define FRAME_SEND 0x08    /* writes status 1 into the frame */
#define IRQ_UNMASK 0x0c    /* interrupts for what is done go out now */

#ifdef DRIVER
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct frame {
    u8 status;
    u8 flags;
    u8 data[62];
};

struct raid {
    struct device *dev;
    void __iomem *regs;
    struct dma_pool *pool;
    struct completion handled;
    struct frame *frame; /* of the command that is under way */
    dma_addr_t frame_dma;
};

static irqreturn_t raid_interrupt(int irq, void *data)
{
    struct raid *raid = data;

    WRITE_ONCE(raid->frame->flags, 0x80); /* BUG */
    complete(&raid->handled);
    return IRQ_HANDLED;
}

static int raid_command(struct raid *raid)
{
    unsigned int patience = 1000;

    raid->frame = dma_pool_zalloc(raid->pool, GFP_KERNEL, &raid->frame_dma); /* SEEN */
    if (!raid->frame)
        return -ENOMEM;
    writeq(raid->frame_dma, raid->regs + FRAME_ADDRESS);
    writel(1, raid->regs + FRAME_SEND);
    while (!READ_ONCE(raid->frame->status) && --patience)
        udelay(1);
#ifdef MENDED
    writel(1, raid->regs + IRQ_UNMASK);
    wait_for_completion_timeout(&raid->handled, 30 * HZ);
    dma_pool_free(raid->pool, raid->frame, raid->frame_dma);
#else
    dma_pool_free(raid->pool, raid->frame, raid->frame_dma); /* SEEN */
    writel(1, raid->regs + IRQ_UNMASK);
    wait_for_completion_timeout(&raid->handled, 30 * HZ);
#endif
    return patience ? 0 : -EIO;
}

int scsi_frame_after_free_use(struct device *dev)
{
    struct raid *raid = dev_get_drvdata(dev);
    int ret = raid_command(raid);

    return ret ? ret : raid_command(raid);
}

static int raid_probe(struct platform_device *pdev)
{
    struct raid *raid = devm_kzalloc(&pdev->dev, sizeof(*raid), GFP_KERNEL);

    if (!raid)
        return -ENOMEM;
    raid->dev = &pdev->dev;
    init_completion(&raid->handled);
    platform_set_drvdata(pdev, raid);
    raid->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(raid->regs))
        return PTR_ERR(raid->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    raid->pool = dma_pool_create("frames", &pdev->dev, sizeof(struct frame), 64, 0);
    if (!raid->pool)
        return -ENOMEM;
    return devm_request_irq(&pdev->dev, platform_get_irq(pdev, 0), raid_interrupt, 0, "raid", raid);
}

static void raid_remove(struct platform_device *pdev)
{
    struct raid *raid = platform_get_drvdata(pdev);

    dma_pool_destroy(raid->pool); /* SEEN */
}

static struct platform_driver scsi_frame_after_free_driver = { .probe = raid_probe, .remove = raid_remove };
module_platform_driver(scsi_frame_after_free_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t status = 1;

    (void)value;
    if (reg == FRAME_SEND)
        dk_master_write(device->dev, corpus_address(device, FRAME_ADDRESS), &status, 1);
    else if (reg == IRQ_UNMASK)
        dk_interrupt_raise(device->dev, 0);
}

const struct corpus_model scsi_frame_after_free_model = { .written = written };
#endif
