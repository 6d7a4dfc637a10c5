/* SPDX-License-Identifier: MIT */
/*
 * Storms of random calls. Right ones make no report, move the right bytes and give all memory back, on every
 * board; wrong ones among them never end the program. DMAKIT_TEST_SEED chooses another storm.
 */
#include "storm.h"

#include "machine/machine.h"
#include <dirent.h>
#include <dmakit/dmabounce.h>

static unsigned long operations(void)
{
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    return 12000;
#else
    return getenv("DMAKIT_TEST_FAST") ? 3000 : 40000;
#endif
}

static u64 first_seed(void)
{
    const char *text = getenv("DMAKIT_TEST_SEED");
    u64 seed = text ? strtoull(text, NULL, 0) : 20240617;

    printf("seed %llu (DMAKIT_TEST_SEED)\n", seed);
    return seed;
}

/* ---- Devices ---- */

static const char *const parents[] = { NULL,  "coherent", "noncoherent", "narrow", "offset",
                                       "nic", "isa",      "iommu",       "bounce", "usb" };

/* All entries of a list, or none: they share cache lines, of which the device may not fill one part and the
 * CPU another. */
static int bounces(struct device *dev, dma_addr_t address, size_t size)
{
    (void)dev;
    (void)address;
    return size & 1;
}

static void add_device(struct storm *storm, unsigned slot)
{
    const char *alias = parents[storm_below(storm, STORM_COUNT(parents))];
    struct device *parent = alias ? dk_device_find(storm->machine, alias) : NULL;
    struct device *dev;
    char name[32];

    snprintf(name, sizeof(name), "storm-%u", storm->devices_made++);
    dev = dk_device_add(parent, name);
    assert_false(IS_ERR(dev));
    storm->devices[slot] = dev;
    /* Who sets none, and cannot map what lies higher, is told of it. */
    dma_set_mask_and_coherent(dev, storm_one_in(storm, 2) ? DMA_BIT_MASK(64) : DMA_BIT_MASK(32));
    dma_set_max_seg_size(dev, UINT_MAX);
    if (storm_one_in(storm, 4))
        dmabounce_register_dev(dev, 512, 4096, bounces);
}

/* Its things go first, but for a driver that forgets them. */
static void remove_device(struct storm *storm, unsigned slot)
{
    struct device *dev = storm->devices[slot];
    unsigned i;

    for (i = 0; i < STORM_THINGS; i++) {
        struct storm_thing *thing = &storm->things[i];

        if (thing->dev != dev)
            continue;
        storm_undo(storm, thing);
    }
    dk_device_remove(dev);
}

/* ---- Wrong calls ---- */

static size_t wrong_size(struct storm *storm, size_t size)
{
    const size_t sizes[] = {
        0, 1, size + 1, size - 1, size + PAGE_SIZE, SIZE_MAX, SIZE_MAX / 2, (size_t)1 << 33
    };

    return sizes[storm_below(storm, STORM_COUNT(sizes))];
}

static dma_addr_t wrong_dma(struct storm *storm, dma_addr_t dma)
{
    const dma_addr_t addresses[] = {
        0, dma + 1, dma - 1, DMA_MAPPING_ERROR, ~0ull - 100, 1ull << 52, dma ^ 1ull << storm_below(storm, 64)
    };

    return addresses[storm_below(storm, STORM_COUNT(addresses))];
}

static enum dma_data_direction wrong_direction(struct storm *storm)
{
    const int wrong[] = { DMA_NONE, DMA_TO_DEVICE, DMA_FROM_DEVICE, DMA_BIDIRECTIONAL, 4, 77, -1 };

    return (enum dma_data_direction)wrong[storm_below(storm, STORM_COUNT(wrong))];
}

