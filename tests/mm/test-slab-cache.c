/* SPDX-License-Identifier: MIT */
/* Caches: both forms of creation, many objects at once, patterns, and what is reported. */
#include "fixture.h"

#include <dmakit/slab.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGES (64 * MIB / PAGE_SIZE)

static const struct dk_memory_range range = { GIB, 64 * MIB };

/* The last finding, and how many there were. */
static struct {
    unsigned count;
    char class_name[64], call[64], what[256];
    const void *cpu;
} found;

static void take_finding(void *data, const struct dk_finding *finding)
{
    (void)data;
    found.count++;
    snprintf(found.class_name, sizeof(found.class_name), "%s", finding->class_name);
    snprintf(found.call, sizeof(found.call), "%s", finding->call);
    snprintf(found.what, sizeof(found.what), "%s", finding->what);
    found.cpu = finding->cpu;
}

static const struct dk_hooks hooks = { .finding = take_finding };

static struct dk_memory *make_line(unsigned line)
{
    struct dk_memory_config config = small_config(&range);

    config.two_views = line > 0;
    config.line = line ? line : 64;
    config.zone_dma_end = GIB + 8 * MIB;
    config.hooks = &hooks;
    found.count = 0;
    return make(&config);
}

/* True when exactly one finding was made since the last call, of @class_name, by @call. */
static bool reported(const char *class_name, const char *call)
{
    bool one = found.count == 1 && !strcmp(found.class_name, class_name) && !strcmp(found.call, call);

    if (!one)
        print_error("%u findings, the last %s by %s\n", found.count, found.class_name, found.call);
    found.count = 0;
    log_lines = 0;
    return one;
}

static bool quiet(void)
{
    bool none = !found.count;

    found.count = 0;
    return silent() && none;
}

struct sample {
    char name[20];
    u64 number;
};

static void construct(void *object)
{
    memset(object, 0x11, sizeof(struct sample));
}

static void test_creation(void **state)
{
    struct dk_memory *memory = make_line(0);
    struct kmem_cache_args arguments = { .align = 256, .ctor = construct, .useroffset = 4, .usersize = 8 };
    struct kmem_cache *caches[6];
    char *object;
    unsigned i;

    (void)state;
    caches[0] = kmem_cache_create("args", sizeof(struct sample), &arguments, 0);
    object = kmem_cache_alloc(caches[0], GFP_KERNEL);
    assert_int_equal(virt_to_phys(object) % 256, 0);
    assert_int_equal(object[5], 0x11);
    kmem_cache_free(caches[0], object);
    caches[1] = kmem_cache_create("no args", 40, NULL, SLAB_CACHE_DMA);
    object = kmem_cache_alloc_node(caches[1], GFP_KERNEL, NUMA_NO_NODE);
    assert_true(virt_to_phys(object) < GIB + 8 * MIB);
    kmem_cache_free(caches[1], object);
    caches[2] = KMEM_CACHE(sample, SLAB_PANIC | SLAB_ACCOUNT);
    assert_string_equal(kmem_cache_name(caches[2]), "sample");
    assert_int_equal(kmem_cache_size(caches[2]), sizeof(struct sample));
    caches[3] = KMEM_CACHE_USERCOPY(sample, 0, name);
    caches[4] = kmem_cache_create_usercopy("user", 40, 0, 0, 8, 32, NULL);
    caches[5] = kmem_cache_create("old", 40, 0, 0, NULL);
    for (i = 0; i < 6; i++) {
        assert_non_null(caches[i]);
        kmem_cache_destroy(caches[i]);
    }
    assert_true(quiet());
    assert_null(kmem_cache_create_usercopy("user", 40, 0, 0, 9, 32, NULL));
    assert_true(logged("user"));
    assert_null(kmem_cache_create_usercopy("user", 40, 0, 0, 0xffffffff, 2, NULL));
    arguments.usersize = sizeof(struct sample);
    log_lines = 0;
    assert_null(kmem_cache_create("args", sizeof(struct sample), &arguments, 0));
    assert_true(logged("args"));
    arguments = (struct kmem_cache_args){ .align = 24 };
    assert_null(kmem_cache_create("args", 40, &arguments, 0));
    /* The red zone has no place in the largest block. */
    assert_null(kmem_cache_create("largest", KMALLOC_MAX_SIZE, 0, SLAB_RED_ZONE, NULL));
    unmake(memory, PAGES);
}

