/* SPDX-License-Identifier: MIT */
/*
 * What real drivers do and may do: no report, and the right bytes, on every kind of bus, at depths 0 and 1,
 * with and without eviction.
 */
#include "api.h"

#include <pthread.h>

#define SIZE 4096

struct legal {
    struct dk_machine *machine;
    struct device *dev, *other;
    int depth;
    char *buffer; /* SIZE bytes */
    char seen[4 * SIZE];
};

static dma_addr_t map(struct legal *legal, struct device *dev, void *cpu, size_t size,
                      enum dma_data_direction direction)
{
    dma_addr_t dma = dma_map_single(dev, cpu, size, direction);

    (void)legal;
    assert_int_equal(dma_mapping_error(dev, dma), 0);
    return dma;
}

static void device_writes(struct legal *legal, dma_addr_t dma, size_t size, unsigned tag)
{
    char bytes[2 * SIZE];

    assert_true(size <= sizeof(bytes));
    fill(bytes, size, tag);
    assert_int_equal(dk_master_write(legal->dev, dma, bytes, size), 0);
}

static bool device_reads(struct legal *legal, struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    assert_int_equal(dk_master_read(dev, dma, legal->seen, size), 0);
    return filled(legal->seen, size, tag);
}

/* A receive ring that copies short frames out and syncs only what it reads and gives back. */
static void partial_syncs(struct legal *legal)
{
    dma_addr_t dma = map(legal, legal->dev, legal->buffer, SIZE, DMA_FROM_DEVICE);
    unsigned i;

    for (i = 0; i < 20; i++) {
        device_writes(legal, dma, 64 * (i + 1), i);
        dma_sync_single_range_for_cpu(legal->dev, dma, 0, 64 * (i + 1), DMA_FROM_DEVICE);
        assert_true(filled(legal->buffer, 64 * (i + 1), i));
        dma_sync_single_for_device(legal->dev, dma, 64 * (i + 1), DMA_FROM_DEVICE);
    }
    dma_sync_single_range_for_cpu(legal->dev, dma, SIZE - 1, 1, DMA_FROM_DEVICE);
    dma_unmap_single(legal->dev, dma, SIZE, DMA_FROM_DEVICE);
}

static void page_functions_on_singles(struct legal *legal)
{
    dma_addr_t dma = map(legal, legal->dev, legal->buffer + 24, 1000, DMA_BIDIRECTIONAL);

    dma_unmap_page(legal->dev, dma, 1000, DMA_BIDIRECTIONAL);
    dma = dma_map_page(legal->dev, virt_to_page(legal->buffer), 100, 300, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(legal->dev, dma), 0);
    dma_unmap_single(legal->dev, dma, 300, DMA_TO_DEVICE);
}

static void one_page_to_two_devices(struct legal *legal)
{
    dma_addr_t first, second, third;

    fill(legal->buffer, SIZE, 3);
    first = map(legal, legal->dev, legal->buffer, SIZE, DMA_TO_DEVICE);
    second = map(legal, legal->other, legal->buffer, SIZE, DMA_TO_DEVICE);
    third = map(legal, legal->dev, legal->buffer + 10, 100, DMA_TO_DEVICE);
    assert_true(device_reads(legal, legal->dev, first, SIZE, 3));
    assert_true(device_reads(legal, legal->other, second, SIZE, 3));
    dma_unmap_single(legal->dev, first, SIZE, DMA_TO_DEVICE);
    dma_unmap_single(legal->dev, third, 100, DMA_TO_DEVICE);
    dma_unmap_single(legal->other, second, SIZE, DMA_TO_DEVICE);
}

