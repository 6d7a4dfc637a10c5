/* SPDX-License-Identifier: MIT */
/*
 * A character device for a DMA engine in programmable logic takes coherent memory and never says how many
 * address bits the engine has. It works where the default happens to do.
 *
 * bug-class: mask-not-set
 * depth: 1
 * boards: high-memory
 * reference: https://github.com/bperez77/xilinx_axidma/issues/58 ("Missing dma_set_coherent_mask()")
 */
#define AXI_SOURCE 0x00 /* 64 bits */
#define AXI_TARGET 0x08 /* 64 bits */
#define AXI_LENGTH 0x10 /* copies */
#define AXI_COPIED 0x14

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

#define BYTES 512

struct axidma {
    void __iomem *regs;
    struct completion copied;
};

static irqreturn_t axidma_interrupt(int irq, void *data)
{
    struct axidma *axidma = data;

    complete(&axidma->copied);
    return IRQ_HANDLED;
}

int fpga_mask_missing_use(struct device *dev)
{
    struct axidma *axidma = dev_get_drvdata(dev);
    dma_addr_t dma;
    u8 *both = dma_alloc_coherent(dev, 2 * BYTES, &dma, GFP_KERNEL); /* BUG */
    int ret = 0;

    if (!both)
        return -ENOMEM;
    memset(both, 0xc3, BYTES);
    writeq(dma, axidma->regs + AXI_SOURCE);
    writeq(dma + BYTES, axidma->regs + AXI_TARGET);
    writel(BYTES, axidma->regs + AXI_LENGTH);
    if (!wait_for_completion_timeout(&axidma->copied, 30 * HZ) || memcmp(both, both + BYTES, BYTES))
        ret = -EIO;
    dma_free_coherent(dev, 2 * BYTES, both, dma);
    return ret;
}

static int axidma_probe(struct platform_device *pdev)
{
    struct axidma *axidma = devm_kzalloc(&pdev->dev, sizeof(*axidma), GFP_KERNEL);

    if (!axidma)
        return -ENOMEM;
    init_completion(&axidma->copied);
    platform_set_drvdata(pdev, axidma);
    axidma->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(axidma->regs))
        return PTR_ERR(axidma->regs);
#ifdef MENDED
    if (dma_set_coherent_mask(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
#endif
    return devm_request_irq(&pdev->dev, platform_get_irq(pdev, 0), axidma_interrupt, 0, "axidma", axidma);
}

static struct platform_driver fpga_mask_missing_driver = { .probe = axidma_probe };
module_platform_driver(fpga_mask_missing_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t bytes[512];

    if (reg != AXI_LENGTH || value > sizeof(bytes))
        return;
    if (!dk_master_read(device->dev, corpus_address(device, AXI_SOURCE), bytes, value) &&
        !dk_master_write(device->dev, corpus_address(device, AXI_TARGET), bytes, value))
        device->registers[AXI_COPIED / 4] = value;
    dk_interrupt_raise(device->dev, 0);
}

const struct corpus_model fpga_mask_missing_model = { .written = written };
#endif
