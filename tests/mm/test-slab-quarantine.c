/* SPDX-License-Identifier: MIT */
/*
 * Freed objects that are kept out of use: what is stored into them is found, nobody gets them meanwhile, and
 * whoever is short of memory does.
 */
#include "draw.h"
#include "fixture.h"

#include "mm/slab-quarantine.h"
#include <dmakit/fail.h>
#include <dmakit/memory-info.h>
#include <dmakit/migrate.h>
#include <dmakit/shrinker.h>
#include <pthread.h>

#define RAM (16 * MIB)
#define PAGES (RAM / PAGE_SIZE)

static const struct dk_memory_range range = { GIB, RAM };

/* ---- Findings ---- */

static struct {
    unsigned count;
    char class_name[32], call[32], what[256];
    const char *at;
} found;

static void keep_finding(void *data, const struct dk_finding *finding)
{
    (void)data;
    found.count++;
    snprintf(found.class_name, sizeof(found.class_name), "%s", finding->class_name);
    snprintf(found.call, sizeof(found.call), "%s", finding->call);
    snprintf(found.what, sizeof(found.what), "%s", finding->what);
    found.at = finding->cpu;
}

/* True when exactly one finding was made since the last call, a use after free of the byte at @at. */
static bool found_at(const void *at)
{
    bool one = found.count == 1 && found.at == at && !strcmp(found.class_name, "slab-use-after-free");

    if (!one)
        print_error("%u findings, the last %s at %p: %s\n", found.count, found.class_name,
                    (const void *)found.at, found.what);
    found.count = 0;
    log_lines = 0;
    return one;
}

static bool nothing_found(void)
{
    bool none = !found.count;

    if (!none)
        print_error("%u findings, the last %s at %p: %s\n", found.count, found.class_name,
                    (const void *)found.at, found.what);
    found.count = 0;
    return none;
}

static const struct dk_hooks hooks = { .finding = keep_finding };

/* Also this thread's, whatever a failed test left. */
static struct dk_memory *make_with(const struct dk_memory_config *config)
{
    struct dk_memory *memory = make(config);

    memset(&found, 0, sizeof(found));
    dk_memory_enter(memory);
    return memory;
}

static struct dk_memory *make_quarantined(size_t bytes)
{
    struct dk_memory_config config = small_config(&range);

    config.quarantine = bytes;
    config.hooks = &hooks;
    return make_with(&config);
}

static size_t held_bytes(struct dk_memory *memory)
{
    size_t bytes, count;

    dk_quarantine_usage(memory, &bytes, &count);
    return bytes;
}

static size_t held_count(struct dk_memory *memory)
{
    size_t bytes, count;

    dk_quarantine_usage(memory, &bytes, &count);
    return count;
}

/* As kmalloc() and kfree(), whose rules the compiler's checks know, and these tests break. */
static void *take(size_t size)
{
    void *object = kmalloc(size, GFP_KERNEL);

    __asm__("" : "+r"(object));
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it goes where the check cannot follow. */
    return object;
}

static void give(const void *object)
{
    __asm__("" : "+r"(object));
    kfree(object);
}

/* ---- Finding ---- */

/* A late store while others allocate and free the same size: without a quarantine the next owner's bytes
 * change. */
static void test_late_store(void **state)
{
    static const struct {
        size_t quarantine, size;
        bool found;
    } cases[] = {
        { 0, 64, false },        { 65536, 64, true },   { 65536, 8, true },     { 65536, 1000, true },
        { 65536, 8192, true },   { 0, 16384, false },   { 65536, 16384, true }, { 65536, 65536, true },
        { 65536, 70000, false }, { 4096, 8192, false },
    };
    unsigned i, j;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_memory *memory = make_quarantined(cases[i].quarantine);
        char *late = take(cases[i].size), *next[4];

        memset(late, 1, cases[i].size);
        give(late);
        for (j = 0; j < 4; j++) {
            next[j] = kzalloc(cases[i].size, GFP_KERNEL);
            if (cases[i].found)
                assert_ptr_not_equal(next[j], late);
        }
        late[cases[i].size / 2] = 7;
        for (j = 0; j < 4; j++)
            give(next[j]);
        assert_int_equal(dk_memory_free_pages(memory), PAGES);
        if (cases[i].found) {
            assert_true(found_at(late + cases[i].size / 2));
            assert_string_equal(found.call, "kfree");
            assert_non_null(strstr(found.what, "() found"));
        }
        assert_true(nothing_found());
        unmake(memory, PAGES);
    }
}

