/* SPDX-License-Identifier: MIT */
/*
 * The card's data sheet: all that its driver and its model have in common.
 *
 * The card sends what it is given and hears itself: each frame that it sends comes back as a received one. It
 * has two rings of descriptors in memory, one to send and one to receive. A descriptor belongs to the card
 * while NIC_OWNED_BY_CARD is set. The card takes descriptors in turn; it reads the owner first, and writes it
 * last.
 */
#ifndef RING_NIC_REGS_H
#define RING_NIC_REGS_H

#include <linux/types.h>
#include <stddef.h>
#include <stdint.h>

/* Registers at these offsets in bytes: 32 bits each, but for the two of 64. */
#define NIC_ID 0x00       /* read: NIC_ID_VALUE */
#define NIC_CONTROL 0x04  /* NIC_CONTROL_ENABLE, or 0: the card is quiet when the write is done */
#define NIC_STATUS 0x08   /* read: NIC_STATUS_…, and clears them; the first that becomes set interrupts */
#define NIC_DOORBELL 0x0c /* write anything: there are new descriptors */
#define NIC_TX_RING 0x10  /* 64 bits: DMA address of the ring of frames to send */
#define NIC_RX_RING 0x18  /* 64 bits: DMA address of the ring of buffers to receive into */
#define NIC_REGISTERS 0x1000 /* bytes in all */

#define NIC_ID_VALUE 0x0001c0deu

#define NIC_CONTROL_ENABLE 0x1u

#define NIC_STATUS_RECEIVED 0x1u
#define NIC_STATUS_SENT 0x2u
#define NIC_STATUS_FAULT 0x4u /* the bus refused an access; the card has stopped */

#define NIC_RING_SIZE 16u   /* descriptors in each ring */
#define NIC_FRAME_MAX 1536u /* bytes */

struct nic_descriptor {
    __le64 address;  /* DMA address of the frame, or of NIC_FRAME_MAX bytes for one */
    __le32 checksum; /* of a received frame: nic_checksum() of what the card wrote */
    __le32 control;  /* owner, and the frame's length in bytes */
};

#define NIC_OWNED_BY_CARD 0x80000000u
#define NIC_LENGTH 0x0000ffffu

static inline uint32_t nic_checksum(const uint8_t *frame, size_t length)
{
    uint32_t sum = 0;
    size_t i;

    for (i = 0; i < length; i++)
        sum = sum * 31 + frame[i];
    return sum;
}

#endif
