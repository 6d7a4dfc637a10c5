/* SPDX-License-Identifier: MIT */
/*
 * Everything at once, from many threads: pages of all sorts, an owner of movable pages, ranges, a cache that
 * is shrunk, watermarks. No page has two users, contents stay, and at the end nothing is missing.
 */
#include "fixture.h"

#include "mm/private.h"

#include <dmakit/memory-info.h>
#include <dmakit/migrate.h>
#include <dmakit/shrinker.h>
#include <stdlib.h>

#define BLOCK DK_BLOCK_PAGES
#define PAGES (8 * BLOCK)
#define THREADS 4
#define HELD 200
#define OWNED 300

static const struct dk_memory_range range = { 0, PAGES *PAGE_SIZE };

static struct dk_memory *memory;
static unsigned char used[PAGES]; /* somebody has the page; atomic access */
static u64 seed;
static unsigned long rounds;

struct worker {
    u64 word, ranges, reclaimed;
    struct page *held[HELD];
};

static u64 draw(u64 *word, u64 below)
{
    *word ^= *word << 13;
    *word ^= *word >> 7;
    *word ^= *word << 17;
    return (*word >> 11) % below;
}

static void mark(u64 pfn, u64 count, unsigned char to)
{
    for (u64 i = 0; i < count; i++) {
        if (__atomic_exchange_n(&used[pfn + i], to, __ATOMIC_RELAXED) == to) {
            print_message("page 0x%llx is %s\n", pfn + i, to ? "used already" : "free already");
            abort();
        }
    }
}

/* ---- The owner: each page holds its number ---- */

static struct {
    pthread_mutex_t lock;
    struct page *pages[OWNED];
    bool away[OWNED]; /* isolated */
    unsigned moved;
} owner = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool isolate_page(struct page *page, isolate_mode_t mode)
{
    unsigned long number = page_private(page);
    bool good;

    (void)mode;
    pthread_mutex_lock(&owner.lock);
    good = number < OWNED && owner.pages[number] == page && !owner.away[number];
    if (good)
        owner.away[number] = true;
    pthread_mutex_unlock(&owner.lock);
    return good;
}

static int migrate_page(struct page *new_page, struct page *old_page, enum migrate_mode mode)
{
    unsigned long number = page_private(old_page);

    (void)mode;
    if (number % 7 == 3)
        return -EBUSY;
    memcpy(page_address(new_page), page_address(old_page), PAGE_SIZE);
    set_page_private(new_page, number);
    get_page(new_page);
    __SetPageMovable(new_page, old_page->movable);
    __ClearPageMovable(old_page);
    mark(page_to_pfn(new_page), 1, 1);
    mark(page_to_pfn(old_page), 1, 0);
    pthread_mutex_lock(&owner.lock);
    owner.pages[number] = new_page;
    owner.away[number] = false;
    owner.moved++;
    pthread_mutex_unlock(&owner.lock);
    put_page(old_page);
    return MIGRATEPAGE_SUCCESS;
}

static void putback_page(struct page *page)
{
    pthread_mutex_lock(&owner.lock);
    owner.away[page_private(page)] = false;
    pthread_mutex_unlock(&owner.lock);
}

static const struct movable_operations operations = { isolate_page, migrate_page, putback_page };

/* Gives up a page, or takes one. */
static void change_owned(u64 number)
{
    struct page *page;

    pthread_mutex_lock(&owner.lock);
    page = owner.pages[number];
    if (page && !owner.away[number] && *(unsigned *)page_address(page) == number) {
        owner.pages[number] = NULL;
    } else {
        pthread_mutex_unlock(&owner.lock);
        return;
    }
    pthread_mutex_unlock(&owner.lock);
    lock_page(page);
    __ClearPageMovable(page);
    unlock_page(page);
    mark(page_to_pfn(page), 1, 0);
    put_page(page);
}

static void own(u64 number)
{
    struct page *page = dk_pages_allocate(memory, GFP_USER | __GFP_MOVABLE | __GFP_NOWARN, 0);

    if (!page)
        return;
    mark(page_to_pfn(page), 1, 1);
    *(unsigned *)page_address(page) = (unsigned)number;
    set_page_private(page, number);
    lock_page(page);
    __SetPageMovable(page, &operations);
    unlock_page(page);
    pthread_mutex_lock(&owner.lock);
    if (!owner.pages[number]) {
        owner.pages[number] = page;
        page = NULL;
    }
    pthread_mutex_unlock(&owner.lock);
    if (page) {
        lock_page(page);
        __ClearPageMovable(page);
        unlock_page(page);
        mark(page_to_pfn(page), 1, 0);
        put_page(page);
    }
}

/* ---- The cache ---- */

static struct {
    pthread_mutex_t lock;
    struct list_head pages;
    unsigned long count, freed;
} cache = { .lock = PTHREAD_MUTEX_INITIALIZER };

static unsigned long count(struct shrinker *shrinker, struct shrink_control *control)
{
    (void)shrinker;
    (void)control;
    return __atomic_load_n(&cache.count, __ATOMIC_RELAXED);
}

