/* SPDX-License-Identifier: MIT */
/*
 * Caches over a page source of the caller's own: what the source is asked for and when, handles, misuse, and
 * a million random operations beside a plain model.
 */
#include "fixture.h"

#include "base/context.h"
#include <dmakit/fail.h>
#include <dmakit/slab.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define PAGES (8 * MIB / PAGE_SIZE)
#define HANDLE 0xd0000000ull

static const struct dk_memory_range range = { GIB, 8 * MIB };
static unsigned findings;
static char last_class[64];

static void take_finding(void *data, const struct dk_finding *finding)
{
    (void)data;
    findings++;
    snprintf(last_class, sizeof(last_class), "%s", finding->class_name);
}

static const struct dk_hooks hooks = { .finding = take_finding };

static struct dk_memory *make_seeded(u64 seed)
{
    struct dk_memory_config config = small_config(&range);

    config.hooks = &hooks;
    config.seed = seed;
    findings = 0;
    return make(&config);
}

/* Host memory that is cut from the front, and comes back in any order: what a device's own memory is like. */
struct source {
    pthread_mutex_t lock;
    char *start;
    size_t size;
    bool used[1024]; /* a page each */

    size_t most;      /* it gives no more than this at once; 0: anything */
    unsigned live;    /* takes that were not given back */
    unsigned calls;   /* of take */
    bool crooked;     /* gives addresses between pages */
    gfp_t gfp;        /* of the last take */
    unsigned atomics; /* gives in atomic context */
};

static void *source_take(void *data, size_t size, gfp_t gfp, u64 *handle)
{
    struct source *source = data;
    size_t pages = size >> PAGE_SHIFT, i, run = 0;
    char *found = NULL;

    pthread_mutex_lock(&source->lock);
    source->calls++;
    source->gfp = gfp;
    if (*handle)
        abort();
    if (source->most && size > source->most)
        pages = SIZE_MAX;
    for (i = 0; i < source->size >> PAGE_SHIFT && run < pages; i++)
        run = source->used[i] ? 0 : run + 1;
    if (run == pages) {
        memset(&source->used[i - pages], true, pages);
        found = source->start + ((i - pages) << PAGE_SHIFT);
        *handle = HANDLE + (u64)(found - source->start);
        source->live++;
        if (source->crooked)
            found += 8;
    }
    pthread_mutex_unlock(&source->lock);
    return found;
}

static void source_give(void *data, void *pages, size_t size, u64 handle)
{
    struct source *source = data;
    size_t first, i;

    pthread_mutex_lock(&source->lock);
    first = (size_t)(handle - HANDLE) >> PAGE_SHIFT;
    if (!source->crooked && (char *)pages != source->start + (first << PAGE_SHIFT))
        abort();
    for (i = 0; i < size >> PAGE_SHIFT; i++) {
        if (!source->used[first + i])
            abort();
        source->used[first + i] = false;
    }
    source->live--;
    if (dk_context()->atomic_depth)
        source->atomics++;
    pthread_mutex_unlock(&source->lock);
}

static void open_source(struct source *source, size_t size)
{
    memset(source, 0, sizeof(*source));
    pthread_mutex_init(&source->lock, NULL);
    source->size = size;
    source->start = aligned_alloc(PAGE_SIZE, size);
    assert_non_null(source->start);
}

static void close_source(struct source *source)
{
    assert_int_equal(source->live, 0);
    assert_int_equal(source->atomics, 0);
    pthread_mutex_destroy(&source->lock);
    free(source->start);
}

static struct kmem_cache *cache_on(struct source *source, unsigned size, unsigned align, slab_flags_t flags)
{
    const struct dk_page_source pages = { source_take, source_give, source };

    return dk_cache_create_from("sourced", size, align, flags, NULL, &pages);
}

