/* SPDX-License-Identifier: MIT */
/*
 * An accelerator's coherent buffer is remembered with an address of 32 bits. The device could reach it
 * anywhere; where the address has more bits, it reads and writes somewhere else.
 *
 * bug-class: address-truncated | iommu-unmapped
 * depth: 2
 * boards: hostile coherent-pc arm-soc-iommu
 * earlier: 1 hostile
 * reference: https://github.com/google/gasket-driver/pull/2 ("Fix DMA address truncation in
 * gasket_coherent_buffer": the mend has dma_addr_t for its type)
 */
#define TPU_BUFFER 0x00 /* 64 bits: a page of instructions */
#define TPU_RUN 0x08
#define TPU_RESULT 0x0c /* the first instruction; all ones after a fault */

#ifdef DRIVER
#include <linux/dma-mapping.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/slab.h>

struct coherent_buffer {
    __le32 *virt_base;
#ifdef MENDED
    dma_addr_t phys_base;
#else
    u32 phys_base; /* as wide as unsigned long is on a 32-bit platform */
#endif
};

struct tpu {
    void __iomem *regs;
    struct coherent_buffer buffer;
    dma_addr_t handle;
};

int tpu_address_truncated_use(struct device *dev)
{
    struct tpu *tpu = dev_get_drvdata(dev);

    WRITE_ONCE(tpu->buffer.virt_base[0], cpu_to_le32(0x7e57));
    writeq(tpu->buffer.phys_base, tpu->regs + TPU_BUFFER);
    writel(1, tpu->regs + TPU_RUN); /* BUG */
    return readl(tpu->regs + TPU_RESULT) == 0x7e57 ? 0 : -EIO;
}

static int tpu_probe(struct platform_device *pdev)
{
    struct tpu *tpu = devm_kzalloc(&pdev->dev, sizeof(*tpu), GFP_KERNEL);

    if (!tpu)
        return -ENOMEM;
    platform_set_drvdata(pdev, tpu);
    tpu->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(tpu->regs))
        return PTR_ERR(tpu->regs);
    if (dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64)))
        return -EIO;
    tpu->buffer.virt_base = dmam_alloc_coherent(&pdev->dev, PAGE_SIZE, &tpu->handle, GFP_KERNEL); /* SEEN */
    if (!tpu->buffer.virt_base)
        return -ENOMEM;
    tpu->buffer.phys_base = tpu->handle; /* BUG */
    return 0;
}

static struct platform_driver tpu_address_truncated_driver = { .probe = tpu_probe };
module_platform_driver(tpu_address_truncated_driver);

#else
#include "corpus.h"

#include <endian.h>

static void written(struct corpus_device *device, unsigned reg, uint32_t value)
{
    uint32_t first;

    (void)value;
    if (reg == TPU_RUN)
        device->registers[TPU_RESULT / 4] =
            dk_master_read(device->dev, corpus_address(device, TPU_BUFFER), &first, sizeof(first))
                ? UINT32_MAX
                : le32toh(first);
}

const struct corpus_model tpu_address_truncated_model = { .written = written };
#endif
