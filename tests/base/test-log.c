/* SPDX-License-Identifier: MIT */
/*
 * Log lines: which are written, to whom, and what they leave alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include <cmocka.h>
#include <dmakit/log.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The longest line a sink sees. */
#define LONGEST 1023

struct seen {
    unsigned count;
    int level;
    char line[4096];
};

static void see(int level, const char *line, void *data)
{
    struct seen *seen = data;

    seen->count++;
    seen->level = level;
    snprintf(seen->line, sizeof(seen->line), "%s", line);
    errno = ERANGE;
}

static int back_to_default(void **state)
{
    (void)state;
    dk_log_set_sink(NULL, NULL);
    dk_log_set_level(DK_LOG_WARNING);
    return 0;
}

static void a_line_passes_up_to_the_level(void **state)
{
    int highest, level;

    (void)state;
    for (highest = -1; highest <= DK_LOG_DEBUG; highest++) {
        for (level = DK_LOG_ERROR; level <= DK_LOG_DEBUG; level++) {
            struct seen seen = { 0 };

            dk_log_set_sink(see, &seen);
            dk_log_set_level(highest);
            dk_log((enum dk_log_level)level, "%s %d", "line", level);
            assert_int_equal(seen.count, level <= highest);
            if (level <= highest) {
                char expected[32];

                snprintf(expected, sizeof(expected), "line %d", level);
                assert_int_equal(seen.level, level);
                assert_string_equal(seen.line, expected);
            }
        }
    }
}

static void errors_and_warnings_pass_at_first(void **state)
{
    struct seen seen = { 0 };

    (void)state;
    dk_log_set_sink(see, &seen);
    dk_log(DK_LOG_ERROR, "error");
    dk_log(DK_LOG_WARNING, "warning");
    dk_log(DK_LOG_INFO, "information");
    assert_int_equal(seen.count, 2);
    assert_string_equal(seen.line, "warning");
}

static void errno_is_kept(void **state)
{
    struct seen seen = { 0 };

    (void)state;
    dk_log_set_sink(see, &seen);
    errno = EXDEV;
    dk_log(DK_LOG_ERROR, "line");
    assert_int_equal(errno, EXDEV);
    dk_log(DK_LOG_DEBUG, "dropped");
    assert_int_equal(errno, EXDEV);
    assert_int_equal(seen.count, 1);
}

static void long_lines_are_cut(void **state)
{
    static const size_t lengths[] = { 0, 1, LONGEST - 1, LONGEST, LONGEST + 1, 3 * LONGEST };
    char text[3 * LONGEST + 1];
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct seen seen = { 0 };

        dk_log_set_sink(see, &seen);
        memset(text, 'a', lengths[i]);
        text[lengths[i]] = 0;
        dk_log(DK_LOG_ERROR, "%s", text);
        assert_int_equal(seen.count, 1);
        assert_int_equal(strlen(seen.line), lengths[i] < LONGEST ? lengths[i] : LONGEST);
        assert_memory_equal(seen.line, text, strlen(seen.line));
    }
}

/* Without a sink lines go to standard error, with their level in front; a level that has no name gets the
 * last one's. */
static void standard_error_is_the_default_sink(void **state)
{
    static const struct {
        int level;
        const char *line;
    } cases[] = {
        { DK_LOG_ERROR, "dmakit: error: text\n" },     { DK_LOG_WARNING, "dmakit: warning: text\n" },
        { DK_LOG_INFO, "dmakit: info: text\n" },       { DK_LOG_DEBUG, "dmakit: debug: text\n" },
        { DK_LOG_DEBUG + 5, "dmakit: debug: text\n" },
    };
    struct seen seen = { 0 };
    int kept = dup(STDERR_FILENO);
    size_t i;

    (void)state;
    assert_true(kept >= 0);
    dk_log_set_sink(see, &seen);
    dk_log_set_sink(NULL, &seen);
    dk_log_set_level(100);
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char bytes[128] = { 0 };
        int ends[2];
        ssize_t length;

        assert_int_equal(pipe(ends), 0);
        dup2(ends[1], STDERR_FILENO);
        dk_log((enum dk_log_level)cases[i].level, "text");
        fflush(stderr);
        dup2(kept, STDERR_FILENO);
        close(ends[1]);
        length = read(ends[0], bytes, sizeof(bytes) - 1);
        close(ends[0]);
        assert_int_equal(length, strlen(cases[i].line));
        assert_string_equal(bytes, cases[i].line);
    }
    close(kept);
    assert_int_equal(seen.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(errors_and_warnings_pass_at_first, back_to_default),
        cmocka_unit_test_teardown(a_line_passes_up_to_the_level, back_to_default),
        cmocka_unit_test_teardown(errno_is_kept, back_to_default),
        cmocka_unit_test_teardown(long_lines_are_cut, back_to_default),
        cmocka_unit_test_teardown(standard_error_is_the_default_sink, back_to_default),
    };

    return cmocka_run_group_tests_name("log", tests, NULL, NULL);
}
