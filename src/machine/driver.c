/* SPDX-License-Identifier: MIT */
/*
 * Drivers on devices: probe and remove.
 */
#include "base/log.h"
#include "machine/teardown.h"
#include <dmakit/platform.h>

/* Called with the devices' lock. */
static int claim(struct platform_driver *driver, struct device *dev)
{
    if (dk_device_is_removed(dev))
        return -ENODEV;
    if (dev->driver)
        return -EBUSY;
    dev->driver = &driver->driver;
    return 0;
}

int dk_driver_bind(struct platform_driver *driver, struct device *dev)
{
    struct dk_machine *machine, *before;
    int error;

    if (!driver || !dev || !driver->probe)
        return -EINVAL;
    machine = dk_device_machine(dev);
    pthread_mutex_lock(&machine->devices_lock);
    error = claim(driver, dev);
    pthread_mutex_unlock(&machine->devices_lock);
    if (error)
        return error;
    before = dk_machine_enter(machine);
    error = driver->probe(to_platform_device(dev));
    if (error) {
        dk_managed_release(dev);
        dev->driver_data = NULL;
        dev->driver = NULL;
    }
    dk_machine_enter(before);
    return error;
}

void dk_driver_unbind(struct device *dev)
{
    struct dk_machine *machine, *before;
    struct platform_driver *driver;

    if (!dev || !dev->driver)
        return;
    machine = dk_device_machine(dev);
    driver = container_of(dev->driver, struct platform_driver, driver);
    before = dk_machine_enter(machine);
    if (driver->remove)
        driver->remove(to_platform_device(dev));
    dk_managed_release(dev);
    dk_machine_enter(before);
    dev->driver_data = NULL;
    dev->driver = NULL;
    if (machine->hooks.driver_unbound)
        machine->hooks.driver_unbound(machine->hooks.data, dev);
}
