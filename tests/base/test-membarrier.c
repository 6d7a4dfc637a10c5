/* SPDX-License-Identifier: MIT */
/*
 * The barrier in all threads: which process has it, and which has not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "../refuse-membarrier.h"
#include "base/membarrier.h"
#include <cmocka.h>
#include <linux/membarrier.h>
#include <sys/wait.h>

static bool offered(void)
{
    long commands = syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

    return commands > 0 && commands & MEMBARRIER_CMD_PRIVATE_EXPEDITED &&
           commands & MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
}

/* Runs @check, which returns 0 when all is well, in a process of its own. */
static void in_child(int (*check)(void))
{
    pid_t child = fork();
    int status = 0;

    assert_true(child >= 0);
    if (!child)
        _exit(check());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

/* Nobody in this program has registered before, so the children have not either. */
static int register_first(void)
{
    if (dk_membarrier())
        return 1;
    for (int i = 0; i < 2; i++) {
        if (dk_membarrier_register() != offered())
            return 2;
        if (dk_membarrier() != offered())
            return 3;
    }
    return 0;
}

static void test_register_first(void **state)
{
    (void)state;
    in_child(register_first);
}

static int refused_at_once(void)
{
    if (!refuse_membarrier())
        return 77;
    return dk_membarrier_register() || dk_membarrier() ? 1 : 0;
}

static void test_refused_at_once(void **state)
{
    (void)state;
    in_child(refused_at_once);
}

/* What was promised is no longer kept, and who registers from then on knows it. */
static int refused_later(void)
{
    if (!dk_membarrier_register())
        return 77;
    if (!dk_membarrier())
        return 1;
    if (!refuse_membarrier())
        return 77;
    return dk_membarrier() || dk_membarrier_register() ? 2 : 0;
}

static void test_refused_later(void **state)
{
    (void)state;
    in_child(refused_later);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_register_first),
        cmocka_unit_test(test_refused_at_once),
        cmocka_unit_test(test_refused_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
