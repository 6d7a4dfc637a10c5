/* SPDX-License-Identifier: MIT */
/*
 * A graphics processor takes segments of any length, but its driver does not say so; the default is 64 KiB,
 * and a buffer object that is larger is mapped in one segment all the same.
 *
 * bug-class: sg-segment-too-long
 * depth: 1
 * reference: CVE-2026-43302 (drm/v3d: max_seg_size;
 * https://basefortify.eu/cve_reports/2026/05/cve-2026-43302.html)
 */
#define BO_ADDRESS 0x00 /* 64 bits */
#define BO_CLEAR 0x08   /* bytes: writes them */
#define BO_CLEARED 0x0c /* bytes in all */
#define BO_BYTES 0x20000

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct gpu {
    struct device *dev;
    void __iomem *regs;
};

static int gpu_clear(struct gpu *gpu, u8 *object)
{
    struct sg_table table;
    struct scatterlist *sg;
    unsigned int i;
    int ret = sg_alloc_table(&table, 1, GFP_KERNEL);

    if (ret)
        return ret;
    sg_set_buf(table.sgl, object, BO_BYTES);
    ret = dma_map_sgtable(gpu->dev, &table, DMA_FROM_DEVICE, 0); /* BUG */
    if (ret)
        goto free;
    for_each_sgtable_dma_sg (&table, sg, i) {
        writeq(sg_dma_address(sg), gpu->regs + BO_ADDRESS);
        writel(sg_dma_len(sg), gpu->regs + BO_CLEAR);
    }
    dma_unmap_sgtable(gpu->dev, &table, DMA_FROM_DEVICE, 0);
    if (readl(gpu->regs + BO_CLEARED) != BO_BYTES || object[BO_BYTES - 1] != 0x11)
        ret = -EIO;
free:
    sg_free_table(&table);
    return ret;
}

int gpu_segment_size_use(struct device *dev)
{
    u8 *object = alloc_pages_exact(BO_BYTES, GFP_KERNEL | __GFP_ZERO);
    int ret;

    if (!object)
        return -ENOMEM;
    ret = gpu_clear(dev_get_drvdata(dev), object);
    free_pages_exact(object, BO_BYTES);
    return ret;
}

static int gpu_probe(struct platform_device *pdev)
{
    struct gpu *gpu = devm_kzalloc(&pdev->dev, sizeof(*gpu), GFP_KERNEL);

    if (!gpu)
        return -ENOMEM;
    gpu->dev = &pdev->dev;
    platform_set_drvdata(pdev, gpu);
    gpu->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(gpu->regs))
        return PTR_ERR(gpu->regs);
#ifdef MENDED
    dma_set_max_seg_size(&pdev->dev, UINT_MAX);
#endif
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver gpu_segment_size_driver = { .probe = gpu_probe };
module_platform_driver(gpu_segment_size_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint64_t at = corpus_address(device, BO_ADDRESS);
    uint8_t bytes[4096];

    if (reg != BO_CLEAR)
        return;
    memset(bytes, 0x11, sizeof(bytes));
    for (; value >= sizeof(bytes); value -= sizeof(bytes), at += sizeof(bytes)) {
        if (dk_master_write(device->dev, at, bytes, sizeof(bytes)))
            return;
        device->registers[BO_CLEARED / 4] += sizeof(bytes);
    }
}

const struct corpus_model gpu_segment_size_model = { .written = written };
#endif
