/* SPDX-License-Identifier: MIT */
/*
 * A driver for a copy engine, in Linux's spelling: as many of its headers as a small driver has a use for. It
 * scatters a copy over pages, maps them, and runs a request for each segment.
 */
#include <linux/atomic.h>
#include <linux/bitfield.h>
#include <linux/bitops.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/device.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/iopoll.h>
#include <linux/jiffies.h>
#include <linux/kernel.h>
#include <linux/list.h>
#include <linux/log2.h>
#include <linux/mempool.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/of_device.h>
#include <linux/of_reserved_mem.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/printk.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/types.h>
#include <linux/usb.h>
#include <linux/vmalloc.h>

#include "copier-regs.h"

#define COPIER_BUSY 0 /* bit of copier.flags */

struct copier_request {
    struct list_head node;
    dma_addr_t from;
    dma_addr_t to;
    u32 size;
};

struct copier {
    struct device *dev;
    void __iomem *regs;
    struct mutex lock; /* one copy at a time */
    spinlock_t queue_lock;
    struct list_head queue;
    struct kmem_cache *request_cache;
    mempool_t requests;
    struct completion done;
    unsigned long flags;
    atomic_t runs;
};

/* Starts the first request of the queue, if there is one. */
static void copier_kick(struct copier *copier)
{
    struct copier_request *request;
    unsigned long flags;

    spin_lock_irqsave(&copier->queue_lock, flags);
    request = list_first_entry_or_null(&copier->queue, struct copier_request, node);
    if (request && !test_and_set_bit(COPIER_BUSY, &copier->flags)) {
        list_del(&request->node);
        writeq(request->from, copier->regs + COPIER_FROM);
        writeq(request->to, copier->regs + COPIER_TO);
        writel(request->size, copier->regs + COPIER_START);
        mempool_free(request, &copier->requests);
    } else if (!request) {
        complete(&copier->done);
    }
    spin_unlock_irqrestore(&copier->queue_lock, flags);
}

static irqreturn_t copier_interrupt(int irq, void *dev_id)
{
    struct copier *copier = dev_id;

    if (WARN_ON(irq < 0) || !test_and_clear_bit(COPIER_BUSY, &copier->flags))
        return IRQ_NONE;
    atomic_inc(&copier->runs);
    copier_kick(copier);
    return IRQ_HANDLED;
}

static int copier_queue(struct copier *copier, struct sg_table *table, dma_addr_t to)
{
    struct copier_request *request, *following;
    struct scatterlist *sg;
    unsigned int i;

    for_each_sgtable_dma_sg (table, sg, i) {
        request = mempool_alloc(&copier->requests, GFP_NOWAIT);
        if (!request)
            goto drop;
        request->from = sg_dma_address(sg);
        request->to = to;
        request->size = sg_dma_len(sg);
        to += request->size;
        list_add_tail(&request->node, &copier->queue);
    }
    return 0;
drop:
    list_for_each_entry_safe (request, following, &copier->queue, node) {
        list_del(&request->node);
        mempool_free(request, &copier->requests);
    }
    return -ENOMEM;
}

/* Copies what @table holds into @to, @size bytes. */
static int copier_run(struct copier *copier, struct sg_table *table, void *to, size_t size)
{
    dma_addr_t dma;
    u32 state;
    int ret = dma_map_sgtable(copier->dev, table, DMA_TO_DEVICE, 0);

    if (ret)
        return ret;
    dma = dma_map_single(copier->dev, to, size, DMA_FROM_DEVICE);
    ret = dma_mapping_error(copier->dev, dma);
    if (ret)
        goto unmap_table;
    ret = copier_queue(copier, table, dma);
    if (ret)
        goto unmap;
    reinit_completion(&copier->done);
    copier_kick(copier);
    if (!wait_for_completion_timeout(&copier->done, msecs_to_jiffies(2000)))
        ret = -ETIMEDOUT;
    else
        ret = readl_poll_timeout(copier->regs + COPIER_STATE, state, state & COPIER_IDLE, 10, 1000);
unmap:
    dma_unmap_single(copier->dev, dma, size, DMA_FROM_DEVICE);
unmap_table:
    dma_unmap_sgtable(copier->dev, table, DMA_TO_DEVICE, 0);
    return ret;
}

