/* SPDX-License-Identifier: MIT */
/* <linux/completion.h> for driver source. */
#ifndef DMAKIT_LINUX_COMPLETION_H
#define DMAKIT_LINUX_COMPLETION_H

#include <dmakit/completion.h>

#endif
