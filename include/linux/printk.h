/* SPDX-License-Identifier: MIT */
/* <linux/printk.h> for driver source: lines go where dk_log_set_sink() says, at its levels. */
#ifndef DMAKIT_LINUX_PRINTK_H
#define DMAKIT_LINUX_PRINTK_H

#include <dmakit/device.h>

#ifndef pr_fmt
#define pr_fmt(format) format
#endif

#define KERN_ERR ""
#define KERN_WARNING ""
#define KERN_NOTICE ""
#define KERN_INFO ""
#define KERN_DEBUG ""

#define printk(...) dk_device_log(NULL, 2, __VA_ARGS__)
#define pr_emerg(format, ...) dk_device_log(NULL, 0, pr_fmt(format), ##__VA_ARGS__)
#define pr_crit(format, ...) dk_device_log(NULL, 0, pr_fmt(format), ##__VA_ARGS__)
#define pr_err(format, ...) dk_device_log(NULL, 0, pr_fmt(format), ##__VA_ARGS__)
#define pr_warn(format, ...) dk_device_log(NULL, 1, pr_fmt(format), ##__VA_ARGS__)
#define pr_notice(format, ...) dk_device_log(NULL, 2, pr_fmt(format), ##__VA_ARGS__)
#define pr_info(format, ...) dk_device_log(NULL, 2, pr_fmt(format), ##__VA_ARGS__)
#define pr_debug(format, ...) dk_device_log(NULL, 3, pr_fmt(format), ##__VA_ARGS__)

#endif
