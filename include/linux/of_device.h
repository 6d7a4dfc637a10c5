/* SPDX-License-Identifier: MIT */
/* <linux/of_device.h> for driver source. */
#ifndef DMAKIT_LINUX_OF_DEVICE_H
#define DMAKIT_LINUX_OF_DEVICE_H

#include <linux/of.h>
#include <linux/platform_device.h>

#endif
