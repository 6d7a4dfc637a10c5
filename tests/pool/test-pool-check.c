/* SPDX-License-Identifier: MIT */
/*
 * What is reported of pools: on every back end each mistake is, once, where it stands, and its correct twin
 * is not.
 */
#include "pool.h"

#define SIZE 100u

struct scene {
    struct dk_machine *machine;
    struct device *dev;
    struct dma_pool *pool, *other;
    char *cpu, *second; /* two blocks of @pool */
    dma_addr_t dma, second_dma;
    int line; /* where the mistake shows */
};

/* Notes the line of the call in which the mistake shows. */
#define AT(scene, call) ((scene)->line = __LINE__, (call))

static void free_both(struct scene *scene)
{
    dma_pool_free(scene->pool, scene->cpu, scene->dma);
    dma_pool_free(scene->pool, scene->second, scene->second_dma);
}

/* ---- Wrong frees: the blocks are as before ---- */

static void wrong_dma_bad(struct scene *scene)
{
    AT(scene, dma_pool_free(scene->pool, scene->cpu, scene->dma + 4));
    free_both(scene);
}

static void no_dma_bad(struct scene *scene)
{
    AT(scene, dma_pool_free(scene->pool, scene->cpu, DMA_MAPPING_ERROR));
    free_both(scene);
}

static void inside_bad(struct scene *scene)
{
    AT(scene, dma_pool_free(scene->pool, scene->cpu + 8, scene->dma + 8));
    free_both(scene);
}

static void twice_bad(struct scene *scene)
{
    free_both(scene);
    AT(scene, dma_pool_free(scene->pool, scene->cpu, scene->dma));
}

static void null_bad(struct scene *scene)
{
    AT(scene, dma_pool_free(scene->pool, NULL, 0));
    free_both(scene);
}

static void host_bad(struct scene *scene)
{
    AT(scene, dma_pool_free(scene->pool, scene, 0x1000));
    free_both(scene);
}

static void kmalloc_bad(struct scene *scene)
{
    char *buffer = kmalloc(SIZE, GFP_KERNEL);

    AT(scene, dma_pool_free(scene->pool, buffer, virt_to_phys(buffer)));
    kfree(buffer);
    free_both(scene);
}

static void never_used_bad(struct scene *scene)
{
    ptrdiff_t step = scene->second - scene->cpu;

    AT(scene, dma_pool_free(scene->pool, scene->second + step, scene->second_dma + (u64)step));
    free_both(scene);
}

static void wrong_cpu_bad(struct scene *scene)
{
    AT(scene, dma_pool_free(scene->pool, scene->cpu + 4, scene->dma));
    free_both(scene);
}

static void exchanged_bad(struct scene *scene)
{
    AT(scene, dma_pool_free(scene->pool, scene->cpu, scene->second_dma));
    free_both(scene);
}

static void other_pool_bad(struct scene *scene)
{
    AT(scene, dma_pool_free(scene->other, scene->cpu, scene->dma));
    free_both(scene);
}

static void other_function_bad(struct scene *scene)
{
    AT(scene, dma_free_coherent(scene->dev, SIZE, scene->cpu, scene->dma));
    free_both(scene);
}

static void after_destroy_bad(struct scene *scene)
{
    free_both(scene);
    dma_pool_destroy(scene->pool);
    AT(scene, dma_pool_free(scene->pool, scene->cpu, scene->dma));
    scene->pool = NULL;
}

static void destroyed_twice_bad(struct scene *scene)
{
    free_both(scene);
    dma_pool_destroy(scene->pool);
    AT(scene, dma_pool_destroy(scene->pool));
    scene->pool = NULL;
}

static void right_free_good(struct scene *scene)
{
    dma_addr_t dma;
    char *cpu;

    memset(scene->cpu, 1, SIZE);
    memset(scene->second, 2, SIZE);
    free_both(scene);
    cpu = dma_pool_alloc(scene->pool, GFP_KERNEL, &dma);
    memset(cpu, 3, SIZE);
    dma_pool_free(scene->pool, cpu, dma);
    cpu = dma_pool_alloc(scene->other, GFP_KERNEL, &dma);
    dma_pool_free(scene->other, cpu, dma);
}

