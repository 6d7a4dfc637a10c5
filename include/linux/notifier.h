/* SPDX-License-Identifier: MIT */
/* <linux/notifier.h> for driver source. */
#ifndef DMAKIT_LINUX_NOTIFIER_H
#define DMAKIT_LINUX_NOTIFIER_H

#include <dmakit/notifier.h>

#endif