int copier_copy(struct device *dev, void *to, const void *from, unsigned long size)
{
    struct copier *copier = dev_get_drvdata(dev);
    unsigned int i, count = DIV_ROUND_UP(size, PAGE_SIZE);
    struct scatterlist *sg;
    struct sg_table table;
    u8 *landing;
    int ret;

    if (!size || size > SZ_1M)
        return -EINVAL;
    landing = kmalloc(roundup_pow_of_two(size), GFP_KERNEL);
    if (!landing)
        return -ENOMEM;
    ret = sg_alloc_table(&table, count, GFP_KERNEL);
    if (ret)
        goto free_landing;
    for_each_sgtable_sg (&table, sg, i) {
        struct page *page = alloc_page(GFP_KERNEL);
        size_t length = min_t(size_t, size - i * PAGE_SIZE, PAGE_SIZE);

        ret = -ENOMEM;
        if (!page)
            goto free_pages;
        memcpy(page_address(page), (const u8 *)from + i * PAGE_SIZE, length);
        sg_set_page(sg, page, length, 0);
    }
    mutex_lock(&copier->lock);
    ret = copier_run(copier, &table, landing, size);
    mutex_unlock(&copier->lock);
    if (!ret)
        memcpy(to, landing, size);
free_pages:
    for_each_sgtable_sg (&table, sg, i)
        if (sg_page(sg))
            __free_page(sg_page(sg));
    sg_free_table(&table);
free_landing:
    kfree(landing);
    return ret;
}

int copier_runs(struct device *dev)
{
    struct copier *copier = dev_get_drvdata(dev);

    return atomic_read(&copier->runs);
}

static void copier_free_requests(void *data)
{
    struct copier *copier = data;

    mempool_exit(&copier->requests);
    kmem_cache_destroy(copier->request_cache);
}

static int copier_probe(struct platform_device *pdev)
{
    struct device *dev = &pdev->dev;
    struct copier *copier = devm_kzalloc(dev, sizeof(*copier), GFP_KERNEL);
    int irq, ret;

    if (!copier)
        return -ENOMEM;
    copier->dev = dev;
    copier->regs = devm_ioremap_resource(dev, platform_get_resource(pdev, IORESOURCE_MEM, 0));
    if (IS_ERR(copier->regs))
        return PTR_ERR(copier->regs);
    if (FIELD_GET(COPIER_MAJOR_MASK, readl(copier->regs + COPIER_VERSION)) != COPIER_MAJOR)
        return -ENODEV;
    mutex_init(&copier->lock);
    spin_lock_init(&copier->queue_lock);
    INIT_LIST_HEAD(&copier->queue);
    init_completion(&copier->done);
    copier->request_cache = KMEM_CACHE(copier_request, SLAB_HWCACHE_ALIGN);
    ret = devm_add_action_or_reset(dev, copier_free_requests, copier);
    if (ret)
        return ret;
    if (!copier->request_cache || mempool_init_slab_pool(&copier->requests, 4, copier->request_cache))
        return -ENOMEM;
    platform_set_drvdata(pdev, copier);

    ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(40));
    if (ret)
        return dev_err_probe(dev, ret, "no usable memory\n");
    dma_set_max_seg_size(dev, SZ_64K);
    irq = platform_get_irq(pdev, 0);
    if (irq < 0)
        return irq;
    return devm_request_irq(dev, irq, copier_interrupt, 0, "copier", copier);
}

static const struct of_device_id copier_of_match[] = {
    { .compatible = "dmakit,copier" },
    { /* sentinel */ },
};
MODULE_DEVICE_TABLE(of, copier_of_match);

static struct platform_driver copier_driver = {
    .probe = copier_probe,
    .driver = {
        .name = "copier",
        .owner = THIS_MODULE,
        .of_match_table = of_match_ptr(copier_of_match),
    },
};
module_platform_driver(copier_driver);

static int __init copier_init(void)
{
    pr_info("copier: here\n");
    return 0;
}
module_init(copier_init);

static void __exit copier_exit(void)
{
    pr_info("copier: gone\n");
}
module_exit(copier_exit);

MODULE_AUTHOR("dmakit");
MODULE_DESCRIPTION("A copy engine that does not exist");
MODULE_LICENSE("Dual MIT/GPL");
