/* SPDX-License-Identifier: MIT */
/*
 * A control queue is polled: when a descriptor's "done" flag is there, its other fields are read. Nothing
 * orders the two loads, so the processor may have read the fields before the card wrote them.
 *
 * bug-class: descriptor-read-before-rmb
 * depth: 3
 * reference: commit 396f0165672c "idpf: add read memory barrier when checking descriptor done bit"
 *            (https://www.infradead.org/git/?p=users/dwmw2/linux.git;a=commit;h=396f0165672c6a74d7379027d344b83b5f05948c)
 */
#define CQ_RING 0x00 /* 64 bits: address of four descriptors */
#define CQ_TICK 0x08 /* read: the card goes on; it answers with the second read after each request */
#define CQ_ASK 0x0c  /* write a descriptor's index: ask for a message in it */
#define CQ_DONE 0x1
#define CQ_ENTRIES 4

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct cq_descriptor {
    __le32 flags; /* CQ_DONE: the card wrote the rest before */
    __le32 opcode;
    __le64 cookie;
};

struct ctlq {
    void __iomem *regs;
    struct cq_descriptor *ring;
    dma_addr_t ring_dma;
};

/* The message in @descriptor, when there is one. */
static bool ctlq_pop(struct cq_descriptor *descriptor, u32 *opcode, u64 *cookie)
{
    if (!(le32_to_cpu(READ_ONCE(descriptor->flags)) & CQ_DONE))
        return false;
#ifdef MENDED
    dma_rmb();
#endif
    *opcode = le32_to_cpu(descriptor->opcode); /* BUG */
    *cookie = le64_to_cpu(descriptor->cookie); /* BUG */
    WRITE_ONCE(descriptor->flags, 0);
    return true;
}

int net_rx_no_barrier_use(struct device *dev)
{
    struct ctlq *ctlq = dev_get_drvdata(dev);
    unsigned int i, patience;

    for (i = 0; i < 2 * CQ_ENTRIES; i++) {
        u32 opcode = 0;
        u64 cookie = 0;

        writel(i % CQ_ENTRIES, ctlq->regs + CQ_ASK);
        /* A relaxed read gives the card time, and orders nothing. */
        for (patience = 100; patience && !ctlq_pop(&ctlq->ring[i % CQ_ENTRIES], &opcode, &cookie); patience--)
            readl_relaxed(ctlq->regs + CQ_TICK);
        if (opcode != i + 1 || cookie != ~(u64)(i + 1))
            return -EIO;
    }
    return 0;
}

static int ctlq_probe(struct platform_device *pdev)
{
    struct ctlq *ctlq = devm_kzalloc(&pdev->dev, sizeof(*ctlq), GFP_KERNEL);

    if (!ctlq)
        return -ENOMEM;
    platform_set_drvdata(pdev, ctlq);
    ctlq->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(ctlq->regs))
        return PTR_ERR(ctlq->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    ctlq->ring =
        dmam_alloc_coherent(&pdev->dev, CQ_ENTRIES * sizeof(*ctlq->ring), &ctlq->ring_dma, GFP_KERNEL);
    if (!ctlq->ring)
        return -ENOMEM;
    writeq(ctlq->ring_dma, ctlq->regs + CQ_RING);
    return 0;
}

static struct platform_driver net_rx_no_barrier_driver = { .probe = ctlq_probe };
module_platform_driver(net_rx_no_barrier_driver);

#else
#include "corpus.h"

#include <endian.h>

static uint32_t read_tick(struct corpus_device *device, unsigned reg)
{
    uint64_t at = corpus_address(device, CQ_RING) + device->registers[CQ_ASK / 4] * 16ull;
    uint32_t flags = htole32(CQ_DONE), opcode;
    uint64_t cookie;

    if (reg == CQ_TICK && ++device->accesses % 2 == 0) {
        opcode = htole32((uint32_t)(device->accesses / 2));
        cookie = htole64(~(device->accesses / 2));
        dk_master_write(device->dev, at + 8, &cookie, sizeof(cookie));
        dk_master_write(device->dev, at + 4, &opcode, sizeof(opcode));
        dk_master_write(device->dev, at, &flags, sizeof(flags));
    }
    return 0;
}

const struct corpus_model net_rx_no_barrier_model = { .read = read_tick };
#endif