static void test_bulk(void **state)
{
    const struct dk_memory_range tiny = { 0, 8 * PAGE_SIZE };
    struct dk_memory_config config = small_config(&tiny);
    struct dk_memory *memory = make(&config);
    struct kmem_cache *cache = kmem_cache_create("many", 1024, 0, 0, NULL);
    void *objects[40] = { 0 }, *mixed[3];
    unsigned i, j;

    (void)state;
    assert_int_equal(kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_ZERO, 20, objects), 20);
    for (i = 0; i < 20; i++) {
        assert_true(!*(u64 *)objects[i]);
        memset(objects[i], (int)i + 1, 1024);
    }
    for (i = 0; i < 20; i++)
        assert_int_equal(((char *)objects[i])[1023], i + 1);
    for (i = 0; i < 20; i++) {
        for (j = 0; j < i; j++)
            assert_ptr_not_equal(objects[i], objects[j]);
    }
    /* All or nothing: 32 are all that the memory holds. */
    assert_int_equal(kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_NOWARN, 13, objects + 20), 0);
    assert_int_equal(kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_NOWARN, 12, objects + 20), 12);
    assert_int_equal(dk_memory_free_pages(memory), 0);
    kmem_cache_free_bulk(cache, 32, objects);
    assert_int_equal(dk_memory_free_pages(memory), 8);
    assert_int_equal(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 0, objects), 0);
    mixed[0] = kmem_cache_alloc(cache, GFP_KERNEL);
    mixed[1] = kmalloc(10, GFP_KERNEL);
    mixed[2] = NULL;
    kmem_cache_free_bulk(NULL, 3, mixed);
    assert_true(silent());
    mixed[0] = kmalloc(8, GFP_KERNEL);
    mixed[1] = kmalloc(10000, GFP_KERNEL);
    kfree_bulk(2, mixed);
    assert_int_equal(kmem_cache_shrink(cache), 0);
    mixed[0] = kmem_cache_alloc(cache, GFP_KERNEL);
    assert_int_equal(kmem_cache_shrink(cache), 1);
    kmem_cache_free(cache, mixed[0]);
    kmem_cache_destroy(cache);
    unmake(memory, 8);
}

static void test_kmalloc_family(void **state)
{
    static const size_t sizes[] = { 0, 1, 8, 9, 65, 100, 129, 8192, 8193, 100000, 4 << 20, (4 << 20) + 1 };
    struct dk_memory *memory = make_line(128);
    unsigned char *object;
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        size_t rounded = kmalloc_size_roundup(sizes[i]);

        object = kmalloc(sizes[i], GFP_KERNEL | __GFP_NOWARN);
        assert_int_equal(rounded, object && sizes[i] ? ksize(object) : sizes[i]);
        assert_int_equal(kmalloc_size_roundup(rounded), rounded);
        kfree(object);
    }
    object = krealloc_array(NULL, 10, 20, GFP_KERNEL);
    memset(object, 3, 200);
    object = krealloc_array(object, 1000, 20, GFP_KERNEL);
    assert_true(object[199] == 3 && ksize(object) >= 20000);
    assert_null(krealloc_array(object, SIZE_MAX / 4, 8, GFP_KERNEL));
    assert_true(ksize(object) >= 20000);
    kfree_sensitive(object);
    kfree_sensitive(NULL);
    kfree_sensitive(ZERO_SIZE_PTR);
    object = kmalloc_node(100, GFP_KERNEL, 0);
    memset(object, 0x77, 128);
    kfree_sensitive(object);
    assert_true(quiet());
    /* The memory is still there, and free: what it holds is seen by the next. */
    assert_ptr_equal(kmalloc(100, GFP_KERNEL), object);
    for (i = 0; i < 128; i++)
        assert_int_equal(object[i], 0);
    kfree(object);
    kfree_sensitive(object);
    assert_true(reported("slab-invalid-free", "kfree_sensitive"));
    kvfree(kvcalloc(3, 5 << 20, GFP_KERNEL));
    kvfree(kvmalloc_array(3, 50, GFP_KERNEL));
    assert_null(kvmalloc_array(SIZE_MAX, 3, GFP_KERNEL));
    assert_null(kvcalloc(SIZE_MAX, 3, GFP_KERNEL));
    assert_true(quiet());
    unmake(memory, PAGES);
}

