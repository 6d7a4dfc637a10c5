/* SPDX-License-Identifier: MIT */
/* <linux/types.h> for driver source. */
#if __has_include_next(<linux/types.h>)
#include_next <linux/types.h>
#endif

#ifndef DMAKIT_LINUX_TYPES_H
#define DMAKIT_LINUX_TYPES_H

#include <dmakit/types.h>

#endif
