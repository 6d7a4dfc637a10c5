/* SPDX-License-Identifier: MIT */
/*
 * A wireless stick's register is read by a control transfer into a variable of the function that asks. A
 * stack is not memory for a device: it may be anywhere, and its cache lines are shared with everything else
 * on it.
 *
 * bug-class: maps-stack
 * depth: 1
 * reference: https://github.com/kuba-moo/mt7601u/issues/23 ("device driver maps memory from stack")
 */
#define CTRL_REGISTER 0x00 /* which register of the stick to read */
#define CTRL_BUFFER 0x08   /* 64 bits: where to, 4 bytes */
#define CTRL_GO 0x10
#define STICK_VERSION 0x7601

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct stick {
    struct device *dev;
    void __iomem *regs;
    __le32 *vend_buf; /* for transfers */
};

static int stick_read(struct stick *stick, u32 offset, u32 *value)
{
#ifdef MENDED
    __le32 *buffer = stick->vend_buf;
#else
    __le32 on_stack = 0;
    __le32 *buffer = &on_stack;
#endif
    dma_addr_t dma = dma_map_single(stick->dev, buffer, sizeof(*buffer), DMA_FROM_DEVICE); /* BUG */

    if (dma_mapping_error(stick->dev, dma))
        return -EAGAIN;
    writel(offset, stick->regs + CTRL_REGISTER);
    writeq(dma, stick->regs + CTRL_BUFFER);
    writel(1, stick->regs + CTRL_GO);
    dma_unmap_single(stick->dev, dma, sizeof(*buffer), DMA_FROM_DEVICE);
    *value = le32_to_cpu(*buffer);
    return 0;
}

int usb_stack_buffer_use(struct device *dev)
{
    u32 version;
    int ret = stick_read(dev_get_drvdata(dev), 0, &version);

    return ret ? ret : version == STICK_VERSION ? 0 : -ENODEV;
}

static int stick_probe(struct platform_device *pdev)
{
    struct stick *stick = devm_kzalloc(&pdev->dev, sizeof(*stick), GFP_KERNEL);

    if (!stick)
        return -ENOMEM;
    stick->dev = &pdev->dev;
    platform_set_drvdata(pdev, stick);
    stick->vend_buf = devm_kzalloc(&pdev->dev, sizeof(*stick->vend_buf), GFP_KERNEL);
    if (!stick->vend_buf)
        return -ENOMEM;
    stick->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(stick->regs))
        return PTR_ERR(stick->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver usb_stack_buffer_driver = { .probe = stick_probe };
module_platform_driver(usb_stack_buffer_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint32_t version = htole32(STICK_VERSION + device->registers[CTRL_REGISTER / 4]);

    (void)value;
    if (reg == CTRL_GO)
        dk_master_write(device->dev, corpus_address(device, CTRL_BUFFER), &version, sizeof(version));
}

const struct corpus_model usb_stack_buffer_model = { .written = written };
#endif
