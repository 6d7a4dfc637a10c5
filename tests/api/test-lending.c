/* SPDX-License-Identifier: MIT */
/* Coherent memory out of an area that movable memory fills: it makes way, with what it holds. */
#include "api.h"

#define AREA ((size_t)32 << 20)
#define MOVABLE (AREA / 10 * 9 & ~(size_t)4095)

static const struct {
    const char *board, *arguments, *device;
} boards[] = { { "coherent-pc.dts", "cma=32M", NULL },
               { "raspberry-pi-4.dts", NULL, NULL },
               { NONCOHERENT_BOARD, "cma=32M", "bus" } };

static void write_numbers(struct dk_movable *movable)
{
    for (size_t i = 0; i < dk_movable_size(movable) / sizeof(u64); i += 7)
        ((u64 *)dk_movable_address(movable))[i] = i * 0x9e3779b97f4a7c15ull;
}

static void assert_numbers(const struct dk_movable *movable)
{
    for (size_t i = 0; i < dk_movable_size(movable) / sizeof(u64); i += 7)
        assert_int_equal(((u64 *)dk_movable_address(movable))[i], i * 0x9e3779b97f4a7c15ull);
}

static struct device *add_device(struct dk_machine *machine, size_t row)
{
    struct device *parent = boards[row].device ? dk_device_find(machine, boards[row].device) : NULL;
    struct device *dev = dk_device_add(parent, "camera");

    assert_false(IS_ERR(dev));
    assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64)), 0);
    return dev;
}

/* The device has all of @cpu, and the CPU sees what it writes. */
static void assert_works(struct device *dev, char *cpu, dma_addr_t dma, size_t size)
{
    unsigned char byte = 0x5a;

    for (size_t at = 0; at < size; at += 65521) {
        assert_int_equal(dk_master_write(dev, dma + at, &byte, 1), 0);
        assert_int_equal(((volatile unsigned char *)cpu)[at], 0x5a);
    }
}

static void test_largest(void **state)
{
    (void)state;
    for (size_t row = 0; row < sizeof(boards) / sizeof(boards[0]); row++) {
        struct dk_machine *machine = machine_with(boards[row].board, boards[row].arguments, 0, 1);
        struct device *dev = add_device(machine, row);
        struct dk_movable *movable;
        struct cma_info before, now;
        size_t size, full;
        dma_addr_t dma;
        char *cpu;

        assert_int_equal(cma_info(&before, dev), 0);
        full = before.total_size / 10 * 9 & ~4095ull;
        movable = dk_movable_create(full, GFP_KERNEL);
        assert_false(IS_ERR(movable));
        write_numbers(movable);
        assert_int_equal(cma_info(&now, dev), 0);
        assert_int_equal(now.free_size, before.free_size - full);

        /* The largest run that is free now, the largest there would be, and both again. */
        for (int i = 0; i < 4; i++) {
            size = i % 2 ? before.largest_free : now.largest_free;
            cpu = dma_alloc_coherent(dev, size, &dma, GFP_KERNEL);
            if (!cpu)
                fail_msg("board %zu: %zu bytes", row, size);
            assert_works(dev, cpu, dma, size);
            assert_numbers(movable);
            dma_free_coherent(dev, size, cpu, dma);
        }
        dk_movable_destroy(movable);
        assert_int_equal(cma_info(&now, dev), 0);
        assert_int_equal(now.free_size, before.free_size);
        assert_int_equal(dk_machine_destroy(machine), 0);
    }
}

static void test_pinned(void **state)
{
    struct dk_machine *machine = machine_with("coherent-pc.dts", "cma=32M", 0, 1);
    struct device *dev = add_device(machine, 0);
    struct dk_movable *movable = dk_movable_create(MOVABLE, GFP_KERNEL);
    struct page *pinned;
    char address[32], picture[512];
    struct cma *area = dev_get_cma_area(dev);
    struct log_lines lines;
    dma_addr_t dma, held;
    char *cpu;

    (void)state;
    assert_false(IS_ERR(movable));
    write_numbers(movable);
    assert_int_equal(dk_movable_pin(movable, MOVABLE / 2, 1, &pinned), 0);
    held = dma_map_page(dev, pinned, 0, 4096, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, held), 0);
    snprintf(address, sizeof(address), "page at 0x%llx", page_to_phys(pinned));
    dk_cma_describe(area, picture, sizeof(picture));
    /* As docs/contiguous.md has it. */
    assert_string_equal(picture, "cma=: 8192 pages at 0x23e000000 in units of 1\n"
                                 "used: 0 pages, 0 allocations, the largest of 0\n"
                                 "movable: 7372 pages, 1 of them pinned; the largest run without them: 8192\n"
                                 "free: 820 pages in 1 runs, the largest of 820; threads kept 0\n"
                                 "[mmmmmmmmmmmmmmmmmmmmmmmmmmmmPmmmmmmmmmmmmmmmmmmmmmmmmmmmmm......]\n");

    keep_log(&lines);
    dk_log_set_level(2);
    cpu = dma_alloc_coherent(dev, AREA / 2, &dma, GFP_KERNEL);
    drop_log();
    assert_non_null(cpu);
    assert_true(dma > page_to_phys(pinned));
    if (!strstr(lines.text, address))
        fail_msg("%s", lines.text);
    assert_works(dev, cpu, dma, AREA / 2);
    assert_numbers(movable);
    assert_int_equal(dk_master_read(dev, held, picture, 8), 0);
    dma_unmap_page(dev, held, 4096, DMA_TO_DEVICE);
    dma_free_coherent(dev, AREA / 2, cpu, dma);
    dk_movable_unpin(movable, MOVABLE / 2, 1);
    dk_movable_destroy(movable);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_pinned),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
