/* SPDX-License-Identifier: MIT */
/* <linux/cma.h> for driver source. */
#ifndef DMAKIT_LINUX_CMA_H
#define DMAKIT_LINUX_CMA_H

#include <dmakit/cma.h>

#endif
