/* SPDX-License-Identifier: MIT */
/*
 * What is freed or unmapped is not used again at once: who still uses it is found, and not the next owner's
 * bytes lost. Without the quarantine, none of these mistakes is seen.
 */
#include "class-cases.h"

/* What boards have. PLAIN: the DMA address is the physical one; BOUNCED: a slot's; TRANSLATED: an IOMMU's. */
enum { PLAIN = 1, BOUNCED = 2, TRANSLATED = 4 };

static const struct class_board boards[] = {
    { COHERENT_BOARD, NULL, PLAIN },
    { NONCOHERENT_BOARD, NULL, PLAIN },
    { COHERENT_BOARD, "swiotlb=force", BOUNCED },
    { NONCOHERENT_BOARD, "swiotlb=force", BOUNCED },
    { BEHIND_IOMMU_BOARD("dma-coherent;"), NULL, TRANSLATED },
    { BEHIND_IOMMU_BOARD("dma-noncoherent;"), NULL, TRANSLATED },
    { BEHIND_IOMMU_BOARD("dma-noncoherent;"), "iommu.strict=0", 0 },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char bytes[4096];

/* @object, as somebody has it of whose pointer the compiler's checks know nothing. */
static char *stale(char *object)
{
    __asm__("" : "+r"(object));
    return object;
}

static dma_addr_t map(struct scene *scene, void *cpu, size_t size, enum dma_data_direction direction)
{
    dma_addr_t dma = dma_map_single(scene->dev, cpu, size, direction);

    assert_int_equal(dma_mapping_error(scene->dev, dma), 0);
    return dma;
}

/* ---- Mistakes ---- */

/* Others allocate and free the size meanwhile. */
static void late_store_bad(struct scene *scene)
{
    char *object = kmalloc(600, GFP_KERNEL), *late = stale(object), *others[20];
    unsigned i;

    AT(scene, kfree(object));
    for (i = 0; i < COUNT(others); i++)
        others[i] = kzalloc(600, GFP_KERNEL);
    late[17] = 'x';
    for (i = 0; i < COUNT(others); i++)
        kfree(others[i]);
}

static void late_store_large_bad(struct scene *scene)
{
    char *object = kmalloc(20000, GFP_KERNEL), *late = stale(object), *other;

    AT(scene, kfree(object));
    other = kzalloc(20000, GFP_KERNEL);
    late[19999] = 'x';
    kfree(other);
}

static void late_store_cache_bad(struct scene *scene)
{
    struct kmem_cache *cache = kmem_cache_create("frames", 256, 64, 0, NULL);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL), *other;

    AT(scene, kmem_cache_free(cache, object));
    other = kmem_cache_zalloc(cache, GFP_KERNEL);
    object[0] = 'x';
    kmem_cache_free(cache, other);
    kmem_cache_destroy(cache);
}

/* The buffer's memory is the next packet's, which is mapped already. */
static void late_write_bad(struct scene *scene)
{
    char *first = kmalloc(2048, GFP_KERNEL), *next;
    dma_addr_t late = map(scene, first, 2048, DMA_FROM_DEVICE), dma;

    assert_int_equal(dk_master_write(scene->dev, late, bytes, 2048), 0);
    dma_unmap_single(scene->dev, late, 2048, DMA_FROM_DEVICE);
    kfree(first);
    next = kzalloc(2048, GFP_KERNEL);
    dma = map(scene, next, 2048, DMA_FROM_DEVICE);
    AT(scene, dk_master_write(scene->dev, late, "late", 4));
    dma_unmap_single(scene->dev, dma, 2048, DMA_FROM_DEVICE);
    kfree(next);
}