/* ---- Writes ---- */

/* Takes blocks until the pool hands out @cpu again. */
static void take_until(struct scene *scene, const char *cpu)
{
    dma_addr_t dma[2048];
    char *got[2048];
    size_t count = 0;

    do {
        assert_true(count < 2048);
        got[count] = AT(scene, dma_pool_alloc(scene->pool, GFP_KERNEL, &dma[count]));
        assert_non_null(got[count]);
    } while (got[count++] != cpu);
    while (count--)
        dma_pool_free(scene->pool, got[count], dma[count]);
}

static void store_after_free_bad(struct scene *scene)
{
    free_both(scene);
    scene->cpu[41] = 1;
    take_until(scene, scene->cpu);
}

static void store_before_destroy_bad(struct scene *scene)
{
    free_both(scene);
    scene->cpu[41] = 1;
    AT(scene, dma_pool_destroy(scene->pool));
    scene->pool = NULL;
}

static void store_to_fresh_bad(struct scene *scene)
{
    ptrdiff_t step = scene->second - scene->cpu;
    char *fresh = scene->second + step;

    fresh[SIZE - 1] = 0;
    take_until(scene, fresh);
    free_both(scene);
}

static void reuse_good(struct scene *scene)
{
    scene->cpu[41] = 1;
    free_both(scene);
    take_until(scene, scene->cpu);
    take_until(scene, scene->second);
}

static void overrun_bad(struct scene *scene)
{
    scene->cpu[SIZE] = 0;
    AT(scene, dma_pool_free(scene->pool, scene->cpu, scene->dma));
    dma_pool_free(scene->pool, scene->second, scene->second_dma);
}

static void last_of_overrun_bad(struct scene *scene)
{
    memset(scene->cpu + SIZE - 1, 0, 17);
    AT(scene, dma_pool_free(scene->pool, scene->cpu, scene->dma));
    dma_pool_free(scene->pool, scene->second, scene->second_dma);
}

static void far_overrun_bad(struct scene *scene)
{
    memset(scene->cpu + SIZE + 3, 0, 2);
    AT(scene, dma_pool_free(scene->pool, scene->cpu, scene->dma));
    dma_pool_free(scene->pool, scene->second, scene->second_dma);
}

static void underrun_bad(struct scene *scene)
{
    scene->cpu[-1] = 0;
    AT(scene, dma_pool_free(scene->pool, scene->cpu, scene->dma));
    dma_pool_free(scene->pool, scene->second, scene->second_dma);
}

static void to_the_edges_good(struct scene *scene)
{
    memset(scene->cpu, 0, SIZE);
    memset(scene->second, 0, SIZE);
    free_both(scene);
}

/* ---- The device ---- */

static void device_after_free_bad(struct scene *scene)
{
    free_both(scene);
    AT(scene, dk_master_write(scene->dev, scene->dma + 10, "late", 4));
    /* What it left there is not reported again. */
    take_until(scene, scene->cpu);
    scene->line = __LINE__ - 3;
}

/* The first byte of all. */
static void device_first_after_free_bad(struct scene *scene)
{
    free_both(scene);
    AT(scene, dk_master_write(scene->dev, scene->dma, "l", 1));
    take_until(scene, scene->cpu);
    scene->line = __LINE__ - 2;
}

static void device_overrun_bad(struct scene *scene)
{
    char bytes[SIZE + 4] = { 0 };

    AT(scene, dk_master_write(scene->dev, scene->dma, bytes, sizeof(bytes)));
    free_both(scene);
}

static void device_underrun_bad(struct scene *scene)
{
    AT(scene, dk_master_write(scene->dev, scene->second_dma - 2, "ab", 2));
    free_both(scene);
}

static void device_good(struct scene *scene)
{
    char bytes[SIZE] = { 0 };

    assert_int_equal(dk_master_write(scene->dev, scene->dma, bytes, SIZE), 0);
    assert_int_equal(dk_master_write(scene->dev, scene->second_dma + SIZE - 1, bytes, 1), 0);
    assert_int_equal(dk_master_read(scene->dev, scene->dma, bytes, SIZE), 0);
    free_both(scene);
    /* A read of what is free does no harm; some devices look ahead. */
    assert_int_equal(dk_master_read(scene->dev, scene->dma, bytes, SIZE), 0);
}

