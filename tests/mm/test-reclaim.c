/* SPDX-License-Identifier: MIT */
/* Short memory: who is asked for it, in what order and how often, who may wait for it, and who never does. */
#include "fixture.h"

#include "base/context.h"
#include "base/hooks.h"
#include "mm/private.h"

#include <dmakit/fail.h>
#include <dmakit/shrinker.h>

#define PAGES ((u64)4096)
#define CACHED 1000

static const struct dk_memory_range range = { 0, PAGES *PAGE_SIZE };

/* A cache of pages that can be shrunk. */
struct cache {
    struct shrinker *shrinker;
    struct list_head pages;
    unsigned held;
    unsigned counted, scanned; /* calls */
    unsigned long asked;       /* objects */
    gfp_t gfp;                 /* of the last call */
    bool needs_fs, stops, allocates;
    unsigned long most; /* that a call was asked for */
};

static unsigned findings;
static char finding_what[256];

static void note_finding(void *data, const struct dk_finding *finding)
{
    (void)data;
    findings++;
    strncpy(finding_what, finding->what, sizeof(finding_what) - 1);
}

static const struct dk_hooks hooks = { .finding = note_finding };

/* The cache that a pass began with, where this was NULL before. */
static struct cache *called_first;

static struct dk_memory *make_short(u64 reserve)
{
    struct dk_memory_config config = small_config(&range);

    findings = 0;
    config.reserve = reserve;
    config.hooks = &hooks;
    return make(&config);
}

static unsigned long count(struct shrinker *shrinker, struct shrink_control *control)
{
    struct cache *cache = shrinker->private_data;

    if (!called_first)
        called_first = cache;
    cache->counted++;
    cache->gfp = control->gfp_mask;
    return cache->held ? cache->held : SHRINK_EMPTY;
}

static unsigned long scan(struct shrinker *shrinker, struct shrink_control *control)
{
    struct cache *cache = shrinker->private_data;
    unsigned long freed = 0;

    cache->scanned++;
    cache->asked += control->nr_to_scan;
    if (control->nr_to_scan > cache->most)
        cache->most = control->nr_to_scan;
    if (cache->stops || (cache->needs_fs && !(control->gfp_mask & __GFP_FS)))
        return SHRINK_STOP;
    if (cache->allocates) {
        struct page *page = alloc_page(GFP_KERNEL | __GFP_NOWARN);

        if (page)
            __free_page(page);
    }
    while (freed < control->nr_to_scan && !list_empty(&cache->pages)) {
        struct page *page = list_first_entry(&cache->pages, struct page, lru);

        list_del(&page->lru);
        __free_page(page);
        cache->held--;
        freed++;
    }
    return freed;
}

static void fill(struct cache *cache, struct dk_memory *memory, unsigned pages)
{
    *cache = (struct cache){ .held = pages };
    INIT_LIST_HEAD(&cache->pages);
    while (pages--)
        list_add(&dk_pages_allocate(memory, GFP_NOWAIT, 0)->lru, &cache->pages);
    cache->shrinker = shrinker_alloc(0, "test-%u", 1u);
    assert_non_null(cache->shrinker);
    cache->shrinker->count_objects = count;
    cache->shrinker->scan_objects = scan;
    cache->shrinker->private_data = cache;
    shrinker_register(cache->shrinker);
}

static void empty(struct cache *cache)
{
    struct shrink_control control = { .nr_to_scan = ~0ul, .gfp_mask = GFP_KERNEL };

    cache->stops = cache->allocates = false;
    scan(cache->shrinker, &control);
    shrinker_free(cache->shrinker);
}

/* Takes pages with @gfp until there are none; how many were left free. */
static u64 take_all(struct dk_memory *memory, gfp_t gfp, struct list_head *taken)
{
    struct page *page;

    while ((page = dk_pages_allocate(memory, gfp | __GFP_NOWARN, 0)))
        list_add(&page->lru, taken);
    return dk_memory_free_pages(memory);
}

static void give_all(struct list_head *taken)
{
    struct page *page, *next;

    list_for_each_entry_safe (page, next, taken, lru) {
        list_del(&page->lru);
        __free_page(page);
    }
}

