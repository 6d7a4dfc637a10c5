/* SPDX-License-Identifier: MIT */
/*
 * Bus masters: a device's accesses to memory by bus address.
 */
#include "machine/bus.h"
#include "machine/teardown.h"

struct access {
    struct device *dev;
    dma_addr_t dma;
    u64 length; /* bytes not yet moved */
    char *into; /* exactly one of the two is set */
    const char *from;
};

static int fault(const struct access *access, const char *reason)
{
    struct dk_machine *machine = dk_device_machine(access->dev);
    struct dk_device *dk = access->dev->dk;
    bool write = access->from;

    pthread_mutex_lock(&dk->resources_lock);
    dk->fault_count++;
    dk->last_fault = (struct dk_master_fault){
        .dma = access->dma, .length = access->length, .write = write, .reason = reason
    };
    pthread_mutex_unlock(&dk->resources_lock);
    if (machine->hooks.master_fault)
        machine->hooks.master_fault(machine->hooks.data, access->dev, access->dma, access->length, write);
    return -EFAULT;
}

/* One run of consecutive memory. */
static int move(const struct access *access, phys_addr_t phys, u64 run)
{
    struct dk_machine *machine = dk_device_machine(access->dev);
    bool snoops = machine->cache && access->dev->dma_coherent;

    if (access->from)
        return snoops ? dk_cache_snoop_write(machine, phys, access->from, run)
                      : dk_cache_device_write(machine, phys, access->from, run);
    return snoops ? dk_cache_snoop_read(machine, phys, access->into, run)
                  : dk_cache_device_read(machine, phys, access->into, run);
}

static int perform(struct access *access)
{
    struct dk_machine *machine = dk_device_machine(access->dev);
    const char *reason;
    phys_addr_t phys;
    u64 run;

    if (!access->length)
        return 0;
    if (dk_device_is_removed(access->dev))
        return fault(access, "the device was removed");
    if (dk_memory_forked(machine->memory))
        return fault(access, "the machine belongs to the process that this one was forked from");
    if (access->dev->dk->isolated)
        return fault(access, "nothing is mapped there in the device's IOMMU");
    while (access->length) {
        reason = dk_bus_walk(access->dev, access->dma, access->length, &phys, &run);
        if (reason)
            return fault(access, reason);
        if (machine->hooks.master_access)
            machine->hooks.master_access(machine->hooks.data, access->dev, access->dma, phys, run,
                                         access->from);
        if (move(access, phys, run))
            return fault(access, "the host has no memory left for the machine's");
        access->dma += run;
        access->length -= run;
        if (access->from)
            access->from += run;
        else
            access->into += run;
    }
    return 0;
}

int dk_master_read(struct device *dev, dma_addr_t address, void *into, size_t length)
{
    struct access access = { .dev = dev, .dma = address, .length = length, .into = into };

    return dev ? perform(&access) : -EINVAL;
}

int dk_master_write(struct device *dev, dma_addr_t address, const void *from, size_t length)
{
    struct access access = { .dev = dev, .dma = address, .length = length, .from = from };

    return dev ? perform(&access) : -EINVAL;
}

unsigned long dk_master_fault_count(const struct device *dev)
{
    unsigned long count;

    pthread_mutex_lock(&dev->dk->resources_lock);
    count = dev->dk->fault_count;
    pthread_mutex_unlock(&dev->dk->resources_lock);
    return count;
}

bool dk_master_last_fault(const struct device *dev, struct dk_master_fault *fault)
{
    bool any;

    pthread_mutex_lock(&dev->dk->resources_lock);
    any = dev->dk->fault_count;
    if (any)
        *fault = dev->dk->last_fault;
    pthread_mutex_unlock(&dev->dk->resources_lock);
    return any;
}
