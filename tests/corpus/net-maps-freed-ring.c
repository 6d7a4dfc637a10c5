/* SPDX-License-Identifier: MIT */
/*
 * A driver lends its ring buffers to an audio-video application. When the interface was taken down meanwhile,
 * the buffers are free, and the application still gets them: the card then sends what is somebody else's.
 *
 * bug-class: maps-freed-memory
 * depth: 2
 * reference: https://github.com/Avnu/OpenAvnu/pull/835 ("igb_main: fix dma memory corruption", its first
 * case: the mend asks whether the memory is allocated)
 */
#define AVB_BUFFER 0x00 /* 64 bits */
#define AVB_SEND 0x08   /* bytes */
#define AVB_SENT 0x0c
#define RING_BYTES 2048

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct avb {
    struct device *dev;
    void __iomem *regs;
    u8 *ring;
    bool up;
};

static int avb_up(struct avb *avb)
{
    avb->ring = kzalloc(RING_BYTES, GFP_KERNEL);
    avb->up = avb->ring != NULL;
    return avb->up ? 0 : -ENOMEM;
}

static void avb_down(struct avb *avb)
{
    kfree(avb->ring);
    avb->up = false;
}

/* What the application's call comes to: its buffer in the ring, for the card to send from. */
static int avb_mapbuf(struct avb *avb, dma_addr_t *dma)
{
#ifdef MENDED
    if (!avb->up)
        return -ENODEV;
#endif
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): that is the bug. */
    *dma = dma_map_single(avb->dev, avb->ring, RING_BYTES, DMA_TO_DEVICE); /* BUG */
    return dma_mapping_error(avb->dev, *dma);
}

static int avb_send(struct avb *avb, dma_addr_t dma)
{
    writeq(dma, avb->regs + AVB_BUFFER);
    writel(RING_BYTES, avb->regs + AVB_SEND);
    dma_unmap_single(avb->dev, dma, RING_BYTES, DMA_TO_DEVICE);
    return readl(avb->regs + AVB_SENT) == RING_BYTES ? 0 : -EIO;
}

/* The interface comes up, goes down, and the application asks at the wrong time; then all is as it should be.
 */
int net_maps_freed_ring_use(struct device *dev)
{
    struct avb *avb = dev_get_drvdata(dev);
    dma_addr_t dma;
    int ret = avb_up(avb);

    if (ret)
        return ret;
    avb_down(avb);
    if (!avb_mapbuf(avb, &dma))
        avb_send(avb, dma);

    ret = avb_up(avb);
    if (ret)
        return ret;
    ret = avb_mapbuf(avb, &dma);
    if (!ret)
        ret = avb_send(avb, dma);
    avb_down(avb);
    return ret;
}

static int avb_probe(struct platform_device *pdev)
{
    struct avb *avb = devm_kzalloc(&pdev->dev, sizeof(*avb), GFP_KERNEL);

    if (!avb)
        return -ENOMEM;
    avb->dev = &pdev->dev;
    platform_set_drvdata(pdev, avb);
    avb->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(avb->regs))
        return PTR_ERR(avb->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver net_maps_freed_ring_driver = { .probe = avb_probe };
module_platform_driver(net_maps_freed_ring_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t bytes[RING_BYTES];

    if (reg == AVB_SEND && value <= sizeof(bytes))
        device->registers[AVB_SENT / 4] =
            dk_master_read(device->dev, corpus_address(device, AVB_BUFFER), bytes, value) ? 0 : value;
}

const struct corpus_model net_maps_freed_ring_model = { .written = written };
#endif
