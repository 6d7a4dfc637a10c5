/* SPDX-License-Identifier: MIT */
/* <linux/build_bug.h> for driver source. */
#ifndef DMAKIT_LINUX_BUILD_BUG_H
#define DMAKIT_LINUX_BUILD_BUG_H

#include <linux/bug.h>

#endif
