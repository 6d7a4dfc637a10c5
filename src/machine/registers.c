/* SPDX-License-Identifier: MIT */
/*
 * Register regions: the model's callbacks behind addresses that are no memory.
 *
 * A cookie is an address in a slot that nothing may touch, divided into cells; a region takes whole cells and
 * one more, so that an access past its end is noticed. Regions stay allocated until the machine goes, so an
 * access finds its region without a lock, also while another thread unmaps it or removes the device.
 */
#include <dmakit/registers.h>

#include "base/alloc.h"
#include "base/log.h"
#include "machine/teardown.h"
#include <dmakit/platform.h>
#include <sched.h>

#define CELL_SHIFT 16
#define CELLS (DK_SLOT_SIZE >> CELL_SHIFT)
#define LARGEST (DK_SLOT_SIZE / 2)

struct region {
    struct list_head link; /* in dk_register_space.regions */
    struct device *dev;
    struct resource resource;
    unsigned index; /* of the device's */
    u64 size;
    size_t cookie; /* offset in the slot */
    const struct dk_register_ops *ops;
    void *model;
    unsigned mapped; /* ioremap()s that were not undone; atomic */
    unsigned active; /* threads in @ops; atomic */
    bool gone;       /* the device was removed; atomic */
    bool claimed;    /* guarded by the space's lock */
};

struct dk_register_space {
    struct dk_machine *machine;
    pthread_mutex_t lock;     /* guards what follows, but readers of cells take none */
    struct list_head regions; /* oldest first */
    struct dk_slot *slot;     /* NULL until the first region */
    struct region **cells;    /* what each cell of the slot belongs to, or NULL */
    size_t next_cell;
    phys_addr_t next_phys;
};

/* How many accesses this thread is inside of: a model's callback that removes its own device must not wait
 * for itself. */
static unsigned *own_depth(void)
{
    static _Thread_local unsigned depth;

    return &depth;
}

int dk_registers_start(struct dk_machine *machine)
{
    struct dk_register_space *space = dk_allocate(1, sizeof(*space));

    if (!space)
        return -ENOMEM;
    space->machine = machine;
    pthread_mutex_init(&space->lock, NULL);
    INIT_LIST_HEAD(&space->regions);
    machine->registers = space;
    return 0;
}

void dk_registers_finish(struct dk_machine *machine)
{
    struct dk_register_space *space = machine->registers;
    struct region *region, *following;

    if (!space)
        return;
    machine->registers = NULL;
    list_for_each_entry_safe (region, following, &space->regions, link) {
        list_del(&region->link);
        dk_release(region);
    }
    pthread_mutex_destroy(&space->lock);
    dk_release(space->cells);
    dk_release(space);
}

/* The slot and its table, made when first needed: most machines have no registers. */
static int make_cells(struct dk_register_space *space)
{
    if (!space->cells)
        space->cells = dk_allocate(CELLS, sizeof(struct region *));
    if (!space->cells)
        return -ENOMEM;
    if (space->slot)
        return 0;
    space->slot = dk_memory_take_slot(space->machine->memory, DK_SLOT_REGISTERS);
    if (!space->slot)
        return -ENOMEM;
    space->next_phys = (dk_memory_last(space->machine->memory) / DK_SLOT_SIZE + 1) * DK_SLOT_SIZE;
    return 0;
}

static unsigned regions_of(const struct dk_register_space *space, const struct device *dev)
{
    struct region *region;
    unsigned count = 0;

    list_for_each_entry (region, &space->regions, link)
        count += region->dev == dev;
    return count;
}

/* Called with the space's lock. */
static int place(struct dk_register_space *space, struct region *region)
{
    size_t cells = (region->size + ((size_t)1 << CELL_SHIFT) - 1) >> CELL_SHIFT;
    size_t i;
    int error;

    if (dk_device_is_removed(region->dev))
        return -ENODEV;
    error = make_cells(space);
    if (error)
        return error;
    if (cells + 1 > CELLS - space->next_cell)
        return -ENOSPC;
    region->index = regions_of(space, region->dev);
    region->cookie = space->next_cell << CELL_SHIFT;
    region->resource.start = space->next_phys;
    region->resource.end = space->next_phys + region->size - 1;
    space->next_phys += (cells + 1) << CELL_SHIFT;
    for (i = 0; i < cells; i++)
        __atomic_store_n(&space->cells[space->next_cell + i], region, __ATOMIC_RELEASE);
    space->next_cell += cells + 1;
    list_add_tail(&region->link, &space->regions);
    return 0;
}

