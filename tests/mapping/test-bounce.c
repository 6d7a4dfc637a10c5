/* SPDX-License-Identifier: MIT */
/*
 * Bounce buffers: what the device sees, what comes back, and where they may lie.
 */
#include "bounce-scene.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),     cmocka_unit_test(test_nothing_around_a_buffer),
        cmocka_unit_test(test_sync),      cmocka_unit_test(test_wrong_calls),
        cmocka_unit_test(test_min_align), cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_limits),    cmocka_unit_test(test_windows_inside_the_pool),
        cmocka_unit_test(test_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
