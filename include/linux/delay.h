/* SPDX-License-Identifier: MIT */
/* <linux/delay.h> for driver source. */
#ifndef DMAKIT_LINUX_DELAY_H
#define DMAKIT_LINUX_DELAY_H

#include <dmakit/delay.h>
#include <linux/kernel.h>

#endif
