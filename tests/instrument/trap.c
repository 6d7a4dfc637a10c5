/* SPDX-License-Identifier: MIT */
/* One wrong store to memory that the device owns, and one wrong copy of 24 bytes there; prints how many were
 * seen. */
#include <dmakit/dmakit.h>
#include <stdio.h>
#include <string.h>

static void take(const struct dk_report *report, void *data)
{
    (void)report;
    (void)data;
}

__attribute__((noinline)) static void store(char *p)
{
    p[3] = 1;
}

__attribute__((noinline)) static void copy(char *to, const char *from)
{
    memcpy(to, from, 24);
}

int main(void)
{
    const struct dk_machine_options options = { .size = sizeof(options), .depth = 3 };
    struct dk_machine *machine = dk_machine_create(NULL, &options);
    unsigned long stores, copies;
    struct device *dev;
    char from[24] = "";
    dma_addr_t dma;
    char *p;

    if (IS_ERR(machine))
        return 2;
    dk_machine_enter(machine);
    dk_check_set_sink(machine, take, NULL);
    dev = dk_device_add(NULL, "trap");
    p = kzalloc(64, GFP_KERNEL);
    dma = dma_map_single(dev, p, 64, DMA_TO_DEVICE);
    if (dma_mapping_error(dev, dma))
        return 2;
    store(p);
    stores = dk_check_count(machine, "cpu-write-while-device-owns");
    copy(p, from);
    copies = dk_check_count(machine, "cpu-write-while-device-owns") - stores;
    dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE);
    kfree(p);
    dk_machine_destroy(machine);
    printf("stores %lu copies %lu\n", stores, copies);
    return 0;
}
