/* SPDX-License-Identifier: MIT */
/*
 * Devices that do no DMA themselves map through the one that does: a USB interface through its host
 * controller, a SCSI disk through its adapter.
 */
#include "api.h"

#include <dmakit/usb.h>

/* A host bus with two bridges: each has an offset of its own, one is coherent. */
#define TREE                                                                                                                     \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"layers\"; compatible = \"dmakit,test\"; dma-noncoherent;" \
    " memory@0 { device_type = \"memory\"; reg = <0 0 0 0x4000000>; };"                                                          \
    " near: near@0 { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; ranges;"                              \
    "  dma-ranges = <0 0x80000000 0 0 0 0x4000000>; usb@0 { compatible = \"dmakit,usb-host\"; }; };"                             \
    " far: far@0 { compatible = \"simple-bus\"; #address-cells = <2>; #size-cells = <2>; ranges; dma-coherent;"                  \
    "  dma-ranges = <0 0x20000000 0 0 0 0x4000000>; scsi@0 { compatible = \"dmakit,scsi-adapter\"; }; };"                        \
    " aliases { usb = \"/near@0/usb@0\"; scsi = \"/far@0/scsi@0\"; }; };"

static void a_usb_interface_maps_as_its_host_controller(void **state)
{
    struct dk_machine *machine = machine_on(TREE);
    struct device *controller = dk_device_find(machine, "usb");
    struct device *device = device_below(machine, "usb", "1-1");
    struct device *interface = dk_device_add(device, "1-1:1.0");
    char *buffer = kmalloc(256, GFP_KERNEL);
    dma_addr_t here, there;
    unsigned char seen[256];

    (void)state;
    assert_false(IS_ERR(interface));
    assert_ptr_equal(interface->parent, device);
    assert_ptr_equal(interface->dma_ops, controller->dma_ops);
    assert_false(interface->dma_coherent);
    assert_ptr_equal(&interface_to_usbdev(to_usb_interface(interface))->dev, device);
    fill(buffer, 256, 1);
    here = dma_map_single(interface, buffer, 256, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(interface, here), 0);
    assert_int_equal(here, 0x80000000 + virt_to_phys(buffer));
    there = dma_map_single(controller, buffer, 256, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(controller, there), 0);
    assert_int_equal(here, there);
    /* The controller's hardware does the transfer. */
    assert_int_equal(dk_master_read(controller, here, seen, 256), 0);
    assert_true(filled(seen, 256, 1));
    dma_unmap_single(controller, there, 256, DMA_TO_DEVICE);
    dma_unmap_single(interface, here, 256, DMA_TO_DEVICE);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void a_scsi_disk_maps_as_its_adapter(void **state)
{
    struct dk_machine *machine = machine_on(TREE);
    struct device *adapter = dk_device_find(machine, "scsi");
    struct device *host = device_below(machine, "scsi", "host0");
    struct device *disk = dk_device_add(host, "0:0:0:0");
    struct scatterlist sg[2];
    char *blocks = kmalloc(1024, GFP_KERNEL);
    unsigned char bytes[512];

    (void)state;
    assert_false(IS_ERR(disk));
    assert_ptr_equal(disk->dma_ops, adapter->dma_ops);
    assert_true(disk->dma_coherent);
    sg_init_table(sg, 2);
    sg_set_buf(&sg[0], blocks, 512);
    sg_set_buf(&sg[1], blocks + 512, 512);
    assert_int_equal(dma_map_sg(disk, sg, 2, DMA_FROM_DEVICE), 2);
    assert_int_equal(sg_dma_address(&sg[0]), 0x20000000 + virt_to_phys(blocks));
    fill(bytes, 512, 2);
    assert_int_equal(dk_master_write(adapter, sg_dma_address(&sg[1]), bytes, 512), 0);
    dma_unmap_sg(disk, sg, 2, DMA_FROM_DEVICE);
    assert_true(filled(blocks + 512, 512, 2));
    kfree(blocks);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void usb_buffer_calls_are_thin_forwards(void **state)
{
    struct dk_machine *machine = machine_on(TREE);
    struct usb_device *udev = to_usb_device(device_below(machine, "usb", "1-1"));
    struct device *controller = dk_device_find(machine, "usb");
    struct scatterlist sg;
    unsigned char bytes[512];
    dma_addr_t dma;
    char *cpu = usb_alloc_coherent(udev, 512, GFP_KERNEL, &dma);
    char *buffer = kmalloc(512, GFP_KERNEL);

    (void)state;
    assert_non_null(cpu);
    fill(cpu, 512, 3);
    assert_int_equal(dk_master_read(controller, dma, bytes, 512), 0);
    assert_true(filled(bytes, 512, 3));
    usb_free_coherent(udev, 512, cpu, dma);
    cpu = usb_buffer_alloc(udev, 64, GFP_ATOMIC, &dma);
    assert_non_null(cpu);
    usb_buffer_free(udev, 64, cpu, dma);
    usb_free_coherent(udev, 64, NULL, 0);
    assert_null(usb_alloc_coherent(NULL, 64, GFP_KERNEL, &dma));

    sg_init_one(&sg, buffer, 512);
    assert_int_equal(usb_buffer_map_sg(udev, 1, &sg, 1), 1);
    fill(bytes, 512, 4);
    assert_int_equal(dk_master_write(controller, sg_dma_address(&sg), bytes, 512), 0);
    usb_buffer_dmasync_sg(udev, 1, &sg, 1);
    assert_true(filled(buffer, 512, 4));
    usb_buffer_unmap_sg(udev, 1, &sg, 1);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* The driver of the upper device is named in reports, not its controller. */
static void a_leak_names_the_device_that_mapped(void **state)
{
    struct dk_machine *machine = machine_on(TREE);
    struct device *device = device_below(machine, "usb", "1-1");
    char *buffer = kmalloc(64, GFP_KERNEL);
    dma_addr_t dma = dma_map_single(device, buffer, 64, DMA_TO_DEVICE);

    (void)state;
    assert_int_equal(dma_mapping_error(device, dma), 0);
    dk_check_set_sink(machine, NULL, NULL);
    assert_int_equal(dk_check_count(machine, "leak-at-remove"), 0);
    dk_device_remove(dk_device_find(machine, "/near@0/usb@0/1-1"));
    assert_int_equal(dk_check_count(machine, "leak-at-remove"), 1);
    assert_null(dk_device_find(machine, "/near@0/usb@0/1-1"));
    /* A removed device is refused, and nothing is mapped. */
    assert_int_equal(dma_map_single(device, buffer, 64, DMA_TO_DEVICE), DMA_MAPPING_ERROR);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

/* A controller on a bus that says nothing of dma-ranges: what hangs on it still sees what it sees. */
static void what_hangs_on_a_device_shares_its_windows(void **state)
{
    static const char tree[] =
        "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; compatible = \"dmakit,test\"; dma-coherent;"
        " memory@0 { device_type = \"memory\"; reg = <0 0x4000000>; };"
        " outer@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"
        "  dma-ranges = <0x80000000 0 0x4000000>;"
        "  inner@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"
        "   usb@0 { compatible = \"dmakit,usb-host\"; }; }; };"
        " bridge@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges;"
        "  dma-ranges = <0x20000000 0 0x4000000>; };"
        " aliases { usb = \"/outer@0/inner@0/usb@0\"; bridge = \"/bridge@0\"; }; };";
    struct dk_machine *machine = machine_on(tree);
    struct device *usb = dk_device_find(machine, "usb");
    struct device *interface = device_below(machine, "usb", "1-1");
    struct device *behind = device_below(machine, "bridge", "card");
    char *buffer = kmalloc(64, GFP_KERNEL);
    dma_addr_t dma[4] = {
        dma_map_single(usb, buffer, 64, DMA_TO_DEVICE),
        dma_map_single(interface, buffer, 64, DMA_TO_DEVICE),
        dma_map_single(behind, buffer, 64, DMA_TO_DEVICE),
        dma_map_single(dk_device_find(machine, "bridge"), buffer, 64, DMA_TO_DEVICE),
    };

    (void)state;
    assert_true(dma[0] == 0x80000000 + virt_to_phys(buffer));
    assert_true(dma[1] == dma[0]);
    /* A bus's own dma-ranges are its children's; it sits above them itself. */
    assert_true(dma[2] == 0x20000000 + virt_to_phys(buffer));
    assert_true(dma[3] == virt_to_phys(buffer));
    dk_check_set_sink(machine, ignore_report, NULL);
    dk_machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_usb_interface_maps_as_its_host_controller),
        cmocka_unit_test(a_scsi_disk_maps_as_its_adapter),
        cmocka_unit_test(usb_buffer_calls_are_thin_forwards),
        cmocka_unit_test(a_leak_names_the_device_that_mapped),
        cmocka_unit_test(what_hangs_on_a_device_shares_its_windows),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("layers", tests, NULL, NULL);
}