/* The memory is still the driver's, but the address is another buffer's. */
static void late_address_bad(struct scene *scene)
{
    char *next = kzalloc(4096, GFP_KERNEL);
    dma_addr_t late = map(scene, scene->buffer, 4096, DMA_FROM_DEVICE), dma;

    dma_unmap_single(scene->dev, late, 4096, DMA_FROM_DEVICE);
    dma = map(scene, next, 4096, DMA_FROM_DEVICE);
    AT(scene, dk_master_write(scene->dev, late, "late", 4));
    dma_unmap_single(scene->dev, dma, 4096, DMA_FROM_DEVICE);
    kfree(next);
}

static void late_coherent_bad(struct scene *scene)
{
    dma_addr_t late, dma;
    void *cpu = dma_alloc_coherent(scene->dev, 8192, &late, GFP_KERNEL);

    dma_free_coherent(scene->dev, 8192, cpu, late);
    cpu = dma_alloc_coherent(scene->dev, 8192, &dma, GFP_KERNEL);
    AT(scene, dk_master_write(scene->dev, late, "late", 4));
    dma_free_coherent(scene->dev, 8192, cpu, dma);
}

static void late_list_bad(struct scene *scene)
{
    struct scatterlist list[2], other[2];
    char *next = kzalloc(8192, GFP_KERNEL);
    dma_addr_t late;

    sg_init_table(list, 2);
    sg_set_buf(&list[0], next, 4096);
    sg_set_buf(&list[1], scene->buffer, 4096);
    assert_true(dma_map_sg(scene->dev, list, 2, DMA_FROM_DEVICE) > 0);
    late = sg_dma_address(&list[0]);
    dma_unmap_sg(scene->dev, list, 2, DMA_FROM_DEVICE);
    sg_init_table(other, 2);
    sg_set_buf(&other[0], next + 4096, 4096);
    sg_set_buf(&other[1], next, 4096);
    assert_true(dma_map_sg(scene->dev, other, 2, DMA_FROM_DEVICE) > 0);
    AT(scene, dk_master_write(scene->dev, late, "late", 4));
    dma_unmap_sg(scene->dev, other, 2, DMA_FROM_DEVICE);
    kfree(next);
}

static const struct {
    const char *class_name;
    void (*bad)(struct scene *scene);
    unsigned needs;
} cases[] = {
    { "slab-use-after-free", late_store_bad, 0 },
    { "slab-use-after-free", late_store_large_bad, 0 },
    { "slab-use-after-free", late_store_cache_bad, 0 },
    { "device-access-after-unmap", late_write_bad, PLAIN },
    { "device-access-after-unmap", late_write_bad, BOUNCED },
    { "device-access-after-unmap", late_address_bad, BOUNCED },
    { "iommu-unmapped", late_write_bad, TRANSLATED },
    { "iommu-unmapped", late_address_bad, TRANSLATED },
    { "iommu-unmapped", late_coherent_bad, TRANSLATED },
    { "iommu-unmapped", late_list_bad, TRANSLATED },
};

/* Up to the machine's end. */
static struct class_seen play(void (*part)(struct scene *scene), const struct class_board *board, int depth,
                              uint64_t seed, const char *options, struct scene *scene)
{
    struct class_seen seen = { 0 };
    unsigned long reports;

    setenv("DMAKIT_OPTIONS", options, 1);
    scene->machine = machine_with(board->dts, board->arguments, seed, depth);
    unsetenv("DMAKIT_OPTIONS");
    scene->dev = dk_device_find(scene->machine, "nic");
    scene->buffer = kmalloc(4096, GFP_KERNEL);
    assert_non_null(scene->buffer);
    dk_check_set_sink(scene->machine, class_note, &seen);
    part(scene);
    kfree(scene->buffer);
    reports = dk_machine_destroy(scene->machine);
    assert_int_equal(reports, seen.reports);
    return seen;
}

