/* SPDX-License-Identifier: MIT */
/*
 * When a radio's driver goes, it frees the sample buffers and then stops the radio, which until then writes
 * into memory that is somebody else's. An IOMMU that faults is the lucky case.
 *
 * bug-class: device-access-after-unmap | iommu-unmapped | free-after-remove
 * depth: 2
 * earlier: 1 hostile
 * reference: https://github.com/enjoy-digital/litex_m2sdr/pull/145 ("hold off bus mastering until DMA buffers
 * are (re)mapped": remove stops the device first)
 */
#define SDR_BUFFER 0x00 /* 64 bits: samples go there, 256 bytes a time */
#define SDR_RUN 0x08    /* 1 starts; 0 stops, after the samples that are under way */
#define SDR_BLOCKS 0x0c /* read: goes on by a block; how many went out */
#define BLOCK 256

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct sdr {
    void __iomem *regs;
    u8 *samples;
    dma_addr_t samples_dma;
};

int sdr_still_mastering_use(struct device *dev)
{
    struct sdr *sdr = dev_get_drvdata(dev);
    u32 i;

    for (i = 1; i < 4; i++) {
        if (readl(sdr->regs + SDR_BLOCKS) != i || READ_ONCE(sdr->samples[BLOCK - 1]) == 0)
            return -EIO;
    }
    return 0;
}

static int sdr_probe(struct platform_device *pdev)
{
    struct sdr *sdr = devm_kzalloc(&pdev->dev, sizeof(*sdr), GFP_KERNEL);

    if (!sdr)
        return -ENOMEM;
    platform_set_drvdata(pdev, sdr);
    sdr->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(sdr->regs))
        return PTR_ERR(sdr->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    sdr->samples = dma_alloc_coherent(&pdev->dev, BLOCK, &sdr->samples_dma, GFP_KERNEL); /* SEEN */
    if (!sdr->samples)
        return -ENOMEM;
    writeq(sdr->samples_dma, sdr->regs + SDR_BUFFER);
    writel(1, sdr->regs + SDR_RUN);
    return 0;
}

static void sdr_remove(struct platform_device *pdev)
{
    struct sdr *sdr = platform_get_drvdata(pdev);

#ifdef MENDED
    writel(0, sdr->regs + SDR_RUN);
    dma_free_coherent(&pdev->dev, BLOCK, sdr->samples, sdr->samples_dma);
#else
    dma_free_coherent(&pdev->dev, BLOCK, sdr->samples, sdr->samples_dma); /* BUG */
    writel(0, sdr->regs + SDR_RUN);                                       /* BUG */
#endif
}

static struct platform_driver sdr_still_mastering_driver = { .probe = sdr_probe, .remove = sdr_remove };
module_platform_driver(sdr_still_mastering_driver);

#else
#include "corpus.h"

static void block(struct corpus_device *device)
{
    if (!corpus_fill(device, corpus_address(device, SDR_BUFFER), BLOCK, 6))
        device->registers[SDR_BLOCKS / 4]++;
}

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    if (reg == SDR_RUN && !value)
        block(device);
}

static uint32_t read_blocks(struct corpus_device *device, unsigned reg)
{
    if (reg == SDR_BLOCKS && device->registers[SDR_RUN / 4])
        block(device);
    return device->registers[reg / 4];
}

const struct corpus_model sdr_still_mastering_model = { .written = written, .read = read_blocks };
#endif
