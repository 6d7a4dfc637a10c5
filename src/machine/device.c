/* SPDX-License-Identifier: MIT */
/*
 * Devices: those of the board's nodes, and those added below them.
 */
#include "base/alloc.h"
#include "base/log.h"
#include "machine/teardown.h"
#include <dmakit/platform.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_MASK 0xffffffffull
#define DEFAULT_SEGMENT 65536u
#define DEFAULT_BOUNDARY 0xfffffffful

static const struct bus_type platform_bus = { .name = "platform" };
static const struct bus_type pci_bus = { .name = "pci" };

static void free_device(struct device *dev)
{
    pthread_mutex_destroy(&dev->dk->resources_lock);
    dk_grace_finish(&dev->dk->attachment);
    dk_release(dev->dk->name);
    dk_release(dev->dk->path);
    dk_release(dev->dk);
    dk_release(dev);
}

/* The device's name and path below @parent, which is NULL for the root. False when out of memory. */
static bool name_device(struct dk_device *dk, const struct device *parent, const char *name)
{
    bool at_root = !parent || !parent->parent;

    dk->name = dk_copy_string(*name ? name : "/");
    dk->path = parent ? dk_format("%s/%s", at_root ? "" : parent->dk->path, name) : dk_copy_string("/");
    return dk->name && dk->path;
}

/* A bare device, known to nobody yet; NULL when out of memory. */
static struct device *make_device(struct dk_machine *machine, struct device *parent, const char *name)
{
    struct device *dev = dk_allocate(1, sizeof(*dev) + DK_DEVICE_SPARE);
    struct dk_device *dk = dk_allocate(1, sizeof(*dk));

    if (!dev || !dk) {
        dk_release(dev);
        dk_release(dk);
        return NULL;
    }
    dev->dk = dk;
    dk->dev = dev;
    dk->machine = machine;
    pthread_mutex_init(&dk->resources_lock, NULL);
    dk_grace_start(&dk->attachment, true);
    INIT_LIST_HEAD(&dk->sibling);
    INIT_LIST_HEAD(&dk->children);
    INIT_LIST_HEAD(&dk->all);
    INIT_LIST_HEAD(&dk->resources);
    INIT_LIST_HEAD(&dk->mapping_objects);
    if (!name_device(dk, parent, name)) {
        free_device(dev);
        return NULL;
    }
    dev->parent = parent;
    dev->bus = &platform_bus;
    dk->mask = DEFAULT_MASK;
    dev->dma_mask = &dk->mask;
    dev->coherent_dma_mask = DEFAULT_MASK;
    dk->parameters.max_segment_size = DEFAULT_SEGMENT;
    dk->parameters.segment_boundary_mask = DEFAULT_BOUNDARY;
    dev->dma_parms = &dk->parameters;
    return dev;
}

static void set_windows(struct device *dev, const struct dk_window *windows, unsigned count)
{
    unsigned i;

    dev->dk->windows = windows;
    dev->dk->window_count = count;
    dev->bus_dma_limit = 0;
    for (i = 0; i < count; i++) {
        u64 last = windows[i].dma + (windows[i].size - 1);

        if (last > dev->bus_dma_limit)
            dev->bus_dma_limit = last;
    }
}

static struct device *child_named(const struct device *parent, const char *name)
{
    struct dk_device *dk;

    list_for_each_entry (dk, &parent->dk->children, sibling) {
        if (!strcmp(dk->name, name))
            return dk->dev;
    }
    return NULL;
}

/*
 * Puts @dev into the tree; -EINVAL when its parent was removed, -EEXIST when its name is taken there. Names
 * of the board's own nodes are known to differ, and there can be thousands.
 */
static int enter_tree(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);
    int error = 0;

    pthread_mutex_lock(&machine->devices_lock);
    if (dev->parent && dk_device_is_removed(dev->parent))
        error = -EINVAL;
    else if (dev->dk->added && child_named(dev->parent, dev->dk->name))
        error = -EEXIST;
    if (!error) {
        dev->dk->number = machine->device_count++;
        if (dev->dk->added)
            dev->dk->place = dev->parent->dk->added_below++;
        list_add_tail(&dev->dk->all, &machine->all_devices);
        if (dev->parent)
            list_add_tail(&dev->dk->sibling, &dev->parent->dk->children);
    }
    pthread_mutex_unlock(&machine->devices_lock);
    return error;
}

