/* SPDX-License-Identifier: MIT */
/*
 * A host keeps a buffer mapped and reads sectors through it. The buffer is given to the controller before
 * each transfer, and not taken back after it: the processor may find what its cache fetched before or
 * meanwhile.
 *
 * bug-class: missing-sync-for-cpu | cpu-read-while-device-owns | stale-read
 * depth: 3
 * reference: https://github.com/apache/nuttx/pull/19506 ("stm32h7: invalidate dcache after aligned SDMMC RX
 * DMA": the corrupted windows were one cache line long and held the sector before)
 */
#define SD_BUFFER 0x00 /* 64 bits */
#define SD_READ 0x08   /* a sector's number: reads it into the buffer */
#define SD_COUNT 0x0c  /* sectors read */
#define SECTOR 512

#ifdef DRIVER
#include <linux/completion.h>
#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct sdmmc {
    struct device *dev;
    void __iomem *regs;
    struct completion transferred;
    struct scatterlist sg;
    u8 *buffer;
};

static irqreturn_t sdmmc_interrupt(int irq, void *data)
{
    struct sdmmc *sdmmc = data;

    complete(&sdmmc->transferred);
    return IRQ_HANDLED;
}

static int sdmmc_read(struct sdmmc *sdmmc, u32 sector, u8 *to)
{
    unsigned int i;

    dma_sync_sg_for_device(sdmmc->dev, &sdmmc->sg, 1, DMA_FROM_DEVICE);
    writel(sector, sdmmc->regs + SD_READ);
    if (!wait_for_completion_timeout(&sdmmc->transferred, 30 * HZ))
        return -ETIMEDOUT;
#ifdef MENDED
    dma_sync_sg_for_cpu(sdmmc->dev, &sdmmc->sg, 1, DMA_FROM_DEVICE);
#endif
    for (i = 0; i < SECTOR; i++)
        to[i] = sdmmc->buffer[i]; /* BUG */
    return 0;
}

int mmc_read_no_sync_use(struct device *dev)
{
    struct sdmmc *sdmmc = dev_get_drvdata(dev);
    u8 *sector = kzalloc(SECTOR, GFP_KERNEL);
    u32 i;
    int ret = sector ? 0 : -ENOMEM;

    for (i = 1; i < 5 && !ret; i++) {
        ret = sdmmc_read(sdmmc, i, sector);
        if (!ret && (sector[0] != i || sector[SECTOR - 1] != i))
            ret = -EIO;
    }
    kfree(sector);
    return ret;
}

static int sdmmc_probe(struct platform_device *pdev)
{
    struct sdmmc *sdmmc = devm_kzalloc(&pdev->dev, sizeof(*sdmmc), GFP_KERNEL);
    int ret;

    if (!sdmmc)
        return -ENOMEM;
    sdmmc->dev = &pdev->dev;
    init_completion(&sdmmc->transferred);
    platform_set_drvdata(pdev, sdmmc);
    sdmmc->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(sdmmc->regs))
        return PTR_ERR(sdmmc->regs);
    ret = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
    if (!ret)
        ret = devm_request_irq(&pdev->dev, platform_get_irq(pdev, 0), sdmmc_interrupt, 0, "sdmmc", sdmmc);
    if (ret)
        return ret;
    sdmmc->buffer = devm_kzalloc(&pdev->dev, SECTOR, GFP_KERNEL);
    if (!sdmmc->buffer)
        return -ENOMEM;
    sg_init_one(&sdmmc->sg, sdmmc->buffer, SECTOR);
    if (dma_map_sg(&pdev->dev, &sdmmc->sg, 1, DMA_FROM_DEVICE) != 1)
        return -ENOMEM;
    writeq(sg_dma_address(&sdmmc->sg), sdmmc->regs + SD_BUFFER);
    return 0;
}

static void sdmmc_remove(struct platform_device *pdev)
{
    struct sdmmc *sdmmc = platform_get_drvdata(pdev);

    dma_unmap_sg(&pdev->dev, &sdmmc->sg, 1, DMA_FROM_DEVICE);
}

static struct platform_driver mmc_read_no_sync_driver = { .probe = sdmmc_probe, .remove = sdmmc_remove };
module_platform_driver(mmc_read_no_sync_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t sector[SECTOR];

    if (reg != SD_READ)
        return;
    memset(sector, (int)value, sizeof(sector));
    if (!dk_master_write(device->dev, corpus_address(device, SD_BUFFER), sector, sizeof(sector)))
        device->registers[SD_COUNT / 4]++;
    dk_interrupt_raise(device->dev, 0);
}

const struct corpus_model mmc_read_no_sync_model = { .written = written };
#endif