static bool shrink_one(void)
{
    struct page *page = NULL;

    pthread_mutex_lock(&cache.lock);
    if (!list_empty(&cache.pages)) {
        page = list_first_entry(&cache.pages, struct page, lru);
        list_del(&page->lru);
        __atomic_fetch_sub(&cache.count, 1, __ATOMIC_RELAXED);
        cache.freed++;
    }
    pthread_mutex_unlock(&cache.lock);
    if (!page)
        return false;
    mark(page_to_pfn(page), 1, 0);
    __free_page(page);
    return true;
}

static unsigned long scan(struct shrinker *shrinker, struct shrink_control *control)
{
    unsigned long freed = 0;

    (void)shrinker;
    while (freed < control->nr_to_scan && shrink_one())
        freed++;
    return freed ? freed : SHRINK_STOP;
}

static void cache_one(void)
{
    struct page *page = dk_pages_allocate(memory, GFP_NOWAIT | __GFP_NOWARN, 0);

    if (!page)
        return;
    mark(page_to_pfn(page), 1, 1);
    pthread_mutex_lock(&cache.lock);
    list_add(&page->lru, &cache.pages);
    __atomic_fetch_add(&cache.count, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&cache.lock);
}

/* ---- Threads ---- */

static void change_held(struct worker *worker)
{
    static const gfp_t kinds[] = { GFP_KERNEL,
                                   GFP_ATOMIC,
                                   GFP_NOWAIT,
                                   GFP_NOFS | __GFP_COMP,
                                   GFP_USER | __GFP_MOVABLE,
                                   GFP_KERNEL | __GFP_NORETRY | __GFP_ZERO };
    struct page **held = &worker->held[draw(&worker->word, HELD)];
    u64 order = draw(&worker->word, 10);

    if (*held) {
        mark(page_to_pfn(*held), (*held)->run, 0);
        __free_pages(*held, (*held)->order);
        *held = NULL;
        return;
    }
    *held = dk_pages_allocate(memory, kinds[draw(&worker->word, 6)] | __GFP_NOWARN,
                              (unsigned)(order < 6 ? order % 3 : order - 3));
    if (*held)
        mark(page_to_pfn(*held), (*held)->run, 1);
}

static void take_range(struct worker *worker)
{
    u64 start = draw(&worker->word, PAGES),
        length = draw(&worker->word, draw(&worker->word, 4) ? 20 : 300) + 1;

    if (start + length > PAGES ||
        alloc_contig_range(start, start + length, MIGRATE_MOVABLE, GFP_KERNEL | __GFP_NOWARN))
        return;
    mark(start, length, 1);
    worker->ranges++;
    mark(start, length, 0);
    free_contig_range(start, length);
}

static void *work(void *data)
{
    struct worker *worker = data;
    char text[4096];
    unsigned i;

    for (unsigned long round = 0; round < rounds; round++) {
        u64 what = draw(&worker->word, 1000);

        if (what < 700)
            change_held(worker);
        else if (what < 800)
            own(draw(&worker->word, OWNED));
        else if (what < 850)
            change_owned(draw(&worker->word, OWNED));
        else if (what < 900)
            cache_one();
        else if (what < 999)
            take_range(worker);
        else
            (void)dk_memory_info((enum dk_memory_info)draw(&worker->word, 4), text, sizeof(text));
    }
    for (i = 0; i < HELD; i++) {
        if (!worker->held[i])
            continue;
        mark(page_to_pfn(worker->held[i]), worker->held[i]->run, 0);
        __free_pages(worker->held[i], worker->held[i]->order);
    }
    return NULL;
}

static void test_storm(void **state)
{
    const char *text = getenv("DMAKIT_TEST_SEED");
    static struct worker workers[THREADS];
    struct dk_memory_config config = small_config(&range);
    struct shrinker *shrinker;
    pthread_t threads[THREADS];
    u64 ranges = 0;
    unsigned i;

    (void)state;
    seed = text ? strtoull(text, NULL, 0) : 0xd5a57023ull;
    rounds = getenv("DMAKIT_TEST_FAST") ? 20000 : 300000;
    print_message("seed 0x%llx\n", seed);
    config.reserve = 200;
    memory = make(&config);
    INIT_LIST_HEAD(&cache.pages);
    shrinker = shrinker_alloc(0, "storm");
    shrinker->count_objects = count;
    shrinker->scan_objects = scan;
    shrinker_register(shrinker);
    for (i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){ .word = seed * 31 + i + 1 };
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        ranges += workers[i].ranges;
    }
    print_message("%llu ranges, %u pages moved, %lu shrunk\n", ranges, owner.moved, cache.freed);
    assert_true(ranges > 0 && owner.moved > 0 && cache.freed > 0);
    for (i = 0; i < OWNED; i++) {
        assert_false(owner.away[i]);
        change_owned(i);
        assert_null(owner.pages[i]);
    }
    while (shrink_one())
        ;
    shrinker_free(shrinker);
    assert_int_equal(log_lines, 0);
    unmake(memory, PAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_storm) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
