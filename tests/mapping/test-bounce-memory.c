/* SPDX-License-Identifier: MIT */
/*
 * Bounce buffers across sections, of memory without an address, and without memory.
 */
#include "bounce-scene.h"

/* ---- Other memory than the composed machine's ---- */

#define GIB ((u64)1 << 30)

/* Its memory: RAM up to 3 GiB with the top without kernel addresses. */
static struct dk_machine on_other_memory(u64 highmem)
{
    const struct dk_memory_range range = { 0, 3 * GIB };
    struct dk_machine machine = { 0 };

    machine.memory = dk_memory_create(
        &(struct dk_memory_config){ .ranges = &range, .range_count = 1, .line = 64, .highmem = highmem });
    assert_false(IS_ERR(machine.memory));
    return machine;
}

static void test_across_sections(void **state)
{
    struct composed *composed = compose(&(struct shape){ .coherent = true });
    struct dk_machine machine = on_other_memory(0);
    phys_addr_t end = 2 * GIB, edge = GIB;
    struct dk_bounce_pool *pool = dk_bounce_create(&machine, edge - 100 * KIB, 512 * KIB, "edge");
    struct device *dev = add_device("card");
    static char bytes[200 * KIB], back[200 * KIB];
    phys_addr_t copy;

    (void)state;
    assert_false(IS_ERR(pool));
    fill(bytes, sizeof(bytes), 5);
    fill(back, sizeof(back), 6);
    for (unsigned i = 0; i < 4; i++) {
        /* Both cross an edge, at different places; or one of them. */
        phys_addr_t original = end - (i & 1 ? 300 * KIB : 70 * KIB);
        size_t first = (size_t)(end - original) < sizeof(bytes) ? (size_t)(end - original) : sizeof(bytes);

        memcpy(dk_memory_cached(machine.memory, original), bytes, first);
        if (first < sizeof(bytes))
            memcpy(dk_memory_cached(machine.memory, end), bytes + first, sizeof(bytes) - first);
        copy = dk_bounce_map(pool, dev, original, sizeof(bytes), 0);
        assert_true(copy < edge && copy + sizeof(bytes) > edge);
        first = (size_t)(edge - copy);
        assert_memory_equal(dk_memory_cached(machine.memory, copy), bytes, first);
        assert_memory_equal(dk_memory_cached(machine.memory, edge), bytes + first, sizeof(bytes) - first);
        memcpy(dk_memory_cached(machine.memory, copy), back, first);
        memcpy(dk_memory_cached(machine.memory, edge), back + first, sizeof(bytes) - first);
        dk_bounce_unmap(pool, dev, copy, sizeof(bytes), DMA_FROM_DEVICE, 0);
        first = (size_t)(end - original) < sizeof(bytes) ? (size_t)(end - original) : sizeof(bytes);
        assert_memory_equal(dk_memory_cached(machine.memory, original), back, first);
        if (first < sizeof(bytes))
            assert_memory_equal(dk_memory_cached(machine.memory, end), back + first, sizeof(bytes) - first);
    }
    dk_bounce_destroy(pool);
    dk_memory_destroy(machine.memory);
    dispose(composed);
}

/* An original that crosses an edge, after others that lie on either side of it. */
static void test_original_across_sections(void **state)
{
    struct composed *composed = compose(&(struct shape){ .coherent = true });
    struct dk_machine machine = on_other_memory(0);
    struct dk_bounce_pool *pool = dk_bounce_create(&machine, 16 * MIB, LARGE, "low");
    const phys_addr_t originals[] = { GIB - 10000, GIB - 10000, GIB, GIB,
                                      GIB - 3000,  GIB - 5000,  GIB, GIB - 4999 };
    struct device *dev = add_device("card");
    char bytes[5000], *parts[2];
    phys_addr_t copy;

    (void)state;
    assert_false(IS_ERR(pool));
    for (unsigned i = 0; i < sizeof(originals) / sizeof(originals[0]); i++) {
        phys_addr_t original = originals[i];
        size_t first = original < GIB && GIB - original < 5000 ? (size_t)(GIB - original) : 5000;

        parts[0] = dk_memory_cached(machine.memory, original);
        parts[1] = dk_memory_cached(machine.memory, original + first);
        fill(bytes, sizeof(bytes), i + 1);
        memcpy(parts[0], bytes, first);
        memcpy(parts[1], bytes + first, 5000 - first);
        copy = dk_bounce_map(pool, dev, original, 5000, 0);
        assert_memory_equal(dk_memory_cached(machine.memory, copy), bytes, 5000);
        fill(bytes, sizeof(bytes), i + 100);
        memcpy(dk_memory_cached(machine.memory, copy), bytes, 5000);
        dk_bounce_unmap(pool, dev, copy, 5000, DMA_FROM_DEVICE, 0);
        assert_memory_equal(parts[0], bytes, first);
        assert_memory_equal(parts[1], bytes + first, 5000 - first);
    }
    dk_bounce_destroy(pool);
    dk_memory_destroy(machine.memory);
    dispose(composed);
}

