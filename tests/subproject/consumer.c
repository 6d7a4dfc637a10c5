/* SPDX-License-Identifier: MIT */
/*
 * The least a user of the library does: a machine, a device, one mapping that moves bytes. C, and C++ through
 * consumer.cc.
 */
#include <dmakit/dmakit.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    struct dk_machine *machine = dk_machine_create(NULL, NULL);
    struct device *dev;
    unsigned char read[64];
    dma_addr_t address;
    void *buffer;
    int failed = 1;

    if (IS_ERR(machine)) {
        fprintf(stderr, "no machine: %ld\n", PTR_ERR(machine));
        return 1;
    }
    dk_machine_enter(machine);
    dev = dk_device_add(NULL, "consumer");
    if (IS_ERR(dev)) {
        fprintf(stderr, "no device: %ld\n", PTR_ERR(dev));
        goto destroy;
    }
    /* The built-in board has memory above 4 GiB, which the mask of a new device does not reach. */
    if (dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)) != 0) {
        fprintf(stderr, "no 64-bit mask\n");
        goto remove;
    }
    buffer = kmalloc(sizeof(read), GFP_KERNEL);
    if (!buffer) {
        fprintf(stderr, "no buffer\n");
        goto remove;
    }
    memset(buffer, 0x5a, sizeof(read));
    address = dma_map_single(dev, buffer, sizeof(read), DMA_TO_DEVICE);
    if (dma_mapping_error(dev, address)) {
        fprintf(stderr, "not mapped\n");
        goto free;
    }
    if (dk_master_read(dev, address, read, sizeof(read)) == 0)
        failed = memcmp(read, buffer, sizeof(read)) != 0;
    dma_unmap_single(dev, address, sizeof(read), DMA_TO_DEVICE);
free:
    kfree(buffer);
remove:
    dk_device_remove(dev);
destroy:
    if (dk_machine_destroy(machine) != 0)
        failed = 1;
    return failed;
}
