/* SPDX-License-Identifier: MIT */
/* <linux/iommu.h> for driver source. */
#ifndef DMAKIT_LINUX_IOMMU_H
#define DMAKIT_LINUX_IOMMU_H

#include <dmakit/iommu.h>
#include <linux/device.h>

#endif