/* Stores of the owners, each as long as it is one, are nobody's business; nor is what is left of them. */
static void test_owners_may_store(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    char *objects[8];
    unsigned i, j;

    (void)state;
    for (i = 0; i < 2000; i++) {
        for (j = 0; j < 8; j++) {
            objects[j] = take(100 + 300 * j + (j == 7) * 9000);
            memset(objects[j], (int)i, ksize(objects[j]));
        }
        for (j = 0; j < 8; j++)
            give(objects[j]);
    }
    unmake(memory, PAGES);
    assert_true(nothing_found());
}

/* Each of several is found, whatever ends the quarantine. */
static void test_all_are_found(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    char *objects[10], *large = take(20000);
    unsigned i;

    (void)state;
    for (i = 0; i < 10; i++)
        objects[i] = take(200);
    for (i = 0; i < 10; i++)
        give(objects[i]);
    give(large);
    objects[1][0] = 0;
    objects[4][255] = 0;
    objects[9][100] = 0;
    large[32767] = 0;
    assert_true(dk_memory_end_quarantine(memory, "test"));
    assert_int_equal(found.count, 4);
    assert_ptr_equal(found.at, large + 32767);
    assert_false(dk_memory_end_quarantine(memory, "test"));
    assert_int_equal(found.count, 4);
    unmake(memory, PAGES);
}

/* ---- What is held is free ---- */

static void test_held_is_free(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    struct kmem_cache *cache = kmem_cache_create("cache", 200, 0, 0, NULL);
    struct kmem_cache *other = kmem_cache_create("other", 200, 0, 0, NULL);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL), *large = take(20000);

    (void)state;
    kmem_cache_free(cache, object);
    give(large);
    assert_int_equal(held_count(memory), 2);
    assert_true(dk_memory_is_freed(memory, virt_to_phys(object)));
    assert_true(dk_memory_is_freed(memory, virt_to_phys(object + 199)));
    assert_true(dk_memory_is_freed(memory, virt_to_phys(large)));
    assert_true(dk_memory_is_freed(memory, virt_to_phys(large + 20000)));
    assert_true(silent());
    assert_int_equal(ksize(object), 0);
    assert_true(logged("is free"));
    assert_int_equal(ksize(large), 0);
    assert_true(logged("is free"));
    kmem_cache_free(cache, object);
    assert_true(logged("is free already"));
    assert_string_equal(found.class_name, "slab-double-free");
    kmem_cache_free(other, object);
    assert_true(logged("another cache"));
    give(object);
    assert_true(logged("is free already"));
    give(large);
    assert_true(logged("or is free"));
    assert_string_equal(found.class_name, "slab-invalid-free");
    free_pages((unsigned long)(uintptr_t)large, 3);
    assert_true(logged("belongs to another allocator"));
    put_page(virt_to_page(large));
    assert_true(logged("no reference but its allocator's"));
    assert_int_equal(held_count(memory), 2);
    assert_null(krealloc(large, 30000, GFP_KERNEL));
    found.count = 0;
    log_lines = 0;
    kmem_cache_destroy(cache);
    kmem_cache_destroy(other);
    assert_true(silent());
    unmake(memory, PAGES);
    assert_true(nothing_found());
}

/* Pages with a second reference are somebody's still. */
static void test_referenced_pages(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    char *large = take(20000);

    (void)state;
    memset(large, 3, 20000);
    get_page(virt_to_page(large));
    give(large);
    assert_int_equal(held_count(memory), 0);
    assert_int_equal(large[0], 3);
    dk_memory_destroy(memory);
    dk_log_set_sink(NULL, NULL);
}

static unsigned constructed;

static void construct(void *object)
{
    constructed++;
    memset(object, 0x77, 40);
}

/* A constructor's work is kept, and where devices see past the caches, objects that share lines are left
 * alone. */
