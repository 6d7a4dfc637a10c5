/* SPDX-License-Identifier: MIT */
/*
 * The card itself, in software: what stands behind regs.h.
 */
#ifndef RING_NIC_MODEL_H
#define RING_NIC_MODEL_H

struct device;
struct nic_model;

/* A card that is @dev: its registers, its interrupts and its DMA. An error pointer: what dk_registers_add()
 * returns, -ENOMEM. */
struct nic_model *nic_model_create(struct device *dev);

/* After @dev was removed, or its machine destroyed. NULL is fine. */
void nic_model_destroy(struct nic_model *model);

#endif
