/* SPDX-License-Identifier: MIT */
/*
 * A disk's command has one entry that points to a list of the data's entries. When the command is done, the
 * loop that unmaps takes the entry where it should take the list: both have the same type. The list's address
 * was never mapped, and the data stays mapped.
 *
 * bug-class: free-wrong-function | free-not-allocated, leak-at-remove
 * depth: 1
 * reference: commit a54afbc8a213 "nvme-pci: DMA unmap the correct regions in nvme_free_sgls" (as in
 *            https://github.com/raspberrypi/linux/pull/7500)
 */
#define CMD_ADDRESS 0x00 /* 64 bits: list of entries { u64 address; u32 length; u32 last; } */
#define CMD_SUBMIT 0x08  /* entries in the list */
#define CMD_RESULT 0x0c  /* bytes written */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define PAGES 3

struct sgl_desc {
    __le64 addr;
    __le32 length;
    __le32 type;
};

struct disk {
    struct device *dev;
    void __iomem *regs;
    struct dma_pool *pool;
};

static void disk_free_sgls(struct disk *disk, struct sgl_desc *sge, struct sgl_desc *sg_list, int entries)
{
    int i;

    for (i = 0; i < entries; i++) {
#ifdef MENDED
        struct sgl_desc *entry = &sg_list[i];
#else
        struct sgl_desc *entry = i ? &sg_list[i] : sge;
#endif
        dma_unmap_page(disk->dev, le64_to_cpu(entry->addr), le32_to_cpu(entry->length),
                       DMA_FROM_DEVICE); /* BUG */
    }
}

static int disk_read(struct disk *disk, struct page **pages)
{
    struct sgl_desc sge = { .type = cpu_to_le32(1) };
    struct sgl_desc *list;
    dma_addr_t list_dma, dma;
    int i, ret = -ENOMEM;

    list = dma_pool_zalloc(disk->pool, GFP_KERNEL, &list_dma);
    if (!list)
        return -ENOMEM;
    for (i = 0; i < PAGES; i++) {
        dma = dma_map_page(disk->dev, pages[i], 0, PAGE_SIZE, DMA_FROM_DEVICE); /* SEEN */
        if (dma_mapping_error(disk->dev, dma))
            goto unmap;
        list[i].addr = cpu_to_le64(dma);
        list[i].length = cpu_to_le32(PAGE_SIZE);
    }
    sge.addr = cpu_to_le64(list_dma);
    sge.length = cpu_to_le32(PAGES * sizeof(*list));
    writeq(list_dma, disk->regs + CMD_ADDRESS);
    writel(PAGES, disk->regs + CMD_SUBMIT);
    ret = readl(disk->regs + CMD_RESULT) == PAGES * PAGE_SIZE ? 0 : -EIO;
unmap:
    disk_free_sgls(disk, &sge, list, i);
    dma_pool_free(disk->pool, list, list_dma);
    return ret;
}

int nvme_unmap_swapped_use(struct device *dev)
{
    struct page *pages[PAGES];
    int i, ret = -ENOMEM;

    for (i = 0; i < PAGES; i++) {
        pages[i] = alloc_page(GFP_KERNEL);
        if (!pages[i])
            goto free;
    }
    ret = disk_read(dev_get_drvdata(dev), pages);
free:
    while (i--)
        __free_page(pages[i]);
    return ret;
}

static int disk_probe(struct platform_device *pdev)
{
    struct disk *disk = devm_kzalloc(&pdev->dev, sizeof(*disk), GFP_KERNEL);

    if (!disk)
        return -ENOMEM;
    disk->dev = &pdev->dev;
    platform_set_drvdata(pdev, disk);
    disk->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(disk->regs))
        return PTR_ERR(disk->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    disk->pool = dmam_pool_create("sgl", &pdev->dev, 256, 256, 0);
    return disk->pool ? 0 : -ENOMEM;
}

static struct platform_driver nvme_unmap_swapped_driver = { .probe = disk_probe };
module_platform_driver(nvme_unmap_swapped_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint64_t at = corpus_address(device, CMD_ADDRESS), entry[2];
    uint32_t i;

    if (reg != CMD_SUBMIT)
        return;
    device->registers[CMD_RESULT / 4] = 0;
    for (i = 0; i < value; i++, at += sizeof(entry)) {
        uint32_t length;

        if (dk_master_read(device->dev, at, entry, sizeof(entry)))
            return;
        length = (uint32_t)le64toh(entry[1]);
        if (corpus_fill(device, le64toh(entry[0]), length, i))
            return;
        device->registers[CMD_RESULT / 4] += length;
    }
}

const struct corpus_model nvme_unmap_swapped_model = { .written = written };
#endif
