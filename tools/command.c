/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int dk_command_refuse(const char *command, const char *format, ...)
{
    char line[1024];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    for (char *at = line; *at; at++) {
        if (iscntrl((unsigned char)*at))
            *at = '?';
    }
    fprintf(stderr, "dmakit%s%s: %s\n", *command ? " " : "", command, line);
    return DK_EXIT_REFUSED;
}

int dk_command_version(const char *command)
{
    puts("dmakit " DK_VERSION);
    return dk_command_flush(command, DK_EXIT_CLEAN);
}

int dk_command_flush(const char *command, int result)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return result;
    return dk_command_refuse(command, "cannot write standard output: %s; free some space or write elsewhere",
                             errno ? strerror(errno) : "write error");
}
