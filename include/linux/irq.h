/* SPDX-License-Identifier: MIT */
/* <linux/irq.h> for driver source. */
#ifndef DMAKIT_LINUX_IRQ_H
#define DMAKIT_LINUX_IRQ_H

#include <dmakit/interrupt.h>
#include <linux/io.h>

#endif
