/* SPDX-License-Identifier: MIT */
/*
 * DMAKIT_OPTIONS: every key, what its value may be, and what is said about the rest.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "check/check.h"
#include "start/options.h"
#include <cmocka.h>
#include <dmakit/error.h>
#include <dmakit/fail.h>
#include <dmakit/log.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char last_line[1024];
static unsigned lines;

static void keep(int level, const char *line, void *data)
{
    (void)level;
    (void)data;
    snprintf(last_line, sizeof(last_line), "%s", line);
    lines++;
}

/* What an option text leaves in the structure; a member not named keeps its default. */
#define DEFAULTS .depth = -1, .quarantine_size = 1 << 20, .log_level = -1

static void good_options_are_read(void **state)
{
    static const struct {
        const char *text;
        struct dk_options expected;
    } cases[] = {
        { NULL, { DEFAULTS } },
        { "", { DEFAULTS } },
        { ":", { DEFAULTS } },
        { "::seed=1::", { DEFAULTS, .seed = 1 } },
        { "seed=0", { DEFAULTS } },
        { "seed=18446744073709551615", { DEFAULTS, .seed = ~0ull } },
        { "seed=0x10", { DEFAULTS, .seed = 16 } },
        { "seed=1:seed=2", { DEFAULTS, .seed = 2 } },
        { "depth=-1", { .depth = -1, .quarantine_size = 1 << 20, .log_level = -1 } },
        { "depth=0", { .depth = 0, .quarantine_size = 1 << 20, .log_level = -1 } },
        { "depth=1", { .depth = 1, .quarantine_size = 1 << 20, .log_level = -1 } },
        { "depth=2", { .depth = 2, .quarantine_size = 1 << 20, .log_level = -1 } },
        { "depth=3", { .depth = 3, .quarantine_size = 1 << 20, .log_level = -1 } },
        { "memory=1G@0x0,3G@0x40000000", { DEFAULTS, .memory = "1G@0x0,3G@0x40000000" } },
        { "memory=", { DEFAULTS, .memory = "" } },
        { "arguments=cma=64M highmem=16M", { DEFAULTS, .arguments = "cma=64M highmem=16M" } },
        { "report_format=json", { DEFAULTS, .report_format = DK_REPORT_JSON } },
        { "report_format=sarif", { DEFAULTS, .report_format = DK_REPORT_SARIF } },
        { "report_format=text", { DEFAULTS } },
        { "report_format=json:report_format=text", { DEFAULTS } },
        { "color=auto", { DEFAULTS } },
        { "color=always", { DEFAULTS, .color = DK_COLOUR_ALWAYS } },
        { "color=never", { DEFAULTS, .color = DK_COLOUR_NEVER } },
        { "suppressions=known bugs.txt", { DEFAULTS, .suppressions = "known bugs.txt" } },
        { "print_suppressed=1", { DEFAULTS, .print_suppressed = true } },
        { "report_path=/tmp/reports", { DEFAULTS, .report_path = "/tmp/reports" } },
        { "abort_on_error=1", { DEFAULTS, .abort_on_error = true } },
        { "abort_on_error=0", { DEFAULTS } },
        { "fail_nth=7", { DEFAULTS, .fail_nth = 7 } },
        { "quarantine_size=0", { .depth = -1, .log_level = -1 } },
        { "quarantine_size=1000", { .depth = -1, .quarantine_size = 1000, .log_level = -1 } },
        { "quarantine_size=64k", { .depth = -1, .quarantine_size = 64 << 10, .log_level = -1 } },
        { "quarantine_size=0x10M", { .depth = -1, .quarantine_size = 16 << 20, .log_level = -1 } },
        { "quarantine_size=17179869183G", { .depth = -1, .quarantine_size = ~0ull << 30, .log_level = -1 } },
        { "log=0", { .depth = -1, .quarantine_size = 1 << 20, .log_level = 0 } },
        { "log=3", { .depth = -1, .quarantine_size = 1 << 20, .log_level = 3 } },
        { "seed=5:depth=1:memory=m:arguments=a b:report_format=json:report_path=p:abort_on_error=1:fail_nth=6:log=2",
          { .seed = 5,
            .depth = 1,
            .memory = "m",
            .arguments = "a b",
            .report_format = DK_REPORT_JSON,
            .report_path = "p",
            .abort_on_error = true,
            .quarantine_size = 1 << 20,
            .fail_nth = 6,
            .log_level = 2 } },
    };
    size_t i;

    (void)state;
    lines = 0;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct dk_options *expected = &cases[i].expected;
        struct dk_options options;
        int error = dk_options_read(&options, cases[i].text);

        if (error)
            print_error("%s\n", cases[i].text);
        assert_int_equal(error, 0);
        assert_true(options.seed == expected->seed);
        assert_int_equal(options.depth, expected->depth);
        assert_string_equal(options.memory ? options.memory : "(none)",
                            expected->memory ? expected->memory : "(none)");
        assert_string_equal(options.arguments ? options.arguments : "(none)",
                            expected->arguments ? expected->arguments : "(none)");
        assert_int_equal(options.report_format, expected->report_format);
        assert_int_equal(options.color, expected->color);
        assert_string_equal(options.suppressions ? options.suppressions : "(none)",
                            expected->suppressions ? expected->suppressions : "(none)");
        assert_int_equal(options.print_suppressed, expected->print_suppressed);
        assert_string_equal(options.report_path ? options.report_path : "(none)",
                            expected->report_path ? expected->report_path : "(none)");
        assert_int_equal(options.abort_on_error, expected->abort_on_error);
        assert_true(options.fail_nth == expected->fail_nth);
        assert_true(options.quarantine_size == expected->quarantine_size);
        assert_int_equal(options.log_level, expected->log_level);
        dk_options_finish(&options);
        assert_null(options.text);
    }
    assert_int_equal(lines, 0);
}

