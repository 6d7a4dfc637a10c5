/* SPDX-License-Identifier: MIT */
/*
 * Receive buffers are mapped as if the card read them, and unmapped as what they are. Most back ends clean
 * the cache at mapping and invalidate it at unmapping whatever the direction, so bytes are right; an IOMMU
 * refuses the card's write.
 *
 * bug-class: free-wrong-direction | iommu-permission | device-access-wrong-direction
 * depth: 1
 * reference: https://github.com/perceival/openwrt-flint3/pull/92 (edma_rx_alloc_buffer_list, patch 0420)
 */
#define FILL_RING 0x00  /* 64 bits: address of the ring of buffer descriptors */
#define FILL_COUNT 0x08 /* descriptors that the card may fill; it starts with the write */
#define FILL_DONE 0x0c  /* descriptors that it filled */
#define BUFFER 512
#define ENTRIES 4

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct edma {
    struct device *dev;
    void __iomem *regs;
    __le64 *ring;
    dma_addr_t ring_dma;
    u8 *buffers[ENTRIES];
};

#ifdef MENDED
#define RX_MAP_DIRECTION DMA_FROM_DEVICE
#else
#define RX_MAP_DIRECTION DMA_TO_DEVICE
#endif

static int edma_fill(struct edma *edma)
{
    int i;

    for (i = 0; i < ENTRIES; i++) {
        dma_addr_t dma = dma_map_single(edma->dev, edma->buffers[i], BUFFER, RX_MAP_DIRECTION); /* BUG */

        if (dma_mapping_error(edma->dev, dma))
            break;
        edma->ring[i] = cpu_to_le64(dma);
    }
    writeq(edma->ring_dma, edma->regs + FILL_RING);
    writel(i, edma->regs + FILL_COUNT);
    return i;
}

static int edma_reap(struct edma *edma, int filled)
{
    int i, good = 0;

    for (i = 0; i < filled; i++) {
        dma_unmap_single(edma->dev, le64_to_cpu(edma->ring[i]), BUFFER, DMA_FROM_DEVICE); /* SEEN */
        good += edma->buffers[i][0] != 0;
    }
    return good == ENTRIES ? 0 : -EIO;
}

int net_rx_direction_use(struct device *dev)
{
    struct edma *edma = dev_get_drvdata(dev);
    int filled = edma_fill(edma);

    return edma_reap(edma, filled);
}

static int edma_probe(struct platform_device *pdev)
{
    struct edma *edma = devm_kzalloc(&pdev->dev, sizeof(*edma), GFP_KERNEL);
    int i;

    if (!edma)
        return -ENOMEM;
    edma->dev = &pdev->dev;
    platform_set_drvdata(pdev, edma);
    edma->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(edma->regs))
        return PTR_ERR(edma->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    edma->ring = dmam_alloc_coherent(&pdev->dev, ENTRIES * sizeof(*edma->ring), &edma->ring_dma, GFP_KERNEL);
    if (!edma->ring)
        return -ENOMEM;
    for (i = 0; i < ENTRIES; i++) {
        edma->buffers[i] = kzalloc(BUFFER, GFP_KERNEL);
        if (!edma->buffers[i])
            break;
    }
    if (i == ENTRIES)
        return 0;
    while (i--)
        kfree(edma->buffers[i]);
    return -ENOMEM;
}

static void edma_remove(struct platform_device *pdev)
{
    struct edma *edma = platform_get_drvdata(pdev);
    int i;

    for (i = 0; i < ENTRIES; i++)
        kfree(edma->buffers[i]);
}

static struct platform_driver net_rx_direction_driver = { .probe = edma_probe, .remove = edma_remove };
module_platform_driver(net_rx_direction_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint64_t ring = corpus_address(device, FILL_RING), buffer;
    uint32_t i;

    if (reg != FILL_COUNT)
        return;
    for (i = 0; i < value; i++) {
        if (dk_master_read(device->dev, ring + i * sizeof(buffer), &buffer, sizeof(buffer)) ||
            corpus_fill(device, le64toh(buffer), BUFFER, i + 1))
            break;
    }
    device->registers[FILL_DONE / 4] = i;
}

const struct corpus_model net_rx_direction_model = { .written = written };
#endif