static void test_life(void **state)
{
    struct dk_memory *memory = make_seeded(0);
    char *objects[70], *other = kmalloc(100, GFP_KERNEL);
    struct kmem_cache *cache, *plain = kmem_cache_create("plain", 128, 0, 0, NULL);
    struct source source;
    unsigned i, calls;
    u64 handle;

    (void)state;
    open_source(&source, 64 * PAGE_SIZE);
    cache = cache_on(&source, 100, 0, SLAB_HWCACHE_ALIGN);
    assert_int_equal(source.calls, 0);
    for (i = 0; i < 70; i++) {
        objects[i] = kmem_cache_alloc(cache, i ? GFP_ATOMIC : GFP_KERNEL);
        assert_true(objects[i] >= source.start && objects[i] + 100 <= source.start + source.size);
        assert_int_equal((objects[i] - source.start) % 128, 0);
        assert_true(dk_cache_handle(cache, objects[i], &handle));
        assert_int_equal(handle, HANDLE + (u64)(objects[i] - source.start));
        assert_int_equal(ksize(objects[i]), 128);
    }
    assert_int_equal(source.calls, 3);
    assert_int_equal(source.gfp & GFP_KERNEL, GFP_ATOMIC & GFP_KERNEL);
    assert_false(dk_cache_handle(cache, objects[0] + 1, &handle));
    assert_false(dk_cache_handle(cache, other, &handle));
    assert_false(dk_cache_handle(plain, objects[0], &handle));
    assert_true(silent());
    kmem_cache_free(plain, objects[0]);
    assert_true(logged("another cache"));
    assert_string_equal(last_class, "slab-wrong-cache");
    kmem_cache_free(cache, objects[0] + 4);
    assert_string_equal(last_class, "slab-invalid-free");
    kmem_cache_free(cache, source.start + source.size - PAGE_SIZE);
    assert_string_equal(last_class, "slab-invalid-free");
    kmem_cache_free(cache, other);
    assert_string_equal(last_class, "slab-wrong-cache");
    kfree(objects[1]);
    assert_int_equal(findings, 4);
    kmem_cache_free(cache, objects[1]);
    assert_string_equal(last_class, "slab-double-free");
    assert_false(dk_cache_handle(cache, objects[1], &handle));
    for (i = 2; i < 70; i++)
        kmem_cache_free(cache, objects[i]);
    kmem_cache_free(cache, objects[0]);
    /* One slab stays, and serves the next. */
    assert_int_equal(source.live, 1);
    calls = source.calls;
    for (i = 0; i < 10; i++)
        kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
    assert_int_equal(source.calls, calls);
    assert_int_equal(kmem_cache_shrink(cache), 0);
    assert_int_equal(source.live, 0);
    kmem_cache_free(cache, kmem_cache_alloc(cache, GFP_KERNEL));
    kmem_cache_destroy(cache);
    kmem_cache_destroy(plain);
    kfree(other);
    close_source(&source);
    unmake(memory, PAGES);
}

/* Pages that become free in atomic context wait. */
static void test_atomic_frees(void **state)
{
    struct dk_memory *memory = make_seeded(0);
    struct source source;
    struct kmem_cache *cache;
    void *objects[4];
    unsigned i;

    (void)state;
    open_source(&source, 64 * PAGE_SIZE);
    cache = cache_on(&source, 30000, 0, 0);
    for (i = 0; i < 4; i++)
        objects[i] = kmem_cache_alloc(cache, GFP_KERNEL);
    assert_int_equal(source.live, 4);
    dk_context()->atomic_depth++;
    for (i = 0; i < 3; i++)
        kmem_cache_free(cache, objects[i]);
    dk_context()->atomic_depth--;
    assert_int_equal(source.live, 4);
    objects[0] = kmem_cache_alloc(cache, GFP_KERNEL);
    assert_int_equal(source.live, 4);
    kmem_cache_free(cache, objects[0]);
    assert_int_equal(source.live, 2);
    kmem_cache_free(cache, objects[3]);
    assert_int_equal(source.live, 1);
    kmem_cache_destroy(cache);
    assert_int_equal(findings, 0);
    close_source(&source);
    unmake(memory, PAGES);
}