/* ---- Ends ---- */

static void busy_bad(struct scene *scene)
{
    dma_pool_free(scene->pool, scene->second, scene->second_dma);
    AT(scene, dma_pool_destroy(scene->pool));
    /* Its memory is still the driver's and the device's. */
    memset(scene->cpu, 5, SIZE);
    assert_int_equal(dk_master_write(scene->dev, scene->dma, "ok", 2), 0);
    assert_int_equal(scene->cpu[0], 'o');
    scene->pool = NULL;
}

static void alloc_after_destroy_bad(struct scene *scene)
{
    dma_addr_t dma = 1;

    free_both(scene);
    dma_pool_destroy(scene->pool);
    assert_null(AT(scene, dma_pool_alloc(scene->pool, GFP_KERNEL, &dma)));
    assert_int_equal(dma, DMA_MAPPING_ERROR);
    scene->pool = NULL;
}

static void destroy_good(struct scene *scene)
{
    free_both(scene);
    dma_pool_destroy(scene->pool);
    scene->pool = NULL;
}

static const struct {
    const char *name;
    const char *class_name;
    const char *call;
    void (*bad)(struct scene *scene);
    void (*good)(struct scene *scene);
    long offset;   /* of the first byte in the block; -1: not said */
    size_t length; /* 0: not said */
    bool whole;    /* with a block, and the stack that made it */
} mistakes[] = {
    { "wrong DMA address", "free-not-allocated", "dma_pool_free", wrong_dma_bad, right_free_good, -1, 0,
      true },
    { "failed DMA address", "free-not-allocated", "dma_pool_free", no_dma_bad, right_free_good, -1, 0, true },
    { "middle", "free-not-allocated", "dma_pool_free", inside_bad, right_free_good, 8, SIZE - 8, true },
    { "twice", "free-not-allocated", "dma_pool_free", twice_bad, right_free_good, 0, SIZE, true },
    { "NULL", "free-not-allocated", "dma_pool_free", null_bad, right_free_good, -1, 0, false },
    { "host memory", "free-not-allocated", "dma_pool_free", host_bad, right_free_good, -1, 0, false },
    { "kmalloc", "free-not-allocated", "dma_pool_free", kmalloc_bad, right_free_good, -1, 0, false },
    { "never used", "free-not-allocated", "dma_pool_free", never_used_bad, right_free_good, -1, 0, false },
    { "after destroy", "free-not-allocated", "dma_pool_free", after_destroy_bad, destroy_good, -1, 0, false },
    { "destroyed twice", "free-not-allocated", "dma_pool_destroy", destroyed_twice_bad, destroy_good, -1, 0,
      false },
    { "wrong CPU address", "free-wrong-cpu-address", "dma_pool_free", wrong_cpu_bad, right_free_good, -1, 0,
      true },
    { "exchanged", "free-wrong-cpu-address", "dma_pool_free", exchanged_bad, right_free_good, -1, 0, true },
    { "other pool", "pool-wrong-pool", "dma_pool_free", other_pool_bad, right_free_good, -1, 0, true },
    { "other function", "free-wrong-function", "dma_free_coherent", other_function_bad, right_free_good, 0,
      SIZE, true },
    { "store after free", "pool-use-after-free", "dma_pool_alloc", store_after_free_bad, reuse_good, 41, 1,
      true },
    { "store before destroy", "pool-use-after-free", "dma_pool_destroy", store_before_destroy_bad,
      destroy_good, 41, 1, true },
    { "store before", "pool-use-after-free", "dma_pool_alloc", store_to_fresh_bad, reuse_good, SIZE - 1, 1,
      false },
    { "overrun", "pool-overrun", "dma_pool_free", overrun_bad, to_the_edges_good, SIZE, 1, true },
    { "overrun by 16", "pool-overrun", "dma_pool_free", last_of_overrun_bad, to_the_edges_good, SIZE, 16,
      true },
    { "overrun further off", "pool-overrun", "dma_pool_free", far_overrun_bad, to_the_edges_good, SIZE + 3, 2,
      true },
    { "underrun", "pool-overrun", "dma_pool_free", underrun_bad, to_the_edges_good, 0, 1, true },
    { "device after free", "pool-use-after-free", "dk_master_write", device_after_free_bad, device_good, 10,
      4, true },
    { "device after free, first byte", "pool-use-after-free", "dk_master_write", device_first_after_free_bad,
      device_good, 0, 1, true },
    { "device overrun", "pool-overrun", "dk_master_write", device_overrun_bad, device_good, SIZE, 4, true },
    { "device underrun", "pool-overrun", "dk_master_write", device_underrun_bad, device_good, 0, 2, true },
    { "busy at destroy", "pool-destroyed-busy", "dma_pool_destroy", busy_bad, destroy_good, 0, SIZE, true },
    { "alloc after destroy", "pool-use-after-free", "dma_pool_alloc", alloc_after_destroy_bad, destroy_good,
      -1, 0, false },
};
#define MISTAKES (sizeof(mistakes) / sizeof(mistakes[0]))

