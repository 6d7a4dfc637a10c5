/* SPDX-License-Identifier: MIT */
/*
 * Reports: made once for each bug, kept, counted, and handed to the sink.
 */
#ifndef DK_CHECK_REPORT_H
#define DK_CHECK_REPORT_H

#include "check/classes.h"
#include "check/printer.h"
#include "check/suppressions.h"
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
    u32 undone_stack;                 /* of the call that unmapped or freed it; 0: none */
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
    pthread_mutex_t lock; /* guards what follows up to suppressions; never held while a sink runs */
    struct dk_kept_report *first, **last;
    struct dk_report_alias *aliases;
    unsigned long counts[DK_CLASS_COUNT];
    unsigned long total;
    unsigned long suppressed;
    struct dk_suppressions suppressions; /* only its hits change */

    pthread_rwlock_t sink_lock; /* held by readers while a sink runs; guards the two that follow */
    dk_report_sink *sink;       /* NULL: the printer */
    void *sink_data;

    struct dk_printer printer;
    bool print_suppressed;
    bool abort_on_error;
};

/* 0 or -errno: of dk_printer_init() or dk_suppressions_read(). */
int dk_reports_init(struct dk_reports *reports, const struct dk_check_options *options);
/* Says what was suppressed, and which suppressions hid nothing. */
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
