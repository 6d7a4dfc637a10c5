/* SPDX-License-Identifier: MIT */
/*
 * Text in pieces: in each room it is what snprintf() makes of the whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

/* No byte of any text. */
#define UNTOUCHED 0x7f

static void test_each_room(void **state)
{
    static const char whole[] = "zones: 3, 0x1f free\nend";

    (void)state;
    for (size_t room = 0; room < 2 * sizeof(whole); room++) {
        char written[2 * sizeof(whole)], expected[sizeof(written)];
        struct dk_text text = { written, room, 0 };

        memset(written, UNTOUCHED, sizeof(written));
        memset(expected, UNTOUCHED, sizeof(expected));
        dk_text_add(&text, "%s: %d, ", "zones", 3);
        dk_text_add(&text, "%s", "");
        dk_text_add(&text, "0x%x free\n", 0x1f);
        dk_text_add(&text, "end");
        assert_int_equal(text.length, sizeof(whole) - 1);
        snprintf(expected, room, "%s", whole);
        /* The terminating 0 is the last byte written: nothing behind it was touched. */
        assert_memory_equal(written, expected, sizeof(written));
    }
}

static void test_no_room(void **state)
{
    struct dk_text text = { NULL, 0, 0 };

    (void)state;
    dk_text_add(&text, "%4d", 1);
    dk_text_add(&text, "%4d", 12345);
    assert_int_equal(text.length, 9);
}

static void test_nothing_added(void **state)
{
    char written = UNTOUCHED;
    struct dk_text text = { &written, 1, 0 };

    (void)state;
    assert_int_equal(written, UNTOUCHED);
    dk_text_add(&text, "%s", "");
    assert_int_equal(text.length, 0);
    assert_int_equal(written, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_room),
        cmocka_unit_test(test_no_room),
        cmocka_unit_test(test_nothing_added),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
