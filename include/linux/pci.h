/* SPDX-License-Identifier: MIT */
/* <linux/pci.h> for driver source: the DMA part of a driver. */
#if __has_include_next(<linux/pci.h>)
#include_next <linux/pci.h>
#endif

#ifndef DMAKIT_LINUX_PCI_H
#define DMAKIT_LINUX_PCI_H

#include <dmakit/pci.h>
#include <linux/device.h>
#include <linux/dmapool.h>
#include <linux/interrupt.h>
#include <linux/io.h>

/* A dmakit device is always enabled and always a bus master. */
static inline int pci_enable_device(struct pci_dev *pdev)
{
    return pdev ? 0 : -EINVAL;
}
static inline void pci_disable_device(struct pci_dev *pdev)
{
    (void)pdev;
}
static inline void pci_set_master(struct pci_dev *pdev)
{
    (void)pdev;
}
static inline void pci_clear_master(struct pci_dev *pdev)
{
    (void)pdev;
}

static inline const char *pci_name(const struct pci_dev *pdev)
{
    return dev_name(&pdev->dev);
}

#endif
