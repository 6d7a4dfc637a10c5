/* SPDX-License-Identifier: MIT */
/*
 * dmakit check survives each of its allocations failing: an exit code, no crash, no process and no file left.
 */
#include "tools/command.h"

#include <dmakit/fail.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct fail_case {
    const char *format;
    const char *seeds;
    const char *program; /* how the program behaves */
    int code;            /* of the run in which nothing fails */
    bool draws;          /* a matrix as well */
};

static char matrix[] = "/tmp/dmakit-test-matrix-XXXXXX.svg";

static int check(const struct fail_case *fail_case)
{
    const char *const arguments[] = { "check",
                                      "--format",
                                      fail_case->format,
                                      "--seeds",
                                      fail_case->seeds,
                                      "-o",
                                      "/dev/null",
                                      "--suppressions",
                                      SUPPRESSIONS,
                                      fail_case->draws ? "--matrix" : "--",
                                      fail_case->draws ? matrix : PROGRAM,
                                      fail_case->draws ? "--" : fail_case->program,
                                      fail_case->draws ? PROGRAM : "argument's",
                                      fail_case->draws ? fail_case->program : NULL,
                                      NULL };
    char *argv[sizeof(arguments) / sizeof(arguments[0])];
    int errors = dup(STDERR_FILENO);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    int argc = 0;
    int code;

    for (; arguments[argc]; argc++)
        argv[argc] = (char *)(uintptr_t)arguments[argc];
    argv[argc] = NULL;
    /* The lines that tell of each failure are not of interest. */
    dup2(null, STDERR_FILENO);
    code = dk_command_check.run(argc, argv);
    dup2(errors, STDERR_FILENO);
    close(errors);
    close(null);
    return code;
}

static void each_allocation_fails(void **state)
{
    static const struct fail_case cases[] = {
        { "text", "0..2", "two-bugs", DK_EXIT_FOUND },
        { "json", "0..2", "two-bugs", DK_EXIT_FOUND },
        { "text", "0..1", "crash", DK_EXIT_FOUND },
        { "json", "0..1", "garbage", DK_EXIT_FOUND },
        { "text", "0..1", "right", DK_EXIT_CLEAN },
        { "sarif", "0..1", "two-bugs", DK_EXIT_FOUND },
        { "sarif", "0..1", "crash", DK_EXIT_FOUND },
        { "sarif", "0..1", "suppressed-and-not", DK_EXIT_FOUND },
        { "text", "0..1", "suppressed", DK_EXIT_CLEAN },
        { "text", "0", "two-bugs", DK_EXIT_FOUND, .draws = true },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned long n = 1;

        for (;; n++) {
            int code;

            dk_fail_nth(n);
            code = check(&cases[i]);
            if (!dk_fail_hits()) {
                assert_int_equal(code, cases[i].code);
                break;
            }
            assert_in_range(code, DK_EXIT_CLEAN, DK_EXIT_REFUSED);
            /* Without memory for it there may be less to read, but a wrong run never counts as right. */
            assert_true(code == cases[i].code || code == DK_EXIT_REFUSED);
            /* Nothing is left that could be waited for. */
            assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
            assert_int_equal(errno, ECHILD);
        }
        dk_fail_nth(0);
        assert_in_range(n, 10, 1000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(each_allocation_fails) };

    int file = mkstemps(matrix, 4);
    int failed;

    if (file < 0)
        return 1;
    close(file);
    unsetenv("DMAKIT_BOARD");
    unsetenv("DMAKIT_OPTIONS");
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(matrix);
    return failed;
}