static void test_highmem(void **state)
{
    struct composed *composed = compose(&(struct shape){ .coherent = true });
    struct dk_machine machine = on_other_memory(GIB);
    struct dk_bounce_pool *pool = dk_bounce_create(&machine, 16 * MIB, LARGE, "low");
    struct device *dev = add_device("card");
    struct page *page;
    phys_addr_t original, copy;
    char *bytes;

    (void)state;
    assert_false(IS_ERR(pool));
    page = dk_pages_allocate(machine.memory, GFP_KERNEL | __GFP_HIGHMEM, 0);
    assert_true(page && PageHighMem(page) && !page_address(page));
    original = page_to_phys(page);
    bytes = kmap_local_page(page);
    assert_non_null(bytes);
    memset(bytes, 'h', PAGE_SIZE);
    copy = dk_bounce_map(pool, dev, original, PAGE_SIZE, 0);
    assert_int_equal(dk_memory_cached(machine.memory, copy)[PAGE_SIZE - 1], 'h');
    memset(dk_memory_cached(machine.memory, copy), 'd', 100);
    dk_bounce_unmap(pool, dev, copy, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
    assert_int_equal(bytes[99], 'd');
    assert_int_equal(bytes[100], 'h');
    kunmap_local(bytes);
    __free_pages(page, 0);
    dk_bounce_destroy(pool);
    dk_memory_destroy(machine.memory);
    dispose(composed);
}

static void test_each_allocation_fails(void **state)
{
    struct composed *composed = compose(&(struct shape){ .coherent = true });
    struct device *dev = add_device("card");
    unsigned long n, hits = 1;

    (void)state;
    for (n = 1; hits; n++) {
        struct dk_bounce_pool *pool;

        dk_fail_nth(n);
        pool = dk_bounce_create(&composed->machine, MIB, LARGE, "test");
        if (IS_ERR(pool)) {
            assert_int_equal(dk_fail_hits(), 1);
            assert_int_equal(PTR_ERR(pool), -ENOMEM);
        } else {
            /* What is kept for speed may be missing, and nobody notices. */
            phys_addr_t copy = dk_bounce_map(pool, dev, 32 * MIB, 100, 0);
            phys_addr_t other = dk_bounce_map(pool, dev, 32 * MIB, 10000, 0);

            assert_true(copy != NOWHERE && other != NOWHERE);
            dk_bounce_unmap(pool, dev, copy, 100, DMA_FROM_DEVICE, 0);
            dk_bounce_unmap(pool, dev, other, 10000, DMA_FROM_DEVICE, 0);
            dk_bounce_destroy(pool);
        }
        hits = dk_fail_hits();
        dk_fail_nth(0);
    }
    assert_in_range(n, 10, 40);
    dispose(composed);

    composed = compose(&(struct shape){ .coherent = true });
    dev = add_device("card");
    for (n = 1, hits = 1; hits; n++) {
        struct dk_machine machine = on_other_memory(0);
        struct dk_bounce_pool *pool = dk_bounce_create(&machine, MIB, SMALL, "test");
        u64 slots, used, most;
        phys_addr_t copy;

        assert_false(IS_ERR(pool));
        dk_fail_nth(n);
        copy = dk_bounce_map(pool, dev, 2 * GIB, 100, 0);
        hits = dk_fail_hits();
        dk_fail_nth(0);
        dk_bounce_usage(pool, &slots, &used, &most);
        assert_int_equal(used, copy == NOWHERE ? 0 : 1);
        if (copy != NOWHERE)
            dk_bounce_unmap(pool, dev, copy, 100, DMA_FROM_DEVICE, 0);
        /* An original that no memory stands behind: no buffer, and nothing is kept. */
        assert_true(dk_bounce_map(pool, dev, 5 * GIB, 100, 0) == NOWHERE);
        dk_bounce_usage(pool, &slots, &used, &most);
        assert_int_equal(used, 0);
        dk_bounce_destroy(pool);
        dk_memory_destroy(machine.memory);
    }
    assert_in_range(n, 3, 20);
    dispose(composed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_across_sections),
        cmocka_unit_test(test_original_across_sections),
        cmocka_unit_test(test_highmem),
        cmocka_unit_test(test_each_allocation_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
