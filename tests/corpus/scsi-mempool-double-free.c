/* SPDX-License-Identifier: MIT */
/*
 * A command's release callback frees the port that the command was for; the error path releases the command
 * and then frees the port itself. The second free is of memory that may be somebody else's by then.
 *
 * The ports come from a memory pool here; in the driver that this is the pattern of, from kmalloc().
 *
 * bug-class: mempool-double-free | slab-double-free
 * depth: 1
 * reference: CVE-2026-43414 (qla2xxx, qla24xx_els_dcmd_iocb: the mend takes the second free out;
 *            https://www.sentinelone.com/vulnerability-database/cve-2026-43414/)
 */
#define ELS_ADDRESS 0x00 /* 64 bits: a request of 64 bytes */
#define ELS_SEND 0x08    /* the port's id */
#define ELS_STATUS 0x0c  /* 0 accepted, 1 rejected */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/mempool.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct fcport {
    u32 id;
    u8 request[64] __attribute__((aligned(64)));
    u8 end[64]; /* the request has its cache lines to itself */
};

struct command {
    struct hba *hba;
    struct fcport *fcport;
    void (*free)(struct command *command);
};

struct hba {
    struct device *dev;
    void __iomem *regs;
    mempool_t *ports;
};

static void command_free(struct command *command)
{
    mempool_free(command->fcport, command->hba->ports); /* SEEN */
}

static int hba_els(struct hba *hba, u32 id)
{
    struct fcport *fcport = mempool_alloc(hba->ports, GFP_KERNEL);
    struct command command = { .hba = hba, .fcport = fcport, .free = command_free };
    dma_addr_t dma;
    int ret = -ENOMEM;

    if (!fcport)
        return -ENOMEM;
    fcport->id = id;
    dma = dma_map_single(hba->dev, fcport->request, sizeof(fcport->request), DMA_TO_DEVICE);
    if (dma_mapping_error(hba->dev, dma))
        goto release;
    writeq(dma, hba->regs + ELS_ADDRESS);
    writel(id, hba->regs + ELS_SEND);
    ret = readl(hba->regs + ELS_STATUS) ? -EIO : 0;
    dma_unmap_single(hba->dev, dma, sizeof(fcport->request), DMA_TO_DEVICE);
release:
    command.free(&command);
#ifndef MENDED
    if (ret)
        mempool_free(fcport, hba->ports); /* BUG */
#endif
    return ret;
}

/* The first port accepts, the second rejects. */
int scsi_mempool_double_free_use(struct device *dev)
{
    struct hba *hba = dev_get_drvdata(dev);
    int ret = hba_els(hba, 1);

    if (ret)
        return ret;
    return hba_els(hba, 2) == -EIO ? 0 : -EINVAL;
}

static int hba_probe(struct platform_device *pdev)
{
    struct hba *hba = devm_kzalloc(&pdev->dev, sizeof(*hba), GFP_KERNEL);

    if (!hba)
        return -ENOMEM;
    hba->dev = &pdev->dev;
    platform_set_drvdata(pdev, hba);
    hba->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(hba->regs))
        return PTR_ERR(hba->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    hba->ports = mempool_create_kmalloc_pool(2, sizeof(struct fcport));
    return hba->ports ? 0 : -ENOMEM;
}

static void hba_remove(struct platform_device *pdev)
{
    struct hba *hba = platform_get_drvdata(pdev);

    mempool_destroy(hba->ports);
}

static struct platform_driver scsi_mempool_double_free_driver = { .probe = hba_probe, .remove = hba_remove };
module_platform_driver(scsi_mempool_double_free_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t request[64];

    if (reg == ELS_SEND)
        device->registers[ELS_STATUS / 4] =
            dk_master_read(device->dev, corpus_address(device, ELS_ADDRESS), request, sizeof(request)) ||
            value == 2;
}

const struct corpus_model scsi_mempool_double_free_model = { .written = written };
#endif
