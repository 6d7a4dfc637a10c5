/* SPDX-License-Identifier: MIT */
/*
 * The short ways of the checker for ordinary calls, where they might differ from the general ones: nothing is
 * lost, doubled or kept.
 */
#include "api.h"

#include <malloc.h>
#include <sys/wait.h>

#define SIZE 1024

/* ---- What the short way of unmapping gives back ---- */

/* So many runs of bytes with another owner each that they take memory of their own. */
static void pass_parts(struct device *dev, char *buffer)
{
    dma_addr_t dma = dma_map_single(dev, buffer, SIZE, DMA_BIDIRECTIONAL);
    unsigned i;

    assert_int_equal(dma_mapping_error(dev, dma), 0);
    for (i = 0; i < SIZE; i += 128)
        dma_sync_single_range_for_cpu(dev, dma, i, 64, DMA_BIDIRECTIONAL);
    dma_sync_single_for_device(dev, dma, SIZE, DMA_BIDIRECTIONAL);
    dma_unmap_single(dev, dma, SIZE, DMA_BIDIRECTIONAL);
}

static void test_owners_are_given_back(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 2);
    struct device *dev = device_below(machine, "bus", "one");
    char *buffer = kzalloc(SIZE, GFP_KERNEL);
    size_t before;
    unsigned i;

    (void)state;
    for (i = 0; i < 100; i++)
        pass_parts(dev, buffer);
    before = mallinfo2().uordblks;
    for (i = 0; i < 1000; i++)
        pass_parts(dev, buffer);
    /* Where a sanitizer allocates, both are 0, and it finds what is lost itself. */
    assert_in_range(mallinfo2().uordblks, 0, before + 20000);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

/* ---- A process that was forked ---- */

/* What the child does is nothing to the machine, which is the parent's. */
static int unmap_in_child(struct dk_machine *machine, struct device *dev, dma_addr_t dma)
{
    struct log_lines lines;

    dk_check_set_sink(machine, ignore_report, NULL);
    keep_log(&lines);
    dma_unmap_single(dev, dma, SIZE, DMA_FROM_DEVICE);
    if (dk_check_count(machine, NULL))
        return 1;
    return lines.count == 1 && strstr(lines.text, "stayed with the parent") ? 0 : 2;
}

static void test_child_does_not_unmap(void **state)
{
    int depth;

    (void)state;
    for (depth = 1; depth <= 2; depth++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, depth);
        struct device *dev = device_below(machine, "bus", "one");
        char *buffer = kzalloc(SIZE, GFP_KERNEL);
        dma_addr_t dma = dma_map_single(dev, buffer, SIZE, DMA_FROM_DEVICE);
        int status = 0;
        pid_t child;

        assert_int_equal(dma_mapping_error(dev, dma), 0);
        child = fork();
        if (!child) {
            /* The child sees what the parent has. */
            buffer[3] = 1;
            _exit(unmap_in_child(machine, dev, dma));
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
        buffer[3] = 0;
        dma_unmap_single(dev, dma, SIZE, DMA_FROM_DEVICE);
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

/* ---- A bus of which one window is the identity, and another is not ---- */

#define TWO_WINDOWS_BOARD                                                                                    \
    "/dts-v1/;\n/ { #address-cells = <1>; #size-cells = <1>; model = \"two\"; compatible = \"dmakit,two\"; " \
    "dma-coherent; memory@40000000 { device_type = \"memory\"; reg = <0x40000000 0x1000000>, "               \
    "<0x80000000 0x2000000>; };"                                                                             \
    " bus: bus@0 { compatible = \"simple-bus\"; #address-cells = <1>; #size-cells = <1>; ranges; "           \
    "dma-ranges = <0 0 0x60000000>, <0x60000000 0x80000000 0x20000000>; };"                                  \
    " nic: nic@0 { compatible = \"dmakit,nic\"; }; aliases { bus = \"/bus@0\"; nic = \"/nic@0\"; }; };"

/* Two mappings of the same bytes: what the CPU stored is told once, at the first unmapping. */
static void test_other_window(void **state)
{
    struct dk_machine *machine = machine_with(TWO_WINDOWS_BOARD, "swiotlb=noforce", 0, 2);
    struct device *one = device_below(machine, "bus", "one"), *two = device_below(machine, "bus", "two");
    char *buffer = NULL;
    dma_addr_t first, second;
    unsigned i;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    dma_set_mask_and_coherent(one, DMA_BIT_MASK(32));
    dma_set_mask_and_coherent(two, DMA_BIT_MASK(32));
    /* In the memory that the device knows by another address. */
    for (i = 0; i < 20000 && (!buffer || virt_to_phys(buffer) < 0x80000000); i++)
        buffer = kzalloc(SIZE, GFP_KERNEL);
    assert_non_null(buffer);
    assert_true(virt_to_phys(buffer) >= 0x80000000);
    first = dma_map_single(one, buffer, SIZE, DMA_TO_DEVICE);
    second = dma_map_single(two, buffer, SIZE, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(one, first), 0);
    assert_int_equal(dma_mapping_error(two, second), 0);
    assert_int_equal(first, virt_to_phys(buffer) - 0x20000000);
    buffer[5]++;
    dma_unmap_single(one, first, SIZE, DMA_TO_DEVICE);
    assert_int_equal(dk_check_count(machine, "cpu-write-while-device-owns"), 1);
    dma_unmap_single(two, second, SIZE, DMA_TO_DEVICE);
    assert_int_equal(dk_check_count(machine, "cpu-write-while-device-owns"), 1);
    dk_machine_destroy(machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners_are_given_back),
        cmocka_unit_test(test_child_does_not_unmap),
        cmocka_unit_test(test_other_window),
    };

    return cmocka_run_group_tests_name("short-ways", tests, NULL, NULL);
}