struct seen {
    unsigned long reports;
    char class_name[64], call[64], kind[32], access[32], what[512];
    long offset;
    size_t length;
    int line, made_line;
    dma_addr_t dma;
    u64 size;
};

static void note(const struct dk_report *report, void *data)
{
    struct seen *seen = data;

    seen->reports++;
    snprintf(seen->class_name, sizeof(seen->class_name), "%s", report->class_name);
    snprintf(seen->call, sizeof(seen->call), "%s", report->access.name);
    snprintf(seen->access, sizeof(seen->access), "%s", report->access.kind);
    snprintf(seen->kind, sizeof(seen->kind), "%s", report->mapping.kind ? report->mapping.kind : "");
    snprintf(seen->what, sizeof(seen->what), "%s", report->what);
    seen->offset = (long)report->bytes.offset;
    seen->length = (size_t)report->bytes.length;
    seen->dma = report->bytes.dma;
    seen->line = report->access.stack.count ? report->access.stack.frames[0].line : 0;
    seen->made_line = report->mapping.stack.count ? report->mapping.stack.frames[0].line : 0;
    seen->size = report->mapping.size;
}

static int alloc_line;

static struct seen play(const struct pool_place *place, int depth, void (*part)(struct scene *scene),
                        struct scene *scene)
{
    struct seen seen = { 0 };

    memset(scene, 0, sizeof(*scene));
    scene->dev = pool_device(place, depth, &scene->machine);
    scene->pool = dma_pool_create("pool", scene->dev, SIZE, 4, 0);
    scene->other = dma_pool_create("other", scene->dev, SIZE, 4, 0);
    assert_true(scene->pool && scene->other);
    scene->cpu = dma_pool_alloc(scene->pool, GFP_KERNEL, &scene->dma);
    alloc_line = __LINE__ - 1;
    scene->second = dma_pool_alloc(scene->pool, GFP_KERNEL, &scene->second_dma);
    assert_true(scene->cpu && scene->second);
    dk_check_set_sink(scene->machine, note, &seen);
    part(scene);
    /* What is left is whole: nothing more is reported to the end. */
    dma_pool_destroy(scene->pool);
    dma_pool_destroy(scene->other);
    dk_machine_destroy(scene->machine);
    return seen;
}

static void each_mistake_is_reported(void **state)
{
    size_t place, i;

    (void)state;
    for (place = 0; place < POOL_PLACES; place++) {
        for (i = 0; i < MISTAKES; i++) {
            struct scene scene;
            struct seen seen = play(&pool_places[place], 1, mistakes[i].bad, &scene);
            bool device = !strcmp(mistakes[i].call, "dk_master_write");

            if (seen.reports != 1 || strcmp(seen.class_name, mistakes[i].class_name) ||
                seen.line != scene.line)
                print_error("%s, %s: %lu reports, %s at %d (not %d): %s\n", pool_places[place].name,
                            mistakes[i].name, seen.reports, seen.class_name, seen.line, scene.line,
                            seen.what);
            assert_int_equal(seen.reports, 1);
            assert_string_equal(seen.class_name, mistakes[i].class_name);
            assert_string_equal(seen.call, mistakes[i].call);
            assert_string_equal(seen.access, device ? "device-write" : "call");
            assert_int_equal(seen.line, scene.line);
            assert_true(strstr(seen.what, "pool"));
            if (mistakes[i].offset >= 0)
                assert_int_equal(seen.offset, mistakes[i].offset);
            if (mistakes[i].length)
                assert_int_equal(seen.length, mistakes[i].length);
            if (mistakes[i].whole) {
                assert_string_equal(seen.kind, "pool-block");
                assert_int_equal(seen.size, SIZE);
                assert_in_range(seen.made_line, alloc_line, alloc_line + 2);
            }
        }
    }
}

