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

/* ---- The memory in which mappings are watched ---- */

/* Maps @size bytes at @cpu for a device that reads them; without any memory, unless there is @memory. One
 * place in the program, so that its stack is known. Returns whether some was wanted. */
__attribute__((noinline)) static bool map_reading(struct device *dev, void *cpu, size_t size, bool memory,
                                                  dma_addr_t *dma)
{
    bool wanted;

    dk_fail_nth(!memory);
    *dma = dma_map_single(dev, cpu, size, DMA_TO_DEVICE);
    wanted = dk_fail_hits();
    dk_fail_nth(0);
    assert_int_equal(dma_mapping_error(dev, *dma), 0);
    return wanted;
}

static void test_watching_again_takes_no_memory(void **state)
{
    /* What the checker keeps with a buffer of half a mebibyte takes one, and 16 are kept. */
    enum { HALF = 512 << 10, KEPT = 16 };
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 2);
    struct device *dev = device_below(machine, "bus", "one");
    char *buffers[KEPT + 1], *large = kzalloc(2 * HALF, GFP_KERNEL);
    dma_addr_t dma[KEPT + 1];
    volatile unsigned round; /* not unrolled */
    unsigned i, refused;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    assert_non_null(large);
    for (i = 0; i <= KEPT; i++)
        assert_non_null(buffers[i] = kzalloc(HALF, GFP_KERNEL));
    for (round = 0; round < 3; round++) {
        refused = 0;
        for (i = 0; i <= KEPT; i++) {
            /* The first round gets what it asks for, each later one must do with that. */
            if (map_reading(dev, buffers[i], HALF, !round, &dma[i])) {
                assert_int_equal(i, KEPT);
                refused++;
            }
            buffers[i][HALF - 1]++;
        }
        assert_int_equal(refused, round != 0);
        for (i = 0; i <= KEPT; i++)
            dma_unmap_single(dev, dma[i], HALF, DMA_TO_DEVICE);
        assert_int_equal(dk_check_count(machine, NULL), KEPT + 1 + round * KEPT);
    }
    /* Of a mapping that is larger nothing is kept. */
    for (round = 0; round < 3; round++) {
        assert_int_equal(map_reading(dev, large, 2 * HALF, round < 2, &dma[0]), round == 2);
        dma_unmap_single(dev, dma[0], 2 * HALF, DMA_TO_DEVICE);
    }
    for (i = 0; i <= KEPT; i++)
        kfree(buffers[i]);
    kfree(large);
    assert_int_equal(dk_machine_destroy(machine), KEPT + 1 + 2 * KEPT);
}

/* Whether a store into @cpu, 256 bytes that @dev has, is seen. */
static bool is_watched(struct dk_machine *machine, struct device *dev, char *cpu)
{
    unsigned long before = dk_check_count(machine, "cpu-write-while-device-owns");
    dma_addr_t dma = dma_map_single(dev, cpu, 256, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(dev, dma), 0);
    cpu[255]++;
    dma_unmap_single(dev, dma, 256, DMA_TO_DEVICE);
    return dk_check_count(machine, "cpu-write-while-device-owns") != before;
}

/* 256 MiB in all, of which each of these takes 64. What finds none is not watched, until there is some. */
static void test_watching_takes_so_much_and_no_more(void **state)
{
    const size_t size = (size_t)33 << 20;
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 2);
    struct device *dev = device_below(machine, "bus", "one");
    struct page *pages = alloc_contig_pages(size >> PAGE_SHIFT, GFP_KERNEL, 0, NULL);
    char *small = kzalloc(256, GFP_KERNEL);
    dma_addr_t dma[4];
    unsigned i;

    (void)state;
    assert_non_null(pages);
    dk_check_set_sink(machine, ignore_report, NULL);
    for (i = 0; i < 4; i++) {
        assert_true(is_watched(machine, dev, small));
        dma[i] = dma_map_page(dev, pages, 0, size, DMA_TO_DEVICE);
        assert_int_equal(dma_mapping_error(dev, dma[i]), 0);
    }
    assert_false(is_watched(machine, dev, small));
    dma_unmap_page(dev, dma[3], size, DMA_TO_DEVICE);
    assert_true(is_watched(machine, dev, small));
    for (i = 0; i < 3; i++)
        dma_unmap_page(dev, dma[i], size, DMA_TO_DEVICE);
    free_contig_range(page_to_pfn(pages), size >> PAGE_SHIFT);
    kfree(small);
    dk_machine_destroy(machine);
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

