/* SPDX-License-Identifier: MIT */
/* <linux/errno.h> for driver source. The C library's <errno.h> comes here too, so it only adds numbers. */
#if __has_include_next(<linux/errno.h>)
#include_next <linux/errno.h>
#endif

#ifndef DMAKIT_LINUX_ERRNO_H
#define DMAKIT_LINUX_ERRNO_H

/* Linux's own numbers that programs never see. */
#ifndef ERESTARTSYS
#define ERESTARTSYS 512
#endif
#ifndef ENOTSUPP
#define ENOTSUPP 524
#endif
#ifndef EPROBE_DEFER
#define EPROBE_DEFER 517
#endif

#endif
