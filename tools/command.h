/* SPDX-License-Identifier: MIT */
/*
 * A subcommand of dmakit, and what all of them share: one line for what went wrong, and the exit codes.
 */
#ifndef DK_TOOLS_COMMAND_H
#define DK_TOOLS_COMMAND_H

#include <dmakit/types.h>

enum dk_exit {
    DK_EXIT_CLEAN = 0,   /* nothing wrong */
    DK_EXIT_FOUND = 1,   /* ran, and found something */
    DK_EXIT_REFUSED = 2, /* could not run */
};

struct dk_command {
    const char *name;
    const char *summary; /* one line for `dmakit --help` */
    /* Runs with @argv[0] the command's name; returns the exit code, one of enum dk_exit. */
    int (*run)(int argc, char **argv);
};

extern const struct dk_command dk_command_machine;
extern const struct dk_command dk_command_check;
extern const struct dk_command dk_command_bench;

/*
 * Prints "dmakit COMMAND: …" as one line on standard error and returns DK_EXIT_REFUSED. The line says why
 * and what to do. Line breaks and control characters in the arguments come out as '?'.
 */
int dk_command_refuse(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints "dmakit VERSION" on standard output; returns DK_EXIT_CLEAN, or what dk_command_flush() says. */
int dk_command_version(const char *command);

/*
 * Flushes standard output. Returns @result, or DK_EXIT_REFUSED with its line printed when something did not
 * get out (a full disk): a result nobody can read is no result.
 */
int dk_command_flush(const char *command, int result);

#endif