/* Below the low watermark the shrinkers are called, before anything fails; who may not sleep calls none. */
static void test_shrinking(void **state)
{
    struct dk_memory *memory = make_short(100);
    const struct dk_zone *zone = &memory->zones[DK_ZONE_NORMAL];
    struct page *page;
    struct cache cache;
    LIST_HEAD(taken);

    (void)state;
    fill(&cache, memory, CACHED);
    while (dk_memory_free_pages(memory) > zone->marks[DK_MARK_LOW]) {
        page = dk_pages_allocate(memory, GFP_KERNEL, 0);
        list_add(&page->lru, &taken);
    }
    assert_int_equal(cache.counted, 0);
    list_add(&dk_pages_allocate(memory, GFP_NOWAIT, 0)->lru, &taken);
    list_add(&dk_pages_allocate(memory, GFP_ATOMIC, 0)->lru, &taken);
    assert_int_equal(cache.counted, 0);
    list_add(&dk_pages_allocate(memory, GFP_NOFS, 0)->lru, &taken);
    assert_int_equal(cache.counted, 1);
    assert_int_equal(cache.gfp, GFP_NOFS);
    /* An eighth. */
    assert_int_equal(cache.held, CACHED - CACHED / 8);
    assert_int_equal(cache.asked, CACHED / 8);

    /* In the end all of it is used, down to the mark, and no further. */
    assert_int_equal(take_all(memory, GFP_KERNEL, &taken), 100);
    assert_int_equal(cache.held, 0);
    assert_true(cache.most <= 128);
    assert_int_equal(take_all(memory, GFP_ATOMIC, &taken), 0);
    empty(&cache);
    give_all(&taken);
    assert_true(silent());
    unmake(memory, PAGES);
}

/* A zone below its low mark is left alone while a lower one has more; then they are emptied down to min. */
static void test_order_of_zones(void **state)
{
    static const gfp_t kinds[] = { GFP_KERNEL, GFP_NOWAIT, GFP_ATOMIC };
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++) {
        struct dk_memory *memory = make(&(struct dk_memory_config){ .ranges = &range,
                                                                    .range_count = 1,
                                                                    .line = 64,
                                                                    .zone_dma32_end = PAGES / 2 * PAGE_SIZE,
                                                                    .reserve = 400 });
        const struct dk_zone *low = &memory->zones[DK_ZONE_DMA32], *high = &memory->zones[DK_ZONE_NORMAL];
        u64 least = kinds[i] == GFP_ATOMIC ? 0 : 200;
        LIST_HEAD(taken);
        struct page *page;

        assert_int_equal(high->marks[DK_MARK_MIN], 200);
        assert_int_equal(high->marks[DK_MARK_LOW], 250);
        do {
            page = dk_pages_allocate(memory, kinds[i], 0);
            list_add(&page->lru, &taken);
        } while (page_to_pfn(page) >= PAGES / 2);
        assert_int_equal(high->free, 250);
        take_all(memory, kinds[i], &taken);
        assert_int_equal(high->free, least);
        assert_int_equal(low->free, least + PAGES / 2 / 256);
        give_all(&taken);
        unmake(memory, PAGES);
    }
}

/* Where little is reserved of much, a thousandth of the zone lies between its marks. */
static void test_marks_of_a_large_zone(void **state)
{
    const struct dk_memory_range large = { 0, 40 * MIB };
    struct dk_memory_config config = small_config(&large);
    struct dk_memory *memory;
    const struct dk_zone *zone;

    (void)state;
    config.reserve = 36;
    memory = make(&config);
    zone = &memory->zones[DK_ZONE_NORMAL];
    assert_int_equal(zone->present, 10240);
    assert_int_equal(zone->marks[DK_MARK_MIN], 36);
    assert_int_equal(zone->marks[DK_MARK_LOW], 46);
    assert_int_equal(zone->marks[DK_MARK_HIGH], 56);
    unmake(memory, 10240);
}

