/* SPDX-License-Identifier: MIT */
#include "check/report.h"

#include "base/alloc.h"
#include "base/log.h"
#include "check/bytes.h"
#include "check/checker.h"
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct dk_kept_report {
    struct dk_kept_report *next;
    u32 access_stack, mapping_stack;
    struct dk_suppression *suppression; /* what hides it; NULL: nothing */
    struct dk_report report;
    char text[]; /* what the report's strings point to */
};

/*
 * Another pair of stacks with the same functions, files and lines as a kept report's: compilers copy code
 * (the first round of a loop, say), and to the reader that is one place.
 */
struct dk_report_alias {
    struct dk_report_alias *next;
    u32 access_stack, mapping_stack;
    struct dk_kept_report *kept;
};

int dk_reports_init(struct dk_reports *reports, const struct dk_check_options *options)
{
    int error;

    *reports = (struct dk_reports){ .print_suppressed = options->print_suppressed,
                                    .abort_on_error = options->abort_on_error };
    reports->last = &reports->first;
    if (options->suppressions) {
        error = dk_suppressions_read(&reports->suppressions, options->suppressions);
        if (error)
            return error;
    }
    error = dk_printer_init(&reports->printer, options);
    if (error) {
        dk_suppressions_finish(&reports->suppressions);
        return error;
    }
    pthread_mutex_init(&reports->lock, NULL);
    pthread_rwlock_init(&reports->sink_lock, NULL);
    return 0;
}

/* One line of what was suppressed: among reports for people, else in the log for those who want to know. */
static void say(struct dk_reports *reports, const char *line)
{
    char text[600];

    snprintf(text, sizeof(text), "==dmakit== %s\n", line);
    if (reports->sink || !dk_printer_say(&reports->printer, text))
        dk_log(DK_LOG_INFO, "%s", line);
}

static void say_suppressed(struct dk_reports *reports)
{
    const struct dk_suppressions *suppressions = &reports->suppressions;
    char line[512];
    size_t i;

    if (reports->suppressed) {
        snprintf(line, sizeof(line), "%lu report%s suppressed by %s:", reports->suppressed,
                 reports->suppressed == 1 ? " was" : "s were", suppressions->path);
        say(reports, line);
    }
    for (i = 0; i < suppressions->count; i++) {
        const struct dk_suppression *entry = &suppressions->entries[i];

        if (entry->hits) {
            snprintf(line, sizeof(line), "%8lu by line %u, %s", entry->hits, entry->line, entry->text);
            say(reports, line);
        } else {
            dk_log(DK_LOG_INFO, "suppressions %s:%u: \"%s\" hid nothing", suppressions->path, entry->line,
                   entry->text);
        }
    }
}

void dk_reports_finish(struct dk_reports *reports)
{
    struct dk_kept_report *kept = reports->first;
    struct dk_report_alias *alias = reports->aliases;

    say_suppressed(reports);
    while (kept) {
        struct dk_kept_report *next = kept->next;

        dk_release(kept);
        kept = next;
    }
    while (alias) {
        struct dk_report_alias *next = alias->next;

        dk_release(alias);
        alias = next;
    }
    dk_printer_finish(&reports->printer);
    dk_suppressions_finish(&reports->suppressions);
    pthread_rwlock_destroy(&reports->sink_lock);
    pthread_mutex_destroy(&reports->lock);
}

void dk_draft_what(struct dk_report_draft *draft, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(draft->what, sizeof(draft->what), format, arguments);
    va_end(arguments);
}

/* ---- Handing over ---- */

/* @report is suppressed: it goes to the printer alone, and only where the user wants such ones too. */
static void deliver_suppressed(struct dk_reports *reports, const struct dk_report *report)
{
    bool has_sink;

    if (!reports->print_suppressed || reports->printer.format == DK_REPORT_TEXT)
        return;
    pthread_rwlock_rdlock(&reports->sink_lock);
    has_sink = reports->sink;
    if (!has_sink)
        dk_printer_print(&reports->printer, report);
    pthread_rwlock_unlock(&reports->sink_lock);
}

static void deliver(struct dk_reports *reports, const struct dk_report *report)
{
    int saved = errno;

    if (report->suppressed) {
        deliver_suppressed(reports, report);
        errno = saved;
        return;
    }
    pthread_rwlock_rdlock(&reports->sink_lock);
    if (reports->sink)
        reports->sink(report, reports->sink_data);
    else
        dk_printer_print(&reports->printer, report);
    pthread_rwlock_unlock(&reports->sink_lock);
    /* The one place that ends the user's process: options->abort_on_error is the user's order to do so. */
    if (reports->abort_on_error)
        abort();
    errno = saved;
}

/* ---- Making ---- */

/* One more report of @class_name, or one more that @suppression hides. Under the lock. */
static void count(struct dk_reports *reports, const char *class_name, struct dk_suppression *suppression)
{
    enum dk_class class_index = dk_class_find(class_name);

    if (suppression) {
        reports->suppressed++;
        suppression->hits++;
        return;
    }
    reports->total++;
    if (class_index < DK_CLASS_COUNT)
        reports->counts[class_index]++;
}

