/* SPDX-License-Identifier: MIT */
/* <linux/swap.h> for driver source: the place of nr_free_pages(). */
#ifndef DMAKIT_LINUX_SWAP_H
#define DMAKIT_LINUX_SWAP_H

#include <dmakit/memory-info.h>

#endif
