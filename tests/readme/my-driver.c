/* SPDX-License-Identifier: MIT */
/*
 * The driver that docs/drivers.md leaves to its reader: it receives one line. With WRONG it forgets to hand
 * the bytes to the CPU.
 */
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define LINE_BYTES 64

struct my_card {
    struct device *dev;
    void __iomem *regs;
    char *line;
    dma_addr_t dma;
    struct completion received;
};

const char *my_line(struct device *dev);

static irqreturn_t my_interrupt(int irq, void *data)
{
    struct my_card *card = data;

    (void)irq;
    complete(&card->received);
    return IRQ_HANDLED;
}

const char *my_line(struct device *dev)
{
    struct my_card *card = dev_get_drvdata(dev);

    writel((u32)card->dma, card->regs);
    if (!wait_for_completion_timeout(&card->received, msecs_to_jiffies(5000)))
        return "";
#ifndef WRONG
    dma_sync_single_for_cpu(dev, card->dma, LINE_BYTES, DMA_FROM_DEVICE);
#endif
    return card->line;
}

static int my_probe(struct platform_device *pdev)
{
    struct my_card *card = devm_kzalloc(&pdev->dev, sizeof(*card), GFP_KERNEL);
    int irq = platform_get_irq(pdev, 0);

    if (!card || irq < 0)
        return -ENOMEM;
    card->dev = &pdev->dev;
    init_completion(&card->received);
    card->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(card->regs))
        return (int)PTR_ERR(card->regs);
    card->line = devm_kzalloc(&pdev->dev, LINE_BYTES, GFP_KERNEL | GFP_DMA);
    if (!card->line)
        return -ENOMEM;
    card->dma = dma_map_single(&pdev->dev, card->line, LINE_BYTES, DMA_FROM_DEVICE);
    if (dma_mapping_error(&pdev->dev, card->dma))
        return -ENOMEM;
    platform_set_drvdata(pdev, card);
    return devm_request_irq(&pdev->dev, (unsigned int)irq, my_interrupt, 0, "my", card);
}

static void my_remove(struct platform_device *pdev)
{
    struct my_card *card = platform_get_drvdata(pdev);

    dma_unmap_single(&pdev->dev, card->dma, LINE_BYTES, DMA_FROM_DEVICE);
}

static struct platform_driver my_driver = {
    .probe = my_probe,
    .remove = my_remove,
    .driver = { .name = "my" },
};
module_platform_driver(my_driver);