static void each_correct_twin_is_silent(void **state)
{
    size_t place, i;
    int depth;

    (void)state;
    for (depth = 1; depth <= 2; depth++) {
        for (place = 0; place < POOL_PLACES; place++) {
            for (i = 0; i < MISTAKES; i++) {
                struct scene scene;
                struct seen seen = play(&pool_places[place], depth, mistakes[i].good, &scene);

                if (seen.reports)
                    print_error("%s, twin of %s: %s: %s\n", pool_places[place].name, mistakes[i].name,
                                seen.class_name, seen.what);
                assert_int_equal(seen.reports, 0);
            }
        }
    }
}

/* With the checker off none is reported, and those that free do no harm. */
static void depth_zero_is_silent(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < MISTAKES; i++) {
        struct scene scene;

        /* A block that is free already is not told; and there is no room around one. */
        if (!strcmp(mistakes[i].name, "never used") || strstr(mistakes[i].name, "run") ||
            !strcmp(mistakes[i].name, "other function") || !strncmp(mistakes[i].name, "store before", 12) ||
            strstr(mistakes[i].name, "twice"))
            continue;
        assert_int_equal(play(&pool_places[0], 0, mistakes[i].bad, &scene).reports, 0);
    }
}

/* The report on a late write says who freed the block. */
static void who_freed_it_is_told(void **state)
{
    struct scene scene;

    (void)state;
    assert_non_null(strstr(play(&pool_places[0], 1, store_after_free_bad, &scene).what, "it was freed at "));
    assert_non_null(strstr(play(&pool_places[0], 1, twice_bad, &scene).what, "test-pool-check.c"));
    assert_non_null(strstr(play(&pool_places[0], 1, device_after_free_bad, &scene).what, "in free_both()"));
    assert_non_null(strstr(play(&pool_places[0], 1, other_pool_bad, &scene).what, "of pool pool"));
    assert_non_null(
        strstr(play(&pool_places[0], 1, device_first_after_free_bad, &scene).what, "; it was freed at "));
    /* These blocks are in use, or so far from it that nobody freed them. */
    assert_null(strstr(play(&pool_places[0], 1, device_overrun_bad, &scene).what, "it was freed"));
    assert_null(strstr(play(&pool_places[0], 1, overrun_bad, &scene).what, "it was freed"));
    assert_null(strstr(play(&pool_places[0], 1, store_to_fresh_bad, &scene).what, "it was freed"));
    assert_null(strstr(play(&pool_places[0], 1, busy_bad, &scene).what, "it was freed"));
}

static bool says(const struct seen *seen, const char *text)
{
    if (!strstr(seen->what, text))
        print_error("no \"%s\" in: %s\n", text, seen->what);
    return strstr(seen->what, text);
}

