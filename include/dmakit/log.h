/* SPDX-License-Identifier: MIT */
/*
 * Where the library's log lines go.
 */
#ifndef DMAKIT_LOG_H
#define DMAKIT_LOG_H

#include <dmakit/types.h>

DK_BEGIN_DECLS

/* Receives one line, without newline. @level: 0 error, 1 warning, 2 information, 3 debug. */
typedef void dk_log_sink(int level, const char *line, void *data);

/*
 * Sends log lines to @sink with @data instead of standard error; NULL: standard error again. Process-wide,
 * since boards are read before a machine exists. Call it while no other thread is inside the library.
 */
DK_PUBLIC void dk_log_set_sink(dk_log_sink *sink, void *data);

/*
 * Drops lines above @level. The start value is 1 (errors and warnings), or DMAKIT_OPTIONS=log=N.
 */
DK_PUBLIC void dk_log_set_level(int level);

DK_END_DECLS

#endif
