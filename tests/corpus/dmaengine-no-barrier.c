/* SPDX-License-Identifier: MIT */
/*
 * A DMA engine looks at its ring by itself: a descriptor whose phase is right is ready. The driver writes the
 * descriptor and its phase, with nothing in between that orders the stores.
 *
 * bug-class: descriptor-published-before-wmb
 * depth: 3
 * reference: https://github.com/Microsemi/switchtec-dma/issues/4 ("Ring buffer updates lack memory barriers";
 * the mend is pull request 5)
 */
#define ENG_RING 0x00 /* 64 bits: descriptors { u64 source; u32 length; u32 phase; } */
#define ENG_TICK 0x08 /* read: the engine looks at its ring; bytes that it moved so far */
#define ENG_DESCRIPTORS 4

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define BYTES 128

struct descriptor {
    __le64 source;
    __le32 length;
    __le32 phase; /* the round that it is ready for: 1, 2, ... */
};

struct engine {
    void __iomem *regs;
    struct descriptor *ring;
    dma_addr_t ring_dma;
    u32 head;
};

static void engine_prep(struct engine *engine, dma_addr_t source)
{
    struct descriptor *descriptor = &engine->ring[engine->head % ENG_DESCRIPTORS];
    u32 phase = engine->head / ENG_DESCRIPTORS + 1;

    descriptor->source = cpu_to_le64(source);
    descriptor->length = cpu_to_le32(BYTES);
#ifdef MENDED
    dma_wmb();
#endif
    WRITE_ONCE(descriptor->phase, cpu_to_le32(phase)); /* BUG */
    engine->head++;
}

int dmaengine_no_barrier_use(struct device *dev)
{
    struct engine *engine = dev_get_drvdata(dev);
    u8 *source = kzalloc(BYTES, GFP_KERNEL);
    dma_addr_t dma;
    u32 i;
    int ret = 0;

    if (!source)
        return -ENOMEM;
    dma = dma_map_single(dev, source, BYTES, DMA_TO_DEVICE);
    if (dma_mapping_error(dev, dma)) {
        kfree(source);
        return -ENOMEM;
    }
    for (i = 1; i <= 2 * ENG_DESCRIPTORS && !ret; i++) {
        engine_prep(engine, dma);
        if (readl(engine->regs + ENG_TICK) != i * BYTES) /* SEEN */
            ret = -EIO;
    }
    dma_unmap_single(dev, dma, BYTES, DMA_TO_DEVICE);
    kfree(source);
    return ret;
}

static int engine_probe(struct platform_device *pdev)
{
    struct engine *engine = devm_kzalloc(&pdev->dev, sizeof(*engine), GFP_KERNEL);

    if (!engine)
        return -ENOMEM;
    platform_set_drvdata(pdev, engine);
    engine->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(engine->regs))
        return PTR_ERR(engine->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    engine->ring = dmam_alloc_coherent(&pdev->dev, ENG_DESCRIPTORS * sizeof(*engine->ring), &engine->ring_dma,
                                       GFP_KERNEL);
    if (!engine->ring)
        return -ENOMEM;
    writeq(engine->ring_dma, engine->regs + ENG_RING);
    return 0;
}

static struct platform_driver dmaengine_no_barrier_driver = { .probe = engine_probe };
module_platform_driver(dmaengine_no_barrier_driver);

#else
#include "corpus.h"

#include <endian.h>

/* Takes the next descriptor if it is ready. */
static bool take_descriptor(struct corpus_device *device)
{
    unsigned long next = device->accesses; /* descriptors taken so far */
    uint64_t at = corpus_address(device, ENG_RING) + next % ENG_DESCRIPTORS * 16, source;
    uint32_t length, phase;
    uint8_t bytes[256];

    if (dk_master_read(device->dev, at + 12, &phase, sizeof(phase)) ||
        le32toh(phase) != next / ENG_DESCRIPTORS + 1)
        return false;
    if (!dk_master_read(device->dev, at, &source, sizeof(source)) &&
        !dk_master_read(device->dev, at + 8, &length, sizeof(length)) && le32toh(length) <= sizeof(bytes) &&
        !dk_master_read(device->dev, le64toh(source), bytes, le32toh(length)))
        device->registers[ENG_TICK / 4] += le32toh(length);
    device->accesses++;
    return true;
}

/* It works until it comes to a descriptor that is not ready, and looks at that one again later. */
static uint32_t read_tick(struct corpus_device *device, unsigned reg)
{
    while (reg == ENG_TICK && take_descriptor(device))
        continue;
    return device->registers[reg / 4];
}

const struct corpus_model dmaengine_no_barrier_model = { .read = read_tick };
#endif
