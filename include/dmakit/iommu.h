/* SPDX-License-Identifier: MIT */
/*
 * IOMMU address spaces that a driver makes, and shares among devices.
 *
 * Without these calls each context of the board's IOMMUs (iommus, iommu-map) is a space of its own, in which
 * the mapping API works by itself.
 */
#ifndef DMAKIT_IOMMU_H
#define DMAKIT_IOMMU_H

#include <dmakit/device.h>
#include <dmakit/types.h>

DK_BEGIN_DECLS

struct dma_iommu_mapping;

/*
 * An address space whose addresses lie in [@base, @base + @size), for devices of the machine of @dev (NULL:
 * the current machine). Error pointers: -EINVAL a size of 0, or a base above 48 bits, -ENODEV no machine,
 * -ENOMEM. May sleep. Held by the caller: arm_iommu_release_mapping().
 *
 * Older forms of the call name a bus instead of a device, or a fourth argument (the order of the smallest
 * allocation): both are accepted in C, and the bus and the order not used.
 */
DK_PUBLIC struct dma_iommu_mapping *arm_iommu_create_mapping(struct device *dev, dma_addr_t base, u64 size);

/* The caller's hold ends; the space goes with the last device that leaves it. Before the machine is
 * destroyed, which frees what is left. NULL is fine. May sleep. */
DK_PUBLIC void arm_iommu_release_mapping(struct dma_iommu_mapping *mapping);

/*
 * Moves @dev into the space; its mapping calls use addresses there from now on. 0; -ENODEV @dev is behind no
 * IOMMU; -EINVAL the space is another machine's; -EBUSY @dev is in such a space already, or (known while the
 * checker is on) something is mapped for it, or the space has given addresses out that the device's windows
 * leave out; -ENOMEM. What maps as @dev (a USB interface as its controller) moves with it. May sleep.
 */
DK_PUBLIC int arm_iommu_attach_device(struct device *dev, struct dma_iommu_mapping *mapping);

/* Moves @dev back to the space of its own context. A device that was not attached, or for which (known while
 * the checker is on) something is mapped, is left alone, with a log line. May sleep. */
DK_PUBLIC void arm_iommu_detach_device(struct device *dev);

#ifndef __cplusplus
static inline struct dma_iommu_mapping *dk_iommu_mapping_for_bus(const struct bus_type *bus, dma_addr_t base,
                                                                 u64 size)
{
    (void)bus;
    return arm_iommu_create_mapping(NULL, base, size);
}
/* The first argument says which form it is; an order behind the size is dropped. */
#define DK_IOMMU_MAPPING_FORM(owner, base, size, ...) \
    _Generic((owner),                                                                                                  \
        struct bus_type *: dk_iommu_mapping_for_bus,                                                                   \
        const struct bus_type *: dk_iommu_mapping_for_bus,                                                             \
        default: arm_iommu_create_mapping)(owner, base, size)
#define arm_iommu_create_mapping(...) DK_IOMMU_MAPPING_FORM(__VA_ARGS__, 0)
#endif

struct iommu_domain;

/* The space that @dev is in; NULL: it is behind no IOMMU. Lives as long as the device stays there. Any
 * context. */
DK_PUBLIC struct iommu_domain *iommu_get_domain_for_dev(struct device *dev);
/* Where @iova leads in it; 0: nowhere. Any context. */
DK_PUBLIC phys_addr_t iommu_iova_to_phys(struct iommu_domain *domain, dma_addr_t iova);

DK_END_DECLS

#endif
