/* SPDX-License-Identifier: MIT */
/* <linux/err.h> for driver source. */
#ifndef DMAKIT_LINUX_ERR_H
#define DMAKIT_LINUX_ERR_H

#include <dmakit/error.h>
#include <linux/errno.h>

#endif
