/* SPDX-License-Identifier: MIT */
/* A driver's receive path, and the device that writes into its buffer. Two mistakes. */
#include <dmakit/dmakit.h>
#include <stdio.h>

int main(void)
{
    struct dk_machine *machine = dk_machine_create(NULL, NULL); /* DMAKIT_BOARD's, or a hostile one */
    struct device *dev = dk_device_add(NULL, "card");
    char *buffer = kzalloc(128, GFP_KERNEL);
    dma_addr_t dma;

    if (IS_ERR(machine) || IS_ERR(dev) || !buffer)
        return 2;
    if (dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)))
        return 2;
    dma = dma_map_single(dev, buffer, 128, DMA_FROM_DEVICE);
    if (dma_mapping_error(dev, dma))
        return 2;

    dk_master_write(dev, dma, "hello", 6); /* the device's side: it knows DMA addresses only */
    printf("without a sync the CPU reads \"%s\"\n", buffer);
    dma_sync_single_for_cpu(dev, dma, 128, DMA_FROM_DEVICE);
    printf("after the sync it reads \"%s\"\n", buffer);

    dma_unmap_single(dev, dma, 64, DMA_FROM_DEVICE);
    kfree(buffer);
    return dk_machine_destroy(machine) ? 1 : 0;
}