/* How many bytes were written, and how far from the block. */
static void where_it_was_is_told(void **state)
{
    struct scene scene;
    struct seen seen;
    char text[256];

    (void)state;
    seen = play(&pool_places[0], 1, overrun_bad, &scene);
    snprintf(
        text, sizeof(text),
        "the bytes from 0 to 0 behind a block of 100 bytes of pool pool, at %p, were written: byte 100 of "
        "the block is the first",
        (void *)scene.cpu);
    assert_true(says(&seen, text));
    seen = play(&pool_places[0], 1, last_of_overrun_bad, &scene);
    assert_true(says(&seen, "the bytes from 0 to 15 behind a block of 100 bytes"));
    seen = play(&pool_places[0], 1, far_overrun_bad, &scene);
    assert_true(says(&seen, "the bytes from 3 to 4 behind a block of 100 bytes"));
    assert_true(says(&seen, "byte 103 of the block is the first"));
    assert_int_equal(seen.dma, scene.dma + SIZE + 3);
    seen = play(&pool_places[0], 1, underrun_bad, &scene);
    assert_int_equal(seen.dma, scene.dma - 1);
    snprintf(
        text, sizeof(text),
        "the bytes from 1 to 1 in front of a block of 100 bytes of pool pool, at %p, were written: byte -1 "
        "of the block is the first",
        (void *)scene.cpu);
    assert_true(says(&seen, text));
    seen = play(&pool_places[0], 1, store_after_free_bad, &scene);
    snprintf(text, sizeof(text),
             "byte 41 of a block of pool pool, at %p, was written while the block was free, as "
             "dma_pool_alloc() sees that hands it out again",
             (void *)scene.cpu);
    assert_true(says(&seen, text));

    seen = play(&pool_places[0], 1, device_after_free_bad, &scene);
    snprintf(text, sizeof(text),
             "the device wrote 4 bytes at 0x%llx, byte 10 of a block of pool pool that is free; ",
             (unsigned long long)scene.dma + 10);
    assert_true(says(&seen, text));
    seen = play(&pool_places[0], 1, device_overrun_bad, &scene);
    snprintf(text, sizeof(text),
             "the device wrote 4 bytes at 0x%llx, 0 bytes behind a block of 100 bytes of pool pool",
             (unsigned long long)scene.dma + SIZE);
    assert_true(says(&seen, text));
    seen = play(&pool_places[0], 1, device_underrun_bad, &scene);
    snprintf(text, sizeof(text),
             "the device wrote 2 bytes at 0x%llx, 2 bytes in front of a block of 100 bytes of pool pool",
             (unsigned long long)scene.second_dma - 2);
    assert_true(says(&seen, text));
}

/* A pool that its device leaves behind says how much of it is in use: a report, or with the checker off a log
 * line. */
static void a_pool_left_behind_is_told(void **state)
{
    int depth;

    (void)state;
    for (depth = 0; depth <= 1; depth++) {
        struct dk_machine *machine;
        struct device *dev = pool_device(&pool_places[0], depth, &machine);
        struct dma_pool *pool = dma_pool_create("left", dev, 512, 0, 0);
        struct seen seen = { 0 };
        struct log_lines lines;
        dma_addr_t dma[3];
        void *cpu[3];
        char text[64];

        for (size_t i = 0; i < 3; i++) {
            cpu[i] = dma_pool_alloc(pool, GFP_KERNEL, &dma[i]);
            assert_non_null(cpu[i]);
        }
        dma_pool_free(pool, cpu[1], dma[1]);
        snprintf(text, sizeof(text), "pool left was not destroyed; 2 of its %zu blocks are in use",
                 pool_numbers(dev).all);
        dk_check_set_sink(machine, note, &seen);
        keep_log(&lines);
        dk_device_remove(dev);
        drop_log();
        /* The blocks in use are told as well. */
        assert_int_equal(seen.reports, 2 * depth);
        assert_string_equal(seen.class_name, depth ? "leak-at-remove" : "");
        assert_non_null(strstr(depth ? seen.what : lines.text, text));
        dk_machine_destroy(machine);
    }
}

/* Zones are as wide as alignment leaves room for, up to 64 bytes; a block of any shape may be written whole.
 */
