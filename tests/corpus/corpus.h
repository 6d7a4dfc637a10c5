/* SPDX-License-Identifier: MIT */
/*
 * The bench of the corpus: what a device's model is to main.c, which brings up a machine and binds the
 * driver.
 *
 * A driver and its model stand in one source, which is compiled twice: with DRIVER it is the driver, which
 * sees <linux/...> alone (and with MENDED the bug is mended), without it the model, which sees this header.
 * What stands above both is the device's data sheet. Registers, interrupts and DMA are all they share.
 */
#ifndef CORPUS_H
#define CORPUS_H

#include <dmakit/dmakit.h>
#include <stdint.h>
#include <string.h>

#define CORPUS_REGISTERS 64 /* of 32 bits each, at offsets 0, 4, 8, ... */

struct corpus_device;

/*
 * A device. Its registers keep what was written to them last. Called in the driver's thread with no lock
 * held: the drivers here use their registers from one thread at a time.
 */
struct corpus_model {
    /* After the register at byte offset @reg took @value (of a 64-bit write: the low half); may be NULL. */
    void (*written)(struct corpus_device *device, unsigned reg, uint32_t value);
    /* What a read of @reg gives instead of what was written last; may be NULL. */
    uint32_t (*read)(struct corpus_device *device, unsigned reg);
};

struct corpus_device {
    struct device *dev;
    const struct corpus_model *model;
    uint32_t registers[CORPUS_REGISTERS];
    unsigned long accesses; /* counts what the model likes to count, like its reads of a status register */
};

/* The 64-bit value of the registers at @reg (low half) and @reg + 4. */
static inline uint64_t corpus_address(const struct corpus_device *device, unsigned reg)
{
    return device->registers[reg / 4] | (uint64_t)device->registers[reg / 4 + 1] << 32;
}

/* Byte @at of pattern @seed: what models send and expect. */
static inline uint8_t corpus_byte(unsigned seed, size_t at)
{
    return (uint8_t)(seed * 131 + at * 7 + 1);
}

/* The device writes @length bytes of pattern @seed to @address. 0 or -EFAULT. */
int corpus_fill(struct corpus_device *device, uint64_t address, size_t length, unsigned seed);

#endif
