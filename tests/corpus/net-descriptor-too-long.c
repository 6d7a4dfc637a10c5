/* SPDX-License-Identifier: MIT */
/*
 * The firmware wants to see 72 bytes of each frame, so the driver writes 72 into the descriptor, also for a
 * frame of 54 whose mapping ends there. Without an IOMMU the card reads its neighbour's bytes and drops them.
 *
 * bug-class: device-access-out-of-range
 * depth: 2
 * boards: not hostile
 * reference: https://github.com/openwrt/mt76/issues/1007 (SMMU fault 18 bytes past a mapping of 54; the mend
 * is https://github.com/openwrt/mt76/pull/1074: no more than what was mapped)
 */
#define TXD_ADDRESS 0x00 /* 64 bits: of a descriptor { u64 address; u32 length; } */
#define TXD_KICK 0x08
#define TXD_RESULT 0x0c /* 1 sent, 2 fault */
#define PARSE_BYTES 72

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/string.h>

struct txd {
    __le64 address;
    __le32 length;
};

struct wifi {
    struct device *dev;
    void __iomem *regs;
    struct txd *txd;
    dma_addr_t txd_dma;
};

static int wifi_tx(struct wifi *wifi, const u8 *frame, u32 length)
{
    dma_addr_t dma = dma_map_single(wifi->dev, (void *)frame, length, DMA_TO_DEVICE); /* BUG */

    if (dma_mapping_error(wifi->dev, dma))
        return -ENOMEM;
    wifi->txd->address = cpu_to_le64(dma);
#ifdef MENDED
    wifi->txd->length = cpu_to_le32(min_t(u32, PARSE_BYTES, length));
#else
    wifi->txd->length = cpu_to_le32(PARSE_BYTES); /* BUG */
#endif
    writel(1, wifi->regs + TXD_KICK); /* SEEN */
    dma_unmap_single(wifi->dev, dma, length, DMA_TO_DEVICE);
    return readl(wifi->regs + TXD_RESULT) == 1 ? 0 : -EIO;
}

/* A connection request, at the end of its page as its headroom may put it. */
int net_descriptor_too_long_use(struct device *dev)
{
    struct wifi *wifi = dev_get_drvdata(dev);
    u8 *page = (u8 *)get_zeroed_page(GFP_KERNEL);
    int ret;

    if (!page)
        return -ENOMEM;
    memset(page + PAGE_SIZE - 54, 0x45, 54);
    ret = wifi_tx(wifi, page + PAGE_SIZE - 54, 54);
    free_page((unsigned long)page);
    return ret;
}

static int wifi_probe(struct platform_device *pdev)
{
    struct wifi *wifi = devm_kzalloc(&pdev->dev, sizeof(*wifi), GFP_KERNEL);

    if (!wifi)
        return -ENOMEM;
    wifi->dev = &pdev->dev;
    platform_set_drvdata(pdev, wifi);
    wifi->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(wifi->regs))
        return PTR_ERR(wifi->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    wifi->txd = dmam_alloc_coherent(&pdev->dev, sizeof(*wifi->txd), &wifi->txd_dma, GFP_KERNEL);
    if (!wifi->txd)
        return -ENOMEM;
    writeq(wifi->txd_dma, wifi->regs + TXD_ADDRESS);
    return 0;
}

static struct platform_driver net_descriptor_too_long_driver = { .probe = wifi_probe };
module_platform_driver(net_descriptor_too_long_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    struct {
        uint64_t address;
        uint32_t length;
    } txd = { 0, 0 };
    uint8_t head[PARSE_BYTES];
    int ret;

    (void)value;
    if (reg != TXD_KICK)
        return;
    ret = dk_master_read(device->dev, corpus_address(device, TXD_ADDRESS), &txd, sizeof(txd));
    if (!ret && le32toh(txd.length) <= sizeof(head))
        ret = dk_master_read(device->dev, le64toh(txd.address), head, le32toh(txd.length));
    device->registers[TXD_RESULT / 4] = ret ? 2 : 1;
}

const struct corpus_model net_descriptor_too_long_model = { .written = written };
#endif
