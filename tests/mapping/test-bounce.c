/* SPDX-License-Identifier: MIT */
/*
 * Bounce buffers: what the device sees, what comes back, where they may lie, and what happens when there are
 * no more.
 */
#include "base/thread-number.h"
#include "machine/compose.h"
#include "mapping/bounce-private.h"
#include "mapping/mapping.h"

#include <dmakit/fail.h>
#include <dmakit/page.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define KIB 1024u
#define MIB (1024u * KIB)
#define SMALL (512u * KIB) /* two segments, and no magazines */
#define LARGE (16u * MIB)  /* with magazines of all sizes but the largest */
/* Originals lie in the second piece of RAM. */
#define ORIGINALS SECOND_RAM

struct scene {
    struct composed *composed;
    struct dk_machine *machine;
    struct page *pages;
    size_t count; /* of them */
    struct dk_bounce_pool *pool;
    struct device *dev; /* reaches everything */
};

static struct device *add_device(const char *name)
{
    struct device *dev = dk_device_add(NULL, name);

    assert_false(IS_ERR(dev));
    *dev->dma_mask = ~0ull;
    dev->coherent_dma_mask = ~0ull;
    return dev;
}

static struct scene set(bool coherent, size_t pool_size)
{
    struct scene scene = { .composed = compose(&(struct shape){ .coherent = coherent }),
                           .count = pool_size >> PAGE_SHIFT };

    assert_non_null(scene.composed);
    scene.machine = &scene.composed->machine;
    /* Where the board's windows lead, at an address that is aligned to a page only. */
    scene.pages =
        dk_pages_take(scene.machine->memory, GFP_KERNEL, scene.count + 1, 1, PAGE_SIZE, RAM_SIZE / 2 - 1);
    assert_non_null(scene.pages);
    /* Others had that memory. */
    for (size_t i = 0; i < scene.count; i++)
        memset(dk_memory_cached(scene.machine->memory, page_to_phys(scene.pages) + (i + 1) * PAGE_SIZE), 'f',
               PAGE_SIZE);
    scene.pool = dk_bounce_create(scene.machine, page_to_phys(scene.pages) + PAGE_SIZE, pool_size, "test");
    assert_false(IS_ERR(scene.pool));
    scene.dev = add_device("card");
    log_lines();
    return scene;
}

/* No buffer may be left. */
static void strike(struct scene *scene)
{
    log_lines();
    dk_bounce_destroy(scene->pool);
    assert_int_equal(log_lines(), 0);
    dk_pages_give(scene->machine->memory, scene->pages, scene->count + 1);
    dispose(scene->composed);
}

static char *cached(const struct scene *scene, phys_addr_t phys)
{
    return dk_memory_cached(scene->machine->memory, phys);
}

static u64 slots_used(const struct scene *scene)
{
    u64 slots, used, most;

    dk_bounce_usage(scene->pool, &slots, &used, &most);
    assert_int_equal(slots, scene->count * 2);
    assert_true(used <= most && most <= slots);
    return used;
}

static void fill(char *bytes, size_t size, u64 seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(test_random(&seed) >> 24);
}

/* As the back end does around the calls below. */
static phys_addr_t map(struct scene *scene, phys_addr_t original, size_t size, unsigned long attrs)
{
    phys_addr_t copy = dk_bounce_map(scene->pool, scene->dev, original, size, attrs);

    if (copy != NOWHERE)
        dk_lines_to_device(scene->machine, copy, size);
    return copy;
}

static void unmap(struct scene *scene, phys_addr_t copy, size_t size, enum dma_data_direction direction,
                  unsigned long attrs)
{
    dk_lines_to_cpu(scene->machine, copy, size, direction);
    dk_bounce_unmap(scene->pool, scene->dev, copy, size, direction, attrs);
}

static void device_write(struct scene *scene, phys_addr_t phys, const void *bytes, size_t size)
{
    assert_int_equal(dk_cache_device_write(scene->machine, phys, bytes, size), 0);
}

static void assert_device_sees(struct scene *scene, phys_addr_t phys, const void *bytes, size_t size)
{
    char *seen = malloc(size);

    assert_non_null(seen);
    assert_int_equal(dk_cache_device_read(scene->machine, phys, seen, size), 0);
    assert_memory_equal(seen, bytes, size);
    free(seen);
}

/* ---- Bytes ---- */

static const enum dma_data_direction directions[] = { DMA_BIDIRECTIONAL, DMA_TO_DEVICE, DMA_FROM_DEVICE };
static const size_t sizes[] = { 1, 64, 2047, 2048, 2049, 4096, 5000, 65 * 2048, 256 * KIB };

/*
 * The device sees the original whatever the direction, nothing that was there before; what it does not write
 * stays; what it writes comes back where the direction and the attributes want that.
 */
static void check_bytes(struct scene *scene, size_t size, enum dma_data_direction direction,
                        unsigned long attrs)
{
    static char before[256 * KIB], written[256 * KIB];
    phys_addr_t original = ORIGINALS + 3 * 4096 + 77, copy;
    size_t from = size / 3, length = size / 3 + 1;
    bool comes_back = direction != DMA_TO_DEVICE && !(attrs & DMA_ATTR_SKIP_CPU_SYNC);

    fill(before, size, size * 10 + (u64)direction + 1);
    fill(written, length, size * 20 + (u64)direction + 2);
    memcpy(cached(scene, original), before, size);
    copy = map(scene, original, size, attrs);
    assert_true(copy != NOWHERE && dk_bounce_holds(scene->pool, copy) &&
                dk_bounce_holds(scene->pool, copy + size - 1));
    assert_device_sees(scene, copy, before, size);
    device_write(scene, copy + from, written, length);
    assert_memory_equal(cached(scene, original), before, size);
    unmap(scene, copy, size, direction, attrs);
    if (comes_back)
        memcpy(before + from, written, length);
    assert_memory_equal(cached(scene, original), before, size);
    assert_int_equal(slots_used(scene), 0);
}

