/* SPDX-License-Identifier: MIT */
/* <linux/interrupt.h> for driver source. */
#ifndef DMAKIT_LINUX_INTERRUPT_H
#define DMAKIT_LINUX_INTERRUPT_H

#include <dmakit/interrupt.h>
#include <linux/kernel.h>

#endif
