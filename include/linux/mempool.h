/* SPDX-License-Identifier: MIT */
/* <linux/mempool.h> for driver source. */
#ifndef DMAKIT_LINUX_MEMPOOL_H
#define DMAKIT_LINUX_MEMPOOL_H

#include <dmakit/mempool.h>
#include <linux/gfp.h>
#include <linux/slab.h>
#include <linux/types.h>

#endif