static void test_poor_sources(void **state)
{
    const struct dk_page_source none = { 0 }, half = { .take = source_take };
    struct dk_memory *memory = make_seeded(0);
    struct kmem_cache *cache;
    struct source source;
    void *object;

    (void)state;
    assert_null(dk_cache_create_from("none", 8, 0, 0, NULL, NULL));
    assert_null(dk_cache_create_from("none", 8, 0, 0, NULL, &none));
    assert_null(dk_cache_create_from("half", 8, 0, 0, NULL, &half));
    open_source(&source, 4 * PAGE_SIZE);
    /* It would take eight pages at once, and makes do with one. */
    cache = cache_on(&source, 4000, 0, 0);
    object = kmem_cache_alloc(cache, GFP_KERNEL);
    assert_non_null(object);
    assert_int_equal(source.calls, 2);
    kmem_cache_free(cache, object);
    kmem_cache_destroy(cache);
    cache = cache_on(&source, 5 * PAGE_SIZE, 0, 0);
    assert_null(kmem_cache_alloc(cache, GFP_KERNEL));
    kmem_cache_destroy(cache);
    source.crooked = true;
    cache = cache_on(&source, 100, 0, 0);
    log_lines = 0;
    assert_null(kmem_cache_alloc(cache, GFP_KERNEL));
    assert_true(logged("not aligned"));
    kmem_cache_destroy(cache);
    close_source(&source);
    unmake(memory, PAGES);
}

/* ---- Beside a model ---- */

#define OBJECTS 600
#define SOURCE_PAGES 256

struct model {
    struct source source;
    unsigned char grains[SOURCE_PAGES * PAGE_SIZE / 8]; /* whether an object is there */
    struct kmem_cache *caches[4];
    size_t sizes[4];
    struct {
        unsigned char *start;
        unsigned cache, tag;
    } objects[OBJECTS];
    unsigned count;
    u64 random;
};

static u64 draw(struct model *model, u64 below)
{
    model->random ^= model->random << 13;
    model->random ^= model->random >> 7;
    model->random ^= model->random << 17;
    return model->random % below;
}

static void mark(struct model *model, unsigned which, unsigned char from)
{
    size_t size = model->sizes[model->objects[which].cache], i;
    size_t first = (size_t)((char *)model->objects[which].start - model->source.start) / 8;

    for (i = 0; i < (size + 7) / 8; i++) {
        if (model->grains[first + i] != from)
            fail_msg("object at grain %zu overlaps another", first);
        model->grains[first + i] = !from;
    }
}

static void add(struct model *model)
{
    unsigned cache = (unsigned)draw(model, 4), which = model->count;
    unsigned char *start = which < OBJECTS ? kmem_cache_alloc(model->caches[cache], GFP_KERNEL) : NULL;
    u64 handle;

    if (!start)
        return;
    model->objects[which].start = start;
    model->objects[which].cache = cache;
    model->objects[which].tag = 1 + (unsigned)draw(model, 200);
    model->count++;
    mark(model, which, 0);
    assert_true(dk_cache_handle(model->caches[cache], start, &handle));
    assert_int_equal(handle - HANDLE, (char *)start - model->source.start);
    memset(start, (int)model->objects[which].tag, model->sizes[cache]);
}

static void take_away(struct model *model)
{
    unsigned which = (unsigned)draw(model, model->count), before = findings;
    unsigned cache = model->objects[which].cache;
    unsigned char *start = model->objects[which].start;
    size_t size = model->sizes[cache];

    assert_int_equal(start[0], model->objects[which].tag);
    assert_int_equal(start[size - 1], model->objects[which].tag);
    switch (draw(model, 40)) {
    case 0:
        kmem_cache_free(model->caches[(cache + 1) % 4], start);
        assert_int_equal(findings, before + 1);
        return;
    case 1:
        kmem_cache_free(model->caches[cache], start + 1 + draw(model, size - 1));
        assert_int_equal(findings, before + 1);
        return;
    case 2:
        kmem_cache_shrink(model->caches[cache]);
        break;
    }
    mark(model, which, 1);
    model->objects[which] = model->objects[--model->count];
    kmem_cache_free(model->caches[cache], start);
    assert_int_equal(findings, before);
    if (!draw(model, 64)) {
        kmem_cache_free(model->caches[cache], start);
        assert_int_equal(findings, before + 1);
    }
}

