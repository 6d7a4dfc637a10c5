/* SPDX-License-Identifier: MIT */
/*
 * A card that receives into pages. Its driver unmaps the page first, forgets the address, and then syncs the
 * part that was received. Where a sync does nothing nobody notices; on a Zynq it was a kernel panic.
 *
 * bug-class: sync-not-mapped
 * depth: 1
 * reference: https://github.com/corundum/corundum/issues/245 (mqnic_process_rx_cq; its patch moves the sync)
 */
#define RX_PAGE 0x00   /* 64 bits: address of a page to receive into */
#define RX_OFFSET 0x08 /* where in the page */
#define RX_KICK 0x0c   /* write anything */
#define RX_DONE 0x10   /* bytes received, 0 none yet */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct rx_info {
    struct page *page;
    u32 page_offset;
    dma_addr_t dma_addr;
};

struct card {
    struct device *dev;
    void __iomem *regs;
    struct rx_info rx;
};

static int card_refill(struct card *card)
{
    struct rx_info *rx = &card->rx;

    rx->page = alloc_page(GFP_KERNEL);
    if (!rx->page)
        return -ENOMEM;
    rx->page_offset = 64;
    rx->dma_addr = dma_map_page(card->dev, rx->page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    if (dma_mapping_error(card->dev, rx->dma_addr)) {
        __free_page(rx->page);
        return -ENOMEM;
    }
    writeq(rx->dma_addr, card->regs + RX_PAGE);
    writel(rx->page_offset, card->regs + RX_OFFSET);
    writel(1, card->regs + RX_KICK);
    return 0;
}

static void card_finish(struct card *card, u32 length)
{
    struct rx_info *rx = &card->rx;

#ifdef MENDED
    dma_sync_single_range_for_cpu(card->dev, rx->dma_addr, rx->page_offset, length, DMA_FROM_DEVICE);
    dma_unmap_page(card->dev, rx->dma_addr, PAGE_SIZE, DMA_FROM_DEVICE);
    rx->dma_addr = 0;
#else
    dma_unmap_page(card->dev, rx->dma_addr, PAGE_SIZE, DMA_FROM_DEVICE);
    rx->dma_addr = 0;
    dma_sync_single_range_for_cpu(card->dev, rx->dma_addr, rx->page_offset, length,
                                  DMA_FROM_DEVICE); /* BUG */
#endif
}

int net_sync_after_unmap_use(struct device *dev)
{
    struct card *card = dev_get_drvdata(dev);
    u32 length;
    u8 *data;
    int ret = card_refill(card);

    if (ret)
        return ret;
    ret = readl_poll_timeout(card->regs + RX_DONE, length, length, 10, 30000000);
    card_finish(card, length);
    data = (u8 *)page_address(card->rx.page) + card->rx.page_offset;
    if (!ret && (length != 100 || !data[99]))
        ret = -EIO;
    __free_page(card->rx.page);
    return ret;
}

static int card_probe(struct platform_device *pdev)
{
    struct card *card = devm_kzalloc(&pdev->dev, sizeof(*card), GFP_KERNEL);

    if (!card)
        return -ENOMEM;
    card->dev = &pdev->dev;
    platform_set_drvdata(pdev, card);
    card->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(card->regs))
        return PTR_ERR(card->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver net_sync_after_unmap_driver = { .probe = card_probe };
module_platform_driver(net_sync_after_unmap_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    (void)value;
    if (reg == RX_KICK &&
        !corpus_fill(device, corpus_address(device, RX_PAGE) + device->registers[RX_OFFSET / 4], 100, 2))
        device->registers[RX_DONE / 4] = 100;
}

const struct corpus_model net_sync_after_unmap_model = { .written = written };
#endif
