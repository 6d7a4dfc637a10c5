/* SPDX-License-Identifier: MIT */
/*
 * Lists of up to 16 entries come from a pool of small blocks, longer ones from a pool of large ones. The
 * driver counts entries as the processor sees them, but writes as many as the device needs: one more, so the
 * last is written behind the small block.
 *
 * bug-class: pool-overrun
 * depth: 1
 * reference: https://github.com/NVIDIA/NV-Kernels/pull/333 ("nvme-pci: fix NVFS SGL pool selection": the mend
 *            chooses by payload size)
 */
#define SGL_ADDRESS 0x00 /* 64 bits: list of entries { u64 address; u64 length; } */
#define SGL_SUBMIT 0x08  /* entries */
#define SGL_RESULT 0x0c  /* bytes read */
#define CHUNK 512        /* the device takes no more with one entry */
#define SMALL 16
#define LARGE 64

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/dmapool.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct sgl {
    __le64 address;
    __le64 length;
};

struct nvme {
    struct device *dev;
    void __iomem *regs;
    struct dma_pool *small, *large;
};

static int nvme_submit(struct nvme *nvme, dma_addr_t data, u32 bytes)
{
    u32 entries = DIV_ROUND_UP(bytes, CHUNK), i;
#ifdef MENDED
    struct dma_pool *pool = entries <= SMALL ? nvme->small : nvme->large;
#else
    struct dma_pool *pool = bytes / CHUNK <= SMALL ? nvme->small : nvme->large;
#endif
    dma_addr_t list_dma;
    struct sgl *list = dma_pool_alloc(pool, GFP_KERNEL, &list_dma); /* SEEN */

    if (!list)
        return -ENOMEM;
    for (i = 0; i < entries; i++) {
        list[i].address = cpu_to_le64(data + i * CHUNK);                    /* BUG */
        list[i].length = cpu_to_le64(min_t(u32, CHUNK, bytes - i * CHUNK)); /* BUG */
    }
    writeq(list_dma, nvme->regs + SGL_ADDRESS);
    writel(entries, nvme->regs + SGL_SUBMIT);
    dma_pool_free(pool, list, list_dma); /* SEEN */
    return readl(nvme->regs + SGL_RESULT) == bytes ? 0 : -EIO;
}

int nvme_list_overrun_use(struct device *dev)
{
    struct nvme *nvme = dev_get_drvdata(dev);
    const u32 bytes = SMALL * CHUNK + 64;
    u8 *data = kzalloc(bytes, GFP_KERNEL);
    dma_addr_t dma;
    int ret = -ENOMEM;

    if (!data)
        return -ENOMEM;
    dma = dma_map_single(dev, data, bytes, DMA_TO_DEVICE);
    if (!dma_mapping_error(dev, dma)) {
        ret = nvme_submit(nvme, dma, bytes);
        dma_unmap_single(dev, dma, bytes, DMA_TO_DEVICE);
    }
    kfree(data);
    return ret;
}

static int nvme_probe(struct platform_device *pdev)
{
    struct nvme *nvme = devm_kzalloc(&pdev->dev, sizeof(*nvme), GFP_KERNEL);

    if (!nvme)
        return -ENOMEM;
    nvme->dev = &pdev->dev;
    platform_set_drvdata(pdev, nvme);
    nvme->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(nvme->regs))
        return PTR_ERR(nvme->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    nvme->small = dmam_pool_create("small", &pdev->dev, SMALL * sizeof(struct sgl), 64, 0);
    nvme->large = dmam_pool_create("large", &pdev->dev, LARGE * sizeof(struct sgl), 64, 0);
    return nvme->small && nvme->large ? 0 : -ENOMEM;
}

static struct platform_driver nvme_list_overrun_driver = { .probe = nvme_probe };
module_platform_driver(nvme_list_overrun_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint64_t at = corpus_address(device, SGL_ADDRESS), entry[2];
    uint8_t bytes[CHUNK];
    uint32_t i;

    if (reg != SGL_SUBMIT)
        return;
    device->registers[SGL_RESULT / 4] = 0;
    for (i = 0; i < value; i++) {
        if (dk_master_read(device->dev, at + i * sizeof(entry), entry, sizeof(entry)) ||
            le64toh(entry[1]) > sizeof(bytes) ||
            dk_master_read(device->dev, le64toh(entry[0]), bytes, le64toh(entry[1])))
            return;
        device->registers[SGL_RESULT / 4] += (uint32_t)le64toh(entry[1]);
    }
}

const struct corpus_model nvme_list_overrun_model = { .written = written };
#endif
