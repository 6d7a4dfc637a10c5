/* SPDX-License-Identifier: MIT */
/* <linux/spinlock.h> for driver source. */
#ifndef DMAKIT_LINUX_SPINLOCK_H
#define DMAKIT_LINUX_SPINLOCK_H

#include <dmakit/spinlock.h>
#include <linux/kernel.h>

#endif
