/* SPDX-License-Identifier: MIT */
/*
 * The index of addresses, against an array that says which of a few thousand addresses are in it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address-index.h"
#include <cmocka.h>
#include <dmakit/fail.h>
#include <stdlib.h>

#define PLACES 3000

static struct dk_address_entry entries[PLACES];
static bool inside[PLACES];
static u64 random_word;

static u64 draw(u64 below)
{
    random_word ^= random_word << 13;
    random_word ^= random_word >> 7;
    random_word ^= random_word << 17;
    return random_word % below;
}

static const void *address_of(size_t place)
{
    return (const void *)(uintptr_t)((place + 1) * 4096);
}

static void count_value(void *value, void *data)
{
    (void)value;
    ++*(size_t *)data;
}

static void test_model(void **state)
{
    unsigned operations = getenv("DMAKIT_TEST_FAST") ? 20000 : 1000000, i;
    const char *text = getenv("DMAKIT_TEST_SEED");
    struct dk_address_index index = { 0 };
    size_t count = 0, visited = 0;

    (void)state;
    random_word = text ? strtoull(text, NULL, 0) : 0xadd4e55ull;
    print_message("seed 0x%llx\n", random_word);
    for (i = 0; i < operations; i++) {
        /* The range drifts, so that the index fills and empties. */
        size_t place = (size_t)draw(i % 100000 < 50000 ? PLACES : 40);

        assert_ptr_equal(dk_address_index_find(&index, address_of(place)),
                         inside[place] ? &entries[place] : NULL);
        if (inside[place]) {
            dk_address_index_remove(&index, &entries[place]);
            count--;
        } else {
            entries[place].address = address_of(place);
            entries[place].value = &entries[place];
            assert_true(dk_address_index_grow(&index, 1));
            dk_address_index_add(&index, &entries[place]);
            count++;
        }
        inside[place] = !inside[place];
        assert_int_equal(index.count, count);
    }
    assert_null(dk_address_index_find(&index, (const char *)address_of(1) + 1));
    dk_address_index_each(&index, count_value, &visited);
    assert_int_equal(visited, count);
    dk_address_index_finish(&index);
    assert_int_equal(index.count, 0);
}

static void test_no_memory(void **state)
{
    struct dk_address_index index = { 0 };
    size_t i;

    (void)state;
    dk_fail_nth(1);
    assert_false(dk_address_index_grow(&index, 1));
    assert_null(dk_address_index_find(&index, address_of(0)));
    assert_true(dk_address_index_grow(&index, 16));
    for (i = 0; i < 16; i++) {
        entries[i] = (struct dk_address_entry){ .address = address_of(i), .value = &entries[i] };
        dk_address_index_add(&index, &entries[i]);
    }
    dk_fail_nth(1);
    assert_true(dk_address_index_grow(&index, 0));
    assert_int_equal(dk_fail_hits(), 0);
    assert_false(dk_address_index_grow(&index, 1));
    assert_false(dk_address_index_grow(&index, SIZE_MAX));
    for (i = 0; i < 16; i++)
        assert_ptr_equal(dk_address_index_find(&index, address_of(i)), &entries[i]);
    dk_fail_nth(0);
    dk_address_index_finish(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_model), cmocka_unit_test(test_no_memory) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
