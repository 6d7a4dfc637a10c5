/* SPDX-License-Identifier: MIT */
/*
 * DMAKIT_OPTIONS: key=value pairs separated by ':', in the manner of ASAN_OPTIONS.
 */
#ifndef DK_START_OPTIONS_H
#define DK_START_OPTIONS_H

#include <dmakit/types.h>

struct dk_options {
    char *text; /* owns the strings below */
    u64 seed;
    int depth;                /* -1: not given */
    const char *memory;       /* NULL: not given */
    const char *arguments;    /* NULL: not given */
    int report_format;        /* enum dk_report_format */
    const char *report_path;  /* NULL: standard error */
    int color;                /* enum dk_report_colour */
    const char *suppressions; /* NULL: none */
    bool print_suppressed;
    bool abort_on_error;
    u64 quarantine_size; /* bytes; 0: there is no quarantine */
    u64 fail_nth;        /* 0: none; acted on by base/alloc.h, before any machine exists */
    int log_level;       /* -1: not given */
};

/*
 * Reads @text (NULL: nothing, all defaults) into @options. 0; -EINVAL an unknown key or a value that cannot
 * be read, named in the log; -ENOMEM. help=1 prints the keys, what is usual and what they do, to standard
 * error. On success dk_options_finish() frees what @options holds.
 */
int dk_options_read(struct dk_options *options, const char *text);
void dk_options_finish(struct dk_options *options);

#endif
