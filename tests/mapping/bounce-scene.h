/* SPDX-License-Identifier: MIT */
/*
 * A bounce pool on a machine that is put together by hand, and a device that reaches all of it.
 */
#ifndef TEST_BOUNCE_SCENE_H
#define TEST_BOUNCE_SCENE_H

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

static inline struct device *add_device(const char *name)
{
    struct device *dev = dk_device_add(NULL, name);

    assert_false(IS_ERR(dev));
    *dev->dma_mask = ~0ull;
    dev->coherent_dma_mask = ~0ull;
    return dev;
}

static inline struct scene set(bool coherent, size_t pool_size)
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
static inline void strike(struct scene *scene)
{
    log_lines();
    dk_bounce_destroy(scene->pool);
    assert_int_equal(log_lines(), 0);
    dk_pages_give(scene->machine->memory, scene->pages, scene->count + 1);
    dispose(scene->composed);
}

static inline char *cached(const struct scene *scene, phys_addr_t phys)
{
    return dk_memory_cached(scene->machine->memory, phys);
}

static inline u64 slots_used(const struct scene *scene)
{
    u64 slots, used, most;

    dk_bounce_usage(scene->pool, &slots, &used, &most);
    assert_int_equal(slots, scene->count * 2);
    assert_true(used <= most && most <= slots);
    return used;
}

static inline void fill(char *bytes, size_t size, u64 seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(test_random(&seed) >> 24);
}

/* As the back end does around the calls below. */
static inline phys_addr_t map(struct scene *scene, phys_addr_t original, size_t size, unsigned long attrs)
{
    phys_addr_t copy = dk_bounce_map(scene->pool, scene->dev, original, size, attrs);

    if (copy != NOWHERE)
        dk_lines_to_device(scene->machine, copy, size);
    return copy;
}

static inline void unmap(struct scene *scene, phys_addr_t copy, size_t size,
                         enum dma_data_direction direction, unsigned long attrs)
{
    dk_lines_to_cpu(scene->machine, copy, size, direction);
    dk_bounce_unmap(scene->pool, scene->dev, copy, size, direction, attrs);
}

static inline void device_write(struct scene *scene, phys_addr_t phys, const void *bytes, size_t size)
{
    assert_int_equal(dk_cache_device_write(scene->machine, phys, bytes, size), 0);
}

static inline void assert_device_sees(struct scene *scene, phys_addr_t phys, const void *bytes, size_t size)
{
    char *seen = malloc(size);

    assert_non_null(seen);
    assert_int_equal(dk_cache_device_read(scene->machine, phys, seen, size), 0);
    assert_memory_equal(seen, bytes, size);
    free(seen);
}

#endif
