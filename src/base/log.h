/* SPDX-License-Identifier: MIT */
/*
 * Log lines for what is not a driver's bug: a tree that is refused, a row that is dropped, a machine
 * that ran out. Reports of bugs go to the checker instead.
 */
#ifndef DK_BASE_LOG_H
#define DK_BASE_LOG_H

#include <dmakit/types.h>

enum dk_log_level { DK_LOG_ERROR, DK_LOG_WARNING, DK_LOG_INFO, DK_LOG_DEBUG };

/*
 * One line to the log's sink (standard error unless dk_log_set_sink() chose another), without a newline
 * of its own. Keeps errno. Any thread.
 */
void dk_log(enum dk_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