static void bad_options_are_refused_by_name(void **state)
{
    static const struct {
        const char *text;
        const char *named; /* in the log line */
    } cases[] = {
        { "seed", "\"seed\" is not key=value" },
        { "help", "\"help\" is not key=value" },
        { "seed=1:depth", "\"depth\" is not key=value" },
        { "seeds=1", "\"seeds\"" },
        { "see=1", "\"see\"" },
        { "Seed=1", "\"Seed\"" },
        { " seed=1", "\" seed\"" },
        { "=1", "\"\"" },
        { "seed=", "seed cannot be \"\"" },
        { "seed=-1", "seed cannot be \"-1\"" },
        { "seed=+1", "seed cannot be \"+1\"" },
        { "seed= 1", "seed cannot be \" 1\"" },
        { "seed=1 ", "seed cannot be \"1 \"" },
        { "seed=12x", "seed cannot be \"12x\"" },
        { "seed=0x", "seed cannot be \"0x\"" },
        { "seed=18446744073709551616", "seed cannot be \"18446744073709551616\"" },
        { "depth=4", "depth cannot be \"4\"" },
        { "depth=-2", "depth cannot be \"-2\"" },
        { "depth=-", "depth cannot be \"-\"" },
        { "depth=", "depth cannot be \"\"" },
        { "depth=--1", "depth cannot be \"--1\"" },
        { "depth=4294967297", "depth cannot be \"4294967297\"" },
        { "log=-1", "log cannot be \"-1\"" },
        { "log=4", "log cannot be \"4\"" },
        { "abort_on_error=2", "abort_on_error cannot be \"2\"" },
        { "abort_on_error=yes", "abort_on_error cannot be \"yes\"" },
        { "abort_on_error=", "abort_on_error cannot be \"\"" },
        { "report_format=xml", "report_format cannot be \"xml\"" },
        { "report_format=", "report_format cannot be \"\"" },
        { "color=red", "color cannot be \"red\"" },
        { "color=", "color cannot be \"\"" },
        { "print_suppressed=2", "print_suppressed cannot be \"2\"" },
        { "quarantine_size=", "quarantine_size cannot be \"\"" },
        { "quarantine_size=M", "quarantine_size cannot be \"M\"" },
        { "quarantine_size=1T", "quarantine_size cannot be \"1T\"" },
        { "quarantine_size=1MB", "quarantine_size cannot be \"1MB\"" },
        { "quarantine_size=-1", "quarantine_size cannot be \"-1\"" },
        { "quarantine_size=17179869184G", "quarantine_size cannot be \"17179869184G\"" },
        { "quarantine_size=0000000000000000000000000000001M",
          "quarantine_size cannot be \"0000000000000000000000000000001M\"" },
        { "fail_nth=often", "fail_nth cannot be \"often\"" },
        { "seed=1:nothing=2:seed=x", "\"nothing\"" },
    };
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct dk_options options;

        lines = 0;
        if (dk_options_read(&options, cases[i].text) != -EINVAL || lines != 1 ||
            !strstr(last_line, cases[i].named))
            fail_msg("%s: %u lines, the last \"%s\"", cases[i].text, lines, last_line);
        assert_non_null(strstr(last_line, "DMAKIT_OPTIONS"));
    }
}

/* Every key is in the help, which goes to standard error and changes nothing. */
static void help_lists_the_keys(void **state)
{
    static const char *const keys[] = { "seed",           "depth",         "memory",
                                        "arguments",      "report_format", "report_path",
                                        "color",          "suppressions",  "print_suppressed",
                                        "abort_on_error", "fail_nth",      "log",
                                        "quarantine_size" };
    struct dk_options options;
    char text[4096] = { 0 };
    FILE *file = tmpfile();
    int kept = dup(STDERR_FILENO);
    size_t i;

    (void)state;
    assert_non_null(file);
    fflush(stderr);
    dup2(fileno(file), STDERR_FILENO);
    assert_int_equal(dk_options_read(&options, "help=1:seed=9"), 0);
    fflush(stderr);
    dup2(kept, STDERR_FILENO);
    close(kept);
    assert_true(options.seed == 9);
    dk_options_finish(&options);
    rewind(file);
    assert_true(fread(text, 1, sizeof(text) - 1, file) > 0);
    fclose(file);
    for (i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        char line[32];

        snprintf(line, sizeof(line), "\n  %s ", keys[i]);
        assert_non_null(strstr(text, line));
        /* And what it is without the option. */
        assert_non_null(strstr(strstr(text, line) + 1, " (default: "));
        assert_true(strstr(strstr(text, line) + 1, " (default: ") < strchr(strstr(text, line) + 1, '\n'));
    }
}

static void out_of_memory_is_an_error(void **state)
{
    struct dk_options options;

    (void)state;
    dk_fail_nth(1);
    assert_int_equal(dk_options_read(&options, "seed=1"), -ENOMEM);
    dk_fail_nth(1);
    assert_int_equal(dk_options_read(&options, NULL), 0);
    assert_int_equal(dk_fail_hits(), 0);
    dk_fail_nth(0);
    dk_options_finish(&options);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_options_are_read),
        cmocka_unit_test(bad_options_are_refused_by_name),
        cmocka_unit_test(help_lists_the_keys),
        cmocka_unit_test(out_of_memory_is_an_error),
    };

    dk_log_set_sink(keep, NULL);
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