/* Takes @dev out of the tree; false when it was out already. Called with the devices' lock. */
static bool leave_tree(struct device *dev)
{
    if (dk_device_is_removed(dev))
        return false;
    __atomic_store_n(&dev->dk->removed, true, __ATOMIC_RELEASE);
    list_del(&dev->dk->sibling);
    return true;
}

/* Makes @dev known. On failure it is gone for good, but stays allocated once another thread may have found
 * it. */
static int add_device(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);
    int error = enter_tree(dev);

    if (error) {
        free_device(dev);
        return error;
    }
    if (machine->hooks.device_added)
        error = machine->hooks.device_added(machine->hooks.data, dev);
    if (error) {
        pthread_mutex_lock(&machine->devices_lock);
        leave_tree(dev);
        pthread_mutex_unlock(&machine->devices_lock);
    }
    return error;
}

/* The device of the board's node @index, or NULL. Called with the devices' lock. */
static struct device *device_of_node(struct dk_machine *machine, int index)
{
    struct dk_device *dk;

    list_for_each_entry (dk, &machine->all_devices, all) {
        if (dk->node == index && !dk->added && !dk_device_is_removed(dk->dev))
            return dk->dev;
    }
    return NULL;
}

/* @made: the devices of the nodes so far, by node. */
static int start_node(struct dk_machine *machine, struct device **made, int index)
{
    const struct dk_node *node = &machine->board->nodes[index];
    struct device *parent = NULL;
    struct device *dev;
    int above;

    for (above = node->parent; above >= 0 && !parent; above = machine->board->nodes[above].parent)
        parent = made[above];
    dev = make_device(machine, parent, node->name);
    if (!dev)
        return -ENOMEM;
    dev->dk->node = index;
    dev->dma_coherent = node->coherent || !machine->cache;
    if (node->parent >= 0 && machine->board->nodes[node->parent].pci_host)
        dev->bus = &pci_bus;
    set_windows(dev, node->windows, node->window_count);
    made[index] = dev;
    return add_device(dev);
}

int dk_devices_start(struct dk_machine *machine)
{
    struct device **made = dk_allocate(machine->board->node_count, sizeof(*made));
    int error = 0;
    int i;

    if (!made)
        return -ENOMEM;
    INIT_LIST_HEAD(&machine->all_devices);
    for (i = 0; i < (int)machine->board->node_count && !error; i++) {
        if (i && !machine->board->nodes[i].enabled)
            continue;
        error = start_node(machine, made, i);
        if (error)
            dk_log(DK_LOG_ERROR, "%s: no device: %s", machine->board->nodes[i].path, strerror(-error));
    }
    if (machine->board->node_count)
        machine->root = made[0];
    dk_release(made);
    if (error)
        dk_devices_finish(machine);
    return error;
}

static void tear_down(struct device *dev)
{
    struct dk_machine *machine = dk_device_machine(dev);

    if (dev->driver)
        dk_driver_unbind(dev);
    dk_managed_release(dev);
    dk_interrupts_device_removed(dev);
    dk_registers_device_removed(dev);
    if (machine->hooks.device_removed)
        machine->hooks.device_removed(machine->hooks.data, dev);
}

void dk_device_remove(struct device *dev)
{
    struct dk_machine *machine;
    struct device *leaf;

    if (!dev)
        return;
    machine = dk_device_machine(dev);
    pthread_mutex_lock(&machine->devices_lock);
    if (!leave_tree(dev)) {
        pthread_mutex_unlock(&machine->devices_lock);
        return;
    }
    do {
        leaf = dev;
        while (!list_empty(&leaf->dk->children))
            leaf = list_last_entry(&leaf->dk->children, struct dk_device, sibling)->dev;
        if (leaf != dev)
            leave_tree(leaf);
        pthread_mutex_unlock(&machine->devices_lock);
        tear_down(leaf);
        pthread_mutex_lock(&machine->devices_lock);
    } while (leaf != dev);
    pthread_mutex_unlock(&machine->devices_lock);
}

