/* SPDX-License-Identifier: MIT */
/*
 * The outcome of dmakit check for programs (docs/formats.md), and the command line that makes a run again.
 */
#include "base/alloc.h"
#include "check.h"
#include "check/json.h"

#include <errno.h>
#include <string.h>

size_t dk_check_sequence_length(const char *string)
{
    const unsigned char *text = (const unsigned char *)string;

    static const struct {
        unsigned char first, last; /* lead bytes */
        unsigned char low, high;   /* the second byte's range */
        size_t length;
    } forms[] = {
        { 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 },
        { 0xed, 0xed, 0x80, 0x9f, 3 }, { 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 },
        { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
    };

    if (*text < 0x80)
        return 1;
    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (*text < forms[i].first || *text > forms[i].last || text[1] < forms[i].low ||
            text[1] > forms[i].high)
            continue;
        for (size_t at = 2; at < forms[i].length; at++) {
            if ((text[at] & 0xc0) != 0x80)
                return 0;
        }
        return forms[i].length;
    }
    return 0;
}

static void print_run(const struct check_result *result, const struct check_run *run, FILE *out)
{
    const struct check_board *board = &result->request->boards[run->board];

    fputs("    {\"board\": ", out);
    dk_json_string(board->path, out);
    if (run->status == CHECK_REFUSED)
        fputs(", \"seed\": null", out);
    else
        fprintf(out, ", \"seed\": %llu", (unsigned long long)run->seed);
    fprintf(out, ", \"status\": \"%s\", \"exit\": ", dk_check_status_name(run->status));
    if (run->exit >= 0)
        fprintf(out, "%d", run->exit);
    else
        fputs("null", out);
    fputs(", \"signal\": ", out);
    if (run->signal)
        fprintf(out, "%d", run->signal);
    else
        fputs("null", out);
    fprintf(out, ", \"seconds\": %.3f, \"unreadable\": %lu, \"suppressed\": %lu, \"reason\": ", run->seconds,
            run->unreadable, run->suppressed);
    dk_json_string(board->refusal, out);
    fputs(", \"output\": ", out);
    dk_json_string(run->output, out);
    fputs(", \"reports\": [", out);
    for (unsigned long i = 0; i < run->report_count; i++)
        fprintf(out, "%s%s", i ? ", " : "", run->reports[i]);
    fputs("]}", out);
}

/* The words of @options as an array. */
static void print_options(const char *options, FILE *out)
{
    char *copy = dk_copy_string(options);
    char *rest = copy;
    const char *word;

    fputc('[', out);
    while (rest && (word = strsep(&rest, ":"))) {
        if (!*word)
            continue;
        fputs(word == copy ? "" : ", ", out);
        dk_json_string(word, out);
    }
    fputc(']', out);
    dk_release(copy);
}

/* What it takes to see it; null: not known. */
static void print_needs(const struct check_smallest *smallest, FILE *out)
{
    if (!smallest->tried) {
        fputs("null", out);
        return;
    }
    fprintf(out, "{\"steady\": %s", smallest->steady ? "true" : "false");
    if (smallest->steady) {
        fprintf(out, ", \"board\": %s, \"options\": ", smallest->needs_board ? "true" : "false");
        print_options(smallest->options, out);
        fprintf(out, ", \"depth\": %d", smallest->depth);
    }
    fputc('}', out);
}

static void print_runs(const size_t *runs, size_t count, FILE *out)
{
    fputs("\"runs\": [", out);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%zu", i ? ", " : "", runs[i]);
    fputc(']', out);
}

/* "reproduce" and "needs". 0 or -ENOMEM. */
static int print_again(const struct check_result *result, size_t run, const struct check_smallest *smallest,
                       FILE *out)
{
    char *again = dk_check_reproduce(result, run, smallest);

    if (!again)
        return -ENOMEM;
    fputs(", \"reproduce\": ", out);
    dk_json_string(again, out);
    fputs(", \"needs\": ", out);
    print_needs(smallest, out);
    fputc('}', out);
    dk_release(again);
    return 0;
}

static int print_failure(const struct check_result *result, const struct check_failure *failure, FILE *out)
{
    const struct check_run *run = &result->runs[failure->runs[0]];
    char text[600];

    dk_check_describe_failure(result, run, text, sizeof(text));
    fprintf(out, "    {\"status\": \"%s\", \"what\": ", dk_check_status_name(run->status));
    dk_json_string(text, out);
    fputs(", ", out);
    print_runs(failure->runs, failure->run_count, out);
    if (run->status != CHECK_REFUSED)
        return print_again(result, failure->runs[0], &failure->smallest, out);
    fputs(", \"reproduce\": null, \"needs\": null}", out);
    return 0;
}