/* ---- Memory that was found busy, and is free now ---- */

struct memory {
    struct device *dev;
    struct kmem_cache *cache;
    struct page *page;
    dma_addr_t dma;
    char *cpu;
};

static void get_kmalloc(struct memory *memory)
{
    memory->cpu = kzalloc(256, GFP_KERNEL);
}

static void put_kmalloc(struct memory *memory)
{
    kfree(memory->cpu);
}

static void get_large(struct memory *memory)
{
    memory->cpu = kzalloc(300000, GFP_KERNEL);
}

static void put_sensitive(struct memory *memory)
{
    kfree_sensitive(memory->cpu);
}

static void put_moved(struct memory *memory)
{
    assert_ptr_not_equal(krealloc(memory->cpu, 5000, GFP_KERNEL), memory->cpu);
}

static void get_object(struct memory *memory)
{
    memory->cache = kmem_cache_create("objects", 256, 0, 0, NULL);
    memory->cpu = kmem_cache_alloc(memory->cache, GFP_KERNEL);
}

static void put_object(struct memory *memory)
{
    kmem_cache_free(memory->cache, memory->cpu);
}

static void put_object_and_cache(struct memory *memory)
{
    kmem_cache_free(memory->cache, memory->cpu);
    kmem_cache_destroy(memory->cache);
}

static void get_page_of_memory(struct memory *memory)
{
    memory->page = alloc_pages(GFP_KERNEL, 1);
    memory->cpu = page_address(memory->page);
}

static void put_pages(struct memory *memory)
{
    __free_pages(memory->page, 1);
}

static void put_reference(struct memory *memory)
{
    put_page(memory->page);
}

static void get_single_page(struct memory *memory)
{
    memory->page = alloc_page(GFP_KERNEL);
    memory->cpu = page_address(memory->page);
}

static void get_exact(struct memory *memory)
{
    memory->cpu = alloc_pages_exact(3 * PAGE_SIZE, GFP_KERNEL);
}

static void put_exact(struct memory *memory)
{
    free_pages_exact(memory->cpu, 3 * PAGE_SIZE);
}

static void get_noncoherent(struct memory *memory)
{
    memory->cpu = dma_alloc_noncoherent(memory->dev, PAGE_SIZE, &memory->dma, DMA_BIDIRECTIONAL, GFP_KERNEL);
}

static void put_noncoherent(struct memory *memory)
{
    dma_free_noncoherent(memory->dev, PAGE_SIZE, memory->cpu, memory->dma, DMA_BIDIRECTIONAL);
}

static void get_dma_pages(struct memory *memory)
{
    memory->page = dma_alloc_pages(memory->dev, PAGE_SIZE, &memory->dma, DMA_BIDIRECTIONAL, GFP_KERNEL);
    memory->cpu = page_address(memory->page);
}

static void put_dma_pages(struct memory *memory)
{
    dma_free_pages(memory->dev, PAGE_SIZE, memory->page, memory->dma, DMA_BIDIRECTIONAL);
}

static void get_contig(struct memory *memory)
{
    memory->page = alloc_contig_pages(4, GFP_KERNEL, 0, NULL);
    if (memory->page)
        memory->cpu = page_address(memory->page);
}

static void put_contig(struct memory *memory)
{
    free_contig_range(page_to_pfn(memory->page), 4);
}

static void put_in_bulk(struct memory *memory)
{
    void *all[1] = { memory->cpu };

    kfree_bulk(1, all);
}