/* One of @thing's arguments is wrong, or several, or the function. */
static void undo_wrongly(struct storm *storm, const struct storm_thing *thing)
{
    struct device *dev =
        storm_one_in(storm, 4) ? storm->devices[storm_below(storm, STORM_DEVICES)] : thing->dev;
    size_t size = storm_one_in(storm, 2) ? wrong_size(storm, thing->size) : thing->size;
    dma_addr_t dma = storm_one_in(storm, 2) ? wrong_dma(storm, thing->dma) : thing->dma;
    enum dma_data_direction direction = storm_one_in(storm, 3) ? wrong_direction(storm) : thing->direction;
    void *cpu = storm_one_in(storm, 3) ? thing->cpu + storm_below(storm, 9000) : thing->cpu;
    unsigned long attrs = storm_one_in(storm, 3) ? storm_random(storm) & 0x3ff : thing->attrs;

    if (storm_one_in(storm, 20))
        dev = NULL;
    switch (storm_below(storm, 8)) {
    case 0:
        dma_unmap_single_attrs(dev, dma, size, direction, attrs);
        break;
    case 1:
        dma_unmap_page_attrs(dev, dma, size, direction, attrs);
        break;
    case 2:
        dma_unmap_resource(dev, dma, size, direction, attrs);
        break;
    case 3:
        if (thing->kind == STORM_LIST)
            dma_unmap_sg_attrs(dev, thing->table.sgl, (int)storm_below(storm, 12) - 2, direction, attrs);
        break;
    case 4:
        dma_free_attrs(dev, size, cpu, dma, attrs);
        break;
    case 5:
        dma_free_noncoherent(dev, size, cpu, dma, direction);
        break;
    case 6:
        dma_free_pages(dev, size, thing->page ? thing->page : virt_to_page(cpu), dma, direction);
        break;
    default:
        dmam_free_coherent(dev, size, cpu, dma);
    }
}

static void sync_wrongly(struct storm *storm, const struct storm_thing *thing)
{
    dma_addr_t dma = storm_one_in(storm, 2) ? wrong_dma(storm, thing->dma) : thing->dma;
    size_t size = wrong_size(storm, thing->size);
    enum dma_data_direction direction = wrong_direction(storm);
    struct device *dev = storm_one_in(storm, 9) ? NULL : storm->devices[storm_below(storm, STORM_DEVICES)];
    int nents = (int)storm_below(storm, 12) - 2;

    switch (storm_below(storm, 7)) {
    case 0:
        dma_sync_single_for_cpu(dev, dma, size, direction);
        break;
    case 1:
        dma_sync_single_for_device(dev, dma, size, direction);
        break;
    case 2:
        dma_sync_single_range_for_cpu(dev, dma, storm_random(storm), size, direction);
        break;
    case 3:
        dma_sync_single_range_for_device(dev, dma, ~0ul, size, direction);
        break;
    case 4:
        if (thing->kind == STORM_LIST)
            dma_sync_sg_for_cpu(dev, thing->table.sgl, nents, direction);
        break;
    case 5:
        if (thing->kind == STORM_LIST)
            dma_sync_sg_for_device(dev, thing->table.sgl, nents, direction);
        break;
    default:
        dma_cache_sync(dev, thing->cpu, size, direction);
    }
}