/* Without watermarks too: when there is none. */
static void test_without_watermarks(void **state)
{
    struct dk_memory *memory = make_short(0);
    struct cache cache;
    LIST_HEAD(taken);

    (void)state;
    fill(&cache, memory, CACHED);
    assert_int_equal(take_all(memory, GFP_NOWAIT, &taken), 0);
    assert_int_equal(cache.counted, 0);
    assert_int_equal(take_all(memory, GFP_KERNEL, &taken), 0);
    assert_int_equal(cache.held, 0);
    assert_null(dk_pages_allocate(memory, GFP_KERNEL, 0));
    assert_true(logged("tried: shrinkers 1 times, 0 objects freed, out-of-memory notifiers"));
    assert_null(dk_pages_allocate(memory, GFP_NOWAIT, 0));
    assert_true(log_lines == 1 && !strstr(last_line, "tried"));
    log_lines = 0;
    empty(&cache);
    give_all(&taken);
    unmake(memory, PAGES);
}

/* A callback that refuses, one that allocates (which calls nobody again, and may have the last page), one
 * that needs what the caller may not do. */
static void test_awkward_shrinkers(void **state)
{
    struct dk_memory *memory = make_short(10);
    struct cache cache;
    LIST_HEAD(taken);
    unsigned before;

    (void)state;
    fill(&cache, memory, CACHED);
    take_all(memory, GFP_NOWAIT, &taken);
    cache.stops = true;
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0));
    assert_int_equal(cache.held, CACHED);
    /* Twice, by the low mark and by failing, with growing pressure. */
    assert_true(cache.scanned <= 8);
    cache.stops = false;
    cache.needs_fs = true;
    assert_null(dk_pages_allocate(memory, GFP_NOFS | __GFP_NOWARN, 0));
    assert_int_equal(cache.held, CACHED);
    cache.allocates = true;
    before = cache.scanned;
    list_add(&dk_pages_allocate(memory, GFP_KERNEL, 0)->lru, &taken);
    assert_int_equal(cache.scanned, before + 1);
    assert_false(dk_context()->reclaiming);
    empty(&cache);
    give_all(&taken);
    unmake(memory, PAGES);
}

/* Each of several is asked, and each begins in turn. */
static void test_fairness(void **state)
{
    struct dk_memory *memory = make_short(0);
    unsigned firsts[3] = { 0 };
    struct cache caches[3];
    LIST_HEAD(taken);
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++)
        fill(&caches[i], memory, 300);
    take_all(memory, GFP_NOWAIT, &taken);
    list_add(&dk_pages_allocate(memory, GFP_KERNEL, 0)->lru, &taken);
    for (i = 0; i < 3; i++)
        assert_int_equal(caches[i].held, 300 - 300 / 8);
    caches[1].shrinker->seeks = 4;
    caches[2].shrinker->batch = 10;
    take_all(memory, GFP_NOWAIT, &taken);
    list_add(&dk_pages_allocate(memory, GFP_KERNEL, 0)->lru, &taken);
    assert_int_equal(caches[0].held, 263 - 263 / 8);
    assert_int_equal(caches[1].held, 263 - 263 / 16);
    assert_int_equal(caches[2].scanned, 1 + 4);
    for (i = 0; i < 6; i++) {
        take_all(memory, GFP_NOWAIT, &taken);
        called_first = NULL;
        list_add(&dk_pages_allocate(memory, GFP_KERNEL, 0)->lru, &taken);
        firsts[called_first - caches]++;
    }
    for (i = 0; i < 3; i++)
        assert_int_equal(firsts[i], 2);
    for (i = 0; i < 3; i++)
        empty(&caches[i]);
    give_all(&taken);
    unmake(memory, PAGES);
}

static unsigned long always_one(struct shrinker *shrinker, struct shrink_control *control)
{
    struct cache *cache = shrinker->private_data;

    (void)control;
    cache->scanned++;
    return 1;
}

/* One that says each time that it freed something, though no block comes together, is asked only so often:
 * a large block is not worth as much as a small one, unless who wants it says so. */