static void test_unmarked(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    struct kmem_cache *cache = kmem_cache_create("constructed", 40, 0, 0, construct);
    struct dk_memory_config config = small_config(&range);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL);

    (void)state;
    kmem_cache_free(cache, object);
    assert_int_equal(held_count(memory), 1);
    assert_int_equal(object[0], 0x77);
    object[1] = 0;
    kmem_cache_destroy(cache);
    assert_true(nothing_found());
    unmake(memory, PAGES);

    config.quarantine = 65536;
    config.two_views = true;
    config.hooks = &hooks;
    memory = make_with(&config);
    cache = kmem_cache_create("shared lines", 40, 0, 0, NULL);
    object = kmem_cache_zalloc(cache, GFP_KERNEL);
    kmem_cache_free(cache, object);
    assert_int_equal(held_count(memory), 1);
    assert_int_equal(object[0], 0);
    object[1] = 0;
    kmem_cache_destroy(cache);
    cache = kmem_cache_create("own lines", 40, 64, 0, NULL);
    object = kmem_cache_zalloc(cache, GFP_KERNEL);
    kmem_cache_free(cache, object);
    assert_int_equal(object[39], (char)DK_POISON_FREE_LAST);
    assert_int_equal(object[40], 0);
    kmem_cache_destroy(cache);
    assert_true(nothing_found());
    unmake(memory, PAGES);
}

/* What a device has written over, and was reported for, is not reported again: also where it began before the
 * freed object or went on behind it. */
static void test_excused(void **state)
{
    static const struct {
        int at; /* from the freed object's start */
        u64 size;
        size_t changed;
        bool found;
    } cases[] = {
        { 0, 64, 30, false }, { -8, 9, 0, false }, { 63, 9, 63, false }, { -8, 80, 30, false },
        { -8, 8, 0, true },   { 64, 8, 63, true }, { 0, 0, 5, true },
    };
    size_t i, j;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_memory *memory = make_quarantined(65536);
        char *objects[3];

        for (j = 0; j < 3; j++)
            objects[j] = take(64);
        assert_true(objects[1] == objects[0] + 64 && objects[2] == objects[1] + 64);
        give(objects[1]);
        objects[1][cases[i].changed] = 1;
        dk_memory_excuse(memory, virt_to_phys(objects[1]) + (phys_addr_t)cases[i].at, cases[i].size);
        give(objects[0]);
        give(objects[2]);
        assert_int_equal(dk_memory_free_pages(memory), PAGES);
        assert_true(cases[i].found ? found_at(objects[1] + cases[i].changed) : nothing_found());
        unmake(memory, PAGES);
    }
}

/* ---- Yielding ---- */

/* Half the memory's objects in quarantine, in the midst of what is allocated. */
static void scatter(char **objects, size_t count, size_t size)
{
    size_t i;

    for (i = 0; i < count; i++) {
        objects[i] = take(size);
        assert_non_null(objects[i]);
    }
    for (i = 0; i < count; i++)
        give(objects[i]);
}

#define OBJECTS 100

/* How many blocks of @order there are, with that much quarantine before. */
static unsigned blocks_of(unsigned order, size_t quarantine, gfp_t gfp)
{
    struct dk_memory *memory = make_quarantined(quarantine);
    static struct page *pages[PAGES];
    char *objects[OBJECTS];
    unsigned count = 0, i;

    scatter(objects, OBJECTS, 5000);
    scatter(objects, 4, 100000);
    if (quarantine)
        assert_true(held_bytes(memory) > 800000);
    while (count < PAGES && (pages[count] = alloc_pages(gfp | __GFP_NOWARN, order)))
        count++;
    assert_int_equal(held_bytes(memory), 0);
    for (i = 0; i < count; i++)
        __free_pages(pages[i], order);
    unmake(memory, PAGES);
    assert_true(nothing_found());
    return count;
}

static void test_yields_pages(void **state)
{
    static const unsigned orders[] = { 0, 3, 5, 10 };
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(orders) / sizeof(orders[0]); i++) {
        assert_int_equal(blocks_of(orders[i], 2 * MIB, GFP_KERNEL), blocks_of(orders[i], 0, GFP_KERNEL));
        assert_int_equal(blocks_of(orders[i], 2 * MIB, GFP_NOWAIT), PAGES >> orders[i]);
    }
}

static unsigned shrinks;

static unsigned long count_objects(struct shrinker *shrinker, struct shrink_control *control)
{
    (void)shrinker;
    (void)control;
    shrinks++;
    return 0;
}

static unsigned long scan_objects(struct shrinker *shrinker, struct shrink_control *control)
{
    (void)shrinker;
    (void)control;
    return SHRINK_STOP;
}