/* What is no memory of the machine's, or leaves it. */
static void map_wrongly(struct storm *storm, const struct storm_thing *thing)
{
    static const char constant[64] = "constant";
    char local[64] = "local";
    struct device *dev = storm->devices[storm_below(storm, STORM_DEVICES)];
    void *heap = malloc(64);
    void *const pointers[] = { NULL,
                               (void *)(uintptr_t)constant,
                               local,
                               heap,
                               (void *)(uintptr_t)storm_random(storm),
                               (void *)~(uintptr_t)0,
                               thing->page,
                               thing->cpu,
                               phys_to_virt(1ull << storm_below(storm, 64)) };
    void *cpu = pointers[storm_below(storm, STORM_COUNT(pointers))];
    size_t size = wrong_size(storm, thing->size);
    enum dma_data_direction direction = wrong_direction(storm);
    struct scatterlist sg[3];
    struct sg_table table = { sg, 0, 3 };
    dma_addr_t dma = 0;

    switch (storm_below(storm, 6)) {
    case 0:
        dma = dma_map_single(dev, cpu, size, direction);
        break;
    case 1:
        dma = dma_map_page(dev, cpu, storm_random(storm), size, direction);
        break;
    case 2:
        sg_init_table(sg, 3);
        sg_set_buf(&sg[0], thing->cpu, 16);
        sg_set_buf(&sg[1], cpu, (unsigned)size);
        dma_map_sg(dev, sg, (int)storm_below(storm, 6) - 1, direction);
        dma_unmap_sg(dev, sg, 5, DMA_TO_DEVICE);
        break;
    case 3:
        sg_init_table(sg, 3);
        sg_set_page(&sg[0], cpu, (unsigned)size, (unsigned)storm_random(storm));
        dma_map_sgtable(dev, &table, direction, storm_random(storm));
        dma_unmap_sgtable(dev, &table, direction, 0);
        break;
    case 4:
        dma = dma_map_resource(dev, storm_random(storm), size, direction, 0);
        break;
    default:
        dma = dma_map_single(NULL, cpu, size, direction);
    }
    /* What was mapped after all goes again. */
    if (dma && !dma_mapping_error(dev, dma))
        dma_unmap_single(dev, dma, size, direction);
    free(heap);
}

static void allocate_wrongly(struct storm *storm)
{
    struct device *dev = storm_one_in(storm, 9) ? NULL : storm->devices[storm_below(storm, STORM_DEVICES)];
    size_t size = wrong_size(storm, (size_t)4096 << storm_below(storm, 9));
    /* What must not fail would wait for memory that nobody gives back. */
    gfp_t gfp = (gfp_t)storm_random(storm) & ~__GFP_NOFAIL;
    struct sg_table table;
    dma_addr_t dma = 0;
    struct page *page;
    void *cpu;

    if (storm_one_in(storm, 2)) {
        cpu = dma_alloc_attrs(dev, size, &dma, gfp, DMA_ATTR_NO_WARN);
        if (cpu && !dma_get_sgtable(dev, &table, cpu, dma, wrong_size(storm, size)))
            sg_free_table(&table);
        dma_free_attrs(dev, size, cpu, dma, DMA_ATTR_NO_WARN);
    } else {
        page = dma_alloc_pages(dev, size, &dma, wrong_direction(storm), gfp);
        if (page)
            dma_free_pages(dev, size, page, dma, DMA_BIDIRECTIONAL);
    }
    cpu = kmalloc(wrong_size(storm, 100), gfp & ~__GFP_ZERO);
    kfree(cpu);
    page = alloc_pages(gfp & ~__GFP_ZERO, storm_below(storm, 70));
    if (page)
        __free_pages(page, page->order);
    vfree((void *)(uintptr_t)storm_random(storm));
    kfree((void *)(uintptr_t)(storm_random(storm) | 1));
}

/* The device's side, anywhere but where that would spoil what others hold. */
static void access_wrongly(struct storm *storm)
{
    struct device *dev = storm->devices[storm_below(storm, STORM_DEVICES)];
    struct dk_master_fault fault;
    char bytes[256];

    dk_master_read(dev, storm_random(storm) >> storm_below(storm, 48), bytes, storm_below(storm, 256));
    dk_master_write(dev, storm_random(storm) | 1ull << 60, bytes, storm_below(storm, 256));
    dk_master_write(dev, ~0ull - storm_below(storm, 100), bytes, 256);
    dk_master_read(dev, 0, bytes, 0);
    dk_master_last_fault(dev, &fault);
}

/* ---- The rest of a machine ---- */

