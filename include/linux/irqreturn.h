/* SPDX-License-Identifier: MIT */
/* <linux/irqreturn.h> for driver source. */
#ifndef DMAKIT_LINUX_IRQRETURN_H
#define DMAKIT_LINUX_IRQRETURN_H

#include <dmakit/interrupt.h>

#endif
