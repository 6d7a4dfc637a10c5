/* SPDX-License-Identifier: MIT */
/* <linux/vmalloc.h> for driver source. */
#ifndef DMAKIT_LINUX_VMALLOC_H
#define DMAKIT_LINUX_VMALLOC_H

#include <dmakit/vmalloc.h>

#endif
