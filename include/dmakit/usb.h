/* SPDX-License-Identifier: MIT */
/*
 * USB's buffer calls. A USB device or interface maps through its host controller, found when the device was
 * made, so these are thin forwards.
 */
#ifndef DMAKIT_USB_H
#define DMAKIT_USB_H

#include <dmakit/dma-mapping.h>

DK_BEGIN_DECLS

struct usb_device {
    struct device dev; /* first */
};

struct usb_interface {
    struct device dev; /* first */
};

#define to_usb_device(d) container_of(d, struct usb_device, dev)
#define to_usb_interface(d) container_of(d, struct usb_interface, dev)

static inline struct usb_device *interface_to_usbdev(struct usb_interface *interface)
{
    return to_usb_device(interface->dev.parent);
}

static inline void *usb_alloc_coherent(struct usb_device *dev, size_t size, gfp_t gfp, dma_addr_t *dma)
{
    return dev ? dma_alloc_coherent(&dev->dev, size, dma, gfp) : NULL;
}
static inline void usb_free_coherent(struct usb_device *dev, size_t size, void *cpu, dma_addr_t dma)
{
    if (dev && cpu)
        dma_free_coherent(&dev->dev, size, cpu, dma);
}
/* The names of 2002. */
static inline void *usb_buffer_alloc(struct usb_device *dev, size_t size, gfp_t gfp, dma_addr_t *dma)
{
    return usb_alloc_coherent(dev, size, gfp, dma);
}
static inline void usb_buffer_free(struct usb_device *dev, size_t size, void *cpu, dma_addr_t dma)
{
    usb_free_coherent(dev, size, cpu, dma);
}
/* Scatterlists: @is_in says that the device writes. 0 or the number of mapped segments. */
static inline int usb_buffer_map_sg(const struct usb_device *dev, int is_in, struct scatterlist *sg,
                                    int nents)
{
    return (int)dma_map_sg((struct device *)(uintptr_t)&dev->dev, sg, nents,
                           is_in ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
}
static inline void usb_buffer_unmap_sg(const struct usb_device *dev, int is_in, struct scatterlist *sg,
                                       int nents)
{
    dma_unmap_sg((struct device *)(uintptr_t)&dev->dev, sg, nents, is_in ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
}
static inline void usb_buffer_dmasync_sg(const struct usb_device *dev, int is_in, struct scatterlist *sg,
                                         int nents)
{
    dma_sync_sg_for_cpu((struct device *)(uintptr_t)&dev->dev, sg, nents,
                        is_in ? DMA_FROM_DEVICE : DMA_TO_DEVICE);
}

DK_END_DECLS

#endif