static void each_mistake_is_reported_where_it_stands(void **state)
{
    size_t i, board;

    (void)state;
    for (i = 0; i < COUNT(cases); i++) {
        for (board = 0; board < COUNT(boards); board++) {
            struct scene scene = { 0 };
            struct class_seen seen;

            if ((cases[i].needs & boards[board].has) != cases[i].needs)
                continue;
            seen = play(cases[i].bad, &boards[board], 2, 0, "", &scene);
            if (seen.reports != 1 || strcmp(seen.class_name, cases[i].class_name) || seen.line != scene.line)
                fail_msg("case %zu, %s on board %zu: %lu reports, %s at %s:%d, expected line %d", i,
                         cases[i].class_name, board, seen.reports, seen.class_name, seen.file, seen.line,
                         scene.line);
            assert_true(seen.whole);
            assert_non_null(strstr(seen.file, "test-quarantine.c"));
            /* What the quarantine is for. */
            seen = play(cases[i].bad, &boards[board], 2, 0, "quarantine_size=0", &scene);
            if (seen.reports)
                fail_msg("case %zu on board %zu without a quarantine: %s", i, board, seen.class_name);
        }
    }
}

/* ---- What is right ---- */

static void ring_good(struct scene *scene)
{
    char *buffers[8];
    dma_addr_t dmas[8];
    unsigned i;

    for (i = 0; i < 600; i++) {
        unsigned at = i % 8;

        if (i >= 8) {
            dma_unmap_single(scene->dev, dmas[at], 2048, DMA_FROM_DEVICE);
            kfree(buffers[at]);
        }
        buffers[at] = kmalloc(2048, GFP_KERNEL);
        dmas[at] = map(scene, buffers[at], 2048, DMA_FROM_DEVICE);
        fill(bytes, 2048, i);
        assert_int_equal(dk_master_write(scene->dev, dmas[at], bytes, 2048), 0);
    }
    for (i = 0; i < 8; i++) {
        dma_unmap_single(scene->dev, dmas[i], 2048, DMA_FROM_DEVICE);
        kfree(buffers[i]);
    }
}

/* A bad frame is dropped unread: what the device wrote must not show through the pattern later. */
static void dropped_good(struct scene *scene)
{
    unsigned i;

    for (i = 0; i < 1500; i++) {
        char *buffer = kmalloc(i % 3 ? 1024 : 200, GFP_KERNEL);
        dma_addr_t dma = map(scene, buffer, 200, DMA_FROM_DEVICE);

        memset(bytes, (int)i, 200);
        assert_int_equal(dk_master_write(scene->dev, dma, bytes, 200), 0);
        dma_unmap_single_attrs(scene->dev, dma, 200, DMA_FROM_DEVICE, DMA_ATTR_SKIP_CPU_SYNC);
        kfree(buffer);
    }
}

/* Objects smaller than a cache line come and go beside one that the device has. */
static void neighbours_good(struct scene *scene)
{
    struct kmem_cache *cache = kmem_cache_create("small", 16, 0, 0, NULL);
    char *mapped = kmem_cache_alloc(cache, GFP_KERNEL), *others[6];
    dma_addr_t dma = map(scene, mapped, 16, DMA_TO_DEVICE);
    unsigned i, j;

    for (i = 0; i < 100; i++) {
        for (j = 0; j < COUNT(others); j++)
            others[j] = kmem_cache_alloc(cache, GFP_KERNEL);
        assert_int_equal(dk_master_read(scene->dev, dma, bytes, 16), 0);
        for (j = 0; j < COUNT(others); j++)
            kmem_cache_free(cache, others[j]);
    }
    dma_unmap_single(scene->dev, dma, 16, DMA_TO_DEVICE);
    kmem_cache_free(cache, mapped);
    kmem_cache_destroy(cache);
}