/* The same address twice, of different sizes, unmapped in either order. */
static void one_buffer_twice_to_device(struct legal *legal)
{
    dma_addr_t a = map(legal, legal->dev, legal->buffer, 128, DMA_TO_DEVICE);
    dma_addr_t b = map(legal, legal->dev, legal->buffer, 256, DMA_TO_DEVICE);
    dma_addr_t c = map(legal, legal->dev, legal->buffer, 128, DMA_TO_DEVICE);

    dma_sync_single_for_device(legal->dev, b, 256, DMA_TO_DEVICE);
    dma_unmap_single(legal->dev, a, 128, DMA_TO_DEVICE);
    dma_unmap_single(legal->dev, b, 256, DMA_TO_DEVICE);
    dma_unmap_single(legal->dev, c, 128, DMA_TO_DEVICE);
}

/* Two mappings of a page that are no copies: a bounced one has no more than what was synced. */
static bool reaches_directly(const struct legal *legal)
{
    return dma_max_mapping_size(legal->dev) == SIZE_MAX;
}

/* From one device to the next without the CPU: it maps while the first still has the page. */
static void one_page_through_two_devices(struct legal *legal)
{
    dma_addr_t in = map(legal, legal->dev, legal->buffer, SIZE, DMA_FROM_DEVICE), out;

    device_writes(legal, in, SIZE, 8);
    if (!reaches_directly(legal))
        dma_sync_single_for_cpu(legal->dev, in, SIZE, DMA_FROM_DEVICE);
    out = map(legal, legal->other, legal->buffer, SIZE, DMA_TO_DEVICE);
    assert_true(device_reads(legal, legal->other, out, SIZE, 8));
    dma_unmap_single(legal->other, out, SIZE, DMA_TO_DEVICE);
    dma_unmap_single(legal->dev, in, SIZE, DMA_FROM_DEVICE);
    assert_true(filled(legal->buffer, SIZE, 8));
}

static void lists_of_neighbours(struct legal *legal)
{
    struct scatterlist list[6], *sg;
    unsigned i, mapped;
    char *at = legal->buffer;

    fill(legal->buffer, SIZE, 5);
    sg_init_table(list, 6);
    for (i = 0; i < 6; i++, at += 100)
        sg_set_buf(&list[i], at, 100);
    mapped = dma_map_sg(legal->dev, list, 6, DMA_BIDIRECTIONAL);
    assert_true(mapped > 0);
    for_each_sg (list, sg, mapped, i)
        assert_int_equal(
            dk_master_read(legal->dev, sg_dma_address(sg), legal->seen + 100 * i, sg_dma_len(sg)), 0);
    assert_true(filled(legal->seen, 600, 5));
    dma_sync_sg_for_cpu(legal->dev, list, 6, DMA_FROM_DEVICE);
    dma_sync_sg_for_device(legal->dev, list, 6, DMA_TO_DEVICE);
    /* A segment by itself. */
    dma_sync_single_for_cpu(legal->dev, sg_dma_address(list), 50, DMA_BIDIRECTIONAL);
    dma_unmap_sg(legal->dev, list, 6, DMA_BIDIRECTIONAL);
    /* The list, used again. */
    assert_true(dma_map_sg(legal->dev, list, 2, DMA_TO_DEVICE) > 0);
    dma_unmap_sg(legal->dev, list, 2, DMA_TO_DEVICE);
}

static void offsets_beyond_a_page(struct legal *legal)
{
    struct page *pages = alloc_pages(GFP_KERNEL, 2);
    dma_addr_t dma;

    assert_non_null(pages);
    fill((char *)page_address(pages) + 9000, 2000, 2);
    dma = dma_map_page(legal->dev, pages, 9000, 2000, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(legal->dev, dma), 0);
    assert_true(device_reads(legal, legal->dev, dma, 2000, 2));
    dma_unmap_page(legal->dev, dma, 2000, DMA_TO_DEVICE);
    __free_pages(pages, 2);
}

