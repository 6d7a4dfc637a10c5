/* SPDX-License-Identifier: MIT */
/* <linux/oom.h> for driver source. */
#ifndef DMAKIT_LINUX_OOM_H
#define DMAKIT_LINUX_OOM_H

#include <dmakit/shrinker.h>

#endif
