/* SPDX-License-Identifier: MIT */
/* kmalloc() and its kin, and caches: sizes, alignment, zones, refused frees. */
#include "fixture.h"

#include "base/context.h"
#include "mm/slab.h"
#include <dmakit/slab.h>
#include <dmakit/vmalloc.h>
#include <pthread.h>
#include <stdio.h>

#define PAGES (64 * MIB / PAGE_SIZE)

static const struct dk_memory_range range = { GIB, 64 * MIB };

static struct dk_memory *make_views(unsigned line)
{
    struct dk_memory_config config = small_config(&range);

    config.two_views = line > 0;
    config.line = line ? line : 64;
    config.zone_dma_end = GIB + 8 * MIB;
    return make(&config);
}

static void test_sizes(void **state)
{
    static const struct {
        unsigned line; /* 0: coherent */
        size_t asked, got, align;
    } cases[] = {
        { 0, 1, 8, 8 },
        { 0, 8, 8, 8 },
        { 0, 9, 16, 16 },
        { 0, 64, 64, 64 },
        { 0, 65, 96, 8 },
        { 0, 97, 128, 128 },
        { 0, 129, 192, 8 },
        { 0, 193, 256, 256 },
        { 0, 2048, 2048, 2048 },
        { 0, 4097, 8192, 8192 },
        { 0, 8192, 8192, 8192 },
        { 0, 8193, 16384, 16384 },
        { 0, 100000, 131072, 131072 },
        { 0, 4 << 20, 4 << 20, 4 << 20 },
        { 64, 1, 64, 64 },
        { 64, 65, 128, 64 },
        { 64, 129, 192, 64 },
        { 16, 1, 16, 16 },
        { 16, 65, 96, 16 },
        { 128, 1, 128, 128 },
        { 128, 129, 256, 128 },
        { 4096, 1, 4096, 4096 },
        { 4096, 4097, 8192, 4096 },
    };
    unsigned i, j;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_memory *memory = make_views(cases[i].line);
        char *objects[5];

        for (j = 0; j < 5; j++) {
            objects[j] = kmalloc(cases[i].asked, GFP_KERNEL);
            assert_non_null(objects[j]);
            if (ksize(objects[j]) != cases[i].got || virt_to_phys(objects[j]) % cases[i].align)
                fail_msg("case %u: %zu at 0x%llx", i, ksize(objects[j]), virt_to_phys(objects[j]));
            memset(objects[j], (int)j + 1, cases[i].got);
        }
        for (j = 0; j < 5; j++) {
            assert_int_equal(objects[j][0], j + 1);
            assert_int_equal(objects[j][cases[i].got - 1], j + 1);
            kfree(objects[j]);
        }
        assert_true(silent());
        unmake(memory, PAGES);
    }
}

static void test_odd_requests(void **state)
{
    struct dk_memory *memory = make_views(0);
    char *object;

    (void)state;
    object = kmalloc(0, GFP_KERNEL);
    assert_ptr_equal(object, ZERO_SIZE_PTR);
    assert_int_equal(ksize(object), 0);
    assert_int_equal(ksize(NULL), 0);
    kfree(object);
    kfree(NULL);
    kvfree(NULL);
    assert_true(silent());
    assert_null(kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL | __GFP_NOWARN));
    assert_true(silent());
    assert_null(kmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL));
    assert_true(logged("KMALLOC_MAX_SIZE"));
    assert_null(kmalloc_array(SIZE_MAX / 2, 3, GFP_KERNEL));
    assert_null(kcalloc(3, SIZE_MAX / 2, GFP_KERNEL));
    object = kmalloc(10, GFP_KERNEL | GFP_DMA32);
    assert_true(logged("__GFP_DMA32"));
    kfree(object);
    object = kmalloc(10000, GFP_KERNEL | __GFP_HIGHMEM);
    assert_true(logged("__GFP_HIGHMEM"));
    kfree(object);
    unmake(memory, PAGES);
    dk_log_set_sink(count_line, NULL);
    assert_null(kmalloc(10, GFP_KERNEL));
    assert_true(logged("kmalloc: this thread has no machine"));
    assert_null(kmem_cache_create("none", 8, 0, 0, NULL));
    assert_true(logged("kmem_cache_create"));
    dk_log_set_sink(NULL, NULL);
}