static void test_bytes(void **state)
{
    (void)state;
    for (unsigned machine = 0; machine < 4; machine++) {
        struct scene scene = set(machine & 1, machine & 2 ? SMALL : LARGE);

        /* Twice, so that each finds the slots as another left them. */
        for (unsigned i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
            for (unsigned j = 0; j < 3; j++) {
                check_bytes(&scene, sizes[i / 2], directions[j], 0);
                check_bytes(&scene, sizes[i / 2], directions[j], DMA_ATTR_SKIP_CPU_SYNC);
            }
        }
        assert_int_equal(log_lines(), 0);
        strike(&scene);
    }
}

/* Whether all of the run around [copy, copy + size) but these bytes is zeros, for the CPU and for the device.
 */
static bool is_clean_around(struct scene *scene, phys_addr_t copy, size_t size)
{
    static char seen[256 * KIB];
    struct dk_bounce_pool *pool = scene->pool;
    u64 first = dk_bounce_slots_first(pool->slots, (copy - pool->base) / DK_BOUNCE_SLOT);
    const struct dk_bounce_record *record = &pool->records[first];
    size_t length = (size_t)slots_of(record, record->shape) * DK_BOUNCE_SLOT;
    phys_addr_t start = pool->base + first * DK_BOUNCE_SLOT;
    size_t before = (size_t)(copy - start);
    unsigned wrong = 0;

    assert_true(copy >= start && before + size <= length);
    assert_int_equal(dk_cache_device_read(scene->machine, start, seen, length), 0);
    for (size_t i = 0; i < length; i++) {
        if (i < before || i >= before + size)
            wrong += seen[i] != 0 || cached(scene, start)[i] != 0;
    }
    return !wrong;
}

/* Neither what the pool's memory held, nor what a buffer or its device left, is to be seen around another. */
static void test_nothing_around_a_buffer(void **state)
{
    static const unsigned masks[] = { 0, 0, 0, 0x1ff, 0xfff, 0x1fff };
    static char bytes[256 * KIB];
    u64 seed = test_seed(0xc1ea), number;

    (void)state;
    memset(bytes, 's', sizeof(bytes));
    for (unsigned machine = 0; machine < 4; machine++) {
        struct scene scene = set(machine & 1, machine & 2 ? SMALL : LARGE);
        phys_addr_t copies[4] = { 0 };
        size_t sizes_now[4];
        bool pages[4];

        memset(cached(&scene, ORIGINALS), 'o', MIB);
        for (unsigned long i = 0; i < test_rounds(4000); i++) {
            unsigned which = (unsigned)i % 4;

            if (copies[which] && pages[which])
                assert_true(dk_bounce_free(scene.pool, copies[which], sizes_now[which]));
            else if (copies[which])
                unmap(&scene, copies[which], sizes_now[which], DMA_TO_DEVICE, 0);
            number = test_random(&seed);
            sizes_now[which] = 1 + (size_t)(number >> 8) % (number & 7 ? 7000 : 100000);
            scene.dev->dma_parms->min_align_mask = masks[(number >> 4) % 6];
            pages[which] = (number >> 32) % 8 == 0;
            if (pages[which]) {
                copies[which] = dk_bounce_alloc(scene.pool, scene.dev, sizes_now[which], 0);
                sizes_now[which] = (size_t)(PFN_UP(sizes_now[which]) << PAGE_SHIFT);
            } else {
                copies[which] = map(&scene, ORIGINALS + (number >> 40) % 5000, sizes_now[which], 0);
            }
            assert_true(copies[which] != NOWHERE);
            if (!is_clean_around(&scene, copies[which], sizes_now[which]))
                fail_msg("machine %u, round %lu: %zu bytes", machine, i, sizes_now[which]);
            device_write(&scene, copies[which], bytes, sizes_now[which]);
        }
        scene.dev->dma_parms->min_align_mask = 0;
        for (unsigned i = 0; i < 4; i++) {
            if (copies[i] && pages[i])
                assert_true(dk_bounce_free(scene.pool, copies[i], sizes_now[i]));
            else if (copies[i])
                unmap(&scene, copies[i], sizes_now[i], DMA_TO_DEVICE, 0);
        }
        strike(&scene);
    }
}

static void test_sync(void **state)
{
    static const struct {
        enum dma_data_direction direction;
        bool for_cpu, copies;
    } cases[] = {
        { DMA_BIDIRECTIONAL, true, true }, { DMA_BIDIRECTIONAL, false, true },
        { DMA_TO_DEVICE, true, false },    { DMA_TO_DEVICE, false, true },
        { DMA_FROM_DEVICE, true, true },   { DMA_FROM_DEVICE, false, false },
    };
    struct scene scene = set(true, LARGE);
    phys_addr_t original = ORIGINALS + 100;
    const size_t size = 9000;

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        /* Parts at either end, in the middle across slots, and the whole. */
        static const struct {
            size_t from, length;
        } parts[] = { { 0, 1 }, { 8999, 1 }, { 2000, 4200 }, { 5000, 10 }, { 0, 9000 } };

        for (size_t j = 0; j < sizeof(parts) / sizeof(parts[0]); j++) {
            size_t from = parts[j].from, length = parts[j].length;
            char expected[9000];
            phys_addr_t copy;

            memset(cached(&scene, original), 'o', size);
            copy = map(&scene, original, size, 0);
            memset(cached(&scene, original), 'O', size);
            memset(cached(&scene, copy), 'C', size);
            dk_bounce_sync(scene.pool, scene.dev, copy + from, length, cases[i].direction, cases[i].for_cpu);
            memset(expected, cases[i].for_cpu ? 'O' : 'C', size);
            if (cases[i].copies)
                memset(expected + from, cases[i].for_cpu ? 'C' : 'O', length);
            assert_memory_equal(cached(&scene, cases[i].for_cpu ? original : copy), expected, size);
            memset(expected, cases[i].for_cpu ? 'C' : 'O', size);
            assert_memory_equal(cached(&scene, cases[i].for_cpu ? copy : original), expected, size);
            unmap(&scene, copy, size, DMA_TO_DEVICE, 0);
        }
    }
    assert_int_equal(log_lines(), 0);
    strike(&scene);
}

