/* SPDX-License-Identifier: MIT */
/*
 * Text written piece by piece into memory of the caller's, as snprintf() does it at once.
 */
#ifndef DK_BASE_TEXT_H
#define DK_BASE_TEXT_H

#include <stddef.h>

struct dk_text {
    char *at;      /* may be NULL if @room is 0 */
    size_t room;   /* bytes at @at, with the terminating 0 */
    size_t length; /* of all that was added, without the 0; what did not fit counts */
};

/* Adds what printf() would write: as much as fits, terminated by a 0. The text never leaves its room; from
 * when it is full, only its length grows. */
void dk_text_add(struct dk_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