static bool same_class(const struct dk_kept_report *kept, const struct dk_report_draft *draft)
{
    return !strcmp(kept->report.class_name, draft->class_name) && !strcmp(kept->report.device, draft->device);
}

/* The same bug's report, under the lock. */
static struct dk_kept_report *find(const struct dk_reports *reports, const struct dk_report_draft *draft)
{
    const struct dk_report_alias *alias;
    struct dk_kept_report *kept;

    for (kept = reports->first; kept; kept = kept->next) {
        if (kept->access_stack == draft->access_stack && kept->mapping_stack == draft->mapping_stack &&
            same_class(kept, draft))
            return kept;
    }
    for (alias = reports->aliases; alias; alias = alias->next) {
        if (alias->access_stack == draft->access_stack && alias->mapping_stack == draft->mapping_stack &&
            same_class(alias->kept, draft))
            return alias->kept;
    }
    return NULL;
}

static bool same_frames(const struct dk_frames *one, const struct dk_frames *two)
{
    unsigned i;

    if (one->count != two->count)
        return false;
    for (i = 0; i < one->count; i++) {
        const struct dk_frame *a = &one->frames[i];
        const struct dk_frame *b = &two->frames[i];

        /* Strings are kept once, so that equal ones are the same. Without a line only the address tells
         * places apart. */
        if (a->function != b->function || a->file != b->file || a->line != b->line ||
            (!a->line && a->address != b->address))
            return false;
    }
    return true;
}

/* A report on the same places in the source, under the lock. */
static struct dk_kept_report *find_places(const struct dk_reports *reports,
                                          const struct dk_report_draft *draft, const struct dk_report *report)
{
    struct dk_kept_report *kept;

    if (!report->access.stack.count)
        return NULL;
    for (kept = reports->first; kept; kept = kept->next) {
        if (same_class(kept, draft) && !kept->report.mapping.kind == !report->mapping.kind &&
            same_frames(&kept->report.access.stack, &report->access.stack) &&
            same_frames(&kept->report.mapping.stack, &report->mapping.stack))
            return kept;
    }
    return NULL;
}

/* Whether the same bug was reported before: then it is counted. */
static bool counted(struct dk_reports *reports, const struct dk_report_draft *draft)
{
    struct dk_kept_report *kept;

    pthread_mutex_lock(&reports->lock);
    kept = find(reports, draft);
    if (kept) {
        count(reports, draft->class_name, kept->suppression);
        kept->report.count++;
    }
    pthread_mutex_unlock(&reports->lock);
    return kept;
}

static void fill(struct dk_checker *checker, const struct dk_report_draft *draft, struct dk_report *report)
{
    *report = (struct dk_report){
        .class_name = draft->class_name,
        .severity = draft->severity,
        .device = draft->device,
        .what = draft->what,
        .advice = draft->advice,
        .bytes = { draft->cpu, draft->dma, draft->offset, draft->length },
        .count = 1,
    };
    if (draft->mapping) {
        report->mapping.kind = dk_mapping_kind_name(draft->mapping->kind);
        report->mapping.dma = draft->mapping->dma;
        report->mapping.size = draft->mapping->size;
        report->mapping.direction = dk_direction_name(draft->mapping->direction);
        dk_symbols_frames(&checker->symbols, dk_stacks_get(&checker->stacks, draft->mapping_stack),
                          &report->mapping.stack);
    }
    if (draft->mapping && draft->undone_stack) {
        report->undone.kind = dk_mapping_is_allocation(draft->mapping->kind) ? "freed" : "unmapped";
        dk_symbols_frames(&checker->symbols, dk_stacks_get(&checker->stacks, draft->undone_stack),
                          &report->undone.stack);
    }
    report->access.kind = draft->access_kind;
    report->access.name = draft->call;
    dk_symbols_frames(&checker->symbols, dk_stacks_get(&checker->stacks, draft->access_stack),
                      &report->access.stack);
}

/* Copies @*string to @*to, moves @*to on and lets @*string point to the copy. */
static void move_string(const char **string, char **to)
{
    size_t size = strlen(*string) + 1;

    memcpy(*to, *string, size);
    *string = *to;
    *to += size;
}

static struct dk_kept_report *keep(const struct dk_report_draft *draft, const struct dk_report *report)
{
    size_t size = strlen(report->class_name) + strlen(report->severity) + strlen(report->device) +
                  strlen(report->what) + strlen(report->advice) + strlen(report->access.name) +
                  strlen(report->picture) + 7;
    struct dk_kept_report *kept = dk_allocate(1, sizeof(*kept) + size);
    char *text;