/* Each is refused with a line, and neither the original nor the copy changes. */
static void test_wrong_calls(void **state)
{
    struct scene scene = set(true, LARGE);
    phys_addr_t original = ORIGINALS, copy, pages, found;
    const size_t size = 5000;
    static const struct {
        u64 from;
        size_t length;
    } outside[] = { { 0, 5001 }, { 5000, 1 }, { 4999, 2 }, { -1ull, 2 }, { 6000, 8 }, { 1, ~(size_t)0 } };

    (void)state;
    memset(cached(&scene, original), 'o', size);
    copy = map(&scene, original, size, 0);
    pages = dk_bounce_alloc(scene.pool, scene.dev, 100, 0);
    memset(cached(&scene, copy), 'C', size);
    for (size_t i = 0; i < sizeof(outside) / sizeof(outside[0]); i++) {
        dk_bounce_sync(scene.pool, scene.dev, copy + outside[i].from, outside[i].length, DMA_BIDIRECTIONAL,
                       true);
        assert_int_equal(log_lines(), 1);
        assert_non_null(strstr(log_last(), "leave their buffer"));
    }
    dk_bounce_sync(scene.pool, scene.dev, pages, 10, DMA_BIDIRECTIONAL, true);
    /* Pages are no copies: there is nothing to do, and nothing wrong. */
    assert_int_equal(log_lines(), 0);
    dk_bounce_sync(scene.pool, scene.dev, original, 10, DMA_BIDIRECTIONAL, true);
    assert_int_equal(log_lines(), 1);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(cached(&scene, original)[i], 'o');

    dk_bounce_unmap(scene.pool, scene.dev, copy + 1, size, DMA_BIDIRECTIONAL, 0);
    dk_bounce_unmap(scene.pool, scene.dev, copy + 2048, size, DMA_BIDIRECTIONAL, 0);
    dk_bounce_unmap(scene.pool, scene.dev, pages, 100, DMA_BIDIRECTIONAL, 0);
    dk_bounce_unmap(scene.pool, scene.dev, original, size, DMA_BIDIRECTIONAL, 0);
    assert_int_equal(log_lines(), 4);
    assert_non_null(strstr(log_last(), "where no buffer begins"));
    assert_false(dk_bounce_free(scene.pool, copy, size));
    assert_false(dk_bounce_free(scene.pool, pages, 4097));
    assert_false(dk_bounce_free(scene.pool, pages, 0));
    assert_false(dk_bounce_free(scene.pool, pages + 1, 100));
    assert_false(dk_bounce_free(scene.pool, original, 100));
    assert_int_equal(cached(&scene, original)[0], 'o');

    assert_true(dk_bounce_original(scene.pool, copy + 4999, &found));
    assert_int_equal(found, original + 4999);
    assert_false(dk_bounce_original(scene.pool, copy + 5000, &found));
    assert_false(dk_bounce_original(scene.pool, copy - 1, &found));
    assert_false(dk_bounce_original(scene.pool, pages, &found));
    assert_false(dk_bounce_original(scene.pool, original, &found));

    /* Told less than was mapped, unmapping copies that; told more, no more than the buffer. */
    dk_bounce_unmap(scene.pool, scene.dev, copy, 10, DMA_FROM_DEVICE, 0);
    assert_int_equal(cached(&scene, original)[9], 'C');
    assert_int_equal(cached(&scene, original)[10], 'o');
    assert_false(dk_bounce_original(scene.pool, copy, &found));
    dk_bounce_unmap(scene.pool, scene.dev, copy, 10, DMA_FROM_DEVICE, 0);
    assert_int_equal(log_lines(), 1);
    for (unsigned i = 0; i < 3; i++) {
        copy = map(&scene, original, 10, 0);
        memset(cached(&scene, copy), 'D' + (int)i, 20);
        dk_bounce_unmap(scene.pool, scene.dev, copy, 20, DMA_FROM_DEVICE, 0);
        assert_int_equal(cached(&scene, original)[9], 'D' + i);
        assert_int_equal(cached(&scene, original)[10], 'o');
    }
    assert_true(dk_bounce_free(scene.pool, pages, 100));
    assert_false(dk_bounce_free(scene.pool, pages, 100));
    strike(&scene);
}

/* ---- Where a buffer may lie ---- */

