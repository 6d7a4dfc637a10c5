/* SPDX-License-Identifier: MIT */
/*
 * Managed resources: what a driver asked for "as long as the device lives"
 * (Documentation/driver-api/driver-model/devres.rst).
 */
#include "base/alloc.h"
#include "base/log.h"
#include "machine/teardown.h"
#include <dmakit/slab.h>

struct managed {
    struct list_head link; /* in dk_device.resources */
    void (*action)(void *data);
    void *data;
};

static void free_memory(void *pointer)
{
    kfree(pointer);
}

int devm_add_action(struct device *dev, void (*action)(void *data), void *data)
{
    struct managed *managed = dk_allocate(1, sizeof(*managed));
    bool removed;

    if (!managed)
        return -ENOMEM;
    managed->action = action;
    managed->data = data;
    pthread_mutex_lock(&dev->dk->resources_lock);
    removed = dk_device_is_removed(dev);
    if (!removed)
        list_add(&managed->link, &dev->dk->resources);
    pthread_mutex_unlock(&dev->dk->resources_lock);
    if (!removed)
        return 0;
    dk_device_log(dev, DK_LOG_ERROR, "a managed resource for a device that was removed");
    dk_release(managed);
    return -ENODEV;
}

int devm_add_action_or_reset(struct device *dev, void (*action)(void *data), void *data)
{
    int error = devm_add_action(dev, action, data);

    if (error)
        action(data);
    return error;
}

/* Unlinks the newest resource of @dev that matches; NULL when there is none. The caller frees it. */
static struct managed *unlink_resource(struct device *dev, void (*action)(void *data),
                                       bool (*match)(const void *data, const void *key), const void *key)
{
    struct managed *found = NULL;
    struct managed *managed;

    pthread_mutex_lock(&dev->dk->resources_lock);
    list_for_each_entry (managed, &dev->dk->resources, link) {
        if (managed->action == action && match(managed->data, key)) {
            found = managed;
            list_del(&found->link);
            break;
        }
    }
    pthread_mutex_unlock(&dev->dk->resources_lock);
    return found;
}

void *dk_managed_take(struct device *dev, void (*action)(void *data),
                      bool (*match)(const void *data, const void *key), const void *key)
{
    struct managed *found = unlink_resource(dev, action, match, key);
    void *data = found ? found->data : NULL;

    dk_release(found);
    return data;
}

static bool same(const void *data, const void *key)
{
    return data == key;
}

/* Takes the newest resource that matches off @dev; false when there is none. */
static bool forget(struct device *dev, void (*action)(void *data), const void *data)
{
    struct managed *found = unlink_resource(dev, action, same, data);

    dk_release(found);
    return found;
}

void devm_remove_action(struct device *dev, void (*action)(void *data), void *data)
{
    forget(dev, action, data);
}

void devm_release_action(struct device *dev, void (*action)(void *data), void *data)
{
    if (forget(dev, action, data))
        action(data);
}

void *devm_kmalloc(struct device *dev, size_t size, gfp_t gfp)
{
    struct dk_memory *before = dk_memory_enter(dk_device_machine(dev)->memory);
    void *pointer = kmalloc(size, gfp);

    dk_memory_enter(before);
    if (pointer && devm_add_action_or_reset(dev, free_memory, pointer))
        return NULL;
    return pointer;
}

void devm_kfree(struct device *dev, const void *pointer)
{
    if (!pointer)
        return;
    if (forget(dev, free_memory, pointer))
        kfree(pointer);
    else
        dk_device_log(dev, DK_LOG_ERROR, "devm_kfree() of %p, which is not this device's", pointer);
}

void dk_managed_release(struct device *dev)
{
    struct managed *managed;

    for (;;) {
        pthread_mutex_lock(&dev->dk->resources_lock);
        if (list_empty(&dev->dk->resources))
            break;
        managed = list_first_entry(&dev->dk->resources, struct managed, link);
        list_del(&managed->link);
        pthread_mutex_unlock(&dev->dk->resources_lock);
        managed->action(managed->data);
        dk_release(managed);
    }
    pthread_mutex_unlock(&dev->dk->resources_lock);
}
