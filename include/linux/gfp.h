/* SPDX-License-Identifier: MIT */
/* <linux/gfp.h> for driver source. */
#ifndef DMAKIT_LINUX_GFP_H
#define DMAKIT_LINUX_GFP_H

#include <dmakit/gfp.h>
#include <dmakit/migrate.h>
#include <dmakit/page.h>

#endif