static void test_min_align(void **state)
{
    static const struct {
        unsigned mask;
        size_t most;
    } cases[] = {
        { 0, 256 * KIB },      { 0x1ff, 254 * KIB },
        { 0x7ff, 254 * KIB },  { 0x800, 252 * KIB },
        { 0xfff, 252 * KIB },  { 0x1fff, 248 * KIB },
        { 0xffff, 192 * KIB }, { 0x1ffff, 128 * KIB },
        { 0x3ffff, 0 },        { ~0u, 0 },
    };
    static const unsigned offsets[] = { 0, 1, 511, 512, 2047, 2048, 3000, 4095, 8192 + 5, 65536 - 1, 100000 };
    static char bytes[256 * KIB];

    (void)state;
    for (unsigned machine = 0; machine < 2; machine++) {
        struct scene scene = set(true, machine ? SMALL : LARGE);

        fill(bytes, sizeof(bytes), 9);
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
            unsigned mask = cases[i].mask;
            size_t too_large = mask < 256 * KIB ? 256 * KIB - mask + 1 : 1;

            scene.dev->dma_parms->min_align_mask = mask;
            assert_int_equal(dk_bounce_max_mapping(scene.dev), cases[i].most);
            for (size_t j = 0; j < sizeof(offsets) / sizeof(offsets[0]); j++) {
                size_t sizes_here[] = { 1, 100, 5000, cases[i].most };
                phys_addr_t original = ORIGINALS + offsets[j];

                for (size_t k = 0; k < (cases[i].most ? 4 : 0); k++) {
                    size_t size = sizes_here[k];
                    phys_addr_t copy;

                    memcpy(cached(&scene, original), bytes, size);
                    copy = map(&scene, original, size, 0);
                    assert_true(copy != NOWHERE);
                    assert_int_equal(copy & mask, original & mask);
                    assert_true(dk_bounce_holds(scene.pool, copy + size - 1));
                    assert_device_sees(&scene, copy, bytes, size);
                    dk_bounce_sync(scene.pool, scene.dev, copy + size - 1, 1, DMA_FROM_DEVICE, true);
                    unmap(&scene, copy, size, DMA_FROM_DEVICE, 0);
                }
            }
            assert_int_equal(log_lines(), 0);
            scene.pool->quiet_until = 0;
            assert_true(map(&scene, ORIGINALS + mask, too_large, DMA_ATTR_NO_WARN) == NOWHERE);
            assert_int_equal(log_lines(), 0);
            assert_true(map(&scene, ORIGINALS + mask, too_large, 0) == NOWHERE);
            assert_int_equal(log_lines(), 1);
            assert_non_null(strstr(log_last(), "in one buffer, and 1 to "));
        }
        scene.dev->dma_parms->min_align_mask = 0;
        strike(&scene);
    }
}

static void test_too_large(void **state)
{
    static const size_t wrong[] = { 0, 256 * KIB + 1, ~(size_t)0, ~(size_t)0 - 4095 };
    struct scene scene = set(true, LARGE);

    (void)state;
    /* What comes after a few good ones goes other ways. */
    for (size_t size = 1; size <= 256 * KIB; size *= 2) {
        for (unsigned i = 0; i < 2; i++)
            unmap(&scene, map(&scene, ORIGINALS, size, 0), size, DMA_TO_DEVICE, 0);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        scene.pool->quiet_until = 0;
        assert_true(map(&scene, ORIGINALS, wrong[i], 0) == NOWHERE);
        assert_int_equal(log_lines(), 1);
        assert_non_null(strstr(log_last(), "in one buffer, and 1 to 262144 are possible"));
        scene.pool->quiet_until = 0;
        assert_true(dk_bounce_alloc(scene.pool, scene.dev, wrong[i], DMA_ATTR_NO_WARN) == NOWHERE);
        assert_int_equal(log_lines(), 0);
        assert_true(dk_bounce_alloc(scene.pool, scene.dev, wrong[i], 0) == NOWHERE);
        assert_int_equal(log_lines(), 1);
    }
    strike(&scene);
}

/* All a device gets is what it reaches: up to @end. */
static void fill_up_to(struct scene *scene, size_t size, phys_addr_t lowest, phys_addr_t end)
{
    static phys_addr_t copies[LARGE / 2048 + 1];
    size_t count = 0;

    while ((copies[count] = map(scene, ORIGINALS, size, DMA_ATTR_NO_WARN)) != NOWHERE) {
        if (copies[count] < lowest || copies[count] + size > end)
            fail_msg("a copy at 0x%llx", copies[count]);
        count++;
    }
    assert_int_equal(count, (end - lowest) / size);
    while (count--)
        unmap(scene, copies[count], size, DMA_TO_DEVICE, 0);
}

static void test_limits(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct scene scene = set(true, i ? SMALL : LARGE);
        phys_addr_t base = scene.pool->base, end = base + scene.pool->size, pages;
        struct device *window;

        fill_up_to(&scene, 2048, base, end);
        *scene.dev->dma_mask = end - 1;
        fill_up_to(&scene, 2048, base, end);
        /* One byte less, and the last slot is out of reach. */
        *scene.dev->dma_mask = end - 2;
        fill_up_to(&scene, 2048, base, end - 2048);
        *scene.dev->dma_mask = ~0ull;
        scene.dev->bus_dma_limit = base + 64 * KIB - 1;
        fill_up_to(&scene, 4096, base, base + 64 * KIB);
        scene.dev->bus_dma_limit = 0;
        *scene.dev->dma_mask = base + 2046;
        fill_up_to(&scene, 2048, base, base);
        *scene.dev->dma_mask = ~0ull;
        scene.dev->coherent_dma_mask = base + 4095;
        pages = dk_bounce_alloc(scene.pool, scene.dev, 1, 0);
        assert_true(pages == base);
        assert_true(dk_bounce_alloc(scene.pool, scene.dev, 1, 0) == NOWHERE);
        assert_true(dk_bounce_free(scene.pool, pages, 1));

        /* A window that shows the pool at another address, and ends in the pool. */
        window = dk_device_find(scene.machine, "/soc/dma@1000");
        assert_non_null(window);
        *window->dma_mask = ~0ull;
        scene.dev = window;
        fill_up_to(&scene, 2048, base, end);
        *window->dma_mask = 0xc0000000 + base + 32 * KIB - 1;
        fill_up_to(&scene, 2048, base, base + 32 * KIB);
        *window->dma_mask = 0xbfffffff;
        fill_up_to(&scene, 2048, base, base);
        strike(&scene);
    }
}