/* A device with few addresses, and not one to spare. */
static void few_addresses_good(struct scene *scene)
{
    struct page *page = alloc_pages(GFP_DMA, 0);
    dma_addr_t dmas[300];
    unsigned i, round, most = 0;

    if (dma_set_mask(scene->dev, DMA_BIT_MASK(20)) == 0) {
        for (round = 0; round < 5; round++) {
            for (i = 0; i < COUNT(dmas); i++) {
                dmas[i] = dma_map_page_attrs(scene->dev, page, 0, 4096, DMA_TO_DEVICE, DMA_ATTR_NO_WARN);
                if (dma_mapping_error(scene->dev, dmas[i]))
                    break;
            }
            if (!round)
                most = i;
            assert_int_equal(i, most);
            while (i--)
                dma_unmap_page(scene->dev, dmas[i], 4096, DMA_TO_DEVICE);
        }
    }
    __free_page(page);
}

/* A bounce pool down to its last slot. */
static void few_slots_good(struct scene *scene)
{
    static const size_t sizes[] = { 2048, 6000, 60000 };
    char *buffer = kmalloc(600 * 6000, GFP_KERNEL);
    static dma_addr_t dmas[500];
    unsigned i, j, round;

    assert_non_null(buffer);
    for (i = 0; i < COUNT(sizes); i++) {
        unsigned most = 0;

        for (round = 0; round < 4; round++) {
            for (j = 0; j < COUNT(dmas); j++) {
                dmas[j] = dma_map_single_attrs(scene->dev, buffer + (size_t)6000 * j, sizes[i], DMA_TO_DEVICE,
                                               DMA_ATTR_NO_WARN);
                if (dma_mapping_error(scene->dev, dmas[j]))
                    break;
            }
            if (!round)
                most = j;
            assert_int_equal(j, most);
            assert_true(j > 4 && j < COUNT(dmas));
            while (j--)
                dma_unmap_single(scene->dev, dmas[j], sizes[i], DMA_TO_DEVICE);
        }
    }
    kfree(buffer);
}

/* All memory, which is freed objects', comes back as pages. */
static void all_memory_good(struct scene *scene)
{
    static struct page *pages[2049];
    unsigned count, before = 0, round, i;
    char *objects[100];

    (void)scene;
    for (round = 0; round < 2; round++) {
        for (i = 0; round && i < COUNT(objects); i++)
            objects[i] = kmalloc(9000, GFP_KERNEL);
        for (i = 0; round && i < COUNT(objects); i++)
            kfree(objects[i]);
        for (count = 0; (pages[count] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 3)); count++)
            continue;
        for (i = 0; i < count; i++)
            __free_pages(pages[i], 3);
        if (round)
            assert_int_equal(count, before);
        before = count;
    }
}

static void (*const good[])(struct scene *scene) = { ring_good, dropped_good, neighbours_good,
                                                     few_addresses_good, all_memory_good };

static void what_is_right_is_silent(void **state)
{
    size_t i, board;
    uint64_t seed;

    (void)state;
    for (i = 0; i < COUNT(good); i++) {
        for (board = 0; board < COUNT(boards); board++) {
            for (seed = 0; seed < seeds(3); seed++) {
                struct scene scene = { 0 };
                struct class_seen seen = play(good[i], &boards[board], 2, seed, "", &scene);

                if (seen.reports)
                    fail_msg("%zu on board %zu with seed %d: %s at %s:%d", i, board, (int)seed,
                             seen.class_name, seen.file, seen.line);
            }
        }
    }
}

static void the_last_slot_serves(void **state)
{
    static const struct class_board board = { COHERENT_BOARD, "swiotlb=256,force", BOUNCED };
    struct scene scene = { 0 };

    (void)state;
    assert_int_equal(play(few_slots_good, &board, 2, 0, "", &scene).reports, 0);
}

/* ---- Freed while mapped ---- */

static enum dma_data_direction direction;
static size_t freed_size;

static void freed_while_mapped(struct scene *scene)
{
    char *buffer = kzalloc(freed_size, GFP_KERNEL);
    dma_addr_t dma = map(scene, buffer, 256, direction);

    AT(scene, kfree(buffer));
    if (direction == DMA_TO_DEVICE)
        assert_int_equal(dk_master_read(scene->dev, dma, bytes, 256), 0);
    else
        assert_int_equal(dk_master_write(scene->dev, dma, bytes, 256), 0);
    dma_unmap_single(scene->dev, dma, 256, direction);
}

