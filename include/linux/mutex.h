/* SPDX-License-Identifier: MIT */
/* <linux/mutex.h> for driver source. */
#ifndef DMAKIT_LINUX_MUTEX_H
#define DMAKIT_LINUX_MUTEX_H

#include <dmakit/mutex.h>
#include <linux/kernel.h>

#endif
