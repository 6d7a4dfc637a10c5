/* SPDX-License-Identifier: MIT */
/* <linux/highmem.h> for driver source. */
#ifndef DMAKIT_LINUX_HIGHMEM_H
#define DMAKIT_LINUX_HIGHMEM_H

#include <dmakit/page.h>
#include <linux/mm.h>

#endif
