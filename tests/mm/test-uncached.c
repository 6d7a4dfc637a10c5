/* SPDX-License-Identifier: MIT */
/*
 * Marks of pages that the CPU uses past its cache, against one byte a page.
 */
#include "fixture.h"

#include "base/alloc.h"
#include <dmakit/fail.h>
#include <stdlib.h>

/* Either side of the border between two sections, which is where pieces end. */
#define BORDER ((u64)DK_SLOT_SIZE)
#define PAGES 4096u
#define FIRST (BORDER - (u64)PAGES / 2 * PAGE_SIZE)

static const struct dk_memory_range ram = { FIRST, (u64)PAGES *PAGE_SIZE };

static struct dk_memory *make_two_views(void)
{
    struct dk_memory_config config = small_config(&ram);

    config.two_views = true;
    return make(&config);
}

static u64 next(u64 *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

static u64 chosen_seed(void)
{
    const char *text = getenv("DMAKIT_TEST_SEED");

    return text ? strtoull(text, NULL, 0) : 0x51ca9edull;
}

static void test_marks_are_those_of_the_model(void **state)
{
    struct dk_memory *memory = make_two_views();
    static unsigned char model[PAGES];
    u64 random = chosen_seed();
    unsigned i, j, set = 0;

    (void)state;
    print_message("seed 0x%llx\n", random);
    for (i = 0; i < 1000000; i++) {
        unsigned first = (unsigned)next(&random) % PAGES;
        unsigned most = i % 64 ? 5 : 300;
        unsigned count = 1 + (unsigned)next(&random) % most;
        phys_addr_t phys = FIRST + (u64)first * PAGE_SIZE;
        bool any = false, all = true;

        if (count > PAGES - first)
            count = PAGES - first;
        for (j = 0; j < count; j++) {
            any = any || model[first + j];
            all = all && model[first + j];
        }
        assert_int_equal(dk_memory_is_uncached(memory, phys + 17, (u64)count * PAGE_SIZE - 17), all);
        if (next(&random) % 2) {
            assert_int_equal(dk_memory_set_uncached(memory, phys, (u64)count * PAGE_SIZE), 0);
            memset(model + first, 1, count);
        } else {
            assert_int_equal(dk_memory_clear_uncached(memory, phys, (u64)count * PAGE_SIZE), any);
            memset(model + first, 0, count);
        }
    }
    for (j = 0; j < PAGES; j++) {
        phys_addr_t phys = FIRST + (u64)j * PAGE_SIZE;

        assert_int_equal(dk_section_page_uncached(dk_memory_section(memory, phys), phys), model[j]);
        set += model[j];
    }
    assert_in_range(set, 1, PAGES - 1);
    dk_memory_destroy(memory);
}

static void test_one_view_has_no_marks(void **state)
{
    struct dk_memory_config config = small_config(&ram);
    struct dk_memory *memory = make(&config);

    (void)state;
    assert_int_equal(dk_memory_set_uncached(memory, FIRST, PAGE_SIZE), 0);
    assert_false(dk_memory_is_uncached(memory, FIRST, PAGE_SIZE));
    assert_false(dk_memory_clear_uncached(memory, FIRST, PAGE_SIZE));
    dk_memory_destroy(memory);
}

static void test_without_memory_nothing_is_marked(void **state)
{
    unsigned long n;
    int error;

    (void)state;
    for (n = 1;; n++) {
        struct dk_memory *memory = make_two_views();

        dk_fail_nth(n);
        error = dk_memory_set_uncached(memory, FIRST, ram.size);
        assert_int_equal(error, dk_fail_hits() ? -ENOMEM : 0);
        dk_fail_nth(0);
        assert_int_equal(dk_memory_is_uncached(memory, FIRST, ram.size), !error);
        assert_int_equal(dk_memory_clear_uncached(memory, FIRST, ram.size), !error);
        dk_memory_destroy(memory);
        if (!error)
            break;
    }
    /* Two sections and their marks. */
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks_are_those_of_the_model),
        cmocka_unit_test(test_one_view_has_no_marks),
        cmocka_unit_test(test_without_memory_nothing_is_marked),
    };

    dk_log_set_level(-1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
