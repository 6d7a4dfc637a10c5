/* SPDX-License-Identifier: MIT */
/* <linux/usb.h> for driver source. */
#ifndef DMAKIT_LINUX_USB_H
#define DMAKIT_LINUX_USB_H

#include <dmakit/usb.h>
#include <linux/device.h>

#endif