static void test_refusals(void **state)
{
    struct dk_memory *memory = make_line(0);
    struct kmem_cache *cache = kmem_cache_create("right", 64, 0, 0, NULL);
    struct kmem_cache *other = kmem_cache_create("wrong", 64, 0, 0, NULL);
    char *object = kmem_cache_alloc(cache, GFP_KERNEL), *neighbour = kmem_cache_alloc(cache, GFP_KERNEL);
    char *large = kmalloc(100000, GFP_KERNEL), local;

    (void)state;
    kmem_cache_free(other, object);
    assert_true(reported("slab-wrong-cache", "kmem_cache_free"));
    assert_ptr_equal(found.cpu, object);
    kmem_cache_free(cache, object + 8);
    assert_true(reported("slab-invalid-free", "kmem_cache_free"));
    kmem_cache_free(cache, &local);
    assert_true(reported("slab-invalid-free", "kmem_cache_free"));
    kmem_cache_free(cache, object);
    assert_true(quiet());
    kmem_cache_free(cache, object);
    assert_true(reported("slab-double-free", "kmem_cache_free"));
    kfree(object);
    assert_true(reported("slab-double-free", "kfree"));
    kfree(&local);
    assert_true(reported("slab-invalid-free", "kfree"));
    /* What a failed kmem_cache_create() leaves. */
    assert_null(kmem_cache_alloc(NULL, GFP_KERNEL));
    assert_true(logged("no cache"));
    assert_int_equal(kmem_cache_alloc_bulk(NULL, GFP_KERNEL, 1, (void **)&object), 0);
    assert_true(logged("no cache"));
    kmem_cache_free(NULL, neighbour);
    assert_true(logged("no cache"));
    assert_int_equal(kmem_cache_shrink(NULL), 1);
    assert_true(logged("no cache"));
    kfree(large + PAGE_SIZE);
    assert_true(reported("slab-invalid-free", "kfree"));
    assert_null(krealloc(object, 100, GFP_KERNEL));
    assert_true(reported("slab-invalid-free", "krealloc"));
    kmem_cache_destroy(cache);
    assert_true(reported("slab-leak", "kmem_cache_destroy"));
    assert_non_null(strstr(found.what, "right still has 1 objects"));
    kmem_cache_free(cache, neighbour);
    kfree(large);
    kmem_cache_destroy(cache);
    kmem_cache_destroy(other);
    assert_true(quiet());
    unmake(memory, PAGES);
}

static void test_red_zones(void **state)
{
    static const unsigned lines[] = { 0, 64, 128 }, sizes[] = { 1, 60, 64, 3000, 20000 };
    unsigned i, j;

    (void)state;
    for (i = 0; i < 3; i++) {
        for (j = 0; j < 5; j++) {
            struct dk_memory *memory = make_line(lines[i]);
            struct kmem_cache *cache = kmem_cache_create("fenced", sizes[j], 0, SLAB_RED_ZONE, NULL);
            char *objects[3];
            unsigned k;

            assert_int_equal(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 3, (void **)objects), 3);
            for (k = 0; k < 3; k++) {
                assert_int_equal(ksize(objects[k]), sizes[j]);
                assert_int_equal(virt_to_phys(objects[k]) % (lines[i] ? lines[i] : 8), 0);
                memset(objects[k], 0x5a, sizes[j]);
            }
            kmem_cache_free(cache, objects[2]);
            assert_true(quiet());
            /* One byte past the second, and one before the first. */
            objects[1][sizes[j]] = 0;
            objects[0][-1] = 0;
            kmem_cache_free(cache, objects[1]);
            assert_true(reported("slab-overrun", "kmem_cache_free"));
            assert_ptr_equal(found.cpu, objects[1] + sizes[j]);
            kfree(objects[0]);
            assert_true(reported("slab-overrun", "kfree"));
            assert_ptr_equal(found.cpu, objects[0] - 1);
            kmem_cache_destroy(cache);
            assert_true(quiet());
            unmake(memory, PAGES);
        }
    }
}

