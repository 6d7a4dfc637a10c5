/* SPDX-License-Identifier: MIT */
/*
 * A transfer's data is freed and then unmapped. Unmapping still works on the bytes: it invalidates their
 * lines or copies a bounced transfer into them, and by then they may be somebody else's.
 *
 * bug-class: freed-while-mapped
 * depth: 2
 * reference: https://github.com/microsoft/mu_basecore/pull/1436 (XhcFreeUrb: "the free must come after
 * DataMap is unmapped")
 */
#define TD_ADDRESS 0x00 /* 64 bits */
#define TD_LENGTH 0x08  /* bytes; the transfer runs with the write */
#define TD_STATUS 0x0c  /* bytes transferred */

#ifdef DRIVER
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct urb {
    u8 *data;
    u32 length;
    dma_addr_t data_map;
};

struct hc {
    struct device *dev;
    void __iomem *regs;
    struct completion done;
};

static irqreturn_t hc_interrupt(int irq, void *data)
{
    struct hc *hc = data;

    complete(&hc->done);
    return IRQ_HANDLED;
}

static struct urb *hc_create_urb(struct hc *hc, u32 length)
{
    struct urb *urb = kzalloc(sizeof(*urb), GFP_KERNEL);

    if (!urb)
        return NULL;
    urb->length = length;
    urb->data = kzalloc(length, GFP_KERNEL);
    if (!urb->data)
        goto free;
    urb->data_map = dma_map_single(hc->dev, urb->data, length, DMA_FROM_DEVICE); /* SEEN */
    if (!dma_mapping_error(hc->dev, urb->data_map))
        return urb;
    kfree(urb->data);
free:
    kfree(urb);
    return NULL;
}

static void hc_free_urb(struct hc *hc, struct urb *urb)
{
#ifdef MENDED
    dma_unmap_single(hc->dev, urb->data_map, urb->length, DMA_FROM_DEVICE);
    kfree(urb->data);
#else
    kfree(urb->data); /* BUG */
    dma_unmap_single(hc->dev, urb->data_map, urb->length, DMA_FROM_DEVICE);
#endif
    kfree(urb);
}

int usb_urb_freed_first_use(struct device *dev)
{
    struct hc *hc = dev_get_drvdata(dev);
    struct urb *urb = hc_create_urb(hc, 512);
    int ret = 0;

    if (!urb)
        return -ENOMEM;
    writeq(urb->data_map, hc->regs + TD_ADDRESS);
    writel(urb->length, hc->regs + TD_LENGTH);
    if (!wait_for_completion_timeout(&hc->done, 30 * HZ) || readl(hc->regs + TD_STATUS) != urb->length)
        ret = -EIO;
    hc_free_urb(hc, urb);
    return ret;
}

static int hc_probe(struct platform_device *pdev)
{
    struct hc *hc = devm_kzalloc(&pdev->dev, sizeof(*hc), GFP_KERNEL);

    if (!hc)
        return -ENOMEM;
    hc->dev = &pdev->dev;
    init_completion(&hc->done);
    platform_set_drvdata(pdev, hc);
    hc->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(hc->regs))
        return PTR_ERR(hc->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    return devm_request_irq(&pdev->dev, platform_get_irq(pdev, 0), hc_interrupt, 0, "hc", hc);
}

static struct platform_driver usb_urb_freed_first_driver = { .probe = hc_probe };
module_platform_driver(usb_urb_freed_first_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    if (reg != TD_LENGTH)
        return;
    device->registers[TD_STATUS / 4] =
        corpus_fill(device, corpus_address(device, TD_ADDRESS), value, 5) ? 0 : value;
    dk_interrupt_raise(device->dev, 0);
}

const struct corpus_model usb_urb_freed_first_model = { .written = written };
#endif