/* All memory but for freed objects is taken: the next one comes from there, and no shrinker is troubled. */
static void test_yields_objects(void **state)
{
    static const size_t sizes[] = { 32, 256, 8192, 32768 };
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct dk_memory *memory = make_quarantined(MIB);
        struct shrinker *shrinker = shrinker_alloc(0, "test");
        static struct page *pages[PAGES];
        unsigned count = 0, j;
        char *objects[8];

        for (j = 0; j < 8; j++)
            objects[j] = take(sizes[i]);
        while ((pages[count] = alloc_pages(GFP_KERNEL | __GFP_NOWARN, 0)))
            count++;
        shrinks = 0;
        shrinker->count_objects = count_objects;
        shrinker->scan_objects = scan_objects;
        shrinker_register(shrinker);
        give(objects[3]);
        assert_int_equal(held_count(memory), 1);
        objects[3] = kmalloc(sizes[i], i % 2 ? GFP_KERNEL : GFP_NOWAIT);
        assert_non_null(objects[3]);
        assert_int_equal(shrinks, 0);
        assert_true(silent());
        for (j = 0; j < 8; j++)
            give(objects[j]);
        while (count)
            __free_pages(pages[--count], 0);
        shrinker_free(shrinker);
        unmake(memory, PAGES);
    }
}

static void test_yields_ranges(void **state)
{
    struct dk_memory *memory = make_quarantined(MIB);
    unsigned long start = GIB / PAGE_SIZE, count = PAGES / 2;
    char *objects[OBJECTS];
    struct page *page;

    (void)state;
    scatter(objects, OBJECTS, 5000);
    assert_int_equal(alloc_contig_range(start + count, start + PAGES, MIGRATE_MOVABLE, GFP_KERNEL), 0);
    free_contig_range(start + count, count);
    scatter(objects, OBJECTS, 5000);
    page = alloc_contig_pages(PAGES, GFP_KERNEL, 0, NULL);
    assert_non_null(page);
    free_contig_range(start, PAGES);
    assert_true(silent());
    unmake(memory, PAGES);
}

/* What is asked for is not there anyhow: nothing is given up for it. */
static void test_has_free(void **state)
{
    struct dk_memory *memory = make_quarantined(MIB);
    char *large = take(MIB / 2);

    (void)state;
    give(large);
    assert_true(dk_memory_has_free(memory, PAGES / 2));
    assert_int_equal(held_count(memory), 1);
    assert_true(dk_memory_has_free(memory, PAGES));
    assert_int_equal(held_count(memory), 0);
    assert_false(dk_memory_has_free(memory, PAGES + 1));
    give(take(100));
    assert_int_equal(nr_free_pages(), PAGES);
    give(take(100));
    assert_int_equal(si_mem_available(), PAGES);
    unmake(memory, PAGES);
}

/* ---- Caches ---- */

static void test_cache_goes(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    struct kmem_cache *cache = kmem_cache_create("going", 100, 0, 0, NULL);
    char *objects[5], *stays = take(100), *leaked;
    unsigned i;

    (void)state;
    for (i = 0; i < 5; i++)
        objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
    kmem_cache_free(cache, objects[0]);
    give(stays);
    for (i = 1; i < 5; i++)
        kmem_cache_free(cache, objects[i]);
    objects[2][99] = 1;
    objects[4][0] = 1;
    assert_int_equal(held_count(memory), 6);
    kmem_cache_destroy(cache);
    assert_int_equal(found.count, 2);
    assert_ptr_equal(found.at, objects[4]);
    assert_string_equal(found.call, "kmem_cache_free");
    assert_int_equal(held_count(memory), 1);
    found.count = 0;

    cache = kmem_cache_create("shrunk", 100, 0, 0, NULL);
    kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
    assert_int_equal(held_count(memory), 2);
    assert_int_equal(kmem_cache_shrink(cache), 0);
    assert_int_equal(held_count(memory), 1);
    /* One that stays because of a leak keeps what is in quarantine, too. */
    leaked = kmem_cache_alloc(cache, GFP_KERNEL);
    kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
    kmem_cache_destroy(cache);
    assert_string_equal(found.class_name, "slab-leak");
    assert_int_equal(held_count(memory), 2);
    kmem_cache_free(cache, leaked);
    kmem_cache_destroy(cache);
    stays[0] = 1;
    found.count = 0;
    assert_true(dk_memory_end_quarantine(memory, "test"));
    assert_true(found_at(stays));
    unmake(memory, PAGES);
}

