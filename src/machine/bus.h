/* SPDX-License-Identifier: MIT */
/*
 * Where a device's accesses lead on its bus, with the reason of a refusal. Reasons are sentences, and live as
 * long as the library.
 */
#ifndef DK_MACHINE_BUS_H
#define DK_MACHINE_BUS_H

#include "machine/machine.h"

struct dk_bus_target {
    phys_addr_t phys;
    u64 run; /* bytes, at most as many as were asked for, that follow contiguously in one piece of what is
                there */
    bool registers; /* of another device, not RAM */
};

extern const char dk_bus_no_memory[];

/* For a device without an IOMMU: through its windows to RAM or registers, or, its address being a physical
 * one, straight to registers where no window leads anywhere. NULL after filling *target in, else the reason.
 */
const char *dk_bus_walk(struct device *dev, dma_addr_t dma, u64 length, struct dk_bus_target *target);

/* Behind an IOMMU windows only bound the addresses: NULL after reducing *length to the bytes from @dma on
 * that one of them holds, else the reason. */
const char *dk_bus_bound(const struct device *dev, dma_addr_t dma, u64 *length);

/* What is at a physical address: false when there is neither RAM nor registers. */
bool dk_bus_lead(struct dk_machine *machine, phys_addr_t phys, u64 length, struct dk_bus_target *target);

#endif