static void syncs_of_own_making(struct legal *legal)
{
    dma_addr_t dma =
        dma_map_single_attrs(legal->dev, legal->buffer, SIZE, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);

    assert_int_equal(dma_mapping_error(legal->dev, dma), 0);
    fill(legal->buffer, SIZE, 9);
    dma_sync_single_for_device(legal->dev, dma, SIZE, DMA_TO_DEVICE);
    assert_true(device_reads(legal, legal->dev, dma, SIZE, 9));
    device_writes(legal, dma, SIZE, 10);
    dma_sync_single_for_cpu(legal->dev, dma, SIZE, DMA_FROM_DEVICE);
    assert_true(filled(legal->buffer, SIZE, 10));
    dma_unmap_single_attrs(legal->dev, dma, SIZE, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
    assert_true(filled(legal->buffer, SIZE, 10));
}

/* Page pools map a page again and again, and share it among buffers, with the attribute. */
static void shared_pages_of_a_pool(struct legal *legal)
{
    dma_addr_t dma[3];
    unsigned i;

    for (i = 0; i < 3; i++) {
        dma[i] = dma_map_single_attrs(legal->dev, legal->buffer + 1024 * i, 1024, DMA_FROM_DEVICE,
                                      DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_WEAK_ORDERING);
        assert_int_equal(dma_mapping_error(legal->dev, dma[i]), 0);
        dma_sync_single_for_device(legal->dev, dma[i], 1024, DMA_FROM_DEVICE);
    }
    for (i = 0; i < 3; i++) {
        device_writes(legal, dma[i], 1024, i);
        dma_sync_single_for_cpu(legal->dev, dma[i], 1024, DMA_FROM_DEVICE);
        assert_true(filled(legal->buffer + 1024 * i, 1024, i));
    }
    for (i = 0; i < 3; i++)
        dma_unmap_single_attrs(legal->dev, dma[i], 1024, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
}

/* The error is asked for more than once, in use too, and of another value. */
static void late_questions(struct legal *legal)
{
    dma_addr_t dma = dma_map_single(legal->dev, legal->buffer, 64, DMA_TO_DEVICE);

    assert_int_equal(dma_mapping_error(legal->dev, dma), 0);
    dma_sync_single_for_device(legal->dev, dma, 64, DMA_TO_DEVICE);
    assert_int_equal(dma_mapping_error(legal->dev, dma), 0);
    assert_int_equal(dma_mapping_error(legal->dev, DMA_MAPPING_ERROR), -ENOMEM);
    dma_unmap_single(legal->dev, dma, 64, DMA_TO_DEVICE);
}

struct in_handler {
    struct legal *legal;
    dma_addr_t dma;
    struct completion done;
};

static irqreturn_t unmap_and_map(int irq, void *data)
{
    struct in_handler *in = data;
    char *more = kmalloc(512, GFP_ATOMIC);
    dma_addr_t dma, coherent = 0;
    void *cpu;

    (void)irq;
    dma_unmap_single(in->legal->dev, in->dma, SIZE, DMA_FROM_DEVICE);
    dma = dma_map_single(in->legal->dev, more, 512, DMA_TO_DEVICE);
    if (!dma_mapping_error(in->legal->dev, dma))
        dma_unmap_single(in->legal->dev, dma, 512, DMA_TO_DEVICE);
    kfree(more);
    cpu = dma_alloc_coherent(in->legal->dev, 64, &coherent, GFP_ATOMIC);
    in->legal->dev->driver_data = cpu;
    in->dma = coherent;
    complete(&in->done);
    return IRQ_HANDLED;
}

static void work_in_a_handler(struct legal *legal)
{
    struct in_handler in = { .legal = legal };
    int irq = platform_get_irq(container_of(legal->dev, struct platform_device, dev), 0);

    init_completion(&in.done);
    in.dma = map(legal, legal->dev, legal->buffer, SIZE, DMA_FROM_DEVICE);
    device_writes(legal, in.dma, SIZE, 1);
    assert_int_equal(request_irq((unsigned)irq, unmap_and_map, 0, "legal", &in), 0);
    assert_int_equal(dk_interrupt_raise(legal->dev, 0), 0);
    wait_for_completion(&in.done);
    free_irq((unsigned)irq, &in);
    assert_true(filled(legal->buffer, SIZE, 1));
    assert_non_null(legal->dev->driver_data);
    dma_free_coherent(legal->dev, 64, legal->dev->driver_data, in.dma);
}

static void *undo_elsewhere(void *data)
{
    struct in_handler *in = data;

    dma_unmap_single(in->legal->dev, in->dma, SIZE, DMA_TO_DEVICE);
    kfree(in->legal->buffer);
    in->legal->buffer = NULL;
    return NULL;
}

static void another_thread_undoes(struct legal *legal)
{
    struct in_handler in = { .legal = legal };
    pthread_t thread;

    in.dma = map(legal, legal->dev, legal->buffer, SIZE, DMA_TO_DEVICE);
    assert_int_equal(pthread_create(&thread, NULL, undo_elsewhere, &in), 0);
    pthread_join(thread, NULL);
}

static void atomic_work_under_a_lock(struct legal *legal)
{
    spinlock_t lock = DK_SPIN_LOCK_UNLOCKED;
    unsigned long flags;
    dma_addr_t dma, coherent;
    void *cpu, *noncoherent;

    spin_lock_irqsave(&lock, flags);
    cpu = dma_alloc_coherent(legal->dev, 4096, &coherent, GFP_ATOMIC);
    dma = map(legal, legal->dev, legal->buffer, SIZE, DMA_TO_DEVICE);
    dma_unmap_single(legal->dev, dma, SIZE, DMA_TO_DEVICE);
    noncoherent = dma_alloc_noncoherent(legal->dev, 100, &dma, DMA_TO_DEVICE, GFP_NOWAIT);
    spin_unlock_irqrestore(&lock, flags);
    assert_non_null(cpu);
    assert_non_null(noncoherent);
    dma_free_noncoherent(legal->dev, 100, noncoherent, dma, DMA_TO_DEVICE);
    dma_free_coherent(legal->dev, 4096, cpu, coherent);
}

/* Code that does not know what it was given syncs it. Without the checker nothing here knows either. */
static void syncs_of_coherent_memory(struct legal *legal)
{
    dma_addr_t dma;
    char *cpu;

    if (!legal->depth)
        return;
    cpu = dma_alloc_coherent(legal->dev, SIZE, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    fill(cpu, SIZE, 6);
    dma_sync_single_for_device(legal->dev, dma, SIZE, DMA_BIDIRECTIONAL);
    dma_sync_single_for_cpu(legal->dev, dma, SIZE, DMA_BIDIRECTIONAL);
    assert_true(filled(cpu, SIZE, 6));
    assert_true(device_reads(legal, legal->dev, dma, SIZE, 6));
    dma_free_coherent(legal->dev, SIZE, cpu, dma);
}

static bool zeros(const char *bytes, size_t size)
{
    size_t i;

    for (i = 0; i < size && !bytes[i]; i++)
        ;
    return i == size;
}

/* What a device wrote and nobody read is nothing that the memory's next user sees. */
static void unread_data(struct legal *legal)
{
    dma_addr_t dma;
    char *cpu;
    int way;

    for (way = 0; way < 4; way++) {
        cpu = dma_alloc_noncoherent(legal->dev, SIZE, &dma, DMA_FROM_DEVICE, GFP_KERNEL);
        assert_non_null(cpu);
        dma_sync_single_for_device(legal->dev, dma, SIZE, DMA_FROM_DEVICE);
        device_writes(legal, dma, SIZE, 4);
        dma_free_noncoherent(legal->dev, SIZE, cpu, dma, DMA_FROM_DEVICE);
        if (way & 1) {
            cpu = dma_alloc_coherent(legal->dev, SIZE, &dma, GFP_KERNEL);
            assert_non_null(cpu);
            assert_true(zeros(cpu, SIZE));
            assert_int_equal(dk_master_read(legal->dev, dma, legal->seen, SIZE), 0);
            dma_free_coherent(legal->dev, SIZE, cpu, dma);
        } else {
            cpu = (char *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, 0);
            assert_non_null(cpu);
            dma = map(legal, legal->dev, cpu, SIZE, DMA_TO_DEVICE);
            assert_int_equal(dk_master_read(legal->dev, dma, legal->seen, SIZE), 0);
            dma_unmap_single(legal->dev, dma, SIZE, DMA_TO_DEVICE);
            free_pages((unsigned long)(uintptr_t)cpu, 0);
        }
        assert_true(zeros(legal->seen, SIZE));
    }
}

/* The same with a page that is unmapped without a sync, because the frame was bad. */
static void dropped_frames(struct legal *legal)
{
    dma_addr_t dma;
    char *cpu = (char *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, 0);

    assert_non_null(cpu);
    dma = map(legal, legal->dev, cpu, SIZE, DMA_FROM_DEVICE);
    device_writes(legal, dma, SIZE, 4);
    dma_unmap_single_attrs(legal->dev, dma, SIZE, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
    free_pages((unsigned long)(uintptr_t)cpu, 0);
    cpu = (char *)__get_free_pages(GFP_KERNEL | __GFP_ZERO, 0);
    assert_non_null(cpu);
    dma = map(legal, legal->dev, cpu, SIZE, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(legal->dev, dma, legal->seen, SIZE), 0);
    dma_unmap_single(legal->dev, dma, SIZE, DMA_TO_DEVICE);
    free_pages((unsigned long)(uintptr_t)cpu, 0);
    assert_true(zeros(legal->seen, SIZE));
}

/* The CPU looks at a header while the device still has the rest; and reads what it sent. */
static void loads_while_the_device_owns(struct legal *legal)
{
    dma_addr_t dma;

    fill(legal->buffer, SIZE, 1);
    dma = map(legal, legal->dev, legal->buffer, SIZE, DMA_TO_DEVICE);
    assert_true(filled(legal->buffer, SIZE, 1));
    dma_sync_single_for_cpu(legal->dev, dma, 64, DMA_TO_DEVICE);
    legal->buffer[3] = 77;
    dma_sync_single_for_device(legal->dev, dma, 64, DMA_TO_DEVICE);
    assert_int_equal(dk_master_read(legal->dev, dma, legal->seen, SIZE), 0);
    assert_int_equal(legal->seen[3], 77);
    dma_sync_single_for_device(legal->dev, dma, SIZE, DMA_TO_DEVICE);
    dma_unmap_single(legal->dev, dma, SIZE, DMA_TO_DEVICE);
}

/* dmam_ memory freed by hand, and by the device; a table and a user mapping of an allocation. */
static void views_of_allocations(struct legal *legal)
{
    struct sg_table table;
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(legal->dev, 3 * SIZE, &dma, GFP_KERNEL | __GFP_ZERO);

    assert_non_null(cpu);
    if (!dma_get_sgtable(legal->dev, &table, cpu, dma, 3 * SIZE)) {
        struct scatterlist *sg;
        size_t length = 0;
        unsigned i;

        for_each_sgtable_sg (&table, sg, i)
            length += sg->length;
        assert_int_equal(length, 3 * SIZE);
        sg_free_table(&table);
    }
    dma_free_coherent(legal->dev, 3 * SIZE, cpu, dma);
    cpu = dmam_alloc_coherent(legal->dev, 10, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    dmam_free_coherent(legal->dev, 10, cpu, dma);
    cpu = dmam_alloc_coherent(legal->dev, 10, &dma, GFP_KERNEL);
    assert_non_null(cpu);
    dma_free_coherent(legal->dev, 0, NULL, 0);
    dma_free_coherent(legal->dev, 16, NULL, DMA_MAPPING_ERROR);
}

/* Buffers of a kind each have lines of their own. */
static void small_buffers_side_by_side(struct legal *legal)
{
    char *buffers[16];
    dma_addr_t dma[16];
    unsigned i;

    for (i = 0; i < 16; i++) {
        buffers[i] = kmalloc(8 + i, GFP_KERNEL);
        assert_non_null(buffers[i]);
        dma[i] = map(legal, legal->dev, buffers[i], 8 + i, DMA_FROM_DEVICE);
    }
    for (i = 0; i < 16; i++)
        device_writes(legal, dma[i], 8 + i, i);
    for (i = 0; i < 16; i++) {
        dma_unmap_single(legal->dev, dma[i], 8 + i, DMA_FROM_DEVICE);
        assert_true(filled(buffers[i], 8 + i, i));
    }
    for (i = 0; i < 16; i++)
        kfree(buffers[i]);
}

static const struct {
    const char *name;
    void (*run)(struct legal *legal);
} rows[] = {
    { "partial syncs", partial_syncs },
    { "page functions on singles", page_functions_on_singles },
    { "one page to two devices", one_page_to_two_devices },
    { "one buffer twice to the device", one_buffer_twice_to_device },
    { "one page through two devices", one_page_through_two_devices },
    { "lists of neighbours", lists_of_neighbours },
    { "offsets beyond a page", offsets_beyond_a_page },
    { "syncs of own making", syncs_of_own_making },
    { "shared pages of a pool", shared_pages_of_a_pool },
    { "late questions", late_questions },
    { "work in a handler", work_in_a_handler },
    { "another thread undoes", another_thread_undoes },
    { "atomic work under a lock", atomic_work_under_a_lock },
    { "syncs of coherent memory", syncs_of_coherent_memory },
    { "unread data", unread_data },
    { "dropped frames", dropped_frames },
    { "loads while the device owns", loads_while_the_device_owns },
    { "views of allocations", views_of_allocations },
    { "small buffers side by side", small_buffers_side_by_side },
};

static const struct {
    const char *board;
    const char *bus;
    const char *arguments; /* NULL: the board's */
} buses[] = {
    { "hostile.dts", "coherent" },
    { "hostile.dts", "noncoherent" },
    { "hostile.dts", "offset" },
    { "coherent-pc.dts", "coherent" },
    { "raspberry-pi-4.dts", "noncoherent" },
    { "sa1111.dts", "noncoherent" },
    { "mcu-no-mmu.dts", "noncoherent" },
    { "arm-soc-iommu.dts", "noncoherent" },
    { "arm-soc-iommu.dts", "iommu" },
    { "arm-soc-iommu.dts", "iommu", "iommu.strict=0" },
    { "arm-soc-iommu.dts", "bounce" },
    { "hostile.dts", "iommu" },
    { "hostile.dts", "bounce" },
    { "hostile.dts", "coherent", "swiotlb=force" },
    { "sa1111.dts", "narrow" },
    { "lpddr2-interleaved.dts", "noncoherent" },
};

static void legal_on(unsigned bus, uint64_t seed, int depth)
{
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct legal legal;

        legal.machine = machine_with(buses[bus].board, buses[bus].arguments, seed, depth);
        legal.depth = depth;
        legal.dev = device_below(legal.machine, buses[bus].bus, "one");
        legal.other = device_below(legal.machine, buses[bus].bus, "other");
        legal.buffer = kmalloc(SIZE, GFP_KERNEL);
        assert_non_null(legal.buffer);
        if (getenv("LEGAL"))
            printf("%s %s %s %d %d\n", rows[i].name, buses[bus].board, buses[bus].bus, (int)seed, depth);
        rows[i].run(&legal);
        kfree(legal.buffer);
        if (dk_check_count(legal.machine, NULL))
            print_error("%s on %s of %s, seed %d\n", rows[i].name, buses[bus].bus, buses[bus].board,
                        (int)seed);
        assert_int_equal(dk_machine_destroy(legal.machine), 0);
    }
    dk_machine_enter(NULL);
}

static void on_every_bus(void **state)
{
    unsigned bus;

    (void)state;
    for (bus = 0; bus < sizeof(buses) / sizeof(buses[0]); bus++) {
        legal_on(bus, 0, 1);
        legal_on(bus, 0, 2);
        legal_on(bus, 7, 2);
        legal_on(bus, 8, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(on_every_bus),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
