/* SPDX-License-Identifier: MIT */
/*
 * The card's driver, as one writes it for Linux. Four places with MISTAKE() are where the wrong versions
 * differ from the right one.
 */
#include "nic.h"
#include "regs.h"

#include <linux/dma-mapping.h>
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/of_reserved_mem.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/spinlock.h>

/* What the driver remembers of a receive buffer. One allocation holds both, this first. */
struct nic_note {
    u32 posted; /* how often the card was given the buffer */
};

struct nic_buffer {
    u8 *frame; /* mapped at @dma */
    size_t length;
    dma_addr_t dma;
    struct nic_note *note; /* start of the allocation: receive buffers only */
};

struct nic {
    struct device *dev;
    struct nic_port *port;
    void __iomem *regs;
    gfp_t zone;   /* of memory that the card reaches */
    bool stopped; /* after a fault */

    struct nic_descriptor *rx_ring; /* coherent, as tx_ring is */
    dma_addr_t rx_ring_dma;
    struct nic_buffer rx[NIC_RING_SIZE];
    unsigned int rx_next; /* the interrupt handler's alone */

    spinlock_t tx_lock; /* guards all below: senders against the interrupt handler */
    struct nic_descriptor *tx_ring;
    dma_addr_t tx_ring_dma;
    struct nic_buffer tx[NIC_RING_SIZE];
    unsigned int tx_head; /* frames ever given to the card; also the latest frame's number */
    unsigned int tx_tail; /* frames that the card is done with */
};

/* Whether this version of the driver makes @mistake here. */
#define MISTAKE(nic, mistake_) ((nic)->port->mistake == (mistake_) && ((nic)->port->mistake_line = __LINE__))

/* Gives a descriptor to the card: the owner last, when the rest is there to be seen. */
static void nic_post(struct nic_descriptor *descriptor, dma_addr_t dma, size_t length)
{
    descriptor->address = cpu_to_le64(dma);
    dma_wmb();
    WRITE_ONCE(descriptor->control, cpu_to_le32(NIC_OWNED_BY_CARD | (u32)length));
}

/* Whether the driver owns a descriptor; if so, the rest of it may be read. */
static bool nic_owns(struct nic_descriptor *descriptor, size_t *length)
{
    u32 control = le32_to_cpu(READ_ONCE(descriptor->control));

    if (control & NIC_OWNED_BY_CARD)
        return false;
    dma_rmb();
    *length = min_t(size_t, control & NIC_LENGTH, NIC_FRAME_MAX);
    return true;
}

static void nic_post_rx(struct nic *nic, unsigned int index)
{
    nic->rx[index].note->posted++;
    nic_post(&nic->rx_ring[index], nic->rx[index].dma, NIC_FRAME_MAX);
}

static void nic_receive(struct nic *nic)
{
    size_t length;

    while (nic_owns(&nic->rx_ring[nic->rx_next], &length)) {
        u32 checksum = le32_to_cpu(nic->rx_ring[nic->rx_next].checksum);
        struct nic_buffer *buffer = &nic->rx[nic->rx_next];
        bool intact;

        /* Without this, the CPU may read what its cache held before the card wrote. */
        if (!MISTAKE(nic, NIC_NO_SYNC_FOR_CPU))
            dma_sync_single_for_cpu(nic->dev, buffer->dma, length, DMA_FROM_DEVICE);
        intact = nic_checksum(buffer->frame, length) == checksum;
        nic->port->receive(nic->port, buffer->frame, length, intact);
        dma_sync_single_for_device(nic->dev, buffer->dma, length, DMA_FROM_DEVICE);

        nic_post_rx(nic, nic->rx_next);
        nic->rx_next = (nic->rx_next + 1) % NIC_RING_SIZE;
    }
    writel(1, nic->regs + NIC_DOORBELL);
}

static void nic_free_oldest(struct nic *nic)
{
    struct nic_buffer *oldest = &nic->tx[nic->tx_tail % NIC_RING_SIZE];

    dma_unmap_single(nic->dev, oldest->dma, oldest->length, DMA_TO_DEVICE);
    kfree(oldest->frame);
    nic->tx_tail++;
}

