/* SPDX-License-Identifier: MIT */
/*
 * Pages that leave the CPU's cache and come back into it: whose bytes are seen before, meanwhile and
 * afterwards.
 */
#include "machine/compose.h"
#include "mapping/mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#define PHYS 0x200000ull

struct scene {
    struct composed *composed;
    struct dk_machine *machine;
    char *cached, *dram; /* at PHYS */
};

static struct scene set(bool coherent)
{
    struct scene scene = { .composed = compose(&(struct shape){ .coherent = coherent }) };

    assert_non_null(scene.composed);
    scene.machine = &scene.composed->machine;
    scene.cached = dk_memory_cached(scene.machine->memory, PHYS);
    scene.dram = dk_memory_dram(scene.machine->memory, PHYS);
    return scene;
}

static void past_the_cache_and_back(void **state)
{
    struct scene scene = set(false);

    (void)state;
    /* What the lines hold goes down first. */
    memset(scene.cached, 'l', PAGE_SIZE);
    assert_int_equal(dk_lines_uncache(scene.machine, PHYS, PAGE_SIZE), 0);
    assert_true(dk_memory_is_uncached(scene.machine->memory, PHYS, PAGE_SIZE));
    assert_int_equal(scene.dram[PAGE_SIZE - 1], 'l');
    memset(scene.dram, 'd', PAGE_SIZE);
    /* Stored through the wrong address meanwhile: a dirty line over what is in DRAM. */
    scene.cached[100] = 'x';
    assert_true(dk_lines_recache(scene.machine, PHYS, PAGE_SIZE));
    assert_false(dk_memory_is_uncached(scene.machine->memory, PHYS, 1));
    for (unsigned i = 0; i < PAGE_SIZE; i++) {
        assert_int_equal(scene.cached[i], 'd');
        assert_int_equal(scene.dram[i], 'd');
    }
    dispose(scene.composed);
}

/* Who asks for cached use of pages that never were past the cache is told so, and loses nothing. */
static void pages_that_never_left_keep_their_lines(void **state)
{
    struct scene scene = set(false);

    (void)state;
    memset(scene.dram, 'd', PAGE_SIZE);
    memset(scene.cached, 'l', PAGE_SIZE);
    assert_false(dk_lines_recache(scene.machine, PHYS, PAGE_SIZE));
    assert_int_equal(scene.cached[0], 'l');
    assert_int_equal(scene.dram[0], 'd');
    dk_lines_flush(scene.machine, PHYS, PAGE_SIZE);
    assert_int_equal(scene.cached[PAGE_SIZE - 1], 'l');
    assert_int_equal(scene.dram[PAGE_SIZE - 1], 'l');
    dispose(scene.composed);
}

static void a_coherent_machine_has_no_other_way(void **state)
{
    struct scene scene = set(true);

    (void)state;
    assert_int_equal(dk_lines_uncache(scene.machine, PHYS, PAGE_SIZE), 0);
    assert_false(dk_lines_recache(scene.machine, PHYS, PAGE_SIZE));
    dk_lines_flush(scene.machine, PHYS, PAGE_SIZE);
    dispose(scene.composed);
}

/* As a direction says: what the device is to see goes down, what it wrote comes up. */
static void a_sync_moves_lines_by_direction(void **state)
{
    static const struct {
        enum dma_data_direction direction;
        char cached, dram;
    } cases[] = { { DMA_TO_DEVICE, 'l', 'l' },
                  { DMA_FROM_DEVICE, 'd', 'd' },
                  { DMA_BIDIRECTIONAL, 'l', 'l' } };
    struct scene scene = set(false);
    struct device *dev = dk_device_find(scene.machine, "/soc/dma@1000");

    (void)state;
    assert_non_null(dev);
    for (unsigned i = 0; i < 3; i++) {
        memset(scene.cached, 'l', 2 * PAGE_SIZE);
        memset(scene.dram, 'd', 2 * PAGE_SIZE);
        /* A line at the end of one page, and one at the start of the next. */
        dk_lines_sync(dev, scene.cached + PAGE_SIZE - 64, 128, cases[i].direction);
        assert_int_equal(scene.cached[PAGE_SIZE - 64], cases[i].cached);
        assert_int_equal(scene.dram[PAGE_SIZE - 64], cases[i].dram);
        assert_int_equal(scene.cached[PAGE_SIZE + 63], cases[i].cached);
        assert_int_equal(scene.dram[PAGE_SIZE + 63], cases[i].dram);
        assert_int_equal(scene.cached[PAGE_SIZE - 65], 'l');
        assert_int_equal(scene.dram[PAGE_SIZE - 65], 'd');
        assert_int_equal(scene.cached[PAGE_SIZE + 64], 'l');
        assert_int_equal(scene.dram[PAGE_SIZE + 64], 'd');
    }
    dispose(scene.composed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(past_the_cache_and_back),
        cmocka_unit_test(pages_that_never_left_keep_their_lines),
        cmocka_unit_test(a_coherent_machine_has_no_other_way),
        cmocka_unit_test(a_sync_moves_lines_by_direction),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
