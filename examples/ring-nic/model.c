/* SPDX-License-Identifier: MIT */
/*
 * The card. It knows memory by DMA addresses only, and the driver by registers and interrupts only.
 *
 * A real card works in its own time; this one has done all it can when the write to the doorbell returns, so
 * that runs can be repeated.
 */
#include "model.h"
#include "regs.h"

#include <dmakit/device.h>
#include <dmakit/interrupt.h>
#include <dmakit/master.h>
#include <dmakit/registers.h>
#include <endian.h>
#include <pthread.h>
#include <stdlib.h>

struct ring {
    uint64_t base; /* DMA address */
    unsigned next; /* index of the descriptor that is the card's turn */
};

struct nic_model {
    struct device *dev;
    pthread_mutex_t lock; /* guards all below: the driver may use registers from several threads */
    uint32_t control;
    uint32_t status;
    struct ring tx;
    struct ring rx;
    uint8_t frame[NIC_FRAME_MAX]; /* on its way */
};

/* Sets status bits, and interrupts when none was set. */
static void signal_status(struct nic_model *model, uint32_t bits)
{
    bool quiet = !model->status;

    model->status |= bits;
    if (quiet)
        dk_interrupt_raise(model->dev, 0);
}

static uint64_t descriptor_at(const struct ring *ring)
{
    return ring->base + ring->next * sizeof(struct nic_descriptor);
}

/* The ring's next descriptor, host-endian. 1: it is the card's; 0: it is not; or -EFAULT. */
static int fetch(struct nic_model *model, const struct ring *ring, uint64_t *address, uint32_t *length)
{
    uint64_t at = descriptor_at(ring);
    __le32 control;
    __le64 where;
    int ret =
        dk_master_read(model->dev, at + offsetof(struct nic_descriptor, control), &control, sizeof(control));

    if (ret)
        return ret;
    if (!(le32toh(control) & NIC_OWNED_BY_CARD))
        return 0;
    ret = dk_master_read(model->dev, at + offsetof(struct nic_descriptor, address), &where, sizeof(where));
    if (ret)
        return ret;
    *address = le64toh(where);
    *length = le32toh(control) & NIC_LENGTH;
    return 1;
}

/* Gives the ring's next descriptor back to the driver: the owner last. */
static int finish(struct nic_model *model, struct ring *ring, uint32_t length, uint32_t sum)
{
    uint64_t at = descriptor_at(ring);
    __le32 checksum = htole32(sum);
    __le32 control = htole32(length);
    int ret = dk_master_write(model->dev, at + offsetof(struct nic_descriptor, checksum), &checksum,
                              sizeof(checksum));

    if (!ret)
        ret = dk_master_write(model->dev, at + offsetof(struct nic_descriptor, control), &control,
                              sizeof(control));
    ring->next = (ring->next + 1) % NIC_RING_SIZE;
    return ret;
}

/* Sends one frame and receives it. 1; 0 when there is none, or nowhere to put it; or -EFAULT. */
static int loop_frame(struct nic_model *model)
{
    uint64_t from = 0, to = 0;
    uint32_t length = 0, room = 0;
    int ret = fetch(model, &model->tx, &from, &length);

    if (ret <= 0)
        return ret;
    ret = fetch(model, &model->rx, &to, &room);
    if (ret <= 0)
        return ret;
    if (length > room)
        length = room;
    if (length > NIC_FRAME_MAX)
        length = NIC_FRAME_MAX;

    ret = dk_master_read(model->dev, from, model->frame, length);
    if (!ret)
        ret = dk_master_write(model->dev, to, model->frame, length);
    if (!ret)
        ret = finish(model, &model->rx, length, nic_checksum(model->frame, length));
    if (!ret)
        ret = finish(model, &model->tx, length, 0);
    return ret ? ret : 1;
}

static void run(struct nic_model *model)
{
    int ret = 0;

    while (model->control & NIC_CONTROL_ENABLE && (ret = loop_frame(model)) > 0)
        signal_status(model, NIC_STATUS_SENT | NIC_STATUS_RECEIVED);
    if (ret < 0) {
        model->control = 0;
        signal_status(model, NIC_STATUS_FAULT);
    }
}

static uint64_t read_register(void *data, uint64_t offset, unsigned width)
{
    struct nic_model *model = data;
    uint64_t value = 0;

    (void)width;
    pthread_mutex_lock(&model->lock);
    if (offset == NIC_ID) {
        value = NIC_ID_VALUE;
    } else if (offset == NIC_CONTROL) {
        value = model->control;
    } else if (offset == NIC_STATUS) {
        value = model->status;
        model->status = 0;
    }
    pthread_mutex_unlock(&model->lock);
    return value;
}

static void write_register(void *data, uint64_t offset, unsigned width, uint64_t value)
{
    struct nic_model *model = data;

    (void)width;
    pthread_mutex_lock(&model->lock);
    if (offset == NIC_CONTROL)
        model->control = (uint32_t)value;
    else if (offset == NIC_TX_RING)
        model->tx = (struct ring){ .base = value };
    else if (offset == NIC_RX_RING)
        model->rx = (struct ring){ .base = value };
    else if (offset == NIC_DOORBELL)
        run(model);
    pthread_mutex_unlock(&model->lock);
}

static const struct dk_register_ops registers = { .read = read_register, .write = write_register };

struct nic_model *nic_model_create(struct device *dev)
{
    struct nic_model *model = calloc(1, sizeof(*model));
    int ret;

    if (!model)
        return ERR_PTR(-ENOMEM);
    model->dev = dev;
    pthread_mutex_init(&model->lock, NULL);
    ret = dk_registers_add(dev, NIC_REGISTERS, &registers, model);
    if (ret) {
        nic_model_destroy(model);
        return ERR_PTR(ret);
    }
    return model;
}

void nic_model_destroy(struct nic_model *model)
{
    if (!model)
        return;
    pthread_mutex_destroy(&model->lock);
    free(model);
}