/* Only the middle of the pool is in the device's windows, in two parts. */
static void test_windows_inside_the_pool(void **state)
{
    struct scene scene = set(true, LARGE);
    phys_addr_t base = scene.pool->base;
    struct dk_window windows[] = { { 0, base + 100, 300 * KIB }, { 0x80000000, base + MIB, 64 * KIB } };
    u64 lowest = NOWHERE, highest = 0, count = 0;
    phys_addr_t copies[200];

    (void)state;
    scene.dev->dk->windows = windows;
    scene.dev->dk->window_count = 2;
    while ((copies[count] = map(&scene, ORIGINALS, 2048, DMA_ATTR_NO_WARN)) != NOWHERE) {
        lowest = copies[count] < lowest ? copies[count] : lowest;
        highest = copies[count] > highest ? copies[count] : highest;
        count++;
        assert_true(count < 200);
    }
    assert_int_equal(count, 149 + 32);
    assert_int_equal(lowest, base + 2048);
    assert_int_equal(highest, base + MIB + 62 * KIB);
    while (count--)
        unmap(&scene, copies[count], 2048, DMA_TO_DEVICE, 0);
    scene.dev->dk->window_count = 0;
    strike(&scene);
}

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

/* ---- Pages ---- */

static void test_pages(void **state)
{
    static const size_t lengths[] = { 1, 4096, 4097, 20000, 256 * KIB };

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        struct scene scene = set(true, i ? SMALL : LARGE);

        for (size_t j = 0; j < sizeof(lengths) / sizeof(lengths[0]); j++) {
            phys_addr_t odd = map(&scene, ORIGINALS, 100, 0);
            phys_addr_t pages = dk_bounce_alloc(scene.pool, scene.dev, lengths[j], 0);
            u64 used = slots_used(&scene);

            assert_true(pages != NOWHERE &&
                        dk_bounce_holds(scene.pool, pages + PFN_UP(lengths[j]) * 4096 - 1));
            assert_int_equal(pages & (PAGE_SIZE - 1), 0);
            assert_true(used >= 1 + PFN_UP(lengths[j]) * 2);
            assert_true(dk_bounce_free(scene.pool, pages, lengths[j]));
            unmap(&scene, odd, 100, DMA_TO_DEVICE, 0);
        }
        strike(&scene);
    }
}

/* ---- When there are no more ---- */

static void test_exhaustion(void **state)
{
    static const char *const names[] = { "least", "much", "more", "most" };
    static phys_addr_t copies[4][16];
    struct scene scene = set(true, SMALL);
    struct device *devices[4];
    u64 slots, used, most;
    unsigned lines, i, j;

    (void)state;
    for (i = 0; i < 4; i++) {
        devices[i] = add_device(names[i]);
        /* 8 KiB for each device's place in the order, 80 in all; as many buffers of 8 KiB. */
        for (j = 0; j <= i; j++) {
            copies[i][j] = dk_bounce_map(scene.pool, devices[i], ORIGINALS, 8192, 0);
            assert_true(copies[i][j] != NOWHERE);
        }
    }
    /* 256 KiB are one segment; of the other 176 KiB are left. */
    scene.dev = devices[3];
    copies[3][4] = map(&scene, ORIGINALS, 256 * KIB, 0);
    copies[3][5] = map(&scene, ORIGINALS, 128 * KIB, 0);
    copies[3][6] = map(&scene, ORIGINALS, 48 * KIB, 0);
    assert_true(copies[3][4] != NOWHERE && copies[3][5] != NOWHERE && copies[3][6] != NOWHERE);
    assert_int_equal(slots_used(&scene), 256);
    assert_int_equal(log_lines(), 0);

    assert_true(map(&scene, ORIGINALS, 100, DMA_ATTR_NO_WARN) == NOWHERE);
    assert_int_equal(log_lines(), 0);
    /* A driver that tries again and again does not flood the log. */
    for (i = 0; i < 1000; i++)
        assert_true(map(&scene, ORIGINALS, 100, 0) == NOWHERE);
    lines = log_lines();
    assert_in_range(lines, 1, 100);
    scene.pool->quiet_until = 0;
    assert_true(map(&scene, ORIGINALS, 100, 0) == NOWHERE);
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(log_last(),
                           "bounce pool test: no room for 100 bytes of /soc/most: 256 of 256 slots are "
                           "used by /soc/most (475136 bytes in 7 buffers), /soc/more (24576 bytes in "
                           "3 buffers), /soc/much (16384 bytes in 2 buffers)"));
    assert_non_null(strstr(log_last(), "lines like this were left out"));
    assert_null(strstr(log_last(), "least"));

    /* One buffer back, and there is room again. */
    unmap(&scene, copies[1][1], 8192, DMA_TO_DEVICE, 0);
    copies[1][1] = map(&scene, ORIGINALS, 8192, 0);
    assert_true(copies[1][1] != NOWHERE);

    for (i = 0; i < 4; i++) {
        for (j = 0; copies[i][j]; j++)
            dk_bounce_unmap(scene.pool, devices[i], copies[i][j], 1, DMA_TO_DEVICE, 0);
    }
    dk_bounce_usage(scene.pool, &slots, &used, &most);
    assert_int_equal(slots, 256);
    assert_int_equal(used, 0);
    assert_int_equal(most, 256);
    strike(&scene);
}

/* Names that do not fit are cut off, and so is the list of who holds the pool. */
static void test_long_names(void **state)
{
    struct scene scene = set(true, SMALL);
    struct device *devices[3];
    char name[400];

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        memset(name, 'a' + (int)i, sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        devices[i] = add_device(name);
        assert_true(dk_bounce_map(scene.pool, devices[i], ORIGINALS, (3 - i) * 8192, 0) != NOWHERE);
    }
    dk_bounce_destroy(scene.pool);
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(log_last(), "24 of its 256 slots are used by /soc/aaa"));
    assert_non_null(strstr(log_last(), "a (24576 bytes in 1 buffer), /soc/bbb"));
    assert_null(strstr(log_last(), "ccc"));
    dk_pages_give(scene.machine->memory, scene.pages, scene.count + 1);
    dispose(scene.composed);
}

