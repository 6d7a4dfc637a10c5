/* SPDX-License-Identifier: MIT */
#include "start/options.h"

#include "base/alloc.h"
#include "base/log.h"
#include "check/check.h"
#include <dmakit/error.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum option_type { OPTION_INTEGER, OPTION_SIZE, OPTION_FLAG, OPTION_TEXT, OPTION_LEVEL, OPTION_CHOICE };

struct option {
    const char *key;
    enum option_type type;
    size_t field;                     /* offset in struct dk_options */
    int lowest, highest;              /* of a level */
    const char *const *const choices; /* of a choice: what stands for 0, 1, …, and NULL */
    const char *usual;                /* the value without the option */
    const char *help;
};

/* Of quarantine_size. */
#define QUARANTINE_SIZE ((u64)1 << 20)

#define FIELD(name) offsetof(struct dk_options, name)

static const char *const formats[] = {
    [DK_REPORT_TEXT] = "text", [DK_REPORT_JSON] = "json", [DK_REPORT_SARIF] = "sarif", NULL
};
static const char *const colours[] = {
    [DK_COLOUR_AUTO] = "auto", [DK_COLOUR_ALWAYS] = "always", [DK_COLOUR_NEVER] = "never", NULL
};

static const struct option table[] = {
    { "seed", OPTION_INTEGER, FIELD(seed), 0, 0, NULL, "0", "random eviction and fragmentation; 0: none" },
    { "depth", OPTION_LEVEL, FIELD(depth), -1, 3, NULL, "2",
      "checker: 0 off, 1 calls, 2 what changes hands too, 3 every access of instrumented code too" },
    { "memory", OPTION_TEXT, FIELD(memory), 0, 0, NULL, "the board's",
      "RAM instead of the board's, as in 1G@0x0,3G@0x40000000" },
    { "arguments", OPTION_TEXT, FIELD(arguments), 0, 0, NULL, "the board's",
      "a kernel command line: cma=64M highmem=16M iommu.passthrough=1" },
    { "report_format", OPTION_CHOICE, FIELD(report_format), 0, 0, formats, "text",
      "text; json: one report a line; sarif: a SARIF 2.1.0 log in report_path" },
    { "report_path", OPTION_TEXT, FIELD(report_path), 0, 0, NULL, "standard error",
      "file that reports are added to" },
    { "color", OPTION_CHOICE, FIELD(color), 0, 0, colours, "auto",
      "of text reports: auto (on a terminal), always or never" },
    { "suppressions", OPTION_TEXT, FIELD(suppressions), 0, 0, NULL, "none",
      "file of reports not to make: lines CLASS or CLASS:PATTERN of a function, file or module" },
    { "print_suppressed", OPTION_FLAG, FIELD(print_suppressed), 0, 0, NULL, "0",
      "1: json and sarif have suppressed reports too, marked" },
    { "abort_on_error", OPTION_FLAG, FIELD(abort_on_error), 0, 0, NULL, "0",
      "1: end the process after the first report" },
    { "quarantine_size", OPTION_SIZE, FIELD(quarantine_size), 0, 0, NULL, "1M",
      "freed memory that is kept out of use to find what still uses it, in bytes, K, M or G; 0: none" },
    { "fail_nth", OPTION_INTEGER, FIELD(fail_nth), 0, 0, NULL, "0",
      "the n-th allocation of the process fails; 0: none" },
    { "log", OPTION_LEVEL, FIELD(log_level), 0, 3, NULL, "1",
      "log lines up to: 0 errors, 1 warnings, 2 information, 3 debugging" },
};

static void print_help(void)
{
    size_t i;

    fprintf(stderr, "DMAKIT_OPTIONS: key=value, separated by ':'\n");
    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        fprintf(stderr, "  %-17s%s (default: %s)\n", table[i].key, table[i].help, table[i].usual);
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

/* The same with K, M or G behind it. */
static bool read_size(const char *value, u64 *size)
{
    static const char letters[] = "KMG";
    char digits[32];
    size_t length = strlen(value);
    const char *letter = length ? strchr(letters, value[length - 1] & ~0x20) : NULL;
    unsigned shift = 0;

    if (length >= sizeof(digits))
        return false;
    if (letter && *letter) {
        length--;
        shift = 10 * (unsigned)(letter - letters + 1);
    }
    memcpy(digits, value, length);
    digits[length] = '\0';
    if (!read_integer(digits, size) || *size > ~0ull >> shift)
        return false;
    *size <<= shift;
    return true;
}

static int set(struct dk_options *options, const struct option *option, const char *value)
{
    char *field = (char *)options + option->field;
    u64 number = 0;
    bool negative = *value == '-';
    int choice;

    switch (option->type) {
    case OPTION_TEXT:
        memcpy(field, &value, sizeof(value));
        return 0;
    case OPTION_FLAG:
        if (!read_integer(value, &number) || number > 1)
            return -EINVAL;
        *(bool *)(void *)field = number;
        return 0;
    case OPTION_INTEGER:
        return read_integer(value, (u64 *)(void *)field) ? 0 : -EINVAL;
    case OPTION_SIZE:
        return read_size(value, (u64 *)(void *)field) ? 0 : -EINVAL;
    case OPTION_LEVEL:
        if (!read_integer(value + negative, &number) || number > 3)
            return -EINVAL;
        *(int *)(void *)field = negative ? -(int)number : (int)number;
        return *(int *)(void *)field >= option->lowest && *(int *)(void *)field <= option->highest ? 0
                                                                                                   : -EINVAL;
    case OPTION_CHOICE:
        for (choice = 0; option->choices[choice]; choice++) {
            if (!strcmp(option->choices[choice], value)) {
                *(int *)(void *)field = choice;
                return 0;
            }
        }
        return -EINVAL;
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

    *options = (struct dk_options){ .depth = -1, .quarantine_size = QUARANTINE_SIZE, .log_level = -1 };
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
