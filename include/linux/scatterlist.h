/* SPDX-License-Identifier: MIT */
/* <linux/scatterlist.h> for driver source. */
#ifndef DMAKIT_LINUX_SCATTERLIST_H
#define DMAKIT_LINUX_SCATTERLIST_H

#include <dmakit/scatterlist.h>
#include <linux/mm.h>
#include <linux/types.h>

#endif
