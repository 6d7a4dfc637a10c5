/* SPDX-License-Identifier: MIT */
/* Movable memory: what it holds stays while it moves, also under the feet of threads; pins hold it still. */
#include "fixture.h"
#include "writers.h"

#include "mm/private.h"
#include <dmakit/fail.h>
#include <dmakit/migrate.h>
#include <dmakit/movable.h>
#include <dmakit/vmalloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES (64 * MIB / PAGE_SIZE)

static const struct dk_memory_range range = { GIB, 64 * MIB };

static struct dk_memory *make_either(bool by_signal, bool two_views, u64 seed)
{
    struct dk_memory_config config = small_config(&range);

    config.stop_by_signal = by_signal;
    config.two_views = two_views;
    config.seed = seed;
    return make(&config);
}

static struct dk_movable *create(size_t size, gfp_t gfp)
{
    struct dk_movable *movable = dk_movable_create(size, gfp);

    assert_false(IS_ERR_OR_NULL(movable));
    return movable;
}

static void test_create(void **state)
{
    static const struct {
        size_t size;
        gfp_t gfp;
        u64 pages; /* 0: refused */
        long error;
    } cases[] = {
        { 0, GFP_KERNEL, 0, -EINVAL },
        { 1, GFP_KERNEL, 1, 0 },
        { PAGE_SIZE, GFP_KERNEL, 1, 0 },
        { 5 * PAGE_SIZE + 1, GFP_KERNEL | __GFP_ZERO, 6, 0 },
        { PAGE_SIZE, GFP_KERNEL | __GFP_DMA | __GFP_DMA32, 0, -EINVAL },
        { 65 * MIB, GFP_KERNEL | __GFP_NOWARN, 0, -ENOMEM },
        { SIZE_MAX, GFP_KERNEL | __GFP_NOWARN, 0, -ENOMEM },
        { 64 * MIB, GFP_KERNEL, PAGES, 0 },
    };
    struct dk_memory *memory = make_either(false, false, 0);
    struct page *page;

    (void)state;
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_movable *movable = dk_movable_create(cases[i].size, cases[i].gfp);
        char *start;

        if (IS_ERR(movable) ? PTR_ERR(movable) != cases[i].error : !cases[i].pages)
            fail_msg("case %u: %p", i, (void *)movable);
        assert_int_equal(PAGES - dk_memory_free_pages(memory), cases[i].pages);
        if (IS_ERR(movable))
            continue;
        start = dk_movable_address(movable);
        assert_int_equal(dk_movable_size(movable), cases[i].pages * PAGE_SIZE);
        assert_true(is_vmalloc_addr(start));
        assert_int_equal(virt_to_phys(start), ~0ull);
        for (u64 at = 0; at < cases[i].pages; at++) {
            if (cases[i].gfp & __GFP_ZERO)
                assert_int_equal(start[at * PAGE_SIZE + 99], 0);
            start[at * PAGE_SIZE] = (char)at;
            assert_int_equal(*(char *)page_address(vmalloc_to_page(start + at * PAGE_SIZE)), (char)at);
        }
        dk_movable_destroy(movable);
        assert_null(vmalloc_to_page(start));
    }
    dk_movable_destroy(NULL);
    assert_true(silent());
    assert_null(dk_movable_address(NULL));
    assert_int_equal(dk_movable_size(ERR_PTR(-ENOMEM)), 0);
    assert_int_equal(dk_movable_pin(NULL, 0, 1, &page), -EINVAL);
    assert_int_equal(dk_movable_migrate(ERR_PTR(-ENOMEM), 0, 1), -EINVAL);
    dk_movable_unpin(NULL, 0, 1);
    assert_true(logged("dk_movable_unpin"));
    unmake(memory, PAGES);
    assert_int_equal(PTR_ERR(dk_movable_create(1, GFP_KERNEL)), -ENODEV);
}

/* All there is may be movable, also the page at address 0. */
static void test_all_of_it(void **state)
{
    const struct dk_memory_range low = { 0, 4 * MIB };
    const struct dk_memory_config config = small_config(&low);
    struct dk_memory *memory = make(&config);
    struct dk_movable *movable = create(4 * MIB, GFP_KERNEL);

    (void)state;
    assert_int_equal(dk_memory_free_pages(memory), 0);
    dk_movable_destroy(movable);
    assert_true(silent());
    unmake(memory, 4 * MIB / PAGE_SIZE);
}