static bool all_bytes(const char *bytes, size_t count, char value)
{
    size_t i;

    for (i = 0; i < count; i++) {
        if (bytes[i] != value)
            return false;
    }
    return true;
}

static void test_clearing(void **state)
{
    static const size_t sizes[] = { 8, 200, 8192, 9000 };
    struct dk_memory *memory = make_views(64);
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++) {
        char *object = kmalloc(sizes[i], GFP_KERNEL), *cleared;
        size_t got = ksize(object);

        memset(object, 0x5a, got);
        kfree(object);
        cleared = kmalloc_array(1, sizes[i], GFP_KERNEL);
        assert_ptr_equal(cleared, object);
        assert_true(all_bytes(cleared, got, 0x5a));
        kfree(cleared);
        cleared = i & 1 ? kzalloc(sizes[i], GFP_KERNEL) : kcalloc(sizes[i] / 4, 4, GFP_KERNEL);
        assert_ptr_equal(cleared, object);
        assert_true(all_bytes(cleared, got, 0));
        kfree(cleared);
    }
    unmake(memory, PAGES);
}

static void test_zones(void **state)
{
    struct dk_memory *memory = make_views(0);
    struct kmem_cache *dma = kmem_cache_create("dma", 40, 0, SLAB_CACHE_DMA, NULL);
    struct kmem_cache *dma32 = kmem_cache_create("dma32", 40, 0, SLAB_CACHE_DMA32, NULL);
    void *objects[6] = { kmalloc(50, GFP_KERNEL),
                         kmalloc(50, GFP_KERNEL | GFP_DMA),
                         kmalloc(20000, GFP_KERNEL | GFP_DMA),
                         kmem_cache_alloc(dma, GFP_KERNEL),
                         kmem_cache_alloc(dma32, GFP_KERNEL),
                         kmalloc(20000, GFP_KERNEL) };

    (void)state;
    assert_true(virt_to_phys(objects[0]) >= GIB + 8 * MIB);
    assert_true(virt_to_phys(objects[1]) < GIB + 8 * MIB);
    assert_true(virt_to_phys(objects[2]) < GIB + 8 * MIB);
    assert_true(virt_to_phys(objects[3]) < GIB + 8 * MIB);
    /* Without a DMA32 zone of its own that has memory, it is the one below. */
    assert_true(virt_to_phys(objects[4]) < GIB + 8 * MIB);
    assert_true(virt_to_phys(objects[5]) >= GIB + 8 * MIB);
    kmem_cache_free(dma, objects[3]);
    kmem_cache_free(dma32, objects[4]);
    kfree(objects[0]);
    kfree(objects[1]);
    kfree(objects[2]);
    kfree(objects[5]);
    kmem_cache_destroy(dma);
    kmem_cache_destroy(dma32);
    unmake(memory, PAGES);
}

