/* SPDX-License-Identifier: MIT */
/*
 * A host maps a request's list ahead of time. When the card is slow and the request is tried again block by
 * block, the same list is mapped once more, and only one of the two mappings is ever undone.
 *
 * bug-class: overlapping-lines, leak-at-remove
 * depth: 1
 * reference: https://github.com/raspberrypi/linux/pull/5036 ("it is mapped twice - once in sdhci_pre_req()
 * and again during single-block reads"; the mend does not map it again for the recovery)
 */
#define ADMA_ADDRESS 0x00 /* 64 bits */
#define ADMA_READ 0x08    /* bytes */
#define ADMA_STATUS 0x0c  /* 1 done, 2 timed out: what the first read does */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define BLOCK 512

struct mmc_data {
    struct scatterlist sg;
    bool mapped; /* ahead of time */
};

struct host {
    struct device *dev;
    void __iomem *regs;
};

static int host_pre_req(struct host *host, struct mmc_data *data)
{
    data->mapped = dma_map_sg(host->dev, &data->sg, 1, DMA_FROM_DEVICE) == 1; /* SEEN */
    return data->mapped ? 0 : -ENOSPC;
}

static void host_post_req(struct host *host, struct mmc_data *data)
{
    if (data->mapped)
        dma_unmap_sg(host->dev, &data->sg, 1, DMA_FROM_DEVICE);
    data->mapped = false;
}

static int host_transfer(struct host *host, struct mmc_data *data)
{
    writeq(sg_dma_address(&data->sg), host->regs + ADMA_ADDRESS);
    writel(BLOCK, host->regs + ADMA_READ);
    return readl(host->regs + ADMA_STATUS) == 1 ? 0 : -ETIMEDOUT;
}

static int host_recover(struct host *host, struct mmc_data *data)
{
#ifndef MENDED
    if (dma_map_sg(host->dev, &data->sg, 1, DMA_FROM_DEVICE) != 1) /* BUG */
        return -ENOSPC;
#endif
    return host_transfer(host, data);
}

int mmc_mapped_twice_use(struct device *dev)
{
    struct host *host = dev_get_drvdata(dev);
    struct mmc_data data = { .mapped = false };
    u8 *block = kzalloc(BLOCK, GFP_KERNEL);
    int ret;

    if (!block)
        return -ENOMEM;
    sg_init_one(&data.sg, block, BLOCK);
    ret = host_pre_req(host, &data);
    if (!ret && host_transfer(host, &data) == -ETIMEDOUT)
        ret = host_recover(host, &data);
    host_post_req(host, &data);
    if (!ret && !block[BLOCK - 1])
        ret = -EIO;
    kfree(block);
    return ret;
}

static int host_probe(struct platform_device *pdev)
{
    struct host *host = devm_kzalloc(&pdev->dev, sizeof(*host), GFP_KERNEL);

    if (!host)
        return -ENOMEM;
    host->dev = &pdev->dev;
    platform_set_drvdata(pdev, host);
    host->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(host->regs))
        return PTR_ERR(host->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver mmc_mapped_twice_driver = { .probe = host_probe };
module_platform_driver(mmc_mapped_twice_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    if (reg != ADMA_READ)
        return;
    device->registers[ADMA_STATUS / 4] = 2;
    if (device->accesses++ && !corpus_fill(device, corpus_address(device, ADMA_ADDRESS), value, 3))
        device->registers[ADMA_STATUS / 4] = 1;
}

const struct corpus_model mmc_mapped_twice_model = { .written = written };
#endif
