/* SPDX-License-Identifier: MIT */
/*
 * dmakit: finds the subcommand and runs it.
 */
#include "command.h"

#include <dmakit/fail.h>
#include <stdio.h>
#include <string.h>

static const struct dk_command *const commands[] = {
    &dk_command_machine,
    &dk_command_check,
    &dk_command_bench,
};

#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static int print_help(void)
{
    puts("Usage: dmakit COMMAND [OPTION]... [ARGUMENT]...\n"
         "\n"
         "Linux DMA memory in user space: boards, machines, and what drivers do wrong on them.\n"
         "\n"
         "Commands:");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s %s\n", commands[i]->name, commands[i]->summary);
    puts("\n"
         "  --help     print this, or with a command its own help\n"
         "  --version  print the version\n"
         "\n"
         "Exit status: 0 nothing wrong, 1 something found, 2 could not run.");
    return dk_command_flush("", DK_EXIT_CLEAN);
}

int main(int argc, char **argv)
{
    /* DMAKIT_OPTIONS=fail_nth=N is meant for the program that is checked, not for the command that runs it.
     */
    dk_fail_nth(0);
    if (argc < 2)
        return dk_command_refuse("", "no command given; 'dmakit --help' lists them");
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))
        return print_help();
    if (!strcmp(argv[1], "--version"))
        return dk_command_version("");
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (!strcmp(argv[1], commands[i]->name))
            return commands[i]->run(argc - 1, argv + 1);
    }
    return dk_command_refuse("", "unknown %s '%s'; 'dmakit --help' lists the commands",
                             argv[1][0] == '-' ? "option" : "command", argv[1]);
}
