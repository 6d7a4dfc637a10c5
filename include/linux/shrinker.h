/* SPDX-License-Identifier: MIT */
/* <linux/shrinker.h> for driver source. */
#ifndef DMAKIT_LINUX_SHRINKER_H
#define DMAKIT_LINUX_SHRINKER_H

#include <dmakit/shrinker.h>

#endif