static void nic_reclaim(struct nic *nic)
{
    unsigned long flags;
    size_t length;

    spin_lock_irqsave(&nic->tx_lock, flags);
    while (nic->tx_tail != nic->tx_head && nic_owns(&nic->tx_ring[nic->tx_tail % NIC_RING_SIZE], &length))
        nic_free_oldest(nic);
    spin_unlock_irqrestore(&nic->tx_lock, flags);
}

static irqreturn_t nic_interrupt(int irq, void *dev_id)
{
    struct nic *nic = dev_id;
    u32 status = readl(nic->regs + NIC_STATUS);

    if (status & NIC_STATUS_FAULT) {
        dev_err(nic->dev, "irq %d: the bus refused an access of the card, which has stopped\n", irq);
        WRITE_ONCE(nic->stopped, true);
    }
    if (status & NIC_STATUS_SENT)
        nic_reclaim(nic);
    if (status & NIC_STATUS_RECEIVED)
        nic_receive(nic);
    return IRQ_RETVAL(status);
}

u8 *nic_frame_alloc(struct device *dev, size_t length, gfp_t gfp)
{
    struct nic *nic = dev_get_drvdata(dev);

    return kmalloc(length, gfp | nic->zone);
}

/* Maps and numbers @frame and gives it to the card. The number comes last: a frame that can't be mapped has
 * none. */
static int nic_queue(struct nic *nic, u8 *frame, size_t length)
{
    unsigned int index = nic->tx_head % NIC_RING_SIZE;
    struct nic_header *header = (struct nic_header *)frame;
    dma_addr_t dma;

    if (nic->tx_head - nic->tx_tail == NIC_RING_SIZE)
        return -EBUSY;
    dma = dma_map_single(nic->dev, frame, length, DMA_TO_DEVICE);
    if (dma_mapping_error(nic->dev, dma))
        return -ENOMEM;
    nic->tx[index] = (struct nic_buffer){ .frame = frame, .length = length, .dma = dma };

    dma_sync_single_for_cpu(nic->dev, dma, sizeof(*header), DMA_TO_DEVICE);
    header->number = cpu_to_le32(++nic->tx_head);
    /* Without this, the number may still be in the CPU's cache when the card reads memory. */
    if (!MISTAKE(nic, NIC_NO_SYNC_FOR_DEVICE))
        dma_sync_single_for_device(nic->dev, dma, sizeof(*header), DMA_TO_DEVICE);

    /* A physical address is the CPU's; the card's bus may count from elsewhere. */
    if (MISTAKE(nic, NIC_PHYSICAL_ADDRESS))
        dma = virt_to_phys(frame);
    nic_post(&nic->tx_ring[index], dma, length);
    return 0;
}

int nic_transmit(struct device *dev, u8 *frame, size_t length)
{
    struct nic *nic = dev_get_drvdata(dev);
    unsigned long flags;
    int ret;

    if (length < sizeof(struct nic_header) || length > NIC_FRAME_MAX)
        return -EINVAL;
    if (READ_ONCE(nic->stopped))
        return -EIO;
    spin_lock_irqsave(&nic->tx_lock, flags);
    ret = nic_queue(nic, frame, length);
    spin_unlock_irqrestore(&nic->tx_lock, flags);
    if (!ret)
        writel(1, nic->regs + NIC_DOORBELL);
    return ret;
}

static int nic_fill_rx(struct nic *nic)
{
    size_t room = ALIGN(sizeof(struct nic_note), (size_t)dma_get_cache_alignment());
    unsigned int i;

    /* With this, the note shares a cache line with the frame; writing it back undoes what the card wrote. */
    if (MISTAKE(nic, NIC_SHARED_LINE))
        room = sizeof(struct nic_note);

    for (i = 0; i < NIC_RING_SIZE; i++) {
        struct nic_note *note = kzalloc(room + NIC_FRAME_MAX, GFP_KERNEL | nic->zone);
        u8 *frame = (u8 *)note + room;
        dma_addr_t dma;

        if (!note)
            return -ENOMEM;
        dma = dma_map_single(nic->dev, frame, NIC_FRAME_MAX, DMA_FROM_DEVICE);
        if (dma_mapping_error(nic->dev, dma)) {
            kfree(note);
            return -ENOMEM;
        }
        nic->rx[i] = (struct nic_buffer){ frame, NIC_FRAME_MAX, dma, note };
        nic_post_rx(nic, i);
    }
    return 0;
}

