/* SPDX-License-Identifier: MIT */
/*
 * `dmakit machine` with each allocation failing in turn: refused with exit 2, no crash, no leak.
 */
#include "../../tools/command.h"

#include <dmakit/fail.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static const char source[] =
    "/dts-v1/;\n"
    "/ { #address-cells = <1>; #size-cells = <1>; model = \"Fail\"; compatible = \"dmakit,fail\";\n"
    "memory@0 { device_type = \"memory\"; reg = <0x0 0x40000000>; };\n"
    "reserved-memory { #address-cells = <1>; #size-cells = <1>; ranges;\n"
    "  pool: pool@100000 { compatible = \"shared-dma-pool\"; no-map; reg = <0x100000 0x100000>; };\n"
    "  big { size = <0x80000000>; }; };\n"
    "soc { #address-cells = <1>; #size-cells = <1>; ranges; compatible = \"simple-bus\";\n"
    "  dma-ranges = <0xc0000000 0x0 0x40000000>;\n"
    "  nic@1000 { compatible = \"dmakit,nic\"; reg = <0x1000 0x100>; memory-region = <&pool>; }; };\n"
    "};\n";

/* dtc runs once, outside of what is made to fail. */
static int make_blob(void **state)
{
    char command[160];
    static const char folder[] = "/tmp/dmakit-fail-XXXXXX";
    char *path = strdup(folder);
    FILE *file;

    if (!path)
        return -1;
    *state = path;
    if (!mkdtemp(path))
        return -1;
    snprintf(command, sizeof(command), "dtc -q -I dts -O dtb -o %s/board.dtb -", path);
    file = popen(command, "w");
    if (!file)
        return -1;
    fputs(source, file);
    return pclose(file);
}

static int remove_blob(void **state)
{
    static const char *const names[] = { "board.dtb", "map.svg", "out" };
    char path[128];

    for (unsigned i = 0; i < 3; i++) {
        snprintf(path, sizeof(path), "%s/%s", (char *)*state, names[i]);
        unlink(path);
    }
    rmdir(*state);
    free(*state);
    return 0;
}

static int run_quietly(const char *folder, const char *option, const char *value)
{
    char board[128];
    char map[128];
    char out[128];
    char *arguments[8] = { (char *)"machine" };
    int count = 1;
    int saved[2] = { dup(1), dup(2) };
    int quiet;
    int result;

    snprintf(board, sizeof(board), "%s/board.dtb", folder);
    snprintf(map, sizeof(map), "%s/map.svg", folder);
    snprintf(out, sizeof(out), "%s/out", folder);
    if (option)
        arguments[count++] = (char *)option;
    if (value)
        arguments[count++] = strcmp(option, "--draw") ? (char *)value : map;
    arguments[count++] = board;
    quiet = open(out, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    dup2(quiet, 1);
    dup2(quiet, 2);
    result = dk_command_machine.run(count, arguments);
    fflush(stdout);
    dup2(saved[0], 1);
    dup2(saved[1], 2);
    close(saved[0]);
    close(saved[1]);
    close(quiet);
    return result;
}

static void fail_each(void **state)
{
    static const struct {
        const char *option;
        const char *value;
    } cases[] = { { NULL, NULL }, { "--json", NULL }, { "--draw", "map.svg" }, { "--memory", "1G@0x0" } };

    for (unsigned c = 0; c < 4; c++) {
        unsigned refused = 0;
        unsigned long n = 1;

        assert_int_equal(run_quietly(*state, cases[c].option, cases[c].value), DK_EXIT_FOUND);
        for (;; n++) {
            int result;

            dk_fail_nth(n);
            result = run_quietly(*state, cases[c].option, cases[c].value);
            if (!dk_fail_hits())
                break;
            /* A lost log line is not worth a refusal; everything else is. */
            assert_true(result == DK_EXIT_REFUSED || result == DK_EXIT_FOUND);
            refused += result == DK_EXIT_REFUSED;
        }
        dk_fail_nth(0);
        assert_true(n > 5);
        assert_true(refused + 4 >= n - 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(fail_each, make_blob, remove_blob),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
