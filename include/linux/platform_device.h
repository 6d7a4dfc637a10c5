/* SPDX-License-Identifier: MIT */
/* <linux/platform_device.h> for driver source. */
#ifndef DMAKIT_LINUX_PLATFORM_DEVICE_H
#define DMAKIT_LINUX_PLATFORM_DEVICE_H

#include <dmakit/platform.h>
#include <linux/device.h>
#include <linux/mod_devicetable.h>

#endif
