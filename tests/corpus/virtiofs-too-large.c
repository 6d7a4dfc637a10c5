/* SPDX-License-Identifier: MIT */
/*
 * A file system maps requests as large as the host said it takes. Where a mapping may have to be bounced, no
 * more than 256 KiB can be mapped at once: the request fails, on those machines only.
 *
 * bug-class: exceeds-max-mapping
 * depth: 1
 * boards: raspberry-pi-4
 * reference: https://github.com/microsoft/WSL2-Linux-Kernel/pull/261 ("fuse: virtio_fs: clamp max_pages_limit
 * by the transport DMA mapping size")
 */
#define REQ_ADDRESS 0x00 /* 64 bits */
#define REQ_WRITE 0x08   /* bytes to write */
#define REQ_DONE 0x0c    /* bytes written, in all */
#define REQ_LIMIT 0x10   /* read: the most that a request may carry */
#define HOST_LIMIT 0x80000

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct fs {
    struct device *dev;
    void __iomem *regs;
    size_t max_write;
};

static int fs_write(struct fs *fs, u8 *data, size_t length)
{
    size_t done, part;

    for (done = 0; done < length; done += part) {
        dma_addr_t dma;

        part = min(length - done, fs->max_write);
        dma = dma_map_single(fs->dev, data + done, part, DMA_TO_DEVICE); /* BUG */
        if (dma_mapping_error(fs->dev, dma))
            return -EIO;
        writeq(dma, fs->regs + REQ_ADDRESS);
        writel((u32)part, fs->regs + REQ_WRITE);
        dma_unmap_single(fs->dev, dma, part, DMA_TO_DEVICE);
    }
    return readl(fs->regs + REQ_DONE) == length ? 0 : -EIO;
}

int virtiofs_too_large_use(struct device *dev)
{
    struct fs *fs = dev_get_drvdata(dev);
    u8 *data = alloc_pages_exact(HOST_LIMIT, GFP_KERNEL | __GFP_ZERO);
    int ret;

    if (!data)
        return -ENOMEM;
    ret = fs_write(fs, data, HOST_LIMIT);
    free_pages_exact(data, HOST_LIMIT);
    return ret;
}

static int fs_probe(struct platform_device *pdev)
{
    struct fs *fs = devm_kzalloc(&pdev->dev, sizeof(*fs), GFP_KERNEL);

    if (!fs)
        return -ENOMEM;
    fs->dev = &pdev->dev;
    platform_set_drvdata(pdev, fs);
    fs->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(fs->regs))
        return PTR_ERR(fs->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    fs->max_write = readl(fs->regs + REQ_LIMIT);
#ifdef MENDED
    fs->max_write = min(fs->max_write, dma_max_mapping_size(&pdev->dev));
#endif
    return 0;
}

static struct platform_driver virtiofs_too_large_driver = { .probe = fs_probe };
module_platform_driver(virtiofs_too_large_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint64_t at = corpus_address(device, REQ_ADDRESS);
    uint8_t bytes[4096];

    if (reg != REQ_WRITE)
        return;
    for (; value; value -= value < sizeof(bytes) ? value : sizeof(bytes), at += sizeof(bytes)) {
        uint32_t part = value < sizeof(bytes) ? value : sizeof(bytes);

        if (dk_master_read(device->dev, at, bytes, part))
            return;
        device->registers[REQ_DONE / 4] += part;
    }
}

static uint32_t read_limit(struct corpus_device *device, unsigned reg)
{
    return reg == REQ_LIMIT ? HOST_LIMIT : device->registers[reg / 4];
}

const struct corpus_model virtiofs_too_large_model = { .written = written, .read = read_limit };
#endif