static void any_shape_has_zones(void **state)
{
    static const size_t shapes[][3] = {
        { 1, 1, 0 },     { 7, 1, 8 },    { 8, 8, 8 },          { 64, 64, 64 },    { 64, 64, 4096 },
        { 100, 256, 0 }, { 4096, 1, 0 }, { 4096, 4096, 4096 }, { 4000, 4096, 0 }, { 10000, 16, 1 << 14 },
        { 70000, 1, 0 }, { 20, 1, 32 },  { 60, 4, 64 },
    };
    size_t i, j;

    (void)state;
    for (i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        size_t size = shapes[i][0];
        struct dk_machine *machine;
        struct device *dev = pool_device(&pool_places[1], 1, &machine);
        struct dma_pool *pool = dma_pool_create("shape", dev, size, shapes[i][1], shapes[i][2]);
        dma_addr_t dma[20];
        char *cpu[20];

        dk_check_set_sink(machine, ignore_report, NULL);
        for (j = 0; j < 20; j++) {
            cpu[j] = dma_pool_alloc(pool, GFP_KERNEL, &dma[j]);
            assert_non_null(cpu[j]);
            memset(cpu[j], (int)j, size);
        }
        assert_int_equal(dk_check_count(machine, NULL), 0);
        cpu[3][-1] ^= 1;
        cpu[5][size] ^= 1;
        cpu[7][size + 15] ^= 1;
        cpu[9][-16] ^= 1;
        for (j = 0; j < 20; j++) {
            dma_pool_free(pool, cpu[j], dma[j]);
            /* Each block's zones are its own. */
            assert_int_equal(dk_check_count(machine, "pool-overrun"),
                             (j >= 3) + (j >= 5) + (j >= 7) + (j >= 9));
        }
        assert_int_equal(dk_check_count(machine, NULL), 4);
        dma_pool_destroy(pool);
        assert_int_equal(dk_machine_destroy(machine), 4);
    }
}

/* What alignment leaves beyond the zones is not looked at. */
static void zones_are_no_wider_than_64_bytes(void **state)
{
    static const struct {
        ptrdiff_t at;
        unsigned long reports;
    } cases[] = { { -65, 0 }, { -64, 1 }, { 100 + 63, 1 }, { 100 + 64, 0 } };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_machine *machine;
        struct device *dev = pool_device(&pool_places[0], 1, &machine);
        struct dma_pool *pool = dma_pool_create("wide", dev, 100, 256, 0);
        dma_addr_t dma[2];
        char *cpu[2];

        dk_check_set_sink(machine, ignore_report, NULL);
        cpu[0] = dma_pool_alloc(pool, GFP_KERNEL, &dma[0]);
        cpu[1] = dma_pool_alloc(pool, GFP_KERNEL, &dma[1]);
        assert_int_equal(dma[1] - dma[0], 256);
        (cases[i].at < 0 ? cpu[1] : cpu[0])[cases[i].at] ^= 1;
        dma_pool_free(pool, cpu[0], dma[0]);
        dma_pool_free(pool, cpu[1], dma[1]);
        assert_int_equal(dk_check_count(machine, "pool-overrun"), cases[i].reports);
        dma_pool_destroy(pool);
        assert_int_equal(dk_machine_destroy(machine), cases[i].reports);
    }
}

/* Another device that writes is named; the block's own is not to blame. */
static void a_stranger_is_named(void **state)
{
    struct dk_machine *machine = machine_with(COHERENT_BOARD, NULL, 0, 1);
    struct device *dev = dk_device_find(machine, "nic"), *stranger = device_below(machine, "bus", "stranger");
    struct dma_pool *pool = dma_pool_create("owned", dev, 64, 0, 0);
    struct seen seen = { 0 };
    dma_addr_t dma;
    void *cpu = dma_pool_alloc(pool, GFP_KERNEL, &dma);

    (void)state;
    dk_check_set_sink(machine, note, &seen);
    dma_pool_free(pool, cpu, dma);
    assert_int_equal(dk_master_write(stranger, dma, "x", 1), 0);
    assert_int_equal(seen.reports, 1);
    assert_string_equal(seen.class_name, "pool-use-after-free");
    /* Elsewhere in memory nothing is looked at. */
    assert_int_equal(dk_master_write(stranger, 0x40100000, "x", 1), 0);
    assert_int_equal(seen.reports, 1);
    dma_pool_destroy(pool);
    /* Nor where the pool was. */
    assert_int_equal(dk_master_write(stranger, dma, "x", 1), 0);
    assert_int_equal(dk_machine_destroy(machine), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_mistake_is_reported), cmocka_unit_test(each_correct_twin_is_silent),
        cmocka_unit_test(depth_zero_is_silent),     cmocka_unit_test(who_freed_it_is_told),
        cmocka_unit_test(where_it_was_is_told),     cmocka_unit_test(a_pool_left_behind_is_told),
        cmocka_unit_test(any_shape_has_zones),      cmocka_unit_test(zones_are_no_wider_than_64_bytes),
        cmocka_unit_test(a_stranger_is_named),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests_name("pool-check", tests, NULL, NULL);
}
