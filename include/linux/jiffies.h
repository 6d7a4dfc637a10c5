/* SPDX-License-Identifier: MIT */
/* <linux/jiffies.h> for driver source. */
#ifndef DMAKIT_LINUX_JIFFIES_H
#define DMAKIT_LINUX_JIFFIES_H

#include <dmakit/delay.h>

#endif
