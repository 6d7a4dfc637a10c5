/* SPDX-License-Identifier: MIT */
/*
 * A frame grabber shows its coherent memory to an application with remap_pfn_range() and the protection that
 * the application's mapping came with: a cached view of memory that the kernel and the card use uncached.
 *
 * bug-class: alias-different-attributes
 * depth: 1
 * boards: not coherent-pc high-memory
 * reference: https://github.com/raspberrypi/linux/issues/4680 ("remap_pfn_range ... with wrong tlb cache
 * settings"; dma_mmap_coherent() works)
 */
#define GRAB_BUFFER 0x00 /* 64 bits: a page */
#define GRAB_NEXT 0x08   /* grabs a frame */
#define GRAB_COUNT 0x0c

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct grabber {
    struct device *dev;
    void __iomem *regs;
    u8 *frame;
    dma_addr_t frame_dma;
};

static int grabber_mmap(struct grabber *grabber, struct vm_area_struct *vma)
{
#ifdef MENDED
    return dma_mmap_coherent(grabber->dev, vma, grabber->frame, grabber->frame_dma, PAGE_SIZE);
#else
    struct sg_table table;
    unsigned long pfn;

    if (dma_get_sgtable(grabber->dev, &table, grabber->frame, grabber->frame_dma, PAGE_SIZE))
        return -ENXIO;
    pfn = page_to_pfn(sg_page(table.sgl));
    sg_free_table(&table);
    return remap_pfn_range(vma, vma->vm_start, pfn, PAGE_SIZE, vma->vm_page_prot); /* BUG */
#endif
}

/* The platform's data is the mapping that an application asks for. */
int camera_mmap_cached_use(struct device *dev)
{
    struct grabber *grabber = dev_get_drvdata(dev);
    struct vm_area_struct *vma = dev->platform_data;
    const volatile u8 *seen = (const volatile u8 *)vma->vm_start;
    u32 i;
    int ret = grabber_mmap(grabber, vma);

    for (i = 1; i < 4 && !ret; i++) {
        writel(i, grabber->regs + GRAB_NEXT);
        if (readl(grabber->regs + GRAB_COUNT) != i || seen[100] != i)
            ret = -EIO;
    }
    return ret;
}

static int grabber_probe(struct platform_device *pdev)
{
    struct grabber *grabber = devm_kzalloc(&pdev->dev, sizeof(*grabber), GFP_KERNEL);

    if (!grabber)
        return -ENOMEM;
    grabber->dev = &pdev->dev;
    platform_set_drvdata(pdev, grabber);
    grabber->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(grabber->regs))
        return PTR_ERR(grabber->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    grabber->frame = dmam_alloc_coherent(&pdev->dev, PAGE_SIZE, &grabber->frame_dma, GFP_KERNEL); /* SEEN */
    if (!grabber->frame)
        return -ENOMEM;
    writeq(grabber->frame_dma, grabber->regs + GRAB_BUFFER);
    return 0;
}

static struct platform_driver camera_mmap_cached_driver = { .probe = grabber_probe };
module_platform_driver(camera_mmap_cached_driver);

#else
#include "corpus.h"

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint8_t frame[1024];

    if (reg != GRAB_NEXT)
        return;
    memset(frame, (int)value, sizeof(frame));
    if (!dk_master_write(device->dev, corpus_address(device, GRAB_BUFFER), frame, sizeof(frame)))
        device->registers[GRAB_COUNT / 4]++;
}

const struct corpus_model camera_mmap_cached_model = { .written = written };
#endif