static void put_objects(struct memory *memory)
{
    void *all[1] = { memory->cpu };

    kmem_cache_free_bulk(memory->cache, 1, all);
}

static void put_kvfree(struct memory *memory)
{
    kvfree(memory->cpu);
}

static void get_managed(struct memory *memory)
{
    memory->cpu = devm_kzalloc(memory->dev, 256, GFP_KERNEL);
}

static void put_managed(struct memory *memory)
{
    devm_kfree(memory->dev, memory->cpu);
}

static const struct {
    const char *name;
    void (*get)(struct memory *memory);
    void (*put)(struct memory *memory);
} memories[] = {
    { "kfree", get_kmalloc, put_kmalloc },
    { "kfree, large", get_large, put_kmalloc },
    { "kfree_sensitive", get_kmalloc, put_sensitive },
    { "krealloc", get_kmalloc, put_moved },
    { "kmem_cache_free", get_object, put_object },
    { "kmem_cache_destroy", get_object, put_object_and_cache },
    { "__free_pages", get_page_of_memory, put_pages },
    { "put_page", get_single_page, put_reference },
    { "free_pages_exact", get_exact, put_exact },
    { "dma_free_noncoherent", get_noncoherent, put_noncoherent },
    { "dma_free_pages", get_dma_pages, put_dma_pages },
    { "free_contig_range", get_contig, put_contig },
    { "kfree_bulk", get_kmalloc, put_in_bulk },
    { "kmem_cache_free_bulk", get_object, put_objects },
    { "kvfree", get_kmalloc, put_kvfree },
    { "devm_kfree", get_managed, put_managed },
};

/* Reports of mapping what is free, after it was mapped and unmapped twice while it was not. */
static unsigned long map_freed(size_t index, bool by_page)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 2);
    struct memory memory = { .dev = device_below(machine, "bus", "one") };
    unsigned long count;
    unsigned i;

    dk_check_set_sink(machine, ignore_report, NULL);
    memories[index].get(&memory);
    assert_non_null(memory.cpu);
    for (i = 0; i < 3; i++) {
        dma_addr_t dma;

        if (i == 2)
            memories[index].put(&memory);
        dma = by_page ? dma_map_page(memory.dev, virt_to_page(memory.cpu), offset_in_page(memory.cpu), 64,
                                     DMA_TO_DEVICE)
                      : dma_map_single(memory.dev, memory.cpu, 64, DMA_TO_DEVICE);
        if (dma_mapping_error(memory.dev, dma))
            continue;
        if (by_page)
            dma_unmap_page(memory.dev, dma, 64, DMA_TO_DEVICE);
        else
            dma_unmap_single(memory.dev, dma, 64, DMA_TO_DEVICE);
    }
    count = dk_check_count(machine, "maps-freed-memory");
    dk_machine_destroy(machine);
    return count;
}

static void test_freed_memory_is_not_busy(void **state)
{
    bool failed = false;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(memories) / sizeof(memories[0]); i++) {
        unsigned long by_page = map_freed(i, true), by_pointer = map_freed(i, false);

        if (by_page != 1 || by_pointer != 1)
            print_error("%s: %lu reports of the page, %lu of the pointer\n", memories[i].name, by_page,
                        by_pointer);
        failed |= by_page != 1 || by_pointer != 1;
    }
    assert_false(failed);
}

/* ---- Arguments that are wrong ---- */

