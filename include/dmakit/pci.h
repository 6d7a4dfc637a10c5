/* SPDX-License-Identifier: MIT */
/*
 * PCI's names for DMA, as drivers used them before the generic ones.
 */
#ifndef DMAKIT_PCI_H
#define DMAKIT_PCI_H

#include <dmakit/dma-mapping.h>
#include <dmakit/dmapool.h>

DK_BEGIN_DECLS

struct pci_dev {
    struct device dev; /* first */
};

#define to_pci_dev(d) container_of(d, struct pci_dev, dev)

#define PCI_DMA_BIDIRECTIONAL DMA_BIDIRECTIONAL
#define PCI_DMA_TODEVICE DMA_TO_DEVICE
#define PCI_DMA_FROMDEVICE DMA_FROM_DEVICE
#define PCI_DMA_NONE DMA_NONE

static inline void pci_set_drvdata(struct pci_dev *pdev, void *data)
{
    dev_set_drvdata(&pdev->dev, data);
}
static inline void *pci_get_drvdata(struct pci_dev *pdev)
{
    return dev_get_drvdata(&pdev->dev);
}

/*
 * Coherent memory, allocated as with GFP_ATOMIC: the older interface has no flags. A NULL device means one
 * with 24 address bits on the current machine's default bus.
 */
DK_PUBLIC void *pci_alloc_consistent(struct pci_dev *pdev, size_t size, dma_addr_t *dma);
DK_PUBLIC void *pci_zalloc_consistent(struct pci_dev *pdev, size_t size, dma_addr_t *dma);
DK_PUBLIC void pci_free_consistent(struct pci_dev *pdev, size_t size, void *cpu, dma_addr_t dma);

static inline dma_addr_t pci_map_single(struct pci_dev *pdev, void *cpu, size_t size, int direction)
{
    return dma_map_single(&pdev->dev, cpu, size, (enum dma_data_direction)direction);
}
static inline void pci_unmap_single(struct pci_dev *pdev, dma_addr_t dma, size_t size, int direction)
{
    dma_unmap_single(&pdev->dev, dma, size, (enum dma_data_direction)direction);
}
static inline dma_addr_t pci_map_page(struct pci_dev *pdev, struct page *page, unsigned long offset,
                                      size_t size, int direction)
{
    return dma_map_page(&pdev->dev, page, offset, size, (enum dma_data_direction)direction);
}
static inline void pci_unmap_page(struct pci_dev *pdev, dma_addr_t dma, size_t size, int direction)
{
    dma_unmap_page(&pdev->dev, dma, size, (enum dma_data_direction)direction);
}
static inline int pci_map_sg(struct pci_dev *pdev, struct scatterlist *sg, int nents, int direction)
{
    return (int)dma_map_sg(&pdev->dev, sg, nents, (enum dma_data_direction)direction);
}
static inline void pci_unmap_sg(struct pci_dev *pdev, struct scatterlist *sg, int nents, int direction)
{
    dma_unmap_sg(&pdev->dev, sg, nents, (enum dma_data_direction)direction);
}
static inline void pci_dma_sync_single_for_cpu(struct pci_dev *pdev, dma_addr_t dma, size_t size,
                                               int direction)
{
    dma_sync_single_for_cpu(&pdev->dev, dma, size, (enum dma_data_direction)direction);
}
static inline void pci_dma_sync_single_for_device(struct pci_dev *pdev, dma_addr_t dma, size_t size,
                                                  int direction)
{
    dma_sync_single_for_device(&pdev->dev, dma, size, (enum dma_data_direction)direction);
}
static inline void pci_dma_sync_sg_for_cpu(struct pci_dev *pdev, struct scatterlist *sg, int nents,
                                           int direction)
{
    dma_sync_sg_for_cpu(&pdev->dev, sg, nents, (enum dma_data_direction)direction);
}
static inline void pci_dma_sync_sg_for_device(struct pci_dev *pdev, struct scatterlist *sg, int nents,
                                              int direction)
{
    dma_sync_sg_for_device(&pdev->dev, sg, nents, (enum dma_data_direction)direction);
}
static inline int pci_dma_mapping_error(struct pci_dev *pdev, dma_addr_t dma)
{
    return dma_mapping_error(&pdev->dev, dma);
}
static inline int pci_set_dma_mask(struct pci_dev *pdev, u64 mask)
{
    return dma_set_mask(&pdev->dev, mask);
}
static inline int pci_set_consistent_dma_mask(struct pci_dev *pdev, u64 mask)
{
    return dma_set_coherent_mask(&pdev->dev, mask);
}
static inline int pci_dma_supported(struct pci_dev *pdev, u64 mask)
{
    return dma_supported(&pdev->dev, mask);
}

/* Pools: dma_pool_create() and its kin. */
#define pci_pool dma_pool
static inline struct pci_pool *pci_pool_create(const char *name, struct pci_dev *pdev, size_t size,
                                               size_t align, size_t boundary)
{
    return dma_pool_create(name, pdev ? &pdev->dev : NULL, size, align, boundary);
}
static inline void pci_pool_destroy(struct pci_pool *pool)
{
    dma_pool_destroy(pool);
}
static inline void *pci_pool_alloc(struct pci_pool *pool, gfp_t gfp, dma_addr_t *dma)
{
    return dma_pool_alloc(pool, gfp, dma);
}
static inline void *pci_pool_zalloc(struct pci_pool *pool, gfp_t gfp, dma_addr_t *dma)
{
    return dma_pool_zalloc(pool, gfp, dma);
}
static inline void pci_pool_free(struct pci_pool *pool, void *cpu, dma_addr_t dma)
{
    dma_pool_free(pool, cpu, dma);
}

DK_END_DECLS

#endif
