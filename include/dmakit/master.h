/* SPDX-License-Identifier: MIT */
/*
 * The device's side of DMA: what a model of a device does on its bus.
 */
#ifndef DMAKIT_MASTER_H
#define DMAKIT_MASTER_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

struct device;

/*
 * @dev reads or writes the @length bytes at bus address @address. Its windows lead to memory, run by run; a
 * device that does not snoop sees DRAM, one that does (struct device.dma_coherent) sees what the CPU sees.
 *
 * Behind an IOMMU the mappings in the device's address space lead there, and the windows only bound the
 * addresses. Once an unmap has returned, no access reaches the memory through it, not even one that another
 * thread had begun.
 *
 * Where an address leads to another device's registers, the model there is called (registers.h) for aligned
 * units of 8, 4, 2 and 1 bytes, as large as fit, in ascending order, the lowest byte in the value's lowest;
 * with no lock held.
 *
 * Aligned accesses of 1, 2, 4 and 8 bytes are single-copy atomic. Writes become visible in ascending order of
 * address and in the order of the calls (release); reads are acquires, as with a PCI device.
 *
 * Memory whose refresh is off (pasr.h) answers, and keeps nothing: a read gets a pattern, a write is lost,
 * and each is reported (access-to-masked-section).
 *
 * 0, also for a length of 0; -EFAULT after a recorded fault: nothing was moved from the faulting byte on,
 * what comes before it was. Faults: outside the windows, nothing there, not mapped in the IOMMU or not for
 * such an access, the range wraps around, the device was removed, the host has no memory left, or this
 * process is a fork()ed child. -EINVAL, with nothing recorded: @dev is NULL. Any context and thread, also
 * several at once on one device.
 */
DK_PUBLIC int dk_master_read(struct device *dev, dma_addr_t address, void *into, size_t length);
DK_PUBLIC int dk_master_write(struct device *dev, dma_addr_t address, const void *from, size_t length);

/* Why an access was refused. */
enum dk_master_fault_kind {
    DK_MASTER_FAULT_BUS,        /* outside the device's windows, or nothing is there */
    DK_MASTER_FAULT_UNMAPPED,   /* nothing is mapped there in the device's IOMMU */
    DK_MASTER_FAULT_PERMISSION, /* the mapping there does not allow such an access */
    DK_MASTER_FAULT_OTHER /* the device was removed, the host has no memory left, or this is a fork()ed child
                           */
};

/* An access that the bus or the IOMMU refused. */
struct dk_master_fault {
    dma_addr_t dma; /* the first byte that was not moved */
    u64 length;     /* bytes from there on */
    bool write;
    const char *reason; /* a sentence; lives as long as the library */
    enum dk_master_fault_kind kind;
};

/* How many accesses of @dev have faulted. Any context. */
DK_PUBLIC unsigned long dk_master_fault_count(const struct device *dev);

/* The latest fault of @dev into *@fault; false when there was none. Any context. */
DK_PUBLIC bool dk_master_last_fault(const struct device *dev, struct dk_master_fault *fault);

DK_END_DECLS

#endif
