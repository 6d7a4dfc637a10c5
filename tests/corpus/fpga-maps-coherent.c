/* SPDX-License-Identifier: MIT */
/*
 * A proxy between an application and a DMA engine keeps its buffers in coherent memory, and makes a list of
 * one entry of each to map it. That memory has its DMA address already; mapping it again cleans lines of a
 * cached view that nobody should have.
 *
 * bug-class: maps-coherent-memory | maps-vmalloc
 * depth: 1
 * reference: https://github.com/Xilinx-Wiki-Projects/software-prototypes/pull/17 (dma-proxy: what goes into
 * the list of a buffer of dma_alloc_coherent(); the mended twin takes the DMA address that there is)
 */
#define PROXY_ADDRESS 0x00 /* 64 bits */
#define PROXY_RECEIVE 0x08 /* bytes */
#define PROXY_LAST 0x0c    /* bytes received last */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define BUFFER 1024

struct proxy {
    struct device *dev;
    void __iomem *regs;
    u8 *buffer;
    dma_addr_t dma_handle;
};

static void proxy_transfer(struct proxy *proxy, dma_addr_t dma)
{
    writeq(dma, proxy->regs + PROXY_ADDRESS);
    writel(BUFFER, proxy->regs + PROXY_RECEIVE);
}

#ifdef MENDED
static int proxy_receive(struct proxy *proxy)
{
    proxy_transfer(proxy, proxy->dma_handle);
    return 0;
}
#else
static int proxy_receive(struct proxy *proxy)
{
    struct scatterlist sglist;

    sg_init_one(&sglist, proxy->buffer, BUFFER);                  /* SEEN */
    if (dma_map_sg(proxy->dev, &sglist, 1, DMA_FROM_DEVICE) != 1) /* BUG */
        return -ENOMEM;
    proxy_transfer(proxy, sg_dma_address(&sglist));
    dma_unmap_sg(proxy->dev, &sglist, 1, DMA_FROM_DEVICE);
    return 0;
}
#endif

int fpga_maps_coherent_use(struct device *dev)
{
    struct proxy *proxy = dev_get_drvdata(dev);
    int ret = proxy_receive(proxy);

    if (ret)
        return ret;
    return readl(proxy->regs + PROXY_LAST) == BUFFER && READ_ONCE(proxy->buffer[BUFFER - 1]) ? 0 : -EIO;
}

static int proxy_probe(struct platform_device *pdev)
{
    struct proxy *proxy = devm_kzalloc(&pdev->dev, sizeof(*proxy), GFP_KERNEL);

    if (!proxy)
        return -ENOMEM;
    proxy->dev = &pdev->dev;
    platform_set_drvdata(pdev, proxy);
    proxy->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(proxy->regs))
        return PTR_ERR(proxy->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    proxy->buffer = dmam_alloc_coherent(&pdev->dev, BUFFER, &proxy->dma_handle, GFP_KERNEL);
    return proxy->buffer ? 0 : -ENOMEM;
}

static struct platform_driver fpga_maps_coherent_driver = { .probe = proxy_probe };
module_platform_driver(fpga_maps_coherent_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    if (reg == PROXY_RECEIVE)
        device->registers[PROXY_LAST / 4] =
            corpus_fill(device, corpus_address(device, PROXY_ADDRESS), value, 3) ? 0 : value;
}

const struct corpus_model fpga_maps_coherent_model = { .written = written };
#endif
