/* SPDX-License-Identifier: MIT */
/* <linux/container_of.h> for driver source. */
#ifndef DMAKIT_LINUX_CONTAINER_OF_H
#define DMAKIT_LINUX_CONTAINER_OF_H

#include <dmakit/list.h>

#endif