/* What a thread keeps for itself is there for it when it is needed, in any size. */
static void test_all_of_it(void **state)
{
    static phys_addr_t copies[LARGE / 2048];
    struct scene scene = set(true, LARGE);

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (size_t size = 2048; size <= 256 * KIB; size *= 2) {
            unsigned count = LARGE / (unsigned)size;

            for (unsigned i = 0; i < count; i++) {
                copies[i] = map(&scene, ORIGINALS, size, 0);
                assert_true(copies[i] != NOWHERE);
            }
            assert_int_equal(slots_used(&scene), LARGE / 2048);
            assert_true(map(&scene, ORIGINALS, 1, DMA_ATTR_NO_WARN) == NOWHERE);
            while (count--)
                unmap(&scene, copies[count], size, DMA_TO_DEVICE, 0);
            assert_int_equal(slots_used(&scene), 0);
        }
    }
    assert_int_equal(log_lines(), 0);
    strike(&scene);
}

#define IDLERS 64

struct idler {
    pthread_t thread;
    struct scene *scene;
    pthread_barrier_t *barrier;
};

/* A burst of each size, all given back; then nothing, and then the end. */
static void *map_and_idle(void *data)
{
    struct idler *idler = data;
    phys_addr_t copies[8];

    for (size_t size = 2048; size <= 128 * KIB; size *= 2) {
        for (unsigned i = 0; i < 8; i++)
            copies[i] =
                dk_bounce_map(idler->scene->pool, idler->scene->dev, ORIGINALS, size, DMA_ATTR_NO_WARN);
        for (unsigned i = 0; i < 8; i++) {
            if (copies[i] != NOWHERE)
                dk_bounce_unmap(idler->scene->pool, idler->scene->dev, copies[i], size, DMA_TO_DEVICE, 0);
        }
    }
    pthread_barrier_wait(idler->barrier);
    pthread_barrier_wait(idler->barrier);
    return NULL;
}

/* What other threads keep for themselves, ended ones too, leaves most of the pool for who needs it, and the
 * log tells of it. */
static void test_what_others_keep(void **state)
{
    static struct idler idlers[IDLERS];
    static phys_addr_t copies[LARGE / (128 * KIB)];
    struct scene scene = set(true, LARGE);
    pthread_barrier_t barrier;

    (void)state;
    pthread_barrier_init(&barrier, NULL, IDLERS + 1);
    for (unsigned i = 0; i < IDLERS; i++) {
        idlers[i] = (struct idler){ .scene = &scene, .barrier = &barrier };
        assert_int_equal(pthread_create(&idlers[i].thread, NULL, map_and_idle, &idlers[i]), 0);
    }
    pthread_barrier_wait(&barrier);
    /* They would keep more: a fourth of the pool is promised, to the last slot. */
    assert_int_equal(scene.pool->promised, LARGE / DK_BOUNCE_SLOT / 4);
    for (unsigned ended = 0; ended < 2; ended++) {
        unsigned count = 0;

        assert_int_equal(slots_used(&scene), 0);
        scene.pool->quiet_until = 0;
        log_lines();
        while ((copies[count] = map(&scene, ORIGINALS, 128 * KIB, 0)) != NOWHERE)
            count++;
        assert_int_equal(log_lines(), 1);
        assert_non_null(strstr(log_last(), "are kept by threads for their next buffers"));
        assert_in_range(count, LARGE / (128 * KIB) / 2, LARGE / (128 * KIB) - 1);
        while (count--)
            unmap(&scene, copies[count], 128 * KIB, DMA_TO_DEVICE, 0);
        if (ended)
            break;
        pthread_barrier_wait(&barrier);
        for (unsigned i = 0; i < IDLERS; i++)
            pthread_join(idlers[i].thread, NULL);
    }
    pthread_barrier_destroy(&barrier);
    strike(&scene);
}

static void map_and_unmap_many(struct scene *scene, unsigned count, size_t size)
{
    static phys_addr_t copies[LARGE / DK_BOUNCE_SLOT / 4];

    for (unsigned i = 0; i < count; i++)
        copies[i] = map(scene, ORIGINALS, size, 0);
    for (unsigned i = 0; i < count; i++)
        unmap(scene, copies[i], size, DMA_TO_DEVICE, 0);
}

/* The slots that no buffer uses and that are not there for everybody either. */
static u64 slots_kept(const struct scene *scene)
{
    u64 taken, most;

    assert_int_equal(slots_used(scene), 0);
    dk_bounce_slots_usage(scene->pool->slots, &taken, &most);
    return taken;
}

/* A thread is promised two magazines of each size, and nothing more however long it goes on: 16 slots of each
 * are a 512th of the pool, and of 64 KiB there would be none. */
static void test_what_a_thread_keeps(void **state)
{
    struct scene scene = set(true, LARGE);
    u64 kept, before = 0;

    (void)state;
    for (unsigned order = 0; order < 6; order++) {
        for (unsigned round = 0; round < 200; round++)
            map_and_unmap_many(&scene, 50, (size_t)DK_BOUNCE_SLOT << order);
        kept = slots_kept(&scene);
        assert_true(order < 5 ? kept > before : kept == before);
        assert_int_equal(scene.pool->promised, (order < 5 ? order + 1 : 5) * 2 * 16);
        before = kept;
    }
    strike(&scene);
}

static void *map_once(void *data)
{
    map_and_unmap_many(data, 1, DK_BOUNCE_SLOT);
    return NULL;
}

/* Who comes after a thread that has mapped a lot keeps some for itself as well. */
static void test_a_thread_that_comes_late(void **state)
{
    struct scene scene = set(true, LARGE);
    pthread_t thread;
    u64 before;

    (void)state;
    for (unsigned round = 0; round < 1000; round++)
        map_and_unmap_many(&scene, 1, DK_BOUNCE_SLOT);
    before = slots_kept(&scene);
    assert_int_equal(pthread_create(&thread, NULL, map_once, &scene), 0);
    pthread_join(thread, NULL);
    assert_true(slots_kept(&scene) > before);
    strike(&scene);
}