int dk_registers_add(struct device *dev, uint64_t size, const struct dk_register_ops *ops, void *model)
{
    struct dk_register_space *space;
    struct region *region;
    int error;

    if (!dev || !ops || !size || size > LARGEST)
        return -EINVAL;
    space = dk_device_machine(dev)->registers;
    region = dk_allocate(1, sizeof(*region));
    if (!region)
        return -ENOMEM;
    region->dev = dev;
    region->resource.name = dk_device_path(dev);
    region->resource.flags = IORESOURCE_MEM;
    region->size = size;
    region->ops = ops;
    region->model = model;
    pthread_mutex_lock(&space->lock);
    error = place(space, region);
    pthread_mutex_unlock(&space->lock);
    if (error) {
        dk_device_log(dev, DK_LOG_ERROR, "a register region of %#llx bytes could not be made (%d)",
                      (unsigned long long)size, error);
        dk_release(region);
    }
    return error;
}

/* A region of @dev that is not gone yet, or that another thread is in. Called with the space's lock. */
static struct region *busy_region(struct dk_register_space *space, const struct device *dev)
{
    struct region *region;

    list_for_each_entry (region, &space->regions, link) {
        if (region->dev == dev &&
            (!region->gone || (!*own_depth() && __atomic_load_n(&region->active, __ATOMIC_SEQ_CST))))
            return region;
    }
    return NULL;
}

void dk_registers_device_removed(struct device *dev)
{
    struct dk_register_space *space = dk_device_machine(dev)->registers;
    struct region *region;

    if (!space)
        return;
    do {
        pthread_mutex_lock(&space->lock);
        region = busy_region(space, dev);
        if (region)
            __atomic_store_n(&region->gone, true, __ATOMIC_SEQ_CST);
        pthread_mutex_unlock(&space->lock);
        sched_yield();
    } while (region);
}

/* ---- Mapping ---- */

/* The region that holds [phys, phys + size), the last page to its end, or NULL. Called with the space's lock.
 */
static struct region *region_at(struct dk_register_space *space, phys_addr_t phys, u64 size)
{
    struct region *region;

    list_for_each_entry (region, &space->regions, link) {
        u64 extent = (region->size + PAGE_SIZE - 1) & PAGE_MASK;
        u64 offset = phys - region->resource.start;

        if (phys >= region->resource.start && offset < region->size && size && size <= extent - offset &&
            !region->gone)
            return region;
    }
    return NULL;
}

static void *map(struct dk_machine *machine, phys_addr_t phys, u64 size)
{
    struct dk_register_space *space = machine ? machine->registers : NULL;
    struct region *region = NULL;
    void *cookie = NULL;

    if (space) {
        pthread_mutex_lock(&space->lock);
        region = region_at(space, phys, size);
        if (region) {
            __atomic_add_fetch(&region->mapped, 1, __ATOMIC_RELEASE);
            cookie = space->slot->start + region->cookie + (phys - region->resource.start);
        }
        pthread_mutex_unlock(&space->lock);
    }
    if (!region)
        dk_log(DK_LOG_ERROR, "ioremap: no registers at %#llx, %#llx bytes", phys, size);
    return cookie;
}

void __iomem *ioremap(phys_addr_t phys, size_t size)
{
    return map(dk_machine_current(), phys, size);
}

/* The region whose cells @address lies in, with its offset there; NULL when that is none. */
static struct region *region_of(const volatile void *address, u64 *offset)
{
    const struct dk_slot *slot = dk_slot_find((const void *)address);
    const struct dk_machine *machine;
    struct region *region;
    size_t at;

    if (!slot || slot->kind != DK_SLOT_REGISTERS)
        return NULL;
    machine = dk_memory_machine(slot->memory);
    at = (size_t)((const volatile char *)address - slot->start);
    region = __atomic_load_n(&machine->registers->cells[at >> CELL_SHIFT], __ATOMIC_ACQUIRE);
    if (region)
        *offset = at - region->cookie;
    return region;
}