static void test_passes(void **state)
{
    static const struct {
        gfp_t gfp;
        unsigned order, passes;
    } cases[] = {
        { 0, 3, 16 },
        { 0, 4, 1 },
        { __GFP_RETRY_MAYFAIL, 3, 16 },
        { __GFP_RETRY_MAYFAIL, 4, 16 },
        { __GFP_NORETRY, 3, 1 },
        { __GFP_NORETRY, 4, 1 },
    };
    struct dk_memory *memory = make_short(0);
    struct cache cache;
    LIST_HEAD(taken);
    size_t i;

    (void)state;
    fill(&cache, memory, 1);
    take_all(memory, GFP_NOWAIT, &taken);
    cache.shrinker->scan_objects = always_one;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        cache.scanned = 0;
        assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN | cases[i].gfp, cases[i].order));
        if (cache.scanned != cases[i].passes)
            fail_msg("case %zu: %u passes", i, cache.scanned);
    }
    empty(&cache);
    give_all(&taken);
    unmake(memory, PAGES);
}

/* A cache of a few objects is asked for one at first, and one that is gone no more. */
static void test_small_caches(void **state)
{
    struct dk_memory *memory = make_short(0);
    struct cache caches[3];
    LIST_HEAD(taken);
    unsigned i;

    (void)state;
    fill(&caches[0], memory, 300);
    fill(&caches[1], memory, 3);
    fill(&caches[2], memory, 1);
    take_all(memory, GFP_NOWAIT, &taken);
    empty(&caches[2]);
    take_all(memory, GFP_NOWAIT, &taken);
    list_add(&dk_pages_allocate(memory, GFP_KERNEL, 0)->lru, &taken);
    assert_int_equal(caches[0].held, 300 - 300 / 8);
    assert_int_equal(caches[1].held, 2);
    for (i = 0; i < 2; i++) {
        assert_int_equal(caches[i].counted, 1);
        empty(&caches[i]);
    }
    give_all(&taken);
    unmake(memory, PAGES);
}

static unsigned order_called[4], calls;
static struct page *spare;
static struct cache *before_notifiers;

static int on_short(struct notifier_block *block, unsigned long event, void *data)
{
    assert_int_equal(event, 0);
    /* The last resort. */
    if (before_notifiers)
        assert_int_equal(before_notifiers->held, 0);
    order_called[calls++ % 4] = (unsigned)block->priority;
    if (spare && block->priority == 1) {
        __free_page(spare);
        spare = NULL;
        ++*(unsigned long *)data;
    }
    return block->priority == 1 ? NOTIFY_STOP : NOTIFY_OK;
}

static void test_notifiers(void **state)
{
    static const gfp_t without[] = { GFP_ATOMIC, GFP_NOWAIT, GFP_NOFS, GFP_KERNEL | __GFP_NORETRY,
                                     GFP_KERNEL | __GFP_RETRY_MAYFAIL };
    struct notifier_block blocks[3] = { { .notifier_call = on_short, .priority = 1 },
                                        { .notifier_call = on_short, .priority = 5 },
                                        { .notifier_call = on_short, .priority = 0 } };
    struct dk_memory *memory = make_short(0);
    struct cache cache;
    LIST_HEAD(taken);
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++)
        assert_int_equal(register_oom_notifier(&blocks[i]), 0);
    assert_int_equal(register_oom_notifier(&blocks[1]), -EEXIST);
    fill(&cache, memory, 10);
    before_notifiers = &cache;
    spare = dk_pages_allocate(memory, GFP_KERNEL, 0);
    take_all(memory, GFP_NOWAIT, &taken);
    for (i = 0; i < 10; i++)
        list_add(&dk_pages_allocate(memory, GFP_KERNEL, 0)->lru, &taken);
    assert_int_equal(calls, 0);
    for (i = 0; i < 5; i++)
        assert_null(dk_pages_allocate(memory, without[i] | __GFP_NOWARN, 0));
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 4));
    assert_int_equal(calls, 0);
    list_add(&dk_pages_allocate(memory, GFP_KERNEL, 0)->lru, &taken);
    assert_null(spare);
    assert_int_equal(calls, 2);
    assert_int_equal(order_called[0], 5);
    assert_int_equal(order_called[1], 1);
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 3));
    assert_int_equal(calls, 4);
    for (i = 0; i < 3; i++)
        assert_int_equal(unregister_oom_notifier(&blocks[i]), 0);
    assert_int_equal(unregister_oom_notifier(&blocks[0]), -ENOENT);
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0));
    assert_int_equal(calls, 4);
    before_notifiers = NULL;
    empty(&cache);
    give_all(&taken);
    unmake(memory, PAGES);
}

