/* SPDX-License-Identifier: MIT */
/*
 * A keyboard's controller is given the report of a key that goes down; the host will fetch it when it polls.
 * Before that the key goes up, and the driver writes the next report into the same buffer. The host gets "no
 * key" twice, and the key press is lost.
 *
 * bug-class: cpu-write-while-device-owns
 * depth: 2
 * reference: https://github.com/zephyrproject-rtos/zephyr/pull/71306 ("fix USB in endpoint data race": a
 * buffer of the endpoint's own, and no write while one is in progress)
 */
#define EP_BUFFER 0x00 /* 64 bits: the report, 8 bytes */
#define EP_ARM 0x08    /* the host may fetch it */
#define EP_BUSY 0x0c   /* read: 1 until the host has fetched it, which it does after three looks */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct endpoint {
    struct device *dev;
    void __iomem *regs;
    u8 *report;
    dma_addr_t dma;
    bool armed;
};

static int endpoint_wait(struct endpoint *ep)
{
    u32 busy;
    int ret;

    if (!ep->armed)
        return 0;
    ret = readl_poll_timeout(ep->regs + EP_BUSY, busy, !busy, 10, 30000000);
    dma_unmap_single(ep->dev, ep->dma, 8, DMA_TO_DEVICE); /* SEEN */
    ep->armed = false;
    return ret;
}

static int endpoint_write(struct endpoint *ep, u8 key)
{
    int ret;

#ifdef MENDED
    ret = endpoint_wait(ep);
    if (ret)
        return ret;
#endif
    ep->report[2] = key; /* BUG */
    ret = endpoint_wait(ep);
    if (ret)
        return ret;
    ep->dma = dma_map_single(ep->dev, ep->report, 8, DMA_TO_DEVICE); /* SEEN */
    if (dma_mapping_error(ep->dev, ep->dma))
        return -ENOMEM;
    ep->armed = true;
    writeq(ep->dma, ep->regs + EP_BUFFER);
    writel(1, ep->regs + EP_ARM);
    return 0;
}

int usb_report_rewritten_use(struct device *dev)
{
    struct endpoint *ep = dev_get_drvdata(dev);
    int ret = endpoint_write(ep, 0x1d);

    if (!ret)
        ret = endpoint_write(ep, 0);
    return ret ? ret : endpoint_wait(ep);
}

static int endpoint_probe(struct platform_device *pdev)
{
    struct endpoint *ep = devm_kzalloc(&pdev->dev, sizeof(*ep), GFP_KERNEL);

    if (!ep)
        return -ENOMEM;
    ep->dev = &pdev->dev;
    platform_set_drvdata(pdev, ep);
    ep->report = devm_kzalloc(&pdev->dev, 8, GFP_KERNEL);
    if (!ep->report)
        return -ENOMEM;
    ep->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(ep->regs))
        return PTR_ERR(ep->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver usb_report_rewritten_driver = { .probe = endpoint_probe };
module_platform_driver(usb_report_rewritten_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    (void)value;
    if (reg == EP_ARM)
        device->accesses = 3;
}

static uint32_t read_busy(struct corpus_device *device, unsigned reg)
{
    uint8_t report[8];

    if (reg == EP_BUSY && device->accesses && !--device->accesses)
        dk_master_read(device->dev, corpus_address(device, EP_BUFFER), report, sizeof(report));
    return device->accesses != 0;
}

const struct corpus_model usb_report_rewritten_model = { .written = written, .read = read_busy };
#endif
