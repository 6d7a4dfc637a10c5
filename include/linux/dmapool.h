/* SPDX-License-Identifier: MIT */
/* <linux/dmapool.h> for driver source. */
#ifndef DMAKIT_LINUX_DMAPOOL_H
#define DMAKIT_LINUX_DMAPOOL_H

#include <dmakit/dmapool.h>
#include <linux/device.h>
#include <linux/scatterlist.h>

#endif
