/* SPDX-License-Identifier: MIT */
/*
 * What the runs of dmakit check reported, gathered: a report file's lines, and the distinct bugs among them.
 */
#include "base/alloc.h"
#include "check.h"
#include "check/classes.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MOST_RUNS 1000000
/* A program that reports without end must not take our memory with it. */
#define LONGEST_LINE ((size_t)1 << 20)
#define MOST_REPORTS 4096

struct json_object *dk_check_member(struct json_object *object, const char *key, enum json_type type)
{
    struct json_object *member;

    if (!json_object_object_get_ex(object, key, &member) || !json_object_is_type(member, type))
        return NULL;
    return member;
}

const char *dk_check_text(struct json_object *object, const char *key)
{
    struct json_object *member = dk_check_member(object, key, json_type_string);
    const char *text = member ? json_object_get_string(member) : NULL;

    return text ? text : "";
}

const char *dk_check_status_name(enum check_status status)
{
    static const char *const names[] = { "ok", "reports", "failed", "crashed", "timeout", "refused" };

    return names[status];
}

/* The innermost frame of @part's stack. */
static struct check_place first_frame(struct json_object *report, const char *part)
{
    struct json_object *outer = dk_check_member(report, part, json_type_object);
    struct json_object *stack = outer ? dk_check_member(outer, "stack", json_type_array) : NULL;
    struct json_object *frame = stack ? json_object_array_get_idx(stack, 0) : NULL;
    struct check_place place = { "", "", 0 };

    if (json_object_is_type(frame, json_type_object)) {
        struct json_object *line = dk_check_member(frame, "line", json_type_int);

        place.function = dk_check_text(frame, "function");
        place.file = dk_check_text(frame, "file");
        place.line = line ? json_object_get_int(line) : 0;
    }
    return place;
}

static bool place_known(const struct check_place *place)
{
    return *place->file || *place->function;
}

struct check_place dk_check_report_place(struct json_object *report)
{
    bool by_mapping = dk_class_lies_in_mapping(dk_check_text(report, "class"));
    struct check_place place = first_frame(report, by_mapping ? "mapping" : "access");

    return place_known(&place) ? place : first_frame(report, by_mapping ? "access" : "mapping");
}

/* Numbers that JSON does not have, which json-c reads all the same. */
static bool has_bad_number(struct json_object *value)
{
    switch (json_object_get_type(value)) {
    case json_type_double:
        return !isfinite(json_object_get_double(value));
    case json_type_array:
        for (size_t i = 0; i < json_object_array_length(value); i++) {
            if (has_bad_number(json_object_array_get_idx(value, i)))
                return true;
        }
        return false;
    case json_type_object: {
        struct json_object_iterator at = json_object_iter_begin(value);
        struct json_object_iterator end = json_object_iter_end(value);

        for (; !json_object_iter_equal(&at, &end); json_object_iter_next(&at)) {
            if (has_bad_number(json_object_iter_peek_value(&at)))
                return true;
        }
        return false;
    }
    default:
        return false;
    }
}

/* The report in the @length bytes at @line; NULL: it is none. */
static struct json_object *parse_report(struct json_tokener *tokener, const char *line, size_t length)
{
    struct json_object *report;

    json_tokener_reset(tokener);
    report = json_tokener_parse_ex(tokener, line, (int)length);
    if (json_tokener_get_error(tokener) != json_tokener_success ||
        json_tokener_get_parse_end(tokener) != length || !json_object_is_type(report, json_type_object) ||
        !*dk_check_text(report, "class") || has_bad_number(report)) {
        json_object_put(report);
        return NULL;
    }
    return report;
}

/* What tells one bug from another: class, and the places of the access and of the mapping. */
static char *bug_key(struct json_object *report)
{
    struct check_place access = first_frame(report, "access");
    struct check_place mapping = first_frame(report, "mapping");

    return dk_format("%s|%s|%d|%s|%s|%d|%s", dk_check_text(report, "class"), access.file, access.line,
                     access.function, mapping.file, mapping.line, mapping.function);
}

static void free_smallest(struct check_smallest *smallest)
{
    dk_release(smallest->options);
    dk_release(smallest->line);
}

static void free_bug(struct check_bug *bug)
{
    if (!bug)
        return;
    json_object_put(bug->report);
    free_smallest(&bug->smallest);
    dk_release(bug->key);
    dk_release(bug->runs);
    dk_release(bug);
}

static void free_bugs(struct check_bugs *bugs)
{
    for (size_t i = 0; i < bugs->count; i++)
        free_bug(bugs->bugs[i]);
    dk_release(bugs->bugs);
}

/* The bug with @key, new if need be. @key is taken over, also on failure (NULL). */
static struct check_bug *find_bug(struct check_bugs *bugs, char *key)
{
    struct check_bug *bug;