/* Each page goes elsewhere, and takes along what it holds. */
static void test_migrate(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++) {
        struct dk_memory *memory = make_either(way & 1, way & 2, 0);
        struct dk_movable *movable = create(8 * PAGE_SIZE, GFP_KERNEL);
        char *start = dk_movable_address(movable);
        phys_addr_t before[8];

        for (size_t i = 0; i < 8; i++) {
            memset(start + i * PAGE_SIZE, (int)i + 1, PAGE_SIZE);
            before[i] = page_to_phys(vmalloc_to_page(start + i * PAGE_SIZE));
        }
        /* The pages that three bytes touch are two. */
        assert_int_equal(dk_movable_migrate(movable, 3 * PAGE_SIZE - 1, 3), 2);
        for (size_t i = 0; i < 8; i++) {
            const char *page = start + i * PAGE_SIZE;

            assert_int_equal(page_to_phys(vmalloc_to_page(page)) != before[i], i == 2 || i == 3);
            assert_int_equal(page[0], i + 1);
            assert_memory_equal(page, page + 1, PAGE_SIZE - 1);
        }
        start[2 * PAGE_SIZE] = 77;
        assert_int_equal(*(char *)page_address(vmalloc_to_page(start + 2 * PAGE_SIZE)), 77);
        assert_int_equal(dk_memory_free_pages(memory), PAGES - 8);
        assert_int_equal(dk_movable_migrate(movable, 0, 0), -EINVAL);
        assert_int_equal(dk_movable_migrate(movable, 8 * PAGE_SIZE, 1), -EINVAL);
        assert_int_equal(dk_movable_migrate(movable, PAGE_SIZE, SIZE_MAX), -EINVAL);
        dk_movable_destroy(movable);
        assert_true(silent());
        unmake(memory, PAGES);
    }
}

static void test_pins(void **state)
{
    struct dk_memory *memory = make_either(false, false, 0);
    struct dk_movable *movable = create(4 * PAGE_SIZE, GFP_KERNEL);
    struct page *pages[3], *again[1], *other;

    (void)state;
    assert_int_equal(dk_movable_pin(movable, PAGE_SIZE - 1, PAGE_SIZE + 2, pages), 0);
    assert_int_equal(dk_movable_pin(movable, PAGE_SIZE, 1, again), 0);
    assert_ptr_equal(pages[0], vmalloc_to_page(dk_movable_address(movable)));
    assert_ptr_equal(pages[1], again[0]);
    assert_int_equal(dk_movable_migrate(movable, 0, 4 * PAGE_SIZE), 1);
    assert_ptr_equal(pages[2], vmalloc_to_page((char *)dk_movable_address(movable) + 2 * PAGE_SIZE));
    dk_movable_unpin(movable, 0, 3 * PAGE_SIZE);
    assert_int_equal(dk_movable_migrate(movable, 0, 4 * PAGE_SIZE), 3);
    assert_ptr_equal(pages[1], vmalloc_to_page((char *)dk_movable_address(movable) + PAGE_SIZE));

    assert_int_equal(dk_movable_pin(movable, 0, 0, pages), -EINVAL);
    assert_int_equal(dk_movable_pin(movable, 0, 4 * PAGE_SIZE + 1, pages), -EINVAL);
    assert_true(silent());
    dk_movable_unpin(movable, 0, 1);
    assert_true(logged("no reference but its allocator's"));
    dk_movable_unpin(movable, 4 * PAGE_SIZE, 1);
    assert_true(logged("dk_movable_unpin"));
    /* Nobody else may free them. */
    __free_page(again[0]);
    assert_true(logged("belongs to another allocator"));
    other = alloc_page(GFP_KERNEL);
    assert_false(PageMovable(other));
    assert_true(PageMovable(again[0]));
    assert_int_equal(dk_page_migrate(memory, page_to_pfn(again[0]), GFP_KERNEL), -EAGAIN);
    __free_page(other);

    /* The last pin frees a page whose memory has gone. */
    dk_movable_destroy(movable);
    assert_int_equal(dk_memory_free_pages(memory), PAGES - 1);
    put_page(again[0]);
    assert_true(silent());
    unmake(memory, PAGES);
}