static void test_refused_frees(void **state)
{
    struct dk_memory *memory = make_views(0);
    char *small = kmalloc(100, GFP_KERNEL), *neighbour = kmalloc(100, GFP_KERNEL);
    char *large = kmalloc(20000, GFP_KERNEL), *area = vmalloc(100), local = 0;
    struct page *page = alloc_pages(GFP_KERNEL, 0);
    u64 before = dk_memory_free_pages(memory);

    (void)state;
    memset(small, 1, 100);
    kfree(small + 8);
    assert_true(logged("start of an object"));
    kfree(small + 1);
    assert_true(logged("start of an object"));
    kfree(large + PAGE_SIZE);
    assert_true(logged("kfree"));
    kfree(large + 8);
    assert_true(logged("kfree"));
    kfree(&local);
    assert_true(logged("kfree"));
    kfree(area);
    assert_true(logged("kfree"));
    kfree(page_address(page));
    assert_true(logged("kfree"));
    kfree(ERR_PTR(-ENOMEM));
    assert_true(logged("kfree"));
    assert_int_equal(ksize(small + 8), 0);
    assert_true(logged("ksize"));
    assert_int_equal(ksize(&local), 0);
    assert_true(logged("ksize"));
    assert_int_equal(ksize(large + 8), 0);
    assert_true(logged("ksize"));
    assert_null(krealloc(&local, 5, GFP_KERNEL));
    assert_true(logged("krealloc"));
    assert_int_equal(dk_memory_free_pages(memory), before);
    assert_true(all_bytes(small, 100, 1));
    assert_int_equal(ksize(small), 128);
    kfree(small);
    assert_true(silent());
    kfree(small);
    assert_true(logged("free already"));
    assert_int_equal(ksize(small), 0);
    assert_true(logged("ksize"));
    kfree(neighbour);
    assert_true(silent());
    kfree(neighbour);
    assert_true(logged("kfree"));
    kfree(large);
    assert_true(silent());
    kfree(large);
    assert_true(logged("kfree"));
    vfree(area);
    __free_page(page);
    unmake(memory, PAGES);
}

static void test_krealloc(void **state)
{
    struct dk_memory *memory = make_views(0);
    char *object = krealloc(NULL, 20, GFP_KERNEL), *larger;

    (void)state;
    assert_int_equal(ksize(object), 32);
    memset(object, 3, 32);
    assert_ptr_equal(krealloc(object, 32, GFP_KERNEL), object);
    assert_ptr_equal(krealloc(object, 1, GFP_KERNEL), object);
    larger = krealloc(object, 33, GFP_KERNEL);
    assert_ptr_not_equal(larger, object);
    assert_true(all_bytes(larger, 32, 3));
    assert_int_equal(ksize(object), 0);
    object = krealloc(larger, 10000, GFP_KERNEL);
    assert_true(all_bytes(object, 32, 3));
    log_lines = 0;
    assert_null(krealloc(object, KMALLOC_MAX_SIZE + 1, GFP_KERNEL | __GFP_NOWARN));
    assert_int_equal(ksize(object), 16384);
    assert_ptr_equal(krealloc(object, 0, GFP_KERNEL), ZERO_SIZE_PTR);
    assert_ptr_equal(krealloc(NULL, 0, GFP_KERNEL), ZERO_SIZE_PTR);
    larger = krealloc(ZERO_SIZE_PTR, 5, GFP_KERNEL);
    kfree(larger);
    assert_true(silent());
    unmake(memory, PAGES);
}

static void test_copies(void **state)
{
    struct dk_memory *memory = make_views(0);
    char *text = kstrdup("seven..", GFP_KERNEL), *bytes = kmemdup("abcdefgh", 5, GFP_KERNEL);

    (void)state;
    assert_string_equal(text, "seven..");
    assert_int_equal(ksize(text), 8);
    assert_memory_equal(bytes, "abcde", 5);
    assert_null(kstrdup(NULL, GFP_KERNEL));
    assert_ptr_equal(kmemdup("", 0, GFP_KERNEL), ZERO_SIZE_PTR);
    kfree(text);
    kfree(bytes);
    unmake(memory, PAGES);
}

