/* SPDX-License-Identifier: MIT */
/*
 * struct device: what a driver holds of a device.
 */
#ifndef DMAKIT_DEVICE_H
#define DMAKIT_DEVICE_H

#include <dmakit/error.h>
#include <dmakit/gfp.h>
#include <dmakit/list.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

struct dk_device;
struct dk_machine;
struct dk_memory;
struct dma_map_ops;
struct device_node;
struct device;

struct bus_type {
    const char *name;
};

struct module;
struct of_device_id;
struct dev_pm_ops;

/* A driver's static part. The library reads @name only; the others are there for source that sets them. */
struct device_driver {
    const char *name;
    const struct bus_type *bus;
    struct module *owner;
    const struct of_device_id *of_match_table;
    const struct dev_pm_ops *pm;
};

/* Limits of one device's DMA; the library owns it. Set through dma_set_max_seg_size() and its kin. */
struct device_dma_parameters {
    unsigned int max_segment_size;       /* bytes; 0: 64 KiB */
    unsigned int min_align_mask;         /* bits of an address that bouncing must keep */
    unsigned long segment_boundary_mask; /* no segment crosses a multiple of this + 1; 0: 4 GiB - 1 */
};

/*
 * A device. Made by the machine (dk_device_find(), dk_device_add()), never by the driver. Drivers use the
 * fields they know from Linux; those marked private belong to the library.
 */
struct device {
    struct device *parent; /* NULL at the root */
    const struct bus_type *bus;
    struct device_driver *driver;
    void *platform_data;
    void *driver_data; /* dev_set_drvdata() */
    struct device_node *of_node;
    u64 *dma_mask;         /* set through dma_set_mask() */
    u64 coherent_dma_mask; /* set through dma_set_coherent_mask() */
    u64 bus_dma_limit;     /* the last address that the bus can carry; 0: no limit of its own */
    struct device_dma_parameters *dma_parms;
    const struct dma_map_ops
        *dma_ops;      /* found through bus and parent when the device was made, then cached */
    bool dma_coherent; /* the device snoops the CPU's caches */

    /*
     * Private: the inline fast path. @fast_memory is not NULL only while mapping is the identity, coherent
     * and unchecked;
     * @fast_limit is the last DMA address that the device's mask and bus allow, there and on the IOMMU's
     * short way.
     */
    struct dk_memory *fast_memory;
    u64 fast_limit;
    struct dk_device *dk; /* private */
};

/* A device's name: the last component of its path. Never NULL; "(null)" for a NULL device. Any context. */
DK_PUBLIC const char *dev_name(const struct device *dev);

static inline void dev_set_drvdata(struct device *dev, void *data)
{
    dev->driver_data = data;
}

static inline void *dev_get_drvdata(const struct device *dev)
{
    return dev->driver_data;
}

/*
 * Runs @action(@data) when @dev is removed, newest first; devm_remove_action() takes it back without running
 * it. 0, -ENOMEM, or -ENODEV when @dev was removed; the _or_reset form runs it at once on failure. May sleep.
 */
DK_PUBLIC int devm_add_action(struct device *dev, void (*action)(void *data), void *data);
DK_PUBLIC int devm_add_action_or_reset(struct device *dev, void (*action)(void *data), void *data);
/* Nothing happens when there is no such action. */
DK_PUBLIC void devm_remove_action(struct device *dev, void (*action)(void *data), void *data);
/* As devm_remove_action(), then runs it. */
DK_PUBLIC void devm_release_action(struct device *dev, void (*action)(void *data), void *data);

/* kmalloc() for as long as @dev lives. NULL when out of memory. @gfp as for kmalloc(). Freed early with
 * devm_kfree(). */
DK_PUBLIC void *devm_kmalloc(struct device *dev, size_t size, gfp_t gfp);
DK_PUBLIC void devm_kfree(struct device *dev, const void *pointer);

static inline void *devm_kzalloc(struct device *dev, size_t size, gfp_t gfp)
{
    return devm_kmalloc(dev, size, gfp | __GFP_ZERO);
}

static inline void *devm_kcalloc(struct device *dev, size_t count, size_t size, gfp_t gfp)
{
    size_t bytes;

    return __builtin_mul_overflow(count, size, &bytes) ? NULL : devm_kmalloc(dev, bytes, gfp | __GFP_ZERO);
}

/* Log lines that name the device (NULL: no name), at Linux's levels. */
DK_PUBLIC void dk_device_log(const struct device *dev, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#define dev_err(dev, ...) dk_device_log(dev, 0, __VA_ARGS__)
#define dev_warn(dev, ...) dk_device_log(dev, 1, __VA_ARGS__)
#define dev_notice(dev, ...) dk_device_log(dev, 2, __VA_ARGS__)
#define dev_info(dev, ...) dk_device_log(dev, 2, __VA_ARGS__)
#define dev_dbg(dev, ...) dk_device_log(dev, 3, __VA_ARGS__)

DK_END_DECLS

#endif
