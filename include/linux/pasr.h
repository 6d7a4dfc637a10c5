/* SPDX-License-Identifier: MIT */
/* <linux/pasr.h> for driver source. */
#ifndef DMAKIT_LINUX_PASR_H
#define DMAKIT_LINUX_PASR_H

#include <dmakit/pasr.h>

#endif
