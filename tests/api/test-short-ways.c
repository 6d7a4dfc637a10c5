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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners_are_given_back),
        cmocka_unit_test(test_child_does_not_unmap),
    };

    return cmocka_run_group_tests_name("short-ways", tests, NULL, NULL);
}
