/* SPDX-License-Identifier: MIT */
/*
 * The outcome of dmakit check for people: a table of boards, then each distinct bug and each kind of failure
 * once.
 */
#include "base/alloc.h"
#include "check.h"

#include <string.h>

#define WIDTH 100
#define WIDEST_LABEL 28
#define MOST_BOARDS 20 /* that one bug is listed for */
#define LAST_LINES 8   /* of a failed run's output */

/* Prints at most @width bytes of @text, printable ones only: reports and output are the program's, and may
 * hold anything. */
static void print_plain(FILE *out, const char *text, size_t width)
{
    size_t at = 0;

    while (at < width && text[at]) {
        size_t length = dk_check_sequence_length(text + at);
        unsigned char byte = (unsigned char)text[at];
        /* The second 32 control characters are two bytes each. */
        bool control = byte < 0x20 || byte == 0x7f || (byte == 0xc2 && (unsigned char)text[at + 1] < 0xa0);

        if (!length || control)
            fputc('?', out);
        else if (length <= width - at)
            fwrite(text + at, 1, length, out);
        else
            return;
        at += length ? length : 1;
    }
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* The name of a signal as in "SIGSEGV"; @room is for one without. */
static const char *signal_name(int signal, char *room, size_t size)
{
    const char *short_name = sigabbrev_np(signal);

    if (short_name)
        snprintf(room, size, "SIG%s", short_name);
    else
        snprintf(room, size, "signal %d", signal);
    return room;
}

void dk_check_describe_failure(const struct check_result *result, const struct check_run *run, char *text,
                               size_t size)
{
    char room[32];

    switch (run->status) {
    case CHECK_CRASHED:
        snprintf(text, size, "crashed: %s", signal_name(run->signal, room, sizeof(room)));
        break;
    case CHECK_TIMEOUT:
        snprintf(text, size, "timed out after %g s", result->request->timeout);
        break;
    case CHECK_REFUSED:
        snprintf(text, size, "refused: %s", result->request->boards[run->board].refusal);
        break;
    case CHECK_FAILED:
        if (run->exit)
            snprintf(text, size, "failed: exit code %d", run->exit);
        else
            snprintf(text, size, "failed: unreadable report lines");
        break;
    default:
        snprintf(text, size, "%s", dk_check_status_name(run->status));
        break;
    }
}

/* "file:line", or the function, or "". */
static void describe_place(struct json_object *report, bool whole_path, char *text, size_t size)
{
    struct check_place place = dk_check_report_place(report);

    if (*place.file)
        snprintf(text, size, "%s:%d", whole_path ? place.file : base_name(place.file), place.line);
    else
        snprintf(text, size, "%s%s", place.function, *place.function ? "()" : "");
}

static size_t failures(const struct check_tally *tally)
{
    return tally->by_status[CHECK_FAILED] + tally->by_status[CHECK_CRASHED] +
           tally->by_status[CHECK_TIMEOUT] + tally->by_status[CHECK_REFUSED];
}

/* Reports and what became of a run, in the table's last column. */
static void describe_first(const struct check_result *result, size_t board, char *text, size_t size)
{
    const struct check_run *failed = NULL;
    char place[256];

    *text = 0;
    for (size_t i = 0; i < result->run_count; i++) {
        const struct check_run *run = &result->runs[i];

        if (run->board != board)
            continue;
        if (run->first) {
            describe_place(run->first->report, false, place, sizeof(place));
            snprintf(text, size, "%s %s", dk_check_text(run->first->report, "class"), place);
            return;
        }
        if (!failed && run->status != CHECK_OK)
            failed = run;
    }
    if (failed)
        dk_check_describe_failure(result, failed, text, size);
}

/* The end of a long label tells more than its start. */
static void print_label(FILE *out, const char *label, size_t width)
{
    size_t length = strlen(label);

    if (length > width) {
        fputs("...", out);
        print_plain(out, label + length - (width - 3), width - 3);
        return;
    }
    print_plain(out, label, width);
    fprintf(out, "%*s", (int)(width - length), "");
}

static int digits(size_t number)
{
    return snprintf(NULL, 0, "%zu", number);
}

struct table {
    size_t label;
    int numbers[4]; /* widths of: runs, right, reports, failed */
};

static void print_row(FILE *out, const struct table *table, const char *label,
                      const struct check_tally *tally, const char *first)
{
    size_t numbers[] = { tally->runs, tally->by_status[CHECK_OK], tally->by_status[CHECK_REPORTS],
                         failures(tally) };
    size_t used = table->label;

    print_label(out, label, table->label);
    for (size_t i = 0; i < 4; i++) {
        fprintf(out, "  %*zu", table->numbers[i], numbers[i]);
        used += 2 + (size_t)table->numbers[i];
    }
    if (*first) {
        fputs("  ", out);
        print_plain(out, first, WIDTH - used - 2);
    }
    fputc('\n', out);
}

static void print_table(const struct check_result *result, FILE *out)
{
    static const char *const heads[] = { "runs", "right", "reports", "failed" };
    const struct check_request *request = result->request;
    struct table table = { 5, { 0 } };
    int number = digits(result->run_count);
    struct check_tally all = dk_check_result_tally(result, SIZE_MAX);
    char first[512];

    for (size_t i = 0; i < request->board_count; i++) {
        size_t length = strlen(request->boards[i].label);

        if (length > table.label)
            table.label = length < WIDEST_LABEL ? length : WIDEST_LABEL;
    }
    fprintf(out, "%-*s", (int)table.label, "board");
    for (size_t i = 0; i < 4; i++) {
        table.numbers[i] = (int)strlen(heads[i]) > number ? (int)strlen(heads[i]) : number;
        fprintf(out, "  %*s", table.numbers[i], heads[i]);
    }
    fputs("  first finding\n", out);
    for (size_t i = 0; i < request->board_count; i++) {
        struct check_tally tally = dk_check_result_tally(result, i);

        describe_first(result, i, first, sizeof(first));
        print_row(out, &table, request->boards[i].label, &tally, first);
    }
    if (request->board_count > 1)
        print_row(out, &table, "all", &all, "");
}

/* "0..3, 7" of the seeds of the runs [@at, @end) of @runs, all of one board. */
static void print_seeds(const struct check_result *result, const size_t *runs, size_t count, FILE *out)
{
    fputs(count > 1 ? "seeds " : "seed ", out);
    for (size_t i = 0; i < count;) {
        u64 first = result->runs[runs[i]].seed;
        size_t last = i;

        while (last + 1 < count && result->runs[runs[last + 1]].seed == first + (last + 1 - i))
            last++;
        fprintf(out, "%s%llu", i ? ", " : "", (unsigned long long)first);
        if (last > i)
            fprintf(out, "%s%llu", last == i + 1 ? ", " : "..",
                    (unsigned long long)result->runs[runs[last]].seed);
        i = last + 1;
    }
}

/* Where a bug or a failure was seen: a line for each board. */
static void print_seen(const struct check_result *result, const size_t *runs, size_t count, FILE *out)
{
    size_t boards = 0;

    for (size_t i = 0; i < count;) {
        size_t board = result->runs[runs[i]].board;
        size_t end = i;

        while (end < count && result->runs[runs[end]].board == board)
            end++;
        if (++boards > MOST_BOARDS) {
            i = end;
            continue;
        }
        fputs(i ? "             " : "  seen on:   ", out);
        print_plain(out, result->request->boards[board].label, SIZE_MAX);
        if (!result->request->boards[board].refusal) {
            fputs(", ", out);
            print_seeds(result, runs + i, end - i, out);
        }
        fputc('\n', out);
        i = end;
    }
    if (boards > MOST_BOARDS)
        fprintf(out, "             and %zu more board%s\n", boards - MOST_BOARDS,
                boards == MOST_BOARDS + 1 ? "" : "s");
}

/* What it takes to see it, when that is known. */
static void print_needs(const struct check_smallest *smallest, FILE *out)
{
    const char *separator = "";

    if (!smallest->tried)
        return;
    fputs("  needs:     ", out);
    if (!smallest->steady) {
        fputs("chance or timing: the same setting did not show it again\n", out);
        return;
    }
    if (smallest->needs_board) {
        fputs("this board", out);
        separator = ", ";
    }
    for (const char *word = smallest->options; *word; word += strcspn(word, ":")) {
        word += *word == ':';
        fputs(separator, out);
        print_plain(out, word, strcspn(word, ":"));
        separator = ", ";
    }
    if (!*separator)
        fputs("no board and no seed: what is built in shows it", out);
    if (smallest->depth)
        fprintf(out, "; depth %d is enough\n", smallest->depth);
    else
        fputs("; the checker may be off\n", out);
}

static void print_reproduce(const struct check_result *result, size_t run,
                            const struct check_smallest *smallest, FILE *out)
{
    char *line = dk_check_reproduce(result, run, smallest);

    fprintf(out, "  reproduce: %s\n", line ? line : "(out of memory)");
    dk_release(line);
    print_needs(smallest, out);
}

static void print_field(FILE *out, const char *name, const char *text)
{
    if (!*text)
        return;
    fprintf(out, "  %-10s ", name);
    print_plain(out, text, SIZE_MAX);
    fputc('\n', out);
}

static void print_stack(struct json_object *part, FILE *out)
{
    struct json_object *stack = dk_check_member(part, "stack", json_type_array);

    for (size_t i = 0; stack && i < json_object_array_length(stack); i++) {
        struct json_object *frame = json_object_array_get_idx(stack, i);
        struct json_object *line;
        const char *file;

        if (!json_object_is_type(frame, json_type_object))
            continue;
        line = dk_check_member(frame, "line", json_type_int);
        file = dk_check_text(frame, "file");
        fprintf(out, "             #%zu ", i);
        print_plain(out, *dk_check_text(frame, "function") ? dk_check_text(frame, "function") : "??",
                    SIZE_MAX);
        fputc(' ', out);
        print_plain(out, *file ? file : dk_check_text(frame, "module"), SIZE_MAX);
        if (*file && line)
            fprintf(out, ":%d", json_object_get_int(line));
        fputc('\n', out);
        /* Below it is only what the C library does to get there. */
        if (!strcmp(dk_check_text(frame, "function"), "main"))
            return;
    }
}

/* Whole numbers as they are, else "". */
static const char *number_text(struct json_object *object, const char *key)
{
    struct json_object *number = dk_check_member(object, key, json_type_int);
    const char *text = number ? json_object_to_json_string(number) : NULL;

    return text ? text : "?";
}

static void print_parts(struct json_object *report, FILE *out)
{
    struct json_object *bytes = dk_check_member(report, "bytes", json_type_object);
    struct json_object *mapping = dk_check_member(report, "mapping", json_type_object);
    struct json_object *access = dk_check_member(report, "access", json_type_object);
    struct json_object *undone = dk_check_member(report, "undone", json_type_object);

    print_field(out, "device:", dk_check_text(report, "device"));
    if (bytes && strcmp(number_text(bytes, "length"), "0") != 0)
        fprintf(out, "  bytes:     %s%s%s%s\n", number_text(bytes, "length"), mapping ? " from byte " : "",
                mapping ? number_text(bytes, "offset") : "", mapping ? " of the mapping" : "");
    if (access) {
        const char *name = dk_check_text(access, "name");

        print_field(out, "by:", *name ? name : dk_check_text(access, "kind"));
        print_stack(access, out);
    }
    if (mapping) {
        fputs("  mapping:   ", out);
        print_plain(out, dk_check_text(mapping, "kind"), SIZE_MAX);
        fprintf(out, ", %s bytes at ", number_text(mapping, "size"));
        print_plain(out, dk_check_text(mapping, "dma"), SIZE_MAX);
        fputs(", ", out);
        print_plain(out, dk_check_text(mapping, "direction"), SIZE_MAX);
        fputs(", made at\n", out);
        print_stack(mapping, out);
    }
    if (undone) {
        fputs("  ", out);
        print_plain(out, dk_check_text(undone, "kind"), SIZE_MAX);
        fputs(" at\n", out);
        print_stack(undone, out);
    }
}

/* Lines as the library drew them. */
static void print_picture(const char *lines, FILE *out)
{
    while (*lines) {
        size_t length = strcspn(lines, "\n");

        print_plain(out, lines, length);
        fputc('\n', out);
        lines += length + (lines[length] == '\n');
    }
}

static void print_bug(const struct check_result *result, const struct check_bug *bug, FILE *out)
{
    char place[1024];

    describe_place(bug->report, true, place, sizeof(place));
    fputc('\n', out);
    print_plain(out,
                *dk_check_text(bug->report, "severity") ? dk_check_text(bug->report, "severity") : "error",
                SIZE_MAX);
    fputs(": ", out);
    print_plain(out, dk_check_text(bug->report, "class"), SIZE_MAX);
    if (*place) {
        fputs(" at ", out);
        print_plain(out, place, SIZE_MAX);
    }
    fputc('\n', out);
    print_field(out, "what:", dk_check_text(bug->report, "what"));
    print_field(out, "advice:", dk_check_text(bug->report, "advice"));
    print_parts(bug->report, out);
    print_picture(dk_check_text(bug->report, "picture"), out);
    print_seen(result, bug->runs, bug->run_count, out);
    print_reproduce(result, bug->runs[0], &bug->smallest, out);
}

/* The last lines of a run's output, indented. */
static void print_output(const char *output, FILE *out)
{
    const char *end = output + strlen(output);
    const char *start;
    int lines = 0;

    while (end > output && end[-1] == '\n')
        end--;
    start = end;
    while (start > output && (start[-1] != '\n' || ++lines < LAST_LINES))
        start--;
    if (start == end)
        return;
    fputs("  its last output:\n", out);
    while (start < end) {
        const char *newline = memchr(start, '\n', (size_t)(end - start));
        size_t length = (size_t)((newline ? newline : end) - start);

        fputs("    ", out);
        print_plain(out, start, length);
        fputc('\n', out);
        start += length + 1;
    }
}

static void print_failure(const struct check_result *result, const struct check_failure *failure, FILE *out)
{
    const struct check_run *run = &result->runs[failure->runs[0]];
    char text[600];

    dk_check_describe_failure(result, run, text, sizeof(text));
    fputc('\n', out);
    print_plain(out, text, SIZE_MAX);
    fputc('\n', out);
    print_seen(result, failure->runs, failure->run_count, out);
    if (run->output)
        print_output(run->output, out);
    if (run->status != CHECK_REFUSED)
        print_reproduce(result, failure->runs[0], &failure->smallest, out);
}

/* How many reports each line of the suppressions hid; of lines that hid nothing the library's log tells. */
static void print_suppressed(const struct check_result *result, FILE *out)
{
    const struct check_bugs *bugs = &result->suppressed;
    unsigned long reports = 0;
    size_t runs = 0;

    for (size_t i = 0; i < result->run_count; i++) {
        reports += result->runs[i].suppressed;
        runs += result->runs[i].suppressed != 0;
    }
    if (!reports)
        return;
    fprintf(out, "\nnote: %lu report%s of %zu run%s suppressed:\n", reports, reports == 1 ? "" : "s", runs,
            runs == 1 ? " was" : "s were");
    for (size_t i = 0; i < bugs->count; i++) {
        char place[1024];

        describe_place(bugs->bugs[i]->report, true, place, sizeof(place));
        fprintf(out, "%8zu runs  ", bugs->bugs[i]->run_count);
        print_plain(out, dk_check_text(bugs->bugs[i]->report, "class"), SIZE_MAX);
        fprintf(out, "%s", *place ? " at " : "");
        print_plain(out, place, SIZE_MAX);
        fputs(" by ", out);
        print_plain(out, dk_check_text(bugs->bugs[i]->report, "suppressed"), SIZE_MAX);
        fputc('\n', out);
    }
}

/* What may make a good result mean less than it seems. */
static void print_notes(const struct check_result *result, FILE *out)
{
    const char *hint = dk_check_hint(result);
    unsigned long unreadable = 0;
    bool ran = false;
    bool reported = false;

    for (size_t i = 0; i < result->run_count; i++) {
        unreadable += result->runs[i].unreadable;
        ran = ran || result->runs[i].status != CHECK_REFUSED;
        reported = reported || result->runs[i].reported;
    }
    if (hint)
        fprintf(out, "\nnote: %s\n", hint);
    if (unreadable)
        fprintf(out, "\nnote: %lu line%s of report files could not be read\n", unreadable,
                unreadable == 1 ? "" : "s");
    print_suppressed(result, out);
    if (result->unfinished)
        fputs(
            "\nnote: finding the smallest settings took too long: what has no \"needs:\" is shown as it was run\n",
            out);
    if (ran && !reported)
        fputs("\nnote: no run started a checker: does PROGRAM make a machine, at a depth above 0?\n", out);
}

void dk_check_print(const struct check_result *result, FILE *out)
{
    print_table(result, out);
    for (size_t i = 0; i < result->found.count; i++)
        print_bug(result, result->found.bugs[i], out);
    for (size_t i = 0; i < result->failure_count; i++)
        print_failure(result, &result->failures[i], out);
    print_notes(result, out);
}
