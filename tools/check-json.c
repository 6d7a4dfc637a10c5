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

static int print_bug(const struct check_result *result, const struct check_bug *bug, FILE *out)
{
    struct check_place place = dk_check_report_place(bug->report);
    char *again = dk_check_reproduce(result, bug->runs[0]);

    if (!again)
        return -ENOMEM;
    fputs("    {\"class\": ", out);
    dk_json_string(dk_check_text(bug->report, "class"), out);
    fputs(", \"file\": ", out);
    dk_json_string(*place.file ? place.file : NULL, out);
    if (*place.file)
        fprintf(out, ", \"line\": %d", place.line);
    else
        fputs(", \"line\": null", out);
    fputs(", \"runs\": [", out);
    for (size_t i = 0; i < bug->run_count; i++)
        fprintf(out, "%s%zu", i ? ", " : "", bug->runs[i]);
    fputs("], \"reproduce\": ", out);
    dk_json_string(again, out);
    fputc('}', out);
    dk_release(again);
    return 0;
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
    fprintf(out, "%s],\n  \"summary\": {\"boards\": %zu, \"runs\": %zu", result->found.count ? "\n  " : "",
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

char *dk_check_reproduce(const struct check_result *result, size_t run)
{
    const struct check_request *request = result->request;
    const struct check_board *board = &request->boards[result->runs[run].board];
    char *options = dk_check_run_options(request, result->runs[run].seed, NULL);
    /* An unset board is the built-in one only where the environment names none. */
    char *line =
        options ? dk_copy_string(!board->path && request->user_board ? "env -u DMAKIT_BOARD " : "") : NULL;

    if (board->path) {
        append_word(&line, "DMAKIT_BOARD=", board->path);
        append_word(&line, " DMAKIT_OPTIONS=", options ? options : "");
    } else {
        append_word(&line, "DMAKIT_OPTIONS=", options ? options : "");
    }
    for (size_t i = 0; request->program[i]; i++)
        append_word(&line, " ", request->program[i]);
    dk_release(options);
    return line;
}