static void test_the_most_there_were(void **state)
{
    struct scene scene = set(true, LARGE);
    phys_addr_t copies[10];
    u64 slots, used, most;

    (void)state;
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 10; i++)
            copies[i] = map(&scene, ORIGINALS, 2048, 0);
        for (unsigned i = 0; i < 10; i++)
            unmap(&scene, copies[i], 2048, DMA_TO_DEVICE, 0);
        dk_bounce_usage(scene.pool, &slots, &used, &most);
        assert_int_equal(slots, LARGE / 2048);
        assert_int_equal(used, 0);
        /* The thread keeps some for itself, which nobody else could have had. */
        assert_in_range(most, 10, 10 + 32);
    }
    strike(&scene);
}

static void test_left_behind(void **state)
{
    struct scene scene = set(true, LARGE);

    (void)state;
    assert_true(map(&scene, ORIGINALS, 5000, 0) != NOWHERE);
    dk_bounce_destroy(scene.pool);
    assert_int_equal(log_lines(), 1);
    assert_non_null(strstr(log_last(),
                           "goes while 4 of its 8192 slots are used by /soc/card (5000 bytes in 1 "
                           "buffer)"));
    dk_bounce_destroy(NULL);
    dispose(scene.composed);
}

static void test_create_refuses(void **state)
{
    static const struct {
        phys_addr_t phys;
        u64 size;
    } cases[] = {
        { 0, 0 },          { 0, 256 * KIB - 4096 },     { 0, 256 * KIB + 2048 }, { 2048, 256 * KIB },
        { RAM_SIZE, MIB }, { RAM_SIZE - MIB, 2 * MIB }, { -4096ull, MIB },       { 0, ~0ull & ~4095ull },
    };
    struct composed *composed = compose(&(struct shape){ .coherent = true });

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct dk_bounce_pool *pool =
            dk_bounce_create(&composed->machine, cases[i].phys, cases[i].size, "wrong");

        assert_true(IS_ERR(pool));
        assert_int_equal(PTR_ERR(pool), -EINVAL);
    }
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

/* ---- Random ---- */

#define BUFFERS 64
#define STRIDE (256u * KIB) /* between originals */

struct buffer {
    phys_addr_t original, copy;
    size_t size;
    char byte; /* what the device last wrote all over it */
};

/* One of several that work on a pool at once, each on a device and originals of its own. */
struct worker {
    pthread_t thread;
    struct dk_machine *machine;
    struct dk_bounce_pool *pool;
    struct device *dev;
    phys_addr_t originals;
    u64 seed;
    unsigned long rounds, wrong, mapped, full;
    struct buffer buffers[BUFFERS];
};

static bool all_are(const char *bytes, size_t size, char byte)
{
    return size == 0 || (bytes[0] == byte && !memcmp(bytes, bytes + 1, size - 1));
}

static void map_one(struct worker *worker, struct buffer *buffer, u64 number)
{
    static const size_t limits[] = { 64, 2048, 4096, 20000, STRIDE };
    char byte = (char)number;

    buffer->size = 1 + (size_t)(number >> 8) % limits[number >> 32 & 3 ? number >> 34 & 3 : 4];
    memset(dk_memory_cached(worker->machine->memory, buffer->original), byte, buffer->size);
    buffer->copy = dk_bounce_map(worker->pool, worker->dev, buffer->original, buffer->size, 0);
    if (buffer->copy == NOWHERE) {
        worker->full++;
        return;
    }
    worker->mapped++;
    worker->wrong += !all_are(dk_memory_cached(worker->machine->memory, buffer->copy), buffer->size, byte);
    buffer->byte = (char)(number >> 48);
    memset(dk_memory_cached(worker->machine->memory, buffer->copy), buffer->byte, buffer->size);
}

static void unmap_one(struct worker *worker, struct buffer *buffer)
{
    phys_addr_t found;

    worker->wrong += !dk_bounce_original(worker->pool, buffer->copy + buffer->size - 1, &found) ||
                     found != buffer->original + buffer->size - 1;
    dk_bounce_unmap(worker->pool, worker->dev, buffer->copy, buffer->size, DMA_BIDIRECTIONAL, 0);
    worker->wrong +=
        !all_are(dk_memory_cached(worker->machine->memory, buffer->original), buffer->size, buffer->byte);
    buffer->copy = NOWHERE;
}

static void *work(void *data)
{
    struct worker *worker = data;

    for (unsigned i = 0; i < BUFFERS; i++) {
        worker->buffers[i].original = worker->originals + i * STRIDE;
        worker->buffers[i].copy = NOWHERE;
    }
    for (unsigned long i = 0; i < worker->rounds; i++) {
        u64 number = test_random(&worker->seed);
        struct buffer *buffer = &worker->buffers[number >> 56 & (BUFFERS - 1)];

        if (buffer->copy == NOWHERE)
            map_one(worker, buffer, number);
        else
            unmap_one(worker, buffer);
    }
    for (unsigned i = 0; i < BUFFERS; i++) {
        if (worker->buffers[i].copy != NOWHERE)
            unmap_one(worker, &worker->buffers[i]);
    }
    return NULL;
}

