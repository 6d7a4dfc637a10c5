/* SPDX-License-Identifier: MIT */
/*
 * Random kmalloc(), krealloc() and kfree() beside a plain model: one byte for each 8 bytes of RAM that says
 * whether an object is there.
 */
#include "draw.h"
#include "fixture.h"

#include <dmakit/slab.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGES 2048
#define BASE GIB
#define GRAINS (PAGES * PAGE_SIZE / 8)
#define OBJECTS 3000

struct object {
    unsigned char *start;
    size_t size, got;
    unsigned char pattern;
};

static unsigned char model[GRAINS];
static struct object objects[OBJECTS];
static unsigned count;

static void mark(const struct object *object, unsigned char from)
{
    size_t first = (size_t)(virt_to_phys(object->start) - BASE) / 8, i;

    for (i = 0; i < object->got / 8; i++) {
        if (model[first + i] != from)
            fail_msg("%p + %zu overlaps another object", (void *)object->start, i * 8);
        model[first + i] = !from;
    }
}

/* Enters what was allocated; @line bytes are its own where two views ask for it. */
static void enter(struct object *object, unsigned char *start, size_t size, size_t line)
{
    phys_addr_t phys = virt_to_phys(start);

    object->start = start;
    object->size = size;
    object->got = ksize(start);
    object->pattern = (unsigned char)(1 + draw(250));
    assert_true(object->got >= size);
    assert_true(phys >= BASE && phys + object->got <= BASE + PAGES * PAGE_SIZE);
    assert_int_equal(phys % 8, 0);
    assert_int_equal(phys % line, 0);
    assert_int_equal(object->got % line, 0);
    if (!(size & (size - 1)))
        assert_int_equal(phys % size, 0);
    mark(object, 0);
    memset(start, object->pattern, size);
}

static void check_pattern(const struct object *object, const unsigned char *start, size_t size)
{
    assert_int_equal(start[0], object->pattern);
    assert_int_equal(start[size - 1], object->pattern);
    assert_int_equal(start[size / 2], object->pattern);
}

static size_t draw_size(void)
{
    static const size_t limits[] = { 16, 64, 300, 300, 3000, 9000, 40000 };

    return draw(4) ? (size_t)draw(limits[draw(7)]) + 1 : (size_t)1 << draw(14);
}

static void add(size_t line)
{
    size_t size = draw_size();
    unsigned char *start = count < OBJECTS ? kmalloc(size, GFP_KERNEL | __GFP_NOWARN) : NULL;

    if (start)
        enter(&objects[count++], start, size, line);
}

static void change(size_t line)
{
    struct object *object = &objects[draw(count)], old = *object;
    size_t size = draw_size(), kept = size < old.size ? size : old.size;
    unsigned char *start;

    mark(&old, 1);
    start = krealloc(old.start, size, GFP_KERNEL | __GFP_NOWARN);
    if (start) {
        check_pattern(&old, start, kept);
        object->start = start;
        object->size = size;
        object->got = ksize(start);
        mark(object, 0);
        memset(start, old.pattern, size);
    } else {
        mark(&old, 0);
    }
    assert_int_equal(virt_to_phys(object->start) % line, 0);
}

static void take_away(void)
{
    unsigned which = (unsigned)draw(count);
    struct object old = objects[which];
    unsigned before = log_lines;

    check_pattern(&old, old.start, old.size);
    if (draw(16) == 0) {
        kfree(old.start + 1 + draw(old.got - 1));
        assert_int_equal(log_lines, before + 1);
        check_pattern(&old, old.start, old.size);
        return;
    }
    objects[which] = objects[--count];
    mark(&old, 1);
    kfree(old.start);
    assert_int_equal(log_lines, before);
    if (draw(64) == 0) {
        kfree(old.start);
        assert_int_equal(log_lines, before + 1);
    }
}

static void run(u64 seed, u64 fragmentation, unsigned line, unsigned debug)
{
    const struct dk_memory_range range = { BASE, PAGES * PAGE_SIZE };
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 10000 : 250000, i, bias = 2;
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;

    print_message("fragmentation %llu, line %u\n", fragmentation, line);
    config.seed = fragmentation;
    config.slab_debug = debug;
    config.two_views = line > 8;
    config.line = line > 8 ? line : 64;
    memory = make(&config);
    state_word = seed;
    count = 0;
    memset(model, 0, sizeof(model));
    for (i = 0; i < operations; i++) {
        if (i % 3000 == 0)
            bias = 1 + (unsigned)draw(4);
        if (count && draw(5) < bias)
            take_away();
        else if (count && draw(4) == 0)
            change(line);
        else
            add(line);
    }
    while (count)
        take_away();
    unmake(memory, PAGES);
}

static void test_coherent(void **state)
{
    (void)state;
    run(draw_seed(0x51ab0000bead), 0, 8, 0);
}

static void test_fragmented(void **state)
{
    (void)state;
    run(draw_seed(0x51ab0000bead) + 1, 5, 8, 0);
}

static void test_two_views(void **state)
{
    (void)state;
    run(draw_seed(0x51ab0000bead) + 2, 0, 64, 0);
    run(draw_seed(0x51ab0000bead) + 3, 9, 128, 0);
}

/* Patterns in and between objects change nothing for who keeps to them. */
static void test_patterns(void **state)
{
    (void)state;
    run(draw_seed(0x51ab0000bead) + 4, 0, 8, SLAB_POISON | SLAB_RED_ZONE);
    run(draw_seed(0x51ab0000bead) + 5, 3, 64, SLAB_POISON | SLAB_RED_ZONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_coherent), cmocka_unit_test(test_fragmented),
                                        cmocka_unit_test(test_two_views), cmocka_unit_test(test_patterns) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
