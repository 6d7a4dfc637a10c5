/* SPDX-License-Identifier: MIT */
/* <linux/export.h> for driver source: linking is the linker's. */
#ifndef DMAKIT_LINUX_EXPORT_H
#define DMAKIT_LINUX_EXPORT_H

#define EXPORT_SYMBOL(name) extern __typeof__(name) name
#define EXPORT_SYMBOL_GPL(name) extern __typeof__(name) name

#endif