/* A memory goes with what is in quarantine: whoever makes machines and drops them loses nothing. */
static void test_memory_goes(void **state)
{
    struct dk_memory *memory = make_quarantined(MIB);
    struct kmem_cache *cache = kmem_cache_create("left", 100, 0, 0, NULL);
    char *objects[OBJECTS];

    (void)state;
    scatter(objects, OBJECTS, 5000);
    give(take(100000));
    kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
    assert_int_equal(held_count(memory), OBJECTS + 2);
    dk_memory_destroy(memory);
    dk_log_set_sink(NULL, NULL);
}

/* With SLAB_POISON and red zones besides, each mistake is said once. */
static void test_with_patterns(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    struct kmem_cache *cache = kmem_cache_create("poisoned", 100, 0, SLAB_POISON | SLAB_RED_ZONE, NULL);
    char *late = kmem_cache_alloc(cache, GFP_KERNEL), *again;

    (void)state;
    kmem_cache_free(cache, late);
    late[50] = 1;
    again = kmem_cache_alloc(cache, GFP_KERNEL);
    assert_ptr_not_equal(again, late);
    assert_true(nothing_found());
    dk_memory_end_quarantine(memory, "test");
    assert_true(found_at(late + 50));
    again[100] = 1;
    kmem_cache_free(cache, again);
    assert_int_equal(found.count, 1);
    assert_string_equal(found.class_name, "slab-overrun");
    kmem_cache_destroy(cache);
    assert_int_equal(found.count, 1);
    unmake(memory, PAGES);
}

/* ---- A model ---- */

#define MODEL_BYTES 32768u
#define MODEL_ENTRIES 128u /* MODEL_BYTES / 256 */
#define LIVE 60

struct model_entry {
    char *start;
    size_t bytes;
    bool stored;
};

static struct model_entry queue[MODEL_ENTRIES + 1];
static size_t queue_count, queue_bytes;

static void model_drop(char **late, unsigned *late_count)
{
    if (queue[0].stored)
        late[(*late_count)++] = queue[0].start;
    queue_bytes -= queue[0].bytes;
    memmove(queue, queue + 1, --queue_count * sizeof(queue[0]));
}

/* Random calls beside a plain list: what is in it, in which order it leaves, and that nobody gets it before.
 */
static void test_model(void **state)
{
    static const size_t sizes[] = { 8, 64, 100, 200, 1000, 5000, 10000, 30000, 40000 };
    struct dk_memory *memory = make_quarantined(MODEL_BYTES);
    unsigned rounds = getenv("DMAKIT_TEST_FAST") ? 20000 : 400000, i, j, live = 0;
    struct {
        char *start;
        size_t bytes;
    } objects[LIVE];

    (void)state;
    state_word = draw_seed(0x9a4a1);
    queue_count = queue_bytes = 0;
    for (i = 0; i < rounds; i++) {
        unsigned action = (unsigned)draw(16), late_count = 0, which;
        char *late[MODEL_ENTRIES + 1];

        found.count = 0;
        if (action < 7 && live < LIVE) {
            size_t size = sizes[draw(9)];
            char *start = take(size);

            assert_non_null(start);
            for (j = 0; j < queue_count; j++) {
                if (start < queue[j].start + queue[j].bytes && queue[j].start < start + size)
                    fail_msg("%p is in quarantine", (void *)start);
            }
            objects[live].start = start;
            objects[live++].bytes = ksize(start);
        } else if (action < 14 && live) {
            which = (unsigned)draw(live);
            queue[queue_count] =
                (struct model_entry){ .start = objects[which].start, .bytes = objects[which].bytes };
            if (queue[queue_count].bytes <= MODEL_BYTES)
                queue_bytes += queue[queue_count++].bytes;
            give(objects[which].start);
            objects[which] = objects[--live];
            while (queue_bytes > MODEL_BYTES || queue_count > MODEL_ENTRIES)
                model_drop(late, &late_count);
        } else if (action == 14 && queue_count) {
            which = (unsigned)draw(queue_count);
            queue[which].start[draw(queue[which].bytes)] = 1;
            queue[which].stored = true;
        } else if (draw(200) == 0) {
            dk_memory_end_quarantine(memory, "test");
            while (queue_count)
                model_drop(late, &late_count);
        }
        assert_int_equal(held_bytes(memory), queue_bytes);
        assert_int_equal(held_count(memory), queue_count);
        if (found.count != late_count)
            fail_msg("round %u: %u findings, not %u", i, found.count, late_count);
        if (late_count)
            assert_true(found.at >= late[late_count - 1]);
    }
    while (live)
        give(objects[--live].start);
    unmake(memory, PAGES);
}