    if (!kept)
        return NULL;
    kept->access_stack = draft->access_stack;
    kept->mapping_stack = draft->mapping_stack;
    kept->report = *report;
    text = kept->text;
    move_string(&kept->report.class_name, &text);
    move_string(&kept->report.severity, &text);
    move_string(&kept->report.device, &text);
    move_string(&kept->report.what, &text);
    move_string(&kept->report.advice, &text);
    move_string(&kept->report.access.name, &text);
    move_string(&kept->report.picture, &text);
    return kept;
}

static void add_alias(struct dk_reports *reports, const struct dk_report_draft *draft,
                      struct dk_kept_report *kept)
{
    struct dk_report_alias *alias = dk_allocate(1, sizeof(*alias));

    /* Without it the places are compared anew each time. */
    if (!alias)
        return;
    alias->access_stack = draft->access_stack;
    alias->mapping_stack = draft->mapping_stack;
    alias->kept = kept;
    alias->next = reports->aliases;
    reports->aliases = alias;
}

/* Enters and counts @kept; false when the same bug was entered before from code copied elsewhere, or by
 * another thread meanwhile: it was counted there. */
static bool enter(struct dk_reports *reports, const struct dk_report_draft *draft,
                  struct dk_kept_report *kept)
{
    struct dk_kept_report *same;

    pthread_mutex_lock(&reports->lock);
    same = find(reports, draft);
    if (!same) {
        same = find_places(reports, draft, &kept->report);
        if (same)
            add_alias(reports, draft, same);
    }
    count(reports, draft->class_name, same ? same->suppression : kept->suppression);
    if (same) {
        same->report.count++;
    } else {
        *reports->last = kept;
        reports->last = &kept->next;
    }
    pthread_mutex_unlock(&reports->lock);
    return !same;
}

void dk_report_make(struct dk_checker *checker, const struct dk_report_draft *draft)
{
    struct dk_reports *reports = &checker->reports;
    struct dk_suppression *suppression;
    struct dk_kept_report *kept;
    struct dk_report report;
    char picture[DK_BYTES_PICTURE];

    if (counted(reports, draft))
        return;
    fill(checker, draft, &report);
    dk_bytes_picture(checker, draft, picture, sizeof(picture));
    report.picture = picture;
    suppression = dk_suppressions_find(&reports->suppressions, &report);
    report.suppressed = suppression ? suppression->text : NULL;
    kept = keep(draft, &report);
    if (!kept) {
        dk_checker_exhausted(checker, "a report is not kept");
        pthread_mutex_lock(&reports->lock);
        count(reports, draft->class_name, suppression);
        pthread_mutex_unlock(&reports->lock);
        deliver(reports, &report);
        return;
    }
    kept->suppression = suppression;
    /* The sink gets a copy of the head: the count in the kept one may change meanwhile. */
    report = kept->report;
    if (enter(reports, draft, kept))
        deliver(reports, &report);
    else
        dk_release(kept);
}

/* ---- The public calls ---- */

void dk_check_set_sink(struct dk_machine *machine, dk_report_sink *sink, void *data)
{
    struct dk_reports *reports;

    if (!machine || !machine->checker)
        return;
    reports = &machine->checker->reports;
    pthread_rwlock_wrlock(&reports->sink_lock);
    reports->sink = sink;
    reports->sink_data = data;
    pthread_rwlock_unlock(&reports->sink_lock);
}

/* Classes that lower rooms made up are not in the table, and are counted by their reports. */
static unsigned long count_kept(const struct dk_reports *reports, const char *class_name)
{
    const struct dk_kept_report *kept;
    unsigned long sum = 0;

    for (kept = reports->first; kept; kept = kept->next) {
        if (!kept->suppression && !strcmp(kept->report.class_name, class_name))
            sum += kept->report.count;
    }
    return sum;
}

unsigned long dk_checker_count(struct dk_checker *checker, const char *class_name)
{
    enum dk_class class_index = class_name ? dk_class_find(class_name) : DK_CLASS_COUNT;
    struct dk_reports *reports;
    unsigned long sum;

    if (!checker)
        return 0;
    reports = &checker->reports;
    pthread_mutex_lock(&reports->lock);
    if (!class_name)
        sum = reports->total;
    else
        sum = class_index < DK_CLASS_COUNT ? reports->counts[class_index] : count_kept(reports, class_name);
    pthread_mutex_unlock(&reports->lock);
    return sum;
}

unsigned long dk_check_count(struct dk_machine *machine, const char *class_name)
{
    return machine ? dk_checker_count(machine->checker, class_name) : 0;
}

void dk_check_each(struct dk_machine *machine, dk_report_sink *sink, void *data)
{
    struct dk_reports *reports = machine && machine->checker ? &machine->checker->reports : NULL;
    struct dk_kept_report *kept;
    struct dk_report report;

    if (!reports || !sink)
        return;
    pthread_mutex_lock(&reports->lock);
    for (kept = reports->first; kept; kept = kept->next) {
        if (kept->suppression)
            continue;
        report = kept->report;
        pthread_mutex_unlock(&reports->lock);
        sink(&report, data);
        pthread_mutex_lock(&reports->lock);
    }
    pthread_mutex_unlock(&reports->lock);
}