static void test_poison(void **state)
{
    struct dk_memory *memory = make_line(64);
    struct kmem_cache *cache = kmem_cache_create("poisoned", 100, 0, SLAB_POISON | SLAB_RED_ZONE, NULL);
    struct kmem_cache *made = kmem_cache_create("made", 100, 0, SLAB_POISON, construct);
    unsigned char *object = kmem_cache_alloc(cache, GFP_KERNEL), *other = kmem_cache_alloc(cache, GFP_KERNEL);
    unsigned i;

    (void)state;
    for (i = 0; i < 100; i++)
        assert_int_equal(object[i], 0x5a);
    kmem_cache_free(cache, other);
    for (i = 0; i < 99; i++)
        assert_int_equal(other[i], 0x6b);
    assert_int_equal(other[99], 0xa5);
    assert_ptr_equal(kmem_cache_zalloc(cache, GFP_KERNEL), other);
    for (i = 0; i < 100; i++)
        assert_int_equal(other[i], 0);
    assert_true(quiet());
    kmem_cache_free(cache, other);
    other[42] = 1;
    assert_ptr_equal(kmem_cache_alloc(cache, GFP_KERNEL), other);
    assert_true(reported("slab-use-after-free", "kmem_cache_alloc"));
    assert_ptr_equal(found.cpu, other + 42);
    assert_non_null(strstr(found.what, "byte 42 of an object of poisoned"));
    /* Seen as well when the memory goes before anybody asks for the object. */
    kmem_cache_free(cache, other);
    other[99] = 0;
    kmem_cache_free(cache, object);
    assert_true(reported("slab-use-after-free", "kmem_cache_free"));
    object = kmem_cache_alloc(made, GFP_KERNEL);
    assert_int_equal(object[5], 0x11);
    kmem_cache_free(made, object);
    object[0] = 1;
    kmem_cache_destroy(cache);
    kmem_cache_destroy(made);
    assert_true(quiet());
    unmake(memory, PAGES);
}