static struct notifier_block *told[3];
static unsigned told_count;

static int note_told(struct notifier_block *block, unsigned long event, void *data)
{
    (void)event;
    (void)data;
    assert_in_range(told_count, 0, 2);
    told[told_count++] = block;
    return NOTIFY_OK;
}

/* Of equal priority those that came first are told first. */
static void test_notifiers_of_equal_priority(void **state)
{
    struct notifier_block blocks[3] = { { .notifier_call = note_told, .priority = 2 },
                                        { .notifier_call = note_told, .priority = 2 },
                                        { .notifier_call = note_told, .priority = 2 } };
    struct dk_memory *memory = make_short(0);
    LIST_HEAD(taken);
    unsigned i;

    (void)state;
    for (i = 0; i < 3; i++)
        assert_int_equal(register_oom_notifier(&blocks[i]), 0);
    take_all(memory, GFP_NOWAIT, &taken);
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0));
    assert_int_equal(told_count, 3);
    for (i = 0; i < 3; i++) {
        assert_ptr_equal(told[i], &blocks[i]);
        assert_int_equal(unregister_oom_notifier(&blocks[i]), 0);
    }
    give_all(&taken);
    unmake(memory, PAGES);
}

static void test_misuse(void **state)
{
    struct dk_memory *memory = make_short(0);
    struct notifier_block block = { .notifier_call = on_short };
    struct shrinker old = { .count_objects = count }, *shrinker;

    (void)state;
    assert_int_equal(register_shrinker(&old), -EINVAL);
    assert_true(logged("needs count_objects and scan_objects"));
    old.scan_objects = scan;
    assert_int_equal(register_shrinker(&old, "with a %s", "name"), 0);
    assert_int_equal(old.seeks, DEFAULT_SEEKS);
    assert_int_equal(register_shrinker(&old), -EBUSY);
    assert_true(logged("registered already"));
    unregister_shrinker(&old);
    assert_true(silent());
    unregister_shrinker(&old);
    assert_true(logged("not registered"));
    shrinker_free(&old);
    assert_true(logged("does not come from shrinker_alloc"));
    shrinker_free(NULL);
    shrinker = shrinker_alloc(SHRINKER_NUMA_AWARE, "left");
    shrinker_register(shrinker);
    assert_true(logged("needs count_objects"));
    shrinker->count_objects = count;
    shrinker->scan_objects = scan;
    shrinker_register(shrinker);
    unmake(memory, PAGES);
    assert_true(logged("the shrinker left is still registered"));
    shrinker_free(shrinker);
    dk_log_set_sink(count_line, NULL);
    log_lines = 0;
    assert_null(shrinker_alloc(0, "nowhere"));
    assert_int_equal(register_shrinker(&old), -ENODEV);
    assert_int_equal(register_oom_notifier(&block), -ENODEV);
    assert_int_equal(unregister_oom_notifier(&block), -ENODEV);
    dk_log_set_sink(NULL, NULL);
}

/* Without memory for one there is no shrinker; a list of pages that cannot be made does not hinder. */
static void test_scarcity(void **state)
{
    struct dk_memory *memory = make_short(10);
    unsigned long n, hits = 1;

    (void)state;
    for (n = 1; hits; n++) {
        struct shrinker *shrinker;

        dk_fail_nth(n);
        shrinker = shrinker_alloc(0, "scarce");
        hits = dk_fail_hits();
        dk_fail_nth(0);
        assert_true(hits ? !shrinker : shrinker != NULL);
        shrinker_free(shrinker);
    }
    assert_int_equal(n, 4);
    /* What must not fail is not made to. */
    dk_fail_nth(1);
    __free_page(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOFAIL, 0));
    dk_fail_nth(1);
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0));
    dk_fail_nth(0);
    assert_true(silent());
    unmake(memory, PAGES);
}

/* ---- Threads ---- */

static sem_t inside, leave, done;