/* ---- Without memory of its own ---- */

/* What needs an allocation of the host's may fail; what is in quarantine is not lost, and serves. */
static void test_failing_in_turn(void **state)
{
    unsigned long nth = 1, failed = 0;
    bool more = true;

    (void)state;
    for (; more; nth++) {
        struct dk_memory_config config = small_config(&range);
        struct dk_memory *memory;
        struct kmem_cache *cache;
        char *objects[40];
        unsigned i;

        config.quarantine = 65536;
        dk_log_set_sink(count_line, NULL);
        dk_fail_nth(nth);
        memory = dk_memory_create(&config);
        if (IS_ERR_OR_NULL(memory)) {
            failed++;
            continue;
        }
        dk_memory_enter(memory);
        for (i = 0; i < 40; i++)
            objects[i] = take(300 * i + 1);
        for (i = 0; i < 40; i++)
            give(objects[i]);
        cache = kmem_cache_create("cache", 100, 0, 0, NULL);
        if (cache)
            kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
        kmem_cache_destroy(cache);
        give(take(5000));
        more = dk_fail_hits();
        failed += more;
        dk_fail_nth(0);
        unmake(memory, PAGES);
    }
    printf("%lu allocations failed\n", failed);
    assert_true(failed > 20);
}

/* The host has no memory for another slab: the freed object serves. */
static void test_failing_slab(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    char *objects[PAGE_SIZE / 8], *again;
    unsigned i;

    (void)state;
    for (i = 0; i < PAGE_SIZE / 8; i++)
        objects[i] = take(8);
    give(objects[77]);
    dk_fail_nth(2); /* the first is asked for the object itself */
    again = take(8);
    assert_int_equal(dk_fail_hits(), 1);
    dk_fail_nth(0);
    assert_ptr_equal(again, objects[77]);
    for (i = 0; i < PAGE_SIZE / 8; i++)
        give(objects[i]);
    unmake(memory, PAGES);
}

/* ---- Threads ---- */

static void *churn(void *data)
{
    struct dk_memory *memory = data;
    char *objects[16] = { NULL };
    u64 word = (u64)(uintptr_t)&objects | 1;
    unsigned i;

    dk_memory_enter(memory);
    for (i = 0; i < 20000; i++) {
        unsigned which;

        word = word * 6364136223846793005ull + 1442695040888963407ull;
        which = (unsigned)(word >> 60);
        give(objects[which]);
        objects[which] = take((word >> 40) % 6000 + (which == 3) * 9000);
        if (objects[which])
            memset(objects[which], (int)i, 16 < ksize(objects[which]) ? 16 : ksize(objects[which]));
        if (i % 500 == 0)
            dk_memory_end_quarantine(memory, "churn");
    }
    for (i = 0; i < 16; i++)
        give(objects[i]);
    return NULL;
}

static void test_threads(void **state)
{
    struct dk_memory *memory = make_quarantined(65536);
    pthread_t threads[3];
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, memory), 0);
    for (i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    assert_true(nothing_found());
    unmake(memory, PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_store),
        cmocka_unit_test(test_owners_may_store),
        cmocka_unit_test(test_all_are_found),
        cmocka_unit_test(test_held_is_free),
        cmocka_unit_test(test_referenced_pages),
        cmocka_unit_test(test_unmarked),
        cmocka_unit_test(test_excused),
        cmocka_unit_test(test_yields_pages),
        cmocka_unit_test(test_yields_objects),
        cmocka_unit_test(test_yields_ranges),
        cmocka_unit_test(test_has_free),
        cmocka_unit_test(test_cache_goes),
        cmocka_unit_test(test_memory_goes),
        cmocka_unit_test(test_with_patterns),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_failing_in_turn),
        cmocka_unit_test(test_failing_slab),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests_name("slab-quarantine", tests, NULL, NULL);
}