/* Patterns in all of a memory's objects, kmalloc()'s too. */
static void test_all_objects(void **state)
{
    static const size_t sizes[] = { 1, 8, 60, 64, 96, 128, 192, 1000, 1024, 4096, 8192 };
    static const unsigned lines[] = { 0, 64 };
    unsigned i, j;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct dk_memory_config config = small_config(&range);
        struct dk_memory *memory;
        struct kmem_cache *cache;
        char *object;

        config.two_views = lines[i] > 0;
        config.hooks = &hooks;
        config.slab_debug = SLAB_POISON | SLAB_RED_ZONE;
        found.count = 0;
        memory = make(&config);
        for (j = 0; j < sizeof(sizes) / sizeof(sizes[0]); j++) {
            char *neighbour = kmalloc(sizes[j], GFP_KERNEL);
            size_t got = ksize(neighbour);

            object = kmalloc(sizes[j], GFP_KERNEL);
            assert_int_equal(kmalloc_size_roundup(sizes[j]), got);
            if (!(sizes[j] & (sizes[j] - 1)))
                assert_int_equal(virt_to_phys(object) % sizes[j], 0);
            assert_int_equal((unsigned char)object[got - 1], 0x5a);
            memset(object, 1, got);
            kfree(object);
            assert_true(quiet());
            /* What is alone in its slab goes with it. */
            if (sizes[j] < 8192)
                object[got / 2] = 1;
            assert_ptr_equal(kmalloc(sizes[j], GFP_KERNEL), object);
            if (sizes[j] < 8192)
                assert_true(reported("slab-use-after-free", "kmalloc"));
            object[got] = 1;
            kfree(object);
            assert_true(reported("slab-overrun", "kfree"));
            object = kzalloc(sizes[j], GFP_KERNEL);
            assert_true(!object[0] && !object[got - 1]);
            kfree(object);
            kfree(neighbour);
            assert_true(quiet());
        }
        cache = kmem_cache_create("made", sizeof(struct sample), 0, 0, construct);
        object = kmem_cache_alloc(cache, GFP_KERNEL);
        assert_int_equal(object[5], 0x11);
        object[sizeof(struct sample)] = 1;
        kmem_cache_free(cache, object);
        assert_true(reported("slab-overrun", "kmem_cache_free"));
        kmem_cache_destroy(cache);
        /* There is no room for patterns around this one. */
        cache = kmem_cache_create("largest", KMALLOC_MAX_SIZE, 0, 0, NULL);
        object = kmem_cache_alloc(cache, GFP_KERNEL);
        memset(object, 1, KMALLOC_MAX_SIZE);
        kmem_cache_free(cache, object);
        kmem_cache_destroy(cache);
        assert_true(quiet());
        unmake(memory, PAGES);
    }
}

/* Where an object stands: at its alignment, and with whole lines to itself where that was asked for. */
static void test_alignment(void **state)
{
    unsigned long seed = getenv("DMAKIT_TEST_SEED") ? strtoul(getenv("DMAKIT_TEST_SEED"), NULL, 0) : 20021231;
    unsigned rounds = getenv("DMAKIT_TEST_FAST") ? 100 : 3000, round, i;

    (void)state;
    print_message("seed %lu\n", seed);
    srandom((unsigned)seed);
    for (round = 0; round < rounds; round++) {
        unsigned line = 16u << random() % 5, two_views = (unsigned)random() % 2;
        struct dk_memory *memory = make_line(two_views ? line : 0);
        unsigned size = 1 + (unsigned)random() % (random() % 2 ? 200 : 9000);
        unsigned align = random() % 2 ? 0 : 1u << random() % 14;
        slab_flags_t flags = (slab_flags_t)(random() & (SLAB_HWCACHE_ALIGN | SLAB_POISON | SLAB_RED_ZONE));
        size_t unit = align > 8 ? align : 8, own = 8;
        struct kmem_cache *cache = kmem_cache_create("aligned", size, align, flags, NULL);
        char *objects[9];

        line = two_views ? line : 64;
        if (flags & SLAB_HWCACHE_ALIGN) {
            own = line;
            while (own > 8 && size <= own / 2)
                own /= 2;
        }
        if (two_views && flags & (SLAB_POISON | SLAB_RED_ZONE))
            own = line;
        unit = own > unit ? own : unit;
        assert_int_equal(kmem_cache_alloc_bulk(cache, GFP_KERNEL, 9, (void **)objects), 9);
        for (i = 0; i < 9; i++) {
            phys_addr_t phys = virt_to_phys(objects[i]), next = i < 8 ? virt_to_phys(objects[i + 1]) : 0;

            if (phys % unit)
                fail_msg("round %u: %u bytes at 0x%llx, not at %zu", round, size, phys, unit);
            if (next > phys && (phys + size - 1) / own >= next / own)
                fail_msg("round %u: 0x%llx and 0x%llx share %zu bytes", round, phys, next, own);
        }
        kmem_cache_free_bulk(cache, 9, (void **)objects);
        kmem_cache_destroy(cache);
        assert_true(quiet());
        unmake(memory, PAGES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_creation),       cmocka_unit_test(test_bulk),
        cmocka_unit_test(test_kmalloc_family), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_red_zones),      cmocka_unit_test(test_poison),
        cmocka_unit_test(test_alignment),      cmocka_unit_test(test_all_objects),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
