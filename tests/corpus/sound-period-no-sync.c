/* SPDX-License-Identifier: MIT */
/*
 * Sound is played from a buffer that stays mapped. Each period is taken back, filled and queued again, but
 * not given to the device: now and then it plays 32 bytes of what was there before, heard as a click.
 *
 * bug-class: missing-sync-for-device
 * depth: 2
 * reference: https://github.com/raspberrypi/linux/issues/575 ("USB Audio Dropouts": "when the USB DMA engine
 * fetches data for transfer, chunks of old 32-byte data get transmitted")
 */
#define PCM_BUFFER 0x00 /* 64 bits: two periods */
#define PCM_PLAY 0x08   /* 0 or 1: which period */
#define PCM_SUM 0x0c    /* sum of the bytes that it played last */
#define PERIOD 192

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct pcm {
    struct device *dev;
    void __iomem *regs;
    u8 *area;
    dma_addr_t dma;
};

static u32 pcm_fill(u8 *period, u8 volume)
{
    u32 sum = 0;
    unsigned int i;

    for (i = 0; i < PERIOD; i++) {
        period[i] = (u8)(i * volume); /* BUG */
        sum += (u8)(i * volume);
    }
    return sum;
}

static int pcm_period(struct pcm *pcm, unsigned int period, u8 volume)
{
    u32 sum;

    dma_sync_single_range_for_cpu(pcm->dev, pcm->dma, period * PERIOD, PERIOD, DMA_TO_DEVICE);
    sum = pcm_fill(pcm->area + period * PERIOD, volume);
#ifdef MENDED
    dma_sync_single_range_for_device(pcm->dev, pcm->dma, period * PERIOD, PERIOD, DMA_TO_DEVICE);
#endif
    writel(period, pcm->regs + PCM_PLAY); /* BUG */
    return readl(pcm->regs + PCM_SUM) == sum ? 0 : -EIO;
}

int sound_period_no_sync_use(struct device *dev)
{
    struct pcm *pcm = dev_get_drvdata(dev);
    unsigned int i;
    int ret = 0;

    for (i = 0; i < 6 && !ret; i++)
        ret = pcm_period(pcm, i % 2, (u8)(i + 1));
    return ret;
}

static int pcm_probe(struct platform_device *pdev)
{
    struct pcm *pcm = devm_kzalloc(&pdev->dev, sizeof(*pcm), GFP_KERNEL);

    if (!pcm)
        return -ENOMEM;
    pcm->dev = &pdev->dev;
    platform_set_drvdata(pdev, pcm);
    pcm->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(pcm->regs))
        return PTR_ERR(pcm->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    pcm->area = devm_kzalloc(&pdev->dev, 2 * PERIOD, GFP_KERNEL);
    if (!pcm->area)
        return -ENOMEM;
    pcm->dma = dma_map_single(&pdev->dev, pcm->area, 2 * PERIOD, DMA_TO_DEVICE); /* SEEN */
    if (dma_mapping_error(&pdev->dev, pcm->dma))
        return -ENOMEM;
    writeq(pcm->dma, pcm->regs + PCM_BUFFER);
    return 0;
}

static void pcm_remove(struct platform_device *pdev)
{
    struct pcm *pcm = platform_get_drvdata(pdev);

    dma_unmap_single(&pdev->dev, pcm->dma, 2 * PERIOD, DMA_TO_DEVICE); /* SEEN */
}

static struct platform_driver sound_period_no_sync_driver = { .probe = pcm_probe, .remove = pcm_remove };
module_platform_driver(sound_period_no_sync_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t period[PERIOD];
    uint32_t i, sum = 0;

    if (reg != PCM_PLAY || dk_master_read(device->dev, corpus_address(device, PCM_BUFFER) + value * PERIOD,
                                          period, sizeof(period)))
        return;
    for (i = 0; i < PERIOD; i++)
        sum += period[i];
    device->registers[PCM_SUM / 4] = sum;
}

const struct corpus_model sound_period_no_sync_model = { .written = written };
#endif