static unsigned long count_one(struct shrinker *shrinker, struct shrink_control *control)
{
    (void)shrinker;
    (void)control;
    return 1;
}

/* Sits inside reclaim until told. */
static unsigned long sit(struct shrinker *shrinker, struct shrink_control *control)
{
    (void)shrinker;
    (void)control;
    sem_post(&inside);
    wait_for(&leave);
    return SHRINK_STOP;
}

static void *reclaim_for_long(void *memory)
{
    (void)dk_pages_allocate(memory, GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN, 0);
    return NULL;
}

static void *take_atomically(void *memory)
{
    unsigned i;

    dk_context()->atomic_depth++;
    for (i = 0; i < 1000; i++) {
        struct page *page = dk_pages_allocate(memory, GFP_ATOMIC | __GFP_NOWARN, i % 5);

        if (page)
            __free_pages(page, i % 5);
        page = dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, i % 5);
        if (page)
            __free_pages(page, i % 5);
    }
    dk_context()->atomic_depth--;
    sem_post(&done);
    return NULL;
}

/* While one thread is stuck in a shrinker, others that must not wait for it do not: with memory and without.
 */
static void test_atomic_requests_never_wait(void **state)
{
    struct shrinker sitter = { .count_objects = count_one, .scan_objects = sit };
    struct dk_memory *memory = make_short(50);
    pthread_t reclaiming, atomic;
    LIST_HEAD(taken);
    unsigned round;
    bool good = true;

    (void)state;
    sem_init(&inside, 0, 0);
    sem_init(&leave, 0, 0);
    sem_init(&done, 0, 0);
    assert_int_equal(register_shrinker(&sitter), 0);
    for (round = 0; round < 2; round++) {
        take_all(memory, round ? GFP_ATOMIC : GFP_NOWAIT, &taken);
        assert_int_equal(pthread_create(&reclaiming, NULL, reclaim_for_long, memory), 0);
        good = wait_for(&inside) && good;
        assert_int_equal(pthread_create(&atomic, NULL, take_atomically, memory), 0);
        good = wait_for(&done) && good;
        /* With growing pressure, and before that by the low mark: eight times. */
        for (unsigned i = 0; i < 8; i++)
            sem_post(&leave);
        pthread_join(atomic, NULL);
        pthread_join(reclaiming, NULL);
        while (!sem_trywait(&leave) || !sem_trywait(&inside))
            ;
        give_all(&taken);
    }
    assert_true(good);
    unregister_shrinker(&sitter);
    unmake(memory, PAGES);
}

/* Fills this thread's list, and asks for a page when others have taken the rest. */
static void *fill_list_and_ask(void *memory)
{
    struct page *pages[16];
    unsigned i;

    for (i = 0; i < 16; i++)
        pages[i] = dk_pages_allocate(memory, GFP_USER | __GFP_MOVABLE, 0);
    for (i = 0; i < 16; i++)
        __free_page(pages[i]);
    sem_post(&inside);
    wait_for(&leave);
    return dk_pages_allocate(memory, GFP_USER | __GFP_MOVABLE | __GFP_NOWARN, 0);
}

/* What lies in a thread's list does not get around the watermarks, and what is freed below them is counted.
 */
static void test_lists_below_the_marks(void **state)
{
    struct dk_memory *memory = make_short(100);
    const struct dk_zone *zone = &memory->zones[DK_ZONE_NORMAL];
    struct page *page;
    pthread_t thread;
    LIST_HEAD(taken);
    void *got;

    (void)state;
    sem_init(&inside, 0, 0);
    sem_init(&leave, 0, 0);
    assert_int_equal(pthread_create(&thread, NULL, fill_list_and_ask, memory), 0);
    assert_true(wait_for(&inside));
    while (zone->free > 5)
        list_add(&dk_pages_allocate(memory, GFP_ATOMIC, 0)->lru, &taken);
    assert_in_range(dk_memory_free_pages(memory), 5 + 16, 5 + 32);
    sem_post(&leave);
    pthread_join(thread, &got);
    assert_null(got);
    take_all(memory, GFP_ATOMIC, &taken);
    page = list_first_entry(&taken, struct page, lru);
    list_del(&page->lru);
    __free_page(page);
    assert_int_equal(zone->free, 1);
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOWARN, 0));
    list_add(&dk_pages_allocate(memory, GFP_ATOMIC, 0)->lru, &taken);
    give_all(&taken);
    unmake(memory, PAGES);
}