void iounmap(const volatile void __iomem *address)
{
    u64 offset;
    struct region *region = region_of(address, &offset);
    unsigned mapped = region ? __atomic_load_n(&region->mapped, __ATOMIC_RELAXED) : 0;

    while (mapped) {
        if (__atomic_compare_exchange_n(&region->mapped, &mapped, mapped - 1, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_RELAXED))
            return;
    }
    dk_log(DK_LOG_ERROR, "iounmap: %p is not mapped", (const void *)address);
}

static void unmap_action(void *address)
{
    iounmap(address);
}

void __iomem *devm_ioremap(struct device *dev, phys_addr_t phys, size_t size)
{
    void *address = map(dk_device_machine(dev), phys, size);

    return address && devm_add_action_or_reset(dev, unmap_action, address) ? NULL : address;
}

void devm_iounmap(struct device *dev, const volatile void __iomem *address)
{
    devm_release_action(dev, unmap_action, (void *)(uintptr_t)address);
}

static void unclaim(void *data)
{
    struct region *region = data;
    struct dk_register_space *space = dk_device_machine(region->dev)->registers;

    pthread_mutex_lock(&space->lock);
    region->claimed = false;
    pthread_mutex_unlock(&space->lock);
}

static int claim(struct device *dev, const struct resource *resource)
{
    struct dk_register_space *space = dk_device_machine(dev)->registers;
    struct region *region;
    int error = 0;

    pthread_mutex_lock(&space->lock);
    region = region_at(space, resource->start, resource_size(resource));
    if (!region)
        error = -ENOMEM;
    else if (region->claimed)
        error = -EBUSY;
    else
        region->claimed = true;
    pthread_mutex_unlock(&space->lock);
    if (error) {
        dk_device_log(dev, DK_LOG_ERROR, "registers at %#llx: %s", resource->start,
                      error == -EBUSY ? "claimed already" : "there are none");
        return error;
    }
    return devm_add_action_or_reset(dev, unclaim, region);
}

void __iomem *devm_ioremap_resource(struct device *dev, const struct resource *resource)
{
    void *address;
    int error;

    if (!resource || !(resource->flags & IORESOURCE_MEM))
        return ERR_PTR(-EINVAL);
    error = claim(dev, resource);
    if (error)
        return ERR_PTR(error);
    address = devm_ioremap(dev, resource->start, resource_size(resource));
    return address ? address : ERR_PTR(-ENOMEM);
}

struct resource *platform_get_resource(struct platform_device *pdev, unsigned type, unsigned index)
{
    struct dk_register_space *space = dk_device_machine(&pdev->dev)->registers;
    struct resource *found = NULL;
    struct region *region;

    if (type != IORESOURCE_MEM)
        return NULL;
    pthread_mutex_lock(&space->lock);
    list_for_each_entry (region, &space->regions, link) {
        if (region->dev == &pdev->dev && region->index == index)
            found = &region->resource;
    }
    pthread_mutex_unlock(&space->lock);
    return found;
}

void __iomem *devm_platform_ioremap_resource(struct platform_device *pdev, unsigned index)
{
    return devm_ioremap_resource(&pdev->dev, platform_get_resource(pdev, IORESOURCE_MEM, index));
}

/* ---- Accesses ---- */

/* Enters the region behind @address for an access of @width bytes; leave_region() ends it. NULL, with a log
 * line: none. */
static struct region *enter_region(const volatile void *address, unsigned width, u64 *offset)
{
    struct region *region = region_of(address, offset);
    const char *reason = NULL;

