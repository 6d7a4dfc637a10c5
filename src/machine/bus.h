/* SPDX-License-Identifier: MIT */
/*
 * dk_bus_translate() with the reason of a refusal.
 */
#ifndef DK_MACHINE_BUS_H
#define DK_MACHINE_BUS_H

#include "machine/machine.h"

/* NULL after filling *phys and *run in, else a sentence that says why the bus refuses; it lives as long as
 * the library. */
const char *dk_bus_walk(struct device *dev, dma_addr_t dma, u64 length, phys_addr_t *phys, u64 *run);

#endif