static void *take_without_fail(void *memory)
{
    struct page *page = dk_pages_allocate(memory, GFP_KERNEL | __GFP_NOFAIL, 1);

    sem_post(&done);
    return page;
}

static void wait_until_somebody_waits(struct dk_memory *memory)
{
    unsigned waiting = 0;

    while (!waiting) {
        pthread_mutex_lock(&memory->pages_lock);
        waiting = memory->waiting;
        pthread_mutex_unlock(&memory->pages_lock);
    }
}

/* What must not fail waits until somebody frees enough. */
static void test_nofail(void **state)
{
    struct dk_memory *memory = make_short(20);
    struct page *first, *second;
    pthread_t thread;
    LIST_HEAD(taken);
    void *got;

    (void)state;
    sem_init(&done, 0, 0);
    first = dk_pages_allocate(memory, GFP_KERNEL, 1);
    take_all(memory, GFP_ATOMIC, &taken);
    assert_int_equal(pthread_create(&thread, NULL, take_without_fail, memory), 0);
    wait_until_somebody_waits(memory);
    assert_int_equal(sem_trywait(&done), -1);
    second = list_first_entry(&taken, struct page, lru);
    list_del(&second->lru);
    __free_page(second);
    wait_until_somebody_waits(memory);
    assert_int_equal(sem_trywait(&done), -1);
    __free_pages(first, 1);
    assert_true(wait_for(&done));
    pthread_join(thread, &got);
    assert_true(logged("waiting for 2 contiguous pages that must not fail"));
    assert_non_null(got);
    __free_pages(got, 1);
    give_all(&taken);

    /* What there never will be is refused; fault points do not count. */
    assert_null(dk_pages_take(memory, GFP_KERNEL | __GFP_NOFAIL, PAGES + 1, 1, 0, ~0ull));
    assert_null(dk_pages_allocate(memory, GFP_KERNEL | GFP_DMA | GFP_DMA32 | __GFP_NOFAIL, 0));
    assert_int_equal(findings, 0);
    unmake(memory, PAGES);
}

/* In atomic context the promise cannot be kept: a report, and what there is. */
static void test_nofail_in_atomic_context(void **state)
{
    struct dk_memory *memory = make_short(0);
    LIST_HEAD(taken);
    struct page *page;

    (void)state;
    page = alloc_pages(GFP_ATOMIC | __GFP_NOFAIL, 0);
    assert_non_null(page);
    __free_page(page);
    assert_int_equal(findings, 1);
    assert_non_null(strstr(finding_what, "__GFP_NOFAIL"));
    __free_page(alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0));
    assert_int_equal(findings, 1);
    take_all(memory, GFP_ATOMIC, &taken);
    assert_null(alloc_pages(GFP_ATOMIC | __GFP_NOFAIL | __GFP_NOWARN, 0));
    assert_int_equal(findings, 2);
    dk_context()->atomic_depth++;
    assert_null(alloc_pages(GFP_KERNEL | __GFP_NOFAIL | __GFP_NOWARN, 0));
    dk_context()->atomic_depth--;
    assert_int_equal(findings, 3);
    give_all(&taken);
    unmake(memory, PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shrinking),
        cmocka_unit_test(test_order_of_zones),
        cmocka_unit_test(test_lists_below_the_marks),
        cmocka_unit_test(test_marks_of_a_large_zone),
        cmocka_unit_test(test_without_watermarks),
        cmocka_unit_test(test_awkward_shrinkers),
        cmocka_unit_test(test_fairness),
        cmocka_unit_test(test_passes),
        cmocka_unit_test(test_small_caches),
        cmocka_unit_test(test_notifiers),
        cmocka_unit_test(test_notifiers_of_equal_priority),
        cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_scarcity),
        cmocka_unit_test(test_atomic_requests_never_wait),
        cmocka_unit_test(test_nofail),
        cmocka_unit_test(test_nofail_in_atomic_context),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
