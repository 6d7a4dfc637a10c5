/* SPDX-License-Identifier: MIT */
/* <linux/of_address.h> for driver source. */
#ifndef DMAKIT_LINUX_OF_ADDRESS_H
#define DMAKIT_LINUX_OF_ADDRESS_H

#include <linux/io.h>
#include <linux/of.h>

#endif
