/* SPDX-License-Identifier: MIT */
/*
 * Address spaces that a driver makes, and shares among devices.
 */
#include <dmakit/iommu.h>

#include "mapping/dispatch.h"
#include "mapping/iommu-dma.h"
#include <dmakit/spinlock.h>

#undef arm_iommu_create_mapping

/* What a driver holds is the space itself. */
static struct dk_iommu_space *space_of(struct dma_iommu_mapping *mapping)
{
    return (struct dk_iommu_space *)mapping;
}

struct dma_iommu_mapping *arm_iommu_create_mapping(struct device *dev, dma_addr_t base, u64 size)
{
    struct dk_machine *machine = dev ? dk_device_machine(dev) : dk_machine_current();

    if (!machine)
        return ERR_PTR(-ENODEV);
    if (dev)
        dk_might_sleep_for(dev, GFP_KERNEL, "arm_iommu_create_mapping");
    else
        dk_might_sleep("arm_iommu_create_mapping");
    if (!size || base + (size - 1) < base)
        return ERR_PTR(-EINVAL);
    return (struct dma_iommu_mapping *)dk_iommu_space_create(machine, base, base + (size - 1));
}

void arm_iommu_release_mapping(struct dma_iommu_mapping *mapping)
{
    if (mapping)
        dk_might_sleep("arm_iommu_release_mapping");
    dk_iommu_space_put(space_of(mapping));
}

static void note(const struct dk_mapping *mapping, void *data)
{
    (void)mapping;
    *(bool *)data = true;
}

/* Whether something is mapped for @dev that is undone in the space it is in now; false while the checker is
 * off. */
static bool has_mappings(struct device *dev)
{
    bool any = false;

    dk_check_each_mapping(dev, note, &any);
    return any;
}

int arm_iommu_attach_device(struct device *dev, struct dma_iommu_mapping *mapping)
{
    struct dk_iommu_space *space = space_of(mapping);

    if (!space || !dk_device_usable(dev, "arm_iommu_attach_device"))
        return -EINVAL;
    dk_might_sleep_for(dev, GFP_KERNEL, "arm_iommu_attach_device");
    if (dev->dma_ops != &dk_iommu_ops)
        return -ENODEV;
    if (space->machine != dk_device_machine(dev))
        return -EINVAL;
    if (has_mappings(dev) || (dev->dk->space && dev->dk->space->iommu < 0)) {
        dk_device_log(dev, 0, "arm_iommu_attach_device: the device %s",
                      has_mappings(dev) ? "has live mappings" : "is attached to a space already");
        return -EBUSY;
    }
    return dk_iommu_space_enter(dev, space);
}

void arm_iommu_detach_device(struct device *dev)
{
    if (!dk_device_usable(dev, "arm_iommu_detach_device"))
        return;
    dk_might_sleep_for(dev, GFP_KERNEL, "arm_iommu_detach_device");
    if (dev->dma_ops != &dk_iommu_ops || !dev->dk->space || dev->dk->space->iommu >= 0) {
        dk_device_log(dev, 1, "arm_iommu_detach_device: the device is attached to no space of a driver's");
        return;
    }
    if (has_mappings(dev)) {
        dk_device_log(dev, 0, "arm_iommu_detach_device: the device has live mappings");
        return;
    }
    if (dk_iommu_join_context(dev)) {
        dk_device_log(dev, 0,
                      "arm_iommu_detach_device: no memory for the device's own space: it is in none now");
        dk_iommu_space_enter(dev, NULL);
    }
}

struct iommu_domain *iommu_get_domain_for_dev(struct device *dev)
{
    return dev && dev->dma_ops == &dk_iommu_ops ? (struct iommu_domain *)dev->dk->space : NULL;
}

phys_addr_t iommu_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova)
{
    struct dk_iommu_space *space = (struct dk_iommu_space *)domain;
    phys_addr_t phys;
    unsigned rights;
    u64 run;

    return space && dk_iommu_find(space->domain, iova, 1, &phys, &run, &rights) ? phys : 0;
}