/* Takes all buffers back from a card that is quiet; not all are there when probe failed. */
static void nic_release_buffers(void *data)
{
    struct nic *nic = data;
    unsigned int i;

    while (nic->tx_tail != nic->tx_head)
        nic_free_oldest(nic);
    for (i = 0; i < NIC_RING_SIZE && nic->rx[i].note; i++) {
        dev_dbg(nic->dev, "receive buffer %u was posted %u times\n", i, nic->rx[i].note->posted);
        dma_unmap_single(nic->dev, nic->rx[i].dma, NIC_FRAME_MAX, DMA_FROM_DEVICE);
        kfree(nic->rx[i].note);
    }
}

static void nic_release_memory(void *dev)
{
    of_reserved_mem_device_release(dev);
}

/* Reserved memory, where the board has some for the card, the card's reach, rings, and buffers in them. */
static int nic_init_memory(struct nic *nic)
{
    const size_t ring_bytes = NIC_RING_SIZE * sizeof(struct nic_descriptor);
    struct device *dev = nic->dev;
    int ret = dev->of_node ? of_reserved_mem_device_init(dev) : -ENODEV;

    if (!ret)
        ret = devm_add_action_or_reset(dev, nic_release_memory, dev);
    if (ret && ret != -ENODEV)
        return ret;
    ret = dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
    if (ret)
        return ret;
    nic->zone = dma_addressing_limited(dev) ? GFP_DMA : 0;

    nic->tx_ring = dmam_alloc_coherent(dev, ring_bytes, &nic->tx_ring_dma, GFP_KERNEL);
    nic->rx_ring = dmam_alloc_coherent(dev, ring_bytes, &nic->rx_ring_dma, GFP_KERNEL);
    if (!nic->tx_ring || !nic->rx_ring)
        return -ENOMEM;
    ret = devm_add_action_or_reset(dev, nic_release_buffers, nic);
    return ret ? ret : nic_fill_rx(nic);
}

static int nic_probe(struct platform_device *pdev)
{
    struct device *dev = &pdev->dev;
    struct nic *nic = devm_kzalloc(dev, sizeof(*nic), GFP_KERNEL);
    int irq = platform_get_irq(pdev, 0);
    int ret;

    if (!nic)
        return -ENOMEM;
    if (irq < 0)
        return irq;
    nic->dev = dev;
    nic->port = dev->platform_data;
    spin_lock_init(&nic->tx_lock);
    platform_set_drvdata(pdev, nic);

    nic->regs = devm_platform_ioremap_resource(pdev, 0);
    if (IS_ERR(nic->regs))
        return PTR_ERR(nic->regs);
    if (readl(nic->regs + NIC_ID) != NIC_ID_VALUE)
        return -ENODEV;
    ret = nic_init_memory(nic);
    if (ret)
        return ret;
    ret = devm_request_irq(dev, irq, nic_interrupt, 0, dev_name(dev), nic);
    if (ret)
        return ret;
    writeq(nic->tx_ring_dma, nic->regs + NIC_TX_RING);
    writeq(nic->rx_ring_dma, nic->regs + NIC_RX_RING);
    writel(NIC_CONTROL_ENABLE, nic->regs + NIC_CONTROL);
    return 0;
}

/* The card is quiet after this. Then the handler goes, then the buffers, then the rings: last come, first
 * served. */
static void nic_remove(struct platform_device *pdev)
{
    struct nic *nic = platform_get_drvdata(pdev);

    writel(0, nic->regs + NIC_CONTROL);
}

static const struct of_device_id nic_of_match[] = { { .compatible = "dmakit,ring-nic" }, {} };
MODULE_DEVICE_TABLE(of, nic_of_match);

static struct platform_driver nic_driver = {
    .probe = nic_probe,
    .remove = nic_remove,
    .driver = { .name = "ring-nic", .of_match_table = nic_of_match },
};
module_platform_driver(nic_driver);

MODULE_DESCRIPTION("dmakit's example network card");
MODULE_LICENSE("Dual MIT/GPL");