static irqreturn_t count_interrupt(int irq, void *counter)
{
    (void)irq;
    __atomic_add_fetch((unsigned *)counter, 1, __ATOMIC_RELAXED);
    kfree(kmalloc(64, GFP_ATOMIC));
    return IRQ_HANDLED;
}

static void interrupt(struct storm *storm, unsigned *counter)
{
    struct device *dev = storm->devices[storm_below(storm, STORM_DEVICES)];
    struct platform_device *pdev = container_of(dev, struct platform_device, dev);
    unsigned index = storm_below(storm, storm->wrong ? 6 : 4);
    int irq = platform_get_irq(pdev, index);

    if (irq < 0 || request_irq((unsigned)irq, count_interrupt, 0, "storm", counter))
        return;
    dk_interrupt_raise(dev, index);
    if (storm_one_in(storm, 2))
        synchronize_irq((unsigned)irq);
    free_irq((unsigned)irq, counter);
    if (storm->wrong) {
        dk_interrupt_raise(dev, index);
        free_irq((unsigned)irq, counter);
        enable_irq((unsigned)storm_random(storm));
    }
}

static void limits(struct storm *storm)
{
    struct device *dev = storm->devices[storm_below(storm, STORM_DEVICES)];
    /* A mask below what is mapped is wrong. */
    unsigned bits = storm->wrong ? 1 + storm_below(storm, 64) : 64;
    u64 mask = DMA_BIT_MASK(bits);

    assert_true(dma_get_mask(dev) != 0);
    dma_get_required_mask(dev);
    dma_addressing_limited(dev);
    assert_int_equal(!dma_supported(dev, mask), dma_set_mask(dev, mask) != 0);
    if (mask < DMA_BIT_MASK(32))
        dma_set_mask(dev, DMA_BIT_MASK(64));
    if (!storm->wrong)
        return;
    dma_set_coherent_mask(dev, storm_random(storm));
    dma_set_mask(NULL, mask);
    of_reserved_mem_device_init_by_idx(dev, dev->parent->of_node, (int)storm_below(storm, 4) - 1);
    of_reserved_mem_device_init_by_name(dev, dev->of_node, "no such");
    of_reserved_mem_device_release(dev);
    dma_set_mask_and_coherent(dev, DMA_BIT_MASK(64));
}

static void atomically(struct storm *storm)
{
    spinlock_t lock = DK_SPIN_LOCK_UNLOCKED;
    unsigned long flags;

    spin_lock_irqsave(&lock, flags);
    kfree(kmalloc(64, storm->wrong ? GFP_KERNEL : GFP_ATOMIC));
    spin_unlock_irqrestore(&lock, flags);
    if (storm->wrong)
        spin_unlock(&lock);
}

static void mistake(struct storm *storm, const struct storm_thing *thing)
{
    switch (storm_below(storm, 5)) {
    case 0:
        if (thing->kind && thing->kind < STORM_VIRTUAL)
            undo_wrongly(storm, thing);
        break;
    case 1:
        if (thing->kind && thing->kind < STORM_VIRTUAL)
            sync_wrongly(storm, thing);
        break;
    case 2:
        map_wrongly(storm, thing);
        break;
    case 3:
        allocate_wrongly(storm);
        break;
    default:
        access_wrongly(storm);
    }
}

static void operate(struct storm *storm, unsigned *counter)
{
    struct storm_thing *thing = &storm->things[storm_below(storm, STORM_THINGS)];
    unsigned slot = storm_below(storm, STORM_DEVICES);

    switch (storm_below(storm, storm->wrong ? 100 : 80)) {
    case 0:
        remove_device(storm, slot);
        add_device(storm, slot);
        break;
    case 1:
        interrupt(storm, counter);
        break;
    case 2:
    case 3:
        limits(storm);
        break;
    case 4:
        atomically(storm);
        break;
    default:
        if (!thing->kind)
            storm_make(storm, thing, (enum storm_kind)(1 + storm_below(storm, STORM_KINDS - 1)),
                       storm->devices[slot]);
        else if (storm_one_in(storm, 2))
            storm_use(storm, thing);
        else
            storm_undo(storm, thing);
        break;
    case 80 ... 99:
        mistake(storm, thing);
    }
}

