/* SPDX-License-Identifier: MIT */
/* <linux/bug.h> for driver source: a broken promise is a log line, and the program goes on. */
#ifndef DMAKIT_LINUX_BUG_H
#define DMAKIT_LINUX_BUG_H

#include <linux/compiler.h>
#include <linux/printk.h>

/* Whether @condition holds; a log line with the place when it does. */
#define WARN_ON(condition) dk_warn(!!(condition), #condition, __FILE__, __LINE__)
#define WARN_ON_ONCE(condition) WARN_ON(condition)
#define WARN(condition, ...) (WARN_ON(condition) ? (dk_device_log(NULL, 1, __VA_ARGS__), true) : false)
#define WARN_ONCE(condition, ...) WARN(condition, __VA_ARGS__)
#define BUG_ON(condition) ((void)dk_warn(!!(condition), #condition, __FILE__, __LINE__))
#define BUG() ((void)WARN_ON(true))

static inline bool dk_warn(bool broken, const char *condition, const char *file, int line)
{
    if (broken)
        dk_device_log(NULL, 1, "%s:%d: %s", file, line, condition);
    return broken;
}

#ifdef __cplusplus
#define BUILD_BUG_ON(condition) static_assert(!(condition), #condition)
#else
#define BUILD_BUG_ON(condition) _Static_assert(!(condition), #condition)
#endif

#endif
