/* SPDX-License-Identifier: MIT */
/*
 * A machine's arguments, as on a kernel command line: words separated by blanks, some of them name=value.
 */
#ifndef DK_START_ARGUMENTS_H
#define DK_START_ARGUMENTS_H

#include <dmakit/types.h>

/* The value of the last @name= in @arguments, up to the next blank; *length its length. NULL: it is not
 * there. */
const char *dk_argument(const char *arguments, const char *name, size_t *length);

/* name=SIZE or name=SIZE@BASE. 0, also when it is not there (and nothing is written); -EINVAL, with a log
 * line. @base may be NULL: no @. */
int dk_argument_size(const char *arguments, const char *name, u64 *size, u64 *base);

/* name=0 or name=1. The same. */
int dk_argument_flag(const char *arguments, const char *name, bool *flag);

#endif
