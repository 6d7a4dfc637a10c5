/* SPDX-License-Identifier: MIT */
/*
 * Large pools: nothing about one block takes longer because there are many.
 */
#include "pool.h"

#define LARGE_BOARD                                                                                         \
    "/dts-v1/;\n/ { #address-cells = <2>; #size-cells = <2>; model = \"large\"; compatible = \"dmakit,l\";" \
    " dma-coherent; memory@0 { device_type = \"memory\"; reg = <0 0 1 0>; };"                               \
    " nic@1 { compatible = \"dmakit,nic\"; }; aliases { nic = \"/nic@1\"; }; };"

/* Takes @count blocks, and gives them back in another order. Anything that walks through all of them for each
 * would not come to an end before the test's time is up. */
static void many(size_t count, size_t size, int depth, size_t step)
{
    struct dk_machine *machine = machine_with(LARGE_BOARD, NULL, 0, depth);
    struct device *dev = dk_device_find(machine, "nic");
    struct dma_pool *pool = dma_pool_create("many", dev, size, 0, 0);
    void **cpu = calloc(count, sizeof(*cpu));
    dma_addr_t *dma = calloc(count, sizeof(*dma));
    struct pool_numbers numbers;
    size_t i, at;

    assert_non_null(pool);
    assert_true(cpu && dma);
    for (i = 0; i < count; i++) {
        cpu[i] = dma_pool_alloc(pool, GFP_KERNEL, &dma[i]);
        assert_non_null(cpu[i]);
        *(size_t *)cpu[i] = i;
    }
    numbers = pool_numbers(dev);
    assert_int_equal(numbers.used, count);
    assert_true(numbers.all >= count);
    assert_true(numbers.pages >= count * size / PAGE_SIZE);
    for (i = 0, at = 0; i < count; i++, at = (at + step) % count) {
        assert_int_equal(*(size_t *)cpu[at], at);
        dma_pool_free(pool, cpu[at], dma[at]);
    }
    assert_int_equal(pool_numbers(dev).used, 0);
    /* What is free in a row goes back, but for what magazines and the depot hold; with the checker on nothing
     * does before the end, so that late writes are seen. */
    if (!depth && step == 1)
        assert_true(pool_numbers(dev).pages < numbers.pages / 4);
    dma_pool_destroy(pool);
    free(cpu);
    free(dma);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

static void four_hundred_thousand_blocks(void **state)
{
    (void)state;
    many(400000, 64, 0, 199999);
    many(400000, 96, 0, 199999);
    many(400000, 64, 0, 1);
}

static void ten_thousand_pages(void **state)
{
    (void)state;
    many(10000, 4096, 0, 7919);
    many(10000, 4096, 0, 1);
}

static void with_the_checker_on(void **state)
{
    size_t part = getenv("DMAKIT_TEST_FAST") ? 10 : 1;

    (void)state;
    many(400000 / part, 64, 1, 199999 / part);
    many(10000 / part, 4096, 1, 7919 / part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(four_hundred_thousand_blocks),
        cmocka_unit_test(ten_thousand_pages),
        cmocka_unit_test(with_the_checker_on),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("pool-large", tests, NULL, NULL);
}
