/* SPDX-License-Identifier: MIT */
/*
 * A fast packet interface keeps its receive buffers mapped for ever and reads them without a sync. "It
 * apparently did not make any difference on Intel-based architectures"; on ARM packets were old ones.
 *
 * bug-class: missing-sync-for-cpu | cpu-read-while-device-owns | stale-read
 * depth: 3
 * reference: https://github.com/luigirizzo/netmap/issues/409 (its patch adds the syncs to the receive rings)
 */
#define RX_BASE 0x00 /* 64 bits: address of two buffers, one behind the other */
#define RX_NEXT 0x08 /* write 0 or 1: receive into that one */
#define RX_COUNT 0x0c
#define SLOT_BYTES 256

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct netif {
    struct device *dev;
    void __iomem *regs;
    u8 *slots;
    dma_addr_t dma;
};

static void netif_begin(struct netif *netif, unsigned int slot)
{
#ifdef MENDED
    dma_sync_single_range_for_cpu(netif->dev, netif->dma, slot * SLOT_BYTES, SLOT_BYTES, DMA_FROM_DEVICE);
#endif
}

static void netif_end(struct netif *netif, unsigned int slot)
{
#ifdef MENDED
    dma_sync_single_range_for_device(netif->dev, netif->dma, slot * SLOT_BYTES, SLOT_BYTES, DMA_FROM_DEVICE);
#endif
}

static u32 netif_sum(struct netif *netif, unsigned int slot)
{
    const u8 *bytes = netif->slots + slot * SLOT_BYTES;
    u32 sum = 0;
    unsigned int i;

    netif_begin(netif, slot);
    for (i = 0; i < SLOT_BYTES; i++)
        sum += bytes[i]; /* BUG */
    netif_end(netif, slot);
    return sum;
}

/* Each packet differs from the one before in its slot. */
int net_rx_no_sync_use(struct device *dev)
{
    struct netif *netif = dev_get_drvdata(dev);
    u32 last[2] = { 0, 0 };
    unsigned int round;

    for (round = 0; round < 6; round++) {
        u32 sum;

        writel(round % 2, netif->regs + RX_NEXT);
        if (readl(netif->regs + RX_COUNT) != round + 1)
            return -EIO;
        sum = netif_sum(netif, round % 2);
        if (sum == last[round % 2])
            return -EIO;
        last[round % 2] = sum;
    }
    return 0;
}

static int netif_probe(struct platform_device *pdev)
{
    struct netif *netif = devm_kzalloc(&pdev->dev, sizeof(*netif), GFP_KERNEL);

    if (!netif)
        return -ENOMEM;
    netif->dev = &pdev->dev;
    platform_set_drvdata(pdev, netif);
    netif->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(netif->regs))
        return PTR_ERR(netif->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    netif->slots = devm_kzalloc(&pdev->dev, 2 * SLOT_BYTES, GFP_KERNEL);
    if (!netif->slots)
        return -ENOMEM;
    netif->dma = dma_map_single(&pdev->dev, netif->slots, 2 * SLOT_BYTES, DMA_FROM_DEVICE);
    if (dma_mapping_error(&pdev->dev, netif->dma))
        return -ENOMEM;
    writeq(netif->dma, netif->regs + RX_BASE);
    return 0;
}

static void netif_remove(struct platform_device *pdev)
{
    struct netif *netif = platform_get_drvdata(pdev);

    dma_unmap_single(&pdev->dev, netif->dma, 2 * SLOT_BYTES, DMA_FROM_DEVICE);
}

static struct platform_driver net_rx_no_sync_driver = { .probe = netif_probe, .remove = netif_remove };
module_platform_driver(net_rx_no_sync_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t bytes[SLOT_BYTES];

    if (reg != RX_NEXT)
        return;
    memset(bytes, (int)++device->accesses, sizeof(bytes));
    if (!dk_master_write(device->dev, corpus_address(device, RX_BASE) + value * SLOT_BYTES, bytes,
                         sizeof(bytes)))
        device->registers[RX_COUNT / 4]++;
}

const struct corpus_model net_rx_no_sync_model = { .written = written };
#endif