static void run_model(u64 seed, u64 fragmentation)
{
    static const unsigned sizes[4] = { 24, 100, 1000, 5000 };
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 20000 : 500000, i, bias = 1;
    struct model *model = calloc(1, sizeof(*model));
    struct dk_memory *memory = make_seeded(fragmentation);

    print_message("seed 0x%llx\n", seed);
    assert_non_null(model);
    open_source(&model->source, SOURCE_PAGES * PAGE_SIZE);
    model->random = seed;
    for (i = 0; i < 4; i++) {
        model->sizes[i] = sizes[i];
        model->caches[i] = cache_on(&model->source, sizes[i], 0,
                                    i == 1   ? SLAB_RED_ZONE | SLAB_POISON
                                    : i == 2 ? SLAB_HWCACHE_ALIGN
                                             : 0);
    }
    for (i = 0; i < operations; i++) {
        if (i % 2000 == 0)
            bias = 1 + (unsigned)draw(model, 3);
        if (model->count && draw(model, 4) < bias)
            take_away(model);
        else
            add(model);
    }
    while (model->count)
        take_away(model);
    findings = 0;
    for (i = 0; i < 4; i++)
        kmem_cache_destroy(model->caches[i]);
    assert_int_equal(findings, 0);
    close_source(&model->source);
    free(model);
    unmake(memory, PAGES);
}

static void test_model(void **state)
{
    const char *text = getenv("DMAKIT_TEST_SEED");
    u64 seed = text ? strtoull(text, NULL, 0) : 0x50a4ceull;

    (void)state;
    run_model(seed, 0);
    run_model(seed + 1, 7);
}

/* ---- Threads ---- */

static void *churn(void *data)
{
    struct kmem_cache *cache = data;
    unsigned char *objects[30] = { 0 };
    unsigned word = (unsigned)(uintptr_t)&objects, i;

    for (i = 0; i < 20000; i++) {
        unsigned which;

        word = word * 1103515245 + 12345;
        which = (word >> 8) % 30;
        if (objects[which]) {
            if (*objects[which] != which)
                return cache;
            kmem_cache_free(cache, objects[which]);
            objects[which] = NULL;
        } else {
            objects[which] = kmem_cache_alloc(cache, GFP_KERNEL);
            if (objects[which])
                *objects[which] = (unsigned char)which;
        }
        if (i % 1000 == 0)
            kmem_cache_shrink(cache);
    }
    for (i = 0; i < 30; i++)
        kmem_cache_free(cache, objects[i]);
    return NULL;
}

static void test_threads(void **state)
{
    struct dk_memory *memory = make_seeded(0);
    struct source source;
    struct kmem_cache *cache;
    pthread_t threads[4];
    unsigned i;

    (void)state;
    open_source(&source, 64 * PAGE_SIZE);
    cache = cache_on(&source, 1500, 0, SLAB_RED_ZONE | SLAB_POISON);
    for (i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, churn, cache), 0);
    for (i = 0; i < 4; i++) {
        void *wrong;

        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    kmem_cache_destroy(cache);
    assert_int_equal(findings, 0);
    close_source(&source);
    unmake(memory, PAGES);
}

/* ---- Scarcity ---- */

static void test_each_failure(void **state)
{
    unsigned long n;

    (void)state;
    for (n = 1; n < 1000; n++) {
        struct dk_memory *memory = make_seeded(0);
        struct kmem_cache *cache;
        struct source source;
        void *objects[40];
        int got = 0;

        open_source(&source, 64 * PAGE_SIZE);
        dk_fail_nth(n);
        cache = cache_on(&source, 1000, 0, SLAB_POISON);
        if (cache) {
            got = kmem_cache_alloc_bulk(cache, GFP_KERNEL | __GFP_NOWARN, 40, objects);
            assert_true(got == 0 || got == 40);
            kmem_cache_free_bulk(cache, (size_t)got, objects);
            kmem_cache_destroy(cache);
        }
        assert_int_equal(findings, 0);
        close_source(&source);
        if (!dk_fail_hits()) {
            assert_int_equal(got, 40);
            assert_true(n > 8);
            unmake(memory, PAGES);
            break;
        }
        dk_fail_nth(0);
        unmake(memory, PAGES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),         cmocka_unit_test(test_atomic_frees),
        cmocka_unit_test(test_poor_sources), cmocka_unit_test(test_model),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_each_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
