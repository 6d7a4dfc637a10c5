/* SPDX-License-Identifier: MIT */
#include "start/options.h"

#include "base/alloc.h"
#include "base/log.h"
#include <dmakit/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_INTEGER, OPTION_FLAG, OPTION_TEXT, OPTION_LEVEL };

struct option {
    const char *key;
    enum option_type type;
    size_t field;        /* offset in struct dk_options */
    int lowest, highest; /* of a level */
    const char *help;
};

static const struct option table[] = {
    { "seed", OPTION_INTEGER, offsetof(struct dk_options, seed), 0, 0,
      "random eviction and fragmentation; 0: none" },
    { "depth", OPTION_LEVEL, offsetof(struct dk_options, depth), -1, 3,
      "checker: 0 off, 1 calls, 2 what changes hands too, 3 instrumented; -1: 2" },
    { "memory", OPTION_TEXT, offsetof(struct dk_options, memory), 0, 0,
      "RAM instead of the board's, as in 1G@0x0,3G@0x40000000" },
    { "arguments", OPTION_TEXT, offsetof(struct dk_options, arguments), 0, 0,
      "a kernel command line: cma=64M highmem=16M iommu.passthrough=1" },
    { "report_format", OPTION_TEXT, 0, 0, 0, "text, or json: one report a line" },
    { "report_path", OPTION_TEXT, offsetof(struct dk_options, report_path), 0, 0,
      "file that reports are appended to; none: standard error" },
    { "abort_on_error", OPTION_FLAG, offsetof(struct dk_options, abort_on_error), 0, 0,
      "1: end the process after the first report" },
    { "fail_nth", OPTION_INTEGER, offsetof(struct dk_options, fail_nth), 0, 0,
      "the n-th allocation of the process fails" },
    { "log", OPTION_LEVEL, offsetof(struct dk_options, log_level), 0, 3,
      "log lines up to: 0 errors, 1 warnings, 2 information, 3 debugging" },
};

static void print_help(void)
{
    size_t i;

    fprintf(stderr, "DMAKIT_OPTIONS: key=value, separated by ':'\n");
    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        fprintf(stderr, "  %-15s %s\n", table[i].key, table[i].help);
}

static bool read_integer(const char *value, u64 *number)
{
    char *end;

    if (*value < '0' || *value > '9')
        return false;
    errno = 0;
    *number = strtoull(value, &end, 0);
    return !*end && !errno;
}

static int set(struct dk_options *options, const struct option *option, const char *value)
{
    char *field = (char *)options + option->field;
    u64 number = 0;
    bool negative = *value == '-';

    switch (option->type) {
    case OPTION_TEXT:
        if (!strcmp(option->key, "report_format")) {
            options->json = !strcmp(value, "json");
            return options->json || !strcmp(value, "text") ? 0 : -EINVAL;
        }
        memcpy(field, &value, sizeof(value));
        return 0;
    case OPTION_FLAG:
        if (!read_integer(value, &number) || number > 1)
            return -EINVAL;
        *(bool *)(void *)field = number;
        return 0;
    case OPTION_INTEGER:
        return read_integer(value, (u64 *)(void *)field) ? 0 : -EINVAL;
    case OPTION_LEVEL:
        if (!read_integer(value + negative, &number) || number > 3)
            return -EINVAL;
        *(int *)(void *)field = negative ? -(int)number : (int)number;
        return *(int *)(void *)field >= option->lowest && *(int *)(void *)field <= option->highest ? 0
                                                                                                   : -EINVAL;
    }
    return -EINVAL;
}

static int read_pair(struct dk_options *options, char *pair)
{
    char *value = strchr(pair, '=');
    size_t i;

    if (!*pair)
        return 0;
    if (!value) {
        dk_log(DK_LOG_ERROR, "DMAKIT_OPTIONS: \"%s\" is not key=value", pair);
        return -EINVAL;
    }
    *value++ = '\0';
    if (!strcmp(pair, "help")) {
        print_help();
        return 0;
    }
    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (strcmp(pair, table[i].key))
            continue;
        if (set(options, &table[i], value)) {
            dk_log(DK_LOG_ERROR, "DMAKIT_OPTIONS: %s cannot be \"%s\"", pair, value);
            return -EINVAL;
        }
        return 0;
    }
    dk_log(DK_LOG_ERROR, "DMAKIT_OPTIONS: there is no option \"%s\"; help=1 lists them", pair);
    return -EINVAL;
}

int dk_options_read(struct dk_options *options, const char *text)
{
    char *next, *pair;
    int error = 0;

    *options = (struct dk_options){ .depth = -1, .log_level = -1 };
    if (!text)
        return 0;
    options->text = dk_copy_string(text);
    if (!options->text)
        return -ENOMEM;
    for (pair = options->text; pair && !error; pair = next) {
        next = strchr(pair, ':');
        if (next)
            *next++ = '\0';
        error = read_pair(options, pair);
    }
    if (error)
        dk_options_finish(options);
    return error;
}

void dk_options_finish(struct dk_options *options)
{
    dk_release(options->text);
    options->text = NULL;
}
