/* SPDX-License-Identifier: MIT */
#include "transfer.h"

bool transfer_to_device(struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    unsigned char seen[8192];

    return dk_master_read(dev, dma, seen, size) == 0 && filled(seen, size, tag);
}

void transfer_from_device(struct device *dev, dma_addr_t dma, size_t size, unsigned tag)
{
    unsigned char bytes[8192];

    fill(bytes, size, tag);
    assert_int_equal(dk_master_write(dev, dma, bytes, size), 0);
}

/* Whether the row's way was taken, and the address lies under the mask. */
static bool is_right(const struct transfer_row *row, struct device *dev, phys_addr_t phys, dma_addr_t dma,
                     size_t size)
{
    return dma_mapping_error(dev, dma) == 0 && dma + (size - 1) <= dma_get_mask(dev) &&
           (!row->is_right || row->is_right(dev, phys, dma));
}

static void move_single(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    size_t size = 3000;
    char *buffer = kmalloc(size, gfp);
    dma_addr_t dma;

    assert_non_null(buffer);
    fill(buffer, size, 1);
    dma = dma_map_single(dev, buffer, size, DMA_TO_DEVICE);
    assert_true(is_right(row, dev, virt_to_phys(buffer), dma, size));
    assert_true(transfer_to_device(dev, dma, size, 1));
    dma_unmap_single(dev, dma, size, DMA_TO_DEVICE);

    dma = dma_map_single(dev, buffer, size, DMA_FROM_DEVICE);
    assert_true(is_right(row, dev, virt_to_phys(buffer), dma, size));
    transfer_from_device(dev, dma, size, 2);
    dma_unmap_single(dev, dma, size, DMA_FROM_DEVICE);
    assert_true(filled(buffer, size, 2));
    kfree(buffer);
}