static void test_kvmalloc(void **state)
{
    struct dk_memory *memory = make_views(0);
    char *small = kvmalloc(100, GFP_KERNEL), *medium = kvzalloc(2 * MIB, GFP_KERNEL), *large;

    (void)state;
    assert_false(is_vmalloc_addr(small));
    assert_false(is_vmalloc_addr(medium));
    assert_true(all_bytes(medium, 2 * MIB, 0));
    large = kvmalloc(KMALLOC_MAX_SIZE, GFP_KERNEL);
    assert_false(is_vmalloc_addr(large));
    kvfree(large);
    large = kvmalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL);
    assert_true(is_vmalloc_addr(large));
    memset(large, 5, KMALLOC_MAX_SIZE + 1);
    kvfree(large);
    large = kvzalloc(KMALLOC_MAX_SIZE + 1, GFP_KERNEL);
    assert_true(all_bytes(large, KMALLOC_MAX_SIZE + 1, 0));
    kvfree(large);
    medium[2 * MIB - 1] = 1;
    kvfree(medium);
    medium = kvcalloc(2, MIB, GFP_KERNEL);
    assert_true(all_bytes(medium, 2 * MIB, 0));
    assert_null(kvcalloc(SIZE_MAX, 2, GFP_KERNEL));
    assert_null(kvmalloc(KMALLOC_MAX_SIZE + 1, GFP_NOIO));
    kvfree(small);
    kvfree(medium);
    assert_true(silent());
    unmake(memory, PAGES);
}

static unsigned constructed;

static void construct(void *object)
{
    memset(object, 0x11, 24);
    constructed++;
}

static void test_caches(void **state)
{
    struct dk_memory *memory = make_views(64);
    struct kmem_cache *plain = kmem_cache_create("plain", 24, 0, 0, NULL);
    struct kmem_cache *made = kmem_cache_create("made", 24, 0, 0, construct);
    char *objects[300], *object, *other;
    unsigned i;

    (void)state;
    assert_int_equal(kmem_cache_size(plain), 24);
    for (i = 0; i < 300; i++) {
        objects[i] = kmem_cache_alloc(plain, GFP_KERNEL);
        assert_int_equal(virt_to_phys(objects[i]) % 8, 0);
        memset(objects[i], (int)i, 24);
    }
    for (i = 0; i < 300; i++)
        assert_true(all_bytes(objects[i], 24, (char)i));
    /* 170 fit into a page. */
    assert_int_equal(dk_memory_free_pages(memory), PAGES - 2);
    for (i = 0; i < 300; i++)
        kmem_cache_free(plain, objects[i]);
    assert_int_equal(dk_memory_free_pages(memory), PAGES);

    constructed = 0;
    object = kmem_cache_alloc(made, GFP_KERNEL);
    assert_int_equal(constructed, 170);
    other = kmem_cache_alloc(made, GFP_KERNEL);
    assert_int_equal(constructed, 170);
    assert_true(all_bytes(other, 24, 0x11));
    memset(other, 0x22, 24);
    kmem_cache_free(made, other);
    assert_true(silent());
    assert_ptr_equal(kmem_cache_zalloc(made, GFP_KERNEL), other);
    assert_true(logged("made"));
    assert_true(all_bytes(other, 24, 0x22));

    kmem_cache_free(plain, other);
    assert_true(logged("another cache"));
    kmem_cache_free(plain, NULL);
    assert_true(silent());
    kmem_cache_free(made, other + 1);
    assert_true(logged("start of an object"));
    kmem_cache_free(made, &constructed);
    assert_true(logged("in no slab"));
    kmem_cache_destroy(made);
    assert_true(logged("made still has 2 objects"));
    assert_true(all_bytes(object, 24, 0x11));
    kfree(other);
    kmem_cache_free(made, object);
    assert_int_equal(dk_memory_free_pages(memory), PAGES);
    object = kmem_cache_zalloc(plain, GFP_KERNEL);
    assert_true(all_bytes(object, 24, 0));
    kmem_cache_free(plain, object);
    kmem_cache_destroy(made);
    kmem_cache_destroy(plain);
    kmem_cache_destroy(NULL);
    assert_true(silent());
    unmake(memory, PAGES);
}

