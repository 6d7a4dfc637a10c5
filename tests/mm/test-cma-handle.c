/* SPDX-License-Identifier: MIT */
/* Handles of movable runs of an area: pinned, moved, packed together. */
#include "draw.h"
#include "lending.h"

#include "base/log.h"
#include <dmakit/fail.h>
#include <dmakit/movable.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define HANDLES 24

static void write_handle(struct dk_memory *memory, struct dk_cma_handle *handle, unsigned long count,
                         int value)
{
    struct page *page = cma_pin(handle);

    memset(dk_memory_cached(memory, page_to_phys(page)), value, count * PAGE_SIZE);
    cma_unpin(handle);
}

static void assert_handle(struct dk_memory *memory, struct dk_cma_handle *handle, unsigned long count,
                          int value)
{
    const char *bytes = dk_memory_cached(memory, page_to_phys(cma_pin(handle)));

    for (size_t i = 0; i < count * PAGE_SIZE; i += 61)
        assert_int_equal((unsigned char)bytes[i], value);
    cma_unpin(handle);
}

static void test_handles(void **state)
{
    struct dk_cma_handle *handles[HANDLES];
    struct dk_memory *memory;
    struct page *pinned, *page;
    struct cma *cma;
    u64 before;

    (void)state;
    memory = make_area(0, AREA, &cma);
    before = dk_memory_free_pages(memory);
    assert_int_equal(PTR_ERR(dk_cma_handle_alloc(NULL, 1, 0)), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_handle_alloc(cma, 0, 0)), -EINVAL);
    assert_int_equal(PTR_ERR(dk_cma_handle_alloc(cma, AREA + 1, 0)), -ENOMEM);
    assert_int_equal(dk_cma_defragment(NULL), -EINVAL);
    assert_int_equal(dk_cma_defragment(cma), 0);
    for (int i = 0; i < HANDLES; i++) {
        handles[i] = dk_cma_handle_alloc(cma, 16, 0);
        assert_false(IS_ERR(handles[i]));
        write_handle(memory, handles[i], 16, i);
    }
    /* Every second goes: holes of 16 pages, and 128 free at the end. */
    for (int i = 0; i < HANDLES; i += 2)
        dk_cma_handle_free(handles[i]);
    assert_int_equal(dk_cma_free_pages(cma), AREA - HANDLES / 2 * 16);
    pinned = cma_pin(handles[3]);
    dk_cma_handle_free(handles[3]);
    assert_true(logged("are pinned"));
    assert_int_equal(dk_cma_defragment(cma), (HANDLES / 2 - 1) * 16);
    for (int i = 1; i < HANDLES; i += 2)
        assert_handle(memory, handles[i], 16, i);
    assert_ptr_equal(cma_pin(handles[3]), pinned);
    cma_unpin(handles[3]);
    assert_int_equal(dk_cma_free_pages(cma), AREA - HANDLES / 2 * 16);
    assert_int_equal(dk_cma_defragment(cma), 0);

    /* A request may have all but the pinned one's: the others make way. */
    page = cma_alloc(cma, 256, 8, false);
    assert_non_null(page);
    assert_int_equal(page_to_phys(page), GIB + 256 * PAGE_SIZE);
    cma_release(cma, page, 256);
    cma_unpin(handles[3]);
    cma_unpin(handles[3]);
    assert_true(logged("are not pinned"));
    page = cma_alloc(cma, 320, 0, false);
    assert_non_null(page);
    for (int i = 1; i < HANDLES; i += 2)
        assert_handle(memory, handles[i], 16, i);
    assert_int_equal(dk_cma_free_pages(cma), 0);
    assert_null(cma_alloc(cma, 1, 0, true));
    cma_release(cma, page, 320);
    for (int i = 1; i < HANDLES; i += 2)
        dk_cma_handle_free(handles[i]);
    dk_cma_handle_free(NULL);
    assert_null(cma_pin(NULL));
    cma_unpin(ERR_PTR(-ENOMEM));
    assert_int_equal(dk_cma_free_pages(cma), AREA);
    assert_true(silent());
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* What a thread keeps of what it gave back is a place to move to. */
static void test_defragment_into_kept(void **state)
{
    struct dk_cma_handle *handles[3];
    struct dk_memory *memory;
    struct cma *cma;

    (void)state;
    memory = make_area(0, 4096, &cma);
    for (int i = 0; i < 3; i++) {
        handles[i] = dk_cma_handle_alloc(cma, 16, 0);
        assert_false(IS_ERR(handles[i]));
    }
    write_handle(memory, handles[2], 16, 2);
    /* The first release makes the stack, in which the second lies then. */
    dk_cma_handle_free(handles[1]);
    dk_cma_handle_free(handles[0]);
    assert_int_equal(dk_cma_defragment(cma), 16);
    assert_int_equal(page_to_phys(cma_pin(handles[2])), GIB);
    cma_unpin(handles[2]);
    assert_handle(memory, handles[2], 16, 2);
    dk_cma_handle_free(handles[2]);
    dk_cma_destroy(cma);
    dk_memory_destroy(memory);
}

