/* SPDX-License-Identifier: MIT */
/*
 * A block that the card fills lies in the middle of a structure, next to its reference count. Counting while
 * the card writes makes the line dirty; when it goes back to memory, it takes the card's bytes with it.
 *
 * bug-class: shared-cache-line
 * depth: 2
 * boards: not coherent-pc high-memory raspberry-pi-4
 * reference: https://github.com/msm8916-mainline/lk2nd/pull/748 ("ext2: allocate cache-line aligned memory
 * for group descriptor buffer")
 */
#define BLK_ADDRESS 0x00 /* 64 bits */
#define BLK_READ 0x08    /* bytes; the controller starts */
#define BLK_STATUS 0x0c  /* read: the controller works now; 1 done */
#define TABLE_BYTES 160

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct group {
    u32 first_block;
#ifndef MENDED
    u8 table[TABLE_BYTES];
#else
    u8 *table;
#endif
    u32 users;
};

struct reader {
    struct device *dev;
    void __iomem *regs;
};

static int group_read(struct reader *reader, struct group *group)
{
    dma_addr_t dma = dma_map_single(reader->dev, group->table, TABLE_BYTES, DMA_FROM_DEVICE); /* SEEN */
    u32 status;

    if (dma_mapping_error(reader->dev, dma))
        return -ENOMEM;
    writeq(dma, reader->regs + BLK_ADDRESS);
    writel(TABLE_BYTES, reader->regs + BLK_READ);
    group->users++;                                                   /* BUG */
    status = readl(reader->regs + BLK_STATUS);                        /* SEEN */
    dma_unmap_single(reader->dev, dma, TABLE_BYTES, DMA_FROM_DEVICE); /* SEEN */
    return status == 1 ? 0 : -EIO;
}

int mmc_shared_line_use(struct device *dev)
{
    struct reader *reader = dev_get_drvdata(dev);
    struct group *group = kzalloc(sizeof(*group), GFP_KERNEL);
    int ret = -ENOMEM;
    unsigned int i;

    if (!group)
        return -ENOMEM;
#ifdef MENDED
    group->table = kzalloc(TABLE_BYTES, GFP_KERNEL);
    if (!group->table)
        goto free;
#endif
    ret = group_read(reader, group);
    for (i = 0; i < TABLE_BYTES && !ret; i++) {
        if (group->table[i] != 0x77)
            ret = -EIO;
    }
#ifdef MENDED
    kfree(group->table);
free:
#endif
    kfree(group);
    return ret;
}

static int reader_probe(struct platform_device *pdev)
{
    struct reader *reader = devm_kzalloc(&pdev->dev, sizeof(*reader), GFP_KERNEL);

    if (!reader)
        return -ENOMEM;
    reader->dev = &pdev->dev;
    platform_set_drvdata(pdev, reader);
    reader->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(reader->regs))
        return PTR_ERR(reader->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver mmc_shared_line_driver = { .probe = reader_probe };
module_platform_driver(mmc_shared_line_driver);

#else
#include "corpus.h"

static uint32_t read_status(struct corpus_device *device, unsigned reg)
{
    uint8_t table[TABLE_BYTES];

    if (reg != BLK_STATUS)
        return 0;
    memset(table, 0x77, sizeof(table));
    return !dk_master_write(device->dev, corpus_address(device, BLK_ADDRESS), table, sizeof(table));
}

const struct corpus_model mmc_shared_line_model = { .read = read_status };
#endif
