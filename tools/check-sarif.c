/* SPDX-License-Identifier: MIT */
/*
 * The outcome of dmakit check as a SARIF log: a result for each distinct bug, a notification for each run
 * that failed without one.
 */
#include "base/alloc.h"
#include "check.h"
#include "check/json.h"
#include "check/sarif.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- A report back from its JSON ---- */

static const char *text_or_null(struct json_object *object, const char *key)
{
    struct json_object *member = dk_check_member(object, key, json_type_string);

    return member ? json_object_get_string(member) : NULL;
}

/* "0x…" of @key. */
static u64 address_of(struct json_object *object, const char *key)
{
    return strtoull(dk_check_text(object, key), NULL, 16);
}

static u64 number_of(struct json_object *object, const char *key)
{
    struct json_object *member = dk_check_member(object, key, json_type_int);

    return member ? json_object_get_uint64(member) : 0;
}

static void read_stack(struct json_object *part, struct dk_frames *frames)
{
    struct json_object *stack = dk_check_member(part, "stack", json_type_array);

    for (size_t i = 0; stack && i < json_object_array_length(stack) && i < DK_STACK_DEPTH; i++) {
        struct json_object *from = json_object_array_get_idx(stack, i);

        if (!json_object_is_type(from, json_type_object))
            continue;
        frames->frames[frames->count++] = (struct dk_frame){
            .function = text_or_null(from, "function"),
            .file = text_or_null(from, "file"),
            .line = (int)number_of(from, "line"),
            .module = text_or_null(from, "module"),
            .address = (uintptr_t)address_of(from, "address"),
        };
    }
}

/* What @object's members point to lives as long as @object. */
static void read_report(struct json_object *object, struct dk_report *report)
{
    struct json_object *bytes = dk_check_member(object, "bytes", json_type_object);
    struct json_object *mapping = dk_check_member(object, "mapping", json_type_object);
    struct json_object *access = dk_check_member(object, "access", json_type_object);
    struct json_object *undone = dk_check_member(object, "undone", json_type_object);

    *report = (struct dk_report){
        .class_name = dk_check_text(object, "class"),
        .severity = dk_check_text(object, "severity"),
        .device = dk_check_text(object, "device"),
        .what = dk_check_text(object, "what"),
        .advice = dk_check_text(object, "advice"),
        .access = { .kind = "call", .name = "" },
        .count = 1,
        .picture = text_or_null(object, "picture"),
        .suppressed = text_or_null(object, "suppressed"),
    };
    if (bytes) {
        report->bytes.cpu = (uintptr_t)address_of(bytes, "cpu");
        report->bytes.dma = address_of(bytes, "dma");
        report->bytes.offset = number_of(bytes, "offset");
        report->bytes.length = number_of(bytes, "length");
    }
    if (mapping) {
        report->mapping.kind = dk_check_text(mapping, "kind");
        report->mapping.dma = address_of(mapping, "dma");
        report->mapping.size = number_of(mapping, "size");
        report->mapping.direction = dk_check_text(mapping, "direction");
        read_stack(mapping, &report->mapping.stack);
    }
    if (access) {
        report->access.kind = dk_check_text(access, "kind");
        report->access.name = dk_check_text(access, "name");
        read_stack(access, &report->access.stack);
    }
    if (undone) {
        report->undone.kind = dk_check_text(undone, "kind");
        read_stack(undone, &report->undone.stack);
    }
}

/* ---- Telling ---- */

static void print_where(const struct check_result *result, size_t run, FILE *out)
{
    const struct check_board *board = &result->request->boards[result->runs[run].board];

    fputs("{\"board\": ", out);
    dk_json_string(board->path, out);
    if (result->runs[run].status == CHECK_REFUSED)
        fputs(", \"seed\": null}", out);
    else
        fprintf(out, ", \"seed\": %llu}", (unsigned long long)result->runs[run].seed);
}

/* The members that a bug's result has in its property bag besides. */
static char *bug_properties(const struct check_result *result, const struct check_bug *bug)
{
    char *again = dk_check_reproduce(result, bug->runs[0], &bug->smallest);
    char *text = NULL;
    size_t size = 0;
    FILE *out = again && !dk_fault_point() ? open_memstream(&text, &size) : NULL;

    if (!out) {
        dk_release(again);
        return NULL;
    }
    fputs("\"reproduce\": ", out);
    dk_json_string(again, out);
    fputs(", \"runs\": [", out);
    for (size_t i = 0; i < bug->run_count; i++) {
        fputs(i ? ", " : "", out);
        print_where(result, bug->runs[i], out);
    }
    fputc(']', out);
    dk_release(again);
    if (!fclose(out))
        return text;
    free(text);
    return NULL;
}

static int print_bugs(const struct check_result *result, const struct check_bugs *bugs,
                      const char **separator, FILE *out)
{
    for (size_t i = 0; i < bugs->count; i++) {
        char *properties = bug_properties(result, bugs->bugs[i]);
        struct dk_report report;

        if (!properties)
            return -ENOMEM;
        read_report(bugs->bugs[i]->report, &report);
        fputs(*separator, out);
        dk_sarif_result(&report, bugs->bugs[i]->run_count, properties, out);
        *separator = ",\n";
        free(properties);
    }
    return 0;
}

static void print_notification(const struct check_result *result, size_t run, FILE *out)
{
    const struct check_board *board = &result->request->boards[result->runs[run].board];
    char failure[600], text[1000];

    dk_check_describe_failure(result, &result->runs[run], failure, sizeof(failure));
    if (result->runs[run].status == CHECK_REFUSED)
        snprintf(text, sizeof(text), "%s: %s", board->label, failure);
    else
        snprintf(text, sizeof(text), "%s, seed %llu: %s", board->label,
                 (unsigned long long)result->runs[run].seed, failure);
    fputs("{\"level\": \"error\", \"message\": {\"text\": ", out);
    dk_json_string(text, out);
    fputs("}, \"properties\": ", out);
    print_where(result, run, out);
    fputc('}', out);
}

static void print_invocation(const struct check_result *result, FILE *out)
{
    const char *separator = "";

    fputs("{\"executionSuccessful\": true, \"arguments\": [", out);
    for (size_t i = 0; result->request->program[i]; i++) {
        fputs(i ? ", " : "", out);
        dk_json_string(result->request->program[i], out);
    }
    fputs("], \"toolExecutionNotifications\": [", out);
    for (size_t i = 0; i < result->run_count; i++) {
        if (result->runs[i].status == CHECK_OK || result->runs[i].status == CHECK_REPORTS)
            continue;
        fputs(separator, out);
        print_notification(result, i, out);
        separator = ", ";
    }
    fputs("]}", out);
}

int dk_check_print_sarif(const struct check_result *result, FILE *out)
{
    const char *separator = "\n";
    char *invocation = NULL;
    size_t size = 0;
    FILE *told = dk_fault_point() ? NULL : open_memstream(&invocation, &size);
    int error;

    if (!told)
        return -ENOMEM;
    print_invocation(result, told);
    error = fclose(told) ? -ENOMEM : 0;
    if (!error) {
        dk_sarif_begin(invocation, out);
        error = print_bugs(result, &result->found, &separator, out);
    }
    if (!error)
        error = print_bugs(result, &result->suppressed, &separator, out);
    if (!error)
        fputs(DK_SARIF_END, out);
    free(invocation);
    return error;
}
