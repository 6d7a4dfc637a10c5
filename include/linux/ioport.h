/* SPDX-License-Identifier: MIT */
/* <linux/ioport.h> for driver source. */
#ifndef DMAKIT_LINUX_IOPORT_H
#define DMAKIT_LINUX_IOPORT_H

#include <dmakit/io.h>

#endif
