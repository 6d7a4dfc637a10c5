/* SPDX-License-Identifier: MIT */
/* <linux/mod_devicetable.h> for driver source. */
#ifndef DMAKIT_LINUX_MOD_DEVICETABLE_H
#define DMAKIT_LINUX_MOD_DEVICETABLE_H

#include <linux/types.h>

/* What a driver drives, by compatible string. Nothing matches devices with drivers: dk_driver_bind() is told.
 */
struct of_device_id {
    char name[32];
    char type[32];
    char compatible[128];
    const void *data;
};

struct platform_device_id {
    char name[24];
    unsigned long driver_data;
};

#endif
