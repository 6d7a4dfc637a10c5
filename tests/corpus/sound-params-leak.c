/* SPDX-License-Identifier: MIT */
/*
 * A TV card's sound: the parameters of a stream map its buffer and then write the card's little program. When
 * the program cannot be written, the function returns and the buffer stays mapped.
 *
 * bug-class: leak-at-remove
 * depth: 1
 * reference: CVE-2026-43257 ("media: cx88: Add missing unmap in snd_cx88_hw_params()",
 *            https://app.opencve.io/cve/CVE-2026-43257)
 */
#define AUD_PERIODS 0x00 /* read: the most that a program may have */
#define AUD_BUFFER 0x08  /* 64 bits */
#define AUD_RECORD 0x10  /* bytes */
#define AUD_DONE 0x14

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define BUFFER 4096

struct audio {
    struct device *dev;
    void __iomem *regs;
    struct scatterlist sg;
    u8 *area;
    u32 *risc; /* the program */
};

static int audio_dma_map(struct audio *audio)
{
    sg_init_one(&audio->sg, audio->area, BUFFER);
    return dma_map_sg(audio->dev, &audio->sg, 1, DMA_FROM_DEVICE) == 1 ? 0 : -ENOMEM; /* BUG */
}

static void audio_dma_unmap(struct audio *audio)
{
    dma_unmap_sg(audio->dev, &audio->sg, 1, DMA_FROM_DEVICE);
}

static int audio_risc(struct audio *audio, u32 periods)
{
    if (periods > readl(audio->regs + AUD_PERIODS))
        return -EINVAL;
    audio->risc = kcalloc(periods, sizeof(*audio->risc), GFP_KERNEL);
    return audio->risc ? 0 : -ENOMEM;
}

static int audio_hw_params(struct audio *audio, u32 periods)
{
    int ret = audio_dma_map(audio);

    if (ret)
        return ret;
    ret = audio_risc(audio, periods);
#ifdef MENDED
    if (ret)
        audio_dma_unmap(audio);
#endif
    return ret;
}

static void audio_hw_free(struct audio *audio)
{
    kfree(audio->risc);
    audio_dma_unmap(audio);
}

/* An application that asks for too many periods, and one that does not. */
int sound_params_leak_use(struct device *dev)
{
    struct audio *audio = dev_get_drvdata(dev);
    int ret;

    if (audio_hw_params(audio, 1000) != -EINVAL)
        return -EIO;
    ret = audio_hw_params(audio, 4);
    if (ret)
        return ret;
    writeq(sg_dma_address(&audio->sg), audio->regs + AUD_BUFFER);
    writel(BUFFER, audio->regs + AUD_RECORD);
    audio_hw_free(audio);
    return readl(audio->regs + AUD_DONE) == BUFFER && audio->area[0] ? 0 : -EIO;
}

static int audio_probe(struct platform_device *pdev)
{
    struct audio *audio = devm_kzalloc(&pdev->dev, sizeof(*audio), GFP_KERNEL);

    if (!audio)
        return -ENOMEM;
    audio->dev = &pdev->dev;
    platform_set_drvdata(pdev, audio);
    audio->area = devm_kzalloc(&pdev->dev, BUFFER, GFP_KERNEL);
    if (!audio->area)
        return -ENOMEM;
    audio->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(audio->regs))
        return PTR_ERR(audio->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver sound_params_leak_driver = { .probe = audio_probe };
module_platform_driver(sound_params_leak_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    if (reg == AUD_RECORD && !corpus_fill(device, corpus_address(device, AUD_BUFFER), value, 9))
        device->registers[AUD_DONE / 4] = value;
}

static uint32_t read_register(struct corpus_device *device, unsigned reg)
{
    return reg == AUD_PERIODS ? 32 : device->registers[reg / 4];
}

const struct corpus_model sound_params_leak_model = { .written = written, .read = read_register };
#endif
