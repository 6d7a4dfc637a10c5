/* SPDX-License-Identifier: MIT */
/*
 * Reports as a SARIF 2.1.0 log (docs/formats.md): dk_sarif_begin(), results with commas between them, and
 * DK_SARIF_END.
 */
#ifndef DK_CHECK_SARIF_H
#define DK_CHECK_SARIF_H

#include <dmakit/check.h>

/* Everything in front of the first result: the tool, with a rule for each class of bug. @invocation: the
 * object's text; NULL: a run that went well. */
void dk_sarif_begin(const char *invocation, FILE *out);

/*
 * @report as a result. @properties: members of its property bag, as in "\"seed\": 1"; NULL: none.
 * @occurrences: how often it was seen; 0: report->count says it.
 */
void dk_sarif_result(const struct dk_report *report, unsigned long occurrences, const char *properties,
                     FILE *out);

/* What ends the log. */
#define DK_SARIF_END "\n      ]\n    }\n  ]\n}\n"

/*
 * The log in a file that several machines and processes may add to, and that is a whole log at all times but
 * during a write. @fd is open for reading and writing, without O_APPEND.
 */

/* Makes an empty file a log without results. 0; -EINVAL the file has something else in it; -errno. */
int dk_sarif_file_start(int fd);
/* Adds the result @text of @size bytes. The same errors. A result that finds no room leaves the log as it
 * was. */
int dk_sarif_file_add(int fd, const char *text, size_t size);

#endif
