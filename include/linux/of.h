/* SPDX-License-Identifier: MIT */
/* <linux/of.h> for driver source. */
#ifndef DMAKIT_LINUX_OF_H
#define DMAKIT_LINUX_OF_H

#include <dmakit/of.h>
#include <linux/kernel.h>
#include <linux/mod_devicetable.h>

#define of_match_ptr(table) (table)

#endif
