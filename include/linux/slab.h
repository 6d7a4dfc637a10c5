/* SPDX-License-Identifier: MIT */
/* <linux/slab.h> for driver source. */
#ifndef DMAKIT_LINUX_SLAB_H
#define DMAKIT_LINUX_SLAB_H

#include <dmakit/slab.h>
#include <linux/gfp.h>
#include <linux/types.h>

#endif
