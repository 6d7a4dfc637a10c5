/* SPDX-License-Identifier: MIT */
/* <linux/migrate.h> for driver source. */
#ifndef DMAKIT_LINUX_MIGRATE_H
#define DMAKIT_LINUX_MIGRATE_H

#include <dmakit/migrate.h>

#endif