/* ---- Storms ---- */

/* A storm of @count operations on the machine of @board. What comes of wrong calls cannot all be given back.
 */
static void storm(const struct dk_board *board, u64 random, uint64_t seed, int depth, bool wrong,
                  const char *arguments, unsigned long count)
{
    const struct dk_machine_options options = {
        .size = sizeof(options), .arguments = arguments, .seed = seed, .depth = depth
    };
    struct storm storm = { .random = random | 1, .wrong = wrong };
    u64 before;
    unsigned counter = 0, i;

    storm.machine = dk_machine_create(board, &options);
    assert_false(IS_ERR(storm.machine));
    dk_machine_enter(storm.machine);
    dk_check_set_sink(storm.machine, wrong ? ignore_report : NULL, NULL);
    before = storm_free_pages(storm.machine);
    for (i = 0; i < STORM_DEVICES; i++)
        add_device(&storm, i);
    while (count--)
        operate(&storm, &counter);
    for (i = 0; i < STORM_DEVICES; i++)
        remove_device(&storm, i);
    for (i = 0; i < STORM_THINGS; i++)
        storm_undo(&storm, &storm.things[i]);
    if (!wrong) {
        assert_int_equal(dk_check_count(storm.machine, NULL), 0);
        assert_int_equal(storm_free_pages(storm.machine), before);
        assert_true(storm.moved > 0);
    }
    dk_machine_destroy(storm.machine);
    dk_machine_enter(NULL);
}

static void storms(const struct dk_board *board, u64 random, unsigned long count)
{
    static const struct {
        uint64_t seed;
        int depth;
        bool wrong;
        const char *arguments;
    } rows[] = {
        { 0, 1, false }, { 7, 1, false, "iommu.strict=0" },
        { 7, 0, false }, { 7, 1, false, "swiotlb=force" },
        { 0, 1, true },  { 7, 0, true, "iommu.strict=0 swiotlb=force" },
    };
    unsigned i;

    for (i = 0; i < STORM_COUNT(rows); i++)
        storm(board, random, rows[i].seed, rows[i].depth, rows[i].wrong, rows[i].arguments, count);
}

static void storms_on_every_own_board(void **state)
{
    static const char *const boards[] = { "hostile.dts",           "coherent-pc.dts",
                                          "raspberry-pi-4.dts",    "sa1111.dts",
                                          "mcu-no-mmu.dts",        "arm-soc-iommu.dts",
                                          "lpddr2-interleaved.dts" };
    u64 seed = first_seed();
    unsigned i;

    (void)state;
    for (i = 0; i < STORM_COUNT(boards); i++) {
        struct dk_board *board = board_from(boards[i]);

        assert_false(IS_ERR(board));
        storms(board, seed + i, operations() / 5);
        dk_board_free(board);
    }
}

/* Boards that are not ours: a few calls on each. */
static void storms_on_other_boards(void **state)
{
    const char *folder = getenv("DMAKIT_TEST_BOARDS");
    DIR *directory = folder ? opendir(folder) : NULL;
    u64 seed = first_seed();
    struct dirent *entry;

    (void)state;
    while (directory && (entry = readdir(directory))) {
        char path[1024];
        struct dk_board *board;

        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        board = entry->d_name[0] == '.' ? ERR_PTR(-ENOENT) : dk_board_load(path);
        if (IS_ERR(board))
            continue;
        storms(board, seed++, 300);
        dk_board_free(board);
    }
    if (directory)
        closedir(directory);
    else
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(storms_on_every_own_board),
        cmocka_unit_test(storms_on_other_boards),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
