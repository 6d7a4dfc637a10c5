/* SPDX-License-Identifier: MIT */
/*
 * A table of pages is mapped; an IOMMU makes one segment of them, and says so. The driver stores that number
 * and unmaps with it, where the number that it mapped is asked for.
 *
 * bug-class: free-wrong-sg-count
 * depth: 1
 * boards: hostile
 * reference: "[PATCH v10 22/30] xen: gntdev: fix common struct sg_table related issues", dri-devel
 *            (https://kara.freedesktop.org/hyperkitty/list/dri-devel@lists.freedesktop.org/message/FOXSPGHKNB36FWR2UMUWSQ4QXEKFUT52)
 */
#define TEX_ADDRESS 0x00 /* 64 bits */
#define TEX_LOAD 0x08    /* bytes */
#define TEX_LOADED 0x0c  /* bytes in all */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define PAGES 4

struct texture {
    struct page *pages[PAGES];
    struct sg_table sgt;
};

struct gpu {
    struct device *dev;
    void __iomem *regs;
};

static int gpu_map(struct gpu *gpu, struct texture *texture)
{
    struct sg_table *sgt = &texture->sgt;
    struct scatterlist *sg;
    unsigned int i;

    if (sg_alloc_table(sgt, PAGES, GFP_KERNEL))
        return -ENOMEM;
    for_each_sg (sgt->sgl, sg, PAGES, i)
        sg_set_page(sg, texture->pages[i], PAGE_SIZE, 0);
    sgt->nents = dma_map_sg(gpu->dev, sgt->sgl, sgt->orig_nents, DMA_TO_DEVICE); /* SEEN */
    if (sgt->nents)
        return 0;
    sg_free_table(sgt);
    return -ENOMEM;
}

static void gpu_unmap(struct gpu *gpu, struct texture *texture)
{
#ifdef MENDED
    dma_unmap_sg(gpu->dev, texture->sgt.sgl, texture->sgt.orig_nents, DMA_TO_DEVICE);
#else
    dma_unmap_sg(gpu->dev, texture->sgt.sgl, texture->sgt.nents, DMA_TO_DEVICE); /* BUG */
#endif
    sg_free_table(&texture->sgt);
}

static int gpu_load(struct gpu *gpu, struct texture *texture)
{
    struct scatterlist *sg;
    unsigned int i;
    int ret = gpu_map(gpu, texture);

    if (ret)
        return ret;
    for_each_sgtable_dma_sg (&texture->sgt, sg, i) {
        writeq(sg_dma_address(sg), gpu->regs + TEX_ADDRESS);
        writel(sg_dma_len(sg), gpu->regs + TEX_LOAD);
    }
    gpu_unmap(gpu, texture);
    return readl(gpu->regs + TEX_LOADED) == PAGES * PAGE_SIZE ? 0 : -EIO;
}

int gpu_sg_count_use(struct device *dev)
{
    struct texture texture;
    int i, ret = -ENOMEM;

    for (i = 0; i < PAGES; i++) {
        texture.pages[i] = alloc_page(GFP_KERNEL | __GFP_ZERO);
        if (!texture.pages[i])
            goto free;
    }
    ret = gpu_load(dev_get_drvdata(dev), &texture);
free:
    while (i--)
        __free_page(texture.pages[i]);
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
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver gpu_sg_count_driver = { .probe = gpu_probe };
module_platform_driver(gpu_sg_count_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t bytes[4096];
    uint64_t at = corpus_address(device, TEX_ADDRESS);

    if (reg != TEX_LOAD)
        return;
    for (; value >= sizeof(bytes); value -= sizeof(bytes), at += sizeof(bytes)) {
        if (dk_master_read(device->dev, at, bytes, sizeof(bytes)))
            return;
        device->registers[TEX_LOADED / 4] += sizeof(bytes);
    }
}

const struct corpus_model gpu_sg_count_model = { .written = written };
#endif
