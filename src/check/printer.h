/* SPDX-License-Identifier: MIT */
/*
 * Where reports go when the program has set no sink of its own.
 */
#ifndef DK_CHECK_PRINTER_H
#define DK_CHECK_PRINTER_H

#include "check/check.h"
#include <pthread.h>

struct dk_printer {
    pthread_mutex_t lock; /* guards all that follows: one report at a time */
    enum dk_report_format format;
    bool colour;
    int fd;
    FILE *out; /* writes to text, whose room is kept: a report can be printed when memory has run out */
    char *text;
    size_t size;
    bool complained; /* that a report could not be written */
};

/*
 * 0; -EINVAL SARIF without a file, or a file with something else in it; -ENOMEM; -errno when
 * @options->report_path cannot be opened. What is wrong with the file is in the log.
 */
int dk_printer_init(struct dk_printer *printer, const struct dk_check_options *options);
void dk_printer_finish(struct dk_printer *printer);

/* Prints @report in one piece. */
void dk_printer_print(struct dk_printer *printer, const struct dk_report *report);

/* Prints @line, which ends in '\n', among reports for people. False: the format has no place for it. */
bool dk_printer_say(struct dk_printer *printer, const char *line);

#endif
