/* SPDX-License-Identifier: MIT */
/* <linux/of_reserved_mem.h> for driver source. */
#ifndef DMAKIT_LINUX_OF_RESERVED_MEM_H
#define DMAKIT_LINUX_OF_RESERVED_MEM_H

#include <dmakit/reserved-memory.h>
#include <linux/device.h>
#include <linux/of.h>

#endif
