/* SPDX-License-Identifier: MIT */
/*
 * What the machine room's files do for each other when a device goes or loses its driver.
 */
#ifndef DK_MACHINE_TEARDOWN_H
#define DK_MACHINE_TEARDOWN_H

#include "machine/machine.h"

/* Whether @dev was removed. Any context. */
static inline bool dk_device_is_removed(const struct device *dev)
{
    return __atomic_load_n(&dev->dk->removed, __ATOMIC_ACQUIRE);
}

/* Runs and forgets every managed resource of @dev, newest first; also those that an action adds meanwhile.
 * May sleep. */
void dk_managed_release(struct device *dev);

/*
 * Takes the newest resource of @dev with @action whose data @match(data, @key) says is meant off the device,
 * without running its action. Its data, or NULL.
 */
void *dk_managed_take(struct device *dev, void (*action)(void *data),
                      bool (*match)(const void *data, const void *key), const void *key);

/* Makes @dev's registers read as all ones, and waits for the accesses under way. May sleep. */
void dk_registers_device_removed(struct device *dev);

/* Frees the handlers that @dev's driver left on its lines, with a log line for each. May sleep. */
void dk_interrupts_device_removed(struct device *dev);

#endif
