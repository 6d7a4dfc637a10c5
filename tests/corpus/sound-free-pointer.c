/* SPDX-License-Identifier: MIT */
/*
 * A sound processor's firmware is loaded from coherent memory, which is then freed by the address of the
 * pointer to it, not by the pointer.
 *
 * bug-class: free-wrong-cpu-address
 * depth: 1
 * reference: https://github.com/thesofproject/linux/pull/3246 ("ASoC: SOF: acp-loader: Fix argument values
 * for dma_free_coherent()")
 */
#define DSP_IMAGE 0x00 /* 64 bits */
#define DSP_LOAD 0x08  /* bytes */
#define DSP_HASH 0x0c  /* of the image that was loaded */
#define IMAGE 600

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct dsp {
    struct device *dev;
    void __iomem *regs;
    u8 *bin_buf;
    dma_addr_t sha_dma_addr;
};

static int dsp_load(struct dsp *dsp)
{
    u32 i, hash = 0;

    dsp->bin_buf = dma_alloc_coherent(dsp->dev, IMAGE, &dsp->sha_dma_addr, GFP_KERNEL);
    if (!dsp->bin_buf)
        return -ENOMEM;
    for (i = 0; i < IMAGE; i++) {
        dsp->bin_buf[i] = (u8)(i * 13);
        hash = hash * 31 + (u8)(i * 13);
    }
    writeq(dsp->sha_dma_addr, dsp->regs + DSP_IMAGE);
    writel(IMAGE, dsp->regs + DSP_LOAD);
#ifdef MENDED
    dma_free_coherent(dsp->dev, IMAGE, dsp->bin_buf, dsp->sha_dma_addr);
#else
    dma_free_coherent(dsp->dev, IMAGE, &dsp->bin_buf, dsp->sha_dma_addr); /* BUG */
#endif
    return readl(dsp->regs + DSP_HASH) == hash ? 0 : -EIO;
}

int sound_free_pointer_use(struct device *dev)
{
    return dsp_load(dev_get_drvdata(dev));
}

static int dsp_probe(struct platform_device *pdev)
{
    struct dsp *dsp = devm_kzalloc(&pdev->dev, sizeof(*dsp), GFP_KERNEL);

    if (!dsp)
        return -ENOMEM;
    dsp->dev = &pdev->dev;
    platform_set_drvdata(pdev, dsp);
    dsp->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(dsp->regs))
        return PTR_ERR(dsp->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver sound_free_pointer_driver = { .probe = dsp_probe };
module_platform_driver(sound_free_pointer_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t image[IMAGE];
    uint32_t i, hash = 0;

    if (reg != DSP_LOAD || value > sizeof(image) ||
        dk_master_read(device->dev, corpus_address(device, DSP_IMAGE), image, value))
        return;
    for (i = 0; i < value; i++)
        hash = hash * 31 + image[i];
    device->registers[DSP_HASH / 4] = hash;
}

const struct corpus_model sound_free_pointer_model = { .written = written };
#endif