/* The pattern of freed memory is none of the driver's stores: that it was freed is all there is to say. */
static void freed_while_mapped_is_said_once(void **state)
{
    size_t board;

    (void)state;
    for (board = 0; board < COUNT(boards); board++) {
        for (direction = DMA_BIDIRECTIONAL; direction <= DMA_FROM_DEVICE; direction++) {
            for (freed_size = 1024; freed_size <= 16384; freed_size *= 16) {
                struct scene scene = { 0 };
                struct class_seen seen = play(freed_while_mapped, &boards[board], 2, 0, "", &scene);

                if (seen.reports != 1 || strcmp(seen.class_name, "freed-while-mapped"))
                    fail_msg("direction %d on board %zu: %lu reports, the last %s", (int)direction, board,
                             seen.reports, seen.class_name);
                assert_int_equal(seen.line, scene.line);
            }
        }
    }
}

/* ---- Switching it off ---- */

static bool is_used_again;

static void use_again(struct scene *scene)
{
    char *object = kmalloc(100, GFP_KERNEL), *again;

    (void)scene;
    kfree(object);
    again = kmalloc(100, GFP_KERNEL);
    is_used_again = object == again;
    kfree(again);
}

static void options_say_whether(void **state)
{
    static const struct {
        const char *options;
        int depth;
        bool again;
    } settings[] = {
        { "", 0, true },
        { "", 1, true },
        { "", 2, false },
        { "quarantine_size=0", 2, true },
        { "quarantine_size=64", 2, true },
        { "quarantine_size=1K", 2, false },
        { "quarantine_size=1024G", 2, false },
        { "quarantine_size=1M", 1, true },
    };
    size_t i;

    (void)state;
    for (i = 0; i < COUNT(settings); i++) {
        struct scene scene = { 0 };

        play(use_again, &boards[i % 2], settings[i].depth, 0, settings[i].options, &scene);
        if (is_used_again != settings[i].again)
            fail_msg("\"%s\" at depth %d", settings[i].options, settings[i].depth);
    }
}

static unsigned said;

static void count_slots_left(int level, const char *line, void *data)
{
    (void)level;
    (void)data;
    said += strstr(line, "of its") && strstr(line, "slots are used");
}

/* Slots that nobody has mapped any more are not in use, wherever they wait. */
static void a_pool_that_goes_counts_what_is_mapped(void **state)
{
    unsigned left;

    (void)state;
    dk_log_set_sink(count_slots_left, NULL);
    dk_log_set_level(1);
    for (left = 0; left < 2; left++) {
        struct scene scene = { 0 };
        dma_addr_t dma;

        scene.machine = machine_with(COHERENT_BOARD, "swiotlb=force", 0, 2);
        dk_check_set_sink(scene.machine, ignore_report, NULL);
        scene.dev = dk_device_find(scene.machine, "nic");
        scene.buffer = kmalloc(64, GFP_KERNEL);
        dma = map(&scene, scene.buffer, 64, DMA_TO_DEVICE);
        if (!left)
            dma_unmap_single(scene.dev, dma, 64, DMA_TO_DEVICE);
        said = 0;
        dk_machine_destroy(scene.machine);
        assert_int_equal(said, left);
    }
    dk_log_set_level(-1);
    dk_log_set_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_reported_where_it_stands),
        cmocka_unit_test(what_is_right_is_silent),
        cmocka_unit_test(the_last_slot_serves),
        cmocka_unit_test(freed_while_mapped_is_said_once),
        cmocka_unit_test(options_say_whether),
        cmocka_unit_test(a_pool_that_goes_counts_what_is_mapped),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("quarantine", tests, NULL, NULL);
}