static int print_bug(const struct check_result *result, const struct check_bug *bug, FILE *out)
{
    struct check_place place = dk_check_report_place(bug->report);

    fputs("    {\"class\": ", out);
    dk_json_string(dk_check_text(bug->report, "class"), out);
    fputs(", \"file\": ", out);
    dk_json_string(*place.file ? place.file : NULL, out);
    if (*place.file)
        fprintf(out, ", \"line\": %d, ", place.line);
    else
        fputs(", \"line\": null, ", out);
    print_runs(bug->runs, bug->run_count, out);
    return print_again(result, bug->runs[0], &bug->smallest, out);
}

int dk_check_print_json(const struct check_result *result, FILE *out)
{
    struct check_tally tally = dk_check_result_tally(result, SIZE_MAX);
    char *const *program = result->request->program;
    int error = 0;

    fputs("{\n  \"program\": [", out);
    for (size_t i = 0; program[i]; i++) {
        fputs(i ? ", " : "", out);
        dk_json_string(program[i], out);
    }
    fputs("],\n  \"runs\": [", out);
    for (size_t i = 0; i < result->run_count; i++) {
        fputs(i ? ",\n" : "\n", out);
        print_run(result, &result->runs[i], out);
    }
    fputs("\n  ],\n  \"bugs\": [", out);
    for (size_t i = 0; i < result->found.count && !error; i++) {
        fputs(i ? ",\n" : "\n", out);
        error = print_bug(result, result->found.bugs[i], out);
    }
    fprintf(out, "%s],\n  \"failures\": [", result->found.count ? "\n  " : "");
    for (size_t i = 0; i < result->failure_count && !error; i++) {
        fputs(i ? ",\n" : "\n", out);
        error = print_failure(result, &result->failures[i], out);
    }
    fprintf(out, "%s],\n  \"summary\": {\"boards\": %zu, \"runs\": %zu", result->failure_count ? "\n  " : "",
            result->request->board_count, result->run_count);
    for (int status = CHECK_OK; status <= CHECK_REFUSED; status++)
        fprintf(out, ", \"%s\": %zu", dk_check_status_name((enum check_status)status),
                tally.by_status[status]);
    fprintf(out, ", \"bugs\": %zu}\n}\n", result->found.count);
    return error;
}

/* Whether a shell takes @text for one word as it stands. */
static bool is_plain_word(const char *text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";

    return *text && text[strspn(text, plain)] == 0;
}

/* @text as one word of a shell, with @before in front, appended to *@line. On failure *@line is NULL. */
static void append_word(char **line, const char *before, const char *text)
{
    char *joined;

    if (!*line)
        return;
    if (is_plain_word(text)) {
        joined = dk_format("%s%s%s", *line, before, text);
    } else {
        joined = dk_format("%s%s'", *line, before);
        for (const char *at = text; joined && *at; at++) {
            char *longer = *at == '\'' ? dk_format("%s'\\''", joined) : dk_format("%s%c", joined, *at);

            dk_release(joined);
            joined = longer;
        }
        if (joined) {
            char *closed = dk_format("%s'", joined);

            dk_release(joined);
            joined = closed;
        }
    }
    dk_release(*line);
    *line = joined;
}

char *dk_check_command_line(const struct check_request *request, const struct check_setting *setting)
{
    /* What is not set is set for the user where the environment has it. */
    char *line = dk_copy_string(!setting->board && request->user_board ? "env -u DMAKIT_BOARD" : "");
    size_t i = 0;

    if (setting->board)
        append_word(&line, "DMAKIT_BOARD=", setting->board);
    if (*setting->options || *request->user_options)
        append_word(&line, line && *line ? " DMAKIT_OPTIONS=" : "DMAKIT_OPTIONS=", setting->options);
    if (line && !*line)
        append_word(&line, "", request->program[i++]);
    for (; request->program[i]; i++)
        append_word(&line, " ", request->program[i]);
    return line;
}

char *dk_check_reproduce(const struct check_result *result, size_t run, const struct check_smallest *smallest)
{
    const struct check_request *request = result->request;
    struct check_setting setting = { .board = request->boards[result->runs[run].board].path };
    char *line;

    if (smallest && smallest->line)
        return dk_copy_string(smallest->line);
    setting.options = dk_check_run_options(request, result->runs[run].seed);
    line = setting.options ? dk_check_command_line(request, &setting) : NULL;
    dk_release(setting.options);
    return line;
}