static void move_page(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    struct page *page = alloc_pages(gfp, 1);
    size_t offset = 3072, size = 2048;
    char *buffer;
    dma_addr_t dma;

    assert_non_null(page);
    buffer = (char *)page_address(page) + offset;
    fill(buffer, size, 3);
    dma = dma_map_page(dev, page, offset, size, DMA_BIDIRECTIONAL);
    assert_true(is_right(row, dev, page_to_phys(page) + offset, dma, size));
    assert_true(transfer_to_device(dev, dma, size, 3));
    transfer_from_device(dev, dma, size, 4);
    dma_unmap_page(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_true(filled(buffer, size, 4));
    __free_pages(page, 1);
}

/* The bytes of a list's mapped segments, one after another, as the device reads or writes them. */
static void move_segments(struct device *dev, struct scatterlist *list, int mapped, unsigned char *bytes,
                          bool write)
{
    struct scatterlist *sg;
    int i;

    for_each_sg (list, sg, mapped, i) {
        if (write)
            assert_int_equal(dk_master_write(dev, sg_dma_address(sg), bytes, sg_dma_len(sg)), 0);
        else
            assert_int_equal(dk_master_read(dev, sg_dma_address(sg), bytes, sg_dma_len(sg)), 0);
        bytes += sg_dma_len(sg);
    }
}

/* Where the back end merges, the segments are fewer than the entries: the bytes are the same. */
static void move_sg(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    static const unsigned sizes[] = { 4096, 512, 1536 };
    unsigned char bytes[6144], expected[6144];
    struct scatterlist list[3];
    char *buffers[3];
    size_t at = 0;
    int i, mapped;

    sg_init_table(list, 3);
    for (i = 0; i < 3; i++) {
        buffers[i] = kmalloc(sizes[i], gfp);
        assert_non_null(buffers[i]);
        fill(buffers[i], sizes[i], 5 + (unsigned)i);
        fill(expected + at, sizes[i], 5 + (unsigned)i);
        sg_set_buf(&list[i], buffers[i], sizes[i]);
        at += sizes[i];
    }
    mapped = (int)dma_map_sg(dev, list, 3, DMA_BIDIRECTIONAL);
    if (dma_get_merge_boundary(dev))
        assert_in_range(mapped, 1, 3);
    else
        assert_int_equal(mapped, 3);
    assert_true(is_right(row, dev, virt_to_phys(buffers[0]), sg_dma_address(list), sg_dma_len(list)));
    move_segments(dev, list, mapped, bytes, false);
    assert_memory_equal(bytes, expected, sizeof(bytes));
    for (i = 0, at = 0; i < 3; at += sizes[i++])
        fill(bytes + at, sizes[i], 8 + (unsigned)i);
    move_segments(dev, list, mapped, bytes, true);
    dma_unmap_sg(dev, list, 3, DMA_BIDIRECTIONAL);
    for (i = 0; i < 3; i++) {
        assert_true(filled(buffers[i], sizes[i], 8 + (unsigned)i));
        kfree(buffers[i]);
    }
}

static void move_coherent_with(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    size_t size = 6000;
    dma_addr_t dma;
    char *cpu = dma_alloc_coherent(dev, size, &dma, gfp);
    size_t i;

    (void)row;
    assert_non_null(cpu);
    assert_true(dma + size - 1 <= dev->coherent_dma_mask);
    for (i = 0; i < size; i++)
        assert_int_equal(cpu[i], 0);
    fill(cpu, size, 11);
    assert_true(transfer_to_device(dev, dma, size, 11));
    transfer_from_device(dev, dma, size, 12);
    assert_true(filled(cpu, size, 12));
    dma_free_coherent(dev, size, cpu, dma);
}

static void move_coherent(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    (void)gfp;
    move_coherent_with(row, dev, GFP_KERNEL);
}

/* Without leave to sleep: from an atomic pool where memory would have to be remapped. */
static void move_atomic(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    (void)gfp;
    move_coherent_with(row, dev, GFP_ATOMIC);
}

static void move_pages(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    size_t size = 8192;
    dma_addr_t dma;
    struct page *page = dma_alloc_pages(dev, size, &dma, DMA_BIDIRECTIONAL, GFP_KERNEL);
    char *cpu;

    (void)row;
    (void)gfp;
    assert_non_null(page);
    cpu = page_address(page);
    fill(cpu, size, 13);
    dma_sync_single_for_device(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_true(transfer_to_device(dev, dma, size, 13));
    transfer_from_device(dev, dma, size, 14);
    dma_sync_single_for_cpu(dev, dma, size, DMA_BIDIRECTIONAL);
    assert_true(filled(cpu, size, 14));
    dma_free_pages(dev, size, page, dma, DMA_BIDIRECTIONAL);
}

/* One mapping, many handovers: whole, in part, and as a list. */
static void move_sync(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    size_t size = 4096, offset = 1024, part = 512;
    char *buffer = kmalloc(size, gfp);
    struct scatterlist sg;
    dma_addr_t dma;

    assert_non_null(buffer);
    fill(buffer, size, 15);
    dma = dma_map_single(dev, buffer, size, DMA_BIDIRECTIONAL);
    assert_true(is_right(row, dev, virt_to_phys(buffer), dma, size));
    assert_true(transfer_to_device(dev, dma, size, 15));
    transfer_from_device(dev, dma, size, 16);
    dma_sync_single_for_cpu(dev, dma, size, DMA_FROM_DEVICE);
    assert_true(filled(buffer, size, 16));
    fill(buffer + offset, part, 17);
    dma_sync_single_range_for_device(dev, dma, offset, part, DMA_TO_DEVICE);
    assert_true(transfer_to_device(dev, dma + offset, part, 17));
    transfer_from_device(dev, dma + offset, part, 18);
    dma_sync_single_range_for_cpu(dev, dma, offset, part, DMA_FROM_DEVICE);
    assert_true(filled(buffer + offset, part, 18));
    dma_unmap_single(dev, dma, size, DMA_BIDIRECTIONAL);

    sg_init_one(&sg, buffer, (unsigned)size);
    assert_int_equal(dma_map_sg(dev, &sg, 1, DMA_BIDIRECTIONAL), 1);
    dma_sync_sg_for_cpu(dev, &sg, 1, DMA_TO_DEVICE);
    fill(buffer, size, 19);
    dma_sync_sg_for_device(dev, &sg, 1, DMA_TO_DEVICE);
    assert_true(transfer_to_device(dev, sg_dma_address(&sg), size, 19));
    transfer_from_device(dev, sg_dma_address(&sg), size, 20);
    dma_sync_sg_for_cpu(dev, &sg, 1, DMA_FROM_DEVICE);
    assert_true(filled(buffer, size, 20));
    dma_unmap_sg(dev, &sg, 1, DMA_BIDIRECTIONAL);
    kfree(buffer);
}

static void move_noncontiguous(const struct transfer_row *row, struct device *dev, gfp_t gfp)
{
    size_t size = 20000, part = 8192, offset = 10000;
    struct sg_table *table = dma_alloc_noncontiguous(dev, size, DMA_BIDIRECTIONAL, GFP_KERNEL, 0);
    dma_addr_t dma;
    char *cpu;
    size_t i;

    (void)row;
    (void)gfp;
    assert_non_null(table);
    dma = sg_dma_address(table->sgl);
    assert_true(dma + size - 1 <= dma_get_mask(dev));
    cpu = dma_vmap_noncontiguous(dev, size, table);
    assert_non_null(cpu);
    for (i = 0; i < size; i++)
        assert_int_equal(cpu[i], 0);
    fill(cpu + offset, part, 21);
    dma_sync_sgtable_for_device(dev, table, DMA_BIDIRECTIONAL);
    assert_true(transfer_to_device(dev, dma + offset, part, 21));
    transfer_from_device(dev, dma + offset, part, 22);
    dma_sync_sgtable_for_cpu(dev, table, DMA_BIDIRECTIONAL);
    assert_true(filled(cpu + offset, part, 22));
    dma_vunmap_noncontiguous(dev, cpu);
    dma_free_noncontiguous(dev, size, table, DMA_BIDIRECTIONAL);
}

static void (*const ways[])(const struct transfer_row *row, struct device *dev, gfp_t gfp) = {
    move_single, move_page, move_sg, move_coherent, move_atomic, move_pages, move_sync, move_noncontiguous,
};

static gfp_t memory_for(const struct transfer_row *row, unsigned mask)
{
    bool low = row->memory == TRANSFER_LOW || (row->memory == TRANSFER_LOW_IF_NARROW && mask < 64);

    return low ? GFP_KERNEL | GFP_DMA : GFP_KERNEL;
}

static void is_refused(struct device *dev, unsigned mask)
{
    u64 before = dma_get_mask(dev);

    assert_int_equal(dma_set_mask(dev, DMA_BIT_MASK(mask)), -EIO);
    assert_int_equal(dma_set_coherent_mask(dev, DMA_BIT_MASK(mask)), -EIO);
    assert_int_equal(dma_get_mask(dev), before);
}

void transfer_cell(const struct transfer_row *row, unsigned mask, uint64_t seed)
{
    struct dk_machine *machine = machine_with(row->board, row->arguments, seed, 2);
    struct device *dev = dk_device_find(machine, row->device ? row->device : "nic");
    size_t i;

    assert_non_null(dev);
    assert_int_equal(dev->dma_coherent, row->coherent);
    if (row->pool)
        assert_int_equal(of_reserved_mem_device_init(dev), 0);
    if (mask < row->smallest_mask) {
        is_refused(dev, mask);
    } else {
        assert_int_equal(dma_set_mask_and_coherent(dev, DMA_BIT_MASK(mask)), 0);
        for (i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
            ways[i](row, dev, memory_for(row, mask));
        if (row->more)
            row->more(dev);
        assert_true(dma_get_mask(dev) == DMA_BIT_MASK(mask));
        assert_int_equal(dk_master_fault_count(dev), 0);
    }
    if (dk_check_count(machine, NULL))
        print_error("%s, mask %u, seed %llu\n", row->name, mask, (unsigned long long)seed);
    assert_int_equal(dk_machine_destroy(machine), 0);
}

void transfer_table(const struct transfer_row *rows, size_t count)
{
    static const unsigned masks[] = { 24, 30, 32, 64 };
    size_t row, mask;
    uint64_t seed;

    for (row = 0; row < count; row++) {
        for (mask = 0; mask < sizeof(masks) / sizeof(masks[0]); mask++) {
            for (seed = 0; seed < 4; seed++)
                transfer_cell(&rows[row], masks[mask], seed);
        }
    }
}
