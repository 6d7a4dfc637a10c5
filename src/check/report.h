/* SPDX-License-Identifier: MIT */
/*
 * Reports: made once for each bug, kept, counted, and handed to the sink.
 */
#ifndef DK_CHECK_REPORT_H
#define DK_CHECK_REPORT_H

#include "check/classes.h"
#include <dmakit/check.h>
#include <pthread.h>

struct dk_checker;
struct dk_mapping;

/* What a report is made from. Strings need to live until dk_report_make() returns. */
struct dk_report_draft {
    const char *class_name;
    const char *severity;
    const char *device;
    const char *advice;
    const char *access_kind; /* as in struct dk_report */
    const char *call;
    u32 access_stack;
    u32 mapping_stack;
    const struct dk_mapping *mapping; /* NULL: none */
    uintptr_t cpu;
    dma_addr_t dma;
    u64 offset;
    u64 length;
    char what[512];
};

struct dk_kept_report;
struct dk_report_alias;

struct dk_reports {
    pthread_mutex_t lock; /* guards all that follows; never held while a sink runs */
    struct dk_kept_report *first, **last;
    struct dk_report_alias *aliases;
    unsigned long counts[DK_CLASS_COUNT];
    unsigned long total;
    dk_report_sink *sink; /* NULL: the default */
    void *sink_data;
    bool json;
    bool abort_on_error;
    int fd;
};

/* 0, or -errno when @path (NULL: standard error) cannot be opened. */
int dk_reports_init(struct dk_reports *reports, bool json, const char *path, bool abort_on_error);
void dk_reports_finish(struct dk_reports *reports);

/* Sets draft->what. */
void dk_draft_what(struct dk_report_draft *draft, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Counts the bug; when it is new keeps it and hands it to the sink. No lock of the room may be held. Out of
 * memory: it reaches the sink, but is not kept.
 */
void dk_report_make(struct dk_checker *checker, const struct dk_report_draft *draft);

#endif
