/* SPDX-License-Identifier: MIT */
/*
 * A cipher engine is fed entry by entry: the driver walks along the request's list, and afterwards unmaps the
 * list from where it stands, which is no longer its head.
 *
 * bug-class: free-not-allocated | free-wrong-sg-count | leak-at-remove
 * depth: 1
 * reference: https://github.com/openwrt/openwrt/pull/23400 ("realtek: crypto": "Save the original head ...
 * and unmap with that")
 */
#define CIP_SOURCE 0x00 /* 64 bits */
#define CIP_LENGTH 0x08 /* bytes; added to the sum with the write */
#define CIP_BYTES 0x0c  /* bytes that went through */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define ENTRIES 3

struct cipher {
    struct device *dev;
    void __iomem *regs;
};

/* Puts @datalen bytes of the list through the engine; what comes behind is for others to look at. */
static int cipher_crypt(struct cipher *cipher, struct scatterlist *src, u32 datalen)
{
    struct scatterlist *sg = src;
    int count = dma_map_sg(cipher->dev, sg, ENTRIES, DMA_TO_DEVICE); /* BUG */
    u32 before = readl(cipher->regs + CIP_BYTES), left = datalen;

    if (!count)
        return -EINVAL;
    while (left) {
        u32 part = min_t(u32, left, sg_dma_len(sg));

        writeq(sg_dma_address(sg), cipher->regs + CIP_SOURCE);
        writel(part, cipher->regs + CIP_LENGTH);
        left -= part;
        if (left || part == sg_dma_len(sg))
            sg = sg_next(sg);
    }
#ifdef MENDED
    sg = src;
#endif
    dma_unmap_sg(cipher->dev, sg, ENTRIES, DMA_TO_DEVICE); /* BUG */
    return readl(cipher->regs + CIP_BYTES) - before == datalen ? 0 : -EIO;
}

/* Every other page, so that no IOMMU makes one entry of two. */
int crypto_walked_list_use(struct device *dev)
{
    u8 *pages = (u8 *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, 3);
    struct scatterlist list[ENTRIES];
    int i, ret;

    if (!pages)
        return -ENOMEM;
    sg_init_table(list, ENTRIES);
    for (i = 0; i < ENTRIES; i++)
        sg_set_buf(&list[i], pages + 2 * i * PAGE_SIZE, 1024);
    ret = cipher_crypt(dev_get_drvdata(dev), list, 2048);
    free_pages((unsigned long)pages, 3);
    return ret;
}

static int cipher_probe(struct platform_device *pdev)
{
    struct cipher *cipher = devm_kzalloc(&pdev->dev, sizeof(*cipher), GFP_KERNEL);

    if (!cipher)
        return -ENOMEM;
    cipher->dev = &pdev->dev;
    platform_set_drvdata(pdev, cipher);
    cipher->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(cipher->regs))
        return PTR_ERR(cipher->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver crypto_walked_list_driver = { .probe = cipher_probe };
module_platform_driver(crypto_walked_list_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t bytes[2048];

    if (reg == CIP_LENGTH && value <= sizeof(bytes) &&
        !dk_master_read(device->dev, corpus_address(device, CIP_SOURCE), bytes, value))
        device->registers[CIP_BYTES / 4] += value;
}

const struct corpus_model crypto_walked_list_model = { .written = written };
#endif