    if (region)
        __atomic_add_fetch(&region->active, 1, __ATOMIC_SEQ_CST);
    if (!region)
        reason = "no registers there";
    else if (__atomic_load_n(&region->gone, __ATOMIC_SEQ_CST))
        reason = "the device was removed";
    else if (!__atomic_load_n(&region->mapped, __ATOMIC_ACQUIRE))
        reason = "not mapped";
    else if (*offset >= region->size || width > region->size - *offset)
        reason = "past the region's end";
    else if (*offset % width)
        reason = "not aligned to the access's width";
    if (!reason) {
        ++*own_depth();
        return region;
    }
    dk_log(DK_LOG_ERROR, "register access of %u bytes at %p (%s): %s", width, (const void *)address,
           region ? region->resource.name : "?", reason);
    if (region)
        __atomic_sub_fetch(&region->active, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static void leave_region(struct region *region)
{
    --*own_depth();
    __atomic_sub_fetch(&region->active, 1, __ATOMIC_SEQ_CST);
}

static u64 all_ones(unsigned width)
{
    return ~0ull >> (64 - 8 * width);
}

u64 dk_io_read(const volatile void __iomem *address, unsigned width)
{
    u64 offset;
    u64 value = ~0ull;
    struct region *region = enter_region(address, width, &offset);

    if (region) {
        if (region->ops->read)
            value = region->ops->read(region->model, offset, width);
        leave_region(region);
    }
    return value & all_ones(width);
}

void dk_io_write(volatile void __iomem *address, unsigned width, u64 value)
{
    u64 offset;
    struct region *region = enter_region(address, width, &offset);
    const struct dk_hooks *hooks;

    if (!region)
        return;
    hooks = &dk_device_machine(region->dev)->hooks;
    if (hooks->register_write)
        hooks->register_write(hooks->data, true);
    if (region->ops->write)
        region->ops->write(region->model, offset, width, value & all_ones(width));
    if (hooks->register_write)
        hooks->register_write(hooks->data, false);
    leave_region(region);
}

/* ---- Accesses of other devices ---- */

/* The region that a device reaches at @phys, with the offset there; NULL when that is none. Called with the
 * space's lock.
 */
static struct region *region_of_phys(struct dk_register_space *space, phys_addr_t phys, u64 *offset)
{
    struct region *region = region_at(space, phys, 1);

    if (region)
        *offset = phys - region->resource.start;
    return region;
}

u64 dk_registers_run(struct dk_machine *machine, phys_addr_t phys, u64 length)
{
    struct dk_register_space *space = machine->registers;
    const struct region *region;
    u64 offset = 0;
    u64 run = 0;

    if (!space)
        return 0;
    pthread_mutex_lock(&space->lock);
    region = region_of_phys(space, phys, &offset);
    if (region)
        run = length < region->size - offset ? length : region->size - offset;
    pthread_mutex_unlock(&space->lock);
    return run;
}

/* The widest access that is aligned at @offset and not longer than @length. */
static unsigned widest(u64 offset, u64 length)
{
    unsigned width = 8;

    while (offset % width || width > length)
        width /= 2;
    return width;
}

static void read_unit(const struct region *region, u64 offset, unsigned width, unsigned char *into)
{
    u64 value = region->ops->read ? region->ops->read(region->model, offset, width) : ~0ull;
    unsigned i;

    for (i = 0; i < width; i++)
        into[i] = (unsigned char)(value >> (8 * i));
}

static void write_unit(const struct region *region, u64 offset, unsigned width, const unsigned char *from)
{
    u64 value = 0;
    unsigned i;

    for (i = 0; i < width; i++)
        value |= (u64)from[i] << (8 * i);
    if (region->ops->write)
        region->ops->write(region->model, offset, width, value);
}

int dk_registers_move(struct dk_machine *machine, phys_addr_t phys, u64 length, void *into, const void *from)
{
    struct dk_register_space *space = machine->registers;
    struct region *region;
    u64 offset = 0;
    u64 done;
    unsigned width;

    pthread_mutex_lock(&space->lock);
    region = region_of_phys(space, phys, &offset);
    if (region && length > region->size - offset)
        region = NULL;
    if (region)
        __atomic_add_fetch(&region->active, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_unlock(&space->lock);
    if (!region)
        return -ENODEV;
    ++*own_depth();
    for (done = 0; done < length; done += width) {
        width = widest(offset + done, length - done);
        if (from)
            write_unit(region, offset + done, width, (const unsigned char *)from + done);
        else
            read_unit(region, offset + done, width, (unsigned char *)into + done);
    }
    leave_region(region);
    return 0;
}
