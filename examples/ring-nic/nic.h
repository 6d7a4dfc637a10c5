/* SPDX-License-Identifier: MIT */
/*
 * What the driver offers those above it, as a network stack would use it.
 */
#ifndef RING_NIC_NIC_H
#define RING_NIC_NIC_H

#include <linux/platform_device.h>

/* The driver as it should be, and four ways to get it wrong. All five work on a coherent PC. */
enum nic_mistake {
    NIC_RIGHT,
    NIC_NO_SYNC_FOR_CPU,    /* reads what was received without taking the buffer back from the card */
    NIC_NO_SYNC_FOR_DEVICE, /* stores to a mapped frame without giving it back to the card */
    NIC_PHYSICAL_ADDRESS,   /* tells the card where the CPU sees the frame, not where the card does */
    NIC_SHARED_LINE,        /* keeps notes of its own in a cache line that the card writes to */
};

/* The device's platform data: who gets the frames. The driver's until it is unbound. */
struct nic_port {
    enum nic_mistake mistake;
    int mistake_line; /* where in driver.c it was made; 0: not yet */
    /*
     * One received frame; @intact: it has the checksum that the card computed. @frame is the driver's again
     * when this returns. Atomic context.
     */
    void (*receive)(struct nic_port *port, const u8 *frame, size_t length, bool intact);
};

/* A frame starts with this; the driver fills it in. */
struct nic_header {
    __le32 number; /* 1 for the first frame sent */
};

/* Memory for a frame of @length bytes that @dev can send; NULL: none. Given to nic_transmit(), or to kfree().
 */
u8 *nic_frame_alloc(struct device *dev, size_t length, gfp_t gfp);

/*
 * Sends @frame. 0, and it is the driver's, which frees it when it was sent; -EBUSY the ring is full, -EIO the
 * card has stopped, -EINVAL a bad length, -ENOMEM it could not be mapped: it stays the caller's. Any context.
 */
int nic_transmit(struct device *dev, u8 *frame, size_t length);

extern struct platform_driver *const dk_module_driver_nic_driver;

#endif