void dk_devices_finish(struct dk_machine *machine)
{
    struct dk_device *dk, *following;

    if (!machine->all_devices.next)
        return;
    dk_device_remove(machine->root);
    list_for_each_entry_safe (dk, following, &machine->all_devices, all) {
        list_del(&dk->all);
        free_device(dk->dev);
    }
    machine->root = NULL;
}

struct device *dk_device_add(struct device *parent, const char *name)
{
    struct dk_machine *machine = parent ? dk_device_machine(parent) : dk_machine_current();
    struct device *dev;
    int error;

    if (!machine || !machine->root)
        return ERR_PTR(-ENODEV);
    if (!name || !*name || strchr(name, '/'))
        return ERR_PTR(-EINVAL);
    if (!parent) {
        pthread_mutex_lock(&machine->devices_lock);
        parent = device_of_node(machine, machine->board->default_bus);
        pthread_mutex_unlock(&machine->devices_lock);
        if (!parent)
            parent = machine->root;
    }
    dev = make_device(machine, parent, name);
    if (!dev)
        return ERR_PTR(-ENOMEM);
    dev->dk->node = parent->dk->node;
    dev->dk->added = true;
    dev->bus = parent->bus;
    dev->of_node = parent->of_node;
    dev->dma_coherent = parent->dma_coherent;
    if (parent->dk->added) {
        set_windows(dev, parent->dk->windows, parent->dk->window_count);
    } else {
        const struct dk_node *node = &machine->board->nodes[parent->dk->node];

        /* The node's own dma-ranges apply to its children. */
        set_windows(dev, node->below_windows, node->below_window_count);
        if (node->pci_host)
            dev->bus = &pci_bus;
    }
    error = add_device(dev);
    if (error)
        return ERR_PTR(error);
    return dev;
}

/* The live device whose full path is @head followed by @rest. Called with the devices' lock. */
static struct device *device_at(struct dk_machine *machine, const char *head, const char *rest)
{
    size_t length = strlen(head);
    struct dk_device *dk;

    list_for_each_entry (dk, &machine->all_devices, all) {
        if (!strncmp(dk->path, head, length) && !strcmp(dk->path + length, rest) &&
            !dk_device_is_removed(dk->dev))
            return dk->dev;
    }
    return NULL;
}

/* The device that an alias and a path below it lead to. Called with the devices' lock. */
static struct device *device_by_alias(struct dk_machine *machine, const char *path)
{
    const struct dk_board *board = machine->board;
    size_t length = strcspn(path, "/");
    unsigned i;

    for (i = 0; i < board->alias_count; i++) {
        const struct dk_alias *alias = &board->aliases[i];

        if (!strncmp(alias->name, path, length) && !alias->name[length])
            return device_at(machine, board->nodes[alias->node].path, path + length);
    }
    return NULL;
}

struct device *dk_device_find(struct dk_machine *machine, const char *path)
{
    struct device *dev;
    int node;

    if (!machine || !path || !*path || !machine->root)
        return NULL;
    pthread_mutex_lock(&machine->devices_lock);
    dev = *path == '/' ? device_at(machine, path, "") : device_by_alias(machine, path);
    if (!dev) {
        node = dk_board_find(machine->board, path);
        dev = node < 0 ? NULL : device_of_node(machine, node);
    }
    pthread_mutex_unlock(&machine->devices_lock);
    return dev;
}

const char *dev_name(const struct device *dev)
{
    return dev ? dev->dk->name : "(null)";
}

const char *dk_device_path(const struct device *dev)
{
    return dev ? dev->dk->path : "(null)";
}

void dk_device_log(const struct device *dev, int level, const char *format, ...)
{
    va_list arguments;
    char line[512];

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    line[strcspn(line, "\n")] = 0;
    if (dev)
        dk_log((enum dk_log_level)level, "%s: %s", dk_device_path(dev), line);
    else
        dk_log((enum dk_log_level)level, "%s", line);
}
