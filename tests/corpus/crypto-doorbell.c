/* SPDX-License-Identifier: MIT */
/*
 * A message for an accelerator lies in memory, and a register tells the accelerator to fetch it. The register
 * is written with a relaxed access, and the barrier stands behind it: the accelerator may fetch before the
 * message is there.
 *
 * bug-class: doorbell-before-write
 * depth: 3
 * reference: commit ebf35d8f9368 "crypto: hisilicon/qm - move the barrier before writing to the mailbox
 * register" (https://lexplain.net/commit-analyses/ebf35d8f9368816c930f5d70783a72716fab5e19)
 */
#define MB_ADDRESS 0x00  /* 64 bits: message { u32 command; u32 argument; } */
#define MB_DOORBELL 0x08 /* write the message's number */
#define MB_ANSWER 0x0c   /* command ^ argument of the message that was fetched last */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct message {
    __le32 command;
    __le32 argument;
};

struct qm {
    void __iomem *regs;
    struct message *message;
    dma_addr_t message_dma;
};

static u32 qm_mailbox(struct qm *qm, u32 number, u32 command, u32 argument)
{
    qm->message->command = cpu_to_le32(command);
    qm->message->argument = cpu_to_le32(argument);
#ifdef MENDED
    dma_wmb();
    writel_relaxed(number, qm->regs + MB_DOORBELL);
#else
    writel_relaxed(number, qm->regs + MB_DOORBELL); /* BUG */
    dma_wmb();
#endif
    return readl(qm->regs + MB_ANSWER);
}

int crypto_doorbell_use(struct device *dev)
{
    struct qm *qm = dev_get_drvdata(dev);
    u32 i;

    for (i = 1; i < 5; i++) {
        if (qm_mailbox(qm, i, i, 100 * i) != (i ^ 100 * i))
            return -EIO;
    }
    return 0;
}

static int qm_probe(struct platform_device *pdev)
{
    struct qm *qm = devm_kzalloc(&pdev->dev, sizeof(*qm), GFP_KERNEL);

    if (!qm)
        return -ENOMEM;
    platform_set_drvdata(pdev, qm);
    qm->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(qm->regs))
        return PTR_ERR(qm->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    qm->message = dmam_alloc_coherent(&pdev->dev, sizeof(*qm->message), &qm->message_dma, GFP_KERNEL);
    if (!qm->message)
        return -ENOMEM;
    writeq(qm->message_dma, qm->regs + MB_ADDRESS);
    return 0;
}

static struct platform_driver crypto_doorbell_driver = { .probe = qm_probe };
module_platform_driver(crypto_doorbell_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint32_t message[2];

    (void)value;
    if (reg == MB_DOORBELL &&
        !dk_master_read(device->dev, corpus_address(device, MB_ADDRESS), message, sizeof(message)))
        device->registers[MB_ANSWER / 4] = le32toh(message[0]) ^ le32toh(message[1]);
}

const struct corpus_model crypto_doorbell_model = { .written = written };
#endif
