/* SPDX-License-Identifier: MIT */
/* <linux/pagemap.h> for driver source: the page lock's place. */
#ifndef DMAKIT_LINUX_PAGEMAP_H
#define DMAKIT_LINUX_PAGEMAP_H

#include <dmakit/migrate.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/mm.h>

#endif