static void test_size_of_nothing(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 1);
    struct device *dev = device_below(machine, "bus", "one");
    char *buffer = kzalloc(SIZE, GFP_KERNEL);
    dma_addr_t dma;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    dma = dma_map_single(dev, buffer, SIZE, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    dma_unmap_single(dev, dma, 0, DMA_TO_DEVICE);
    assert_int_equal(dk_check_count(machine, "free-wrong-size"), 1);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

/* ---- What is remembered of the last call, or access ---- */

/* Two mappings of one address, of which the later one is gone when the driver asks. */
static void test_asked_about_the_one_left(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 1);
    struct device *dev = device_below(machine, "bus", "one");
    char *buffer = kzalloc(SIZE, GFP_KERNEL);
    dma_addr_t dma;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    dma = dma_map_single(dev, buffer, 64, DMA_TO_DEVICE);
    assert_int_equal(dma_map_single(dev, buffer, 128, DMA_TO_DEVICE), dma);
    dma_unmap_single(dev, dma, 128, DMA_TO_DEVICE);
    assert_int_equal(dk_check_count(machine, "error-unchecked"), 1);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    dma_unmap_single(dev, dma, 64, DMA_TO_DEVICE);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

/* On from the end of a buffer into what was mapped once: an overrun in two accesses. */
static void test_overrun_in_two_accesses(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 2);
    struct device *dev = device_below(machine, "bus", "one");
    char *buffer = kzalloc(SIZE, GFP_KERNEL), bytes[SIZE / 2] = { 0 };
    dma_addr_t dma, behind;

    (void)state;
    dk_check_set_sink(machine, ignore_report, NULL);
    behind = dma_map_single(dev, buffer + SIZE / 2, SIZE / 2, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(dev, behind), 0);
    dma_unmap_single(dev, behind, SIZE / 2, DMA_FROM_DEVICE);
    dma = dma_map_single(dev, buffer, SIZE / 2, DMA_FROM_DEVICE);
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    assert_int_equal(dk_master_write(dev, dma, bytes, SIZE / 2), 0);
    assert_int_equal(dk_master_write(dev, behind, bytes, 8), 0);
    assert_int_equal(dk_check_count(machine, "device-access-out-of-range"), 1);
    dma_unmap_single(dev, dma, SIZE / 2, DMA_FROM_DEVICE);
    kfree(buffer);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

/* ---- A pool that comes when devices have moved bytes already ---- */

static void test_pool_comes_late(void **state)
{
    int depth;

    (void)state;
    for (depth = 1; depth <= 2; depth++) {
        struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, depth);
        struct device *dev = device_below(machine, "bus", "one");
        char *buffer = kzalloc(SIZE, GFP_KERNEL), bytes[8] = { 2 };
        dma_addr_t dma = dma_map_single(dev, buffer, SIZE, DMA_FROM_DEVICE), block;
        struct dma_pool *pool;
        void *cpu;

        dk_check_set_sink(machine, ignore_report, NULL);
        assert_int_equal(dma_mapping_error(dev, dma), 0);
        assert_int_equal(dk_master_write(dev, dma, bytes, sizeof(bytes)), 0);
        pool = dma_pool_create("late", dev, 64, 64, 0);
        cpu = dma_pool_alloc(pool, GFP_KERNEL, &block);
        assert_non_null(cpu);
        assert_int_equal(dk_master_write(dev, block, bytes, sizeof(bytes)), 0);
        assert_int_equal(dk_check_count(machine, NULL), 0);
        dma_pool_free(pool, cpu, block);
        assert_int_equal(dk_master_write(dev, block, bytes, sizeof(bytes)), 0);
        assert_int_equal(dk_check_count(machine, "pool-use-after-free"), 1);
        dma_pool_destroy(pool);
        dma_unmap_single(dev, dma, SIZE, DMA_FROM_DEVICE);
        kfree(buffer);
        assert_int_equal(dk_machine_destroy(machine), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_owners_are_given_back),
        cmocka_unit_test(test_watching_again_takes_no_memory),
        cmocka_unit_test(test_watching_takes_so_much_and_no_more),
        cmocka_unit_test(test_child_does_not_unmap),
        cmocka_unit_test(test_other_window),
        cmocka_unit_test(test_freed_memory_is_not_busy),
        cmocka_unit_test(test_size_of_nothing),
        cmocka_unit_test(test_asked_about_the_one_left),
        cmocka_unit_test(test_overrun_in_two_accesses),
        cmocka_unit_test(test_pool_comes_late),
    };

    return cmocka_run_group_tests_name("short-ways", tests, NULL, NULL);
}