/* A child that fork() made shares the memory, and moves nothing of its parent's. */
static void test_defragment_in_child(void **state)
{
    struct dk_cma_handle *handles[2];
    struct dk_memory *memory;
    struct cma *cma;
    int status = 0;
    pid_t child;

    (void)state;
    memory = make_area(0, AREA, &cma);
    for (int i = 0; i < 2; i++) {
        handles[i] = dk_cma_handle_alloc(cma, 16, 0);
        assert_false(IS_ERR(handles[i]));
        write_handle(memory, handles[i], 16, i + 1);
    }
    dk_cma_handle_free(handles[0]);
    child = fork();
    assert_true(child >= 0);
    if (!child)
        _exit(dk_cma_defragment(cma) == -ENODEV && !cma_pin(handles[1]) ? 0 : 1);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    assert_int_equal(*(char *)dk_memory_cached(memory, GIB), 1);
    assert_handle(memory, handles[1], 16, 2);
    /* What is left goes with the area. */
    dk_cma_destroy(cma);
    dk_memory_destroy(memory);
}

/* Handles of random sizes come, go, are pinned and written, while requests and the defragmenter move them. */
static void test_handles_model(void **state)
{
    unsigned long rounds = getenv("DMAKIT_TEST_FAST") ? 4000 : 100000;
    struct dk_cma_handle *handles[HANDLES] = { NULL };
    unsigned long counts[HANDLES];
    struct page *at[HANDLES] = { NULL };
    unsigned values[HANDLES] = { 0 };
    struct dk_memory *memory;
    long moved = 0;
    struct cma *cma;
    u64 before;

    (void)state;
    state_word = draw_seed(0x4a9d1e5);
    memory = make_area(0, AREA, &cma);
    before = dk_memory_free_pages(memory);
    for (unsigned long round = 0; round < rounds; round++) {
        unsigned i = draw(HANDLES);
        struct page *page;

        if (!handles[i]) {
            counts[i] = 1 + draw(40);
            handles[i] = dk_cma_handle_alloc(cma, counts[i], draw(5));
            values[i] = draw(256);
            if (IS_ERR(handles[i]))
                handles[i] = NULL;
            else
                write_handle(memory, handles[i], counts[i], (int)values[i]);
        } else if (at[i]) {
            assert_ptr_equal(cma_pin(handles[i]), at[i]);
            cma_unpin(handles[i]);
            cma_unpin(handles[i]);
            at[i] = NULL;
        } else if (draw(3)) {
            assert_handle(memory, handles[i], counts[i], (int)values[i]);
            at[i] = draw(3) ? NULL : cma_pin(handles[i]);
        } else {
            assert_handle(memory, handles[i], counts[i], (int)values[i]);
            dk_cma_handle_free(handles[i]);
            handles[i] = NULL;
        }
        if (round % 16 == 0) {
            moved += dk_cma_defragment(cma);
            assert_unused_is_free(cma);
        }
        if (round % 4 == 0) {
            unsigned long count = 1 + draw(100);

            page = cma_alloc(cma, count, draw(7), true);
            if (page) {
                memset(dk_memory_cached(memory, page_to_phys(page)), 0xff, count * PAGE_SIZE);
                assert_true(cma_release(cma, page, count));
            }
        }
    }
    assert_true(moved > 100);
    for (unsigned i = 0; i < HANDLES; i++) {
        if (at[i])
            cma_unpin(handles[i]);
        if (handles[i])
            assert_handle(memory, handles[i], counts[i], (int)values[i]);
        dk_cma_handle_free(handles[i]);
    }
    assert_int_equal(dk_cma_free_pages(cma), AREA);
    dk_cma_destroy(cma);
    unmake(memory, before);
}

/* ---- Failures ---- */

static void test_handle_failures(void **state)
{
    unsigned long n = 0;
    bool failed = true;

    (void)state;
    while (failed) {
        struct dk_cma_handle *handle;
        struct dk_memory *memory;
        struct cma *cma;
        u64 before;

        memory = make_area(0, AREA, &cma);
        before = dk_memory_free_pages(memory);
        dk_fail_nth(++n);
        handle = dk_cma_handle_alloc(cma, 16, 0);
        failed = dk_fail_hits();
        dk_fail_nth(0);
        assert_int_equal(IS_ERR(handle), failed);
        assert_unused_is_free(cma);
        if (failed)
            assert_int_equal(PTR_ERR(handle), -ENOMEM);
        dk_cma_handle_free(handle);
        assert_int_equal(dk_cma_free_pages(cma), AREA);
        dk_cma_destroy(cma);
        unmake(memory, before);
    }
    assert_true(n > 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handles),
        cmocka_unit_test(test_defragment_into_kept),
        cmocka_unit_test(test_defragment_in_child),
        cmocka_unit_test(test_handles_model),
        cmocka_unit_test(test_handle_failures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