static void test_child(void **state)
{
    struct dk_memory *memory = make_either(false, false, 0);
    struct dk_movable *movable = create(PAGE_SIZE, GFP_KERNEL);
    struct page *page;
    int status = 0;
    pid_t child = fork();

    (void)state;
    assert_true(child >= 0);
    if (!child)
        _exit(dk_movable_pin(movable, 0, 1, &page) == -ENODEV && dk_movable_migrate(movable, 0, 1) == -ENODEV
                  ? 0
                  : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
    dk_movable_destroy(movable);
    unmake(memory, PAGES);
}

/* ---- Threads ---- */

#define SHARED_PAGES 16

static void storm(bool by_signal, bool two_views)
{
    struct dk_memory *memory = make_either(by_signal, two_views, 5);
    struct dk_movable *movable = create(SHARED_PAGES * PAGE_SIZE, GFP_KERNEL | __GFP_ZERO);
    long rounds = getenv("DMAKIT_TEST_FAST") ? 20 : 400, moved = 0;
    struct writer writers[WRITERS];
    bool stop;

    start_writers(writers, dk_movable_address(movable), SHARED_PAGES, 37 * WRITERS, &stop);
    for (long i = 0; i < rounds; i++)
        moved += dk_movable_migrate(movable, 0, SHARED_PAGES * PAGE_SIZE);
    stop_writers(writers);
    assert_int_equal(moved, rounds * SHARED_PAGES);
    dk_movable_destroy(movable);
    assert_true(silent());
    unmake(memory, PAGES);
}

static void test_threads(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 4; way++)
        storm(way & 1, way & 2);
}

/* ---- The signal ---- */

static volatile sig_atomic_t faults;
static char *opened;

/* The program's own handler: makes what it knows of writable. */
static void own_handler(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    faults++;
    if ((char *)info->si_addr != opened || mprotect(opened, PAGE_SIZE, PROT_READ | PROT_WRITE))
        _exit(3);
}

static void test_signal(void **state)
{
    struct sigaction own = { .sa_sigaction = own_handler, .sa_flags = SA_SIGINFO }, before, now;
    struct dk_movable *movable;
    struct dk_memory *memory;

    (void)state;
    assert_int_equal(sigaction(SIGSEGV, &own, &before), 0);
    memory = make_either(true, false, 0);
    movable = create(2 * PAGE_SIZE, GFP_KERNEL);
    assert_int_equal(dk_movable_migrate(movable, 0, 1), 1);
    assert_int_equal(sigaction(SIGSEGV, NULL, &now), 0);
    assert_true(now.sa_sigaction != own_handler);

    /* Faults that are not ours go to the handler that was there: outside movable memory, and in it. */
    opened = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(opened != MAP_FAILED);
    *(volatile char *)opened = 1;
    assert_int_equal(faults, 1);
    munmap(opened, PAGE_SIZE);
    opened = (char *)dk_movable_address(movable) + PAGE_SIZE;
    assert_int_equal(mprotect(opened, PAGE_SIZE, PROT_READ), 0);
    *(volatile char *)opened = 1;
    assert_int_equal(faults, 2);

    /* Without our handler nothing may move. */
    assert_int_equal(sigaction(SIGSEGV, &own, &now), 0);
    assert_int_equal(dk_movable_migrate(movable, 0, 1), -EBUSY);
    assert_true(logged("SIGSEGV"));
    assert_int_equal(sigaction(SIGSEGV, &now, NULL), 0);
    assert_int_equal(dk_movable_migrate(movable, 0, 1), 1);

    dk_movable_destroy(movable);
    unmake(memory, PAGES);
    assert_int_equal(sigaction(SIGSEGV, &before, &now), 0);
    assert_true(now.sa_sigaction == own_handler);
}

/* ---- Failures ---- */

static void test_failures(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 2; way++) {
        unsigned long n = 0;
        bool failed = true;

        while (failed) {
            struct dk_memory *memory = make_either(way, true, 0);
            struct dk_movable *movable;
            long moved = 0;

            dk_fail_nth(++n);
            movable = dk_movable_create(3 * PAGE_SIZE, GFP_KERNEL | __GFP_NOWARN);
            if (!IS_ERR(movable)) {
                memset(dk_movable_address(movable), 0x5a, 3 * PAGE_SIZE);
                moved = dk_movable_migrate(movable, 0, 3 * PAGE_SIZE);
                assert_true(moved == 3 || moved == -ENOMEM);
                for (size_t i = 0; i < 3 * PAGE_SIZE; i++)
                    assert_int_equal(((char *)dk_movable_address(movable))[i], 0x5a);
                memset(dk_movable_address(movable), 0x5b, 3 * PAGE_SIZE);
                dk_movable_destroy(movable);
            } else {
                assert_int_equal(PTR_ERR(movable), -ENOMEM);
            }
            failed = dk_fail_hits();
            dk_fail_nth(0);
            if (!failed)
                assert_int_equal(moved, 3);
            log_lines = 0;
            unmake(memory, PAGES);
        }
        assert_true(n > 5);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create),   cmocka_unit_test(test_migrate),   cmocka_unit_test(test_pins),
        cmocka_unit_test(test_child),    cmocka_unit_test(test_threads),   cmocka_unit_test(test_signal),
        cmocka_unit_test(test_failures), cmocka_unit_test(test_all_of_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