static void test_cache_shapes(void **state)
{
    static const struct {
        unsigned size, align;
        slab_flags_t flags;
        size_t step; /* from one object to the next; 0: refused */
        size_t multiple;
        unsigned pages;
    } cases[] = {
        { 1, 0, 0, 8, 8, 1 },
        { 9, 0, 0, 16, 8, 1 },
        { 24, 16, 0, 32, 16, 1 },
        { 100, 0, SLAB_HWCACHE_ALIGN, 128, 64, 1 },
        { 33, 0, SLAB_HWCACHE_ALIGN, 64, 64, 1 },
        { 32, 0, SLAB_HWCACHE_ALIGN, 32, 32, 1 },
        { 17, 0, SLAB_HWCACHE_ALIGN, 32, 32, 1 },
        { 3, 0, SLAB_HWCACHE_ALIGN, 8, 8, 1 },
        { 32, 256, SLAB_HWCACHE_ALIGN, 256, 256, 1 },
        { 512, 0, 0, 512, 512, 1 },
        { 513, 0, 0, 520, 8, 2 },
        { 3000, 0, 0, 3000, 8, 8 },
        { 5000, 0, 0, 5000, 8, 8 },
        { 40000, 0, 0, 0, 8, 16 },
        { 100, 8192, 0, 8192, 8192, 8 },
        { 4 << 20, 0, 0, 0, 4 << 20, 1024 },
        { (4 << 20) + 1, 0, 0, 0, 0, 0 },
        { 0, 0, 0, 0, 0, 0 },
        { 8, 24, 0, 0, 0, 0 },
        { 8, 8 << 20, 0, 0, 0, 0 },
    };
    struct dk_memory *memory = make_views(64);
    unsigned i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct kmem_cache *cache =
            kmem_cache_create("shape", cases[i].size, cases[i].align, cases[i].flags, NULL);
        char *first, *second;

        if (!cases[i].multiple) {
            assert_null(cache);
            continue;
        }
        first = kmem_cache_alloc(cache, GFP_KERNEL);
        if (PAGES - dk_memory_free_pages(memory) != cases[i].pages || virt_to_phys(first) % cases[i].multiple)
            fail_msg("case %u: %llu pages", i, PAGES - dk_memory_free_pages(memory));
        if (cases[i].step) {
            second = kmem_cache_alloc(cache, GFP_KERNEL);
            if ((size_t)(second - first) != cases[i].step)
                fail_msg("case %u: step %td", i, second - first);
            kmem_cache_free(cache, second);
        }
        kmem_cache_free(cache, first);
        kmem_cache_destroy(cache);
    }
    unmake(memory, PAGES);
}

/* When no block of the wanted order is left, a smaller one will do. */
static void test_smaller_slabs(void **state)
{
    const struct dk_memory_range tiny = { 0, 8 * PAGE_SIZE };
    const struct dk_memory_config config = small_config(&tiny);
    struct dk_memory *memory = make(&config);
    void *objects[8];
    unsigned i;

    (void)state;
    objects[0] = kmalloc(2048, GFP_KERNEL);
    assert_int_equal(dk_memory_free_pages(memory), 4);
    objects[1] = kmalloc(8192, GFP_KERNEL);
    assert_non_null(objects[1]);
    assert_true(silent());
    for (i = 2; i < 8; i++)
        objects[i] = kmalloc(1024, GFP_KERNEL);
    assert_non_null(objects[7]);
    assert_null(kmalloc(8192, GFP_KERNEL));
    assert_true(logged("contiguous pages"));
    for (i = 0; i < 8; i++)
        kfree(objects[i]);
    unmake(memory, 8);
}

/* Objects left when the memory goes: theirs is freed with it. */
static void test_leftovers(void **state)
{
    struct dk_memory *memory = make_views(0);
    struct kmem_cache *cache = kmem_cache_create(NULL, 100, 0, 0, NULL);
    unsigned i;

    (void)state;
    for (i = 0; i < 100; i++) {
        assert_non_null(kmem_cache_alloc(cache, GFP_KERNEL));
        assert_non_null(kmalloc(i * 10 + 1, i & 1 ? GFP_KERNEL : GFP_ATOMIC | GFP_DMA));
        assert_non_null(vmalloc(i * 100 + 1));
    }
    dk_memory_destroy(memory);
    dk_log_set_sink(NULL, NULL);
}

