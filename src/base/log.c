/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <dmakit/log.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

/* Static for the reason dk_log_set_sink()'s contract gives: there may be no machine yet. */
static dk_log_sink *chosen_sink;
static void *chosen_data;
static _Atomic int highest = DK_LOG_WARNING;

void dk_log_set_sink(dk_log_sink *sink, void *data)
{
    chosen_sink = sink;
    chosen_data = data;
}

void dk_log_set_level(int level)
{
    atomic_store(&highest, level);
}

void dk_log(enum dk_log_level level, const char *format, ...)
{
    static const char *const names[] = { "error", "warning", "info", "debug" };
    int saved = errno;
    va_list arguments;
    char line[1024];

    if ((int)level > atomic_load_explicit(&highest, memory_order_relaxed))
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof(line), format, arguments);
    va_end(arguments);
    if (chosen_sink)
        chosen_sink((int)level, line, chosen_data);
    else
        fprintf(stderr, "dmakit: %s: %s\n", names[level < DK_LOG_DEBUG ? level : DK_LOG_DEBUG], line);
    errno = saved;
}
