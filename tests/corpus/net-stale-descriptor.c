/* SPDX-License-Identifier: MIT */
/*
 * A transmit slot remembers a frame's head and fragment to unmap. Completion does not clear the lengths, so
 * when the slot is used again for a frame without a fragment, the old fragment is unmapped a second time.
 *
 * bug-class: free-not-allocated
 * depth: 1
 * reference: https://github.com/openwrt/openwrt/pull/24268 (ramips: clear dma_len0 and dma_len1)
 */
#define TX_HEAD 0x00   /* 64 bits: address of the first part */
#define TX_TAIL 0x08   /* 64 bits: address of the second part */
#define TX_LENGTH 0x10 /* bytes of the first part, of the second << 16; sends with the write */
#define TX_SENT 0x14   /* bytes that went out */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct tx_slot {
    dma_addr_t dma_addr0, dma_addr1;
    u16 dma_len0, dma_len1;
};

struct engine {
    struct device *dev;
    void __iomem *regs;
    struct tx_slot slot;
};

static void engine_unmap(struct engine *engine)
{
    struct tx_slot *slot = &engine->slot;

    if (slot->dma_len0)
        dma_unmap_single(engine->dev, slot->dma_addr0, slot->dma_len0, DMA_TO_DEVICE);
    if (slot->dma_len1)
        dma_unmap_single(engine->dev, slot->dma_addr1, slot->dma_len1, DMA_TO_DEVICE); /* BUG */
#ifdef MENDED
    slot->dma_len0 = 0;
    slot->dma_len1 = 0;
#endif
}

/* Sends @length bytes at @data, the last @fragment of them as a part of its own. */
static int engine_xmit(struct engine *engine, u8 *data, u16 length, u16 fragment)
{
    struct tx_slot *slot = &engine->slot;
    u16 head = length - fragment;

    slot->dma_addr0 = dma_map_single(engine->dev, data, head, DMA_TO_DEVICE);
    if (dma_mapping_error(engine->dev, slot->dma_addr0))
        return -ENOMEM;
    slot->dma_len0 = head;
    if (fragment) {
        slot->dma_addr1 = dma_map_single(engine->dev, data + head, fragment, DMA_TO_DEVICE);
        if (dma_mapping_error(engine->dev, slot->dma_addr1)) {
            dma_unmap_single(engine->dev, slot->dma_addr0, head, DMA_TO_DEVICE);
            return -ENOMEM;
        }
        slot->dma_len1 = fragment;
    }
    writeq(slot->dma_addr0, engine->regs + TX_HEAD);
    writeq(slot->dma_addr1, engine->regs + TX_TAIL);
    writel(head | (u32)fragment << 16, engine->regs + TX_LENGTH);
    engine_unmap(engine);
    return readl(engine->regs + TX_SENT) == length ? 0 : -EIO;
}

int net_stale_descriptor_use(struct device *dev)
{
    struct engine *engine = dev_get_drvdata(dev);
    u8 *data = kzalloc(1024, GFP_KERNEL);
    int ret;

    if (!data)
        return -ENOMEM;
    ret = engine_xmit(engine, data, 1024, 512);
    if (!ret)
        ret = engine_xmit(engine, data, 64, 0);
    kfree(data);
    return ret;
}

static int engine_probe(struct platform_device *pdev)
{
    struct engine *engine = devm_kzalloc(&pdev->dev, sizeof(*engine), GFP_KERNEL);

    if (!engine)
        return -ENOMEM;
    engine->dev = &pdev->dev;
    platform_set_drvdata(pdev, engine);
    engine->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(engine->regs))
        return PTR_ERR(engine->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver net_stale_descriptor_driver = { .probe = engine_probe };
module_platform_driver(net_stale_descriptor_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint32_t head = value & 0xffff, tail = value >> 16;
    uint8_t frame[1024];

    if (reg != TX_LENGTH || head + tail > sizeof(frame))
        return;
    if (!dk_master_read(device->dev, corpus_address(device, TX_HEAD), frame, head) &&
        (!tail || !dk_master_read(device->dev, corpus_address(device, TX_TAIL), frame + head, tail)))
        device->registers[TX_SENT / 4] = head + tail;
}

const struct corpus_model net_stale_descriptor_model = { .written = written };
#endif