static void test_seed(void **state)
{
    struct dk_memory_config config = small_config(&range);
    char *places[2][20];
    unsigned round, i, descents = 0;

    (void)state;
    config.seed = 3;
    for (round = 0; round < 2; round++) {
        struct dk_memory *memory = make(&config);
        char *base = phys_to_virt(GIB);

        for (i = 0; i < 20; i++)
            places[round][i] = kmalloc(64, GFP_KERNEL);
        for (i = 0; i < 20; i++) {
            kfree(places[round][i]);
            places[round][i] -= (uintptr_t)base;
        }
        unmake(memory, PAGES);
    }
    for (i = 0; i < 20; i++) {
        assert_ptr_equal(places[0][i], places[1][i]);
        descents += i && places[0][i] < places[0][i - 1];
    }
    assert_true(descents > 3);
}

static unsigned findings;
static const char *calls[32];

static void take_finding(void *data, const struct dk_finding *finding)
{
    (void)data;
    calls[findings++] = finding->call;
}

static void keep_what(void *data, const struct dk_finding *finding)
{
    snprintf(data, 256, "%s: %s", finding->class_name, finding->what);
}

/* The report on a wrong free says what was wrong about what. */
static void test_what_is_told_of_wrong_frees(void **state)
{
    char text[256] = "", *object;
    const struct dk_hooks hooks = { .finding = keep_what, .data = text };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    struct kmem_cache *cache;

    (void)state;
    config.hooks = &hooks;
    memory = make(&config);
    cache = kmem_cache_create("objects", 200, 0, 0, NULL);
    object = kmalloc(100, GFP_KERNEL);
    kfree(object + 8);
    assert_string_equal(
        text, "slab-invalid-free: what was given to kfree does not point to the start of an object");
    kmem_cache_free(cache, object);
    assert_string_equal(text,
                        "slab-wrong-cache: what was given to kmem_cache_free is an object of another cache");
    kfree(object);
    kmem_cache_destroy(cache);
    unmake(memory, PAGES);
}

/* Another thread's free of an object that this one is about to free. */
struct at_once {
    struct kmem_cache *cache;
    void *object;
};

static bool free_at_once(void *data, phys_addr_t phys, u64 size, const char *call, u32 *stack)
{
    struct at_once *at_once = data;
    void *object = at_once->object;

    (void)phys;
    (void)size;
    (void)call;
    (void)stack;
    at_once->object = NULL;
    if (object)
        kmem_cache_free(at_once->cache, object);
    return false;
}

/* Of two who free the only object of a slab at once one is told; the slab is gone, and the caches go on. */
static void test_freed_twice_at_once(void **state)
{
    struct at_once at_once;
    const struct dk_hooks hooks = { .memory_freed = free_at_once, .data = &at_once };
    struct dk_memory_config config = small_config(&range);
    struct dk_memory *memory;
    void *object;

    (void)state;
    config.hooks = &hooks;
    memory = make(&config);
    at_once.cache = kmem_cache_create("once", 200, 0, 0, NULL);
    object = kmem_cache_alloc(at_once.cache, GFP_KERNEL);
    at_once.object = object;
    kmem_cache_free(at_once.cache, object);
    assert_true(logged("kmem_cache_free"));
    assert_int_equal(dk_memory_free_pages(memory), PAGES);
    /* Who asks next would wait for ever. */
    assert_int_equal(pthread_mutex_trylock(&memory->slab->lock), 0);
    pthread_mutex_unlock(&memory->slab->lock);
    kmem_cache_destroy(at_once.cache);
    assert_true(silent());
    unmake(memory, PAGES);
}

