/* SPDX-License-Identifier: MIT */
/* <linux/io.h> for driver source. */
#ifndef DMAKIT_LINUX_IO_H
#define DMAKIT_LINUX_IO_H

#include <dmakit/io.h>
#include <linux/byteorder/generic.h>
#include <linux/err.h>
#include <linux/types.h>

#endif
