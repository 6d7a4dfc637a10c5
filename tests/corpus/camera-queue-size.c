/* SPDX-License-Identifier: MIT */
/*
 * A video codec talks to its firmware through queues in one piece of memory. When the memory for its crash
 * log cannot be had, the queues are freed with the size of their header, not of all of them.
 *
 * bug-class: free-wrong-size
 * depth: 1
 * reference: commit 4a49ae56b0e4 "media: iris: Fix dma_free_attrs() size in iris_hfi_queues_init()" (as in
 *            https://github.com/qualcomm-linux/kernel/pull/646)
 */
#define FW_QUEUES 0x00  /* 64 bits: the queues' header */
#define FW_LOG 0x08     /* 64 bits: the crash log */
#define FW_LOG_MIB 0x10 /* read: how much the firmware would like, in MiB */
#define FW_START 0x14   /* the firmware looks at the header and writes the log's first byte */
#define FW_RUNNING 0x18

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

#define QUEUE_BYTES 8192

struct queue_table_header {
    __le32 version;
    __le32 queues;
};

struct core {
    struct device *dev;
    void __iomem *regs;
    struct queue_table_header *table;
    dma_addr_t table_dma;
    void *log;
    dma_addr_t log_dma;
    size_t log_size;
};

static int core_queues_init(struct core *core, size_t log_size)
{
    core->table =
        dma_alloc_attrs(core->dev, QUEUE_BYTES, &core->table_dma, GFP_KERNEL, DMA_ATTR_WRITE_COMBINE);
    if (!core->table)
        return -ENOMEM;
    core->log = dma_alloc_attrs(core->dev, log_size, &core->log_dma, GFP_KERNEL | __GFP_NOWARN,
                                DMA_ATTR_WRITE_COMBINE);
    if (!core->log) {
#ifdef MENDED
        dma_free_attrs(core->dev, QUEUE_BYTES, core->table, core->table_dma, DMA_ATTR_WRITE_COMBINE);
#else
        dma_free_attrs(core->dev, sizeof(*core->table), core->table, core->table_dma,
                       DMA_ATTR_WRITE_COMBINE); /* BUG */
#endif
        core->table = NULL;
        return -ENOMEM;
    }
    core->log_size = log_size;
    core->table->version = cpu_to_le32(1);
    core->table->queues = cpu_to_le32(3);
    return 0;
}

static void core_queues_deinit(struct core *core)
{
    dma_free_attrs(core->dev, core->log_size, core->log, core->log_dma, DMA_ATTR_WRITE_COMBINE);
    dma_free_attrs(core->dev, QUEUE_BYTES, core->table, core->table_dma, DMA_ATTR_WRITE_COMBINE);
}

/* Settles for a page where there is less memory than the firmware would like. */
int camera_queue_size_use(struct device *dev)
{
    struct core *core = dev_get_drvdata(dev);
    int ret = core_queues_init(core, (size_t)readl(core->regs + FW_LOG_MIB) << 20);

    if (ret == -ENOMEM)
        ret = core_queues_init(core, 4096);
    if (ret)
        return ret;
    writeq(core->table_dma, core->regs + FW_QUEUES);
    writeq(core->log_dma, core->regs + FW_LOG);
    writel(1, core->regs + FW_START);
    ret = readl(core->regs + FW_RUNNING) ? 0 : -EIO;
    core_queues_deinit(core);
    return ret;
}

static int core_probe(struct platform_device *pdev)
{
    struct core *core = devm_kzalloc(&pdev->dev, sizeof(*core), GFP_KERNEL);

    if (!core)
        return -ENOMEM;
    core->dev = &pdev->dev;
    platform_set_drvdata(pdev, core);
    core->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(core->regs))
        return PTR_ERR(core->regs);
    return dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
}

static struct platform_driver camera_queue_size_driver = { .probe = core_probe };
module_platform_driver(camera_queue_size_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint32_t header[2] = { 0, 0 };
    uint8_t mark = 1;

    (void)value;
    if (reg != FW_START ||
        dk_master_read(device->dev, corpus_address(device, FW_QUEUES), header, sizeof(header)))
        return;
    device->registers[FW_RUNNING / 4] =
        le32toh(header[1]) == 3 && !dk_master_write(device->dev, corpus_address(device, FW_LOG), &mark, 1);
}

static uint32_t read_register(struct corpus_device *device, unsigned reg)
{
    return reg == FW_LOG_MIB ? 0x1000000 : device->registers[reg / 4]; /* 16 TiB */
}

const struct corpus_model camera_queue_size_model = { .written = written, .read = read_register };
#endif