static void test_atomic_context(void **state)
{
    static const char *const expected[] = { "kmalloc",          "kzalloc",           "kmalloc_array",
                                            "kcalloc",          "krealloc",          "kmemdup",
                                            "kstrdup",          "kvmalloc",          "kmem_cache_create",
                                            "kmem_cache_alloc", "kmem_cache_zalloc", "kmem_cache_destroy" };
    const struct dk_hooks hooks = { .finding = take_finding };
    struct dk_memory_config config = small_config(&range);
    struct kmem_cache *cache;
    struct dk_memory *memory;
    unsigned i;

    (void)state;
    config.hooks = &hooks;
    memory = make(&config);
    findings = 0;
    dk_context()->atomic_depth = 1;
    kfree(kmalloc(8, GFP_KERNEL));
    kfree(kzalloc(8, GFP_KERNEL));
    kfree(kmalloc_array(1, 8, GFP_KERNEL));
    kfree(kcalloc(1, 8, GFP_KERNEL));
    kfree(krealloc(NULL, 8, GFP_KERNEL));
    kfree(kmemdup("a", 1, GFP_KERNEL));
    kfree(kstrdup("a", GFP_KERNEL));
    kvfree(kvmalloc(8, GFP_KERNEL));
    cache = kmem_cache_create("c", 8, 0, 0, NULL);
    kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
    kmem_cache_free(cache, kmem_cache_zalloc(cache, GFP_KERNEL));
    kfree(kmalloc(8, GFP_ATOMIC));
    kfree(kmalloc(8, GFP_NOWAIT));
    kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_ATOMIC));
    kmem_cache_destroy(cache);
    dk_context()->atomic_depth = 0;
    assert_int_equal(findings, sizeof(expected) / sizeof(expected[0]));
    for (i = 0; i < findings; i++)
        assert_string_equal(calls[i], expected[i]);
    unmake(memory, PAGES);
}

static void *churn(void *data)
{
    struct kmem_cache *cache = data;
    unsigned char *objects[50] = { 0 };
    unsigned word = (unsigned)(uintptr_t)&objects, i;
    bool good = true;

    for (i = 0; i < 20000; i++) {
        unsigned which;
        size_t size;

        word = word * 1103515245 + 12345;
        which = (word >> 8) % 50;
        size = (word >> 16) % 300 + 1;
        if (objects[which]) {
            good = good && *objects[which] == which;
            kfree(objects[which]);
            objects[which] = NULL;
        } else {
            objects[which] = which & 1 ? kmalloc(size, GFP_KERNEL) : kmem_cache_alloc(cache, GFP_KERNEL);
            if (objects[which])
                *objects[which] = (unsigned char)which;
        }
    }
    for (i = 0; i < 50; i++)
        kfree(objects[i]);
    return good ? NULL : cache;
}

static void test_threads(void **state)
{
    struct dk_memory *memory = make_views(64);
    struct kmem_cache *cache = kmem_cache_create("shared", 100, 0, 0, NULL);
    pthread_t threads[4];
    unsigned i;

    (void)state;
    for (i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, cache), 0);
    for (i = 0; i < 4; i++) {
        void *wrong;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    kmem_cache_destroy(cache);
    assert_true(silent());
    unmake(memory, PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_odd_requests),
        cmocka_unit_test(test_clearing),
        cmocka_unit_test(test_zones),
        cmocka_unit_test(test_refused_frees),
        cmocka_unit_test(test_krealloc),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_kvmalloc),
        cmocka_unit_test(test_caches),
        cmocka_unit_test(test_cache_shapes),
        cmocka_unit_test(test_smaller_slabs),
        cmocka_unit_test(test_leftovers),
        cmocka_unit_test(test_seed),
        cmocka_unit_test(test_atomic_context),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_freed_twice_at_once),
        cmocka_unit_test(test_what_is_told_of_wrong_frees),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