    for (size_t i = 0; i < bugs->count; i++) {
        if (!strcmp(bugs->bugs[i]->key, key)) {
            dk_release(key);
            return bugs->bugs[i];
        }
    }
    if (bugs->count == bugs->room) {
        size_t room = bugs->room ? bugs->room * 2 : 16;
        struct check_bug **grown = dk_resize(bugs->bugs, room, sizeof(struct check_bug *));

        if (!grown)
            goto no_memory;
        bugs->bugs = grown;
        bugs->room = room;
    }
    bug = dk_allocate(1, sizeof(*bug));
    if (!bug)
        goto no_memory;
    bug->key = key;
    bugs->bugs[bugs->count++] = bug;
    return bug;

no_memory:
    dk_release(key);
    return NULL;
}

/* Notes that run @run made @bug. */
static int note_run(struct check_bug *bug, size_t run)
{
    if (bug->run_count && bug->runs[bug->run_count - 1] == run)
        return 0;
    if (bug->run_count == bug->run_room) {
        size_t room = bug->run_room ? bug->run_room * 2 : 4;
        size_t *grown = dk_resize(bug->runs, room, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        bug->runs = grown;
        bug->run_room = room;
    }
    bug->runs[bug->run_count++] = run;
    return 0;
}

/* The smallest run that made @bug so far; the report of that one is kept. */
static bool is_earliest(const struct check_bug *bug, size_t run)
{
    for (size_t i = 0; i < bug->run_count; i++) {
        if (bug->runs[i] <= run)
            return false;
    }
    return true;
}

/* Keeps @report's text with @run, for the JSON output. */
static int keep_text(struct check_run *run, struct json_object *report)
{
    const char *text =
        json_object_to_json_string_ext(report, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
    char **grown = dk_resize(run->reports, run->report_count + 1, sizeof(char *));

    if (!grown)
        return -ENOMEM;
    run->reports = grown;
    grown[run->report_count] = text ? dk_copy_string(text) : NULL;
    return grown[run->report_count] ? 0 : -ENOMEM;
}

static int add_report(struct check_result *result, size_t index, struct json_object *report)
{
    struct check_run *run = &result->runs[index];
    bool suppressed = *dk_check_text(report, "suppressed");
    char *key = bug_key(report);
    struct check_bug *bug = key ? find_bug(suppressed ? &result->suppressed : &result->found, key) : NULL;

    if (!bug)
        return -ENOMEM;
    if (!bug->report || is_earliest(bug, index)) {
        json_object_put(bug->report);
        bug->report = json_object_get(report);
        bug->order = run->report_count + run->suppressed;
    }
    if (note_run(bug, index))
        return -ENOMEM;
    if (suppressed) {
        run->suppressed++;
        return 0;
    }
    if (result->request->format == CHECK_JSON && keep_text(run, report))
        return -ENOMEM;
    if (!run->first)
        run->first = bug;
    run->report_count++;
    return 0;
}

static bool is_blank(const char *line, size_t length)
{
    return strspn(line, " \t\r") >= length;
}

/* Reads one line of at most LONGEST_LINE bytes; skips the rest of a longer one. -1 at the end of the file. */
static ssize_t next_line(FILE *file, char **line, size_t *room, bool *cut)
{
    size_t used = 0;
    int byte;

    *cut = false;
    while ((byte = getc_unlocked(file)) != EOF && byte != '\n') {
        if (used + 1 >= LONGEST_LINE) {
            *cut = true;
            continue;
        }
        if (used + 1 >= *room) {
            char *grown = dk_resize(*line, *room * 2, 1);

            if (!grown)
                return -ENOMEM;
            *line = grown;
            *room *= 2;
        }
        (*line)[used++] = (char)byte;
    }
    (*line)[used] = 0;
    return byte == EOF && !used ? 0 : (ssize_t)used + 1;
}

static int read_reports(struct check_result *result, size_t index, FILE *file, struct json_tokener *tokener)
{
    struct check_run *run = &result->runs[index];
    size_t room = 4096;
    char *line = dk_allocate(room, 1);
    int error = line ? 0 : -ENOMEM;
    ssize_t length = 0;
    bool cut;

    while (!error && (length = next_line(file, &line, &room, &cut)) > 0) {
        struct json_object *report;

        if (!cut && is_blank(line, (size_t)length - 1))
            continue;
        report = cut || run->report_count + run->suppressed >= MOST_REPORTS
                     ? NULL
                     : parse_report(tokener, line, (size_t)length - 1);
        if (!report)
            run->unreadable++;
        else
            error = add_report(result, index, report);
        json_object_put(report);
    }
    if (!error && length < 0)
        error = (int)length;
    if (!error && ferror(file))
        error = -EIO;
    dk_release(line);
    return error;
}

static int read_report_file(struct check_result *result, size_t index, const char *path)
{
    struct json_tokener *tokener;
    FILE *file = fopen(path, "re");
    int error;

    if (!file)
        return errno == ENOENT ? 0 : -errno;
    result->runs[index].reported = true;
    tokener = json_tokener_new();
    if (tokener) {
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
        error = read_reports(result, index, file, tokener);
        json_tokener_free(tokener);
    } else {
        error = -ENOMEM;
    }
    fclose(file);
    return error;
}

int dk_check_result_add(struct check_result *result, size_t index, const char *path, bool timed_out)
{
    struct check_run *run = &result->runs[index];
    int error = read_report_file(result, index, path);

    if (timed_out)
        run->status = CHECK_TIMEOUT;
    else if (run->signal)
        run->status = CHECK_CRASHED;
    else if (run->report_count)
        run->status = CHECK_REPORTS;
    else if (run->exit || run->unreadable)
        run->status = CHECK_FAILED;
    else
        run->status = CHECK_OK;
    if (run->status == CHECK_OK || run->status == CHECK_REPORTS) {
        dk_release(run->output);
        run->output = NULL;
    }
    result->done++;
    result->wrong += run->status != CHECK_OK;
    return error;
}

int dk_check_result_init(struct check_result *result, const struct check_request *request)
{
    u64 seeds = request->seed_last - request->seed_first;
    size_t at = 0;

    if (seeds >= MOST_RUNS || request->board_count > MOST_RUNS / (seeds + 1))
        return -E2BIG;
    seeds++;
    *result = (struct check_result){ .request = request };
    result->runs = dk_allocate(request->board_count * (size_t)seeds, sizeof(struct check_run));
    if (!result->runs)
        return -ENOMEM;
    for (size_t board = 0; board < request->board_count; board++) {
        if (request->boards[board].refusal) {
            result->runs[at++] = (struct check_run){ .board = board, .status = CHECK_REFUSED, .exit = -1 };
            result->done++;
            result->wrong++;
            continue;
        }
        for (u64 i = 0; i < seeds; i++)
            result->runs[at++] =
                (struct check_run){ .board = board, .seed = request->seed_first + i, .exit = -1 };
    }
    result->run_count = at;
    return 0;
}

static int compare_runs(const void *a, const void *b)
{
    size_t x = *(const size_t *)a;
    size_t y = *(const size_t *)b;

    return (x > y) - (x < y);
}

static int compare_bugs(const void *a, const void *b)
{
    const struct check_bug *x = *(struct check_bug *const *)a;
    const struct check_bug *y = *(struct check_bug *const *)b;

    if (x->runs[0] != y->runs[0])
        return x->runs[0] < y->runs[0] ? -1 : 1;
    return (x->order > y->order) - (x->order < y->order);
}

static void settle_bugs(struct check_bugs *bugs)
{
    for (size_t i = 0; i < bugs->count; i++)
        qsort(bugs->bugs[i]->runs, bugs->bugs[i]->run_count, sizeof(size_t), compare_runs);
    if (bugs->count)
        qsort(bugs->bugs, bugs->count, sizeof(struct check_bug *), compare_bugs);
}

bool dk_check_same_failure(const struct check_run *a, const struct check_run *b)
{
    return a->status == b->status && a->exit == b->exit && a->signal == b->signal &&
           (a->status != CHECK_REFUSED || a->board == b->board);
}

/* The failure of @run's kind, new if need be, with room for all runs. NULL: out of memory. */
static struct check_failure *find_failure(struct check_result *result, const struct check_run *run)
{
    struct check_failure *failure;

    for (size_t i = 0; i < result->failure_count; i++) {
        failure = &result->failures[i];
        if (dk_check_same_failure(run, &result->runs[failure->runs[0]]))
            return failure;
    }
    failure = dk_resize(result->failures, result->failure_count + 1, sizeof(*failure));
    if (!failure)
        return NULL;
    result->failures = failure;
    failure += result->failure_count;
    *failure = (struct check_failure){ .runs = dk_allocate(result->run_count, sizeof(size_t)) };
    if (!failure->runs)
        return NULL;
    result->failure_count++;
    return failure;
}

static int gather_failures(struct check_result *result)
{
    for (size_t i = 0; i < result->run_count; i++) {
        const struct check_run *run = &result->runs[i];
        struct check_failure *failure;

        if (run->status == CHECK_OK || run->status == CHECK_REPORTS)
            continue;
        failure = find_failure(result, run);
        if (!failure)
            return -ENOMEM;
        failure->runs[failure->run_count++] = i;
    }
    return 0;
}

int dk_check_result_settle(struct check_result *result)
{
    settle_bugs(&result->found);
    settle_bugs(&result->suppressed);
    return gather_failures(result);
}

struct check_tally dk_check_result_tally(const struct check_result *result, size_t board)
{
    struct check_tally tally = { 0 };

    for (size_t i = 0; i < result->run_count; i++) {
        const struct check_run *run = &result->runs[i];

        if (board != SIZE_MAX && run->board != board)
            continue;
        tally.runs++;
        tally.by_status[run->status]++;
    }
    return tally;
}

void dk_check_result_free(struct check_result *result)
{
    for (size_t i = 0; i < result->run_count; i++) {
        struct check_run *run = &result->runs[i];

        for (unsigned long j = 0; run->reports && j < run->report_count; j++)
            dk_release(run->reports[j]);
        dk_release(run->reports);
        dk_release(run->output);
    }
    dk_release(result->runs);
    for (size_t i = 0; i < result->failure_count; i++) {
        free_smallest(&result->failures[i].smallest);
        dk_release(result->failures[i].runs);
    }
    dk_release(result->failures);
    free_bugs(&result->found);
    free_bugs(&result->suppressed);
    *result = (struct check_result){ 0 };
}
