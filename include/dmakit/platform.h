/* SPDX-License-Identifier: MIT */
/*
 * Platform devices and their drivers (Documentation/driver-api/driver-model/platform.rst).
 */
#ifndef DMAKIT_PLATFORM_H
#define DMAKIT_PLATFORM_H

#include <dmakit/device.h>
#include <dmakit/interrupt.h>
#include <dmakit/io.h>

DK_BEGIN_DECLS

/* Every device of a machine is one: to_platform_device() holds for all. */
struct platform_device {
    struct device dev; /* first */
};

#define to_platform_device(d) container_of(d, struct platform_device, dev)

struct platform_driver {
    int (*probe)(struct platform_device *pdev); /* 0 or -errno; may sleep */
    union {
        void (*remove)(struct platform_device *pdev); /* may be NULL; may sleep */
        void (*remove_new)(struct platform_device *pdev);
    };
    void (*shutdown)(struct platform_device *pdev); /* never called */
    struct device_driver driver;
};

static inline void platform_set_drvdata(struct platform_device *pdev, void *data)
{
    dev_set_drvdata(&pdev->dev, data);
}

static inline void *platform_get_drvdata(const struct platform_device *pdev)
{
    return dev_get_drvdata(&pdev->dev);
}

/*
 * Gives @dev to @driver: calls its probe in this thread, with the device's machine entered.
 * 0; what probe returned, with the managed resources released again; -EBUSY it has a driver; -ENODEV it was
 * removed; -EINVAL a NULL argument or no probe. May sleep. @driver is the caller's and outlives the binding.
 */
DK_PUBLIC int dk_driver_bind(struct platform_driver *driver, struct device *dev);

/*
 * Takes @dev from its driver: calls remove, then releases the managed resources, newest first, and the
 * checker reports what is still mapped. Nothing happens when it has none. Removing a device does this first.
 * May sleep.
 */
DK_PUBLIC void dk_driver_unbind(struct device *dev);

DK_END_DECLS

#endif