static void run_workers(size_t pool_size, unsigned count, unsigned long rounds, bool until_full)
{
    static struct worker workers[4];
    struct scene scene = set(true, pool_size);
    u64 seed = test_seed(0xb0c4ce + count);
    unsigned long full = 0;

    for (unsigned i = 0; i < count; i++) {
        char name[16];

        snprintf(name, sizeof(name), "card%u", i);
        workers[i] = (struct worker){
            .machine = scene.machine,
            .pool = scene.pool,
            .dev = add_device(name),
            .originals = ORIGINALS + (u64)i * BUFFERS * STRIDE,
            .seed = seed * 2654435761u + i + 1,
            .rounds = rounds,
        };
    }
    if (count == 1) {
        work(&workers[0]);
    } else {
        for (unsigned i = 0; i < count; i++)
            assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
        /* Meanwhile somebody asks. */
        for (unsigned i = 0; i < 2000; i++) {
            phys_addr_t found;

            slots_used(&scene);
            dk_bounce_original(scene.pool, scene.pool->base + i * 1000 % pool_size, &found);
        }
        for (unsigned i = 0; i < count; i++)
            pthread_join(workers[i].thread, NULL);
    }
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(workers[i].wrong, 0);
        assert_true(workers[i].mapped > rounds / 10);
        full += workers[i].full;
    }
    assert_true(until_full ? full > 0 : full == 0);
    assert_int_equal(slots_used(&scene), 0);
    strike(&scene);
}

static void test_random_buffers(void **state)
{
    (void)state;
    run_workers(LARGE + 12 * KIB, 1, test_rounds(100000), false);
    run_workers(SMALL + 4 * KIB, 1, test_rounds(100000), true);
}

static void test_threads(void **state)
{
    (void)state;
    run_workers(3 * MIB, 4, test_rounds(20000), true);
    run_workers(LARGE, 4, test_rounds(20000), false);
}

/* Buffers that one thread maps and another unmaps move slots from magazine to magazine. */
struct belt {
    struct worker *worker;
    phys_addr_t copies[64]; /* atomic; 0: empty */
    unsigned long wrong;
};

static void *unmap_from_belt(void *data)
{
    struct belt *belt = data;
    unsigned long i;

    for (i = 0; i < belt->worker->rounds; i++) {
        phys_addr_t *place = &belt->copies[i % 64], copy;

        while (!(copy = __atomic_load_n(place, __ATOMIC_ACQUIRE)))
            sched_yield();
        dk_bounce_unmap(belt->worker->pool, belt->worker->dev, copy, 3000, DMA_TO_DEVICE, 0);
        __atomic_store_n(place, 0, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void test_other_threads_buffers(void **state)
{
    struct scene scene = set(true, LARGE);
    struct worker worker = { .pool = scene.pool, .dev = scene.dev, .rounds = test_rounds(50000) };
    static struct belt belt;
    u64 slots, used, most;
    unsigned long i;

    (void)state;
    belt = (struct belt){ .worker = &worker };
    assert_int_equal(pthread_create(&worker.thread, NULL, unmap_from_belt, &belt), 0);
    for (i = 0; i < worker.rounds; i++) {
        phys_addr_t *place = &belt.copies[i % 64], copy;

        while (__atomic_load_n(place, __ATOMIC_ACQUIRE))
            sched_yield();
        copy = dk_bounce_map(scene.pool, scene.dev, ORIGINALS, 3000, 0);
        assert_true(copy != NOWHERE);
        __atomic_store_n(place, copy, __ATOMIC_RELEASE);
    }
    pthread_join(worker.thread, NULL);
    dk_bounce_usage(scene.pool, &slots, &used, &most);
    assert_int_equal(used, 0);
    assert_in_range(most, 2, 2048);
    strike(&scene);
}

/* More threads than have a number: some go without magazines. */
#define CROWD (DK_THREAD_NUMBERS + 10)

struct member {
    pthread_t thread;
    struct scene *scene;
    pthread_barrier_t *barrier;
    unsigned index;
    bool numbered, wrong;
};

static void *map_in_a_crowd(void *data)
{
    struct member *member = data;
    phys_addr_t original = ORIGINALS + member->index * 4096, copies[3];

    member->numbered = dk_thread_number() < DK_THREAD_NUMBERS;
    memset(cached(member->scene, original), (int)member->index, 4096);
    for (unsigned i = 0; i < 3; i++)
        copies[i] = dk_bounce_map(member->scene->pool, member->scene->dev, original, 1000, 0);
    pthread_barrier_wait(member->barrier);
    for (unsigned i = 0; i < 3; i++) {
        member->wrong = member->wrong || copies[i] == NOWHERE ||
                        !all_are(cached(member->scene, copies[i]), 1000, (char)member->index);
        dk_bounce_unmap(member->scene->pool, member->scene->dev, copies[i], 1000, DMA_BIDIRECTIONAL, 0);
    }
    return NULL;
}

static void test_a_crowd(void **state)
{
    static struct member members[CROWD];
    struct scene scene = set(true, LARGE);
    pthread_barrier_t barrier;
    unsigned without = 0;

    (void)state;
    pthread_barrier_init(&barrier, NULL, CROWD);
    for (unsigned i = 0; i < CROWD; i++) {
        members[i] = (struct member){ .scene = &scene, .barrier = &barrier, .index = i };
        assert_int_equal(pthread_create(&members[i].thread, NULL, map_in_a_crowd, &members[i]), 0);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        pthread_join(members[i].thread, NULL);
        assert_false(members[i].wrong);
        without += !members[i].numbered;
    }
    assert_in_range(without, 10, CROWD - 1);
    pthread_barrier_destroy(&barrier);
    assert_int_equal(slots_used(&scene), 0);
    strike(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_nothing_around_a_buffer),
        cmocka_unit_test(test_sync),
        cmocka_unit_test(test_wrong_calls),
        cmocka_unit_test(test_min_align),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_windows_inside_the_pool),
        cmocka_unit_test(test_across_sections),
        cmocka_unit_test(test_original_across_sections),
        cmocka_unit_test(test_highmem),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_all_of_it),
        cmocka_unit_test(test_what_others_keep),
        cmocka_unit_test(test_what_a_thread_keeps),
        cmocka_unit_test(test_a_thread_that_comes_late),
        cmocka_unit_test(test_the_most_there_were),
        cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_create_refuses),
        cmocka_unit_test(test_each_allocation_fails),
        cmocka_unit_test(test_random_buffers),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_other_threads_buffers),
        cmocka_unit_test(test_a_crowd),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
