/* SPDX-License-Identifier: MIT */
/*
 * PCI's older calls that are more than another spelling.
 */
#include "mapping/mapping.h"

#include "base/log.h"
#include <dmakit/pci.h>
#include <stdio.h>

/*
 * The device that a NULL pci_dev stands for: one with 24 address bits on the current machine's default bus.
 * It is made at first use and goes with the machine.
 */
static struct device *isa_device(void)
{
    struct dk_machine *machine = dk_machine_current();
    struct device *bus, *dev;

    if (!machine) {
        dk_log(DK_LOG_ERROR, "pci_alloc_consistent: no device, and no current machine");
        return NULL;
    }
    bus = dk_device_find(machine, machine->board->nodes[machine->board->default_bus].path);
    if (!bus)
        return NULL;
    dev = dk_device_add(bus, "isa-dma");
    if (PTR_ERR_OR_ZERO(dev) == -EEXIST) {
        char path[512];

        snprintf(path, sizeof(path), "%s/isa-dma", bus == machine->root ? "" : dk_device_path(bus));
        return dk_device_find(machine, path);
    }
    if (IS_ERR(dev))
        return NULL;
    /* Where no memory lies that low the mask stays, and allocations under it fail: what such a machine would
     * do. */
    dev->coherent_dma_mask = DMA_BIT_MASK(24);
    return dev;
}

static struct device *device_of(struct pci_dev *pdev)
{
    return pdev ? &pdev->dev : isa_device();
}

void *pci_alloc_consistent(struct pci_dev *pdev, size_t size, dma_addr_t *dma)
{
    struct device *dev = device_of(pdev);

    return dev ? dma_alloc_coherent(dev, size, dma, GFP_ATOMIC) : NULL;
}

void *pci_zalloc_consistent(struct pci_dev *pdev, size_t size, dma_addr_t *dma)
{
    return pci_alloc_consistent(pdev, size, dma);
}

void pci_free_consistent(struct pci_dev *pdev, size_t size, void *cpu, dma_addr_t dma)
{
    struct device *dev = cpu ? device_of(pdev) : NULL;

    if (dev)
        dma_free_coherent(dev, size, cpu, dma);
}
