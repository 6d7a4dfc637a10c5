/* SPDX-License-Identifier: MIT */
/*
 * A graphics processor reaches 40 bits, its page tables 32. The masks are set after the first memory was
 * taken, which came under the mask that the device had before. Where no memory is below that one, there is
 * none to take, and the driver does not get as far as to its masks.
 *
 * bug-class: mask-not-set | mask-set-too-late
 * depth: 1
 * boards: high-memory
 * reference: https://github.com/revyos/th1520-linux-kernel/pull/32 ("drm/etnaviv: set the 32-bit coherent DMA
 * mask later": the order of setting masks and using them; the mended twin sets them first)
 */
#define MMU_TABLE 0x00  /* 64 bits: page table of one entry, a u64 */
#define MMU_RENDER 0x08 /* follows the table and writes the page */
#define MMU_DONE 0x0c

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct gpu {
    struct device *dev;
    void __iomem *regs;
    __le64 *table;
    dma_addr_t table_dma;
};

static int gpu_init_masks(struct gpu *gpu)
{
    int ret = dma_set_mask(gpu->dev, DMA_BIT_MASK(64)); /* BUG */

    return ret ? ret : dma_set_coherent_mask(gpu->dev, DMA_BIT_MASK(64)); /* BUG */
}

static int gpu_init_tables(struct gpu *gpu)
{
    gpu->table = dmam_alloc_coherent(gpu->dev, PAGE_SIZE, &gpu->table_dma, GFP_KERNEL); /* BUG */
    return gpu->table ? 0 : -ENOMEM;
}

int gpu_mask_late_use(struct device *dev)
{
    struct gpu *gpu = dev_get_drvdata(dev);
    struct page *page = alloc_page(GFP_KERNEL);
    dma_addr_t dma;
    int ret = -ENOMEM;

    if (!page)
        return -ENOMEM;
    dma = dma_map_page(dev, page, 0, PAGE_SIZE, DMA_FROM_DEVICE);
    if (!dma_mapping_error(dev, dma)) {
        WRITE_ONCE(gpu->table[0], cpu_to_le64(dma));
        writeq(gpu->table_dma, gpu->regs + MMU_TABLE);
        writel(1, gpu->regs + MMU_RENDER);
        ret = readl(gpu->regs + MMU_DONE) ? 0 : -EIO;
        dma_unmap_page(dev, dma, PAGE_SIZE, DMA_FROM_DEVICE);
    }
    __free_page(page);
    return ret;
}

static int gpu_probe(struct platform_device *pdev)
{
    struct gpu *gpu = devm_kzalloc(&pdev->dev, sizeof(*gpu), GFP_KERNEL);
    int ret;

    if (!gpu)
        return -ENOMEM;
    gpu->dev = &pdev->dev;
    platform_set_drvdata(pdev, gpu);
    gpu->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(gpu->regs))
        return PTR_ERR(gpu->regs);
#ifdef MENDED
    ret = gpu_init_masks(gpu);
    return ret ? ret : gpu_init_tables(gpu);
#else
    ret = gpu_init_tables(gpu);
    return ret ? ret : gpu_init_masks(gpu); /* SEEN */
#endif
}

static struct platform_driver gpu_mask_late_driver = { .probe = gpu_probe };
module_platform_driver(gpu_mask_late_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint64_t page;

    (void)value;
    if (reg == MMU_RENDER &&
        !dk_master_read(device->dev, corpus_address(device, MMU_TABLE), &page, sizeof(page)))
        device->registers[MMU_DONE / 4] = !corpus_fill(device, le64toh(page), 4096, 7);
}

const struct corpus_model gpu_mask_late_model = { .written = written };
#endif
